"""Stars on pixels, photon noise and calibrated pictures."""

import numpy as np
import pytest

from albireo import Flag, Transform, variance_of
from albireo.testing import Picture, Profile, Scene, Sine, Transit, draw_stars, poisson, simulate_image

PROFILES = [
    Profile(1.5),
    Profile(1.5, beta=2.5),
    Profile(2.4, beta=3.5, elongation=1.3, theta=0.7),
    Profile(3.0, elongation=1.5, theta=-0.4),
    Profile(3.6, beta=4.7),
    Profile(6.0, beta=3.5, elongation=1.2, theta=2.0),
]


def dense(profile: Profile, x: float, y: float, size: int, points: int = 41) -> np.ndarray:
    """Integrate over each pixel with many points; the midpoint rule errs by less than 3e-5 of the flux."""
    t = (np.arange(points) + 0.5) / points - 0.5
    columns = (np.arange(size)[:, None] + t - x).ravel()
    rows = [profile.density(columns[None, :], (j + t - y)[:, None]).mean(axis=0) for j in range(size)]
    return np.array([row.reshape(size, points).mean(axis=1) for row in rows])


@pytest.mark.parametrize("profile", PROFILES, ids=str)
def test_light_of_a_star_is_right_in_every_pixel(profile):
    drawn = draw_stars((31, 31), [15.37], [14.77], [1.0], profile)
    assert np.abs(drawn - dense(profile, 15.37, 14.77, 31)).max() < 1e-4


@pytest.mark.parametrize("profile", PROFILES, ids=str)
def test_all_light_of_a_star_is_on_the_image(profile):
    size = 2 * int(profile.radius) + 21
    drawn = draw_stars((size, size), [size / 2 + 0.3], [size / 2 - 0.2], [5e4], profile)
    assert drawn.sum(dtype=float) == pytest.approx(5e4, rel=2e-4)


def test_a_star_at_the_edge_leaves_what_falls_inside():
    whole = draw_stars((60, 60), [30.0], [30.2], [1e4], Profile(3.0, beta=3.0))
    cut = draw_stars((60, 60), [-0.0], [30.2], [1e4], Profile(3.0, beta=3.0))
    np.testing.assert_allclose(cut[:, :30], whole[:, 30:], atol=1e-3)
    assert draw_stars((20, 20), [-500.0, np.nan], [3.0, 3.0], [1e6, 1e6], Profile(3.0)).sum() == 0


def test_the_major_axis_points_along_theta():
    y, x = np.mgrid[:61, :61] - 30.0
    light = draw_stars((61, 61), [30.0], [30.0], [1.0], Profile(5.0, elongation=1.6, theta=np.deg2rad(40)))
    xx, yy, xy = (light * x * x).sum(), (light * y * y).sum(), (light * x * y).sum()
    assert np.rad2deg(0.5 * np.arctan2(2 * xy, xx - yy)) == pytest.approx(40.0, abs=0.05)


def test_profiles_know_their_widths():
    for profile in (Profile(4.0), Profile(4.0, beta=3.0)):
        half = profile.density(np.array(2.0), np.array(0.0)) / profile.density(np.array(0.0), np.array(0.0))
        assert half == pytest.approx(0.5, rel=1e-12)
        assert profile.enclosed(profile.radius) == pytest.approx(1 - 1e-4, rel=1e-9)
    with pytest.raises(ValueError, match=r"minor axis at least 1.0 pixel"):
        Profile(1.2, elongation=4.0)


@pytest.mark.parametrize("mean", [0.0, 3.0, 63.0, 65.0, 200.0, 3e4])
def test_photon_noise_has_the_moments_of_poisson(mean):
    n = 400_000
    draw = poisson(np.random.default_rng(5), np.full(n, mean)).astype(float)
    if mean == 0:
        assert not draw.any()
        return
    off = draw - mean
    assert abs(off.mean()) < 4.0 * np.sqrt(mean / n)
    assert (off**2).mean() == pytest.approx(mean, rel=4.0 * np.sqrt((2.0 + 1.0 / mean) / n))
    # The third moment of a Poisson distribution is its mean; the error of the estimate is that of a normal one.
    assert (off**3).mean() == pytest.approx(mean, abs=4.0 * np.sqrt(15.0 * mean**3 / n))


