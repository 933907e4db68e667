"""The page says what the run folder says, and needs nothing else."""

from __future__ import annotations

import base64
import json
import re
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table

from albireo import Results
from albireo_html import Html

Write = Callable[..., Results]

VOID = {"meta", "link", "img", "input", "br", "hr", "path", "circle"}
LOADS = {"src", "srcset", "poster", "action", "formaction", "background", "data"}
"""Attributes by which a browser fetches something without being asked."""


class Page(HTMLParser):
    """A parsed page; refuses tags that are not closed in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[tuple[str, ...], str]] = []
        self.feed(self.source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag, f"</{tag}> at {self.getpos()} closes another element"

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((tuple(self.open), data.strip()))

    @property
    def text(self) -> str:
        """What a person reads."""
        return " ".join(text for path, text in self.texts if not {"style", "script", "title"} & set(path))

    def all(self, tag: str, css: str = "") -> list[dict[str, str]]:
        return [attrs for name, attrs in self.tags if name == tag and css in attrs.get("class", "")]


def page(run: Results, **options: Any) -> Page:
    path, sheet = Html(**options).write(run, run.folder / "report")
    assert path == run.folder / "report" / "index.html"
    assert sorted(path.parent.iterdir()) == [sheet, path]
    return Page(path)


def dots(drawn: Page, hue: str) -> list[int]:
    """Number of points in each path of a colour, in order."""
    return [
        path.count("M")
        for path in re.findall(rf'<g class="c-{hue}[^"]*">.*?class="dot"[^>]*d="([^"]*)"', drawn.source, re.S)
    ]


def pixels(url: str) -> tuple[np.ndarray, np.ndarray]:
    """Palette index of each pixel, first row on top, and the lightness of each palette entry; refuses a broken PNG."""
    png = base64.b64decode(url.removeprefix("data:image/png;base64,"))
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(png):
        (size,) = struct.unpack(">I", png[at : at + 4])
        kind, body = png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        assert struct.unpack(">I", png[at + 8 + size : at + 12 + size]) == (zlib.crc32(kind + body),)
        chunks[kind] = body
        at += 12 + size
    width, height = struct.unpack(">II", chunks[b"IHDR"][:8])
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, width + 1)
    return rows[:, 1:], np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(-1, 3).sum(axis=1)


def test_verdict_says_how_many_frames_were_used_and_how_well_the_target_was_measured(night: Write) -> None:
    run = night()
    drawn = page(run)
    best = {
        band: min(curve.meta["SCATTER"] for curve in run.curves if curve.meta["FILTER"] == band) for band in ("g", "r")
    }
    verdict = next(text for path, text in drawn.texts if path[-2:] == ("header", "p"))
    assert verdict.startswith("39 of 40 science frames used; WASP-12 b scatters by ")
    for band, value in best.items():
        assert f"{value * 1085.74:.1f} mmag in {band}" in verdict


def test_warnings_come_before_the_light_curves_and_name_what_the_products_show(night: Write) -> None:
    drawn = page(night())
    text = drawn.text
    assert "4 warnings" in text
    for warning in (
        "the position of the field is not known",
        "1 frame failed.",
        "WASP-12 b in g is saturated in 1 of 20 points",
        "WASP-12 b in r is saturated in 1 of 19 points",
    ):
        assert warning in text
        assert text.index(warning) < text.index("relative flux")


def test_a_quiet_run_has_no_warnings(night: Write) -> None:
    run = night(warnings=(), frames=10)  # with so few frames the factory lets none fail and flags none
    assert "warning" not in page(run).text


def test_light_curve_shows_every_point_of_the_curve_that_the_run_chose(night: Write) -> None:
    run = night()
    drawn = page(run)
    assert "BJD TDB 2458107.70300" in drawn.text
    for band, hue in (("g", "blue"), ("r", "red")):
        curves = [curve for curve in run.curves if curve.meta["FILTER"] == band]
        best = min(curves, key=lambda curve: curve.meta["SCATTER"])
        assert f"relative flux · {band} · aperture, r = {best.meta['APERTURE']:g} pixel" in drawn.text
        assert sum(dots(drawn, hue)[:2]) == len(best)  # good points, then the flagged one
    links = [attrs["href"] for attrs in drawn.all("a") if attrs["href"].endswith("ecsv")]
    assert len([link for link in links if "curves" in link]) == 4
    for link in links:
        assert (run.folder / "report" / link.replace("%20", " ")).resolve().is_file()


def test_points_stand_where_their_values_are(night: Write) -> None:
    run = night(filters=("g",), frames=20)
    drawn = page(run)
    best = min(run.curves, key=lambda curve: curve.meta["SCATTER"])
    panel = re.search(r'class="panel" style="height:230px" data-y="([^"]*)"[^>]*>(.*?)</svg>', drawn.source, re.S)
    assert panel is not None
    low, high, _ = json.loads(panel[1])
    points = [
        (int(x), int(y))
        for path in re.findall(r'class="dot"[^>]*d="([^"]*)"', panel[2])
        for x, y in re.findall(r"M(\d+) (\d+)", path)
    ]
    points.sort()
    flux = low + (high - low) * (1 - np.array([y for _, y in points]) / 2000)
    assert np.allclose(flux, best["flux"], rtol=0, atol=(high - low) / 2000)  # one step of the drawing
    hours = np.array([x for x, _ in points], dtype=float)
    assert np.allclose(np.diff(hours), np.diff(hours).mean(), atol=1.01)  # frames are evenly spaced


def test_photon_limit_has_every_star_and_names_the_target_and_the_planted_variable(night: Write) -> None:
    run = night(filters=("g",))
    drawn = page(run)
    marks = [text for path, text in drawn.texts if path[-1] == "span" and text in {"17", "WASP-12 b"}]
    assert marks.count("17") == 1  # in the chart; the table has it as a row heading
    assert "WASP-12 b" in marks
    assert "Scatter against flux of 40 stars in WASP-12 · g" in drawn.source
    assert "1 variable candidate: 17." in drawn.source
    assert "Variable candidates (1)" in drawn.text
    section = drawn.source[drawn.source.index('id="stars"') : drawn.source.index('id="frames"')]
    chart = section[: section.index("</figure>")]
    shown = sum(path.count("M") for path in re.findall(r'class="dot"[^>]*d="([^"]*)"', chart))
    assert shown == 40


def test_comparison_stars_stand_with_their_weights_in_order(night: Write) -> None:
    drawn = page(night(filters=("g",)))
    assert re.search(r"Comparison stars \(3\).* 3 0\.500 .* 5 0\.300 .* 8 0\.200 ", drawn.text)


def test_check_star_is_the_heaviest_comparison_and_does_not_follow_the_target(night: Write) -> None:
    run = night(filters=("g",), frames=60)
    drawn = page(run)
    assert "check star 3 against 2 other comparison stars" in drawn.text
    panel = re.search(r'class="panel" style="height:90px" data-y="\[([^,]*), ([^,]*),', drawn.source)
    assert panel is not None
    # Star 3 is constant to 1.2 mmag; the transit of 15 mmag and the extinction of 10 % are not in it.
    assert float(panel[2]) - float(panel[1]) < 0.015


def test_flagged_points_of_the_check_star_are_rings_as_those_of_the_target(night: Write) -> None:
    drawn = page(night(filters=("g",), frames=60))
    panel = drawn.source[drawn.source.index('class="panel" style="height:90px"') :]
    panel = panel[: panel.index("</svg>")]
    rings = [path.count("M") for path in re.findall(r'class="hole"[^>]*d="([^"]*)"', panel)]
    assert rings == [4]
    dots = [path.count("M") for path in re.findall(r'class="dot"[^>]*d="([^"]*)"', panel)]
    assert dots == [59 - 4, 4]
    head = drawn.source[: drawn.source.index('class="panel" style="height:90px"')].rsplit("panel-head", 1)[1]
    assert "flagged</span>" in head
    # Star 3 in front of the others, and the target divided by it; the two other comparison stars are good.
    assert (
        len(re.findall(r'class="hole"', drawn.source[drawn.source.index("Comparison stars against each other") :])) >= 2
    )


def test_each_frame_left_out_is_listed_with_its_reason_escaped(night: Write) -> None:
    run = night(reason="level 61234 <b>high</b> & “bright” ☆")
    drawn = page(run)
    assert "no star to align with <twilight & cloud>" in drawn.text
    assert "<b>high" not in drawn.source
    rows = [attrs["data-fate"] for attrs in drawn.all("tr") if "data-fate" in attrs]
    assert rows == ["failed"] + ["dropped"] * 2 + ["used"] * 47
    for k in (4, 9):
        assert f"level {61234 + k} <b>high</b> & “bright” ☆" in drawn.text


def test_reasons_that_differ_in_numbers_alone_are_counted_as_one(night: Write) -> None:
    text = page(night()).text
    assert re.search(
        r"reason, such as 1 failed align 1 science .* 2 dropped select level 2 flat mean level 6123\d adu", text
    )


def test_what_the_camera_assumed_is_said_once_and_is_no_warning(night: Write) -> None:
    text = page(night()).text
    note = "gain 3.66 from the recipe; the header says 4.95 (50 frames)"
    assert text.count(note) == 1
    assert text.index("What the camera's description assumed") < text.index(note) < text.index("relative flux")


def test_a_saturated_star_is_no_variable_candidate(night: Write) -> None:
    drawn = page(night(filters=("g",)))
    assert "1 star with more than 3 times the expected scatter is saturated" in drawn.text
    assert "saturated or at the edge" in drawn.text
    assert "Variable candidates (1)" in drawn.text


def test_page_fetches_nothing_and_describes_its_pictures(night: Write) -> None:
    drawn = page(night())
    for tag, attrs in drawn.tags:
        for name, value in attrs.items():
            if name in LOADS or (tag == "link" and name == "href"):
                assert value.startswith("data:"), f"<{tag} {name}={value[:60]!r}> fetches something"
    assert not re.search(r"https?:|@import|url\(|fetch\(|XMLHttp", re.sub('base64,[^"]*', "", drawn.source))
    images = drawn.all("img")
    assert len(images) >= 3
    assert all(attrs["alt"] for attrs in images)
    assert all(attrs["aria-label"] for _, attrs in drawn.tags if attrs.get("role") == "img")
    assert all("scope" in attrs for attrs in drawn.all("th"))
    assert drawn.source.count("<caption") == drawn.source.count("<table")
    targets = {attrs["href"][1:] for attrs in drawn.all("a") if attrs["href"].startswith("#")}
    assert targets <= {attrs["id"] for _, attrs in drawn.tags if "id" in attrs}


def test_names_with_markup_are_text(night: Write) -> None:
    name = "<script>alert('α & β')</script>"
    drawn = page(night(target=name, title=name))
    assert [attrs.get("type", "") for attrs in drawn.all("script")] == ["application/json", ""]
    assert name in drawn.text


def test_masters_show_level_noise_and_origin(night: Write) -> None:
    run = night()
    text = page(run).text
    assert "flat-g" in text
    assert "flat-r" in text
    master = run.masters[0].read()
    middle = np.median(master.data[~master.mask])
    assert f"level {middle:.5f}" in text
    assert "noise of the master 0.00300" in text
    assert f"masked {100 / 240:.2f} %" in text
    assert "made from 4 frames serves 20 frames" in text
    assert "METHOD clipped mean" in text


def test_picture_of_a_master_stands_upright_and_leaves_masked_pixels_open(night: Write) -> None:
    drawn = page(night(filters=("g",)))
    index, lightness = pixels(drawn.all("img")[0]["src"])
    assert index.shape == (240, 240)
    transparent = index == len(lightness) - 1
    assert transparent[:, 30].all()
    assert transparent.sum() == 240
    light = np.where(transparent, np.nan, lightness[index])
    assert np.nanmean(light[:60]) > np.nanmean(light[-60:]) + 50  # the flat rises towards high y, which is up


def test_means_over_bins_follow_the_curve(night: Write) -> None:
    drawn = page(night(filters=("g",), frames=400))
    panel = re.search(r'class="panel" style="height:230px" data-y="([^"]*)"[^>]*>(.*?)</svg>', drawn.source, re.S)
    assert panel is not None
    low, high, _ = json.loads(panel[1])
    path = re.search(r'style="stroke-width:7px"[^>]*d="([^"]*)"', panel[2])
    assert path is not None
    points = np.array([(int(x), int(y)) for x, y in re.findall(r"M(\d+) (\d+)", path[1])])
    assert len(points) == 40
    flux = low + (high - low) * (1 - points[:, 1] / 2000)
    bottom = flux[15:25]  # the 1.25 h in the middle of 5 h, all inside the transit of 15 mmag
    # 100 exposures of at most 1.3 mmag: the mean is known to 0.13 mmag.
    assert abs(bottom.mean() - 0.985) < 0.0005
    assert bottom.std() < 0.001  # a bin of ten exposures has 0.4 mmag


def middles(frames: Table, side: int) -> np.ndarray:
    """Where the middle of a square reference image lies in each frame, in x and y."""
    corner = frames["dx"] + 1j * frames["dy"]
    place = corner + frames["scale"] * np.exp(1j * np.deg2rad(frames["rotation"])) * (side - 1) / 2 * (1 + 1j)
    return np.column_stack([place.real, place.imag])


def test_a_meridian_flip_is_no_drift(night: Write) -> None:
    run = night(flip=True)
    drawn = page(run)
    science = run.frames[(run.frames["fate"] == "used") & (run.frames["kind"] == "science")]
    drift = np.hypot(*np.ptp(middles(science, 240), axis=0))
    assert np.hypot(np.ptp(science["dx"]), np.ptp(science["dy"])) > 330  # of pixel (0, 0)
    assert drift < 15
    assert f"39 of 39 frames aligned; the field moved over {drift:.1f} pixel" in drawn.text
    section = drawn.source[drawn.source.index("Drift of the field") :]
    low, high, _ = json.loads(re.search(r'data-x="([^"]*)"', section)[1])  # type: ignore[index]
    assert high - low < 20


def test_alignment_and_conditions_follow_the_table_of_frames(night: Write) -> None:
    run = night()
    text = page(run).text
    used = run.frames[run.frames["fate"] == "used"]
    science = used[used["kind"] == "science"]
    drift = np.hypot(*np.ptp(middles(science, 240), axis=0))
    assert f"39 of 39 frames aligned; the field moved over {drift:.1f} pixel" in text
    assert "from 31 stars" in text
    for label in ("shift in x (pixel)", "rotation (deg)", "matched stars", "FWHM (pixel)", "airmass", "transparency"):
        assert label in text


def test_field_marks_target_and_comparisons_at_their_places(night: Write) -> None:
    run = night()
    drawn = page(run)
    catalogue = run.fields[0].read_catalogue()
    (target,) = drawn.all("i", "source target")
    x, y = catalogue["x"][0], catalogue["y"][0]
    assert f"left:{100 * (x + 0.5) / 240:.2f}%;top:{100 * (1 - (y + 0.5) / 240):.2f}%" in target["style"]
    (picture,) = [attrs["src"] for attrs in drawn.all("img") if attrs["alt"].startswith("The reference frame")]
    index, _ = pixels(picture)
    across, down = (int(float(value) / 100 * 240) for value in re.findall(r":([\d.]+)%", target["style"]))
    assert index[down, across] > np.percentile(index, 99)  # the star is where the mark is
    assert {attrs["title"] for attrs in drawn.all("i", "source comparison")} == {"3", "5", "8"}
    assert len(drawn.all("i", "source ")) == len(catalogue)


def test_methods_recipe_citations_versions_and_timing(night: Write) -> None:
    run = night()
    drawn = page(run)
    assert "Images were corrected, in this order, by overscan and flat." in drawn.text
    assert "Brightness was measured with aperture (radius 4, 6)." in drawn.text
    assert "Broeg, Fernández & Neuhäuser 2005, AN 326, 134" in drawn.text
    assert run.recipe.strip() in [text for path, text in drawn.texts if path[-1] == "pre"]
    assert "numpy 2.4.0" in drawn.text
    assert "frames 30 s masters 3.2 s" in drawn.text


def test_without_targets_the_brightest_stars_are_drawn(night: Write) -> None:
    drawn = page(night(target=None))
    assert "39 of 40 science frames used; no target is followed, the brightest stars are drawn; the best" in drawn.text
    assert "Light curve of star 1 against hours" in drawn.source
    assert "This star could be measured in no frame." in drawn.text  # star 2
    assert "check star" not in drawn.text.split("Scatter is the robust")[0]


def test_without_curves_the_page_says_so_and_keeps_the_rest(night: Write) -> None:
    text = page(night(curves=False)).text
    assert "no target is followed; " not in text
    assert text.count("no target is followed.") == 1
    assert "This run made no light curve" in text
    assert "No star was followed through the frames" in text
    assert "shift in x" in text


def test_frames_without_times_are_drawn_in_their_order(night: Write) -> None:
    drawn = page(night(times=False, curves=False))
    assert "39 of 39 frames aligned" in drawn.text
    assert any(path[-1] == "div" and text == "frame" for path, text in drawn.texts)  # label of the axis


def test_without_masters_and_fields_the_page_says_so(night: Write) -> None:
    text = page(night(masters=False, fields=False)).text
    assert "This run made no master" in text
    assert "There is no reference image" in text


def test_one_frame(night: Write) -> None:
    text = page(night(frames=1, filters=("g",))).text
    assert "1 of 1 science frame used" in text
    assert "1 of 1 frame aligned" in text


def test_all_frames_failed(night: Write) -> None:
    text = page(night(failed=True, curves=False, fields=False)).text
    assert "0 of 40 science frames used" in text
    assert "No science frame could be used." in text
    assert "No frame was used, so none was aligned." in text
    assert "no star to align with <twilight & cloud>" in text


def test_thousands_of_frames_stay_a_small_page_with_the_failed_ones_first(night: Write) -> None:
    run = night(frames=5000)
    drawn = page(run, max_rows=300)
    assert len(drawn.source) < 4_000_000
    rows = [attrs["data-fate"] for attrs in drawn.all("tr") if "data-fate" in attrs]
    assert len(rows) == 300
    assert rows[:3] == ["failed", "dropped", "dropped"]
    assert "(300 of 5\u202f010, failed and dropped first)" in drawn.text
    assert "2\u202f500" in drawn.text


def test_writing_twice_gives_the_same_page(night: Write) -> None:
    run = night()
    first = page(run).source
    assert page(Results(run.folder)).source == first


def frames_of(sheet: Path) -> list[dict[str, Any]]:
    """What the contact sheet knows of each frame."""
    drawn = Page(sheet)
    (facts,) = [text for path, text in drawn.texts if path[-1] == "script" and text.startswith("{")]
    return json.loads(facts)["frames"]


def test_the_page_links_to_a_contact_sheet_with_the_verdict_on_every_frame(night: Write) -> None:
    run = night()
    drawn = page(run)
    assert "frames.html" in [attrs["href"] for attrs in drawn.all("a")]
    shown = {frame["name"]: frame for frame in frames_of(run.folder / "report" / "frames.html")}
    assert {name: frame["fate"] for name, frame in shown.items()} == dict(run.frames["name", "fate"].iterrows())
    assert shown["flat.0004.fits"]["reason"] == "mean level 61238 adu is above 0.8 of saturation"
    assert shown["night/wasp12.0011.fits"]["stage"] == "align"


def test_a_contact_sheet_of_what_was_left_out_has_nothing_else(night: Write, tmp_path: Path) -> None:
    _, sheet = Html(contact_sheet="left-out").write(night(), tmp_path)
    assert sorted(frame["fate"] for frame in frames_of(sheet)) == ["dropped", "dropped", "failed"]


def test_without_a_contact_sheet_an_earlier_one_goes_and_the_page_does_not_link_to_it(
    night: Write, tmp_path: Path
) -> None:
    Html().write(night(), tmp_path)
    (path,) = Html(contact_sheet="none").write(night(), tmp_path)
    assert not (tmp_path / "frames.html").exists()
    assert "frames.html" not in path.read_text(encoding="utf-8")


def test_importing_the_plugin_loads_nothing_heavy() -> None:
    code = (
        "import sys, albireo_html; heavy = {'numpy', 'astropy', 'jinja2', 'matplotlib'} & set(sys.modules);"
        "sys.exit(f'{heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_max_rows_must_be_positive() -> None:
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        Html(max_rows=0)


# --- several detectors at once ----------------------------------------------------------------------------------------


def at_once(source: Results, folder: Path) -> Results:
    """The same run as of a camera with two detectors: each pair of frames is one exposure, the last frame is lost."""
    shutil.copytree(source.folder, folder)
    frames = source.frames.copy()
    science = np.flatnonzero(frames["kind"] == "science")
    detector, exposure = np.full(len(frames), "", dtype="U2"), np.full(len(frames), "", dtype="U3")
    detector[science] = np.where(np.arange(len(science)) % 2, "C2", "C1")
    exposure[science] = [f"e{k // 2:02d}" for k in range(len(science))]
    frames["detector"], frames["exposure"] = detector, exposure
    frames[np.arange(len(frames)) != science[-1]].write(folder / "frames.ecsv", format="ascii.ecsv", overwrite=True)
    curve = Table({"exposure": ["e00"]}, meta={"OBJECT": source.curves[0].meta["OBJECT"], "BANDS": {}})
    curve.write(folder / "curves" / "bands.ecsv", format="ascii.ecsv")
    summary = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(summary | {"bands": ["curves/bands.ecsv"]}))
    return Results(folder)


def test_exposures_are_counted_by_the_detectors_that_saw_them(night: Write, tmp_path: Path) -> None:
    drawn = page(at_once(night(), tmp_path / "run"))
    # Of twenty pairs one frame failed at alignment, and one is not there.
    assert "20 exposures; complete in all 2 detectors: 18; alone: 2 of C1." in drawn.text
    table = drawn.text[drawn.text.index("20 exposures") : drawn.text.index("frames by kind and fate")]
    assert re.search(r"18 used used e00 1 used failed in align e05 1 used no frame e19", table)


def test_bands_of_one_moment_are_drawn_over_each_other(night: Write, tmp_path: Path) -> None:
    drawn = page(at_once(night(), tmp_path / "run"))
    assert drawn.text.count("flux over its median, all bands at once") == 1
    assert "all bands at once" not in page(night()).text


def test_a_camera_with_one_detector_has_no_table_of_exposures(night: Write) -> None:
    assert "Exposures of several detectors" not in page(night()).text
