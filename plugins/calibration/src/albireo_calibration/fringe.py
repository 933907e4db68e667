"""Fringe: the interference pattern of the night sky in a thin chip, scaled to each frame and subtracted.

Emission lines of the night sky interfere within the chip. Their pattern stays in its place; its strength goes with that
of the lines, which change during a night. A master fringe is dimensionless and around zero, in units of the level of
the sky. What is subtracted is the master times an amplitude, which is found by least squares (Snodgrass & Carry 2013,
The Messenger, 152, 14, scale by pairs of pixels instead).

Fringes are wider than pixels: image and master are first averaged over 4 x 4 pixels, which takes away most of the noise
of the master and none of its pattern. Then they are cut into boxes. In each, both lose a plane a + b x + c y, fitted to
the same places, so that neither the sky, nor its gradient, nor wide wings of stars can pass for fringes. With the
remainders d of the image and t of the master the amplitude is ``A = sum(d t) / (sum(t**2) - k sum(V_t))`` over all
boxes; V_t, the variance of the master, takes away what its noise adds to the sum of squares (errors in variables;
Fuller 1987, Measurement Error Models, section 1.2). Places far from ``A t`` in units of the scatter are left out, and
all is done again until A stays. This leaves out places where the noise of the master is large, too; what it takes from
both sums makes k the variance of a unit normal distribution that is cut at the same place.

The error of A comes from the scatter of the boxes: ``sum_b (n_b - A s_b)**2 / (sum_b s_b)**2`` with the two sums of
each box, n_b and s_b. It holds too where neighbouring places are not independent.

A frame that is one of the n that made the master finds its own noise there, which makes A larger by the ratio of the
sums of V_t and t**2: by 0.6 % where twelve frames have a sky of 1000 electrons and fringes of 3 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import erf, exp, pi, sqrt
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from pydantic import Field

from albireo import Frame, FrameError, PixelwiseCorrection

if TYPE_CHECKING:
    import numpy as np
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

    from albireo import Terms

BIN = 4
"""Pixels on a side that are averaged before the fit."""

LEAST = 0.25
"""A box with a smaller part of its places left takes no part."""

FEWEST_BOXES = 4
"""With fewer boxes their scatter tells no error."""

ROUNDS = 15
"""Rounds of clipping at most."""

SETTLED = 0.05
"""The amplitude stays if it changes by a smaller part of its error."""

MAD_TO_SIGMA = 1.482602218505602
"""Standard deviation of a normal distribution whose median absolute deviation is one."""


class Fringe(PixelwiseCorrection, name="fringe"):
    """Fit the strength of the fringes in each frame and subtract them, with the variance of both.

    With the image I, the master T and the amplitude A, the result is ``I - A T`` with the variance
    ``V_I + A**2 V_T + T**2 V_A``. Masked pixels take no part in the fit; pixels without a master become NaN
    (`Flag.NO_DATA`). All pixels share the error of A, which a variance plane cannot say. Stars lose nothing: what is
    subtracted is the pattern of the sky beneath them.
    """

    master = "fringe"
    looks_at_pixels: ClassVar[bool] = True
    needs = frozenset({"pedestal", "flat"})
    citations = (
        "Snodgrass, C. & Carry, B. 2013, The Messenger, 152, 14",
        "Fuller, W. A. 1987, Measurement Error Models (Wiley)",
    )

    box: int = Field(
        128,
        ge=16,
        description="Side of the boxes within which the sky is taken as a plane; some fringes should fit into one.",
        json_schema_extra={"unit": "pixel"},
    )
    clip: float = Field(
        3.0,
        ge=2,
        description="Pixels farther than this from the fitted pattern do not enter it.",
        json_schema_extra={"unit": "standard deviation"},
    )

    def terms(self, image: CCDData, frame: Frame, masters: Mapping[str, CCDData]) -> Terms:
        """Fit the amplitude and give the fringes to subtract.

        Raises
        ------
        FrameError
            If too few pixels are left for the fit, the master shows nothing above its noise, or it has another shape.
        """
        import numpy as np

        from albireo import Terms
        from albireo_calibration.planes import master_for, raised_flags, variance_plane

        master = master_for(self.master, image, frame, masters)
        fit = self._fit(image, master, frame)
        error = np.square(master.data)
        error *= np.float32(fit.error**2)
        error += np.float32(fit.amplitude**2) * variance_plane(master)
        return Terms(
            subtract=master.data * np.float32(fit.amplitude),
            subtract_variance=error,
            flags=raised_flags(master),
            note=f"fringe: amplitude {fit.amplitude:.5g} +- {fit.error:.2g} {image.unit}",
        )

    def _fit(self, image: CCDData, master: CCDData, frame: Frame) -> _Amplitude:
        """Amplitude of the master in an image."""
        import numpy as np

        from albireo_calibration.planes import variance_plane

        side = min(self.box, image.shape[0] // 2, image.shape[1] // 2)  # four boxes fit into any image
        usable = np.isfinite(image.data) & np.isfinite(master.data)
        for picture in (image, master):
            if picture.mask is not None:
                usable &= ~picture.mask
        noise = np.broadcast_to(np.asarray(variance_plane(master), dtype=np.float32), image.shape)
        usable &= np.isfinite(noise)
        count = _sums(usable)
        many = np.maximum(count, 1)
        box = (max(3, side // BIN),) * 2
        light, pattern, noise = (
            _boxes(_sums(np.where(usable, plane, np.float32(0.0))) / divisor, box)
            for plane, divisor in ((image.data, many), (master.data, many), (noise, many * many))
        )
        good = _boxes(count >= BIN * BIN / 2, box)
        full = good.mean(axis=1) >= LEAST
        if full.sum() < FEWEST_BOXES:
            raise FrameError(
                f"the fringes in {frame.name} cannot be measured: {full.sum()} boxes of {side} pixels have enough "
                f"usable ones, at least {FEWEST_BOXES} are needed; make `box` smaller, or see what masks the pixels"
            )
        fit = _least_squares(light[full], pattern[full], noise[full], good[full], box, self.clip)
        if fit is None:
            raise FrameError(
                f"the master fringe for {frame.name} shows no pattern above its noise; make it from more frames, or "
                "leave `fringe` out for this filter"
            )
        return fit


class _Amplitude(NamedTuple):
    amplitude: float
    error: float


def _sums(plane: NDArray[Any]) -> NDArray[np.float32]:
    """Sum a plane over squares of pixels; what is left at two edges takes no part."""
    import numpy as np

    rows, columns = plane.shape[0] // BIN, plane.shape[1] // BIN
    sums = np.zeros((rows, columns), dtype=np.float32)
    for y in range(BIN):
        for x in range(BIN):
            sums += plane[y : rows * BIN : BIN, x : columns * BIN : BIN]
    return sums


def _boxes(plane: NDArray[Any], box: tuple[int, int]) -> NDArray[Any]:
    """Cut a plane into whole boxes, shape (boxes, places); what is left at two edges takes no part."""
    rows, columns = plane.shape[0] // box[0], plane.shape[1] // box[1]
    whole = plane[: rows * box[0], : columns * box[1]].reshape(rows, box[0], columns, box[1])
    return whole.swapaxes(1, 2).reshape(rows * columns, box[0] * box[1])


def _least_squares(
    light: NDArray[np.float32],
    pattern: NDArray[np.float32],
    noise: NDArray[np.float32],
    good: NDArray[np.bool_],
    box: tuple[int, int],
    clip: float,
) -> _Amplitude | None:
    """Fit with clipping, all arrays of shape (boxes, places); None if the pattern is not more than its noise."""
    import numpy as np

    y, x = np.mgrid[-1.0 : 1.0 : box[0] * 1j, -1.0 : 1.0 : box[1] * 1j]
    shapes = np.stack([np.ones(x.size), x.ravel(), y.ravel()], axis=1)
    noise = noise * np.float32(_kept_variance(clip))
    # To begin with, stars are told from the sky by the median of a box, which they hardly move.
    off = light = np.where(good, light - _medians(light, good)[:, None], np.float32(0.0))
    pattern = np.where(good, pattern, np.float32(0.0))
    kept, fit = good, None
    for _ in range(ROUNDS):
        kept = good & (np.abs(off) <= clip * MAD_TO_SIGMA * float(np.median(np.abs(off[kept]))))
        kept[kept.mean(axis=1) < LEAST] = False
        d, t = (_without_planes(values, shapes, kept) for values in (light, pattern))
        products = (d * t).sum(axis=1, where=kept)
        squares = (t * t - noise).sum(axis=1, where=kept)
        if not squares.sum() > 0:
            return None
        last, amplitude = fit, float(products.sum() / squares.sum())
        fit = _Amplitude(amplitude, float(np.sqrt(np.square(products - amplitude * squares).sum()) / squares.sum()))
        if last is not None and abs(fit.amplitude - last.amplitude) <= SETTLED * fit.error:
            break
        off = d - amplitude * t
    return fit


def _kept_variance(clip: float) -> float:
    """Variance of a unit normal distribution cut at ``-clip`` and ``+clip``."""
    return 1.0 - 2.0 * clip * exp(-0.5 * clip**2) / (sqrt(2.0 * pi) * erf(clip / sqrt(2.0)))


def _medians(values: NDArray[np.float32], good: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Median of the good places of each box, the lower of the two middle ones."""
    import numpy as np

    ordered = np.sort(np.where(good, values, np.float32(np.inf)), axis=1)
    medians: NDArray[np.float32] = ordered[np.arange(len(ordered)), (good.sum(axis=1) - 1) // 2]
    return medians


def _without_planes(
    values: NDArray[np.float32], shapes: NDArray[np.float64], kept: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Take away the plane that fits the kept places of each box best; boxes without any stay as they are."""
    import numpy as np

    normal = (kept @ (shapes[:, :, None] * shapes[:, None, :]).reshape(-1, 9)).reshape(-1, 3, 3)
    normal[~kept.any(axis=1)] = np.eye(3)
    moments = np.where(kept, values, np.float32(0.0)) @ shapes
    planes = np.linalg.solve(normal, moments[:, :, None])[:, :, 0] @ shapes.T
    return values - planes.astype(np.float32)
