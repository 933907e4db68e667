"""LMI: what its headers say, the ways they vary, and the mistakes earlier software made with them."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import albireo_lmi
from albireo import Flag, FrameError, Frames, Section, iso_to_mjd
from albireo.testing import conformance, write_raw
from albireo_lmi import LMI, instruments
from albireo_lmi.sections import full_frame_sections

DATA = Path(os.environ.get("ALBIREO_DATA", Path(__file__).resolve().parents[3].parent / "shared" / "data"))

FULL_FRAME = {
    "TELESCOP": "DCT",
    "INSTRUME": "LMI",
    "DETECTOR": "CCD231-C6-F08_SN-10382-14-01",
    "OBSTYPE": "OBJECT  ",
    "OBJECT": "3200 Phaethon",
    "FILTERS": "VR      ",
    "EXPTIME": 30.0,
    "DATE-OBS": "2017-12-10T03:04:05.67",
    "UTCSTART": "03:04:05.67",
    "UTCEND": "03:04:35.76",
    "RA": "05:00:00.00",
    "DEC": "-02:11:07.10",
    "AIRMASS": 1.23,
    "NUMAMP": 1,
    "CCDSUM": "2 2",
    "TRIMSEC": "[27:3095,3:3078]",
    "BIASSEC": "[3100:3125,3:3078]",
    "AORGX_01": 1,
    "AENDX_01": 6144,
    "AORGY_01": 1,
    "AENDY_01": 6160,
    "FMDSTAT": "HOME",
}


@pytest.fixture
def lmi():
    return LMI()


def header(shape=(3080, 3128), **changes):
    cards = {"NAXIS": 2, "NAXIS1": shape[1], "NAXIS2": shape[0], **FULL_FRAME, **changes}
    return fits.Header({key: value for key, value in cards.items() if value is not None})


def understood(stage, name="lmi.0042.fits", **changes):
    return stage.from_header(header(**changes), Path("/night", name))[0]


@pytest.mark.parametrize("case", conformance.cases(LMI()), ids=str)
def test_conformance(case):
    case()


# --- whose file it is -------------------------------------------------------------------------------------------------


def test_the_plugin_offers_one_camera():
    assert [camera.name for camera in instruments()] == ["lmi"]


@pytest.mark.parametrize("serial", ["CCD231-C6-F08_SN-10382-14-01", "CCD231-C6-F08_SN-10413-07-01"])
@pytest.mark.parametrize("instrume", ["LMI", "lmi     "])
def test_frames_of_both_chips_are_owned(lmi, serial, instrume):
    assert lmi.owns(header(DETECTOR=serial, INSTRUME=instrume), Path("a.fits"))


def test_the_chip_is_part_of_what_calibrations_share(lmi):
    old = understood(lmi, DETECTOR="CCD231-C6-F08_SN-10413-07-01")
    assert dict(old.setup)["chip"] == "SN-10413-07-01"
    assert old.setup != understood(lmi).setup
    assert "setup" in lmi.match("flat")
    assert "setup.chip" in lmi.match("bias")


def test_bias_frames_serve_with_and_without_the_dichroic(lmi):
    inside, outside = understood(lmi, FMDSTAT="EXTENDED"), understood(lmi, OBSTYPE="BIAS", FMDSTAT="HOME")
    assert all(inside.fact(name) == outside.fact(name) for name in lmi.match("bias"))
    assert inside.fact("setup") != outside.fact("setup"), "which flats must share"


@pytest.mark.parametrize(
    ("date", "chip"),
    [
        ("2012-11-01T03:00:00", "SN-10382-14-01"),
        ("2014-06-01T03:00:00", "SN-10413-07-01"),
        ("2016-07-31T23:59:00", "SN-10413-07-01"),
        ("2016-08-01T00:00:01", "SN-10382-14-01"),
        ("2025-01-01T03:00:00", "SN-10382-14-01"),
    ],
)
def test_the_chip_follows_from_the_date_where_the_header_does_not_name_it(lmi, date, chip):
    frame = understood(lmi, DETECTOR=None, **{"DATE-OBS": date})
    assert dict(frame.setup)["chip"] == chip
    assert f"the chip is {chip} by its date: the header has no DETECTOR" in frame.notes
    assert understood(lmi, DETECTOR=f"CCD231-C6-F08_{chip}").setup == frame.setup


def test_the_polynomial_of_2014_is_for_the_chip_of_its_time_alone(lmi):
    polynomial = (1.00305, -1.20752e-6, 1.267053e-11)
    then, now = {"DATE-OBS": "2014-06-01T03:00:00"}, {"DATE-OBS": "2017-06-01T03:00:00"}
    assert understood(lmi, DETECTOR="CCD231-C6_SN-10413-07-01", **now).linearity == polynomial
    assert understood(lmi, DETECTOR="CCD231-C6_SN-10382-14-01", **then).linearity == ()
    assert understood(lmi, DETECTOR=None, **then).linearity == polynomial
    assert understood(lmi, DETECTOR=None, **now).linearity == ()
    # the formula of the source: linear counts of 40000 adu
    x = 40000.0
    linear = x * sum(c * x**n for n, c in enumerate(polynomial))
    assert linear == pytest.approx(1.00305 * x - 1.20752e-6 * x**2 + 1.267053e-11 * x**3)
    assert 0.95 * x < linear < x


def test_the_spectrograph_that_calls_itself_lmi_is_not_owned(lmi):
    assert not lmi.owns(header(INSTRUME="Deveny", LCAMMOD="lmi"), Path("a.fits"))


@pytest.mark.skipif(not (DATA / "headers").is_dir(), reason=f"no headers of other cameras in {DATA}")
def test_no_real_header_of_another_camera_is_claimed(lmi):
    files = sorted((DATA / "headers").glob("*.hdr"))
    assert "ldt_deveny_lois.hdr" in [path.name for path in files]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        claimed = [path.name for path in files if lmi.owns(fits.Header.fromtextfile(path), path)]
    assert claimed == []


@pytest.mark.skipif(not (DATA / "lois_headers").is_dir(), reason=f"no LOIS headers in {DATA}")
def test_a_real_spectrum_of_the_same_telescope_is_not_owned_but_could_be_read(lmi):
    path = DATA / "lois_headers" / "20250203.0021.fits.fz"
    assert not lmi.owns(fits.getheader(path, 1), path)
    (frame,) = lmi.frames(path)
    assert (frame.kind, frame.target, frame.exptime) == ("other", "HD92788", 15.0)
    assert abs(frame.start - iso_to_mjd("2025-02-03T08:12:09.97")) < 1e-9
    (amplifier,) = frame.amplifiers
    assert (amplifier.data, amplifier.overscan) == (Section(4, 512, 53, 2096), Section(4, 512, 2100, 2144))
    assert (amplifier.gain, amplifier.read_noise) == (1.52, 4.9)
    assert dict(frame.setup) == {
        "binning": "1 1",
        "window": "1 2048 1 515",
        "amplifier": "A",
        "dichroic": "out",
        "chip": "CCD42-10-1-E99_SN-11012-03-08",
    }
    assert frame.site == (-111.4223, 34.7443, 2361.0)
    assert lmi.guess(frame).wcs.name == "guess from the pointing"  # the header has 'Linear Unbinned ADC Pixels'


# --- kinds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "kind", "variant"),
    [
        ({"OBSTYPE": "OBJECT"}, "science", ""),
        ({"OBSTYPE": "BIAS", "EXPTIME": 0.0, "FILTERS": "DARK"}, "bias", ""),
        ({"OBSTYPE": "DARK", "FILTERS": "DARK"}, "dark", ""),
        ({"OBSTYPE": "SKY FLAT"}, "flat", "sky"),
        ({"OBSTYPE": "SKYFLAT "}, "flat", "sky"),
        ({"OBSTYPE": "dome flat"}, "flat", "dome"),
        ({"OBSTYPE": "DOMEFLAT"}, "flat", "dome"),
        ({"OBSTYPE": "FLAT"}, "flat", ""),
        ({"OBSTYPE": "FOCUS"}, "other", ""),
        ({"OBSTYPE": "POINTING"}, "other", ""),
        ({"OBSTYPE": "COMPARISON"}, "other", ""),
        ({"OBSTYPE": "OBJECT", "FILTERS": "DARK"}, "other", ""),
        ({"OBSTYPE": None, "EXPTIME": 0.0}, "bias", ""),
        ({"OBSTYPE": "TEST"}, "unknown", ""),
        ({"OBSTYPE": None}, "unknown", ""),
        ({"OBSTYPE": 7}, "unknown", ""),
    ],
)
def test_kinds(lmi, changes, kind, variant):
    frame = understood(lmi, **changes)
    assert (frame.kind, frame.variant) == (kind, variant)


def test_an_unknown_type_is_noted(lmi):
    assert any(note.startswith("kind unknown: OBSTYPE = 'TEST'") for note in understood(lmi, OBSTYPE="TEST").notes)


def test_sky_and_dome_flats_are_apart_and_mirrors_must_agree(lmi):
    flats = Frames(understood(lmi, OBSTYPE=f"{kind} FLAT") for kind in ("SKY", "DOME", "SKY"))
    assert [len(group) for group in flats.by("filter", "variant").values()] == [2, 1]
    science = understood(lmi)
    assert understood(lmi, OBSTYPE="SKY FLAT", FMDSTAT="EXTENDED").setup != science.setup
    for state in (None, "OUT", "HOME"):
        assert understood(lmi, OBSTYPE="SKY FLAT", FMDSTAT=state).setup == science.setup
    assert {"setup", "filter"} <= set(lmi.match("flat"))


# --- geometry ---------------------------------------------------------------------------------------------------------


def test_sections_have_the_axes_of_the_array(lmi):
    (amplifier,) = understood(lmi).amplifiers
    assert amplifier.data.shape == (3076, 3069)
    assert (amplifier.data.y0, amplifier.data.x0) == (2, 26)
    assert amplifier.overscan == Section(2, 3078, 3099, 3125)


def test_every_binning_and_subarray_is_trimmed_by_its_own_header(lmi):
    changes = {"CCDSUM": "3 3", "TRIMSEC": "[20:700,2:600]", "BIASSEC": "[705:720,2:600]", "AORGX_01": 2001}
    frame = understood(lmi, shape=(610, 722), **changes)
    assert frame.amplifiers[0].data == Section(1, 600, 19, 700)
    assert frame.scale == pytest.approx(0.36)
    assert dict(frame.setup)["window"] == "2001 6144 1 6160"
    assert frame.setup != understood(lmi).setup


BARE = {"TRIMSEC": None, "BIASSEC": "        "}


def test_without_sections_those_of_the_full_frame_binned_by_two_are_known(lmi):
    frame = understood(lmi, **BARE)
    assert frame.amplifiers == understood(lmi).amplifiers
    assert any("trim and overscan scaled" in note and "no TRIMSEC" in note for note in frame.notes)


@pytest.mark.parametrize(
    ("binning", "shape", "light", "dark"),
    [
        (1, (6160, 6244), Section(4, 6156, 52, 6190), Section(4, 6156, 6194, 6241)),
        (3, (2053, 2115), Section(2, 2052, 18, 2063), Section(2, 2052, 2067, 2112)),
        (3, (2054, 2115), Section(2, 2052, 18, 2063), Section(2, 2052, 2067, 2112)),
        (4, (1540, 1600), Section(1, 1539, 13, 1547), Section(1, 1539, 1551, 1597)),
    ],
)
def test_without_sections_those_of_other_binnings_follow_from_it(lmi, binning, shape, light, dark):
    frame = understood(lmi, shape=shape, CCDSUM=f"{binning} {binning}", **BARE)
    assert (frame.amplifiers[0].data, frame.amplifiers[0].overscan) == (light, dark)
    # the light is inside of that of the frame binned 2 x 2, and fills it to less than a pixel on each side
    for first, last, whole in ((light.x0, light.x1, (52, 6190)), (light.y0, light.y1, (4, 6156))):
        assert 0 <= first * binning - whole[0] < binning
        assert 0 <= whole[1] - last * binning < binning


@pytest.mark.parametrize(
    ("shape", "binning"), [((610, 722), 2), ((3080, 3100), 2), ((3080, 3128), 3), ((1232, 1300), 5)]
)
def test_no_sections_are_made_up_for_subarrays_and_odd_binnings(lmi, shape, binning):
    assert full_frame_sections(shape, binning) is None
    frame = understood(lmi, shape=shape, CCDSUM=f"{binning} {binning}", **BARE)
    assert (frame.amplifiers[0].data, frame.amplifiers[0].overscan) == (Section(0, shape[0], 0, shape[1]), None)
    assert "the whole image counts as light: the header has no TRIMSEC, and this is no full frame" in frame.notes


@pytest.mark.skipif(not (DATA / "lowell42").is_dir(), reason=f"no frames of the same program in {DATA}")
def test_sections_of_the_program_that_writes_lmi_frames_are_where_light_and_overscan_lie(lmi):
    flat = lmi.read(lmi_frame(lmi, "flat/20190326.0110.fits.fz")).data
    bias_frame = lmi_frame(lmi, "zero/20190326.0001.fits.fz")
    bias = lmi.read(bias_frame).data
    (amplifier,) = bias_frame.amplifiers
    assert (amplifier.data, amplifier.overscan) == (Section(0, 1370, 17, 1382), Section(0, 1370, 1387, 1432))
    dark = np.median(bias[amplifier.overscan.slices])
    assert 1623.5 < dark < 1626.5
    assert abs(np.median(bias[amplifier.data.slices]) - dark) < 3.0
    # In a flat, light begins and ends with the section; at the right edge of this field there is 7 % of it.
    middle = slice(600, 770)
    level = np.median(flat[middle, 100:1300]) - dark
    for column, lit in ((17, True), (1381, True), (15, False), (1383, False)):
        share = (np.median(flat[middle, column]) - dark) / level
        assert share > 0.05 if lit else share < 0.005, (column, share)
    assert dict(bias_frame.setup)["amplifier"] == "A"  # one amplifier, and no AMPID


def lmi_frame(stage, name):
    """A frame of NASA42: not LMI's, but of the program that writes its headers."""
    path = DATA / "lowell42" / name
    assert not stage.owns(fits.getheader(path, 1), path)
    (frame,) = stage.frames(path)
    return frame


