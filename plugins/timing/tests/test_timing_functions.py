"""The functions for time series, on series whose truth is known."""

import numpy as np
import pytest
from astropy.timeseries import LombScargle

from albireo_timing import (
    common_intervals,
    cross_correlation,
    discrete_correlation,
    fold,
    good_time_intervals,
    inside,
    lomb_scargle,
    median_cadence,
    phase_bin,
    phase_lag,
    power_spectrum,
    rebin,
    time_lag,
)
from albireo_timing.periodogram import false_alarm_probability

FREQUENCY = 0.135
"""Cycles per frame of the variable star of OPTICAM's synthetic series."""


def opticam_band(lag, seed, frames=1000, error=0.01, gaps=True):
    """A band of that series: 1 + 0.02 sqrt(2) sin(2 pi 0.135 i + lag), with gaps that begin and go on at random."""
    rng = np.random.default_rng(seed)
    frame = np.arange(frames)
    there = np.ones(frames, dtype=bool)
    for k in range(1, frames if gaps else 0):
        there[k] = rng.random() >= (0.02 if there[k - 1] else 0.95)
    time = frame[there].astype(float)
    flux = 1.0 + 0.02 * np.sqrt(2.0) * np.sin(2.0 * np.pi * FREQUENCY * time + lag)
    return time, flux + error * rng.standard_normal(len(time)), np.full(len(time), error)


def angle(difference):
    """Smallest turn between two angles."""
    return abs((difference + np.pi) % (2.0 * np.pi) - np.pi)


# --- intervals --------------------------------------------------------------------------------------------------------


def test_intervals_end_half_a_cadence_beyond_their_points_and_begin_anew_after_a_gap():
    time = np.array([0.0, 1.0, 2.0, 5.0, 6.0, np.nan, 7.4])
    assert good_time_intervals(time).tolist() == [[-0.5, 2.5], [4.5, 7.9]]  # 1.4 steps are no gap
    assert good_time_intervals(time, gap=4.0).tolist() == [[-0.5, 7.9]]


@pytest.mark.parametrize(
    ("time", "wanted"), [([], []), ([np.nan], []), ([3.0], [[3.0, 3.0]]), ([3.0, 3.0], [[3.0, 3.0]])]
)
def test_intervals_of_next_to_nothing(time, wanted):
    assert good_time_intervals(time).tolist() == wanted
    assert good_time_intervals([3.0], cadence=2.0).tolist() == [[2.0, 4.0]]
    assert np.isnan(median_cadence(time))


def test_common_intervals_are_where_both_are():
    first, second = np.array([[0.0, 4.0], [6.0, 9.0]]), np.array([[1.0, 2.0], [3.0, 7.0], [9.0, 10.0]])
    common = common_intervals(first, second)
    assert common.tolist() == [[1.0, 2.0], [3.0, 4.0], [6.0, 7.0]]
    time = np.linspace(-1.0, 11.0, 1201) + 1e-6
    assert np.array_equal(inside(time, common), inside(time, first) & inside(time, second))
    assert not common_intervals(first, np.empty((0, 2))).size
    assert inside([np.nan, 1.5], common).tolist() == [False, True]


# --- rebinning --------------------------------------------------------------------------------------------------------


def test_a_sum_keeps_every_electron_and_a_weighted_mean_every_weight():
    rng = np.random.default_rng(1)
    time = np.sort(rng.uniform(0.0, 100.0, 300))
    flux, error = rng.normal(50.0, 5.0, 300), rng.uniform(1.0, 9.0, 300)
    flux[7] = np.nan
    good = np.isfinite(flux)
    total = rebin(time, flux, error, width=7.0, method="sum")
    assert total.flux.sum() == pytest.approx(flux[good].sum(), rel=1e-12)
    assert total.n.sum() == 299
    assert (total.flux_err**2).sum() == pytest.approx((error[good] ** 2).sum(), rel=1e-12)
    mean = rebin(time, flux, error, points=10)
    assert (mean.flux_err**-2).sum() == pytest.approx((error[good] ** -2).sum(), rel=1e-12)
    assert np.average(mean.flux, weights=mean.flux_err**-2) == pytest.approx(
        np.average(flux[good], weights=error[good] ** -2), rel=1e-12
    )


