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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from pydantic import Field

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

    def map(self, work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Outcome[Result]]:
        """Run the items in workers; outcomes come as they are ready."""
        wanted = min(self.jobs or available_cores(), len(items))
        if wanted <= 1:
            yield from Serial(memory=self.memory).map(work, items)
            return
        # Pickled once here, and not anew for each worker.
        payload = pickle.dumps(work)
        context = mp.get_context("spawn")
        queue = iter(enumerate(items))
        busy: dict[Connection, tuple[Any, int | None]] = {}

        def start() -> None:
            job = next(queue, None)
            if job is None:
                return
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, payload), daemon=True)
            with one_thread():
                process.start()
            theirs.close()
            ours.send(job)
            busy[ours] = (process, job[0])

        try:
            for _ in range(wanted):
                start()
            while busy:
                for connection in wait(list(busy)):
                    assert isinstance(connection, Connection)
                    process, index = busy[connection]
                    try:
                        answer = connection.recv()
                    except (EOFError, ConnectionResetError):
                        del busy[connection]
                        process.join()
                        connection.close()
                        assert index is not None
                        yield Outcome(index, error=_obituary(process.exitcode), permanent=False)
                        start()
                        continue
                    if isinstance(answer, BaseException):
                        raise answer
                    job = next(queue, None)
                    if job is None:
                        del busy[connection]
                        connection.send(None)
                        connection.close()
                        process.join()
                    else:
                        busy[connection] = (process, job[0])
                        with suppress(BrokenPipeError):  # it has just died; the next wait will tell
                            connection.send(job)
                    yield answer
        finally:
            for connection, (process, _) in busy.items():
                process.terminate()
                connection.close()
                process.join()


def available_cores() -> int:
    """Count the cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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


def _serve(connection: Connection, payload: bytes) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    try:
        work = pickle.loads(payload)
        while (job := connection.recv()) is not None:
            connection.send(_attempt(work, *job))
    except (EOFError, BrokenPipeError):
        return  # the parent is gone
    except Exception as error:
        error.add_note("(in a worker process)")
        try:
            connection.send(error)
        except Exception:
            connection.send(RuntimeError(f"{type(error).__name__}: {error}"))


def _obituary(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        name = signal.Signals(-exitcode).name
        hint = "; it may have run out of memory" if name == "SIGKILL" else ""
        return f"the worker process was killed by {name}{hint}"
    return f"the worker process ended with exit code {exitcode}"
