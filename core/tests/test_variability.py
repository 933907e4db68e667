"""Which stars stand out from those as bright, on made-up ensembles."""

import numpy as np
import pytest

from albireo.run.bakeoff import bakeoff_table
from albireo.run.variability import candidates, excess_over_locus, point_to_point, smoothed_scatter, von_neumann

N, M = 150, 120


def night(seed, changes=None, floor=0.004):
    """Relative curves whose scatter grows to faint stars, over a floor that no error bar has; magnitudes and limits."""
    rng = np.random.default_rng(seed)
    mag = np.sort(rng.uniform(-12, -6, M))
    limit = 0.001 * 10 ** (0.2 * (mag + 12))
    curves = 1 + np.hypot(limit, floor) * rng.normal(size=(N, M))
    for star, change in (changes or {}).items():
        curves[:, star] += change
    return curves, mag, limit


def judged(curves, mag, limit, fit=None):
    fit = np.ones(M, dtype=bool) if fit is None else fit
    ratio = np.array([smoothed_scatter(curve) for curve in curves.T]) / limit
    excess = excess_over_locus(mag, ratio, fit)
    return excess, candidates(excess, np.full(M, N), fit)


def test_constant_stars_are_no_candidates_though_the_night_is_worse_than_its_errors():
    found = [judged(*night(seed)) for seed in range(20)]
    assert np.median(np.concatenate([excess for excess, _ in found])) == pytest.approx(1.0, abs=0.02)
    assert sum(int(variable.sum()) for _, variable in found) <= 2  # of 2400


@pytest.mark.parametrize("star", [3, 60, 110])
def test_variables_of_every_brightness_stand_out(star):
    noise = np.hypot(0.001 * 10 ** (0.2 * (np.sort(np.random.default_rng(1).uniform(-12, -6, M))[star] + 12)), 0.004)
    wave = 2.5 * noise * np.sin(np.arange(N) / 9)
    eclipse = np.where((np.arange(N) > 70) & (np.arange(N) < 82), -8 * noise, 0.0)
    for change in (wave, eclipse):
        _, variable = judged(*night(1, {star: change}))
        assert np.flatnonzero(variable).tolist() == [star]


def test_single_bad_points_make_no_variable():
    bad = np.zeros(N)
    bad[[20, 90]] = 0.3
    excess, variable = judged(*night(2, {40: bad}))
    assert not variable.any()
    assert excess[40] == pytest.approx(1.0, abs=0.35)


def test_stars_that_are_not_fit_make_no_locus_and_are_no_candidates():
    fit = np.ones(M, dtype=bool)
    fit[:30] = False
    noisy = {star: 0.1 * np.random.default_rng(star).normal(size=N) for star in range(30)}
    excess, variable = judged(*night(3, noisy), fit=fit)
    assert not variable.any()
    assert np.median(excess[:30]) > 10
    assert np.median(excess[30:]) == pytest.approx(1.0, abs=0.05)


def test_with_few_stars_or_points_nothing_is_said():
    assert np.isnan(excess_over_locus(np.arange(3.0), np.ones(3), np.ones(3, dtype=bool))).all()
    assert np.isfinite(excess_over_locus(np.arange(4.0), np.ones(4), np.ones(4, dtype=bool))).all()
    assert np.isnan(smoothed_scatter(np.ones(9)))
    assert not candidates(np.full(5, np.nan), np.full(5, 100), np.ones(5, dtype=bool)).any()


def test_the_ratio_of_von_neumann_tells_slow_changes_from_noise():
    rng = np.random.default_rng(4)
    white = [von_neumann(rng.normal(size=400)) for _ in range(200)]
    assert np.mean(white) == pytest.approx(2.0, abs=0.03)
    assert np.std(white) == pytest.approx(2 / np.sqrt(400), rel=0.2)
    assert von_neumann(np.sin(np.arange(400) / 20)) < 0.01
    assert np.isnan(von_neumann(np.ones(50)))


def test_the_scatter_from_point_to_point_is_that_of_the_noise_and_blind_to_trends():
    rng = np.random.default_rng(5)
    noise = rng.normal(0, 0.01, 4000)
    assert point_to_point(1 + noise) == pytest.approx(0.01, rel=0.05)
    assert point_to_point(1 + noise + np.linspace(0, 1, 4000)) == pytest.approx(0.01, rel=0.05)


def star(source, scatter, points=100, name=""):
    facts = {"field": "M 67", "sky": "M 67", "target": "M 67", "detector": "C1", "filter": "r"}
    return {**facts, "source": source, "name": name, "mag": -9.0, "scatter": scatter, "points": points}


def test_a_method_that_loses_many_points_wins_nothing():
    table = bakeoff_table(
        [
            {
                "optimal": [star(1, 0.001, 60, "V1"), star(2, 0.004)],
                "aperture-r4": [star(1, 0.003, 100, "V1"), star(2, 0.005)],
            }
        ]
    )
    assert list(table["winner"]) == ["aperture-r4", "optimal"]
    assert np.isnan(table["gain"][0])
    assert table["gain"][1] == pytest.approx(1.25)
    assert table.meta == {
        "WINS": {"r C1": {"aperture-r4": 1, "optimal": 1}},
        "TARGETS": {"V1": {"r C1": "aperture-r4"}},
    }


def test_one_method_needs_no_comparison_and_fields_may_have_methods_of_their_own():
    assert bakeoff_table([{"optimal": [star(1, 0.001)]}]) is None
    table = bakeoff_table(
        [{"a-r4": [star(1, 0.01)], "b": [star(1, 0.02)]}, {"a-r5": [star(1, 0.01)], "b": [star(1, np.nan)]}]
    )
    assert list(table["winner"]) == ["a-r4", "a-r5"]
    assert np.isnan(table["scatter_a-r5"][0])
    assert np.isnan(table["gain"][1])
