"""RIMAS: what its headers say, and the mistakes that earlier software made with them.

No frame of RIMAS is public. Headers here are those that the source of its detector server would write.
"""

from __future__ import annotations

import hashlib
import os
import tomllib
import warnings
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from albireo import Flag, Frame, FrameError, Frames, Section, flags_of, iso_to_mjd
from albireo.testing import conformance, simulate_observation, write_raw
from albireo_rimas import RIMAS, instruments
from albireo_rimas.optics import compose, split
from albireo_rimas.timing import effective_time

DATA = Path(os.environ.get("ALBIREO_DATA", Path(__file__).resolve().parents[3].parent / "shared" / "data"))
SECOND = 1 / 86400
START = iso_to_mjd("2025-10-09T03:04:05.123456")

CARDS = {
    "CAMNAME": "YJ",
    "ASICINDX": 0,
    "OBJTYPE": "SCIENCE",
    "OBJNAME": "GRB 251009A",
    "FILTER1": "J       ",
    "FILTER2": "H       ",
    "FILTER3": "Open    ",
    "FILTER4": "open    ",
    "DATE": "2025-10-09T03:09:59",
    "DATE-BEG": "2025-10-09T03:04:05.123456",
    "REDXMODE": "CDS",
    "NFRAMES": 11,
    "FRAME": 10,
    "FRTIME": 2.863,
    "EXPTIME": 31.493,
    "EXPTIMEE": 28.63,
    "EXPMID": START + 15.7465 * SECOND,
    "RA-D": 10.0,
    "DEC-D": 40.0,
    "ROT": 5.0,
    "AIRMASS": 1.3,
    "GAIN0": 2.0,
    "SATURATE": "65535",
    "PIXSCALE": 0.19,
    "LATITUDE": 34.7443,
    "LONGITUD": -111.4223,
    "ALTITUDE": 2361.0,
}
NAME = "20251009.rimas.0068.YJ.fits"


@pytest.fixture
def rimas():
    return RIMAS()


def header(shape=(925, 925), **changes):
    cards = {"BITPIX": -32, "NAXIS": 2, "NAXIS1": shape[1], "NAXIS2": shape[0], **CARDS}
    cards |= {key.replace("_", "-"): value for key, value in changes.items()}
    return fits.Header({key: value for key, value in cards.items() if value is not None})


def understood(stage, name=NAME, shape=(925, 925), **changes):
    return stage.from_header(header(shape, **changes), Path("/night", name))[0]


def said(frame, *words):
    """Whether one note has all of these words."""
    return any(all(word in note for word in words) for note in frame.notes)


@pytest.mark.parametrize("case", conformance.cases(RIMAS()), ids=str)
def test_conformance(case):
    case()


# --- whose file it is -------------------------------------------------------------------------------------------------


def test_the_plugin_offers_one_camera():
    assert [camera.name for camera in instruments()] == ["rimas"]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        (NAME, {}),
        ("20251009.rimas.0068.HK.fits.fz", {"CAMNAME": "HK", "ASICINDX": 1}),
        (NAME, {"CAMNAME": None, "ASICINDX": None}),
        ("20251009.rimas.0068.YJ.0003.fits", {"CAMNAME": None}),
        ("reset.20251009.rimas.0068.HK.0000.fits", {"CAMNAME": None}),
        ("renamed.fits", {}),
        ("renamed.fits", {"ASICINDX": "1", "CAMNAME": "hk "}),
        (NAME, {"INSTRUME": "RIMAS"}),
    ],
)
def test_files_are_known_by_name_or_by_cards(rimas, name, changes):
    assert rimas.owns(header(**changes), Path(name))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("20251009.prime.0068.C0.fits", {"CAMNAME": "C0"}),
        ("20251009.prime.0068.YJ.fits", {}),
        (NAME, {"CAMNAME": "C1", "ASICINDX": 1}),
        ("renamed.fits", {"TELESCOP": "PRIME"}),
        ("renamed.fits", {"CAMNAME": None}),
        ("renamed.fits", {"ASICINDX": None}),
        ("renamed.fits", {"ASICINDX": 2}),
        (NAME, {"CAMNAME": None, "INSTRUME": "LMI"}),
        ("rimas.fits", {"CAMNAME": None, "ASICINDX": None}),
    ],
)
def test_files_of_prime_and_of_other_cameras_are_not_claimed(rimas, name, changes):
    assert not rimas.owns(header(**changes), Path(name))


