"""What a header says: frames, sections and dates."""

import json
import math
import pickle
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st

from albireo import Amplifier, Frame, Frames, Section, iso_to_mjd, mjd_to_iso

NAN = math.nan
CALM = settings(deadline=None, max_examples=60)
# --- sections ---------------------------------------------------------------------------------------------------------

edges = st.tuples(st.integers(0, 5000), st.integers(1, 5000)).map(lambda t: (t[0], t[0] + t[1]))
sections = st.builds(lambda y, x: Section(*y, *x), edges, edges)


@CALM
@given(sections)
def test_a_section_comes_back_from_its_fits_form(section):
    assert Section.from_fits(section.to_fits()) == section


def test_fits_sections_are_one_based_inclusive_and_x_first():
    section = Section.from_fits("[27:3095,3:3078]")
    assert section == Section(y0=2, y1=3078, x0=26, x1=3095)
    assert section.shape == (3076, 3069)
    assert Section.from_fits("  [ 1 : 1 , 2 : 3 ] ") == Section(1, 3, 0, 1)
    assert section.within((3078, 3095))
    assert not section.within((3077, 3095))
    assert not section.within((3078, 3094))


@CALM
@given(sections, st.data())
def test_a_part_of_a_part_is_cut_like_the_array(outer, data):
    outer = Section(outer.y0 % 50, outer.y0 % 50 + 1 + outer.shape[0] % 40, outer.x0 % 50, outer.x0 % 50 + 1 + 39)
    y0, x0 = data.draw(st.integers(0, outer.shape[0] - 1)), data.draw(st.integers(0, outer.shape[1] - 1))
    y1 = data.draw(st.integers(y0 + 1, outer.shape[0]))
    inner = Section(y0, y1, x0, outer.shape[1])
    pixels = np.arange(100 * 100).reshape(100, 100)
    np.testing.assert_array_equal(pixels[outer.slices][inner.slices], pixels[outer.part(inner).slices])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1:10]", "'[1:10]' is not a FITS section; expected the form '[x1:x2,y1:y2]'"),
        ("1:10,1:10", "'1:10,1:10' is not a FITS section; expected the form '[x1:x2,y1:y2]'"),
        (
            "[10:1,1:5]",
            "section rows 0:5, columns 9:1 is empty or outside the image; it needs 0 <= start < stop on both axes",
        ),
        (
            "[0:4,1:5]",
            "section rows 0:5, columns -1:4 is empty or outside the image; it needs 0 <= start < stop on both axes",
        ),
    ],
)
def test_what_is_wrong_with_a_section_is_said(text, message):
    with pytest.raises(ValueError) as caught:
        Section.from_fits(text)
    assert str(caught.value) == message


# --- frames -----------------------------------------------------------------------------------------------------------

numbers = st.floats(allow_nan=True, allow_infinity=True)
texts = st.text(max_size=12)
amplifiers = st.builds(Amplifier, sections, st.none() | sections, numbers, numbers, texts)
frames = st.builds(
    Frame,
    path=st.text(min_size=1, max_size=12),
    hdu=st.integers(0, 9),
    detector=texts,
    kind=st.sampled_from(["science", "bias", "dark", "flat", "other", "unknown"]),
    filter=texts,
    exptime=numbers,
    start=numbers,
    ra=numbers,
    shape=st.tuples(st.integers(0, 9999), st.integers(0, 9999)),
    amplifiers=st.lists(amplifiers, max_size=3).map(tuple),
    site=st.none() | st.tuples(numbers, numbers, numbers),
    setup=st.lists(st.tuples(texts, texts), max_size=3).map(tuple),
    name=texts,
    notes=st.lists(texts, max_size=2).map(tuple),
)


@CALM
@given(frames)
def test_a_frame_survives_json_and_pickle(frame):
    # repr, because one NaN in a frame makes it unequal to its own copy.
    assert repr(Frame.from_dict(json.loads(json.dumps(frame.to_dict())))) == repr(frame)
    assert repr(pickle.loads(pickle.dumps(frame))) == repr(frame)


def test_a_frame_is_named_by_its_path_unless_it_has_a_name():
    assert Frame("a.fits").name == "a.fits"
    assert Frame("a.fits", name="b").name == "b"


def test_gain_and_read_noise_are_those_of_the_first_amplifier():
    section = Section(0, 1, 0, 1)
    frame = Frame("a.fits", amplifiers=(Amplifier(section, gain=1.5, read_noise=5.0), Amplifier(section, gain=2.0)))
    assert (frame.gain, frame.read_noise) == (1.5, 5.0)
    assert math.isnan(Frame("a.fits").gain)
    assert math.isnan(Frame("a.fits").read_noise)


def test_a_pointing_is_known_only_with_both_coordinates():
    assert Frame("a", ra=0.0, dec=0.0).has_position
    assert not Frame("a", ra=10.0).has_position
    assert not Frame("a", ra=math.inf, dec=1.0).has_position