@pytest.mark.parametrize("ampid", [None, "A"])
def test_one_amplifier_needs_no_name(lmi, ampid):
    assert dict(understood(lmi, AMPID=ampid).setup)["amplifier"] == "A"


TWO = {
    "NUMAMP": 2,
    "TRIMSEC": "[27:3120,3:3078]",
    "BIASSEC": "[1562:1591,3:3078]",
    "TRIM01": "[27:1560,3:3078]",
    "BIAS01": "[1562:1575,3:3078]",
    "TRIM02": "[1593:3120,3:3078]",
    "BIAS02": "[1578:1591,3:3078]",
    "GAIN_01": 2.8,
    "GAIN_02": 3.0,
    "RN_01": 6.2,
    "ARDNS_02": 5.8,
    "AMPID01": "A",
    "AMPID02": "B",
    "AORGX_01": 1,
    "AENDX_01": 3072,
    "AORGX_02": 3073,
    "AENDX_02": 6144,
}


def test_two_amplifiers_are_put_together_without_the_overscan_between_them(lmi, tmp_path):
    path = tmp_path / "lmi.0042.fits"
    counts = np.full((3080, 3146), 7, np.uint16)
    rng = np.random.default_rng(1)
    left, right = (rng.integers(1000, 60000, (3076, n), dtype=np.uint16) for n in (1534, 1528))
    counts[2:3078, 26:1560], counts[2:3078, 1592:3120] = left, right
    counts[2:3078, 1561:1575], counts[2:3078, 1577:1591] = 1010, 1020
    fits.PrimaryHDU(counts, header((3080, 3146), **TWO)).writeto(path)
    (frame,) = lmi.frames(path)
    assert [(a.gain, a.read_noise) for a in frame.amplifiers] == [(2.8, 6.2), (3.0, 5.8)]
    assert dict(frame.setup)["amplifier"] == "A-B"
    raw = lmi.read(frame).data
    first, second = frame.amplifiers
    assert np.array_equal(raw[first.data.slices], left)
    assert np.array_equal(raw[second.data.slices], right)
    assert first.data.x1 == second.data.x0
    assert (raw[first.overscan.slices] == 1010).all()
    assert (raw[second.overscan.slices] == 1020).all()
    assert understood(LMI(gain={"1": 2.5, "2": 2.6}), shape=(3080, 3146), **TWO).amplifiers[1].gain == 2.6


