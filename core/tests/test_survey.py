"""A survey finds out from sample files what a camera writes, and says how sure it is."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from albireo import mjd_to_iso
from albireo.survey import GIVE, SurveyError, survey
from albireo.survey.kinds import kind_of_words

START = 60310.10
LONGITUDE, LATITUDE = -70.4, -24.6
RA, DEC = 84.0, -20.0
GAIN, READ_NOISE, BIAS = 1.7, 5.0, 500.0
SHAPE, LIT = (128, 180), 160

WORDS = {"bias": "Zero Frame", "dark": "Dark Frame", "flat": "Twilight flat", "science": "Light"}


def sidereal_time(mjd):
    """Local sidereal time in degrees (Meeus 1998, equation 12.4)."""
    return (280.46061837 + 360.98564736629 * (mjd - 51544.5) + LONGITUDE) % 360.0


def airmass(mjd):
    """Secant of the zenith distance."""
    dec, latitude, hour_angle = np.radians([DEC, LATITUDE, sidereal_time(mjd) - RA])
    return 1.0 / (np.sin(dec) * np.sin(latitude) + np.cos(dec) * np.cos(latitude) * np.cos(hour_angle))


class Odd:
    """A camera with odd keywords, whose raw files are made by hand."""

    def __init__(self, folder: Path, seed: int = 0) -> None:
        self.folder, self.rng, self.number = folder, np.random.default_rng(seed), 0
        self.pixels = self.rng.normal(1.0, 0.01, (SHAPE[0], LIT))
        folder.mkdir(parents=True, exist_ok=True)

    def counts(self, kind, exptime, level):
        light = {"bias": 0.0, "dark": 0.5 * exptime, "flat": level * GAIN, "science": 60.0 * GAIN}[kind]
        electrons = np.zeros(SHAPE)
        electrons[:, :LIT] = self.rng.poisson(light * self.pixels)
        if kind == "science":
            electrons[30:34, 40:48] = 1e6
        counts = BIAS + (electrons + READ_NOISE * self.rng.standard_normal(SHAPE)) / GAIN
        return np.clip(np.rint(counts), 0, 16383).astype(np.uint16)

    def take(self, kind, exptime=0.0, level=0.0, name=None, drop=(), counts=None, **cards):
        begin = START + self.number * 120 / 86400
        self.number += 1
        clock = mjd_to_iso(begin)
        header = fits.Header()
        header.update(
            {
                "CAMERA": "Odd Cam 3",
                "OBSERVAT": "Paranal",
                "FRAMETYP": WORDS[kind],
                "FILTPOS": (3, "filter position"),
                "FILTNAM": ("R   ", "name of the filter"),
                "EXPOSURE": exptime,
                "DATE-OBS": (clock[:10], "UT date"),
                "UT": (clock[11:], "universal time at start"),
                "DATE": mjd_to_iso(begin + 1.0),
                "LTIME": (mjd_to_iso(begin - 4 / 24)[11:], "local time at start"),
                "OBJECT": "NGC 1" if kind == "science" else "",
                "RA": (0.0, "not written"),
                "DEC": (0.0, "not written"),
                "TELRA": RA,
                "TELDEC": DEC,
                "AIRMASS": 999.9 if kind != "science" else 2.3,
                "SECZ": airmass(begin + 0.5 * exptime / 86400),
                "CCDTEMP": (263.15, "CCD temperature [K]"),
                "SETTEMP": (260.0, "CCD temperature set value"),
                "LONGITUD": -LONGITUDE,
                "LATITUDE": LATITUDE,
                "ALTITUDE": 2400.0,
                "BINX": 1,
                "BINY": 1,
                "GAIN": 3.1,
                "PIXSCALE": 0.4,
            }
        )
        header.update(cards)
        for key in drop:
            del header[key]
        path = self.folder / (name or f"n{self.number:04d}.fits")
        path.parent.mkdir(exist_ok=True)
        data = self.counts(kind, exptime, level) if counts is None else counts
        fits.PrimaryHDU(data, header).writeto(path)
        return path

    def night(self, **options):
        for _ in range(4):
            self.take("bias", **options)
        for _ in range(3):
            self.take("dark", 100.0, **options)
        for level in (9000.0, 8500.0, 5000.0, 4800.0, 15500.0):
            self.take("flat", 5.0, level, **options)
        for _ in range(5):
            self.take("science", 60.0, **options)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    Odd(folder).night()
    (folder / "notes.fits").write_text("this is no FITS file")
    return survey(folder)


def test_kinds_are_told_by_the_words_of_a_card(found):
    kind = found["kind"]
    assert kind.value == "5 flat, 5 science, 4 bias, 3 dark"
    assert (kind.how, kind.certainty) == ("by FRAMETYP", "header")
    assert {"kind": "flat", "variant": "sky", "when": {"FRAMETYP": "Twilight flat"}} in kind.rule


def test_cards_are_found_by_value_and_habit(found):
    assert found["filter"].rule == "FILTNAM"
    assert found["exptime"].rule == "EXPOSURE"
    assert found["target"].rule == "OBJECT"
    assert found["temperature"].rule == {"keyword": "CCDTEMP", "unit": "K"}
    assert found["setup"].rule == {"binning": {"keyword": [["BINX", "BINY"]], "join": "x"}}
    assert found["identity"].rule == {"CAMERA": "Odd Cam 3", "OBSERVAT": "Paranal"}


def test_the_start_is_put_together_from_a_date_and_the_time_in_utc(found):
    start = found["start"]
    assert start.rule == {"keyword": "DATE-OBS", "time": "UT"}
    assert "DATE-OBS: only a date" in start.others
    assert "DATE-OBS with LTIME: local time" in start.others


def test_placeholders_are_named_and_not_used(found):
    assert found["pointing"].rule == {"ra": "TELRA", "dec": "TELDEC"}
    assert "RA, DEC: a placeholder, RA is 0 in all files" in found["pointing"].others
    airmass = found["airmass"]
    assert (airmass.rule, airmass.certainty) == ("SECZ", "header")
    assert any(text.startswith("AIRMASS: ") and text.endswith("999.9 to 999.9 in 12 files") for text in airmass.others)


def test_the_sky_tells_that_the_longitude_counts_west(found):
    assert found["site"].rule["longitude"] == {"keyword": "LONGITUD", "unit": "west"}


def test_dark_columns_are_the_overscan(found):
    assert found["trim"].rule == {"sizes": {"180x128": "[1:160,1:128]"}}
    assert found["overscan"].rule == {"sizes": {"180x128": "[161:180,1:128]"}}
    assert found["overscan"].certainty == "measured"


def test_gain_noise_saturation_and_dark_current_are_measured(found):
    gain, noise = found["gain"], found["read_noise"]
    assert gain.rule["value"] == pytest.approx(GAIN, rel=0.02)
    assert gain.rule["source"].startswith("photon transfer from 2 flat pairs: 1.")
    assert gain.rule["source"].endswith("; the header says 3.1")
    assert "GAIN: 3.1, contradicted by the flats" in gain.others
    assert "n0012.fits: close to saturation, 97 % of it" in gain.others
    assert any("their levels differ by" in text for text in gain.others)
    assert noise.rule["value"] == pytest.approx(READ_NOISE, rel=0.03)
    assert found["saturation"].rule["value"] == 16383
    assert float(found["bias level"].value.split(" +- ")[0]) == pytest.approx(BIAS, abs=0.1)
    # Half an electron in a second, through integers and a median of half an adu.
    assert float(found["dark current"].value.split("= ")[1].split()[0]) == pytest.approx(0.5, abs=0.01)


def test_files_that_cannot_be_read_are_listed(found):
    assert any(text.startswith("notes.fits was not read: the file is not a FITS file") for text in found.remarks)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("BIAS", "bias"),
        ("Zero", "bias"),
        ("dflat", None),
        ("DOMEFLAT", "flat (dome)"),
        ("SKY FLAT", "flat (sky)"),
        ("evening flats (bright)", "flat (sky)"),
        ("Flat Field", "flat"),
        ("dark for flats", "dark"),
        ("Light Frame", "science"),
        ("OBJECT", "science"),
        ("EXPOSE", "science"),
        ("sky", "sky"),
        ("FOCUS", "other"),
        ("M 67", None),
        ("NIR standard P576-F", None),
        ("flattery", None),
    ],
)
def test_words_of_the_field_tell_a_kind(text, kind):
    found = kind_of_words(text)
    assert (None if found is None else str(found)) == kind


def test_kinds_are_told_by_the_last_letter_of_a_name(tmp_path):
    camera = Odd(tmp_path)
    for number, (kind, letter) in enumerate([("bias", "b"), ("bias", "b"), ("flat", "f"), ("science", "o")]):
        camera.take(kind, 0.0 if kind == "bias" else 9.0, 6000.0, f"2024T{number}C1{letter}.fits", ("FRAMETYP",))
    kind = survey(tmp_path)["kind"]
    assert kind.how == "by the last letter of the name of the file"
    assert [(rule["kind"], rule["file"]) for rule in kind.rule] == [
        ("bias", "*b.fit*"),
        ("flat", "*f.fit*"),
        ("science", "*o.fit*"),
    ]


def test_kinds_are_told_by_folders(tmp_path):
    camera = Odd(tmp_path)
    for folder, kind in (("BIAS", "bias"), ("Flat", "flat"), ("object", "science")):
        camera.take(kind, 9.0 * (kind != "bias"), 6000.0, f"{folder}/{len(folder)}.fits", ("FRAMETYP",))
    kind = survey(tmp_path)["kind"]
    assert kind.how == "by the folder of the file"
    assert kind.rule[0] == {"kind": "bias", "file": "*/bias/*"}


def test_without_words_pixels_and_exposure_times_tell_the_kinds(tmp_path):
    camera = Odd(tmp_path)
    camera.night(drop=("FRAMETYP", "OBJECT"))
    found = survey(tmp_path)
    kind = found["kind"]
    assert kind.certainty == "unverified"
    assert GIVE in kind.value
    assert {"kind": "bias", "when": {"EXPOSURE": 0}} in kind.rule
    assert {"kind": "flat", "file": "n0008.fits"} in kind.rule
    assert kind.rule[-1] == {"kind": "science"}
    assert found["gain"].rule["value"] == pytest.approx(GAIN, rel=0.02)


def test_a_bias_that_was_exposed_is_doubted(tmp_path):
    camera = Odd(tmp_path)
    camera.take("bias", EXPOSURE=30.0)
    camera.take("science", 60.0)
    kind = survey(tmp_path)["kind"]
    assert kind.how == "by FRAMETYP; but 1 bias exposed for more than 1 s (n0001.fits)"
    assert kind.certainty == "unverified"


def test_a_gain_of_the_header_is_borne_out(tmp_path):
    camera = Odd(tmp_path)
    camera.night(GAIN=GAIN, RDNOISE=READ_NOISE, BIASSEC="[163:180,1:128]", TRIMSEC="[1:160,1:128]")
    found = survey(tmp_path)
    assert (found["gain"].rule, found["gain"].certainty) == ("GAIN", "measured")
    assert (found["read_noise"].rule, found["read_noise"].certainty) == ("RDNOISE", "measured")
    assert (found["overscan"].rule, found["trim"].rule) == ("BIASSEC", "TRIMSEC")


def test_sections_that_see_light_or_do_not_fit_are_refused(tmp_path):
    camera = Odd(tmp_path)
    camera.night(BIASSEC="[140:180,1:128]", TRIMSEC="[1:400,1:128]")
    found = survey(tmp_path)
    assert found["overscan"].rule == {"sizes": {"180x128": "[161:180,1:128]"}}
    assert "BIASSEC [140:180,1:128]: it sees light" in found["overscan"].others
    assert "TRIMSEC '[1:400,1:128]': it does not fit an image of 180x128" in found["trim"].others


def test_a_local_clock_is_found_out_by_the_sidereal_time(tmp_path):
    camera = Odd(tmp_path)
    for number in range(6):
        begin = START + number * 120 / 86400
        camera.take(
            "science",
            60.0,
            drop=("UT", "DATE", "LTIME"),
            LONGITUD=LONGITUDE,
            **{"DATE-OBS": mjd_to_iso(begin - 4 / 24), "LST": sidereal_time(begin) / 15.0},
        )
    start = survey(tmp_path)["start"]
    assert start.rule == {"keyword": "DATE-OBS", "offset": -4.0}
    assert start.certainty == "unverified"


def test_one_flat_gives_no_gain_and_says_why(tmp_path):
    camera = Odd(tmp_path)
    for kind in ("bias", "bias", "flat", "science"):
        camera.take(kind, 9.0 * (kind != "bias"), 6000.0, drop=("GAIN",))
    gain = survey(tmp_path)["gain"]
    assert (gain.value, gain.certainty, gain.rule) == (GIVE, "unknown", None)
    assert gain.how == "it needs two flats of one filter"


def test_saturated_flats_give_no_gain_and_say_why(tmp_path):
    camera = Odd(tmp_path)
    for kind in ("bias", "bias", "flat", "flat", "science"):
        camera.take(kind, 9.0 * (kind != "bias"), 40000.0)
    gain = survey(tmp_path)["gain"]
    assert gain.how == "not tested: all flats are saturated"
    assert gain.rule == "GAIN"
    assert gain.certainty == "unverified"
    assert gain.others == ("n0003.fits: saturated", "n0004.fits: saturated")


def test_a_single_frame_is_enough_for_its_cards(tmp_path):
    path = Odd(tmp_path).take("science", 60.0)
    (tmp_path / "packed.fits.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    found = survey(tmp_path)
    assert found["filter"].rule == "FILTNAM"
    assert found["read_noise"].value == GIVE
    assert {finding.quantity for finding in found.unknown} >= {"bias level", "read_noise"}


def test_the_commonest_size_is_measured(tmp_path):
    camera = Odd(tmp_path)
    camera.night()
    camera.take("science", 60.0, counts=np.full((64, 90), 560, np.uint16))
    found = survey(tmp_path)
    assert any(text.startswith("the samples have several sizes: 180x128 (17 files), 90x64") for text in found.remarks)
    assert found.example.size == "180x128"
    assert found["gain"].rule["value"] == pytest.approx(GAIN, rel=0.02)


def test_several_detectors_are_told_apart(tmp_path):
    camera = Odd(tmp_path)
    for chip in ("A1", "A1", "A1", "B2"):
        camera.take("bias", CCD_SER=chip)
        camera.take("science", 60.0, CCD_SER=chip)
    found = survey(tmp_path)
    assert found["setup"].rule["chip"] == "CCD_SER"
    assert "CCD_SER" not in found["identity"].rule
    assert any(text.startswith("CCD_SER tells several detectors apart: A1, B2.") for text in found.remarks)


def test_each_amplifier_of_a_mosaic_is_measured(tmp_path):
    rng = np.random.default_rng(3)
    for number in range(5):
        primary = fits.PrimaryHDU()
        light = 0.0 if number < 2 else 6000.0 if number < 4 else 80.0
        primary.header.update(
            {
                "INSTRUME": "four eyes",
                "OBSTYPE": "BIAS" if number < 2 else "FLAT" if number < 4 else "EXPOSE",
                "EXPTIME": 0.0 if number < 2 else 10.0,
                "DATE-OBS": mjd_to_iso(START + number / 100),
                "FILTER": "w",
                "RDNOISE": 7.0,
            }
        )
        units = [primary]
        for gain, place in ((2.0, "[1:64,64:1]"), (3.0, "[128:65,64:1]")):
            counts = rng.normal(1000.0, 7.0 / gain, (64, 80))
            counts[:, :64] += rng.poisson(light * gain, (64, 64)) / gain
            unit = fits.ImageHDU(np.rint(counts).astype(np.uint16))
            unit.header.update({"DATASEC": "[1:64,1:64]", "BIASSEC": "[67:80,1:64]", "DETSEC": place, "GAIN": gain})
            units.append(unit)
        fits.HDUList(units).writeto(tmp_path / f"m{number}.fits")
    found = survey(tmp_path)
    assert found["amplifiers"].rule == {
        "hdu": "each",
        "data": "DATASEC",
        "overscan": "BIASSEC",
        "place": "DETSEC",
        "gain": "GAIN",
        "read_noise": "RDNOISE",
    }
    for hdu, gain in ((1, 2.0), (2, 3.0)):
        value, error = map(float, found[f"gain, HDU {hdu}"].value.split(" e-")[0].split(" +- "))
        assert value == pytest.approx(gain, abs=4 * error)
        assert error < 0.1


def test_bad_calls_say_what_is_wrong(tmp_path):
    nowhere = tmp_path / "nowhere"
    with pytest.raises(SurveyError) as caught:
        survey(nowhere)
    assert str(caught.value) == f"{nowhere} does not exist; give the folder with the sample files"
    with pytest.raises(SurveyError) as caught:
        survey(tmp_path)
    assert str(caught.value) == (
        f"there are no FITS images below {tmp_path}. Files should end in .fits, .fit, .fts, .fz or .gz"
    )
    camera = Odd(tmp_path)
    camera.take("bias")
    camera.take("bias")
    with pytest.raises(SurveyError) as caught:
        survey(tmp_path)
    assert str(caught.value) == (
        f"there is no science frame among the 2 files below {tmp_path} (2 bias, by FRAMETYP); add one, such as a frame "
        "of any field of stars"
    )
