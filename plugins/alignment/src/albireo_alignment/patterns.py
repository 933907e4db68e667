"""How one image lies on the reference, from the patterns that the stars of both make.

The brightest stars of both lists give guesses: the most frequent offset between them where the camera only drifted, and
like triangles of neighbours in any other case. A guess is refined with all stars. It is believed if unrelated fields
would match as well less than once in a thousand pairs of frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from albireo import Aligner, FrameError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from albireo import Sources, Transform

__all__ = ["Patterns"]

ENOUGH_FOR_AFFINE = 10
"""Matched stars from which on six numbers are fitted in place of four."""

BEYOND = 2.0
"""Scales are looked for up to this power of the limit, so that the reason of a refusal is the scale that was found."""


class Patterns(Aligner, name="patterns"):
    """Shift, rotation and scale by patterns of stars, from three stars on; quick to find a map and quick to refuse.

    Any shift and any rotation are followed, also half a turn after a meridian flip, with half of the stars of each list
    unknown to the other. Sources with flags (saturated, cut by the edge) are left out as long as enough others remain.
    Nothing is random: the same lists give the same map.

    Examples
    --------
    >>> import numpy as np
    >>> from albireo import Sources, Transform
    >>> x, y = np.random.default_rng(1).uniform(0, 500, (2, 30))
    >>> moved = Transform.similarity(500.0, 480.0, rotation=179.0)
    >>> found = Patterns().align(Sources.make(*moved(x, y)), Sources.make(x, y))
    >>> found.matched, round(found.rotation, 3), [round(v, 3) for v in found.shift]
    (30, 179.0, [500.0, 480.0])
    """

    citations: ClassVar[tuple[str, ...]] = (
        "Groth, E. J. 1986, AJ, 91, 1244",
        "Valdes, F. G., Campusano, L. E., Velasquez, J. D. & Stetson, P. B. 1995, PASP, 107, 1119",
    )

    model: Literal["similarity", "affine"] = Field(
        "similarity",
        description="What the map may do: shift, rotate and scale, or, from ten matched sources on, shear as well.",
    )
    mirrored: bool = Field(False, description="Whether an image may be mirrored against the reference.")
    max_stars: int = Field(50, ge=3, description="How many of the brightest sources make the first guess.")
    tolerance: float = Field(
        2.0,
        gt=0,
        description="Largest distance of a source from where the map puts it.",
        json_schema_extra={"unit": "pixel"},
    )
    min_matched: int = Field(3, ge=3, description="Fewest matched sources that make a map.")
    across_scale: float = Field(
        4.0, gt=1, description="Largest ratio of the scales of two cameras that look at the same sky, either way."
    )

    def align(self, sources: Sources, reference: Sources) -> Transform:
        """Find the map from pixels of the reference to pixels of this image.

        Parameters
        ----------
        sources, reference : Sources
            Brightest first. Entries without finite positions are ignored.

        Returns
        -------
        Transform
            With the rms distance and the number of the matched sources.

        Raises
        ------
        FrameError
            If there are too few sources, or no map matches more of them than chance would.
        """
        from albireo_alignment.chance import area_of

        here, there = self._enough(sources, "this image"), self._enough(reference, "the reference")
        limit = float("inf") if self.max_scale is None else max(self.max_scale, 1.001) ** BEYOND
        # Both images have the same size, and each list fills a part of it.
        return self._found(there, here, limit, area_of(there, here), self.mirrored, self.model == "affine")

    def across(self, sources: Sources, reference: Sources) -> Transform:
        """Find the map from pixels of one camera, the reference, to pixels of another that looks at the same sky.

        Any rotation, either parity, and scales that differ by up to ``across_scale`` are allowed; the limits between
        exposures of one camera do not count. With ten matched stars or more the map is affine whatever ``model`` says,
        because the optics of two cameras differ by more than a similarity.

        Parameters
        ----------
        sources, reference : Sources
            Brightest first. Entries without finite positions are ignored.

        Returns
        -------
        Transform
            With the rms distance and the number of the matched sources.

        Raises
        ------
        FrameError
            If there are too few sources, or no map matches more of them than chance would.
        """
        from albireo_alignment.chance import area_of

        here, there = self._enough(sources, "this camera"), self._enough(reference, "the other")
        return self._found(there, here, self.across_scale, area_of(here), True, True)

    def _enough(self, sources: Sources, where: str) -> NDArray[np.float64]:
        """Positions to match, shape (n, 2)."""
        positions = sources.usable_positions(self.min_matched)
        if len(positions) < self.min_matched:
            raise FrameError(
                f"{len(positions)} sources in {where} are too few to align, at least {self.min_matched} are needed; "
                "lower the threshold of the finder, or use 'translation' where the field only shifts"
            )
        return positions

    def _found(
        self,
        there: NDArray[np.float64],
        here: NDArray[np.float64],
        largest: float,
        area: float,
        mirrored: bool,
        affine: bool,
    ) -> Transform:
        from math import log

        from albireo_alignment.chance import FALSE_ALARMS
        from albireo_alignment.fitting import refine
        from albireo_alignment.matching import match

        best, chance = match(
            there,
            here,
            stars=self.max_stars,
            tolerance=self.tolerance,
            largest=largest,
            area=area,
            mirrored=mirrored,
        )
        lists = f"{len(here)} sources here and {len(there)} there"
        if best is None or chance >= log(FALSE_ALARMS):
            matched = 0 if best is None else best.matched
            said = (
                f"the best map matches {matched} of them within {self.tolerance:g} pixels" if matched else "none match"
            )
            raise FrameError(
                f"no pattern of stars is common to {lists}: {said}, which chance does as well; if this is the right "
                "field, a lower threshold of the finder, a higher tolerance or a higher max_scale may help"
            )
        if best.matched < self.min_matched:
            raise FrameError(
                f"the best map matches {best.matched} of {lists} within {self.tolerance:g} pixels, at least "
                f"{self.min_matched} are needed"
            )
        if affine and best.matched >= ENOUGH_FOR_AFFINE:
            wider, _ = refine(there, here, best, self.tolerance, "affine", generous=False)
            best = wider if wider.matched >= ENOUGH_FOR_AFFINE else best
        return best
