"""The work on every pixel of an image, done by compiled code where that is worth it, else by numpy.

Both give the same bits. Compiled code is two to three times faster, but every process has to import numba and load the
functions, which takes about 0.5 s. So a process begins with numpy, and goes over to compiled code when it has done so
much that this would have paid; sooner where numba was imported anyway. Without numba numpy does everything.

=================  ==================================================================
`steps`            a chain of corrections as a list of elementary steps
`plain`            runs steps with numpy
`kernels`          runs steps in one compiled function, and converts pixels of files
`threads`          parts of an image at once, where a process is alone
`memory`           memory for planes, used again from frame to frame
=================  ==================================================================
"""

from __future__ import annotations

import logging
import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from albireo.engine.steps import Canvas, Step

__all__ = ["compiled", "run_steps"]

TO_IMPORT = 150_000_000
"""Pixels after which a process imports numba: compiled code saves about 3 ns for each, and the start takes 0.5 s."""

TO_LOAD = 50_000_000
"""The same where numba was imported before, and only the functions are loaded."""


class _Choice:
    """How much numpy has done in this process, and what came of the import."""

    done = 0
    kernels: ModuleType | None = None
    refused = False


def compiled(pixels: int) -> ModuleType | None:
    """Give the compiled functions if they are to be used now, else None.

    Parameters
    ----------
    pixels : int
        How many are to be worked on.
    """
    if _Choice.kernels is None and not _Choice.refused:
        if _Choice.done < (TO_LOAD if "numba" in sys.modules else TO_IMPORT):
            _Choice.done += pixels
            return None
        try:
            from albireo.engine import kernels
        except ImportError as error:
            _Choice.refused = True
            logging.getLogger(__name__).info("numba cannot be used (%s); numpy corrects images", error)
        else:
            _Choice.kernels = kernels
    return _Choice.kernels


def run_steps(steps: list[Step], canvas: Canvas, strip_pixels: int) -> None:
    """Run steps over an image, so many pixels at a time.

    Parameters
    ----------
    steps : list of Step
    canvas : Canvas
        Its planes for the result are filled.
    strip_pixels : int
    """
    rows = min(canvas.shape[0], max(1, strip_pixels // canvas.shape[1]))
    kernels = compiled(canvas.data.size)
    if kernels is None:
        from albireo.engine import plain

        plain.run(steps, canvas, rows)
    else:
        kernels.run(steps, canvas, rows)
