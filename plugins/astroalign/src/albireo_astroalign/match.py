"""From two lists of points to the map between them: guesses, and the least squares that refine them."""

from __future__ import annotations

from functools import cache
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo import Transform

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Points = NDArray[np.float64]

ROUNDS = 20
"""Rounds of pairing and fitting; two or three are usual."""

OUTLIER = 4.0
"""Pairs further off than this many times the median-based scatter are left out."""

SMALLEST_CLIP = 0.1
"""Pixels: pairs this close are never outliers, however well the others agree."""

SEED = 42
"""Seed of astroalign's random search."""


def by_offsets(reference: Points, image: Points, tolerance: float) -> Transform | None:
    """Guess a pure shift: the most frequent difference between any point here and any point there.

    Parameters
    ----------
    reference, image : ndarray, shape (n, 2) and (m, 2)
        Points in pixels.
    tolerance : float
        Differences this close count as the same, in pixels.

    Returns
    -------
    Transform or None
        None if no offset is shared by three pairs.
    """
    offsets = (image[None, :, :] - reference[:, None, :]).reshape(-1, 2)
    # Cells twice the tolerance wide, counted together with their neighbours to the right and above: no pair of
    # offsets within the tolerance is parted.
    cells = np.floor(offsets / (2.0 * tolerance)).astype(np.int64)
    cells -= cells.min(axis=0)
    width = int(cells[:, 0].max()) + 3
    keys = np.concatenate([cells[:, 0] + dx + (cells[:, 1] + dy) * width for dx in (0, 1) for dy in (0, 1)])
    values, counts = np.unique(keys, return_counts=True)
    top = int(counts.argmax())
    if counts[top] < 3:
        return None
    row, column = divmod(int(values[top]), width)
    near = (np.abs(cells - (column - 0.5, row - 0.5)) < 1.0).all(axis=1)
    dx, dy = np.median(offsets[near], axis=0)
    return Transform.similarity(float(dx), float(dy))


def by_triangles(reference: Points, image: Points, tolerance: float) -> Transform | None:
    """Guess shift, rotation and scale by similar triangles of neighbouring stars.

    Returns
    -------
    Transform or None
        None if astroalign finds no consistent set of triangles.
    """
    astroalign = _astroalign()
    astroalign.PIXEL_TOL = tolerance
    try:
        # Two stars in one place make a triangle without a ratio; no triangle of the other list is like it.
        with np.errstate(divide="ignore", invalid="ignore"):
            found, _ = astroalign.find_transform(reference, image, max_control_points=max(len(reference), len(image)))
    except (astroalign.MaxIterError, ValueError):
        return None
    matrix = np.asarray(found.params, dtype=np.float64)
    return Transform(matrix) if np.isfinite(matrix).all() else None


@cache
def _astroalign() -> Any:
    """Load a copy of astroalign of our own, whose random search starts from a fixed seed.

    The module takes its tolerance from a global and its generator from the operating system; a copy can be set up
    without an effect on anyone else who uses astroalign, or on numpy's random state.
    """
    from importlib.util import find_spec, module_from_spec

    spec = find_spec("astroalign")
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError("astroalign is not installed")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    module._np = _SeededNumpy("numpy")  # type: ignore[attr-defined]
    return module


class _SeededNumpy(ModuleType):
    """numpy, except that a new generator is always the same."""

    random = SimpleNamespace(default_rng=lambda: np.random.default_rng(SEED))

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


def refine(reference: Points, image: Points, start: Transform, tolerance: float, *, affine: bool) -> Transform:
    """Pair all points under a map, fit it to the pairs, and repeat until the pairs stay the same.

    Parameters
    ----------
    reference, image : ndarray, shape (n, 2) and (m, 2)
        Points in pixels.
    start : Transform
        Right to a few times the tolerance at most.
    tolerance : float
        Largest distance of a pair in pixels.
    affine : bool
        Whether to fit six numbers in place of four.

    Returns
    -------
    Transform
        With rms and number of the pairs; ``matched`` is zero if there were too few to fit.
    """
    from scipy.spatial import cKDTree

    tree = cKDTree(image)
    found, pairs = start, np.empty((0, 2), dtype=np.intp)
    # A guess from a rough pattern may be off by more than the tolerance far from its stars: pair generously first.
    for reach in np.concatenate([[3.0 * tolerance], np.full(ROUNDS, tolerance)]):
        new = _pairs(reference, image, tree, found, float(reach))
        if len(new) < (4 if affine else 3):
            return Transform(found.matrix, float("nan"), 0)
        if np.array_equal(new, pairs) and reach == tolerance:
            break
        pairs = new
        found = _fit(reference[pairs[:, 0]], image[pairs[:, 1]], affine)
    return found


def _pairs(reference: Points, image: Points, tree: Any, transform: Transform, reach: float) -> NDArray[np.intp]:
    """Mutual nearest neighbours within reach, without outliers, in the order of the reference."""
    from scipy.spatial import cKDTree

    moved = np.stack(transform(reference[:, 0], reference[:, 1]), axis=1)
    distance, nearest = tree.query(moved, distance_upper_bound=reach)
    _, back = cKDTree(moved).query(image)
    index = np.arange(len(reference))
    kept = np.isfinite(distance)
    kept[kept] = back[nearest[kept]] == index[kept]
    if kept.any():
        # Each coordinate scatters by sigma: the median distance is 1.177 sigma (Rayleigh).
        sigma = float(np.median(distance[kept])) / 1.177
        kept &= distance <= max(OUTLIER * sigma, SMALLEST_CLIP)
    return np.stack([index[kept], nearest[kept]], axis=1)


def _fit(reference: Points, image: Points, affine: bool) -> Transform:
    """Least squares, about the middle of the points so that the numbers stay small."""
    centre, target = reference.mean(axis=0), image.mean(axis=0)
    u, v = reference - centre, image - target
    if affine:
        linear = np.linalg.lstsq(u, v, rcond=None)[0].T
    else:
        # A similarity is one complex number: v = c u, with c = sum(conj(u) v) / sum(|u|^2).
        z, w = u[:, 0] + 1j * u[:, 1], v[:, 0] + 1j * v[:, 1]
        c = complex(np.sum(z.conj() * w) / np.sum(np.abs(z) ** 2))
        linear = np.array([[c.real, -c.imag], [c.imag, c.real]])
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = target - linear @ centre
    residual = v - u @ linear.T
    return Transform(matrix, float(np.sqrt(np.mean(np.sum(residual**2, axis=1)))), len(reference))


def chance_matches(reference: Points, image: Points, transform: Transform, tolerance: float) -> float:
    """How many points a wrong map would match: those on the image, times the share of it that is near a point."""
    low, high = image.min(axis=0) - tolerance, image.max(axis=0) + tolerance
    moved = np.stack(transform(reference[:, 0], reference[:, 1]), axis=1)
    falls = np.count_nonzero(((moved >= low) & (moved <= high)).all(axis=1))
    return float(falls * len(image) * np.pi * tolerance**2 / np.prod(high - low))
