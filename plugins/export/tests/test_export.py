"""The report `export`, read back with readers that are not ours."""

import csv
import json
import tomllib

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.time import Time
from pydantic import ValidationError

from albireo import Flag, Results
from albireo.testing import conformance
from albireo_export import Export

FRAMES = 30
BRIGHT, FAINT, TARGET = 2, 5, 3
MAGNITUDES = {BRIGHT: 12.0, FAINT: 13.5, TARGET: 12.8}
"""Catalogue magnitudes of the simulated stars; the target's is its mean."""

BJD, MJD = 2460310.505, 60310.0
"""Of the first frame; the light-travel time of this night is 432 s, and grows."""


@pytest.mark.parametrize("case", list(conformance.cases(Export())), ids=str)
def test_conforms(case):
    case()


def night(folder, bands=("r",), target="V0001 Cyg", unit="", timesys="BJD_TDB", noise=0.002, dim=(), scale=1.0):
    """Write a run folder: a target that varies by ten percent, and two comparison stars, through clouds."""
    rng = np.random.default_rng(3)
    (folder / "curves").mkdir(parents=True, exist_ok=True)
    elapsed = np.arange(FRAMES) / 1440.0
    mjd = MJD + elapsed
    bjd = BJD + elapsed * (1.0 + 1e-5)
    wave = 1.0 + 0.1 * np.sin(2.0 * np.pi * elapsed * 60.0)
    rows, names, wide = [], [], {}
    for number, band in enumerate(bands):
        eye = f"C{number + 1}" if len(bands) > 1 else ""
        clouds = 1.0 - 0.3 * rng.random(FRAMES)
        exposures = [f"e{k:02d}" for k in range(FRAMES)]
        for star, magnitude in MAGNITUDES.items():
            light = 1e4 * 10 ** (-0.4 * (magnitude - 12.0)) * clouds * (wave if star == TARGET else 1.0)
            for radius in (4.0, 6.0):
                for k in range(FRAMES):
                    rows.append(
                        (f"{band}{k:02d}", star, eye, band, mjd[k], bjd[k], 30.0, light[k] * radius / 6.0, radius)
                    )
        flux = wave * (1.0 + noise * rng.standard_normal(FRAMES))
        table = Table(
            {
                "time": bjd if timesys == "BJD_TDB" else mjd + 2400000.5,
                "flux": scale * flux / np.median(flux),
                "flux_err": np.full(FRAMES, scale * noise),
                "airmass": np.linspace(1.0, 1.4, FRAMES),
                "x": np.full(FRAMES, 100.25),
                "y": np.full(FRAMES, 50.5),
                "sky": np.full(FRAMES, 80.0),
                "fwhm": np.full(FRAMES, 3.0),
                "exptime": np.full(FRAMES, 30.0),
                "flags": np.zeros(FRAMES, dtype=np.int32),
                "frame": [f"{band}{k:02d}" for k in range(FRAMES)],
                "exposure": exposures,
            },
            units={"time": "d", "x": "pix", "y": "pix", "sky": "electron / pix", "fwhm": "pix", "exptime": "s"},
            meta={
                "OBJECT": target,
                "SOURCE": TARGET,
                "FIELD": "sky",
                "FILTER": band,
                "DETECTOR": eye,
                "METHOD": "aperture",
                "APERTURE": 6.0,
                "UNIT": unit,
                "TIMESYS": timesys,
                "COMPARISONS": {BRIGHT: 0.7, FAINT: 0.3},
                "SCATTER": 0.002,
                "EXPECTED": 0.002,
            },
        )
        for k in dim:
            table["flux"][k] = 0.001
        table["flux"][4] = np.nan
        table["flags"][7] = int(Flag.OUTLIER)
        if unit:
            table["flux"].unit = table["flux_err"].unit = unit
        names.append(f"curves/{number}.ecsv")
        table.write(folder / names[-1], format="ascii.ecsv", overwrite=True)
        wide |= {f"time_{band}": bjd, f"flux_{band}": np.where(np.arange(FRAMES) == 4, np.nan, 1.0)}
        wide[f"flux_err_{band}"] = np.full(FRAMES, noise)
    paths = []
    if len(bands) > 1:
        wide["flux_r"][8] = np.nan
        facts = {"TIMESYS": timesys}
        together = Table({"exposure": exposures, **wide}, meta={"OBJECT": target, "BANDS": dict.fromkeys(bands, facts)})
        paths = ["curves/bands.ecsv"]
        together.write(folder / paths[0], format="ascii.ecsv", overwrite=True)
    columns = ("frame", "source", "detector", "filter", "mjd", "bjd_tdb", "exptime", "flux", "aperture")
    photometry = Table(rows=rows, names=columns)
    photometry["method"] = "aperture"
    photometry.write(folder / "photometry.fits", overwrite=True)
    Table({"name": ["a"], "instrument": ["opticam"]}).write(folder / "frames.ecsv", overwrite=True)
    (folder / "run.toml").write_text(f'[[targets]]\nname = "{target}"\nra = "20:00:00"\ndec = "+30:30:00"\n')
    (folder / "run.json").write_text(
        json.dumps({"title": "t", "curves": names, "bands": paths, "citations": ["Somebody 2020"]})
    )
    return Results(folder)


