"""What is known in the course of a run: the night, the plan, keys of products, and what became of every frame."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from albireo.frames import Frame
from albireo.library import Library
from albireo.plan import Fate, FieldPlan, MasterPlan, Plan
from albireo.recipe import Recipe
from albireo.registry import Registry
from albireo.run.folder import open_library
from albireo.run.ingest import Ingested
from albireo.store import Index, frame_key, key_of, stage_key
from albireo.tasks import FrameTask

__all__ = ["FieldState", "RunState", "Watch"]

log = logging.getLogger("albireo")


class Watch:
    """Sees what a run does; the command line derives its progress display from it."""

    def stage(self, name: str, total: int) -> None:
        """Tell that a stage begins, with so many items."""

    def advance(self) -> None:
        """Tell that one item is finished."""


@dataclass(eq=False)
class FieldState:
    """What is known of a field.

    Attributes
    ----------
    plan : FieldPlan
    sky : str
        Shared by fields with a list of stars in common.
    reference : Frame or None
        The frame that the others are aligned with; None until one is found.
    reference_product, reference_image : Path or None
        Its sources, and its calibrated image.
    deep_product : Path or None
        The sources of a stack of the frames, where the stars are to come from one; in pixels of the reference.
    deep_key : str
    catalogue_product : Path or None
        The sources to measure.
    catalogue_key : str
    targets : dict of str to int
        Identity of each target in the catalogue.
    comparisons : list of int
        Identities of comparison stars that the recipe names, as far as they are in the catalogue.
    watched : tuple of int
        Identities of the stars of which a cut-out of every frame is kept: the targets, else the brightest stars.
    """

    plan: FieldPlan
    sky: str = ""
    reference: Frame | None = None
    reference_product: Path | None = None
    reference_image: Path | None = None
    deep_product: Path | None = None
    deep_key: str = ""
    catalogue_product: Path | None = None
    catalogue_key: str = ""
    targets: dict[str, int] = field(default_factory=dict)
    comparisons: list[int] = field(default_factory=list)
    watched: tuple[int, ...] = ()


@dataclass(eq=False)
class RunState:
    """One run.

    Attributes
    ----------
    recipe : Recipe
    root, out : Path
        Raw frames, and the run folder.
    index : Index
    watch : Watch
    command : str
        The command line.
    started : float
        Seconds since the epoch.
    timing : dict of str to float
        Seconds spent in each stage.
    night : Ingested
    plan : Plan
    fates : dict of str to Fate
        What became of every frame, by name.
    warnings : list of str
    numbers : dict of str to dict
        What was measured of each science frame as a whole, by name.
    measured : dict of str to Path
        The product with the measurements of each science frame that was used.
    fields : list of FieldState
    master_keys : dict of str to str
        Key of each master, by its name.
    stacks : list of dict
        A record of each stack: name, path, field, filter, frames, meta, key.
    rescued : dict of str to str
        Frames that a selector would have dropped and another wanted to stay, by name, with both reasons.
    problems : list of str
        Those among the warnings that tell of something the recipe asks for and that could not be made: a report,
        curves, a target.
    """

    recipe: Recipe
    root: Path
    out: Path
    index: Index
    watch: Watch
    command: str = ""
    started: float = field(default_factory=time.time)
    timing: dict[str, float] = field(default_factory=dict)
    night: Ingested = field(default_factory=Ingested)
    plan: Plan = field(default_factory=Plan)
    fates: dict[str, Fate] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    numbers: dict[str, dict[str, float]] = field(default_factory=dict)
    measured: dict[str, Path] = field(default_factory=dict)
    fields: list[FieldState] = field(default_factory=list)
    master_keys: dict[str, str] = field(default_factory=dict)
    stacks: list[dict[str, Any]] = field(default_factory=list)
    rescued: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    _found_keys: dict[str, str] = field(default_factory=dict)

    # --- telling

    def left_out(self, name: str, fate: Fate) -> None:
        """Note that a frame takes no part any more, and why."""
        self.fates[name] = fate
        log.warning("%s: %s in %s: %s", name, fate.fate, fate.stage, fate.reason)

    def warn(self, text: str) -> None:
        """Note something a person should know, once."""
        if text not in self.warnings:
            self.warnings.append(text)

    def fail(self, text: str) -> None:
        """Note that something the recipe asks for could not be made."""
        self.problems.append(text)
        self.warn(text)

    def tell(self, event: str, **facts: Any) -> None:
        """Tell plugins what happens; one that fails at listening does no harm."""
        try:
            getattr(Registry.discover().manager.hook, event)(**facts)
        except Exception:
            log.exception("a plugin failed at %s", event)

    def counts(self) -> dict[str, int]:
        """Count frames by fate."""
        counts: dict[str, int] = {}
        for fate in self.fates.values():
            counts[fate.fate] = counts.get(fate.fate, 0) + 1
        return counts

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Measure how long a stage takes."""
        begin = time.perf_counter()
        yield
        self.timing[stage] = round(time.perf_counter() - begin, 3)

    # --- keys: each holds the ones before it

    @cached_property
    def library(self) -> Library | None:
        """Masters of many nights; None if the recipe has no library."""
        return open_library(self.recipe)

    @cached_property
    def _calibration_stages(self) -> list[Any]:
        return [stage_key(self.recipe.instrument), *(stage_key(c) for c in self.recipe.corrections)]

    @cached_property
    def _finding_stages(self) -> list[Any]:
        return [stage_key(self.recipe.background), stage_key(self.recipe.finder), stage_key(self.recipe.psf)]

    @cached_property
    def _alignment_stage(self) -> Any:
        return stage_key(self.recipe.aligner)

    @cached_property
    def _photometry_stages(self) -> list[Any]:
        return [stage_key(self.recipe.background), *(stage_key(p) for p in self.recipe.photometers)]

    def raw_key(self, frame: Frame) -> str:
        """Key of a raw frame."""
        return frame_key(frame, self.night.digests[frame.name])

    def calibrated_key(self, frame: Frame) -> str:
        """Key of a calibrated science frame."""
        masters = {kind: self.master_keys[m.name] for kind, (m, _) in self.plan.choices[frame.name].items()}
        return key_of("calibrated", self.raw_key(frame), self._calibration_stages, masters)

    def found_key(self, frame: Frame) -> str:
        """Key of the sources of a science frame."""
        if frame.name not in self._found_keys:
            self._found_keys[frame.name] = key_of("found", self.calibrated_key(frame), self._finding_stages)
        return self._found_keys[frame.name]

    def aligned_key(self, frame: Frame, state: FieldState) -> str:
        """Key of how a science frame lies on the reference of its field."""
        reference = self.found_key(state.reference) if state.reference is not None else ""
        return key_of("aligned", self.found_key(frame), self._alignment_stage, reference)

    def measured_key(self, aligned: str, state: FieldState) -> str:
        """Key of the measurements of a frame that is aligned under a key."""
        return key_of("measured", aligned, state.catalogue_key, self._photometry_stages)

    def product(self, kind: str, key: str) -> Path:
        """Give the place of a product."""
        return self.out / "products" / kind / key[:2] / f"{key}.product"

    def master_path(self, master: MasterPlan) -> Path:
        """Give the place of a master."""
        return master.stored.path if master.stored is not None else self.out / "masters" / f"{master.name}.fits"

    # --- tasks

    def frame_task(self, frame: Frame, state: FieldState) -> FrameTask:
        """Say all that is to be done with a science frame, once its field has a reference and a catalogue."""
        if state.reference is not None and frame.name == state.reference.name:
            assert state.reference_product is not None
            aligned, reference = state.reference_product, None
        else:
            aligned, reference = self.product("aligned", self.aligned_key(frame, state)), state.reference_product
        measured = None
        if state.catalogue_product is not None and self.recipe.photometers:
            measured = self.product("measured", self.measured_key(aligned.stem, state))
        return FrameTask(
            frame,
            self._masters_of(frame),
            aligned,
            reference,
            state.catalogue_product,
            measured,
            self._reduced_path(frame) if self.recipe.output.reduced else None,
            keep_sources=reference is None,
            reference_frame=state.reference,
            reference_image=state.reference_image,
            watched=state.watched,
        )

    def reference_task(self, frame: Frame, state: FieldState) -> FrameTask:
        """Say what is to be done to see whether a frame can be the reference of its field."""
        product = self.product("reference", self.found_key(frame))
        picture = self.out / "reference" / f"{state.plan.name}-{product.stem[:8]}.fits"
        return FrameTask(frame, self._masters_of(frame), product, reduced=picture, keep_sources=True)

    def _masters_of(self, frame: Frame) -> tuple[tuple[str, Path, str], ...]:
        chosen = self.plan.choices[frame.name]
        return tuple((kind, self.master_path(m), self.master_keys[m.name]) for kind, (m, _) in chosen.items())

    def _reduced_path(self, frame: Frame) -> Path:
        stem = re.sub(r"\.(fits?|fts|fz|gz)(?=\.|$|:|\[)", "", frame.name, flags=re.IGNORECASE)
        plain = re.sub(r"[^A-Za-z0-9.+_/-]", "-", stem)
        return self.out / "reduced" / f"{plain}-{self.calibrated_key(frame)[:8]}.fits"
