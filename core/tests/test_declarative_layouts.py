"""Cameras that a table describes and whose files are not one image each: amplifiers, extensions, halves, crops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from pydantic import Field

from albireo import CameraDefinition, DeclarativeInstrument, FrameError, Frames, Section, load_definition


class Camera(DeclarativeInstrument, name="test-camera"):
    """A camera whose table is given by path."""

    table: Path = Field(description="The table.")

    @property
    def camera(self) -> CameraDefinition:
        return load_definition(self.table)


@pytest.fixture
def camera(tmp_path):
    def make(text: str, example: str = "[example]\nNAXIS1 = 30\nNAXIS2 = 20\n", **options: Any) -> Camera:
        path = tmp_path / "cam.toml"
        path.write_text(f'name = "cam"\n{text}\n{example}')
        return Camera(table=path, **options)

    return make


def write(path: Path, images: list[tuple[np.ndarray, dict[str, Any]]], primary: dict[str, Any]) -> Path:
    units = [fits.PrimaryHDU(header=fits.Header(primary))]
    units += [fits.ImageHDU(data, fits.Header(cards)) for data, cards in images]
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.HDUList(units).writeto(path)
    return path


# --- amplifiers -------------------------------------------------------------------------------------------------------

AMPLIFIERS = """
[[kinds]]
kind = "science"
[[amplifiers]]
hdu = "each"
data = "DATASEC"
overscan = "BIASSEC"
place = "DETSEC"
[frame]
exptime = "EXPTIME"
gain = "GAIN"
read_noise = "RDNOISE"
"""


def four_amplifiers(folder: Path) -> tuple[Path, np.ndarray, dict[str, float]]:
    """Write a chip of 40 x 60 pixels, binned 2 x 2 and read towards its four corners, with an overscan of 5 columns."""
    chip = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30)
    images, levels = [], {}
    for number, (rows, columns, place) in enumerate(
        (
            (slice(0, 10), slice(0, 15), "[101:130,201:220]"),
            (slice(0, 10), slice(15, 30), "[160:131,201:220]"),
            (slice(10, 20), slice(0, 15), "[101:130,240:221]"),
            (slice(10, 20), slice(15, 30), "[160:131,240:221]"),
        ),
        1,
    ):
        lit = chip[rows, columns][:: -1 if rows.start else 1, :: -1 if columns.start else 1]
        dark = np.full((10, 5), 1000 * number, dtype=np.uint16)
        data = np.hstack([lit, np.full((10, 2), 7, np.uint16), dark])
        data = np.vstack([data, np.full((3, 22), 9, np.uint16)])
        cards = {"GAIN": 1.0 + number, "DATASEC": "[1:15,1:10]", "BIASSEC": "[18:22,1:10]", "DETSEC": place}
        images.append((data, cards))
        levels[f"HDU {number}"] = 1000.0 * number
    path = write(folder / "four.fits", images, {"EXPTIME": 10.0, "GAIN": 0.0, "RDNOISE": 5.0})
    return path, chip, levels


def test_a_mosaic_is_put_together_as_its_amplifiers_lie_on_the_detector(camera, tmp_path):
    path, chip, levels = four_amplifiers(tmp_path)
    stage = camera(AMPLIFIERS)
    (frame,) = stage.frames(path)
    picture = stage.read(frame).data
    assert np.array_equal(picture[:20, :30], chip)
    assert frame.shape == (20, 40)
    assert [a.gain for a in frame.amplifiers] == [2.0, 3.0, 4.0, 5.0]
    assert [a.read_noise for a in frame.amplifiers] == [5.0] * 4
    for amplifier in frame.amplifiers:
        assert amplifier.overscan is not None
        assert amplifier.overscan.x0 >= 30, "overscans lie behind the lit pixels"
        assert (amplifier.overscan.y0, amplifier.overscan.y1) == (amplifier.data.y0, amplifier.data.y1)
        assert np.all(picture[amplifier.overscan.slices] == levels[amplifier.name])


def test_a_region_of_a_mosaic_is_a_cut_of_the_whole(camera, tmp_path):
    path, _, _ = four_amplifiers(tmp_path)
    stage = camera(AMPLIFIERS)
    (frame,) = stage.frames(path)
    region = Section(7, 14, 11, 34)
    assert np.array_equal(stage.read(frame, region).data, stage.read(frame).data[region.slices])


def test_amplifiers_that_read_the_same_pixels_are_refused(camera, tmp_path):
    data = np.zeros((10, 10), np.uint16)
    cards = {"DATASEC": "[1:10,1:10]", "BIASSEC": "[1:10,1:10]", "DETSEC": "[1:10,1:10]"}
    path = write(tmp_path / "two.fits", [(data, cards), (data, cards)], {"EXPTIME": 1.0})
    rules = AMPLIFIERS.replace('overscan = "BIASSEC"\n', "")
    with pytest.raises(FrameError, match=r"two\.fits: HDU 2 and HDU 1 read the same pixels of the detector"):
        camera(rules).frames(path)


def test_an_overscan_between_two_amplifiers_of_one_image_goes_to_the_end(camera, tmp_path):
    data = np.hstack([np.full((6, n), value, np.uint16) for n, value in ((8, 1), (2, 100), (2, 200), (8, 2))])
    path = tmp_path / "one.fits"
    cards = {"TRIM01": "[1:8,1:6]", "TRIM02": "[13:20,1:6]", "BIAS01": "[9:10,1:6]", "BIAS02": "[11:12,1:6]"}
    fits.PrimaryHDU(data, fits.Header(cards | {"GAIN_01": 1.5, "GAIN_02": 1.6, "NUMAMP": 2})).writeto(path)
    stage = camera("""
