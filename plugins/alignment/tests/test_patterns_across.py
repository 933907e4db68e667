"""Maps between two cameras that look at the same sky: any scale, rotation and parity, and half the stars different."""

import numpy as np
import pytest

from albireo import Flag, FrameError, Sources, Transform
from albireo_alignment import Patterns

SIZE = 1000.0


def centred(scale, rotation, mirrored):
    """A camera with the same middle of the field, give or take a twentieth of it."""
    turned = Transform.similarity(rotation=rotation, scale=scale, mirrored=mirrored).matrix.copy()
    middle = np.array([0.5 * SIZE, 0.5 * SIZE])
    turned[:2, 2] = scale * middle - turned[:2, :2] @ middle + (0.05 * SIZE, -0.03 * SIZE)
    return Transform(turned)


def cameras(truth, n, seed, noise=0.5, strangers=0.5):
    """Lists of two cameras with n sources each, in unrelated orders of brightness; the rest are stars of one alone."""
    rng = np.random.default_rng(seed)
    common = rng.uniform(0, SIZE, (2, n - round(strangers * n)))
    here = np.array(truth(*common)) + rng.normal(0, noise, common.shape)
    lists = []
    for places, scale in ((here, truth.scale), (common, 1.0)):
        every = np.concatenate([places, rng.uniform(0, scale * SIZE, (2, n - places.shape[1]))], axis=1)
        lists.append(Sources.make(*every[:, rng.permutation(n)]))
    return lists


def worst(found, truth):
    """Largest distance of two maps over the field."""
    x, y = (side.ravel() for side in np.meshgrid([0, SIZE], [0, SIZE]))
    return float(np.hypot(*np.subtract(found(x, y), truth(x, y))).max())


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("rotation", [0.0, 47.0, -120.0, 180.0])
@pytest.mark.parametrize(("scale", "n"), [(0.5, 30), (0.84, 80), (1.19, 50), (2.0, 60)])
def test_the_map_is_found_though_half_the_stars_differ(scale, n, rotation, mirrored):
    truth = centred(scale, rotation, mirrored)
    found = Patterns().across(*cameras(truth, n, seed=n))
    # Six numbers from at least 13 stars of half a pixel in each axis: about 0.5 sqrt(6 / 13) twice over at the corners.
    assert worst(found, truth) < 2.0
    assert found.mirrored == mirrored
    assert found.scale == pytest.approx(scale, rel=5e-3)
    assert 0.4 * n < found.matched < 0.7 * n


def test_many_fields_are_matched_without_a_failure():
    rng = np.random.default_rng(5)
    for seed in range(25):
        truth = centred(2.0 ** rng.uniform(-1, 1), rng.uniform(-180, 180), bool(rng.integers(2)))
        assert worst(Patterns().across(*cameras(truth, int(rng.integers(30, 81)), seed)), truth) < 3.0


@pytest.mark.parametrize(("n", "fields"), [(6, 5), (20, 5), (30, 3), (250, 1)])
def test_cameras_that_look_at_different_fields_are_refused(n, fields):
    for seed in range(fields):
        rng = np.random.default_rng(seed)
        here, there = Sources.make(*rng.uniform(0, 700, (2, n))), Sources.make(*rng.uniform(0, SIZE, (2, n)))
        with pytest.raises(FrameError, match=f"^no pattern of stars is common to {n} sources here and {n} there"):
            Patterns().across(here, there)


def test_an_aspect_of_a_per_cent_is_followed():
    truth = Transform(np.array([[1.126, 0.003, -30.0], [-0.002, 1.114, 12.0], [0.0, 0.0, 1.0]]))
    found = Patterns().across(*cameras(truth, 80, seed=1, noise=0.1, strangers=0.2))
    assert worst(found, truth) < 0.2
    assert found.matched >= 60


def test_limits_between_exposures_do_not_count_between_cameras():
    truth = centred(1.5, 30.0, True)
    lists = cameras(truth, 50, seed=3)
    aligner = Patterns(max_scale=1.05, max_rotation=1.0, max_shift=5.0)
    assert worst(aligner.across(*lists), truth) < 2.0
    with pytest.raises(FrameError):
        Patterns(max_scale=None).align(*lists)


def test_the_largest_ratio_of_scales_is_an_option():
    lists = cameras(centred(2.0, 10.0, False), 50, seed=4)
    with pytest.raises(FrameError, match="no pattern"):
        Patterns(across_scale=1.8).across(*lists)
    assert Patterns(across_scale=2.2).across(*lists).matched > 15


def test_a_handful_of_stars_suffices_if_all_agree():
    x, y = np.random.default_rng(8).uniform(0, SIZE, (2, 7))
    truth = centred(1.2, 5.0, True)
    found = Patterns().across(Sources.make(*truth(x, y)), Sources.make(x, y))
    assert worst(found, truth) < 1e-6
    assert found.matched == 7


def test_flagged_sources_and_positions_that_are_not_numbers_are_left_out():
    truth = centred(0.9, 3.0, False)
    here, there = cameras(truth, 60, seed=6, noise=0.1, strangers=0.2)
    here.flags[:6] = Flag.SATURATED
    here.x[:6] += 1.5
    there.x[3] = np.nan
    assert worst(Patterns().across(here, there), truth) < 0.2


def test_too_few_sources_are_counted():
    few, many = Sources.make([1.0, 2.0], [3.0, 5.0]), Sources.make(*np.random.default_rng(1).random((2, 9)))
    with pytest.raises(FrameError, match=r"^2 sources in this camera are too few to align, at least 3 are needed"):
        Patterns().across(few, many)
    with pytest.raises(FrameError, match=r"^2 sources in the other are too few"):
        Patterns().across(many, few)


@pytest.mark.parametrize("points", [np.full((2, 12), 5.0), np.array([np.arange(12.0), np.arange(12.0)])])
def test_sources_in_one_place_or_in_a_line_fail_in_words(points):
    with pytest.raises(FrameError, match="no pattern"):
        Patterns().across(Sources.make(*points), Sources.make(*np.random.default_rng(1).uniform(0, SIZE, (2, 30))))


def test_the_same_lists_give_the_same_map():
    lists = cameras(centred(1.1, 77.0, True), 40, seed=2)
    found = [Patterns().across(*lists).matrix.tobytes() for _ in range(2)]
    assert found[0] == found[1]


@pytest.mark.parametrize("scale", [1.07, 1.12, 1.19])
def test_the_cameras_of_opticam_are_matched_to_a_twentieth_of_a_pixel(scale):
    truth = centred(scale, 5.0, False)
    found = Patterns().across(*cameras(truth, 60, seed=7, noise=0.02, strangers=0.4))
    assert found.matched >= 20
    assert found.rms < 0.05
    assert worst(found, truth) < 0.05
