"""A map of bad pixels from darks and flats: hot, noisy, dead and not linear ones."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from albireo import Frame, FrameError, MasterBuilder

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

    from albireo import Stack
    from albireo_combine.combining import Combined

LEAST = 2
"""Frames of equal light that are needed to know their noise."""

LEAST_FOR_NOISE = 5
"""Frames of one exposure time that are needed to know the noise of each pixel."""

TWO_LEVELS = 1.5
"""Ratio of the faintest bright flat to the brightest faint flat from which on they are held against each other."""

SURE = 5.0
"""Of its own errors, by which a hot pixel exceeds its neighbourhood; a noisy one does not."""


class BadPixels(MasterBuilder, name="bad-pixels"):
    """Make a map of bad pixels from darks and flats; either will do, both find more.

    From darks: a pixel is hot (`Flag.HOT`) if its dark rate exceeds that of its neighbourhood by ``hot`` times the
    scatter of all pixels, by 5 times its own error, and by ``hot_rate``. The rate is the difference of the longest and
    the shortest exposure time over that of the times, or the dark over its time if there is only one. With five darks
    of the longest time a pixel is noisy (`Flag.BAD`) if its values, without the highest, scatter by more than ``noisy``
    times the expected noise.

    From flats (those of the filter that has most): a pixel is dead (`Flag.BAD`) if its response is outside ``low`` to
    ``high`` of its neighbourhood's. If their levels fall into two groups, a pixel is not linear (`Flag.NON_LINEAR`) if
    the ratio of the two differs from that of its neighbourhood by more than ``nonlinear`` and 5 standard deviations.

    The data are one where a pixel has any of these flags and else zero, with no variance to speak of. A pixel that no
    dark or no flat has a value of is bad, with `Flag.NO_DATA`. COUNT and REJECTED hold values of darks and flats.

    ``meta``: NCOMBINE, NDARK and NFLAT (frames used), METHOD, NHOT, NNOISY, NDEAD, NNONLIN, NBAD (pixels).
    """

    kind: str = Field("bad", description="Which kind of master to make: bad.")
    hot: float = Field(
        8.0,
        ge=3.0,
        description="Excess of the dark rate of a hot pixel over its neighbourhood.",
        json_schema_extra={"unit": "standard deviation of the rates"},
    )
    hot_rate: float = Field(
        0.0,
        ge=0.0,
        description="Least excess of the dark rate of a hot pixel.",
        json_schema_extra={"unit": "unit of the frames per second"},
    )
    noisy: float = Field(
        3.0, ge=1.5, description="Scatter of a noisy pixel in darks, in units of the noise it should have."
    )
    low: float = Field(0.5, ge=0.0, lt=1.0, description="Response below which a pixel is dead, of its neighbourhood's.")
    high: float = Field(1.5, gt=1.0, description="Response above which a pixel is bad, of its neighbourhood's.")
    nonlinear: float = Field(
        0.05, gt=0.0, description="Fraction by which the response may differ between bright and faint flats."
    )
    box: int = Field(
        64,
        ge=8,
        description="Side of the boxes that are the neighbourhood of their pixels.",
        json_schema_extra={"unit": "pixel"},
    )

    @field_validator("kind")
    @classmethod
    def _is_bad(cls, value: str) -> str:
        if value != "bad":
            raise ValueError(f"kind {value!r} cannot be made by bad-pixels; it makes the kind bad")
        return value

    def wants(self, frame: Frame) -> bool:
        """Whether it is a dark or a flat."""
        return frame.kind in ("dark", "flat")

    def build(self, stack: Stack) -> CCDData:
        """Judge the pixels of a stack of darks and flats.

        Raises
        ------
        FrameError
            If there are neither two darks of one exposure time nor two flats of one filter.
        """
        import numpy as np

        from albireo import Flag, image

        flags = np.zeros(stack.shape, dtype=np.uint16)
        meta: dict[str, Any] = {"METHOD": "darks and flats"}
        darks, dark_meta = self._from_darks(stack, flags)
        flats, flat_meta = self._from_flats(stack, flags)
        used = [*darks, *flats]
        if not used:
            raise FrameError(
                "a map of bad pixels needs at least two darks of one exposure time or two flats of one filter; there "
                f"are {len(stack)} frames: " + ", ".join(f"{f.kind} {f.exptime:g} s {f.filter}" for f in stack.frames)
            )
        for part in used:
            flags[~np.isfinite(part.data)] |= np.uint16(Flag.NO_DATA)
        bad = flags != 0
        meta |= dark_meta | flat_meta
        meta |= {"NCOMBINE": meta.get("NDARK", 0) + meta.get("NFLAT", 0), "NBAD": int(bad.sum())}
        planes = {
            "COUNT": sum((part.count for part in used[1:]), start=used[0].count),
            "REJECTED": sum((part.rejected for part in used[1:]), start=used[0].rejected),
        }
        return image(
            bad.astype(np.float32),
            "",
            variance=np.zeros(stack.shape, dtype=np.float32),
            flags=flags,
            planes=planes,
            meta=meta,
        )

    def _from_darks(self, stack: Stack, flags: NDArray[np.uint16]) -> tuple[list[Combined], dict[str, Any]]:
        """Flag hot and noisy pixels; give the darks that told, and cards."""
        import numpy as np

        from albireo import Flag
        from albireo_combine.exposure_times import by_exposure
        from albireo_combine.levels import median_of
        from albireo_combine.rules import MAD_TO_SIGMA
        from albireo_combine.surface import Surface

        groups = by_exposure(stack.frames, [i for i, frame in enumerate(stack.frames) if frame.kind == "dark"])
        groups = [group for group in groups if len(group) >= LEAST]
        if not groups or not (time := stack.frames[groups[-1][0]].exptime) > 0:
            return [], {}
        used = [self._mean(stack, groups[-1], np.ones(len(groups[-1])))]
        rate, error = used[0].data / np.float32(time), np.sqrt(used[0].variance) / np.float32(time)
        if len(groups) > 1:
            used.append(self._mean(stack, groups[0], np.ones(len(groups[0]))))
            lapse = np.float32(time - stack.frames[groups[0][0]].exptime)
            rate = (used[0].data - used[1].data) / lapse
            error = np.sqrt(used[0].variance + used[1].variance) / lapse
        excess = rate - Surface.of(rate, self.box)().astype(np.float32)
        limit = max(self.hot * MAD_TO_SIGMA * median_of(np.abs(excess)), self.hot_rate)
        meta = {"NDARK": sum(len(group) for group in (groups[-1], *groups[:1])[: len(used)])}
        meta["NHOT"] = _flag(flags, (excess > limit) & (excess > SURE * error), Flag.HOT)
        if len(groups[-1]) >= LEAST_FOR_NOISE:
            meta["NNOISY"] = _flag(flags, self._is_noisy(stack, groups[-1]), Flag.BAD)
        return used, meta

    def _from_flats(self, stack: Stack, flags: NDArray[np.uint16]) -> tuple[list[Combined], dict[str, Any]]:
        """Flag dead pixels and those that are not linear; give the flats that told, and cards."""
        import numpy as np

        from albireo import Flag
        from albireo_combine.levels import level_of
        from albireo_combine.response import not_linear
        from albireo_combine.surface import Surface

        by_filter: dict[tuple[str, str], list[int]] = {}
        for index, frame in enumerate(stack.frames):
            if frame.kind == "flat":
                by_filter.setdefault((frame.filter, frame.variant), []).append(index)
        if not by_filter:
            return [], {}
        most = max(by_filter, key=lambda name: (len(by_filter[name]), name))
        flats = by_filter[most]
        if len(flats) < LEAST:
            return [], {}
        levels = {index: level_of(stack, index) for index in flats}
        bright, faint = _two_levels(levels)
        master = self._mean(stack, bright, np.array([levels[i] for i in bright]))
        response = master.data / Surface.of(master.data, self.box)().astype(np.float32)
        meta = {"NFLAT": len(bright) + len(faint)}
        meta["NDEAD"] = _flag(flags, (response < self.low) | (response > self.high), Flag.BAD)
        if not faint:
            return [master], meta
        other = self._mean(stack, faint, np.array([levels[i] for i in faint]))
        meta["NNONLIN"] = _flag(flags, not_linear(master, other, self.box, self.nonlinear), Flag.NON_LINEAR)
        return [master, other], meta

    def _mean(self, stack: Stack, chosen: Sequence[int], levels: NDArray[np.float64]) -> Combined:
        """Average some frames, each divided by a level, with sigma clipping."""
        from albireo_combine.adjusted import Adjusted
        from albireo_combine.combining import combine_strips
        from albireo_combine.rules import Rule
        from albireo_combine.survey import expected_noise

        part = Adjusted(stack, chosen)
        floor, slope = expected_noise(part, levels)
        return combine_strips(part, 1.0 / levels, Rule(noise_floor=floor, noise_slope=slope))

    def _is_noisy(self, stack: Stack, chosen: Sequence[int]) -> NDArray[np.bool_]:
        """Which pixels scatter too much. Without its highest value a pixel that a cosmic ray has hit is not noisy."""
        import numpy as np

        from albireo_combine.adjusted import Adjusted
        from albireo_combine.survey import expected_noise

        part = Adjusted(stack, chosen)
        floor, slope = expected_noise(part, np.ones(len(chosen)))
        noisy = np.zeros(stack.shape, dtype=np.bool_)
        for strip in part.strips():
            values = np.sort(strip.data, axis=0)[:-1]  # what is masked comes last, and with it the pixel is not judged
            expected = floor + slope * np.maximum(values[len(values) // 2], 0.0)
            with np.errstate(invalid="ignore"):
                noisy[strip.rows] = values.astype(np.float64).var(axis=0, ddof=1) > self.noisy**2 * expected
        return noisy


def _flag(flags: NDArray[np.uint16], where: NDArray[np.bool_], bit: int) -> int:
    """Set a bit and give the number of pixels."""
    flags[where] |= flags.dtype.type(bit)
    return int(where.sum())


def _two_levels(levels: dict[int, float]) -> tuple[list[int], list[int]]:
    """Part bright flats from faint ones, by the largest ratio of neighbouring levels; all are bright if it is small."""
    order = sorted(levels, key=lambda index: (levels[index], index))
    ratios = [levels[b] / levels[a] for a, b in pairwise(order)]
    cut = max(range(len(ratios)), key=lambda k: ratios[k]) + 1
    if ratios[cut - 1] < TWO_LEVELS or min(cut, len(order) - cut) < LEAST:
        return sorted(order), []
    return sorted(order[cut:]), sorted(order[:cut])
