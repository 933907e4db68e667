"""RATIR: whose files, which channel and half, when, where, and the mistakes earlier software made with them."""

from __future__ import annotations

import os
from math import cos, hypot, isnan, nan, radians
from pathlib import Path

import numpy as np
import pytest
import tomli
from astropy.io import fits
from astropy.wcs import WCS

from albireo import Flag, FrameError, Frames, Section, iso_to_mjd
from albireo.testing import conformance, write_raw
from albireo_ratir import RATIR, instruments

DATA = Path(os.environ.get("ALBIREO_DATA", Path(__file__).resolve().parents[3].parent / "shared" / "data"))
real = pytest.mark.skipif(not (DATA / "headers").is_dir(), reason=f"there are no real headers in {DATA}")

CCD_CARDS = {
    "NAXIS": 2,
    "NAXIS1": 1024,
    "NAXIS2": 1024,
    "INSTRUME": "RATIR",
    "TELESCOP": "1.5m",
    "ORIGIN": "OAN San Pedro Martir",
    "CCD_TYPE": "FLI 256.273",
    "CCD_SER": "PL0154809",
    "DATE-OBS": "2013-07-16T11:06:06.242",
    "SDATE": "2013-07-16T11:06:01.164",
    "EXPTIME": 10.0,
    "SCRIPT": "E 10",
    "SHUTTER": 0,
    "BINNING": "2x2",
    "CCD_SET": -30.0,
    "CCD_TEMP": -30.0625,
    "RDOUTM": "1MHz",
    "FILTER": "i",
    "AIRMASS": 1.2052568954258,
    "PRPSLID": "2012A-0000",
    "VSTID": "8",
    "SEXVSNM": "NIR standard P576-F (low airmass)",
    "STRRQRA": 313.19708333333335,
    "STRRQDE": 6.668055555555556,
    "STRRQRAO": 0.0,
    "STRRQDEO": 0.0,
    "STRSTRA": 313.19708333333335,
    "STRSTDE": 6.668055555555557,
    "STRRQAP": "YHcenter",
    "STRAPRAO": 0.05333333333333334,
    "STRAPDEO": -0.011666666666666667,
    "STROBAM": 1.2788350103050419,
    "SOFTGAIN": 4,
}
ARRAY_CARDS = {
    **{key: value for key, value in CCD_CARDS.items() if key not in ("CCD_SER", "CCD_SET", "CCD_TEMP", "RDOUTM")},
    "NAXIS1": 2048,
    "NAXIS2": 2048,
    "CCD_TYPE": "SIDECAR",
    "BINNING": "1x1",
    "SOFTGAIN": 2,
    "NREADS": 1,
}
TCS = {"TELESCOP": "OAN/SPM Harold L. Johnson 1.5-meter", "ORIGIN": "OAN/SPM"}
SLICES = {"Z": (4, 975, 100, 2000), "Y": (1135, 2043, 240, 2043), "J": (50, 1000, 4, 2000), "H": (1200, 2043, 4, 1940)}
CRPIX = {"Z": (1077, 1027), "Y": (937, -104), "J": (920, 932), "H": (920, -218)}
CD = {  # PhotoPipe's default coordinates, as files of 2013 and 2019 have them
    "C0": (-8.7995e-5, 9.224e-7, 9.215e-7, 8.8079e-5),
    "C1": (-8.8006e-5, 3.712e-6, 3.689e-6, 8.8561e-5),
    "C2": (-2.752e-6, -8.2038e-5, -8.2954e-5, 2.721e-6),
    "C3": (5.785e-7, -8.1804e-5, 8.2859e-5, 5.711e-7),
}
HALVES = {"Z": "C2", "Y": "C2", "J": "C3", "H": "C3"}


def header(cards, **changes):
    return fits.Header({key: value for key, value in {**cards, **changes}.items() if value is not None})


def ccd(name="20130716T110553C1o.fits", stage=None, **changes):
    """Understand a frame of C1."""
    return (stage or RATIR()).from_header(header(CCD_CARDS, **changes), Path("/night", name))[0]


def halves(channel="C2", letter="o", stage=None, **changes):
    """Understand both halves of an infrared frame, by filter."""
    name = f"20130716T110553{channel}{letter}.fits"
    cards = header(ARRAY_CARDS, **{"CCD_NAME": channel, "FILTER": {"C2": "Z/Y", "C3": "J/H"}[channel], **changes})
    return {frame.filter: frame for frame in (stage or RATIR()).from_header(cards, Path("/night", name))}


def noted(frame, words):
    return any(words in note for note in frame.notes)


@pytest.mark.parametrize("case", conformance.cases(RATIR()), ids=str)
def test_conformance(case):
    case()


# --- whose file it is, and which channel ------------------------------------------------------------------------------


def test_the_plugin_offers_one_camera():
    assert [camera.name for camera in instruments()] == ["ratir"]