def contents(folder):
    return Table.read(folder / "export/contents.ecsv", format="ascii.ecsv")


def write(run, **options):
    """Write the report; give the texts of its files."""
    paths = Export(**options).write(run, run.folder / "report")
    assert paths[0].name == "contents.ecsv"
    assert all(path.exists() for path in paths)
    return {path.name: path for path in paths[1:]}, contents(run.folder / "report")


def read_aavso(path):
    """Read the format by its description: parameters, then fields between commas."""
    lines = path.read_text(encoding="ascii").splitlines()
    head = dict(line[1:].split("=", 1) for line in lines if line.startswith("#") and "=" in line)
    (names,) = [line[1:].split(",") for line in lines if line.startswith("#NAME")]
    return head, [dict(zip(names, line.split(","), strict=True)) for line in lines if not line.startswith("#")]


# --- AAVSO ------------------------------------------------------------------------------------------------------------


KNOWN = [
    {"star": BRIGHT, "name": "000-BBP-713", "magnitudes": {"r": MAGNITUDES[BRIGHT]}},
    {"star": FAINT, "magnitudes": {"r": MAGNITUDES[FAINT]}},
]


@pytest.mark.parametrize("scale", [1.0, 3.0])  # three is a sum of three exposures
def test_aavso_holds_standard_magnitudes_where_comparison_stars_have_them(scale, tmp_path):
    files, listed = write(
        night(tmp_path, scale=scale), format="aavso", obscode="XYZ", chart="X36483DQK", comparisons=KNOWN
    )
    head, rows = read_aavso(files["V0001_Cyg_r_aavso.txt"])
    assert list(head) == ["TYPE", "OBSCODE", "SOFTWARE", "DELIM", "DATE", "OBSTYPE"]
    assert (head["TYPE"], head["OBSCODE"], head["DELIM"], head["DATE"], head["OBSTYPE"]) == (
        "EXTENDED",
        "XYZ",
        ",",
        "JD",
        "CCD",
    )
    assert len(rows) == FRAMES - 2
    used = np.delete(np.arange(FRAMES), [4, 7])
    truth = MAGNITUDES[TARGET] - 2.5 * np.log10(1.0 + 0.1 * np.sin(2.0 * np.pi * used / 24.0))
    found = np.array([float(row["MAG"]) for row in rows])
    assert np.abs(found - truth).max() < 4.5 * 0.00217 + 0.001
    assert abs((found - truth).mean()) < 4.0 * 0.00217 / np.sqrt(28) + 0.0005
    assert [float(row["DATE"]) for row in rows] == pytest.approx(MJD + 2400000.5 + used / 1440.0, abs=1e-6)
    expected = {"NAME": "V0001 Cyg", "FILT": "SR", "TRANS": "NO", "MTYPE": "STD", "CNAME": "ENSEMBLE", "CMAG": "na"}
    assert expected.items() <= rows[0].items()
    assert {row["CHART"] for row in rows} == {"X36483DQK"}
    assert float(rows[0]["MERR"]) == pytest.approx(0.002, abs=0.0006)
    assert rows[0]["AMASS"] == "1.000"
    assert {len(row) for row in rows} == {15}
    assert (listed["points"][0], listed["left_out"][0]) == (FRAMES - 2, 2)
    assert "standard, by 2 comparison stars" in listed["note"][0]


def test_aavso_holds_differences_where_there_is_no_catalogue_magnitude(tmp_path):
    files, listed = write(night(tmp_path), format="aavso", obscode="XYZ", comparisons=[{"star": 5, "name": "130"}])
    _, rows = read_aavso(files["V0001_Cyg_r_aavso.txt"])
    together = -2.5 * np.log10(10 ** (-0.4 * MAGNITUDES[BRIGHT]) + 10 ** (-0.4 * MAGNITUDES[FAINT]))
    assert float(rows[0]["MAG"]) == pytest.approx(MAGNITUDES[TARGET] - together, abs=0.01)
    assert {(row["MTYPE"], row["CNAME"]) for row in rows} == {("DIF", "ENSEMBLE")}
    assert "difference from 2 comparison stars: none has a catalogue magnitude in 'r'" in listed["note"][0]


