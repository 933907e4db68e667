"""OPTICAM: what its headers say, the ways they vary, and the mistakes earlier software made with them."""

from __future__ import annotations

import gzip
import os
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from albireo import Flag, FrameError, Frames, iso_to_mjd
from albireo.testing import simulate_observation
from albireo.testing.conformance import certify
from albireo_opticam import OPTICAM, instruments

DATA = Path(os.environ.get("ALBIREO_DATA", Path(__file__).resolve().parents[3].parent / "shared" / "data"))
HEADERS = [DATA / "headers" / f"opticam_{camera}_object.hdr" for camera in ("C1", "C2", "C3")]
TRIPLET = [DATA / "opticam" / f"get_last_c{number}.fit.fz" for number in (1, 2, 3)]

needs_headers = pytest.mark.skipif(not all(p.exists() for p in HEADERS), reason=f"no headers of OPTICAM in {DATA}")
needs_triplet = pytest.mark.skipif(not all(p.exists() for p in TRIPLET), reason=f"there is no set opticam in {DATA}")

CARDS = {
    "INSTRUME": "OPTICAM ",
    "SERIALN": "VSC-05535",
    "FILTER": "g       ",
    "IMGTYPE": "object  ",
    "OBJECT": "        ",
    "EXPOSURE": 5.0,
    "EXPCOAD": 1,
    "GAIN": 1.0,
    "DARKCURR": 0.0986,
    "SATLEVEL": 32302,
    "CCDTEMP": -0.44,
    "CCDMODE": "000 MHz ",
    "CCDXBIN": 2,
    "CCDYBIN": 2,
    "BINNING": "2x2     ",
    "FILENAME": "231122g200143431o.fit",
    "UT": "2023-11-22 03:02:49.000 ",
    "DATE-OBS": "2023-11-22",
    "UTMIDDLE": "00:00:00.0000",
    "JD": 0.0,
    "RA": "0       ",
    "DEC": "31      ",
    "AIRMASS": 1.1669904966293,
    "INITTIME": "        ",
    "CREATOR": "MUFFIN",
}
START = "2023-11-22T03:02:49.000"
POINTED = {"RA": "19:30:43.28", "DEC": "+27:57:34.8", "OBJECT": "Albireo"}


@pytest.fixture
def opticam():
    return OPTICAM()


def header(shape=(1024, 1024), **changes):
    cards = {"NAXIS": 2, "NAXIS1": shape[1], "NAXIS2": shape[0], **CARDS, **changes}
    return fits.Header({key: value for key, value in cards.items() if value is not None})


def understood(stage, name="231122g200143431o.fit", folder="night", **changes):
    return stage.from_header(header(**changes), Path("/data", folder, name))[0]


def with_size(cards, frame):
    cards = cards.copy()
    cards["NAXIS1"], cards["NAXIS2"] = frame.shape[1], frame.shape[0]
    return cards


def said(frame, words):
    """The notes of a frame that hold some words."""
    return [note for note in frame.notes if words in note]


# --- whose file it is, and which camera -------------------------------------------------------------------------------


def test_the_plugin_offers_one_camera_that_keeps_all_promises(opticam):
    assert [camera.name for camera in instruments()] == ["opticam"]
    report = certify(opticam)
    assert report.passed, str(report)


def test_only_its_own_files_are_owned(opticam):
    assert opticam.owns(header(), Path("a.fit"))
    for other in ("MEXMAN", "OPTICAM2", "", None):
        assert not opticam.owns(header(INSTRUME=other), Path("a.fit"))


@pytest.mark.parametrize(
    ("serial", "filter", "folder", "camera"),
    [
        ("VSC-05535", "g", "night", "C1"),
        ("VSC-05530", "", "night", "C2"),  # the serial number alone
        ("vsc-05522 ", "H-alpha", "night", "C3"),
        ("VSC-05522", "g", "night", "C3"),  # it counts more than the filter
        (None, "u'", "night", "C1"),
        ("", "G", "night", "C1"),
        (None, "r'", "night", "C2"),
        ("VSC-99999", "i", "night", "C3"),
        (None, "Z", "night", "C3"),
        (None, "H-alpha", "20231122_c2", "C2"),
        (None, "", "run/C3", "C3"),
        (None, "H-alpha", "night", "unknown"),
        (None, None, "night", "unknown"),
        (7, 3.5, "night", "unknown"),
    ],
)
def test_the_camera_comes_from_the_serial_number_else_the_filter_else_the_folder(
    opticam, serial, filter, folder, camera
):
    assert understood(opticam, SERIALN=serial, FILTER=filter, folder=folder).detector == camera