def test_frames_of_other_amplifiers_share_no_calibrations(lmi):
    assert understood(lmi, shape=(3080, 3146), **TWO).setup != understood(lmi).setup


def test_four_amplifiers_are_put_together_from_their_corners(lmi):
    quarter = {
        f"{key}{number:02d}": f"[{x},{y}]"
        for number, (x, y, dark) in enumerate(
            (
                ("27:1560", "3:1540", "1562:1575"),
                ("1593:3120", "3:1540", "1578:1591"),
                ("27:1560", "1541:3078", "1562:1575"),
                ("1593:3120", "1541:3078", "1578:1591"),
            ),
            1,
        )
        for key, x in (("TRIM", x), ("BIAS", dark))
    }
    frame = understood(lmi, shape=(3080, 3146), NUMAMP=4, **quarter)
    assert len(frame.amplifiers) == 4
    assert sum(a.data.shape[0] * a.data.shape[1] for a in frame.amplifiers) == 3076 * (1534 + 1528)
    assert {a.gain for a in frame.amplifiers} == {2.89}


def test_amplifiers_without_sections_are_refused(lmi):
    with pytest.raises(FrameError) as caught:
        understood(lmi, NUMAMP=2, TRIM01="[27:1560,3:3078]")
    assert str(caught.value) == (
        "/night/lmi.0042.fits: read through 2 amplifiers (NUMAMP), but the header has the sections of 1; it should "
        "have TRIM01, TRIM02, ... for each"
    )


