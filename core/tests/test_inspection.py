"""What there is to say of a night: from headers, from pixels of calibration frames, and of one file after the other."""

from __future__ import annotations

import tracemalloc
from math import nan

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from albireo import Amplifier, Frame, FrameError, Frames, Section, image
from albireo.airmass import airmass
from albireo.inspection import check_file, differences, judge, look, write_blank
from albireo.inspection.pixels import levels, noise_findings
from albireo.testing import Camera, Night, PlainCamera, simulate_night

CAMERA = PlainCamera()
START = 60310.25
MINUTE = 1.0 / 1440.0


def frame(name, minutes=0.0, **facts):
    """A complete frame of the made-up camera, some minutes after the first one."""
    example = CAMERA.example()
    exptime = facts.get("exptime", example.exptime)
    start = START + minutes * MINUTE
    mid = start + exptime / 2 / 86400
    given = {
        "kind": "science",
        "airmass": airmass(example.ra, example.dec, mid, example.site),
        "start": start,
        "mid": mid,
        "name": name,
        "path": f"/night/{name}",
    }
    return example.replace(**{**given, **facts})


def sequence(count, step=2.0, **facts):
    return [frame(f"s-{number:03d}.fits", number * step, **facts) for number in range(count)]


BIAS = [frame(f"b-{number}.fits", -60 + number, kind="bias", exptime=0.0) for number in range(3)]
FLATS = [frame(f"f-{number}.fits", -40 + number, kind="flat", exptime=3.0) for number in range(3)]
COMPLETE = [*BIAS, *FLATS, *sequence(10)]


def said(*frames, severity=None):
    return [f.text for f in judge(Frames(frames), CAMERA) if severity in (None, f.severity)]


def test_a_complete_night_leaves_nothing_to_say():
    assert judge(Frames(COMPLETE), CAMERA) == []


def test_nothing_at_all_is_a_night_without_science():
    assert [f.text for f in judge(Frames(), CAMERA)] == ["there is no science frame"]


# --- values that cannot be --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"mid": START + 3.5 / 24}, "does not follow from time, position and site"),
        ({"site": (111.4223, 34.7443, 2361.0)}, "such as a local time, or a longitude that counts to the west"),
        ({"temperature": 271.0}, "a detector temperature of 271 deg C in all 10 frames: is the header in kelvin?"),
    ],
)
def test_values_that_contradict_each_other_are_told(facts, text):
    science = [f.replace(**facts) for f in sequence(10)]
    assert any(text in words for words in said(*science, severity="warning"))


def test_an_airmass_beyond_formulas_is_no_contradiction():
    low = [f.replace(airmass=38.0, mid=START - 3.1 / 24) for f in sequence(2)]
    assert not any("airmass" in words for words in said(*low, severity="warning"))


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "severity", "text"),
    [
        (
            {"ra": nan},
            "warning",
            "position unknown for 2 of 10 science frames: barycentric times need the target's coordinates in the "
            "recipe ([[targets]] ra, dec)",
        ),
        (
            {"airmass": nan},
            "note",
            "airmass unknown for 2 of 10 science frames: no trend with airmass can be taken out",
        ),
        (
            {"start": nan, "mid": nan},
            "problem",
            "time unknown for 2 of 10 science frames: such frames have no place in a light curve",
        ),
        (
            {"saturation": nan},
            "warning",
            "saturation unknown for 2 of 16 frames: saturated pixels are not recognised; give [instrument] "
            "saturation in the recipe",
        ),
        (
            {"site": None},
            "note",
            "site of the telescope unknown for 2 of 10 science frames: barycentric times will be those of the Earth's "
            "centre, wrong by up to 21 ms",
        ),
    ],
)
def test_unknown_values_are_counted_with_what_follows(facts, severity, text):
    night = [f.replace(**facts) if f.name in ("s-003.fits", "s-007.fits") else f for f in COMPLETE]
    (found,) = judge(Frames(night), CAMERA)
    assert (found.severity, found.text) == (severity, text)
    assert found.frames == ("s-003.fits", "s-007.fits")


