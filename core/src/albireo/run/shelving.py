"""Enter the masters of a run in the library, each held against the one before it."""

from __future__ import annotations

import logging
from dataclasses import replace

from albireo.frames import Frames
from albireo.library import BAD, DOUBTFUL, GOOD, Entry, Library, LibraryError, mean_start, witnesses
from albireo.plan import MasterPlan
from albireo.roles import MasterBuilder
from albireo.run.state import RunState
from albireo.shelf import chain_of

__all__ = ["enter"]

log = logging.getLogger("albireo")


def enter(run: RunState, library: Library, master: MasterPlan, builder: MasterBuilder) -> None:
    """Enter a master, unless it is there already.

    It is held against the entry nearest in time of the same kind and facts that nobody called bad. If its builder has a
    word about the difference, the run tells, and the master is entered as doubtful. If it agrees with one that was
    doubtful itself, both are good: what changed has stayed so.
    """
    try:
        _enter(run, library, master, builder)
    except LibraryError as error:
        run.fail(f"the master {master.name} could not be entered in the library: {error}")


def _enter(run: RunState, library: Library, master: MasterPlan, builder: MasterBuilder) -> None:
    key, path = run.master_keys[master.name], run.master_path(master).resolve()
    entries = library.entries(master.kind)
    if any(entry.key == key and entry.path == path for entry in entries):
        return
    note = run.index.note(key)
    frames = Frames(f for f in master.frames if f.name not in note["lost"] and f.name not in note["dropped"])
    new = Entry(
        key=key,
        path=path,
        name=master.name,
        kind=master.kind,
        chain=chain_of(master.corrections),
        number=len(frames),
        frames=witnesses(frames),
        start=mean_start(frames),
    )
    before = _before(run, new, entries, builder)
    if before is not None:
        new = _compared(run, library, new, before, builder)
    library.enter(new)
    log.info("master %s entered in the library %s as %s", new.name, library.folder, new.verdict)


def _before(run: RunState, new: Entry, entries: list[Entry], builder: MasterBuilder) -> Entry | None:
    """Find the entry that the new one should be like: of frames that could be of one master with its own."""
    facts = run.recipe.instrument.match(new.kind)
    ours = new.frames[0]
    alike = [
        entry
        for entry in entries
        if entry.path != new.path
        and entry.chain == new.chain
        and entry.verdict != BAD
        and all(ours.fact(name) == entry.frames[0].fact(name) for name in facts)
        and len([*builder.split(Frames((entry.frames[0], ours)))]) == 1
        and not entry.trouble()
    ]
    return min(alike, key=lambda entry: entry.age(ours), default=None)


def _compared(run: RunState, library: Library, new: Entry, old: Entry, builder: MasterBuilder) -> Entry:
    from albireo.images import read_image

    difference = builder.compare(read_image(new.path), read_image(old.path))
    if difference:
        remark = f"{difference} (against {old.name} of {old.path.parent})"
        run.warn(f"the master {new.name} differs from the one before it in the library: {remark}")
        return replace(new, verdict=DOUBTFUL, remark=remark)
    if old.verdict == DOUBTFUL:
        library.change(old.key, verdict=GOOD, remark=f"{old.remark}; {new.path.parent} agrees with it")
    return new
