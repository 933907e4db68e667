"""The fields: the reference image of each with its catalogue on top."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo import MASKED, flags_of
from albireo_html._background import background_picture
from albireo_html._bands import Band
from albireo_html._chart import NARROW, WIDE, Axis, place
from albireo_html._closeup import closeup, rings
from albireo_html._picture import asinh, ink, shrink
from albireo_html._reference import Stages, deepest
from albireo_html._values import floats, plural, texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from albireo import Results

SIDE, BUDGET = 900, 3
"""Longest side of a field in pixels, and the number of fields above which they are made smaller."""

CIRCLES = 400
"""Most sources that get a circle, the brightest."""


def fields_section(run: Results, found: list[Band]) -> list[dict[str, Any]]:
    """One block for each field, the images of one field in memory at a time."""
    side = int(SIDE * min(1.0, (BUDGET / max(len(run.fields), 1)) ** 0.5))
    stages = Stages(run)
    recipe = tomllib.loads(run.recipe)
    blocks = []
    for entry in run.fields:
        image = entry.read_image()
        reference = stages.look(image, entry.read_catalogue())
        catalogue = reference.catalogue
        data = np.where(flags_of(image) & np.uint16(MASKED), np.float32(np.nan), image.data)
        unmasked = shrink(np.asarray(image.data, dtype=np.float32), side)
        small = shrink(data, side)
        # A saturated core is masked, but a hole in a bright star would look like a fault.
        small = np.where(np.isfinite(small), small, unmasked)
        low, high = _cuts(small)
        ny, nx = image.shape
        title = " · ".join(filter(None, (entry.target, entry.detector))) or entry.name
        sources = _sources(catalogue, _comparisons(found, entry.name), nx, ny)
        named = [(one["x"], one["y"], one["label"]) for one in sources if one["label"]]
        spots = np.array([[(one["x"] + 0.5) / nx, (one["y"] + 0.5) / ny] for one in sources]).reshape(-1, 2)
        across, up = Axis(-0.5, nx - 0.5, False), Axis(-0.5, ny - 0.5, False)
        aperture = _aperture(found, entry.name)
        fwhm = reference.psf.fwhm if reference.psf is not None else float("nan")
        blocks.append(
            {
                "title": title,
                "reference": entry.reference,
                "count": len(catalogue),
                "shown": len(sources),
                "nx": nx,
                "ny": ny,
                "picture": ink(asinh(small, low, high), low, high),
                "sources": sources,
                "marks": place(named, across, up, (WIDE * ny / nx, NARROW * ny / nx), spots, gap=10.0),
                "background": background_picture(reference),
                "closeup": closeup(
                    reference, deepest(run, entry.name, reference, stages), sources, rings(recipe, aperture, fwhm)
                ),
                "alt": f"The reference frame {entry.reference} with {plural(len(catalogue), 'catalogued source')}"
                + "".join(
                    f"; {one['label']} at x {one['x']:.0f}, y {one['y']:.0f}"
                    for one in sources
                    if one["kind"] == "target"
                ),
            }
        )
    return blocks


def _aperture(found: list[Band], field: str) -> float:
    """Radius that the light curves of a field are drawn for; NaN for a method without one."""
    radii = [
        float(np.nanmedian(band.column("aperture"))) for band in found if band.field == field and band.has_aperture
    ]
    return radii[0] if radii else float("nan")


def _cuts(data: NDArray[np.float32]) -> tuple[float, float]:
    """From one standard deviation below the sky to the brightest thousandth of the pixels, or well above the noise."""
    finite = data[np.isfinite(data)]
    if not finite.size:
        return 0.0, 1.0
    sky = float(np.median(finite))
    noise = max(1.4826 * float(np.median(np.abs(finite - sky))), 1e-6 * abs(sky), 1e-9)
    return sky - noise, max(float(np.percentile(finite, 99.9)), sky + 15 * noise)


def _comparisons(found: list[Band], field: str) -> set[str]:
    """Identities of the comparison stars of a field."""
    ids: set[str] = set()
    for band in found:
        if band.field == field:
            ids.update(star for star, used in zip(band.ids, band.comparisons, strict=True) if used)
    return ids


def _sources(catalogue: Any, comparisons: set[str], nx: int, ny: int) -> list[dict[str, Any]]:
    ids, names = texts(catalogue, "id"), texts(catalogue, "name")
    x, y, flux = floats(catalogue, "x"), floats(catalogue, "y"), floats(catalogue, "flux")
    rank = {"target": 0, "comparison": 1, "source": 2}
    sources = []
    for row in np.argsort(-np.nan_to_num(flux), kind="stable").tolist():
        if not (np.isfinite(x[row]) and np.isfinite(y[row])):
            continue
        kind = "target" if names[row] else "comparison" if ids[row] in comparisons else "source"
        sources.append(
            {
                "id": ids[row],
                "kind": kind,
                "label": names[row] or (ids[row] if kind == "comparison" else ""),
                "title": f"{ids[row]} {names[row]}".strip(),
                "x": float(x[row]),
                "y": float(y[row]),
                "left": f"{100 * (x[row] + 0.5) / nx:.2f}",
                "top": f"{100 * (1 - (y[row] + 0.5) / ny):.2f}",
            }
        )
    return sorted(sources, key=lambda one: rank[str(one["kind"])])[:CIRCLES]