def test_no_bin_spans_a_gap_unless_asked():
    time = np.r_[np.arange(10.0), 12.5 + np.arange(10.0)]
    split = rebin(time, time, np.ones(20), width=25.0)
    assert split.n.tolist() == [10, 10]
    assert split.time.tolist() == [4.5, 17.0]
    assert rebin(time, time, np.ones(20), width=25.0, gap=np.inf).n.tolist() == [20]
    assert rebin(time, time, np.ones(20), points=4).n.tolist() == [4, 4, 2, 4, 4, 2]


def test_binned_errors_are_the_scatter_of_bins():
    rng = np.random.default_rng(4)
    time, error = np.arange(40_000.0), rng.uniform(0.5, 2.0, 40_000)
    flux = 10.0 + error * rng.standard_normal(40_000)
    for method in ("weighted", "mean", "sum"):
        bins = rebin(time, flux, error, points=8, method=method)
        pull = (bins.flux - (80.0 if method == "sum" else 10.0)) / bins.flux_err
        assert abs(pull.mean()) < 4.0 / np.sqrt(5000)
        assert pull.std() == pytest.approx(1.0, abs=4.0 / np.sqrt(2 * 5000))


def test_rebinning_next_to_nothing():
    assert rebin([np.nan, 2.0], [1.0, np.nan], [1.0, 1.0], width=1.0).time.size == 0
    one = rebin([5.0], [2.0], [0.5], width=1.0)
    assert (one.time.tolist(), one.flux.tolist(), one.flux_err.tolist(), one.n.tolist()) == ([5.0], [2.0], [0.5], [1])
    for wrong in ({}, {"width": 1.0, "points": 2}, {"width": -1.0}, {"points": 0}):
        with pytest.raises(ValueError, match="bin"):
            rebin([1.0], [1.0], [1.0], **wrong)


# --- folding ----------------------------------------------------------------------------------------------------------


def test_phase_bins_are_means_over_their_tenth_of_the_period():
    period, rng = 7.4074, np.random.default_rng(5)
    time = np.sort(rng.uniform(0.0, 3000.0 * period, 200_000))
    flux = 1.0 + 0.1 * np.sin(2.0 * np.pi * time / period)
    edges = 2.0 * np.pi * np.arange(11) / 10.0
    truth = 1.0 + 0.1 * (np.cos(edges[:-1]) - np.cos(edges[1:])) / np.diff(edges)
    for error in (None, np.full(len(time), 0.01)):
        folded = phase_bin(time, flux, error, period=period, n_bins=10)
        assert np.abs(folded.flux - truth).max() < 0.002
        assert folded.n.sum() == len(time)
        assert folded.phase.tolist() == pytest.approx(np.arange(0.05, 1.0, 0.1))
    assert folded.flux_err == pytest.approx(0.01 / np.sqrt(folded.n))


def test_t0_is_phase_zero():
    assert fold([10.0, 10.5, 9.75, np.nan], 2.0, t0=10.0)[:3].tolist() == [0.0, 0.25, 0.875]
    assert fold([-1e-18], 2.0).tolist() == [0.0]  # not one
    shifted = phase_bin([10.0, 10.5], [1.0, 2.0], period=2.0, t0=9.6, n_bins=5)
    assert shifted.n.tolist() == [0, 1, 1, 0, 0]
    assert np.isnan(shifted.flux[0])


@pytest.mark.parametrize("options", [{"period": 0.0}, {"period": np.nan}, {"period": 1.0, "n_bins": 0}])
def test_what_cannot_be_folded_is_refused(options):
    with pytest.raises(ValueError, match=r"period|bin"):
        phase_bin([1.0], [1.0], **options)


# --- periods ----------------------------------------------------------------------------------------------------------


def test_the_frequency_of_gappy_bands_is_found_with_its_error():
    found = []
    for seed in range(100):
        bands = [opticam_band(lag, 100 * seed + k, 300, 0.03) for k, lag in enumerate((0.0, np.pi / 2, np.pi))]
        found.append(lomb_scargle(*bands, minimum=0.1, maximum=0.2))
    pull = np.array([(one.best - FREQUENCY) / one.best_err for one in found])
    assert np.abs(pull).max() < 4.5
    assert pull.std() == pytest.approx(1.0, abs=3.5 / np.sqrt(200))
    assert all(one.false_alarm < 1e-6 for one in found)