def test_a_camera_that_was_guessed_is_noted():
    stage = OPTICAM()
    assert understood(stage, SERIALN="VSC-1", FILTER="r").notes[-3] == (
        "camera C2 by its filter alone, as SERIALN = 'VSC-1' is not known: "
        'give cameras = { "VSC-1" = "C1" }, or C2, C3, under [instrument]'
    )
    assert said(understood(stage, SERIALN="", FILTER="", folder="n_c3"), "camera C3 by its folder alone")
    assert said(understood(stage, SERIALN="", FILTER="x"), "camera unknown by SERIALN = '', FILTER = 'x' and folder")
    assert said(understood(stage, SERIALN="VSC-05535", FILTER="z"), "filter z belongs to camera C3, but SERIALN")
    assert not [note for note in understood(stage).notes if note.startswith(("camera", "filter"))]


def test_serial_numbers_of_other_years_are_given_by_the_recipe():
    stage = OPTICAM(cameras={"VSC-1": "C2", "VSC-05535": "C3"})
    for serial, camera in (("VSC-1", "C2"), ("VSC-05535", "C3"), ("VSC-05530", "C2")):
        frame = understood(stage, SERIALN=serial)
        assert frame.detector == camera
        assert not said(frame, "is not known")
    assert stage.fingerprint() != OPTICAM().fingerprint()


@pytest.mark.parametrize(
    "filters", [("r", "i"), ("u'", "g'", "r'"), ("clear",), ("u", "g", "r", "i", "z", "H-alpha", "")]
)
def test_any_number_and_any_names_of_filters_will_do(opticam, filters):
    frames = Frames(understood(opticam, FILTER=filter, SERIALN=None) for filter in filters)
    assert frames.values("filter") == list(filters)
    assert len(frames.by("filter")) == len(filters)


# --- kinds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"IMGTYPE": "object"}, "science"),
        ({"IMGTYPE": "OBJECT  "}, "science"),
        ({"IMGTYPE": "Flat"}, "flat"),
        ({"IMGTYPE": "flat", "folder": "darks"}, "flat"),
        ({"IMGTYPE": "bias", "EXPOSURE": 0.0}, "bias"),
        ({"IMGTYPE": "dark"}, "dark"),
        ({"IMGTYPE": "other"}, "other"),
        ({"IMGTYPE": "object", "folder": "flats"}, "flat"),
        ({"IMGTYPE": "object", "folder": "FLAT_c1"}, "flat"),
        ({"IMGTYPE": "other", "folder": "bias", "EXPOSURE": 0.0}, "bias"),
        ({"IMGTYPE": "object", "folder": "dark-5s"}, "dark"),
        ({"IMGTYPE": "object", "folder": "darkcloud"}, "science"),
        ({"IMGTYPE": "object", "folder": "flatland"}, "science"),
        ({"IMGTYPE": None}, "science"),  # by the letter of FILENAME
        ({"IMGTYPE": "", "FILENAME": None}, "science"),  # by that of the file
        ({"IMGTYPE": None, "FILENAME": "231122g200143431x.fit"}, "science"),
        ({"IMGTYPE": None, "FILENAME": None, "name": "a.fits"}, "unknown"),
        ({"IMGTYPE": "focus"}, "unknown"),
        ({"IMGTYPE": 3}, "unknown"),
    ],
)
def test_kinds(opticam, changes, kind):
    assert understood(opticam, **changes).kind == kind


def test_a_kind_that_did_not_come_from_imgtype_is_noted(opticam):
    assert said(understood(opticam, folder="flats"), "flat by its folder 'flats'; the header says IMGTYPE = 'object'")
    assert said(understood(opticam, IMGTYPE="other", EXPOSURE=0.0), "if it is a bias, say so by kinds")


