"""Whether a camera writes the headers that it reads: files with a header and no pixels to speak of.

`header` is the inverse of `frames`. To try this on thousands of frames the files are sparse: the header is
written, and the file is made as long as its pixels would be, which takes no time and no disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import cos, isfinite, prod, radians
from pathlib import Path
from typing import TYPE_CHECKING

from albireo.frames import SECONDS_PER_DAY, Frame
from albireo.roles import Instrument

if TYPE_CHECKING:
    from astropy.io.fits import Header

__all__ = ["differences", "same_place", "write_blank"]

TIME_TOLERANCE = 0.02
"""Seconds: headers that keep hundredths are good enough."""
ANGLE_TOLERANCE = 1e-3
"""Degrees: sexagesimal headers keep a few arcseconds."""
RELATIVE_TOLERANCE = 1e-3

BLOCK = 2880
BITS = 16
STRUCTURE = ("SIMPLE", "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "PCOUNT", "GCOUNT", "EXTEND", "END")


def write_blank(camera: Instrument, frames: Sequence[Frame], path: Path) -> None:
    """Write the file that a camera would write for frames that lie in one file, with pixels of no meaning.

    Raises
    ------
    ValueError
        If the camera writes no such frames.
    OSError
        If the file exists already.
    """
    from astropy.io.fits import Header

    headers: dict[int, Header] = {}
    shapes: dict[int, tuple[int, int]] = {}
    for frame in frames:
        for index, header in camera.headers(frame).items():
            headers.setdefault(index, header)  # the first frame speaks for what several share
        shapes.update({tile.hdu: tile.image for tile in frame.tiles} or {frame.hdu: frame.shape})
    with path.open("xb") as file:
        for index in range(max((*headers, *shapes)) + 1):
            block = _structure(index, shapes.get(index))
            block.extend(
                (card for card in headers.get(index, Header()).cards if card.keyword not in STRUCTURE), strip=False
            )
            file.write(block.tostring().encode("ascii"))
            size = prod(shapes.get(index, (0, 0))) * BITS // 8
            file.truncate(file.tell() + size + (-size) % BLOCK)
            file.seek(0, 2)


def _structure(index: int, shape: tuple[int, int] | None) -> Header:
    """Write the cards that say where an HDU ends (FITS standard 4.0, section 4.4.1)."""
    from astropy.io.fits import Header

    cards: list[tuple[str, object]] = [("SIMPLE", True) if index == 0 else ("XTENSION", "IMAGE")]
    cards += [("BITPIX", BITS), ("NAXIS", 0 if shape is None else 2)]
    if shape is not None:
        cards += [("NAXIS1", shape[1]), ("NAXIS2", shape[0])]
    return Header([*cards, *([("EXTEND", True)] if index == 0 else [("PCOUNT", 0), ("GCOUNT", 1)])])


def differences(seen: Frame, meant: Frame) -> list[str]:
    """Say in which facts a frame that was read differs from the one that was written, beyond the precision of headers.

    What the written frame does not know counts for nothing, nor does what no header tells: names, notes and the
    temperature or pointing of calibration frames.
    """
    science = meant.kind == "science"
    exact = ["kind", "instrument", "detector", "shape", "hdu", "tiles"]
    exact += ["target"] if science else []
    exact += ["filter"] if meant.kind in ("science", "flat", "sky") else []
    exact += [name for name in ("variant", "setup", "site", "exposure") if getattr(meant, name)]
    found = [
        f"{name} came back as {getattr(seen, name)!r} instead of {getattr(meant, name)!r}"
        for name in exact
        if getattr(seen, name) != getattr(meant, name)
    ]
    for name, tolerance in _tolerances(meant, science).items():
        got, want = getattr(seen, name), getattr(meant, name)
        if isfinite(want) and not abs(_step(name, got - want)) <= tolerance:
            found.append(f"{name} came back as {got} instead of {want}")
    if len(seen.amplifiers) != len(meant.amplifiers):
        return [*found, f"{len(seen.amplifiers)} amplifiers came back instead of {len(meant.amplifiers)}"]
    for got, want in zip(seen.amplifiers, meant.amplifiers, strict=True):
        which = f" of amplifier {want.name}" if want.name else ""
        for name in ("data", "overscan"):
            a, b = getattr(got, name), getattr(want, name)
            if a != b:
                found.append(f"the {name} section{which} came back as {_fits(a)} instead of {_fits(b)}")
        for name in ("gain", "read_noise"):
            a, b = getattr(got, name), getattr(want, name)
            if isfinite(b) and not abs(a - b) <= RELATIVE_TOLERANCE * abs(b):
                found.append(f"{name}{which} came back as {a} instead of {b}")
    return found


def _tolerances(meant: Frame, science: bool) -> dict[str, float]:
    tolerances = dict.fromkeys(("start", "mid"), TIME_TOLERANCE / SECONDS_PER_DAY)
    tolerances["exptime"] = 1e-3
    if science:
        across = max(abs(cos(radians(meant.dec))), 1e-3) if isfinite(meant.dec) else 1.0
        tolerances |= {"ra": ANGLE_TOLERANCE / across, "dec": ANGLE_TOLERANCE, "airmass": 1e-2}
    for name in ("saturation", "scale", "dark_current"):
        tolerances[name] = RELATIVE_TOLERANCE * abs(getattr(meant, name))
    return tolerances


def _step(name: str, difference: float) -> float:
    """Take right ascension the short way round."""
    return (difference + 180.0) % 360.0 - 180.0 if name == "ra" else difference


def _fits(section: object) -> str:
    return section.to_fits() if hasattr(section, "to_fits") else "none"


def same_place(frames: Iterable[Frame], meant: Frame) -> list[Frame]:
    """Pick the frames that lie where another one does: the same HDU, detector and part of the image."""
    place = (meant.hdu, meant.detector, meant.tiles)
    return [frame for frame in frames if (frame.hdu, frame.detector, frame.tiles) == place]
