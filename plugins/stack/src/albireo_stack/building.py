"""Frames through reading, warping and combining: what runs at once, and what is held meanwhile."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from albireo import AlignedFrames, FrameError, available_cores
from albireo_stack.combining import Planes, running_mean, strip_clipped_mean, strip_median
from albireo_stack.noise import kept_noise
from albireo_stack.scratch import frame_store
from albireo_stack.warping import Warped, Workspace, warp_frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from albireo_stack.grid import Grid
    from albireo_stack.members import Members
    from albireo_stack.stage import MeanStack

__all__ = ["build"]

Made = TypeVar("Made")

WORKING = 12
"""Planes of a frame that are held while it is read, calibrated and interpolated."""

RESULT = 16
"""Planes of the grid that hold the stack, and the running sums of a mean."""

MOST_AREA = 4
"""Of a grid, in areas of the reference, that is made whatever the memory."""

MOST_THREADS = 8

ITEM = np.dtype(np.float32).itemsize


def build(
    frames: AlignedFrames, members: Members, grid: Grid, options: MeanStack
) -> tuple[Planes, NDArray[np.uint16], dict[int, tuple[str, str]]]:
    """Combine frames.

    Parameters
    ----------
    frames : AlignedFrames
    members : Members
    grid : Grid
    options : MeanStack

    Returns
    -------
    Planes
    ndarray of uint16
        Flags of the pixels of frames that had no value.
    dict of int to (str, str)
        Name and reason of members that could not be read, by their place.

    Raises
    ------
    FrameError
        If none could be read, or there is no room.
    """
    size = ITEM * frames.shape[0] * frames.shape[1]
    result = ITEM * RESULT * grid.shape[0] * grid.shape[1]
    if grid.shape[0] * grid.shape[1] > MOST_AREA * frames.shape[0] * frames.shape[1] and result > frames.memory:
        raise FrameError(
            f"all that the frames show is {grid.shape[1]} x {grid.shape[0]} pixels, and a stack of them takes "
            f'{result / 2**30:.1f} GiB. Use area = "reference", or give the executor more memory'
        )
    threads = max(1, min(available_cores(), MOST_THREADS, (frames.memory - result) // (WORKING * size)))
    work = _Work(frames, members, grid, options)
    count = len(members.indices)
    exptimes = np.array([frames[index].frame.exptime for index in members.indices], dtype=np.float32)
    with ThreadPoolExecutor(threads) as pool:
        if options.method == "mean":
            ready = (
                (place, made) for place, made in _in_order(work.fresh, count, pool, threads + 1) if made is not None
            )
            planes = running_mean(grid.shape, ready, members.weights, exptimes)
        else:
            # The larger part is for frames, whatever the rest takes: more memory is less work, never another result.
            room = max(frames.memory - result - threads * WORKING * size, frames.memory // 4)
            with frame_store(count, grid.shape, room, frames.scratch) as store:

                def keep(place: int) -> None:
                    room = store.room(place)
                    made = Warped(*room) if room is not None else work.own()
                    if not work.fill(place, made):
                        made.values[:] = made.variances[:] = np.nan
                    if room is None:
                        store.put(place, made.values, made.variances)

                for _ in _in_order(keep, count, pool, threads):
                    pass
                if options.method == "median":
                    planes = strip_median(store, exptimes, pool)
                else:
                    planes = strip_clipped_mean(
                        store, members.weights, exptimes, work.slopes, options.kappa, options.tolerance, pool
                    )
    if len(work.lost) == count:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in work.lost.values())
        raise FrameError(f"none of {count} frames can be used ({reasons})")
    return planes, work.why(), work.lost


class _Work:
    """Reads and warps one member after the other, on any thread."""

    def __init__(self, frames: AlignedFrames, members: Members, grid: Grid, options: MeanStack) -> None:
        self._frames, self._members, self._grid, self._options = frames, members, grid, options
        self._reasons: dict[int, NDArray[np.uint16]] = {}
        self._workspaces: dict[int, Workspace] = {}
        self.lost: dict[int, tuple[str, str]] = {}
        self.slopes = np.array([self._slope(place) for place in range(len(members.indices))], dtype=np.float32)

    def fresh(self, place: int) -> Warped | None:
        """Read and warp a member into planes of its own; None if it cannot be read."""
        made = Warped(*np.empty((2, *self._grid.shape), dtype=np.float32))
        return made if self.fill(place, made) else None

    def own(self) -> Warped:
        """Give the planes of this thread."""
        workspace = self._workspace()
        shape = self._grid.shape
        return Warped(workspace.plane("values", shape, np.float32), workspace.plane("variances", shape, np.float32))

    def fill(self, place: int, out: Warped) -> bool:
        """Read and warp a member; False, with its reason in `lost`, if it cannot be read."""
        index = self._members.indices[place]
        facts = self._frames[index]
        try:
            picture = self._frames.image(index)
            if self._options.sky == "none":
                sky: NDArray[np.float32] | float = 0.0
            else:
                background = self._frames.background(picture)
                sky = background.level if self._options.sky == "map" else background.median
            warp_frame(
                picture,
                sky,
                self._grid.matrix(facts.transform),
                float(self._members.scales[place]) * facts.transform.scale**2,
                self._options.interpolation,
                self._grid.shape,
                self._reasons_here(),
                self._workspace(),
                out,
            )
        except FrameError as error:
            self.lost[place] = (facts.frame.name, str(error))
            return False
        return True

    def why(self) -> NDArray[np.uint16]:
        """Give the flags of all frames where they had no value."""
        total = np.zeros(self._grid.shape, dtype=np.uint16)
        for plane in self._reasons.values():
            total |= plane
        return total

    def _reasons_here(self) -> NDArray[np.uint16]:
        """Give each thread a plane of its own."""
        thread = threading.get_ident()
        if thread not in self._reasons:
            self._reasons[thread] = np.zeros(self._grid.shape, dtype=np.uint16)
        return self._reasons[thread]

    def _workspace(self) -> Workspace:
        return self._workspaces.setdefault(threading.get_ident(), Workspace())

    def _slope(self, place: int) -> float:
        """Give the change of the variance of a warped value with the value: photons, in electrons."""
        if self._frames.unit != "electron":
            return 0.0
        transform = self._frames[self._members.indices[place]].transform
        scale = float(self._members.scales[place]) * transform.scale**2
        return scale * kept_noise(transform, self._frames.shape, self._options.interpolation)


def _in_order(
    work: Callable[[int], Made], count: int, pool: ThreadPoolExecutor, ahead: int
) -> Iterator[tuple[int, Made]]:
    """Do all in their order, so many at once at most."""
    waiting: deque[tuple[int, Future[Made]]] = deque()
    for place in range(count):
        if len(waiting) == ahead:
            first, future = waiting.popleft()
            yield first, future.result()
        waiting.append((place, pool.submit(work, place)))
    while waiting:
        first, future = waiting.popleft()
        yield first, future.result()
