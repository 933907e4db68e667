"""One thing to say of a night, and the words that all findings share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from albireo.frames import Frame, Frames
from albireo.roles import Instrument

__all__ = ["SEVERITIES", "Finding", "Rule", "about", "each_part", "listed", "of_detector", "setup_words", "share"]

SEVERITIES = ("problem", "warning", "note")
"""From what cannot be reduced as it is, over what a person should look at, to what is good to know."""


@dataclass(frozen=True)
class Finding:
    """Something missing or inconsistent in a night, in plain words.

    Attributes
    ----------
    severity : str
        One of `SEVERITIES`.
    text : str
        What is so, what follows from it, and what can be done.
    frames : tuple of str
        Names of the frames it is about; empty where it is about what is not there.
    """

    severity: str
    text: str
    frames: tuple[str, ...] = ()


Rule: TypeAlias = Callable[[Frames, Instrument], Iterator[Finding]]
"""From the frames of one camera to findings; of the camera it uses the matching rules only."""


def about(severity: str, text: str, frames: Sequence[Frame] | Frames = ()) -> Finding:
    """Make a finding about frames."""
    return Finding(severity, text, tuple(frame.name for frame in frames))


def share(some: Frames, of: Frames, kind: str = "") -> str:
    """Say how many of some frames are concerned: ``all 9 bias frames``, ``2 of 23 science frames``."""
    word = f"{kind} frame" if kind else "frame"
    if len(of) == 1:
        return f"the only {word}"
    number = f"all {len(of)}" if len(some) == len(of) else f"{len(some)} of {len(of)}"
    return f"{number} {word}s"


def of_detector(detector: str) -> str:
    """Name a detector after a noun; nothing where a camera has only one."""
    return f" of {detector}" if detector else ""


def listed(words: Sequence[str], most: int = 4) -> str:
    """Write words as a list, and count those beyond the first few."""
    shown = ", ".join(words[:most])
    return f"{shown} and {len(words) - most} more" if len(words) > most else shown


def setup_words(frame: Frame, among: Frames) -> str:
    """Write what distinguishes the set-up and size of a frame from those of others."""
    own = dict(frame.setup)
    differing = [k for k in own if len({dict(other.setup).get(k) for other in among}) > 1]
    words = [f"{key}={own[key]}" for key in differing]
    if len({other.shape for other in among}) > 1:
        words.append(f"{frame.shape[1]} x {frame.shape[0]} pixels")
    return ", ".join(words)


def each_part(frames: Frames) -> dict[tuple[str, int], Frames]:
    """Group frames by detector and, where a file holds several images, by their place in it."""
    count: dict[str, int] = {}
    groups: dict[tuple[str, int], list[Frame]] = {}
    for frame in frames:
        place = count.get(frame.path, 0)
        count[frame.path] = place + 1
        groups.setdefault((frame.detector, place), []).append(frame)
    return {key: Frames(group) for key, group in groups.items()}