@pytest.mark.skipif(not (DATA / "headers").is_dir(), reason=f"no headers of other cameras in {DATA}")
def test_no_real_header_of_another_camera_is_claimed(rimas):
    files = sorted((DATA / "headers").glob("*.hdr"))
    assert files
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        claimed = [path.name for path in files if rimas.owns(fits.Header.fromtextfile(path), path)]
    assert claimed == []


@pytest.mark.parametrize(
    ("changes", "arm"),
    [
        ({}, "YJ"),
        ({"CAMNAME": "HK", "ASICINDX": 1}, "HK"),
        ({"CAMNAME": None, "ASICINDX": 1}, "HK"),
        ({"CAMNAME": "hk", "ASICINDX": None}, "HK"),
        ({"CAMNAME": None, "ASICINDX": None}, "YJ"),
    ],
)
def test_the_arm_is_told_by_cards_then_by_the_name(rimas, changes, arm):
    assert understood(rimas, **changes).detector == arm


def test_a_third_arm_is_refused_in_words(rimas):
    with pytest.raises(FrameError) as caught:
        understood(rimas, name="odd.fits", CAMNAME=None, ASICINDX=2)
    assert str(caught.value) == ("/night/odd.fits: the arm is 2; CAMNAME should be YJ or HK, or ASICINDX 0 or 1")


def test_the_form_of_2020_is_refused_in_words(rimas):
    path = Path("/night/rimas.0012.01.C0.fits")
    assert rimas.owns(fits.Header(), path)
    with pytest.raises(FrameError, match="a name of 2020"):
        rimas.from_header(header(), path)


# --- reads, differences, reduced frames -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "changes", "variant"),
    [
        ("raw/20251009/20251009.rimas.0068.YJ.0003.fits", {"BITPIX": 16}, "read"),
        ("20251009/20251009.rimas.0068.YJ.0003.fits", {"BITPIX": 16}, "read"),
        ("res/20251009/20251009.rimas.0068.YJ.0003.fits", {"BITPIX": 32}, "difference"),
        ("res/20251009.rimas.0068.YJ.0003.fits.fz", {"BITPIX": 32}, "difference"),
        ("raw/reset.20251009.rimas.0068.YJ.0000.fits", {"BITPIX": 16}, "reset"),
        ("renamed.fits", {"ISRESET": True}, "reset"),
    ],
)
def test_what_is_no_reduced_frame_never_is_science(rimas, path, changes, variant):
    frame = understood(rimas, name=path, shape=(4096, 4224), **changes)
    assert (frame.kind, frame.variant) == ("other", variant)


@pytest.mark.parametrize("columns", [4224, 4230])
def test_a_read_that_was_renamed_is_known_by_its_pixels(rimas, columns):
    assert understood(rimas, shape=(4096, columns), BITPIX=16).variant == "read"
    assert understood(rimas, shape=(925, 925), BITPIX=16).kind == "science"


def test_read_and_difference_of_one_name_are_different_frames(rimas):
    name = "20251009.rimas.0068.YJ.0003.fits"
    read, difference = (understood(rimas, name=f"{folder}/{name}") for folder in ("raw", "res"))
    assert read.name != difference.name
    assert read.variant != difference.variant
    assert (read.exposure, difference.exposure) == ("", "")


