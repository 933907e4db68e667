"""What an executor must do."""

from __future__ import annotations

from albireo.frames import FrameError
from albireo.roles import Executor
from albireo.testing.conformance.kit import Check, require

__all__ = ["CHECKS"]

ITEMS = tuple(range(12))
BAD = 7
"""The item that fails."""


def square(item: int) -> int:
    """Work that always succeeds."""
    return item * item


def square_or_refuse(item: int) -> int:
    """Work that refuses one item as a frame at fault."""
    if item == BAD:
        raise FrameError(f"item {item} cannot be squared")
    return item * item


def square_or_break(item: int) -> int:
    """Work with a defect."""
    if item == BAD:
        raise ZeroDivisionError("a defect")
    return item * item


def runs_every_item(stage: Executor) -> None:
    """Every item has one outcome with its value and its index."""
    outcomes = list(stage.map(square, ITEMS))
    require(sorted(o.index for o in outcomes) == list(ITEMS), f"indices are {sorted(o.index for o in outcomes)}")
    wrong = [o.index for o in outcomes if o.error or o.value != ITEMS[o.index] ** 2]
    require(not wrong, f"items {wrong} have an error or the value of another item")


def runs_nothing(stage: Executor) -> None:
    """No items give no outcomes."""
    require(not list(stage.map(square, [])), "there are outcomes although there was no item")


def a_frame_error_is_an_outcome(stage: Executor) -> None:
    """A FrameError of one item is its outcome, with the message, and the others go on."""
    outcomes = {o.index: o for o in stage.map(square_or_refuse, ITEMS)}
    require(sorted(outcomes) == list(ITEMS), f"only items {sorted(outcomes)} have an outcome")
    require("cannot be squared" in outcomes[BAD].error, f"the outcome of the failed item says {outcomes[BAD].error!r}")
    require(outcomes[BAD].permanent, "a frame at fault would fail again: permanent must be true")
    require(not any(o.error for o in outcomes.values() if o.index != BAD), "other items failed too")


def a_defect_is_passed_on(stage: Executor) -> None:
    """Any other exception is a defect of the program and ends the run."""
    try:
        list(stage.map(square_or_break, ITEMS))
    except Exception as error:  # executors may wrap it
        told = repr(error) + repr(error.__cause__)
        require("ZeroDivisionError" in told or "a defect" in told, f"the defect became {error!r}")
        return
    require(False, "a ZeroDivisionError in the work vanished")


CHECKS: list[Check] = [runs_every_item, runs_nothing, a_frame_error_is_an_outcome, a_defect_is_passed_on]
