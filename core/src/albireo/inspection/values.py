"""Values that a header does not tell, and what follows from that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isfinite

from albireo.airmass import airmass
from albireo.frames import CALIBRATION_KINDS, Frame, Frames
from albireo.inspection.finding import Finding, about, listed, share
from albireo.roles import Instrument

__all__ = ["several_targets", "unknown_kinds", "unknown_values", "unlikely_values"]

HOTTEST = 60.0
"""Degrees Celsius above which no detector works."""

AIRMASS_APART = 0.1
"""Relative difference of airmasses, at altitudes above 20 degrees, that neither formulas nor dithers explain."""

HIGHEST = 3.0
"""Airmass beyond which formulas differ."""


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


def unlikely_values(frames: Frames, camera: Instrument) -> Iterator[Finding]:
    """Name temperatures that cannot be, and airmasses that time, position and site contradict."""
    hot = frames.where(temperature=lambda t: t > HOTTEST)
    if hot:
        text = (
            f"a detector temperature of {hot[0].temperature:g} deg C in {share(hot, frames)}: is the header in kelvin?"
        )
        yield about("warning", text, hot)
    sky = frames.where(kind=("science", "sky"), airmass=isfinite, mid=isfinite, site=lambda site: site is not None)
    placed = [(f, airmass(f.ra, f.dec, f.mid, f.site)) for f in sky if f.has_position]
    wrong = [(f, geometric) for f, geometric in placed if _contradict(f.airmass, geometric)]
    if wrong:
        frame, geometric = wrong[len(wrong) // 2]
        true = f"{geometric:.3f}" if isfinite(geometric) else "below the horizon"
        some = share(Frames(f for f, _ in wrong), Frames(f for f, _ in placed), "science")
        text = (
            f"the airmass of {some} does not follow from time, position and site (as {frame.airmass:.3f} against "
            f"{true} of {frame.name}): one of them is wrong, such as a local time, or a longitude that counts to the "
            "west"
        )
        yield about("warning", text, [f for f, _ in wrong])


def _contradict(told: float, geometric: float) -> bool:
    if min(told, geometric if isfinite(geometric) else told) > HIGHEST:
        return False
    return not isfinite(geometric) or abs(told - geometric) > AIRMASS_APART * geometric


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