@pytest.mark.parametrize(
    ("changes", "owned"),
    [
        ({}, True),
        ({"INSTRUME": "C0", **TCS}, True),
        ({"INSTRUME": "C3", **TCS}, True),
        ({"INSTRUME": "C1", "ORIGIN": "elsewhere"}, False),  # a C1 of another telescope of 1.5m
        ({"INSTRUME": "C1", "ORIGIN": "OAN/SPM", "TELESCOP": "OPTICAM"}, False),
        ({"INSTRUME": "RATIR", "TELESCOP": None}, False),
        ({"INSTRUME": "C4", **TCS}, False),
        ({"INSTRUME": "LMI", "TELESCOP": "LDT"}, False),
    ],
)
def test_files_of_both_epochs_are_owned_and_no_others(changes, owned):
    assert RATIR().owns(header(CCD_CARDS, **changes), Path("a.fits")) is owned


@pytest.mark.parametrize(
    ("name", "changes", "detector"),
    [
        ("a.fits", {}, "C1"),
        ("a.fits", {"CCD_SER": "PL0212309"}, "C0"),
        ("a.fits", {"CCD_SER": None, "CCD_NAME": "C0"}, "C0"),
        ("a.fits", {"CCD_SER": None, "INSTRUME": "C1", **TCS}, "C1"),
        ("20130716T110553C0o.fits.fz", {"CCD_SER": None}, "C0"),
        ("20130716T110553C1o.fits", {"CCD_SER": "PL0000000"}, "C1"),
    ],
)
def test_the_channel_is_told_by_card_name_or_serial_number(name, changes, detector):
    assert ccd(name, **changes).detector == detector


def test_channels_that_disagree_are_reported_and_not_guessed():
    with pytest.raises(FrameError) as caught:
        ccd("20130716T110553C0o.fits")
    assert str(caught.value) == (
        "/night/20130716T110553C0o.fits: the channel is not clear: the file name says C0, CCD_SER says C1; mend the "
        "card or the name that is wrong"
    )
    with pytest.raises(FrameError, match=r"CCD_NAME says C3, the file name says C2"):
        halves("C2", CCD_NAME="C3")


def test_a_frame_of_no_channel_is_reported():
    with pytest.raises(
        FrameError, match="the channel is not known; CCD_NAME, INSTRUME, CCD_SER or a file name such as"
    ):
        ccd("a.fits", CCD_SER=None)


# --- what a frame is --------------------------------------------------------------------------------------------------

NOTHING = {"PRPSLID": None, "SEXVSNM": None, "SCRIPT": None, "SHUTTER": None}


@pytest.mark.parametrize(
    ("name", "changes", "kind"),
    [
        ("20130716T110553C1o.fits", {}, "science"),
        ("20130716T110553C1f.fits", {"EXPTYPE": "flat"}, "flat"),
        ("20130716T110553C1b.fits", {"EXPTIME": 0.0, "PRPSLID": None}, "bias"),
        ("20130716T110553C1d.fits", {"PRPSLID": "2012A-0007"}, "dark"),
        ("20130716T110553C1f.fits", {"PRPSLID": "2012A-0008"}, "flat"),
        ("a.fits", {"PRPSLID": "2012A-1000"}, "science"),
        ("a.fits", {**NOTHING, "SEXVSNM": "evening flats (bright)"}, "flat"),
        ("a.fits", {**NOTHING, "VSTNM": "darks"}, "dark"),
        ("a.fits", {**NOTHING, "SEXVSNM": "GRB 130701A"}, "science"),
        ("a.fits", {**NOTHING, "SCRIPT": "D 80"}, "dark"),
        ("a.fits", {**NOTHING, "SHUTTER": 1}, "dark"),
        ("20130716T110553C1f.fits", NOTHING, "flat"),
        ("20130716T110553C1d.fits.fz", NOTHING, "dark"),
        ("20130716T110553C1b.fits", NOTHING, "bias"),
        ("20130716T110553C1o.fits.gz", NOTHING, "science"),
        ("a.fits", NOTHING, "unknown"),
        ("fp20130716T110553C1o.fits", {}, "other"),  # flattened by a pipeline
    ],
)
def test_the_kind_is_told_by_whatever_tells_it(name, changes, kind):
    assert ccd(name, **changes).kind == kind


def test_a_file_name_that_says_something_else_is_noted():
    frame = ccd("20130716T110553C1f.fits")
    assert frame.kind == "science"
    assert noted(frame, "the header says science, the file name flat; the header counts")
    assert not noted(ccd(), "the file name")
    assert not noted(halves("C2", STRRQAP="ZJcenter")["Y"], "the file name")  # kind sky of a file called ...o.fits


def test_a_frame_without_programme_or_pointing_stays_a_calibration_frame():
    """Earlier software ended the run there."""
    lost = {key: None for key in CCD_CARDS if key.startswith(("PRPSLID", "STR", "VST", "SEX"))}
    frame = ccd("20130716T031549C1f.fits", **lost)
    assert (frame.kind, frame.filter, frame.detector, frame.has_position) == ("flat", "i", "C1", False)
    science = ccd("20130716T110553C1o.fits", **lost)
    assert science.kind == "science"
    assert noted(science, "pointing unknown: the header has neither STRSTRA and STRSTDE nor STRRQRA and STRRQDE")


