"""The contact sheet: every frame of a night as a thumbnail, with its verdict and the reason.

The page is one file of HTML beside the thumbnails. The facts of the frames stand in it as JSON, and a script draws
those in sight, so that ten thousand frames need no more of the browser than a hundred.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Sequence
from importlib import resources
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from albireo.images import atomic_path
from albireo.results import Results
from albireo.review.raw import RawFrames
from albireo.review.thumbnails import FOLDER, Thumbnail, Thumbnails

if TYPE_CHECKING:
    from astropy.table import Table
    from numpy.typing import NDArray

__all__ = ["contact_sheet", "facts", "page"]

PAGE = "frames.html"

_TEXTS = ("name", "kind", "variant", "filter", "detector", "target", "mid", "fate", "stage", "reason")
_NUMBERS = {
    "exptime": 4,
    "airmass": 3,
    "fwhm": 3,
    "elongation": 3,
    "sky": 4,
    "sky_rms": 3,
    "star_flux": 3,
    "align_rms": 2,
    "sources": 9,
    "saturated": 9,
    "saturation": 6,
}
"""Numbers of a frame that a person judges it by, with the digits that are worth showing."""


def contact_sheet(run: Results, folder: str | Path, which: Literal["all", "left-out"] = "all") -> Path:
    """Write the contact sheet of a run; a report links to it.

    Parameters
    ----------
    run : Results
    folder : path
        Where the page goes: ``frames.html``, with its thumbnails in ``frames/``. Thumbnails that are there are used.
    which : {"all", "left-out"}
        Every frame, or only those that were not used.

    Returns
    -------
    Path
        The page. A frame whose raw file is gone or unreadable is shown without a picture and with the reason.

    Raises
    ------
    OSError
        If the folder cannot be written to.
    """
    target = Path(folder) / PAGE
    thumbnails = Thumbnails(RawFrames(run), target.parent / FOLDER)
    table = run.frames if which == "all" else run.frames[run.frames["fate"] != "used"]
    shown = facts(table, thumbnails.get)
    thumbnails.keep_only({entry["picture"] for entry in shown if "picture" in entry})
    with atomic_path(target) as partial:
        partial.write_text(page(run, shown, {"which": which}), encoding="utf-8")
    return target


def facts(frames: Table, thumbnail: Callable[[str], Thumbnail]) -> list[dict[str, Any]]:
    """Collect what the page says of each frame, in order of time; what is not known is left out.

    Parameters
    ----------
    frames : Table
        Rows of `albireo.Results.frames`.
    thumbnail : callable
        Gives the thumbnail of a frame by its name.
    """
    when = _floats(frames, "mjd_mid")
    frames = frames[np.argsort(np.nan_to_num(when, nan=np.inf), kind="stable")]
    texts = {key: _texts(frames, key) for key in _TEXTS if key in frames.colnames}
    numbers = {key: _floats(frames, key) for key in _NUMBERS if key in frames.colnames}
    found = []
    for row in range(len(frames)):
        entry: dict[str, Any] = {key: column[row] for key, column in texts.items() if column[row]}
        for key, column in numbers.items():
            value = float(column[row])
            # A count says by a negative number that it is not known.
            if isfinite(value) and not (key in ("sources", "saturated") and value < 0):
                entry[key] = _rounded(value, _NUMBERS[key])
        picture = thumbnail(entry["name"])
        if picture.file:
            entry["picture"] = picture.file
        elif picture.reason:
            entry["missing"] = picture.reason
        if picture.levels is not None:
            if isfinite(picture.levels.median):
                entry["level"] = _rounded(picture.levels.median, 5)
            if isfinite(picture.levels.saturated):
                entry["full"] = _rounded(picture.levels.saturated, 2)
        found.append(entry)
    return found


def page(run: Results, shown: Sequence[dict[str, Any]], setting: dict[str, Any]) -> str:
    """Give the page as text.

    Parameters
    ----------
    run : Results
    shown : sequence of dict
        From `facts`.
    setting : dict
        ``which`` frames are shown; under ``review`` what the page needs to take decisions.
    """
    parts = resources.files("albireo.review") / "page"
    text, style, script = ((parts / f"sheet.{kind}").read_text("utf-8") for kind in ("html", "css", "js"))
    title = str(run.summary["title"] or "Untitled run")
    data = json.dumps({"frames": list(shown), "folder": FOLDER, **setting}, separators=(",", ":"), allow_nan=False)
    # A name must not end the script; the other letters mean nothing inside it.
    data = data.replace("<", "\\u003c")
    values = {"TITLE": html.escape(title), "STYLE": style, "SCRIPT": script, "DATA": data}
    return re.sub("@(TITLE|STYLE|SCRIPT|DATA)@", lambda found: values[found[1]], text)


def _texts(table: Table, name: str) -> list[str]:
    column: Any = np.ma.asarray(table[name], dtype=object)
    return ["" if value is None else str(value) for value in column.filled("").tolist()]


def _floats(table: Table, name: str) -> NDArray[np.float64]:
    column: Any = np.ma.asarray(table[name])
    try:
        return np.asarray(column.astype(np.float64).filled(np.nan))
    except ValueError:  # a column that is empty everywhere is read as text
        return np.full(len(table), np.nan)


def _rounded(value: float, digits: int) -> float | int:
    short = float(f"{value:.{digits}g}")
    return int(short) if short == int(short) else short
