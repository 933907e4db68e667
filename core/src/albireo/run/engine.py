"""Do what a plan says, as far as it is not done already.

Every product is known by its key (see `albireo.store`), is written under a temporary name and renamed. A run that is
killed at any moment, or repeated with other options, therefore finds what it can use and makes the rest. Frames that
fail are listed and the run goes on.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from albireo.frames import Frame, FrameError, Frames
from albireo.plan import Fate, FieldPlan, MasterPlan, Plan, find_frame, make_plan, targets_in
from albireo.recipe import Place, Recipe, Target
from albireo.registry import Registry
from albireo.results import Results
from albireo.roles import Outcome, Report
from albireo.run.folder import RunError, run_folder
from albireo.run.ingest import Ingested, ingest, raw_files
from albireo.store import Index, frame_key, key_of, stage_key
from albireo.tasks import FrameResult, FrameTask

__all__ = ["RunError", "RunOutcome", "Watch", "plan_run", "run"]

log = logging.getLogger("albireo")


class Watch:
    """Sees what a run does; the command line derives its progress display from it."""

    def stage(self, name: str, total: int) -> None:
        """Tell that a stage begins, with so many items."""

    def advance(self) -> None:
        """Tell that one item is finished."""

    def say(self, text: str) -> None:
        """Tell something worth knowing."""


@dataclass
class RunOutcome:
    """How a run ended.

    Attributes
    ----------
    folder : Path
    counts : dict of str to int
        Number of frames by fate.
    fates : dict of str to Fate
    changed : bool
        False if everything was there already.
    reports : list of Path
    warnings : list of str
    complete : bool
        False if a report could not be written.
    """

    folder: Path
    counts: dict[str, int]
    fates: dict[str, Fate]
    changed: bool
    reports: list[Path] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    complete: bool = True

    @property
    def exit_code(self) -> int:
        """0 if nothing failed, else 1."""
        return 1 if self.counts.get("failed") or not self.complete else 0


@dataclass
class FieldState:
    """What is known of a field in the course of a run."""

    plan: FieldPlan
    reference: Frame | None = None
    reference_product: Path | None = None
    reference_image: Path | None = None
    catalogue_product: Path | None = None
    catalogue_key: str = ""
    targets: dict[str, int] = field(default_factory=dict)
    comparisons: list[int] = field(default_factory=list)


def plan_run(recipe: Recipe, data: Path | None = None, watch: Watch | None = None) -> tuple[Plan, Frames]:
    """Plan a run from headers alone; selectors that look at pixels are left out, with a warning.

    Raises
    ------
    RunError, PlanError
    """
    root = _root(recipe, data)
    index = Index(None)
    night = ingest(_files(recipe, root, None), root, recipe.instrument, index)
    frames, fates = night.frames, dict(night.fates)
    warnings = []
    for selector in recipe.selectors:
        if any(selector.wants(frame) for frame in frames):
            warnings.append(f"selection by {selector.name!r} looks at pixels: it is decided when the recipe runs")
            continue
        selection = selector.select(frames, {})
        frames = selection.kept
        fates |= {name: Fate("dropped", f"select {selector.name}", why) for name, why in selection.dropped.items()}
    plan = make_plan(recipe, frames)
    plan.fates |= fates
    plan.warnings += warnings
    return plan, night.frames


def run(
    recipe: Recipe,
    data: Path | None = None,
    out: Path = Path("albireo-run"),
    watch: Watch | None = None,
    command: str = "",
) -> RunOutcome:
    """Reduce a night.

    Parameters
    ----------
    recipe : Recipe
    data : Path, optional
        The raw frames, instead of what the recipe says.
    out : Path
        The run folder; what is in it from earlier runs is used.
    watch : Watch, optional
    command : str
        The command line, for the record.

    Raises
    ------
    RunError
        If there are no data, the folder cannot be written, the disk is full, or nothing can be measured.
    PlanError
        If calibration frames are missing.
    """
    root = _root(recipe, data)
    with run_folder(out, root), recipe.executor.session():
        return Engine(recipe, root, out, watch or Watch(), command).run()


class Engine:
    """One run."""

    def __init__(self, recipe: Recipe, root: Path, out: Path, watch: Watch, command: str) -> None:
        self.recipe, self.root, self.out, self.watch, self.command = recipe, root, out, watch, command
        self.index = Index(out)
        self.started = time.time()
        self.timing: dict[str, float] = {}
        self.night = Ingested()
        self.plan = Plan()
        self.fates: dict[str, Fate] = {}
        self.warnings: list[str] = []
        self.numbers: dict[str, dict[str, float]] = {}
        self.measured: dict[str, Path] = {}
        self.fields: list[FieldState] = []
        self.master_keys: dict[str, str] = {}
        self.complete = True
        self.hooks = Registry.discover().manager.hook

    def run(self) -> RunOutcome:
        """Go through the whole run."""
        log.info("albireo run: %s", self.command or self.recipe.path)
        with self._timed("index"):
            self._ingest()
        with self._timed("select"):
            frames = self._select()
        self.plan = make_plan(self.recipe, frames)
        self.fates |= self.plan.fates
        self.warnings += self.plan.warnings
        self._tell("run_started", plan=self.plan)
        with self._timed("masters"):
            self._masters()
        with self._timed("references"):
            self._references()
        with self._timed("frames"):
            pending = self._frames()
        key = self._outputs_key()
        changed = bool(pending) or not self._up_to_date(key)
        if changed:
            self._write(key)
        outcome = self._outcome(key, changed)
        self.index.close()
        log.info("finished: %s", ", ".join(f"{n} {fate}" for fate, n in outcome.counts.items()))
        return outcome

    # --- from files to a plan

    def _ingest(self) -> None:
        files = _files(self.recipe, self.root, self.out)
        self.watch.stage("reading headers", len(files))
        self.night = ingest(files, self.root, self.recipe.instrument, self.index)
        self.fates |= self.night.fates
        for name, fate in self.night.fates.items():
            log.warning("%s: %s: %s", name, fate.fate, fate.reason)
        if not self.night.frames:
            reasons = [f"{name}: {fate.reason}" for name, fate in list(self.night.fates.items())[:3]]
            raise RunError(
                f"none of the {len(files)} files in {self.root} is a frame of {self.recipe.instrument.name}; "
                + "; ".join(reasons)
            )

    def _select(self) -> Frames:
        frames = self.night.frames
        for position, selector in enumerate(self.recipe.selectors):
            wanted = [f for f in frames if selector.wants(f)]
            measured = self._measure_for(position, wanted)
            lost = {f.name for f in wanted} - measured.keys()
            selection = selector.select(Frames(f for f in frames if f.name not in lost), measured)
            for name, reason in selection.dropped.items():
                self._left_out(name, Fate("dropped", f"select {selector.name}", reason))
            frames = selection.kept
        return frames

    def _measure_for(self, position: int, wanted: Sequence[Frame]) -> dict[str, dict[str, float]]:
        selector = self.recipe.selectors[position]
        # Only the selector knows which of its options the numbers depend on, so all of them are part of the key.
        keys = {f.name: key_of("measured", self._key(f), stage_key(selector)) for f in wanted}
        known = {name: numbers for name, key in keys.items() if (numbers := self.index.measured(key)) is not None}
        todo = [f for f in wanted if f.name not in known]
        if not todo:
            return known
        from albireo.jobs import MeasureWork

        self.watch.stage(f"selecting by {selector.name}", len(todo))
        work = MeasureWork(self.recipe.instrument, (selector,))
        for outcome in self.recipe.executor.map(work, [(frame, (0,)) for frame in todo]):
            frame = todo[outcome.index]
            self.watch.advance()
            if outcome.error or outcome.value is None:
                self._left_out(frame.name, Fate("failed", f"select {selector.name}", outcome.error))
                continue
            known[frame.name] = outcome.value[0]
            self.index.save_measured(keys[frame.name], outcome.value[0])
        return known

    # --- masters

    def _masters(self) -> None:
        builders = {builder.kind: builder for builder in self.recipe.masters}
        self.watch.stage("building masters", len(self.plan.masters))
        for master in self.plan.masters:
            key = key_of(
                "master",
                stage_key(builders[master.kind]),
                sorted(self._key(frame) for frame in master.frames),
                [stage_key(c) for c in master.corrections],
                {kind: self.master_keys[m.name] for kind, m in master.masters.items()},
            )
            self.master_keys[master.name] = key
            path = self._master_path(master)
            if not self.index.has(key):
                note = self._find_master(path, key) or self._build(master, key, path)
                self.index.save_product(key, path, note)
            for name, reason in self.index.note(key).get("lost", {}).items():
                self._left_out(name, Fate("failed", f"master {master.kind}", reason))
            for frame in master.frames:
                self.fates.setdefault(frame.name, Fate("used", "", f"in master {master.name}"))
            self.watch.advance()

    def _master_path(self, master: MasterPlan) -> Path:
        return self.out / "masters" / f"{master.name}.fits"

    def _find_master(self, path: Path, key: str) -> dict[str, Any] | None:
        """Recognise a master by the key in its header, where the index has lost it."""
        if not path.exists():
            return None
        from albireo.headers import read_header

        try:
            _, header = read_header(path)
        except FrameError:
            return None
        return {"lost": {}, "meta": _plain_cards(header)} if header.get("ALBKEY") == key else None

    def _build(self, master: MasterPlan, key: str, path: Path) -> dict[str, Any]:
        from albireo.images import read_image, write_image
        from albireo.jobs import with_meta
        from albireo.stack import RawStack

        builder = next(b for b in self.recipe.masters if b.kind == master.kind)
        needs = {kind: read_image(self._master_path(m)) for kind, m in master.masters.items()}
        memory = parse_memory(self.recipe.executor.memory)
        try:
            stack = RawStack(master.frames, self.recipe.instrument, master.corrections, needs, memory)
            built = builder.build(stack)
        except FrameError as error:
            served = [n for n, chosen in self.plan.choices.items() if chosen.get(master.kind, (None,))[0] is master]
            raise RunError(
                f"the master {master.name} cannot be built: {error}. It would have served {len(served)} frames. "
                f'Repair or replace these frames, or write allow_missing = ["{master.kind}"] under [recipe].'
            ) from error
        exptimes = sorted({f.exptime for f in stack.frames})
        cards: dict[str, Any] = {"IMAGETYP": master.kind, "ALBKEY": key, "NFRAMES": len(stack.frames)}
        if len(exptimes) == 1 and exptimes[0] == exptimes[0]:
            cards["EXPTIME"] = exptimes[0]
        if master.frames[0].filter and master.kind == "flat":
            cards["FILTER"] = master.frames[0].filter
        if "HISTORY" in built.meta:
            cards["HISTORY"] = built.meta["HISTORY"]
        write_image(path, with_meta(built, **cards))
        for name, reason in stack.lost.items():
            log.warning("%s left out of master %s: %s", name, master.name, reason)
        log.info("master %s from %d frames", master.name, len(stack.frames))
        return {"lost": stack.lost, "meta": _plain_cards(built.meta), "frames": [f.name for f in stack.frames]}

    # --- references and catalogues

    def _references(self) -> None:
        self.fields = [FieldState(part) for part in self.plan.fields]
        if self.recipe.finder is None:
            return
        self.watch.stage("finding references", len(self.fields))
        tried: dict[str, int] = {state.plan.name: 0 for state in self.fields}
        waiting = list(self.fields)
        known = self.index.failures()
        while waiting:
            tasks, states = [], []
            for state in list(waiting):
                task = self._next_reference(state, tried, known)
                if task is None:
                    waiting.remove(state)
                elif task.aligned.exists() and (task.reduced is None or task.reduced.exists()):
                    self._take_reference(state, task)
                    waiting.remove(state)
                else:
                    tasks.append(task)
                    states.append(state)
            for outcome in self._work(tasks):
                state, task = states[outcome.index], tasks[outcome.index]
                if outcome.value is not None and not outcome.value.stage and outcome.value.numbers["sources"]:
                    self._take_reference(state, task)
                    waiting.remove(state)
                else:
                    tried[state.plan.name] += 1
                    if outcome.value is not None and not outcome.value.stage:
                        log.warning("%s has no stars and cannot be the reference", task.frame.name)
        for state in self.fields:
            self._catalogue(state)
            self.watch.advance()

    def _next_reference(
        self, state: FieldState, tried: dict[str, int], known: Mapping[str, tuple[str, str]]
    ) -> FrameTask | None:
        while tried[state.plan.name] < len(state.plan.candidates):
            frame = state.plan.candidates[tried[state.plan.name]]
            product = self._product("reference", self._find_key(frame))
            if product.stem not in known:
                return self._task(frame, product, None, keep_sources=True, reduced=self._reference_path(state, product))
            tried[state.plan.name] += 1
        return None

    def _reference_path(self, state: FieldState, product: Path) -> Path:
        return self.out / "reference" / f"{state.plan.name}-{product.stem[:8]}.fits"

    def _take_reference(self, state: FieldState, task: FrameTask) -> None:
        state.reference, state.reference_product = task.frame, task.aligned
        state.reference_image = task.reduced
        log.info("field %s: reference %s", state.plan.name, task.frame.name)

    def _catalogue(self, state: FieldState) -> None:
        if state.reference is None or not self.recipe.photometers:
            return
        targets = targets_in(self.recipe.targets, state.plan, len(self.fields) == 1)
        places: list[Place] = [p for t in targets for p in (t, *t.comparisons)]
        frames = {p.frame: self._target_frame(state, p) for p in places if p.x is not None}
        keys = {name: self._align_key(frame, state) for name, frame in frames.items()}
        state.catalogue_key = key_of(
            "catalogue",
            self._find_key(state.reference),
            self.recipe.catalogue.model_dump(mode="json"),
            [t.model_dump(mode="json") for t in targets],
            keys,
        )
        state.catalogue_product = self._product("catalogue", state.catalogue_key)
        from_store = state.catalogue_product.exists()
        if not from_store:
            self._make_catalogue(state, targets, frames)
        note = self.index.note(state.catalogue_key)
        if not note:
            from albireo.jobs import load_arrays

            _, note = load_arrays(state.catalogue_product)
            self.index.save_product(state.catalogue_key, state.catalogue_product, note)
        state.targets = {str(name): int(number) for name, number in note["targets"].items()}
        state.comparisons = [int(number) for number in note["comparisons"]]

    def _make_catalogue(self, state: FieldState, targets: Sequence[Target], frames: Mapping[str, Frame]) -> None:
        from albireo.jobs import load_arrays, load_sources, save_arrays
        from albireo.run.catalogue import make_catalogue
        from albireo.sources import Transform

        assert state.reference is not None
        assert state.reference_product is not None
        assert state.catalogue_product is not None
        transforms: dict[str, Transform] = {}
        _, reference_numbers = load_arrays(state.reference_product)
        offsets: dict[str, tuple[float, float]] = {}
        for name, frame in frames.items():
            if frame.name == state.reference.name:
                transforms[name] = Transform.identity()
                offsets[name] = (reference_numbers["crop_x"], reference_numbers["crop_y"])
                continue
            task = replace(self._frame_task(frame, state), catalogue=None, measured=None, reduced=None)
            if not task.aligned.exists():
                for outcome in self._work([task]):
                    problem = outcome.error or (outcome.value.reason if outcome.value else "")
                    if problem:
                        raise RunError(
                            f"a target is given in pixels of {frame.name}, which cannot be used: {problem}. "
                            "Give its pixels in another frame."
                        )
            arrays, numbers = load_arrays(task.aligned)
            transforms[name] = Transform(arrays["matrix"])
            offsets[name] = (numbers["crop_x"], numbers["crop_y"])
        wcs = None
        if any(p.x is None for t in targets for p in (t, *t.comparisons)):
            wcs = self.recipe.instrument.wcs(state.reference)
            if wcs is None:
                lost = [t.name for t in targets if t.x is None]
                raise RunError(
                    f"target {', '.join(lost)} is given by ra and dec, but the header of {state.reference.name} has no "
                    "celestial coordinates to trust. Give x, y and frame as well."
                )
        try:
            sources, named, comparisons = make_catalogue(
                load_sources(state.reference_product),
                self.recipe.catalogue,
                targets,
                transforms,
                offsets,
                wcs,
                reference_numbers,
            )
        except FrameError as error:
            raise RunError(str(error)) from error
        arrays = {f"s_{name}": column for name, column in sources.columns().items()}
        note = {"targets": named, "comparisons": comparisons}
        save_arrays(state.catalogue_product, arrays, note)
        self.index.save_product(state.catalogue_key, state.catalogue_product, note)

    def _target_frame(self, state: FieldState, place: Place) -> Frame:
        if not place.frame:
            return state.plan.frames.sorted("mid")[0]
        frame = find_frame(place.frame, state.plan.frames)
        if frame is None:
            raise RunError(
                f"there is no frame {place.frame!r} among the science frames that are used; a target names it"
            )
        return frame

    # --- frames

    def _frames(self) -> int:
        """Process every science frame that is not done; give the number that was."""
        tasks = []
        known = self.index.failures()
        for state in self.fields:
            for frame in state.plan.frames:
                if self.recipe.finder is not None and state.reference is None:
                    reason = "no frame of this field has a star to be the reference"
                    stage, why = known.get(self._product("reference", self._find_key(frame)).stem, ("finding", reason))
                    self._left_out(frame.name, Fate("failed", stage, why))
                    continue
                task = self._frame_task(frame, state)
                if task.aligned.stem in known:
                    self._left_out(frame.name, Fate("failed", *known[task.aligned.stem]))
                elif task.measured is not None and task.measured.stem in known:
                    self._left_out(frame.name, Fate("failed", *known[task.measured.stem]))
                elif not self._done(task):
                    tasks.append(task)
                else:
                    self._used(task)
        self.watch.stage("processing frames", len(tasks))
        for outcome in self._work(tasks):
            task = tasks[outcome.index]
            if outcome.value is not None and not outcome.value.stage:
                self.numbers[task.frame.name] = outcome.value.numbers
                self._used(task)
            self.watch.advance()
        return len(tasks)

    def _used(self, task: FrameTask) -> None:
        self.fates[task.frame.name] = Fate("used")
        if task.measured is not None:
            self.measured[task.frame.name] = task.measured

    @staticmethod
    def _done(task: FrameTask) -> bool:
        wanted = [task.aligned, task.measured, task.reduced]
        return all(path is None or path.exists() for path in wanted)

    def _frame_task(self, frame: Frame, state: FieldState) -> FrameTask:
        is_reference = state.reference is not None and frame.name == state.reference.name
        if is_reference:
            assert state.reference_product is not None
            aligned = state.reference_product
        else:
            aligned = self._product("aligned", self._align_key(frame, state))
        measured = None
        if state.catalogue_product is not None and self.recipe.photometers:
            measured = self._product(
                "measured",
                key_of(
                    "measured",
                    aligned.stem,
                    state.catalogue_key,
                    stage_key(self.recipe.background),
                    [stage_key(p) for p in self.recipe.photometers],
                ),
            )
        reduced = None
        if self.recipe.output.reduced:
            stem = re.sub(r"\.(fits?|fts|fz|gz)(?=\.|$|:|\[)", "", frame.name, flags=re.IGNORECASE)
            key = self._calibration_key(frame)
            reduced = self.out / "reduced" / f"{re.sub(r'[^A-Za-z0-9.+_/-]', '-', stem)}-{key[:8]}.fits"
        reference = None if is_reference else state.reference_product
        return self._task(frame, aligned, reference, state.catalogue_product, measured, reduced, is_reference)

    def _task(
        self,
        frame: Frame,
        aligned: Path,
        reference: Path | None,
        catalogue: Path | None = None,
        measured: Path | None = None,
        reduced: Path | None = None,
        keep_sources: bool = False,
    ) -> FrameTask:
        chosen = self.plan.choices[frame.name]
        masters = tuple((kind, self._master_path(m), self.master_keys[m.name]) for kind, (m, _) in chosen.items())
        return FrameTask(frame, masters, aligned, reference, catalogue, measured, reduced, keep_sources)

    def _work(self, tasks: Sequence[FrameTask]) -> Iterator[Outcome[FrameResult]]:
        """Run tasks and note failures."""
        if not tasks:
            return
        from albireo.jobs import FrameWork

        work = FrameWork(
            self.recipe.instrument,
            tuple(self.recipe.corrections),
            self.recipe.background,
            self.recipe.finder,
            self.recipe.aligner,
            tuple(self.recipe.photometers),
        )
        for outcome in self.recipe.executor.map(work, tasks):
            task = tasks[outcome.index]
            stage, reason = "", ""
            if outcome.value is not None and outcome.value.stage:
                stage, reason = outcome.value.stage, outcome.value.reason
                # A frame that could not be aligned fails whatever is measured on it; one that was, does not.
                product = task.measured if task.aligned.exists() and task.measured is not None else task.aligned
                self.index.save_failure(product.stem, stage, reason)
            elif outcome.error:
                stage, reason = "worker", outcome.error
                if outcome.permanent:
                    self.index.save_failure(task.aligned.stem, stage, reason)
            if reason:
                self._left_out(task.frame.name, Fate("failed", stage, reason))
            self._tell("frame_finished", frame=task.frame.name, stage=stage or "frames", error=reason)
            yield outcome

    def _tell(self, event: str, **facts: Any) -> None:
        """Tell plugins what happens; one that fails at listening does no harm."""
        try:
            getattr(self.hooks, event)(**facts)
        except Exception:
            log.exception("a plugin failed at %s", event)

    def _left_out(self, name: str, fate: Fate) -> None:
        self.fates[name] = fate
        log.warning("%s: %s in %s: %s", name, fate.fate, fate.stage, fate.reason)

    # --- keys

    def _key(self, frame: Frame) -> str:
        return frame_key(frame, self.night.digests[frame.name])

    def _calibration_key(self, frame: Frame) -> str:
        chosen = self.plan.choices[frame.name]
        return key_of(
            "calibrated",
            self._key(frame),
            stage_key(self.recipe.instrument),
            self._correction_keys(),
            {kind: self.master_keys[m.name] for kind, (m, _) in chosen.items()},
        )

    def _correction_keys(self) -> list[Any]:
        return [stage_key(c) for c in self.recipe.corrections]

    def _find_key(self, frame: Frame) -> str:
        stages = [stage_key(self.recipe.background), stage_key(self.recipe.finder)]
        return key_of("found", self._calibration_key(frame), stages)

    def _align_key(self, frame: Frame, state: FieldState) -> str:
        reference = self._find_key(state.reference) if state.reference is not None else ""
        return key_of("aligned", self._find_key(frame), stage_key(self.recipe.aligner), reference)

    def _product(self, kind: str, key: str) -> Path:
        return self.out / "products" / kind / key[:2] / f"{key}.npz"

    # --- what a person reads

    def _outputs_key(self) -> str:
        return key_of(
            "outputs",
            self.recipe.to_toml(),
            Registry.discover().versions(),
            sorted((name, f.fate, f.stage, f.reason) for name, f in self.fates.items()),
            sorted((name, path.stem) for name, path in self.measured.items()),
            sorted(self.master_keys.items()),
            [stage_key(s) for s in (*self.recipe.curves, *self.recipe.reports)],
            [state.catalogue_key for state in self.fields],
        )

    def _up_to_date(self, key: str) -> bool:
        note = self.index.note(key) if self.index.has(key) else {}
        return bool(note.get("complete")) and all((self.out / name).exists() for name in note["files"])

    def _write(self, key: str) -> None:
        from albireo.jobs import load_arrays
        from albireo.run.tables import write_tables

        for frame in self.plan.science:
            if frame.name not in self.numbers and self.fates[frame.name].fate == "used":
                state = next(s for s in self.fields if frame in s.plan.frames)
                _, self.numbers[frame.name] = load_arrays(self._frame_task(frame, state).aligned)
        with self._timed("tables"):
            self.watch.stage("writing tables and curves", 1)
            files = write_tables(self)
            self.watch.advance()
        reports: list[str] = []
        results = Results(self.out)
        with self._timed("reports"):
            self.watch.stage("writing reports", len(self.recipe.reports))
            for report in self.recipe.reports:
                reports += [str(p.relative_to(self.out)) for p in self._report(report, results)]
                self.watch.advance()
        note = {"files": [*files, *reports], "reports": reports, "warnings": self.warnings, "complete": self.complete}
        self.index.save_product(key, self.out / "run.json", note)
        self._tell("run_finished", run=results)

    def _report(self, report: Report, results: Results) -> list[Path]:
        """Write one report; a defect in it costs the report, not the run."""
        folder = self.out / "report"
        folder.mkdir(exist_ok=True)
        try:
            return report.write(results, folder)
        except (OSError, MemoryError):
            raise
        except Exception as error:
            log.exception("report %s", report.name)
            self.complete = False
            self.warnings.append(
                f"the report {report.name!r} could not be written: {type(error).__name__}: {error} (see run.log)"
            )
            return []

    def _outcome(self, key: str, changed: bool) -> RunOutcome:
        counts: dict[str, int] = {}
        for fate in self.fates.values():
            counts[fate.fate] = counts.get(fate.fate, 0) + 1
        note = self.index.note(key)
        reports = [self.out / name for name in note.get("reports", [])]
        return RunOutcome(self.out, counts, self.fates, changed, reports, note.get("warnings", []), self.complete)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self.timing[stage] = round(time.perf_counter() - begin, 3)


def parse_memory(text: str) -> int:
    """Read an amount of memory such as ``2 GiB`` as bytes.

    Raises
    ------
    RunError
        If it is not one.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kMGT]?)(i?)B?\s*", text)
    if match is None or float(match[1]) <= 0:
        raise RunError(f"[executor] memory = {text!r} is not an amount of memory such as '2 GiB' or '800 MB'")
    base = 1024 if match[3] else 1000
    return int(float(match[1]) * base ** " kMGT".index(match[2] or " "))


def _root(recipe: Recipe, data: Path | None) -> Path:
    root = data if data is not None else recipe.folder / recipe.data.path
    if not root.exists():
        raise RunError(f"there is no folder {root}; give the raw frames after the recipe, or as path under [data]")
    return root.resolve()


def _files(recipe: Recipe, root: Path, out: Path | None) -> list[Path]:
    files = raw_files(recipe.data, root, [] if out is None else [out])
    if not files:
        raise RunError(f"there are no frames in {root}: no file matches {', '.join(recipe.data.pattern)}")
    return files


def _plain_cards(meta: Mapping[str, Any]) -> dict[str, Any]:
    skip = {"HISTORY", "COMMENT", "", "SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "EXTEND", "ALBKEY"}
    return {k: v for k, v in dict(meta).items() if k not in skip and isinstance(v, str | int | float | bool)}
