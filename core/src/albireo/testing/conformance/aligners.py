"""What an aligner of lists of sources must do; `albireo.testing.conformance.image_aligners` has those of images.

The lists are made up, not measured on images: positions are known, have an error of 0.05 pixel, and three in ten
sources of each list have no partner in the other. Whether a map runs from the reference to the image or back is the
business of one check alone; the others accept either.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo.frames import FrameError
from albireo.roles import Aligner
from albireo.sources import Sources, Transform
from albireo.testing.conformance.kit import Check, ConformanceWarning, require, skip

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CHECKS", "typical"]

SIZE = 1000.0
"""Width of the made-up field in pixels."""
NOISE = 0.05
TOLERANCE = 0.15
"""Largest allowed error of a map anywhere in the field, in pixels: six times what thirty stars of error 0.05 leave."""
GENERAL = Transform.similarity(28.4, -17.3, rotation=2.5, scale=1.01)


def _lists(
    transform: Transform, stars: int = 50, outliers: float = 0.3, noise: float = NOISE, seed: int = 1
) -> tuple[Sources, Sources]:
    """Sources of an image and of the reference, brightest first."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, SIZE, stars), rng.uniform(0, SIZE, stars)
    flux = np.geomspace(2e5, 1e3, stars)
    there = transform(x, y)
    strange = rng.permutation(stars)[: round(outliers * stars)]
    lists = []
    for at in (there, (x, y)):
        px, py = (axis + noise * rng.standard_normal(stars) for axis in at)
        light = flux * rng.normal(1.0, 0.02, stars)
        corner = at[0].min(), at[1].min()
        px[strange] = corner[0] + rng.uniform(0, SIZE, strange.size)
        py[strange] = corner[1] + rng.uniform(0, SIZE, strange.size)
        order = np.argsort(light)[::-1]
        ones = np.ones(stars)
        sources = Sources.make(
            px, py, flux=light, a=1.3 * ones, b=1.3 * ones, theta=0 * ones, fwhm=3.06 * ones, peak=0.09 * light
        )
        lists.append(sources[order])
    return lists[0], lists[1]


def _error(found: Transform, truth: Transform) -> float:
    """Largest distance between two maps over the field, in pixels."""
    edge = np.array([0.0, 0.5, 1.0]) * SIZE
    x, y = (axis.ravel() for axis in np.meshgrid(edge, edge))
    apart: NDArray[np.float64] = np.hypot(*(np.subtract(a, b) for a, b in zip(found(x, y), truth(x, y), strict=True)))
    return float(apart.max())


def _recovers(stage: Aligner, truth: Transform, **options: Any) -> None:
    found = stage.align(*_lists(truth, **options))
    error = min(_error(found, truth), _error(found, truth.inverse()))
    require(error < TOLERANCE, f"the map is wrong by up to {error:.2f} pixel; {TOLERANCE} is allowed")


def _recovers_if_claimed(stage: Aligner, truth: Transform, what: str) -> None:
    try:
        _recovers(stage, truth)
    except FrameError as error:
        skip(f"it does not claim to follow {what}; it raised FrameError: {error}")