def test_a_gain_is_needed_for_every_amplifier_and_every_kind():
    half = Amplifier(Section(0, 10, 0, 5), gain=2.0, read_noise=5.0)
    other = Amplifier(Section(0, 10, 5, 10), gain=nan, read_noise=5.0)
    bias = BIAS[0].replace(amplifiers=(half, other))
    assert said(*COMPLETE[1:], bias, severity="problem") == [
        "gain unknown for 1 of 16 frames: without it there is no noise and no error bar; give [instrument] gain in the "
        "recipe"
    ]


def test_an_unknown_kind_is_told_with_the_header_words():
    odd = frame("x.fits", -90, kind="unknown", notes=("kind unknown: OBSTYPE = 'ARC'",))
    assert said(*COMPLETE, odd) == ["kind unknown for 1 of 17 frames (OBSTYPE = 'ARC'): no step uses them"]


def test_several_targets_are_counted():
    other = sequence(3, target="M 35")
    assert said(
        *COMPLETE, *[f.replace(name=f"o{f.name}", path=f"/o/{f.name}", start=f.start + 1 / 24) for f in other]
    ) == ["2 targets, each a field of its own: M 67 (10), M 35 (3)"]


# --- calibrations -----------------------------------------------------------------------------------------------------


def test_two_binnings_in_one_kind_are_named():
    odd = frame("odd.fits", -37, kind="flat", exptime=3.0, setup=(("binning", "2x2"),), shape=(100, 128))
    assert said(*COMPLETE, odd) == [
        "flat frames come in 2 set-ups: binning=1x1, 256 x 200 pixels (3), binning=2x2, 128 x 100 pixels (1); "
        "calibrations are made of frames of one set-up and serve that set-up only"
    ]


def test_a_filter_without_flats_is_named_and_the_flats_there_are():
    blue = frame("blue.fits", 20, filter="B")
    assert said(*COMPLETE, blue) == ["no flat for 1 of 11 science frames through B; there are flats through r (3)"]
    binned = blue.replace(filter="r", setup=(("binning", "2x2"),))
    assert (
        "no flat for 1 of 11 science frames through r; those through r are of another set-up: binning=1x1 (3)"
        in said(*COMPLETE, binned)
    )
    assert "there are no flats: the sensitivity of the pixels cannot be corrected" in said(*BIAS, *sequence(5))


def test_darks_are_missed_only_where_there_are_darks():
    dark = frame("d.fits", -30, kind="dark", exptime=60.0)
    assert said(*COMPLETE, dark) == []
    assert said(*COMPLETE, dark.replace(exptime=80.0)) == [
        "no dark is as long as 10 science frames of 60 s; those of 80 s would be scaled"
    ]
    other = dark.replace(setup=(("binning", "2x2"),))
    assert "no dark has the set-up of 10 science frames of 60 s" in said(*COMPLETE, other)


def test_without_bias_the_overscan_stands_in_if_there_is_one():
    assert said(*FLATS, *sequence(5)) == [
        "no bias for all 5 science frames: the overscan gives the level, the structure of the bias stays in"
    ]
    bare = tuple(Amplifier(a.data, None, a.gain, a.read_noise) for a in CAMERA.example().amplifiers)
    (found,) = judge(Frames(f.replace(amplifiers=bare) for f in (*FLATS, *sequence(5))), CAMERA)
    assert found.severity == "warning"
    assert found.text == (
        "no bias for all 5 science frames, and no overscan: the electronic pedestal must be known otherwise"
    )


def test_darks_at_another_temperature_are_named():
    dark = frame("d.fits", -30, kind="dark", temperature=-30.0)
    night = [f.replace(temperature=-20.0) for f in COMPLETE]
    assert said(*night, dark) == [
        "temperature: darks at -30.0 deg C, science at -20.0 deg C, 10.0 deg C between extremes; dark current changes "
        "by a tenth with each degree"
    ]
    assert said(*night, dark.replace(temperature=-20.5)) == []


# --- times ------------------------------------------------------------------------------------------------------------


def test_a_gap_is_told_with_its_times_and_the_usual_step():
    late = [f.replace(start=f.start + (40 * MINUTE if f.name > "s-004.fits" else 0)) for f in sequence(10)]
    assert said(*BIAS, *FLATS, *late) == [
        "M 67: a gap of 41 min from 2024-01-01T06:09:00 to 06:50:00; the usual step is 2.0 min"
    ]
    slower = [f.replace(start=f.start + (4 * MINUTE if f.name > "s-004.fits" else 0)) for f in sequence(10)]
    assert said(*BIAS, *FLATS, *slower) == [], "a few minutes are no gap"


