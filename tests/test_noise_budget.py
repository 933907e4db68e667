"""One noise model: its terms add up to the error bars, and with scintillation to the scatter of light curves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from albireo import (
    Amplifier,
    Frame,
    Registry,
    Results,
    Section,
    Sources,
    Terms,
    apply_terms,
    image,
    scintillation_noise,
)
from albireo.noise import digitisation_noise, noise_terms
from albireo.testing import Camera, Night, Scene, simulate_night

# --- the error bar of a photometer ------------------------------------------------------------------------------------

STARS = np.geomspace(200.0, 2e5, 8)
SIDE, STEP, SIGMA, RADIUS = 440, 52, 2.4, 5.7


def scene(binning: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Electrons of isolated stars, and their places in binned pixels."""
    x = np.resize(np.arange(70, SIDE - 70, STEP * 2) + 0.3, 8)
    y = np.repeat([120.2, 300.7], 4)
    grid = np.arange(SIDE)
    profile = lambda at: np.exp(-((grid - at) ** 2) / (2 * (SIGMA * binning) ** 2))  # noqa: E731
    norm = 2 * np.pi * (SIGMA * binning) ** 2
    light = sum(f / norm * profile(b)[:, None] * profile(a) for f, a, b in zip(STARS, x, y, strict=True))
    return light, (x - (binning - 1) / 2) / binning, (y - (binning - 1) / 2) / binning


@pytest.mark.parametrize("binning", [1, 2])
@pytest.mark.parametrize(("sky", "read_noise"), [(100.0, 5.0), (0.0, 10.0)])
@pytest.mark.parametrize("gain", [0.25, 1.0, 4.0])
def test_the_terms_add_up_to_the_error_bars(gain: float, sky: float, read_noise: float, binning: int) -> None:
    rng = np.random.default_rng(5)
    light, x, y = scene(binning)
    dark = 20.0
    electrons = rng.poisson(light + sky + dark) + rng.normal(0, read_noise, light.shape)
    counts = np.rint(electrons / gain + 1000.0)
    whole = Section(0, SIDE, 0, SIDE)
    frame = Frame("night.fits", shape=(SIDE, SIDE), amplifiers=(Amplifier(whole, gain=gain, read_noise=read_noise),))
    steps = [
        Terms(subtract=1000.0, pedestal=True),
        Terms(subtract=dark / gain),
        Terms(multiply=gain, unit="electron"),
    ]
    calibrated = apply_terms(image(counts), frame, steps)
    if binning > 1:
        calibrated = Registry.discover().get("correction", "rebin").cls(factor=binning).correct(calibrated, frame, {})
    photometer = Registry.discover().get("photometer", "aperture").cls(radius=RADIUS, annulus=(12, 20))
    rows = {
        name: np.asarray(values)
        for name, values in photometer.measure(calibrated, Sources.make(x, y), None, None).items()
    }
    measured = {name: rows[name][None, :] for name in ("flux", "flux_err", "area", "sky", "sky_err")}
    terms = noise_terms(
        **measured,
        dark=np.array([dark * binning**2]),
        read_noise=np.array([read_noise * binning]),
        digitisation=np.array([digitisation_noise(gain, read_noise) * binning]),
    )
    variance = rows["flux_err"] ** 2
    np.testing.assert_allclose(terms.total[0], variance)
    # Each counts once: nothing has to be left for masters, which are perfect here, or taken from the stars.
    assert np.median(terms.masters[0] / variance) < 0.02
    assert np.median((rows["flux"] - terms.source[0]) / variance) < 0.02
    assert np.max((terms.masters[0] + np.abs(rows["flux"] - terms.source[0])) / variance) < 0.06


# --- a whole night ----------------------------------------------------------------------------------------------------

CAMERA = """
name = "backyard"
kinds = [
    { kind = "bias", when = { IMAGETYP = "Bias Frame" } },
    { kind = "dark", when = { IMAGETYP = "Dark Frame" } },
    { kind = "flat", when = { IMAGETYP = "Flat Field" } },
    { kind = "science", when = { IMAGETYP = "Light Frame" } },
]
[identity]
INSTRUME = "Backyard"
[frame]
filter = "FILTER"
target = "OBJECT"
exptime = "EXPTIME"
start = "DATE-OBS"
airmass = "AIRMASS"
gain = 1.3
read_noise = 7.0
saturation = 60000
scale = 0.8
[site]
longitude = 18.5
latitude = 47.9
height = 940
[telescope]
diameter = 0.3
[setup]
binning = "XBINNING"
[example]
NAXIS1 = 320
NAXIS2 = 300
INSTRUME = "Backyard"
IMAGETYP = "Light Frame"
FILTER = "R"
OBJECT = "M 67"
EXPTIME = 10.0
AIRMASS = 1.2
DATE-OBS = "2024-03-01T20:00:00.000"
XBINNING = 1
"""

