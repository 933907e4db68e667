"""Overscan: the level of the electronics, measured in each frame on pixels that saw no light.

The overscan of an amplifier lies beside its data section (columns read after each row) or above or below it (rows read
after the last). Beside it, every row gets a level of its own, which follows drifts during the readout; above or below,
every column does.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import pi
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from albireo import Amplifier, Frame, FrameError, Frames, PixelwiseCorrection

if TYPE_CHECKING:
    import numpy as np
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

    from albireo import Terms

DROPOUT_SIGMAS = 20.0
"""Zeros are dropouts of the readout where the median of the section is so many standard deviations above zero."""

CLIP_SIGMAS = 4.0
"""Within a row, values farther than this from the row's median do not enter the clipped mean."""

MIN_FRACTION = 0.25
"""A row with less than this part of its overscan pixels left takes its level from its neighbours."""

MAD_TO_SIGMA = 1.482602218505602
"""Standard deviation of a normal distribution whose median absolute deviation is one."""


class Overscan(PixelwiseCorrection, name="overscan"):
    """Subtract the level of the overscan, row by row or as one number, with the variance of that level.

    Saturated and missing overscan pixels are left out, dropouts (zeros in a section far above zero), and pixels more
    than four standard deviations from the median of their row. Levels may differ much between rows, as where an
    amplifier settles in the first rows. A row with too few good pixels takes its level from the rows around it, and
    rows beyond the section take the level of its last row.

    The variance of a level of ``n`` pixels is ``s**2 / n`` for the clipped mean and ``pi / 2 s**2 / n`` for the median,
    with the scatter ``s`` of the pixels about the levels of their rows. All pixels of a row share this error, which a
    variance plane cannot say.

    With ``fit`` the levels of the rows are replaced by a polynomial or a cubic spline through them, whose error is
    smaller by far. A row counts by its number of pixels, and rows that stand off the curve do not shape it, such as
    columns whose charge bled into an overscan above the data. The variance is that of the fit at each row. Rows beyond
    those with a level keep the value of the curve at its end. Where an amplifier settles steeply in its first rows,
    no smooth curve follows it: leave ``fit`` out.

    Runs before `trim`, on the whole raw image.
    """

    looks_at_pixels: ClassVar[bool] = True
    provides = frozenset({"pedestal"})
    excludes = frozenset({"trim", "rebin"})

    statistic: Literal["clipped-mean", "median"] = Field(
        "clipped-mean",
        description=(
            "How the pixels of a row make a level; the clipped mean has the smaller error, and is not tied to whole "
            "counts as the median is."
        ),
    )
    along: Literal["rows", "all"] = Field(
        "rows",
        description=(
            "'rows': a level for each row (for each column where the overscan lies above or below the data); "
            "'all': one level for the amplifier."
        ),
    )
    smooth: int = Field(
        1,
        ge=1,
        description="Running mean of the levels over this many rows; 1 for none. Only for along = 'rows'.",
        json_schema_extra={"unit": "pixel"},
    )
    fit: Literal["none", "polynomial", "spline"] = Field(
        "none",
        description="A smooth curve through the levels of the rows in place of each row's own level. Only for along = "
        "'rows'.",
    )
    degree: int = Field(3, ge=0, le=15, description="Degree of the polynomial.")
    knots: int = Field(8, ge=0, description="Inner knots of the cubic spline, evenly spread over the rows.")

    @model_validator(mode="after")
    def _smooths_in_one_way(self) -> Overscan:
        if self.fit != "none" and (self.along == "all" or self.smooth > 1):
            other = "along = 'all'" if self.along == "all" else "smooth"
            raise ValueError(f"fit = {self.fit!r} and {other} exclude each other; leave one of them out")
        return self

    def terms(self, image: CCDData, frame: Frame, masters: Mapping[str, CCDData]) -> Terms:
        """Measure the levels on the raw image.

        Raises
        ------
        FrameError
            If an amplifier has no overscan section, if the section has no good pixel, or if the image was trimmed.
        """
        import numpy as np

        from albireo import Terms

        problem = self.check(frame, None)
        if problem:
            raise FrameError(problem)
        if image.shape != frame.shape:
            raise FrameError(
                f"{frame.name} has {image.shape[1]} x {image.shape[0]} pixels where its raw image has "
                f"{frame.shape[1]} x {frame.shape[0]}; the overscan is measured on the whole image: put `overscan` "
                "before `trim`"
            )
        if len(frame.amplifiers) == 1:
            level, variance, found = self._levels(image, frame, frame.amplifiers[0])
            return Terms(subtract=level, subtract_variance=variance, pedestal=True, note=f"overscan{found}")
        levels = np.zeros(image.shape, dtype=np.float32)
        variances = np.zeros(image.shape, dtype=np.float32)
        notes = []
        for amplifier in frame.amplifiers:
            level, variance, found = self._levels(image, frame, amplifier)
            notes.append(found)
            for section in (amplifier.data, amplifier.overscan):
                if section is not None:
                    levels[section.slices] = np.broadcast_to(level, image.shape)[section.slices]
                    variances[section.slices] = np.broadcast_to(variance, image.shape)[section.slices]
        note = f"overscan{','.join(notes)}"
        return Terms(subtract=levels, subtract_variance=variances, pedestal=True, note=note)

    def check(self, frame: Frame, group: Frames | None) -> str:
        """Say if this frame has no overscan to measure."""
        if not frame.amplifiers or any(amplifier.overscan is None for amplifier in frame.amplifiers):
            return (
                f"{frame.name} has no overscan section; leave the correction `overscan` out and use `bias` or "
                "`pedestal`, or give the section in the definition of the instrument"
            )
        for amplifier in frame.amplifiers:
            section = amplifier.overscan
            if section is not None and not section.within(frame.shape):
                return (
                    f"the overscan section {section.to_fits()} of {frame.name} reaches beyond its image of "
                    f"{frame.shape[1]} x {frame.shape[0]} pixels; correct it in the definition of the instrument"
                )
        return ""

    def _levels(
        self, image: CCDData, frame: Frame, amplifier: Amplifier
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], str]:
        """Levels and variances of one amplifier, and what to note.

        The shape is (ny, 1), or (1, nx) for an overscan above or below the data.
        """
        import numpy as np

        from albireo import Flag, flags_of

        section = amplifier.overscan
        assert section is not None  # `check` has seen to it
        beside = section.x1 <= amplifier.data.x0 or amplifier.data.x1 <= section.x0
        unusable = flags_of(image)[section.slices] & np.uint16(Flag.SATURATED | Flag.NO_DATA) != 0
        values = np.where(unusable, np.nan, image.data[section.slices].astype(np.float64))
        first, total = (section.y0, image.shape[0]) if beside else (section.x0, image.shape[1])
        lines = values if beside else values.T
        good = np.isfinite(lines)
        if good.any():
            if (zero := lines == 0.0).any():
                centre, scale = _centre(lines)
                if centre > DROPOUT_SIGMAS * scale:  # no level of this camera: a pixel that was not read
                    lines = np.where(zero, np.nan, lines)
            level, number, scatter = _line_levels(lines, self.statistic)
        if not good.any() or not np.isfinite(level).any():
            raise FrameError(
                f"the overscan {section.to_fits()} of {frame.name} has no usable pixels: {good.sum()} of {good.size} "
                "are neither saturated nor missing; is the section right for this camera?"
            )
        mean = float(np.average(level[number > 0], weights=number[number > 0]))
        name = f" of {amplifier.name}" if amplifier.name else ""
        note = f"{name}: {mean:.2f} adu, {scatter:.2f} adu rms"
        noise = scatter * (pi / 2.0 if self.statistic == "median" else 1.0) ** 0.5
        variance = np.where(number > 0, noise**2 / np.maximum(number, 1), np.nan)
        if self.along == "all":
            level, variance = _mean_level(level, variance)
        elif self.fit == "none":
            level, variance = _filled(level, variance, first, total)
            level, variance = _running_mean(level, self.smooth), _running_mean(variance, self.smooth) / self.smooth
        else:
            level, variance = self._curve(level, number, noise, np.arange(total) - float(first), frame.name)
        axis = 1 if beside else 0
        return np.expand_dims(level, axis).astype(np.float32), np.expand_dims(variance, axis).astype(np.float32), note

    def _curve(
        self, level: NDArray[np.float64], number: NDArray[np.int64], noise: float, lines: NDArray[np.float64], name: str
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The smooth curve through the levels of the lines, and its variance."""
        from albireo_calibration.line_fit import curve_through

        assert self.fit != "none"
        order = self.degree if self.fit == "polynomial" else self.knots
        try:
            return curve_through(level, number, noise, lines, self.fit, order)
        except ValueError as error:
            what = "degree" if self.fit == "polynomial" else "number of knots"
            raise FrameError(
                f"no {self.fit} can be laid through the overscan of {name}: {error}; lower the {what} ({order}), or "
                "leave `fit` out"
            ) from error


def _centre(values: NDArray[np.float64]) -> tuple[float, float]:
    """Median and robust standard deviation, which is taken as one count at least."""
    import numpy as np

    centre = float(np.nanmedian(values))
    return centre, max(MAD_TO_SIGMA * float(np.nanmedian(np.abs(values - centre))), 1.0)


def _line_levels(lines: NDArray[np.float64], statistic: str) -> tuple[NDArray[np.float64], NDArray[np.int64], float]:
    """Level of each line of values (NaN is left out) and how many made it; NaN and zero where too few are left.

    The third is the scatter of a value about the level of its line.
    """
    import numpy as np

    ordered = np.sort(lines, axis=1)  # NaN goes last
    count = np.isfinite(ordered).sum(axis=1)
    rows = np.arange(len(ordered))
    upper = np.minimum(count // 2, ordered.shape[1] - 1)
    median = 0.5 * (ordered[rows, np.maximum((count - 1) // 2, 0)] + ordered[rows, upper])
    residual = ordered - median[:, None]
    scale = max(MAD_TO_SIGMA * float(np.nanmedian(np.abs(residual))), 0.5)
    kept = np.abs(residual) <= CLIP_SIGMAS * scale
    number = kept.sum(axis=1)
    enough = number >= max(1.0, MIN_FRACTION * ordered.shape[1])
    offset = np.where(kept, residual, 0.0).sum(axis=1) / np.where(enough, number, 1)
    variance = _pooled_variance(np.where(kept, residual - offset[:, None], 0.0)[enough], number[enough])
    level = median if statistic == "median" else median + offset
    return np.where(enough, level, np.nan), np.where(enough, number, 0), variance**0.5


def _pooled_variance(residual: NDArray[np.float64], number: NDArray[np.int64]) -> float:
    """Variance of values about the means of their lines, all lines together."""
    freedom = float((number - 1).sum())
    return float((residual**2).sum()) / freedom if freedom > 0 else 0.0


def _mean_level(level: NDArray[np.float64], variance: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any]]:
    """One level for all lines: the mean of the levels that stand near their median, as array of length one."""
    import numpy as np

    centre, scale = _centre(level)
    kept = np.abs(level - centre) <= CLIP_SIGMAS * scale
    return np.array([level[kept].mean()]), np.array([variance[kept].sum() / kept.sum() ** 2])


def _filled(
    level: NDArray[np.float64], variance: NDArray[np.float64], first: int, total: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Levels for every line of the image; lines without one take it from the neighbours."""
    import numpy as np

    known = np.flatnonzero(np.isfinite(level))
    lines = np.arange(total) - first
    return np.interp(lines, known, level[known]), np.interp(lines, known, variance[known])


def _running_mean(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Mean over a window centred on each value; at the ends the window is reflected."""
    import numpy as np

    if width == 1:
        return values
    padded = np.pad(values, (width // 2, width - 1 - width // 2), mode="symmetric")
    return np.convolve(padded, np.full(width, 1.0 / width), mode="valid")