def test_the_day_between_two_nights_is_no_gap():
    second = [f.replace(name=f"2{f.name}", path=f"/2/{f.name}", start=f.start + 1, mid=f.mid + 1) for f in sequence(10)]
    assert said(*COMPLETE, *second) == ["frames of 2 nights: 2024-01-01 (16), 2024-01-02 (10)"]


def test_flats_of_the_evening_and_science_of_the_morning_are_one_night():
    evening = [f.replace(start=f.start - 0.33, mid=f.mid - 0.33) for f in FLATS]  # eight hours earlier
    assert said(*BIAS, *evening, *sequence(10)) == []


def test_what_a_detector_does_without_is_not_missed():
    spared = [f.replace(spared=("bias", "dark", "flat")) for f in sequence(5)]
    dark = frame("d.fits", -30, kind="dark", exptime=80.0)
    assert said(*FLATS, *spared, dark) == []


def test_frames_that_cannot_both_be_are_named():
    copy = COMPLETE[-1].replace(name="copy.fits", path="/night/copy.fits")
    assert said(*COMPLETE, copy) == [
        "frames start at the same moment: copy.fits, s-009.fits; copies, or times that are wrong"
    ]
    early = frame("early.fits", 2.5)
    assert said(*COMPLETE, early) == [
        "frames are open at the same time: s-001.fits, early.fits; copies, or times that are wrong"
    ]
    assert not [text for text in said(*COMPLETE, early.replace(detector="other")) if "open" in text]


def test_bias_frames_may_share_a_second():
    same = [f.replace(start=START - 0.1, mid=START - 0.1) for f in BIAS]
    assert said(*same, *COMPLETE[3:]) == []


def test_frames_out_of_order_are_named():
    night = sequence(10)
    night[4] = night[4].replace(start=START - 2 * MINUTE)
    assert said(*BIAS, *FLATS, *night) == [
        "earlier than the frame before them by name: s-004.fits; was the clock set back?"
    ]


def test_running_numbers_count_as_numbers():
    night = [frame(f"s-{number}.fits", 2.0 * number) for number in range(8, 13)]
    assert said(*BIAS, *FLATS, *night) == []


def test_exposures_of_several_detectors_are_counted():
    both = [
        f.replace(detector=name, name=f"{name}-{f.name}", path=f"/night/{name}-{f.name}", exposure=str(f.start))
        for f in sequence(10)
        for name in ("C1", "C2")
    ]
    notes = [text for text in said(*both) if "exposures" in text]
    assert notes == ["10 exposures of C1, C2: 10 complete"]
    notes = [text for text in said(*both[:-1], both[0].replace(name="x", exposure="")) if "exposures" in text]
    assert notes == ["10 exposures of C1, C2: 9 complete; 1 without C2; 1 frame belongs to none"]


@given(st.lists(st.sampled_from(COMPLETE), max_size=12), st.randoms())
@settings(max_examples=40, deadline=None)
def test_what_is_said_depends_on_the_frames_and_not_on_their_order(frames, random):
    unique = list({f.name: f for f in frames}.values())
    mixed = list(unique)
    random.shuffle(mixed)
    one, two = ({(f.severity, f.text, frozenset(f.frames)) for f in judge(Frames(n), CAMERA)} for n in (unique, mixed))
    assert one == two


# --- which camera wrote what ------------------------------------------------------------------------------------------


class Other(PlainCamera, name="other-camera"):
    """Another camera with the same cards."""


class Grasping(PlainCamera, name="grasping"):
    """Claims the files of others."""

    def owns(self, header, path):
        return header.get("INSTRUME") in ("plain-camera", "other-camera")


@pytest.fixture
def mixed(tmp_path):
    """Two frames of one camera, one of another, a strange file and one that is no FITS file."""
    for camera, names in ((PlainCamera(), "ab"), (Other(), "c")):
        for name in names:
            write_blank(camera, [camera.example()], tmp_path / f"{name}.fits")
    fits.PrimaryHDU(np.zeros((4, 4), np.int16), fits.Header({"INSTRUME": "stranger"})).writeto(tmp_path / "d.fits")
    (tmp_path / "e.fits").write_text("nothing")
    return tmp_path


