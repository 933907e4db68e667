"""Bad pixels: maps of masters and of files flag them, and filled in they leave no trace."""

import numpy as np
import pytest
from astropy.io import fits
from pydantic import ValidationError

from albireo import Amplifier, Flag, Frame, FrameError, Section, apply_terms, flags_of, image, variance_of
from albireo.testing import Profile, Scene, simulate_image
from albireo_calibration import BadPixelMap, BadPixels, Flat, Interpolate, Trim

RAW, LIT = (50, 72), Section(2, 48, 4, 64)
FRAME = Frame("a.fits", detector="red", shape=RAW, amplifiers=(Amplifier(LIT, Section(2, 48, 64, 72), 2.0, 5.0),))
SHAPE = (240, 200)
NOISE = 10.0


def bad_columns(shape):
    """A column, two columns side by side, half a row and single pixels."""
    bad = np.zeros(shape, dtype=bool)
    bad[:, 30] = True
    bad[20:, 70:72] = True
    bad[100, 120:180] = True
    bad[10:90:9, 120:190:9] = True
    return bad


def written(path, plane, hdu=0):
    units = [fits.PrimaryHDU(plane)] if hdu == 0 else [fits.PrimaryHDU(), fits.CompImageHDU(plane)]
    fits.HDUList(units).writeto(path, overwrite=True)
    return path


# --- maps -------------------------------------------------------------------------------------------------------------


def test_the_master_gives_its_reasons_and_every_pixel_it_lists_is_masked():
    data, flags = np.zeros(LIT.shape), np.zeros(LIT.shape, np.uint16)
    data[5, 5:9] = 1.0
    flags[5, 5:8] = Flag.HOT, Flag.LOW_RESPONSE, Flag.NON_LINEAR
    flags[6, 6] = Flag.HOT  # not listed
    master = image(data, "", flags=flags)
    before = np.zeros(LIT.shape, np.uint16)
    before[5, 5] = Flag.SATURATED
    result = BadPixels().correct(image(np.ones(LIT.shape), flags=before), FRAME, {"bad": master})
    expected = [Flag.HOT | Flag.SATURATED, Flag.LOW_RESPONSE, Flag.NON_LINEAR | Flag.BAD, Flag.BAD]
    assert flags_of(result)[5, 5:9].tolist() == [int(flag) for flag in expected]
    assert result.mask.sum() == 4
    assert result.meta["HISTORY"] == ["bad-pixels: 4 pixels flagged"]


@pytest.mark.parametrize("hdu", [0, 1])
@pytest.mark.parametrize("trimmed_map", [False, True])
@pytest.mark.parametrize("order", ["before", "after", "same pass"])
def test_a_map_fits_raw_and_trimmed_whether_the_image_is_trimmed_or_not(tmp_path, hdu, trimmed_map, order):
    plane = np.zeros(RAW, dtype=np.int16)
    plane[20, 30], plane[40:43, 10] = 7, -1
    file = written(tmp_path / "bpm.fits", plane[LIT.slices] if trimmed_map else plane, hdu)
    stages = [BadPixelMap(map=file), Trim()][:: -1 if order == "after" else 1]
    picture = image(np.ones(RAW))
    if order == "same pass":
        picture = apply_terms(picture, FRAME, [stage.terms(picture, FRAME, {}) for stage in stages])
    else:
        for stage in stages:
            picture = stage.correct(picture, FRAME, {})
    np.testing.assert_array_equal(flags_of(picture) == Flag.BAD, plane[LIT.slices] != 0)