RECIPE = """
[instrument]
use = "fits"
definition = "camera.toml"
[[masters]]
use = "combine"
kind = "bias"
[[masters]]
use = "combine"
kind = "dark"
[[masters]]
use = "combine"
kind = "flat"
[[corrections]]
use = "bias"
[[corrections]]
use = "dark"
[[corrections]]
use = "gain"
[[corrections]]
use = "flat"
[background]
use = "mesh"
[finding]
use = "sep"
[alignment]
use = "astroalign"
[[photometry]]
use = "aperture"
radius = [3, 5, 8]
annulus = [12, 20]
[[curves]]
use = "scintillation"
[[curves]]
use = "differential"
[[curves]]
use = "clip"
[executor]
use = "serial"
"""

FRAMES, EXPTIME, OVERHEAD, DARK, VARIABLE, AIRMASS = 40, 10.0, 5.0, 3.0, 6, 1.6
FACTS = (0.3, 940.0, EXPTIME, AIRMASS)


def flicker(star: int):
    """The relative light of a star at a time in hours: scintillation, and of one star a wave."""
    values = 1.0 + scintillation_noise(*FACTS) * np.random.default_rng(100 + star).normal(size=FRAMES)
    if star == VARIABLE:
        values *= 1.0 + 0.04 * np.sin(np.arange(FRAMES) / 4.0)
    return lambda hours: float(values[round((hours * 3600.0 - 0.5 * EXPTIME) / (EXPTIME + OVERHEAD))])


@pytest.fixture(scope="module")
def night(command, tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, dict[str, object]]:
    """Forty short exposures with a small telescope, where scintillation is most of the noise of bright stars."""
    folder = tmp_path_factory.mktemp("scintillation")
    (folder / "camera.toml").write_text(CAMERA)
    (folder / "night.toml").write_text(RECIPE)
    camera = Registry.discover().get("instrument", "fits").cls(definition=str(folder / "camera.toml"))
    field = Scene.field(
        (300, 320),
        25,
        4e4,
        3e2,
        separation=36.0,
        margin=34.0,
        variables={star: flicker(star) for star in range(25)},
        seed=4,
    )
    sky = Night(
        science=FRAMES, bias=15, dark=15, flat=15, exptime=EXPTIME, overhead=OVERHEAD, jitter=0.7, airmass=AIRMASS
    )
    truth = simulate_night(camera, folder / "raw", field, sky, Camera(dark=DARK, cosmic_rays=0.0), seed=4)
    done = command("run", folder / "night.toml", folder / "raw", "--out", folder / "run")
    assert done.code == 0, done.text
    return Results(folder / "run"), {Path(e.frame.path).name: e for e in truth}


def test_measurements_have_rates_and_exposures(night) -> None:
    table = night[0].photometry
    assert str(table["rate"].unit) == str(table["rate_err"].unit) == "electron / s"
    np.testing.assert_allclose(table["rate"], table["flux"] / EXPTIME)
    np.testing.assert_allclose(table["rate_err"], table["flux_err"] / EXPTIME)
    assert "exposure" in table.colnames


def test_the_terms_of_each_star_add_up_to_its_error(night) -> None:
    stars = night[0].stars
    terms = [name for name in stars.colnames if name.startswith("noise_") and name != "noise_scintillation"]
    assert len(terms) == 7
    total = np.sqrt(np.sum([np.asarray(stars[name]) ** 2 for name in terms], axis=0))
    np.testing.assert_allclose(total * stars["snr"], 1.0, atol=0.02)


def test_each_term_is_what_the_night_was_made_of(night) -> None:
    stars = night[0].stars
    five = stars[stars["aperture"] == 5.0]
    pixels = np.pi * 25.0 - np.pi * 10.0 / 6.0
    electrons = five["flux"]
    # Where the flat is above one, more electrons were counted than the flux has, and the noise is less: some per cent.
    assert np.all(five["noise_source"] * electrons <= np.sqrt(electrons) * 1.001)
    np.testing.assert_allclose(five["noise_source"] * electrons, np.sqrt(electrons), rtol=0.1)
    assert np.all(five["noise_masters"] < 0.4 / five["snr"])
    np.testing.assert_allclose(five["noise_dark"] * electrons, np.sqrt(pixels * DARK * EXPTIME), rtol=0.02)
    np.testing.assert_allclose(five["noise_read"] * electrons, np.sqrt(pixels) * 7.0, rtol=0.02)
    np.testing.assert_allclose(five["noise_sky"] * electrons, np.sqrt(pixels * 5.0 * EXPTIME), rtol=0.03)
    np.testing.assert_allclose(five["noise_scintillation"], scintillation_noise(*FACTS))
    assert (five["noise_digitisation"] == 0).all()
    assert np.allclose(five["mag"], -2.5 * np.log10(five["flux"] / EXPTIME), atol=0.003)