def test_each_file_goes_to_the_camera_that_owns_it(mixed):
    found = look(sorted(mixed.iterdir()), mixed, [Other(), PlainCamera()])
    assert [(camera.name, frames.values("name")) for camera, frames in found.nights] == [
        ("plain-camera", ["a.fits", "b.fits"]),
        ("other-camera", ["c.fits"]),
    ]
    assert found.strange == ["d.fits"]
    assert found.failed == {"e.fits": "the file is not a FITS file: it does not begin with SIMPLE"}
    assert found.disputed == {}


def test_one_camera_is_not_given_the_files_of_others(mixed):
    found = look(sorted(mixed.iterdir()), mixed, [Other()])
    assert [(camera.name, frames.values("name")) for camera, frames in found.nights] == [("other-camera", ["c.fits"])]
    assert found.strange == ["a.fits", "b.fits", "d.fits"]


def test_a_file_that_two_cameras_claim_is_disputed(mixed):
    found = look(sorted(mixed.iterdir()), mixed, [PlainCamera(), Grasping()])
    assert found.disputed == {"a.fits": ("plain-camera", "grasping"), "b.fits": ("plain-camera", "grasping")}
    assert {camera.name: len(frames) for camera, frames in found.nights} == {"plain-camera": 2, "grasping": 1}


# --- the pixels of calibration frames ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """A night with the gain of 1.6 that the headers tell; the flats of one folder were made with another."""
    folder = tmp_path_factory.mktemp("night")
    simulate_night(CAMERA, folder / "honest", night=Night(science=1, bias=4, flat=4), camera=Camera(), seed=5)
    example = CAMERA.example()
    (amplifier,) = example.amplifiers
    other = Amplifier(amplifier.data, amplifier.overscan, 3.2, 10.0, amplifier.name)
    truth = simulate_night(
        CAMERA,
        folder / "wrong",
        night=Night(science=1, bias=4, flat=4),
        example=example.replace(amplifiers=(other,)),
        seed=5,
    )
    for made in truth.frames:
        with fits.open(made.path, mode="update") as hdus:
            hdus[0].header["GAIN1"], hdus[0].header["NOISE1"] = 1.6, 5.0
    return folder


def read(folder):
    return look(sorted(folder.iterdir()), folder, [CAMERA]).nights[0][1]


def test_levels_are_those_of_the_files(night):
    measured = {one.frame.name: one for one in levels(CAMERA, read(night / "honest"))}
    assert sorted(measured) == [f"{kind}-000{n}.fits" for kind in ("bias", "flat") for n in (1, 2, 3, 4)]
    with fits.open(night / "honest" / "flat-0002.fits") as hdus:
        counts = hdus[0].data[CAMERA.example().amplifiers[0].data.slices]
        strip = hdus[0].data[CAMERA.example().amplifiers[0].overscan.slices]
    one = measured["flat-0002.fits"]
    assert one.level == np.median(counts)
    assert one.above == np.median(counts) - np.median(strip)
    assert one.saturated == np.mean(counts >= 60000)


def test_honest_constants_are_confirmed(night):
    gain, noise = noise_findings(CAMERA, read(night / "honest"))
    assert (gain.severity, noise.severity) == ("note", "note")
    assert gain.text.startswith("gain 1.6")
    assert gain.text.endswith(" e-/adu from 3 pairs of flats through r; the camera says 1.6")
    assert gain.frames == tuple(f"flat-000{n}.fits" for n in (1, 2, 3, 4))


def test_constants_that_the_noise_contradicts_are_a_warning(night):
    gain, noise = noise_findings(CAMERA, read(night / "wrong"))
    assert (gain.severity, noise.severity) == ("warning", "warning")
    value, error = (float(word) for word in gain.text.split()[1:4:2])
    # 48 000 pixels in three pairs give the variance to 0.4 %.
    assert abs(value - 3.2) < 4 * max(error, 0.01)
    assert error < 0.05
    assert gain.text.endswith("the camera says 1.6")
    assert noise.text.endswith(" from 3 pairs of bias frames; the camera says 5 e-")


