"""Which stars are measured: the sources of the reference frame, and the targets among them.

Identities are ranks by brightness, from one; a target that is no detected source is added behind them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from albireo.frames import FrameError
from albireo.recipe import CatalogueOptions, Place, Target
from albireo.sources import Sources, Transform

if TYPE_CHECKING:
    from astropy.wcs import WCS
    from numpy.typing import NDArray

__all__ = ["FrameView", "make_catalogue"]


@dataclass(frozen=True, eq=False)
class FrameView:
    """How a calibrated frame lies: on the reference, and in its raw image.

    Attributes
    ----------
    transform : Transform
        From pixels of the calibrated reference to pixels of this calibrated frame.
    x0, y0 : float
        Raw column and row of the first calibrated pixel.
    """

    transform: Transform
    x0: float
    y0: float


def make_catalogue(
    found: Sources,
    numbers: Mapping[str, float],
    options: CatalogueOptions,
    targets: Sequence[Target],
    reference: FrameView,
    views: Mapping[str, FrameView],
    wcs: WCS | None,
) -> tuple[Sources, dict[str, int], list[int]]:
    """Choose the sources to measure and name the targets among them.

    Parameters
    ----------
    found : Sources
        Of the reference frame.
    numbers : mapping
        ``sky_rms`` and ``fwhm`` of the reference frame.
    options : CatalogueOptions
    targets : sequence of Target
    reference : FrameView
    views : mapping of str to FrameView
        The frames that places name, by the name they are given.
    wcs : WCS or None
        Celestial coordinates of the raw reference frame.

    Returns
    -------
    Sources
        In pixels of the calibrated reference, brightest first, with identities.
    dict of str to int
        Identity of each target, by name.
    list of int
        Identities of the comparison stars that the targets name.

    Raises
    ------
    FrameError
        If a target lies outside the reference frame's coordinates.
    """
    order = np.argsort(-found.flux, kind="stable")
    bright = found[order]
    good = np.isfinite(bright.flux) & (bright.flux > 0)
    # Howell's equation with the sky under a circle of one FWHM radius; flux and rms are in one unit, electrons.
    area = np.pi * np.where(np.isfinite(bright.fwhm), bright.fwhm, numbers["fwhm"]) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        snr = bright.flux / np.sqrt(np.maximum(bright.flux, 0) + area * numbers["sky_rms"] ** 2)
    good &= ~(snr < options.min_snr)
    kept = np.flatnonzero(good)[: options.max_sources]

    extra_x: list[float] = []
    extra_y: list[float] = []
    chosen: list[int] = kept.tolist()

    def place(spot: Place, what: str) -> int:
        """Give the position of a place in the list of chosen sources, adding it if need be."""
        x, y = _on_reference(spot, reference, views, wcs)
        if not (np.isfinite(x) and np.isfinite(y)):
            raise FrameError(f"{what} has no position on the reference frame; check its coordinates")
        near = _nearest(bright, x, y, options.match_radius)
        if near is not None:
            if near not in chosen:
                chosen.append(near)
            return chosen.index(near) + 1
        for number, (other_x, other_y) in enumerate(zip(extra_x, extra_y, strict=True)):
            if np.hypot(other_x - x, other_y - y) < 0.5:
                return -1 - number
        extra_x.append(x)
        extra_y.append(y)
        return -len(extra_x)

    named: dict[str, int] = {}
    comparisons: list[int] = []
    for target in targets:
        named[target.name] = place(target, f"target {target.name}")
        for number, spot in enumerate(target.comparisons):
            comparisons.append(place(spot, f"comparison star {number + 1} of {target.name}"))
    detected = bright[np.array(chosen, dtype=np.int64)]
    columns = {name: column for name, column in detected.columns().items() if name != "id"}
    for name, column in columns.items():
        added: NDArray[np.float64] | list[float]
        added = (
            extra_x if name == "x" else extra_y if name == "y" else [0 if name == "flags" else np.nan] * len(extra_x)
        )
        columns[name] = np.concatenate([column, np.asarray(added, dtype=column.dtype)])
    sources = Sources.make(**columns, id=np.arange(1, len(chosen) + len(extra_x) + 1))

    def final(identity: int) -> int:
        return identity if identity > 0 else len(chosen) - identity

    return sources, {name: final(i) for name, i in named.items()}, [final(i) for i in comparisons]


def _on_reference(
    spot: Place, reference: FrameView, views: Mapping[str, FrameView], wcs: WCS | None
) -> tuple[float, float]:
    if spot.x is not None and spot.y is not None:
        view = views[spot.frame]
        x, y = view.transform.inverse()(spot.x - view.x0, spot.y - view.y0)
        return float(x), float(y)
    assert wcs is not None, "the engine has checked that there are coordinates"
    x, y = wcs.all_world2pix([[spot.ra, spot.dec]], 0, quiet=True)[0]
    return float(x) - reference.x0, float(y) - reference.y0


def _nearest(sources: Sources, x: float, y: float, radius: float) -> int | None:
    if not len(sources):
        return None
    distance = np.hypot(sources.x - x, sources.y - y)
    best = int(np.argmin(distance))
    return best if distance[best] <= radius else None
