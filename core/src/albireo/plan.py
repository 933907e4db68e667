"""What gets which master: from a recipe and the frames of a night to a graph of work, from headers alone.

A master is planned for each group of calibration frames that some frame needs. The frames of a group agree in what the
instrument says a master must match; what they were corrected with themselves is planned in the same way. Science frames
of one target, detector and pointing make a field, which has one reference. Fields of several detectors that look at the
same sky share a list of stars.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import cos, hypot, isfinite, radians
from pathlib import PurePath

from albireo.exposures import unique_name
from albireo.frames import CALIBRATION_KINDS, Frame, Frames
from albireo.library import Entry
from albireo.pointing import is_same_sky, split_by_pointing
from albireo.recipe import Recipe, Target
from albireo.roles import Correction
from albireo.shelf import Shelf, corrections_before

__all__ = ["Fate", "FieldPlan", "MasterPlan", "Plan", "PlanError", "find_frame", "make_plan", "share_targets"]

MATCH_WORDS = {"setup": "readout set-up", "shape": "image size"}
FILTERED = ("flat", "sky", "fringe", "illumination")
"""Kinds of master that are made for one filter."""


class PlanError(Exception):
    """The night cannot be reduced as the recipe says; each of `problems` says what is missing and for what."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


@dataclass
class Fate:
    """What became of a frame: ``used``, ``dropped``, ``failed`` or ``unused``, where, and why."""

    fate: str
    stage: str = ""
    reason: str = ""


@dataclass(frozen=True, eq=False)
class MasterPlan:
    """One master to build, or to take from a library.

    Attributes
    ----------
    name : str
        For its file; unique in the run.
    kind : str
    frames : Frames
    corrections : tuple of Correction
        What its frames get first.
    masters : dict of str to MasterPlan
        What these corrections need.
    stored : Entry or None
        The master of a library that takes its place; then `frames` are those of another night.
    """

    name: str
    kind: str
    frames: Frames
    corrections: tuple[Correction, ...]
    masters: dict[str, MasterPlan]
    stored: Entry | None = None


@dataclass(frozen=True, eq=False)
class FieldPlan:
    """Science frames of one target on one detector.

    Attributes
    ----------
    name : str
        For its files; unique in the run.
    target, detector : str
    frames : Frames
    candidates : Frames
        The same in the order in which they are tried as the reference.
    sky : str
        Shared by fields of several detectors that look at the same sky.
    """

    name: str
    target: str
    detector: str
    frames: Frames
    candidates: Frames
    sky: str = ""


@dataclass(eq=False)
class Plan:
    """The work of a run.

    Attributes
    ----------
    masters : list of MasterPlan
        In an order in which each needs only earlier ones.
    choices : dict of str to dict
        For each science frame by name: the master for each kind, and the reason.
    fields : list of FieldPlan
    fates : dict of str to Fate
        Every frame of the night that is not part of the work, by name.
    warnings : list of str
    """

    masters: list[MasterPlan] = field(default_factory=list)
    choices: dict[str, dict[str, tuple[MasterPlan, str]]] = field(default_factory=dict)
    fields: list[FieldPlan] = field(default_factory=list)
    fates: dict[str, Fate] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def science(self) -> list[Frame]:
        """Every science frame, field by field."""
        return [frame for part in self.fields for frame in part.frames]


def make_plan(
    recipe: Recipe,
    frames: Frames,
    dropped: Sequence[tuple[Frame, Fate]] = (),
    library: Sequence[Entry] = (),
) -> Plan:
    """Plan the reduction of the frames that selection left.

    Parameters
    ----------
    recipe : Recipe
    frames : Frames
        What is left.
    dropped : sequence of (Frame, Fate)
        What is not, for messages.
    library : sequence of Entry
        Masters of other nights; counted only if the recipe has a table ``[library]``.

    Raises
    ------
    PlanError
        If a science frame has no master for a correction and the recipe does not allow to go without, or a target is
        given in pixels of a frame that is not used.
    """
    return _Planner(recipe, frames, dropped, library).plan()


