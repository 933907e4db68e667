"""A simulated night of RATIR in three of its detectors: one recipe for a CCD and both halves of an infrared array."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from albireo import Registry, Results
from albireo.testing import Observation, Simulation, simulate_observation

SCIENCE = 10


class Reduced(NamedTuple):
    truth: Observation
    results: Results


@pytest.fixture(scope="module")
def night(reduce, tmp_path_factory) -> Reduced:
    """C1, C2Y and C2Z for ten exposures, with the target on either half in turn."""
    camera = Registry.discover().get("instrument", "ratir").cls()
    whole = camera.simulation()
    eyes = tuple(eye for eye in whole.eyes if eye.example.detector in ("C1", "C2Y", "C2Z"))
    plan = replace(whole.usual_night, science=SCIENCE, bias=3, dark=3, flat=3)
    simulation = Simulation(eyes, whole.pointings, whole.adapt, plan)
    scene = simulation.field(50, 6e3, 3e2, separation=10.0, target=5, seed=7)
    folder = tmp_path_factory.mktemp("ratir-night")
    truth = simulate_observation(camera, folder / "raw", simulation, scene, seed=7)
    recipe = folder / "ratir.toml"
    recipe.write_text(type(camera).recipe(), encoding="utf-8")
    done = reduce(recipe, folder / "raw", folder / "run")
    assert done.code == 0, done.text
    return Reduced(truth, Results(folder / "run"))


def test_each_detector_gets_the_masters_it_needs_and_no_others(night: Reduced) -> None:
    assert {master.kind for master in night.results.masters} == {"bias", "dark", "flat", "sky"}
    frames = night.results.frames
    science = frames[frames["kind"] == "science"]
    kinds = {
        str(row["detector"]): " ".join(name.split("-")[0] for name in sorted(row["masters"].split(", ")))
        for row in science
    }
    assert kinds == {"C1": "bias dark flat", "C2Y": "flat sky", "C2Z": "flat sky"}
    assert set(science["fate"]) == {"used"}


def test_each_half_is_science_and_sky_in_turn(night: Reduced) -> None:
    frames = night.results.frames
    counts = {(str(row["detector"]), str(row["kind"])): 0 for row in frames}
    for row in frames:
        counts[str(row["detector"]), str(row["kind"])] += 1
    half = SCIENCE // 2
    for detector in ("C2Y", "C2Z"):
        assert (counts[detector, "science"], counts[detector, "sky"], counts[detector, "flat"]) == (half, half, 3)
    assert counts["C1", "science"] == SCIENCE
    sky = frames[frames["kind"] == "sky"]
    assert set(sky["fate"]) == {"used"}


def test_frames_of_one_exposure_belong_together(night: Reduced) -> None:
    frames = night.results.frames
    seen = frames[[kind in ("science", "sky") for kind in frames["kind"]]]
    exposures = {name: sorted(seen["detector"][seen["exposure"] == name]) for name in set(seen["exposure"])}
    assert len(exposures) == SCIENCE
    assert set(map(tuple, exposures.values())) == {("C1", "C2Y", "C2Z")}


@pytest.mark.parametrize("detector", ["C1", "C2Y", "C2Z"])
def test_stars_all_over_a_frame_that_is_no_square_have_their_flux(night: Reduced, detector: str) -> None:
    """Earlier software lost what lay beyond column 908 of a half of 908 rows and 1803 columns."""
    table = night.results.photometry
    table = table[(table["detector"] == detector) & (np.abs(table["aperture"] - 6) < 1e-6)]
    (truth,) = [truth for truth in night.truth.truths if truth.detector.frame.detector == detector]
    ny, nx = truth.detector.window.shape
    columns, rows, ratios, pulls = [], [], [], []
    for exposure in truth.exposures:
        part = table[table["frame"] == exposure.frame.name]
        x, y, flux, error = (np.asarray(part[name]) for name in ("x", "y", "flux", "flux_err"))
        apart = np.hypot(x[:, None] - exposure.x, y[:, None] - exposure.y)
        if not len(part):
            assert exposure.frame.kind == "sky"
            continue
        star = apart.argmin(axis=1)
        good = (apart.min(axis=1) < 2) & np.isfinite(flux) & (np.asarray(part["flags"]) == 0)
        true = exposure.electrons[star[good]]
        share = np.median(flux[good] / true)
        columns.append(x[good])
        rows.append(y[good])
        ratios.append(flux[good] / true / share)
        pulls.append((flux[good] - share * true) / error[good])
    column, row, ratio, pull = (np.concatenate(part) for part in (columns, rows, ratios, pulls))
    # Every quarter of the field along both axes has stars, and fluxes that are right there.
    for place, size in ((column, nx), (row, ny)):
        for quarter in range(4):
            inside = (place >= quarter * size / 4) & (place < (quarter + 1) * size / 4)
            assert inside.sum() > 10
            assert np.median(ratio[inside]) == pytest.approx(1.0, abs=0.02)
    assert 1.4826 * np.median(np.abs(pull - np.median(pull))) == pytest.approx(1.0, abs=0.2)


def test_the_raw_infrared_file_is_as_the_camera_writes_it(night: Reduced) -> None:
    from astropy.io import fits

    frame = next(f for f in night.truth.frames if f.detector == "C2Z" and f.kind == "science")
    header = fits.getheader(frame.path)
    assert (header["BITPIX"], header["NAXIS1"], header["NAXIS2"], "BZERO" in header) == (16, 2048, 2048, False)
    assert header["STRRQAP"] == "riZJcenter"
    assert Path(frame.path).name[15:] == "C2o.fits"
    assert (fits.getdata(frame.path) < 0).any()
