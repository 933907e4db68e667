"""Process science frames: correct, find, align, measure, each in one job."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from albireo.plan import Fate
from albireo.roles import Outcome
from albireo.run.state import FieldState, RunState
from albireo.tasks import FrameResult, FrameTask

__all__ = ["load_numbers", "process_frames", "work_on"]


def process_frames(run: RunState) -> int:
    """Process every science frame that is not done yet.

    Returns
    -------
    int
        How many there were to do.
    """
    known = run.index.failures()
    tasks: list[FrameTask] = []
    for state in run.fields:
        for frame in state.plan.frames:
            if run.recipe.finder is not None and state.reference is None:
                _no_reference(run, state, known)
                break
            task = run.frame_task(frame, state)
            failure = known.get(task.aligned.stem) or (known.get(task.measured.stem) if task.measured else None)
            if failure:
                run.left_out(frame.name, Fate("failed", *failure))
            elif task.is_done:
                _used(run, task)
            else:
                tasks.append(task)
    run.watch.stage("processing frames", len(tasks))
    for outcome in work_on(run, tasks):
        task = tasks[outcome.index]
        if outcome.value is not None and not outcome.value.stage:
            run.numbers[task.frame.name] = outcome.value.numbers
            _used(run, task)
        run.watch.advance()
    return len(tasks)


def load_numbers(run: RunState) -> None:
    """Bring to mind what was measured of every frame that is used, also in earlier runs."""
    from albireo.jobs import load_arrays

    for state in run.fields:
        for frame in state.plan.frames:
            if run.fates[frame.name].fate == "used" and frame.name not in run.numbers:
                _, run.numbers[frame.name] = load_arrays(run.frame_task(frame, state).aligned)


def work_on(run: RunState, tasks: Sequence[FrameTask]) -> Iterator[Outcome[FrameResult]]:
    """Run tasks where the recipe says, and note what failed."""
    if not tasks:
        return
    from albireo.jobs import FrameWork

    recipe = run.recipe
    work = FrameWork(
        recipe.instrument,
        tuple(recipe.corrections),
        recipe.background,
        recipe.finder,
        recipe.psf,
        recipe.aligner,
        tuple(recipe.photometers),
    )
    for outcome in recipe.executor.map(work, tasks):
        task = tasks[outcome.index]
        stage, reason, permanent = "", "", True
        if outcome.value is not None:
            stage, reason = outcome.value.stage, outcome.value.reason
        elif outcome.error:
            stage, reason, permanent = "worker", outcome.error, outcome.permanent
        if reason:
            run.left_out(task.frame.name, Fate("failed", stage, reason))
            if permanent:
                # A frame that could not be aligned fails whatever is measured on it; one that was, does not.
                product = task.measured if task.measured is not None and task.aligned.exists() else task.aligned
                run.index.save_failure(product.stem, stage, reason)
        run.tell("frame_finished", frame=task.frame.name, stage=stage or "frames", error=reason)
        yield outcome


def _used(run: RunState, task: FrameTask) -> None:
    run.fates[task.frame.name] = Fate("used")
    if task.measured is not None:
        run.measured[task.frame.name] = task.measured


def _no_reference(run: RunState, state: FieldState, known: dict[str, tuple[str, str]]) -> None:
    """List the frames of a field without a reference: each has been tried, and has a reason of its own."""
    for frame in state.plan.frames:
        if frame.name in run.fates:
            continue
        product = run.reference_task(frame, state).aligned
        stage, reason = known.get(product.stem, ("finding", "no frame of this field has a star to be the reference"))
        run.left_out(frame.name, Fate("failed", stage, reason))