def test_the_recipe_names_the_kind_where_the_operator_did_not():
    stage = OPTICAM(kinds={"231122g2002*": "flat", "*/focus/*": "other", "*test*": "science"})
    frame = understood(stage, name="231122g200243431o.fit")
    assert frame.kind == "flat"
    assert said(frame, "flat by the recipe (231122g2002*); the header says IMGTYPE = 'object'")
    assert understood(stage, folder="focus").kind == "other"
    assert understood(stage).kind == "science"
    frame = understood(stage, name="test.fit", IMGTYPE="nonsense")
    assert frame.kind == "science"
    assert not said(frame, "kind unknown")
    with pytest.raises(FrameError, match="the recipe makes it a science frame, but its start"):
        understood(stage, name="test.fit", IMGTYPE="other", EXPOSURE=None)


# --- times ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "start"),
    [
        ({}, START),
        ({"UT": "2023-11-22 03:02:49.250 "}, "2023-11-22T03:02:49.250"),
        ({"UT": "2023-11-22T03:02:49"}, START),
        ({"UT": "03:02:49.000 "}, START),
        ({"UT": " 03:02:49.5", "DATE-OBS": "2023-11-22 "}, "2023-11-22T03:02:49.5"),
        ({"GPSTIME": "2023-11-22 03:02:50.123 UTC"}, "2023-11-22T03:02:50.123"),
        ({"GPSTIME": "2023-11-22 03:02:50.123456789 UTC-7 ok"}, "2023-11-22T03:02:50.123456"),
        ({"GPSTIME": "2023-11-22T03:02:50"}, "2023-11-22T03:02:50"),
        ({"GPSTIME": "no signal"}, START),
        ({"GPSTIME": ""}, START),
        ({"GPSTIME": "0000-00-00 00:00:00"}, START),
        ({"GPSTIME": "2023-11-22 03:02:50 UTC", "UT": None, "DATE-OBS": None}, "2023-11-22T03:02:50"),
        ({"UT": "2023-11-21 23:59:60.5"}, "2023-11-22T00:00:00.5"),
    ],
)
def test_the_start_however_it_is_written_and_the_middle_half_an_exposure_later(opticam, changes, start):
    frame = understood(opticam, **changes)
    assert abs(frame.start - iso_to_mjd(start)) < 2e-11
    assert abs(frame.mid - frame.start - 2.5 / 86400) < 1e-10


def test_the_day_comes_from_date_obs_and_the_digits_of_the_name_are_no_time(opticam):
    frame = understood(opticam, **{"UT": "03:02:49", "DATE-OBS": "2023-11-23", "FILENAME": "231122g999999999o.fit"})
    assert abs(frame.start - iso_to_mjd("2023-11-23T03:02:49")) < 1e-10


@pytest.mark.parametrize("missing", [{"UT": None}, {"UT": "?"}, {"UT": None, "DATE-OBS": None}, {"EXPOSURE": None}])
def test_a_science_frame_without_a_time_is_refused(opticam, missing):
    with pytest.raises(FrameError, match=r"/data/night/231122g200143431o\.fit"):
        understood(opticam, **missing)


def test_a_zone_that_is_not_utc_and_a_clock_without_gps_are_noted(opticam):
    assert said(understood(opticam), "the start is in whole seconds and not by GPS (UT)")
    assert not said(understood(opticam, UT="2023-11-22 03:02:49.250"), "GPS")
    good = understood(opticam, GPSTIME="2023-11-22 03:02:49.000 UTC")
    assert not said(good, "GPS")
    assert said(understood(opticam, GPSTIME="2023-11-21 19:02:49.0 PST"), "taken as UTC whatever 'PST' means")


def test_a_clock_that_is_known_to_be_off_is_put_right_and_back():
    stage = OPTICAM(clock=-66.0)
    frame = understood(stage)
    assert abs(frame.start - iso_to_mjd("2023-11-22T03:01:43")) < 1e-10
    assert abs(frame.mid - frame.start - 2.5 / 86400) < 1e-10
    assert said(frame, "times moved by -66 s")
    assert stage.header(frame)["UT"].strip() == "2023-11-22 03:02:49.000"


