"""Noise, gain and dark edges are found in simulated pixels to within the errors that are quoted."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from albireo.survey.geometry import dark_edges, measured_regions, profile
from albireo.survey.noise import Estimate, combined, gain_of_pair, mean_level, noise_of_pair

SHAPE = (192, 256)
READ_NOISE = 6.0  # electrons


def exposure(rng, gain, level=0.0, pixels=None, slope=0.0):
    """Counts above the bias as a converter writes them: whole numbers."""
    pixels = np.ones(SHAPE) if pixels is None else pixels
    electrons = rng.poisson(gain * level * pixels * np.linspace(1 - slope, 1 + slope, SHAPE[1])) if level else 0.0
    return np.rint((electrons + READ_NOISE * rng.standard_normal(SHAPE)) / gain).astype(np.float32)


@pytest.mark.parametrize("gain", [0.5, 1.7, 4.0])
def test_gain_and_read_noise_are_found_within_their_errors(gain):
    gains, noises = [], []
    for seed in range(24):
        rng = np.random.default_rng(seed)
        pixels = rng.normal(1.0, 0.02, SHAPE)
        noise = noise_of_pair(exposure(rng, gain), exposure(rng, gain))
        true = np.hypot(READ_NOISE / gain, np.sqrt(1 / 12))
        noises.append((noise.value - true) / noise.error)
        found, level = gain_of_pair(
            exposure(rng, gain, 9000.0, pixels, 0.1), exposure(rng, gain, 8000.0, pixels, -0.1), noise.value
        )
        assert level == pytest.approx(9000.0, rel=0.02)
        assert found.value == pytest.approx(gain, rel=0.02)
        gains.append((found.value - gain) / found.error)
    for pulls in (gains, noises):
        assert abs(np.mean(pulls)) < 4 / np.sqrt(24)
        assert abs(np.std(pulls, ddof=1) - 1) < 4 / np.sqrt(2 * 24)


def test_the_mean_of_overlapping_pairs_has_a_true_error():
    pulls = []
    for seed in range(24):
        rng = np.random.default_rng(seed)
        frames = [exposure(rng, 2.0) for _ in range(6)]
        pairs = [noise_of_pair(a, b) for a, b in pairwise(frames)]
        found = combined(pairs, shared=4)
        pulls.append((found.value - np.hypot(READ_NOISE / 2.0, np.sqrt(1 / 12))) / found.error)
    # Errors of a mean of few pairs are themselves uncertain, and never smaller than the errors of the pairs allow.
    assert abs(np.mean(pulls)) < 4 / np.sqrt(24)
    assert 0.5 < np.std(pulls, ddof=1) < 1.4


def test_a_scatter_beyond_the_errors_enlarges_the_error():
    found = combined([Estimate(1.0, 0.01), Estimate(1.2, 0.01), Estimate(1.1, 0.01)])
    assert found.value == pytest.approx(1.1)
    assert found.error == pytest.approx(0.1 / np.sqrt(3))


def test_pixels_hit_by_cosmic_rays_and_stars_do_not_count():
    rng = np.random.default_rng(5)
    first, second = exposure(rng, 2.0, 5000.0), exposure(rng, 2.0, 5000.0)
    clean = gain_of_pair(first, second, 3.0)[0].value
    first[rng.random(SHAPE) < 1e-3] += 3000
    second[10:25, 40:60] += 8000
    found = gain_of_pair(first, second, 3.0)[0]
    assert found.value == pytest.approx(clean, abs=3 * found.error)


def test_boxes_near_saturation_do_not_count():
    rng = np.random.default_rng(6)
    first, second = (np.minimum(exposure(rng, 2.0, 10000.0, slope=0.5), 12000) for _ in range(2))
    found, level = gain_of_pair(first, second, 3.0, limit=11000.0)
    assert found.value == pytest.approx(2.0, abs=4 * found.error)
    assert level < 9000.0 < gain_of_pair(first, second, 3.0)[1]


def test_a_mean_level_is_finer_than_a_count():
    rng = np.random.default_rng(7)
    counts = np.rint(rng.normal(1000.3, 1.2, SHAPE)).astype(np.float32)
    counts[50:60, 50:60] = 30000
    assert mean_level(counts) == pytest.approx(1000.3, abs=5 * 1.25 / np.sqrt(counts.size))


def raw_pair(seed=1, light=3000.0, mixed=False):
    """A flat and a bias with ten columns of prescan, twenty of overscan and four rows on top."""
    rng = np.random.default_rng(seed)
    flat, bias = (rng.normal(900, 4, (160, 200)) for _ in range(2))
    falling = np.linspace(1.0, 0.05, 170)
    flat[:156, 10:180] += light * falling
    flat[:156, 180] += 0.02 * light * falling[-1]  # charge that lagged behind
    if mixed:
        flat[:156, 10] -= 0.8 * light
    return np.rint(flat).astype(np.float32), np.rint(bias + 1.0).astype(np.float32)


def test_dark_edges_are_found_beside_a_vignetted_field():
    found = measured_regions(profile(*raw_pair()))
    assert (found.left, found.right, found.bottom, found.top) == (10, 20, 0, 4)
    assert found.lit.to_fits() == "[11:180,1:156]"
    assert found.overscan.to_fits() in ("[181:200,1:156]", "[182:200,1:156]")


def test_a_column_binned_from_dark_and_lit_ones_is_neither():
    found = measured_regions(profile(*raw_pair(mixed=True)))
    assert (found.left, found.lit.x0) == (10, 11)


def test_one_exposure_shows_dark_edges_where_the_counts_jump():
    flat, _ = raw_pair()
    found = measured_regions(profile(flat, None))
    assert (found.left, found.right) == (10, 19)  # one column holds charge that lagged behind
    assert found.top == 0  # four rows are too few to be sure
    smooth = np.linspace(900.0, 2900.0, 200)
    assert dark_edges(smooth, single=True) == (0, 0)


def test_frames_with_the_same_light_show_no_edge():
    flat, _ = raw_pair()
    again, _ = raw_pair(seed=2)
    found = measured_regions(profile(flat, again))
    assert found.overscan is None
