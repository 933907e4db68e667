"""Where pixels lie on the sky, from where the telescope pointed: a guess to start a plate solution from.

The coordinates of each chip are a tangential projection. The telescope is sent to STRSTRA, STRSTDE and then moved by
the offset of the aperture, so that the optical axis points at

    RA = STRSTRA + STRAPRAO / cos(STRSTDE),    Dec = STRSTDE + STRAPDEO    (degrees).

Plate solutions and repeated fields lie up to 2 arcmin from it; see `POINTING_ERROR`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import atan2, cos, degrees, hypot, isfinite, nan, radians, sin
from typing import TYPE_CHECKING

from albireo import Cards, Frame
from albireo_ratir.channels import channel
from albireo_ratir.halves import APERTURES

if TYPE_CHECKING:
    from astropy.wcs import WCS

__all__ = ["CHIPS", "POINTING_ERROR", "Chip", "axis_of", "celestial", "centre_of", "first_pixel", "optical_axis"]

POINTING_ERROR = 150.0
"""Arcsec within which the true place of the axis has been found; 112 is the largest that was seen."""

DISTORTION_5, DISTORTION_7 = -19.60381671, -4128.15179797
"""Radial terms of the infrared optics in degrees, r^5 and r^7 (PhotoPipe and headers of 2013)."""

ARRAY = 2048
"""Pixels on a side of a raw infrared frame."""

CCD = (1024, 1024)
"""Shape of a raw frame of a CCD without overscan."""

STEPS = 8
"""Rounds of looking for the axis; each makes the error about a thousand times smaller."""


@dataclass(frozen=True)
class Chip:
    """How a chip lies on the sky: ``CD = [[-s1 cos t, s2 sin t], [s1 sin t, s2 cos t]]`` (PhotoPipe).

    Attributes
    ----------
    s1, s2 : float
        Scales along x and y in arcsec per pixel; with a negative s2 the image is mirrored.
    angle : float
        t in degrees.
    x, y : float
        Pixel of the optical axis in the whole raw frame, counted from one.
    distorted : bool
        Whether the infrared distortion applies.
    """

    s1: float
    s2: float
    angle: float
    x: float
    y: float
    distorted: bool = False

    @property
    def cd(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """The CD matrix, in degrees per pixel."""
        c, s = cos(radians(self.angle)) / 3600.0, sin(radians(self.angle)) / 3600.0
        return (-self.s1 * c, self.s2 * s), (self.s1 * s, self.s2 * c)


CHIPS = {
    "C0": Chip(0.3168, 0.3171, 0.60, 512, 512),
    "C1": Chip(0.3171, 0.3191, 2.40, 512, 512),  # confirmed on the sky
    "C2": Chip(0.2988, 0.2955, -88.1, 1177, 1031, distorted=True),
    "C3": Chip(0.2983, -0.2945, 90.4, 924, 982, distorted=True),
}


def optical_axis(cards: Cards) -> tuple[float, float]:
    """Give right ascension and declination of the optical axis in degrees; NaN if the cards do not say.

    STRRQRA with its offsets stands in for STRSTRA, and a table for the offset of the aperture. Both offsets are
    distances on the sky and are divided by cos(Dec).
    """
    ra, dec = cards.number("STRSTRA"), cards.number("STRSTDE")
    if not (isfinite(ra) and isfinite(dec)):
        d = cards.number("STRRQDE")
        ra = cards.number("STRRQRA") + (cards.number("STRRQRAO", default=0.0) / cos(radians(d)) if isfinite(d) else nan)
        dec = d + cards.number("STRRQDEO", default=0.0)
    if not (isfinite(ra) and -90.0 < dec < 90.0):
        return nan, nan
    east, north = APERTURES.get(str(cards.get("STRRQAP", "")), (0.0, 0.0))
    ra += cards.number("STRAPRAO", default=-east / 60.0) / cos(radians(dec))
    return ra % 360.0, dec + cards.number("STRAPDEO", default=-north / 60.0)


def centre_of(frame: Frame, ra: float, dec: float) -> tuple[float, float]:
    """Give the celestial coordinates of the centre of a frame's lit pixels, if the axis points at ``ra``, ``dec``.

    NaN where it is not known which part of the chip the frame shows. The distortion is left out: it is below 0.1
    arcsec there.
    """
    place = _centre_pixel(frame)
    if place is None:
        return nan, nan
    chip = CHIPS[channel(frame.detector)]
    dx, dy = place[0] - chip.x, place[1] - chip.y
    (a, b), (c, d) = chip.cd
    xi, eta = radians(a * dx + b * dy), radians(c * dx + d * dy)
    # Inverse gnomonic projection (Calabretta & Greisen 2002, section 5.1.3).
    along = cos(radians(dec)) - eta * sin(radians(dec))
    up = sin(radians(dec)) + eta * cos(radians(dec))
    return (ra + degrees(atan2(xi, along))) % 360.0, degrees(atan2(up, hypot(xi, along)))


def axis_of(frame: Frame) -> tuple[float, float]:
    """Give where the optical axis points for a frame whose centre lies at its ``ra``, ``dec``: inverts `centre_of`."""
    ra, dec = frame.ra, frame.dec
    for _ in range(STEPS):
        there = centre_of(frame, ra, dec)
        ra += (frame.ra - there[0] + 180.0) % 360.0 - 180.0
        dec += frame.dec - there[1]
    return ra % 360.0, dec


def celestial(frame: Frame) -> WCS | None:
    """Give the coordinates of the raw image of a frame, from where it points; None if that is not known.

    The pixel of the axis moves with the window. CSYER says that they are good to `POINTING_ERROR` only.
    """
    start = first_pixel(frame)
    if start is None or not frame.has_position:
        return None
    from astropy.io.fits import Header
    from astropy.wcs import WCS

    chip = CHIPS[channel(frame.detector)]
    kind = "TPV" if chip.distorted else "TAN"
    axis = axis_of(frame)
    cards = {"CTYPE1": f"RA---{kind}", "CTYPE2": f"DEC--{kind}", "RADESYS": "ICRS"}
    header = Header(cards)
    for row, (reference, pixel, value) in enumerate(zip((chip.x, chip.y), start, axis, strict=True), 1):
        header[f"CRPIX{row}"], header[f"CRVAL{row}"] = reference - pixel, value
        header[f"CD{row}_1"], header[f"CD{row}_2"] = chip.cd[row - 1]
        header[f"CSYER{row}"] = POINTING_ERROR / 3600.0
        if chip.distorted:
            a, b = DISTORTION_5, DISTORTION_7  # of x (x^2 + y^2)^2 and x (x^2 + y^2)^3, term by term
            terms = {1: 1.0, 17: a, 19: 2 * a, 21: a, 31: b, 33: 3 * b, 35: 3 * b, 37: b}
            header.update({f"PV{row}_{term}": factor for term, factor in terms.items()})
    return WCS(header)


def _centre_pixel(frame: Frame) -> tuple[float, float] | None:
    """Give the centre of the lit pixels in the whole raw frame, counted from one."""
    start = first_pixel(frame)
    if start is None:
        return None
    lit = frame.amplifiers[0].data
    return start[0] + 0.5 * (lit.x0 + lit.x1 + 1), start[1] + 0.5 * (lit.y0 + lit.y1 + 1)


def first_pixel(frame: Frame) -> tuple[int, int] | None:
    """Give how many columns and rows of the whole raw frame precede the raw image; None if that is not known."""
    if frame.tiles:
        tile = frame.tiles[0]
        return (tile.source.x0, tile.source.y0) if min(tile.image) >= ARRAY else None
    lit, overscan = frame.amplifiers[0].data, frame.amplifiers[0].overscan
    if overscan is not None:
        return -lit.x0, -lit.y0
    return (0, 0) if frame.shape == CCD else None
