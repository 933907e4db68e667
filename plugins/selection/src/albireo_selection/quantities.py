"""What a reduced frame can be judged by: the quantities, their units, and how they follow from what was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import dist, isfinite, nan
from typing import Any

from albireo import Frame

BEST_PERCENTILE = 90.0
"""Stars are compared with this percentile of their group: the clear sky, and not the one frame of luckiest noise."""

Numbers = Mapping[str, float]


@dataclass(frozen=True)
class Result:
    """A reduced frame with the numbers that were measured of it."""

    frame: Frame
    numbers: Numbers

    def __getitem__(self, name: str) -> float:
        return float(self.numbers.get(name, nan))

    @property
    def is_reference(self) -> bool:
        """Whether it is the frame that others are aligned with: nothing was matched, and its stars are its own."""
        return self["matched"] == 0 and self["star_flux"] == 1

    @property
    def is_aligned(self) -> bool:
        """Whether its shift is known."""
        return self.is_reference or self["matched"] > 0

    @property
    def pixel(self) -> float:
        """Arcseconds to a pixel of the calibrated image; NaN if the camera does not say."""
        return self.frame.scale * self.numbers.get("rebin", 1)

    @property
    def centre(self) -> tuple[float, float]:
        """Where the middle of the image of the reference lies in this frame, in pixels."""
        from albireo import Transform

        ny, nx = self.frame.lit.shape
        rebin = self.numbers.get("rebin", 1)
        # Not pixel (0, 0): it moves where the field only turns about the middle.
        transform = Transform.similarity(self["dx"], self["dy"], self["rotation"], self["scale"])
        x, y = transform(0.5 * nx / rebin, 0.5 * ny / rebin)
        return float(x), float(y)


@dataclass(frozen=True)
class Quantity:
    """One thing to judge frames by.

    Attributes
    ----------
    label : str
        What an observer calls it.
    unit : str
    worse : int
        1 where large values are bad, -1 where small ones are.
    value : callable
        From a frame to the value; NaN if it is not known, None where it does not apply to this frame. Transparency and
        jump follow from several frames, and are put in by `measure`.
    missing : str
        Why the value may be unknown.
    """

    label: str
    unit: str
    worse: int
    value: Callable[[Result], float | None] | None
    missing: str


NO_STAR = "no star could be measured"
NOT_ALIGNED = "it was not aligned"
NO_LIGHT = "no star of the reference was found in it, or its exposure time is not known"
NO_SCALE = f"{NO_STAR}, or the camera states no pixel scale"

QUANTITIES: dict[str, Quantity] = {
    "fwhm": Quantity("FWHM", "pixel", 1, lambda r: r["fwhm"], NO_STAR),
    "seeing": Quantity("seeing", "arcsec", 1, lambda r: r["fwhm"] * r.pixel, NO_SCALE),
    "elongation": Quantity("elongation", "", 1, lambda r: r["elongation"], NO_STAR),
    "sky": Quantity("sky", "electron/pixel", 1, lambda r: r["sky"], "there is no estimate of the background"),
    "sky_gradient": Quantity(
        "sky gradient", "electron/pixel", 1, lambda r: r["sky_gradient"], "there is no estimate of the background"
    ),
    "sources": Quantity("number of sources", "", -1, lambda r: r["sources"], "no sources were looked for"),
    "transparency": Quantity("transparency", "", -1, None, NO_LIGHT),
    "jump": Quantity("jump", "pixel", 1, None, NOT_ALIGNED),
    "jump_arcsec": Quantity("jump", "arcsec", 1, None, f"{NOT_ALIGNED}, or the camera states no pixel scale"),
    "residual": Quantity(
        "alignment residual",
        "pixel",
        1,
        lambda r: None if r.is_reference else r["align_rms"] if r.is_aligned else nan,
        NOT_ALIGNED,
    ),
    "saturated": Quantity("number of saturated pixels", "", 1, lambda r: r["saturated"], "it was not counted"),
    "depth": Quantity(
        "depth",
        "",
        -1,
        # Signal to noise of a faint star: the noise-equivalent area of a profile grows with the square of its width.
        lambda r: r["star_flux"] / (r["fwhm"] * r["sky_rms"]) if r["fwhm"] * r["sky_rms"] > 0 else nan,
        "its stars or its sky could not be measured",
    ),
}


def groups(results: Sequence[Result], *more: Callable[[Result], Any]) -> list[list[Result]]:
    """Part frames into those that can be compared: one field, detector and filter, in order of time."""
    parts: dict[tuple[Any, ...], list[Result]] = {}
    for result in sorted(results, key=_when):
        frame = result.frame
        key = (result.numbers.get("field"), frame.instrument, frame.target, frame.detector, *(f(result) for f in more))
        parts.setdefault(key, []).append(result)
    return list(parts.values())


def by_filter(result: Result) -> str:
    """Give the filter, to part frames by."""
    return result.frame.filter


def by_exposure(result: Result) -> str:
    """Give the exposure time to two digits, to part frames by: a shutter is not exact."""
    return f"{result.frame.exptime:.2g}"


def measure(results: Sequence[Result], name: str) -> dict[str, float | None]:
    """Give the value of a quantity for each frame, by its name."""
    value = QUANTITIES[name].value
    if value is not None:
        return {result.frame.name: value(result) for result in results}
    if name == "transparency":
        return _transparency(results)
    return _jumps(results, arcsec=name == "jump_arcsec")


def _transparency(results: Sequence[Result]) -> dict[str, float | None]:
    """Light of the stars per second, against the best of the group."""
    import numpy as np

    found: dict[str, float | None] = {}
    for group in groups(results, by_filter):
        rates = np.array([r["star_flux"] / r.frame.exptime if r.frame.exptime > 0 else nan for r in group])
        known = rates[np.isfinite(rates)]
        best = float(np.percentile(known, BEST_PERCENTILE)) if known.size else nan
        found |= {r.frame.name: float(rate / best) if best > 0 else nan for r, rate in zip(group, rates, strict=True)}
    return found


def _jumps(results: Sequence[Result], *, arcsec: bool) -> dict[str, float | None]:
    """How far the stars lie from where they lay in the nearer of the two frames next in time, of whatever filter.

    Two, because a good frame after one that lies off is near its other neighbour; at an end both lie on one side.
    """
    found: dict[str, float | None] = {}
    for group in groups(results):
        found |= {result.frame.name: nan for result in group}
        aligned = [result for result in group if result.is_aligned]
        places = [result.centre for result in aligned]
        for row, result in enumerate(aligned):
            first = min(max(0, row - 1), max(0, len(aligned) - 3))
            others = [places[other] for other in range(first, min(first + 3, len(aligned))) if other != row]
            nearer = min((dist(places[row], other) for other in others), default=None)
            found[result.frame.name] = nearer if nearer is None or not arcsec else nearer * result.pixel
    return found


def _when(result: Result) -> tuple[bool, float, str]:
    """Order of time, unknown times last in order of names."""
    start = result.frame.start
    return not isfinite(start), start if isfinite(start) else 0.0, result.frame.name
