"""Small expressions over header cards, for definitions of cameras: ``18.64 / SOFTGAIN``, ``EXPTIME < 0.1``.

An expression may hold numbers, texts in quotes, names of cards, arithmetic, comparisons, ``and``, ``or``, ``not``,
``in``, ``a if b else c`` and the functions below; nothing else, so that a definition from a stranger can do no harm.
A card whose keyword is no name in Python is written ``card("DATE-OBS")``.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

__all__ = ["cards_of", "evaluate", "parse"]

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


def _number(value: Any, which: float = 1) -> float:
    """Give a number that stands in a text, by its order: ``number(CCDSUM, 2)`` of ``2 4`` is 4."""
    found = _NUMBER.findall(str(value))
    if not 1 <= which <= len(found):
        raise ValueError(f"{value!r} holds {len(found)} numbers")
    return float(found[int(which) - 1])


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "ceil": math.ceil,
    "cos": math.cos,
    "degrees": math.degrees,
    "exp": math.exp,
    "floor": math.floor,
    "log": math.log,
    "log10": math.log10,
    "lower": lambda text: str(text).lower(),
    "max": max,
    "min": min,
    "number": _number,
    "radians": math.radians,
    "round": round,
    "sin": math.sin,
    "sqrt": math.sqrt,
    "tan": math.tan,
    "text": str,
    "upper": lambda text: str(text).upper(),
}

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: math.pow,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, whole: item in whole,
    ast.NotIn: lambda item, whole: item not in whole,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
}
LONGEST = 500
"""Characters of an expression."""


class _Unknown(Exception):
    """A card has no value."""


@lru_cache(maxsize=256)
def parse(text: str) -> ast.expr:
    """Check an expression.

    Raises
    ------
    ValueError
        If it is none, or uses what it may not.
    """
    if len(text) > LONGEST:
        raise ValueError(f"an expression of more than {LONGEST} characters; write a camera in Python instead")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"{text!r} is no expression: {error.msg}") from None
    _check(tree, text)
    return tree


def _check(node: ast.expr, text: str) -> None:
    match node:
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            parts = [left, right]
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
            parts = [operand]
        case ast.BoolOp(values=values):
            parts = values
        case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in _COMPARE for op in ops):
            parts = [left, *others]
        case ast.IfExp(test=test, body=body, orelse=orelse):
            parts = [test, body, orelse]
        case ast.Call(func=ast.Name(id="card"), args=[ast.Constant(value=str())], keywords=[]):
            parts = []
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in FUNCTIONS:
            parts = args
        case ast.Call(func=ast.Name(id=name)):
            raise ValueError(f"{text!r} calls {name!r}; functions are card, {', '.join(FUNCTIONS)}")
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            pass
        case ast.Name() | ast.Constant(value=bool() | int() | float() | str()):
            parts = []
        case _:
            raise ValueError(f"{text!r} holds {ast.unparse(node)!r}, which an expression may not")
    for part in parts:
        _check(part, text)


def cards_of(text: str) -> Iterator[str]:
    """Give the names of the cards that an expression looks at."""
    for node in ast.walk(parse(text)):
        match node:
            case ast.Call(func=ast.Name(id="card"), args=[ast.Constant(value=str(name))]):
                yield name
            case ast.Name(id=name) if name not in FUNCTIONS and name != "card":
                yield name


def evaluate(text: str, look: Callable[[str], Any]) -> Any:
    """Give the value of an expression.

    Parameters
    ----------
    text : str
    look : callable
        From the name of a card to its value, None if it has none. Texts that read as numbers count as numbers.

    Returns
    -------
    object
        None where it cannot be said: a card has no value, a text stands where a number should, a division by zero. A
        comparison with a card without a value is false.
    """
    try:
        return _value(parse(text), look)
    except (_Unknown, ArithmeticError, TypeError, ValueError):
        return None


def _value(node: ast.expr, look: Callable[[str], Any]) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name) | ast.Call(func=ast.Name(id="card"), args=[ast.Constant(value=str(name))]):
            return _card(look(name))
        case ast.BinOp(left=left, op=op, right=right):
            first, second = _value(left, look), _value(right, look)
            if not (isinstance(first, int | float) and isinstance(second, int | float)):
                raise TypeError("arithmetic is for numbers")
            return _BINARY[type(op)](first, second)
        case ast.UnaryOp(op=op, operand=operand):
            return _UNARY[type(op)](_value(operand, look))
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_value(part, look) for part in values)
        case ast.BoolOp(values=values):
            return any(_value(part, look) for part in values)
        case ast.Compare(left=left, ops=ops, comparators=others):
            try:
                values = [_value(part, look) for part in (left, *others)]
                return all(_COMPARE[type(op)](a, b) for op, a, b in zip(ops, values, values[1:], strict=False))
            except (_Unknown, TypeError):
                return False
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return _value(body if _value(test, look) else orelse, look)
        case ast.Call(func=ast.Name(id=name), args=args):
            return FUNCTIONS[name](*(_value(part, look) for part in args))
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            return [_value(part, look) for part in parts]
    raise AssertionError(f"{ast.unparse(node)} was checked")


def _card(value: Any) -> Any:
    if value is None:
        raise _Unknown
    if isinstance(value, str):
        try:
            return float(value.strip().replace(",", "."))
        except ValueError:
            return value
    return value