# --- where it pointed -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"OBJECT": "WASP-12"},
        {"OBJECT": "WASP-12", "DEC": "0"},
        {"OBJECT": "WASP-12", "RA": 0, "DEC": 31.0},
        {"OBJECT": "WASP-12", "RA": "00:00:00.0", "DEC": "+31:00:00.0"},
        POINTED | {"OBJECT": "   "},
        POINTED | {"RA": None},
        POINTED | {"RA": "unknown", "DEC": "unknown"},
    ],
)
def test_placeholders_are_no_position_and_give_no_airmass(opticam, changes):
    frame = understood(opticam, **changes)
    assert not frame.has_position
    assert np.isnan(frame.airmass)  # and neither 0 nor the 1.167 of the header
    assert frame.kind == "science"
    assert frame.start == iso_to_mjd(START)
    if changes.get("RA", "0") not in (None, "unknown"):
        assert said(frame, "give ra and dec in a [[targets]] table of the recipe")


def test_a_real_position_counts_and_the_airmass_follows_from_it_and_not_from_the_card(opticam):
    from astropy import units as u
    from astropy.coordinates import AltAz, EarthLocation, SkyCoord
    from astropy.time import Time
    from astropy.utils import iers

    for ra, dec in (("22:30:00", "+10:00:00"), ("01:00:00", "-20:30:00"), ("19:30:43.28", "+27:57:34.8")):
        frame = understood(opticam, RA=ra, DEC=dec, OBJECT="field")
        place = EarthLocation.from_geodetic(frame.site[0] * u.deg, frame.site[1] * u.deg, frame.site[2] * u.m)
        sky = SkyCoord(ra, dec, unit=(u.hourangle, u.deg))
        with iers.conf.set_temp("auto_download", False), iers.conf.set_temp("iers_degraded_accuracy", "warn"):
            altitude = sky.transform_to(AltAz(obstime=Time(frame.mid, format="mjd"), location=place)).alt.deg
        assert abs(frame.ra - sky.ra.deg) < 1e-9
        assert abs(frame.dec - sky.dec.deg) < 1e-9
        # Plane-parallel; Young's formula is lower by 0.4 % at an airmass of 3. The rest is 24 years of precession.
        assert frame.airmass == pytest.approx(1 / np.sin(np.radians(altitude)), rel=0.02)


def test_decimal_hours_are_hours(opticam):
    assert understood(opticam, OBJECT="x", RA="19.5", DEC="28").ra == 292.5


def test_a_field_below_the_horizon_has_no_airmass(opticam):
    assert np.isnan(understood(opticam, RA="10:00:00", DEC="-60:00:00", OBJECT="x").airmass)


# --- constants --------------------------------------------------------------------------------------------------------


def test_the_nominal_gain_is_used_and_flagged_until_a_measured_one_is_given(opticam):
    frame = understood(opticam)
    assert frame.gain == 1.0
    assert said(frame, "gain 1 e-/adu is nominal (GAIN)")
    assert understood(opticam, GAIN=None).gain == 1.0
    assert not said(understood(opticam, GAIN=0.46), "nominal (GAIN)")
    measured = understood(OPTICAM(gain={"C1": 0.3}))
    assert measured.gain == 0.3
    assert not said(measured, "nominal (GAIN)")
    assert said(measured, "gain 0.3 e-/adu from the recipe; the header says 1")
    assert said(understood(OPTICAM(gain={"C2": 0.3})), "nominal (GAIN)")


@pytest.mark.parametrize(
    ("cards", "binning"),
    [
        ({"CCDXBIN": 1, "CCDYBIN": 1, "BINNING": "1x1"}, (1, 1)),
        ({}, (2, 2)),
        ({"CCDXBIN": 4, "CCDYBIN": 4, "BINNING": "4x4"}, (4, 4)),
        ({"CCDXBIN": 10, "CCDYBIN": 10, "BINNING": "10x10"}, (10, 10)),
        ({"CCDXBIN": None, "CCDYBIN": None, "BINNING": "10x10"}, (10, 10)),
        ({"CCDXBIN": 2, "CCDYBIN": 8, "BINNING": "2x8"}, (2, 8)),
        ({"CCDXBIN": None, "CCDYBIN": None, "BINNING": "2x8"}, (2, 8)),
        ({"CCDXBIN": 2, "CCDYBIN": 8, "BINNING": None}, (2, 8)),
    ],
)
def test_noise_grows_with_the_root_of_the_binned_area_and_dark_current_with_the_area(opticam, cards, binning):
    area = binning[0] * binning[1]
    frame = understood(opticam, **cards)
    assert frame.read_noise == pytest.approx(1.1 * area**0.5)
    assert frame.dark_current == pytest.approx(0.0986 * area)
    assert frame.scale == pytest.approx(0.1397 * area**0.5)
    assert dict(frame.setup)["binning"] == f"{binning[0]}x{binning[1]}"