def test_a_map_of_another_size_and_one_that_is_no_image_are_refused(tmp_path):
    file = written(tmp_path / "bpm.fits", np.zeros((25, 36), np.uint8))
    stage = BadPixelMap(map=file)
    message = (
        "the map of bad pixels bpm.fits has 36 x 25 pixels, a.fits has 72 x 50 or, trimmed, 60 x 46; give a map for "
        "this window and binning, or name the detector that it is for as `detector`"
    )
    assert stage.check(FRAME, None) == message
    with pytest.raises(FrameError) as caught:
        stage.terms(image(np.ones(RAW)), FRAME, {})
    assert str(caught.value) == message
    text = tmp_path / "text.fits"
    text.write_text("no image")
    assert "text.fits cannot be read" in BadPixelMap(map=text).check(FRAME, None)
    empty = written(tmp_path / "empty.fits", None)
    assert "it holds no image of two dimensions" in BadPixelMap(map=empty).check(FRAME, None)
    with pytest.raises(ValidationError, match=r"there is no file .*nowhere\.fits"):
        BadPixelMap(map="nowhere.fits")


def test_a_relative_path_starts_at_the_recipe_and_the_content_counts(tmp_path):
    file = written(tmp_path / "bpm.fits", np.zeros(RAW, np.uint8))
    stage = BadPixelMap.model_validate({"map": "bpm.fits"}, context={"folder": tmp_path})
    assert stage.map == file
    before = stage.fingerprint()
    written(file, np.ones(RAW, np.uint8))
    assert stage.fingerprint() != before


def test_a_map_for_one_detector_leaves_the_others_alone(tmp_path):
    file = written(tmp_path / "bpm.fits", np.ones(RAW, np.uint8))
    picture = image(np.ones(RAW))
    for detector, masked in (("red", True), ("blue", False)):
        result = BadPixelMap(map=file, detector=detector).correct(picture, FRAME, {})
        assert flags_of(result).any() == masked
    small = FRAME.replace(shape=(9, 9))
    assert BadPixelMap(map=file, detector="blue").check(small, None) == ""


# --- filling in -------------------------------------------------------------------------------------------------------


def flagged(data, bad, flag=Flag.BAD, variance=None):
    return image(
        np.where(bad, np.float32(-7e4), data),
        "electron",
        variance=np.full(data.shape, NOISE**2) if variance is None else variance,
        flags=np.where(bad, flag, 0).astype(np.uint16),
    )


def test_bad_columns_under_a_star_field_leave_no_trace_in_the_sky():
    scene = Scene.field(SHAPE, 12, 2e5, 5e3, separation=40.0, margin=10.0, seed=4)
    truth = simulate_image(scene, SHAPE, profile=Profile(3.5), sky=400.0, gradient=(0.4, -0.3), read_noise=5.0)
    bad = bad_columns(SHAPE)
    picture = truth.image
    after = Interpolate().correct(flagged(picture.data, bad, variance=variance_of(picture)), FRAME, {})
    assert not after.mask.any()
    np.testing.assert_array_equal(flags_of(after) == Flag.INTERPOLATED, bad)
    np.testing.assert_array_equal(after.data[~bad], picture.data[~bad])
    dark = truth.expected - truth.sky < 1.0
    for where in (bad & dark, bad & dark & (np.arange(SHAPE[1]) == 30)):
        residual = (after.data - truth.sky)[where]
        assert residual.mean() == pytest.approx(0.0, abs=4 * 21.0 / np.sqrt(where.sum()))
        assert residual.std() < 21.0


def test_a_gradient_is_kept_exactly():
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    plane = (500.0 + 2.0 * columns - 3.0 * rows).astype(np.float32)
    after = Interpolate(reach=4).correct(flagged(plane, bad_columns(SHAPE)), FRAME, {})
    np.testing.assert_allclose(after.data, plane, atol=1e-3)


def test_the_error_of_sums_over_filled_pixels_is_right():
    rng = np.random.default_rng(5)
    bad = bad_columns(SHAPE)
    boxes = {"column": (slice(30, 90), 26, 35), "pair": (slice(30, 90), 66, 76), "row": (slice(96, 105), 125, 175)}
    boxes |= {"single": (slice(14, 24), 125, 135)}
    sums = {name: [] for name in boxes}
    for _ in range(600):
        data = (100.0 + NOISE * rng.standard_normal(SHAPE)).astype(np.float32)
        after = Interpolate().correct(flagged(data, bad), FRAME, {})
        for name, (rows, first, last) in boxes.items():
            part = (rows, slice(first, last))
            number = after.data[part].size
            total = after.data[part].sum(dtype=float) - 100.0 * number
            sums[name].append(total / np.sqrt(variance_of(after)[part].sum(dtype=float)))
    for name, pulls in sums.items():
        assert np.std(pulls) == pytest.approx(1.0, abs=4 / np.sqrt(1200)), name
        assert np.mean(pulls) == pytest.approx(0.0, abs=4 / np.sqrt(600)), name


