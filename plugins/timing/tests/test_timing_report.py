"""The report `timing` on run folders with known curves."""

import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from astropy.table import Table
from pydantic import ValidationError

from albireo import Flag, Results
from albireo_timing import Timing

PERIOD = 0.01
"""In days."""

LAG = 60.0
"""Seconds by which r follows g."""


def curve(target, band, points=300, delay=0.0, seed=1, detector="", amplitude=0.02):
    rng = np.random.default_rng(seed)
    time = 2460310.5 + np.arange(points) * 20.0 / 86400.0
    phase = 2.0 * np.pi * (time - 2460310.5 - delay / 86400.0) / PERIOD
    return Table(
        {
            "time": time,
            "flux": 1.0 + amplitude * np.sin(phase) + 0.004 * rng.standard_normal(points),
            "flux_err": np.full(points, 0.004),
            "flags": np.zeros(points, dtype=int),
        },
        meta={"OBJECT": target, "FILTER": band, "DETECTOR": detector, "UNIT": "", "TIMESYS": "BJD_TDB", "SOURCE": 1},
    )


def write_run(folder, curves, title="A <night>"):
    (folder / "curves").mkdir(parents=True, exist_ok=True)
    names = [f"curves/{k}.ecsv" for k in range(len(curves))]
    for name, table in zip(names, curves, strict=True):
        table.write(folder / name, format="ascii.ecsv", overwrite=True)
    (folder / "run.json").write_text(json.dumps({"title": title, "curves": names}))
    return Results(folder)


def read(paths):
    return {path.name: Table.read(path, format="ascii.ecsv") for path in paths[1:]}


def test_period_phase_and_lag_are_in_the_tables(tmp_path):
    run = write_run(tmp_path, [curve("V1", "g"), curve("V1", "r", delay=LAG, seed=2), curve("V2", "g", seed=3)])
    paths = Timing(trials=20).write(run, tmp_path / "report")
    tables = read(paths)
    assert paths[0].name == "timing.html"
    assert {"V1_periodogram.ecsv", "V1_g_intervals.ecsv", "V1_g_fold.ecsv", "V1_r_power.ecsv", "V1_g_r_lag.ecsv"} < set(
        tables
    )
    search = tables["V1_periodogram.ecsv"]
    assert search.meta["PERIOD"] == pytest.approx(PERIOD, abs=5.0 * search.meta["PERIOD_ERR"])
    assert search.meta["FALSE_ALARM"] < 1e-6
    assert str(search["frequency"].unit) == "1 / d"
    lag = tables["V1_g_r_lag.ecsv"]
    assert lag.meta["LAG"] == pytest.approx(LAG, abs=15.0)
    assert lag.meta["LAG_LOW"] < LAG + 15.0
    assert lag.meta["PHASE_LAG"] == pytest.approx(
        2.0 * np.pi * LAG / (PERIOD * 86400.0), abs=4.0 * lag.meta["PHASE_LAG_ERR"]
    )
    assert lag.meta["SIGN"].startswith("positive: the second band comes later")
    assert tables["V1_g_fold.ecsv"]["n"].sum() == 300
    assert not any("V1" in name and "V2" in str(table.meta) for name, table in tables.items())


def test_the_recipe_says_what_to_fold_with_and_which_pairs(tmp_path):
    run = write_run(tmp_path, [curve("V1", band, seed=k) for k, band in enumerate("gri")])
    options = Timing(
        period=PERIOD,
        t0=2460310.5,
        n_bins=8,
        frequencies=(50.0, 200.0),
        segment=400.0,
        pairs=(("r", "i"), ("g", "z")),
        trials=5,
    )
    paths = options.write(run, tmp_path / "report")
    tables = read(paths)
    fold = tables["V1_g_fold.ecsv"]
    assert (fold.meta["PERIOD"], fold.meta["T0"], len(fold)) == (PERIOD, 2460310.5, 8)
    assert fold["flux"][:4].min() > 1.0 > fold["flux"][4:].max()
    assert tables["V1_periodogram.ecsv"]["frequency"].max() == pytest.approx(200.0)
    assert tables["V1_r_power.ecsv"].meta["SEGMENTS"] == 15
    assert [name for name in tables if name.endswith("_lag.ecsv")] == ["V1_r_i_lag.ecsv"]
    assert "pair g, z: there is no light curve in z" in paths[0].read_text()


