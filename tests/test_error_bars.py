"""Error bars are right: what is measured differs from the truth by as much as its error says, from raw frames on.

The light outside the aperture is known from the profile, and the level of the flat from the flat; no factor is fitted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp
from pathlib import Path

import numpy as np
import pytest

from albireo import Registry, Results, read_image
from albireo.testing import Camera, Night, Scene, Sine, Truth, simulate_night

RADIUS = 5.0
VARIABLE, AMPLITUDE, PERIOD = 7, 0.05, 0.08
MEAN_TOLERANCE, WIDTH_TOLERANCE = 0.1, 0.1
GAINS = (0.25, 1.0, 4.0)
PIXEL_VARIANCE = 1.0 / 12.0
"""A pixel is as wide as a normal distribution of this variance, in pixels squared."""

RECIPE = """
[instrument]
use = "lmi"
[[masters]]
use = "combine"
kind = "bias"
[[masters]]
use = "combine"
kind = "flat"
[[corrections]]
use = "overscan"
[[corrections]]
use = "trim"
[[corrections]]
use = "bias"
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
[catalogue]
max_sources = 1000
min_snr = 0
[[photometry]]
use = "aperture"
radius = 5
annulus = [12, 22]
[[curves]]
use = "differential"
[executor]
use = "serial"
"""


@dataclass(frozen=True, eq=False)
class Measured:
    """A night with its truth: everything by measurement, brightest star first.

    ``pull`` is what was measured less the truth over the error; ``star`` the number of the star.
    """

    truth: Truth
    results: Results
    star: np.ndarray
    expected: np.ndarray
    pull: np.ndarray


@pytest.fixture(scope="module", params=GAINS, ids=lambda gain: f"gain {gain:g}")
def measured(request, command, tmp_path_factory) -> Measured:
    """32 frames of some 180 stars between S/N 8 and 300, through thin clouds, with every fifth star as a target."""
    gain: float = request.param
    folder: Path = tmp_path_factory.mktemp("pulls")
    lmi = Registry.discover().get("instrument", "lmi").cls()
    example = lmi.example()
    amplifier = replace(example.amplifiers[0], gain=gain, read_noise=5.0)
    shape = amplifier.data.shape
    grid = Scene.grid(shape, 52.0, 4.5e3, 55.0, seed=3)
    order = np.argsort(-grid.flux)
    scene = Scene(grid.x[order], grid.y[order], grid.flux[order], {VARIABLE: Sine(AMPLITUDE, PERIOD)})
    night = Night(
        science=32,
        bias=21,
        flat=21,
        exptime=20.0,
        fwhm=3.0,
        beta=float("inf"),
        jitter=6.0,  # other pixels in each frame, so that the noise of the masters differs too
        sky=5.0,
        transparency=lambda hours: 0.9 - 0.1 * np.cos(40.0 * hours),
    )
    camera = Camera(cosmic_rays=0.0, hot=0.0)
    truth = simulate_night(lmi, folder / "raw", scene, night, camera, example=example.replace(amplifiers=(amplifier,)))
    first, window = truth.exposures[0], truth.detector.window
    targets = "".join(
        f'\n[[targets]]\nname = "star {n}"\nx = {first.x[n] + window.x0:.2f}\ny = {first.y[n] + window.y0:.2f}\n'
        for n in range(2, len(scene), 5)
    )
    (folder / "night.toml").write_text(RECIPE + targets)
    done = command("run", folder / "night.toml", folder / "raw", "--out", folder / "run")
    assert done.code == 0, done.text
    results = Results(folder / "run")
    assert set(results.frames["gain"]) == {gain}
    return Measured(truth, results, *pulls(truth, results))


def pulls(truth: Truth, results: Results) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compare every good measurement with the light that falls into its aperture."""
    flat = read_image(next(m.path for m in results.masters if m.kind == "flat")).data
    response = truth.detector.flat(truth.exposures[0].frame.filter)
    alive = response > 0
    level = float(np.median(flat[alive] / response[alive]))
    assert level == pytest.approx(1.0, abs=0.1)
    table = results.photometry
    table.convert_bytestring_to_unicode()
    stars, light, found = [], [], []
    for exposure in truth:
        # A Gaussian star, broadened by the pixels; of its light 1 - exp(-r^2 / 2 s^2) falls into a circle.
        inside = 1.0 - exp(-(RADIUS**2) / (2.0 * (exposure.profile.width**2 + PIXEL_VARIANCE)))
        rows = table[table["frame"] == Path(exposure.frame.path).name]
        distance = np.hypot(rows["x"][:, None] - exposure.x[None, :], rows["y"][:, None] - exposure.y[None, :])
        star = distance.argmin(axis=1)
        good = (distance.min(axis=1) < 1.0) & (rows["flags"] == 0) & np.isfinite(rows["flux"])
        expected = exposure.electrons[star] * inside / level
        pull = (rows["flux"] - expected) / rows["flux_err"]
        stars.append(star[good])
        light.append(expected[good])
        found.append(np.asarray(pull)[good])
    return np.concatenate(stars), np.concatenate(light), np.concatenate(found)


