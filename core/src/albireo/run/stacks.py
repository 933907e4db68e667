"""Stack the frames of each field, once they are aligned and judged.

`stack_frames` combines any aligned frames of one field; `make_stacks` does so with those that are used, filter by
filter, as each of the recipe's stackers asks. A stack is known by the frames in it and how each lies on the reference,
so a run that changed nothing makes none.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo.exposures import unique_name
from albireo.frames import SECONDS_PER_DAY, Frame, FrameError, Frames, mjd_to_iso
from albireo.plan import safe_name
from albireo.roles import AlignedFrame, AlignedFrames, BackgroundEstimator, Stacker
from albireo.run.masters import plain_cards
from albireo.run.state import FieldState, RunState
from albireo.sources import Transform
from albireo.store import key_of, stage_key

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from astropy.wcs import WCS

    from albireo.sources import Background

__all__ = ["FieldFrames", "make_stacks", "stack_frames"]

log = logging.getLogger("albireo")

SCRATCH = "scratch"
"""Folder of a run for files that do not outlive a stack."""

TIMES_OF_WCS = ("DATE-OBS", "MJD-OBS", "TIMESYS", "DATEREF", "MJDREF", "MJDREFI", "MJDREFF")
"""Cards that come with the coordinates of the reference, and tell of its time alone."""


def make_stacks(run: RunState) -> None:
    """Make every stack that the recipe asks for, as far as it is not there already; none is worth stopping the run."""
    if not run.recipe.stackers:
        return
    taken: set[str] = set()
    wanted = [
        (stacker, state, part, unique_name(_name(stacker, state, part), taken))
        for stacker in run.recipe.stackers
        for state in run.fields
        for part in _parts(run, stacker, state)
    ]
    run.watch.stage("stacking", len(wanted))
    for stacker, state, part, name in wanted:
        made = _attempt(run, stacker, state, part, name)
        if made is not None:
            run.stacks.append(made)
        run.watch.advance()
    with suppress(OSError):  # it is not there, or somebody put something in
        (run.out / SCRATCH).rmdir()


def _parts(run: RunState, stacker: Stacker, state: FieldState) -> list[Frames]:
    """Give the frames of each stack of a field."""
    if state.reference is None:
        return []
    used = Frames(f for f in state.plan.frames.sorted("mid") if run.fates[f.name].fate == "used")
    parts = used.by("filter").values() if stacker.by_filter else [used]
    return [part for part in parts if len(part)]


def _name(stacker: Stacker, state: FieldState, part: Frames) -> str:
    colour = (part[0].filter or "nofilter") if stacker.by_filter else ""
    return safe_name("-".join(filter(None, (state.plan.name, colour, stacker.label))))


def _attempt(run: RunState, stacker: Stacker, state: FieldState, part: Frames, name: str) -> dict[str, Any] | None:
    """Make one stack; if it cannot be made, or its plugin has a defect, the run says so and goes on."""
    path = run.out / "stacks" / f"{name}.fits"
    try:
        note = stack_frames(run, state, stacker, part, path)
    except FrameError as error:
        run.fail(f"the stack {name} could not be made: {error}")
        return None
    except (OSError, MemoryError):
        raise
    except Exception as error:
        log.exception("stack %s", name)
        run.fail(
            f"the stack {name} could not be made: defect in {stacker.name}: {type(error).__name__}: {error} "
            "(see run.log)"
        )
        return None
    for frame, reason in note["dropped"].items():
        run.warn(f"{frame} left out of the stack {name}: {reason}")
    return {
        "name": name,
        "path": f"stacks/{name}.fits",
        "field": state.plan.name,
        "filter": part[0].filter if stacker.by_filter else "",
        "frames": [frame.name for frame in part if frame.name not in note["dropped"]],
        "meta": note["meta"],
        "key": note["key"],
    }


def stack_frames(run: RunState, state: FieldState, stacker: Stacker, frames: Frames, path: Path) -> dict[str, Any]:
    """Stack aligned frames of one field, unless that has been done.

    Parameters
    ----------
    run : RunState
    state : FieldState
        With a reference.
    stacker : Stacker
    frames : Frames
        Aligned, of any filters.
    path : Path
        Where to write it, in the run folder.

    Returns
    -------
    dict
        ``key``; ``dropped``, reasons by name for frames that the stacker left out; ``meta``, plain cards of the header.

    Raises
    ------
    FrameError
        If these frames make no stack.
    """
    aligned = [(frame.name, run.frame_task(frame, state).aligned.stem) for frame in frames]
    key = key_of("stack", path.stem, stage_key(stacker), stage_key(run.recipe.background), aligned)
    if not run.index.has(key):
        note = _build(run, state, stacker, FieldFrames(run, state, frames), key, path)
        run.index.save_product(key, path, note)
    return {"key": key, **run.index.note(key)}


def _build(
    run: RunState, state: FieldState, stacker: Stacker, frames: FieldFrames, key: str, path: Path
) -> dict[str, Any]:
    from albireo.images import write_image
    from albireo.jobs import with_meta

    run.index.forget(path)
    built = stacker.stack(frames)
    dropped = dict(built.meta.get("DROPPED", {}))
    used = [facts.frame for facts in frames if facts.frame.name not in dropped]
    built = with_meta(built, ALBKEY=key, **_cards(frames, used, state, built))
    write_image(path, built)
    for name, reason in dropped.items():
        log.warning("%s left out of stack %s: %s", name, path.stem, reason)
    log.info("stack %s from %d frames", path.stem, len(used))
    return {"dropped": dropped, "meta": plain_cards(built.meta)}


class FieldFrames(AlignedFrames):
    """Frames of one field as the products of a run tell of them; pixels are read and corrected when asked for.

    Parameters
    ----------
    run : RunState
    state : FieldState
        With a reference.
    frames : Frames
        Aligned onto it.
    """

    def __init__(self, run: RunState, state: FieldState, frames: Frames) -> None:
        from albireo.images import read_image
        from albireo.jobs import with_wcs

        assert state.reference is not None
        assert state.reference_image is not None
        self._run = run
        reference = with_wcs(
            read_image(state.reference_image, diagnostics=False), run.recipe.instrument, state.reference
        )
        self.shape, self.unit, self.wcs = reference.shape, str(reference.unit), reference.wcs
        self.memory, self.scratch = run.recipe.executor.memory_bytes, run.out / SCRATCH
        self._facts = [self._known(frame, state) for frame in frames]
        self._masters: dict[str, CCDData] = {}
        self._lock = Lock()

    wcs: WCS | None
    """Celestial coordinates of the reference, where its camera vouches for them."""

    def __len__(self) -> int:
        return len(self._facts)

    def __getitem__(self, index: Any) -> Any:
        return self._facts[index]

    def image(self, index: int) -> CCDData:
        """Read and calibrate one frame."""
        from albireo.jobs import calibrate, stage_of

        frame, recipe = self._facts[index].frame, self._run.recipe
        with stage_of("reading", recipe.instrument):
            raw = recipe.instrument.read(frame)
        return calibrate(raw, frame, recipe.corrections, self._masters_of(frame))

    def background(self, image: CCDData) -> Background:
        """Estimate the sky."""
        from albireo.jobs import stage_of

        with stage_of("background", self._estimator):
            return self._estimator.estimate(image)

    @cached_property
    def _estimator(self) -> BackgroundEstimator:
        assert self._run.recipe.background is not None, "the recipe is checked: a stacker has a background"
        return self._run.recipe.background

    def _known(self, frame: Frame, state: FieldState) -> AlignedFrame:
        from albireo.products import load_arrays

        arrays, numbers = load_arrays(self._run.frame_task(frame, state).aligned)
        transform = Transform(arrays["matrix"], numbers["align_rms"], int(numbers["matched"]))
        return AlignedFrame(frame, transform, numbers["star_flux"], numbers["fwhm"], numbers["sky"], numbers["sky_rms"])

    def _masters_of(self, frame: Frame) -> dict[str, CCDData]:
        """Open each master once; frames of one field share them."""
        from albireo.images import read_image

        chosen = self._run.plan.choices[frame.name]
        with self._lock:
            for master, _ in chosen.values():
                if master.name not in self._masters:
                    self._masters[master.name] = read_image(self._run.master_path(master), diagnostics=False)
            return {kind: self._masters[master.name] for kind, (master, _) in chosen.items()}


def _cards(frames: FieldFrames, used: Sequence[Frame], state: FieldState, built: CCDData) -> dict[str, Any]:
    """Say in the header of a stack what it was made from, when, and where it points."""
    assert state.reference is not None
    first = used[0]
    treated = dict(built.meta.get("USED", {}))
    colours = list(dict.fromkeys(frame.filter for frame in used))
    texts = {
        "OBJECT": state.plan.target,
        "INSTRUME": first.instrument,
        "DETECTOR": first.detector,
        "FILTER": "+".join(filter(None, colours)),
        "REFFRAME": state.reference.name,
    }
    history = built.meta.get("HISTORY", ())
    made = [f"made from {frame.name}" + (f": {treated[frame.name]}" if frame.name in treated else "") for frame in used]
    return {
        **{name: text for name, text in texts.items() if text},
        "NFRAMES": len(used),
        "EXPTIME": state.reference.exptime,  # the light of the reference is the scale of all
        "TEXPTIME": float(np.sum([frame.exptime for frame in used])),
        **_times(used),
        "AIRMASS": float(np.mean([frame.airmass for frame in used])),
        **_coordinates(frames.wcs, float(built.meta.get("LTV1", 0.0)), float(built.meta.get("LTV2", 0.0))),
        "HISTORY": [*([history] if isinstance(history, str) else history), *made],
    }


def _times(used: Sequence[Frame]) -> dict[str, Any]:
    """Give the start of the first exposure, the end of the last one, and the middle of all, each counted by its time.

    What is not known of every frame is left out.
    """
    exptimes = np.array([frame.exptime for frame in used])
    mids = np.array([frame.mid for frame in used])
    half = 0.5 * exptimes / SECONDS_PER_DAY
    begin, end = float(np.min(mids - half)), float(np.max(mids + half))
    if not np.isfinite([begin, end]).all():
        return {}
    weights = exptimes if exptimes.sum() > 0 else np.ones(len(used))
    return {
        "DATE-OBS": mjd_to_iso(begin),
        "TIMESYS": "UTC",
        "MJD-BEG": begin,
        "MJD-MID": float(np.average(mids, weights=weights)),
        "MJD-END": end,
    }


def _coordinates(wcs: WCS | None, x: float, y: float) -> dict[str, Any]:
    """Write celestial coordinates as cards, for pixels that are the reference's plus an offset."""
    if wcs is None:
        return {}
    moved = wcs.deepcopy()
    offset = np.array([x, y])
    moved.wcs.crpix = moved.wcs.crpix + offset
    if moved.sip is not None:
        from astropy.wcs import Sip

        sip = moved.sip
        moved.sip = Sip(sip.a, sip.b, sip.ap, sip.bp, sip.crpix + offset)
    header = moved.to_header(relax=True)
    return {name: header[name] for name in header if name not in TIMES_OF_WCS}
