"""Values that a header does not tell, and what follows from that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isfinite

from albireo.frames import CALIBRATION_KINDS, Frame, Frames
from albireo.inspection.finding import Finding, about, listed, share
from albireo.roles import Instrument

__all__ = ["several_targets", "unknown_kinds", "unknown_values"]


@dataclass(frozen=True)
class _Quantity:
    name: str
    known: Callable[[Frame], bool]
    severity: str
    follows: str


SCIENCE = (
    _Quantity(
        "exposure time",
        lambda f: isfinite(f.exptime),
        "problem",
        "the middle of the exposure and the dark current cannot be computed",
    ),
    _Quantity("time", lambda f: isfinite(f.mid), "problem", "such frames have no place in a light curve"),
    _Quantity(
        "filter",
        lambda f: bool(f.filter),
        "warning",
        "flats are matched by filter, and light curves are named after it",
    ),
    _Quantity(
        "position",
        lambda f: f.has_position,
        "warning",
        "barycentric times need the target's coordinates in the recipe ([[targets]] ra, dec)",
    ),
    _Quantity("airmass", lambda f: isfinite(f.airmass), "note", "no trend with airmass can be taken out"),
    _Quantity(
        "site of the telescope",
        lambda f: f.site is not None,
        "note",
        "barycentric times will be those of the Earth's centre, wrong by up to 21 ms",
    ),
)
"""What science frames should tell."""

ALL = (
    _Quantity(
        "gain",
        lambda f: bool(f.amplifiers) and all(isfinite(a.gain) for a in f.amplifiers),
        "problem",
        "without it there is no noise and no error bar; give [instrument] gain in the recipe",
    ),
    _Quantity(
        "read noise",
        lambda f: bool(f.amplifiers) and all(isfinite(a.read_noise) for a in f.amplifiers),
        "problem",
        "without it there is no noise and no error bar; give [instrument] read_noise in the recipe",
    ),
    _Quantity(
        "saturation",
        lambda f: isfinite(f.saturation),
        "warning",
        "saturated pixels are not recognised; give [instrument] saturation in the recipe",
    ),
)
"""What every frame that a reduction uses should tell."""


def unknown_values(frames: Frames, camera: Instrument) -> Iterator[Finding]:
    """Name the quantities that are not known, how many frames lack them, and what follows."""
    science = frames.where(kind="science")
    used = frames.where(kind=("science", *CALIBRATION_KINDS))
    timed = frames.where(kind=CALIBRATION_KINDS)
    for quantities, group, kind in ((SCIENCE, science, "science"), (ALL, used, "")):
        for quantity in quantities:
            without = Frames(f for f in group if not quantity.known(f))
            if without:
                text = f"{quantity.name} unknown for {share(without, group, kind)}: {quantity.follows}"
                yield about(quantity.severity, text, without)
    without = Frames(f for f in timed if not isfinite(f.start))
    if without:
        text = f"time unknown for {share(without, timed, 'calibration')}: those nearest in time cannot be chosen"
        yield about("note", text, without)


def unknown_kinds(frames: Frames, camera: Instrument) -> Iterator[Finding]:
    """Name the header words of frames whose kind the camera does not know."""
    unknown = frames.where(kind="unknown")
    if not unknown:
        return
    asked: dict[str, list[Frame]] = {}
    for frame in unknown:
        words = next(
            (note for note in frame.notes if note.startswith("kind unknown: ")), "kind unknown: nothing is said"
        )
        asked.setdefault(words.removeprefix("kind unknown: "), []).append(frame)
    for words, group in asked.items():
        text = f"kind unknown for {share(Frames(group), frames)} ({words}): no step uses them"
        yield about("warning", text, group)


def several_targets(frames: Frames, camera: Instrument) -> Iterator[Finding]:
    """Count the science frames of each target, where there are several or none."""
    science = frames.where(kind="science")
    if not science:
        yield about("warning", "there is no science frame")
        return
    targets = science.by("target")
    if len(targets) > 1:
        words = [f"{name or '(no name)'} ({len(group)})" for (name,), group in targets.items()]
        yield about("note", f"{len(targets)} targets, each a field of its own: {listed(words, 8)}", science)
