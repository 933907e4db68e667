"""The kernels and their numpy twins against explicit loops over pixels that follow the words of the rules."""

import os
import subprocess
import sys
from math import inf, nan, sqrt

import numpy as np
import pytest

from albireo_combine import engine, factors, kernels, reference
from albireo_combine.combining import Combined, arguments
from albireo_combine.rules import PRIOR_WEIGHT, Rule

FLOOR, SLOPE = 16.0, 0.05
NOISE = {"noise_floor": FLOOR, "noise_slope": SLOPE}
RULES = {
    "mean": Rule(rejection="none", **NOISE),
    "median": Rule("median", "none", **NOISE),
    "sigma": Rule(**NOISE),
    "deviation": Rule(scale="deviation", **NOISE),
    "winsorised": Rule(rejection="winsorised", **NOISE),
    "minmax": Rule(rejection="minmax", low=1, high=2, **NOISE),
    "percentile": Rule("mean", "percentile", 0.1, 0.2, **NOISE),
    "median of sigma": Rule("median", **NOISE),
    "median of minmax": Rule("median", "minmax", 1, 0, **NOISE),
}


INSIDE = np.linspace(-1.5, 1.5, 300_001)
DENSITY = np.exp(-(INSIDE**2) / 2) / sqrt(2 * np.pi)
WINSOR = sqrt(np.trapezoid(INSIDE**2 * DENSITY, INSIDE) + 2.25 * (1 - np.trapezoid(DENSITY, INSIDE)))
"""Standard deviation of unit normal values that are pulled in to 1.5."""


def width(rule, distances):
    """Width of the distances from the median."""
    if rule.scale == "deviation":
        return float(np.std(distances, ddof=1))
    found = 1.482602218505602 * float(np.median(np.abs(distances)))
    for _ in range(20 if rule.rejection == "winsorised" else 0):
        before = found
        found = float(np.std(np.clip(distances, -1.5 * before, 1.5 * before), ddof=1)) / WINSOR
        if abs(found - before) <= 0.0005 * before:
            break
    return found


def middle(values, weights):
    """Weighted median: the mean of two values where half of the weight lies on either side."""
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) / weights.sum()
    first = values[order][np.flatnonzero(reached > 0.5 - 1e-9)[0]]
    return 0.5 * (first + values[order][np.flatnonzero(reached > 0.5 + 1e-9)[0]])


def survivors(values, rule, sigmas, weights):
    """Indices of the values that are left, of one pixel; distances are taken in units of ``sigmas``."""
    left = list(np.argsort(values, kind="stable"))
    if rule.rejection in ("minmax", "percentile"):
        low, high = rule.dropped(len(left))
        return left[low : len(left) - high]
    for _ in range(rule.iterations if rule.rejection != "none" else 0):
        if len(left) < 3:
            break
        distances = (values[left] - middle(values[left], weights[left])) / sigmas[left]
        scale = max(1.0, width(rule, distances))
        passed = [i for i, d in zip(left, distances, strict=True) if -rule.low * scale <= d <= rule.high * scale]
        if passed == left:
            break
        left = passed
    return left


def loop(column, rule):
    """One pixel, value by value; gives value, variance, used, rejected, missing."""
    good = np.isfinite(column)
    values = column[good].astype(float)
    if not len(values):
        return nan, nan, 0, 0, len(column)
    centre = float(np.median(values))
    noise = np.array(rule.frame_noise or [(rule.noise_floor, rule.noise_slope)] * len(column))[good]
    variances = noise[:, 0] + noise[:, 1] * max(centre, 0.0)
    sigmas = np.sqrt(variances)
    kept, error = factors.variance_factors(rule, len(column))
    units, pull = np.full_like(sigmas, sigmas[0]), np.ones_like(sigmas)
    if rule.frame_noise:
        units = np.sqrt((variances + np.pi / 2 / np.sum(1 / variances)) / (1 + np.pi / 2 / len(values)))
        pull = 1 / sigmas
    left = survivors(values, rule, units, pull)
    weights = 1.0 / variances[left]
    mean = np.average(values[left], weights=weights)
    excess = np.sum(weights * (values[left] - mean) ** 2) / kept[len(values)]
    pooled = (excess + PRIOR_WEIGHT) / (len(left) - 1 + PRIOR_WEIGHT)
    result = np.median(values[left]) if rule.method == "median" else mean
    variance = pooled * error[len(values)] / np.sum(weights)
    return result, variance, len(left), len(values) - len(left), len(column) - len(values)


def columns(n, pixels, seed=0):
    """Noise with outliers, missing values, whole counts, ties, and pixels of few values."""
    rng = np.random.default_rng([seed, n])
    data = rng.normal(100.0, 5.0, (n, pixels))
    outliers = rng.random(data.shape) < 0.05
    data[outliers] += rng.normal(0.0, 60.0, outliers.sum())
    data[:, 100:140] = np.round(data[:, 100:140] / 5.0)
    data[:, 140:150] *= 20.0
    data[:, 150] = 7.0
    data[rng.random(data.shape) < 0.02] = nan
    data[rng.random(data.shape) < 0.002] = inf
    for left in range(min(n, 6) + 1):
        data[left:, 160 + left] = nan
    return data.astype(np.float32)


