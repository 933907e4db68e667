"""LMI: what its headers say, the ways they vary, and the mistakes earlier software made with them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import albireo_lmi
from albireo import Flag, FrameError, Frames, Section, iso_to_mjd
from albireo_lmi import LMI, instruments

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


# --- whose file it is -------------------------------------------------------------------------------------------------


def test_the_plugin_offers_one_camera():
    assert [camera.name for camera in instruments()] == ["lmi"]


@pytest.mark.parametrize("serial", ["CCD231-C6-F08_SN-10382-14-01", "CCD231-C6-F08_SN-10413-07-01"])
@pytest.mark.parametrize("instrume", ["LMI", "lmi     "])
def test_frames_of_both_chips_are_owned(lmi, serial, instrume):
    assert lmi.owns(header(DETECTOR=serial, INSTRUME=instrume), Path("a.fits"))


def test_the_chip_is_part_of_what_calibrations_share(lmi):
    old = understood(lmi, DETECTOR="CCD231-C6-F08_SN-10413-07-01")
    assert old.setup != understood(lmi).setup
    assert "setup" in lmi.match("bias")


def test_the_spectrograph_that_calls_itself_lmi_is_not_owned(lmi):
    assert not lmi.owns(header(INSTRUME="Deveny", LCAMMOD="lmi"), Path("a.fits"))


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
    assert lmi.wcs(frame) is None  # 'Linear Unbinned ADC Pixels'


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


def test_without_sections_only_the_full_frame_binned_by_two_is_known(lmi):
    bare = {"TRIMSEC": None, "BIASSEC": "        "}
    full = understood(lmi, **bare).amplifiers[0]
    assert (full.data, full.overscan) == (Section(2, 3078, 26, 3095), Section(2, 3078, 3099, 3125))
    other = understood(lmi, shape=(610, 722), **bare).amplifiers[0]
    assert (other.data, other.overscan) == (Section(0, 610, 0, 722), None)


@pytest.mark.parametrize("ampid", [None, "A"])
def test_one_amplifier_needs_no_name(lmi, ampid):
    assert dict(understood(lmi, AMPID=ampid).setup)["amplifier"] == "A"


def test_several_amplifiers_are_refused(lmi):
    with pytest.raises(FrameError) as caught:
        understood(lmi, NUMAMP=4)
    assert str(caught.value) == (
        "/night/lmi.0042.fits: read through 4 amplifiers (NUMAMP); only frames read through one can be reduced"
    )


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
        "gain 2.89 e-/adu from the camera's definition (documented, and used by public pipelines); " in frame.notes[0]
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


def test_a_linear_axis_is_no_sky(lmi, tmp_path):
    path = tmp_path / "lmi.0001.fits"
    cards = lmi.header(lmi.example())
    cards.update({"CTYPE1": "Linear Unbinned ADC Pixels", "CTYPE2": "Linear Unbinned ADC Pixels", "CRVAL1": 1.0})
    fits.PrimaryHDU(np.zeros((740, 768), np.uint16), cards).writeto(path)
    (frame,) = lmi.frames(path)
    assert lmi.wcs(frame) is None
    cards.update({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": "19:30:43.2", "CRVAL2": 27.96})
    cards.update({"CRPIX1": 384.0, "CRPIX2": 370.0, "CD1_1": -6.7e-5, "CD2_2": 6.7e-5})
    fits.PrimaryHDU(np.zeros((740, 768), np.uint16), cards).writeto(path, overwrite=True)
    assert lmi.wcs(frame).all_pix2world([[383.0, 369.0]], 0)[0].tolist() == pytest.approx([292.68, 27.96], abs=1e-9)


def test_the_recipe_to_start_from_uses_this_camera():
    import tomli

    recipe = tomli.loads(albireo_lmi.LMI.recipe())
    assert recipe["instrument"] == {"use": "lmi"}
    assert [step["use"] for step in recipe["corrections"]] == ["overscan", "trim", "bias", "gain", "flat"]
