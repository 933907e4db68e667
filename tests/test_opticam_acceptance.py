"""What a reducer for three fast cameras was measured to do, and to do wrong: the numbers that this one must meet.

The cases have the names under which they were written down: A1 to A11 are scenes with figures, D1 to D19 mistakes that
were found in software of the field (their tests: `test_opticam_defects.py`). Many were tested where the method lives;
`PROOFS` says where each is.

The common scene has eight isolated stars of 20000 to 4000 electrons, round Gaussians with a standard deviation of 2
pixels, on a sky of 100 electrons a pixel, with the noise of the photons alone. An aperture with the radius of one FWHM
holds 15/16 of a Gaussian, 18750 electrons of the brightest; pixels half as wide as the standard deviation blur star and
aperture, and take 0.8 per cent of that.
"""

from __future__ import annotations

import ast
from dataclasses import replace
from math import exp, pi, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from albireo import PSF, Background, Registry, Sources, apply_terms, image, raw_image
from albireo.testing import Picture, PlainCamera, Profile, Scene, draw_stars, poisson, simulate_image
from albireo_timing import lomb_scargle, phase_bin, phase_lag

ROOT = Path(__file__).resolve().parents[1]
PROOFS: dict[str, tuple[str, ...]] = {
    "A1": ("tests/test_opticam_defects.py::test_oc_a01_and_d01_a_drifting_star_keeps_its_flux",),
    "A2": ("tests/test_opticam_acceptance.py::test_oc_a02_scatter_is_what_the_errors_say_at_every_gain",),
    "A3": ("plugins/aperture/tests/test_optimal_truth.py::test_errors_are_those_of_theory_and_the_scatter",),
    "A4": ("tests/test_opticam_acceptance.py::test_oc_a04_an_inclined_ellipse_has_its_light_and_its_angle",),
    "A5": ("tests/test_opticam_acceptance.py::test_oc_a05_bins_of_phase_are_means_of_the_sine",),
    "A6": ("tests/test_opticam_acceptance.py::test_oc_a06_a_gappy_night_in_three_bands_has_its_frequency_and_lags",),
    "A7": (
        "tests/test_opticam_acceptance.py::test_oc_a07_every_background_is_that_of_the_scene",
        "tests/test_opticam_acceptance.py::test_oc_a07_every_finder_finds_the_six_stars",
    ),
    "A8": (
        "plugins/alignment/tests/test_patterns_across.py::test_the_cameras_of_opticam_are_matched_to_a_twentieth_of_a_pixel",
        "tests/test_real_alignment.py::test_the_cameras_of_opticam_are_matched_as_astroalign_does",
        "tests/test_real_opticam.py::test_the_cameras_have_their_stars_in_common",
    ),
    "A9": (
        "core/tests/test_times.py::test_five_thousand_moments_from_a_telescope_agree_with_erfa_and_the_definitions",
        "core/tests/test_times.py::test_many_times_together_are_the_same_as_one_by_one",
    ),
    "A10": (
        "tests/test_opticam_acceptance.py::test_oc_a10_real_frames_have_the_sky_the_width_and_the_hot_pixels_that_were_measured",
    ),
    "A11": (
        "tests/benchmarks/test_bench_detection.py::test_bench_detection",
        "tests/benchmarks/test_bench_photometry.py::test_bench_apertures",
        "tests/benchmarks/test_bench_photometry.py::test_bench_optimal",
        "tests/benchmarks/test_bench_stacks.py::test_one_frame",
        "tests/benchmarks/test_bench_cosmic_rays.py::test_bench_cosmic_rays",
    ),
    # Photometry that does not follow the stars.
    "D1": ("tests/test_opticam_defects.py::test_oc_a01_and_d01_a_drifting_star_keeps_its_flux",),
    # Degrees taken for radians.
    "D2": (
        "tests/test_opticam_acceptance.py::test_oc_a04_an_inclined_ellipse_has_its_light_and_its_angle",
        "plugins/aperture/tests/test_aperture_ellipse.py::test_the_angle_runs_counter_clockwise_from_x",
    ),
    # The peak of a star in place of its flux.
    "D3": (
        "plugins/aperture/tests/test_optimal_truth.py::test_the_flux_is_that_of_the_whole_star",
        "plugins/aperture/tests/test_growth_correction.py::test_apertures_and_weighted_sums_agree_to_half_a_per_cent",
    ),
    # No gain in the errors.
    "D4": ("tests/test_opticam_acceptance.py::test_oc_a02_scatter_is_what_the_errors_say_at_every_gain",),
    # Read noise and dark twice in the errors, and not binned.
    "D5": (
        "plugins/aperture/tests/test_star_pulls.py::test_dark_counts_once",
        "plugins/aperture/tests/test_star_pulls.py::test_read_noise_counts_once_at_every_binning",
    ),
    # Signal to noise without flat and binning.
    "D6": ("tests/test_opticam_defects.py::test_oc_d06_signal_to_noise_is_that_of_the_measurement_at_every_rebin",),
    # Limits of the alignment in the wrong unit, and one-sided.
    "D7": (
        "plugins/alignment/tests/test_patterns.py::test_what_is_beyond_a_limit_is_found_and_refused_by_its_size",
        "plugins/alignment/tests/test_patterns.py::test_a_limit_of_two_degrees_keeps_one",
        "plugins/astroalign/tests/test_astroalign_truth.py::test_limits_are_given_in_their_units_and_hold_both_ways",
    ),
    # Frames that were left out come back.
    "D8": (
        "tests/test_alignment_nights.py::test_limits_leave_frames_out_with_their_size_and_a_second_run_says_the_same",
        "tests/test_reference_and_chain.py::test_a_limit_on_the_shift_holds_for_chains_and_the_reasons_survive_a_resume",
    ),
    # Only the filters that the author had.
    "D9": (
        "tests/test_opticam_defects.py::test_oc_d09_any_filters_of_any_cameras_in_any_binning",
        "instruments/opticam/tests/test_opticam.py::test_any_number_and_any_names_of_filters_will_do",
    ),
    # Bins of phase that are too narrow, with errors of others.
    "D10": ("tests/test_opticam_defects.py::test_oc_d10_phase_bins_are_equally_wide_and_have_their_own_errors",),
    # The start for the middle, and placeholders for coordinates.
    "D11": (
        "tests/test_opticam_defects.py::test_oc_d11_times_are_middles_and_placeholders_give_no_barycentric_ones",
        "instruments/opticam/tests/test_opticam.py::test_placeholders_are_no_position_and_give_no_airmass",
    ),
    # A pedestal that is divided by the flat.
    "D12": (
        "tests/test_opticam_defects.py::test_oc_d12_a_flat_before_the_pedestal_is_gone_is_refused",
        "plugins/calibration/tests/test_calibration_stages.py::test_pixels_of_low_response_are_flagged_and_masked",
    ),
    # Failures that show as something else.
    "D13": (
        "tests/test_faults.py::test_a_night_of_exposures_without_light_fails_frame_by_frame",
        "tests/test_many_cameras.py::test_a_camera_without_common_stars_says_so_and_numbers_its_own",
        "plugins/aperture/tests/test_aperture_truth.py::test_more_than_half_masked_is_no_measurement",
        "tests/test_user_stars.py::test_stars_by_pixel_are_measured_under_their_numbers",
    ),
    # Descriptions of cameras that cannot be read back.
    "D14": (
        "tests/test_opticam_defects.py::test_oc_d14_the_description_of_a_camera_survives_writing_and_reading",
        "tests/test_opticam_defects.py::test_oc_d14_every_camera_can_be_made_and_its_options_survive",
        "tests/test_instruments_roundtrip.py::test_a_frame_survives_its_own_headers",
    ),
    # A nominal gain that is believed; hot and saturated pixels and the kinds of frames that are not looked at.
    "D15": (
        "instruments/opticam/tests/test_opticam.py::test_the_nominal_gain_is_used_and_flagged_until_a_measured_one_is_given",
        "instruments/opticam/tests/test_opticam.py::test_kinds",
        "instruments/opticam/tests/test_opticam.py::test_the_real_triplet_is_one_exposure_and_its_saturated_pixels_are_found",
        "tests/test_new_from_samples.py::test_a_measured_gain_stands_in_the_definition_with_its_source",
        "plugins/calibration/tests/test_hot_pixels.py::test_a_real_scmos_image_loses_its_noisy_pixels_and_keeps_its_stars",
    ),
    # Chance in the alignment, and a stack that rejects nothing.
    "D16": (
        "tests/test_opticam_defects.py::test_oc_d16_the_same_frames_give_the_same_stack_without_what_single_frames_show",
        "plugins/alignment/tests/test_patterns.py::test_another_process_gives_the_same_bytes",
        "plugins/stack/tests/test_stack_truth.py::test_satellites_and_cosmic_rays_leave_no_trace",
    ),
    # Every photometer reads every frame; all frames in memory; a start that waits for the network.
    "D17": (
        "tests/test_opticam_defects.py::test_oc_d17_photometers_share_one_pass_without_a_network",
        "core/tests/test_times.py::test_nothing_is_fetched_from_a_network",
        "plugins/stack/tests/test_stack_truth.py::test_memory_does_not_grow_with_the_number_of_frames",
        "core/tests/test_stack.py::test_memory_does_not_grow_with_the_number_of_frames",
    ),
    # Next to no tests; Poisson counts assumed where there are none.
    "D18": (
        "tests/test_opticam_acceptance.py::test_every_case_has_a_test_that_exists",
        "tests/test_opticam_defects.py::test_oc_d18_the_noise_of_a_power_spectrum_follows_from_the_errors_of_the_points",
    ),
    # Not there: recipe and command, cuts by quality, bad pixels, a PSF for each frame, choice of comparison stars,
    # clipping, detrending, one identity in all bands.
    "D19": (
        "tests/test_end_to_end.py::test_from_init_to_a_report",
        "tests/test_selection_night.py::test_frames_that_are_bad_each_in_its_way_are_dropped_with_the_reason",
        "tests/test_masters_in_runs.py::test_planted_bad_pixels_are_masked_in_the_reduced_frames",
        "plugins/psf/tests/test_psf_estimators.py::test_a_moffat_is_found_to_one_per_cent_of_its_width",
        "plugins/differential/tests/test_differential_truth.py::test_variable_stars_are_not_chosen_whatever_their_brightness",
        "tests/test_noise_budget.py::test_outliers_are_listed_by_star_and_frame",
        "plugins/differential/tests/test_curve_steps.py::test_planted_trends_are_found_with_honest_errors",
        "tests/test_many_cameras.py::test_a_star_has_one_number_on_every_detector",
    ),
}
"""Where each case is tested, as file and function."""

