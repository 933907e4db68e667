"""Celestial coordinates of a frame from where the telescope pointed, and whether those of a header can be true.

The guess is a gnomonic projection (TAN) about the middle of the chip, which is taken for where the telescope points.
North is up and east to the left where the position angle is zero; else the detector's y axis points to that angle, from
north through east. That the angle turns the picture so is not verified on the sky.
"""

from __future__ import annotations

from math import cos, hypot, isfinite, radians
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from astropy.wcs import WCS

    from albireo import Cards, Frame

__all__ = ["believable", "pointing_wcs"]

MIDDLE = (3072.5, 3080.5)
"""Middle of the chip along x and y, in unbinned pixels from one."""

FARTHEST = 1.0
"""Degrees that the middle of a frame can be from where the telescope points."""

SCALES = (0.67, 1.5)
"""What the pixel scale of a header can be, relative to that of the camera."""


def pointing_wcs(frame: Frame, cards: Cards) -> WCS | None:
    """Make coordinates from pointing, window and position angle.

    Parameters
    ----------
    frame : Frame
    cards : Cards
        Of its header: IPA or SKYVPA in degrees, and the window AORGX_01 to AENDY_01 of each amplifier.

    Returns
    -------
    WCS or None
        For zero-based pixels of the raw image; None if pointing or scale are not known.
    """
    if not (frame.has_position and isfinite(frame.scale) and frame.amplifiers):
        return None
    from albireo import tangent_wcs

    angle = cards.number("IPA", "SKYVPA", default=0.0)
    return tangent_wcs(frame.ra, frame.dec, *_middle(frame, cards), frame.scale, angle)


def believable(wcs: WCS, frame: Frame) -> bool:
    """Whether coordinates have the scale of the camera and lie where the telescope points, if that is known."""
    import numpy as np

    ny, nx = frame.shape
    x, y = 0.5 * (nx - 1), 0.5 * (ny - 1)
    try:
        here, beside = wcs.all_pix2world([[x, y], [x + 1.0, y]], 0)
    except (ValueError, np.linalg.LinAlgError):  # a matrix that cannot be inverted
        return False
    if not np.isfinite([here, beside]).all():
        return False
    scale = 3600.0 * _apart(here, beside)
    if isfinite(frame.scale) and not SCALES[0] < scale / frame.scale < SCALES[1]:
        return False
    return not frame.has_position or _apart(here, (frame.ra, frame.dec)) < FARTHEST


def _middle(frame: Frame, cards: Cards) -> tuple[float, float]:
    """Where the middle of the chip lies in the raw image, in pixels from one; outside of most windows."""
    sections = [amplifier.data for amplifier in frame.amplifiers]
    middle = []
    for axis, key, ends in (
        (0, "X", [(s.x0, s.x1) for s in sections]),
        (1, "Y", [(s.y0, s.y1) for s in sections]),
    ):
        centre = 0.5 * (min(start for start, _ in ends) + max(stop for _, stop in ends) + 1)
        first = [n for amp in range(1, 5) if (n := cards.number(f"AORG{key}_0{amp}")) > 0]
        last = [n for amp in range(1, 5) if (n := cards.number(f"AEND{key}_0{amp}")) > 0]
        if first and last:
            centre += (MIDDLE[axis] - 0.5 * (min(first) + max(last))) / _binning(frame)[axis]
        middle.append(centre)
    return middle[0], middle[1]


def _binning(frame: Frame) -> tuple[float, float]:
    parts = dict(frame.setup).get("binning", "").split()
    try:
        x, y = (float(part) for part in parts)
    except ValueError:
        return 1.0, 1.0
    return (x, y) if x > 0 and y > 0 else (1.0, 1.0)


def _apart(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Distance of two close places on the sky, in degrees."""
    east = (one[0] - other[0] + 180.0) % 360.0 - 180.0
    return hypot(east * cos(radians(other[1])), one[1] - other[1])
