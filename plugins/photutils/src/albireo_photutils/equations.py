"""The normal equations of stars at known positions, solved group by group.

With the shares ``P`` of the stars' light in the pixels and the variances ``V``, the fluxes that fit the data ``d`` best
are ``F = N**-1 P^T V**-1 d`` with ``N = P^T V**-1 P``: a weighted sum of the pixels for each star. The sums of those
weights and of their squares say what an error of the sky does to a flux, and in how many pixels' worth of sky noise it
takes part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csc_array


def change_of_flux(
    light: csc_array, residual: NDArray[np.float64], level: NDArray[np.float64], group: NDArray[np.int_]
) -> NDArray[np.float64]:
    """Say by how much the fluxes must change to fit what is left of an image, with equal weights.

    Parameters
    ----------
    light : csc_array, shape (pixels, n)
        Shares of the light; only pixels that take part, and only those of the star's own group.
    residual : ndarray, shape (pixels,)
        Data without the light of the stars.
    level : ndarray, shape (n,)
        Sky that is still in them.
    group : ndarray of int, shape (n,)

    Returns
    -------
    ndarray, shape (n,)
    """
    normal = (light.T @ light).tocsr()
    right = light.T @ residual - level * np.asarray(light.sum(axis=0))
    result = right / normal.diagonal()
    for members in _blends(group):
        result[members] = np.linalg.pinv(normal[members][:, members].toarray()) @ right[members]
    return np.asarray(result)


def weight_sums(
    light: csc_array, variance: NDArray[np.float64], group: NDArray[np.int_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum of the weights that make each flux, and sum of their squares.

    Parameters
    ----------
    light : csc_array, shape (pixels, n)
        As for `change_of_flux`.
    variance : ndarray, shape (pixels,)
        Positive.
    group : ndarray of int, shape (n,)

    Returns
    -------
    total, squared : ndarray, shape (n,)
        In pixels. For one star and an even noise both are ``1 / sum(P**2)``.
    """
    weighted = light.multiply(1.0 / variance[:, None]).tocsc()
    normal, square = (weighted.T @ light).tocsr(), (weighted.T @ weighted).tocsr()
    right = np.asarray(weighted.sum(axis=0))
    total, squared = right / normal.diagonal(), square.diagonal() / normal.diagonal() ** 2
    for members in _blends(group):
        inverse = np.linalg.pinv(normal[members][:, members].toarray())
        total[members] = inverse @ right[members]
        squared[members] = np.einsum("ij,jk,ik->i", inverse, square[members][:, members].toarray(), inverse)
    return total, squared


def _blends(group: NDArray[np.int_]) -> list[NDArray[np.intp]]:
    """Members of each group of two and more."""
    order = np.argsort(group, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
    return [part for part in parts if len(part) > 1]
