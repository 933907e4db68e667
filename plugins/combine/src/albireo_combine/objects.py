"""Which pixels of a frame are covered by stars and galaxies, as a short list of ellipses for each frame.

What a frame has on top of a first master is smoothed, and connected pixels above the noise make an object. Its outline
is turned into the ellipse of equal second moments, which is then made larger, because an object goes on where it can no
longer be seen. Ellipses are a few numbers for each object, so that any number of frames can be looked through and then
combined in strips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from albireo_combine.noise import sampled
from albireo_combine.rules import MAD_TO_SIGMA
from albireo_combine.surface import Surface

if TYPE_CHECKING:
    from numpy.typing import NDArray

WINDOW = 3
"""Side in pixels of the square that is averaged before objects are looked for."""

LEAST_AREA = 5
"""Connected pixels of the smoothed image that an object must have; a cosmic ray in one pixel has nine."""

SHARP = 0.5
"""Part of all light of a window that one pixel has where it is a cosmic ray and no star."""


@dataclass(frozen=True)
class Ellipses:
    """Ellipses on an image; arrays of float64, one element for each.

    Attributes
    ----------
    y, x : ndarray
        Centres in pixels.
    yy, xx, xy : ndarray
        A pixel lies inside where ``yy dy**2 + xx dx**2 + xy dx dy <= 1``.
    dy, dx : ndarray
        Half of height and width.
    """

    y: NDArray[np.float64]
    x: NDArray[np.float64]
    yy: NDArray[np.float64]
    xx: NDArray[np.float64]
    xy: NDArray[np.float64]
    dy: NDArray[np.float64]
    dx: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.y)

    def cover(self, rows: slice, width: int) -> NDArray[np.bool_] | None:
        """Mark the pixels inside any of them in some rows of an image; None if there are none.

        Parameters
        ----------
        rows : slice
            With start and stop.
        width : int
            Columns of the image.
        """
        near = np.flatnonzero((self.y + self.dy >= rows.start) & (self.y - self.dy <= rows.stop - 1))
        if not near.size:
            return None
        covered = np.zeros((rows.stop - rows.start, width), dtype=np.bool_)
        for k in near:
            top, bottom = max(rows.start, int(self.y[k] - self.dy[k])), min(rows.stop, int(self.y[k] + self.dy[k]) + 2)
            left, right = max(0, int(self.x[k] - self.dx[k])), min(width, int(self.x[k] + self.dx[k]) + 2)
            v = np.arange(top, bottom)[:, None] - self.y[k]
            u = np.arange(left, right) - self.x[k]
            inside = self.yy[k] * v * v + self.xx[k] * u * u + self.xy[k] * u * v <= 1.0
            covered[top - rows.start : bottom - rows.start, left:right] |= inside
        return covered


@dataclass(frozen=True)
class Masks:
    """Ellipses of every frame of a stack, in the form that `albireo_combine.combining` hides pixels by."""

    ellipses: Sequence[Ellipses]
    width: int

    def __call__(self, index: int, rows: slice) -> NDArray[np.bool_] | None:
        """Mark the covered pixels of a frame in some rows; None if there are none."""
        return self.ellipses[index].cover(rows, self.width)


def find_objects(excess: NDArray[np.floating], threshold: float, grow: float, box: int) -> Ellipses:
    """Find what stands out of an image.

    Parameters
    ----------
    excess : ndarray, shape (ny, nx)
        What a frame has on top of its background, which may still vary slowly; NaN where nothing is known.
    threshold : float
        In standard deviations of the smoothed image.
    grow : float
        By what the axes of an ellipse are multiplied.
    box : int
        Side in pixels of the boxes in which the slow variation is taken out; larger than any object.
    """
    from scipy import ndimage

    flat = np.asarray(excess, dtype=np.float32) - Surface.of(excess, box)().astype(np.float32)
    good = np.isfinite(flat)
    if not good.any():
        return _ellipses(np.zeros((0, 5)), grow)
    flat[~good] = 0.0
    smooth = ndimage.uniform_filter(flat, WINDOW, mode="constant")
    if not good.all():
        # Light of a window is spread over the pixels that it has; where it lacks half of them nothing is known.
        known = ndimage.uniform_filter(good.astype(np.float32), WINDOW, mode="constant")
        smooth = np.where(known > 0.5, smooth / np.maximum(known, 0.5), np.float32(np.nan))
    quiet = smooth[sampled(smooth.shape)]
    quiet = quiet[np.isfinite(quiet)] if np.isfinite(quiet).any() else np.zeros(1, dtype=np.float32)
    middle = float(np.median(quiet))
    sigma = MAD_TO_SIGMA * float(np.median(np.abs(quiet - np.float32(middle))))
    labels, count = ndimage.label(smooth > middle + threshold * sigma, structure=np.ones((3, 3)))
    if not count or sigma == 0.0:
        return _ellipses(np.zeros((0, 5)), grow)
    y, x = np.nonzero(labels)
    which = labels[y, x] - 1
    area = np.bincount(which, minlength=count)

    def mean(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(which, weights, minlength=count) / area

    cy, cx = mean(y.astype(np.float64)), mean(x.astype(np.float64))
    v, u = y - cy[which], x - cx[which]
    peak, light = np.zeros((2, count))
    np.maximum.at(peak, which, flat[y, x])
    np.maximum.at(light, which, WINDOW**2 * smooth[y, x])
    star = (area >= LEAST_AREA) & (peak < SHARP * light)
    moments = np.stack([cy, cx, mean(v * v), mean(u * u), mean(u * v)], axis=1)
    return _ellipses(moments[star], grow)


def _ellipses(moments: NDArray[np.float64], grow: float) -> Ellipses:
    """Turn centres and second moments into ellipses; a filled ellipse has a quarter of its axes squared as moments.

    One twelfth is the moment of a pixel along each axis. No ellipse is thinner than the window of the smoothing.
    """
    cy, cx, vv, uu, uv = moments.T
    mean, half = 0.5 * (vv + uu), np.hypot(0.5 * (vv - uu), uv)
    angle = 0.5 * np.arctan2(2.0 * uv, uu - vv)
    least = WINDOW**2 / 4.0
    major, minor = (4.0 * grow**2 * np.maximum(m + 1.0 / 12.0, least) for m in (mean + half, mean - half))
    c, s = np.cos(angle), np.sin(angle)
    return Ellipses(
        cy,
        cx,
        yy=s**2 / major + c**2 / minor,
        xx=c**2 / major + s**2 / minor,
        xy=2.0 * c * s * (1.0 / major - 1.0 / minor),
        dy=np.sqrt(s**2 * major + c**2 * minor),
        dx=np.sqrt(c**2 * major + s**2 * minor),
    )
