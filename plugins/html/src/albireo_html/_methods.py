"""How it was done, in the words of a paper: frames, stages with their sources, comparison stars, errors, versions."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from albireo import ROLES, Registry
from albireo_html._curves import Curve, sentence
from albireo_html._values import duration, listed, plural, texts

if TYPE_CHECKING:
    from albireo import Results

_SENTENCES = (
    ("instrument", "They were read as those of the camera {}."),
    ("select", "Frames were selected by {}."),
    ("masters", "Masters were made with {}."),
    ("corrections", "Images were corrected, in this order, by {}."),
    ("background", "The sky was estimated with {}."),
    ("finding", "Sources were found with {}."),
    ("psf", "The shape of a star was measured with {}."),
    (
        "alignment",
        "Frames were aligned with {}; sources were measured on the pixels of each frame, without resampling.",
    ),
    ("stacks", "Stacks were made with {}."),
    ("photometry", "Brightness was measured with {}."),
    ("curves", "Light curves were made with {}."),
)
_TOLD = {
    "masters": ("kind", "method"),
    "select": ("kind",),
    "photometry": ("radius", "annulus"),
}
"""Options that belong into a sentence; all others stand in the recipe."""

_LIBRARIES = ("astropy", "numpy")


def methods(run: Results, wanted: Sequence[Curve]) -> list[str]:
    """Sentences about a run, in the order of the work; numbers in brackets are those of the run's citations.

    Parameters
    ----------
    run : Results
    wanted : sequence of Curve
        Light curves of targets that the page shows.
    """
    recipe = tomllib.loads(run.recipe)
    known = {text: number for number, text in enumerate(run.summary["citations"], 1)}
    sentences = [_frames(run)]
    for table, words in _SENTENCES:
        entries = recipe.get(table, [])
        stages = [entry for entry in (entries if isinstance(entries, list) else [entries]) if "use" in entry]
        if stages:
            said = dict.fromkeys(_stage(table, entry, known) for entry in stages)
            sentences.append(words.format(listed(list(said))))
        if table == "masters" and run.masters:
            sentences.append(_masters(run))
    sentences += _comparisons(wanted)
    if recipe.get("photometry"):
        sentences.append(_errors(recipe, bool(run.masters)))
    for name in dict.fromkeys(curve.name for curve in wanted):
        sentences.append(f"{sentence([curve for curve in wanted if curve.name == name])}.")
    return sentences


def _frames(run: Results) -> str:
    """Say how many frames of which nights were used, and what reduced them."""
    frames = run.frames
    kinds, fates, mids = texts(frames, "kind"), texts(frames, "fate"), texts(frames, "mid")
    science = [(fate, mid[:10]) for kind, fate, mid in zip(kinds, fates, mids, strict=True) if kind == "science"]
    days = sorted({day for fate, day in science if fate == "used" and day})
    when = f" of {days[0]}" + (f" to {days[-1]}" if len(days) > 1 else "") + " (UTC)" if days else ""
    versions = run.summary["versions"]
    libraries = [f"{name} {versions[name]}" for name in _LIBRARIES if name in versions]
    core = f"Albireo {versions.get('albireo-core', '')}".strip() + (f" ({', '.join(libraries)})" if libraries else "")
    used = sum(fate == "used" for fate, _ in science)
    return f"{used} of {plural(len(science), 'science frame')}{when} were reduced with {core}."


def _masters(run: Results) -> str:
    """Say how many masters of each kind there are, and from how many frames."""
    kinds = Counter(master.kind for master in run.masters)
    frames = Counter[str]()
    for master in run.masters:
        frames[master.kind] += len(master.frames)
    parts = [
        plural(count, f"master {kind}") + (f" from {plural(frames[kind], 'frame')}" if frames[kind] else "")
        for kind, count in kinds.items()
    ]
    return f"There are {listed(parts)}."


def _comparisons(wanted: Sequence[Curve]) -> list[str]:
    """Say which comparison stars serve each target; targets and filters that share them are told together."""
    served: dict[tuple[tuple[int, ...], str], list[str]] = {}
    for curve in wanted:
        if curve.comparisons:
            served.setdefault((tuple(sorted(curve.comparisons)), curve.band), []).append(curve.name)
    bands: dict[tuple[tuple[str, ...], tuple[int, ...]], list[str]] = {}
    for (stars, band), names in served.items():
        bands.setdefault((tuple(dict.fromkeys(names)), stars), []).append(band)
    said: dict[tuple[str, ...], list[str]] = {}
    for (targets, stars), where in bands.items():
        numbers = ", ".join(str(star) for star in stars)
        said.setdefault(targets, []).append(f"{plural(len(stars), 'comparison star')} in {listed(where)} ({numbers})")
    return [
        f"{listed(targets)} {'is' if len(targets) == 1 else 'are'} measured against {listed(parts)}."
        for targets, parts in said.items()
    ]


def _errors(recipe: Mapping[str, Any], masters: bool) -> str:
    """Say what the error bars hold."""
    steps = {entry.get("use") for entry in recipe.get("curves", ())}
    parts = ["the counts of star and sky", "read noise"]
    if masters:
        parts.append("the noise of the masters")
    if any(entry.get("annulus") or entry.get("sky") == "annulus" for entry in recipe["photometry"]):
        parts.append("the error of the sky level")
    if "differential" in steps:
        parts.append("that of the comparison stars")
    if "scintillation" in steps:
        parts.append("scintillation")
    return f"Errors are those of {listed(parts)}."


def _stage(table: str, entry: Mapping[str, Any], known: Mapping[str, int]) -> str:
    options = [f"{key} {_value(entry[key])}" for key in _TOLD.get(table, ()) if key in entry]
    cited = sorted(known[text] for text in _citations(table, entry["use"]) if text in known)
    return (
        entry["use"]
        + (f" ({', '.join(options)})" if options else "")
        + (f" [{', '.join(str(number) for number in cited)}]" if cited else "")
    )


def _citations(table: str, name: str) -> tuple[str, ...]:
    """What a stage asks to be cited; nothing if it is not installed here."""
    roles = {role.table: role.name for role in ROLES.values()}
    found = [entry.cls.citations for entry in Registry.discover().entries(roles.get(table)) if entry.name == name]
    return found[0] if found and table in roles else ()


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_value(one) for one in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def timing(run: Results) -> list[dict[str, str]]:
    """Time of each stage, the slowest first, with its share of the slowest."""
    entries = sorted(run.summary["timing"].items(), key=lambda item: -item[1])
    slowest = max((seconds for _, seconds in entries), default=0.0) or 1.0
    return [
        {"stage": stage, "time": duration(seconds), "share": f"{100 * seconds / slowest:.1f}"}
        for stage, seconds in entries
    ]
