"""Fringes: their amplitude and its error against the truth, and what is left of them."""

from functools import cache

import numpy as np
import pytest

from albireo import Flag, Frame, FrameError, apply_terms, flags_of, image, variance_of
from albireo.testing import Profile, Scene, simulate_image
from albireo_calibration import Fringe

SHAPE = (256, 300)
SKY, READ_NOISE = 1000.0, 5.0
FRAME = Frame("s.fits", kind="science", shape=SHAPE)
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]]


@cache
def pattern(rms=0.03):
    """Two systems of fringes around zero, in units of the sky."""
    wave = np.sin(0.21 * X + 0.13 * Y + 6e-4 * X * Y) + 0.5 * np.sin(0.1 * X - 0.17 * Y)
    return (rms * wave / wave.std()).astype(np.float32)


def master(rng, noise=0.005):
    return image(pattern() + noise * rng.standard_normal(SHAPE), "", variance=np.full(SHAPE, noise**2))


def exposure(rng, amplitude, stars=0.0):
    light = SKY * (1.0 + 0.1 * (X / SHAPE[1] - 0.5) + 0.05 * (Y / SHAPE[0]) ** 2) + amplitude * pattern() + stars
    data = rng.poisson(light) + READ_NOISE * rng.standard_normal(SHAPE)
    return image(data, "electron", variance=np.maximum(data, 0.0) + READ_NOISE**2, flags=np.zeros(SHAPE, np.uint16))


def field(number, seed):
    scene = Scene.field(SHAPE, number, 3e5, 1e3, separation=4.0, seed=seed)
    return simulate_image(scene, SHAPE, profile=Profile(4.0, 3.0), sky=0.0).expected


def amplitude_of(terms):
    """What the header says: the amplitude and its error."""
    words = terms.note.split()
    assert (words[0], words[1], words[3], words[5]) == ("fringe:", "amplitude", "+-", "electron")
    return float(words[2]), float(words[4])


@pytest.mark.parametrize("noise", [0.0, 0.015], ids=["exact master", "noisy master"])
@pytest.mark.parametrize("stars", [0, 60], ids=["empty", "stars"])
def test_the_amplitude_is_found_within_its_error(stars, noise):
    rng = np.random.default_rng(1)
    number = 20
    pulls = []
    for n in range(number):
        amplitude = rng.uniform(300.0, 1500.0)
        picture = exposure(rng, amplitude, field(stars, n) if stars else 0.0)
        found, error = amplitude_of(Fringe(box=64).terms(picture, FRAME, {"fringe": master(rng, noise)}))
        assert error < 0.05 * amplitude
        pulls.append((found - amplitude) / error)
    assert abs(np.mean(pulls)) < 3.5 / np.sqrt(number)
    assert np.std(pulls) == pytest.approx(1.0, abs=4 / np.sqrt(2 * number))


def test_little_is_left_of_the_fringes_and_errors_are_true():
    rng = np.random.default_rng(2)
    for amplitude in (500.0, 2000.0):
        residuals, left = [], []
        for _ in range(6):
            picture, made = exposure(rng, amplitude), master(rng)
            result = apply_terms(picture, FRAME, [Fringe(box=64).terms(picture, FRAME, {"fringe": made})])
            clean = SKY * (1.0 + 0.1 * (X / SHAPE[1] - 0.5) + 0.05 * (Y / SHAPE[0]) ** 2)
            residuals.append((result.data - clean) / np.sqrt(variance_of(result)))
            left.append(((result.data - clean) * pattern()).sum() / np.square(pattern()).sum() / amplitude)
        assert np.abs(left).max() < 0.05
        assert np.square(residuals).mean() == pytest.approx(1.0, abs=0.03)


def test_stars_keep_their_light():
    rng = np.random.default_rng(3)
    stars = field(40, 5)
    picture, made = exposure(rng, 1000.0, stars), master(rng, 0.0)
    result = apply_terms(picture, FRAME, [Fringe(box=64).terms(picture, FRAME, {"fringe": made})])
    removed = picture.data - result.data
    bright = stars > 200.0
    # What goes from the pixels of stars is the pattern beneath them and nothing else.
    np.testing.assert_allclose(removed[bright], 1000.0 * pattern()[bright], atol=0.03 * 1000.0 * 0.09)


def test_a_frame_without_fringes_is_left_as_it_is():
    rng = np.random.default_rng(4)
    found, error = amplitude_of(Fringe(box=64).terms(exposure(rng, 0.0), FRAME, {"fringe": master(rng)}))
    assert abs(found) < 4 * error


def test_masked_and_missing_pixels_take_no_part():
    rng = np.random.default_rng(5)
    picture, made = exposure(rng, 1000.0), master(rng)
    clean, error = amplitude_of(Fringe(box=64).terms(picture, FRAME, {"fringe": made}))
    data, flags = picture.data.copy(), flags_of(picture).copy()
    data[:64], flags[:64] = 5e4 * pattern()[:64], Flag.BAD
    data[100:130] = np.nan
    holes = made.data.copy()
    holes[200, 200] = np.nan
    spoilt = image(data, "electron", variance=variance_of(picture), flags=flags)
    terms = Fringe(box=64).terms(spoilt, FRAME, {"fringe": image(holes, "", variance=variance_of(made))})
    assert amplitude_of(terms)[0] == pytest.approx(clean, abs=4 * error)
    result = apply_terms(spoilt, FRAME, [terms])
    assert flags_of(result)[200, 200] == Flag.NO_DATA
    assert (flags_of(result)[:64] == Flag.BAD).all()


def test_what_cannot_be_measured_says_why():
    rng = np.random.default_rng(6)
    picture = exposure(rng, 1000.0)
    noise = image(0.01 * rng.standard_normal(SHAPE), "", variance=np.full(SHAPE, 0.015**2))
    with pytest.raises(FrameError, match=r"the master fringe for s\.fits shows no pattern above its noise"):
        Fringe(box=64).terms(picture, FRAME, {"fringe": noise})
    lost = image(np.full(SHAPE, np.nan), "electron")
    with pytest.raises(FrameError, match=r"the fringes in s\.fits cannot be measured: 0 boxes of 64 pixels have"):
        Fringe(box=64).terms(lost, FRAME, {"fringe": master(rng)})
    with pytest.raises(FrameError, match="its master fringe 10 x 10; both must be trimmed by the same corrections"):
        Fringe(box=64).terms(picture, FRAME, {"fringe": image(np.ones((10, 10)), "")})
