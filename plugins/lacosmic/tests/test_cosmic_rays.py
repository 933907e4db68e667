"""Cosmic rays: found as the plain formulas say, not taken from stars, and replaced with true error bars."""

import builtins
import logging

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from albireo import Amplifier, Flag, Frame, FrameError, Section, flags_of, image, variance_of
from albireo.testing import Profile, Scene, simulate_image
from albireo_lacosmic import CosmicRays

FRAME = Frame("a.fits", shape=(1, 1))
READ_NOISE = 5.0


def correct(picture, **options):
    return CosmicRays(**options).correct(picture, FRAME, {})


def hit(picture, **options):
    return (flags_of(correct(picture, **options)) & Flag.COSMIC_RAY) != 0


def tracks(shape, number, electrons, seed):
    """Straight tracks of 1 to 15 pixels at random places, each pixel of length with so many electrons."""
    rng = np.random.default_rng(seed)
    charge = np.zeros(shape, np.float32)
    for _ in range(number):
        y, x, angle = rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), rng.uniform(0, 2 * np.pi)
        length = min(1.0 + rng.exponential(4.0), 15.0)
        steps = np.linspace(0.0, length, int(16 * length))
        rows = np.floor(y + steps * np.sin(angle)).astype(int)
        columns = np.floor(x + steps * np.cos(angle)).astype(int)
        inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
        np.add.at(charge, (rows[inside], columns[inside]), np.float32(electrons * length / steps.size))
    return charge


def with_charge(picture, charge, seed=9):
    """Add electrons with their own photon-like noise, which the variance plane knows as well."""
    extra = np.random.default_rng(seed).poisson(charge).astype(np.float32)
    return image(
        picture.data + extra, "electron", variance=variance_of(picture) + extra, flags=flags_of(picture).copy()
    )


def sky(level, shape=(300, 300), seed=1):
    return simulate_image(Scene([], [], []), shape, sky=level, read_noise=READ_NOISE, seed=seed).image


def field(shape=(300, 300), stars=40, seed=1, **options):
    scene = Scene.field(shape, stars, 1e6, 300.0, separation=12.0, seed=seed)
    return simulate_image(scene, shape, sky=200.0, read_noise=READ_NOISE, seed=seed, **options).image


# --- the formulas, once more and as they are written ------------------------------------------------------------------