def test_a_fact_is_an_attribute_or_one_setting():
    frame = Frame("a", filter="r", setup=(("binning", "2x2"), ("mode", "fast")))
    assert frame.fact("filter") == "r"
    assert frame.fact("setup.mode") == "fast"
    assert frame.fact("setup.gain") == ""
    with pytest.raises(AttributeError):
        frame.fact("colour")
    assert list(Frames([frame, frame.replace(setup=(("binning", "2x2"),))]).by("setup.binning")) == [("2x2",)]


def test_a_kind_that_does_not_exist_is_refused():
    with pytest.raises(ValueError) as caught:
        Frame("a.fits", kind="moon")
    assert str(caught.value) == "frame kind 'moon' is none of science, bias, dark, flat, sky, other, unknown"


# --- collections ------------------------------------------------------------------------------------------------------

NIGHT = Frames(
    [
        Frame("f1", kind="flat", filter="r", exptime=2.0, setup=(("binning", "1x1"),), shape=(4, 5)),
        Frame("f2", kind="flat", filter="V", exptime=3.0, setup=(("binning", "2x2"),), shape=(2, 5)),
        Frame("s1", kind="science", filter="r", exptime=60.0, target="WASP-12"),
        Frame("s2", kind="science", filter="", exptime=float("nan"), target="WASP-12"),
        Frame("u1", exptime=NAN),
    ]
)


def names(some):
    return [frame.name for frame in some]


def test_where_takes_values_collections_and_functions():
    assert names(NIGHT.where(kind="flat")) == ["f1", "f2"]
    assert names(NIGHT.where(kind="flat", filter="r")) == ["f1"]
    assert names(NIGHT.where(filter=["V", "r"])) == ["f1", "f2", "s1"]
    assert names(NIGHT.where(filter={""})) == ["s2", "u1"]
    assert names(NIGHT.where(exptime=lambda t: t > 2.5)) == ["f2", "s1"]
    assert names(NIGHT.where(kind="bias")) == []


def test_where_compares_a_tuple_as_a_value_and_as_one_of_several():
    assert names(NIGHT.where(setup=(("binning", "1x1"),))) == ["f1"]
    assert names(NIGHT.where(setup=())) == ["s1", "s2", "u1"]
    assert names(NIGHT.where(shape=(4, 5))) == ["f1"]
    assert names(NIGHT.where(shape=[(4, 5), (2, 5)])) == ["f1", "f2"]


def test_where_finds_no_frame_by_an_unknown_value():
    assert names(NIGHT.where(exptime=NAN)) == []
    assert names(NIGHT.where(exptime=[NAN])) == []
    assert names(NIGHT.where(exptime=math.isnan)) == ["s2", "u1"]


def test_where_knows_the_attributes_of_frames():
    with pytest.raises(AttributeError, match="colour"):
        NIGHT.where(colour="r")


def test_by_groups_in_order_of_first_appearance():
    groups = NIGHT.by("kind", "filter")
    assert list(groups) == [("flat", "r"), ("flat", "V"), ("science", "r"), ("science", ""), ("unknown", "")]
    assert names(NIGHT.by("kind")["science",]) == ["s1", "s2"]


def test_by_puts_unknown_values_into_one_group_wherever_they_come_from():
    again = Frames(Frame.from_dict(json.loads(json.dumps(frame.to_dict()))) for frame in NIGHT)
    for night in (NIGHT, again, NIGHT + again):
        unknown = [group for (exptime,), group in night.by("exptime").items() if math.isnan(exptime)]
        assert [set(names(group)) for group in unknown] == [{"s2", "u1"}]


def test_sorted_puts_unknown_values_last_and_orders_equal_frames_by_name():
    assert names(NIGHT.sorted("exptime")) == ["f1", "f2", "s1", "s2", "u1"]
    assert names(Frames(reversed(list(NIGHT))).sorted("exptime")) == ["f1", "f2", "s1", "s2", "u1"]
    assert names(NIGHT.sorted("kind", "exptime")) == ["f1", "f2", "s1", "s2", "u1"]
    assert names(Frames(reversed(list(NIGHT))).sorted()) == ["f1", "f2", "s1", "s2", "u1"]


def test_a_collection_behaves_like_a_sequence():
    assert len(NIGHT) == 5
    assert NIGHT[0] in NIGHT
    assert Frame("x") not in NIGHT
    assert NIGHT[-1].name == "u1"
    assert names(NIGHT[1:3]) == ["f2", "s1"]
    assert isinstance(NIGHT[1:3], Frames)
    assert names(NIGHT[:1] + NIGHT[3:4]) == ["f1", "s2"]
    assert NIGHT.values("filter") == ["r", "V", "r", "", ""]
    assert repr(NIGHT) == "<Frames: 2 flat, 2 science, 1 unknown>"
    assert repr(Frames()) == "<Frames: none>"


