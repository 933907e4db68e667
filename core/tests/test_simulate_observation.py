"""A simulated night of a camera with several detectors against its own truth, from the raw files on."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from albireo import Amplifier, Flag, Frame, Frames, Instrument, Section, Tile, Transform, read_raw
from albireo.images import raw_image
from albireo.testing import (
    Camera,
    Detector,
    Eye,
    Night,
    PlainCamera,
    Pointing,
    Scene,
    Simulation,
    Sine,
    simulate_observation,
    write_raw,
)

CHIP = (200, 240)
IMAGE = (420, 250)
HALVES = {"blue": Section(10, 190, 4, 244), "red": Section(215, 415, 6, 236)}
CCD = Camera(hot=0.0, dead=0.0, dark=0.0, cosmic_rays=0.0, overscan_drift=0.0)
DIFFERENCES = Camera(
    bias=0.0, bias_structure=0.0, overscan_drift=0.0, hot=0.0, dead=0.0, dark=0.0, cosmic_rays=0.0, dtype="int16"
)  # fmt: skip
RAMPS = Camera(
    bias=0.0, bias_structure=0.0, overscan_drift=0.0, hot=0.0, dead=0.0, dark=0.0, cosmic_rays=0.0, dtype="float32",
    missing=0.01,
)  # fmt: skip
POINTINGS = (Pointing("to blue", 6.0, 20.0), Pointing("to red", -4.0, -25.0))


def chip(detector: str, shape: tuple[int, int], gain: float, read_noise: float, **facts: object) -> Frame:
    amplifier = Amplifier(Section(0, shape[0], 0, shape[1]), None, gain, read_noise)
    return Frame(
        path=f"{detector}.fits", instrument="many-eyed", detector=detector, kind="science", filter=detector[0],
        target="M 67", exptime=30.0, start=60310.25, mid=60310.25, ra=132.8, dec=60.0, airmass=1.1, shape=shape,
        amplifiers=(amplifier,), saturation=50000.0, setup=(("binning", "1x1"),),
    ).replace(**facts)  # fmt: skip


class ManyEyed(Instrument, name="many-eyed"):
    """A made-up camera: a CCD, an infrared array whose halves have filters of their own, and an array read in ramps.

    The array with the halves looks into a mirror.
    """

    def examples(self):
        """One frame of each eye."""
        halves = (
            chip(name, part.shape, 2.0, 12.0, path="halved.fits", saturation=18000.0, tiles=(
                Tile(0, IMAGE, part, Section(0, part.shape[0], 0, part.shape[1])),
            ))
            for name, part in HALVES.items()
        )  # fmt: skip
        return (chip("optical", CHIP, 1.6, 5.0), *halves, chip("ramps", (150, 160), 1.8, 9.0))

    def example(self):
        """The CCD."""
        return self.examples()[0]

    def owns(self, header, path):
        """By INSTRUME."""
        return header.get("INSTRUME") == self.name

    def header(self, frame):
        """Write what the examples do not say."""
        kind = "science" if frame.kind == "sky" else frame.kind
        to_blue = (frame.detector == "blue") == (frame.kind == "science")
        cards = fits.Header({"INSTRUME": self.name, "KIND": kind, "FILTER": frame.filter, "EXPTIME": frame.exptime})
        cards.update({"CHIP": Path(frame.path).name, "MJD": frame.start, "RA": frame.ra, "DEC": frame.dec})
        cards["BLUE"] = to_blue
        cards["DETECTOR"] = frame.detector if frame.detector not in HALVES else "halved"
        return cards

    def frames(self, path):
        """Give a frame of a chip, two of the halved one."""
        cards = fits.getheader(path)
        for example in self.examples():
            if example.path != f"{cards['DETECTOR']}.fits":
                continue
            kind = cards["KIND"]
            if kind == "science" and example.detector in HALVES and (example.detector == "blue") != cards["BLUE"]:
                kind = "sky"
            yield example.replace(
                path=str(path), name=path.name, kind=kind, exptime=cards["EXPTIME"], start=cards["MJD"]
            )

    def read(self, frame, region=None):
        """Read raw pixels."""
        return raw_image(read_raw(frame, region), frame.saturation)


def adapt(frame: Frame, pointing: Pointing) -> Frame:
    away = {"blue": "to red", "red": "to blue"}.get(frame.detector)
    return frame.replace(kind="sky") if pointing.name == away else frame


def simulation(**changes: object) -> Simulation:
    """The camera above: half an arcsec a pixel and 0.4 in the mirror, all of it a little turned."""
    optical, blue, red, ramps = ManyEyed().examples()
    eyes = (
        Eye(optical, CCD, Transform.similarity(119.5, 99.5, 1.0, 2.0), ("g", "r"), calibrations=("bias", "flat")),
        Eye(blue, DIFFERENCES, Transform.similarity(119.5, 40.0, -88.0, 2.5, True), throughput=0.5, sky=4.0,
            calibrations=("flat",)),
        Eye(red, DIFFERENCES, Transform.similarity(115.0, 165.0, -88.0, 2.5, True), throughput=0.7, sky=6.0,
            calibrations=("flat",)),
        Eye(ramps, RAMPS, Transform.similarity(70.0, 80.0, -3.0, 1.5), exptime=20.0, calibrations=()),
    )  # fmt: skip
    return Simulation(eyes, **{"pointings": POINTINGS, "adapt": adapt, **changes})


STARS = Scene(
    [3.2, -12.4, 20.3, -25.1, 8.0, 2.0], [-4.1, 10.2, -16.4, -12.8, 33.0, -30.3], [5e3, 4e3, 4e3, 3e3, 4e3, 4e3]
)
NIGHT = Night(
    science=8,
    bias=2,
    flat=2,
    exptime=30.0,
    overhead=5.0,
    fwhm=1.4,
    sky=10.0,
    drift=(12.0, -8.0),
    jitter=0.6,
    dithers=((0.0, 0.0), (3.0, -2.0)),
    rotation=lambda hours: 20.0 * hours,
)


def digest(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.fits"))
    }


@pytest.fixture(scope="module")
def observed(tmp_path_factory):
    return simulate_observation(ManyEyed(), tmp_path_factory.mktemp("night"), simulation(), STARS, NIGHT, seed=3)


def electrons(observed, exposure, eye: int) -> np.ndarray:
    """What the stars and the sky of a frame left, flat-fielded."""
    truth = observed.truths[eye]
    counts = ManyEyed().read(exposure.frame).data.astype(float) - truth.detector.bias
    return counts[truth.detector.window.slices] * exposure.frame.gain / truth.detector.flat(exposure.frame.filter)


def on_chip(exposure, shape: tuple[int, int], edge: float) -> list[int]:
    ny, nx = shape
    inside = (exposure.x > edge) & (exposure.x < nx - 1 - edge) & (exposure.y > edge) & (exposure.y < ny - 1 - edge)
    return np.flatnonzero(inside).tolist()


# --- the sky ----------------------------------------------------------------------------------------------------------


def test_every_eye_sees_the_stars_where_its_view_puts_them(observed):
    seen = 0
    for eye, truth in enumerate(observed.truths):
        view = observed.simulation.eyes[eye].view
        for turn, exposure in enumerate(truth.exposures):
            # The same by hand: offset of the telescope, rotation about it, and what is common to all eyes.
            pointing = POINTINGS[turn % 2]
            angle = np.deg2rad(20.0 * exposure.hours)
            west, north = STARS.x + pointing.east, STARS.y - pointing.north
            west, north = west * np.cos(angle) - north * np.sin(angle), west * np.sin(angle) + north * np.cos(angle)
            x, y = view(west, north)
            np.testing.assert_allclose(exposure.transform(STARS.x, STARS.y), (exposure.x, exposure.y))
            offset = np.array([exposure.x - x, exposure.y - y])
            assert np.ptp(offset, axis=1).max() < 1e-9
            light = electrons(observed, exposure, eye)
            light -= np.nanmedian(light)
            for star in on_chip(exposure, light.shape, 14):
                rows = slice(round(exposure.y[star]) - 9, round(exposure.y[star]) + 10)
                columns = slice(round(exposure.x[star]) - 9, round(exposure.x[star]) + 10)
                yy, xx = np.mgrid[rows, columns]
                weight = light[rows, columns]
                neighbours = np.hypot(exposure.x - exposure.x[star], exposure.y - exposure.y[star])
                if np.sort(neighbours)[1] < 30 or not np.isfinite(weight).all():
                    continue
                # 5e4 electrons or more over a sky of 1e3: a box of 19 pixels gives the centre to 0.03 px or so.
                noise = np.sqrt(weight.sum() + weight.size * (exposure.sky + exposure.frame.read_noise**2))
                tolerance = max(0.05, 4 * noise * 5.5 / weight.sum())
                assert (weight * xx).sum() / weight.sum() == pytest.approx(exposure.x[star], abs=tolerance)
                assert (weight * yy).sum() / weight.sum() == pytest.approx(exposure.y[star], abs=tolerance)
                seen += 1
    assert seen > 40


def test_the_telescope_moves_all_eyes_alike(observed):
    centres = []
    for eye, truth in enumerate(observed.truths[:3]):
        view = observed.simulation.eyes[eye].view
        centres.append([view.inverse()(*exposure.transform(0.0, 0.0)) for exposure in truth.exposures])
    same = np.array(centres)
    assert np.ptp(same, axis=0).max() < 1e-9
    west, north = same[0].T
    expected = np.array([[p.east, -p.north] for p in POINTINGS] * 4)
    # What is left is drift, dithers (with all pointings and filters at each) and jitter.
    left = np.array([west, north]).T - expected
    dithered = left[4:].mean(axis=0) - left[:4].mean(axis=0)
    drift = np.array([12.0, -8.0]) * 4 * 35 / 3600
    assert dithered == pytest.approx(np.array([3.0, -2.0]) + drift, abs=4 * 0.6 / 2**0.5 + 0.3)
    assert 0.1 < left[:4].std() < 1.5


def test_light_arrives_by_throughput_exposure_time_and_seeing(observed):
    pulls = []
    for eye, truth in enumerate(observed.truths):
        setting = observed.simulation.eyes[eye]
        for exposure in truth.exposures:
            exptime = setting.exptime or 30.0
            np.testing.assert_allclose(exposure.electrons, STARS.flux * exptime * setting.throughput)
            assert exposure.profile.fwhm == pytest.approx(1.4 * setting.view.scale)
            light = electrons(observed, exposure, eye)
            assert np.nanmedian(light) == pytest.approx(10.0 * setting.sky * exptime, rel=0.01)
            radius = 14
            for star in on_chip(exposure, light.shape, radius + 1):
                yy, xx = np.mgrid[: light.shape[0], : light.shape[1]]
                inside = np.hypot(xx - exposure.x[star], yy - exposure.y[star]) < radius
                other = np.hypot(exposure.x - exposure.x[star], exposure.y - exposure.y[star])
                if np.sort(other)[1] < 40 or not np.isfinite(light[inside]).all():
                    continue
                level = np.nanmedian(light)
                flux = light[inside].sum() - inside.sum() * level
                noise = np.sqrt(light[inside].sum() + inside.sum() * exposure.frame.read_noise**2)
                pulls.append((flux - exposure.electrons[star] * exposure.profile.enclosed(radius)) / noise)
    assert len(pulls) > 25
    assert abs(np.mean(pulls)) < 5 / len(pulls) ** 0.5
    assert np.std(pulls) < 1.6


def test_the_sky_has_a_pattern_that_flats_do_not_show(tmp_path):
    eye = Eye(
        chip("ramps", (150, 160), 1.8, 9.0),
        Camera(dtype="float32", bias=0.0, bias_structure=0.0, hot=0.0, dead=0.0, cosmic_rays=0.0, overscan_drift=0.0,
               vignetting=0.0, response=0.0, dark=0.0, sky_structure=0.05),
        Transform.similarity(80.0, 75.0, scale=2.0),
        calibrations=("flat",),
    )  # fmt: skip
    night = Night(science=6, bias=0, flat=2, exptime=60.0, sky=100.0, fwhm=2.0)
    observed = simulate_observation(ManyEyed(), tmp_path, Simulation((eye,)), Scene([], [], []), night)
    truth = observed.truths[0]
    sky = np.mean([ManyEyed().read(e.frame).data for e in truth.exposures], axis=0) * 1.8 / 6000.0
    # 6 x 6000 electrons a pixel: 0.5 per cent.
    assert (sky - truth.detector.sky_pattern).std() == pytest.approx(36000**-0.5, rel=0.05)
    assert truth.detector.sky_pattern.std() == pytest.approx(0.05, rel=1e-3)
    assert truth.detector.sky_pattern.mean() == pytest.approx(1.0, abs=1e-3)
    flat = np.mean([ManyEyed().read(f).data for f in truth.frames.where(kind="flat")], axis=0)
    assert np.corrcoef(flat.ravel(), truth.detector.sky_pattern.ravel())[0, 1] < 0.03


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_trailed_star_lies_along_the_same_line_of_the_sky_in_every_eye(tmp_path, mirrored):
    view = Transform.similarity(120.0, 100.0, 25.0, 2.0, mirrored)
    eye = Eye(chip("optical", CHIP, 1.6, 5.0), CCD, view, calibrations=())
    night = Night(science=1, exptime=60.0, fwhm=3.0, elongation=1.6, theta=np.deg2rad(20.0), beta=8.0)
    observed = simulate_observation(ManyEyed(), tmp_path, Simulation((eye,)), Scene([0.0], [0.0], [2e4]), night)
    (exposure,) = observed
    light = electrons(observed, exposure, 0)
    light -= np.median(light)
    yy, xx = np.mgrid[-15:16, -15:16]
    cut = light[100 + yy, 120 + xx]
    moments = [(cut * xx * xx).sum(), (cut * xx * yy).sum(), (cut * yy * yy).sum()]
    axis = 0.5 * np.arctan2(2 * moments[1], moments[0] - moments[2])
    # The line from the star to a point of the sky 20 degrees from west to north.
    x, y = view(np.cos(night.theta), np.sin(night.theta))
    along = np.arctan2(y - 100.0, x - 120.0)
    assert np.rad2deg(axis) % 180 == pytest.approx(np.rad2deg(along) % 180, abs=2.0)


# --- what is taken, when, and into which file -------------------------------------------------------------------------


def test_eyes_expose_at_once_and_take_the_calibrations_that_are_theirs(observed):
    optical, blue, red, ramps = observed.truths
    assert [f.kind for f in optical.frames] == ["bias"] * 2 + ["flat"] * 4 + ["science"] * 8
    assert [f.filter for f in optical.frames.where(kind="flat")] == ["g", "g", "r", "r"]
    assert [f.filter for f in optical.frames.where(kind="science")] == ["g", "g", "r", "r"] * 2
    assert [f.kind for f in blue.frames] == ["flat"] * 2 + ["science", "sky"] * 4
    assert [f.kind for f in red.frames] == ["flat"] * 2 + ["sky", "science"] * 4
    assert [f.kind for f in ramps.frames] == ["science"] * 8
    assert {f.exptime for f in ramps.frames} == {20.0}
    for group in zip(*(truth.exposures for truth in observed.truths), strict=True):
        assert len({e.frame.start for e in group}) == len({e.number for e in group}) == 1
        assert group[0].frame.mid > group[3].frame.mid
    starts = [e.frame.start for e in optical.exposures]
    assert np.diff(starts) * 86400 == pytest.approx(35.0, abs=1e-4)
    assert list(observed.frames.sorted("start").values("start")) == observed.frames.values("start")
    assert len(observed.frames) == sum(len(truth.frames) for truth in observed.truths)


def test_headers_tell_what_was_simulated(observed, tmp_path):
    folder = Path(observed.frames[0].path).parents[1]
    again = Frames(frame for path in sorted(folder.rglob("*.fits")) for frame in ManyEyed().frames(path))
    told = {(f.path, f.detector): (f.kind, f.exptime, f.start) for f in again}
    assert told == {(f.path, f.detector): (f.kind, f.exptime, f.start) for f in observed.frames}
    assert (folder / "halved" / "science-0008.fits").exists()
    exposure = observed["halved/science-0002.fits:red"]
    assert (exposure.frame.detector, exposure.frame.kind) == ("red", "science")
    assert observed["optical/science-0001.fits"] is observed.truths[0].exposures[0]
    with pytest.raises(KeyError, match="blue/science"):
        observed["blue/science-0001.fits"]


def test_a_header_says_where_the_telescope_points(observed):
    first, second = (e.frame for e in observed.truths[0].exposures[:2])
    assert (first.ra, first.dec) == (132.8, 60.0)
    assert (second.dec - 60.0) * 3600 == pytest.approx(-45.0)
    assert (second.ra - 132.8) * 3600 * np.cos(np.deg2rad(60.0)) == pytest.approx(-10.0)


def test_same_seed_same_bytes_and_nothing_is_overwritten(tmp_path):
    night = Night(science=2, bias=1, flat=1, jitter=0.5, fwhm=1.5)
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        simulate_observation(ManyEyed(), tmp_path / folder, simulation(), STARS, night, seed=seed)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    assert not set(digest(tmp_path / "a").values()) & set(digest(tmp_path / "c").values())
    before = digest(tmp_path / "a")
    (tmp_path / "a" / "optical" / "bias-0001.fits").unlink()
    with pytest.raises(FileExistsError, match="exists already; a simulation never overwrites a file"):
        simulate_observation(ManyEyed(), tmp_path / "a", simulation(), STARS, night, seed=2)
    del before["optical/bias-0001.fits"]
    assert digest(tmp_path / "a") == before, "something was written before the refusal"


def test_eyes_have_noise_of_their_own(tmp_path):
    even = Camera(bias_structure=0.0)
    eyes = tuple(Eye(chip(name, CHIP, 1.6, 5.0), even) for name in ("one", "two"))
    observed = simulate_observation(
        ManyEyed(), tmp_path, Simulation(eyes), Scene([], [], []), Night(science=0, bias=1, flat=0)
    )
    first, second = (fits.getdata(frame.path).astype(float) for frame in observed.frames)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 5 / first.size**0.5


def test_a_camera_names_its_files_and_two_of_one_name_are_refused(tmp_path):
    class Naming(ManyEyed):
        """Has names of its own."""

        def filename(self, frame: Frame, number: int) -> str:
            return f"{number:02d}{frame.kind[0]}-{Path(frame.path).stem}.fit"

    class Repeating(ManyEyed):
        """Has one name for all."""

        def filename(self, frame: Frame, number: int) -> str:
            return "one.fit"

    night = Night(science=1, bias=1, flat=0)
    observed = simulate_observation(Naming(), tmp_path, simulation(), STARS, night)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["01b-optical.fit", "02s-halved.fit", "02s-optical.fit", "02s-ramps.fit"]
    )
    assert observed.frames[-1].name == "02s-ramps.fit"
    with pytest.raises(ValueError, match=r"two files of the night are to be called .*one\.fit; file names must tell"):
        simulate_observation(Repeating(), tmp_path, simulation(), STARS, night)


def test_a_camera_without_a_simulation_of_its_own_has_a_usual_one(tmp_path):
    camera = PlainCamera()
    usual = Simulation.of(camera)
    (eye,) = usual.eyes
    assert eye.view(0.0, 0.0) == (pytest.approx(119.5), pytest.approx(99.5))
    assert eye.view.scale == pytest.approx(2.5)
    assert usual.usual_night.fwhm(0.0) == pytest.approx(3.6 * 0.4)
    scene = usual.field(30, 5e3, 5e1, separation=8.0, target=3, seed=1)
    assert len(scene) == 30
    assert (scene.x[3], scene.y[3]) == (0.0, 0.0)
    distance = np.hypot(scene.x[:, None] - scene.x, scene.y[:, None] - scene.y)
    assert distance[~np.eye(30, dtype=bool)].min() >= 8.0
    observed = simulate_observation(camera, tmp_path, scene=scene, night=Night(science=1, bias=1, flat=1, fwhm=1.5))
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        "bias-0001.fits",
        "flat-0001.fits",
        "science-0001.fits",
    ]
    assert observed.truths[0].exposures[0].x[3] == pytest.approx(119.5)


def test_a_field_covers_all_that_the_eyes_see():
    seen = simulation()
    scene = seen.field(10, 1e4, 1e2, separation=1.5, seed=2)
    for eye in seen.eyes:
        for pointing in POINTINGS:
            x, y = eye.view(scene.x + pointing.east, scene.y - pointing.north)
            ny, nx = (eye.example.shape[0], eye.example.shape[1])
            inside = ((x > 0) & (x < nx - 1) & (y > 0) & (y < ny - 1)).sum()
            mean = 10 * eye.area / min(e.area for e in seen.eyes)
            assert abs(inside - mean) < 5 * mean**0.5


def test_a_variable_is_one_star_for_all_eyes(tmp_path):
    scene = Scene(STARS.x, STARS.y, STARS.flux, {2: Sine(0.3, 0.1)})
    night = Night(science=4, bias=0, flat=0, exptime=60.0, fwhm=1.5)
    observed = simulate_observation(ManyEyed(), tmp_path, simulation(), scene, night)
    for truth in observed.truths:
        for exposure in truth:
            assert exposure.relative[2] == pytest.approx(1 + 0.3 * np.sin(2 * np.pi * exposure.hours / 0.1))
            assert set(np.delete(exposure.relative, 2)) == {1.0}


# --- pixels and files -------------------------------------------------------------------------------------------------


def test_pixels_have_the_type_of_the_camera(observed):
    ccd = fits.open(observed["optical/science-0001.fits"].frame.path)[0]
    assert (ccd.header["BITPIX"], ccd.header["BZERO"]) == (16, 32768)
    differences = fits.open(observed["halved/science-0001.fits:blue"].frame.path)[0]
    assert differences.header["BITPIX"] == 16
    assert "BZERO" not in differences.header
    ramps = fits.open(observed["ramps/science-0001.fits"].frame.path)[0]
    assert ramps.header["BITPIX"] == -32
    missing = observed.truths[3].detector.missing
    assert np.array_equal(np.isnan(ramps.data), missing)
    assert missing.mean() == pytest.approx(0.01, abs=5 * (0.01 / missing.size) ** 0.5)
    flags = ManyEyed().read(observed["ramps/science-0001.fits"].frame).flags
    assert np.array_equal((flags & Flag.NO_DATA) != 0, missing)
    assert len(np.unique(ramps.data[~missing] % 1)) > 1000, "software does not round"
    for whole in (ccd.data, differences.data):
        assert np.array_equal(whole, np.floor(whole))


def test_halves_lie_in_one_file_with_unlit_pixels_around(observed):
    for exposure in observed.truths[1].exposures[:2]:
        whole = fits.getdata(exposure.frame.path).astype(float)
        assert whole.shape == IMAGE
        lit = np.zeros(IMAGE, dtype=bool)
        for part in HALVES.values():
            lit[part.slices] = True
        # Differences of two reads: no pedestal, noise of 12 / 2 adu, negative as often as positive.
        assert abs(whole[~lit].mean()) < 5 * 6 / (~lit).sum() ** 0.5
        assert whole[~lit].std() == pytest.approx((36 + 1 / 12) ** 0.5, rel=0.05)
        assert (whole[~lit] < 0).mean() == pytest.approx(0.5, abs=0.06)
        for frame in ManyEyed().frames(Path(exposure.frame.path)):
            assert np.array_equal(read_raw(frame), whole[HALVES[frame.detector].slices])


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_dark_pixels_are_digitised_by_the_range_of_their_type(dtype):
    frame = chip("one", (200, 300), 2.0, 8.0)
    camera = Camera(bias=0.0, bias_structure=0.0, hot=0.0, dead=0.0, dark=0.0, cosmic_rays=0.0, dtype=dtype)
    counts = Detector(frame, camera, 1).expose(np.float32(0.0), 0.0)
    assert counts.dtype == np.dtype(dtype)
    mean, error = counts.mean(), 4.0 / counts.size**0.5
    if dtype == "uint16":  # the converter gives no negative count: half of the noise is lost
        assert counts.min() == 0
        assert mean == pytest.approx(4.0 / (2 * np.pi) ** 0.5, abs=0.1)
    else:
        assert mean == pytest.approx(0.0, abs=5 * error)
        assert counts.std() == pytest.approx(4.0, rel=0.02)
        assert counts.min() < -12


def test_a_converter_gives_no_more_than_its_highest_count():
    frame = chip("one", (50, 60), 2.0, 8.0, saturation=16384.0)
    for dtype, ceiling, top in (("uint16", 16384.0, 16384), ("int16", np.inf, 32767), ("float32", 20000.0, 20000)):
        camera = Camera(dtype=dtype, ceiling=ceiling, bleeding=False, cosmic_rays=0.0)
        bright = Detector(frame.replace(saturation=np.nan), camera, 1).expose(np.float32(1e6), 60.0)
        assert bright.max() == top
        assert (bright == top).mean() > 0.99


def test_only_floats_can_be_missing():
    with pytest.raises(ValueError, match="pixels of type int16 cannot be missing; only float32 has a NaN"):
        Camera(dtype="int16", missing=0.1)


def test_a_camera_that_is_not_linear_shows_other_counts():
    coefficients = (1.00305, -1.20752e-6, 1.267053e-11)
    frame = chip("one", (100, 120), 2.0, 1.0)
    camera = Camera(
        bias=500.0, bias_structure=0.0, hot=0.0, dead=0.0, dark=0.0, cosmic_rays=0.0, response=0.0, vignetting=0.0
    )  # fmt: skip
    for level in (100.0, 20000.0, 45000.0):
        curved = Detector(frame.replace(linearity=coefficients), camera, 1).expose(np.float32(2 * level), 1.0)
        x = curved.astype(float) - 500.0
        linear = x * (coefficients[0] + coefficients[1] * x + coefficients[2] * x**2)
        error = (level / 2 + 1 / 4 + 1 / 12) ** 0.5 / 12000**0.5
        assert linear.mean() == pytest.approx(level, abs=5 * error + 0.01)
    straight = Detector(frame, camera, 1).expose(np.float32(4e4), 1.0)
    assert straight.mean() == pytest.approx(20500.0, abs=5.0)


def mosaic(path: Path) -> Frame:
    """Four amplifiers in HDUs of their own, each read towards its corner, put together into 60 x 80 pixels."""
    tiles = tuple(
        Tile(
            1 + 2 * row + column,
            (33, 45),
            Section(2, 32, 3, 43),
            Section(30 * row, 30 * (row + 1), 40 * column, 40 * (column + 1)),
            flip_y=bool(row),
            flip_x=bool(column),
        )
        for row in range(2)
        for column in range(2)
    )
    return chip("mosaic", (60, 80), 1.5, 4.0, path=str(path), tiles=tiles)


class Mosaic(ManyEyed, name="mosaic"):
    """The made-up camera with a header for each amplifier."""

    def headers(self, frame):
        """The header of the file, and the name of each amplifier."""
        return {0: self.header(frame)} | {n: fits.Header({"EXTNAME": f"IM{n}"}) for n in range(1, 5)}


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_tiles_come_back_as_they_were_written(tmp_path, dtype):
    frame = mosaic(tmp_path / "mosaic.fits")
    counts = np.arange(4800).reshape(60, 80).astype(dtype)
    write_raw(Mosaic(), frame, counts, lambda shape: np.full(shape, 7, dtype))
    assert np.array_equal(read_raw(frame), counts.astype(np.float32))
    with fits.open(frame.path) as units:
        assert [unit.name for unit in units[1:]] == ["IM1", "IM2", "IM3", "IM4"]
        assert units[0].data is None
        assert units[4].data[2, 3] == counts[59, 79]  # the last corner comes first
        assert (units[1].data[:2] == 7).all()
        assert units[2].data.dtype.kind == np.dtype(dtype).kind
    part = Section(25, 40, 30, 55)
    assert np.array_equal(read_raw(frame, part), counts[part.slices].astype(np.float32))


def test_an_image_in_an_extension_leaves_the_others_empty(tmp_path):
    frame = chip("one", (5, 6), 1.0, 1.0, path=str(tmp_path / "one.fits"), hdu=2)
    write_raw(ManyEyed(), frame, np.ones((5, 6), dtype=np.uint16))
    with fits.open(frame.path) as units:
        assert [unit.data is None for unit in units] == [True, True, False]
        assert units[0].header["KIND"] == units[2].header["KIND"] == "science"


def test_frames_that_do_not_fit_into_one_file_are_refused(tmp_path):
    one, two = (chip(name, (5, 6), 1.0, 1.0, path=str(tmp_path / "x.fits"), name=name) for name in ("one", "two"))
    image = np.zeros((5, 6), dtype=np.uint16)
    with pytest.raises(ValueError, match=r"one and two both fill \[1:6,1:5\] of HDU 0; detectors need tiles"):
        write_raw(ManyEyed(), [one, two], [image, image])
    with pytest.raises(ValueError, match="two and one do not lie in one file"):
        write_raw(ManyEyed(), [one, two.replace(path="y.fits", hdu=1)], [image, image])
    with pytest.raises(ValueError, match=r"one has \(5, 6\) rows and columns, its counts have \(6, 6\)"):
        write_raw(ManyEyed(), one, np.zeros((6, 6), dtype=np.uint16))
    assert not list(tmp_path.iterdir())


def test_a_raw_file_is_never_overwritten(tmp_path):
    frame = chip("one", (5, 6), 1.0, 1.0, path=str(tmp_path / "one.fits"))
    write_raw(ManyEyed(), frame, np.zeros((5, 6), dtype=np.uint16))
    with pytest.raises(OSError, match="exists"):
        write_raw(ManyEyed(), frame, np.ones((5, 6), dtype=np.uint16))
    assert not read_raw(frame).any()