def window_median(plane, size):
    return np.median(sliding_window_view(np.pad(plane, size // 2, mode="symmetric"), (size, size)), axis=(2, 3))


def grown(mask):
    return sliding_window_view(np.pad(mask, 1), (3, 3)).any(axis=(2, 3))


def by_the_book(data, variance, sigclip=4.5, sigfrac=0.3, objlim=5.0, rounds=4):
    """L.A.Cosmic on whole planes: an image of twice the size, convolved, averaged, compared."""
    data, variance, rays = data.astype(float), variance.astype(float), np.zeros(data.shape, bool)
    for _ in range(rounds):
        large = np.pad(np.kron(data, np.ones((2, 2))), 1, mode="edge")
        curved = 4 * large[1:-1, 1:-1] - large[:-2, 1:-1] - large[2:, 1:-1] - large[1:-1, :-2] - large[1:-1, 2:]
        laplacian = np.maximum(curved, 0).reshape(data.shape[0], 2, data.shape[1], 2).mean(axis=(1, 3))
        noise = np.sqrt(window_median(variance, 5))
        sharp = laplacian / (2 * noise)
        excess = sharp - window_median(sharp, 5)
        smooth = window_median(data, 3)
        fine = np.maximum((smooth - window_median(smooth, 7)) / noise, 0.01)
        found = (excess > sigclip) & (excess / fine > objlim)
        found = grown(found) & (excess > sigclip)
        found = grown(found) & (excess > sigfrac * sigclip)
        if not (found & ~rays).any():
            break
        rays |= found
        cleaned = []
        for plane in (data, variance):
            windows = sliding_window_view(np.pad(np.where(rays, np.nan, plane), 2, constant_values=np.nan), (5, 5))
            cleaned.append(np.where(rays, np.nanmedian(windows, axis=(2, 3)), plane))
        data, variance = cleaned
    return rays


@pytest.mark.parametrize("level", [5.0, 200.0, 5000.0])
def test_the_mask_is_that_of_the_formulas(level):
    scene = Scene.field((150, 160), 20, 1e6, 300.0, separation=12.0, margin=5.0, seed=2)
    picture = simulate_image(scene, (150, 160), profile=Profile(2.2, 3.0), sky=level, read_noise=READ_NOISE, seed=3)
    charged = with_charge(picture.image, tracks((150, 160), 40, 20 * np.sqrt(level + 25), seed=4))
    expected = by_the_book(charged.data, variance_of(charged))
    found = hit(charged)
    assert expected.sum() > 100
    np.testing.assert_array_equal(found, expected)


def test_without_numba_the_result_is_the_same(monkeypatch, caplog):
    picture = with_charge(field(profile=Profile(2.5)), tracks((300, 300), 60, 600.0, seed=5))
    flags = flags_of(picture)
    flags[100:140, 60:100] = Flag.BAD
    picture = image(picture.data, "electron", variance=variance_of(picture), flags=flags)
    compiled = correct(picture, treat="interpolate")
    real = builtins.__import__

    def without_kernels(name, globals=None, locals=None, fromlist=(), level=0):
        if name == "albireo_lacosmic" and "kernels" in (fromlist or ()):
            raise ImportError("No module named 'numba'")
        return real(name, globals, locals, fromlist, level)

    monkeypatch.setattr(builtins, "__import__", without_kernels)
    with caplog.at_level(logging.WARNING):
        plain = correct(picture, treat="interpolate")
    assert "No module named 'numba'" in caplog.text
    for one, other in ((compiled.data, plain.data), (flags_of(compiled), flags_of(plain))):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(variance_of(compiled), variance_of(plain))
    assert compiled.meta["HISTORY"] == plain.meta["HISTORY"]


# --- truth ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fwhm", "beta"), [(2.0, np.inf), (2.0, 3.0), (3.0, 3.0), (6.0, np.inf)])
@pytest.mark.parametrize("level", [5.0, 200.0, 5000.0])
def test_cores_of_stars_are_left_alone(fwhm, beta, level):
    scene = Scene.grid((1000, 1000), 20.0, 3e6, 1000.0, seed=6)
    picture = simulate_image(
        scene, (1000, 1000), profile=Profile(fwhm, beta), sky=level, read_noise=READ_NOISE, saturation=1.5e5, seed=7
    )
    y, x = np.nonzero(hit(picture.image))
    distance = np.hypot(x[:, None] - scene.x, y[:, None] - scene.y).min(axis=1, initial=np.inf)
    # 2500 stars; of 10 000 one was touched in the worst of these cases.
    assert (distance < 1.5).sum() <= 3


@pytest.mark.parametrize("level", [5.0, 100.0, 1000.0, 10000.0])
def test_empty_noise_gives_few_false_rays(level):
    found = hit(sky(level, (1000, 1000)))
    assert found.sum() < 80  # 20 to 30 pixels per million were measured, in groups of about four


@pytest.mark.parametrize("level", [20.0, 1000.0])
@pytest.mark.parametrize(("snr", "single", "pixels"), [(7.0, 0.80, 0.50), (10.0, 0.94, 0.75), (20.0, 0.96, 0.88)])
def test_rays_are_found_beside_stars(level, snr, single, pixels):
    shape, noise = (600, 600), np.sqrt(level + READ_NOISE**2)
    scene = Scene.field(shape, 100, 1e6, 300.0, separation=10.0, seed=8)
    picture = simulate_image(scene, shape, profile=Profile(2.5, 3.5), sky=level, read_noise=READ_NOISE, seed=9).image
    rng = np.random.default_rng(10)
    alone = np.zeros(shape, np.float32)
    alone[tuple(rng.integers(5, 595, (2, 300)))] = snr * noise
    assert hit(with_charge(picture, alone))[alone > 0].mean() > single
    charge = tracks(shape, 150, snr * noise, seed=11)
    found = hit(with_charge(picture, charge))
    assert found[charge > 3 * noise].mean() > pixels
    assert (found & grown(charge > 0)).sum() / found.sum() > 0.93


def test_a_gradient_and_the_unit_change_nothing():
    """In adu and after division by a flat the same pixels are found, and after the sky is subtracted."""
    shape = (300, 300)
    picture = simulate_image(Scene([], [], []), shape, sky=1000.0, gradient=(2.0, -1.0), read_noise=READ_NOISE, seed=12)
    charged = with_charge(picture.image, tracks(shape, 40, 800.0, seed=13))
    expected = hit(charged)
    assert expected.sum() > 100
    data, variance = charged.data, variance_of(charged)
    adu = image(data / np.float32(4.0), "adu", variance=variance / np.float32(16.0))
    np.testing.assert_array_equal(hit(adu), expected)
    flat = np.float32(0.5)
    np.testing.assert_array_equal(hit(image(data / flat, "electron", variance=variance / flat**2)), expected)
    subtracted = hit(image(data - picture.sky, "electron", variance=variance))
    assert (subtracted != expected).sum() <= 0.05 * expected.sum()  # the gradient itself is nearly nothing


# --- pixels that are masked, saturated, or on the edge ----------------------------------------------------------------


def test_masked_pixels_are_no_rays_and_do_not_make_any():
    picture = sky(200.0)
    data, flags = picture.data.copy(), np.zeros(picture.shape, np.uint16)
    rng = np.random.default_rng(14)
    y, x = rng.integers(0, 300, (2, 300))
    data[y[:100], x[:100]], data[y[100:200], x[100:200]], data[y[200:], x[200:]] = 9e4, -9e4, np.nan
    flags[y[:200], x[:200]] = Flag.BAD
    data[:, 150:153], flags[:, 150:153] = 0.0, Flag.BAD
    data[200:, :80], flags[200:, :80] = np.nan, Flag.NO_DATA
    known = ~np.isnan(data)
    variance = np.where(known, variance_of(picture), np.nan)
    before = hit(picture)
    after = correct(image(data, "electron", variance=variance, flags=flags))
    found = (flags_of(after) & Flag.COSMIC_RAY) != 0
    assert not found[(flags != 0) | ~known].any()
    assert (flags_of(after)[~known] & Flag.NO_DATA).all()
    assert (found & ~before).sum() <= 4


def test_a_ray_beside_a_bad_column_is_found():
    picture = sky(200.0)
    data, flags = picture.data.copy(), np.zeros(picture.shape, np.uint16)
    data[:, 150], flags[:, 150] = 0.0, Flag.BAD
    data[40, 151] += 2000.0
    found = hit(image(data, "electron", variance=variance_of(picture), flags=flags))
    assert found[40, 151]
    assert not found[:, 150].any()


def test_a_saturated_star_with_its_trail_is_left_alone_and_a_saturated_ray_is_found():
    picture = simulate_image(
        Scene([100.0], [100.0], [5e6]), (300, 300), profile=Profile(2.5, 3.0), sky=200.0, saturation=6e4, seed=15
    ).image
    data, flags = picture.data.copy(), flags_of(picture).copy()
    data[60:140, 100], flags[60:140, 100] = 6e4, Flag.SATURATED
    data[59, 100], data[140, 100] = 2e4, 4e4  # the ends of the trail are not quite full
    data[200, 200:204], flags[200, 201:203] = (3e4, 6e4, 6e4, 2e3), Flag.SATURATED
    found = hit(image(data, "electron", variance=np.maximum(data, 0) + 25.0, flags=flags))
    assert not found[50:150, 85:116].any()
    assert found[200, 200:204].all()
    assert (flags_of(correct(image(data, "electron", variance=data + 25.0, flags=flags)))[200, 201] & 4) == 4


@pytest.mark.parametrize("place", [(0, 100), (299, 100), (100, 0), (100, 299), (0, 0), (1, 298)])
def test_rays_on_the_edge_are_found_and_cut_stars_are_not_taken(place):
    picture = sky(200.0)
    picture.data[place] += 3000.0
    assert hit(picture)[place]
    rng = np.random.default_rng(16)
    x, y = rng.uniform(10, 290, 30), rng.uniform(-1.5, 0.5, 30)
    cut = simulate_image(Scene(x, y, np.full(30, 3e4)), (300, 300), profile=Profile(2.5, 3.0), sky=200.0, seed=17).image
    assert hit(cut)[:4].sum() <= 4


def test_the_overscan_of_an_image_that_is_not_trimmed_is_no_ray():
    picture = sky(800.0, (60, 92))
    data, variance = picture.data.copy(), variance_of(picture).copy()
    data[:, 80:], variance[:, 80:] = np.random.default_rng(21).normal(0.0, READ_NOISE, (60, 12)), READ_NOISE**2
    data[20, 40] += 3000.0
    amplifier = Amplifier(Section(0, 60, 0, 80), Section(0, 60, 80, 92), 1.0, READ_NOISE)
    frame = Frame("a.fits", shape=(60, 92), amplifiers=(amplifier,))
    result = CosmicRays().correct(image(data, "electron", variance=variance), frame, {})
    found = (flags_of(result) & Flag.COSMIC_RAY) != 0
    assert found[20, 40]
    assert found.sum() <= 6


@pytest.mark.parametrize("shape", [(1, 1), (2, 40), (40, 3), (5, 5)])
def test_a_tiny_image_is_no_trouble(shape):
    correct(sky(100.0, shape))


def test_an_image_without_a_good_pixel_stays_as_it_is():
    lost = image(np.full((20, 20), np.nan), "electron", variance=np.ones((20, 20)))
    assert correct(lost).meta["HISTORY"] == ["cosmic-rays: there is no good pixel"]


# --- what becomes of them ---------------------------------------------------------------------------------------------


def test_masked_rays_keep_their_values_and_the_header_says_how_many():
    picture = with_charge(sky(200.0), tracks((300, 300), 20, 800.0, seed=18))
    picture.meta["HISTORY"] = ["before"]
    before = picture.data.copy()
    result = correct(picture)
    number = int(((flags_of(result) & Flag.COSMIC_RAY) != 0).sum())
    np.testing.assert_array_equal(result.data, before)
    np.testing.assert_array_equal(result.mask, (flags_of(result) & Flag.COSMIC_RAY) != 0)
    assert result.meta["HISTORY"][0] == "before"
    assert result.meta["HISTORY"][1].startswith(f"cosmic-rays: {number} pixels (")
    assert picture.meta["HISTORY"] == ["before"]
    assert flags_of(picture).max() == 0


def test_growing_takes_the_neighbours_too():
    picture = sky(200.0, seed=19)
    picture.data[50, 60] += 2000.0
    found, more = hit(picture), hit(picture, grow=1)
    np.testing.assert_array_equal(more, grown(found))


@pytest.mark.parametrize("length", [1, 5])
def test_a_sum_over_replaced_pixels_has_a_true_error_bar(length):
    """Sums over a replaced track and the pixels around it: their scatter is what the variance says."""
    shape, box = (1080, 1080), 12
    plain = sky(300.0, shape, seed=20)
    data = plain.data.copy()
    for k in range(length):
        data[6::box, 4 + k :: box] += 3000.0
    result = correct(image(data, "electron", variance=variance_of(plain)), treat="interpolate", max_fraction=0.2)
    replaced = (flags_of(result) & Flag.INTERPOLATED) != 0
    assert replaced[data != plain.data].all()
    assert not result.mask[replaced].any()

    def sums(plane):
        boxes = plane.reshape(shape[0] // box, box, shape[1] // box, box)
        return boxes[:, 4:9, :, 2 : 6 + length].sum(axis=(1, 3), dtype=np.float64).ravel()

    pull = (sums(result.data) - sums(np.full(shape, 300.0))) / np.sqrt(sums(variance_of(result)))
    assert np.std(pull) == pytest.approx(1.0, abs=0.03)  # 8100 boxes give 0.008


# --- what is refused --------------------------------------------------------------------------------------------------


def test_an_image_without_variance_is_refused():
    with pytest.raises(FrameError, match="place `cosmic-rays` after `gain`"):
        correct(image(np.ones((20, 20)), "adu"))


def test_a_frame_with_too_many_rays_is_at_fault():
    picture = sky(200.0)
    wrong = image(picture.data, "electron", variance=variance_of(picture) / 9.0)
    with pytest.raises(
        FrameError, match=r"of the pixels look like those of cosmic rays, more than max_fraction = 0\.02"
    ):
        correct(wrong)


def test_a_frame_without_read_noise_is_complained_about_before_the_run():
    data = Section(0, 10, 0, 10)
    known = Frame("a.fits", shape=(10, 10), amplifiers=(Amplifier(data, None, 1.5, 4.0),))
    unknown = Frame("a.fits", shape=(10, 10), amplifiers=(Amplifier(data, None, 1.5, float("nan")),))
    assert CosmicRays().check(known, None) == ""
    assert "read noise of a.fits is not known" in CosmicRays().check(unknown, None)
