"""Which sources of a list are good enough to align by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from albireo import Sources

__all__ = ["usable"]


def usable(sources: Sources, fewest: int) -> NDArray[np.float64]:
    """Give the positions of the sources without flags, or of all where those are too few.

    The centre of a star that is saturated or cut off is wrong by a fraction of a pixel, which is better than no star.

    Parameters
    ----------
    sources : Sources
        Brightest first. Entries without finite positions are left out.
    fewest : int
        How many unflagged sources there must be; at least half of all must have no flag as well.

    Returns
    -------
    ndarray, shape (n, 2)
        In the order of the list.
    """
    positions = np.stack([sources.x, sources.y], axis=1)
    finite = np.isfinite(positions).all(axis=1)
    clean = finite & (sources.flags == 0)
    enough = np.count_nonzero(clean) >= max(fewest, 0.5 * np.count_nonzero(finite))
    return positions[clean if enough else finite]