@pytest.mark.parametrize(("camera", "scale"), [("C1", 0.2794), ("C2", 0.2980), ("C3", 0.3322)])
def test_each_camera_has_its_scale_and_that_of_c2_is_what_the_stars_say(opticam, camera, scale):
    (example,) = (frame for frame in opticam.examples() if frame.detector == camera)
    assert example.scale == pytest.approx(scale, abs=1e-4)
    if camera == "C2":
        assert example.scale / 0.2794 == pytest.approx(1.066, abs=0.001)  # published: 1.006


def test_constants_of_the_recipe_count_and_are_those_of_the_binned_pixel():
    frame = understood(OPTICAM(read_noise=3.0, dark_current=0.5, scale={"C1": 0.28}, saturation=30000))
    assert (frame.read_noise, frame.dark_current, frame.scale, frame.saturation) == (3.0, 0.5, 0.28, 30000)


def test_what_a_frame_of_several_exposures_holds_must_be_said(opticam):
    with pytest.raises(FrameError, match=r"made of 4 exposures \(EXPCOAD\)"):
        understood(opticam, EXPCOAD=4)
    single = understood(opticam)
    for how, gain, saturation in (("sum", 1.0, 4 * 32302), ("mean", 4.0, 32302)):
        frame = understood(OPTICAM(coadds=how), EXPCOAD=4)
        assert frame.exptime == 20.0
        assert abs(frame.mid - frame.start - 10.0 / 86400) < 1e-10
        assert (frame.gain, frame.saturation) == (gain, saturation)
        assert frame.read_noise == 2.0 * single.read_noise
        assert frame.setup != single.setup
    assert understood(opticam, EXPCOAD=0).exptime == 5.0
    for odd in ("many", 1.5, -1):
        with pytest.raises(FrameError, match="EXPCOAD"):
            understood(opticam, EXPCOAD=odd)


def test_calibrations_share_chip_binning_readout_and_size(opticam):
    science = understood(opticam, SERIALN="VSC-05535")
    others = {"SERIALN": "VSC-1"}, {"CCDXBIN": 1}, {"CCDMODE": "216 MHz"}, {"EXPCOAD": 0}
    assert [understood(opticam, **change).setup == science.setup for change in others] == [False] * 4
    assert {"setup", "shape", "detector"} <= set(opticam.match("bias"))
    assert {"filter", "setup"} <= set(opticam.match("flat"))
    assert understood(opticam, shape=(512, 512)).shape != science.shape


def test_two_binnings_and_four_filters_in_a_night_are_groups(opticam):
    frames = Frames(
        understood(opticam, FILTER=filter, SERIALN=None, CCDXBIN=b, CCDYBIN=b, BINNING=f"{b}x{b}")
        for filter, b in product("ugri", (1, 2))
    )
    assert len(frames.by("detector", "filter", "setup")) == 8


# --- what was exposed at once -----------------------------------------------------------------------------------------


def three(stage, digits, lag=(0, 0, 0), exptime=(5.0, 5.0, 5.0), **changes):
    """The frames of one trigger; ``digits`` for each camera, lags in s."""
    frames = []
    for number, (serial, filter) in enumerate(zip(("VSC-05535", "VSC-05530", "VSC-05522"), "grz", strict=True)):
        cards = {"SERIALN": serial, "FILTER": filter, "EXPOSURE": exptime[number]}
        cards["FILENAME"] = f"231122{filter}{digits[number]}o.fit" if digits[number] else None
        cards["UT"] = f"2023-11-22 03:02:{49 + lag[number]:06.3f}"
        name = f"{filter}{digits[number]}.fit"
        frames.append(understood(stage, name=name, **(cards | changes)).replace(name=name))
    return frames


def ids(stage, frames):
    return stage.together(Frames(frames)).values("exposure")