def test_flats_are_kept_apart_by_what_a_master_must_share():
    """Filter, exposure time of the infrared, software gain and channel, even where a user puts them together."""
    flat = {"PRPSLID": "2012A-0008"}
    listed = [
        *halves("C2", "f", **flat).values(),
        *halves("C2", "f", **flat, EXPTIME=30.0).values(),
        *halves("C2", "f", **flat, SOFTGAIN=4).values(),
        *halves("C2", "f", **flat, NREADS=4).values(),
        *halves("C3", "f", **flat).values(),
        ccd("20130716T031549C1f.fits", **flat),
        ccd("20130716T031549C0f.fits", **flat, CCD_SER="PL0212309", FILTER="r"),
        ccd("20130716T031549C0f.fits", **flat, CCD_SER="PL0212309", FILTER="u"),
        ccd("20130716T031549C1f.fits", **flat, SOFTGAIN=2),
    ]
    groups = Frames(listed).by(*RATIR().match("flat"), "variant")
    assert [len(group) for group in groups.values()] == [1] * len(listed)


def test_darks_belong_to_a_temperature_of_the_cooler():
    warm, cold = ccd(), ccd(CCD_SET=-35.0)
    assert warm.setup != cold.setup
    assert "setup" in RATIR().match("dark")
    assert warm.setup == ccd(CCD_TEMP=-29.9).setup  # what the sensor reads scatters


def test_a_sky_has_the_exposure_time_of_its_frames():
    assert "exptime" in RATIR().match("sky")


# --- halves -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("half", SLICES)
def test_a_half_is_a_window_of_its_array(half):
    frame = halves(HALVES[half])[half]
    y0, y1, x0, x1 = SLICES[half]
    assert frame.detector == HALVES[half] + half
    assert frame.shape == (y1 - y0, x1 - x0)
    (tile,) = frame.tiles
    assert (tile.image, tile.source) == ((2048, 2048), Section(y0, y1, x0, x1))
    assert frame.amplifiers[0].data == Section(0, y1 - y0, 0, x1 - x0)
    assert frame.spared == ("bias", "dark")


@pytest.mark.parametrize(
    ("aperture", "kinds"),
    [
        ("ZJcenter", {"Z": "science", "Y": "sky", "J": "science", "H": "sky"}),
        ("riZJcenter", {"Z": "science", "Y": "sky", "J": "science", "H": "sky"}),
        ("YHcenter", {"Z": "sky", "Y": "science", "J": "sky", "H": "science"}),
        ("riYHcenter", {"Z": "sky", "Y": "science", "J": "sky", "H": "science"}),
        *((name, dict.fromkeys("ZYJH", "science")) for name in ("rcenter ", "icenter", "ricenter", "", None)),
    ],
)
def test_every_aperture_gives_both_halves_with_their_role(aperture, kinds):
    """Earlier software skipped frames with some apertures and crashed on others."""
    seen = halves("C2", STRRQAP=aperture) | halves("C3", STRRQAP=aperture)
    assert {name: frame.kind for name, frame in seen.items()} == kinds
    known = "sky" in kinds.values()
    for frame in seen.values():
        said = {"sky": "this half looks beside the target", "science": "this half has the target"}[frame.kind]
        assert noted(frame, said if known else "which half has the target is not known")


def test_a_half_beside_the_target_can_be_science_too():
    seen = halves("C3", stage=RATIR(sky_halves="science"), STRRQAP="ZJcenter")
    assert {name: frame.kind for name, frame in seen.items()} == {"J": "science", "H": "science"}


def test_calibrations_of_both_halves_stay_what_they_are():
    seen = halves("C2", "f", PRPSLID="2012A-0008", STRRQAP="ZJcenter")
    assert {frame.kind for frame in seen.values()} == {"flat"}
    assert {frame.variant for frame in seen.values()} == {"10s"}


def test_a_frame_of_another_size_is_refused_in_words():
    with pytest.raises(FrameError) as caught:
        halves("C2", NAXIS1=512, NAXIS2=512)
    assert str(caught.value) == (
        "/night/20130716T110553C2o.fits: the halves of C2 are known in raw frames of 2048 x 2048 pixels and in halves "
        "cut from them, not in frames of 512 x 512"
    )


def test_what_other_software_cut_out_is_told_apart():
    cut = header(ARRAY_CARDS, CCD_NAME="C2", NAXIS1=1803, NAXIS2=908, PRPSLID="2012A-0008", FILTER="Y")
    (frame,) = RATIR().from_header(cut, Path("/night/20190904T021717C2f_Y.fits"))
    assert (frame.detector, frame.filter, frame.shape, frame.kind) == ("C2Y", "Y", (908, 1803), "flat")
    raw = halves("C2", "f", PRPSLID="2012A-0008")["Y"]
    assert frame.variant == "cut-10s" != raw.variant  # never in one master with raw frames
    assert noted(frame, "cut out of a raw frame by other software; its coordinates are not used")


# --- where the pixels lie ---------------------------------------------------------------------------------------------


def test_the_useful_part_of_a_ccd():
    assert ccd().amplifiers[0].data == Section(75, 1000, 15, 1000)
    other = ccd("20130716T110553C0o.fits", CCD_SER="PL0212309")
    assert other.amplifiers[0].data == Section(0, 1023, 125, 1023)
    assert (other.shape, other.tiles, other.spared) == ((1024, 1024), (), ("sky",))


