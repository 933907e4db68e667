"""What an instrument must do: its header writer and reader belong together, and pixels keep the rules of the house."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo.declarative import DeclarativeInstrument
from albireo.frames import CALIBRATION_KINDS, SECONDS_PER_DAY, Frame, FrameError, Frames, Section
from albireo.headers import identifying_header
from albireo.images import Flag, flags_of, variance_of
from albireo.inspection.check import off_pointing
from albireo.inspection.roundtrip import differences, same_place, write_blank
from albireo.recipe import Recipe, RecipeError
from albireo.roles import ROLES, Instrument
from albireo.testing.conformance.kit import Check, changed, fingerprint, require, skip
from albireo.testing.raw_files import write_raw

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CHECKS", "typical"]

STEP = 300.0
"""Seconds between the exposures of a made-up night."""

_NOT_INSTALLED = re.compile(rf"there is no ({'|'.join(ROLES)}) '[^']*'(?!; did you mean)|\S+ is not installed: ")
"""Problems of a recipe that are none of the camera's."""


def typical(stage: Instrument) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Give calls to try."""
    yield "example", ()
    yield "examples", ()
    yield "together", (_night(stage),)


# --- files of a made-up night -----------------------------------------------------------------------------------------


def _files(stage: Instrument) -> list[tuple[Frame, ...]]:
    """Give the examples, those of one file together."""
    return [tuple(group) for group in Frames(stage.examples()).by("path").values()]


def _frames(stage: Instrument, example: Sequence[Frame], kind: str, folder: Path) -> tuple[Frame, ...]:
    """Give the frames of a file like an example, of some kind."""
    made = []
    for frame in example:
        exptime = 0.0 if kind == "bias" else frame.exptime
        mid = frame.start + 0.5 * exptime / SECONDS_PER_DAY
        made.append(frame.replace(kind=kind, exptime=exptime, mid=mid))
    # Observers put the kind into the names of files and folders, and so do we where the camera has no names of its own.
    path = folder / (stage.filename(made[0], 1) or f"{kind}/{kind}-0001.fits")
    path.parent.mkdir(parents=True, exist_ok=True)
    return tuple(frame.replace(path=str(path), name=path.name) for frame in made)


def _night(stage: Instrument) -> Frames:
    """Three exposures of every detector, in order of their names."""
    made = []
    for example in _files(stage):
        for number in range(3):
            path = f"{number:04d}-{Path(example[0].path).name}"
            later = number * STEP / SECONDS_PER_DAY
            for frame in example:
                moved = frame.replace(start=frame.start + later, mid=frame.mid + later)
                made.append(moved.replace(path=path, name=f"{path}:{frame.detector}"))
    return Frames(made).sorted("name")


def _refusal(stage: Instrument, frames: Sequence[Frame]) -> str:
    """Why a camera has no header for a kind of calibration frame; a science frame it must be able to write."""
    try:
        for frame in frames:
            stage.headers(frame)
    except (FrameError, ValueError) as error:
        if frames[0].kind != "science":
            return str(error)
        raise
    return ""


@contextmanager
def _written(stage: Instrument, example: Sequence[Frame]) -> Iterator[list[tuple[Frame, NDArray[np.uint16]]]]:
    """Write a raw file of science frames with made-up counts, one pixel at saturation; it is gone afterwards."""
    with TemporaryDirectory() as folder:
        frames = _frames(stage, example, "science", Path(folder))
        rng = np.random.default_rng(2)
        images = []
        for frame in frames:
            counts = rng.integers(900, 1100, frame.shape, dtype=np.uint16)
            if _clips(frame):
                counts[_saturated(frame)] = round(frame.saturation)
            images.append(counts)
        write_raw(stage, frames, images)
        yield list(zip(frames, images, strict=True))


def _clips(frame: Frame) -> bool:
    return isfinite(frame.saturation) and frame.saturation <= 65535


def _saturated(frame: Frame) -> tuple[int, int]:
    section = frame.amplifiers[0].data
    return section.y0 + 3, section.x0 + 5


def _read_back(stage: Instrument, frame: Frame) -> Frame:
    frames = same_place(stage.frames(Path(frame.path)), frame)
    require(
        len(frames) == 1,
        f"frames() gave {len(frames)} frames for HDU {frame.hdu} and detector {frame.detector!r} of a file that was "
        "written with headers()",
    )
    return frames[0]


def _whose(frame: Frame) -> str:
    return f" of {frame.detector}" if frame.detector else ""


# --- the examples -----------------------------------------------------------------------------------------------------


def example_is_complete(stage: Instrument) -> None:
    """The example is a science frame with everything a simulation needs, and so is that of every detector."""
    for frame in (stage.example(), *stage.examples()):
        whose = f"the example{_whose(frame)}"
        require(frame.kind == "science", f"{whose} is a {frame.kind} frame")
        missing = [name for name in ("instrument", "filter") if not getattr(frame, name)]
        missing += [name for name in ("gain", "read_noise", "saturation", "exptime") if not getattr(frame, name) > 0]
        missing += [name for name in ("start", "mid") if not isfinite(getattr(frame, name))]
        require(not missing, f"{whose} has no {', '.join(missing)}")
        require(min(frame.shape) > 0, f"{whose} has the shape {frame.shape}")
        require(frame.amplifiers, f"{whose} has no amplifier")
        for number, amplifier in enumerate(frame.amplifiers, 1):
            for name in ("data", "overscan"):
                section = getattr(amplifier, name)
                inside = section is None or section.within(frame.shape)
                require(inside, f"the {name} section of amplifier {number} is outside the image of {frame.shape}")
        require(
            abs(frame.start + 0.5 * frame.exptime / SECONDS_PER_DAY - frame.mid) < 1.0, "start and mid do not agree"
        )


def examples_are_one_of_each_detector(stage: Instrument) -> None:
    """There is an example of each detector; two of one detector are parts of it and lie in one file."""
    examples = stage.examples()
    require(examples, "examples() gives none")
    require(stage.example() in examples, "example() is none of examples()")
    for first, second in combinations(examples, 2):
        if first.path == second.path:
            same = (first.hdu, first.detector, first.tiles) == (second.hdu, second.detector, second.tiles)
            require(not same, f"two examples in {first.path} have the same HDU, detector and tiles")
        else:
            same = first.detector == second.detector
            require(not same, f"two examples of the detector {first.detector!r} lie in different files")


def tiles_make_up_the_image(stage: Instrument) -> None:
    """Tiles lie inside the raw image and not on each other, and headers() has a header for each of their HDUs."""
    for frame in stage.examples():
        headers = stage.headers(frame)
        missing = {0, frame.hdu, *(tile.hdu for tile in frame.tiles)} - set(headers)
        require(not missing, f"headers(){_whose(frame)} has none for HDU {', '.join(map(str, sorted(missing)))}")
        covered = np.zeros(frame.shape, dtype=np.uint8)
        for tile in frame.tiles:
            inside = tile.target.within(frame.shape)
            require(inside, f"tile {tile.target.to_fits()}{_whose(frame)} is outside the image of {frame.shape}")
            covered[tile.target.slices] += 1
        require((covered <= 1).all(), f"tiles{_whose(frame)} lie on each other")


# --- whose file it is -------------------------------------------------------------------------------------------------


def owns_its_files(stage: Instrument) -> None:
    """It claims every kind of file that it writes, and neither an empty header nor another camera's."""
    from astropy.io import fits

    for example in _files(stage):
        for kind in ("science", *CALIBRATION_KINDS):
            with TemporaryDirectory() as folder:
                frames = _frames(stage, example, kind, Path(folder))
                if _refusal(stage, frames):
                    continue
                path = Path(frames[0].path)
                write_blank(stage, frames, path)
                own = stage.owns(identifying_header(path), path)
                require(own, f"it does not own its own {kind} frame{_whose(frames[0])}")
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


