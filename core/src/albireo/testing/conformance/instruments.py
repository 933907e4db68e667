"""What an instrument must do: its header writer and reader belong together, and pixels keep the rules of the house."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo.declarative import DeclarativeInstrument
from albireo.frames import CALIBRATION_KINDS, SECONDS_PER_DAY, Frame, FrameError, Frames, Section
from albireo.images import Flag, flags_of, variance_of
from albireo.roles import Instrument
from albireo.testing.conformance.kit import Check, changed, fingerprint, require, skip
from albireo.testing.night import write_raw

if TYPE_CHECKING:
    from astropy.nddata import CCDData

__all__ = ["CHECKS", "typical"]

TIME_TOLERANCE = 0.02 / SECONDS_PER_DAY
"""Headers that keep hundredths of a second are good enough."""
ANGLE_TOLERANCE = 1e-3
"""In degrees: sexagesimal headers keep a few arcseconds."""
RELATIVE_TOLERANCE = 1e-3


def typical(stage: Instrument) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Give a call to try."""
    yield "example", ()


def _frame(stage: Instrument, kind: str, folder: Path) -> Frame:
    path = folder / f"{kind}-0001.fits"
    example = stage.example()
    exptime = 0.0 if kind == "bias" else example.exptime
    mid = example.start + 0.5 * exptime / SECONDS_PER_DAY
    return example.replace(path=str(path), name=path.name, kind=kind, exptime=exptime, mid=mid)


@contextmanager
def _written(stage: Instrument, kind: str) -> Iterator[Frame]:
    """Write a raw file of some kind with made-up counts; it is gone afterwards."""
    with TemporaryDirectory() as folder:
        frame = _frame(stage, kind, Path(folder))
        rng = np.random.default_rng(2)
        counts = rng.integers(900, 1100, frame.shape, dtype=np.uint16)
        section = frame.amplifiers[0].data
        if isfinite(frame.saturation) and frame.saturation <= 65535:
            counts[section.y0 + 3, section.x0 + 5] = round(frame.saturation)
        if refusal := _refusal(stage, frame):
            skip(f"the camera writes no {kind} frames: {refusal}")
        write_raw(stage, frame, counts)
        yield frame


def _refusal(stage: Instrument, frame: Frame) -> str:
    """Why a camera has no header for a kind of calibration frame; a science frame it must be able to write."""
    try:
        stage.header(frame)
    except (FrameError, ValueError) as error:
        if frame.kind != "science":
            return str(error)
        raise
    return ""


def _read_back(stage: Instrument, frame: Frame) -> Frame:
    frames = [found for found in stage.frames(Path(frame.path)) if (found.hdu, found.detector) == _place(frame)]
    require(
        len(frames) == 1,
        f"frames() gave {len(frames)} frames for HDU {frame.hdu} and detector {frame.detector!r} of a file that was "
        "written with header()",
    )
    return frames[0]


def _place(frame: Frame) -> tuple[int, str]:
    return frame.hdu, frame.detector


def example_is_complete(stage: Instrument) -> None:
    """The example is a science frame with everything a simulation needs."""
    frame = stage.example()
    require(frame.kind == "science", f"the example is a {frame.kind} frame")
    missing = [name for name in ("instrument", "filter") if not getattr(frame, name)]
    missing += [name for name in ("gain", "read_noise", "saturation", "exptime") if not getattr(frame, name) > 0]
    missing += [name for name in ("start", "mid") if not isfinite(getattr(frame, name))]
    require(not missing, f"the example has no {', '.join(missing)}")
    require(min(frame.shape) > 0, f"the example has the shape {frame.shape}")
    require(frame.amplifiers, "the example has no amplifier")
    for number, amplifier in enumerate(frame.amplifiers, 1):
        for name in ("data", "overscan"):
            section = getattr(amplifier, name)
            inside = section is None or section.within(frame.shape)
            require(inside, f"the {name} section of amplifier {number} is outside the image of {frame.shape}")
    require(abs(frame.start + 0.5 * frame.exptime / SECONDS_PER_DAY - frame.mid) < 1.0, "start and mid do not agree")


