"""The master dark for any exposure time: a straight line in exposure time for each pixel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from albireo import FrameError, Frames, MasterBuilder
from albireo_combine.exposure_times import by_exposure

if TYPE_CHECKING:
    import numpy as np
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

    from albireo import Stack
    from albireo_combine.dark_noise import DarkNoise

CHUNK = 1 << 15
"""Pixels fitted at a time."""

SURE = 5.0
"""Standard deviations from which on a pixel does not follow a line."""

LEAST_VARIANCE = 1e-6
"""In the unit of the stack squared, for cameras that claim to have no noise."""

WORTH_A_WORD = 1e-3
"""Fraction of pixels that do not follow a line, above which a person should know."""


class DarkFit(MasterBuilder, name="dark-fit"):
    """Fit the dark of each pixel as a straight line in exposure time, from darks of several exposure times.

    Any exposure time then has its dark, with the error it deserves: ``D(t) = D(T0) + RATE (t - T0)`` with the variance
    ``V + 2 (t - T0) RATECOV + (t - T0)**2 RATEVAR``. Frames may hold their bias (which becomes the dark of zero
    seconds) or not. Each frame counts by its expected noise at its level; `albireo_combine.line` says how, and how
    cosmic rays are rejected. The noise comes from the difference of two frames of one exposure time, or else from what
    is known of the camera; if nothing is, all exposure times weigh by their number of frames and errors are unknown
    (NaN).

    The data of the result are those at T0, the weighted mean exposure time, and the variance theirs; the planes RATE
    (per second), RATEVAR and RATECOV hold the rate, its variance and its covariance with the data, COUNT and REJECTED
    the numbers of values used and rejected. A pixel with values of fewer than two exposure times is NaN and flagged
    `Flag.NO_DATA`. The result does not depend on the order of the frames or the height of the strips.

    ``meta``: EXPTIME (T0), TMIN and TMAX (the range of exposure times), NTIMES (how many there are), NCOMBINE, METHOD,
    REJECTED and MISSING (values, over all pixels), LEVEL (median at T0), RATE (median, per second). With three exposure
    times or more CHI2 (chi square of the exposure times about the line per degree of freedom, of the median pixel in
    units of its expected value) and NONLIN (fraction of pixels that are off by more than 5 standard deviations).
    """

    citations = ("Bevington, P. R. & Robinson, D. K. 2003, Data Reduction and Error Analysis (McGraw-Hill), chapter 6",)

    kind: str = Field("dark", description="Which kind of master to make: dark.")
    clip: float = Field(
        4.0,
        ge=2.0,
        description="Values this far from the median of their exposure time, or from the line, are rejected.",
        json_schema_extra={"unit": "standard deviation"},
    )

    @field_validator("kind")
    @classmethod
    def _is_dark(cls, value: str) -> str:
        if value != "dark":
            raise ValueError(f"kind {value!r} has no line in exposure time; dark-fit makes the kind dark")
        return value

    def split(self, frames: Frames) -> Iterable[Frames]:
        """Keep darks of all exposure times together."""
        return frames.by("variant").values()

    def build(self, stack: Stack) -> CCDData:
        """Fit the frames of a stack.

        Raises
        ------
        FrameError
            If there are not two exposure times, one is not known, or no pixel has values of two.
        """
        import numpy as np

        from albireo import Flag, image
        from albireo_combine.dark_noise import DarkNoise
        from albireo_combine.line import fit_line

        members = _exposures(stack.frames)
        times = np.array([np.sort([stack.frames[i].exptime for i in group]).mean() for group in members])
        noise = _noise(stack, members, times)
        known = noise is not None
        noise = noise or DarkNoise(1.0, 0.0, 0.0)
        weights = np.array([len(group) for group in members]) / noise.variance(np.array([max(noise.rate, 0)]), times).T
        origin = float((weights * times).sum() / weights.sum())

        floats = {
            name: np.empty(stack.shape, np.float32) for name in ("data", "variance", "RATE", "RATEVAR", "RATECOV")
        }
        counts = {name: np.empty(stack.shape, np.uint16) for name in ("COUNT", "REJECTED")}
        misfit, freedom = np.empty(stack.shape, np.float32), np.empty(stack.shape, np.uint16)
        names = {
            "data": "value",
            "variance": "value_variance",
            "RATE": "rate",
            "RATEVAR": "rate_variance",
            "RATECOV": "covariance",
            "COUNT": "count",
            "REJECTED": "rejected",
        }
        for strip in stack.strips():
            pixels = strip.data.reshape(len(stack), -1)
            planes = {name: plane[strip.rows].reshape(-1) for name, plane in (floats | counts).items()}
            off, free = misfit[strip.rows].reshape(-1), freedom[strip.rows].reshape(-1)
            for start in range(0, pixels.shape[1], CHUNK):
                part = slice(start, start + CHUNK)
                line = fit_line(
                    [pixels[group, part] for group in members],
                    times,
                    origin,
                    noise,
                    self.clip if known else np.inf,
                )
                for name, attribute in names.items():
                    planes[name][part] = getattr(line, attribute)
                off[part], free[part] = line.misfit, line.freedom
        data, variance = floats.pop("data"), floats.pop("variance")
        if not np.isfinite(data).any():
            raise FrameError("no pixel of the dark has values of two exposure times: their frames are masked")
        meta: dict[str, Any] = {
            "EXPTIME": origin,
            "TMIN": float(times[0]),
            "TMAX": float(times[-1]),
            "NTIMES": len(times),
            "NCOMBINE": len(stack),
            "METHOD": "line in exposure time",
            "REJECTED": int(counts["REJECTED"].sum()),
            "MISSING": len(stack) * data.size - sum(int(plane.sum(dtype=np.int64)) for plane in counts.values()),
            "LEVEL": float(np.nanmedian(data)),
            "RATE": float(np.nanmedian(floats["RATE"])),
        }
        if known:
            meta |= _verdict(misfit, freedom)
        else:
            for plane in (variance, floats["RATEVAR"], floats["RATECOV"]):
                plane[:] = np.nan
        flags = np.where(np.isfinite(data), np.uint16(0), np.uint16(Flag.NO_DATA))
        return image(data, stack.unit, variance=variance, flags=flags, planes=floats | counts, meta=meta)


def _exposures(frames: Frames) -> list[list[int]]:
    """Indices of the frames of each of at least two exposure times, shortest first.

    Raises
    ------
    FrameError
        If an exposure time is not known, or there is only one.
    """
    members = by_exposure(frames, range(len(frames)))
    if len(members) < 2:
        times = f"all {len(frames)} have {frames[0].exptime:g} s" if frames else "there is none"
        raise FrameError(
            f"a line in exposure time needs darks of at least two exposure times; {times}. "
            'Take darks of another exposure time too, or write use = "combine" for the dark under [[masters]]'
        )
    return members


def _noise(stack: Stack, members: list[list[int]], times: NDArray[np.float64]) -> DarkNoise | None:
    """Noise of one value, from two frames of each exposure time that has two, or from the constants of the camera."""
    import numpy as np

    from albireo import variance_of
    from albireo_combine.dark_noise import DarkNoise, median_rate, noise_of_pairs, rates
    from albireo_combine.noise import sampled

    rows = sampled(stack.shape)
    samples = [[stack.pixels(index)[rows].astype(np.float64) for index in group[:2]] for group in members]
    rate = rates([np.mean(pair, axis=0) for pair in samples], times)
    pairs = [(time, *pair) for time, pair in zip(times, samples, strict=True) if len(pair) == 2]
    if pairs:
        return noise_of_pairs(pairs, rate)
    variance = variance_of(stack[members[-1][0]])
    if variance is None or not (good := np.isfinite(variance[rows]) & np.isfinite(rate)).any():
        return None
    # What a camera says of the noise of a frame is a line in the pixels of that frame, with bias or without.
    x, y = samples[-1][0][good], variance[rows][good].astype(np.float64)
    spread = float(x.var())
    slope = max(float(np.mean((x - x.mean()) * y)) / spread, 0.0) if spread > 0 else 0.0
    floor = float(y.mean()) - slope * float(rate[good].mean()) * float(times[-1])
    return DarkNoise(max(floor, LEAST_VARIANCE), slope, median_rate(rate))


def _verdict(misfit: NDArray[np.float32], freedom: NDArray[np.uint16]) -> dict[str, Any]:
    """Say how well the pixels follow a line; nothing where there are only two exposure times."""
    import numpy as np
    from scipy.special import chdtri, ndtr

    judged = freedom > 0
    if not judged.any():
        return {}
    limits = np.array([np.inf, *(chdtri(k, ndtr(-SURE)) for k in range(1, int(freedom.max()) + 1))])
    middles = np.array([1.0, *(chdtri(k, 0.5) for k in range(1, int(freedom.max()) + 1))])
    share = float(np.mean(misfit[judged] > limits[freedom[judged]]))
    meta: dict[str, Any] = {"CHI2": float(np.median(misfit[judged] / middles[freedom[judged]])), "NONLIN": share}
    if share > WORTH_A_WORD:
        meta["COMMENT"] = [
            f"{100 * share:.2g} % of the pixels do not follow a line in exposure time: use darks of the exposure times "
            "of the frames for them"
        ]
    return meta