[[kinds]]
kind = "flat"
[[amplifiers]]
name = "A"
when = { NUMAMP = 2 }
data = "TRIM01"
overscan = "BIAS01"
gain = "GAIN_01"
[[amplifiers]]
name = "B"
when = { NUMAMP = 2 }
data = "TRIM02"
overscan = "BIAS02"
gain = "GAIN_02"
""")
    (frame,) = stage.frames(path)
    picture = stage.read(frame).data
    assert np.array_equal(picture[0], [1] * 8 + [2] * 8 + [100] * 2 + [200] * 2)
    first, second = frame.amplifiers
    assert (first.gain, second.gain) == (1.5, 1.6)
    assert first.overscan is not None
    assert second.overscan is not None
    assert np.all(picture[first.overscan.slices] == 100)
    assert np.all(picture[second.overscan.slices] == 200)


def test_amplifiers_side_by_side_stay_where_they_are(camera, tmp_path):
    path = tmp_path / "one.fits"
    cards = {"TRIM01": "[1:8,1:6]", "TRIM02": "[9:16,1:6]"}
    fits.PrimaryHDU(np.zeros((6, 16), np.uint16), fits.Header(cards)).writeto(path)
    rules = '[[kinds]]\nkind = "flat"\n[[amplifiers]]\ndata = "TRIM01"\n[[amplifiers]]\ndata = "TRIM02"\n'
    (frame,) = camera(rules).frames(path)
    assert frame.tiles == ()
    assert [a.data.x0 for a in frame.amplifiers] == [0, 8]


def test_the_recipe_gives_a_gain_for_each_amplifier_by_name(camera, tmp_path):
    path, _, _ = four_amplifiers(tmp_path)
    (frame,) = camera(AMPLIFIERS, gain={"HDU 2": 9.0}).frames(path)
    assert [a.gain for a in frame.amplifiers] == [2.0, 9.0, 4.0, 5.0]
    assert "gain of HDU 2 9 e-/adu from the recipe; the header says 3" in frame.notes


# --- several images in a file -----------------------------------------------------------------------------------------


def test_every_image_of_a_file_is_a_frame_where_the_definition_says_so(camera, tmp_path):
    data = np.zeros((4, 5), np.uint16)
    images = [(data, {"CHIP": "a"}), (data + np.uint16(1), {"CHIP": "b", "FILTER": "z"})]
    path = write(tmp_path / "each.fits", images, {"FILTER": "r"})
    stage = camera('hdu = "each"\n[[kinds]]\nkind = "flat"\n[frame]\ndetector = "CHIP"\nfilter = "FILTER"\n')
    first, second = stage.frames(path)
    assert (first.detector, first.filter, first.hdu) == ("a", "r", 1), (
        "what an extension lacks is in the primary header"
    )
    assert (second.detector, second.filter, second.hdu) == ("b", "z", 2)
    assert stage.read(second).data.max() == 1


HALVES = """
simultaneous = true
[[kinds]]
kind = "science"
[[parts]]
name = "low"
section = "[1:30,1:8]"
until = 2020-06-01
[[parts]]
name = "high"
section = "[3:28,11:20]"
until = 2020-06-01
[frame]
detector = { keyword = "part", values = { low = "C2Z", high = "C2Y" } }
filter = { keyword = "part", values = { low = "Z", high = "Y" } }
exptime = "EXPTIME"
start = "DATE-OBS"
"""


def half_frame(folder: Path, date: str = "2020-01-02T03:04:05", name: str = "a.fits") -> Path:
    path = folder / name
    header = fits.Header({"EXPTIME": 10.0, "DATE-OBS": date, "FILTER": "Z/Y"})
    header.update({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": 15.0})
    header.update({"CRPIX2": 10.0, "CD1_1": -1e-4, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 1e-4})
    fits.PrimaryHDU(np.arange(600, dtype=np.int16).reshape(20, 30), header).writeto(path)
    return path


def test_two_halves_of_an_image_are_two_frames(camera, tmp_path):
    path = half_frame(tmp_path)
    stage = camera(HALVES)
    low, high = stage.frames(path)
    assert (low.detector, low.filter, low.shape) == ("C2Z", "Z", (8, 30))
    assert (high.detector, high.filter, high.shape) == ("C2Y", "Y", (10, 26))
    whole = np.arange(600).reshape(20, 30)
    assert np.array_equal(stage.read(low).data, whole[0:8])
    assert np.array_equal(stage.read(high).data, whole[10:20, 2:28])
    assert np.array_equal(stage.read(high, Section(1, 3, 4, 9)).data, whole[11:13, 6:11])


def test_sky_coordinates_of_a_half_are_those_of_its_pixels(camera, tmp_path):
    stage = camera(HALVES)
    _, high = stage.frames(half_frame(tmp_path))
    wcs = stage.wcs(high)
    assert wcs is not None
    # Pixel (14, 9) of the file, from zero, is the reference pixel: (12, -1) of the half, which begins at (2, 10).
    assert wcs.all_pix2world([[12.0, -1.0]], 0)[0] == pytest.approx([150.0, 2.0], abs=1e-9)


def test_sky_coordinates_of_a_turned_amplifier_are_those_of_its_pixels(camera, tmp_path):
    header = fits.getheader(half_frame(tmp_path))
    cards = {key: header[key] for key in header if key[:2] in ("CT", "CR", "CD")}
    cards |= {"DATASEC": "[3:12,1:10]", "DETSEC": "[10:1,10:1]"}
    path = write(tmp_path / "turned.fits", [(np.arange(200, dtype=np.int16).reshape(10, 20), cards)], {"EXPTIME": 1.0})
    stage = camera(AMPLIFIERS.replace('overscan = "BIASSEC"\n', "").replace('kind = "science"', 'kind = "flat"'))
    (frame,) = stage.frames(path)
    picture, wcs = stage.read(frame).data, stage.wcs(frame)
    row, column = 4, 7  # of the file, from zero
    y, x = (int(place[0]) for place in np.nonzero(picture == row * 20 + column))
    expected = fits.Header(cards)
    there = WCS(expected).all_pix2world([[column, row]], 0)[0]
    assert wcs is not None
    assert wcs.all_pix2world([[x, y]], 0)[0] == pytest.approx(there, abs=1e-9)


def test_a_part_holds_for_its_dates_only(camera, tmp_path):
    (frame,) = camera(HALVES).frames(half_frame(tmp_path, "2020-06-01T00:00:00"))
    assert frame.shape == (20, 30)


def test_a_part_beyond_the_image_is_refused(camera, tmp_path):
    rules = HALVES.replace("[3:28,11:20]", "[3:28,11:21]")
    with pytest.raises(FrameError, match=r"a\.fits: the part high lies at \[3:28,11:21\], beyond the image of 30 x 20"):
        camera(rules).frames(half_frame(tmp_path))


def test_detectors_that_expose_at_once_share_an_exposure(camera, tmp_path):
    stage = camera(HALVES)
    first, second = half_frame(tmp_path), half_frame(tmp_path, "2020-01-02T03:04:20", "b.fits")
    night = stage.together(Frames([*stage.frames(first), *stage.frames(second)]))
    ids = night.values("exposure")
    assert ids[0] == ids[1] != ids[2] == ids[3]
    assert all(ids)


# --- names of files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("dark*", "dark-0007.fits"),
        ("*/DARK/*", "night/DARK/dark-0007.fits"),
        ("d_*", "d_dark-0007.fits"),
        ("*d.fits", "dark-0007d.fits"),
    ],
)
def test_simulated_files_are_called_so_that_their_kind_can_be_told(camera, tmp_path, pattern, name):
    stage = camera(f'[[kinds]]\nkind = "dark"\nfile = "{pattern}"\n')
    dark = stage.example().replace(kind="dark")
    assert stage.filename(dark, 7) == name
    assert stage.from_header(fits.Header({"NAXIS1": 30, "NAXIS2": 20}), tmp_path / name)[0].kind == "dark"


def test_the_example_of_a_camera_that_tells_kinds_by_folder_is_a_science_frame(camera):
    assert camera('[[kinds]]\nkind = "science"\nfile = "*/ORIGINAL/*"\n').example().kind == "science"


# --- values that depend -----------------------------------------------------------------------------------------------

VALUES = """
[[kinds]]
kind = "bias"
test = "EXPTIME == 0"
[[kinds]]
kind = "dark"
file = "*/DARK/*"
[[kinds]]
kind = "science"
when = { folder = "ORIGINAL" }
[[placeholders]]
of = ["ra", "dec"]
when = { RA = "0", DEC = "31" }
[[spared]]
kinds = ["bias"]
when = { detector = "C2" }
[frame]
detector = { keyword = "file", pattern = '(C\\d)' }
exposure = { keyword = "file", pattern = '^\\d+' }
exptime = { keyword = "EXPTIME", unit = "ms" }
start = [
  { keyword = "DATE-OBS" },
  { keyword = [["DAY", "CLOCK"]], format = "%d.%m.%Y %H:%M", offset = "TIMEZONE" },
  { keyword = "file", pattern = '\\d{8}T\\d{6}', format = "%Y%m%dT%H%M%S" },
]
ra = "RA"
dec = "DEC"
saturation = { value = "65536 / SOFTGAIN", source = "clipped flats", certainty = "measured" }
read_noise = { keyword = "RN", unit = "adu" }
temperature = { keyword = "TEMP", pattern = '(-?[\\d.]+) C' }
linearity = [{ value = [1.0, -1e-6], until = 2016-07-01 }, { value = [1.0, 2e-6], when = { detector = "C2" } }]

