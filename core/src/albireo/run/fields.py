"""Find the reference of each field: of some frames from all over the night the one that shows most, sharpest stars."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite

from albireo.frames import Frame
from albireo.plan import find_frame
from albireo.run.science import work_on
from albireo.run.state import FieldState, RunState
from albireo.tasks import FrameTask

__all__ = ["find_fields"]

log = logging.getLogger("albireo")


def find_fields(run: RunState) -> None:
    """Give every field a reference, as far as its frames allow.

    A frame that an earlier run in this folder used stays the reference: frames that are added or taken away could else
    bring forth another, and every frame would have to be aligned anew.
    """
    run.fields = [FieldState(part) for part in run.plan.fields]
    if run.recipe.finder is None:
        return
    run.watch.stage("finding references", len(run.fields))
    failed = set(run.index.failures())
    searches = [_Search(run, state, _batches(run, state)) for state in run.fields if not _kept(run, state)]
    while searches:
        for search in searches:
            search.begin(failed)
        tasks = [task for search in searches for task in search.tasks]
        for outcome in work_on(run, tasks):
            if outcome.value is not None and not outcome.value.stage and not outcome.value.numbers["sources"]:
                product = tasks[outcome.index].aligned
                run.index.save_failure(product.stem, "finding", "no star was found on this frame")
        failed = set(run.index.failures())
        _draw(run, searches)
        searches = [search for search in searches if search.state.reference is None and search.left]


@dataclass(eq=False)
class _Search:
    """The search for the reference of one field: batches of frames, until one of them has stars."""

    run: RunState
    state: FieldState
    batches: list[list[Frame]]

    def __post_init__(self) -> None:
        self.frames: list[Frame] = []
        self.tasks: list[FrameTask] = []

    @property
    def left(self) -> bool:
        """Whether there are frames to be tried."""
        return bool(self.batches)

    def begin(self, failed: set[str]) -> None:
        """Take the next batch: what has not been looked at yet makes tasks."""
        self.frames = [f for f in self.batches.pop(0) if self.run.found_key(f) not in failed]
        tasks = (replace(self.run.reference_task(frame, self.state), reduced=None) for frame in self.frames)
        self.tasks = [task for task in tasks if not task.is_done]

    def best(self, failed: set[str]) -> Frame | None:
        """Choose the frame of the batch with most and sharpest stars; of equal ones the first."""
        known = [f for f in self.frames if self.run.found_key(f) not in failed]
        ranked = [(self._quality(f), -number, f) for number, f in enumerate(known) if self._task(f).aligned.exists()]
        if not ranked:
            return None
        quality, _, frame = max(ranked, key=lambda entry: entry[:2])
        log.info("field %s: %s is the best of %d frames (%.3g)", self.state.plan.name, frame.name, len(ranked), quality)
        return frame

    def _task(self, frame: Frame) -> FrameTask:
        return self.run.reference_task(frame, self.state)

    def _quality(self, frame: Frame) -> float:
        """Stars over the area that the light of one covers."""
        from albireo.products import load_arrays

        _, numbers = load_arrays(self._task(frame).aligned)
        spread = numbers["fwhm"] ** 2 * max(1.0, numbers["elongation"])
        return float(numbers["sources"] / spread) if isfinite(spread) and spread > 0 else 0.0


def _batches(run: RunState, state: FieldState) -> list[list[Frame]]:
    """Put the frames of a field into the order in which they are looked at."""
    options, ordered = run.recipe.catalogue, list(state.plan.candidates)
    first: list[Frame] = []
    wanted = _named(run, state)
    if wanted is not None:
        first = [wanted]
    elif options.reference == "best":
        common = [f for f in state.plan.frames.sorted("mid") if f.filter == ordered[0].filter]
        number = min(options.candidates, len(common))
        first = [common[(2 * k + 1) * len(common) // (2 * number)] for k in range(number)]
    rest = [frame for frame in ordered if frame not in first]
    step = options.candidates if options.reference == "best" else 1
    return [batch for batch in [first, *(rest[i : i + step] for i in range(0, len(rest), step))] if batch]


def _named(run: RunState, state: FieldState) -> Frame | None:
    """Give the frame that the recipe names as the reference, if it is one of this field."""
    name = run.recipe.catalogue.reference
    return None if name in ("best", "middle") else find_frame(name, state.plan.frames)


def _kept(run: RunState, state: FieldState) -> bool:
    """Take the reference of an earlier run in this folder, if there is one that is still wanted."""
    wanted = _named(run, state)
    for frame in [wanted] if wanted is not None else state.plan.candidates:
        task = run.reference_task(frame, state)
        if task.is_done:
            _take(state, task)
            return True
    return False


def _draw(run: RunState, searches: Sequence[_Search]) -> None:
    """Write the calibrated image of each reference that was found."""
    failed = set(run.index.failures())
    chosen = [(search.state, frame) for search in searches if (frame := search.best(failed)) is not None]
    tasks = [run.reference_task(frame, state) for state, frame in chosen]
    for outcome in work_on(run, tasks):
        if outcome.value is not None and not outcome.value.stage:
            _take(chosen[outcome.index][0], tasks[outcome.index])


def _take(state: FieldState, task: FrameTask) -> None:
    state.reference, state.reference_product, state.reference_image = task.frame, task.aligned, task.reduced
    log.info("field %s: reference %s", state.plan.name, task.frame.name)