def test_frames_with_the_same_digits_are_one_exposure(opticam):
    frames = three(opticam, ["200143431"] * 3) + three(opticam, ["200149431"] * 3, lag=(6, 6, 6))
    assert ids(opticam, frames) == ["231122-200143431"] * 3 + ["231122-200149431"] * 3
    assert ids(opticam, frames[1:]) == ["231122-200143431"] * 2 + ["231122-200149431"] * 3  # a partner is missing


def test_digits_are_read_from_a_name_that_others_gave(opticam):
    frames = [
        understood(opticam, FILENAME=None, SERIALN=s, FILTER=f, name=f"231122 C{n} {f} 200143431.fits").replace(name=f)
        for n, s, f in ((1, "VSC-05535", "g"), (2, "VSC-05530", "r"))
    ]
    assert ids(opticam, frames) == ["231122-200143431"] * 2


def test_without_digits_frames_that_overlap_are_one_exposure(opticam):
    frames = three(opticam, [""] * 3, lag=(0.0, 0.1, 1.0), exptime=(5.0, 4.0, 10.0))
    assert len(set(ids(opticam, frames))) == 1
    frames += three(opticam, [""] * 3, lag=(10.0, 10.0, 10.0))
    assert [ids(opticam, frames).count(name) for name in dict.fromkeys(ids(opticam, frames))] == [3, 3]


def test_digits_of_three_unlike_clocks_and_digits_that_repeat_do_not_count(opticam):
    frames = three(opticam, ["200143431", "200143446", "200144001"])
    assert len(set(ids(opticam, frames))) == 1
    assert "" not in ids(opticam, frames)
    frames = three(opticam, ["000000000"] * 3) + three(opticam, ["000000000"] * 3, lag=(6, 6, 6))
    found = ids(opticam, [f.replace(name=f"{n}") for n, f in enumerate(frames)])
    assert len(set(found[:3])) == len(set(found[3:])) == 1
    assert found[0] != found[3]


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["science", "bias", "dark", "flat", "other"])
def test_headers_of_every_camera_and_kind_come_back(opticam, kind):
    for example in opticam.examples():
        exptime = 0.0 if kind == "bias" else 12.5
        start = iso_to_mjd("2024-01-02T23:59:59.250")
        meant = example.replace(
            path="/x/a.fit", name="/x/a.fit", kind=kind, exptime=exptime, start=start, mid=start + exptime / 2 / 86400
        )
        cards = opticam.header(meant)
        (back,) = opticam.from_header(with_size(cards, meant), Path("/x/a.fit"))
        assert abs(back.start - meant.start) < 1e-8 / 86400
        assert abs(back.mid - meant.mid) < 1e-8 / 86400
        assert back.replace(start=0, mid=0, notes=()) == meant.replace(start=0, mid=0, notes=())


def test_a_position_comes_back(opticam):
    meant = opticam.example().replace(ra=292.68, dec=27.96)
    (back,) = opticam.from_header(with_size(opticam.header(meant), meant), Path("a.fit"))
    assert abs(back.ra - 292.68) < 1e-5
    assert abs(back.dec - 27.96) < 1e-5


@pytest.mark.parametrize("suffix", [".fit", ".fits", ".fit.gz", ".fits.fz"])
def test_files_are_read_however_they_are_packed(opticam, suffix, tmp_path):
    path = tmp_path / f"231122g200143431o{suffix}"
    pixels = np.full((64, 64), 187, np.uint16)
    pixels[3, 4], pixels[5, 6] = 40000, 0
    hdu = fits.PrimaryHDU(pixels, header((64, 64)))
    if suffix.endswith(".fz"):
        fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(pixels, header((64, 64)))]).writeto(path)
    elif suffix.endswith(".gz"):
        hdu.writeto(tmp_path / "plain.fit")
        with (tmp_path / "plain.fit").open("rb") as plain, gzip.open(path, "wb") as packed:
            shutil.copyfileobj(plain, packed)
    else:
        hdu.writeto(path)
    assert opticam.owns(fits.getheader(path, 0), path)
    (frame,) = opticam.frames(path)
    image = opticam.read(frame)
    assert (frame.detector, frame.shape) == ("C1", (64, 64))
    assert np.argwhere(image.flags & np.uint16(Flag.SATURATED)).tolist() == [[3, 4]]
    assert image.data[5, 6] == 0
    assert np.median(image.data) == 187


