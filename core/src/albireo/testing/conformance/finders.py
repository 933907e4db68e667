"""What a finder must do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo.frames import FrameError
from albireo.roles import Finder
from albireo.sources import Sources
from albireo.testing.conformance.kit import RUBBISH, Check, changed, disturbed, fingerprint, require, skip, with_flags
from albireo.testing.picture import Picture, simulate_image
from albireo.testing.scene import Scene
from albireo.testing.stars import Profile

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

__all__ = ["CHECKS", "typical"]

SHAPE = (320, 320)
COMPLETE = 20.0
"""Signal to noise (of an optimal measurement) above which every isolated star must be found."""
FALSE_ALARMS = 3
"""Detections allowed on a hundred thousand pixels of empty sky."""
FWHM_TOLERANCE = 0.05
THETA_TOLERANCE = 2.0
"""In degrees."""
CENTROID = 2.5
"""Allowed rms of position errors, relative to a matched filter's: sigma of the profile over signal to noise."""
OFFSET = 0.01
"""Allowed mean position error in pixels, beside what the noise explains."""


def _field(elongation: float = 1.0, theta: float = 0.0, fwhm: float = 4.0) -> Picture:
    """Forty-nine isolated stars on a sky of 150, with signal to noise from 25 to 250."""
    scene = Scene.grid(SHAPE, 45.0, 7e4, 2500.0, seed=8)
    profile = Profile(fwhm, elongation=elongation, theta=theta)
    return simulate_image(scene, SHAPE, profile=profile, sky=150.0, read_noise=5.0, seed=4)


def _found(stage: Finder, picture: Picture, image: CCDData | None = None) -> Sources:
    return stage.find(picture.image if image is None else image, picture.background)


def _match(found: Sources, truth: Sources) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """For each true star the nearest source, and how far it is."""
    if len(found) == 0:
        return np.zeros(len(truth), dtype=np.intp), np.full(len(truth), np.inf)
    distance = np.hypot(found.x[None, :] - truth.x[:, None], found.y[None, :] - truth.y[:, None])
    nearest = np.argmin(distance, axis=1)
    return nearest, np.take_along_axis(distance, nearest[:, None], axis=1)[:, 0]


def _all_found(stage: Finder, picture: Picture) -> Sources:
    found = _found(stage, picture)
    nearest, distance = _match(found, picture.sources)
    seen = distance < 2.0
    if not seen.any():
        skip("it found no star at all; see the check of completeness")
    return found[nearest[seen]]


def typical(stage: Finder) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Give a call to try."""
    picture = _field()
    yield "find", (picture.image, picture.background)


def finds_the_stars(stage: Finder) -> None:
    """Every isolated star with signal to noise above 20 is found."""
    picture = _field()
    _, distance = _match(_found(stage, picture), picture.sources)
    bright = picture.snr > COMPLETE
    lost = bright & ~(distance < 2.0)
    require(
        not lost.any(),
        f"{lost.sum()} of {bright.sum()} stars were not found; the brightest of them has a signal to noise of "
        f"{picture.snr[lost].max() if lost.any() else 0:.0f}",
    )


def positions_are_right(stage: Finder) -> None:
    """Positions have no offset (the first pixel has its centre at 0) and scatter at most 2.5 times a fit's."""
    picture = _field()
    found = _found(stage, picture)
    nearest, distance = _match(found, picture.sources)
    seen = distance < 2.0
    if not seen.any():
        near = picture.sources
        swapped = Sources.make(found.y, found.x) if len(found) else found
        if len(found) and (_match(swapped, near)[1] < 2.0).any():
            require(False, "x and y are exchanged: x counts columns")
        skip("it found no star at all; see the check of completeness")
    expected = picture.profile.width / picture.snr[seen]
    for axis in ("x", "y"):
        off = getattr(found, axis)[nearest[seen]] - getattr(picture.sources, axis)[seen]
        weight = expected**-2.0
        mean, error = np.average(off, weights=weight), CENTROID * np.sqrt(1.0 / weight.sum())
        require(
            abs(mean) < OFFSET + 3.0 * error,
            f"{axis} is off by {mean:+.3f} pixel on average; the centre of the first pixel is 0",
        )
        scatter = np.sqrt(np.mean((off / np.hypot(expected, OFFSET)) ** 2))
        require(scatter < CENTROID, f"{axis} scatters by {scatter:.1f} times what a fit to the profile would")


def brightest_first(stage: Finder) -> None:
    """The list is in order of flux, all fluxes are known, and they follow the truth."""
    picture = _field()
    found = _found(stage, picture)
    require(np.isfinite(found.flux).all(), "some sources have no flux")
    require((np.diff(found.flux) <= 0).all(), "the list is not in order of flux, brightest first")
    nearest, distance = _match(found, picture.sources)
    seen = distance < 2.0
    if seen.sum() > 2:
        share = found.flux[nearest[seen]] / picture.sources.flux[seen]
        bright = picture.snr[seen] > 50
        require(
            np.ptp(share[bright]) < 0.25 * np.median(share[bright]),
            f"fluxes of bright stars are between {share[bright].min():.2f} and {share[bright].max():.2f} of the truth",
        )


