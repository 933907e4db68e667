"""The run folder and what can go wrong with it: no permission, another run, a full disk."""

from __future__ import annotations

import errno
import fcntl
import logging
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from albireo.library import Library, LibraryError
from albireo.recipe import Recipe
from albireo.tasks import DamagedProductError

__all__ = ["RunError", "open_library", "run_folder"]

log = logging.getLogger("albireo")


class RunError(Exception):
    """The run cannot go on; the message says why and what to do."""


@contextmanager
def run_folder(out: Path, root: Path) -> Iterator[None]:
    """Make the folder, lock it against other runs, write the log into it, and put disk errors in words.

    Raises
    ------
    RunError
        If the folder cannot be used, or the disk is full.
    """
    _make(out, root)
    with _locked(out), _logged(out), _disk_errors(out):
        for left_over in out.rglob(".*.partial"):  # of a run that was killed
            left_over.unlink()
        yield


def _make(out: Path, root: Path) -> None:
    if out.resolve() == root:
        raise RunError(f"the run folder {out} is the folder of the raw frames; give another one with --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".writable"
        probe.touch()
        probe.unlink()
    except FileExistsError:
        raise RunError(f"{out} is a file, not a folder; give another place with --out") from None
    except OSError as error:
        raise RunError(f"the run folder {out} cannot be written: {error.strerror}; give another with --out") from error


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    with (out / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"another run is at work in {out}; wait for it, or give another folder with --out") from None
        yield


@contextmanager
def _logged(out: Path) -> Iterator[None]:
    handler = logging.FileHandler(out / "run.log", encoding="utf-8")
    formatter = logging.Formatter("%(asctime)sZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    log.addHandler(handler)
    level, log.propagate = log.level, False
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        handler.close()


@contextmanager
def _disk_errors(out: Path) -> Iterator[None]:
    try:
        yield
    except DamagedProductError as error:
        raise RunError(str(error)) from error
    except OSError as error:
        # astropy says it in words of its own, without a number.
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS) and "Not enough space" not in str(error):
            raise
        raise RunError(_full(out, error.strerror or "no space left on device")) from error
    except sqlite3.OperationalError as error:
        if "full" not in str(error) and "readonly" not in str(error):
            raise
        raise RunError(_full(out, str(error))) from error


def _full(out: Path, reason: str) -> str:
    free = shutil.disk_usage(out).free / 2**20
    return (
        f"the run folder {out} cannot be written: {reason} ({free:.0f} MiB free). Make room, or give another folder "
        "with --out; run again, and what is done will be used"
    )


def open_library(recipe: Recipe) -> Library | None:
    """Open the library of masters that a recipe names; None if it names none.

    Raises
    ------
    RunError
        If it cannot be used.
    """
    folder = recipe.library_folder
    if folder is None:
        return None
    try:
        return Library(folder)
    except LibraryError as error:
        raise RunError(str(error)) from error