def test_of_two_cards_with_one_name_the_section_is_taken():
    """SCnDTDS is first the description of the detector, then its data section."""
    cards = header(CCD_CARDS, INSTRUME="C1", CCD_NAME="C1", NAXIS1=1032, NAXIS2=1040, **TCS)
    cards.append(("SC1DTDS", "FLI ProLine PL3041 (PL0154809)"))
    cards.append(("SC1DTDS", "sx 8 sy 16 nx 1024 ny 1024"))
    cards.append(("SC1DTBS", "sx 0 sy 16 nx 8 ny 1024"))
    (frame,) = RATIR().from_header(cards, Path("/night/20190904T021717C1o.fits"))
    (amplifier,) = frame.amplifiers
    assert (amplifier.data, amplifier.overscan) == (Section(16, 1040, 8, 1032), Section(16, 1040, 0, 8))
    wcs = RATIR().guess(frame)
    assert wcs.wcs.crpix.tolist() == [520, 528]  # the axis moves with the data section


def test_keywords_of_2019_give_what_those_of_2013_gave():
    old = dict.fromkeys(("CCD_SER", "CCD_SET", "CCD_TEMP", "RDOUTM", "BINNING", "FILTER", "SEXVSNM"))
    new = {"SC1FL": "i", "SC1DTTM": -33.5, "SC1CLTM": -35.0, "SC1DTRM": "1MHz", "SC1DTBN": 2, "VSTNM": "GRB 190829A"}
    frame = ccd("20190904T021717C1o.fits", INSTRUME="C1", CCD_NAME="C1", **TCS, **old, **new, EXPTYPE="object")
    assert (frame.filter, frame.temperature, frame.target) == ("i", -33.5, "GRB 190829A")
    setup = dict(frame.setup)
    assert (setup["binning"], setup["readout"], setup["set_temperature"]) == ("2x2", "1MHz", "-35")
    assert frame.site == (-115.464, 31.0442, 2800.0)  # these headers have none


# --- constants --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channel", "soft", "gain", "saturation"),
    [
        ("C0", 4, 4.20, 16384),
        ("C1", 4, 4.66, 16384),
        ("C1", 2, 9.32, 32768),
        ("C2", 2, 1.1, 17999),
        ("C3", 2, 1.2, 17999),
    ],
)
def test_gain_and_saturation_follow_the_software_gain(channel, soft, gain, saturation):
    serial = {"C0": "PL0212309", "C1": "PL0154809"}.get(channel)
    if serial:
        frame = ccd("a.fits", CCD_SER=serial, SOFTGAIN=soft, SATURATE=15999.0, GAIN=1.0)
    else:
        frame = next(iter(halves(channel, SOFTGAIN=soft, SATURATE=15999.0, GAIN=1.0).values()))
    assert frame.gain == pytest.approx(gain)
    assert frame.saturation == pytest.approx(saturation)


def test_without_a_software_gain_the_usual_one_is_assumed_and_said():
    frame = ccd(SOFTGAIN=None)
    assert (frame.gain, frame.saturation) == (4.66, 16384)
    assert noted(frame, "the header has none")


def test_every_channel_has_its_own_read_noise_and_what_was_never_measured_says_so():
    """Earlier software took 18 electrons for all."""
    assert ccd().read_noise == pytest.approx(2.41 * 4.66, rel=0.01)
    assert not noted(ccd(), "NEVER MEASURED")
    others = [ccd("a.fits", CCD_SER="PL0212309"), *halves("C2").values(), *halves("C3").values()]
    for frame in others:
        assert frame.read_noise > 0
        assert noted(frame, "NEVER MEASURED")
        assert noted(frame, "unverified")


def test_a_recipe_can_speak_of_an_array_or_of_a_half():
    stage = RATIR(read_noise={"C2": 15.0, "C3J": 17.0}, gain={"C2Y": 1.15}, saturation={"C3H": 16000.0})
    seen = halves("C2", stage=stage) | halves("C3", stage=stage)
    assert {name: frame.read_noise for name, frame in seen.items()} == {"Z": 15.0, "Y": 15.0, "J": 17.0, "H": 20.0}
    assert (seen["Y"].gain, seen["Z"].gain) == (1.15, 1.1)
    assert (seen["H"].saturation, seen["J"].saturation) == (16000.0, 17999.0)


def test_a_pixel_at_the_limit_is_saturated(tmp_path):
    """Earlier software compared with 16383 by equality, and kept frames at 16384."""
    frame = RATIR().from_header(header(CCD_CARDS), tmp_path / "20130716T110553C1o.fits")[0]
    counts = np.full(frame.shape, 16383, np.uint16)
    counts[100, 200] = 16384
    write_raw(RATIR(), frame, counts)
    (back,) = RATIR().frames(Path(frame.path))
    flags = RATIR().read(back).flags
    assert np.argwhere(flags & Flag.SATURATED).tolist() == [[100, 200]]


def test_the_airmass_is_the_one_of_the_observed_zenith_distance():
    assert ccd().airmass == pytest.approx(1.27884, abs=1e-5)
    assert ccd(AIRMASS=831.428727901523, STROBAM=1.0001661339905858).airmass == pytest.approx(1.0002, abs=1e-4)
    lost = ccd(AIRMASS=831.4, STROBAM=None)
    assert lost.airmass == pytest.approx(1.2788, abs=0.002)  # worked out for the middle of the exposure
    assert noted(lost, "airmass worked out")


