"""Light curves of simulated nights against what was put in."""

import numpy as np
import pytest

from albireo import Ensemble, Flag, FrameError
from albireo_differential import Differential


def ensemble(flux, error, *, flags=None, targets=None):
    n, m = flux.shape
    plain, grid = np.ones(n), np.zeros((n, m))
    return Ensemble(
        target="field",
        detector="",
        filter="r",
        method="aperture",
        aperture=4.0,
        frames=np.array([f"{k:04d}.fits" for k in range(n)]),
        time=2460000.0 + np.arange(n) / 1000,
        time_scale="JD_UTC",
        exptime=plain,
        airmass=plain,
        fwhm=plain,
        sources=np.arange(1, m + 1),
        flux=flux,
        flux_err=error,
        x=grid,
        y=grid,
        sky=grid,
        flags=np.zeros((n, m), np.uint16) if flags is None else flags,
        targets=targets or {},
    )


def night(n=160, m=25, *, seed=1, variation=None, clouds=True, low=4.3, high=6.0):
    """Constant stars but for ``variation`` (column to relative change), under passing clouds; electrons."""
    rng = np.random.default_rng(seed)
    means = np.sort(10 ** rng.uniform(low, high, m))[::-1]
    phase = np.arange(n) / n
    sky = 1 - 0.6 * np.exp(-(((phase - 0.4) / 0.05) ** 2)) - 0.1 * phase if clouds else np.ones(n)
    truth = np.ones((n, m))
    for column, change in (variation or {}).items():
        truth[:, column] += change
    light = means * sky[:, None] * truth
    error = np.sqrt(light + 3000.0)
    return light + rng.normal(size=light.shape) * error, error, sky, truth


def sine(n, amplitude, period=70.0):
    return amplitude * np.sin(2 * np.pi * np.arange(n) / period)


def scatter(curve):
    return np.std(curve)


def test_constant_stars_have_standard_pulls_behind_clouds():
    pulls = []
    for seed in range(3):
        flux, error, _, _ = night(seed=seed)
        curves = Differential().apply(ensemble(flux, error))
        pulls.append((curves.flux - 1) / curves.flux_err)
        assert curves.unit == ""
        assert np.median(curves.flux, axis=0) == pytest.approx(1.0)
    pulls = np.concatenate(pulls)
    assert np.std(pulls) == pytest.approx(1.0, abs=0.03)
    # 480 values a star: 3 % each.
    assert np.std(pulls, axis=0) == pytest.approx(1.0, abs=0.13)


def test_errors_contain_that_of_a_poor_ensemble():
    flux, error, _, _ = night(n=400, m=3, low=4.5, high=4.6, seed=2)
    curves = Differential().apply(ensemble(flux, error, targets={"star": 1}))
    assert sorted(curves.comparisons) == [2, 3]
    # Two comparison stars like the target: half of its variance comes on top.
    assert np.median(curves.flux_err[:, 0]) > 1.15 * np.median(error[:, 0] / flux[:, 0])
    assert np.std((curves.flux[:, 0] - 1) / curves.flux_err[:, 0]) == pytest.approx(1.0, abs=0.12)


def test_transparency_of_each_frame_is_reported():
    flux, error, sky, _ = night()
    report = Differential().apply(ensemble(flux, error)).meta["differential"]
    found, found_error = (np.array(report[key]) for key in ("transparency", "transparency_err"))
    pull = (found - sky / np.median(sky)) / found_error
    assert np.std(pull) == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("column", [0, 12])
def test_planted_variation_of_the_target_is_recovered(column):
    change = sine(160, 0.02)
    flux, error, _, _ = night(variation={column: change})
    curves = Differential().apply(ensemble(flux, error, targets={"variable": column + 1}))
    shape = change / 0.02
    curve, weight = curves.flux[:, column] - 1, curves.flux_err[:, column] ** -2
    amplitude = np.sum(weight * curve * shape) / np.sum(weight * shape**2)
    # The median of a sine over 2.3 periods is not quite zero: a few per cent of the amplitude.
    assert amplitude == pytest.approx(0.02, abs=4 / np.sqrt(np.sum(weight * shape**2)) + 0.0006)
    assert column + 1 not in curves.comparisons


def test_variable_stars_are_not_chosen_whatever_their_brightness():
    n = 160
    flux, error, _, _ = night(variation={0: sine(n, 0.05), 1: sine(n, 0.05, 33.0), 6: np.linspace(-0.1, 0.1, n)})
    curves = Differential().apply(ensemble(flux, error))
    assert not {1, 2, 7} & set(curves.comparisons)
    assert set(curves.meta["differential"]["variable"]) == {1, 2, 7}
    assert len(curves.comparisons) == 20
    constant = np.setdiff1d(np.arange(25), [0, 1, 6])
    assert np.std(((curves.flux - 1) / curves.flux_err)[:, constant]) == pytest.approx(1.0, abs=0.04)


