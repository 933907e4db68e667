"""What a selector must do."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import isinf
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo.frames import KINDS, Amplifier, Frame, Frames, Section
from albireo.images import Flag, image
from albireo.roles import Selection, Selector
from albireo.testing.conformance.kit import Check, require

if TYPE_CHECKING:
    from astropy.nddata import CCDData

__all__ = ["CHECKS", "typical"]

LEVELS = (1000.0, 3000.0, 20000.0, 40000.0, 59000.0, 65535.0)
"""Raw counts of the made-up frames, from no light to saturated."""


@lru_cache(maxsize=1)
def _frames() -> Frames:
    amplifier = Amplifier(Section(0, 40, 0, 50), Section(0, 40, 50, 60), 1.6, 5.0)
    made = []
    for number, kind in enumerate(KINDS * 6):
        made.append(
            Frame(
                f"{kind}-{number:03d}.fits",
                instrument="kit",
                kind=kind,
                filter=("r", "g", "")[number % 3],
                target=("M 67", "")[number % 2],
                exptime=(0.0, 10.0, 60.0, float("nan"))[number % 4],
                start=60310.0 + 0.001 * number if number % 7 else float("nan"),
                airmass=1.0 + 0.05 * number if kind == "science" else float("nan"),
                shape=(40, 60),
                amplifiers=(amplifier,) if number % 5 else (),
                saturation=60000.0 if number % 6 else float("nan"),
            )
        )
    return Frames(made)


def _image(frame: Frame) -> CCDData:
    number = list(_frames()).index(frame)
    rng = np.random.default_rng(number)
    data = np.clip(LEVELS[number // len(KINDS)] + 10.0 * rng.standard_normal(frame.shape), 0, 65535)
    return image(data, "adu", flags=np.where(data >= 60000, Flag.SATURATED, 0).astype(np.uint16))


def _measured(stage: Selector) -> dict[str, dict[str, float]]:
    return {frame.name: stage.measure(_image(frame), frame) for frame in _frames() if stage.wants(frame)}


def typical(stage: Selector) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Give calls to try."""
    for frame in _frames():
        if stage.wants(frame):
            yield "measure", (_image(frame), frame)
    yield "select", (_frames(), _measured(stage))


def every_frame_is_kept_or_dropped(stage: Selector) -> None:
    """Each frame is either kept or dropped, unchanged and in its order; none is invented."""
    frames = _frames()
    result = stage.select(frames, _measured(stage))
    require(isinstance(result, Selection), f"it gave {type(result).__name__} instead of Selection")
    both = {frame.name for frame in result.kept} & set(result.dropped)
    require(not both, f"kept and dropped at once: {', '.join(sorted(both))}")
    neither = {frame.name for frame in frames} - {frame.name for frame in result.kept} - set(result.dropped)
    require(not neither, f"neither kept nor dropped: {', '.join(sorted(neither)[:5])}")
    invented = set(result.dropped) - {frame.name for frame in frames}
    require(not invented, f"dropped, but never given: {', '.join(sorted(invented))}")
    expected = [frame for frame in frames if frame.name not in result.dropped]
    require(
        list(map(repr, result.kept)) == list(map(repr, expected)), "kept frames were changed or put in another order"
    )


def gives_reasons(stage: Selector) -> None:
    """Every dropped frame has a reason in words."""
    dropped = stage.select(_frames(), _measured(stage)).dropped
    silent = [name for name, reason in dropped.items() if not (isinstance(reason, str) and reason.strip())]
    require(not silent, f"no reason for {', '.join(silent[:5])}")


def measures_plain_numbers(stage: Selector) -> None:
    """What is measured are numbers that can be stored: plain floats under names, NaN where there is no value."""
    for name, values in _measured(stage).items():
        odd = [key for key, value in values.items() if not isinstance(value, float | int) or isinf(value)]
        require(not odd, f"{', '.join(odd)} of {name} is not a plain number; convert with float()")


def selects_from_nothing(stage: Selector) -> None:
    """No frames give no frames."""
    result = stage.select(Frames(), {})
    require(len(result.kept) == 0 and not result.dropped, "it kept or dropped frames although there were none")


CHECKS: list[Check] = [
    every_frame_is_kept_or_dropped,
    gives_reasons,
    measures_plain_numbers,
    selects_from_nothing,
]
