"""Frames of equal exposure time."""

from __future__ import annotations

from collections.abc import Iterable

from albireo import FrameError, Frames

SAME_EXPOSURE = 0.01
"""Exposure times that differ by less than this fraction count as one."""


def by_exposure(frames: Frames, indices: Iterable[int]) -> list[list[int]]:
    """Give the indices of the frames of each exposure time, shortest first and each by name.

    Raises
    ------
    FrameError
        If an exposure time is not known.
    """
    members: list[list[int]] = []
    for index in sorted(indices, key=lambda i: (frames[i].exptime, frames[i].name)):
        if not frames[index].exptime >= 0:
            raise FrameError(f"the exposure time of {frames[index].kind} {frames[index].name} is not known")
        if members and frames[index].exptime <= (1.0 + SAME_EXPOSURE) * frames[members[-1][0]].exptime:
            members[-1].append(index)
        else:
            members.append([index])
    return members
