"""How one image lies on the reference, from the two lists of sources alone.

A first guess comes from the brightest stars: by the most frequent offset between the lists where the camera only
drifted, which costs a millisecond, and by astroalign's triangles in any other case (Beroiz, Cabral & Sanchez 2020,
Astronomy and Computing 32, 100384). The guess is then refined with all sources: pairs of mutual nearest neighbours,
least squares, outliers out, until the pairs stay the same. What is left of the guess in the result is a few pairs at
the limit of being outliers.

Two cameras that look at the same sky differ in more than two exposures of one do; `albireo_astroalign.asterisms` finds
the map between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from albireo import Aligner, FrameError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from albireo import Sources, Transform

CHANCE = 4.0
"""A map must match this many times more stars than a map put down at random would."""

PLENTY = 0.3
"""Share of the shorter list that, once matched, makes another guess superfluous."""


class Astroalign(Aligner, name="astroalign"):
    """Shift, rotation and scale by patterns of stars, refined with all sources.

    Sources with flags (saturated, cut by the edge) are left out as long as enough others remain. Mirrored images are
    recognised between two cameras only. The random search of astroalign starts from a fixed seed: the same lists give
    the same map.

    Examples
    --------
    >>> import numpy as np
    >>> from albireo import Sources, Transform
    >>> x, y = np.random.default_rng(1).uniform(0, 500, (2, 30))
    >>> moved = Transform.similarity(12.0, -7.5, rotation=0.3)
    >>> found = Astroalign().align(Sources.make(*moved(x, y)), Sources.make(x, y))
    >>> found.matched, round(found.rotation, 3), [round(v, 3) for v in found.shift]
    (30, 0.3, [12.0, -7.5])
    """

    citations: ClassVar[tuple[str, ...]] = (
        "Beroiz, M., Cabral, J. B. & Sanchez, B. 2020, Astronomy and Computing, 32, 100384",
    )

    model: Literal["similarity", "affine"] = Field(
        "similarity", description="What the map may do: shift, rotate and scale, or shear as well."
    )
    max_stars: int = Field(50, ge=3, description="How many of the brightest sources make the first guess.")
    tolerance: float = Field(
        2.0,
        gt=0,
        description="Largest distance of a source from where the map puts it.",
        json_schema_extra={"unit": "pixel"},
    )
    min_matched: int = Field(4, ge=3, description="Fewest matched sources that make a map.")
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
            If there are too few sources, or no pattern fits.
        """
        from albireo_astroalign.match import by_offsets, by_triangles, refine

        here, there = self._enough(sources, "this image"), self._enough(reference, "the reference")
        best = None
        for guess in (by_offsets, by_triangles):
            start = guess(there[: self.max_stars], here[: self.max_stars], self.tolerance)
            if start is None:
                continue
            found = refine(there, here, start, self.tolerance, affine=False)
            if best is None or found.matched > best.matched:
                best = found
            if found.matched >= max(self._needed(there, here, found), PLENTY * min(len(here), len(there))):
                break
        if best is None:
            raise FrameError(
                f"no pattern of stars is common to this image ({len(here)} sources) and the reference ({len(there)})"
            )
        if self.model == "affine" and best.matched >= self.min_matched:
            best = refine(there, here, best, self.tolerance, affine=True)
        needed = self._needed(there, here, best)
        if best.matched < needed:
            raise FrameError(
                f"{best.matched} sources match the reference within {self.tolerance:g} pixels (of {len(here)} here and "
                f"{len(there)} there), at least {needed:.0f} are needed"
            )
        return best

    def across(self, sources: Sources, reference: Sources) -> Transform:
        """Find the map from pixels of one camera, the reference, to pixels of another that looks at the same sky.

        Any rotation, either parity, and scales that differ by up to ``across_scale`` are allowed; the other limits do
        not count. Up to half of the sources may be missing from the other list, as bands differ. With ten matched
        stars or more the map is affine whatever ``model`` says, because the optics of two cameras differ by more
        than a similarity.

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
        from albireo_astroalign.asterisms import by_votes

        here, there = self._enough(sources, "this camera"), self._enough(reference, "the other")
        found = by_votes(there, here, self.tolerance, self.across_scale)
        if found is None or found.matched < self.min_matched:
            raise FrameError(f"no pattern of stars is common to {len(here)} sources here and {len(there)} there")
        return found

    def _enough(self, sources: Sources, where: str) -> NDArray[np.float64]:
        """Positions to match, shape (n, 2)."""
        positions = sources.usable_positions(self.min_matched)
        if len(positions) < self.min_matched:
            raise FrameError(
                f"{len(positions)} sources in {where} are too few to align, at least {self.min_matched} are needed"
            )
        return positions

    def _needed(self, reference: NDArray[np.float64], image: NDArray[np.float64], found: Transform) -> float:
        """Least number of matches that is beyond chance."""
        from albireo_astroalign.match import chance_matches

        return max(float(self.min_matched), CHANCE * chance_matches(reference, image, found, self.tolerance))
