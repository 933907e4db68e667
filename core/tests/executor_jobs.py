"""Work for the tests of executors; a module of its own, because worker processes must be able to import it.

An item is a word that says what becomes of it.
"""

import os
import signal
import sys
from pathlib import Path

from albireo import FrameError
from albireo.executors import ONE_THREAD


class Odd(Exception):
    """An exception that pickle cannot make anew."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def work(item):
    match item:
        case "fail":
            raise FrameError("no stars")
        case "defect":
            raise ZeroDivisionError("a defect")
        case "odd":
            raise Odd(1, 2)
        case "memory":
            raise MemoryError
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "realtime":
            os.kill(os.getpid(), signal.SIGRTMIN + 1)
        case "exit":
            os._exit(3)
        case "leave":
            sys.exit(4)
        case "unpicklable":
            return lambda: None
        case "environment":
            return {name: os.environ.get(name) for name in ONE_THREAD}
        case "pid":
            return os.getpid()
    return f"done {item}"


class Large:
    """A result that does not fit into a pipe; says into a file who is about to send it."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        self.marker.write_text(str(os.getpid()))
        return bytes, (bytes(2**23),)


def answer(item):
    return Large(item) if isinstance(item, Path) else item