def test_frames_of_two_amplifiers_can_be_written_and_read_back(lmi, tmp_path):
    meant = understood(lmi, shape=(3080, 3146), **TWO)
    meant = meant.replace(path=str(tmp_path / "lmi.0001.fits"), name="a")
    counts = np.random.default_rng(4).integers(1000, 1100, meant.shape, dtype=np.uint16)
    write_raw(lmi, meant, counts)
    (seen,) = lmi.frames(Path(meant.path))
    assert seen.amplifiers == meant.amplifiers
    assert seen.setup == meant.setup
    assert seen.tiles == meant.tiles
    lit = (slice(None), slice(0, meant.amplifiers[1].data.x1))
    assert np.array_equal(lmi.read(seen).data[lit], counts[lit])


# --- filters, times, constants ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"FILTERS": "SDSS-R  "}, "SDSS-R"),
        ({"FILTERS": "5027"}, "5027"),
        ({"FILTERS": 5027}, "5027"),
        ({"FILTERS": "CO+"}, "CO+"),
        ({"FILTERS": "H2O+"}, "H2O+"),
        ({"FILTERS": "", "FILTER1": "OPEN", "FILTER2": "OPEN"}, "OPEN"),
        ({"FILTERS": None, "FILTER1": "OPEN", "FILTER2": "VR  "}, "VR"),
        ({"FILTERS": None, "FILTER1": "B", "FILTER2": "OPEN"}, "B"),
        ({"FILTERS": None, "FILTER1": "B", "FILTER2": "OG570"}, "B-OG570"),
    ],
)
def test_filters(lmi, changes, name):
    assert understood(lmi, **changes).filter == name


