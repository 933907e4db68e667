"""What is known already: keys of products, and the index of a run folder.

A product is known by its key: a digest of everything that went into it, namely the bytes of the raw files, the frame
as the instrument understands it, the options of the stages and the versions of the distributions they come from (the
sources, where one is used from its checkout). If the product of that key is there, it need not be made again.

The index (``index.sqlite``) holds what is costly to find out anew: digests of raw files, headers as frames, measured
levels, frames that failed. It can be deleted at any time; products carry their keys with them and are found again.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from albireo.frames import Frame
from albireo.registry import Registry
from albireo.roles import Stage

__all__ = ["Index", "frame_key", "key_of", "stage_key"]

FORMAT = 1
"""Version of the layout of products and of the index; part of every key."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, digest TEXT);
CREATE TABLE IF NOT EXISTS headers (key TEXT PRIMARY KEY, frames TEXT, error TEXT);
CREATE TABLE IF NOT EXISTS measured (key TEXT PRIMARY KEY, numbers TEXT);
CREATE TABLE IF NOT EXISTS failures (key TEXT PRIMARY KEY, stage TEXT, reason TEXT);
CREATE TABLE IF NOT EXISTS products (key TEXT PRIMARY KEY, path TEXT, size INTEGER, mtime_ns INTEGER, note TEXT);
"""


def key_of(*parts: Any) -> str:
    """Digest of plain values; equal values give equal keys on every machine."""
    text = json.dumps([FORMAT, source_digest("albireo"), *parts], sort_keys=True, separators=(",", ":"), default=_text)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _text(value: Any) -> Any:
    """Write what JSON has no word for; the order of a set differs from process to process."""
    return sorted(value, key=str) if isinstance(value, set | frozenset) else str(value)


def stage_key(stage: Stage | None) -> Any:
    """Identify a stage with its options and the version of what provides it."""
    if stage is None:
        return None
    provider = Registry.discover().provider_of(stage)
    module = type(stage).__module__
    code = (provider.distribution, provider.version) if provider else (module, type(stage).__qualname__)
    return [type(stage).name, *code, source_digest(module), stage.model_dump(), stage.fingerprint()]


@lru_cache(maxsize=64)
def source_digest(module: str) -> str:
    """Identify code that is being worked on: a digest of the sources of a package that is not installed for good.

    A version says which code an installed package holds. One that is used from its checkout changes without it.
    """
    file = getattr(sys.modules.get(module.partition(".")[0]), "__file__", None)
    if file is None or any(Path(file).is_relative_to(sysconfig.get_path(name)) for name in ("purelib", "platlib")):
        return ""
    home = Path(file)
    sources = sorted(home.parent.rglob("*")) if home.name == "__init__.py" else [home]
    digest = hashlib.sha256()
    for path in sources:
        if path.suffix in (".py", ".toml"):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def frame_key(frame: Frame, digest: str) -> str:
    """Identify a frame by the bytes of its file and by how its header is understood, wherever the file lies.

    What other frames were exposed with it changes as a night goes on, and nothing of its pixels.
    """
    facts = frame.to_dict()
    for name in ("path", "name", "notes", "exposure"):
        del facts[name]
    return key_of("frame", digest, facts)


class Index:
    """The index of a run folder.

    Parameters
    ----------
    folder : Path or None
        The run folder; it must exist. None keeps the index in memory.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder or Path()
        path = folder / "index.sqlite" if folder else Path(":memory:")
        try:
            self._open(path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error):
                raise
            self._db.close()
            for suffix in ("", "-wal", "-shm"):  # damaged: everything in it can be found out again
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            self._open(path)

    def _open(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        (state,) = self._db.execute("PRAGMA quick_check(1)").fetchone()
        if state != "ok":
            raise sqlite3.DatabaseError(state)
        (layout,) = self._db.execute("PRAGMA user_version").fetchone()
        if layout not in (0, FORMAT):
            raise sqlite3.DatabaseError("made by another version")
        self._db.execute(f"PRAGMA user_version = {FORMAT}")
        self._db.execute("PRAGMA journal_mode=WAL")
        # A crash of the machine may lose the last entries, never damage the file; they are found out again.
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *exception: object) -> None:
        self._db.close()

    # --- raw files

    def digest(self, path: Path) -> str | None:
        """Give the known digest of a file that has not changed since."""
        state = path.stat()
        row = self._db.execute("SELECT size, mtime_ns, digest FROM files WHERE path = ?", (str(path),)).fetchone()
        if row and row[:2] == (state.st_size, state.st_mtime_ns):
            return str(row[2])
        return None

    def save_digests(self, entries: Iterable[tuple[Path, os.stat_result, str]]) -> None:
        """Remember digests of files in the state they had before they were read."""
        rows = [(str(path), state.st_size, state.st_mtime_ns, digest) for path, state, digest in entries]
        self._many("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", rows)

    def headers(self) -> dict[str, tuple[list[dict[str, Any]], str]]:
        """Every header that was read before: frames as plain values and an error text, by key."""
        rows = self._db.execute("SELECT key, frames, error FROM headers")
        return {key: (json.loads(frames), error) for key, frames, error in rows}

    def save_headers(self, entries: Iterable[tuple[str, list[Frame], str]]) -> None:
        """Remember what headers say."""
        rows = [(key, json.dumps([f.to_dict() for f in frames]), error) for key, frames, error in entries]
        self._many("INSERT OR REPLACE INTO headers VALUES (?, ?, ?)", rows)

    # --- what was measured, what failed

    def measured(self, key: str) -> dict[str, float] | None:
        """Give the numbers measured under a key."""
        row = self._db.execute("SELECT numbers FROM measured WHERE key = ?", (key,)).fetchone()
        return json.loads(row[0]) if row else None

    def save_measured(self, key: str, numbers: Mapping[str, float]) -> None:
        """Remember measured numbers."""
        self._db.execute("INSERT OR REPLACE INTO measured VALUES (?, ?)", (key, json.dumps(dict(numbers))))

    def failures(self) -> dict[str, tuple[str, str]]:
        """Stage and reason of everything that failed for good, by key."""
        return {key: (stage, reason) for key, stage, reason in self._db.execute("SELECT * FROM failures")}

    def save_failure(self, key: str, stage: str, reason: str) -> None:
        """Remember that the same attempt would fail again."""
        self._db.execute("INSERT OR REPLACE INTO failures VALUES (?, ?, ?)", (key, stage, reason))

    # --- products at a fixed place

    def has(self, key: str) -> bool:
        """Whether the product of this key is where it was put, unchanged."""
        row = self._db.execute("SELECT path, size, mtime_ns FROM products WHERE key = ?", (key,)).fetchone()
        if row is None:
            return False
        try:
            state = (self.folder / row[0]).stat()
        except FileNotFoundError:
            return False
        return bool((state.st_size, state.st_mtime_ns) == row[1:])

    def note(self, key: str) -> dict[str, Any]:
        """Give what was remembered with a product."""
        row = self._db.execute("SELECT note FROM products WHERE key = ?", (key,)).fetchone()
        return json.loads(row[0]) if row else {}

    def forget(self, path: Path) -> None:
        """Forget a product, because another will take its place."""
        self._db.execute("DELETE FROM products WHERE path = ?", (str(path.relative_to(self.folder)),))

    def save_product(self, key: str, path: Path, note: Mapping[str, Any] | None = None) -> None:
        """Remember a product; another one at the same place is forgotten."""
        place = str(path.relative_to(self.folder))
        state = path.stat()
        self._db.execute("BEGIN")
        self._db.execute("DELETE FROM products WHERE path = ?", (place,))
        self._db.execute(
            "INSERT OR REPLACE INTO products VALUES (?, ?, ?, ?, ?)",
            (key, place, state.st_size, state.st_mtime_ns, json.dumps(dict(note or {}), default=str)),
        )
        self._db.execute("COMMIT")

    def _many(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        if rows:
            self._db.execute("BEGIN")
            self._db.executemany(statement, rows)
            self._db.execute("COMMIT")
