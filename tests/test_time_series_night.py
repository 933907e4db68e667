"""Rebinned curves, the report of time series and exported files, from raw frames on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table

from albireo import Results

TABLES = """
[[curves]]
use = "bin"
points = 2
[[reports]]
use = "timing"
trials = 5
[[reports]]
use = "export"
format = ["csv", "ecsv", "lightkurve", "aavso"]
obscode = "XYZ"
"""


@pytest.fixture(scope="module")
def binned(night: Any, reduce: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("binned")
    done = reduce(night.write(folder, TABLES), night.raw, folder / "run")
    assert done.code == 0, done.text
    return folder / "run"


def test_bins_of_two_frames_are_the_means_of_their_frames(binned: Path, undisturbed: Path) -> None:
    (joined,) = Results(binned).curves
    # Which aperture is best may differ: the same one is compared.
    (path,) = (undisturbed / "curves").glob(f"*-r{joined.meta['APERTURE']:.3g}.ecsv")
    plain = Table.read(path, format="ascii.ecsv")
    assert len(joined) == len(plain) / 2
    assert joined["exptime"].tolist() == [2 * value for value in plain["exptime"][::2]]
    weights = np.reshape(plain["flux_err"], (-1, 2)) ** -2
    ours = np.average(np.reshape(plain["flux"], (-1, 2)), weights=weights, axis=1)
    assert np.asarray(joined["flux"]) == pytest.approx(ours, rel=1e-9)
    assert joined["frame"][0] == f"{plain['frame'][0]}..{plain['frame'][1]}"
    # Time of bins is on the scale of the curve: the mean of their frames'.
    assert np.asarray(joined["time"]) == pytest.approx(np.reshape(plain["time"], (-1, 2)).mean(axis=1), abs=1e-8)


def test_reports_of_a_run_lie_beside_each_other(binned: Path) -> None:
    assert "variable" in (binned / "report/timing.html").read_text()
    spans = Table.read(next((binned / "report/timing").glob("variable_*_intervals.ecsv")), format="ascii.ecsv")
    assert len(spans) == 1
    listed = Table.read(binned / "report/export/contents.ecsv", format="ascii.ecsv")
    files = dict(zip(listed["format"].tolist(), listed["file"].tolist(), strict=True))
    notes = dict(zip(listed["format"].tolist(), listed["note"].tolist(), strict=True))
    assert "difference from" in notes["aavso"]
    run = Results(binned)
    (curve,) = run.curves
    assert curve.meta["TIMESYS"] == "BJD_TDB"
    barycentric = Table.read(binned / "report/export" / files["lightkurve"], hdu=1, unit_parse_strict="silent")
    assert np.asarray(barycentric["TIME"]) + 2457000.0 == pytest.approx(np.asarray(curve["time"]), abs=1e-8)
    lines = (binned / "report/export" / files["aavso"]).read_text().splitlines()
    dates = [float(line.split(",")[1]) for line in lines if not line.startswith("#")]
    used = run.frames[(run.frames["kind"] == "science") & (run.frames["fate"] == "used")]
    utc = np.sort(np.asarray(used["mjd_mid"], dtype=float)).reshape(-1, 2).mean(axis=1) + 2400000.5
    assert dates == pytest.approx(utc.tolist(), abs=2e-6)