def test_the_scatter_of_filled_pixels_follows_from_their_weights():
    """The variance plane says what a sum needs; the pixel by itself scatters by the squares of its weights."""
    bad = bad_columns(SHAPE)
    data = (100.0 + NOISE * np.random.default_rng(6).standard_normal((40, *SHAPE))).astype(np.float32)
    after = [Interpolate().correct(flagged(plane, bad), FRAME, {}) for plane in data]
    values = np.array([picture.data for picture in after])
    variance = variance_of(after[0]) / NOISE**2
    for column, rows, squares, total in ((30, slice(0, 99), 0.5, 2.5), (129, [19, 28, 37, 46], 0.25, 2.25)):
        scatter = values[:, rows, column].std()
        assert scatter == pytest.approx(NOISE * squares**0.5, rel=0.1)
        np.testing.assert_allclose(variance[rows, column], total, rtol=1e-5)


def test_what_cannot_be_filled_in_stays_masked():
    flags = np.zeros(SHAPE, np.uint16)
    flags[50:60, 50:60] = Flag.BAD  # too wide in its middle
    flags[:, 0] = Flag.BAD  # nothing on one side, and nothing good along it
    flags[100, 100] = Flag.BAD | Flag.SATURATED
    flags[120, 120] = Flag.COSMIC_RAY
    flags[137:144, 137:144] = Flag.SATURATED
    flags[140, 137:144] = Flag.INTERPOLATED  # nothing that was seen
    flags[140, 140] = Flag.BAD
    data = np.full(SHAPE, 100.0, dtype=np.float32)
    data[130, 130] = np.nan
    variance = np.full(SHAPE, NOISE**2)
    after = Interpolate(reach=3).correct(image(data, "electron", variance=variance, flags=flags), FRAME, {})
    found = flags_of(after)
    assert (found[53:57, 53:57] == Flag.BAD).all()
    assert (found[50, 50:60] == Flag.BAD).all()
    assert (found[:, 0] == Flag.BAD).all()
    assert found[100, 100] == Flag.BAD | Flag.SATURATED
    assert found[120, 120] == Flag.COSMIC_RAY
    assert found[130, 130] == Flag.NO_DATA
    assert found[140, 140] == Flag.BAD
    assert after.meta["HISTORY"] == ["interpolate: 0 pixels filled in, 341 without good neighbours"]
    more = Interpolate(flags=["cosmic_ray", "no_data"]).correct(after, FRAME, {})
    assert flags_of(more)[120, 120] == flags_of(more)[130, 130] == Flag.INTERPOLATED
    assert more.data[130, 130] == 100.0


def test_a_dead_pixel_that_was_divided_by_its_flat_is_filled_in():
    bad = np.zeros(SHAPE, np.uint16)
    bad[40, 40] = Flag.BAD
    response = np.ones(SHAPE, dtype=np.float32)
    response[40, 40] = 0.0
    picture = image(np.full(SHAPE, 90.0), "electron", variance=np.full(SHAPE, 90.0), flags=bad)
    flat = Flat().correct(picture, FRAME, {"flat": image(response, "", flags=np.zeros(SHAPE, np.uint16))})
    assert np.isnan(flat.data[40, 40])
    after = Interpolate().correct(flat, FRAME, {})
    assert after.data[40, 40] == 90.0
    assert flags_of(after)[40, 40] == Flag.INTERPOLATED
    assert np.isfinite(variance_of(after)).all()