def test_weights_follow_the_precision_of_the_stars():
    flux, error, _, _ = night(n=600, m=12)
    weights = Differential().apply(ensemble(flux, error)).comparisons
    expected = 1 / np.median(error / flux, axis=0) ** 2
    expected /= expected.sum()
    assert sum(weights.values()) == pytest.approx(1.0)
    assert [weights[k] for k in range(1, 13)] == pytest.approx(expected, rel=0.25)


def test_excess_scatter_costs_weight():
    rng = np.random.default_rng(8)
    flux, error, _, _ = night(n=400, m=12, low=5.0, high=5.2)
    flux[:, 3] *= 1 + rng.normal(0, 0.005, 400)  # twice its errors in all: not enough to be called variable
    weights = Differential().apply(ensemble(flux, error)).comparisons
    others = np.mean([weights[k] for k in (3, 5)])
    own = np.median(error[:, 3] / flux[:, 3])
    assert weights[4] / others == pytest.approx(own**2 / (own**2 + 0.005**2), rel=0.3)


def test_a_star_that_leaves_the_field_makes_no_step():
    # A bright red star, a quarter of all the light, is only there in the first half.
    n = 400
    flux, error, _, _ = night(n=n, m=12, seed=3, low=4.5, high=5.0)
    flux[:, 0] *= 8
    error[:, 0] = np.sqrt(flux[:, 0] + 3000)
    flux[n // 2 :, 0] = error[n // 2 :, 0] = np.nan
    curves = Differential(min_present=0.4).apply(ensemble(flux, error))
    assert 1 in curves.comparisons
    step = np.mean(curves.flux[: n // 2, 1:], axis=0) - np.mean(curves.flux[n // 2 :, 1:], axis=0)
    pull = step / (np.median(curves.flux_err[:, 1:], axis=0) * np.sqrt(4 / n))
    assert np.abs(np.mean(pull)) < 4 / np.sqrt(11)
    assert np.abs(step).max() < 0.4 * np.median(curves.flux_err[:, 1:])
    assert np.abs(np.mean(step)) < 0.2 * np.median(curves.flux_err[:, 1:])
    assert np.isnan(curves.flux[n // 2 :, 0]).all()
    assert np.isfinite(curves.flux[: n // 2, 0]).all()


def test_stars_missing_in_many_frames_are_not_chosen():
    flux, error, _, _ = night()
    flux[:50, 2] = np.nan
    curves = Differential().apply(ensemble(flux, error))
    assert 3 not in curves.comparisons
    assert curves.meta["differential"]["left_out"] == {"measured in less than 80% of the frames": 1}
    assert 3 in Differential(min_present=0.5).apply(ensemble(flux, error)).comparisons


def test_flagged_stars_are_not_chosen_and_single_flags_only_cost_the_measurement():
    flux, error, _, _ = night()
    flags = np.zeros(flux.shape, np.uint16)
    flags[::2, 0] = Flag.SATURATED
    flags[::2, 1] = Flag.INTERPOLATED  # usable
    flags[7, 2] = Flag.COSMIC_RAY
    flux[7, 2] *= 3
    curves = Differential().apply(ensemble(flux, error, flags=flags))
    assert 1 not in curves.comparisons
    assert {2, 3} < set(curves.comparisons)
    assert np.abs((curves.flux[7, 3:] - 1) / curves.flux_err[7, 3:]).max() < 5


def test_an_outlier_without_a_flag_does_not_move_the_others():
    flux, error, _, _ = night()
    flux[7, 0] *= 1.5
    curves = Differential().apply(ensemble(flux, error))
    assert 1 in curves.comparisons
    assert np.abs(np.mean((curves.flux[7, 1:] - 1) / curves.flux_err[7, 1:])) < 1.0
    assert curves.flux[7, 0] == pytest.approx(1.5, abs=0.05)


def test_a_comparison_star_is_measured_against_the_others_only():
    # Against an ensemble with itself, a star that carries most of the weight would show no change at all.
    change = sine(160, 0.003)
    flux, error, _, _ = night(m=6, variation={0: change}, low=4.5, high=4.6, clouds=False)
    flux[:, 0] *= 30
    error[:, 0] = np.sqrt(flux[:, 0])
    curves = Differential(comparisons=(1, 2, 3, 4, 5, 6)).apply(ensemble(flux, error))
    slope = np.polyfit(change, curves.flux[:, 0] - 1, 1)[0]
    assert slope == pytest.approx(1.0, abs=4 * np.median(curves.flux_err[:, 0]) / (np.std(change) * np.sqrt(160)))


def test_comparison_stars_that_the_targets_of_a_recipe_name():
    flux, error, _, _ = night()
    curves = Differential().apply(ensemble(flux, error).replace(comparisons={4: 0.5, 9: 0.5}))
    assert sorted(curves.comparisons) == [4, 9]
    by_option = Differential(comparisons=(1, 2)).apply(ensemble(flux, error).replace(comparisons={4: 0.5, 9: 0.5}))
    assert sorted(by_option.comparisons) == [1, 2]


def test_comparison_stars_by_hand():
    flux, error, _, _ = night()
    curves = Differential(comparisons=(4, 9)).apply(ensemble(flux, error, targets={"star": 4}))
    assert sorted(curves.comparisons) == [4, 9]
    with pytest.raises(
        FrameError, match="comparison star 99 is not in the catalogue of this field, which has 25 sources"
    ):
        Differential(comparisons=(4, 99)).apply(ensemble(flux, error))


def test_a_bright_variable_star_chosen_by_hand_does_not_lead_the_ensemble():
    flux, error, _, _ = night(m=9, variation={0: sine(160, 0.05)})
    flux[:, 0] *= 20  # its counting noise alone would give it nine tenths of the weight
    error[:, 0] = np.sqrt(flux[:, 0])
    curves = Differential(comparisons=tuple(range(1, 10))).apply(ensemble(flux, error))
    assert curves.comparisons[1] < 0.01
    assert np.std(((curves.flux - 1) / curves.flux_err)[:, 1:]) == pytest.approx(1.0, abs=0.08)


def test_how_many_are_chosen_at_most():
    flux, error, _, _ = night()
    curves = Differential(max_comparisons=3).apply(ensemble(flux, error, targets={"star": 1}))
    assert sorted(curves.comparisons) == [2, 3, 4]
    assert curves.meta["differential"]["left_out"] == {"target": 1, "fainter than those weighed": 12}


def test_fluxes_keep_their_unit_if_not_normalised():
    flux, error, sky, _ = night()
    curves = Differential(normalise=False).apply(ensemble(flux, error))
    assert curves.unit == "electron"
    assert np.median(curves.flux, axis=0) == pytest.approx(
        np.median(flux / sky[:, None], axis=0) * np.median(sky), rel=0.005
    )


def test_frames_and_stars_without_a_measurement_stay_empty():
    flux, error, _, _ = night()
    flux[20], flux[:, 5] = np.nan, np.nan
    with np.errstate(all="raise"):
        curves = Differential().apply(ensemble(flux, error))
    assert np.isnan(curves.flux[20]).all()
    assert np.isnan(curves.flux[:, 5]).all()
    rest = np.delete(np.delete(curves.flux, 20, axis=0), 5, axis=1)
    assert np.isfinite(rest).all()
    assert curves.meta["differential"]["transparency"][20] is None


def test_a_single_frame_gives_ones():
    flux, error, _, _ = night(n=1)
    curves = Differential().apply(ensemble(flux, error))
    assert curves.flux == pytest.approx(1.0)
    assert (curves.flux_err > error / flux).all()


def test_a_single_comparison_star():
    flux, error, _, _ = night(m=2)
    curves = Differential().apply(ensemble(flux, error, targets={"star": 2}))
    assert curves.comparisons == {1: 1.0}
    ratio = flux[:, 1] / flux[:, 0]
    assert curves.flux[:, 1] == pytest.approx(ratio / np.median(ratio))
    assert np.isnan(curves.flux[:, 0]).all()  # it has nothing to be compared with


def test_without_a_comparison_star_the_reasons_are_counted():
    flux, error, _, _ = night(m=3)
    flags = np.zeros(flux.shape, np.uint16)
    flags[:, 1] = Flag.SATURATED
    flux[:100, 2] = np.nan
    with pytest.raises(FrameError) as caught:
        Differential().apply(ensemble(flux, error, flags=flags, targets={"star": 1}))
    assert str(caught.value) == (
        "a differential light curve needs at least one comparison star, and no source of this field will do "
        "(1 target, 1 flagged, 1 measured in less than 80% of the frames); lower min_present, or name comparisons"
    )
    with pytest.raises(FrameError, match="none of the comparison stars was measured without flags"):
        Differential(comparisons=(2,)).apply(ensemble(flux, error, flags=flags))


def test_two_runs_agree_and_the_input_is_left_alone():
    flux, error, _, _ = night()
    before = flux.copy(), error.copy()
    curves = ensemble(flux, error)
    first, second = Differential().apply(curves), Differential().apply(curves)
    assert first.flux.tobytes() == second.flux.tobytes()
    assert first.flux_err.tobytes() == second.flux_err.tobytes()
    assert first.comparisons == second.comparisons
    assert np.array_equal(flux, before[0])
    assert np.array_equal(error, before[1])
    assert curves.comparisons == {}
    assert curves.meta == {}
