"""The windows around stars whose pixels are fitted: squares with an odd number of pixels on a side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from albireo import Flag

if TYPE_CHECKING:
    from numpy.typing import NDArray

FAR = 1e6
"""Position in pixels for a source without one: beyond the edge of any image."""


@dataclass(frozen=True, eq=False)
class Windows:
    """A window around each of n stars.

    Attributes
    ----------
    x0, y0 : ndarray of int, shape (n,)
        First column and row; may lie beyond the image.
    half : int
        Pixels on each side of the middle one.
    shape : (int, int)
        Of the image.
    """

    x0: NDArray[np.intp]
    y0: NDArray[np.intp]
    half: int
    shape: tuple[int, int]

    @classmethod
    def around(cls, x: NDArray[np.float64], y: NDArray[np.float64], half: int, shape: tuple[int, int]) -> Windows:
        """Place windows as photutils does; those of positions that are not finite lie far outside."""
        first = [
            np.ceil(np.clip(np.nan_to_num(v, nan=FAR, posinf=FAR, neginf=-FAR), -FAR, FAR) - half - 0.5).astype(np.intp)
            for v in (x, y)
        ]
        return cls(first[0], first[1], half, shape)

    def __len__(self) -> int:
        return len(self.x0)

    @property
    def side(self) -> int:
        """Pixels along a side."""
        return 2 * self.half + 1

    def inside(self, index: int) -> tuple[slice, slice]:
        """Rows and columns of one window that lie in the image; perhaps none."""
        (ny, nx), x0, y0 = self.shape, int(self.x0[index]), int(self.y0[index])
        rows = slice(min(max(y0, 0), ny), min(max(y0 + self.side, 0), ny))
        return rows, slice(min(max(x0, 0), nx), min(max(x0 + self.side, 0), nx))

    def flags(self, bits: NDArray[np.uint16]) -> NDArray[np.uint16]:
        """All bits of the pixels of each window, with `Flag.EDGE` where it reaches beyond the image."""
        ny, nx = self.shape
        found = np.array(
            [np.bitwise_or.reduce(bits[self.inside(index)], axis=None) for index in range(len(self))], dtype=np.uint16
        )
        cut = (self.x0 < 0) | (self.y0 < 0) | (self.x0 + self.side > nx) | (self.y0 + self.side > ny)
        found[cut] |= np.uint16(Flag.EDGE)
        return found

    def __getitem__(self, index: NDArray[np.intp]) -> Windows:
        """Pick some windows."""
        return Windows(self.x0[index], self.y0[index], self.half, self.shape)

    def owners(self, group: NDArray[np.int_]) -> tuple[NDArray[np.int32], NDArray[np.uint16]]:
        """Say to which group each pixel of the image belongs (zero for none), and in how many windows it lies.

        Windows of different groups must not overlap.
        """
        owner, times = np.zeros(self.shape, dtype=np.int32), np.zeros(self.shape, dtype=np.uint16)
        for index in range(len(self)):
            pixels = self.inside(index)
            owner[pixels] = group[index]
            times[pixels] += 1
        return owner, times

    def apart(self, group: NDArray[np.int_]) -> list[NDArray[np.intp]]:
        """Sort whole groups into as few sets as come easily, so that no window of one meets that of another.

        Each group, in order, goes into the first set that holds none of those it meets.
        """
        from scipy.spatial import cKDTree

        corners = np.stack([self.x0, self.y0], axis=1).astype(np.float64)
        pairs = group[cKDTree(corners).query_pairs(self.side - 0.5, p=np.inf, output_type="ndarray")]
        meets: dict[int, set[int]] = {}
        for one, other in pairs[pairs[:, 0] != pairs[:, 1]].tolist():
            meets.setdefault(one, set()).add(other)
            meets.setdefault(other, set()).add(one)
        place: dict[int, int] = {}
        for name in np.unique(group).tolist():
            taken = {place.get(other) for other in meets.get(name, ())}
            place[name] = next(number for number in range(len(taken) + 1) if number not in taken)
        number = np.array([place[name] for name in group.tolist()])
        return [np.flatnonzero(number == value) for value in range(max(place.values()) + 1)]
