"""A list of stars that a person gives: which to measure, by pixel or by celestial coordinates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from albireo.recipe import Place
from albireo.run.folder import RunError

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["UserStar", "read_user_stars"]


@dataclass(frozen=True)
class UserStar:
    """One row of the list.

    Attributes
    ----------
    place : Place
    number : int or None
        Its identity, if the list has a column ``id``.
    row : int
        Counted from one, for messages.
    """

    place: Place
    number: int | None
    row: int


def read_user_stars(path: Path) -> list[UserStar]:
    """Read a list of stars: ECSV, CSV or FITS, with columns ``ra`` and ``dec``, or ``x`` and ``y``.

    Celestial coordinates are ICRS, in degrees unless the columns have a unit. Pixels are zero-based and those of a raw
    frame: the one that a column ``frame`` names, else the first frame of the night. A column ``id`` gives the
    identities; without it the stars are numbered from one as they stand.

    Raises
    ------
    RunError
        If the file cannot be read, lacks columns, or a row has no number where one is needed, or an id twice.
    """
    from astropy.table import Table

    if not path.exists():
        raise RunError(f"there is no list of stars {path}; it is the file under [catalogue]")
    form = {".ecsv": "ascii.ecsv", ".csv": "ascii.csv", ".fits": "fits"}.get(path.suffix.lower())
    try:
        table = Table.read(path, format=form) if form else Table.read(path)
    except Exception as error:
        raise RunError(f"the list of stars {path.name} cannot be read as ECSV, CSV or FITS: {error}") from error
    stars = list(_stars(table, path.name))
    if not stars:
        raise RunError(f"the list of stars {path.name} has no row")
    number, times = Counter(star.number for star in stars).most_common(1)[0]
    if number is not None and times > 1:
        raise RunError(f"the list of stars {path.name} has the id {number} more than once")
    return stars


def _stars(table: Table, name: str) -> Iterator[UserStar]:
    names = {column.lower(): column for column in table.colnames}
    pair = next((pair for pair in (("ra", "dec"), ("x", "y")) if set(pair) <= set(names)), None)
    if pair is None:
        raise RunError(
            f"the list of stars {name} needs columns ra and dec, or x and y; it has "
            f"{', '.join(table.colnames) or 'none'}"
        )
    columns = [_values(table[names[column]], "deg" if pair[0] == "ra" else "pix") for column in pair]
    for row in range(len(table)):
        values = [_number(column[row]) for column in columns]
        if not all(isfinite(value) for value in values):
            raise RunError(f"the list of stars {name} has no {pair[0]} or {pair[1]} in row {row + 1}")
        frame = str(table[names["frame"]][row]) if "frame" in names and pair[0] == "x" else ""
        try:
            place = Place(**dict(zip(pair, values, strict=True)), frame=frame)  # type: ignore[arg-type]
        except ValueError:
            raise RunError(
                f"the list of stars {name} has {pair[0]} {values[0]:g} and {pair[1]} {values[1]:g} in row {row + 1}; "
                "right ascensions go from 0 to 360 degrees and declinations from -90 to 90"
            ) from None
        yield UserStar(place, _identity(table[names["id"]][row], name, row) if "id" in names else None, row + 1)


def _values(column: Any, unit: str) -> Any:
    return column.to(unit) if unit == "deg" and column.unit is not None and hasattr(column, "to") else column


def _number(value: Any) -> float:
    try:
        return float(getattr(value, "value", value))
    except (TypeError, ValueError):
        return float("nan")


def _identity(value: Any, name: str, row: int) -> int:
    number = _number(value)
    if not (isfinite(number) and number == int(number) and 0 < number < 2**31):
        raise RunError(f"the list of stars {name} has the id {value} in row {row + 1}; ids are whole numbers from one")
    return int(number)