# --- kinds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "kind", "variant"),
    [
        ({}, "science", ""),
        ({"OBJTYPE": " science crowded "}, "science", ""),
        ({"OBJTYPE": "SKY_FLAT"}, "flat", "sky"),
        ({"OBJTYPE": "DOME_FLAT"}, "flat", "dome"),
        ({"OBJTYPE": "DARK", "FILTER3": "BLANK", "FILTER4": "slit"}, "dark", ""),
        ({"OBJTYPE": "tel_focus"}, "other", ""),
        ({"OBJTYPE": "TEL_FOCUS"}, "other", ""),
        ({"OBJTYPE": "TEST"}, "unknown", ""),
        ({"OBJTYPE": None}, "unknown", ""),
        ({"OBJTYPE": 7}, "unknown", ""),
        ({"OBJTYPE": None, "OBSTYPE": "SKY FLAT"}, "flat", "sky"),
        ({"OBJTYPE": None, "OBSTYPE": "DOME FLAT"}, "flat", "dome"),
        ({"OBJTYPE": None, "OBSTYPE": "OBJECT"}, "science", ""),
        ({"OBJTYPE": None, "OBSTYPE": "BIAS"}, "bias", ""),
        ({"OBJTYPE": None, "FILTER3": " Blank "}, "dark", ""),
        ({"FILTER3": "blank"}, "other", "blank"),
        ({"FILTER4": "slit 0.5"}, "other", "slit"),
        ({"FILTER4": "PINHOLE"}, "other", "slit"),
        ({"FILTER4": " OPEN "}, "science", ""),
        ({"FILTER4": None}, "science", ""),
        ({"OBJTYPE": "SKY_FLAT", "FILTER4": "slit 0.5"}, "other", "slit"),
    ],
)
def test_kinds(rimas, changes, kind, variant):
    frame = understood(rimas, **changes)
    assert (frame.kind, frame.variant) == (kind, variant)


def test_an_unknown_type_is_noted(rimas):
    assert said(understood(rimas, OBJTYPE="TEST"), "kind unknown", "OBJTYPE = 'TEST'")


def test_bias_frames_are_not_asked_for(rimas):
    assert understood(rimas).spared == ("bias",)


# --- filters ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("auxiliary", "main", "name"),
    [
        ("Open", "J", "J"),
        (" open ", "j", "J"),
        ("OPEN", "Ks", "Ks"),
        ("BLANK", "J", "blank"),
        ("Open", "Blank", "blank"),
        ("Pol-45", "Open", "Pol-45"),
        ("Pol-45", "J", "Pol-45+J"),
        ("open", "OPEN", "open"),
        ("", "H", "H"),
        ("", "", ""),
    ],
)
def test_the_filter_is_what_the_wheels_put_into_the_beam(auxiliary, main, name):
    assert compose(auxiliary, main) == name


@pytest.mark.parametrize("name", ["J", "Ks", "Pol-45", "Pol-45+J", "a+b+K", "open", "blank"])
def test_a_filter_can_be_written_and_read_back(name):
    assert compose(*split(name)) == name


def test_each_arm_has_its_own_wheel(rimas):
    assert understood(rimas, FILTER1="Y", FILTER2="K").filter == "Y"
    assert understood(rimas, CAMNAME="HK", FILTER1="Y", FILTER2="K").filter == "K"
    assert understood(rimas, FILTER1="Y", FILTER3="Pol").filter == "Pol+Y"


# --- times ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "reads", "seconds"),
    [
        ("CDS", 11, 28.63),
        ("cds ", 2, 2.863),
        ("RAMP", 21, 57.26),
        ("SSR", 10, 28.63),
        ("FOWLER2", 12, 28.63),
        ("FOWLER4", 14, 28.63),
        ("Fowler8", 18, 28.63),
        ("FOWLER16", 32, 45.808),
    ],
)
def test_the_exposure_is_the_time_between_the_reads_that_count(mode, reads, seconds):
    assert effective_time(mode, reads, 2.863) == pytest.approx(seconds, abs=1e-9)


@pytest.mark.parametrize(("mode", "reads"), [("MEDIAN", 11), ("", 11), ("FOWLER8", 15), ("CDS", 0), ("CDS", np.nan)])
def test_a_mode_without_a_rule_gives_no_time(mode, reads):
    assert np.isnan(effective_time(mode, reads, 2.863))


def test_count_rates_use_the_effective_exposure(rimas):
    assert understood(rimas).exptime == pytest.approx(28.63)
    assert not said(understood(rimas), "exptime")
    assert understood(rimas, EXPTIMEE=None).exptime == pytest.approx(28.63)
    assert understood(rimas, FRTIME=None, TFRAME=3.0).exptime == 30.0