def test_a_header_promises_no_celestial_coordinates(opticam, tmp_path):
    path = tmp_path / "a.fit"
    fits.PrimaryHDU(np.zeros((64, 64), np.uint16), header((64, 64), **POINTED)).writeto(path)
    (frame,) = opticam.frames(path)
    assert opticam.wcs(frame) is None


def test_the_simulated_triplet_is_written_as_the_camera_writes(opticam, tmp_path):
    from dataclasses import replace

    simulation = opticam.simulation()
    night = replace(simulation.night, science=2, flat=1)
    told = simulate_observation(opticam, tmp_path, simulation, night=night, seed=3)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert len(files) == 9
    read = opticam.together(Frames(frame for name in files for frame in opticam.frames(tmp_path / name)))
    assert sorted(len(group) for group in read.where(kind="science").by("exposure").values()) == [3, 3]
    assert {(f.detector, f.filter) for f in read} == {("C1", "g"), ("C2", "r"), ("C3", "z")}
    assert {(f.kind, f.exptime) for f in read} == {("flat", 2.0), ("science", night.exptime)}
    for frame in read:
        cards = fits.getheader(frame.path)
        assert cards["FILENAME"] == Path(frame.path).name
        assert (cards["RA"], cards["DEC"], cards["GAIN"]) == ("0", "31", 1.0)
        assert not frame.has_position
    c1, c2, c3 = (truth.exposures[0].transform for truth in told.truths)
    assert c1.scale / c2.scale == pytest.approx(1.066, abs=1e-3)
    assert c1.scale / c3.scale == pytest.approx(1.194, abs=1e-3)
    assert not any(t.mirrored for t in (c1, c2, c3))


def test_the_recipe_to_start_from_uses_this_camera():
    import tomli

    recipe = tomli.loads(OPTICAM.recipe())
    assert recipe["instrument"]["use"] == "opticam"
    assert recipe["data"]["pattern"] == ["**/*.fit*"]
    # The pedestal is gone before the flat divides.
    assert [step["use"] for step in recipe["corrections"]] == ["pedestal", "gain", "dark-current", "flat", "hot"]


# --- real headers and frames ------------------------------------------------------------------------------------------


@needs_headers
def test_real_headers(opticam):
    frames = []
    for path in HEADERS:
        cards = fits.Header.fromtextfile(path)
        assert opticam.owns(cards, path)
        frames += opticam.from_header(cards, Path("/night", cards["FILENAME"]))
    assert [f.detector for f in frames] == ["C1", "C2", "C3"]
    assert [f.filter for f in frames] == ["g", "r", "z"]
    assert [f.temperature for f in frames] == pytest.approx([-0.44, 0.98, 0.27])
    for frame in frames:
        assert (frame.kind, frame.target, frame.exptime, frame.shape) == ("science", "", 5.0, (1024, 1024))
        assert abs(frame.start - iso_to_mjd(START)) < 1e-10
        assert abs(frame.mid - iso_to_mjd("2023-11-22T03:02:51.5")) < 1e-10
        assert not frame.has_position
        assert np.isnan(frame.airmass)
        assert (frame.gain, frame.saturation) == (1.0, 32302)
        assert frame.read_noise == pytest.approx(2.2)
        assert frame.dark_current == pytest.approx(0.3944)
    assert set(opticam.together(Frames(frames)).values("exposure")) == {"231122-200143431"}


@needs_headers
def test_headers_of_other_cameras_are_not_owned(opticam):
    for path in (DATA / "headers").glob("*.hdr"):
        if "opticam" not in path.name:
            assert not opticam.owns(fits.Header.fromtextfile(path), path), path.name


@needs_triplet
def test_the_real_triplet_is_one_exposure_and_its_saturated_pixels_are_found(opticam):
    frames = opticam.together(Frames(frame for path in TRIPLET for frame in opticam.frames(path)))
    assert frames.values("detector") == ["C1", "C2", "C3"]
    assert set(frames.values("exposure")) == {"231122-200143431"}
    images = [opticam.read(frame) for frame in frames]
    saturated = [int((image.flags & np.uint16(Flag.SATURATED) != 0).sum()) for image in images]
    assert saturated == [0, 0, 7]
    assert [float(np.median(image.data)) for image in images] == [187, 197, 171]
    assert [float(image.data.max()) for image in images] == [20447, 26823, 37566]
