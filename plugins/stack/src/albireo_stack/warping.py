"""One calibrated frame onto the grid of the stack: sky subtracted, scaled, interpolated, with its variance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo import Flag, FrameError, flags_of, variance_of
from albireo_stack.interpolation import weights_table
from albireo_stack.kernels import mark_near, warp

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from numpy.typing import DTypeLike, NDArray

__all__ = ["Warped", "Workspace", "warp_frame"]


@dataclass(frozen=True, eq=False)
class Warped:
    """A frame on the grid.

    Attributes
    ----------
    values, variances : ndarray of float32
        NaN where the frame has no value.
    """

    values: NDArray[np.float32]
    variances: NDArray[np.float32]


class Workspace:
    """Planes that a thread uses again for each frame: fresh memory costs more than what is computed into it."""

    def __init__(self) -> None:
        self._planes: dict[str, NDArray[Any]] = {}

    def plane(self, name: str, shape: tuple[int, int], dtype: DTypeLike) -> NDArray[Any]:
        """Give a plane with any content; the same one for a name, as long as the shape stays."""
        plane = self._planes.get(name)
        if plane is None or plane.shape != shape:
            plane = self._planes[name] = np.empty(shape, dtype)
        return plane


def warp_frame(
    image: CCDData,
    sky: NDArray[np.float32] | float,
    matrix: NDArray[np.float64],
    scale: float,
    kernel: str,
    shape: tuple[int, int],
    why: NDArray[np.uint16],
    workspace: Workspace,
    out: Warped,
) -> None:
    """Interpolate a frame at the pixels of the grid.

    Parameters
    ----------
    image : CCDData
        With variance. What is masked or not a number has no weight.
    sky : ndarray or float
        Subtracted first.
    matrix : ndarray, shape (3, 3)
        From pixels of the grid to those of the frame.
    scale : float
        Multiplies values; the change of the area of a pixel included, so that the light of a star stays what it is.
    kernel : str
        One of `albireo_stack.interpolation.KERNELS`.
    shape : tuple of int
        Of the grid.
    why : ndarray of uint16, shape ``shape``
        Gets the flags of pixels that are the reason why there is no value.
    workspace : Workspace
    out : Warped
        Filled.

    Raises
    ------
    FrameError
        If the image has no variance.
    """
    variance = variance_of(image)
    if variance is None:
        raise FrameError("its noise is not known; give `gain` and `read_noise` in the [instrument] table")
    data = np.subtract(image.data, sky, dtype=np.float32, out=workspace.plane("data", image.shape, np.float32))
    masked = np.isfinite(data, out=workspace.plane("masked", image.shape, np.bool_))
    masked &= np.isfinite(variance, out=workspace.plane("known", image.shape, np.bool_))
    np.logical_not(masked, out=masked)
    flags = flags_of(image)
    if masked.any():
        flags = np.where(masked, flags | np.uint16(Flag.NO_DATA), flags)
    if image.mask is not None:
        masked |= image.mask
    noise = variance
    if masked.any():
        data[masked] = 0.0
        noise = workspace.plane("noise", image.shape, np.float32)
        noise[:] = variance
        noise[masked] = 0.0
    table = weights_table(kernel)
    near = workspace.plane("near", image.shape, np.uint8)
    mark_near(masked, table.shape[1], near)
    # The kernel is fast where columns of the frame follow each other; after half a turn they do so from the right.
    turned = matrix[0, 0] < 0.0
    if turned:
        matrix = matrix @ np.array([[-1.0, 0.0, shape[1] - 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
        there = np.ascontiguousarray(why[:, ::-1])
    else:
        there = why
    warp(
        data,
        np.ascontiguousarray(noise),
        masked,
        flags,
        near,
        table,
        np.ascontiguousarray(matrix),
        np.float32(scale),
        out.values,
        out.variances,
        there,
    )
    if turned:
        why[:] = there[:, ::-1]
        for plane in (out.values, out.variances):
            plane[:] = plane[:, ::-1].copy()