def test_one_comparison_star_is_named_with_its_instrumental_magnitude(tmp_path):
    files, _ = write(night(tmp_path), format="aavso", obscode="XYZ", comparisons=KNOWN[:1])
    _, rows = read_aavso(files["V0001_Cyg_r_aavso.txt"])
    assert {row["CNAME"] for row in rows} == {"000-BBP-713"}
    instrumental = np.array([float(row["CMAG"]) for row in rows])
    assert -2.5 * np.log10(1e4 / 30.0) - 0.001 <= instrumental.min()
    assert np.ptp(instrumental) > 0.1  # the clouds
    assert float(rows[0]["MAG"]) == pytest.approx(MAGNITUDES[TARGET], abs=0.01)


def test_faint_points_are_upper_limits(tmp_path):
    run = night(tmp_path, dim=(10, 11))
    files, listed = write(run, format="aavso", obscode="XYZ", comparisons=KNOWN)
    _, rows = read_aavso(files["V0001_Cyg_r_aavso.txt"])
    limits = [row for row in rows if row["MAG"].startswith("<")]
    assert [row["MERR"] for row in limits] == ["na", "na"]
    level = np.median(1.0 + 0.1 * np.sin(2.0 * np.pi * np.arange(FRAMES) / 24.0))  # a relative flux of one
    bound = MAGNITUDES[TARGET] - 2.5 * np.log10(level * (0.001 + 3.0 * 0.002))
    assert float(limits[0]["MAG"][1:]) == pytest.approx(bound, abs=0.02)
    assert "2 upper limits of 3 standard deviations" in listed["note"][0]


@pytest.mark.parametrize(
    ("options", "changes", "reason"),
    [
        ({}, {}, "the format wants the code of the observer"),
        ({"obscode": "X"}, {"target": "star 3"}, "is no name of a star: name it with [[targets]]"),
        ({"obscode": "X"}, {"target": "a, b"}, "no comma"),
        ({"obscode": "X"}, {"bands": ("VR",)}, "the AAVSO has no filter 'VR'"),
        ({"obscode": "X", "filters": {"r": "XX"}}, {}, "the AAVSO has no filter 'XX'"),
        ({"obscode": "X"}, {"unit": "electron"}, "compare with other stars first"),
    ],
)
def test_what_the_aavso_cannot_take_is_refused_with_the_reason(options, changes, reason, tmp_path):
    files, listed = write(night(tmp_path, **changes), format=["aavso", "csv"], **options)
    assert len(files) == 1  # the other format is written
    (row,) = [row for row in listed if row["format"] == "aavso"]
    assert not row["file"]
    assert reason in row["note"]


def test_the_recipe_may_name_the_code_of_a_filter(tmp_path):
    files, _ = write(night(tmp_path, bands=("VR",)), format="aavso", obscode="X", filters={"VR": "CR"})
    assert read_aavso(files["V0001_Cyg_VR_aavso.txt"])[1][0]["FILT"] == "CR"


# --- lightkurve -------------------------------------------------------------------------------------------------------


def test_lightkurve_files_are_in_its_general_layout(tmp_path):
    run = night(tmp_path)
    files, listed = write(run, format="lightkurve")
    path = files["V0001_Cyg_r.fits"]
    with fits.open(path, checksum=True) as hdus:
        head, data = hdus[0].header, hdus[1].header
        assert (head["OBJECT"], head["FILTER"], head["TELESCOP"], head["MISSION"]) == (
            "V0001 Cyg",
            "r",
            "opticam",
            "opticam",
        )
        assert (head["RA_OBJ"], head["DEC_OBJ"]) == (pytest.approx(300.0), pytest.approx(30.5))
        # By these two lightkurve takes a file for one of a mission it knows.
        assert not {"CREATOR", "ORIGIN"} & set(head)
        assert (data["BJDREFI"], data["BJDREFF"], data["TIMESYS"], data["TIMEUNIT"]) == (2457000, 0.0, "TDB", "d")
    table = Table.read(path, hdu=1, unit_parse_strict="silent")
    given = run.curves[0][np.delete(np.arange(FRAMES), [4, 7])]
    # Days from here are told to a nanosecond; the doubles of a Julian date to forty microseconds.
    assert np.abs(table["TIME"] + 2457000.0 - given["time"]).max() < 1e-9
    assert table["FLUX"].tolist() == given["flux"].tolist()
    assert table["FLUX_ERR"].tolist() == given["flux_err"].tolist()
    assert table["MOM_CENTR1"].tolist() == given["x"].tolist()
    assert table["QUALITY"].dtype.kind == "i"
    assert Time(table["TIME"][0] + 2457000.0, format="jd", scale="tdb").isot.startswith("2024-01-01T00:07:12")
    assert (listed["points"][0], listed["left_out"][0]) == (FRAMES - 2, 2)


