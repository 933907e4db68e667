"""The reference image of a field, and its stack, as the run's own stages see them: background and shape of a star."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from albireo import PSF, FrameError, Recipe, RecipeError, Sources
from albireo_html._values import floats, plural

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from astropy.table import Table

    from albireo import Background, Results, StackRecord


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


def shapes(run: Results) -> dict[str, tuple[int, int]]:
    """Give rows and columns of the reference image of each field, from the headers alone."""
    from astropy.io import fits

    found: dict[str, tuple[int, int]] = {}
    for entry in run.fields:
        with fits.open(entry.image) as opened:
            found[entry.name] = opened[0].shape
    return found


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
        return Reference(image, catalogue, background, self._shape(image, sources, background, psf), "")

    def shape_of_stack(self, image: CCDData) -> PSF | None:
        """Measure the shape of a star on a stack, on what is found there: its stars are wider than the reference's.

        None if there is no star to measure, or a stage is missing here.
        """
        recipe = self._recipe
        if recipe is None or recipe.background is None or recipe.finder is None:
            return None
        try:
            background = recipe.background.estimate(image)
            sources = recipe.finder.find(image, background)
        except FrameError:
            return None
        return self._shape(image, sources, background, PSF.of(sources))

    def _shape(self, image: CCDData, sources: Sources, background: Background, otherwise: PSF | None) -> PSF | None:
        """Fit the shape as the run did; what the sources themselves say where the recipe has no estimator."""
        if self._recipe is None or self._recipe.psf is None:
            return otherwise
        try:
            return self._recipe.psf.fit(image, sources, background)
        except FrameError:
            return None


@dataclass(frozen=True, eq=False)
class Deep:
    """The image on which stars are looked at closely: a stack of the field where there is one, else the reference.

    Attributes
    ----------
    name : str
        In words.
    image : CCDData
    psf : PSF or None
    dx, dy : float
        Where pixel (0, 0) of the reference lies in it.
    """

    name: str
    image: CCDData
    psf: PSF | None
    dx: float = 0.0
    dy: float = 0.0


def deepest(run: Results, field: str, reference: Reference, stages: Stages) -> Deep:
    """Give the stack of a field that has the most frames, or the reference where the field has no stack."""
    stacks = [stack for stack in run.stacks if stack.field == field]
    if not stacks:
        return Deep("the reference image", reference.image, reference.psf)
    stack: StackRecord = max(stacks, key=lambda one: len(one.frames))
    image = stack.read()
    # A stack that does not begin where the reference does says so in the cards that IRAF has for it.
    dx, dy = (float(stack.meta.get(key, 0.0)) for key in ("LTV1", "LTV2"))
    name = f"the stack {stack.name} of {plural(len(stack.frames), 'frame')}"
    return Deep(name, image, stages.shape_of_stack(image), dx, dy)


def _sources(catalogue: Table) -> Sources:
    """Give the stars of a catalogue that were detected on this image."""
    names = ("flux", "a", "b", "theta", "fwhm", "peak")
    columns = {name: floats(catalogue, name) for name in names}
    flags = np.nan_to_num(floats(catalogue, "flags")).astype(np.uint16)
    sources = Sources.make(floats(catalogue, "x"), floats(catalogue, "y"), flags=flags, **columns)
    return sources[np.isfinite(sources.x) & np.isfinite(sources.y) & np.isfinite(sources.flux)]
