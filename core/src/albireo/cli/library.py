"""``albireo library``."""

from __future__ import annotations

from argparse import Namespace
from math import isfinite
from typing import Any

from albireo.cli.common import complain, listing, terminal
from albireo.frames import iso_to_mjd, mjd_to_iso
from albireo.library import BAD, GOOD, Entry, Library, LibraryError


def command(options: Namespace) -> int:
    """List a library, or change one of its entries."""
    try:
        changes = _changes(options)
        if not options.folder.is_dir():
            raise LibraryError(f"there is no folder {options.folder}; a run with [library] makes one")
        library = Library(options.folder)
        if options.forget:
            entry = library.forget(options.name)
            print(f"{entry.short} {entry.name} is forgotten; its file stays: {entry.path}")
            return 0
        if changes:
            entries = [library.change(options.name, **changes)]
        else:
            entries = [library.find(options.name)] if options.name else library.entries()
    except (LibraryError, ValueError) as error:
        complain(str(error))
        return 2
    show(entries)
    return 0


def _changes(options: Namespace) -> dict[str, Any]:
    """Read from a call what is to be changed.

    Raises
    ------
    LibraryError
        If it contradicts itself, or does not say which master it means.
    ValueError
        If a date is none.
    """
    if options.good and options.bad:
        raise LibraryError("a master is good or bad, not both")
    changes: dict[str, Any] = {}
    if options.good or options.bad:
        changes["verdict"] = GOOD if options.good else BAD
    if options.remark is not None:
        changes["remark"] = options.remark
    for name in ("good_from", "good_until"):
        if (date := getattr(options, name)) is not None:
            changes[name] = iso_to_mjd(date)
    if (changes or options.forget) and not options.name:
        raise LibraryError("say which master is meant: its key stands first in the list")
    return changes


def show(entries: list[Entry]) -> None:
    """Print entries."""
    console = terminal()
    if not entries:
        console.print("the library is empty")
        return
    table = listing("key", "master", "frames", "night", "verdict", "serves", "file")
    for entry in entries:
        trouble = entry.trouble()
        night = mjd_to_iso(entry.start)[:10] or "(unknown)"
        verdict = f"{entry.verdict}: {entry.remark}" if entry.remark else entry.verdict
        table.add_row(
            *(entry.short, entry.name, str(entry.number), night, verdict, _validity(entry)),
            f"{entry.path}{': ' if trouble else ''}{trouble}",
        )
    console.print(table)


def _validity(entry: Entry) -> str:
    first = f"from {mjd_to_iso(entry.good_from)[:16]}" if isfinite(entry.good_from) else ""
    last = f"until {mjd_to_iso(entry.good_until)[:16]}" if isfinite(entry.good_until) else ""
    return " ".join(filter(None, (first, last))) or "any night"