def test_final_curves_have_standard_pulls_with_scintillation(night) -> None:
    results, _ = night
    stars = results.stars
    five = stars[(stars["aperture"] == 5.0) & (stars["comparison"] > 0)]
    assert len(five) >= 15
    # Of forty points the robust scatter of a star is known to 15 per cent, that of all to 4.
    assert np.mean(five["rms"] / five["expected"]) == pytest.approx(1.0, abs=0.08)
    bright = five[:6]
    assert np.mean(bright["rms"] / bright["expected"]) == pytest.approx(1.0, abs=0.2)
    assert (bright["noise_scintillation"] > 1.5 / bright["snr"]).all(), "scintillation should be most of it"
    np.testing.assert_allclose(five["limit"], five["expected"])


def test_the_variable_star_is_the_only_candidate(night) -> None:
    results, truth = night
    stars = results.stars
    five = stars[stars["aperture"] == 5.0]
    (found,) = five[five["variable"]]
    reference = results.fields[0].reference
    place = truth[Path(reference).name]
    assert int(np.argmin(np.hypot(place.x - found["x"], place.y - found["y"]))) == VARIABLE
    assert found["excess"] > 3
    assert found["eta"] < 1.0
    constant = five[~five["variable"]]
    assert np.median(constant["excess"]) == pytest.approx(1.0, abs=0.1)
    assert np.median(constant["eta"]) == pytest.approx(2.0, abs=0.2)


def test_the_bake_off_names_the_aperture_with_the_least_scatter(night) -> None:
    results, _ = night
    table = results.bakeoff
    labels = ["aperture-r3", "aperture-r5", "aperture-r8"]
    scatter = np.array([table[f"scatter_{label}"] for label in labels]).T
    best = np.argmin(scatter, axis=1)
    assert list(table["winner"]) == [labels[k] for k in best]
    ordered = np.sort(scatter, axis=1)
    np.testing.assert_allclose(table["gain"], ordered[:, 1] / ordered[:, 0])
    (counts,) = table.meta["WINS"].values()
    assert counts == {label: number for k, label in enumerate(labels) if (number := int(np.sum(best == k)))}
    stars = results.stars
    for row in table[:3]:
        mine = stars[stars["source"] == row["source"]]
        assert sorted(mine["scatter"]) == pytest.approx(sorted(scatter[table["source"] == row["source"]][0]))
    assert "bakeoff.ecsv" in results.summary["files"]


def test_outliers_are_listed_by_star_and_frame(night) -> None:
    results, _ = night
    stars = results.stars
    for ensemble in results.summary["ensembles"]:
        note = ensemble["steps"]["clip"]
        rows = stars[np.abs(stars["aperture"] - ensemble["aperture"]) < 1e-6]
        assert int(rows["clipped"].sum()) == note["points"] == sum(note["frames"].values())
        assert all(row["points"] + row["clipped"] <= FRAMES for row in rows)


def test_without_a_diameter_the_run_says_that_scintillation_is_missing(night, command, tmp_path: Path) -> None:
    results, _ = night
    folder = results.folder.parent
    (tmp_path / "camera.toml").write_text(CAMERA.replace("[telescope]\ndiameter = 0.3\n", ""))
    (tmp_path / "night.toml").write_text(RECIPE.replace("radius = [3, 5, 8]", "radius = 5"))
    done = command("run", tmp_path / "night.toml", folder / "raw", "--out", tmp_path / "run")
    assert done.code == 0, done.text
    found = Results(tmp_path / "run")
    assert any("errors do not contain scintillation: the diameter" in text for text in found.summary["warnings"])
    assert np.isnan(np.asarray(found.stars["noise_scintillation"], dtype=float)).all()
    assert found.bakeoff is None
    options = ("--out", tmp_path / "run", "--set", "instrument.diameter=0.3")
    given = command("run", tmp_path / "night.toml", folder / "raw", *options)
    assert given.code == 0, given.text
    assert np.isfinite(Results(tmp_path / "run").stars["noise_scintillation"]).all()
