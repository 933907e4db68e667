"""What an estimator of the PSF must do.

No estimator is asked for more than the widths of stars that are Gaussians; one that knows only round stars is honest.
What it says of elongation and angle must be true, and its shares must be those of a whole star.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo.frames import FrameError
from albireo.images import Flag
from albireo.psf import PSF
from albireo.roles import PSFEstimator
from albireo.sources import Sources
from albireo.testing.conformance.kit import (
    RUBBISH,
    Check,
    changed,
    disturbed,
    fingerprint,
    patch,
    require,
    skip,
    with_flags,
)
from albireo.testing.picture import Picture, simulate_image
from albireo.testing.scene import Scene
from albireo.testing.stars import Profile

if TYPE_CHECKING:
    from astropy.nddata import CCDData

__all__ = ["CHECKS", "typical"]

SHAPE = (256, 256)
WIDTH_TOLERANCE = 0.05
"""Of the width, relative; a fit to thirty such stars scatters by less than 0.01."""
PEAK_TOLERANCE = 0.1
"""Of the share in the middle pixel, relative: it goes with the width squared."""
THETA_TOLERANCE = 5.0
"""In degrees."""
ELONGATED = 1.1
"""Elongation from which an angle is held against the truth."""
MOST_BYTES = 1 << 16
"""That the arrays of a PSF may take, one set for each frame of a run."""


def _field(fwhm: float = 3.5, elongation: float = 1.0, theta: float = 0.0) -> Picture:
    """Thirty-six isolated stars on a sky of 100, with signal to noise from 60 to 300."""
    scene = Scene.grid(SHAPE, 40.0, 9e4, 6e3, seed=12)
    profile = Profile(fwhm, elongation=elongation, theta=theta)
    return simulate_image(scene, SHAPE, profile=profile, sky=100.0, read_noise=5.0, seed=3)


def _fitted(stage: PSFEstimator, picture: Picture, image: CCDData | None = None) -> PSF:
    psf = stage.fit(picture.image if image is None else image, picture.sources, picture.background)
    require(isinstance(psf, PSF), f"thirty-six bright stars that stand alone gave {psf!r} instead of a PSF")
    assert psf is not None
    return psf


def _like_the_clean_field(stage: PSFEstimator, psf: PSF, what: str) -> None:
    clean = _fitted(stage, _field()).fwhm
    require(
        abs(psf.fwhm / clean - 1.0) < WIDTH_TOLERANCE,
        f"the width {what} is {psf.fwhm:.2f} pixels; that of thirty-six clean stars like it is {clean:.2f}",
    )


def typical(stage: PSFEstimator) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Give a call to try."""
    picture = _field()
    yield "fit", (picture.image, picture.sources, picture.background)


def widths_are_right(stage: PSFEstimator) -> None:
    """The width of Gaussian stars, 2.5 to 6 pixels wide, is right to 5 percent, and so is the share in the middle."""
    for fwhm in (2.5, 3.5, 6.0):
        picture = _field(fwhm)
        psf = _fitted(stage, picture)
        off = psf.fwhm / fwhm - 1.0
        require(abs(off) < WIDTH_TOLERANCE, f"stars {fwhm:g} pixels wide gave a width of {psf.fwhm:.2f} ({off:+.1%})")
        share, truth = (float(p.stamps([0.0], [0.0], 1)[0, 1, 1]) for p in (psf, picture.psf))
        require(
            abs(share / truth - 1.0) < PEAK_TOLERANCE,
            f"the pixel in the middle of a star {fwhm:g} pixels wide gets {share:.4f} of the light; the truth is "
            f"{truth:.4f}",
        )


def shares_are_of_a_whole_star(stage: PSFEstimator) -> None:
    """Shares of all pixels add up to one, but for faint wings."""
    total = float(_fitted(stage, _field()).stamps([0.2], [-0.3], 30).sum())
    require(0.95 < total < 1.01, f"the pixels within 30 of a star hold {total:.3f} of its light; it must be all")


def angles_are_right(stage: PSFEstimator) -> None:
    """The position angle of elongated stars is in radians, counter-clockwise from +x."""
    for theta in (0.4, -1.1):
        psf = _fitted(stage, _field(4.0, 1.4, theta))
        if psf.elongation < ELONGATED:
            skip("it knows only round stars")
        require(
            abs(psf.elongation / 1.4 - 1.0) < 2.0 * WIDTH_TOLERANCE,
            f"stars with an elongation of 1.4 gave one of {psf.elongation:.2f}",
        )
        off = np.rad2deg((psf.theta - theta + 0.5 * np.pi) % np.pi - 0.5 * np.pi)
        require(
            abs(off) < THETA_TOLERANCE,
            f"stars at {np.rad2deg(theta):.0f} degrees ({theta:g} radians) gave theta = {psf.theta:.2f}, off by "
            f"{off:.0f} degrees",
        )