def finds_nothing_in_noise(stage: Finder) -> None:
    """A hundred thousand pixels of empty sky give three sources at most, and no error."""
    picture = simulate_image(Scene([], [], []), SHAPE, sky=150.0, seed=9)
    found = _found(stage, picture)
    require(len(found) <= FALSE_ALARMS, f"{len(found)} sources on an empty sky")


def widths_are_right(stage: Finder) -> None:
    """The full width at half maximum of bright Gaussian stars, pixels included, is right to 5 percent."""
    picture = _field(fwhm=5.0)
    found = _all_found(stage, picture)
    bright = found[np.argsort(found.flux)[::-1][:20]]
    # A pixel adds a variance of 1/12 square pixel.
    truth = np.sqrt(picture.profile.fwhm**2 + 8.0 * np.log(2.0) / 12.0)
    width = float(np.median(bright.fwhm))
    require(
        abs(width / truth - 1.0) < FWHM_TOLERANCE, f"the median fwhm is {width:.2f} pixel; the truth is {truth:.2f}"
    )


def angles_are_right(stage: Finder) -> None:
    """Stars elongated at 40 degrees, counter-clockwise from +x, come out at 40 degrees, in radians, with a above b."""
    picture = _field(elongation=1.5, theta=float(np.deg2rad(40.0)), fwhm=5.0)
    found = _all_found(stage, picture)
    bright = found[np.argsort(found.flux)[::-1][:20]]
    require((bright.a >= bright.b).all(), "the semi-axis a is smaller than b")
    double = 2.0 * bright.theta
    angle = float(np.rad2deg(0.5 * np.arctan2(np.mean(np.sin(double)), np.mean(np.cos(double)))))
    require(abs(angle - 40.0) < THETA_TOLERANCE, f"the angle is {angle:.1f} degrees; the truth is 40")
    ratio = float(np.median(bright.a / bright.b))
    require(abs(ratio / 1.5 - 1.0) < 0.1, f"the elongation is {ratio:.2f}; the truth is 1.5")


def honours_the_mask(stage: Finder) -> None:
    """What masked pixels hold has no influence; a masked defect is no source."""
    picture = _field()
    where = np.zeros(SHAPE, dtype=bool)
    where[44:47, 44:47] = True
    where[:, 182] = True
    lists = [_found(stage, picture, disturbed(picture.image, where, value)) for value in RUBBISH]
    prints = [fingerprint(found) for found in lists]
    part = changed(prints[0], prints[1]) or changed(prints[1], prints[2])
    require(not part, f"{part} depends on the value of masked pixels; leave them out")
    defect = np.hypot(lists[0].x - 45.0, lists[0].y - 45.0) < 3.0
    require(not defect.any(), "a masked defect of 3 by 3 pixels was found as a source")


def works_without_a_mask(stage: Finder) -> None:
    """An image without mask and flags gives what an image with nothing masked gives."""
    picture = _field()
    plain = _found(stage, picture, with_flags(picture.image, None))
    empty = _found(stage, picture, with_flags(picture.image, np.zeros(SHAPE, np.uint16)))
    part = changed(fingerprint(empty), fingerprint(plain))
    require(not part, f"{part} differs between an image without mask and one where nothing is masked")


def survives_nan_pixels(stage: Finder) -> None:
    """A NaN that nobody has masked costs at most the star it is in, and gives no position that is NaN."""
    picture = _field()
    data = picture.image.data
    row, column = round(float(picture.sources.y[10])), round(float(picture.sources.x[10]))
    data[row, column] = np.nan
    found = _found(stage, picture, with_flags(picture.image, np.zeros(SHAPE, np.uint16), data))
    require(np.isfinite(found.x).all() and np.isfinite(found.y).all(), "a source has a position that is NaN")
    before, after = (_match(sources, picture.sources)[1] < 2.0 for sources in (_found(stage, picture), found))
    lost = before & ~after
    lost[10] = False
    require(not lost.any(), f"a NaN pixel in one star cost {lost.sum()} others")


def survives_hard_stars(stage: Finder) -> None:
    """Saturated stars and stars at the edge give no error; a source in a saturated star has a flag."""
    scene = Scene([80.0, 0.2, 200.0, 319.0], [90.0, 150.0, 318.7, 0.0], [6e6, 4e4, 4e4, 4e4])
    picture = simulate_image(scene, SHAPE, profile=Profile(4.0), sky=150.0, saturation=5e4, seed=6)
    found = _found(stage, picture)
    require(np.isfinite(found.x).all() and np.isfinite(found.y).all(), "a source has a position that is NaN")
    here = np.hypot(found.x - 80.0, found.y - 90.0) < 4.0
    require((found.flags[here] != 0).all(), "a source in a saturated star has no flag")


def survives_a_tiny_image(stage: Finder) -> None:
    """An image of 6 by 5 pixels gives a list or a FrameError."""
    picture = simulate_image(Scene([2.0], [3.0], [5e3]), (6, 5), sky=150.0)
    try:
        found = _found(stage, picture)
    except FrameError:
        return
    require(isinstance(found, Sources), f"it gave {type(found).__name__} instead of Sources")


CHECKS: list[Check] = [
    finds_the_stars,
    positions_are_right,
    brightest_first,
    finds_nothing_in_noise,
    widths_are_right,
    angles_are_right,
    honours_the_mask,
    works_without_a_mask,
    survives_nan_pixels,
    survives_hard_stars,
    survives_a_tiny_image,
]
