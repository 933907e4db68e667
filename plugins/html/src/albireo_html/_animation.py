"""The night of a field as a moving picture: thumbnails of its frames, with circles where its stars should be.

What aligns well shows circles that stay on their stars while the field drifts; what does not is seen at a glance. The
title has the colour of what became of the frame.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo import Transform, atomic_path, frame_thumbnails
from albireo_html._bands import Band
from albireo_html._values import floats, texts

if TYPE_CHECKING:
    from astropy.table import Table
    from numpy.typing import NDArray
    from PIL.Image import Image

    from albireo import Results

FOLDER = "alignment"
"""Where the pictures lie, beside the page."""

ZOOM = 2
"""Pixels of the picture for one of a thumbnail, so that letters and circles can be read."""

STARS = 25
"""Stars that get a circle: targets and comparison stars, then the brightest."""

TITLE, RADIUS = 18, 7
"""Height of the title and radius of the circles, in pixels of the picture."""

SHOWN = 140
"""Milliseconds that each frame is shown."""

COLOURS = {
    "paper": (14, 20, 29),
    "reference": (127, 180, 238),
    "used": (95, 191, 138),
    "dropped": (229, 172, 72),
    "failed": (239, 122, 109),
    "target": (229, 172, 72),
    "comparison": (127, 180, 238),
    "source": (95, 191, 138),
}


@dataclass(frozen=True)
class Marks:
    """The stars of a field on its reference image, the most important first, and the size of that image in pixels."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    kinds: Sequence[str]
    shape: tuple[int, int]


def write_animations(
    run: Results, folder: Path, most: int, found: Sequence[Band], shapes: Mapping[str, tuple[int, int]]
) -> list[dict[str, Any]]:
    """Write a GIF for every field below ``folder``, and remove those of an earlier run.

    Parameters
    ----------
    run : Results
    folder : Path
        Of the page.
    most : int
        Frames in all pictures together; of a longer night every so many are shown, and the reference.
    found : sequence of Band
        Says which stars are comparison stars.
    shapes : mapping
        Rows and columns of the reference images, by field.

    Returns
    -------
    list of dict
        ``title``, ``path`` (relative to the page), ``shown`` and ``total`` frames, and whether there are ``circles``.
    """
    written: list[dict[str, Any]] = []
    fields = texts(run.frames, "field")
    for number, entry in enumerate(run.fields if most else ()):
        mine = np.array([name == entry.name for name in fields], dtype=bool)
        frames = run.frames[mine]
        frames = frames[np.argsort(floats(frames, "mjd_mid"), kind="stable")]
        step = max(1, -(-len(frames) * len(run.fields) // most))
        names = texts(frames, "name")
        picked = [row for row, name in enumerate(names) if row % step == 0 or name == entry.reference]
        pictures = frame_thumbnails(run, folder, [names[row] for row in picked])
        picked = [row for row in picked if names[row] in pictures]
        if len(picked) < 2:
            continue
        marks = _marks(entry.read_catalogue(), found, entry.name, shapes[entry.name])
        path = Path(FOLDER) / f"{number}-{re.sub(r'[^A-Za-z0-9]+', '_', entry.name)}.gif"
        fates = [
            "reference" if name == entry.reference else fate
            for name, fate in zip(names, texts(frames, "fate"), strict=False)
        ]
        aligned = np.column_stack([floats(frames, name) for name in ("dx", "dy", "rotation", "scale")])
        drawn = []
        for row in picked:
            fate = "reference" if names[row] == entry.reference else fates[row]
            title = f"{row + 1}/{len(frames)} {fate} {Path(names[row]).name}"
            drawn.append(_draw(pictures[names[row]], title, fate, aligned[row], marks))
        with atomic_path(folder / path) as partial:
            first, *others = (picture for picture, _ in drawn)
            first.save(partial, "GIF", save_all=True, append_images=others, duration=SHOWN, loop=0, optimize=False)
        written.append(
            {
                "title": " · ".join(filter(None, (entry.target, entry.detector))) or entry.name,
                "path": path.as_posix(),
                "width": drawn[0][0].width,
                "height": drawn[0][0].height,
                "shown": len(picked),
                "total": len(frames),
                "circles": any(circles for _, circles in drawn),
            }
        )
    kept = {folder / one["path"] for one in written}
    for path in (folder / FOLDER).glob("*.gif"):
        if path not in kept:
            path.unlink(missing_ok=True)
    return written


def _marks(catalogue: Table, found: Sequence[Band], field: str, shape: tuple[int, int]) -> Marks:
    comparisons = {star for band in found if band.field == field for star in np.array(band.ids)[band.comparisons]}
    pairs = zip(texts(catalogue, "name"), texts(catalogue, "id"), strict=True)
    kinds = np.array(
        ["target" if name else "comparison" if star in comparisons else "source" for name, star in pairs], dtype=object
    )
    rank = np.array([("target", "comparison", "source").index(kind) for kind in kinds])
    order = np.lexsort((-np.nan_to_num(floats(catalogue, "flux")), rank))[:STARS]
    return Marks(floats(catalogue, "x")[order], floats(catalogue, "y")[order], kinds[order].tolist(), shape)


def _draw(path: Path, title: str, fate: str, aligned: NDArray[np.float64], marks: Marks) -> tuple[Image, bool]:
    """Draw one frame, and say whether circles could be placed."""
    from PIL import Image, ImageDraw

    with Image.open(path) as opened:
        indices, palette = np.asarray(opened), list(opened.getpalette() or ())
    start = len(palette) // 3
    pen = {name: start + place for place, name in enumerate(COLOURS)}
    height, width = indices.shape
    canvas = Image.new("P", (max(width * ZOOM, 220), height * ZOOM + TITLE), pen["paper"])
    canvas.putpalette(palette + [part for colour in COLOURS.values() for part in colour])
    large = Image.fromarray(indices.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1))
    canvas.paste(large, (0, TITLE))
    draw = ImageDraw.Draw(canvas)
    draw.text((4, 3), title[: canvas.width // 6 - 1], fill=pen.get(fate, pen["dropped"]))
    scale = _scale(marks.shape, (height, width))
    places = _places(aligned, marks)
    if scale is None or places is None:
        return canvas, False
    for x, y, kind in zip(*places, marks.kinds, strict=True):
        if np.isfinite(x) and np.isfinite(y):
            cx, cy = (x + 0.5) * scale * ZOOM, (height - (y + 0.5) * scale) * ZOOM + TITLE
            draw.ellipse((cx - RADIUS, cy - RADIUS, cx + RADIUS, cy + RADIUS), outline=pen[kind])
    return canvas, True


def _places(aligned: NDArray[np.float64], marks: Marks) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Give the places of the stars in a frame by its shift, rotation and scale; None if it was not aligned."""
    if not np.isfinite(aligned).all():
        return None
    return Transform.similarity(*aligned.tolist())(marks.x, marks.y)


def _scale(shape: tuple[int, int], small: tuple[int, int]) -> float | None:
    """Pixels of a thumbnail for one of the calibrated image; None if the image is not the whole of the raw frame.

    A thumbnail averages square blocks of raw pixels and leaves out what fills no block; a calibrated image may be
    binned.
    """
    for rebin in (1, 2, 3, 4):
        whole = [side * rebin for side in shape]
        block = max(1, round(max(whole) / max(small)))
        for step in (block, block + 1):
            if [side // step for side in whole] == list(small):
                return rebin / step
    return None