def owns_its_files(stage: Instrument) -> None:
    """It claims every kind of file that it writes, and neither an empty header nor another camera's."""
    from astropy.io import fits

    for kind in ("science", *CALIBRATION_KINDS):
        with TemporaryDirectory() as folder:
            frame = _frame(stage, kind, Path(folder))
            if _refusal(stage, frame):
                continue
            write_raw(stage, frame, np.zeros(frame.shape, dtype=np.uint16))
            with fits.open(frame.path) as hdus:
                require(stage.owns(hdus[0].header, Path(frame.path)), f"it does not own its own {kind} frame")
    if _claims_everything(stage):
        skip("its definition names no card that identifies the camera, so it claims every file")
    require(not stage.owns(fits.Header(), Path("nowhere.fits")), "it claims an empty header")
    other = fits.Header({"INSTRUME": "no such camera", "TELESCOP": "none"})
    require(not stage.owns(other, Path("nowhere.fits")), "it claims a header of another camera")


def _claims_everything(stage: Instrument) -> bool:
    return isinstance(stage, DeclarativeInstrument) and not stage.camera.identity


def owns_survives_strange_headers(stage: Instrument) -> None:
    """Headers with missing, undefined or odd values give an answer, not an exception."""
    from astropy.io import fits

    own = stage.header(stage.example())
    names = [card.keyword for card in own.cards if card.keyword not in ("", "COMMENT", "HISTORY")]
    for value in (7, "", "*** broken ***", True, fits.card.Undefined(), -1.5e300):
        strange = fits.Header([(name, value) for name in names])
        stage.owns(strange, Path("nowhere.fits"))
    for name in names:
        less = own.copy()
        less.remove(name, ignore_missing=True, remove_all=True)
        stage.owns(less, Path("nowhere.fits"))


def _round_trip(stage: Instrument, kind: str) -> None:
    with _written(stage, kind) as meant:
        seen = _read_back(stage, meant)
    exact = ["kind", "instrument", "detector", "shape", "setup", "hdu", "site"]
    exact += ["target"] if kind == "science" else []
    exact += ["filter"] if kind in ("science", "flat") else []
    exact += ["variant"] if meant.variant else []
    for name in exact:
        got, want = getattr(seen, name), getattr(meant, name)
        require(got == want, f"{name} of a {kind} frame came back as {got!r} instead of {want!r}")
    tolerances = {"exptime": 1e-3, "start": TIME_TOLERANCE, "mid": TIME_TOLERANCE}
    if kind == "science":
        tolerances |= {"ra": ANGLE_TOLERANCE, "dec": ANGLE_TOLERANCE, "airmass": 1e-2}
    for name in ("saturation", "scale"):
        tolerances[name] = RELATIVE_TOLERANCE * abs(getattr(meant, name))
    for name, tolerance in tolerances.items():
        got, want = getattr(seen, name), getattr(meant, name)
        same = abs(got - want) <= tolerance if isfinite(want) else True
        require(same, f"{name} of a {kind} frame came back as {got} instead of {want}")
    require(len(seen.amplifiers) == len(meant.amplifiers), f"{len(seen.amplifiers)} amplifiers came back")
    for got, want in zip(seen.amplifiers, meant.amplifiers, strict=True):
        require(got.data == want.data, f"the data section came back as {got.data} instead of {want.data}")
        require(got.overscan == want.overscan, f"the overscan came back as {got.overscan} instead of {want.overscan}")
        for name in ("gain", "read_noise"):
            a, b = getattr(got, name), getattr(want, name)
            require(abs(a - b) <= RELATIVE_TOLERANCE * abs(b), f"{name} came back as {a} instead of {b}")


def science_headers_come_back(stage: Instrument) -> None:
    """What header() writes for a science frame, frames() reads back."""
    _round_trip(stage, "science")


def bias_headers_come_back(stage: Instrument) -> None:
    """What header() writes for a bias frame, frames() reads back."""
    _round_trip(stage, "bias")


