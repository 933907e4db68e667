"""Headers without pixels: plain, packed and broken files, and celestial coordinates that are written wrong."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from astropy.io import fits

from albireo import FrameError
from albireo.headers import celestial_wcs, read_header, sexagesimal

CARDS = {"OBJECT": "M 31", "EXPTIME": 12.5}


@pytest.fixture
def pixels():
    return np.arange(35 * 40, dtype=np.uint16).reshape(35, 40)


def test_a_packed_image_has_the_header_of_the_plain_one(tmp_path, pixels):
    plain, packed = tmp_path / "a.fits", tmp_path / "a.fits.fz"
    fits.PrimaryHDU(pixels, fits.Header(CARDS)).writeto(plain)
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(pixels, fits.Header(CARDS))]).writeto(packed)
    zipped = tmp_path / "a.fits.gz"
    zipped.write_bytes(gzip.compress(plain.read_bytes()))
    keys = (*CARDS, "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "BZERO")
    expected = [fits.getheader(plain)[key] for key in keys]
    for path, index in ((plain, 0), (packed, 1), (zipped, 0)):
        hdu, header = read_header(path)
        assert hdu == index
        assert [header[key] for key in keys] == expected


def test_the_first_image_is_found_behind_tables_and_empty_units(tmp_path, pixels):
    table = fits.BinTableHDU.from_columns([fits.Column("a", "PJ()", array=[[1, 2], [3]])])
    path = tmp_path / "a.fits"
    units = [fits.PrimaryHDU(), table, fits.ImageHDU(pixels, fits.Header(CARDS)), fits.ImageHDU(pixels + 1)]
    fits.HDUList(units).writeto(path)
    assert read_header(path)[0] == 2
    assert read_header(path)[1]["OBJECT"] == "M 31"
    assert read_header(path, 3)[1]["NAXIS1"] == 40
    with pytest.raises(FrameError, match=r"HDU 1 of .* holds no image"):
        read_header(path, 1)
    with pytest.raises(FrameError, match=r"holds no HDU 4; it has 4 HDUs$"):
        read_header(path, 4)


def test_a_file_without_an_image_says_so(tmp_path):
    path = tmp_path / "a.fits"
    fits.PrimaryHDU().writeto(path)
    with pytest.raises(FrameError) as caught:
        read_header(path)
    assert str(caught.value) == f"{path} holds no image; it has 1 HDU"


@pytest.mark.parametrize("packed", [False, True])
def test_a_truncated_file_says_how_much_is_missing(tmp_path, pixels, packed):
    path = tmp_path / "a.fits"
    unit = fits.CompImageHDU(pixels) if packed else fits.ImageHDU(pixels)
    fits.HDUList([fits.PrimaryHDU(), unit]).writeto(path)
    content = path.read_bytes()
    path.write_bytes(content[: 2880 * 2 + 500])
    with pytest.raises(
        FrameError, match=r"is truncated: HDU 1 should end at byte \d+, the file has 6260; copy it again"
    ):
        read_header(path)
    path.write_bytes(content[:3000])
    with pytest.raises(FrameError, match="the header has no end; the file is truncated"):
        read_header(path)


def test_missing_padding_after_the_data_does_no_harm(tmp_path, pixels):
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(pixels).writeto(path)
    path.write_bytes(path.read_bytes()[: 2880 + pixels.nbytes])
    assert read_header(path)[0] == 0


@pytest.mark.parametrize("content", [b"", b"This is a log of the night.\n" * 200, b"SIMPLE", b"\x1f\x8bnot zipped"])
def test_what_is_no_fits_file_is_refused(tmp_path, content):
    path = tmp_path / "a.fits"
    path.write_bytes(content)
    with pytest.raises(FrameError, match=str(path)):
        read_header(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(FrameError, match="No such file"):
        read_header(tmp_path / "a.fits")


@pytest.mark.filterwarnings("error")
def test_cards_that_break_the_standard_do_not_warn(tmp_path, pixels):
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(pixels, fits.Header({"OBJECT": "M 31", "WEATHER": 1})).writeto(path)
    broken = path.read_bytes().replace(b"WEATHER =                    1", b"WEATHER = 098 clear           ")
    path.write_bytes(broken.replace(b"OBJECT  =", b"object  ="))
    assert read_header(path)[1]["OBJECT"] == "M 31"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("08:18:29.9", 8.30830555556),
        ("-00:30:36", -0.51),
        ("+25 20 01,8", 25.3338333333),
        (" 12:30 ", 12.5),
        ("12.5", None),
        ("noon", None),
    ],
)
def test_sexagesimal_texts(text, value):
    assert sexagesimal(text) == (None if value is None else pytest.approx(value, abs=1e-9))


# --- celestial coordinates --------------------------------------------------------------------------------------------

SKY = {
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRVAL1": 124.6,
    "CRVAL2": 25.3,
    "CRPIX1": 716.0,
    "CRPIX2": 685.0,
    "CD1_1": -3.07e-4,
    "CD1_2": 1.2e-5,
    "CD2_1": 1.2e-5,
    "CD2_2": 3.07e-4,
}
PV = {
    1: {0: -2.4e-5, 1: 1.0002, 2: -8e-5, 4: 4e-4, 5: 3.9e-4, 6: 2.8e-4, 7: -5.5e-3, 8: -1.3e-4, 9: -1.8e-3, 10: -2e-4},
    2: {
        0: -1.8e-5,
        1: 1.0003,
        2: 2.1e-4,
        4: 8.1e-4,
        5: 4.1e-4,
        6: 4.7e-4,
        7: -7.5e-3,
        8: -8.3e-4,
        9: -3.4e-3,
        10: -3.6e-3,
    },
}


def sky(**changes):
    return fits.Header({key: value for key, value in {**SKY, **changes}.items() if value is not None})


def distorted_tangent_plane(x, y):
    """Evaluate the TPV convention by its definition, degrees in and out."""
    u, v = x + 1 - SKY["CRPIX1"], y + 1 - SKY["CRPIX2"]
    xi = SKY["CD1_1"] * u + SKY["CD1_2"] * v
    eta = SKY["CD2_1"] * u + SKY["CD2_2"] * v

    def polynomial(p, a, b):
        powers = {0: 1, 1: a, 2: b, 4: a * a, 5: a * b, 6: b * b, 7: a**3, 8: a * a * b, 9: a * b * b, 10: b**3}
        return sum(p[index] * term for index, term in powers.items())

    xi, eta = np.deg2rad(polynomial(PV[1], xi, eta)), np.deg2rad(polynomial(PV[2], eta, xi))
    a0, d0 = np.deg2rad(SKY["CRVAL1"]), np.deg2rad(SKY["CRVAL2"])
    depth = np.cos(d0) - eta * np.sin(d0)
    ra = a0 + np.arctan2(xi, depth)
    return np.rad2deg(ra), np.rad2deg(np.arctan2(np.sin(d0) + eta * np.cos(d0), np.hypot(xi, depth)))


def test_numbers_written_as_texts_with_scamp_terms_give_the_distorted_plane():
    terms = {f"PV{axis}_{index}": value for axis, row in PV.items() for index, value in row.items()}
    texts = {key: value if key.startswith("CTYPE") else f"{value!r}   " for key, value in {**SKY, **terms}.items()}
    wcs = celestial_wcs(fits.Header({**texts, "EQUINOX": "2000.0  ", "RADECSYS": "ICRS"}))
    x, y = np.array([0.0, 715.0, 1400.0]), np.array([1300.0, 684.0, 20.0])
    expected = distorted_tangent_plane(x, y)
    measured = wcs.all_pix2world(x, y, 0)
    # Without the terms the corners would be 0.3 arcsec off.
    assert np.max(np.hypot((measured[0] - expected[0]) * np.cos(np.deg2rad(25)), measured[1] - expected[1])) < 1e-8


def test_a_sexagesimal_reference_point_is_understood():
    wcs = celestial_wcs(sky(CRVAL1="08:18:24.0", CRVAL2="+25:18:00"))
    assert wcs.wcs.crval.tolist() == pytest.approx([124.6, 25.3], abs=1e-9)


@pytest.mark.parametrize(
    "changes",
    [
        {"CTYPE1": "Linear Unbinned ADC Pixels", "CTYPE2": "Linear Unbinned ADC Pixels"},
        {"CTYPE1": None},
        {"CRVAL2": None},
        {"CRVAL1": "unknown"},
        {"CD1_1": None, "CD1_2": None, "CD2_1": None, "CD2_2": None},
        {"CD1_1": 0.0, "CD1_2": 0.0},
    ],
)
def test_what_is_no_sky_is_none(changes):
    assert celestial_wcs(sky(**changes)) is None


def test_a_good_solution_is_left_as_it_is():
    wcs = celestial_wcs(sky())
    assert wcs.all_pix2world([[715.0, 684.0]], 0)[0].tolist() == pytest.approx([124.6, 25.3], abs=1e-10)