# --- the scene ----------------------------------------------------------------------------------------------------

SIGMA = 2.0
FWHM = SIGMA * 2.0 * sqrt(2.0 * np.log(2.0))
AREA = pi * FWHM**2
"""Of an aperture with the radius of one FWHM, in pixels: 69.68."""

FLUXES = np.array([20000, 15000, 12000, 10000, 8000, 6000, 5000, 4000], dtype=float)
WITHIN = 1.0 - exp(-0.5 * FWHM**2 / (SIGMA**2 + 2.0 / 12.0))
"""Share of the light within one FWHM. A pixel adds a twelfth to the variance of the profile, and its share of the
aperture another."""


def stage(role: str, name: str, **options: Any) -> Any:
    return Registry.discover().get(role, name).cls(**options)


@pytest.mark.parametrize("gain", [0.25, 1.0, 4.0])
@pytest.mark.parametrize(("sky", "dark"), [(100.0, 0.0), (10.0, 200.0)], ids=["sky 100", "dark 200"])
def test_oc_a02_scatter_is_what_the_errors_say_at_every_gain(gain: float, sky: float, dark: float) -> None:
    """Raw counts of one gain, pedestal and dark current taken off, as a run does it."""
    count, exptime, pedestal = 800, 10.0, 100.0
    x, y = 20.2 + 40.0 * (np.arange(8) % 4), 20.7 + 40.0 * (np.arange(8) // 4)
    picture = simulate_image(Scene(x, y, FLUXES), (82, 162), profile=Profile(FWHM), sky=sky, read_noise=0.0)
    example = PlainCamera(rows=82, columns=162, overscan=False).example()
    (amplifier,) = example.amplifiers
    frame = example.replace(
        exptime=exptime,
        dark_current=dark / exptime,
        amplifiers=(replace(amplifier, gain=gain, read_noise=0.0),),
    )
    corrections = [stage("correction", "pedestal", level=pedestal), stage("correction", "gain")]
    corrections += [stage("correction", "dark-current")] if dark else []
    aperture = stage("photometer", "aperture", radius=FWHM, sky="background")
    rng = np.random.default_rng(round(100 * gain + dark))
    flux, error = np.empty((count, 8)), np.empty((count, 8))
    for row in range(count):
        counts = np.rint(poisson(rng, picture.expected + np.float32(dark)) / gain + pedestal)
        raw = raw_image(counts.astype(np.float32), frame.saturation)
        calibrated = apply_terms(raw, frame, [step.terms(raw, frame, {}) for step in corrections])
        rows = aperture.measure(calibrated, picture.sources, picture.background, None)
        flux[row], error[row] = rows["flux"], rows["flux_err"]
    # The width is known to 1 / sqrt(2 * 800) = 2.5 per cent.
    assert flux.std(axis=0, ddof=1) / error.mean(axis=0) == pytest.approx(1.0, abs=0.1)
    if not dark:
        # 641.5, 160.4 and 40.1 adu: rounding to whole adu adds to it. A pixel that is shared by half adds a quarter of
        # its variance, which makes the noise of the sky 4 per cent smaller than the area says.
        expected = sqrt(WITHIN * FLUXES[0] + AREA * (sky + gain**2 / 12.0))
        assert error[:, 0].mean() == pytest.approx(expected, rel=0.02)
        assert flux[:, 0].std(ddof=1) / gain == pytest.approx(160.4 / gain, rel=0.02 + 4.0 / sqrt(2 * count))
        assert flux[:, 0].mean() == pytest.approx(WITHIN * FLUXES[0], abs=4.0 * expected / sqrt(count))


@pytest.mark.parametrize(
    ("finder", "options"),
    [("segments", {}), ("sep", {}), ("segmentation", {}), ("dao", {"roundness": (-2.0, 2.0)})],
    ids=["segments", "sep", "segmentation", "dao"],
)
def test_oc_a04_an_inclined_ellipse_has_its_light_and_its_angle(finder: str, options: dict[str, Any]) -> None:
    """Semi-axes of 3.6 and 2 pixels at 40 degrees: angles keep their unit from the finder to the aperture."""
    major, minor, angle = 3.6, 2.0, 40.0
    profile = Profile(sqrt(major * minor) * FWHM / SIGMA, elongation=major / minor, theta=np.deg2rad(angle))
    x, y = (axis.ravel() for axis in np.meshgrid([60.3, 160.8, 260.1, 360.4], [60.6, 160.2, 260.3, 359.9]))
    scene = Scene(x, y, np.full(16, 20000.0))
    picture = simulate_image(scene, (420, 420), profile=profile, sky=100.0, read_noise=0.0, seed=4)
    sky = stage("background", "mesh").estimate(picture.image)
    found = stage("finder", finder, **options).find(picture.image, sky)
    assert len(found) == 16
    psf = PSF.of(found)
    assert psf is not None
    assert np.rad2deg(psf.theta) == pytest.approx(angle, abs=1.0)
    assert psf.elongation == pytest.approx(major / minor, rel=0.05)
    ellipse = stage("photometer", "aperture", radius=1.0, unit="fwhm", shape="ellipse")
    rows = ellipse.measure(picture.image, found, None, psf)
    # Sixteen stars, each with an error of 190 electrons: 0.25 per cent of their mean.
    assert np.mean(rows["flux"]) == pytest.approx(18750.0, rel=0.01)


# --- sky and sources ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def six_stars() -> Picture:
    """Six stars on a sky of 100 with a noise of 10, as the synthetic night of the case has them at 4x4 binning."""
    scene = Scene.field((512, 512), 6, 1e4, 2e3, separation=60.0, margin=40.0, seed=9)
    return simulate_image(scene, (512, 512), profile=Profile(1.5 * FWHM / SIGMA), sky=100.0, read_noise=0.0, seed=6)


@pytest.mark.parametrize("name", ["mesh", "sep", "photutils", "constant"])
def test_oc_a07_every_background_is_that_of_the_scene(six_stars, name: str) -> None:
    sky = stage("background", name).estimate(six_stars.image)
    assert sky.median == pytest.approx(100.0, abs=1.0)
    assert sky.median_rms == pytest.approx(10.0, abs=0.2)
    # Each box of 64 x 64 tells its level to 0.2, and where it is sampled thinly its noise to 0.2.
    assert np.abs(sky.level - 100.0).max() < 2.0
    assert np.abs(sky.rms - 10.0).max() < 1.5


@pytest.mark.parametrize("name", ["segments", "sep", "segmentation", "dao"])
def test_oc_a07_every_finder_finds_the_six_stars(six_stars, name: str) -> None:
    sky = stage("background", "mesh").estimate(six_stars.image)
    found = stage("finder", name).find(six_stars.image, sky)
    truth = six_stars.sources
    # Noise passes five sigma once in ten images; it is no star.
    assert len(found) <= 7
    found = found[found.flux > 0.5 * truth.flux.min()]
    assert len(found) == 6
    for x, y in zip(truth.x, truth.y, strict=True):
        assert np.hypot(found.x - x, found.y - y).min() < 0.2
    rows = stage("photometer", "aperture", radius=5.0, annulus=(10.0, 20.0)).measure(six_stars.image, found, None, None)
    assert rows["sky"] == pytest.approx(100.0, abs=5.0)
    assert (rows["sky_err"] < 0.5).all()  # 942 pixels with a noise of 10


# --- real frames --------------------------------------------------------------------------------------------------

REAL = {"1": (185.0, 17.2, 4816), "2": (195.0, 18.4, 3375), "3": (169.0, 16.2, 4674)}
"""Level and noise in adu, and pixels more than 8 sigma above the median of 3 x 3, of the frame of each camera."""


@pytest.mark.parametrize("eye", REAL)
def test_oc_a10_real_frames_have_the_sky_the_width_and_the_hot_pixels_that_were_measured(data: Path, eye: str) -> None:
    path = data / "opticam" / f"get_last_c{eye}.fit.fz"
    if not path.exists():
        pytest.skip(f"there is no set opticam in {data}")
    level, noise, hot = REAL[eye]
    camera = stage("instrument", "opticam")
    (frame,) = camera.frames(path)
    raw = camera.read(frame)
    variance = np.full(raw.shape, noise**2) + np.maximum(raw.data - level, 0.0)
    cleaned = stage("correction", "hot").correct(image(raw.data, "adu", variance=variance), frame, {})
    sky = stage("background", "mesh").estimate(cleaned)
    # Means with and without clipping and stars differ by an adu or two on counts as coarse as these.
    assert sky.median == pytest.approx(level, abs=2.5)
    assert sky.median_rms == pytest.approx(noise, rel=0.06)
    psf = stage("psf", "gaussian").fit(cleaned, stage("finder", "segments").find(cleaned, sky), sky)
    # 7 to 8 pixels by moments; stars are trailed, and a fit along the longer axis gives half a pixel more or less.
    assert psf.fwhm * sqrt(psf.elongation) == pytest.approx(7.5, abs=1.25)
    replaced = int((cleaned.data != raw.data).sum())
    # The number falls steeply with the threshold, and a median of 3 x 3 also takes the cores of stars for hot pixels.
    assert 0.4 * hot < replaced < 1.2 * hot


# --- time series --------------------------------------------------------------------------------------------------


def test_oc_a05_bins_of_phase_are_means_of_the_sine() -> None:
    period, n_bins, count = 7.4074, 10, 20000
    time = np.random.default_rng(3).uniform(0.0, 5000.0, count)
    flux = 1.0 + 0.1 * np.sin(2.0 * pi * time / period)
    binned = phase_bin(time, flux, np.full(count, 0.01), period=period, n_bins=n_bins)
    edges = np.cos(2.0 * pi * np.arange(n_bins + 1) / n_bins)
    assert binned.flux == pytest.approx(1.0 - 0.1 * n_bins / (2.0 * pi) * np.diff(edges), abs=0.002)
    assert binned.n.sum() == count


def test_oc_a06_a_gappy_night_in_three_bands_has_its_frequency_and_lags() -> None:
    """A thousand frames of six stars, one of which varies by 2 per cent rms, later by a quarter and half a turn."""
    count, frequency, amplitude = 1000, 0.135, 0.02 * sqrt(2.0)
    rng = np.random.default_rng(11)
    gone, open_ = np.zeros(count, dtype=bool), True
    for number in range(count):
        open_ = rng.random() > 0.02 if open_ else rng.random() > 0.95
        gone[number] = not open_
    time = np.arange(count, dtype=float)[~gone]
    fluxes = 10.0 ** (3.0 + np.array([0.95, 0.9, 0.75, 0.6, 0.4, 0.2]))
    x, y = 20.2 + 40.0 * (np.arange(6) % 3), 20.6 + 40.0 * (np.arange(6) // 3)
    profile = Profile(1.5 * FWHM / SIGMA)
    variable, target = draw_stars((82, 122), x[1:2], y[1:2], fluxes[1:2], profile), 1
    others = draw_stars((82, 122), np.delete(x, 1), np.delete(y, 1), np.delete(fluxes, 1), profile) + np.float32(100.0)
    sources = Sources.make(x, y, id=np.arange(6))
    sky = Background(np.full((82, 122), 100.0, np.float32), np.full((82, 122), 10.0, np.float32), 100.0, 10.0)
    aperture = stage("photometer", "aperture", radius=1.5 * FWHM / SIGMA, sky="background")
    bands = []
    for lag in (0.0, 0.5 * pi, pi):
        relative, error = np.empty(time.size), np.empty(time.size)
        for row, moment in enumerate(time):
            factor = np.float32(1.0 + amplitude * np.sin(2.0 * pi * frequency * moment + lag))
            counts = poisson(rng, others + factor * variable)
            rows = aperture.measure(image(counts, "electron", variance=counts), sources, sky, None)
            star, sum_ = rows["flux"][target], np.delete(rows["flux"], target).sum()
            noise = np.delete(rows["flux_err"], target)
            relative[row] = star / sum_
            error[row] = relative[row] * sqrt((rows["flux_err"][target] / star) ** 2 + (noise**2).sum() / sum_**2)
        bands.append((time, relative, error))
    found = lomb_scargle(*bands)
    assert found.best == pytest.approx(frequency, abs=1.0 / np.ptp(time))
    for other, lag in zip(bands, (0.0, 0.5 * pi, pi), strict=True):
        assert lomb_scargle(other).best == pytest.approx(frequency, abs=1.0 / np.ptp(time))
        measured = phase_lag(*bands[0], *other, frequency)
        # What is ahead in phase comes earlier: its lag is negative. A whole turn makes no difference.
        assert abs((measured.phase + lag + pi) % (2.0 * pi) - pi) < 0.1
        assert measured.phase_err < 0.05


# --- the list -----------------------------------------------------------------------------------------------------


def functions(path: Path) -> set[str]:
    """Names of the test functions of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_every_case_has_a_test_that_exists() -> None:
    assert set(PROOFS) == {f"A{n}" for n in range(1, 12)} | {f"D{n}" for n in range(1, 20)}
    missing = []
    for proofs in PROOFS.values():
        for proof in proofs:
            file, _, name = proof.partition("::")
            if not (ROOT / file).is_file() or name not in functions(ROOT / file):
                missing.append(proof)
    assert missing == []
    told = {proof for proofs in PROOFS.values() for proof in proofs}
    for file in ("tests/test_opticam_acceptance.py", "tests/test_opticam_defects.py"):
        cases = {f"{file}::{name}" for name in functions(ROOT / file) if name.startswith("test_oc_")}
        assert cases <= told