def run(function, data, rule, block=None):
    n, pixels = data.shape
    combined = Combined.empty((1, pixels))
    options = arguments(rule, rule.drops(n), *factors.variance_factors(rule, n))
    for start in range(0, pixels, block or pixels):
        function(data, start, min(start + (block or pixels), pixels), *options, *combined.lines(slice(0, 1)))
    return [combined.data[0], combined.variance[0], combined.count[0], combined.rejected[0], combined.totals]


def with_frame_noise(rule, n):
    """The rule with another noise for each frame, as flats of different levels have."""
    steps = np.linspace(0.5, 2.0, n)
    frame_noise = tuple((FLOOR * float(f) ** 2, SLOPE * float(f)) for f in np.random.default_rng(n).permutation(steps))
    return Rule(rule.method, rule.rejection, rule.low, rule.high, rule.scale, rule.iterations, frame_noise=frame_noise)


WEIGHTED = ["mean", "sigma", "deviation", "winsorised"]


def weighted(rule, order=None):
    noise = np.array(rule.frame_noise)
    return engine.weighted_function(noise, np.arange(len(noise)) if order is None else order)


def agree(found, data, rule):
    truth = np.array([loop(column, rule) for column in data.T])
    np.testing.assert_array_equal(found[2], truth[:, 2])
    np.testing.assert_array_equal(found[3], truth[:, 3])
    np.testing.assert_array_equal(found[4], truth[:, 3:].sum(axis=0))
    np.testing.assert_allclose(found[0], truth[:, 0], rtol=1e-6)
    np.testing.assert_allclose(found[1], truth[:, 1], rtol=1e-5)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("n", [2, 3, 4, 5, 9, 16])
def test_kernel_equals_the_loop(n, name):
    data = columns(n, 200)
    agree(run(engine.block_function(n), data, RULES[name]), data, RULES[name])


@pytest.mark.parametrize("name", WEIGHTED)
@pytest.mark.parametrize("n", [2, 3, 4, 9, 16])
def test_kernel_of_weighted_means_equals_the_loop(n, name):
    data = columns(n, 300)
    rule = with_frame_noise(RULES[name], n)
    agree(run(weighted(rule), data, rule), data, rule)


@pytest.mark.parametrize(("low", "high", "iterations"), [(1.0, 1.0, 10), (2.0, 5.0, 1), (4.0, 2.5, 3)])
def test_kernel_equals_the_loop_for_other_limits(low, high, iterations):
    data = columns(12, 400, seed=1)
    rule = Rule(low=low, high=high, iterations=iterations, **NOISE)
    agree(run(engine.block_function(12), data, rule), data, rule)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("n", [2, 3, 8, 13, 40])
def test_numpy_and_kernel_agree_in_every_bit(n, name):
    data = columns(n, 1000, seed=2)
    for a, b in zip(
        *(run(f, data, RULES[name]) for f in (engine.block_function(n), reference.combine_block)), strict=True
    ):
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("name", WEIGHTED)
@pytest.mark.parametrize("n", [2, 3, 8, 13, 40])
@pytest.mark.parametrize("known", [True, False])
def test_numpy_and_kernel_of_weighted_means_agree_in_every_bit(n, name, known, monkeypatch):
    data = columns(n, 1000, seed=2)
    rule = with_frame_noise(RULES[name], n)
    noise = np.array(rule.frame_noise) * known
    order = np.random.default_rng(n).permutation(n)
    compiled = run(engine.weighted_function(noise, order), data, rule)
    monkeypatch.setitem(sys.modules, "albireo_combine.weighted_kernels", None)
    plain = run(engine.weighted_function(noise, order), data, rule)
    for a, b in zip(compiled, plain, strict=True):
        assert a.tobytes() == b.tobytes()