def test_bands_with_the_same_filter_are_told_apart_by_their_detectors(tmp_path):
    run = write_run(tmp_path, [curve("V1", "r", detector=name, seed=k) for k, name in enumerate(("C2", "C3"))])
    names = {path.name for path in Timing(trials=5).write(run, tmp_path / "report")}
    assert {"V1_r_C2_fold.ecsv", "V1_r_C3_fold.ecsv", "V1_r_C2_r_C3_lag.ecsv"} < names


def test_bands_of_constant_stars_have_no_lag(tmp_path):
    run = write_run(tmp_path, [curve("V1", band, seed=k, amplitude=0.0) for k, band in enumerate("gr")])
    paths = Timing(trials=5).write(run, tmp_path / "report")
    assert "lag of r behind g: the bands are not correlated more than noise is" in paths[0].read_text()
    table = read(paths)["V1_g_r_lag.ecsv"]
    assert "LAG" not in table.meta
    assert np.nanmax(np.abs(table["correlation"])) < 0.4
    assert read(paths)["V1_periodogram.ecsv"].meta["FALSE_ALARM"] > 0.001


def test_missing_data_cost_a_part_and_never_the_report(tmp_path):
    empty, short, one = curve("V1", "g"), curve("V1", "r", 3), curve("V2", "g", 1)
    empty["flux"] = np.nan
    clipped = curve("V3", "g")
    clipped["flags"][:10] = int(Flag.OUTLIER)
    clipped["flux"][:10] = 90.0
    early, late = curve("V4", "g", 100), curve("V4", "r", 100, seed=2)
    late["time"] += 0.2
    run = write_run(tmp_path, [empty, short, one, clipped, early, late])
    paths = Timing(trials=5).write(run, tmp_path / "report")
    text = paths[0].read_text()
    assert "periodogram: a periodogram needs more than 3 points in a band" in text
    assert "lag of r behind g: a correlation needs at least 5 points in each series" in text
    assert "lag of r behind g: the bands have too few points in common at any lag" in text
    assert len(read(paths)["V1_g_intervals.ecsv"]) == 0
    assert read(paths)["V3_g_fold.ecsv"]["flux"].max() < 1.1
    assert Timing().write(write_run(tmp_path / "none", []), tmp_path / "none/report")[0].exists()
    assert "no light curves" in (tmp_path / "none/report/timing.html").read_text()


def test_the_page_is_whole_and_needs_no_network(tmp_path):
    run = write_run(tmp_path, [curve("V1 <b>", "g"), curve("V1 <b>", "r", seed=2)])
    text = Timing(trials=5).write(run, tmp_path / "report")[0].read_text()
    assert "http" not in text
    assert "<b>V1" not in text
    assert "A &lt;night&gt;" in text
    assert "nan" not in re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)
    body = text[text.index("<main>") : text.index("</main>") + 7]
    ElementTree.fromstring(body)  # every element is closed
    assert body.count("<figure") == 5


def test_tables_of_an_earlier_run_go(tmp_path):
    Timing(trials=5).write(write_run(tmp_path, [curve("V1", "g")]), tmp_path / "report")
    paths = Timing(trials=5).write(write_run(tmp_path, [curve("V2", "g")]), tmp_path / "report")
    assert sorted(path.name for path in (tmp_path / "report/timing").iterdir()) == sorted(p.name for p in paths[1:])


def test_a_range_of_frequencies_goes_upwards():
    with pytest.raises(ValidationError, match="a least frequency above 0"):
        Timing(frequencies=(5.0, 2.0))