@pytest.mark.parametrize(
    ("mode", "reads", "right", "wrong"), [("FOWLER8", 24, 45.808, 57.26), ("FOWLER16", 40, 68.712, 103.068)]
)
def test_a_wrong_exposure_of_a_fowler_frame_is_mended_with_a_note(rimas, mode, reads, right, wrong):
    frame = understood(rimas, REDXMODE=mode, NFRAMES=reads, EXPTIMEE=wrong)
    assert frame.exptime == pytest.approx(right)
    assert said(frame, f"exptime {right:.6g} s", mode, f"EXPTIMEE says {wrong:.6g}")
    assert not said(understood(rimas, REDXMODE=mode, NFRAMES=reads, EXPTIMEE=right + 1.4), "EXPTIMEE")


def test_the_header_counts_where_the_mode_has_no_rule(rimas):
    frame = understood(rimas, REDXMODE="MEDIAN", EXPTIMEE=20.0)
    assert frame.exptime == 20.0
    assert said(frame, "from EXPTIMEE alone", "MEDIAN")
    with pytest.raises(FrameError, match="no effective exposure time"):
        understood(rimas, REDXMODE="MEDIAN", EXPTIMEE=None)
    assert np.isnan(understood(rimas, REDXMODE="MEDIAN", EXPTIMEE=None, OBJTYPE="SKY_FLAT").exptime)


def test_a_missing_frame_time_is_assumed_and_noted(rimas):
    frame = understood(rimas, FRTIME=None)
    assert frame.exptime == pytest.approx(28.63)
    assert said(frame, "no FRTIME")


def test_the_middle_is_that_of_the_header_and_never_when_the_file_was_made(rimas):
    sixty = {"NFRAMES": 22, "EXPTIMEE": 60.123, "EXPMID": START + 31.5 * SECOND}
    for made in ("2025-10-09T03:09:59", "2019-01-01T00:00:00", "Thu Oct  9 03:09:59 2025", None):
        frame = understood(rimas, DATE=made, **sixty)
        assert abs(frame.start - START) < 1e-10
        assert abs(frame.mid - START - 31.5 * SECOND) < 1e-10


@pytest.mark.parametrize(
    "changes",
    [
        {"MJD-END": START + 31.493 * SECOND},
        {"JD-END": START + 2400000.5 + 31.493 * SECOND},
        {"DATE-END": "2025-10-09T03:04:36.616456"},
        {},
    ],
)
def test_without_it_the_middle_is_that_of_first_and_last_read(rimas, changes):
    frame = rimas.from_header(header(EXPMID=None) + fits.Header(changes), Path("/night", NAME))[0]
    assert abs(frame.mid - START - 15.7465 * SECOND) < 1e-4 * SECOND + 1e-9


def test_a_middle_outside_the_exposure_is_not_believed(rimas):
    frame = understood(rimas, EXPMID=0.0)
    assert abs(frame.mid - START - 15.7465 * SECOND) < 1e-9
    assert said(frame, "EXPMID does not lie between")


@pytest.mark.parametrize(
    ("changes", "start"),
    [
        ({"DATE-BEG": "2025-10-09T03:04:05"}, "2025-10-09T03:04:05"),
        ({"DATE-BEG": None, "MJD-BEG": START}, "2025-10-09T03:04:05.123456"),
        ({"DATE-BEG": None, "JD-BEG": START + 2400000.5}, "2025-10-09T03:04:05.123456"),
        ({"DATE-BEG": None, "UTDATE": "2025-10-09", "UTSTART": "03:04:05"}, "2025-10-09T03:04:05"),
        ({"DATE-BEG": "soon", "EXPSTART": START}, "2025-10-09T03:04:05.123456"),
    ],
)
def test_the_start_with_and_without_fraction_and_by_other_cards(rimas, changes, start):
    cards = header()
    for key, value in changes.items():
        cards[key] = value
        if value is None:
            del cards[key]
    assert abs(rimas.from_header(cards, Path("/night", NAME))[0].start - iso_to_mjd(start)) < 1e-9


# --- airmass ----------------------------------------------------------------------------------------------------------


def test_a_missing_airmass_is_computed_for_the_middle_of_the_exposure(rimas):
    frame = understood(rimas, AIRMASS=None)
    assert 1.2 < frame.airmass < 2.0
    assert said(frame, "airmass worked out")
    assert understood(rimas).airmass == 1.3
    assert np.isnan(rimas.from_header(header(AIRMASS=None, RA_D=None), Path("/night", NAME))[0].airmass)