def dark_headers_come_back(stage: Instrument) -> None:
    """What header() writes for a dark frame, frames() reads back."""
    _round_trip(stage, "dark")


def flat_headers_come_back(stage: Instrument) -> None:
    """What header() writes for a flat, frames() reads back."""
    _round_trip(stage, "flat")


def reads_pixels_by_the_rules(stage: Instrument) -> None:
    """Pixels come as native float32 in adu without variance, and saturated ones are flagged."""
    with _written(stage, "science") as meant:
        frame = _read_back(stage, meant)
        picture: CCDData = stage.read(frame)
        require(picture.shape == frame.shape, f"the image has shape {picture.shape}, the frame says {frame.shape}")
        native = picture.data.dtype == np.dtype(np.float32) and picture.data.dtype.isnative
        require(native, f"pixels are {picture.data.dtype}; they must be native float32")
        require(str(picture.unit) == "adu", f"the unit of raw pixels is {picture.unit}; it must be adu")
        require(variance_of(picture) is None, "raw pixels have a variance; it comes with the corrections")
        section = frame.amplifiers[0].data
        require(900 <= picture.data[section.y0, section.x0] < 1100, "counts are not those in the file (BZERO, BSCALE)")
        saturated = (flags_of(picture) & np.uint16(Flag.SATURATED)) != 0
        if isfinite(frame.saturation) and frame.saturation <= 65535:
            require(saturated[section.y0 + 3, section.x0 + 5], "a pixel at the saturation level is not flagged")
            require(saturated.sum() == 1, f"{saturated.sum()} pixels are flagged as saturated instead of one")
            require(picture.mask is not None and picture.mask.sum() >= 1, "saturated pixels are not masked")


def a_region_is_a_cut(stage: Instrument) -> None:
    """Reading a region gives the same pixels and flags as cutting it out of the whole image."""
    with _written(stage, "science") as meant:
        frame = _read_back(stage, meant)
        section = frame.amplifiers[0].data
        region = Section(section.y0 + 1, section.y0 + 9, section.x0 + 2, section.x0 + 13)
        whole, part = stage.read(frame), stage.read(frame, region)
        require(part.shape == region.shape, f"a region of {region.shape} gave an image of {part.shape}")
        require(np.array_equal(part.data, whole.data[region.slices]), "pixels of a region are not those of the whole")
        same = np.array_equal(flags_of(part), flags_of(whole)[region.slices])
        require(same, "flags of a region are not those of the whole image")


def reading_leaves_the_file_alone(stage: Instrument) -> None:
    """Raw files are only read, and reading twice gives the same frame and pixels."""
    with _written(stage, "science") as meant:
        before = Path(meant.path).read_bytes()
        frame = _read_back(stage, meant)
        first, second = (fingerprint(stage.read(frame)) for _ in range(2))
        require(not changed(first, second), "reading twice gave different images")
        require(repr(_read_back(stage, meant)) == repr(frame), "reading the header twice gave different frames")
        require(Path(meant.path).read_bytes() == before, "the raw file was changed")


def refuses_what_is_no_fits_file(stage: Instrument) -> None:
    """A text file called .fits and a truncated file are FrameErrors that name the file."""
    with _written(stage, "science") as meant:
        whole = Path(meant.path).read_bytes()
        for name, content in (("text.fits", b"this is no FITS file\n" * 200), ("short.fits", whole[: len(whole) // 3])):
            path = Path(meant.path).with_name(name)
            path.write_bytes(content)
            try:
                for frame in Frames(stage.frames(path)):
                    stage.read(frame)
            except FrameError as error:
                require(name in str(error), f"the FrameError does not name the file: {error}")
                continue
            require(False, f"{name} was read without a FrameError")


CHECKS: list[Check] = [
    example_is_complete,
    owns_its_files,
    owns_survives_strange_headers,
    science_headers_come_back,
    bias_headers_come_back,
    dark_headers_come_back,
    flat_headers_come_back,
    reads_pixels_by_the_rules,
    a_region_is_a_cut,
    reading_leaves_the_file_alone,
    refuses_what_is_no_fits_file,
]