# --- headers ----------------------------------------------------------------------------------------------------------


def _round_trip(stage: Instrument, kind: str) -> None:
    refusals = []
    for example in _files(stage):
        with TemporaryDirectory() as folder:
            frames = _frames(stage, example, kind, Path(folder))
            if refusal := _refusal(stage, frames):
                refusals.append(refusal)
                continue
            write_blank(stage, frames, Path(frames[0].path))
            for meant in frames:
                wrong = differences(_read_back(stage, meant), meant)
                require(not wrong, f"of a {kind} frame{_whose(meant)} {'; '.join(wrong)}")
    if refusals and len(refusals) == len(_files(stage)):
        skip(f"the camera writes no {kind} frames: {refusals[0]}")


def science_headers_come_back(stage: Instrument) -> None:
    """What headers() writes for a science frame, frames() reads back."""
    _round_trip(stage, "science")


def bias_headers_come_back(stage: Instrument) -> None:
    """What headers() writes for a bias frame, frames() reads back."""
    _round_trip(stage, "bias")


def dark_headers_come_back(stage: Instrument) -> None:
    """What headers() writes for a dark frame, frames() reads back."""
    _round_trip(stage, "dark")


def flat_headers_come_back(stage: Instrument) -> None:
    """What headers() writes for a flat, frames() reads back."""
    _round_trip(stage, "flat")