# --- constants --------------------------------------------------------------------------------------------------------


def test_a_missing_gain_is_assumed_and_noted(rimas):
    assert understood(rimas).gain == 2.0
    frame = understood(rimas, GAIN0=None)
    assert frame.gain == 1.8
    assert said(frame, "gain 1.8 e-/adu", "theoretical", "code")


@pytest.mark.parametrize(
    ("mode", "saturation"), [("CDS", 55535.0), ("FOWLER4", 55535.0), ("SSR", 65535.0), ("MEDIAN", 65535.0)]
)
def test_saturation_is_that_of_a_raw_read_less_the_pedestal(rimas, mode, saturation):
    frame = understood(rimas, REDXMODE=mode)
    assert frame.saturation == saturation
    assert said(frame, "lowered by a pedestal of 10000 adu") == (saturation < 60000)


def test_ramps_are_judged_by_their_missing_pixels(rimas):
    assert np.isnan(understood(rimas, REDXMODE="RAMP").saturation)
    assert RIMAS(saturation=30000).from_header(header(REDXMODE="RAMP"), Path(NAME))[0].saturation == 30000


def test_the_pedestal_and_the_saturation_can_be_given(rimas):
    assert understood(RIMAS(pedestal=4000)).saturation == 61535
    assert understood(RIMAS(saturation={"YJ": 30000.0})).saturation == 30000
    assert understood(rimas, SATURATE=None).saturation == 40000
    assert np.isnan(understood(rimas, SATURATE=9000).saturation)


# --- pixels -----------------------------------------------------------------------------------------------------------


def test_missing_pixels_stay_missing_and_zeros_stay_zeros(rimas, tmp_path):
    counts = np.random.default_rng(1).normal(500, 10, (925, 925)).astype(np.float32)
    lost = np.random.default_rng(2).random(counts.shape) < 0.01
    counts[lost] = np.nan
    counts[300, 200:210] = 0.0
    counts[400, 100] = 60000.0
    path = tmp_path / NAME
    fits.PrimaryHDU(counts, header()).writeto(path)
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    (frame,) = rimas.frames(path)
    picture = rimas.read(frame)
    assert np.array_equal(flags_of(picture) == Flag.NO_DATA, lost)
    assert np.array_equal(np.isnan(picture.data), lost)
    known = ~lost[300, 200:210]
    assert (picture.data[300, 200:210][known] == 0).all()
    assert flags_of(picture)[400, 100] == Flag.SATURATED
    assert int(picture.mask.sum()) == int(lost.sum()) + 1
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert [p.name for p in tmp_path.iterdir()] == [NAME]


@pytest.mark.parametrize(
    ("arm", "section"),
    [("YJ", Section(39, 964, 48, 973)), ("HK", Section(36, 961, 45, 970))],
)
def test_larger_frames_are_cut_by_arm_until_the_detector_server_does_it(rimas, tmp_path, arm, section):
    changes = {"CAMNAME": arm, "ASICINDX": {"YJ": 0, "HK": 1}[arm]}
    frame = understood(rimas, shape=(1024, 1024), **changes)
    assert (frame.shape, frame.tiles[0].source) == ((925, 925), section)
    assert understood(rimas, shape=(1024, 1024), DATE_BEG="2025-11-03T00:00:01", **changes).shape == (1024, 1024)
    # cut already: shape wins over date
    delivered = understood(rimas, shape=(925, 925), **changes)
    assert (delivered.shape, delivered.tiles) == ((925, 925), ())

    counts = np.arange(1024 * 1024, dtype=np.float32).reshape(1024, 1024)
    path = tmp_path / f"20251009.rimas.0068.{arm}.fits"
    fits.PrimaryHDU(counts, header((1024, 1024), **changes)).writeto(path)
    (frame,) = rimas.frames(path)
    assert np.array_equal(rimas.read(frame).data, counts[section.slices])


def test_a_frame_too_small_for_the_cut_is_refused(rimas):
    with pytest.raises(FrameError, match="beyond the image of 930 x 940"):
        understood(rimas, shape=(940, 930))