@pytest.mark.parametrize(
    ("date", "clock", "start"),
    [
        ("2017-12-10T03:04:05.67", "03:04:05.67", "2017-12-10T03:04:05.67"),
        ("2017-12-10T03:04:05", None, "2017-12-10T03:04:05"),
        ("2017-12-10", "03:04:05.67", "2017-12-10T03:04:05.67"),
        ("2017-12-10", "03:04:05", "2017-12-10T03:04:05"),
    ],
)
def test_the_start_with_and_without_fraction_and_time(lmi, date, clock, start):
    frame = understood(lmi, **{"DATE-OBS": date, "UTCSTART": clock})
    assert abs(frame.start - iso_to_mjd(start)) < 1e-10
    # UTCEND includes the readout: the middle is half the exposure after the start
    assert abs(frame.mid - frame.start - 15.0 / 86400) < 1e-10


def test_frames_of_the_same_second_and_number_are_different_frames(lmi):
    first, second = understood(lmi, name="a/lmi.0042.fits"), understood(lmi, name="b/lmi.0042.fits")
    assert first.start == second.start
    assert first.name != second.name


@pytest.mark.parametrize(
    ("changes", "target"),
    [({}, "3200 Phaethon"), ({"OBJECT": "  ", "OBJNAME": "", "SCITARG": "HD92788"}, "HD92788")],
)
def test_the_target_falls_back_to_where_observers_leave_it(lmi, changes, target):
    assert understood(lmi, **changes).target == target