class _Planner:
    def __init__(
        self, recipe: Recipe, frames: Frames, dropped: Sequence[tuple[Frame, Fate]], library: Sequence[Entry]
    ) -> None:
        self.recipe, self.frames, self.dropped = recipe, frames, dropped
        self.shelf = Shelf(recipe, library)
        self.result = Plan(warnings=list(recipe.warnings))
        self.groups: dict[str, dict[tuple[object, ...], list[Frames]]] = {}
        self.made: dict[tuple[str, ...], MasterPlan] = {}
        self.missing: dict[str, list[str]] = {}
        self.names: set[str] = set()
        for builder in recipe.masters:
            wanted = Frames(frame for frame in frames if builder.wants(frame)).sorted("start")
            alike = wanted.by(*recipe.instrument.match(builder.kind))
            self.groups[builder.kind] = {facts: list(builder.split(group)) for facts, group in alike.items()}

    def plan(self) -> Plan:
        science = self.frames.where(kind="science").sorted("start")
        for frame in science:
            self.result.choices[frame.name] = self._masters_for(frame, self.recipe.corrections)
        self.result.warnings += self.shelf.warnings
        self._check_noise(science)
        problems = [f"{what} Needed by {_listed(names)}." for what, names in self.missing.items()]
        problems += self._lost_targets(science)
        if problems:
            raise PlanError(problems)
        self._fields(science)
        self._unused()
        return self.result

    def _masters_for(self, frame: Frame, corrections: Sequence[Correction]) -> dict[str, tuple[MasterPlan, str]]:
        chosen: dict[str, tuple[MasterPlan, str]] = {}
        for correction in corrections:
            kind = correction.master
            if kind and kind in frame.spared:
                continue
            group: Frames | None = None
            reason = ""
            if kind:
                found, reason = self._choose(correction, frame)
                if found is None:
                    self._without(kind, frame, reason)
                    continue
                chosen[kind] = (found, reason)
                group = found.frames
            complaint = correction.check(frame, group)
            if complaint and complaint not in self.result.warnings:
                self.result.warnings.append(complaint)
        return chosen

    def _choose(self, correction: Correction, frame: Frame) -> tuple[MasterPlan | None, str]:
        """Choose a master of this night or of the library for a frame, and say why."""
        kind, options = correction.master, self.recipe.library
        group, reason = None, ""
        if matching := self._matching(kind, frame):
            group, reason = correction.choose(frame, matching)
        if options is None or (group is not None and options.prefer == "night"):
            why = reason or self._why_none(kind, frame)
            return (None, why) if group is None else (self._master(kind, group), reason)
        entry, found = self.shelf.choose(correction, frame)
        nearer = entry is not None and (group is None or entry.age(frame) + options.penalty < _days(frame, group))
        if entry is not None and nearer:
            return self._stored(entry), found
        if group is not None:
            return self._master(kind, group), reason
        return None, f"{reason or self._why_none(kind, frame)}; {found}"

    def _matching(self, kind: str, frame: Frame) -> list[Frames]:
        """Groups of calibration frames that share what the instrument says they must; unknown facts match nothing."""
        facts = tuple(frame.fact(name) for name in self.recipe.instrument.match(kind))
        return [] if any(fact != fact for fact in facts) else self.groups.get(kind, {}).get(facts, [])

    def _why_none(self, kind: str, frame: Frame) -> str:
        groups = [group for parts in self.groups.get(kind, {}).values() for group in parts]
        wanted = [n for n in self.recipe.instrument.match(kind) if n != "instrument"]
        facts = ", ".join(f"{_word(n)} {_shown(frame.fact(n))}" for n in wanted if frame.fact(n))
        text = f"there is no master {kind} for {facts or 'these frames'}"
        lost = [(f, fate) for f, fate in self.dropped if f.kind == kind]
        left_out = ""
        if lost:
            first, fate = lost[0]
            left_out = f"; {len(lost)} {kind} frames were left out in {fate.stage}, such as {first.name}: {fate.reason}"
        if not groups:
            return f"{text}: no {kind} frame was {'kept' if lost else 'found'}{left_out}"
        differences = []
        for group in groups:
            odd = [n for n in wanted if frame.fact(n) != group[0].fact(n)]
            said = ", ".join(f"{_word(n)} {_shown(group[0].fact(n))}" for n in odd)
            differences.append(f"{len(group)} with {said}")
        return f"{text}; {kind} frames at hand: {'; '.join(dict.fromkeys(differences))}{left_out}"

    def _without(self, kind: str, frame: Frame, reason: str) -> None:
        if kind in self.recipe.options.allow_missing:
            warning = f"some frames go without a master {kind}, as the recipe allows: {reason}"
            if warning not in self.result.warnings:
                self.result.warnings.append(warning)
            return
        advice = f'Take such {kind} frames, or write allow_missing = ["{kind}"] under [recipe] to go without.'
        self.missing.setdefault(f"{reason[0].upper()}{reason[1:]}. {advice}", []).append(frame.name)

    def _master(self, kind: str, group: Frames) -> MasterPlan:
        key = (kind, *(f.name for f in group))
        if key in self.made:
            return self.made[key]
        before = corrections_before(self.recipe, kind)
        middle = group[len(group) // 2]
        needs = {k: master for k, (master, _) in self._masters_for(middle, before).items()}
        master = MasterPlan(self._name(kind, group), kind, group, tuple(before), needs)
        self.made[key] = master
        self.result.masters.append(master)
        return master

    def _stored(self, entry: Entry) -> MasterPlan:
        key = ("library", entry.key)
        if key not in self.made:
            name = unique_name(entry.name, self.names)
            self.made[key] = MasterPlan(name, entry.kind, entry.frames, (), {}, entry)
            self.result.masters.append(self.made[key])
        return self.made[key]

    def _name(self, kind: str, group: Frames) -> str:
        parts = [kind, group[0].variant, group[0].detector, group[0].filter if kind in FILTERED else ""]
        times = set(group.values("exptime"))
        if kind == "dark" and len(times) == 1 and isfinite(time := times.pop()):
            parts.append(f"{time:g}s")
        return unique_name(safe_name("-".join(part for part in parts if part)), self.names)

    def _check_noise(self, science: Frames) -> None:
        """Error bars need gain and read noise; say so before any pixel is read."""
        if not self.recipe.photometers:
            return
        for name, words in (("gain", "gain (electron per adu)"), ("read_noise", "read noise (electron)")):
            lacking = [f.name for f in science if not isfinite(f.fact(name))]
            if lacking:
                what = f"The {words} is not known. Give {name} under [instrument]; without it there are no error bars."
                self.missing.setdefault(what, []).extend(lacking)

    def _lost_targets(self, science: Frames) -> list[str]:
        """Say which targets are given in pixels of frames that are not among the science frames."""
        if not science:
            return []
        problems = []
        places = [(t.name, p.frame) for t in self.recipe.targets for p in (t, *t.comparisons) if p.frame]
        for target, name in dict.fromkeys(places):
            if find_frame(name, science) is not None:
                continue
            known = next(((f, fate) for f, fate in self.dropped if find_frame(name, [f]) is not None), None)
            why = f"was left out in {known[1].stage}: {known[1].reason}" if known else "is none of the science frames"
            advice = "Give its pixels in a frame that is used."
            problems.append(f"The target {target} is given in pixels of {name}, which {why}. {advice}")
        return problems

    def _fields(self, science: Frames) -> None:
        used: set[str] = set()
        fields = []
        for (_, detector, target, _, _), group in science.by(
            "instrument", "detector", "target", "shape", "setup"
        ).items():
            for part in split_by_pointing(group):
                name = unique_name(safe_name("-".join(text for text in (target or "field", detector) if text)), used)
                fields.append(FieldPlan(name, target, detector, part, _candidates(part)))
        self.result.fields = _with_skies(fields)

    def _unused(self) -> None:
        taken = {f.name for master in self.result.masters if master.stored is None for f in master.frames}
        taken |= {f.name for f in self.frames.where(kind="science")}
        wanted = {correction.master for correction in self.recipe.corrections}
        for frame in self.frames:
            if frame.name in taken:
                continue
            makes = {builder.kind for builder in self.recipe.masters if builder.wants(frame)}
            if makes and not makes & wanted:
                reason = f"no correction of the recipe uses a master {', '.join(sorted(makes))}"
            elif makes:
                reason = self._why_unused(frame)
            elif frame.kind in CALIBRATION_KINDS:
                reason = f"the recipe has no [[masters]] for the kind {frame.kind}"
            elif frame.kind == "unknown":
                reason = "the header does not say what kind of frame this is"
            else:
                reason = "not a frame that a reduction uses"
            self.result.fates[frame.name] = Fate("unused", "matching", reason)

    def _why_unused(self, frame: Frame) -> str:
        names = [n for n in self.recipe.instrument.match(frame.kind) if n != "instrument"]
        science = self.frames.where(kind="science")
        if not science:
            return "there is no science frame to use it for"
        for name in names:
            wanted = dict.fromkeys(_shown(f.fact(name)) for f in science)
            if _shown(frame.fact(name)) not in wanted:
                word = _word(name)
                return (
                    f"{word} {_shown(frame.fact(name))}: no science frame needs such a {frame.kind} "
                    f"(they have {word} {', '.join(wanted)})"
                )
        if any(master.kind == frame.kind for master in self.result.masters):
            return f"another {frame.kind} was chosen for every frame"
        return f"no frame could use this {frame.kind}"


def _days(frame: Frame, group: Frames) -> float:
    """Days between a frame and the nearest of a group; zero if that is not known."""
    return min((abs(f.start - frame.start) for f in group if isfinite(f.start - frame.start)), default=0.0)


def _candidates(group: Frames) -> Frames:
    """Order frames as references: the commonest filter first, then from the middle of the night outwards."""
    counts = {key[0]: len(part) for key, part in group.by("filter").items()}
    common = max(counts, key=lambda f: (counts[f], f))
    times = sorted(f.mid for f in group if f.filter == common and isfinite(f.mid))
    middle = times[len(times) // 2] if times else float("nan")

    def rank(frame: Frame) -> tuple[bool, float, str]:
        distance = abs(frame.mid - middle)
        return (frame.filter != common, distance if isfinite(distance) else float("inf"), frame.name)

    return Frames(sorted(group, key=rank))


def _with_skies(fields: Sequence[FieldPlan]) -> list[FieldPlan]:
    """Say which fields look at the same sky: those that are linked, directly or through others.

    Fields of two detectors are linked if they share an exposure and point at the same sky, or have the same target
    where the pointing is not known. Fields that share no exposure, as of a camera that takes its detectors in turn, are
    linked if they have the same target and do not point elsewhere.
    """
    exposures = [{f.exposure for f in part.frames if f.exposure} for part in fields]
    meeting: dict[tuple[str, str], list[int]] = {}
    for number, part in enumerate(fields):
        camera = part.frames[0].instrument
        names = [part.target.lower()] if part.target else []
        for name in (*names, *exposures[number]):
            meeting.setdefault((camera, name), []).append(number)
    sky = list(range(len(fields)))
    pairs = {(one, other) for numbers in meeting.values() for other in numbers for one in numbers if one < other}
    for one, other in sorted(pairs):
        if sky[one] != sky[other] and _is_linked(fields[one], fields[other], bool(exposures[one] & exposures[other])):
            old = sky[other]
            sky = [sky[one] if number == old else number for number in sky]
    used: set[str] = set()
    names_of = {
        number: unique_name(safe_name(fields[sky.index(number)].target or "field"), used)
        for number in dict.fromkeys(sky)
    }
    return [replace(part, sky=names_of[number]) for part, number in zip(fields, sky, strict=True)]


def _is_linked(one: FieldPlan, other: FieldPlan, at_once: bool) -> bool:
    if one.detector == other.detector:
        return False
    ours, theirs = (next((f for f in part.candidates if f.has_position), part.candidates[0]) for part in (one, other))
    pointing = is_same_sky(ours, theirs)
    same_target = one.target.lower() == other.target.lower()
    if at_once:
        return same_target if pointing is None else pointing
    return same_target and pointing is not False


def find_frame(name: str, frames: Iterable[Frame]) -> Frame | None:
    """Find the frame that a target's ``frame`` names: by its name, or by the file name with or without packing."""

    def bare(text: str) -> str:
        return re.sub(r"\.(fz|gz)$", "", text)

    for frame in frames:
        known = {frame.name, PurePath(frame.path).name}
        if name in known or bare(name) in {bare(k) for k in known}:
            return frame
    return None


def targets_in(targets: Sequence[Target], part: FieldPlan, alone: bool) -> list[Target]:
    """Choose the targets of a recipe that belong to a field.

    A target belongs where its frame is. Without a frame it belongs to every field that points at a target of that name
    or at its celestial coordinates, and to any field if there is only one.
    """
    chosen = []
    for target in targets:
        if target.frame:
            belongs = find_frame(target.frame, part.frames) is not None
        else:
            belongs = alone or target.name.lower() == part.target.lower() or _points_at(part, target)
        if belongs:
            chosen.append(target)
    return chosen


def share_targets(targets: Sequence[Target], skies: Sequence[Sequence[FieldPlan]]) -> list[list[Target]]:
    """Choose the targets of a recipe that belong to each sky, which is given by its fields.

    A target belongs where one of the fields has it, by `targets_in`. Where that is so on several skies, as when a
    telescope goes to and fro between two places under one name, its coordinates decide; pixels without a frame are
    those of the first frame of all.
    """
    chosen: list[list[Target]] = [[] for _ in skies]
    for target in targets:
        rows = [row for row, parts in enumerate(skies) if any(targets_in([target], p, len(skies) == 1) for p in parts)]
        if len(rows) > 1 and not target.frame:
            if target.x is None:
                rows = [row for row in rows if any(_points_at(part, target) for part in skies[row])] or rows
            else:
                rows = [min(rows, key=lambda row: _begin(first_frame(skies[row])))]
        for row in rows:
            chosen[row].append(target)
    return chosen


def first_frame(parts: Iterable[FieldPlan]) -> Frame:
    """Find the frame of some fields that opened first."""
    return min((frame for part in parts for frame in part.frames), key=_begin)


def _begin(frame: Frame) -> tuple[bool, float, str]:
    return (not isfinite(frame.start), frame.start if isfinite(frame.start) else 0.0, frame.name)


def _points_at(part: FieldPlan, target: Target) -> bool:
    """Whether the telescope pointed so near to a target that it may be in the image; true if that is not known."""
    if target.ra is None or target.dec is None:
        return False
    frame = next((f for f in part.frames if f.has_position), None)
    if frame is None or not isfinite(frame.scale):
        return True
    diagonal = hypot(*frame.shape) * frame.scale / 3600.0
    north = target.dec - frame.dec
    east = ((target.ra - frame.ra + 180.0) % 360.0 - 180.0) * cos(radians(target.dec))
    # A header gives where the telescope was sent, which need not be the centre of the chip: twice the half diagonal.
    return hypot(north, east) <= diagonal


def _word(name: str) -> str:
    """Say what an attribute is called; a setting of the set-up by its own name."""
    return MATCH_WORDS.get(name, name.removeprefix("setup."))


def safe_name(text: str) -> str:
    """Turn a name into one that is safe in file names and still reads like itself."""
    return re.sub(r"[^A-Za-z0-9.+_-]+", "_", text.strip()).strip("._") or "unnamed"


def _shown(value: object) -> str:
    if isinstance(value, tuple) and all(isinstance(v, int) for v in value):
        return " x ".join(str(v) for v in value)
    if isinstance(value, tuple):
        return " ".join(f"{k}={v}" for k, v in value)
    return str(value) or "(none)"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{len(names)} frames: {shown}{', ...' if len(names) > 3 else ''}" if len(names) > 1 else shown


def describe(plan: Plan) -> Mapping[str, int]:
    """Count what a plan holds."""
    return {"masters": len(plan.masters), "fields": len(plan.fields), "science": len(plan.science)}
