"""The kernel and its numpy twin against an explicit loop over pixels that follows the words of the rules."""

import os
import subprocess
import sys
from math import inf, isfinite, nan, sqrt

import numpy as np
import pytest

from albireo_combine import engine, kernels, reference, rules

FLOOR, SLOPE = 16.0, 0.05


def loop(column, method, low, high, iterations):
    """One pixel, value by value; gives value, variance, rejected, missing."""
    values = sorted(float(v) for v in column if isfinite(v))
    missing = len(column) - len(values)
    if not values:
        return nan, nan, 0, missing
    centre = float(np.median(values))
    model = FLOOR + SLOPE * max(centre, 0.0)
    kept = values
    for _ in range(iterations if method != "mean" else 0):
        if len(kept) < 3:
            break
        middle = float(np.median(kept))
        deviation = float(np.median([abs(v - middle) for v in kept]))
        scale = max(sqrt(model), 1.482602218505602 * deviation)
        left = [v for v in kept if middle - low * scale <= v <= middle + high * scale]
        if left == kept:
            break
        kept = left
    mean = sum(kept) / len(kept)
    spread = sum((v - mean) ** 2 for v in kept)
    if method != "mean":
        spread /= rules.kept_variance(low, high)
    pooled = (spread + rules.PRIOR_WEIGHT * model) / (len(kept) - 1 + rules.PRIOR_WEIGHT)
    if method == "median":
        return centre, pooled * rules.median_factor(len(values)) / len(values), len(values) - len(kept), missing
    return mean, pooled / len(kept), len(values) - len(kept), missing


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


def run(function, data, method, low=3.0, high=3.0, iterations=5, block=None):
    n, pixels = data.shape
    out = np.empty(pixels, np.float32), np.empty(pixels, np.float32), np.zeros(2, np.int64)
    clip = rules.kept_variance(low, high) if method != "mean" else 1.0
    factors = rules.variance_factors(method, n)
    options = (rules.METHODS[method], FLOOR, SLOPE, rules.PRIOR_WEIGHT, low, high, clip, iterations, factors)
    for start in range(0, pixels, block or pixels):
        function(data, start, min(start + (block or pixels), pixels), *options, *out)
    return out


@pytest.mark.parametrize("method", rules.METHODS)
@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 9, 16, 31])
def test_kernel_equals_the_loop(n, method):
    data = columns(n, 300)
    value, variance, totals = run(engine.block_function(n), data, method)
    truth = np.array([loop(column, method, 3.0, 3.0, 5) for column in data.T])
    np.testing.assert_array_equal(totals, truth[:, 2:].sum(axis=0))
    np.testing.assert_allclose(value, truth[:, 0], rtol=1e-6)
    np.testing.assert_allclose(variance, truth[:, 1], rtol=1e-6)


@pytest.mark.parametrize(("low", "high", "iterations"), [(1.0, 1.0, 10), (2.0, 5.0, 1), (4.0, 2.5, 3)])
def test_kernel_equals_the_loop_for_other_limits(low, high, iterations):
    data = columns(12, 400, seed=1)
    value, variance, totals = run(engine.block_function(12), data, "clipped-mean", low, high, iterations)
    truth = np.array([loop(column, "clipped-mean", low, high, iterations) for column in data.T])
    np.testing.assert_array_equal(totals, truth[:, 2:].sum(axis=0))
    np.testing.assert_allclose(value, truth[:, 0], rtol=1e-6)
    np.testing.assert_allclose(variance, truth[:, 1], rtol=1e-6)


@pytest.mark.parametrize("method", rules.METHODS)
@pytest.mark.parametrize("n", [2, 3, 8, 13, 40])
def test_numpy_and_kernel_agree_in_every_bit(n, method):
    data = columns(n, 1000, seed=2)
    compiled, plain = (run(f, data, method) for f in (engine.block_function(n), reference.combine_block))
    for a, b in zip(compiled, plain, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("block", [128, 384, 100, 1])
def test_blocks_do_not_change_a_bit(block):
    data = columns(9, 500, seed=3)
    whole, blocks = (run(engine.block_function(9), data, "clipped-mean", block=b) for b in (None, block))
    for a, b in zip(whole, blocks, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("method", rules.METHODS)
def test_the_order_of_frames_does_not_change_a_bit(method):
    data = columns(11, 1000, seed=4)
    data[:, 0] = [0.0, -0.0] * 5 + [0.0]
    shuffled = np.ascontiguousarray(data[np.random.default_rng(1).permutation(11)])
    for a, b in zip(*(run(engine.block_function(11), d, method) for d in (data, shuffled)), strict=True):
        assert a.tobytes() == b.tobytes()


def test_a_small_scatter_on_a_large_level_is_not_lost():
    rng = np.random.default_rng(5)
    data = (30000.0 + rng.normal(0.0, 1.0, (20, 2000))).astype(np.float32)
    _, variance, _ = run(engine.block_function(20), data, "mean")
    scatter = data.astype(float).var(axis=0, ddof=1) * 19
    model = FLOOR + SLOPE * np.median(data.astype(float), axis=0)
    np.testing.assert_allclose(variance, (scatter + 5 * model) / 24 / 20, rtol=2e-6)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7, 10, 30, 33, 100])
def test_the_network_sorts(n):
    values = np.random.default_rng(n).permutation(n).astype(np.float32)
    for i, j in kernels.comparators(n).astype(int):
        values[[i, j]] = min(values[i], values[j]), max(values[i], values[j])
    np.testing.assert_array_equal(values, np.arange(n))


@pytest.mark.parametrize(("n", "sigma"), [(5, 0.536), (9, 0.407), (20, 0.270)])
def test_the_error_of_a_median_of_few_values(n, sigma):
    assert sqrt(rules.median_factor(n) / n) == pytest.approx(sigma, abs=0.0015)


@pytest.mark.parametrize("n", [3, 4, 7, 12, 21, 24, 45, 50])
def test_the_error_of_a_median_is_that_of_simulated_medians(n):
    medians = np.median(np.random.default_rng(6).standard_normal((n, 200_000)), axis=0)
    assert medians.var() * n == pytest.approx(rules.median_factor(n), rel=4 * sqrt(2 / 200_000))


@pytest.mark.parametrize(("low", "high"), [(3.0, 3.0), (2.0, 3.5), (1.0, 2.0)])
def test_the_variance_left_by_a_cut(low, high):
    values = np.random.default_rng(7).standard_normal(1_000_000)
    kept = values[(values >= -low) & (values <= high)]
    assert kept.var() == pytest.approx(rules.kept_variance(low, high), rel=0.005)


WITHOUT_FOLDER = """
import os, pathlib, numba.core.caching as caching
def refuse(*_): raise OSError("read-only file system")
caching._CacheLocator.ensure_cache_path = refuse
import numpy as np
from albireo_combine import kernels
out = np.empty(3, np.float32), np.empty(3, np.float32), np.zeros(2, np.int64)
data = np.arange(9, dtype=np.float32).reshape(3, 3)
kernels.combine_block(data, 0, 3, kernels.comparators(3), 1, 1.0, 0.0, 5.0, 3.0, 3.0, 1.0, 5, np.ones(4), *out)
print(out[0].tolist())
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
