"""Find the reference of each field."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from albireo.run.science import work_on
from albireo.run.state import FieldState, RunState
from albireo.tasks import FrameTask

__all__ = ["find_fields"]

log = logging.getLogger("albireo")


def find_fields(run: RunState) -> None:
    """Give every field a reference and a catalogue, as far as its frames allow.

    Raises
    ------
    RunError
        If a target has no place on a reference.
    """
    from albireo.run.catalogue import make_catalogues  # brings the libraries of images and tables

    run.fields = [FieldState(part) for part in run.plan.fields]
    if run.recipe.finder is None:
        return
    run.watch.stage("finding references", len(run.fields))
    failed = set(run.index.failures())
    candidates = {state: _candidates(run, state, failed) for state in run.fields}
    while candidates:
        tasks: list[tuple[FieldState, FrameTask]] = []
        for state in list(candidates):
            task = next(candidates[state], None)
            if task is None:
                del candidates[state]
            elif task.is_done:
                _take(state, task)
                del candidates[state]
            else:
                tasks.append((state, task))
        for outcome in work_on(run, [task for _, task in tasks]):
            state, task = tasks[outcome.index]
            if outcome.value is None or outcome.value.stage:
                continue
            if outcome.value.numbers["sources"]:
                _take(state, task)
                del candidates[state]
            else:
                run.index.save_failure(task.aligned.stem, "finding", "no star was found on this frame")
    make_catalogues(run)


def _candidates(run: RunState, state: FieldState, failed: set[str]) -> Iterator[FrameTask]:
    """Go through the frames that may be the reference, in the order of the plan.

    One that an earlier run in this folder used comes first: frames that are added or taken away would else move the
    middle of the night, and every frame would have to be aligned anew.
    """
    tasks = [run.reference_task(frame, state) for frame in state.plan.candidates]
    tasks = [task for task in tasks if task.aligned.stem not in failed]
    yield from sorted(tasks, key=lambda task: not task.is_done)


def _take(state: FieldState, task: FrameTask) -> None:
    state.reference, state.reference_product, state.reference_image = task.frame, task.aligned, task.reduced
    log.info("field %s: reference %s", state.plan.name, task.frame.name)
