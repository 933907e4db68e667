"""What photutils 2 and 3 call differently: keywords, and columns of tables."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import signature
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from astropy.table import Table
    from numpy.typing import NDArray


def keyword(function: Callable[..., Any], new: str, old: str) -> str:
    """Give the name under which the installed version takes an option."""
    return new if new in signature(function).parameters else old


def column(table: Table, new: str, old: str) -> NDArray[np.float64]:
    """Give a column of a result by either of its names."""
    import numpy as np

    return np.asarray(table[new if new in table.colnames else old], dtype=np.float64)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep back what photutils, astropy and numpy say of masked pixels, empty rings and lists, and fits that failed.

    All of these come out as flags, NaN or an empty list.
    """
    import numpy as np
    from astropy.utils.exceptions import AstropyWarning

    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore", AstropyWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        yield