def test_constants_stand_in_for_what_the_header_lacks_and_say_so(lmi):
    frame = understood(lmi)
    assert (frame.gain, frame.read_noise, frame.saturation, frame.scale) == (2.89, 6.0, 60000.0, 0.24)
    assert frame.site == (-111.4223, 34.7443, 2361.0)
    assert (
        "gain 2.89 e-/adu from the camera's definition (public pipelines; documented); the header has none"
        in frame.notes
    )
    written = understood(lmi, GAIN=2.7, RN_01=5.5)
    assert (written.gain, written.read_noise) == (2.7, 5.5)
    assert understood(LMI(gain=3.0), GAIN=2.7).notes[0] == "gain 3 e-/adu from the recipe; the header says 2.7"


# --- files ------------------------------------------------------------------------------------------------------------


def test_the_example_is_small_and_survives_a_file(lmi, tmp_path):
    example = lmi.example()
    assert example.kind == "science"
    assert max(example.shape) <= 780
    assert not [name for name in ("mid", "ra", "dec", "airmass", "scale", "gain") if np.isnan(getattr(example, name))]
    pixels = np.full(example.shape, 1100, np.uint16)
    pixels[0, 0], pixels[5, 6] = 0, 65535
    for kind, variant in (("science", ""), ("bias", ""), ("flat", "sky"), ("flat", "dome")):
        path = tmp_path / f"lmi.{kind}{variant}.fits"
        frame = example.replace(kind=kind, variant=variant, exptime=0.0 if kind == "bias" else 30.0)
        frame = frame.replace(mid=frame.start + frame.exptime / 2 / 86400)
        fits.PrimaryHDU(pixels, lmi.header(frame)).writeto(path)
        assert lmi.owns(fits.getheader(path), path)
        (back,) = lmi.frames(path)
        assert back.replace(path="", name="") == frame.replace(path="", name="")
        picture = lmi.read(back)
        assert picture.data[0, 0] == 0
        assert np.argwhere(picture.mask).tolist() == [[5, 6]]  # a zero is a value, not missing
        assert picture.flags[5, 6] == Flag.SATURATED


# --- coordinates ------------------------------------------------------------------------------------------------------

TAN = {
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRVAL1": "05:00:01.00",  # a sexagesimal text, in hours
    "CRVAL2": -2.18,
    "CRPIX1": 1564.0,
    "CRPIX2": 1540.0,
    "CD1_1": -6.7e-5,
    "CD1_2": 0.0,
    "CD2_1": 0.0,
    "CD2_2": 6.7e-5,
    "RADECSYS": "FK5",
}


@pytest.fixture
def on_disk(lmi, tmp_path):
    def write(shape=(3080, 3128), **changes):
        path = tmp_path / "lmi.0042.fits"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fits.PrimaryHDU(np.zeros(shape, np.uint16), header(shape, **changes)).writeto(path, overwrite=True)
        (frame,) = lmi.frames(path)
        return frame

    return write


def gnomonic(x, y, crpix, scale, angle):
    """Sky position of a zero-based pixel about the pointing of the cards above, written out."""
    ra0, dec0 = np.radians(75.0), np.radians(-(2 + 11 / 60 + 7.1 / 3600))
    turned, step = np.radians(angle), np.radians(scale / 3600)
    dx, dy = x + 1 - crpix[0], y + 1 - crpix[1]
    xi = step * (-np.cos(turned) * dx + np.sin(turned) * dy)
    eta = step * (np.sin(turned) * dx + np.cos(turned) * dy)
    below = np.cos(dec0) - eta * np.sin(dec0)
    dec = np.arctan2(np.sin(dec0) + eta * np.cos(dec0), np.hypot(xi, below))
    return np.degrees([ra0 + np.arctan2(xi, below), dec])


