"""The reference image of a field as the run's own stages see it: its background, and the shape of a star."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from albireo import PSF, FrameError, Recipe, RecipeError, Sources
from albireo_html._values import floats

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from astropy.table import Table

    from albireo import Background, Results


@dataclass(frozen=True, eq=False)
class Reference:
    """A reference image with what was made of it.

    Attributes
    ----------
    image : CCDData
    catalogue : Table
    background : Background or None
    psf : PSF or None
        None if there is no star to measure.
    why : str
        Why there is no background.
    """

    image: CCDData
    catalogue: Table
    background: Background | None
    psf: PSF | None
    why: str


class Stages:
    """The stages of a run that look at one image.

    A run is looked at years after it was made, perhaps without the plugins it was made with: then there are none.
    """

    def __init__(self, run: Results) -> None:
        self._recipe: Recipe | None = None
        self._why = ""
        try:
            self._recipe = Recipe.parse(run.recipe, run.folder / "run.toml")
        except RecipeError as error:
            self._why = f"the recipe of the run cannot be used here: {' '.join(str(error).split())}"

    def look(self, image: CCDData, catalogue: Table) -> Reference:
        """Measure the background and the shape of a star as the run did."""
        sources = _sources(catalogue)
        psf = PSF.of(sources)
        if self._recipe is None or self._recipe.background is None:
            return Reference(image, catalogue, None, psf, self._why or "the recipe has no [background]")
        try:
            background = self._recipe.background.estimate(image)
        except FrameError as error:
            return Reference(image, catalogue, None, psf, str(error))
        if self._recipe.psf is not None:
            try:
                psf = self._recipe.psf.fit(image, sources, background)
            except FrameError:
                psf = None
        return Reference(image, catalogue, background, psf, "")


def _sources(catalogue: Table) -> Sources:
    """Give the stars of a catalogue that were detected on this image."""
    names = ("flux", "a", "b", "theta", "fwhm", "peak")
    columns = {name: floats(catalogue, name) for name in names}
    flags = np.nan_to_num(floats(catalogue, "flags")).astype(np.uint16)
    sources = Sources.make(floats(catalogue, "x"), floats(catalogue, "y"), flags=flags, **columns)
    return sources[np.isfinite(sources.x) & np.isfinite(sources.y) & np.isfinite(sources.flux)]