def test_a_weighted_mean_of_equal_frames_is_the_mean():
    data = columns(12, 1000, seed=2)
    rule = RULES["sigma"]
    equal = Rule(frame_noise=((FLOOR, SLOPE),) * 12)
    for a, b in zip(run(weighted(equal), data, equal), run(engine.block_function(12), data, rule), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize("block", [128, 384, 100, 1])
@pytest.mark.parametrize("name", ["sigma", "percentile", "weights"])
def test_blocks_do_not_change_a_bit(block, name):
    data = columns(9, 500, seed=3)
    rule = with_frame_noise(RULES["sigma"], 9) if name == "weights" else RULES[name]
    function = weighted(rule) if name == "weights" else engine.block_function(9)
    whole, blocks = (run(function, data, rule, block=b) for b in (None, block))
    for a, b in zip(whole, blocks, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", RULES)
def test_the_order_of_frames_does_not_change_a_bit(name):
    data = columns(11, 1000, seed=4)
    data[:, 0] = [0.0, -0.0] * 5 + [0.0]
    shuffled = np.ascontiguousarray(data[np.random.default_rng(1).permutation(11)])
    for a, b in zip(*(run(engine.block_function(11), d, RULES[name]) for d in (data, shuffled)), strict=True):
        assert a.tobytes() == b.tobytes()


def test_a_small_scatter_on_a_large_level_is_not_lost():
    rng = np.random.default_rng(5)
    data = (30000.0 + rng.normal(0.0, 1.0, (20, 2000))).astype(np.float32)
    variance = run(engine.block_function(20), data, RULES["mean"])[1]
    scatter = data.astype(float).var(axis=0, ddof=1) * 19
    model = FLOOR + SLOPE * np.median(data.astype(float), axis=0)
    np.testing.assert_allclose(variance, (scatter + 5 * model) / 24 / 20, rtol=2e-6)


@pytest.mark.parametrize(
    ("rule", "number", "dropped"),
    [
        (Rule(rejection="minmax", low=1, high=2), 10, (1, 2)),
        (Rule(rejection="minmax", low=1, high=2), 3, (0, 1)),  # one value always stays
        (Rule(rejection="minmax", low=1, high=2), 1, (0, 0)),
        (Rule(rejection="percentile", low=0.1, high=0.29), 30, (3, 8)),
        (Rule(rejection="percentile", low=0.1, high=0.29), 4, (0, 1)),
        (Rule(), 30, (0, 0)),
    ],
)
def test_how_many_values_are_dropped_by_rank(rule, number, dropped):
    assert rule.dropped(number) == dropped


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7, 10, 30, 33, 100])
def test_the_network_sorts(n):
    rng = np.random.default_rng(n)
    for values in (rng.random((n, kernels.WIDTH)), rng.random((n, kernels.WIDTH)) < np.linspace(0, 1, kernels.WIDTH)):
        tile = values.astype(np.float32)
        expected = np.sort(tile, axis=0)
        kernels.sort_tile(tile.reshape(-1), kernels.network(n))
        np.testing.assert_array_equal(tile, expected)


@pytest.mark.parametrize(("n", "sigma"), [(5, 0.536), (9, 0.407), (20, 0.270)])
def test_the_error_of_a_median_of_few_values(n, sigma):
    assert sqrt(factors.median_factor(n) / n) == pytest.approx(sigma, abs=0.0015)


@pytest.mark.parametrize("n", [3, 4, 7, 12, 21, 24, 45, 50])
def test_the_error_of_a_median_is_that_of_simulated_medians(n):
    medians = np.median(np.random.default_rng(6).standard_normal((n, 200_000)), axis=0)
    assert medians.var() * n == pytest.approx(factors.median_factor(n), rel=4 * sqrt(2 / 200_000))


@pytest.mark.parametrize("method", ["mean", "median"])
@pytest.mark.parametrize(
    ("rejection", "low", "high"), [("sigma", 3.0, 3.0), ("minmax", 2, 1), ("percentile", 0.1, 0.1)]
)
def test_factors_of_numbers_that_are_not_simulated_are_right_too(method, rejection, low, high):
    rule = Rule(method, rejection, low, high, noise_floor=1.0)
    factors_of_many = factors.variance_factors(rule, 45)
    rng = np.random.default_rng(7)
    for k in (10, 23, 44):
        data = rng.standard_normal((k, 60_000), dtype=np.float32)
        combined = Combined.empty((1, data.shape[1]))
        function = engine.block_function(k)
        options = arguments(rule, rule.drops(k), *(table[: k + 1] for table in factors_of_many))
        function(data, 0, data.shape[1], *options, *combined.lines(slice(0, 1)))
        assert combined.data.var() == pytest.approx(combined.variance.mean(dtype=float), rel=0.03)


WITHOUT_FOLDER = """
import os, pathlib, numba.core.caching as caching
def refuse(*_): raise OSError("read-only file system")
caching._CacheLocator.ensure_cache_path = refuse
import numpy as np
from albireo_combine import kernels
from albireo_combine.combining import Combined, arguments
from albireo_combine.rules import Rule
rule, out = Rule("median", "none", noise_floor=1.0), Combined.empty((1, 3))
data = np.arange(9, dtype=np.float32).reshape(3, 3)
options = arguments(rule, rule.drops(3), np.ones(4), np.ones(4))
kernels.combine_block(data, 0, 3, kernels.network(3), *options, *out.lines(slice(0, 1)))
print(out.data[0].tolist())
"""


def test_without_a_folder_for_compiled_code_the_kernel_still_works():
    environment = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_FOLDER], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[3.0, 4.0, 5.0]"


def test_without_numba_numpy_takes_over_with_a_word(monkeypatch, caplog):
    import albireo_combine

    monkeypatch.delitem(sys.modules, "albireo_combine.kernels")
    monkeypatch.delattr(albireo_combine, "kernels")
    monkeypatch.setitem(sys.modules, "numba", None)
    assert engine.block_function(5) is reference.combine_block
    assert "masters are combined by numpy" in caplog.text
