"""Process science frames: correct, find, align, measure, each in one job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import inf, isfinite

from albireo.frames import Frame
from albireo.plan import Fate
from albireo.roles import ImageAligner, Outcome
from albireo.run.state import FieldState, RunState
from albireo.store import key_of
from albireo.tasks import FrameResult, FrameTask

BY_WAY = "; by way of its neighbour in time: "
"""Stands between the reasons why a frame matches neither the reference nor its neighbour."""

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
            if task.is_done:
                _used(run, task)
            elif failure:
                run.left_out(frame.name, Fate("failed", *failure))
            else:
                tasks.append(task)
    run.watch.stage("processing frames", len(tasks))
    _process(run, tasks)
    aligner = run.recipe.aligner
    if aligner is None or not aligner.chain or isinstance(aligner, ImageAligner):
        return len(tasks)
    return len(tasks) + sum(_chain(run, state) for state in run.fields if state.reference is not None)


def _process(run: RunState, tasks: Sequence[FrameTask]) -> None:
    """Run tasks, and note what was measured."""
    for outcome in work_on(run, tasks):
        task = tasks[outcome.index]
        if outcome.value is not None and not outcome.value.stage:
            run.numbers[task.frame.name] = outcome.value.numbers
            _used(run, task)
        run.watch.advance()


def _chain(run: RunState, state: FieldState) -> int:
    """Align frames that do not match the reference by way of the frame nearest in time that does.

    What is aligned so serves others in the next round, until nothing new is found. A frame is tried once by way of
    another, also in later runs.

    Returns
    -------
    int
        How many attempts there were to make.
    """
    frames = state.plan.frames.sorted("mid")
    place = {frame.name: number for number, frame in enumerate(frames)}
    tried: dict[str, str] = {}
    done = 0
    while True:
        aligned = [f for f in frames if run.fates[f.name].fate == "used"]
        lost = [f for f in frames if run.fates[f.name].fate == "failed" and run.fates[f.name].stage.startswith("align")]
        pairs = [(f, nearest(f, aligned, place)) for f in lost] if aligned else []
        pairs = [(frame, other) for frame, other in pairs if tried.get(frame.name) != other.name]
        tried |= {frame.name: other.name for frame, other in pairs}
        known = run.index.failures()
        tasks = [replace(run.frame_task(f, state), by_way_of=run.frame_task(o, state).aligned) for f, o in pairs]
        for task in tasks:
            if _attempt(task) in known:
                run.left_out(task.frame.name, Fate("failed", *known[_attempt(task)]))
        tasks = [task for task in tasks if _attempt(task) not in known]
        if not pairs:
            return done
        done += len(tasks)
        run.watch.stage("aligning by way of neighbours", len(tasks))
        _process(run, tasks)


def nearest(frame: Frame, others: Sequence[Frame], place: Mapping[str, int]) -> Frame:
    """Choose the frame nearest in time; of equal ones, and where times are not known, that nearest in order."""

    def distance(other: Frame) -> tuple[float, int]:
        days = abs(other.mid - frame.mid)
        return days if isfinite(days) else inf, abs(place[other.name] - place[frame.name])

    return min(others, key=distance)


def _attempt(task: FrameTask) -> str:
    """Key of the attempt to align a frame: with the reference, or by way of another."""
    return task.aligned.stem if task.by_way_of is None else key_of("by way of", task.aligned.stem, task.by_way_of.stem)


def load_numbers(run: RunState) -> None:
    """Bring to mind what was measured of every frame that is used, also in earlier runs."""
    from albireo.products import load_arrays

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
            if task.by_way_of is not None and stage == "alignment" and task.frame.name in run.fates:
                direct = run.fates[task.frame.name].reason.split(BY_WAY)[0]
                reason = f"{direct}{BY_WAY}{reason}"
            run.left_out(task.frame.name, Fate("failed", stage, reason))
            if permanent:
                # A frame that could not be aligned fails whatever is measured on it; one that was, does not.
                measuring = task.measured is not None and task.aligned.exists()
                key = task.measured.stem if measuring and task.measured is not None else _attempt(task)
                run.index.save_failure(key, stage, reason)
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
