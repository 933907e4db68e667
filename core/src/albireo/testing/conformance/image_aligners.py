"""What an aligner of images must do.

Pairs of simulated images of forty stars have noise, some masked pixels, and true celestial coordinates, so that methods
that look at pixels and those that look at coordinates are held against the same truth.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo.frames import FrameError
from albireo.headers import tangent_wcs
from albireo.roles import ImageAligner
from albireo.sources import Sources, Transform
from albireo.testing.conformance.kit import RUBBISH, Check, disturbed, require, skip
from albireo.testing.picture import simulate_image
from albireo.testing.scene import Scene
from albireo.testing.stars import Profile

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

__all__ = ["CHECKS", "typical"]

SHAPE = 200, 240
STARS = 40
SCALE = 0.5
"""Arcsec in a pixel of the reference."""
TOLERANCE = 0.15
"""Largest allowed error of a map anywhere in the field, in pixels: some times what the noise of forty stars leaves."""
SHIFT = Transform.similarity(9.3, -6.7)


def _scene(seed: int) -> Scene:
    return Scene.field(SHAPE, STARS, 3e4, 2e3, separation=8.0, margin=3.0, seed=seed)


def _image(truth: Transform, seed: int, field: int = 1, right_ascension: float = 150.0) -> CCDData:
    """See a field through a map from the pixels of the reference, with the coordinates that follow."""
    picture = simulate_image(_scene(field), SHAPE, profile=Profile(2.8, 3.5), sky=200.0, transform=truth, seed=seed)
    made = disturbed(picture.image, _masked(), 0.0)
    made.wcs = _coordinates(truth, right_ascension)
    return made


def _masked() -> NDArray[np.bool_]:
    """A bad column and some single pixels."""
    where = np.zeros(SHAPE, dtype=bool)
    where[:, 57] = True
    where[::23, ::19] = True
    return where


def _coordinates(truth: Transform, right_ascension: float) -> Any:
    """Carry the coordinates of the reference over to an image that lies on it by a map."""
    wcs = tangent_wcs(right_ascension, 20.0, 0.5 * SHAPE[1], 0.5 * SHAPE[0], SCALE, 0.0)
    x, y = truth(*(wcs.wcs.crpix - 1.0))
    wcs.wcs.crpix = float(x) + 1.0, float(y) + 1.0
    wcs.wcs.cd = wcs.wcs.cd @ np.linalg.inv(truth.matrix[:2, :2])
    wcs.wcs.set()
    return wcs


def _pair(truth: Transform) -> tuple[CCDData, CCDData]:
    return _image(truth, seed=2), _image(Transform.identity(), seed=1)


def _error(found: Transform, truth: Transform) -> float:
    """Largest distance between two maps over the field, in pixels."""
    x, y = (axis.ravel() for axis in np.meshgrid([0.0, SHAPE[1] - 1.0], [0.0, SHAPE[0] - 1.0]))
    return float(np.hypot(*np.subtract(found(x, y), truth(x, y))).max())


def _recovers(stage: ImageAligner, truth: Transform) -> None:
    error = _error(stage.align_images(*_pair(truth)), truth)
    require(error < TOLERANCE, f"the map is wrong by up to {error:.2f} pixel; {TOLERANCE} is allowed")


def _recovers_if_claimed(stage: ImageAligner, truth: Transform, what: str) -> None:
    try:
        _recovers(stage, truth)
    except FrameError as error:
        skip(f"it does not claim to follow {what}; it raised FrameError: {error}")


def typical(stage: ImageAligner) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Give a call to try: a shift, which every aligner follows."""
    yield "align_images", _pair(SHIFT)


def maps_from_the_reference_to_the_image(stage: ImageAligner) -> None:
    """The map takes positions of the reference to positions of the image, not back."""
    found = stage.align_images(*_pair(SHIFT))
    require(
        _error(found, SHIFT) < _error(found, SHIFT.inverse()),
        "the map runs from the image to the reference; return its inverse()",
    )


def follows_a_shift(stage: ImageAligner) -> None:
    """A shift of some pixels and a fraction is recovered."""
    _recovers(stage, SHIFT)


def follows_a_large_shift(stage: ImageAligner) -> None:
    """A shift by a quarter of the field is recovered, or refused with a FrameError."""
    _recovers_if_claimed(stage, Transform.similarity(0.25 * SHAPE[1], -0.2 * SHAPE[0]), "large shifts")


def follows_half_a_turn(stage: ImageAligner) -> None:
    """A camera turned round, as after a meridian flip, is followed or refused."""
    turned = Transform.similarity(SHAPE[1] - 3.0, SHAPE[0] + 2.0, rotation=179.0)
    _recovers_if_claimed(stage, turned, "half a turn")


def does_not_look_at_masked_pixels(stage: ImageAligner) -> None:
    """What stands in masked pixels of either image changes nothing."""
    image, reference = _pair(SHIFT)
    before = stage.align_images(image, reference).matrix
    for value in RUBBISH:
        spoilt = [disturbed(picture, _masked(), value) for picture in (image, reference)]
        for new, old in zip(spoilt, (image, reference), strict=True):
            new.wcs = old.wcs
        after = stage.align_images(*spoilt).matrix
        require(np.array_equal(before, after), f"masked pixels with the value {value:g} change the map")


def refuses_fields_that_have_nothing_in_common(stage: ImageAligner) -> None:
    """Two unrelated fields are a FrameError with a reason, not a map."""
    _refuses(stage, _image(SHIFT, seed=3, field=2, right_ascension=210.0), "two unrelated fields")


def refuses_an_image_without_anything(stage: ImageAligner) -> None:
    """An image of the sky alone, without coordinates, is a FrameError with a reason."""
    empty = Scene([-500.0], [-500.0], [1.0])
    _refuses(stage, simulate_image(empty, SHAPE, sky=200.0, seed=4).image, "an image of noise without coordinates")


def _refuses(stage: ImageAligner, image: CCDData, what: str) -> None:
    try:
        stage.align_images(image, _image(Transform.identity(), seed=1))
    except FrameError as error:
        require(str(error).strip(), f"the FrameError for {what} has no message")
        return
    require(False, f"it gave a map for {what}; raise FrameError with the reason")


def refuses_lists_of_sources(stage: ImageAligner) -> None:
    """Lists of sources alone are a FrameError: this aligner looks at images."""
    few = Sources.make([1.0, 2.0, 5.0], [3.0, 1.0, 4.0])
    try:
        stage.align(few, few)
    except FrameError:
        return
    require(False, "it aligned lists of sources; derive it from Aligner, or leave align() as it is")


CHECKS: list[Check] = [
    maps_from_the_reference_to_the_image,
    follows_a_shift,
    follows_a_large_shift,
    follows_half_a_turn,
    does_not_look_at_masked_pixels,
    refuses_fields_that_have_nothing_in_common,
    refuses_an_image_without_anything,
    refuses_lists_of_sources,
]
