"""The curve step: rebin all light curves of a field in time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from albireo import CurveStep

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from albireo import Ensemble

JOINT = ".."
"""Between the names of the first and the last frame of a bin."""

DOUBTFUL = 1.5
"""If points of most stars scatter by more than so many errors within their bins, the observer is told."""

MEANS, ERRORS = ("transparency",), ("transparency_err", "relative")
"""Notes of earlier steps with one number a frame: those that are averaged, and errors of independent frames."""


class Bin(CurveStep, name="bin"):
    """Rebin light curves in time: one point for all exposures that lie within a bin, never across a gap.

    Bins are the same for all stars; a star that was not measured in some exposures of a bin is the mean of the others.
    With ``weighted`` a point counts by the inverse square of its error; where errors grow with the flux, as for a star
    that varies much within a bin, ``mean`` is the better choice. The errors of bins follow from those of their points.
    They are held against the scatter of the points within their bins, and the run says so if points of most stars
    scatter by more than 1.5 times their errors; that is asked of relative fluxes only, because a cloud is no noise.

    Place it after ``differential``: before, it joins exposures through different clouds.
    """

    width: float | None = Field(
        None,
        gt=0,
        description="Length of a bin. Without it and without points: 300 s.",
        json_schema_extra={"unit": "s"},
    )
    points: int | None = Field(None, ge=2, description="Exposures of a bin, instead of its length.")
    method: Literal["weighted", "mean", "sum"] = Field(
        "weighted", description="Mean with weights by the errors, plain mean, or sum."
    )
    gap: float = Field(
        1.5,
        gt=0,
        description="No bin spans a step between exposures of more than this many median steps; inf lets bins span "
        "any gap.",
    )

    @model_validator(mode="after")
    def _is_one(self) -> Bin:
        if self.width is not None and self.points is not None:
            raise ValueError("a bin has either a width or a number of points: leave one of the two out")
        return self

    def apply(self, curves: Ensemble) -> Ensemble:
        """Rebin.

        Parameters
        ----------
        curves : Ensemble
            In order of time. NaN are left out of their bin.

        Returns
        -------
        Ensemble
            A row for each bin. ``time``, ``airmass``, ``fwhm``, ``gain``, ``read_noise``, ``digitisation`` and
            ``dark`` are means over the exposures of the bin; ``exptime`` is their sum. ``x``, ``y``, ``sky`` and
            ``area`` are means over the exposures in which the star counts, ``sky_err`` the error of such a mean (with
            ``sum``, the area is the sum), ``flags`` all bits of these exposures together. ``frames`` has the names of
            the first and the last exposure with two dots between them, of a single exposure its own name. ``meta``
            gains ``bin``: ``frames`` (number of exposures in each bin) and ``excess`` (identity to the scatter of the
            points within bins, in units of their errors). Numbers a frame that earlier steps noted are averaged.
        """
        import numpy as np

        from albireo import SECONDS_PER_DAY
        from albireo_timing.rebinning import combine, excess, sums, time_bins

        width = None if self.points else (self.width or 300.0) / SECONDS_PER_DAY
        index = time_bins(curves.time, width, self.points, self.gap)
        first = np.flatnonzero(np.r_[True, np.diff(index) > 0]) if len(index) else np.empty(0, dtype=np.int64)
        number = np.diff(np.r_[first, len(index)]) if len(index) else first
        good = np.isfinite(curves.flux) & np.isfinite(curves.flux_err) & (curves.flux_err > 0)
        flux, error, n = combine(index, curves.flux, curves.flux_err, self.method)
        scatter = excess(index, curves.flux, curves.flux_err)

        def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
            there = np.isfinite(values)
            with np.errstate(invalid="ignore", divide="ignore"):
                result: NDArray[np.float64] = sums(index, np.where(there, values, 0.0)) / sums(index, there.astype(int))
            return result

        def mean_of_good(values: NDArray[np.float64]) -> NDArray[np.float64]:
            # Where nothing counts, the star's place and sky are still those of all exposures of the bin.
            return np.where(n > 0, mean(np.where(good, values, np.nan)), mean(values))

        def error_of_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
            with np.errstate(invalid="ignore", divide="ignore"):
                return np.sqrt(mean_of_good(values**2) / np.maximum(n, 1))

        area = mean_of_good(curves.area)
        bits = np.where(good | (n == 0)[index], curves.flags, 0).astype(np.uint16)
        known = {
            int(star): float(value) for star, value in zip(curves.sources, scatter, strict=True) if np.isfinite(value)
        }
        notes = {step: _binned(note, index, number) for step, note in curves.meta.items()}
        result = curves.replace(
            frames=np.array(
                [
                    f"{curves.frames[a]}{JOINT}{curves.frames[a + k - 1]}" if k > 1 else str(curves.frames[a])
                    for a, k in zip(first, number, strict=True)
                ],
                dtype=str,
            ),
            time=mean(curves.time),
            exptime=sums(index, curves.exptime),
            **{
                name: mean(getattr(curves, name))
                for name in ("airmass", "fwhm", "gain", "read_noise", "digitisation", "dark")
            },
            flux=flux,
            flux_err=error,
            x=mean_of_good(curves.x),
            y=mean_of_good(curves.y),
            sky=mean_of_good(curves.sky),
            sky_err=error_of_mean(curves.sky_err),
            area=area * np.maximum(n, 1) if self.method == "sum" else area,
            flags=np.bitwise_or.reduceat(bits, first, axis=0) if len(first) else bits,
            meta={**notes, "bin": {"frames": number.tolist(), "excess": known}},
        )
        typical = float(np.median(list(known.values()))) if known else 1.0
        if curves.unit == "" and typical > DOUBTFUL:
            return result.warned(
                f"within bins, points of a typical star scatter by {typical:.1f} times their errors: the errors of "
                "the bins are too small by that factor at least"
            )
        return result


def _binned(note: Any, index: NDArray[np.int64], number: NDArray[np.int64]) -> Any:
    """Join what an earlier step noted for each frame."""
    import numpy as np

    if not isinstance(note, Mapping):
        return note
    joined = dict(note)
    for key in (*MEANS, *ERRORS):
        values = joined.get(key)
        if isinstance(values, list) and len(values) == len(index):
            known = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
            parts = np.split(known, np.cumsum(number)[:-1]) if len(number) else []
            made = [
                float(np.mean(part)) if key in MEANS else float(np.sqrt(np.sum(part**2)) / len(part)) for part in parts
            ]
            joined[key] = [value if np.isfinite(value) else None for value in made]
    return joined
