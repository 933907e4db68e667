"""Work on parts of an image at once, where this process has the machine to itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import parent_process
from threading import current_thread, main_thread

__all__ = ["available_cores", "in_parts"]

THREADS = 4
"""More of them wait for memory."""

PART = 1 << 20
"""Pixels that are worth a thread: it takes longer to work on them than to start one."""


def available_cores() -> int:
    """Count the cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_parts(work: Callable[[int, int], None], ny: int, nx: int) -> None:
    """Call ``work`` with the first row and the one after the last, for parts that together are all rows.

    A worker process has one core to itself, and a thread of a pool is one of several already: there it is one part.
    """
    alone = parent_process() is None and current_thread() is main_thread()
    threads = min(available_cores(), THREADS, ny * nx // PART) if alone else 1
    if threads < 2:
        work(0, ny)
        return
    edges = [ny * number // threads for number in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, edges[:-1], edges[1:]))
