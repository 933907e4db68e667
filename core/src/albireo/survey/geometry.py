"""Which columns and rows see light: the prescan and overscan, from the pixels and from the cards.

A column is dark if it does not respond: its median hardly differs between a bright and a faint exposure. Dark columns
in one piece at an edge are prescan or overscan. The sections that the header names are taken where the pixels bear them
out, because they follow the window and the binning of each frame; else the measured ones, for images of this size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo.frames import Section
from albireo.survey.findings import Finding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from albireo.survey.samples import Samples

__all__ = ["Profile", "Regions", "dark_edges", "measured_regions", "profile", "sections"]

RESPONSE = 0.01
"""A column is dark if it gains less than this part of the typical gain in counts."""

STEP = 10.0
"""An edge in a single exposure must be this many times the scatter of the columns beyond it."""

FINEST = 0.5
"""Counts are integers: a median tells no scatter below half an adu."""

DRIFT = 2.0
"""How much the level without light may change between two exposures, in adu."""

FAINTEST = 20.0
"""Two exposures must differ by this many times the drift to tell lit columns from dark ones."""

NARROWEST = 3
"""Fewer dark columns than this at an edge are bad pixels, not an overscan."""

NARROWEST_ALONE = 8
"""The same where a single exposure has to tell."""

TRIM_CARDS = ("TRIMSEC", "DATASEC", "TRIM01", "TRIMSEC1", "DATASEC1", "CCDSEC", "TSEC1")
OVERSCAN_CARDS = ("BIASSEC", "BIAS01", "BIASSEC1", "OVERSCAN", "OVRSCSEC", "BSEC1")


@dataclass(frozen=True, eq=False)
class Profile:
    """Response of columns and rows, and what the noise of it is.

    Attributes
    ----------
    columns, rows : ndarray
        Median counts that each gained from the faint to the bright exposure; of a single exposure, counts above its
        darkest edge.
    single : bool
        Whether only one exposure was there.
    """

    columns: NDArray[np.float64]
    rows: NDArray[np.float64]
    single: bool


@dataclass(frozen=True)
class Regions:
    """Where an image is lit.

    Attributes
    ----------
    lit : Section
        The columns and rows that respond to light.
    overscan : Section or None
        The widest strip that does not, without the first columns behind the lit ones, which still hold charge that
        lagged behind.
    left, right, bottom, top : int
        Dark columns and rows at each edge.
    """

    lit: Section
    overscan: Section | None
    left: int
    right: int
    bottom: int
    top: int

    @property
    def dark(self) -> str:
        """For a person: how many columns and rows are dark."""
        parts = [(self.left, "columns left"), (self.right, "right"), (self.bottom, "rows below"), (self.top, "above")]
        said = ", ".join(f"{number} {where}" for number, where in parts if number)
        return said or "none"


def profile(bright: NDArray[np.float32], faint: NDArray[np.float32] | None) -> Profile:
    """Give the response of columns and rows.

    Parameters
    ----------
    bright : ndarray
        An exposure with much light: a flat.
    faint : ndarray, optional
        One with little: a bias.
    """
    single = faint is None
    difference = bright if faint is None else bright - faint
    ny, nx = difference.shape
    # Columns from the middle rows and rows from the middle columns: overscans meet in the corners.
    columns = np.nanmedian(difference[ny // 4 : ny - ny // 4], axis=0).astype(np.float64)
    rows = np.nanmedian(difference[:, nx // 4 : nx - nx // 4], axis=1).astype(np.float64)
    return Profile(columns, rows, single)


def dark_edges(response: NDArray[np.float64], single: bool) -> tuple[int, int]:
    """Count the columns at both ends of a profile that do not respond.

    Parameters
    ----------
    response : ndarray
        Counts gained by each column.
    single : bool
        Whether they are the plain counts of one exposure. Then an edge counts only if the counts jump there, and hardly
        differ among the columns beyond it.

    Returns
    -------
    int
        Dark columns at the beginning.
    int
        At the end.
    """
    if single:
        return _step(response), _step(response[::-1])
    typical = float(np.median(response))
    if typical < FAINTEST * DRIFT:
        return 0, 0
    dark = np.abs(response) < max(RESPONSE * typical, DRIFT)
    if dark.all():
        return 0, 0
    first, last = (int(np.argmax(~line)) for line in (dark, dark[::-1]))
    return first if first >= NARROWEST else 0, last if last >= NARROWEST else 0


def _step(response: NDArray[np.float64]) -> int:
    """Find how many columns at the beginning have one level and are followed by a jump of the counts.

    The outermost column is often odd (the first clocks of a readout) and does not count.
    """
    longest = len(response) // 4
    edge = NARROWEST_ALONE
    if longest <= edge:
        return 0
    while edge < longest:
        strip = response[1:edge]
        scatter = max(FINEST, 1.4826 * float(np.median(np.abs(strip - np.median(strip)))))
        if abs(response[edge] - np.median(strip)) > 5.0 * scatter:
            break
        edge += 1
    beyond = response[edge + 1 : edge + 1 + NARROWEST]  # the first may hold charge that lagged behind
    return edge if edge < longest and beyond.min() - np.median(strip) > STEP * scatter else 0


def measured_regions(found: Profile) -> Regions:
    """Give the lit section and the overscan of a profile."""
    nx, ny = len(found.columns), len(found.rows)
    left, right = dark_edges(found.columns, found.single)
    bottom, top = dark_edges(found.rows, found.single)
    # A pixel binned from lit and dark ones belongs to neither.
    x0, x1 = left + _mixed(found.columns, left), nx - right - _mixed(found.columns[::-1], right)
    y0, y1 = bottom + _mixed(found.rows, bottom), ny - top - _mixed(found.rows[::-1], top)
    lit = Section(y0, y1, x0, x1)
    strips = []
    for size, low, high, response in (
        (right, nx - right, nx, found.columns),
        (left, 0, left, found.columns),
        (top, ny - top, ny, found.rows),
        (bottom, 0, bottom, found.rows),
    ):
        if size:
            low, high = _settled(response, low, high)
            strips.append((high - low, low, high, response is found.columns))
    if not strips:
        return Regions(lit, None, left, right, bottom, top)
    _, low, high, across = max(strips, key=lambda strip: strip[0])
    strip = Section(lit.y0, lit.y1, low, high) if across else Section(low, high, lit.x0, lit.x1)
    return Regions(lit, strip, left, right, bottom, top)


def _mixed(response: NDArray[np.float64], edge: int) -> bool:
    """Whether the first column behind a dark edge has less than half the response of the next."""
    return bool(edge and response[edge] < 0.5 * response[edge + 1])


def _settled(response: NDArray[np.float64], low: int, high: int) -> tuple[int, int]:
    """Leave out the columns of a strip, at both its ends, whose level is not yet that of its middle."""
    strip = response[low:high]
    middle = np.median(strip)
    scatter = max(FINEST, 1.4826 * float(np.median(np.abs(strip - middle))))
    settled = np.abs(strip - middle) <= 5.0 * scatter
    return low + int(np.argmax(settled)), high - int(np.argmax(settled[::-1]))


def sections(cards: Mapping[str, Any], keys: Sequence[str], shape: tuple[int, int]) -> dict[str, Section]:
    """Read the section cards that fit into the image."""
    found = {}
    for key in keys:
        try:
            section = Section.from_fits(str(cards[key]))
        except (KeyError, ValueError):
            continue
        if section.within(shape):
            found[key] = section
    return found


def find_geometry(
    samples: Samples, regions: Regions | None, exposures: str, single: bool
) -> tuple[Finding, Finding, Section, Section | None]:
    """Say which part of the image is lit and which is overscan.

    Parameters
    ----------
    samples : Samples
        Of one size.
    regions : Regions or None
        What the pixels say; None if they say nothing.
    exposures : str
        Which exposures were looked at, for the explanation.
    single : bool
        Whether it was only one. That bears out what a header says, but proves no overscan on its own.

    Returns
    -------
    Finding
        ``trim``; its rule is None where all of the image is lit.
    Finding
        ``overscan``.
    Section
        The lit pixels.
    Section or None
        The overscan.
    """
    sample = samples.files[0]
    whole = Section(0, sample.shape[0], 0, sample.shape[1])
    others = tuple(
        f"{key} {sample.cards[key]!r}: it does not fit an image of {sample.size}"
        for key in (*TRIM_CARDS, *OVERSCAN_CARDS)
        if key in sample.cards and not sections(sample.cards, (key,), sample.shape)
    )
    trims, strips = (sections(sample.cards, keys, sample.shape) for keys in (TRIM_CARDS, OVERSCAN_CARDS))
    if regions is None or (single and (regions.overscan is None or not (trims or strips))):
        return _unmeasured(trims, strips, whole, others, regions, exposures)

    lit, strip = regions.lit, regions.overscan
    by_size = {"sizes": {sample.size: lit.to_fits()}}
    good_trims = {key: s for key, s in trims.items() if _inside(s, lit) and _area(s) > 0.8 * _area(lit)}
    good_strips = {key: s for key, s in strips.items() if _dark(s, regions)}
    said = f"dark in {exposures}: {regions.dark}"
    bad = tuple(
        f"{key} {s.to_fits()}: the pixels say {lit.to_fits()}" for key, s in trims.items() if key not in good_trims
    )
    if good_trims:
        key, lit = next(iter(good_trims.items()))
        trim = Finding(
            "trim", f"{key}, here {lit.to_fits()}", f"the pixels agree ({said})", "measured", key, (*bad, *others)
        )
    elif lit == whole:
        trim = Finding(
            "trim",
            "the whole image",
            f"all columns and rows respond to light ({exposures})",
            "measured",
            None,
            (*bad, *others),
        )
    else:
        trim = Finding("trim", lit.to_fits(), said, "measured", by_size, (*bad, *others))
    bad = tuple(f"{key} {s.to_fits()}: it sees light" for key, s in strips.items() if key not in good_strips)
    if good_strips:
        key, strip = next(iter(good_strips.items()))
        over = Finding("overscan", f"{key}, here {strip.to_fits()}", f"the pixels agree ({said})", "measured", key, bad)
    elif strip is None:
        over = Finding(
            "overscan", "none", f"all columns and rows respond to light ({exposures})", "measured", None, bad
        )
    else:
        rule = {"sizes": {sample.size: strip.to_fits()}}
        over = Finding("overscan", strip.to_fits(), said, "measured", rule, bad)
    return trim, over, lit, strip


def _unmeasured(
    trims: dict[str, Section],
    strips: dict[str, Section],
    whole: Section,
    others: tuple[str, ...],
    regions: Regions | None,
    exposures: str,
) -> tuple[Finding, Finding, Section, Section | None]:
    """Take what the header says, where the pixels do not decide."""
    how = "no two exposures differ enough in light to test it"
    if regions is not None and regions.overscan is not None:
        how += f"; {exposures} has dark edges ({regions.dark}), which may be an overscan: if so, give it"
    elif regions is not None:
        how += f"; {exposures} has no edge as dark as an overscan"
    lit, strip = next(iter(trims.items()), None), next(iter(strips.items()), None)
    trim = Finding("trim", "the whole image", f"no card says otherwise; {how}", "unverified", None, others)
    over = Finding("overscan", "none", f"no card names one; {how}", "unverified")
    if lit is not None:
        trim = Finding("trim", f"{lit[0]}, here {lit[1].to_fits()}", how, "header", lit[0], others)
    if strip is not None:
        over = Finding("overscan", f"{strip[0]}, here {strip[1].to_fits()}", how, "header", strip[0])
    return trim, over, lit[1] if lit else whole, strip[1] if strip else None


def _area(section: Section) -> int:
    return section.shape[0] * section.shape[1]


def _inside(inner: Section, outer: Section) -> bool:
    return inner.y0 >= outer.y0 and inner.y1 <= outer.y1 and inner.x0 >= outer.x0 and inner.x1 <= outer.x1


def _dark(section: Section, regions: Regions) -> bool:
    """Whether a section lies in the dark columns or rows of one edge."""
    lit = regions.lit
    return section.x1 <= lit.x0 or section.x0 >= lit.x1 or section.y1 <= lit.y0 or section.y0 >= lit.y1