def test_flats_of_before_the_software_crop_are_not_for_frames_after_it(rimas):
    before, after = understood(rimas), understood(rimas, DATE_BEG="2025-11-04T03:00:00")
    assert before.shape == after.shape
    assert before.setup != after.setup
    assert "setup" in rimas.match("flat")


# --- both arms --------------------------------------------------------------------------------------------------------


def test_the_arms_of_an_exposure_share_its_date_and_number(rimas):
    yj = understood(rimas)
    hk = understood(rimas, name="20251009.rimas.0068.HK.fits", CAMNAME="HK", ASICINDX=1)
    assert yj.exposure == hk.exposure == "20251009.rimas.0068"
    assert yj.name != hk.name
    assert understood(rimas, name="20251009.rimas.0069.YJ.fits").exposure == "20251009.rimas.0069"
    assert [f.exposure for f in rimas.together(Frames([yj, hk]))] == ["20251009.rimas.0068"] * 2


def test_renamed_frames_are_paired_by_their_times(rimas):
    names = {"a.fits": "YJ", "b.fits": "HK"}
    pair = Frames(understood(rimas, name=name, CAMNAME=arm) for name, arm in names.items())
    assert pair.values("exposure") == ["", ""]
    first, second = rimas.together(pair).values("exposure")
    assert first == second != ""


# --- coordinates ------------------------------------------------------------------------------------------------------


def written(tmp_path, shape=(925, 925), name=NAME, **changes):
    path = tmp_path / name
    fits.PrimaryHDU(np.zeros(shape, np.float32), header(shape, **changes)).writeto(path, overwrite=True)
    (frame,) = RIMAS().frames(path)
    return frame


def by_formula(x, y, scale, angle, ra=10.0, dec=40.0, size=925):
    """Sky position of a zero-based pixel: the gnomonic projection, written out."""
    turned, step = np.radians(angle), np.radians(scale / 3600)
    ra0 = np.radians(ra + 88 * scale / 3600 / np.cos(np.radians(dec)))
    dec0 = np.radians(dec - 33 * scale / 3600)
    dx, dy = x + 1 - size / 2, y + 1 - size / 2
    xi = step * (-np.cos(turned) * dx + np.sin(turned) * dy)
    eta = step * (np.sin(turned) * dx + np.cos(turned) * dy)
    below = np.cos(dec0) - eta * np.sin(dec0)
    return (
        np.degrees(ra0 + np.arctan2(xi, below)),
        np.degrees(np.arctan2(np.sin(dec0) + eta * np.cos(dec0), np.hypot(xi, below))),
    )


@pytest.mark.parametrize(
    ("changes", "scale", "angle"),
    [
        ({}, 0.19, 5.0),
        ({"PIXSCALE": None}, 0.19, 5.0),
        ({"PIXSCALE": 0.25}, 0.25, 5.0),
        ({"ROT": None}, 0.19, 5.3),
        ({"ROT": None, "DATE_BEG": "2026-02-01T03:00:00", "EXPMID": None}, 0.19, 0.0),
    ],
)
def test_coordinates_are_guessed_from_pointing_angle_and_scale(rimas, tmp_path, changes, scale, angle):
    frame = written(tmp_path, **changes)
    assert rimas.wcs(frame) is None
    for x, y in ((0.0, 0.0), (924.0, 0.0), (100.0, 800.0), (461.5, 461.5)):
        ra, dec = rimas.guess(frame).all_pix2world([[x, y]], 0)[0]
        want_ra, want_dec = by_formula(x, y, scale, angle)
        assert abs(ra - want_ra) * np.cos(np.radians(dec)) * 3600 < 0.1
        assert abs(dec - want_dec) * 3600 < 0.1


def test_coordinates_of_a_cut_frame_are_those_of_its_own_pixels(rimas, tmp_path):
    cut = written(tmp_path, shape=(1024, 1024))
    ra, dec = rimas.guess(cut).all_pix2world([[100.0, 800.0]], 0)[0]
    want_ra, want_dec = by_formula(100.0, 800.0, 0.19, 5.0)
    assert abs(ra - want_ra) * 3600 < 0.1
    assert abs(dec - want_dec) * 3600 < 0.1


