"""A simulated night against its own truth, from the raw files on."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from albireo import Flag, Frames
from albireo.testing import Camera, Detector, Night, PlainCamera, Scene, Sine, Truth, simulate_night

QUIET = Camera(hot=0.0, dead=0.0, dark=0.0, cosmic_rays=0.0, overscan_drift=0.0)
EMPTY = Scene([], [], [])


def raw(truth: Truth, **facts: object) -> list[np.ndarray]:
    """Read the pixels of some frames through the camera, as double."""
    return [PlainCamera().read(frame).data.astype(float) for frame in truth.frames.where(**facts)]


def trimmed(truth: Truth, counts: np.ndarray) -> np.ndarray:
    return counts[truth.detector.window.slices]


def digest(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_same_seed_same_bytes_and_nothing_is_overwritten(tmp_path):
    night = Night(science=3, bias=2, flat=2, dark=1, jitter=0.5)
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        simulate_night(PlainCamera(), tmp_path / folder, night=night, seed=seed)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    assert not set(digest(tmp_path / "a").values()) & set(digest(tmp_path / "c").values())
    with pytest.raises(OSError, match="exists"):
        simulate_night(PlainCamera(), tmp_path / "a", night=night, seed=1)


@pytest.mark.parametrize("camera", [PlainCamera(), PlainCamera(amplifiers=2), PlainCamera(overscan=False)], ids=str)
def test_headers_tell_what_was_simulated(tmp_path, camera):
    truth = simulate_night(camera, tmp_path, night=Night(2, 1, 1, 1, filters=("g", "r"), airmass=lambda h: 1.1 + h))
    again = Frames(frame for path in sorted(tmp_path.iterdir()) for frame in camera.frames(path)).sorted("start")
    assert [f.kind for f in again] == ["bias", "dark", "flat", "flat", "science", "science"]
    for seen, meant in zip(again, truth.frames, strict=True):
        assert seen.replace(start=0, mid=0, name="") == meant.replace(start=0, mid=0, name="")
        # Headers keep milliseconds.
        assert seen.start == pytest.approx(meant.start, abs=1e-8)
        assert seen.mid == pytest.approx(meant.mid, abs=1e-8)
    assert [f.filter for f in truth.frames.where(kind="science")] == ["g", "r"]


def test_mean_and_variance_of_flats_give_back_gain_and_read_noise(tmp_path):
    truth = simulate_night(PlainCamera(), tmp_path, EMPTY, Night(0, 2, 0, 2), QUIET)
    first, second = (trimmed(truth, counts) for counts in raw(truth, kind="flat"))
    bias_a, bias_b = (trimmed(truth, counts) for counts in raw(truth, kind="bias"))
    frame = truth.frames[0]
    noise = np.var(bias_a - bias_b) / 2
    # Digitisation adds 1/12 adu squared. 48000 pixels: a variance is known to 0.65 %.
    assert noise == pytest.approx((frame.read_noise / frame.gain) ** 2 + 1 / 12, rel=0.026)
    levels = [first.mean() - bias_a.mean(), second.mean() - bias_a.mean()]
    # The flats differ in level: scale to one before the difference, so that the response drops out.
    difference = (first - bias_a.mean()) / levels[0] - (second - bias_a.mean()) / levels[1]
    inverse = 1.0 / truth.detector.flat("r").astype(float)
    expected = sum(1.0 / (frame.gain * level) * inverse.mean() ** -1 for level in levels)
    pattern = np.var(truth.detector.bias) * (1 / levels[0] - 1 / levels[1]) ** 2
    reading = sum(noise / level**2 for level in levels)
    assert np.var(difference) - reading - pattern == pytest.approx(expected, rel=0.03)


def test_flat_and_dark_have_the_truth_in_them(tmp_path):
    camera = Camera(cosmic_rays=0.0, overscan_drift=0.0, dark=2.0, hot=1e-3, dead=1e-3)
    truth = simulate_night(PlainCamera(), tmp_path, EMPTY, Night(0, 0, 12, 12, exptime=60.0), camera)
    bias = trimmed(truth, truth.detector.bias)
    flats = [trimmed(truth, counts) - bias - 2.5 for counts in raw(truth, kind="flat")]
    flat = np.mean([one / one.mean() for one in flats], axis=0) * (1 - truth.detector.dead.mean())
    alive = ~(truth.detector.dead | truth.detector.hot)
    assert flat[truth.detector.dead].max() < 0.01
    error = flat[alive] / truth.detector.flat("r")[alive]
    assert error.mean() == pytest.approx(1.0, abs=1e-3)
    assert error.std() == pytest.approx(1 / np.sqrt(12 * 0.4 * 59000 * 1.6), rel=0.1)
    dark = np.mean([trimmed(truth, counts) - bias for counts in raw(truth, kind="dark")], axis=0) * 1.6 / 60.0
    assert dark[alive].mean() == pytest.approx(2.0, rel=0.003)
    hot = truth.detector.hot
    assert dark[hot] == pytest.approx(truth.detector.dark[hot], rel=0.05)
    assert 20 < hot.sum() < 80


def test_each_amplifier_counts_with_its_own_gain(tmp_path):
    truth = simulate_night(PlainCamera(amplifiers=2), tmp_path, EMPTY, Night(1, 0, 0, 0, sky=100.0), QUIET)
    (counts,) = raw(truth)
    counts -= truth.detector.bias
    flat = np.zeros_like(counts)
    flat[truth.detector.window.slices] = truth.detector.flat("r")
    for amplifier, gain in zip(truth.frames[0].amplifiers, (1.6, 1.9), strict=True):
        level = counts[amplifier.data.slices].mean() / flat[amplifier.data.slices].mean()
        # 24000 pixels of 3000 electrons: the mean is known to 0.012 percent.
        assert level * gain == pytest.approx(3000.0, rel=5e-4)


def test_overscan_follows_the_drift_and_holds_only_bias(tmp_path):
    camera = Camera(overscan_drift=8.0, hot=0.0, cosmic_rays=0.0)
    truth = simulate_night(PlainCamera(amplifiers=2), tmp_path, EMPTY, Night(9, 0, 0, 0, sky=50.0), camera)
    for number, counts in enumerate(raw(truth)):
        for amplifier in truth.frames[0].amplifiers:
            strip = counts[amplifier.overscan.slices] - truth.detector.bias[amplifier.overscan.slices]
            sigma = np.hypot(amplifier.read_noise / amplifier.gain, 12**-0.5)
            assert strip.mean() == pytest.approx(number, abs=4.5 * sigma / np.sqrt(strip.size))
            assert strip.std() == pytest.approx(sigma, rel=0.06)


def test_light_of_stars_and_sky_arrives_in_electrons(tmp_path):
    scene = Scene([60.2, 150.7], [80.4, 120.1], [4000.0, 1000.0], {1: Sine(0.2, 0.4)})
    night = Night(4, 0, 0, 0, exptime=60.0, transparency=lambda h: 1 - h, sky=3.0, fwhm=2.5, beta=4.0)
    truth = simulate_night(PlainCamera(), tmp_path, scene, night, QUIET)
    for exposure, counts in zip(truth, raw(truth), strict=True):
        electrons = 1.6 * trimmed(truth, counts - truth.detector.bias) / truth.detector.flat("r")
        assert np.median(electrons) == pytest.approx(180.0, abs=0.5)
        box = 25
        enclosed = exposure.profile.enclosed(box * 1.06)
        for star in (0, 1):
            y, x = round(exposure.y[star]), round(exposure.x[star])
            cut = electrons[y - box : y + box + 1, x - box : x + box + 1]
            noise = np.sqrt(cut.sum() + cut.size * 25.0)
            expected = exposure.electrons[star] * enclosed
            assert cut.sum() - cut.size * 180.0 == pytest.approx(expected, abs=4 * noise)
            factor = (1, 1 + 0.2 * np.sin(2 * np.pi * exposure.hours / 0.4))[star]
            assert exposure.electrons[star] == pytest.approx(
                scene.flux[star] * 60.0 * (1 - exposure.hours) * factor, rel=1e-12
            )


@pytest.mark.parametrize("mirrored", [False, True])
def test_stars_lie_where_the_truth_says(tmp_path, mirrored):
    night = Night(
        4, 0, 0, 0, exptime=60.0, overhead=600.0, drift=(20.0, -9.0), jitter=1.0, rotation=lambda h: 30 * h,
        mirrored=mirrored, fwhm=3.0,
    )  # fmt: skip
    scene = Scene([90.0, 150.0, 120.0], [70.0, 110.0, 140.0], [9e3, 7e3, 8e3])
    truth = simulate_night(PlainCamera(), tmp_path, scene, night, QUIET)
    spread = []
    for exposure, counts in zip(truth, raw(truth), strict=True):
        light = trimmed(truth, counts - truth.detector.bias) / truth.detector.flat("r")
        light -= np.median(light)
        np.testing.assert_allclose(exposure.transform(scene.x, scene.y), (exposure.x, exposure.y))
        for x, y in zip(exposure.x, exposure.y, strict=True):
            rows, columns = slice(round(y) - 8, round(y) + 9), slice(round(x) - 8, round(x) + 9)
            yy, xx = np.mgrid[rows, columns]
            cut = light[rows, columns]
            # 5e5 electrons over sky of 300 and a box of 17 pixels: the centroid is good to 0.01 px.
            assert (cut * xx).sum() / cut.sum() == pytest.approx(x, abs=0.05)
            assert (cut * yy).sum() / cut.sum() == pytest.approx(y, abs=0.05)
        assert exposure.transform.mirrored is mirrored
        assert exposure.transform.rotation == pytest.approx(30 * exposure.hours)
        spread.append(exposure.transform(120, 100))
    assert np.ptp(spread, axis=0).ravel() == pytest.approx([20 * 0.55, 9 * 0.55], abs=5.0)


def test_a_bright_star_saturates_and_bleeds_without_losing_charge(tmp_path):
    scene = Scene([120.0, 60.0], [100.0, 40.0], [1.2e5, 30.0])
    night = Night(1, 0, 0, 0, exptime=60.0, fwhm=3.0)
    truth = simulate_night(PlainCamera(), tmp_path / "bleeding", scene, night, QUIET)
    image = PlainCamera().read(truth.frames[0])
    flags = image.flags[truth.detector.window.slices]
    full = (flags & Flag.SATURATED) != 0
    rows, columns = np.nonzero(full)
    assert full[100, 120]
    assert np.ptp(rows) > 4 * np.ptp(columns) > 0
    assert abs(rows.mean() - 100.0) < 1.0
    assert image.data.max() <= 65535
    electrons = 1.6 * (trimmed(truth, image.data.astype(float) - truth.detector.bias))
    assert electrons.sum() == pytest.approx(48000 * 300 + 1.2e5 * 60 * truth.detector.flat("r")[100, 120], rel=0.01)
    lost = simulate_night(PlainCamera(), tmp_path / "clipped", scene, night, Camera(bleeding=False))
    clipped = PlainCamera().read(lost.frames[0]).flags[lost.detector.window.slices] == Flag.SATURATED
    assert np.ptp(np.nonzero(clipped)[0]) < 15


def test_cosmic_rays_are_where_the_truth_says(tmp_path):
    camera = Camera(cosmic_rays=10.0, hot=0.0, dead=0.0)
    truth = simulate_night(PlainCamera(), tmp_path, EMPTY, Night(2, 0, 0, 0, exptime=60.0, sky=1.0), camera)
    for exposure, counts in zip(truth, raw(truth), strict=True):
        hit = truth.cosmic_rays(exposure)
        electrons = 1.6 * trimmed(truth, counts - truth.detector.bias)
        level, noise = np.median(electrons), np.sqrt(60.0 + 25.0)
        assert 50 < hit.sum() < 600
        assert np.mean(electrons[hit] > level + 4 * noise) > 0.8
        assert (electrons[~hit] > level + 6.5 * noise).sum() == 0
    assert (truth.cosmic_rays(truth.exposures[0]) != truth.cosmic_rays(truth.exposures[1])).any()


def test_truth_is_found_by_file_name(tmp_path):
    truth = simulate_night(PlainCamera(), tmp_path, EMPTY, Night(2, 1, 0, 0))
    assert truth["sub/science-0002.fits"].number == 2
    with pytest.raises(KeyError, match=r"bias-0001\.fits"):
        truth["bias-0001.fits"]


def test_a_camera_without_gain_is_refused_in_words():
    frame = PlainCamera().example()
    blank = frame.replace(amplifiers=(frame.amplifiers[0].__class__(frame.amplifiers[0].data),))
    with pytest.raises(ValueError, match=r"'example\.fits' cannot be simulated: it has no gain, read_noise"):
        Detector(blank, Camera(), 0)
