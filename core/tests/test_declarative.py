"""Headers to frames by a table: kinds, numbers, texts, times, sections, and which value counts."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import Field

from albireo import (
    CameraDefinition,
    DeclarativeInstrument,
    Flag,
    FrameError,
    Section,
    iso_to_mjd,
    load_definition,
    mjd_to_iso,
)

START = "2020-01-02T03:04:05.25"
EXAMPLE = "[example]\nNAXIS1 = 30\nNAXIS2 = 20\n"


class Camera(DeclarativeInstrument, name="test-camera"):
    """A camera whose table is given by path."""

    table: Path = Field(description="The table.")

    @property
    def camera(self) -> CameraDefinition:
        return load_definition(self.table)


@pytest.fixture
def camera(tmp_path):
    def make(text: str, **options: Any) -> Camera:
        path = tmp_path / "cam.toml"
        path.write_text(f'name = "cam"\n{text}\n{EXAMPLE}')
        return Camera(table=path, **options)

    return make


@pytest.fixture
def night(tmp_path):
    """Write a small frame with the given cards and give its path; a text card of 80 columns goes in as it is."""

    def write(
        cards: dict[str, Any] | None = None,
        *,
        raw: tuple[str, ...] = (),
        data: np.ndarray | None = None,
        name: str = "a.fits",
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.arange(600, dtype=np.uint16).reshape(20, 30) if data is None else data
        hdu = fits.PrimaryHDU(pixels)
        hdu.header.update(cards or {})
        for number in range(len(raw)):
            hdu.header[f"RAW{number}"] = number
        hdu.writeto(path, overwrite=True)
        if raw:
            content = path.read_bytes()
            for number, card in enumerate(raw):
                at = content.index(f"RAW{number}    =".encode())
                content = content[:at] + card.ljust(80).encode() + content[at + 80 :]
            path.write_bytes(content)
        return path

    return write


def one(stage: DeclarativeInstrument, path: Path) -> Any:
    (frame,) = stage.frames(path)
    return frame


# --- kinds --------------------------------------------------------------------------------------------------------

KINDS = """
kinds = [
    { kind = "bias", when = { OBSTYPE = "BIAS" } },
    { kind = "flat", variant = "sky", when = { OBSTYPE = ["SKY FLAT", "SKYFLAT"] } },
    { kind = "flat", variant = "dome", when = { OBSTYPE = "*DOME*" } },
    { kind = "dark", when = { SHUTTER = false, EXPTIME = 60 } },
    { kind = "bias", when = { EXPTIME = 0 } },
    { kind = "flat", file = "*_flat*.fits" },
    { kind = "science", file = "*/targets/*" },
]
"""


@pytest.mark.parametrize(
    ("cards", "name", "kind", "variant"),
    [
        ({"OBSTYPE": "BIAS"}, "a.fits", "bias", ""),
        ({"OBSTYPE": "  bias "}, "a.fits", "bias", ""),
        ({"OBSTYPE": "Sky  flat"}, "a.fits", "flat", "sky"),
        ({"OBSTYPE": "DOMEFLAT lamp 2"}, "a.fits", "flat", "dome"),
        ({"OBSTYPE": "X", "EXPTIME": 0.0}, "a.fits", "bias", ""),
        ({"OBSTYPE": "BIASED"}, "night_FLAT_1.fits", "flat", ""),
        ({}, "targets/a.fits", "science", ""),
        ({"SHUTTER": False, "EXPTIME": "60.0"}, "a.fits", "dark", ""),
        ({"SHUTTER": True, "EXPTIME": 60.0}, "a.fits", "unknown", ""),
    ],
)
def test_the_first_rule_that_fits_says_what_a_frame_is(camera, night, cards, name, kind, variant):
    frame = one(camera(KINDS), night(cards, name=name))
    assert (frame.kind, frame.variant) == (kind, variant)


def test_an_unknown_kind_is_noted_with_what_the_header_says(camera, night):
    frame = one(camera(KINDS), night({"OBSTYPE": "Snapshot"}))
    assert frame.kind == "unknown"
    assert frame.notes == ("kind unknown: OBSTYPE = 'Snapshot', SHUTTER = (none), EXPTIME = (none)",)


# --- numbers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "raw", "value"),
    [
        ('exptime = "X"', "X       = 060.00 / free format", 60.0),
        ('airmass = "X"', "X       = +1.876 / with a sign", 1.876),
        ('temperature = "X"', "X       = '-20,5   '           / decimal comma", -20.5),
        ('temperature = "X"', "X       = 098", 98.0),
        ('temperature = { keyword = "X", unit = "K" }', "X       = 270.0", -3.15),
        ('temperature = { keyword = "X", unit = "K", unknown = [-1] }', "X       = -1.0", math.nan),
        ('temperature = "X"', "X       = '        '", math.nan),
        ('temperature = "X"', "X       =", math.nan),
        ('ra = { keyword = "X", unit = "hms" }', "X       = '08:18:29.9'", 124.6245833333),
        ('ra = { keyword = "X", unit = "hms" }', "X       = 2.5", 37.5),
        ('ra = { keyword = "X", unit = "hms", unknown = ["0"] }', "X       = '0'", math.nan),
        ('dec = { keyword = "X", unit = "dms" }', "X       = '-00 30 36.0'", -0.51),
        ('dec = { keyword = "X", unit = "dms" }', "X       = -0.51", -0.51),
        ('airmass = { keyword = "X", unit = "altitude" }', "X       = 30.0", 2.0),
        ('airmass = { keyword = "X", unit = "altitude" }', "X       = -3.0", math.nan),
        ('scale = { keyword = "X", times = "CCDSUM" }', "X       = 0.25", 0.75),
        ('saturation = { keyword = ["NONE", "X"] }', "X       = 4095", 4095.0),
    ],
)
def test_a_number_is_read_however_it_is_written(camera, night, rule, raw, value):
    frame = one(camera(f"[frame]\n{rule}"), night({"CCDSUM": "3 3"}, raw=(raw,)))
    name = rule.split(" = ")[0]
    assert getattr(frame, name) == pytest.approx(value, rel=1e-12, nan_ok=True)


def test_a_longitude_that_counts_west_is_turned_east(camera, night):
    text = '[site]\nlongitude = { keyword = "LON", unit = "west" }\nlatitude = "LAT"\nheight = 1270'
    frame = one(camera(text), night({"LON": 110.88, "LAT": "+31.68"}))
    assert frame.site == (-110.88, 31.68, 1270.0)


def test_a_site_with_a_gap_is_no_site(camera, night):
    text = '[site]\nlongitude = "LON"\nlatitude = "LAT"\nheight = 1270'
    assert one(camera(text), night({"LON": 110.88})).site is None


def test_a_value_that_is_no_number_names_file_keyword_and_what_would_be_right(camera, night):
    path = night({"EXPTIME": "long"})
    with pytest.raises(FrameError) as caught:
        one(camera('[frame]\nexptime = "EXPTIME"'), path)
    assert str(caught.value) == f"{path}: exptime cannot be read from EXPTIME = 'long'; it should be a number"


def test_a_sexagesimal_value_under_a_plain_rule_says_which_unit_to_set(camera, night):
    with pytest.raises(FrameError, match="it should be a number; for sexagesimal texts set unit = 'hms' or 'dms'"):
        one(camera('[frame]\nra = "RA"'), night({"RA": "08:18:29.9"}))


@pytest.mark.parametrize(
    ("rule", "cards", "note"),
    [
        ('gain = "X"', {"X": 0.0}, "gain unknown: X = 0.0 cannot be"),
        ('read_noise = "X"', {"X": -1}, "read noise unknown: X = -1 cannot be"),
        ('airmass = "X"', {"X": 0}, "airmass unknown: X = 0 cannot be"),
        ('dec = "X"', {"X": "99"}, "dec unknown: X = '99' cannot be"),
        ('temperature = "X"', {"X": -999}, "temperature unknown: X = -999 cannot be"),
    ],
)
def test_a_value_that_cannot_be_is_unknown_and_noted(camera, night, rule, cards, note):
    frame = one(camera(f"kinds = [{{ kind = 'other' }}]\n[frame]\n{rule}"), night(cards))
    assert math.isnan(getattr(frame, rule.split(" = ")[0]))
    assert frame.notes == (note,)


@pytest.mark.parametrize("value", [-1.0, 1e30])
def test_an_impossible_exposure_time_is_refused(camera, night, value):
    with pytest.raises(FrameError, match=r"exptime cannot be read from EXPTIME = .*; it should be from 0 to 1e\+06 s"):
        one(camera('[frame]\nexptime = "EXPTIME"'), night({"EXPTIME": value}))


JUNK = [True, False, 0, -1, 10**15, 1e300, "", "x", ",", "nan", "inf", "::", "1:2:3", "[0:1,2:1]", "T", "2020"]


@given(st.dictionaries(st.sampled_from("ABCDEFGHIJ"), st.sampled_from(JUNK), max_size=3))
@example({"B": "x", "I": 45.0})
@example({"G": 1e300})
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_header_does_worse_than_a_frame_error(camera, cards):
    stage = camera(
        """
        kinds = [{ kind = "bias", when = { A = 0, B = "x*" } }, { kind = "science", when = { C = true } }]
        [identity]
        A = ["T", 1, false]
        [frame]
        filter = { keyword = ["A", ["B", "C"]], drop = ["x"] }
        exptime = "D"
        start = { keyword = "E", time = "F" }
        mid = { keyword = "G", format = "jd" }
        ra = { keyword = "H", unit = "hms" }
        dec = { keyword = "H", unit = "dms" }
        airmass = { keyword = "I", unit = "altitude" }
        scale = { keyword = "I", times = "B" }
        gain = "D"
        trim = "J"
        [setup]
        binning = "B"
        """
    )
    header = fits.Header({"NAXIS": 2, "NAXIS1": 30, "NAXIS2": 20, **cards})
    stage.owns(header, Path("/junk.fits"))
    with suppress(FrameError):
        (frame,) = stage.from_header(header, Path("/junk.fits"))
        assert frame.shape == (20, 30)
        mjd_to_iso(frame.mid)


# --- which value counts -------------------------------------------------------------------------------------------

GAIN = """
kinds = [{ kind = "science" }]
[frame]
gain = "GAIN"
read_noise = { value = 9, keyword = "RN", source = "the manual" }
saturation = { keyword = "SAT", default = 60000, source = "a guess" }
"""


def test_the_recipe_counts_more_than_the_header_and_the_frame_says_so(camera, night):
    frame = one(camera(GAIN, gain=3.66, read_noise=4.3, saturation=4000), night({"GAIN": 4.95, "SAT": 4000}))
    assert (frame.gain, frame.read_noise, frame.saturation) == (3.66, 4.3, 4000.0)
    assert frame.notes == (
        "gain 3.66 e-/adu from the recipe; the header says 4.95",
        "read noise 4.3 e- from the recipe; the camera's definition says 9",
    )


def test_dark_current_and_scale_of_the_recipe_count_for_each_detector(camera, night):
    text = '[frame]\ndetector = "CHIP"\ndark_current = "DARK"\nscale = 0.4'
    stage = camera(text, dark_current={"a": 0.5}, scale=0.3)
    first, second = (one(stage, night({"CHIP": chip, "DARK": 2.0})) for chip in "ab")
    assert (first.dark_current, second.dark_current, first.scale) == (0.5, 2.0, 0.3)
    assert first.notes[-1] == "dark current 0.5 e-/s from the recipe; the header says 2"


def test_a_constant_counts_more_than_the_header_and_a_default_less(camera, night):
    frame = one(camera(GAIN), night({"GAIN": 4.95, "RN": 8.5}))
    assert (frame.gain, frame.read_noise, frame.saturation) == (4.95, 9.0, 60000.0)
    assert frame.notes == (
        "read noise 9 e- from the camera's definition (the manual); the header says 8.5",
        "saturation 60000 adu from the camera's definition (a guess); the header has none",
    )


def test_the_site_of_the_recipe_counts(camera, night):
    assert one(camera("", site=(-111.5, 35.1, 2206)), night()).site == (-111.5, 35.1, 2206.0)


# --- texts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cards", "text"),
    [
        ({"FILTERS": "SDSS-R  "}, "SDSS-R"),
        ({"FILTERS": "  ", "FILTER1": "OPEN", "FILTER2": " R "}, "R"),
        ({"FILTER1": "B", "FILTER2": "ND"}, "B-ND"),
        ({"FILTER1": "OPEN", "FILTER2": "OPEN"}, "OPEN"),
        ({"FILTERS": "5027"}, "5027"),
        ({"FILTERS": 5027}, "5027"),
        ({"FILTERS": 5027.0}, "5027"),
        ({"FILTERS": "h-alpha 6"}, "Ha"),
        ({"FILTERS": "unset"}, ""),
        ({}, ""),
    ],
)
def test_a_filter_is_text_found_by_falling_back_joining_and_renaming(camera, night, cards, text):
    rule = '{ keyword = ["FILTERS", ["FILTER1", "FILTER2"]], drop = ["OPEN"], unknown = ["unset"]'
    stage = camera(f'[frame]\nfilter = {rule}, values = {{ "H-ALPHA*" = "Ha" }} }}')
    assert one(stage, night(cards)).filter == text


def test_a_value_renamed_to_nothing_says_nothing(camera, night):
    values = '{ "SN-1" = "C1", r = "C2", "*" = "" }'
    stage = camera(f'[frame]\ndetector = {{ keyword = ["SERIAL", "FILTER"], default = "none", values = {values} }}')
    for cards, name in (({"SERIAL": "SN-1", "FILTER": "r"}, "C1"), ({"SERIAL": "SN-7", "FILTER": "r"}, "C2")):
        assert one(stage, night(cards)).detector == name
    assert one(stage, night({"SERIAL": "SN-7", "FILTER": "x"})).detector == "none"


def test_the_setup_holds_what_calibrations_must_share(camera, night):
    text = (
        '[setup]\nbinning = "CCDSUM"\nmirror = { keyword = "FM", values = { IN = "in", "*" = "out" }, default = "out" }'
    )
    stage = camera(text)
    assert one(stage, night({"CCDSUM": "2  2", "FM": "IN"})).setup == (("binning", "2 2"), ("mirror", "in"))
    assert one(stage, night({"CCDSUM": 2, "FM": "HOME"})).setup == (("binning", "2"), ("mirror", "out"))
    assert one(stage, night({"CCDSUM": 2})).setup == (("binning", "2"), ("mirror", "out"))


def test_a_time_that_tells_its_offset_goes_by_that(camera, night):
    stage = camera('[frame]\nstart = { keyword = "DATE-OBS", offset = -7 }')
    utc = iso_to_mjd("2017-12-20T01:33:43.317")
    for text in ("2017-12-19T18:33:43.317", "2017-12-19T18:33:43.317-0700", "2017-12-20T01:33:43.317Z"):
        assert one(stage, night({"DATE-OBS": text})).start == pytest.approx(utc, abs=1e-9), text


def test_the_definition_may_say_what_a_master_must_share(camera):
    stage = camera('[match]\nflat = ["setup", "filter", "temperature"]')
    assert stage.match("flat") == ("setup", "filter", "temperature")
    assert stage.match("bias") == ("instrument", "detector", "shape", "setup")
    stage = camera('[setup]\nbinning = "CCDSUM"\n[match]\nbias = ["shape", "setup.binning"]')
    assert stage.match("bias") == ("shape", "setup.binning")


def test_a_master_cannot_share_a_setting_that_there_is_not(camera):
    with pytest.raises(ValueError, match=r"match: frames have no 'setup\.bining'; did you mean 'setup\.binning'\?"):
        camera('[setup]\nbinning = "CCDSUM"\n[match]\nbias = ["setup.bining"]').example()


# --- times --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "cards"),
    [
        ('"DATE-OBS"', {"DATE-OBS": START}),
        ('["UT-OBS", "DATE-OBS"]', {"UT-OBS": f"{START}-0000", "DATE-OBS": "2020-01-01T20:04:05"}),
        ('"DATE-OBS"', {"DATE-OBS": "2020-01-01T20:04:05.25-0700"}),
        ('{ keyword = "DATE-OBS", offset = -7 }', {"DATE-OBS": "2020-01-01T20:04:05.25"}),
        ('{ keyword = "DATE-OBS", time = ["UTC", "UTCSTART"] }', {"DATE-OBS": "2020-01-02", "UTCSTART": "03:04:05.25"}),
        ('{ keyword = "DATE-OBS", time = "UTC" }', {"DATE-OBS": START, "UTC": "11:11:11"}),
        ('{ keyword = "JD", format = "jd" }', {"JD": iso_to_mjd(START) + 2400000.5}),
        ('{ keyword = "MJD", format = "mjd" }', {"MJD": f"{iso_to_mjd(START):.9f}"}),
    ],
)
def test_the_start_is_read_however_it_is_written(camera, night, rule, cards):
    frame = one(camera(f'[frame]\nexptime = "EXPTIME"\nstart = {rule}'), night({**cards, "EXPTIME": 60.0}))
    resolution = 5e-5 / 86400 if rule != '{ keyword = "JD", format = "jd" }' else 5e-10
    assert abs(frame.start - iso_to_mjd("2020-01-02T03:04:05.25")) < resolution
    assert abs(frame.mid - iso_to_mjd("2020-01-02T03:04:35.25")) < resolution


def test_a_time_without_fraction_is_read(camera, night):
    frame = one(camera('[frame]\nstart = "DATE-OBS"'), night({"DATE-OBS": "2020-01-02T03:04:05"}))
    assert frame.start == pytest.approx(iso_to_mjd("2020-01-02T03:04:05"), abs=1e-10)


def test_the_middle_is_read_where_the_header_has_it(camera, night):
    text = '[frame]\nexptime = "EXPTIME"\nstart = "DATE-OBS"\nmid = { keyword = "MID", format = "jd" }'
    mid = iso_to_mjd("2020-01-02T03:05:00")
    frame = one(camera(text), night({"DATE-OBS": START, "EXPTIME": 60.0, "MID": mid + 2400000.5}))
    assert abs(frame.mid - mid) < 5e-10
    assert one(camera(text), night({"DATE-OBS": START, "EXPTIME": 60.0})).mid == pytest.approx(
        iso_to_mjd("2020-01-02T03:04:35.25"), abs=1e-10
    )


def test_an_impossible_date_names_what_would_be_right(camera, night):
    path = night({"DATE-OBS": "-1561322100--1620091000"})
    with pytest.raises(FrameError) as caught:
        one(camera('[frame]\nstart = "DATE-OBS"'), path)
    assert str(caught.value) == (
        f"{path}: start cannot be read from DATE-OBS = '-1561322100--1620091000'; "
        "it should be a date of the form 2017-12-20T01:33:43.5"
    )


def test_a_date_without_a_time_is_refused(camera, night):
    path = night({"DATE-OBS": "2020-01-02"})
    with pytest.raises(FrameError, match=r"DATE-OBS = '2020-01-02' is a date without a time, .* no UTCSTART or UT$"):
        one(camera('[frame]\nstart = { keyword = "DATE-OBS", time = ["UTCSTART", "UT"] }'), path)


@pytest.mark.parametrize(
    ("cards", "missing"),
    [({"EXPTIME": 1.0}, r"no start \(DATE-OBS\)"), ({"DATE-OBS": START}, r"no exptime \(EXPTIME or ITIME\)")],
)
def test_a_science_frame_needs_start_and_exposure_and_a_bias_does_not(camera, night, cards, missing):
    text = '{}[frame]\nexptime = ["EXPTIME", "ITIME"]\nstart = "DATE-OBS"'
    path = night(cards)
    with pytest.raises(FrameError, match=missing):
        one(camera(text.format('kinds = [{ kind = "science" }]\n')), path)
    assert math.isnan(one(camera(text.format('kinds = [{ kind = "bias" }]\n')), path).mid)


# --- sections -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "cards", "section"),
    [
        ('"TRIMSEC"', {"TRIMSEC": "[3:28,2:20]"}, Section(1, 20, 2, 28)),
        ('["TRIMSEC", "TRIM01"]', {"TRIMSEC": "  ", "TRIM01": "[3:28,2:20]"}, Section(1, 20, 2, 28)),
        ('"[3:28,2:20]"', {"TRIMSEC": "[1:2,1:2]"}, Section(1, 20, 2, 28)),
        ('{ keyword = "TRIMSEC", sizes = { 30x20 = "[3:28,2:20]" } }', {}, Section(1, 20, 2, 28)),
        ('{ keyword = "TRIMSEC", sizes = { 20x30 = "[3:28,2:20]" } }', {}, Section(0, 20, 0, 30)),
    ],
)
def test_the_trimmed_area_comes_from_the_header_the_definition_or_the_size(camera, night, rule, cards, section):
    frame = one(camera(f"[frame]\ntrim = {rule}"), night(cards))
    assert frame.amplifiers[0].data == section
    assert frame.amplifiers[0].overscan is None


def test_a_section_outside_the_image_is_refused(camera, night):
    path = night({"BIASSEC": "[29:31,1:20]"})
    with pytest.raises(FrameError) as caught:
        one(camera('[frame]\noverscan = "BIASSEC"'), path)
    assert str(caught.value) == (
        f"{path}: overscan section BIASSEC = [29:31,1:20] reaches beyond the image of 30 x 20 pixels (NAXIS1 x NAXIS2)"
    )


def test_a_section_that_is_none_is_refused(camera, night):
    with pytest.raises(FrameError, match=r"TRIMSEC = 'all'; it should be a section of the form '\[x1:x2,y1:y2\]'"):
        one(camera('[frame]\ntrim = "TRIMSEC"'), night({"TRIMSEC": "all"}))


# --- whose file it is ---------------------------------------------------------------------------------------------

IDENTITY = '[identity]\nTELESCOP = ["DCT", "LDT"]\nDETECTOR = "CCD231*"\n'


@pytest.mark.parametrize(
    ("cards", "owned"),
    [
        ({"TELESCOP": " dct ", "DETECTOR": "ccd231-C6"}, True),
        ({"TELESCOP": "LDT", "DETECTOR": "CCD231"}, True),
        ({"TELESCOP": "DCTX", "DETECTOR": "CCD231"}, False),
        ({"TELESCOP": "DCT"}, False),
        ({"TELESCOP": 3, "DETECTOR": True}, False),
    ],
)
def test_a_file_belongs_to_the_camera_whose_cards_it_has(camera, cards, owned):
    assert camera(IDENTITY).owns(fits.Header(cards), Path("nowhere.fits")) is owned


def test_without_identity_any_file_belongs(camera):
    assert camera("").owns(fits.Header(), Path("nowhere.fits"))


def test_a_packed_file_is_known_by_the_header_of_its_image(camera, tmp_path):
    header = fits.Header({"TELESCOP": "DCT", "DETECTOR": "CCD231-C6"})
    path = tmp_path / "a.fits.fz"
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(np.zeros((20, 30), np.int16), header)]).writeto(path)
    assert camera(IDENTITY).owns(fits.getheader(path, 0), path)
    assert not camera('[identity]\nTELESCOP = "VLT"').owns(fits.getheader(path, 0), path)


# --- pixels -------------------------------------------------------------------------------------------------------


def test_pixels_are_raw_counts_with_flags(camera, night):
    data = np.full((20, 30), 1000, np.uint16)
    data[3, 4], data[3, 5], data[7, 8] = 60000, 59999, 0
    stage = camera("[frame]\nsaturation = 60000")
    frame = one(stage, night(data=data))
    picture = stage.read(frame)
    assert picture.data.dtype == np.float32
    assert str(picture.unit) == "adu"
    assert picture.uncertainty is None
    np.testing.assert_array_equal(picture.data, data)
    assert picture.flags.dtype == np.uint16
    assert np.argwhere(picture.flags).tolist() == [[3, 4]]
    assert picture.flags[3, 4] == Flag.SATURATED
    np.testing.assert_array_equal(picture.mask, picture.flags != 0)  # a pixel of value zero is a pixel


def test_blank_pixels_are_no_data(camera, night):
    data = np.full((20, 30), 10.0, np.float32)
    data[2, 3], data[5, 6], data[5, 7] = np.nan, 70000, np.inf
    stage = camera("[frame]\nsaturation = 60000")
    picture = stage.read(one(stage, night(data=data)))
    assert {(y, x): int(picture.flags[y, x]) for y, x in np.argwhere(picture.flags).tolist()} == {
        (2, 3): Flag.NO_DATA,
        (5, 6): Flag.SATURATED,
        (5, 7): Flag.SATURATED,
    }
    unknown = stage.read(one(stage, night(data=data)).replace(saturation=math.nan))
    assert np.argwhere(unknown.flags & Flag.NO_DATA).tolist() == [[2, 3]]


def test_a_region_is_read_alone(camera, night):
    data = np.arange(600, dtype=np.uint16).reshape(20, 30)
    stage = camera("[frame]\nsaturation = 160")
    picture = stage.read(one(stage, night(data=data)), Section(4, 7, 5, 12))
    np.testing.assert_array_equal(picture.data, data[4:7, 5:12])
    np.testing.assert_array_equal(picture.mask, data[4:7, 5:12] >= 160)


# --- the definition file ------------------------------------------------------------------------------------------

WRONG = """
name = "wrong"
colour = "x"
hdu = "second"
kinds = [{ kind = "sience", when = { OBSTYPE = "OBJECT" } }]
[identity]
telescop = "x"
[frame]
filtre = "FILTER"
exptime = { keyword = "exptime", unti = "s" }
trim = "[1:0,1:5]"
ra = { keyword = "RA", unit = "hours" }
[match]
flat = ["filtr"]
[example]
NAXIS1 = 10
"""


NO_KEYWORD = (
    "is no FITS keyword (at most eight capitals, digits, '-' and '_') and none of the facts file, folder, size, hdu, "
    "part, detector, kind, filter"
)


def test_everything_that_is_wrong_with_a_definition_is_told_at_once(tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_text(WRONG)
    with pytest.raises(ValueError) as caught:
        load_definition(path)
    first, *problems = str(caught.value).splitlines()
    assert first == f"the camera definition {path} has {len(problems)} problems:"
    assert sorted(line.strip() for line in problems) == sorted(
        [
            "colour: there is no such key; "
            "keys here are name, hdu, identity, kinds, parts, amplifiers, simultaneous, frame, placeholders, site, "
            "telescope, setup, spared, match, example, example_hdus, more_examples",
            "hdu: should be 'first', 'each' or a number from 0, not 'second'",
            f"identity.telescop: 'telescop' {NO_KEYWORD}",
            "kinds.1.kind: 'sience' is no kind of frame; did you mean 'science'?; "
            "kinds are science, bias, dark, flat, sky, other, unknown",
            "frame.filtre: there is no such key; did you mean 'filter'?; keys here are detector, exposure, filter, "
            "target, exptime, start, mid, end, ra, dec, airmass, temperature, scale, gain, read_noise, saturation, "
            "linearity, dark_current, trim, overscan",
            f"frame.exptime.keyword.1: 'exptime' {NO_KEYWORD}",
            "frame.exptime.unti: there is no such key; did you mean 'unit'?; "
            "keys here are keyword, value, default, cases, unit, times, pattern, unknown, source, certainty",
            "frame.trim.value: section rows 0:5, columns 0:0 is empty or outside the image; "
            "it needs 0 <= start < stop on both axes",
            "frame.ra.unit: input should be '', 'hms', 'dms', 'west', 'K', 'altitude', 'adu', 'ms', 'us' or 'min', "
            "not 'hours'",
            "match: frames have no 'filtr'; did you mean 'filter'?",
            "example: NAXIS2 missing; give the size of the raw image",
        ]
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [("name = ", "is no TOML: "), (None, "cannot be read: No such file or directory"), ("", "has 2 problems:")],
)
def test_a_definition_that_cannot_be_read_is_named(tmp_path, content, message):
    path = tmp_path / "cam.toml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        load_definition(path)
    assert str(caught.value).startswith(f"the camera definition {path}")


def test_a_changed_definition_is_read_again_and_changes_the_fingerprint(camera):
    stage = camera("[frame]\ngain = 1.0")
    before = stage.fingerprint()
    other = camera("[frame]\ngain = 2.0 # another")
    assert other.example().gain == 2.0
    assert other.fingerprint() != before


def test_a_subclass_names_a_file_beside_its_module(tmp_path, monkeypatch):
    (tmp_path / "mycam.toml").write_text(f'name = "mine"\n{EXAMPLE}')
    (tmp_path / "mycam_module.py").write_text(
        "from albireo import DeclarativeInstrument\n"
        "class MyCam(DeclarativeInstrument, name='mycam'):\n"
        "    '''Mine.'''\n"
        "    definition = 'mycam.toml'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    from mycam_module import MyCam  # type: ignore[import-not-found]

    class Variation(MyCam, name="variation"):  # type: ignore[misc]
        """A subclass of a plugin's camera finds the plugin's table."""

    assert MyCam().example().instrument == "mine"
    assert Variation().example().shape == (20, 30)