def sky_headers_come_back(stage: Instrument) -> None:
    """What headers() writes for a frame of the sky beside the target, frames() reads back."""
    _round_trip(stage, "sky")


def coordinates_are_near_the_pointing(stage: Instrument) -> None:
    """Where a header has celestial coordinates, the middle of the image is within a field of the pointing."""
    for example in _files(stage):
        with TemporaryDirectory() as folder:
            frames = _frames(stage, example, "science", Path(folder))
            write_blank(stage, frames, Path(frames[0].path))
            for meant in frames:
                wrong = off_pointing(stage, _read_back(stage, meant))
                require(not wrong, "; ".join(wrong))


# --- pixels -----------------------------------------------------------------------------------------------------------


def reads_pixels_by_the_rules(stage: Instrument) -> None:
    """Pixels are those of the file as native float32 in adu without variance, and saturated ones are flagged."""
    for example in _files(stage):
        with _written(stage, example) as written:
            for meant, counts in written:
                _keeps_the_rules(stage, _read_back(stage, meant), counts)


def _keeps_the_rules(stage: Instrument, frame: Frame, counts: NDArray[np.uint16]) -> None:
    picture = stage.read(frame)
    require(picture.shape == frame.shape, f"the image has shape {picture.shape}, the frame says {frame.shape}")
    native = picture.data.dtype == np.dtype(np.float32) and picture.data.dtype.isnative
    require(native, f"pixels are {picture.data.dtype}; they must be native float32")
    require(str(picture.unit) == "adu", f"the unit of raw pixels is {picture.unit}; it must be adu")
    require(variance_of(picture) is None, "raw pixels have a variance; it comes with the corrections")
    lit = _lit(frame)
    require(np.array_equal(picture.data[lit], counts[lit]), "counts are not those in the file (BZERO, BSCALE, tiles)")
    saturated = (flags_of(picture) & np.uint16(Flag.SATURATED)) != 0
    if _clips(frame):
        require(saturated[_saturated(frame)], "a pixel at the saturation level is not flagged")
        require(saturated.sum() == 1, f"{saturated.sum()} pixels are flagged as saturated instead of one")
        require(picture.mask is not None and picture.mask.sum() >= 1, "saturated pixels are not masked")


def _lit(frame: Frame) -> NDArray[np.bool_]:
    """Mark the pixels of the amplifiers that the file has."""
    there = np.zeros(frame.shape, dtype=bool)
    for tile in frame.tiles:
        there[tile.target.slices] = True
    light = np.zeros(frame.shape, dtype=bool)
    for amplifier in frame.amplifiers:
        light[amplifier.data.slices] = True
    return light & there if frame.tiles else light


