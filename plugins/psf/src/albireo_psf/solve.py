"""Many linear fits that touch each other: normal equations, group by group.

Stars whose light overlaps have to be solved together. All columns (the share of each star's light in each pixel, and
its change with the place) make one sparse matrix; its normal equations fall apart into groups of stars that share no
pixel. Small groups are inverted, all of one size at once. A group too large for that is factorised for its solution,
and its variances come from pieces of it, each inverted with all neighbours of the stars it is wanted for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Solution", "solve_groups"]

LARGEST = 96
"""Unknowns of a group that is inverted as a whole."""

PIECE = 64
"""Unknowns of a piece of a larger group, without the neighbours around it."""

TOUCH = 0.01
"""Correlation from which a neighbour belongs to a piece; its square is what the variance loses without."""

RIDGE = 1e-10
"""Added to the diagonal, relative: two stars in one place have no solution of their own, and must not stop the rest."""


@dataclass(frozen=True, eq=False)
class Solution:
    """What the normal equations gave.

    Attributes
    ----------
    value, variance : ndarray, shape (k,)
        Of each unknown. The variance includes what the neighbours and the sky do not tell.
    inflation : ndarray, shape (k,)
        The variance relative to that of a star that stands alone with a known sky.
    group : ndarray of int, shape (k,)
        Which unknowns were solved together.
    sky, sky_variance : ndarray, shape (groups,)
        The constant of each group; zeros if none was fitted.
    """

    value: NDArray[np.float64]
    variance: NDArray[np.float64]
    inflation: NDArray[np.float64]
    group: NDArray[np.intp]
    sky: NDArray[np.float64]
    sky_variance: NDArray[np.float64]


def solve_groups(
    columns: Any, light: NDArray[np.float64], weight: NDArray[np.float64], sky: bool, variances: bool
) -> Solution:
    """Solve a linear fit with a sparse matrix.

    Parameters
    ----------
    columns : scipy.sparse.csc_matrix, shape (pixels, k)
        One column for each unknown, those of stars near each other close together; a column of zeros has the value
        zero and the variance infinity.
    light, weight : ndarray, shape (pixels,)
        What is to be explained, and one over its variance.
    sky : bool
        Whether each group has a constant beside its columns.
    variances : bool
        Whether to work out the variances of large groups, too, which costs more than their solution; else NaN.
    """
    from scipy.sparse import diags
    from scipy.sparse.csgraph import connected_components
    from scipy.sparse.linalg import splu

    weighted = columns.copy()
    weighted.data = weighted.data * weight[weighted.indices]
    normal = (weighted.T @ columns).tocsc()
    right = weighted.T @ light
    diagonal = normal.diagonal()
    known = diagonal > 0
    fill = np.where(known, RIDGE * diagonal, 1.0)
    count, group = connected_components(normal, directed=False)
    sums = np.asarray(weighted.sum(axis=0)).ravel() if sky else np.zeros(len(right))
    value, inverse, answer = (np.zeros(len(right)) for _ in range(3))
    entries = normal.tocoo()
    size = np.bincount(group, minlength=count)
    order = np.argsort(group, kind="stable")
    first = np.concatenate([[0], np.cumsum(size)])
    place = np.empty(len(right), dtype=np.intp)
    place[order] = np.arange(len(right)) - first[group[order]]
    for number in np.unique(size[size <= LARGEST]):
        groups = np.flatnonzero(size == number)
        slot = np.full(count, -1)
        slot[groups] = np.arange(len(groups))
        here = slot[group[entries.row]] >= 0
        row, column = entries.row[here], entries.col[here]
        block = np.zeros((len(groups), number, number))
        block[slot[group[row]], place[row], place[column]] = entries.data[here]
        members = order[first[groups][:, None] + np.arange(number)]
        steps = np.arange(number)
        block[:, steps, steps] += fill[members]
        inverted = np.linalg.inv(block)
        inverse[members] = inverted[:, steps, steps]
        both = inverted @ np.stack([right[members], sums[members]], axis=2)
        value[members], answer[members] = both[:, :, 0], both[:, :, 1]
    for large in np.flatnonzero(size > LARGEST):
        members = order[first[large] : first[large + 1]]
        part = normal[members][:, members]
        part = (part + diags(fill[members])).tocsc()
        factors = splu(part, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        both = factors.solve(np.stack([right[members], sums[members]], axis=1))
        value[members], answer[members] = both.T
        inverse[members] = _inverse_diagonal(part) if variances else np.nan
    level = level_variance = np.zeros(count)
    if sky:
        pixels = _groups_of_pixels(columns, group)
        mine = pixels >= 0
        total, weights = (np.bincount(pixels[mine], weights=v[mine], minlength=count) for v in (weight * light, weight))
        # The constant is eliminated last: what the stars leave of its weight, and of its light.
        left = weights - np.bincount(group, weights=sums * answer, minlength=count)
        level_variance = 1.0 / np.where(left > 0, left, np.inf)
        level = (total - np.bincount(group, weights=sums * value, minlength=count)) * level_variance
        value = value - answer * level[group]
        inverse = inverse + answer**2 * level_variance[group]
    variance = np.where(known, inverse, np.inf)
    return Solution(value, variance, inverse * diagonal, group.astype(np.intp), level, level_variance)


def _inverse_diagonal(full: Any) -> NDArray[np.float64]:
    """The diagonal of the inverse; stars that hardly touch those of a piece do not change it."""
    inverse = np.empty(full.shape[0])
    scale = np.sqrt(full.diagonal())
    for start in range(0, len(inverse), PIECE):
        core = np.arange(start, min(start + PIECE, len(inverse)))
        beside = full[:, core].tocoo()
        touches = np.abs(beside.data) > TOUCH * scale[beside.row] * scale[core[beside.col]]
        around = np.unique(beside.row[touches])
        dense = np.linalg.inv(full[around][:, around].toarray())
        inverse[core] = dense.diagonal()[np.searchsorted(around, core)]
    return inverse


def _groups_of_pixels(columns: Any, group: NDArray[np.intp]) -> NDArray[np.intp]:
    """The group of each pixel; -1 for pixels without a star."""
    pixels = np.full(columns.shape[0], -1)
    pixels[columns.indices] = np.repeat(group, np.diff(columns.indptr))
    return pixels