def test_coordinates_that_the_header_has_come_first(rimas, tmp_path):
    cards = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 11.0, "CRVAL2": 41.0, "CRPIX1": 1.0, "CRPIX2": 1.0}
    frame = written(tmp_path, **cards, CD1_1=None)
    with fits.open(frame.path, mode="update") as hdus:
        hdus[0].header.update({"CD1_1": -5e-5, "CD2_2": 5e-5})
    assert rimas.wcs(frame).all_pix2world([[0.0, 0.0]], 0)[0].tolist() == pytest.approx([11.0, 41.0])


def test_without_a_pointing_there_are_no_coordinates(rimas, tmp_path):
    assert rimas.guess(written(tmp_path, RA_D=None)) is None


# --- round trips and simulations --------------------------------------------------------------------------------------


@pytest.mark.parametrize("arm", [0, 1])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"filter": "Pol+K", "exptime": 57.26},
        {"kind": "flat", "variant": "sky", "exptime": 2.863},
        {"kind": "flat", "variant": "dome", "filter": "Y"},
        {"kind": "dark", "filter": "blank"},
        {"kind": "other", "target": "M 31"},
        {"saturation": 30000.0, "setup": (("aperture", "slit 1"), ("crop", "since 2025-11-03")), "kind": "dark"},
    ],
)
def test_headers_of_both_arms_come_back(rimas, tmp_path, arm, changes):
    meant = rimas.examples()[arm].replace(**changes)
    path = tmp_path / f"20251201.rimas.0001.{meant.detector}.fits"
    meant = meant.replace(path=str(path), name=str(path), mid=meant.start + 0.5 * meant.exptime * SECOND)
    write_raw(rimas, meant, np.zeros(meant.shape, np.float32))
    (seen,) = rimas.frames(path)
    for name in ("kind", "variant", "detector", "filter", "target", "saturation", "setup", "shape", "gain", "site"):
        assert getattr(seen, name) == getattr(meant, name), name
    for name in ("exptime", "start", "mid", "ra", "dec", "airmass", "scale"):
        assert getattr(seen, name) == pytest.approx(getattr(meant, name), rel=1e-12, abs=1e-8), name
    assert seen.exposure == "20251201.rimas.0001"


def test_a_simulated_night_has_pairs_with_stars_where_the_coordinates_say(rimas, tmp_path):
    simulation = rimas.simulation()
    night = replace(simulation.usual_night, science=2, bias=2, flat=1, drift=(0.0, 0.0), jitter=0.0)
    scene = simulation.field(20, 8e3, 1e3, separation=10.0, target=0, seed=5)
    seen = simulate_observation(rimas, tmp_path, simulation, scene, night, seed=5)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == [f"20251201.rimas.{n:04d}.{arm}.fits" for n in (1, 2, 3) for arm in ("HK", "YJ")]
    back = Frames(frame for name in files for frame in rimas.frames(tmp_path / name))
    assert {len(group) for group in back.by("exposure").values()} == {2}
    assert back.where(kind="science").by("detector", "filter").keys() == {("HK", "H"), ("YJ", "J")}
    assert not back.where(kind="bias")
    for frame in back.where(kind="science"):
        truth = seen[Path(frame.path).name]
        assert frame.exptime == pytest.approx(truth.frame.exptime)
        x, y = rimas.guess(frame).all_world2pix([[frame.ra, frame.dec]], 0)[0]
        apart = np.hypot(x - truth.x[0], y - truth.y[0])
        assert apart < (0.2 if frame.detector == "YJ" else 8.0)
        picture = rimas.read(frame)
        assert 1e-4 < np.isnan(picture.data).mean() < 1e-3


def test_the_recipe_to_start_from_uses_this_camera_and_no_bias():
    recipe = tomllib.loads(RIMAS.recipe())
    assert recipe["instrument"] == {"use": "rimas"}
    assert [step["use"] for step in recipe["corrections"]] == ["pedestal", "gain", "flat"]
    assert [step["kind"] for step in recipe["masters"]] == ["flat"]


@pytest.mark.parametrize("value", [None, "", "*** broken ***", -1, 1e308, True])
def test_odd_values_are_frames_or_frame_errors_never_other_errors(rimas, value):
    for key in CARDS:
        with suppress(FrameError):
            (frame,) = rimas.from_header(header(**{key: value}), Path("/night", NAME))
            assert isinstance(frame, Frame)
