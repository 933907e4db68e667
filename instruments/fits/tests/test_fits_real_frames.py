"""The two cameras of the documentation on the frames they describe."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

from albireo import Frames, Section, iso_to_mjd
from albireo_fits import Fits

REPOSITORY = Path(__file__).resolve().parents[3]
DATA = Path(os.environ.get("ALBIREO_DATA", REPOSITORY.parent / "shared" / "data"))
EXAMPLES = REPOSITORY / "docs" / "examples"
TENTH_OF_A_MILLISECOND = 1e-4 / 86400

pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the examples of the documentation are not here")
lowell42 = pytest.mark.skipif(not (DATA / "lowell42").is_dir(), reason=f"no lowell42 frames in {DATA}")
hatp32 = pytest.mark.skipif(not (DATA / "hatp32").is_dir(), reason=f"no hatp32 frames in {DATA}")


@pytest.fixture(scope="module")
def nasa42():
    return Fits(definition=EXAMPLES / "lowell42-camera.toml", gain=3.66, read_noise=4.3)


@pytest.fixture(scope="module")
def micro():
    return Fits(definition=EXAMPLES / "hatp32-camera.toml")


def every_frame(stage, folder):
    return Frames(frame for path in sorted(folder.rglob("*.fz")) for frame in stage.frames(path))


def expanded(source, folder):
    """Write a packed frame as the plain file it was."""
    spec = importlib.util.spec_from_file_location("expand", DATA / "expand.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    target = folder / source.with_suffix("").name
    module.expand(source, target)
    return target


@pytest.mark.parametrize("name", ["lowell42-camera.toml", "hatp32-camera.toml"])
def test_an_example_fits_on_a_screen_and_describes_itself(name):
    stage = Fits(definition=EXAMPLES / name)
    assert len((EXAMPLES / name).read_text().splitlines()) <= 60
    example = stage.example()
    assert example.kind == "science"
    assert example.exptime > 0
    assert example.gain > 0
    assert example.read_noise > 0
    assert example.saturation > 0
    assert iso_to_mjd("2017-01-01") < example.mid < iso_to_mjd("2020-01-01")


@lowell42
def test_lowell42_kinds_filters_and_times(nasa42):
    night = every_frame(nasa42, DATA / "lowell42")
    counts = {key: len(group) for key, group in night.by("kind", "filter").items()}
    assert counts == {("bias", "VR"): 9, ("flat", "VR"): 6, ("flat", "V"): 1, ("science", "VR"): 23}
    assert set(night.values("instrument")) == {"nasa42"}
    assert set(night.values("setup")) == {(("binning", "3 3"),)}
    assert set(night.where(kind="bias").values("exptime")) == {0.0}
    science = night.where(kind="science").sorted("start")
    assert set(science.values("target")) == {"5945 Roachapproach"}
    assert set(science.values("exptime")) == {300.0}
    assert science[-1].airmass == 1.95
    frame = next(frame for frame in science if "0138" in frame.path)
    assert abs(frame.start - iso_to_mjd("2019-03-26T03:29:19.61")) < TENTH_OF_A_MILLISECOND
    # MIDTIMJD, which another program wrote into this header, is rounded to a tenth of a millisecond
    assert abs(frame.mid - (2458568.647101968 - 2400000.5)) < TENTH_OF_A_MILLISECOND
    assert frame.ra == pytest.approx(15 * (8 + 18 / 60 + 29.9 / 3600), abs=1e-9)
    assert frame.dec == pytest.approx(25 + 20 / 60 + 1 / 3600, abs=1e-9)
    assert frame.site == (-111.5355, 35.09675, 2206.0)


@lowell42
def test_lowell42_sections_gain_and_scale(nasa42):
    (frame,) = nasa42.frames(DATA / "lowell42" / "flat" / "20190326.0110.fits.fz")
    (amplifier,) = frame.amplifiers
    assert frame.shape == (1370, 1432)
    assert amplifier.data == Section(0, 1370, 17, 1382)
    assert amplifier.overscan == Section(0, 1370, 1387, 1432)
    assert (amplifier.gain, amplifier.read_noise, frame.saturation) == (3.66, 4.3, 65535.0)
    assert frame.scale == pytest.approx(1.1074, abs=1e-4)
    assert frame.temperature == -101.75
    assert frame.notes == (
        "gain 3.66 e-/adu from the recipe; the header says 4.95",
        "read noise 4.3 e- from the recipe; the header says 9.3",
        "scale 1.10739 arcsec/pixel from the camera's definition (measured on the sky); the header says 0.981",
        "saturation 65535 adu from the camera's definition (end of the converter)",
    )
    header_gain = Fits(definition=EXAMPLES / "lowell42-camera.toml")
    assert next(iter(header_gain.frames(Path(frame.path)))).gain == 4.95


@lowell42
def test_lowell42_pixels(nasa42):
    (frame,) = nasa42.frames(DATA / "lowell42" / "zero" / "20190326.0001.fits.fz")
    picture = nasa42.read(frame)
    assert picture.shape == frame.shape
    assert abs(np.median(picture.data) - 1626) <= 1
    assert (picture.data == 0).any()  # the corner of the overscan
    assert not picture.mask.any()
    (science,) = nasa42.frames(DATA / "lowell42" / "5945" / "20190326.0138.fits.fz")
    saturated = nasa42.read(science).mask.sum()
    assert 500 < saturated < 1200


@lowell42
def test_lowell42_coordinates_follow_the_distortion(nasa42):
    from astropy.table import Table

    (frame,) = nasa42.frames(DATA / "lowell42" / "5945" / "20190326.0138.fits.fz")
    wcs = nasa42.wcs(frame)
    stars = Table.read(DATA / "lowell42" / "reference" / "field_catalog_from_scamp_wcs.fits")
    x, y = wcs.all_world2pix(stars["RA"], stars["DEC"], 0)
    pixels = nasa42.read(frame).data - 1626.0
    offsets = []
    for column, row in zip(x, y, strict=True):
        if not (30 < column < 1370 and 15 < row < 1355):
            continue
        i, j = round(row), round(column)
        box = pixels[i - 4 : i + 5, j - 4 : j + 5]
        weight = np.clip(box - np.median(box), 0, None)
        dy, dx = np.mgrid[i - 4 : i + 5, j - 4 : j + 5]
        offsets.append((np.sum(weight * dx) / weight.sum() - column, np.sum(weight * dy) / weight.sum() - row))
    assert len(offsets) > 200
    # Where the star list says, a star is: the median is a tenth of a pixel (0.11 arcsec).
    assert np.all(np.abs(np.median(offsets, axis=0)) < 0.1)
    (bias,) = nasa42.frames(DATA / "lowell42" / "zero" / "20190326.0001.fits.fz")
    assert nasa42.wcs(bias) is None


@lowell42
@pytest.mark.parametrize(
    "name", ["zero/20190326.0001.fits.fz", "flat/20190326.0100.fits.fz", "5945/20190326.0126.fits.fz"]
)
def test_lowell42_packed_and_plain_files_are_the_same_frame(nasa42, tmp_path, name):
    source = DATA / "lowell42" / name
    (packed,) = nasa42.frames(source)
    (plain,) = nasa42.frames(expanded(source, tmp_path))
    assert (packed.hdu, plain.hdu) == (1, 0)
    assert plain.replace(path="", name="", hdu=0) == packed.replace(path="", name="", hdu=0)
    np.testing.assert_array_equal(nasa42.read(plain).data, nasa42.read(packed).data)


@hatp32
def test_hatp32_times_are_utc_and_numbers_are_read(micro):
    night = every_frame(micro, DATA / "hatp32")
    assert len(night) == 142
    assert set(night.values("kind")) == {"science"}
    assert set(night.values("filter")) == {"Clear"}
    assert set(night.values("exptime")) == {60.0}
    first = night[0]
    assert first.path.endswith("HATP-32171220013343.FITS.fz")
    # UT-OBS; DATE-OBS says 18:33:43 on the evening before, local time
    assert abs(first.start - iso_to_mjd("2017-12-20T01:33:43.317")) < TENTH_OF_A_MILLISECOND
    assert abs(first.mid - iso_to_mjd("2017-12-20T01:34:13.317")) < TENTH_OF_A_MILLISECOND
    frame = next(frame for frame in night if "041512" in frame.path)
    assert frame.target == "HATP-32"
    assert (frame.ra, frame.dec) == (31.312099, 46.769087)
    assert frame.airmass == pytest.approx(1 / np.sin(np.deg2rad(72.876)), rel=1e-9)
    assert frame.temperature == pytest.approx(-3.15)
    assert frame.site == (-110.88, 31.68, 1270.0)
    assert (frame.shape, frame.saturation, frame.scale) == ((500, 650), 4095.0, 5.165)
    assert "scale 5.165 arcsec/pixel from the camera's definition (measured on the sky); the header says 5.21" in (
        frame.notes
    )


@hatp32
def test_hatp32_packed_and_plain_files_are_the_same_frame(micro, tmp_path):
    source = DATA / "hatp32" / "HATP-32171220041512.FITS.fz"
    (packed,) = micro.frames(source)
    (plain,) = micro.frames(expanded(source, tmp_path))
    assert plain.replace(path="", name="", hdu=0) == packed.replace(path="", name="", hdu=0)
    np.testing.assert_array_equal(micro.read(plain).data, micro.read(packed).data)
    assert micro.read(packed).data.max() <= 4095


@lowell42
@hatp32
def test_each_camera_owns_its_files_only(nasa42, micro):
    from astropy.io import fits

    ours = DATA / "lowell42" / "zero" / "20190326.0001.fits.fz"
    theirs = DATA / "hatp32" / "HATP-32171220041512.FITS.fz"
    for path, owner, stranger in ((ours, nasa42, micro), (theirs, micro, nasa42)):
        for hdu in (0, 1):
            header = fits.getheader(path, hdu)
            assert owner.owns(header, path)
            assert not stranger.owns(header, path)
