"""Target and comparison stars close up: apertures on the reference image, growth curves, and cuts through the star.

Growth curves and cuts are taken from a stack of the field where the run has one: it shows wings and neighbours that one
exposure hides in its noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from albireo_html._chart import Chart, Panel, Series, draw
from albireo_html._picture import asinh, cuts, ink
from albireo_html._reference import Deep, Reference
from albireo_html._values import number, plural

MOST = 9
"""Stars that are shown, the targets first."""

CUT = 4
"""Stars through which cuts are drawn."""

WIDTHS = 3.0
"""Growth curves end at so many full widths at half maximum, or half as far again as the aperture."""

RING = 6.0
"""Width of the ring beyond that in which the sky is taken, in pixels."""

FINE = 9
"""Points along a side of a pixel, in sums over circles."""


@dataclass(frozen=True)
class Rings:
    """What a star is measured in, in pixels of the reference image; NaN where there is none."""

    aperture: float
    inner: float
    outer: float


@dataclass(frozen=True, eq=False)
class Star:
    """A star with the pixels around it.

    Attributes
    ----------
    x, y : float
        In the image.
    values : ndarray, shape (side, side)
        Pixels above the sky; NaN beyond the image.
    dx, dy : float
        From the centre of the middle pixel to the star.
    """

    name: str
    kind: str
    x: float
    y: float
    values: NDArray[np.float64]
    dx: float
    dy: float


def rings(recipe: Mapping[str, Any], aperture: float, fwhm: float) -> Rings:
    """Say what the drawn light curve is measured in: its aperture, and the ring of the recipe's photometer."""
    for stage in recipe.get("photometry", ()):
        if stage.get("annulus"):
            scale = fwhm if stage.get("unit") == "fwhm" else 1.0
            inner, outer = (scale * float(radius) for radius in stage["annulus"])
            return Rings(aperture, inner, outer)
    return Rings(aperture, float("nan"), float("nan"))


def closeup(
    reference: Reference, deep: Deep, sources: Sequence[Mapping[str, Any]], ring: Rings
) -> dict[str, Any] | None:
    """Draw the targets and comparison stars of a field; None if it has neither, or no star has a shape.

    Parameters
    ----------
    reference : Reference
    deep : Deep
        What growth curves and cuts are taken from.
    sources : sequence of mapping
        ``x``, ``y``, ``kind``, ``label`` of the stars, the most important first.
    ring : Rings
    """
    chosen = [one for one in sources if one["kind"] != "source"][:MOST]
    fwhm = reference.psf.fwhm if reference.psf is not None else float("nan")
    known = [radius for radius in (WIDTHS * fwhm, 1.5 * ring.aperture) if isfinite(radius)]
    if not chosen or not known:
        return None
    far = max(known)
    reach = ceil(max(far + RING, ring.outer if isfinite(ring.outer) else 0.0)) + 1
    data = np.asarray(reference.image.data, dtype=np.float64)
    stars = [_cut_out(data, one, far, reach) for one in chosen]
    drawn = _stars(deep, chosen, far, reach)
    if not drawn:  # a stack of what all frames share may hold none of these stars
        deep, drawn = Deep("the reference image", reference.image, reference.psf), stars
    return {
        "stamps": [_stamp(star, ring, reach) for star in stars],
        "growth": _growth(drawn, deep, ring, far, reach),
        "cuts": _cuts(drawn[:CUT], deep, ceil(far)),
        "of": deep.name,
    }


def _stars(deep: Deep, chosen: Sequence[Mapping[str, Any]], far: float, reach: int) -> list[Star]:
    """Cut out the stars that an image shows."""
    data = np.asarray(deep.image.data, dtype=np.float64)
    moved = ({**one, "x": one["x"] + deep.dx, "y": one["y"] + deep.dy} for one in chosen)
    stars = [_cut_out(data, one, far, reach) for one in moved]
    return [star for star in stars if isfinite(star.values[reach, reach])]


def _cut_out(data: NDArray[np.float64], one: Mapping[str, Any], far: float, reach: int) -> Star:
    x, y = float(one["x"]), float(one["y"])
    column, row = round(x), round(y)
    values = np.full((2 * reach + 1, 2 * reach + 1), np.nan)
    # Where the square reaches beyond the image, it stays empty.
    top, left = row - reach, column - reach
    rows = slice(max(top, 0), max(row + reach + 1, 0))
    columns = slice(max(left, 0), max(column + reach + 1, 0))
    there = data[rows, columns]
    values[rows.start - top :, columns.start - left :][: there.shape[0], : there.shape[1]] = there
    away = _distances(reach, x - column, y - row, 1)[0]
    ring = values[(away > far) & (away <= far + RING) & np.isfinite(values)]
    sky = float(np.median(ring)) if ring.size else 0.0
    return Star(str(one["label"]), str(one["kind"]), x, y, values - sky, x - column, y - row)