# --- dates ------------------------------------------------------------------------------------------------------------

moments = st.datetimes(datetime(1973, 1, 1), datetime(2030, 1, 1))
offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MICROSECONDS = 2e-6 / 86400
"""Twice the resolution of a double at today's dates."""
# On a day with a leap second, 86401 s long, astropy stretches the modified Julian date; ours counts on.
LEAP_DAYS = {(y, 12, 31) for y in (1972, 1973, 1974, 1975, 1976, 1977, 1978, 1979, 1987, 1989, 1990, 1995, 1998, 2005)}
LEAP_DAYS |= {(y, 12, 31) for y in (2008, 2016)}
LEAP_DAYS |= {(y, 6, 30) for y in (1981, 1982, 1983, 1985, 1992, 1993, 1994, 1997, 2012, 2015)}


@pytest.mark.filterwarnings("ignore:ERFA function")  # years for which no leap second is decided yet
@CALM
@given(moments, st.sampled_from("T "))
def test_a_date_is_what_astropy_makes_of_it(moment, separator):
    if (moment.year, moment.month, moment.day) in LEAP_DAYS:
        return
    text = moment.isoformat(sep=separator)
    assert iso_to_mjd(text) == pytest.approx(Time(moment.isoformat(), scale="utc").mjd, abs=MICROSECONDS, rel=0)


@CALM
@given(moments, offsets)
def test_an_offset_is_taken_off(moment, offset):
    local = moment.replace(tzinfo=UTC).astimezone(offset)
    expected = iso_to_mjd(moment.isoformat())
    assert iso_to_mjd(local.isoformat()) == pytest.approx(expected, abs=MICROSECONDS, rel=0)
    assert iso_to_mjd(local.strftime("%Y-%m-%d %H:%M:%S.%f%z")) == pytest.approx(expected, abs=MICROSECONDS, rel=0)


@CALM
@given(moments)
def test_a_date_comes_back_to_the_millisecond(moment):
    mjd = iso_to_mjd(moment.isoformat())
    assert iso_to_mjd(mjd_to_iso(mjd)) == pytest.approx(mjd, abs=0.6e-3 / 86400, rel=0)
    assert len(mjd_to_iso(mjd)) == len("2017-12-20T01:33:43.500")


def test_dates_as_cameras_write_them():
    expected = 58107 + (1 * 3600 + 33 * 60 + 43.5) / 86400
    for text in (
        "2017-12-20T01:33:43.5",
        "2017-12-20 01:33:43.500",
        " 2017-12-20T01:33:43.5Z ",
        "2017-12-19T18:33:43.5-0700",
        "2017-12-19T18:33:43.5-07:00",
    ):
        assert iso_to_mjd(text) == pytest.approx(expected, abs=MICROSECONDS, rel=0), text
    assert iso_to_mjd("2017-12-20") == 58107.0
    assert iso_to_mjd("1858-11-17") == 0.0


def test_a_leap_second_runs_into_the_next_day():
    assert iso_to_mjd("2016-12-31T23:59:60") == 57754.0
    assert iso_to_mjd("2016-12-31 23:59:60.5Z") == pytest.approx(57754.0 + 0.5 / 86400, abs=MICROSECONDS, rel=0)
    # A clock that rounds up in the middle of an hour.
    assert iso_to_mjd("2017-12-20T01:33:60") == iso_to_mjd("2017-12-20T01:34:00")


@pytest.mark.parametrize(
    "text", ["", "  ", "UNKNOWN", "20/12/2017", "2017-13-01", "2017-12-20T01:60:00", "2017-12-20T60:00:00"]
)
def test_what_is_no_date_is_refused(text):
    with pytest.raises(ValueError) as caught:
        iso_to_mjd(text)
    assert str(caught.value) == f"{text!r} is not a date of the form 2017-12-20T01:33:43.5"


def test_times_that_no_calendar_holds_are_blank():
    assert [mjd_to_iso(mjd) for mjd in (NAN, math.inf, 1e9, -1e9)] == [""] * 4
    assert mjd_to_iso(57754.0 - 0.0004 / 86400) == "2017-01-01T00:00:00.000"


def test_frames_with_unknown_numbers_are_equal():
    # Two NaN that are different objects, as they come from two headers.
    first = Frame("a.fits", exptime=float("nan"), amplifiers=(Amplifier(Section(0, 2, 0, 2), gain=float("nan")),))
    second = Frame("a.fits", exptime=float("nan"), amplifiers=(Amplifier(Section(0, 2, 0, 2), gain=float("nan")),))
    assert first == second
    assert hash(first) == hash(second)
    assert first != second.replace(exptime=3.0)
    assert first in Frames([second])
