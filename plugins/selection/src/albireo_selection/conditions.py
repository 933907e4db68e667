"""Conditions on what a header says: how a recipe writes them, and whether a frame meets one.

A number may be given as it is, as a limit in quotes (``"<= 2"``) or as a range (``"10 to 60"``, ends included); a text
as it is or with ``*`` and ``?``; either as a list, of which one has to fit.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from math import isclose
from typing import Any

from albireo import Frame, is_called

Condition = float | str | list[float | str]

NUMBERS = ("airmass", "dec", "exptime", "gain", "ra", "read_noise", "saturation", "scale", "temperature")
TEXTS = ("detector", "exposure", "filter", "instrument", "name", "target", "variant")
SETTING = "setup."

_NUMBER = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
_LIMIT = re.compile(rf"\s*(<=|>=|<|>)\s*{_NUMBER}\s*")
_RANGE = re.compile(rf"\s*{_NUMBER}\s+to\s+{_NUMBER}\s*")
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

SAME = 1e-6
"""Relative difference up to which two numbers of headers are equal: some are written in single precision."""


def check(attribute: str, condition: Condition) -> None:
    """See whether a condition can be understood.

    Raises
    ------
    ValueError
        If frames have no such attribute, or it cannot have such a condition.
    """
    if attribute in TEXTS or (attribute.startswith(SETTING) and attribute != SETTING):
        return
    if attribute in NUMBERS:
        for one in _listed(condition):
            _number_test(attribute, one)
        return
    if attribute in ("start", "mid"):
        raise ValueError(f'{attribute!r} is a time: choose by it with use = "time"')
    if attribute in ("kind", "setup"):
        advice = "set the option kind" if attribute == "kind" else "name one setting, such as 'setup.binning'"
        raise ValueError(f"{attribute!r} takes no condition: {advice}")
    known = [*TEXTS, *NUMBERS]
    near = difflib.get_close_matches(attribute, known, 1, 0.6)
    advice = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)} and setup.NAME"
    raise ValueError(f"frames have no {attribute!r}; {advice}")


def meets(frame: Frame, attribute: str, condition: Condition) -> bool | None:
    """Whether a frame meets a condition; None if its value is not known."""
    wanted = _listed(condition)
    if attribute in NUMBERS:
        value = float(getattr(frame, attribute))
        return None if value != value else any(_number_test(attribute, one)(value) for one in wanted)
    if attribute == "name":
        return any(is_called(frame, str(one)) for one in wanted)
    text = str(frame.fact(attribute))
    if attribute.startswith(SETTING) and not text:
        return None
    return any(_fits(text, one) for one in wanted)


def told(frame: Frame, attribute: str) -> str:
    """Give the value of an attribute in words."""
    value = frame.fact(attribute)
    return f"{attribute} {value:.6g}" if attribute in NUMBERS else f"{attribute} {value!r}"


def written(condition: Condition) -> str:
    """Write a condition as in the recipe."""
    return " or ".join(f"{one:g}" if isinstance(one, float | int) else one for one in _listed(condition))


def _listed(condition: Condition) -> Sequence[float | str]:
    return condition if isinstance(condition, list) else [condition]


def _number_test(attribute: str, condition: float | str) -> Callable[[float], bool]:
    if not isinstance(condition, str):
        return lambda value: isclose(value, condition, rel_tol=SAME)
    if limit := _LIMIT.fullmatch(condition):
        compare, edge = _COMPARE[limit[1]], float(limit[2])
        return lambda value: compare(value, edge)
    if span := _RANGE.fullmatch(condition):
        low, high = float(span[1]), float(span[2])
        if low <= high:
            return lambda value: low <= value <= high
        raise ValueError(f"{condition!r} for {attribute} is empty; write the smaller number first")
    raise ValueError(f"{condition!r} is no condition for the number {attribute}; write 2.5, '<= 2.5' or '1 to 2.5'")


def _fits(text: str, wanted: Any) -> bool:
    if isinstance(wanted, str):
        # Names of filters have brackets: [OIII] stands for itself.
        return text == wanted or fnmatchcase(text, wanted.replace("[", "[[]"))
    try:
        return isclose(float(text), wanted, rel_tol=SAME)
    except ValueError:
        return False
