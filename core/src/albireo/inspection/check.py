"""Everything a camera promises, tried on one real file.

The file is read as a run would read it, once in whole and once in part; what comes out is held against what the
header promised. Nothing is kept but words, so that any number of files can be checked.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from math import hypot, isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from albireo.frames import SECONDS_PER_DAY, Frame, FrameError, Section, mjd_to_iso, told_of
from albireo.headers import identifying_header
from albireo.images import Flag, flags_of, variance_of
from albireo.inspection.roundtrip import differences, same_place, write_blank
from albireo.roles import Instrument

if TYPE_CHECKING:
    from astropy.nddata import CCDData

__all__ = ["ASPECTS", "Checked", "Trouble", "check_file", "off_pointing"]

ASPECTS = {
    "file": "The file is a whole FITS file with an image.",
    "owner": "The camera can say of any header whether it is its own.",
    "frames": "The header is understood.",
    "facts": "What the header says can be: sections lie inside the image, the middle of the exposure lies inside it.",
    "pixels": "The image has the promised shape, and every value is a number or flagged.",
    "region": "Reading a region gives the same pixels and flags as cutting it out of the whole image.",
    "sky": "Celestial coordinates of the header are near the pointing.",
    "round trip": "What the camera writes for a frame of this file, it reads back.",
}
"""What is tried, in this order, and what must hold."""

SHUTTER = 1.0
"""Seconds by which the middle of an exposure may lie outside of it: shutters and clocks are no better."""

LEAST_FIELD = 1.0
"""Degrees by which coordinates may miss the pointing of a camera whose scale is not known."""


@dataclass(frozen=True)
class Trouble:
    """One thing that is not as it must be.

    Attributes
    ----------
    aspect : str
        A key of `ASPECTS`.
    reason : str
    """

    aspect: str
    reason: str


@dataclass(frozen=True)
class Checked:
    """What became of the check of one file.

    Attributes
    ----------
    path : Path
    owned : bool
        Whether the camera says that it wrote the file; nothing more is tried with a file of another camera.
    frames : tuple of Frame
    troubles : tuple of Trouble
        Empty if all is well.
    """

    path: Path
    owned: bool
    frames: tuple[Frame, ...] = ()
    troubles: tuple[Trouble, ...] = ()


def check_file(camera: Instrument, path: Path) -> Checked:
    """Try everything a camera promises on one file, whatever the file holds.

    The coordinates, the pixels and the way through `Instrument.header` are tried for every frame in it. A kind of frame
    that the camera cannot write is no trouble.
    """
    try:
        header = identifying_header(path)
    except FrameError as error:
        return Checked(path, False, troubles=(Trouble("file", _said(error, path)),))
    troubles: list[Trouble] = []
    frames: tuple[Frame, ...] = ()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if not camera.owns(header, path):
                return Checked(path, False)
        except Exception as error:  # whatever a camera raises, it stands beside the file and the next one is tried
            return Checked(path, False, troubles=(Trouble("owner", _said(error, path)),))
        try:
            frames = tuple(camera.frames(path))
        except Exception as error:  # as above
            return Checked(path, True, troubles=(Trouble("frames", _said(error, path)),))
        if not frames:
            troubles.append(Trouble("frames", "the camera owns the file and finds no frame in it"))
        for frame in frames:
            subject = _Subject(camera, frame)
            which = f"{frame.detector or f'HDU {frame.hdu}'}: " if len(frames) > 1 else ""
            for aspect, check in CHECKS.items():
                found = _attempt(aspect, path, partial(check, subject), which)
                troubles += found
                if aspect == "pixels" and found:
                    break  # nothing else can be said of an image that cannot be read
        if not any(trouble.aspect in ("facts", "pixels") for trouble in troubles):
            troubles += _attempt("round trip", path, partial(_round_trip, camera, frames, path))
    return Checked(path, True, frames, tuple(troubles))


@dataclass(frozen=True)
class _Subject:
    """A frame under test; its image is read once for all checks."""

    camera: Instrument
    frame: Frame

    @cached_property
    def picture(self) -> CCDData:
        return self.camera.read(self.frame)


def _attempt(aspect: str, path: Path, check: Callable[[], Sequence[str]], which: str = "") -> list[Trouble]:
    """Run one check; an exception of the camera becomes its outcome."""
    try:
        said = check()
    except Exception as error:  # as above
        said = [_said(error, path)]
    return [Trouble(aspect, which + text) for text in said]


def _said(error: Exception, path: Path) -> str:
    text = " ".join(told_of(error, path.resolve(), path).split())
    return text if isinstance(error, FrameError) else f"the camera raised {type(error).__name__}: {text}"


def _facts(subject: _Subject) -> list[str]:
    frame, found = subject.frame, []
    if min(frame.shape) <= 0:
        found.append(f"the image has {frame.shape[1]} x {frame.shape[0]} pixels")
    if not frame.amplifiers:
        found.append("no amplifier is named")
    for number, amplifier in enumerate(frame.amplifiers, 1):
        for name, section in (("data", amplifier.data), ("overscan", amplifier.overscan)):
            if section is not None and not section.within(frame.shape):
                size = f"{frame.shape[1]} x {frame.shape[0]}"
                found.append(f"{name} section {section.to_fits()} of amplifier {number} is outside the {size} pixels")
        found += [
            f"{n} of amplifier {number} is {v}"
            for n, v, ok in _positive(amplifier.gain, amplifier.read_noise)
            if not ok
        ]
    for tile in frame.tiles:
        if not tile.target.within(frame.shape):
            found.append(f"tile {tile.target.to_fits()} is outside the {frame.shape[1]} x {frame.shape[0]} pixels")
    for name, low, high in (
        ("exptime", 0.0, float("inf")),
        ("ra", 0.0, 360.0),
        ("dec", -90.0, 90.0),
        ("airmass", 0.999, 100.0),
        ("saturation", 1.0, float("inf")),
        ("scale", 1e-6, 1e6),
    ):
        value = getattr(frame, name)
        if not (value != value or low <= value <= high):
            found.append(f"{name} is {value:g}, which cannot be")
    if isfinite(frame.start) and isfinite(frame.mid) and isfinite(frame.exptime):
        into = (frame.mid - frame.start) * SECONDS_PER_DAY
        if not -SHUTTER <= into <= frame.exptime + SHUTTER:
            found.append(
                f"the middle, {mjd_to_iso(frame.mid)}, is not inside the exposure of {frame.exptime:g} s that began at "
                f"{mjd_to_iso(frame.start)}"
            )
    if Frame.from_dict(json.loads(json.dumps(frame.to_dict()))) != frame:
        found.append("the frame does not come back from JSON: use plain numbers and texts")
    return found


def _positive(gain: float, read_noise: float) -> Iterator[tuple[str, float, bool]]:
    yield "gain", gain, gain != gain or gain > 0
    yield "read noise", read_noise, read_noise != read_noise or read_noise >= 0


def _pixels(subject: _Subject) -> list[str]:
    frame, picture = subject.frame, subject.picture
    if picture.shape != frame.shape:
        return [f"the image has the shape {picture.shape}, the header promised {frame.shape}"]
    found = []
    if picture.data.dtype != np.float32 or not picture.data.dtype.isnative:
        found.append(f"pixels are {picture.data.dtype}, not native float32")
    if str(picture.unit) != "adu":
        found.append(f"the unit of raw pixels is {picture.unit}, not adu")
    if variance_of(picture) is not None:
        found.append("raw pixels have a variance, which comes with the corrections")
    finite = np.isfinite(picture.data)
    if not finite.any():
        found.append("no pixel is a number")
    unflagged = int(np.count_nonzero(~finite & ((flags_of(picture) & np.uint16(Flag.NO_DATA)) == 0)))
    if unflagged:
        found.append(f"{unflagged} pixels are not a number and not flagged as such")
    return found


def _region(subject: _Subject) -> list[str]:
    ny, nx = subject.frame.shape
    region = Section(ny // 3, max(2 * ny // 3, ny // 3 + 1), nx // 5, max(4 * nx // 5, nx // 5 + 1))
    whole, part = subject.picture, subject.camera.read(subject.frame, region)
    if part.shape != region.shape:
        return [f"the region {region.to_fits()} has the shape {part.shape}"]
    found = []
    if not np.array_equal(part.data, whole.data[region.slices], equal_nan=True):
        found.append(f"pixels of the region {region.to_fits()} are not those of the whole image")
    if not np.array_equal(flags_of(part), flags_of(whole)[region.slices]):
        found.append(f"flags of the region {region.to_fits()} are not those of the whole image")
    return found


def off_pointing(camera: Instrument, frame: Frame) -> list[str]:
    """Say if the celestial coordinates of a frame are further from its pointing than its field is wide."""
    wcs = camera.wcs(frame)
    if wcs is None:
        return []
    ny, nx = frame.shape
    ra, dec = (float(value) for value in wcs.celestial.wcs_pix2world(0.5 * (nx - 1), 0.5 * (ny - 1), 0))
    if not (isfinite(ra) and isfinite(dec)):
        return ["the coordinates of the middle of the image are not numbers"]
    if not frame.has_position:
        return []
    from astropy.coordinates import angular_separation

    off = np.rad2deg(float(angular_separation(*np.deg2rad([ra, dec, frame.ra, frame.dec]))))
    field = hypot(ny, nx) * frame.scale / 3600.0 if isfinite(frame.scale) else LEAST_FIELD
    if off > field:
        return [f"the coordinates put the middle of the image {off:.2f} deg from the pointing"]
    return []


def _sky(subject: _Subject) -> list[str]:
    return off_pointing(subject.camera, subject.frame)


CHECKS: dict[str, Callable[[_Subject], list[str]]] = {
    "facts": _facts,
    "sky": _sky,
    "pixels": _pixels,
    "region": _region,
}
"""What is tried with every frame, in an order in which the cheap comes first."""


def _round_trip(camera: Instrument, frames: Sequence[Frame], path: Path) -> list[str]:
    found = []
    with TemporaryDirectory() as folder:
        # Kinds may be told by the names of the file and its folder.
        copy = Path(folder) / path.resolve().parent.name / path.name
        copy.parent.mkdir()
        try:
            write_blank(camera, frames, copy)
        except (FrameError, ValueError):
            return []  # the camera writes no frames of this kind
        again = list(camera.frames(copy))
        for frame in frames:
            # The image of a packed file lies in the first extension; a camera writes it into the file's own place.
            back = same_place(again, frame)
            if len(back) != 1:
                found.append(f"{len(back)} frames came back from the header of HDU {frame.hdu}")
            else:
                found += differences(back[0], frame)
    return found
