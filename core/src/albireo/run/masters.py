"""Build the masters that are planned, as far as they are not there already."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from albireo.frames import FrameError, Frames
from albireo.library import Entry
from albireo.plan import FILTERED, Fate, MasterPlan
from albireo.roles import MasterBuilder
from albireo.run.folder import RunError
from albireo.run.shelving import enter
from albireo.run.state import RunState
from albireo.store import key_of, stage_key

__all__ = ["build_masters", "plain_cards"]

log = logging.getLogger("albireo")


def build_masters(run: RunState) -> None:
    """Build every master of the plan, in its order.

    Raises
    ------
    RunError
        If one cannot be built, with the number of frames it would have served.
    """
    builders = {builder.kind: builder for builder in run.recipe.masters}
    run.watch.stage("building masters", len(run.plan.masters))
    for master in run.plan.masters:
        if master.stored is not None:
            _take(run, master, master.stored)
            continue
        builder = builders[master.kind]
        key = key_of(
            "master",
            stage_key(builder),
            sorted(run.raw_key(frame) for frame in master.frames),
            [stage_key(c) for c in master.corrections],
            {kind: run.master_keys[m.name] for kind, m in master.masters.items()},
        )
        run.master_keys[master.name] = key
        path = run.master_path(master)
        if not run.index.has(key):
            note = _find(path, key, master) or _build(run, master, builder, key, path)
            note["remarks"] += _compared(run, master, builder)
            run.index.save_product(key, path, note)
        if run.library is not None and run.recipe.library is not None and run.recipe.library.add:
            enter(run, run.library, master, builder)
        note = run.index.note(key)
        for remark in note["remarks"]:
            run.warn(remark)
        for frame in master.frames.where(kind=lambda kind: kind != "science"):  # of those the reduction tells
            for fate, reasons in (("failed", note["lost"]), ("dropped", note["dropped"])):
                if frame.name in reasons:
                    run.left_out(frame.name, Fate(fate, f"master {master.kind}", reasons[frame.name]))
            run.fates.setdefault(frame.name, Fate("used", "", f"in master {master.name}"))
        run.watch.advance()


def _take(run: RunState, master: MasterPlan, entry: Entry) -> None:
    """Take a master from the library as it is."""
    if trouble := entry.trouble():  # it was well when the run was planned
        raise RunError(f"the master {entry.name} of the library cannot be used: {trouble} ({entry.path})")
    run.master_keys[master.name] = entry.key
    run.watch.advance()


def _find(path: Path, key: str, master: MasterPlan) -> dict[str, Any] | None:
    """Recognise a master by the key in its header, where the index has lost it.

    One that lacks some of its frames is built again: only that tells anew which, and why.
    """
    if not path.exists():
        return None
    from albireo.headers import read_header

    try:
        _, header = read_header(path)
    except FrameError:
        return None
    if header.get("ALBKEY") != key or header.get("NFRAMES") != len(master.frames):
        return None
    remark = " ".join(map(str, header.get("COMMENT", ())))
    return {"lost": {}, "dropped": {}, "remarks": [remark] if remark else [], "meta": plain_cards(header)}


def _build(run: RunState, master: MasterPlan, builder: MasterBuilder, key: str, path: Path) -> dict[str, Any]:
    from albireo.images import read_image, write_image
    from albireo.jobs import with_meta
    from albireo.stack import RawStack

    needs = {kind: read_image(run.master_path(m)) for kind, m in master.masters.items()}
    try:
        stack = RawStack(
            master.frames, run.recipe.instrument, master.corrections, needs, run.recipe.executor.memory_bytes
        )
        built = builder.build(stack)
    except FrameError as error:
        served = [n for n, chosen in run.plan.choices.items() if chosen.get(master.kind, (None,))[0] is master]
        raise RunError(
            f"the master {master.name} cannot be built: {error}. It would have served {len(served)} frames. "
            f'Repair or replace these frames, or write allow_missing = ["{master.kind}"] under [recipe].'
        ) from error
    # With these a correction knows which noise its master shares with another of the same frame.
    keys = {f"KEY{kind.upper()[:5]}": run.master_keys[m.name] for kind, m in master.masters.items()}
    dropped = dict(built.meta.get("DROPPED", {}))
    kept = Frames(frame for frame in stack.frames if frame.name not in dropped)
    built = with_meta(built, ALBKEY=key, **keys, **_cards(master.kind, kept, built.meta.get("HISTORY", ())))
    write_image(path, built)
    for name, reason in {**stack.lost, **dropped}.items():
        log.warning("%s left out of master %s: %s", name, master.name, reason)
    log.info("master %s from %d frames", master.name, len(kept))
    remarks = [f"{master.name}: {text}" for text in built.meta.get("COMMENT", ())]
    return {"lost": stack.lost, "dropped": dropped, "remarks": remarks, "meta": plain_cards(built.meta)}


def _compared(run: RunState, master: MasterPlan, builder: MasterBuilder) -> list[str]:
    """Hold a master against those of this night, made before it, that its builder wants to see beside it."""
    from albireo.images import read_image

    facts = run.recipe.instrument.match(master.kind)
    earlier = run.plan.masters[: run.plan.masters.index(master)]
    beside = [
        run.master_path(other)
        for other in earlier
        if other.kind == master.kind
        and other.stored is None
        and all(other.frames[0].fact(name) == master.frames[0].fact(name) for name in facts)
        and builder.comparable(master.frames, other.frames)
    ]
    if not beside:
        return []
    picture = read_image(run.master_path(master))
    return [text for path in beside if (text := builder.compare(picture, read_image(path)))]


def _cards(kind: str, frames: Frames, history: str | Iterable[str]) -> dict[str, Any]:
    """Say in the header of a master what it was made from."""
    first = frames[0]
    cards: dict[str, Any] = {"IMAGETYP": kind, "NFRAMES": len(frames)}
    exptimes = {f.exptime for f in frames}
    if len(exptimes) == 1 and (exptime := exptimes.pop()) == exptime:
        cards["EXPTIME"] = exptime
    texts = {"INSTRUME": first.instrument, "DETECTOR": first.detector}
    if kind in FILTERED:
        texts["FILTER"] = first.filter
    cards |= {name: text for name, text in texts.items() if text}
    degrees = [f.temperature for f in frames if f.temperature == f.temperature]
    if degrees:
        cards |= {"CCD-TEMP": sum(degrees) / len(degrees), "TEMPMIN": min(degrees), "TEMPMAX": max(degrees)}
    lines = [history] if isinstance(history, str) else history
    cards["HISTORY"] = [*(str(line) for line in lines), *(f"made from {f.name}" for f in frames)]
    return cards


def plain_cards(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Give what a builder noted, without what every FITS header has."""
    skip = {"HISTORY", "COMMENT", "", "SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "EXTEND", "ALBKEY", "BUNIT"}
    noted = {k: v for k, v in dict(meta).items() if k not in skip and not k.startswith("KEY")}
    return {k: v for k, v in noted.items() if isinstance(v, str | int | float | bool)}
