"""Celestial coordinates of a frame from where the telescope pointed: a start for a fit, good to some arcseconds.

The projection is gnomonic (TAN) about the middle of the image. With the pixel scale p and the angle ROT the matrix is
``[[-p cos ROT, p sin ROT], [p sin ROT, p cos ROT]]``: north up and east left where ROT is zero. The middle of the image
is off the pointing by a few pixels, which the table below holds. All of this is what the public pipeline does; that it
holds for both arms alike is not verified on the sky.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, isfinite, radians
from typing import TYPE_CHECKING

from albireo import iso_to_mjd

if TYPE_CHECKING:
    from astropy.wcs import WCS

    from albireo import Frame

__all__ = ["OFFSETS", "ROTATIONS", "Offset", "Rotation", "offset", "pointing_wcs", "rotation"]


@dataclass(frozen=True)
class Offset:
    """How far the middle of the image lies from the pointing, in pixels.

    Attributes
    ----------
    detector : str
    since : str
        First date, UTC.
    east, north : float
    """

    detector: str
    since: str
    east: float
    north: float


OFFSETS = (
    Offset("YJ", "2025-10-01", 88.0, -33.0),
    Offset("HK", "2025-10-01", 88.0, -33.0),
)
"""By arm and date, the latest first date before a frame counting; frames before all of them have the earliest. The
public pipeline of 2026 has these numbers, tuned on frames of October 2025; an earlier version had (75, -25)."""


@dataclass(frozen=True)
class Rotation:
    """The angle that stands in for a ROT that is missing.

    Attributes
    ----------
    since, until : str
        Dates, UTC.
    angle : float
        In degrees.
    """

    since: str
    until: str
    angle: float


ROTATIONS = (Rotation("2025-10-01", "2025-11-03", 5.3),)
"""ROT was not usable on 2025-10-09, and the public pipeline took 5.3 deg. How long that held is not known; here it ends
with the change of the crop. At other dates a missing ROT counts as zero."""


def offset(detector: str, mjd: float) -> Offset:
    """Give the offset of an arm at a date."""
    rows = sorted((row for row in OFFSETS if row.detector == detector), key=lambda row: iso_to_mjd(row.since))
    return next((row for row in reversed(rows) if mjd >= iso_to_mjd(row.since)), rows[0])


def rotation(mjd: float) -> float:
    """Give the angle, in degrees, of a frame whose header has no ROT."""
    rows = (row for row in ROTATIONS if iso_to_mjd(row.since) <= mjd < iso_to_mjd(row.until))
    return next((row.angle for row in rows), 0.0)


def pointing_wcs(frame: Frame, angle: float) -> WCS | None:
    """Make coordinates from the pointing.

    Parameters
    ----------
    frame : Frame
    angle : float
        ROT in degrees; NaN if the header has none.

    Returns
    -------
    WCS or None
        For zero-based pixels of the frame; None if its pointing or scale is not known.
    """
    if not (frame.has_position and isfinite(frame.scale)):
        return None
    from albireo import tangent_wcs

    step, shift = frame.scale / 3600.0, offset(frame.detector, frame.start)
    ny, nx = frame.shape
    ra = (frame.ra + shift.east * step / cos(radians(frame.dec))) % 360.0
    dec = frame.dec + shift.north * step
    return tangent_wcs(ra, dec, nx / 2, ny / 2, frame.scale, angle if isfinite(angle) else rotation(frame.start))