def test_saturated_flats_do_not_count_for_the_gain(night, tmp_path):
    for path in (night / "honest").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    for number in (1, 2, 3):
        with fits.open(tmp_path / f"flat-000{number}.fits", mode="update") as hdus:
            hdus[0].data[:100] = 65535
    measured = {one.frame.name: one for one in levels(CAMERA, read(tmp_path))}
    assert measured["flat-0001.fits"].saturated == pytest.approx(0.5)
    assert [f.text.split()[0] for f in noise_findings(CAMERA, read(tmp_path))] == ["read"]


def test_a_frame_that_cannot_be_read_has_its_reason(night, tmp_path):
    whole = (night / "honest" / "bias-0001.fits").read_bytes()
    (tmp_path / "bias-0001.fits").write_bytes(whole)
    frames = read(tmp_path)
    (tmp_path / "bias-0001.fits").write_bytes(whole[:20000])
    (one,) = levels(CAMERA, frames)
    assert "truncated" in one.error
    assert noise_findings(CAMERA, frames) == []


# --- every promise on every file --------------------------------------------------------------------------------------


def troubles(camera, path):
    return [(trouble.aspect, trouble.reason) for trouble in check_file(camera, path).troubles]


@pytest.fixture
def raw(tmp_path):
    simulate_night(CAMERA, tmp_path / "raw", night=Night(science=1, bias=1, flat=1))
    return tmp_path / "raw"


def test_good_files_pass_and_stay_as_they_are(raw):
    for path in sorted(raw.iterdir()):
        before = path.read_bytes()
        checked = check_file(CAMERA, path)
        assert checked.owned
        assert checked.troubles == ()
        assert [f.kind for f in checked.frames] == [path.name.split("-")[0]]
        assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is not a FITS file: it does not begin with SIMPLE"),
        (b"a text\n" * 900, "the file is not a FITS file: it does not begin with SIMPLE"),
        (b"SIMPLE  =                    T", "the file cannot be read: the header has no end; the file is truncated"),
        (bytes(range(256)) * 40, "the file is not a FITS file: it does not begin with SIMPLE"),
        (b"\x1f\x8b\x08broken", None),
    ],
)
def test_whatever_a_file_holds_it_gets_a_reason(tmp_path, content, reason):
    path = tmp_path / "odd.fits"
    path.write_bytes(content)
    ((aspect, said),) = troubles(CAMERA, path)
    assert aspect == "file"
    assert said == reason or (reason is None and said)


def test_a_truncated_file_and_one_that_is_not_there_get_a_reason(raw):
    path = raw / "bias-0001.fits"
    path.write_bytes(path.read_bytes()[:20000])
    ((_, reason),) = troubles(CAMERA, path)
    assert reason.startswith("the file is truncated: HDU 0 should end at byte ")
    ((aspect, reason),) = troubles(CAMERA, raw / "nowhere.fits")
    assert aspect == "file"
    assert "No such file" in reason


def test_a_file_of_another_camera_is_no_trouble(mixed):
    checked = check_file(CAMERA, mixed / "d.fits")
    assert not checked.owned
    assert checked.troubles == ()


class Late(PlainCamera):
    """Puts the middle behind the end."""

    def frames(self, path):
        return [f.replace(mid=f.start + 2 * f.exptime / 86400) for f in super().frames(path)]


class Beyond(PlainCamera):
    """Names an overscan outside the image."""

    def frames(self, path):
        for f in super().frames(path):
            (a,) = f.amplifiers
            yield f.replace(amplifiers=(Amplifier(a.data, Section(0, 10, 250, 300), a.gain, a.read_noise),))


class Larger(PlainCamera):
    """Promises more rows than there are."""

    def frames(self, path):
        return [f.replace(shape=(f.shape[0] + 1, f.shape[1])) for f in super().frames(path)]


class Unflagged(PlainCamera):
    """Has values that are no numbers, and does not say so."""

    def read(self, frame, region=None):
        picture = super().read(frame, region)
        pixels = picture.data.copy()
        pixels[0, 0] = np.nan
        return image(pixels, "adu", flags=picture.flags)


class Shifted(PlainCamera):
    """Cuts a region beside the one that was asked for."""

    def read(self, frame, region=None):
        picture = super().read(frame, region)
        return picture if region is None else image(np.roll(picture.data, 1, axis=0), "adu", flags=picture.flags)