# --- when -------------------------------------------------------------------------------------------------------------


def test_the_exposure_of_a_ccd_begins_at_date_obs():
    frame = ccd()
    assert frame.start == pytest.approx(iso_to_mjd("2013-07-16T11:06:06.242"), abs=1e-9)
    assert frame.mid == pytest.approx(frame.start + 5 / 86400, abs=1e-9)


@pytest.mark.parametrize("date", ["2013-07-16T11:08:06", "2013-07-16T11:05:59", "-1561322100--1620091000", None])
def test_a_date_that_is_not_near_the_telescope_s_is_not_believed(date):
    frame = ccd(**{"DATE-OBS": date})
    assert frame.start == pytest.approx(iso_to_mjd("2013-07-16T11:06:01.164"), abs=1e-9)
    if date:
        assert noted(frame, "start from SDATE") or noted(frame, "start by another card")


@pytest.mark.parametrize("date", ["2013-07-16T11:06:06.242", "-1561322100--1620091000"])
def test_the_exposure_of_an_array_begins_at_sdate_and_is_uncertain(date):
    frame = halves("C3", **{"DATE-OBS": date})["J"]
    assert frame.start == pytest.approx(iso_to_mjd("2013-07-16T11:06:01.164"), abs=1e-9)
    assert noted(frame, "uncertain by about 8 s")
    later = halves("C3", stage=RATIR(infrared_start=8.0))["J"]
    assert (later.start - frame.start) * 86400 == pytest.approx(8.0, abs=1e-3)
    assert (later.mid - later.start) * 86400 == pytest.approx(5.0, abs=1e-3)


def test_the_file_name_is_the_last_resort_for_the_time():
    for changes in ({"DATE-OBS": None}, {"DATE-OBS": "-1561322100--1620091000"}):
        frame = ccd(SDATE=None, **changes)
        assert frame.start == pytest.approx(iso_to_mjd("2013-07-16T11:05:53"), abs=1e-9)
        assert noted(frame, "start from the file name, which is 1 to 13 s early")


def test_a_science_frame_without_any_time_is_refused():
    with pytest.raises(FrameError, match="the header has no start"):
        ccd("a.fits", SDATE=None, **{"DATE-OBS": None})


def test_channels_that_expose_at_once_share_an_exposure():
    """Starts of arrays and CCDs mean different moments, 5 s apart here in exposures of 10 s; those in names do not."""
    ccds = [ccd(), ccd("20130716T110553C0o.fits", CCD_SER="PL0212309")]
    frames = [*ccds, *halves("C2").values(), *halves("C3").values()]
    later = ccd("20130716T110629C1o.fits", SDATE="2013-07-16T11:06:35.279", **{"DATE-OBS": "2013-07-16T11:06:37.803"})
    found = RATIR().together(Frames([*frames, later]))
    assert len({frame.exposure for frame in found[:6]}) == 1
    assert found[6].exposure != found[0].exposure != ""
    assert found.values("start") == [*(frame.start for frame in frames), later.start]
    renamed = RATIR().together(Frames([ccd("a.fits"), *(f.replace(path="/b.fits") for f in halves("C2").values())]))
    assert len(set(renamed.values("exposure"))) == 2  # by the times in the headers, which overlap by less than half


# --- where ------------------------------------------------------------------------------------------------------------


def pointing(frame):
    """Where the optical axis of a guess points."""
    return RATIR().guess(frame).wcs.crval


def test_the_axis_is_moved_by_the_aperture_on_the_sky():
    """Right ascension moves by the offset over cos(Dec); earlier software missed by 1.1 arcmin at Dec 60."""
    shift = -2.2 / 60
    cards = {"STRSTRA": 100.0, "STRSTDE": 60.0, "STRRQAP": "ZJcenter", "STRAPRAO": shift, "STRAPDEO": -0.7 / 60}
    for frame in (ccd(**cards), *halves("C2", **cards).values(), *halves("C3", **cards).values()):
        ra, dec = pointing(frame)
        assert (ra - 100.0) * 60 == pytest.approx(-4.4, abs=1e-4)
        assert dec == pytest.approx(60.0 - 0.7 / 60, abs=1e-6)
    # The offset of the aperture by its name, where the cards of it are missing; the request in place of the position.
    bare = cards | {"STRAPRAO": None, "STRAPDEO": None}
    asked = bare | {"STRSTRA": None, "STRSTDE": None, "STRRQRA": 100.0, "STRRQDE": 60.0}
    for changes in (bare, asked):
        assert pointing(ccd(**changes)) == pytest.approx(pointing(ccd(**cards)), abs=0.05 / 3600)
    dithered = asked | {"STRRQRAO": 10 / 3600, "STRRQDEO": -5 / 3600}
    ra, dec = pointing(ccd(**dithered))
    assert (ra - pointing(ccd(**cards))[0]) * 3600 == pytest.approx(20.0, abs=0.05)
    assert (dec - pointing(ccd(**cards))[1]) * 3600 == pytest.approx(-5.0, abs=0.05)