def test_lightkurve_opens_them(tmp_path):
    pytest.importorskip("lightkurve", reason="lightkurve is not installed")
    from lightkurve.io.generic import read_generic_lightcurve

    run = night(tmp_path)
    curve = read_generic_lightcurve(str(write(run, format="lightkurve")[0]["V0001_Cyg_r.fits"]))
    assert curve.time.jd[0] == pytest.approx(BJD, abs=1e-8)
    assert curve.label == "V0001 Cyg"
    assert len(curve) == FRAMES - 2


def test_times_that_are_not_barycentric_are_refused(tmp_path):
    files, listed = write(night(tmp_path, timesys="JD_UTC"), format="lightkurve")
    assert not files
    assert "give ra and dec of the target" in listed["note"][0]


# --- CSV and ECSV -----------------------------------------------------------------------------------------------------


def test_csv_has_units_in_its_first_line_and_bands_side_by_side(tmp_path):
    files, listed = write(night(tmp_path, bands=("g", "r"), unit="electron"), format="csv")
    assert sorted(files) == ["V0001_Cyg_bands.csv", "V0001_Cyg_g_C1.csv", "V0001_Cyg_r_C2.csv"]
    with files["V0001_Cyg_g_C1.csv"].open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head[:3] == ["time [d BJD_TDB]", "flux [electron]", "flux_err [electron]"]
    assert len(rows) == FRAMES - 2
    assert float(rows[0][0]) == pytest.approx(BJD, abs=1e-9)
    wide = Table.read(files["V0001_Cyg_bands.csv"], format="ascii.csv")
    assert wide.colnames[:3] == ["exposure", "time_g [BJD_TDB]", "flux_g"]
    assert len(wide) == FRAMES - 1  # the exposure that no band saw is left out
    assert wide["flux_r"].mask.sum() == 1
    assert dict(zip(listed["file"], listed["left_out"], strict=True))["V0001_Cyg_bands.csv"] == 1


def test_ecsv_keeps_units_and_all_that_is_known(tmp_path):
    run = night(tmp_path)
    table = Table.read(write(run, format="ecsv")[0]["V0001_Cyg_r.ecsv"], format="ascii.ecsv")
    assert run.curves[0].meta.items() <= table.meta.items()
    assert table.meta["LEFT_OUT"] == 2
    assert table.meta["CITATIONS"] == ["Somebody 2020"]
    assert str(table["time"].unit) == "d"
    assert len(table) == FRAMES - 2
    assert 4 not in [int(str(name)[1:]) for name in table["frame"]]


# --- all of them ------------------------------------------------------------------------------------------------------


def test_a_curve_without_any_value_is_left_out_with_a_word(tmp_path):
    run = night(tmp_path)
    run.curves[0]["flux"] = np.nan
    files, listed = write(run, format=["csv", "ecsv", "lightkurve", "aavso"], obscode="X")
    assert not files
    assert set(listed["note"]) == {"no point of this curve has a value"}
    assert set(listed["left_out"]) == {FRAMES}


def test_files_of_an_earlier_run_go_and_nothing_is_left_half_written(tmp_path):
    write(night(tmp_path), format=["csv", "ecsv"])
    files, _ = write(night(tmp_path, target="RX And"), format="csv")
    names = {path.name for path in (tmp_path / "report/export").iterdir()}
    assert names == {"contents.ecsv", "RX_And_r.csv"} == {"contents.ecsv", *files}


def test_a_run_without_curves_gives_an_empty_list(tmp_path):
    run = night(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({"title": "t", "curves": [], "bands": [], "citations": []}))
    files, listed = write(Results(run.folder), format="csv")
    assert not files
    assert len(listed) == 0


def test_a_recipe_may_give_one_format_as_a_word():
    options = tomllib.loads('format = "csv"')
    assert Export(**options).format == ("csv",)
    for wrong in ({"format": []}, {"format": ["xls"]}, {"chart": "x" * 21}, {"limit": 0.0}):
        with pytest.raises(ValidationError):
            Export(**wrong)
