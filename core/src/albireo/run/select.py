"""Which frames take part: selectors in order, with what they measure on raw pixels."""

from __future__ import annotations

from collections.abc import Sequence

from albireo.frames import Frame, Frames
from albireo.plan import Fate
from albireo.roles import Selector
from albireo.run.state import RunState
from albireo.store import key_of, stage_key

__all__ = ["select"]


def select(run: RunState) -> Frames:
    """Give the frames that every selector keeps; the others get their fate."""
    frames = run.night.frames
    for selector in run.recipe.selectors:
        wanted = [f for f in frames if selector.wants(f)]
        measured = _measure(run, selector, wanted)
        lost = {f.name for f in wanted} - measured.keys()
        selection = selector.select(Frames(f for f in frames if f.name not in lost), measured)
        for name, reason in selection.dropped.items():
            run.left_out(name, Fate("dropped", f"select {selector.name}", reason))
        frames = selection.kept
    return frames


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
