"""How far one image is shifted against the reference, from the two lists of sources: from one star on.

The most frequent offset between the brightest sources, refined with all: mutual nearest neighbours, their mean
difference, outliers out. A shift is believed if unrelated fields would match as well less than once in a thousand
pairs of frames. Where a list has one star, there is nothing to compare: it is taken for the star nearest to the place
where the reference has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from albireo import Aligner, FrameError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from albireo import Sources, Transform

__all__ = ["Translation"]

TRIED = 5
"""Most frequent offsets that are refined."""

CLEARLY = 2.0
"""A lone star is taken for the nearest one if the next is this many times further away."""


class Translation(Aligner, name="translation"):
    """A shift and nothing else, by the sources that all moved alike; works with a single star.

    For fields with few stars, and telescopes whose field does not rotate. Give ``max_shift`` where it is known: within
    it fewer stars are proof enough. Where only one star was found in either list it is taken for the one nearest to its
    place on the reference, and ``matched`` is 1: nothing confirms such a shift. The size of rms shows whether the field
    has rotated.

    Examples
    --------
    >>> from albireo import Sources
    >>> reference = Sources.make([10.0, 80.0, 45.0], [20.0, 70.0, 91.0])
    >>> found = Translation().align(Sources.make([13.5, 83.5, 48.5], [18.0, 68.0, 89.0]), reference)
    >>> found.shift, found.matched
    ((3.5, -2.0), 3)
    >>> Translation().align(Sources.make([13.5], [18.0]), reference).matched
    1
    """

    max_stars: int = Field(50, ge=1, description="How many of the brightest sources make the first guess.")
    tolerance: float = Field(
        2.0,
        gt=0,
        description="Largest distance of a source from where the shift puts it.",
        json_schema_extra={"unit": "pixel"},
    )

    def align(self, sources: Sources, reference: Sources) -> Transform:
        """Find the shift from pixels of the reference to pixels of this image.

        Parameters
        ----------
        sources, reference : Sources
            Brightest first. Entries without finite positions are ignored.

        Returns
        -------
        Transform
            With the rms distance and the number of the matched sources; one if nothing confirms the shift, whose rms
            is then NaN.

        Raises
        ------
        FrameError
            If there are no sources, no shift matches more of them than chance would, or a lone star may be either of
            two.
        """
        here, there = sources.usable_positions(1), reference.usable_positions(1)
        for positions, where in ((here, "this image"), (there, "the reference")):
            if not len(positions):
                raise FrameError(f"there are no sources in {where}; lower the threshold of the finder")
        if min(len(here), len(there)) == 1:
            return self._lone(here, there)
        return self._common(here, there)

    def _common(self, here: NDArray[np.float64], there: NDArray[np.float64]) -> Transform:
        """Find the shift that most stars share; within the limit where one is, else anywhere, so that it is named."""
        from math import inf, log

        from albireo import Transform
        from albireo_alignment.chance import FALSE_ALARMS, area_of, false_alarms
        from albireo_alignment.fitting import refine
        from albireo_alignment.offsets import frequent_offsets

        area = area_of(here, there)
        best, least = Transform.identity(), inf
        for limit in (self.max_shift, None) if self.max_shift is not None else (None,):
            share = min(1.0, _allowed(limit) / area) if area > 0 else 1.0
            guesses = frequent_offsets(there[: self.max_stars], here[: self.max_stars], self.tolerance, TRIED, limit)
            for _, dx, dy in guesses:
                found, pairs = refine(
                    there, here, Transform.similarity(dx, dy), self.tolerance, "shift", generous=False
                )
                chance = false_alarms(
                    found.matched,
                    found.rms,
                    len(here),
                    len(there),
                    area,
                    fixed=1,
                    lever=float(len(pairs)),
                    share=share,
                )
                if chance < least or best.matched == 0:
                    best, least = found, chance
            if least < log(FALSE_ALARMS):
                return best
        raise FrameError(
            f"no shift is common to {len(here)} sources here and {len(there)} in the reference: the best one, "
            f"{best.shift[0]:.1f} and {best.shift[1]:.1f} pixels, matches {best.matched} of them within "
            f"{self.tolerance:g} pixels, which chance does as well; set max_shift if the field moves little, or use "
            "'patterns' if it rotates"
        )

    def _lone(self, here: NDArray[np.float64], there: NDArray[np.float64]) -> Transform:
        """Take the nearest star for the only one."""
        import numpy as np

        from albireo import Transform
        from albireo_alignment.offsets import within

        offsets = (here[None, :, :] - there[:, None, :]).reshape(-1, 2)
        near = offsets[within(offsets, self.max_shift)]
        distance = np.sort(np.hypot(near[:, 0], near[:, 1]))
        if len(near) > 1 and distance[1] < CLEARLY * distance[0]:
            raise FrameError(
                f"one star does not tell the shift: {len(near)} of the reference may be it, the nearest two "
                f"{distance[0]:.1f} and {distance[1]:.1f} pixels away; lower the threshold of the finder, or set "
                f"max_shift below {distance[1]:.0f}"
            )
        # Beyond the limit the shift is given as well, and refused by its size.
        chosen = near if len(near) else offsets
        dx, dy = chosen[np.argmin(np.hypot(chosen[:, 0], chosen[:, 1]))]
        shift = Transform.similarity(float(dx), float(dy))
        return Transform(shift.matrix, float("nan"), 1)


def _allowed(limit: tuple[float, float] | float | None) -> float:
    """Area that shifts within a limit fill, in square pixels."""
    from math import inf, pi

    if isinstance(limit, tuple):
        return 4.0 * limit[0] * limit[1]
    return inf if limit is None else pi * limit**2