@pytest.mark.parametrize(
    ("changes", "crpix", "angle"),
    [
        # the middle of the trimmed frame, [27:3095,3:3078]
        ({}, (1561.0, 1540.5), 0.0),
        ({"IPA": 30.0, "SKYVPA": 12.0}, (1561.0, 1540.5), 30.0),
        ({"SKYVPA": "-90"}, (1561.0, 1540.5), -90.0),
        # a window whose middle lies (100, -50) unbinned pixels from that of the chip
        (
            {"AORGX_01": 2101, "AENDX_01": 4244, "AORGY_01": 2001, "AENDY_01": 4060},
            (1561.0 - 50.0, 1540.5 + 25.0),
            0.0,
        ),
        # a trim that begins elsewhere
        ({"TRIMSEC": "[37:3095,3:3078]"}, (1566.0, 1540.5), 0.0),
    ],
)
def test_without_coordinates_they_are_guessed_from_pointing_window_and_angle(lmi, on_disk, changes, crpix, angle):
    frame = on_disk(**changes)
    assert lmi.wcs(frame) is None
    wcs = lmi.guess(frame)
    assert wcs.wcs.name == "guess from the pointing"
    for x, y in ((crpix[0] - 1, crpix[1] - 1), (0.0, 0.0), (3000.0, 100.0)):
        ra, dec = wcs.all_pix2world([[x, y]], 0)[0]
        want = gnomonic(x, y, crpix, 0.24, angle)
        assert abs(ra - want[0]) * np.cos(np.radians(dec)) * 3600 < 0.1
        assert abs(dec - want[1]) * 3600 < 0.1


def test_the_guess_has_north_up_and_east_left(lmi, on_disk):
    wcs = lmi.guess(on_disk())
    ra, dec = wcs.all_pix2world([[1560.0, 1539.5], [1460.0, 1539.5], [1560.0, 1639.5]], 0).T
    assert ra[1] > ra[0]
    assert dec[2] > dec[0]
    assert (ra[1] - ra[0]) * np.cos(np.radians(dec[0])) * 3600 == pytest.approx(24.0, abs=0.1)
    assert (dec[2] - dec[0]) * 3600 == pytest.approx(24.0, abs=0.1)


def test_coordinates_of_the_header_come_first_and_are_those_of_the_raw_frame(lmi, on_disk):
    frame = on_disk(**TAN)
    wcs = lmi.wcs(frame)
    assert wcs.all_pix2world([[1563.0, 1539.0]], 0)[0].tolist() == pytest.approx([75.0041666667, -2.18], abs=1e-9)
    # CRPIX moves with the trim: a star keeps its place on the sky
    light = frame.amplifiers[0].data
    trimmed = wcs.deepcopy()
    trimmed.wcs.crpix -= [light.x0, light.y0]
    star = np.array([[1000.0, 2000.0]])
    on_sky = wcs.all_pix2world(star + np.array([light.x0, light.y0]), 0)
    assert np.abs(trimmed.all_world2pix(on_sky, 0) - star).max() < 0.01
    assert (light.x0, light.y0) == (26, 2)


@pytest.mark.parametrize(
    "changes",
    [
        {"CTYPE1": "Linear Unbinned ADC Pixels", "CTYPE2": "Linear Unbinned ADC Pixels"},
        {"CTYPE1": None, "CTYPE1U": "RA---TAN", "CRVAL1U": 75.0, "CRPIX1U": 3.0, "CD1_1U": -3e-5, "CFINT1": 1.0},
        {"CRVAL1": None, "CRVAL2": None},
        {"CRVAL1": "unknown"},
        {"CRVAL1": 0.0, "CRVAL2": 0.0},
        {"CD1_1": 0.0, "CD2_2": 0.0},
        {"CD1_1": -2.7e-4, "CD2_2": 2.7e-4},
    ],
)
def test_coordinates_that_cannot_be_true_are_not_used(lmi, on_disk, changes):
    assert lmi.wcs(on_disk(**TAN)) is not None
    assert lmi.wcs(on_disk(**TAN | changes)) is None


def test_without_a_pointing_there_are_no_coordinates(lmi, on_disk):
    assert lmi.guess(on_disk(RA=None)) is None


def test_the_guess_holds_for_an_image_of_two_amplifiers(lmi, on_disk):
    frame = on_disk((3080, 3146), **TWO)
    lit = [a.data for a in frame.amplifiers]
    middle = 0.5 * (lit[0].x0 + lit[1].x1 - 1), 0.5 * (lit[0].y0 + lit[0].y1 - 1)
    assert lmi.guess(frame).all_pix2world([middle], 0)[0].tolist() == pytest.approx([75.0, -2.18531], abs=1e-4)


# --- the recipe -------------------------------------------------------------------------------------------------------


def test_the_recipe_to_start_from_uses_this_camera():
    import tomli

    recipe = tomli.loads(albireo_lmi.LMI.recipe())
    assert recipe["instrument"] == {"use": "lmi"}
    assert [step["use"] for step in recipe["corrections"]] == ["overscan", "trim", "bias", "gain", "flat"]