def _distances(reach: int, dx: float, dy: float, fine: int) -> NDArray[np.float64]:
    """Distances of points from a star, shape (fine², side, side): points are spread evenly over each pixel."""
    offsets = (np.arange(fine) + 0.5) / fine - 0.5
    grid = np.arange(-reach, reach + 1)
    away = [np.hypot(grid[None, :] + a - dx, grid[:, None] + b - dy) for b in offsets for a in offsets]
    return np.array(away)


def _stamp(star: Star, ring: Rings, reach: int) -> dict[str, Any]:
    """Draw a star with its circles; the first row of pixels is at the foot."""
    small = star.values.astype(np.float32)
    low, high = cuts(small, 3.0)
    finite = small[np.isfinite(small)]
    peak = max(float(finite.max()), high) if finite.size else high
    side = 2 * reach + 1
    circles = [("aperture", ring.aperture), ("ring", ring.inner), ("ring", ring.outer)]
    return {
        "name": star.name,
        "kind": star.kind,
        "picture": ink(asinh(small, low, peak), low, peak),
        "side": side,
        "cx": f"{reach + star.dx + 0.5:.2f}",
        "cy": f"{side - (reach + star.dy + 0.5):.2f}",
        "circles": [(what, f"{radius:.2f}") for what, radius in circles if isfinite(radius)],
        "alt": f"{star.name} at x {star.x:.1f}, y {star.y:.1f}, with the circles it is measured in",
    }


def _sums(values: NDArray[np.float64], away: NDArray[np.float64], radii: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum pixels over circles: each pixel counts by the share of its points inside."""
    order = np.argsort(away, axis=None)
    light = np.cumsum(np.broadcast_to(np.nan_to_num(values), away.shape).ravel()[order]) / len(away)
    inside = np.searchsorted(away.ravel()[order], radii, side="right")
    return np.where(inside > 0, light[np.maximum(inside, 1) - 1], 0.0)


def _growth(stars: Sequence[Star], deep: Deep, ring: Rings, far: float, reach: int) -> dict[str, Any]:
    """Draw the share of a star's light inside a radius, with that of the model and the aperture that is used."""
    radii = np.linspace(0, far, 61)
    series: list[Series] = []
    for star in stars:
        sums = _sums(star.values, _distances(reach, star.dx, star.dy, FINE), radii)
        if not sums[-1] > 0:
            continue
        target = star.kind == "target"
        hue, size = ("gold", 2.4) if target else ("blue", 1.2)
        label = star.name if target else "" if any(one.hue == "blue" for one in series) else "comparison stars"
        series.append(Series(radii, sums / sums[-1], label, hue, style="line", size=size))
    if deep.psf is not None:
        model = deep.psf.stamps(0.0, 0.0, reach)[0]
        sums = _sums(model, _distances(reach, 0.0, 0.0, FINE), radii)
        series.append(Series(radii, sums / sums[-1], "model", "ink", style="line", size=1.2))
    if isfinite(ring.aperture):
        edge, label = np.full(2, ring.aperture), f"aperture, {ring.aperture:.3g} pixel"
        series.append(Series(edge, np.array([0.0, 1.1]), label, "red", style="line", size=1.2))
    whose = f"{plural(len(stars), 'star')} on {deep.name}"
    alt = f"Growth curves of {whose}: the share of the light inside radii up to {far:.1f} pixel."
    panel = Panel(f"light inside the radius, over that inside {far:.3g} pixel", series, 240, bounds=(0.0, 1.1))
    return draw(Chart([panel], "radius (pixel)", alt, bounds=(0.0, far)))


def _cuts(stars: Sequence[Star], deep: Deep, reach: int) -> dict[str, Any]:
    """Draw the row and the column of pixels through each star, with the model scaled to the star."""
    panels = []
    grid = np.arange(-reach, reach + 1, dtype=np.float64)
    for star in stars:
        middle = len(star.values) // 2
        part = slice(middle - reach, middle + reach + 1)
        values = star.values[part, part]
        lines = [("row", "blue", values[reach], grid - star.dx), ("column", "gold", values[:, reach], grid - star.dy)]
        series = [Series(x, y, label, hue, size=6.0) for label, hue, y, x in lines]
        if deep.psf is not None:
            model = deep.psf.stamps(star.dx, star.dy, reach)[0]
            good = np.isfinite(values)
            scaled = model * (np.sum(values[good] * model[good]) / np.sum(model[good] ** 2))
            for line, (_, hue, _, x) in zip((scaled[reach], scaled[:, reach]), lines, strict=True):
                label = "model" if hue == "blue" else ""
                series.append(Series(x, line, label, hue, style="line", size=1.3))
        panels.append(Panel(f"{star.name} ({deep.image.unit})", series, 130, whole=True))
    names = ", ".join(star.name for star in stars)
    shape = "" if deep.psf is None else f" Model: FWHM {number(deep.psf.fwhm)} pixel."
    alt = f"Cuts along the row and the column through {names} on {deep.name}.{shape}"
    return draw(Chart(panels, "distance from the star (pixel)", alt, bounds=(-reach - 0.5, reach + 0.5)))
