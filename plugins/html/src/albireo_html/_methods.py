"""How it was done, in the words of a paper: the stages of the resolved recipe, citations, versions, timing."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

from albireo_html._values import duration, listed

if TYPE_CHECKING:
    from albireo import Results

_SENTENCES = (
    ("instrument", "The frames were read as those of the camera {}."),
    ("select", "Frames were selected by {}."),
    ("masters", "Masters were made with {}."),
    ("corrections", "Images were corrected, in this order, by {}."),
    ("background", "The sky was estimated with {}."),
    ("finding", "Sources were found with {}."),
    (
        "alignment",
        "Frames were aligned with {}; sources were measured on the pixels of each frame, without resampling.",
    ),
    ("photometry", "Brightness was measured with {}."),
    ("curves", "Light curves were made with {}."),
)
_TOLD = {
    "masters": ("kind", "method"),
    "select": ("kind",),
    "photometry": ("radius", "annulus"),
}
"""Options that belong into a sentence; all others stand in the recipe."""


def methods(run: Results) -> list[str]:
    """Sentences about the stages of a run, in the order of the work."""
    recipe = tomllib.loads(run.recipe)
    sentences = []
    for table, sentence in _SENTENCES:
        entries = recipe.get(table, [])
        stages = [entry for entry in (entries if isinstance(entries, list) else [entries]) if "use" in entry]
        if stages:
            said = list(dict.fromkeys(_stage(entry, _TOLD.get(table, ())) for entry in stages))
            sentences.append(sentence.format(listed(said)))
    return sentences


def _stage(entry: dict[str, Any], told: tuple[str, ...]) -> str:
    options = [f"{key} {_value(entry[key])}" for key in told if key in entry]
    return entry["use"] + (f" ({', '.join(options)})" if options else "")


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
