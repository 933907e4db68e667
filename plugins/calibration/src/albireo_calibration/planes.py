"""The planes of a master, in the form that `albireo.Terms` takes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from albireo import Frame, FrameError, flags_of, variance_of

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

Plane = TypeVar("Plane")

_made: WeakKeyDictionary[CCDData, dict[Hashable, Any]] = WeakKeyDictionary()


def variance_plane(master: CCDData) -> NDArray[np.float32] | float:
    """Give the variance of a master; zero if it is taken as exact."""
    variance = variance_of(master)
    return 0.0 if variance is None else variance


def raised_flags(master: CCDData) -> NDArray[np.uint16] | None:
    """Give the flags of a master; None if no pixel has one, which spares the image a pass."""

    def raised() -> NDArray[np.uint16] | None:
        flags = flags_of(master)
        return flags if flags.any() else None

    return once(master, "raised_flags", raised)


def once(master: CCDData, key: Hashable, make: Callable[[], Plane]) -> Plane:
    """Make something of a master the first time it is asked for, and keep it as long as the master is kept.

    A night has many frames for each master. What is given must not be changed.
    """
    made = _made.setdefault(master, {})
    if key not in made:
        made[key] = make()
    plane: Plane = made[key]
    return plane


def master_for(kind: str, image: CCDData, frame: Frame, masters: Mapping[str, CCDData]) -> CCDData:
    """Give a master that is compared with the pixels of an image.

    Raises
    ------
    FrameError
        If it has another size.
    """
    master = masters[kind]
    if master.shape != image.shape:
        raise FrameError(
            f"{frame.name} has {image.shape[1]} x {image.shape[0]} pixels here, its master {kind} {master.shape[1]} x "
            f"{master.shape[0]}; both must be trimmed by the same corrections"
        )
    return master
