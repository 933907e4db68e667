"""Some frames of a stack, each without its own large-scale shape, or without what another image shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from albireo import Frames, Stack, Strip

if TYPE_CHECKING:
    from numpy.typing import NDArray

Layer: TypeAlias = "Callable[[slice | None], NDArray[np.floating]]"
"""Gives some rows of an image, or all: a `albireo_combine.surface.Surface`, or `plane`."""


def plane(data: NDArray[np.float32]) -> Layer:
    """Give a whole image as a layer."""
    return lambda rows: data if rows is None else data[rows]


class Adjusted(Stack):
    """A part of a stack, with a layer for each frame taken out of its pixels as they are read.

    Parameters
    ----------
    stack : Stack
    chosen : sequence of int
        Which of its frames, in rising order.
    layers : sequence of callable, optional
        One for each chosen frame.
    subtract : bool
        Whether layers are subtracted; else pixels are divided by them.
    """

    def __init__(
        self, stack: Stack, chosen: Sequence[int], layers: Sequence[Layer] = (), *, subtract: bool = False
    ) -> None:
        self._stack, self._chosen, self._layers = stack, list(chosen), list(layers)
        self._apply: Callable[..., Any] = np.subtract if subtract else np.divide
        self.frames = Frames(stack.frames[i] for i in self._chosen)
        self.shape, self.unit = stack.shape, stack.unit

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, index: Any) -> Any:
        raise TypeError("an adjusted stack has pixels and strips, but no images")

    def pixels(self, index: int) -> NDArray[np.float32]:
        """One image as a plain array, NaN where it is masked."""
        pixels = self._stack.pixels(self._chosen[index])
        if not self._layers:
            return pixels
        changed: NDArray[np.float32] = self._apply(pixels, self._layers[index](None).astype(np.float32))
        return changed

    def strips(self, scale: NDArray[np.float64] | None = None) -> Iterator[Strip]:
        """Go through the frames from the first row to the last; the buffer is that of the stack below."""
        for strip in self._stack.strips():
            data = strip.data if len(self) == len(self._stack) else strip.data[self._chosen]
            for index in range(len(self)):
                if self._layers:
                    self._apply(data[index], self._layers[index](strip.rows).astype(np.float32), out=data[index])
                if scale is not None:
                    data[index] *= np.float32(scale[index])
            yield Strip(strip.rows, data)