def typical(stage: Aligner) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Give a call to try: a shift, which every aligner follows."""
    yield "align", _lists(Transform.similarity(12.3, -7.7))


def follows_a_shift(stage: Aligner) -> None:
    """A shift of some pixels is recovered, with three in ten sources that have no partner."""
    _recovers(stage, Transform.similarity(12.3, -7.7))


def maps_from_the_reference_to_the_image(stage: Aligner) -> None:
    """The map takes positions of the reference to positions of the image, not back."""
    truth = Transform.similarity(12.3, -7.7)
    found = stage.align(*_lists(truth))
    require(
        _error(found, truth) < _error(found, truth.inverse()),
        "the map runs from the image to the reference; return its inverse()",
    )


def follows_a_large_shift(stage: Aligner) -> None:
    """A shift by a third of the field is recovered, or refused with a FrameError."""
    _recovers_if_claimed(stage, Transform.similarity(0.33 * SIZE, -0.2 * SIZE), "large shifts")


def follows_a_rotation(stage: Aligner) -> None:
    """A rotation by 3 degrees is recovered, or refused with a FrameError; never followed wrongly."""
    _recovers_if_claimed(stage, Transform.similarity(37.0, -12.0, rotation=3.0), "a rotation")


def follows_half_a_turn(stage: Aligner) -> None:
    """A camera turned round, as after a meridian flip, is followed or refused."""
    _recovers_if_claimed(stage, Transform.similarity(SIZE, SIZE, rotation=179.0), "half a turn")


def follows_a_change_of_scale(stage: Aligner) -> None:
    """A scale of 1.02, as of another filter or camera, is followed or refused."""
    _recovers_if_claimed(stage, Transform.similarity(5.0, 8.0, rotation=1.0, scale=1.02), "a change of scale")


def follows_a_mirrored_field(stage: Aligner) -> None:
    """A mirrored image is followed or refused."""
    _recovers_if_claimed(stage, Transform.similarity(SIZE, 10.0, rotation=2.0, mirrored=True), "a mirrored field")


def is_not_misled_by_strangers(stage: Aligner) -> None:
    """With half of the sources of each list unknown to the other the map is right or refused."""
    try:
        _recovers(stage, Transform.similarity(12.3, -7.7), outliers=0.5, stars=60)
    except FrameError:
        return


def refuses_fields_that_have_nothing_in_common(stage: Aligner) -> None:
    """Two unrelated lists are a FrameError with a reason, not a map."""
    _refuses(stage, _lists(GENERAL, seed=1)[0], _lists(GENERAL, seed=2)[1], "two unrelated fields")


def refuses_empty_lists(stage: Aligner) -> None:
    """No source in the image, or in the reference, is a FrameError with a reason."""
    sources, reference = _lists(GENERAL)
    _refuses(stage, sources[:0], reference, "an image without sources")
    _refuses(stage, sources, reference[:0], "a reference without sources")


def _refuses(stage: Aligner, sources: Sources, reference: Sources, what: str) -> None:
    try:
        stage.align(sources, reference)
    except FrameError as error:
        require(str(error).strip(), f"the FrameError for {what} has no message")
        return
    require(False, f"it gave a map for {what}; raise FrameError with the reason")


def survives_a_few_stars(stage: Aligner) -> None:
    """One, two and three stars give a finite map or a FrameError."""
    truth = Transform.similarity(4.0, -3.0)
    for stars in (1, 2, 3):
        sources, reference = _lists(truth, stars=stars, outliers=0.0, noise=0.0)
        try:
            found = stage.align(sources, reference)
        except FrameError:
            continue
        require(np.isfinite(found.matrix).all(), f"the map of {stars} stars is not finite")


def says_how_good_the_map_is(stage: Aligner) -> None:
    """The map has the number of matched stars and their rms, which the report shows (a warning)."""
    found = stage.align(*_lists(Transform.similarity(12.3, -7.7)))
    if not (found.matched > 0 and found.rms == found.rms):
        warnings.warn("matched or rms is not set on the Transform", ConformanceWarning, stacklevel=2)
        return
    require(found.rms < 10 * NOISE, f"rms is {found.rms:.2f} pixel; the positions have an error of {NOISE}")
    require(found.matched <= 50, f"{found.matched} stars matched of 50")


CHECKS: list[Check] = [
    follows_a_shift,
    maps_from_the_reference_to_the_image,
    follows_a_large_shift,
    follows_a_rotation,
    follows_half_a_turn,
    follows_a_change_of_scale,
    follows_a_mirrored_field,
    is_not_misled_by_strangers,
    refuses_fields_that_have_nothing_in_common,
    refuses_empty_lists,
    survives_a_few_stars,
    says_how_good_the_map_is,
]
