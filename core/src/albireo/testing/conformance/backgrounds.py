"""What an estimator of the background must do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from albireo.frames import FrameError
from albireo.images import Flag
from albireo.roles import BackgroundEstimator
from albireo.sources import Background
from albireo.testing.conformance.kit import RUBBISH, Check, changed, disturbed, fingerprint, require, skip, with_flags
from albireo.testing.picture import Picture, simulate_image
from albireo.testing.scene import Scene
from albireo.testing.stars import Profile

__all__ = ["CHECKS", "typical"]

SHAPE = (320, 288)
LEVEL_TOLERANCE = 0.01
RMS_TOLERANCE = 0.03


def _sky(gradient: float = 0.0, sky: float = 400.0) -> Picture:
    """Some forty stars on a sky of 400 electrons, with a read noise of 6: the noise of a pixel is 20.9."""
    scene = Scene.field(SHAPE, 40, 6e4, 6e2, separation=25.0, seed=5)
    return simulate_image(
        scene, SHAPE, profile=Profile(3.0), sky=sky, gradient=(gradient, -0.5 * gradient), read_noise=6.0, seed=3
    )


def typical(stage: BackgroundEstimator) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Give a call to try."""
    yield "estimate", (_sky().image,)


def _well_formed(background: Background, shape: tuple[int, ...]) -> None:
    for name in ("level", "rms"):
        plane = getattr(background, name)
        require(plane.shape == shape, f"the {name} map has shape {plane.shape}, the image {shape}")
        require(plane.dtype == np.float32, f"the {name} map is {plane.dtype}; it must be float32")
        require(np.isfinite(plane).all(), f"the {name} map is not finite everywhere")
    require((background.rms > 0).all(), "the rms map is not positive everywhere")
    require(np.isfinite([background.median, background.median_rms]).all(), "median or median_rms is not finite")


def gives_maps(stage: BackgroundEstimator) -> None:
    """Level and rms are finite float32 maps of the image's shape, and two numbers for the frame go with them."""
    _well_formed(stage.estimate(_sky().image), SHAPE)


def finds_the_level_of_the_sky(stage: BackgroundEstimator) -> None:
    """The sky under some forty stars comes out right to 1 percent, in the map and as one number."""
    background = stage.estimate(_sky().image)
    if not background.level.any():
        skip("its level is zero: it is for images whose sky is subtracted")
    for name, value in (("median", background.median), ("map", float(np.median(background.level)))):
        require(
            abs(value / 400.0 - 1.0) < LEVEL_TOLERANCE, f"the level ({name}) is {value:.2f}; the truth is 400 electrons"
        )


def finds_the_noise_of_the_sky(stage: BackgroundEstimator) -> None:
    """The noise of one pixel comes out right to 3 percent, in the map and as one number."""
    background, truth = stage.estimate(_sky().image), _sky().background.median_rms
    for name, value in (("median_rms", background.median_rms), ("map", float(np.median(background.rms)))):
        require(
            abs(value / truth - 1.0) < RMS_TOLERANCE,
            f"the rms ({name}) is {value:.2f}; the truth is {truth:.2f} electrons per pixel",
        )


def follows_a_gradient(stage: BackgroundEstimator) -> None:
    """A sky that rises by a quarter over the image is followed to 2 percent over nine tenths of the image."""
    picture = _sky(gradient=0.35)
    level = stage.estimate(picture.image).level
    if np.ptp(level) == 0:
        skip("its map is constant: it does not claim to follow a gradient")
    off = np.abs(level / picture.sky - 1.0)
    require(
        np.quantile(off, 0.9) < 2 * LEVEL_TOLERANCE,
        f"a tenth of the map is off by more than {np.quantile(off, 0.9):.1%}",
    )


def honours_the_mask(stage: BackgroundEstimator) -> None:
    """What masked pixels hold has no influence."""
    where = np.zeros(SHAPE, dtype=bool)
    where[40:90, 100:160] = True
    where[::17, ::13] = True
    prints = [fingerprint(stage.estimate(disturbed(_sky().image, where, value))) for value in RUBBISH]
    part = changed(prints[0], prints[1]) or changed(prints[1], prints[2])
    require(not part, f"{part} depends on the value of masked pixels; leave them out")


def works_without_a_mask(stage: BackgroundEstimator) -> None:
    """An image without mask and flags gives what an image with nothing masked gives."""
    image = _sky().image
    plain = fingerprint(stage.estimate(with_flags(image, None)))
    part = changed(fingerprint(stage.estimate(with_flags(image, np.zeros(SHAPE, np.uint16)))), plain)
    require(not part, f"{part} differs between an image without mask and one where nothing is masked")


def survives_nan_pixels(stage: BackgroundEstimator) -> None:
    """Pixels that are NaN and not masked leave finite maps and the level as it was."""
    image = _sky().image
    clean = stage.estimate(image).median
    image.data[100:104, 30:33] = np.nan
    background = stage.estimate(with_flags(image, None))
    _well_formed(background, SHAPE)
    off = abs(background.median - clean)
    require(
        off < LEVEL_TOLERANCE * 400.0,
        f"twelve NaN pixels changed the level from {clean:.1f} to {background.median:.1f}",
    )


def refuses_an_image_that_is_all_masked(stage: BackgroundEstimator) -> None:
    """Nothing to estimate from is a FrameError, not a number."""
    flags = np.full(SHAPE, Flag.BAD, dtype=np.uint16)
    try:
        stage.estimate(with_flags(_sky().image, flags))
    except FrameError as error:
        require(str(error), "the FrameError has no message")
        return
    require(False, "it gave a background although every pixel is masked; raise FrameError with a reason")


def survives_a_tiny_image(stage: BackgroundEstimator) -> None:
    """An image of 5 by 6 pixels gives maps or a FrameError."""
    tiny = simulate_image(Scene([], [], []), (5, 6), sky=400.0)
    try:
        _well_formed(stage.estimate(tiny.image), (5, 6))
    except FrameError:
        return


CHECKS: list[Check] = [
    gives_maps,
    finds_the_level_of_the_sky,
    finds_the_noise_of_the_sky,
    follows_a_gradient,
    honours_the_mask,
    works_without_a_mask,
    survives_nan_pixels,
    refuses_an_image_that_is_all_masked,
    survives_a_tiny_image,
]