def test_the_frequency_of_a_thousand_frames_is_found_to_one_over_their_length():
    time, flux, error = opticam_band(0.0, 3)
    found = lomb_scargle((time, flux, error))
    assert found.best == pytest.approx(FREQUENCY, abs=1.0 / np.ptp(time))
    assert found.period == pytest.approx(1.0 / FREQUENCY, abs=5.0 * found.period_err)
    assert found.sines[0].amplitude == pytest.approx(0.02 * np.sqrt(2.0), abs=4.0 * found.sines[0].amplitude_err)


def test_one_band_agrees_with_astropy():
    series = opticam_band(0.0, 8, 400, 0.05)
    found = lomb_scargle(series)
    tool = LombScargle(*series)
    assert found.power == pytest.approx(tool.power(found.frequency, method="cython"), abs=0.01)
    for power in (0.03, 0.05, 0.08):
        ours = false_alarm_probability(power, len(series[0]), 1, _width(series[0], found.frequency))
        theirs = tool.false_alarm_probability(
            power, method="baluev", minimum_frequency=found.frequency[0], maximum_frequency=found.frequency[-1]
        )
        assert ours == pytest.approx(theirs, rel=0.1)


def _width(time, frequency):
    return (frequency[-1] - frequency[0]) * np.sqrt(4.0 * np.pi * time.var())


def test_noise_in_several_bands_makes_false_alarms_as_often_as_said():
    rng = np.random.default_rng(6)
    time, error = np.arange(80.0), np.ones(80)
    chances = [
        lomb_scargle(*((time + 0.3 * k, rng.standard_normal(80), error) for k in range(3))).false_alarm
        for _ in range(300)
    ]
    for level in (0.05, 0.2):
        share = np.mean(np.array(chances) < level)
        assert share < level + 3.0 * np.sqrt(level * (1.0 - level) / 300)
        assert share > 0.3 * level  # it is an upper bound, and a close one


def test_a_period_is_not_looked_for_in_next_to_nothing():
    with pytest.raises(ValueError, match="more than 3 points"):
        lomb_scargle(([1.0, 2.0], [1.0, 1.0], [1.0, 1.0]))
    with pytest.raises(ValueError, match="more than 3 points"):
        lomb_scargle((np.arange(9.0), np.full(9, np.nan), np.ones(9)))
    with pytest.raises(ValueError, match="no range"):
        lomb_scargle(opticam_band(0.0, 1, 50), minimum=0.3, maximum=0.2)
    with pytest.raises(ValueError, match="narrower"):
        lomb_scargle(opticam_band(0.0, 1, 500), maximum=1e4)


# --- power spectra ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [0.02, 0.3])
def test_the_noise_level_comes_from_the_errors(error):
    rng = np.random.default_rng(9)
    flux = 3.0 + error * rng.standard_normal(20_000)
    spectrum = power_spectrum(np.arange(20_000.0) * 5.0, flux, np.full(20_000, error), segment=500.0)
    assert (spectrum.segments, spectrum.points) == (200, 100)
    assert spectrum.noise == pytest.approx(2.0 * 5.0 * error**2 / 9.0, rel=0.01)
    assert spectrum.power.mean() == pytest.approx(spectrum.noise, abs=4.0 * spectrum.noise_err)
    pull = (spectrum.power - spectrum.noise) / (spectrum.noise / np.sqrt(spectrum.n))
    assert pull.std() == pytest.approx(1.0, abs=4.0 / np.sqrt(2 * len(pull)))


def test_the_integral_of_the_power_is_the_variance():
    rng = np.random.default_rng(10)
    flux = rng.normal(7.0, 1.0, 101)
    for norm, level in (("fractional", flux.mean() ** 2), ("absolute", 1.0)):
        spectrum = power_spectrum(np.arange(101.0), flux, np.ones(101), norm=norm)
        assert spectrum.power.sum() / 101.0 == pytest.approx(flux.var() / level, rel=1e-9)