def test_pulls_of_fluxes_are_normal_from_bright_to_faint(measured: Measured) -> None:
    number = len(measured.truth.scene)
    assert len(set(measured.star)) > 0.97 * number, "stars were not found"
    for group, which in zip(("bright", "middling", "faint"), np.array_split(np.arange(number), 3), strict=True):
        pull = measured.pull[np.isin(measured.star, which)]
        mean, width = float(pull.mean()), float(pull.std())
        print(f"{group}: {len(pull)} fluxes, mean {mean:+.3f}, width {width:.3f}")
        assert len(pull) > 0.9 * len(which) * len(measured.truth.exposures)
        assert abs(mean) < MEAN_TOLERANCE, f"{group} stars: mean pull {mean:+.3f}"
        assert abs(width - 1.0) < WIDTH_TOLERANCE, f"{group} stars: width of pulls {width:.3f}"


def test_pulls_have_no_tails(measured: Measured) -> None:
    """Of a normal distribution 6e-5 lie beyond four standard deviations: less than one of these measurements."""
    assert np.count_nonzero(np.abs(measured.pull) > 4.0) <= 3


def test_pulls_of_final_light_curves_of_constant_stars_are_normal(measured: Measured) -> None:
    chi2, freedom, bright = 0.0, 0, 0
    for curve in measured.results.curves:
        if curve.meta["OBJECT"] == f"star {VARIABLE}":
            continue
        good = curve["flags"] == 0  # a dead pixel costs light that nobody can know of
        flux, error = np.asarray(curve["flux"])[good], np.asarray(curve["flux_err"])[good]
        assert np.isfinite(flux).all()
        mean = np.average(flux, weights=error**-2)
        chi2 += float(np.sum(((flux - mean) / error) ** 2))
        freedom += len(flux) - 1
        bright += int(np.median(error) / mean < 0.006)
    assert bright >= 5, "no bright star to tell the error of the comparison"
    width = float(np.sqrt(chi2 / freedom))
    print(f"{freedom} degrees of freedom, width {width:.3f}")
    assert freedom > 1000  # the width itself is known to 2.2 per cent
    assert abs(width - 1.0) < WIDTH_TOLERANCE


def test_the_variable_has_its_amplitude_and_no_other_star_has_one(measured: Measured) -> None:
    hours = np.array([exposure.hours for exposure in measured.truth])
    design = np.stack([np.ones(len(hours)), np.sin(2.0 * np.pi * hours / PERIOD)], axis=1)
    found = {}
    for curve in measured.results.curves:
        good = np.asarray(curve["flags"] == 0)
        flux, error = np.asarray(curve["flux"])[good], np.asarray(curve["flux_err"])[good]
        weighted = design[good] / error[:, None]
        covariance = np.linalg.inv(weighted.T @ weighted)
        level, amplitude = covariance @ weighted.T @ (flux / error)
        found[curve.meta["OBJECT"]] = (amplitude / level, float(np.sqrt(covariance[1, 1])) / level)
    amplitude, error = found.pop(f"star {VARIABLE}")
    print(f"amplitude {amplitude:.4f} +- {error:.4f}")
    assert error < 0.1 * AMPLITUDE
    assert abs(amplitude - AMPLITUDE) < 3.0 * error
    others = np.array([value / sigma for value, sigma in found.values()])
    assert np.sqrt(np.mean(others**2)) < 1.0 + 3.0 / np.sqrt(2 * len(others))