@pytest.mark.parametrize("half", CRPIX)
def test_the_axis_moves_with_the_window_and_the_mirror_stays(half):
    frame = halves(HALVES[half])[half]
    wcs = RATIR().guess(frame)
    assert wcs.wcs.crpix.tolist() == list(CRPIX[half])
    assert wcs.wcs.cd.ravel() == pytest.approx(CD[HALVES[half]], abs=5e-9)
    assert (np.linalg.det(wcs.wcs.cd) > 0) == (HALVES[half] == "C3")


@pytest.mark.parametrize(("serial", "name"), [("PL0212309", "C0"), ("PL0154809", "C1")])
def test_coordinates_of_a_ccd(serial, name):
    wcs = RATIR().guess(ccd("a.fits", CCD_SER=serial))
    assert wcs.wcs.crpix.tolist() == [512, 512]
    assert wcs.wcs.cd.ravel() == pytest.approx(CD[name], abs=5e-9)


def test_the_distortion_of_the_infrared_is_part_of_the_coordinates():
    """PVi_j beside TAN are those of TPV: r + a r^5 + b r^7 in degrees."""
    wcs = RATIR().guess(halves("C3", STRSTDE=0.0, STRAPDEO=0.0)["J"])
    cd, crpix = wcs.wcs.cd, wcs.wcs.crpix
    for pixel, least in (([1.0, 1.0], 3.0), ([1996.0, 1.0], 5.0), ([1000.0, 500.0], 0.0)):
        x, y = cd @ (np.array(pixel) - crpix)
        r = hypot(x, y)
        grown = 1 - 19.60381671 * r**4 - 4128.15179797 * r**6
        assert r * (1 - grown) * 3600 > least
        # The gnomonic projection by hand, around the axis on the equator.
        ra = wcs.wcs.crval[0] + np.degrees(np.arctan(np.radians(x * grown)))
        seen = wcs.all_pix2world([pixel], 1)[0]
        assert (seen[0] - ra) * 3600 == pytest.approx(0.0, abs=0.02)


def test_a_frame_points_at_the_centre_of_its_own_pixels():
    """Frames of one field are found by it, and the fields of the halves lie beside the axis."""
    for frame in (ccd(), *halves("C2").values(), *halves("C3").values()):
        lit = frame.amplifiers[0].data
        middle = [[0.5 * (lit.x0 + lit.x1 - 1), 0.5 * (lit.y0 + lit.y1 - 1)]]
        ra, dec = RATIR().guess(frame).all_pix2world(middle, 0)[0]
        assert (ra - frame.ra) * cos(radians(dec)) * 3600 == pytest.approx(0.0, abs=0.1)
        assert (dec - frame.dec) * 3600 == pytest.approx(0.0, abs=0.1)
    # East and west of the axis, in arcmin; PhotoPipe's mean field centres agree to half an arcmin in right ascension.
    frames = halves("C2") | halves("C3")
    axis = pointing(frames["Z"])
    east = {name: (f.ra - axis[0]) * cos(radians(axis[1])) * 60 for name, f in frames.items()}
    assert east == pytest.approx({"Z": 2.40, "Y": -3.02, "J": 2.26, "H": -3.11}, abs=0.5)


def test_both_halves_agree_where_the_axis_is():
    for channel in ("C2", "C3"):
        first, second = halves(channel).values()
        assert pointing(first) == pytest.approx(pointing(second), abs=1e-9)


def test_a_guess_says_how_wrong_it_may_be():
    assert RATIR().guess(ccd()).wcs.csyer * 3600 == pytest.approx([150.0, 150.0])


def test_only_a_plate_solution_in_the_header_counts_as_coordinates(tmp_path):
    frame = RATIR().from_header(header(CCD_CARDS), tmp_path / "20130716T110553C1o.fits")[0]
    path = Path(frame.path)
    write_raw(RATIR(), frame, np.zeros(frame.shape, np.uint16))
    assert RATIR().wcs(frame) is None
    assert RATIR().guess(frame).wcs.crval == pytest.approx(pointing(frame))
    solved = {
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CRVAL1": 313.25,
        "CRVAL2": 6.66,
        "CRPIX1": 512,
        "CRPIX2": 512,
    }
    solved |= {"CD1_1": -8.8e-5, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 8.8e-5}
    with fits.open(path, mode="update") as hdus:
        hdus[0].header.update(solved)
    assert RATIR().wcs(frame).wcs.crval.tolist() == [313.25, 6.66]