def a_region_is_a_cut(stage: Instrument) -> None:
    """Reading a region gives the same pixels and flags as cutting it out of the whole image."""
    for example in _files(stage):
        with _written(stage, example) as written:
            for meant, _ in written:
                frame = _read_back(stage, meant)
                section = frame.amplifiers[0].data
                small = Section(section.y0 + 1, section.y0 + 9, section.x0 + 2, section.x0 + 13)
                ny, nx = frame.shape
                # Across the middle, where tiles of several amplifiers meet.
                middle = Section(ny // 2 - ny // 8, ny // 2 + ny // 8 + 1, nx // 2 - nx // 8, nx // 2 + nx // 8 + 1)
                whole = stage.read(frame)
                for region in (small, middle):
                    part = stage.read(frame, region)
                    require(part.shape == region.shape, f"a region of {region.shape} gave an image of {part.shape}")
                    same = np.array_equal(part.data, whole.data[region.slices], equal_nan=True)
                    require(same, "pixels of a region are not those of the whole")
                    same = np.array_equal(flags_of(part), flags_of(whole)[region.slices])
                    require(same, "flags of a region are not those of the whole image")


def reading_leaves_the_file_alone(stage: Instrument) -> None:
    """Raw files are only read, and reading twice gives the same frame and pixels."""
    with _written(stage, _files(stage)[0]) as written:
        meant, _ = written[0]
        before = Path(meant.path).read_bytes()
        frame = _read_back(stage, meant)
        first, second = (fingerprint(stage.read(frame)) for _ in range(2))
        require(not changed(first, second), "reading twice gave different images")
        require(repr(_read_back(stage, meant)) == repr(frame), "reading the header twice gave different frames")
        require(Path(meant.path).read_bytes() == before, "the raw file was changed")


def refuses_what_is_no_fits_file(stage: Instrument) -> None:
    """A text file called .fits and a truncated file are FrameErrors that name the file."""
    with _written(stage, _files(stage)[0]) as written:
        meant, _ = written[0]
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


# --- nights and recipes -----------------------------------------------------------------------------------------------


def together_keeps_the_frames(stage: Instrument) -> None:
    """together() gives the same frames in the same order, with nothing changed but exposures, and does so twice."""
    night = _night(stage)
    found = stage.together(night)
    require(len(found) == len(night), f"{len(found)} frames came back instead of {len(night)}")
    for given, back in zip(night, found, strict=True):
        same = back.replace(exposure="") == given.replace(exposure="")
        require(same, f"{given.name} came back as another frame, or in another place")
    again = stage.together(found)
    require(again.values("exposure") == found.values("exposure"), "a second call gives other exposures")


def an_exposure_has_a_detector_once(stage: Instrument) -> None:
    """Frames of one detector in different files never have the same exposure."""
    for (exposure, detector), group in stage.together(_night(stage)).by("exposure", "detector").items():
        if exposure:
            files = sorted(set(group.values("path")))
            require(len(files) == 1, f"{', '.join(files)} of the detector {detector!r} have one exposure, {exposure}")


def recipe_is_right(stage: Instrument) -> None:
    """The recipe to start from has no mistake, but for stages of plugins that are not installed."""
    text = type(stage).recipe()
    if not text:
        skip("the camera has no recipe of its own")
    try:
        Recipe.parse(text)
    except RecipeError as error:
        wrong = [problem.text("recipe") for problem in error.problems if not _NOT_INSTALLED.match(problem.message)]
        require(not wrong, "; ".join(wrong))


CHECKS: list[Check] = [
    example_is_complete,
    examples_are_one_of_each_detector,
    tiles_make_up_the_image,
    owns_its_files,
    owns_survives_strange_headers,
    science_headers_come_back,
    bias_headers_come_back,
    dark_headers_come_back,
    flat_headers_come_back,
    sky_headers_come_back,
    coordinates_are_near_the_pointing,
    reads_pixels_by_the_rules,
    a_region_is_a_cut,
    reading_leaves_the_file_alone,
    refuses_what_is_no_fits_file,
    together_keeps_the_frames,
    an_exposure_has_a_detector_once,
    recipe_is_right,
]