[[frame.gain.cases]]
value = "18.64 / SOFTGAIN"
when = { detector = "C1" }
source = "pipeline"
certainty = "code"
[[frame.gain.cases]]
default = 2.0
since = 2015-01-01
source = "guess"
"""


@pytest.fixture
def one(camera, tmp_path):
    def read(cards: dict[str, Any], name: str = "20150101T000000C1.fits", rules: str = VALUES, **options: Any):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        fits.PrimaryHDU(np.zeros((20, 30), np.uint16), fits.Header(cards)).writeto(path, overwrite=True)
        (frame,) = camera(rules, **options).frames(path)
        return frame

    return read


def test_constants_depend_on_detector_date_and_cards(one):
    first = one({"SOFTGAIN": 4, "EXPTIME": 10}, "20150101T000000C1.fits")
    assert first.gain == pytest.approx(4.66)
    assert first.saturation == 16384
    assert "gain 4.66 e-/adu from the camera's definition (pipeline; code)" in first.notes
    assert "saturation 16384 adu from the camera's definition (clipped flats; measured)" in first.notes
    later = one({"EXPTIME": 10}, "20150101T000000C2.fits")
    assert later.gain == 2.0
    assert np.isnan(later.saturation), "an expression over a card that is not there has no value"
    before = one({"EXPTIME": 10}, "20141231T235959C2.fits")
    assert np.isnan(before.gain)
    assert (first.linearity, later.linearity) == ((1.0, -1e-6), (1.0, -1e-6))
    assert one({"EXPTIME": 10}, "20160701T000000C2.fits").linearity == (1.0, 2e-6)
    assert one({"EXPTIME": 10}, "20160701T000000C1.fits").linearity == ()


def test_the_recipe_gives_a_gain_for_each_detector(one):
    given = {"C1": 4.7}
    frame = one({"SOFTGAIN": 4, "EXPTIME": 10}, gain=given)
    assert frame.gain == 4.7
    assert "gain 4.7 e-/adu from the recipe; the camera's definition says 4.66" in frame.notes
    assert one({"EXPTIME": 10}, "20150101T000000C2.fits", gain=given).gain == 2.0


def test_a_time_comes_from_the_first_rule_whose_cards_hold_a_date(one):
    assert one({"EXPTIME": 1, "DATE-OBS": "2015-03-04T05:06:07"}).start == pytest.approx(57085.21258, abs=1e-5)
    local = one({"EXPTIME": 1, "DAY": "04.03.2015", "CLOCK": "07:06", "TIMEZONE": 2})
    assert local.start == pytest.approx(57085.2125, abs=1e-6)
    broken = one({"EXPTIME": 1, "DATE-OBS": "-1561322100--1620091000"}, "20150304T050607C1.fits")
    assert broken.start == pytest.approx(57085.21258, abs=1e-5)
    assert any(note.startswith("start by another card: start cannot be read from DATE-OBS") for note in broken.notes)


def test_kinds_come_from_expressions_paths_and_folders(one):
    assert one({"EXPTIME": 0}).kind == "bias"
    assert one({"EXPTIME": 5}, "DARK/20150101T000000C1.fits").kind == "dark"
    assert one({"EXPTIME": 5}, "ORIGINAL/20150101T000000C1.fits").kind == "science"
    assert one({"EXPTIME": 5}, "20150101T000000C1.fits").kind == "unknown"


def test_placeholders_are_unknown_and_said_to_be(one):
    frame = one({"EXPTIME": 1, "RA": "0", "DEC": "31"})
    assert not frame.has_position
    assert "ra, dec unknown: RA = '0', DEC = '31' is a placeholder" in frame.notes
    assert one({"EXPTIME": 1, "RA": "0", "DEC": "30"}).dec == 30.0


def test_units_patterns_and_facts(one):
    frame = one(
        {"EXPTIME": 1500, "SOFTGAIN": 4, "RN": 2.41, "TEMP": "chip at -30,5 or -30.5 C"}, "20150101T000000C1.fits"
    )
    assert frame.exptime == 1.5
    assert frame.read_noise == pytest.approx(2.41 * 4.66)
    assert frame.temperature == -30.5
    assert (frame.detector, frame.exposure) == ("C1", "20150101")
    assert frame.spared == ()
    assert one({"EXPTIME": 1}, "20150101T000000C2.fits").spared == ("bias",)


def test_the_second_card_of_a_name_counts_where_the_first_is_no_section(camera, tmp_path):
    path = tmp_path / "twice.fits"
    header = fits.Header()
    header.append(("SC0DTDS", "FLI detector"))
    header.append(("SC0DTDS", "sx 8 sy 2 nx 20 ny 16"))
    fits.PrimaryHDU(np.zeros((20, 30), np.uint16), header).writeto(path)
    (frame,) = camera('[[kinds]]\nkind = "flat"\n[frame]\ntrim = "SC0DTDS"\n').frames(path)
    assert frame.amplifiers[0].data == Section(2, 18, 8, 28)


def test_headers_of_several_detectors_come_back(camera, tmp_path):
    rules = """
