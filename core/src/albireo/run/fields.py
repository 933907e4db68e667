"""Find the reference of each field, and which stars are measured there."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from albireo.frames import Frame, FrameError
from albireo.plan import find_frame, targets_in
from albireo.recipe import Place, Target
from albireo.run.folder import RunError
from albireo.run.science import work_on
from albireo.run.state import FieldState, RunState
from albireo.store import key_of
from albireo.tasks import FrameTask

if TYPE_CHECKING:
    from albireo.run.catalogue import FrameView

__all__ = ["find_fields"]

log = logging.getLogger("albireo")


def find_fields(run: RunState) -> None:
    """Give every field a reference and a catalogue, as far as its frames allow.

    Raises
    ------
    RunError
        If a target has no place on the reference.
    """
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
    for state in run.fields:
        _catalogue(run, state)
        run.watch.advance()


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


def _catalogue(run: RunState, state: FieldState) -> None:
    if state.reference is None or not run.recipe.photometers:
        return
    targets = targets_in(run.recipe.targets, state.plan, len(run.fields) == 1)
    places: list[Place] = [p for t in targets for p in (t, *t.comparisons)]
    frames = {p.frame: _frame_of(p, state) for p in places if p.x is not None}
    state.catalogue_key = key_of(
        "catalogue",
        run.found_key(state.reference),
        run.recipe.catalogue.model_dump(mode="json"),
        [t.model_dump(mode="json") for t in targets],
        {name: run.aligned_key(frame, state) for name, frame in frames.items()},
    )
    product = run.product("catalogue", state.catalogue_key)
    if not product.exists():
        _make_catalogue(run, state, targets, frames)
    note = run.index.note(state.catalogue_key)
    if not note:
        from albireo.jobs import load_arrays

        _, note = load_arrays(product)
        run.index.save_product(state.catalogue_key, product, note)
    state.catalogue_product = product
    state.targets = {str(name): int(number) for name, number in note["targets"].items()}
    state.comparisons = [int(number) for number in note["comparisons"]]


def _make_catalogue(run: RunState, state: FieldState, targets: Sequence[Target], frames: Mapping[str, Frame]) -> None:
    from albireo.jobs import load_arrays, load_sources, save_arrays
    from albireo.run.catalogue import FrameView, make_catalogue
    from albireo.sources import Transform

    assert state.reference is not None
    assert state.reference_product is not None
    _, numbers = load_arrays(state.reference_product)
    reference = FrameView(Transform.identity(), numbers["crop_x"], numbers["crop_y"])
    views = {
        name: reference if frame.name == state.reference.name else _view(run, state, frame)
        for name, frame in frames.items()
    }
    wcs = None
    lost = [t.name for t in targets if any(p.x is None for p in (t, *t.comparisons))]
    if lost and (wcs := run.recipe.instrument.wcs(state.reference)) is None:
        raise RunError(
            f"target {', '.join(lost)} is given by ra and dec, but the header of {state.reference.name} has no "
            "celestial coordinates to trust. Give x, y and frame as well."
        )
    try:
        sources, named, comparisons = make_catalogue(
            load_sources(state.reference_product), numbers, run.recipe.catalogue, targets, reference, views, wcs
        )
    except FrameError as error:
        raise RunError(str(error)) from error
    product = run.product("catalogue", state.catalogue_key)
    arrays = {f"s_{name}": column for name, column in sources.columns().items()}
    save_arrays(product, arrays, {"targets": named, "comparisons": comparisons})


def _view(run: RunState, state: FieldState, frame: Frame) -> FrameView:
    """Align a frame in whose pixels a target is given."""
    from albireo.jobs import load_arrays
    from albireo.run.catalogue import FrameView
    from albireo.sources import Transform

    task = replace(run.frame_task(frame, state), catalogue=None, measured=None, reduced=None)
    if not task.aligned.exists():
        for outcome in work_on(run, [task]):
            problem = outcome.error or (outcome.value.reason if outcome.value else "")
            if problem:
                raise RunError(
                    f"a target is given in pixels of {frame.name}, which cannot be used: {problem}. "
                    "Give its pixels in another frame."
                )
    arrays, numbers = load_arrays(task.aligned)
    return FrameView(Transform(arrays["matrix"]), numbers["crop_x"], numbers["crop_y"])


def _frame_of(place: Place, state: FieldState) -> Frame:
    if not place.frame:
        return state.plan.frames.sorted("mid")[0]
    frame = find_frame(place.frame, state.plan.frames)
    assert frame is not None, "the plan is checked: targets name frames of their field"
    return frame
