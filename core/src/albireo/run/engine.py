"""Do what a plan says, as far as it is not done already.

Every product is known by its key (see `albireo.store`), is written under a temporary name and renamed. A run that is
killed at any moment, or repeated with other options, therefore finds what it can use and makes the rest. Frames that
fail are listed and the run goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from albireo.frames import Frame, Frames
from albireo.plan import Fate, Plan, make_plan
from albireo.recipe import Recipe
from albireo.run.fields import find_fields
from albireo.run.folder import RunError, open_library, run_folder
from albireo.run.ingest import Ingested, ingest, raw_files
from albireo.run.masters import build_masters
from albireo.run.outputs import outputs_key, up_to_date, write_outputs
from albireo.run.science import process_frames
from albireo.run.select import decide, judge, rescued, select
from albireo.run.state import RunState, Watch
from albireo.store import Index

__all__ = ["RunOutcome", "plan_run", "run"]

log = logging.getLogger("albireo")

WRITTEN = (
    "masters",
    "reference",
    "reduced",
    "products",
    "scratch",
    "stacks",
    "catalogues",
    "curves",
    "report",
    "photometry.fits",
    "cutouts.fits",
)
"""What a run writes into its folder: never raw frames, also where the folder lies among them."""


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
    problems : list of str
        Those among the warnings that tell of something the recipe asks for and that could not be made.
    """

    folder: Path
    counts: dict[str, int]
    fates: dict[str, Fate]
    changed: bool
    reports: list[Path] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 if nothing failed, else 1."""
        return 1 if self.counts.get("failed") or self.problems else 0


def plan_run(recipe: Recipe, data: Path | None = None) -> tuple[Plan, Frames]:
    """Plan a run from headers alone; selectors that look at pixels are left out, with a warning.

    Raises
    ------
    RunError, PlanError
    """
    root = _root(recipe, data)
    with Index(None) as index:
        night = ingest(_files(recipe, root, None), root, recipe.instrument, index)
    frames, fates = night.frames, dict(night.fates)
    warnings = []
    saved = rescued(recipe.selectors, frames)
    for selector in recipe.selectors:
        if selector.judges_results or any(selector.wants(frame) for frame in frames):
            warnings.append(f"selection by {selector.name!r} looks at pixels: it is decided when the recipe runs")
            continue
        frames, dropped, _ = decide(selector, frames, {}, saved)
        fates |= {name: Fate("dropped", f"select {selector.name}", why) for name, why in dropped.items()}
    library = open_library(recipe)
    entries = library.entries() if library is not None else ()
    plan = make_plan(recipe, frames, _left_out(night, fates), entries)
    plan.fates |= fates
    plan.warnings += [*warnings, *_without_place(recipe, plan)]
    return plan, night.frames


def _without_place(recipe: Recipe, plan: Plan) -> list[str]:
    """Warn of targets by celestial coordinates where the likely references have none."""
    lost = [t.name for t in recipe.targets if any(place.x is None for place in (t, *t.comparisons))]
    likely = [part.candidates[0] for part in plan.fields]
    if not (lost and likely and recipe.photometers) or any(
        recipe.instrument.wcs(frame) is not None for frame in likely
    ):
        return []
    return [
        f"target {', '.join(lost)} is given by ra and dec, but the header of {likely[0].name}, the likely reference, "
        "has no celestial coordinates to trust: give x, y and frame as well, or the run will stop there"
    ]


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
    with run_folder(out, root), recipe.executor.session(), Index(out) as index:
        return _run(RunState(recipe, root, out, index, watch or Watch(), command))


def _run(run: RunState) -> RunOutcome:
    log.info("albireo run: %s", run.command or run.recipe.path)
    with run.timed("index"):
        _ingest(run)
    with run.timed("select"):
        frames = select(run)
    entries = run.library.entries() if run.library is not None else ()
    run.plan = make_plan(run.recipe, frames, _left_out(run.night, run.fates), entries)
    run.fates |= run.plan.fates
    run.warnings += run.plan.warnings
    if not run.plan.science:
        _no_science(run)
    run.tell("run_started", plan=run.plan)
    with run.timed("masters"):
        build_masters(run)
    with run.timed("references"):
        find_fields(run)
    if run.recipe.finder is not None:
        with run.timed("catalogues"):
            _list_stars(run)
    with run.timed("frames"):
        pending = process_frames(run)
    judge(run)
    if run.recipe.stackers:
        from albireo.run.stacks import make_stacks  # brings the libraries of images

        with run.timed("stacks"):
            make_stacks(run)
    key = outputs_key(run)
    changed = bool(pending) or not up_to_date(run, key)
    if changed:
        write_outputs(run, key)
    note = run.index.note(key)
    log.info("finished: %s", ", ".join(f"{number} {fate}" for fate, number in run.counts().items()))
    reports = [run.out / name for name in note["reports"]]
    return RunOutcome(run.out, run.counts(), run.fates, changed, reports, note["warnings"], note["problems"])


def _list_stars(run: RunState) -> None:
    """Say which stars to measure; this brings the libraries of images and tables."""
    from albireo.run.catalogue import make_catalogues

    if run.recipe.catalogue.source == "stack":
        from albireo.run.deep import find_deep_sources

        find_deep_sources(run)
    make_catalogues(run)


def _left_out(night: Ingested, fates: Mapping[str, Fate]) -> list[tuple[Frame, Fate]]:
    """Pair what takes no part with the reason; a file that could not be read is a frame of an unknown kind."""
    unread = [(Frame(name), fate) for name, fate in night.fates.items()]
    return unread + [(frame, fates[frame.name]) for frame in night.frames if frame.name in fates]


def _no_science(run: RunState) -> None:
    """Stop where there was nothing to reduce; go on to the list of frames where everything was left out."""
    kinds = ", ".join(f"{len(part)} {kind}" for (kind,), part in run.night.frames.by("kind").items())
    if not run.night.frames.where(kind="science") and not run.night.fates:
        raise RunError(
            f"there is no science frame in {run.root}, which holds {kinds}; the definition of a camera says which "
            "header makes a frame a science frame"
        )
    run.fail("no science frame was left to reduce; the table of frames tells why each was left out")


def _ingest(run: RunState) -> None:
    files = _files(run.recipe, run.root, run.out)
    run.watch.stage("reading headers", len(files))
    run.night = ingest(files, run.root, run.recipe.instrument, run.index)
    run.fates |= run.night.fates
    for name, fate in run.night.fates.items():
        log.warning("%s: %s: %s", name, fate.fate, fate.reason)
    if not run.night.frames:
        reasons = [f"{name}: {fate.reason}" for name, fate in list(run.night.fates.items())[:3]]
        raise RunError(
            f"none of the {len(files)} files in {run.root} is a frame of {run.recipe.instrument.name}; "
            + "; ".join(reasons)
        )


def _root(recipe: Recipe, data: Path | None) -> Path:
    root = data if data is not None else recipe.folder / recipe.data.path
    if not root.exists():
        raise RunError(f"there is no folder {root}; give the raw frames after the recipe, or as path under [data]")
    return root.resolve()


def _files(recipe: Recipe, root: Path, out: Path | None) -> list[Path]:
    files = raw_files(recipe.data, root, [] if out is None else [out / name for name in WRITTEN])
    if not files:
        raise RunError(f"there are no frames in {root}: no file matches {', '.join(recipe.data.pattern)}")
    return files