def test_scene_keeps_stars_apart_and_varies_them():
    scene = Scene.field((300, 400), 40, 1e5, 1e2, separation=20.0, margin=15.0, variables={2: Sine(0.1, 2.0)}, seed=3)
    distance = np.hypot(scene.x[:, None] - scene.x, scene.y[:, None] - scene.y) + 1e9 * np.eye(40)
    assert distance.min() >= 20.0
    assert scene.x.min() >= 15.0
    assert scene.x.max() <= 384.0
    assert scene.y.max() <= 284.0
    assert scene.relative(0.5)[2] == pytest.approx(1.1)
    assert np.delete(scene.relative(0.5), 2) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="do not fit"):
        Scene.field((100, 100), 40, 1e5, 1e2)
    with pytest.raises(ValueError, match="no star 7"):
        Scene([1.0], [1.0], [1.0], {7: Sine(0.1, 1.0)})


def test_transit_is_a_trapezoid():
    dip = Transit(mid=2.0, duration=2.0, depth=0.02, ingress=0.5)
    assert [dip(t) for t in (0.9, 1.25, 1.5, 2.0, 2.75, 3.1)] == pytest.approx([1.0, 0.99, 0.98, 0.98, 0.99, 1.0])


def picture(**options: object) -> Picture:
    scene = Scene.field((128, 160), 12, 5e4, 500.0, margin=20.0, seed=1)
    return simulate_image(scene, (128, 160), sky=200.0, read_noise=8.0, **options)


def test_variance_of_a_picture_is_the_scatter_of_its_pixels():
    shot = picture()
    draws = [shot.realise(seed) for seed in range(60)]
    scatter = np.var([draw.data for draw in draws], axis=0, ddof=1)
    claimed = np.mean([variance_of(draw) for draw in draws], axis=0)
    # 20480 pixels with 59 degrees of freedom each: the mean ratio is known to 0.13 %.
    assert np.mean(scatter / claimed) == pytest.approx(1.0, abs=0.006)
    assert np.mean([draw.data for draw in draws]) == pytest.approx(shot.expected.mean(), rel=3e-4)


def test_same_seed_same_bytes():
    assert picture(seed=4).image.data.tobytes() == picture(seed=4).image.data.tobytes()
    assert picture(seed=4).image.data.tobytes() != picture(seed=5).image.data.tobytes()


def test_picture_knows_its_stars_sky_and_saturation():
    turned = Transform.similarity(30.0, -5.0, rotation=4.0)
    shot = picture(gradient=(0.5, 0.0), transform=turned, saturation=2e4)
    x, y = turned(*(getattr(Scene.field((128, 160), 12, 5e4, 500.0, margin=20.0, seed=1), axis) for axis in "xy"))
    np.testing.assert_allclose([shot.sources.x, shot.sources.y], [x, y])
    assert shot.background.level[0, 159] - shot.background.level[0, 0] == pytest.approx(0.5 * 159, rel=1e-5)
    assert shot.background.median == pytest.approx(200.0, abs=0.5)
    image = picture(saturation=3e3).image
    assert image.data.max() == 3e3
    assert ((image.flags & Flag.SATURATED) != 0).sum() == (image.data == 3e3).sum() > 4
    assert image.mask[image.data == 3e3].all()


def test_signal_to_noise_is_that_of_a_matched_filter():
    shot = picture(profile=Profile(3.5))
    weight = draw_stars((128, 160), [shot.sources.x[5]], [shot.sources.y[5]], [1.0], Profile(3.5))
    floor = 200.0 + 64.0
    best = shot.sources.flux[5] / np.sqrt(shot.sources.flux[5] + floor / (weight.astype(float) ** 2).sum())
    # Integration over pixels widens a profile of 3.5 pixels by two percent.
    assert shot.snr[5] == pytest.approx(best, rel=0.03)