[[kinds]]
kind = "science"
when = { IMGTYPE = "object" }
[[kinds]]
kind = "flat"
when = { IMGTYPE = "flat" }
[frame]
detector = { keyword = "SERIALN", values = { "VSC-1" = "C1", "VSC-2" = "C2" } }
filter = "FILTER"
exptime = "EXPOSURE"
start = { keyword = [["DAY", "CLOCK"]], format = "%Y-%m-%d %H:%M:%S.%f" }
gain = { keyword = "GAIN", cases = [{ value = 3.0, when = { detector = "C2" } }] }
[setup]
binning = "BINNING"
"""
    example = """
[example]
NAXIS1 = 30
NAXIS2 = 20
IMGTYPE = "object"
SERIALN = "VSC-1"
FILTER = "g"
EXPOSURE = 5.0
DAY = "2023-11-22"
CLOCK = "03:02:49.000000"
GAIN = 1.0
BINNING = "2x2"
UNREAD = "kept"
[[more_examples]]
SERIALN = "VSC-2"
FILTER = "r"
"""
    stage = camera(rules, example)
    first, second = stage.examples()
    assert (first.detector, first.gain, second.detector, second.gain) == ("C1", 1.0, "C2", 3.0)
    for frame in (first, second.replace(kind="flat", filter="i", exptime=2.5)):
        header = stage.header(frame)
        assert header["UNREAD"] == "kept"
        header.update({"NAXIS1": 30, "NAXIS2": 20})
        (back,) = stage.from_header(header, Path(frame.path))
        assert abs(back.start - frame.start) * 86400 < 1e-3
        assert back.replace(start=frame.start, mid=frame.mid, notes=frame.notes) == frame
