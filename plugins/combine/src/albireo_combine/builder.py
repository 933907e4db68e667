"""The master builder: levels, noise, and the pass over the strips."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from albireo import FrameError, MasterBuilder

if TYPE_CHECKING:
    import numpy as np
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

    from albireo import Stack

KINDS = ("bias", "dark", "flat", "sky")

SCALED = ("flat", "sky")
"""Kinds whose frames differ in level, and whose master is around one."""


class Combine(MasterBuilder, name="combine"):
    """Combine calibration frames pixel by pixel: clipped mean, median or mean, with the variance of the result.

    Bias and dark frames are combined as they are. Flat and sky frames are first divided by their level, the median of
    their unmasked pixels, and the result is divided by its own median, so that a master flat or sky is dimensionless
    and around one. Stars vanish from flats and skies of the sky where the telescope moved between the frames.

    A value is rejected by its distance from the median of its pixel, in units of the noise it should have or of the
    median absolute deviation of the pixel, whichever is larger; the noise comes from the difference of two of the
    frames. The variance pools the scatter of each pixel with that noise, so that it can be trusted for few frames too.
    `albireo_combine.rules` and `albireo_combine.noise` define both exactly. One frame alone is taken as it is, with its
    own variance.

    Masked pixels (NaN in a strip) take no part; a pixel without any value is NaN and flagged `Flag.NO_DATA`. The result
    does not depend on the order of the frames, on the height of the strips or on threads.

    ``meta`` of the result: NCOMBINE (frames), METHOD, REJECTED and MISSING (values, over all pixels); LEVEL (median of
    the master, bias and dark); LEVELMIN and LEVELMAX (of the flat or sky frames, in the unit of the stack); RDNOISE
    (bias of at least two frames: robust noise of one corrected frame, in the unit of the stack).
    """

    citations = (
        "Janesick, J. R. 2001, Scientific Charge-Coupled Devices (SPIE Press), chapter 2",
        "Smyth, G. K. 2004, Statistical Applications in Genetics and Molecular Biology, 3, 3",
    )

    method: Literal["clipped-mean", "median", "mean"] = Field(
        "clipped-mean",
        description="How the values of a pixel are combined; a clipped mean has the smallest error that is safe.",
    )
    low: float = Field(
        3.0,
        ge=1.0,
        description="Values this far below the median of their pixel are rejected.",
        json_schema_extra={"unit": "standard deviation"},
    )
    high: float = Field(
        3.0,
        ge=1.0,
        description="Values this far above the median of their pixel are rejected.",
        json_schema_extra={"unit": "standard deviation"},
    )
    iterations: int = Field(5, ge=1, le=100, description="Rounds of rejection at most.")

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, value: str) -> str:
        if value not in KINDS:
            raise ValueError(f"kind {value!r} cannot be combined; it must be one of {', '.join(KINDS)}")
        return value

    def build(self, stack: Stack) -> CCDData:
        """Combine the frames of a stack.

        Raises
        ------
        FrameError
            If the stack is empty, or if a flat or sky frame has no light.
        """
        import numpy as np

        from albireo import Flag, image
        from albireo_combine import rules

        if len(stack) == 0:
            raise FrameError(f"there is no {self.kind} frame to combine")
        levels, noise = self._survey(stack)
        meta: dict[str, Any] = {"NCOMBINE": len(stack), "METHOD": self.method}
        if len(stack) == 1:
            data, variance = _alone(stack, 1.0 if levels is None else 1.0 / levels[0])
            meta.update(METHOD="single frame", REJECTED=0, MISSING=int(np.isnan(data).sum()))
        else:
            clip = self.method != "mean"
            data, variance, totals = _combined(
                stack,
                None if levels is None else 1.0 / levels,
                (
                    rules.METHODS[self.method],
                    *noise,
                    rules.PRIOR_WEIGHT,
                    self.low,
                    self.high,
                    rules.kept_variance(self.low, self.high) if clip else 1.0,
                    self.iterations,
                    rules.variance_factors(self.method, len(stack)),
                ),
            )
            meta.update(REJECTED=int(totals[0]), MISSING=int(totals[1]))
        if not np.isfinite(data).any():
            raise FrameError(f"no pixel of the master {self.kind} has a value: all pixels of all frames are masked")
        level = _median(data)
        if levels is None:
            meta["LEVEL"] = level
        else:
            meta.update(LEVELMIN=float(levels.min()), LEVELMAX=float(levels.max()))
            data /= np.float32(level)
            variance /= np.float32(level) ** 2
        if self.kind == "bias" and len(stack) > 1:
            meta["RDNOISE"] = noise[0] ** 0.5
        flags = np.where(np.isfinite(data), np.uint16(0), np.uint16(Flag.NO_DATA))
        return image(data, stack.unit if levels is None else "", variance=variance, flags=flags, meta=meta)

    def _survey(self, stack: Stack) -> tuple[NDArray[np.float64] | None, tuple[float, float]]:
        """Levels of flat and sky frames (None for other kinds), and the noise of one value as floor and slope.

        Two frames are enough for the noise: the first two by name, whatever the order of the stack.
        """
        import numpy as np

        from albireo_combine.noise import pair_noise, sampled

        pair = sorted(range(len(stack)), key=lambda index: stack.frames[index].name)[:2]
        scaled = self.kind in SCALED
        levels = np.empty(len(stack))
        samples = {}
        for index in range(len(stack)) if scaled else pair if len(stack) > 1 else ():
            sample = stack.pixels(index)[sampled(stack.shape)]
            levels[index] = level = np.nanmedian(sample) if np.isfinite(sample).any() else np.nan
            if scaled and not level > 0:
                raise FrameError(
                    f"{self.kind} frame {stack.frames[index].name} has the level {level:g} {stack.unit} after "
                    "correction, so that it cannot be scaled; drop it by a [[select]] stage"
                )
            if index in pair:
                samples[index] = sample / level if scaled else sample
        if len(stack) == 1:
            return (levels if scaled else None), (0.0, 0.0)
        floor, slope = pair_noise(*(samples[index] for index in pair), with_light=self.kind != "bias")
        if scaled:
            # In units of the level, read noise goes with 1 / level**2 and photon noise with 1 / level.
            floor *= float(np.mean(levels**-2.0) / np.mean(levels[pair] ** -2.0))
            slope *= float(np.mean(1.0 / levels) / np.mean(1.0 / levels[pair]))
            return levels, (floor, slope)
        return None, (floor, slope)


def _median(data: NDArray[np.float32]) -> float:
    """Median of the finite pixels of an image, or of a large sample of them."""
    import numpy as np

    from albireo_combine.noise import sampled

    values = data[sampled(data.shape)]
    finite = values[np.isfinite(values)]
    return float(np.median(finite if finite.size else data[np.isfinite(data)]))


def _alone(stack: Stack, factor: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scale the only frame, with its own variance; NaN where that is unknown."""
    import numpy as np

    from albireo import variance_of

    picture = stack[0]
    data = stack.pixels(0) * np.float32(factor)
    given = variance_of(picture)
    variance = np.full(data.shape, np.nan, dtype=np.float32) if given is None else given * np.float32(factor**2)
    return data, variance


def _combined(
    stack: Stack, scale: NDArray[np.float64] | None, options: tuple[Any, ...]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Run over the strips of a stack; give data, variance, and the numbers of values rejected and missing."""
    import os
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    from albireo_combine.engine import BLOCK, block_function

    function = block_function(len(stack))
    data = np.empty(stack.shape, dtype=np.float32)
    variance = np.empty(stack.shape, dtype=np.float32)
    totals = np.zeros(2, dtype=np.int64)
    with ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        for strip in stack.strips(scale):
            values = np.ascontiguousarray(strip.data, dtype=np.float32).reshape(len(stack), -1)
            out = data[strip.rows].reshape(-1), variance[strip.rows].reshape(-1)

            def work(start: int, values: NDArray[np.float32] = values, out: Any = out) -> NDArray[np.int64]:
                counts = np.zeros(2, dtype=np.int64)
                function(values, start, min(start + BLOCK, values.shape[1]), *options, *out, counts)
                return counts

            for counts in pool.map(work, range(0, values.shape[1], BLOCK)):
                totals += counts
    return data, variance, totals
