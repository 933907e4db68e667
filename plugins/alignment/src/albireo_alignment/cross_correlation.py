"""The shift between two images by cross-correlation, and the test that its peak means something.

What goes in. A constant in both images adds a pyramid to their correlation, with its top at no shift, that buries
every peak; so the sky, a surface of second order, is taken off, and values are in units of its noise. Masked pixels,
saturated ones among them, are zero, which is neutral then. Large values are compressed, so that no bright star, ray or
hot pixel speaks for the whole image. Images are padded with zeros: what leaves on one side does not come back on the
other.

Two steps. Binned images give the shift to a pixel of theirs. The part of the field that contributes most to that peak
is then correlated at full resolution, and the peak found between the pixels by the discrete Fourier transform on a
finer grid (Guizar-Sicairos, Thurman & Fienup 2008, Optics Letters 33, 156) and a parabola in each direction. A Gaussian
low-pass keeps single pixels from adding a peak of their own.

What the peak means. It has to stand out of the scatter of the correlation at all other shifts, which noise gives. And
it has to be without a rival: of unrelated star fields one chance meeting of bright stars is like the next, while only
one shift brings all stars together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[np.float32]

__all__ = ["Peak", "coarse_peak", "fine_shift", "normalised"]

COARSE_KNEE, FINE_KNEE = 10.0, 100.0
"""Values of this many times the noise are compressed to half, and none gets larger than this: at first, where all stars
have to be heard, and at full resolution, where the bright ones are the best measured."""

SKY_SAMPLE = 20_000
"""Pixels that the sky is fitted to, about."""

SKY_ROUNDS, SKY_CLIP = 5, 3.0
"""Rounds of the fit of the sky, and standard deviations beyond which a pixel is not sky."""

COARSE = 512
"""Largest side of the binned images in pixels."""

FINE = 1024
"""Largest side of what is correlated at full resolution, in pixels."""

TAPER = 8
"""The part of the width over which the image fades at either edge before it is correlated at full resolution is one in
this number. A star that the edge cuts would else hold the shift where the edges of both images coincide."""

CELL = 8
"""Pixels on a side of the squares in which the agreement of the images is looked at."""

LOW_PASS = 1.0
"""Standard deviation in pixels of the Gaussian that smooths the correlation at full resolution."""

FINER = 10
"""Points of the finer grid in a pixel; parabolas tell the rest."""

CONTOUR = 0.5
"""The peak reaches as far as the correlation exceeds this part of it without a gap."""

Limit = tuple[float, float] | float | None


@dataclass(frozen=True)
class Peak:
    """The highest peak of a correlation.

    Attributes
    ----------
    dx, dy : int
        The shift, to the pixel of the binned images, in pixels of the images.
    within : bool
        Whether this is within the limit.
    significance : float
        Height over the scatter of the correlation.
    rival : float
        Highest value elsewhere within the limit, as a fraction of the height.
    """

    dx: int
    dy: int
    within: bool
    significance: float
    rival: float


def normalised(data: Plane, good: NDArray[np.bool_]) -> Plane | None:
    """Take off the sky, divide by its noise, and set bad pixels to zero.

    Parameters
    ----------
    data : ndarray, shape (ny, nx)
    good : ndarray of bool
        Pixels that count.

    Returns
    -------
    ndarray of float32 or None
        None if the image has no noise or no good pixels to tell it from.
    """
    ny, nx = data.shape
    step = max(1, int(np.sqrt(data.size / SKY_SAMPLE)))
    y, x = _powers(ny), _powers(nx)
    values, use = data[::step, ::step], good[::step, ::step]
    terms = [(p, q) for p in range(3) for q in range(3 - p)]
    design = np.stack([np.outer(y[p, ::step], x[q, ::step])[use] for p, q in terms], axis=1)
    sample = values[use].astype(np.float64)
    if len(sample) <= 2 * len(terms):
        return None
    kept: NDArray[np.bool_] = np.abs(sample - np.median(sample)) <= SKY_CLIP * _scatter(sample)
    noise = 0.0
    coefficients: NDArray[Any] = np.zeros(len(terms))
    for _ in range(SKY_ROUNDS):
        # Six well-behaved terms: the normal equations are as good as a decomposition here, and much quicker.
        used = design[kept]
        coefficients = np.linalg.solve(used.T @ used, used.T @ sample[kept])
        residual = sample - design @ coefficients
        noise = _scatter(residual[kept])
        kept = np.abs(residual) <= SKY_CLIP * noise
    if not noise > np.finfo(np.float32).eps * np.abs(sample).max():
        return None
    matrix = np.zeros((3, 3))
    for (p, q), value in zip(terms, coefficients, strict=True):
        matrix[p, q] = value
    result: Plane = data - y.T.astype(np.float32) @ (matrix @ x).astype(np.float32)
    result /= np.float32(noise)
    result[~good] = 0.0
    return result


def _compressed(plane: Plane, knee: float) -> Plane:
    return np.asarray(plane / (1.0 + np.abs(plane) / knee), dtype=np.float32)


def _powers(size: int) -> NDArray[np.float64]:
    """Powers zero to two of -1 to 1, shape (3, size)."""
    axis = np.linspace(-1.0, 1.0, size)
    return np.stack([np.ones(size), axis, axis**2])


def _scatter(values: NDArray[np.float64]) -> float:
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def coarse_peak(reference: Plane, image: Plane, limit: Limit) -> Peak:
    """Correlate binned images at all shifts.

    Parameters
    ----------
    reference, image : ndarray of float32
        As `normalised` gives them.
    limit : float or (float, float), optional
        Largest shift in pixels that a rival may have: its length, or that in x and y.
    """
    from scipy import fft
    from scipy.ndimage import label

    factor = -(-max(*reference.shape, *image.shape) // COARSE)
    there, here = (_compressed(_binned(plane, factor), COARSE_KNEE) for plane in (reference, image))
    size = [fft.next_fast_len(n + m, real=True) for n, m in zip(there.shape, here.shape, strict=True)]
    product = np.conj(fft.rfft2(there, size)) * fft.rfft2(here, size)
    height = fft.fftshift(fft.irfft2(product, size))
    dy, dx = (factor * (np.arange(n) - n // 2) for n in size)
    # Half a binned pixel more: the true shift may be that far from the binned one.
    allowed = _allowed(dx, dy, limit, 0.5 * factor)
    scatter = _scatter(height[:: max(1, size[0] // 256), :: max(1, size[1] // 256)].astype(np.float64))
    row, column = np.unravel_index(int(np.argmax(height)), height.shape)
    top = float(height[row, column])
    if not (top > 0 and scatter > 0):
        return Peak(0, 0, True, 0.0, 1.0)
    islands, _ = label(height > CONTOUR * top)
    elsewhere = allowed & (islands != islands[row, column])
    rival = float(height[elsewhere].max()) / top if elsewhere.any() else 0.0
    return Peak(int(dx[column]), int(dy[row]), bool(allowed[row, column]), top / scatter, rival)


def _binned(plane: Plane, factor: int) -> Plane:
    if factor == 1:
        return plane
    ny, nx = (n // factor for n in plane.shape)
    result: Plane = plane[: ny * factor, : nx * factor].reshape(ny, factor, nx, factor).mean(axis=(1, 3))
    return result


def _allowed(dx: NDArray[np.intp], dy: NDArray[np.intp], limit: Limit, more: float) -> NDArray[np.bool_]:
    if isinstance(limit, tuple):
        return (np.abs(dx) <= limit[0] + more) & (np.abs(dy)[:, None] <= limit[1] + more)
    return dx**2 + dy[:, None] ** 2 <= (np.inf if limit is None else (limit + more) ** 2)


def fine_shift(reference: Plane, image: Plane, dx: int, dy: int) -> tuple[float, float] | None:
    """Find the shift between the pixels.

    Parameters
    ----------
    reference, image : ndarray of float32
        As `normalised` gives them.
    dx, dy : int
        The shift to a pixel of the binned images.

    Returns
    -------
    (float, float) or None
        The shift in pixels; None if the correlation at full resolution has no peak nearby.
    """
    from scipy import fft

    there, here = _overlap(reference, image, dx, dy)
    ny, nx = (fft.next_fast_len(n, real=True) for n in there.shape)
    product: NDArray[Any] = np.conj(fft.rfft2(there, (ny, nx))) * fft.rfft2(here, (ny, nx))
    fy, fx = np.fft.fftfreq(ny), np.fft.rfftfreq(nx)
    product *= np.outer(_low_pass(fy), _low_pass(fx))
    height = fft.irfft2(product, (ny, nx))
    reach = -(-max(*reference.shape, *image.shape) // COARSE) + 2
    steps = np.arange(-reach, reach + 1)
    near = height[np.ix_(steps, steps)]
    row, column = np.unravel_index(int(np.argmax(near)), near.shape)
    if 0 in (row, column) or 2 * reach in (row, column):
        return None
    x, y = float(steps[column]), float(steps[row])
    # The transform at points between the pixels; the negative frequencies along x are those of a real image.
    grid = np.arange(-FINER, FINER + 1) / FINER
    weight = np.where((fx == 0) | (fx == 0.5), 1.0, 2.0)
    along = (np.exp(2j * np.pi * np.outer(fx, x + grid)) * weight[:, None]).astype(np.complex64)
    fine = (np.exp(2j * np.pi * np.outer(y + grid, fy)).astype(np.complex64) @ product @ along).real.astype(np.float64)
    row, column = np.unravel_index(int(np.argmax(fine[1:-1, 1:-1])), (2 * FINER - 1, 2 * FINER - 1))
    top = fine[row : row + 3, column : column + 3]
    x += float(grid[column + 1]) + _vertex(*top.sum(axis=0)) / FINER
    y += float(grid[row + 1]) + _vertex(*top.sum(axis=1)) / FINER
    return dx + x, dy + y


def _low_pass(frequency: NDArray[Any]) -> Plane:
    return np.exp(-2.0 * (np.pi * LOW_PASS * frequency) ** 2).astype(np.float32)


def _vertex(before: float, at: float, after: float) -> float:
    """Where a parabola through three equidistant points has its vertex, from the middle one."""
    curvature = before - 2.0 * at + after
    return 0.5 * (before - after) / curvature if curvature < 0 else 0.0


def _overlap(reference: Plane, image: Plane, dx: int, dy: int) -> tuple[Plane, Plane]:
    """Cut out what both images show, at most `FINE` on a side where they agree most, with edges that fade."""
    (y0, y1), (x0, x1) = (
        (max(0, -d), min(n, m - d)) for d, n, m in zip((dy, dx), reference.shape, image.shape, strict=True)
    )
    there, here = reference[y0:y1, x0:x1], image[y0 + dy : y1 + dy, x0 + dx : x1 + dx]
    rows, columns = _richest(there, here)
    there, here = there[rows, columns], here[rows, columns]
    fade = np.outer(*(_taper(n) for n in there.shape))
    return _compressed(there, FINE_KNEE) * fade, _compressed(here, FINE_KNEE) * fade


def _richest(there: Plane, here: Plane) -> tuple[slice, slice]:
    """Find the window of at most `FINE` on a side that contributes most to the correlation."""
    product = _compressed(_binned(there, CELL), COARSE_KNEE) * _compressed(_binned(here, CELL), COARSE_KNEE)
    sums = np.pad(product, ((1, 0), (1, 0))).cumsum(axis=0, dtype=np.float64).cumsum(axis=1)
    ny, nx = (min(FINE // CELL, n) for n in product.shape)
    boxes = sums[ny:, nx:] - sums[:-ny, nx:] - sums[ny:, :-nx] + sums[:-ny, :-nx]
    row, column = np.unravel_index(int(np.argmax(boxes)), boxes.shape)
    return (
        slice(int(row) * CELL, min(int(row) * CELL + FINE, there.shape[0])),
        slice(int(column) * CELL, min(int(column) * CELL + FINE, there.shape[1])),
    )


def _taper(size: int) -> Plane:
    """A quarter of a sine wave at either end, one between."""
    distance = np.minimum(np.arange(size), np.arange(size)[::-1]) + 0.5
    return np.sin(0.5 * np.pi * np.minimum(TAPER * distance / size, 1.0)).astype(np.float32)