class Lost(PlainCamera):
    """Has coordinates of another place."""

    def wcs(self, frame):
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
        wcs.wcs.crval = frame.ra, frame.dec + 3.0
        wcs.wcs.cdelt = -1e-4, 1e-4
        wcs.wcs.crpix = 100, 100
        return wcs


class Forgetful(PlainCamera):
    """Does not write the filter."""

    def header(self, frame):
        return super().header(frame.replace(filter=""))


class Defective(PlainCamera):
    """Breaks on a missing card."""

    def frames(self, path):
        raise KeyError("CCDSUM")


class Bold(PlainCamera):
    """Breaks when it is asked whose file it is."""

    def owns(self, header, path):
        return header["NOSUCH"] > 1


@pytest.mark.parametrize(
    ("camera", "aspect", "reason"),
    [
        (Late, "facts", "is not inside the exposure of 30 s that began at"),
        (Beyond, "facts", "overscan section [251:300,1:10] of amplifier 1 is outside the 256 x 200 pixels"),
        (Larger, "pixels", "the image has the shape (200, 256), the header promised (201, 256)"),
        (Unflagged, "pixels", "1 pixels are not a number and not flagged as such"),
        (Shifted, "region", "are not those of the whole image"),
        (Lost, "sky", "the coordinates put the middle of the image 3.00 deg from the pointing"),
        (Forgetful, "round trip", "filter came back as '' instead of 'r'"),
        (Defective, "frames", "the camera raised KeyError: 'CCDSUM'"),
        (Bold, "owner", "the camera raised KeyError: \"Keyword 'NOSUCH' not found.\""),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_broken_promise_is_found_where_it_is(raw, camera, aspect, reason):
    class Same(camera, name="plain-camera"):
        """Called like the camera that wrote the files."""

    found = troubles(Same(), raw / "science-0001.fits")
    assert {name for name, _ in found} == {aspect}
    assert any(reason in text for _, text in found), found


def test_a_kind_the_camera_does_not_write_is_no_trouble(raw):
    class Reader(PlainCamera, name="plain-camera"):
        """Reads, and writes nothing."""

        def header(self, frame):
            raise ValueError("there is no writing")

    assert troubles(Reader(), raw / "bias-0001.fits") == []


def test_checking_many_files_takes_no_more_memory(raw):
    def peak(count):
        tracemalloc.start()
        for _ in range(count):
            check_file(CAMERA, raw / "science-0001.fits")
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(2)
    image_bytes = 4 * 200 * 256
    assert peak(23) - peak(3) < 5 * image_bytes


# --- headers and back -------------------------------------------------------------------------------------------------


def test_a_blank_file_has_the_size_of_a_real_one_and_needs_no_disk(tmp_path):
    example = PlainCamera(rows=4000, columns=4000).example()
    path = tmp_path / "blank.fits"
    write_blank(CAMERA, [example], path)
    assert fits.getdata(path).shape == example.shape
    assert path.stat().st_blocks * 512 < 1e5
    with pytest.raises(OSError, match="exists"):
        write_blank(CAMERA, [example], path)


def test_differences_name_each_fact_with_both_values():
    one = CAMERA.example()
    assert differences(one, one) == []
    other = one.replace(filter="g", exptime=61.0, start=one.start + 1 / 86400, ra=one.ra + 0.01)
    assert [text.split(" ")[0] for text in differences(other, one)] == ["filter", "start", "exptime", "ra"]
    assert differences(other, one)[0] == "filter came back as 'g' instead of 'r'"
    assert differences(one.replace(ra=0.0001), one.replace(ra=359.9999)) == []
    assert differences(one, one.replace(exptime=nan)) == [], "what was not known is not missed"


def test_a_frame_error_of_the_camera_is_its_reason(raw):
    class Strict(PlainCamera, name="plain-camera"):
        """Refuses."""

        def frames(self, path):
            raise FrameError(f"{path}: read through 4 amplifiers")

    assert troubles(Strict(), raw / "bias-0001.fits") == [("frames", "bias-0001.fits: read through 4 amplifiers")]


def test_frames_are_plain_enough_for_json():
    assert Frame.from_dict(CAMERA.example().to_dict()) == CAMERA.example()
