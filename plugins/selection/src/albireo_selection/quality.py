"""Selection by quality: what the reduction found out about each science frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, isnan
from typing import Literal

from pydantic import Field, model_validator

from albireo import Frames, Selection, Selector
from albireo_selection.chosen import without
from albireo_selection.outliers import FEWEST, deviations
from albireo_selection.quantities import QUANTITIES, Quantity, Result, by_exposure, by_filter, groups, measure

Comparable = Literal["fwhm", "elongation", "sky", "sky_gradient", "sources", "transparency", "jump", "residual"]
Merit = Literal["depth", "fwhm", "elongation", "sky", "sources", "transparency", "residual"]


class Quality(Selector, name="quality"):
    """Drop science frames by what was measured on them after calibration: limits, outliers, and the best of each group.

    Limits come first, then outliers among what is left, then the best of that. A group are frames of one field, that is
    frames that were aligned onto the same reference, of one detector and filter.

    Transparency is the light of the stars in the frame over that in the reference, per second, relative to the 90th
    percentile of the group; it holds extinction as well as clouds, and is good to some per cent. A jump is how far the
    middle of the field lies from where it lay in the two frames next in time, in any filter, whichever is nearer: a
    frame that lies off is found, and a lasting step is none. The reference has no residual.

    An outlier lies more than so many standard deviations, to the bad side, from what its neighbours in time lead to
    expect: from a straight line through them that no single frame can turn, so that airmass and moonlight, which change
    slowly, make none. The standard deviation is 1.4826 times the median absolute deviation of the frames of the group
    with the same exposure time. Deviations below ``tolerance`` are never outliers. Clouds over many frames are no
    outliers; set limits. Fewer than five frames are not compared, and neither is a frame without a value.

    ``best`` and ``best_fraction`` rank by one quantity, or by depth: the signal-to-noise ratio of a faint star, which
    goes as the light of the stars over FWHM and the noise of the sky (King 1983, PASP 95, 163).
    """

    judges_results = True

    filter: str = Field("", description="Judge only frames in this filter; empty for all.")
    max_fwhm: float | None = Field(
        None, gt=0, description="Largest width of stars.", json_schema_extra={"unit": "pixel"}
    )
    max_seeing: float | None = Field(
        None,
        gt=0,
        description="Largest width of stars on the sky, for cameras that state their scale.",
        json_schema_extra={"unit": "arcsec"},
    )
    max_elongation: float | None = Field(None, ge=1, description="Largest ratio of the axes of stars.")
    max_sky: float | None = Field(
        None,
        description="Highest level of the sky in the whole exposure.",
        json_schema_extra={"unit": "electron/pixel"},
    )
    max_sky_gradient: float | None = Field(
        None,
        gt=0,
        description="Largest difference of the sky over the image, from the 5th to the 95th percentile.",
        json_schema_extra={"unit": "electron/pixel"},
    )
    min_sources: int | None = Field(None, ge=1, description="Smallest number of sources.")
    min_transparency: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Least light of the stars.",
        json_schema_extra={"unit": "fraction of the best"},
    )
    max_jump: float | None = Field(
        None,
        gt=0,
        description="Largest distance of the field from where it lay in the frames next in time.",
        json_schema_extra={"unit": "pixel"},
    )
    max_jump_arcsec: float | None = Field(
        None,
        gt=0,
        description="The same on the sky, for cameras that state their scale.",
        json_schema_extra={"unit": "arcsec"},
    )
    max_residual: float | None = Field(
        None,
        gt=0,
        description="Largest scatter of the matched stars about the alignment.",
        json_schema_extra={"unit": "pixel"},
    )
    max_saturated: int | None = Field(None, ge=0, description="Largest number of saturated pixels.")
    outliers: float | None = Field(
        None,
        gt=0,
        description="Drop frames that lie farther than this from what is expected.",
        json_schema_extra={"unit": "standard deviation"},
    )
    outliers_of: list[Comparable] = Field(
        ["fwhm", "elongation", "sky", "sources", "transparency"],
        min_length=1,
        description="By which quantities to look for outliers.",
    )
    neighbours: int = Field(
        6,
        ge=0,
        description="How many frames nearest in time say what is expected; zero for the median of the whole group.",
    )
    tolerance: float = Field(
        0.1,
        ge=0,
        description="Deviations up to this are never outliers.",
        json_schema_extra={"unit": "fraction of what is expected"},
    )
    best: int | None = Field(None, ge=1, description="How many frames of each group to keep at most.")
    best_fraction: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Which part of each group to keep, rounded up to whole frames.",
        json_schema_extra={"unit": "fraction"},
    )
    by: Merit = Field("depth", description="By what to rank for best and best_fraction.")
    unknown: Literal["drop", "keep"] = Field(
        "drop", description="What to do with a frame that has no value for a limit, or to rank it by."
    )

    @model_validator(mode="after")
    def _possible(self) -> Quality:
        if not (self._limits() or self.outliers or self.best or self.best_fraction):
            raise ValueError("nothing to select by: give a limit such as max_fwhm, or outliers, best or best_fraction")
        if self.best is not None and self.best_fraction is not None:
            raise ValueError("give either best or best_fraction")
        if 0 < self.neighbours < FEWEST - 1:
            raise ValueError(
                f"neighbours = {self.neighbours}: a line needs {FEWEST - 1} or more, or zero for the median"
            )
        return self

    def select(self, frames: Frames, measured: Mapping[str, Mapping[str, float]]) -> Selection:
        """Keep the good frames; the reasons for the others have their numbers."""
        judged = [f for f in frames if f.kind == "science" and (not self.filter or f.filter == self.filter)]
        results = [Result(frame, measured.get(frame.name, {})) for frame in judged]
        reasons = self._beyond_limits(results)
        results = [result for result in results if result.frame.name not in reasons]
        if self.outliers is not None:
            reasons |= self._outliers(results, self.outliers)
            results = [result for result in results if result.frame.name not in reasons]
        if self.best is not None or self.best_fraction is not None:
            reasons |= self._not_best(results)
        return without(frames, reasons)

    def _limits(self) -> list[tuple[str, str, float]]:
        """Give the limits that are set: option, quantity, value."""
        options = [(f"{'max' if quantity.worse > 0 else 'min'}_{name}", name) for name, quantity in QUANTITIES.items()]
        given = self.model_dump(exclude_none=True)
        return [(option, name, given[option]) for option, name in options if option in given]

    def _beyond_limits(self, results: Sequence[Result]) -> dict[str, str]:
        reasons: dict[str, list[str]] = {}
        for option, name, limit in self._limits():
            quantity = QUANTITIES[name]
            for frame, value in measure(results, name).items():
                if value is None:
                    continue
                if isnan(value):
                    if self.unknown == "drop":
                        said = (
                            f"its {quantity.label} is not known ({quantity.missing}), so that {option} cannot be held"
                        )
                        reasons.setdefault(frame, []).append(said)
                elif quantity.worse * (value - limit) > 0:
                    side = "above" if quantity.worse > 0 else "below"
                    reasons.setdefault(frame, []).append(f"{_told(quantity, value)} is {side} {option} = {limit:g}")
        return {frame: "; ".join(said) for frame, said in reasons.items()}

    def _outliers(self, results: Sequence[Result], sigmas: float) -> dict[str, str]:
        import numpy as np

        reasons: dict[str, list[str]] = {}
        for name in self.outliers_of:
            quantity = QUANTITIES[name]
            values = measure(results, name)
            for group in groups(results, by_filter, by_exposure):
                known = [(r.frame, v) for r in group if (v := values[r.frame.name]) is not None and not isnan(v)]
                found = np.array([value for _, value in known], dtype=np.float64)
                times = np.array([frame.start for frame, _ in known], dtype=np.float64)
                series = deviations(times, found, self.neighbours)
                if not series.sigma:
                    continue
                usual = "expected from the frames around it" if self.neighbours else "that is the median of its group"
                side = "above" if quantity.worse > 0 else "below"
                for (frame, value), expected in zip(known, series.expected, strict=True):
                    beyond = quantity.worse * (value - expected)
                    if beyond > max(sigmas * series.sigma, self.tolerance * abs(expected)):
                        reasons.setdefault(frame.name, []).append(
                            f"{_told(quantity, value)} is {beyond / series.sigma:.1f} sigma {side} the "
                            f"{_number(expected)} {usual} (sigma {_number(series.sigma)}), beyond outliers = {sigmas:g}"
                        )
        return {frame: "; ".join(said) for frame, said in reasons.items()}

    def _not_best(self, results: Sequence[Result]) -> dict[str, str]:
        quantity = QUANTITIES[self.by]
        values = measure(results, self.by)
        reasons: dict[str, str] = {}
        for group in groups(results, by_filter):
            ranked: list[tuple[float, str]] = []
            for name in (result.frame.name for result in group):
                value = values[name]
                # A reference lies on itself without residual.
                value = 0.0 if value is None else value
                if not isnan(value):
                    ranked.append((quantity.worse * value, name))
                elif self.unknown == "drop":
                    reasons[name] = (
                        f"its {quantity.label} is not known ({quantity.missing}), so that it cannot be ranked"
                    )
            take = self.best if self.best_fraction is None else ceil(self.best_fraction * len(ranked) - 1e-9)
            for rank, (_, name) in enumerate(sorted(ranked), start=1):
                if take is not None and rank > take:
                    reasons[name] = (
                        f"{_told(quantity, values[name] or 0.0)} makes it number {rank} of {len(ranked)} in its group; "
                        f"the best {take} are kept"
                    )
        return reasons


def _told(quantity: Quantity, value: float) -> str:
    """Give a value in words."""
    return f"{quantity.label} {_number(value)} {quantity.unit}".rstrip()


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