def test_halves_cut_by_other_software_have_no_coordinates(tmp_path):
    """Their headers kept the axis of the whole frame, and a position of (0, 30)."""
    path = tmp_path / "20190904T021717C2f_Y.fits"
    cards = header(ARRAY_CARDS, CCD_NAME="C2", PRPSLID="2012A-0008", CRPIX1=1177, CRPIX2=1031, CRVAL1=0.0, CRVAL2=30.0)
    cards.update({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CD1_1": -2.75e-6, "CD2_2": 2.72e-6, "CD1_2": -8.2e-5})
    fits.PrimaryHDU(np.zeros((908, 1803), np.int16), cards).writeto(path)
    (frame,) = RATIR().frames(path)
    assert RATIR().wcs(frame) is None
    assert RATIR().guess(frame) is None
    assert not frame.has_position


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("aperture", ["ZJcenter", "YHcenter", "riZJcenter", "ricenter"])
@pytest.mark.parametrize("channel", ["C2", "C3"])
def test_an_infrared_file_comes_back_with_both_halves(tmp_path, channel, aperture):
    path = tmp_path / f"20130716T110553{channel}o.fits"
    cards = header(ARRAY_CARDS, CCD_NAME=channel, STRRQAP=aperture, STRAPRAO=None, STRAPDEO=None)
    meant = RATIR().from_header(cards, path)
    rng = np.random.default_rng(3)
    images = [rng.integers(-1300, 17000, frame.shape, dtype=np.int16) for frame in meant]
    write_raw(RATIR(), meant, images)
    assert fits.getheader(path)["BITPIX"] == 16
    assert "BZERO" not in fits.getheader(path)
    before = path.read_bytes()
    for frame, seen, pixels in zip(meant, RATIR().frames(path), images, strict=True):
        for name in ("kind", "filter", "detector", "tiles", "setup", "target", "variant"):
            assert getattr(seen, name) == getattr(frame, name)
        assert (seen.ra, seen.dec) == pytest.approx((frame.ra, frame.dec), abs=1e-7)
        assert seen.start == pytest.approx(frame.start, abs=1e-8)
        assert np.array_equal(RATIR().read(seen).data, pixels)  # counts below zero are counts
    assert path.read_bytes() == before


@pytest.mark.parametrize("kind", ["science", "bias", "dark", "flat"])
@pytest.mark.parametrize("index", [0, 1])
def test_a_ccd_file_comes_back(tmp_path, index, kind):
    frame = RATIR().examples()[index]
    path = tmp_path / f"20130716T080000{frame.detector}{'o' if kind == 'science' else kind[0]}.fits"
    exptime = 0.0 if kind == "bias" else 30.0
    frame = frame.replace(path=str(path), kind=kind, exptime=exptime, mid=frame.start + exptime / 2 / 86400)
    write_raw(RATIR(), frame, np.full(frame.shape, 640, np.uint16))
    (seen,) = RATIR().frames(path)
    for name in ("kind", "filter", "detector", "setup", "shape", "amplifiers", "exptime", "saturation"):
        assert getattr(seen, name) == getattr(frame, name)
    assert seen.has_position == (kind == "science")
    assert not noted(seen, "the file name")


def test_a_sky_frame_needs_an_aperture_that_makes_it_one():
    example = next(frame for frame in RATIR().examples() if frame.detector == "C2Y")
    with pytest.raises(ValueError, match="RATIR takes no sky frames with C2Y and the aperture ricenter"):
        RATIR().header(example.replace(kind="sky"))


@pytest.mark.parametrize("value", [None, "", "abc", fits.card.Undefined()])
@pytest.mark.parametrize("key", ["STRAPRAO", "STRRQAP", "PRPSLID", "VSTID", "SHUTTER", "BINNING", "NREADS"])
def test_odd_values_of_lesser_cards_do_no_harm(key, value):
    cards = header(ARRAY_CARDS, CCD_NAME="C2")
    if value is None:
        cards.remove(key, ignore_missing=True)
    else:
        cards[key] = value
    frames = RATIR().from_header(cards, Path("/night/20130716T110553C2o.fits"))
    assert sorted(frame.detector for frame in frames) == ["C2Y", "C2Z"]


def test_a_number_that_is_none_is_reported_with_its_card():
    with pytest.raises(FrameError, match="temperature cannot be read from CCD_TEMP = 'abc'"):
        ccd(CCD_TEMP="abc")


def test_an_unknown_position_is_never_zero():
    frame = ccd(STRSTRA=None, STRSTDE=None, STRRQRA=None, OBJRA=0.0, OBJDEC=0.0, ETRRQRA=0, ETRRQDE=30.0)
    assert isnan(frame.ra)
    assert RATIR().guess(frame) is None
    assert RATIR().guess(frame.replace(ra=nan)) is None


def test_the_recipe_to_start_from_serves_all_channels():
    recipe = tomli.loads(RATIR.recipe())
    assert recipe["instrument"]["use"] == "ratir"
    assert [step["use"] for step in recipe["corrections"]] == ["trim", "bias", "dark", "gain", "flat", "sky"]
    assert {step["kind"] for step in recipe["masters"]} == {"bias", "dark", "flat", "sky"}


# --- real headers -----------------------------------------------------------------------------------------------------


def real_frame(name, called):
    cards = fits.Header.fromtextfile(str(DATA / "headers" / f"{name}.hdr"))
    stage = RATIR()
    assert stage.owns(cards, Path(called))
    frames = stage.from_header(cards, Path("/night", called))
    assert len(frames) == 1
    return frames[0]


@real
@pytest.mark.parametrize(
    ("name", "called", "kind", "exptime", "start"),
    [
        ("bias", "20130716T032429C1b.fits", "bias", 0.0, "2013-07-16T03:24:30.732"),
        ("dark", "20130716T035610C1d.fits", "dark", 80.0, "2013-07-16T03:56:11.782"),
        ("flat", "20130716T031549C1f.fits", "flat", 10.0, "2013-07-16T03:15:52.662"),
        ("object", "20130716T110553C1o.fits", "science", 10.0, "2013-07-16T11:06:06.242"),
    ],
)
def test_headers_of_2013_of_a_ccd(name, called, kind, exptime, start):
    frame = real_frame(f"ratir_C1_{name}", called)
    assert (frame.detector, frame.kind, frame.filter, frame.exptime) == ("C1", kind, "i", exptime)
    assert frame.start == pytest.approx(iso_to_mjd(start), abs=1e-9)  # SDATE is up to 6 s earlier
    assert (frame.gain, frame.saturation) == (4.66, 16384)
    assert frame.temperature == pytest.approx(-30.0, abs=0.1)
    assert frame.amplifiers[0].data == Section(75, 1000, 15, 1000)
    assert not frame.airmass > 100  # AIRMASS of the bias is 831
    assert frame.has_position == (kind == "science")


@real
def test_the_pointing_of_a_real_frame():
    frame = real_frame("ratir_C1_object", "20130716T110553C1o.fits")
    assert frame.target == "NIR standard P576-F (low airmass)"
    assert frame.airmass == pytest.approx(1.27884, abs=1e-5)
    ra = 313.19708333333335 + 0.05333333333333334 / cos(radians(6.668055555555557))
    assert pointing(frame) == pytest.approx([ra, 6.668055555555557 - 0.011666666666666667], abs=0.1 / 3600)


@real
@pytest.mark.parametrize(
    ("name", "called", "detector", "filter", "shape"),
    [
        ("2019_C2_Y", "20190904T021717C2f_Y.fits", "C2Y", "Y", (908, 1803)),
        ("2019_C3_H", "20190904T021338C3f_H.fits", "C3H", "H", (843, 1936)),
    ],
)
def test_headers_of_2019_with_two_cards_of_one_name(name, called, detector, filter, shape):
    frame = real_frame(f"ratir_{name}_flat", called)
    assert (frame.detector, frame.filter, frame.shape, frame.kind) == (detector, filter, shape, "flat")
    assert (frame.exptime, frame.saturation, frame.variant) == (10.0, 17999, "cut-10s")
    assert dict(frame.setup)["binning"] == "1x1"
    assert dict(frame.setup)["reads"] == "1"
    assert not frame.has_position


@real
def test_garbage_in_the_date_of_an_infrared_frame_is_told_and_not_used():
    """What is left is the name of the file; this header has lost SDATE."""
    frame = real_frame("ratir_C3_J_preprocessed_broken_time", "20130512T052333C3o.fits")
    assert (frame.detector, frame.filter, frame.shape) == ("C3J", "J", (1699, 899))
    assert frame.start == pytest.approx(iso_to_mjd("2013-05-12T05:23:33"), abs=1e-9)
    assert noted(frame, "-1561322100--1620091000")
    assert noted(frame, "start from the file name")
    other = real_frame("ratir_C3_H_preprocessed", "20130704T035250C3o.fits")
    assert (other.detector, other.shape, other.target) == ("C3H", (843, 1936), "2012A-1000-vis394416326")
    assert RATIR().guess(other) is None


@real
@pytest.mark.filterwarnings("ignore::astropy.wcs.FITSFixedWarning")
def test_coordinates_are_those_of_a_real_half():
    """Earlier software wrote the same into the header of this half: CRPIX2 below the image, PVi_j beside TAN."""
    theirs = WCS(fits.Header.fromtextfile(str(DATA / "headers" / "ratir_C3_H_preprocessed.hdr")))
    ours = RATIR().guess(
        halves(
            "C3", STRSTRA=217.2888055555556, STRSTDE=15.76566666666667, STRRQAP="ricenter", STRAPRAO=0.0, STRAPDEO=0.0
        )["H"]
    )
    corners = np.array([[0.0, 0.0], [1935.0, 0.0], [0.0, 842.0], [1935.0, 842.0], [968.0, 421.0]])
    apart = ours.all_pix2world(corners, 0) - theirs.all_pix2world(corners, 0)
    assert np.abs(apart).max() * 3600 < 0.1


@pytest.mark.skipif(not (DATA / "ratir_c1").is_dir(), reason=f"there is no set ratir_c1 in {DATA}")
def test_every_rule_says_the_same_of_the_frames_of_a_real_night():
    paths = sorted((DATA / "ratir_c1").rglob("*.fz"))
    frames = [frame for path in paths for frame in RATIR().frames(path)]
    assert len(frames) == len(paths) >= 30
    assert not [frame.name for frame in frames if noted(frame, "the file name")]
    assert not [frame.name for frame in frames if noted(frame, "SDATE")]
    science = [frame for frame in frames if frame.kind == "science"]
    assert len({frame.setup for frame in frames}) == 1
    # One flat is saturated all over, the next in two pixels.
    bright = {Path(frame.path).name[9:15]: frame for frame in frames if frame.kind == "flat"}
    counts = [int((RATIR().read(bright[key]).flags & Flag.SATURATED > 0).sum()) for key in ("031009", "031309")]
    assert counts == [1024 * 1024, 2]
    # Two pointings, 5.4 arcmin apart; dithers of 10 arcsec within each.
    east = sorted((frame.ra - science[0].ra) * cos(radians(frame.dec)) * 60 for frame in science)
    assert east[5] - east[4] == pytest.approx(5.4, abs=0.4)
    assert max(east[4] - east[0], east[9] - east[5]) < 0.5
