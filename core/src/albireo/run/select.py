"""Which frames take part: selectors in order, before the reduction and after it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from albireo.frames import Frame, Frames
from albireo.plan import Fate
from albireo.roles import Selector
from albireo.run.science import load_numbers
from albireo.run.state import RunState
from albireo.store import key_of, stage_key

__all__ = ["decide", "judge", "rescued", "select"]


def select(run: RunState) -> Frames:
    """Give the frames that every selector keeps; the others get their fate."""
    frames = run.night.frames
    saved = rescued(run.recipe.selectors, frames)
    for selector in run.recipe.selectors:
        if selector.judges_results:
            continue
        wanted = [f for f in frames if selector.wants(f)]
        measured = _measure(run, selector, wanted)
        lost = {f.name for f in wanted} - measured.keys()
        frames = Frames(f for f in frames if f.name not in lost)
        frames = _decided(run, selector, frames, measured, saved)
    return frames


def judge(run: RunState) -> None:
    """Let selectors decide by what the reduction found; what they drop makes no light curves."""
    selectors = [selector for selector in run.recipe.selectors if selector.judges_results]
    if not selectors:
        return
    load_numbers(run)
    frames = Frames(frame for frame in run.plan.science if run.fates[frame.name].fate == "used")
    saved = rescued(run.recipe.selectors, frames)
    # Shifts and fluxes are against the reference of a field: those of two fields cannot be compared.
    fields = {frame.name: number for number, state in enumerate(run.fields) for frame in state.plan.frames}
    measured = {frame.name: {**run.numbers[frame.name], "field": fields[frame.name]} for frame in frames}
    for selector in selectors:
        frames = _decided(run, selector, frames, measured, saved)
    staying = set(frames.values("name"))
    run.measured = {name: path for name, path in run.measured.items() if name in staying}


def rescued(selectors: Iterable[Selector], frames: Frames) -> dict[str, str]:
    """Collect the frames that some selector wants to stay whatever the others say, with the reasons."""
    saved: dict[str, str] = {}
    for selector in selectors:
        saved |= selector.rescue(frames)
    return saved


def decide(
    selector: Selector, frames: Frames, measured: Mapping[str, Mapping[str, float]], saved: Mapping[str, str]
) -> tuple[Frames, dict[str, str], dict[str, str]]:
    """Ask one selector.

    Returns
    -------
    Frames
        Those that stay, in the order they came.
    dict
        Why each of the others is dropped, by name.
    dict
        Which frames stay only because they are rescued, by name, with what speaks for it and against it.
    """
    selection = selector.select(frames, measured)
    dropped = {name: reason for name, reason in selection.dropped.items() if name not in saved}
    staying = {frame.name for frame in selection.kept} | saved.keys()
    kept = Frames(frame for frame in frames if frame.name in staying)
    against = {
        name: f"{saved[name]}, although {selector.name} says: {reason}"
        for name, reason in selection.dropped.items()
        if name in saved
    }
    return kept, dropped, against


def _decided(
    run: RunState,
    selector: Selector,
    frames: Frames,
    measured: Mapping[str, Mapping[str, float]],
    saved: Mapping[str, str],
) -> Frames:
    kept, dropped, against = decide(selector, frames, measured, saved)
    for name, reason in dropped.items():
        run.left_out(name, Fate("dropped", f"select {selector.name}", reason))
    run.rescued |= against
    return kept


def _measure(run: RunState, selector: Selector, wanted: Sequence[Frame]) -> dict[str, dict[str, float]]:
    # Only the selector knows which of its options the numbers depend on, so all of them are part of the key.
    stage = stage_key(selector)
    keys = {f.name: key_of("numbers", run.raw_key(f), stage) for f in wanted}
    known = {name: numbers for name, key in keys.items() if (numbers := run.index.measured(key)) is not None}
    todo = [f for f in wanted if f.name not in known]
    if not todo:
        return known
    from albireo.jobs import MeasureWork

    run.watch.stage(f"selecting by {selector.name}", len(todo))
    for outcome in run.recipe.executor.map(MeasureWork(run.recipe.instrument, selector), todo):
        frame = todo[outcome.index]
        run.watch.advance()
        if outcome.error or outcome.value is None:
            run.left_out(frame.name, Fate("failed", f"select {selector.name}", outcome.error))
        else:
            known[frame.name] = outcome.value
            run.index.save_measured(keys[frame.name], outcome.value)
    return known