def test_gaps_are_not_bridged_and_bins_of_frequency_grow():
    time = np.r_[np.arange(100.0), 150.0 + np.arange(70.0), 300.0 + np.arange(30.0)]
    flux = np.random.default_rng(11).normal(1.0, 0.1, 200)
    spectrum = power_spectrum(time, flux, np.full(200, 0.1), segment=40.0)
    assert (spectrum.segments, spectrum.points) == (3, 40)
    wide = power_spectrum(time, flux, np.full(200, 0.1), segment=40.0, factor=0.5)
    assert wide.n.sum() == spectrum.n.sum()
    assert (np.diff(wide.n[:-1]) >= 0).all()  # the last bin has what is left
    assert wide.n[-2] > 3
    assert np.average(wide.power, weights=wide.n) == pytest.approx(spectrum.power.mean())
    flux[50] = np.nan  # makes a gap too
    with pytest.raises(ValueError, match="longest stretch has 70 points"):
        power_spectrum(time, flux, np.full(200, 0.1), segment=90.0)
    with pytest.raises(ValueError, match="longest stretch has 0 points"):
        power_spectrum([], [], [])


# --- lags -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lag", [0.0, np.pi / 2, np.pi])
def test_the_phase_lag_between_gappy_bands_is_found(lag):
    for seed in range(5):
        first, second = opticam_band(0.0, 10 + seed), opticam_band(lag, 50 + seed)
        found = phase_lag(*first, *second, FREQUENCY)
        # A phase added to the second makes it earlier: its lag is negative.
        assert angle(found.phase + lag) < 0.1
        assert angle(found.phase + lag) < 4.5 * found.phase_err
        assert found.lag == pytest.approx(found.phase / (2.0 * np.pi * FREQUENCY))


def wander(time, seed):
    """A smooth random curve of a few time steps' memory, as disks have it."""
    rng = np.random.default_rng(seed)
    frequency, phase = rng.uniform(0.005, 0.06, 30), rng.uniform(0.0, 2.0 * np.pi, 30)
    return 1.0 + 0.05 * np.sin(2.0 * np.pi * np.outer(time, frequency) + phase).sum(axis=1) / np.sqrt(15.0)


@pytest.mark.parametrize("delay", [4.3, -2.0])
def test_a_lag_is_positive_where_the_second_band_comes_later(delay):
    rng = np.random.default_rng(12)
    one, two = np.sort(rng.uniform(0.0, 400.0, 350)), np.sort(rng.uniform(0.0, 400.0, 300))
    noise = np.full(350, 0.005), np.full(300, 0.005)
    first = wander(one, 1) + noise[0] * rng.standard_normal(350)
    second = wander(two - delay, 1) + noise[1] * rng.standard_normal(300)
    found = time_lag(one, first, noise[0], two, second, noise[1], max_lag=20.0, step=0.5, gap=5.0, trials=30)
    assert found.lag == pytest.approx(delay, abs=0.3)
    assert abs(found.lag - delay) < 4.0 * found.error
    assert found.peak > 0.9
    pairs = discrete_correlation(one, first, noise[0], two, second, noise[1], max_lag=20.0, step=1.0)
    assert pairs.centroid == pytest.approx(delay, abs=0.5)
    assert pairs.peak[1] == pytest.approx(1.0, abs=0.1)
    again = time_lag(one, first, noise[0], two, second, noise[1], max_lag=20.0, step=0.5, gap=5.0, trials=30)
    assert np.array_equal(again.trials, found.trials)


def test_nothing_is_interpolated_across_a_gap():
    time = np.r_[np.arange(50.0), 150.0 + np.arange(50.0)]
    found = cross_correlation(time, wander(time, 3), np.arange(55.0, 145.0), np.ones(90), max_lag=4.0, step=1.0)
    assert (found.n == 0).all()
    assert np.isnan(found.centroid)
    same = cross_correlation(time, wander(time, 3), time, wander(time, 3), max_lag=5.0, step=1.0)
    assert same.peak == (0.0, pytest.approx(1.0))
    assert same.n[5] == 200
    assert same.n[0] < 200


def test_bands_with_next_to_nothing_in_them_have_no_lag():
    nothing = [np.full(9, np.nan)] * 2
    with pytest.raises(ValueError, match="at least 5 points"):
        cross_correlation(np.arange(9.0), np.arange(9.0), *nothing)
    with pytest.raises(ValueError, match="more than 3 points"):
        phase_lag(np.arange(9.0), np.arange(9.0), np.ones(9), *nothing, np.ones(9), 0.1)
    with pytest.raises(ValueError, match="nothing to correlate"):
        discrete_correlation(*(np.arange(9.0), np.ones(9), np.ones(9)) * 2)
