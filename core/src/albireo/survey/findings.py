"""What a survey has found out about a camera, and how it knows."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, inf, log10
from typing import Any, Literal, TypeAlias

__all__ = ["GIVE", "Certainty", "Finding", "plural", "with_error"]

Certainty: TypeAlias = Literal["measured", "header", "inferred", "unverified", "unknown"]
"""How sure a finding is, in falling order: measured in the pixels; said by the header, and nothing contradicts it;
concluded from names and values; taken over although nothing in the samples confirms it; not found."""

GIVE = "unknown: give it"


@dataclass(frozen=True)
class Finding:
    """One quantity of a camera.

    Attributes
    ----------
    quantity : str
        Its name, as the definition of a camera has it where that knows it.
    value : str
        For a person to read, with uncertainty and unit.
    how : str
        How it was found.
    certainty : str
        One of `Certainty`.
    rule : object
        What the definition of the camera says: a value that TOML can hold. None for nothing.
    others : tuple of str
        Candidates that were not chosen, each with the reason.
    """

    quantity: str
    value: str
    how: str
    certainty: Certainty
    rule: Any = None
    others: tuple[str, ...] = ()


def plural(number: int, word: str) -> str:
    """Write a number of things: ``1 file``, ``2 files``, ``2 biases``."""
    ending = "es" if word.endswith(("s", "x")) else "s"
    return f"{number} {word}{ending * (number != 1)}"


def with_error(value: float, error: float) -> str:
    """Write a number to the digits that its uncertainty allows: ``3.663 +- 0.008``; without one, to four digits."""
    if not 0 < error < inf:
        return f"{value:.4g}"
    decimals = max(0, -floor(log10(error)))
    return f"{value:.{decimals}f} +- {error:.{decimals}f}"