def survives_a_product(stage: PSFEstimator) -> None:
    """The PSF comes back from the numbers and arrays that a product holds, which are small."""
    psf = _fitted(stage, _field())
    require(0 < psf.stars <= 36, f"it says it was measured from {psf.stars} stars; there were 36")
    arrays = psf.arrays()
    require(all(name.startswith("psf_") for name in arrays), f"names of arrays are {', '.join(arrays)}; see PSF.arrays")
    size = sum(array.nbytes for array in arrays.values())
    require(size <= MOST_BYTES, f"its arrays take {size} bytes, more than {MOST_BYTES}; sample it less finely")
    require(PSF.restore(psf.numbers(), arrays) == psf, "what comes back from a product is another PSF")


def honours_the_mask(stage: PSFEstimator) -> None:
    """What a masked pixel holds has no influence."""
    picture = _field()
    bad = patch(SHAPE, picture.sources, 14) | patch(SHAPE, picture.sources, 20, dx=3)
    results = [_fitted(stage, picture, disturbed(picture.image, bad, value)) for value in RUBBISH]
    first = fingerprint(results[0])
    part = next((p for p in (changed(first, fingerprint(other)) for other in results[1:]) if p), "")
    require(not part, f"{part!r} depends on the value of a masked pixel")


def survives_nan_pixels(stage: PSFEstimator) -> None:
    """A NaN that nobody has masked does not spoil the PSF."""
    picture = _field()
    data = picture.image.data.copy()
    data[patch(SHAPE, picture.sources, 20)] = np.nan
    psf = _fitted(stage, picture, with_flags(picture.image, picture.image.flags, data))
    _like_the_clean_field(stage, psf, "with a NaN in one star")


def works_without_a_mask(stage: PSFEstimator) -> None:
    """An image without mask and flags gives what an image with nothing masked gives."""
    picture = _field()
    plain = _fitted(stage, picture, with_flags(picture.image, None))
    empty = _fitted(stage, picture, with_flags(picture.image, np.zeros(SHAPE, np.uint16)))
    part = changed(fingerprint(empty), fingerprint(plain))
    require(not part, f"{part!r} differs between an image without mask and one where nothing is masked")


def ignores_saturated_stars(stage: PSFEstimator) -> None:
    """A saturated star, which is brighter and wider than the others, has no influence on the width."""
    scene = Scene.grid(SHAPE, 40.0, 9e4, 6e3, seed=12)
    flux = scene.flux.copy()
    flux[[7, 22]] = 5e6
    picture = simulate_image(
        Scene(scene.x, scene.y, flux), SHAPE, profile=Profile(3.5), sky=100.0, saturation=2e4, seed=5
    )
    wide = (picture.sources.flags & np.uint16(Flag.SATURATED)) != 0
    order = np.argsort(-flux, kind="stable")
    sources = replace(picture.sources, **{n: np.where(wide, 9.0, getattr(picture.sources, n)) for n in ("fwhm", "a")})
    psf = stage.fit(picture.image, sources[order], picture.background)
    require(psf is not None, "thirty-four good stars beside two saturated ones gave no PSF")
    assert psf is not None
    _like_the_clean_field(stage, psf, "with two saturated stars")


def gives_nothing_without_stars(stage: PSFEstimator) -> None:
    """An empty list of sources, or one with saturated sources only, gives None."""
    picture = _field()
    nothing = Sources.make([], [])
    require(stage.fit(picture.image, nothing, picture.background) is None, "no sources gave a PSF; give None")
    full = replace(picture.sources, flags=np.full(len(picture.sources), Flag.SATURATED, np.uint16))
    require(stage.fit(picture.image, full, picture.background) is None, "saturated sources gave a PSF; give None")


def one_star_is_enough_or_none(stage: PSFEstimator) -> None:
    """A single bright star gives its width, or None where that is too few."""
    picture = simulate_image(Scene([60.3], [50.8], [5e4]), (100, 120), profile=Profile(3.5), seed=2)
    psf = stage.fit(picture.image, picture.sources, picture.background)
    if psf is not None:
        _like_the_clean_field(stage, psf, "of one star")
        require(psf.stars == 1, f"it says it was measured from {psf.stars} stars; there was one")


def survives_a_tiny_image(stage: PSFEstimator) -> None:
    """An image of 7 by 9 pixels gives a PSF, None, or a FrameError."""
    picture = simulate_image(Scene([4.2], [3.1], [3e3]), (7, 9), profile=Profile(3.0))
    try:
        psf = stage.fit(picture.image, picture.sources, picture.background)
    except FrameError:
        return
    require(psf is None or isinstance(psf, PSF), f"it gave {type(psf).__name__} instead of a PSF")


CHECKS: list[Check] = [
    widths_are_right,
    shares_are_of_a_whole_star,
    angles_are_right,
    survives_a_product,
    honours_the_mask,
    survives_nan_pixels,
    works_without_a_mask,
    ignores_saturated_stars,
    gives_nothing_without_stars,
    one_star_is_enough_or_none,
    survives_a_tiny_image,
]
