"""Where jobs run: in this process, or in worker processes.

Workers are spawned, never forked, and every numerical library in them is held to one thread, so that results and
speed do not depend on what the parent has loaded. An item goes to one worker at a time: when a worker dies, that item
is lost, another worker takes its place, and the rest goes on.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import pickle
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from multiprocessing.connection import Connection, wait
from typing import Any

from pydantic import Field, PrivateAttr

from albireo.engine.threads import available_cores
from albireo.frames import FrameError
from albireo.roles import Executor, Item, Outcome, Result

__all__ = ["Processes", "Serial"]

ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)


class Serial(Executor, name="serial"):
    """One job after the other in this process: for debugging, and for a handful of frames."""

    def map(self, work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Outcome[Result]]:
        """Run the items in order."""
        for index, item in enumerate(items):
            yield _attempt(work, index, item)


class Processes(Executor, name="processes"):
    """Worker processes on this machine, one job each at a time."""

    jobs: int = Field(0, ge=0, description="Number of worker processes; 0 means one for each core this run may use.")

    _pool: _Pool | None = PrivateAttr(None)

    @contextmanager
    def session(self) -> Iterator[None]:
        """Keep the workers, once started, for all calls of `map` inside."""
        if self._pool is not None:
            yield
            return
        with _Pool() as pool:
            self._pool = pool
            try:
                yield
            finally:
                self._pool = None

    def map(self, work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Outcome[Result]]:
        """Run the items in workers; outcomes come as they are ready."""
        wanted = min(self.jobs or available_cores(), len(items))
        if not wanted:
            return
        with self.session():
            assert self._pool is not None
            yield from self._pool.map(work, items, wanted)


class _Pool:
    """Worker processes that wait for work."""

    def __init__(self) -> None:
        self._context = mp.get_context("spawn")
        self._idle: list[tuple[Connection, Any]] = []

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, *exception: object) -> None:
        while self._idle:
            connection, process = self._idle.pop()
            connection.close()  # the worker reads the end and leaves
            process.join()

    def map(self, work: Callable[[Item], Result], items: Sequence[Item], wanted: int) -> Iterator[Outcome[Result]]:
        """Run the items in at most so many workers."""
        payload = pickle.dumps(work)  # once here, and not anew for each worker
        queue = iter(enumerate(items))
        busy: dict[Connection, tuple[Any, int]] = {}

        def give(connection: Connection, process: Any, job: tuple[int, Item]) -> None:
            busy[connection] = (process, job[0])
            with suppress(ConnectionError):  # it has just died; the next wait will tell
                connection.send(job)

        def start(job: tuple[int, Item]) -> None:
            connection, process = self._worker()
            with suppress(ConnectionError):
                connection.send_bytes(payload)
            give(connection, process, job)

        try:
            for first in islice(queue, wanted):
                start(first)
            while busy:
                for connection in wait(list(busy)):
                    assert isinstance(connection, Connection)
                    process, index = busy.pop(connection)
                    try:
                        answer = connection.recv()
                    except (EOFError, OSError):  # it has died, perhaps in the middle of its answer
                        process.join()
                        connection.close()
                        yield Outcome(index, error=_obituary(process.exitcode), permanent=False)
                        if (job := next(queue, None)) is not None:
                            start(job)
                        continue
                    if isinstance(answer, BaseException):
                        process.join()
                        raise answer
                    if (job := next(queue, None)) is not None:
                        give(connection, process, job)
                    else:
                        self._idle.append((connection, process))
                    yield answer
        finally:
            for connection, (process, _) in busy.items():
                process.terminate()
                connection.close()
                process.join()

    def _worker(self) -> tuple[Connection, Any]:
        """Take a worker that waits, or start one; a worker that died while it waited costs no item."""
        while self._idle:
            connection, process = self._idle.pop()
            if process.is_alive():
                return connection, process
            connection.close()
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs,), daemon=True)
        with one_thread():
            process.start()
        theirs.close()
        return ours, process


@contextmanager
def one_thread() -> Iterator[None]:
    """Let processes that are started meanwhile use one thread in numerical libraries."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _attempt(work: Callable[[Item], Result], index: int, item: Item) -> Outcome[Result]:
    try:
        return Outcome(index, work(item))
    except FrameError as error:
        return Outcome(index, error=str(error))
    except MemoryError:
        return Outcome(index, error="not enough memory for this frame", permanent=False)


def _serve(connection: Connection) -> None:
    """Be a worker: bytes are the pickled work to do from now on, anything else is an item to do it on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    work: Any = None
    try:
        while True:
            message = pickle.loads(connection.recv_bytes())
            if callable(message):
                work = message
            else:
                connection.send(_attempt(work, *message))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent is gone, or needs no more
    except Exception as error:
        connection.send(_portable(error))


def _portable(error: Exception) -> Exception:
    """Give an exception that arrives in the parent with its traceback, which pickle leaves out."""
    note = "in a worker process:\n" + "".join(traceback.format_exception(error)).rstrip()
    try:
        portable: Exception = pickle.loads(pickle.dumps(error))
    except Exception:  # its class cannot be made anew from its arguments
        portable = RuntimeError(f"{type(error).__name__}: {error}")
    portable.add_note(note)
    return portable


def _obituary(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        name = {s.value: s.name for s in signal.Signals}.get(-exitcode, f"signal {-exitcode}")
        hint = "; it may have run out of memory" if name == "SIGKILL" else ""
        return f"the worker process was killed by {name}{hint}"
    return f"the worker process ended with exit code {exitcode}"
