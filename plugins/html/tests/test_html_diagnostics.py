"""Sections that show how a night was measured: times, noise, comparison stars, close-ups, cut-outs, outliers."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table

from albireo import Results
from albireo_html import Html

Write = Callable[..., Results]


def page(run: Results, folder: Path) -> str:
    """The page of a run, written where nothing else lies."""
    path, *_ = Html(contact_sheet="none").write(run, folder)
    return path.read_text(encoding="utf-8")


def text_of(source: str) -> str:
    """What a person reads."""
    return " ".join(re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", source, flags=re.S).split())


def points_of(source: str) -> dict[str, dict[str, Any]]:
    """What the page knows of the points of its light curves."""
    found = re.search(r'<script type="application/json" id="points">(.*?)</script>', source, re.S)
    assert found is not None
    return json.loads(found[1])


def panels(source: str, start: str) -> dict[str, tuple[float, float]]:
    """Label and range of the y axis of each panel behind a place in the page, up to the end of its chart."""
    chart = source[source.index(start) :]
    chart = chart[: chart.index("</figure>")]
    labels = re.findall(r'class="panel-label">([^<]*)<', chart)
    ranges = [json.loads(found) for found in re.findall(r'data-y="([^"]*)"', chart)]
    return {label: (low, high) for label, (low, high, _) in zip(labels, ranges, strict=True)}


# --- times of the headers


def test_a_gap_is_listed_with_its_length_and_the_frames_beside_it(night: Write, tmp_path: Path) -> None:
    source = page(night(filters=("g",), gap=3.0), tmp_path)
    assert "Times in the headers 1 gap" in text_of(source)
    # 40 frames over 5 h: 7.7 min from one to the next; the gap adds three hours.
    row = re.search(r"Steps of more than 10 times the median.*? g (3 h 08 min) 24\.?\d* (\S+) (\S+)", text_of(source))
    assert row is not None
    assert (row[2], row[3]) == ("night/wasp12.0019.fits", "night/wasp12.0020.fits")


def test_an_even_night_has_no_gap_and_says_its_cadence(night: Write, tmp_path: Path) -> None:
    text = text_of(page(night(filters=("g",)), tmp_path))
    assert "No step is longer than 10 times the median." in text
    assert "g: 40 frames, 462 s from one to the next (all alike)" in text


def test_frames_that_failed_are_marked_in_the_chart_of_the_alignment(night: Write, tmp_path: Path) -> None:
    source = page(night(), tmp_path)
    assert "Science frames that were not used: 1 failed in align." in text_of(source)
    chart = source[source.index('id="alignment"') :]
    assert len(re.findall(r"data-bare d=\"M\d+ 2000h0\"", chart[: chart.index("</figure>")])) == 1
    assert "night/wasp12.0011.fits: failed in align: no star to align with" in chart


# --- light curves


def test_every_point_of_a_drawn_curve_can_be_looked_up(night: Write, tmp_path: Path) -> None:
    run = night(cutouts=True)
    known = points_of(page(run, tmp_path))
    for curve in run.curves:
        (mine,) = [one for one in known.values() if one["band"] == curve.meta["FILTER"]]
        if not np.allclose(mine["flux"], curve["flux"], rtol=1e-5):
            continue  # the other aperture
        assert mine["frames"] == list(curve["frame"])
        assert np.allclose(np.array(mine["time"]) + mine["start"], curve["time"], rtol=0, atol=1e-6)
        assert mine["flags"] == list(curve["flags"])
        assert mine["tiles"] == sorted(mine["tiles"])
        break
    else:
        raise AssertionError("no curve is on the page")


def test_cut_outs_lie_on_their_sheet_in_the_order_of_frames_upright(night: Write, tmp_path: Path) -> None:
    from PIL import Image

    run = night(cutouts=True)
    known = points_of(page(run, tmp_path))
    (star,) = run.cutouts()
    one = known["c0"]
    with Image.open(tmp_path / f"{one['cutouts']}-0.png") as sheet:
        assert sheet.size == (20 * 33, 2 * 33)
        grey = np.asarray(sheet.convert("LA"))
    assert (grey[33:, 33 * 19 :, 1] == 0).all()  # 39 frames: the last square is empty
    for frame, tile in zip(one["frames"], one["tiles"], strict=True):
        assert star.frames[tile] == frame
        row, column = divmod(tile, 20)
        square = grey[33 * row : 33 * row + 33, 33 * column : 33 * column + 33, 0]
        assert square[16, 16] > 240  # the star is white
        assert np.median(square[:6, :6]) < 100  # and the sky dark, whatever the star's brightness


def test_sheets_of_an_earlier_run_are_removed(night: Write, tmp_path: Path) -> None:
    page(night(cutouts=True), tmp_path)
    assert list((tmp_path / "cutouts").glob("*.png"))
    page(night(), tmp_path)
    assert not list((tmp_path / "cutouts").glob("*.png"))


def test_without_cut_outs_a_point_still_tells_its_frame(night: Write, tmp_path: Path) -> None:
    known = points_of(page(night(), tmp_path))
    assert all("tiles" not in one and len(one["frames"]) > 10 for one in known.values())


def test_comparison_stars_are_constant_against_each_other_and_the_target_is_not(night: Write, tmp_path: Path) -> None:
    run = night(filters=("g",), frames=60)
    source = page(run, tmp_path)
    ratios = panels(source, "Comparison stars against each other")
    assert [label.split(" · ")[0] for label in ratios] == [
        *("WASP-12 b / star 3", "WASP-12 b / star 5", "WASP-12 b / star 8"),
        *("star 3 / the others", "star 5 / the others", "star 8 / the others"),
    ]
    spans = [high - low for low, high in ratios.values()]
    assert min(spans[:3]) > 0.015  # the transit
    assert max(spans[3:]) < 0.5 * min(spans[:3])  # a tenth of extinction is not in a ratio
    # A star that were part of what it is divided by would seem quieter than it is.
    best = min(run.curves, key=lambda curve: curve.meta["SCATTER"]).meta["APERTURE"]
    rows = run.photometry[run.photometry["aperture"] == best]
    three, five, eight = (np.array(rows["flux"][rows["source"] == star]) for star in (3, 5, 8))
    ratio = three / (0.3 * five / np.median(five) + 0.2 * eight / np.median(eight))
    steps = np.diff(ratio / np.median(ratio))
    truth = 1085.74 * 1.4826 * np.median(np.abs(steps - np.median(steps))) / 2**0.5
    said = re.search(r"star 3 / the others · scatter ([\d.]+) mmag", source)
    assert said is not None
    assert float(said[1]) == pytest.approx(truth, rel=0.05)


def test_outliers_are_listed_with_star_and_frame(night: Write, tmp_path: Path) -> None:
    shutil.copytree(night().folder, tmp_path / "run")
    file = tmp_path / "run" / "run.json"
    summary = json.loads(file.read_text())
    summary["ensembles"][0]["steps"]["clip"] = {"points": 2, "stars": {"7": ["night/wasp12.0002.fits", "x.fits"]}}
    file.write_text(json.dumps(summary))
    text = text_of(page(Results(tmp_path / "run"), tmp_path / "page"))
    assert "Points left out of light curves (2)" in text
    assert "WASP-12 · g · aperture, r = 4 pixel night/wasp12.0002.fits 7" in text


# --- stars


def test_parts_of_the_noise_are_drawn_with_their_sum(night: Write, tmp_path: Path) -> None:
    source = page(night(filters=("g",), noise=True), tmp_path)
    chart = source[source.index("Where the noise comes from") :]
    chart = chart[: chart.index("</figure>")]
    labels = re.findall(r"</i>([^<]+)</span>", chart)
    # Scintillation is zero for every star, and zero has no place on a logarithmic axis.
    assert labels == ["measured scatter", "photons of the star", "read noise", "together"]
    lines = [
        np.array(re.findall(r"[ML](\d+) (\d+)", path), int)
        for path in re.findall(r'class="line"[^>]*d="([^"]*)"', chart)
    ]
    low, high, _ = json.loads(re.search(r'data-y="([^"]*)"', chart)[1])  # type: ignore[index]
    source_part, read, total = (10 ** (low + (high - low) * (1 - line[:, 1] / 2000)) for line in lines)
    step = 10 ** ((high - low) / 2000)
    assert np.allclose(np.hypot(source_part, read), total, rtol=2 * (step - 1))


def test_the_run_decides_which_stars_are_variable(night: Write, tmp_path: Path) -> None:
    text = text_of(page(night(filters=("g",), noise=True), tmp_path))
    assert "photon limit" in text
    assert re.search(r"Variable candidates \(1\).*? excess points 9 .* 12 ", text)


def test_signal_to_noise_is_the_median_of_flux_over_its_error(night: Write, tmp_path: Path) -> None:
    run = night(filters=("g",))
    source = page(run, tmp_path)
    chart = source[source.index("Signal to noise of one exposure") :]
    chart = chart[: chart.index("</figure>")]
    low, high, _ = json.loads(re.search(r'data-y="([^"]*)"', chart)[1])  # type: ignore[index]
    rows = run.photometry[(run.photometry["aperture"] == 4.0)]
    wanted = [
        np.median((part["flux"] / part["flux_err"])[: len(part)])
        for part in (rows[rows["source"] == star] for star in (0, 3, 5, 8))
    ]
    path = re.search(r'class="dot"[^>]*d="([^"]*)"', chart)
    assert path is not None
    shown = [10 ** (low + (high - low) * (1 - int(y) / 2000)) for _, y in re.findall(r"M(\d+) (\d+)", path[1])]
    assert sorted(shown) == pytest.approx(sorted(wanted), rel=0.01)


def test_a_bake_off_is_a_table_with_its_winners(night: Write, tmp_path: Path) -> None:
    shutil.copytree(night().folder, tmp_path / "run")
    # 20 points: a scatter is known to 16 %, so that a gain of less than 32 % may be chance.
    table = Table(
        {
            "field": ["WASP-12"] * 5,
            "filter": ["g", "g", "r", "r", "r"],
            "detector": [""] * 5,
            "source": [1, 2, 1, 2, 3],
            "winner": ["aperture-r4", "aperture-r6", "aperture-r6", "aperture-r4", "aperture-r6"],
            "gain": [1.40, 1.25, 10.0, 1.01, np.nan],
            "scatter_aperture-r4": [0.002, 0.0025, 0.2, 0.00396, np.nan],
            "scatter_aperture-r6": [0.0028, 0.002, 0.02, 0.004, 0.004],
        }
    )
    table.write(tmp_path / "run" / "bakeoff.ecsv", format="ascii.ecsv")
    text = text_of(page(Results(tmp_path / "run"), tmp_path / "page"))
    assert "The smallest scatter has aperture-r6 for 2 stars and aperture-r4 for 1 star." in text
    assert "No clear winner for 2 stars." in text
    assert "g 1 aperture-r4 1.40 2.2 mmag 3.0 mmag" in text
    assert "g 2 no clear winner 1.25 2.7 mmag 2.2 mmag" in text
    assert "r 1 aperture-r6 10.0 20 % 22 mmag" in text
    assert "r 2 no clear winner 1.01 4.3 mmag 4.3 mmag" in text
    assert "r 3 aperture-r6 – – 4.3 mmag" in text


def test_all_methods_of_a_target_are_listed_and_the_drawn_one_is_that_of_the_run(night: Write, tmp_path: Path) -> None:
    run = night(filters=("g",))
    shutil.copytree(run.folder, tmp_path / "run")
    stars = run.stars.copy()
    (chosen,) = (curve.meta["APERTURE"] for curve in run.curves)
    other = {4.0: 6.0, 6.0: 4.0}[chosen]
    target = stars["source"] == 0
    stars["scatter"][target & (stars["aperture"] == chosen)] = 0.004
    stars["scatter"][target & (stars["aperture"] == other)] = 0.003
    stars.write(tmp_path / "run" / "stars.ecsv", format="ascii.ecsv", overwrite=True)
    judged = stars[(stars["comparison"] > 0) & (stars["aperture"] == other)]["scatter"]
    bakeoff = Table({"field": ["WASP-12"], "filter": ["g"], "detector": [""], "source": [0], "gain": [4 / 3]})
    bakeoff["winner"] = [f"aperture-r{other:g}"]
    bakeoff.write(tmp_path / "run" / "bakeoff.ecsv", format="ascii.ecsv")
    source = page(Results(tmp_path / "run"), tmp_path / "page")
    text = text_of(source)
    assert "Of each filter, the run draws the method whose comparison stars scatter least." in text
    assert f"g aperture, r = {chosen:g} pixel drawn 39 4.3 mmag" in text
    row = re.search(rf"g aperture, r = {other:g} pixel 39 3\.3 mmag [\d.]+ mmag 3 ([\d.]+) mmag ECSV", text)
    assert row is not None
    assert float(row[1]) == pytest.approx(1085.74 * np.median(judged), rel=0.05)
    assert f'href="../run/curves/star%200%20g_aperture-r{other:g}.ecsv"' in source
    # 39 points: a scatter is known to 11 %, and a third more is clear.
    assert (
        f"By the scatter of WASP-12 b itself in g, as the bake-off goes, aperture, r = {other:g} pixel is best: "
        "3.3 mmag against 4.3 mmag of the one that is drawn with 39 points."
    ) in text


def test_where_bake_off_and_run_differ_by_chance_the_page_says_so(night: Write, tmp_path: Path) -> None:
    run = night(filters=("g",))
    shutil.copytree(run.folder, tmp_path / "run")
    (chosen,) = (curve.meta["APERTURE"] for curve in run.curves)
    stars = run.stars.copy()
    stars["scatter"][(stars["source"] == 0)] = np.where(
        stars["aperture"][stars["source"] == 0] == chosen, 0.0033, 0.003
    )
    stars.write(tmp_path / "run" / "stars.ecsv", format="ascii.ecsv", overwrite=True)
    bakeoff = Table({"field": ["WASP-12"], "filter": ["g"], "detector": [""], "source": [0], "gain": [1.1]})
    bakeoff["winner"] = [f"aperture-r{10 - chosen:g}"]
    bakeoff.write(tmp_path / "run" / "bakeoff.ecsv", format="ascii.ecsv")
    text = text_of(page(Results(tmp_path / "run"), tmp_path / "page"))
    assert "3.3 mmag against 3.6 mmag of the one that is drawn, which is no clear difference with 39 points." in text


# --- the reference image


def growth(source: str) -> dict[str, np.ndarray]:
    """Radius in pixels and share of the light inside, shape (n, 2), of the lines of the growth curves by their hue."""
    chart = source[source.index("Growth curves") :]
    chart = chart[: chart.index("</figure>")]
    low, high, _ = json.loads(re.search(r'data-x="([^"]*)"', chart)[1])  # type: ignore[index]
    groups = re.findall(r'<g class="c-(\w+)">\s*<path class="line"[^>]*d="([^"]*)"', chart)
    points = {hue: np.array(re.findall(r"[ML](\d+) (\d+)", path), dtype=float) for hue, path in groups}
    return {
        hue: np.column_stack([low + (high - low) * one[:, 0] / 10_000, 1.1 * (1 - one[:, 1] / 2000)])
        for hue, one in points.items()
    }


def test_growth_curves_are_those_of_the_stack_where_the_run_has_one(night: Write, tmp_path: Path) -> None:
    # Stars of the stack have twice the width, and its first pixel lies 7 pixels before that of the reference.
    for options, variance, name in (
        ({}, 3.0, "the reference image"),
        ({"stack": 7}, 12.0, "the stack WASP-12-g of 20 frames"),
    ):
        source = page(night(filters=("g",), **options), tmp_path / name)
        radius, light = growth(source)["gold"].T
        truth = (1 - np.exp(-(radius**2) / (2 * variance))) / (1 - np.exp(-(radius[-1] ** 2) / (2 * variance)))
        # The brightest star has hardly any noise; the sky is taken in its far wings, if the stack has wide ones.
        assert np.abs(light - truth).max() < 0.03, name
        assert f"They are measured on {name}." in text_of(source)
        assert f"Dots are pixels of {name} above the sky" in text_of(source)


def test_growth_curves_of_stars_and_model_agree_where_stars_are_gaussian(night: Write, tmp_path: Path) -> None:
    run = night(filters=("g",))
    # The factory draws Gaussians of sigma 1.732 pixels: say so in the catalogue.
    shutil.copytree(run.folder, tmp_path / "run")
    path = tmp_path / "run" / "catalogues" / "wasp12.ecsv"
    catalogue = Table.read(path, format="ascii.ecsv")
    catalogue["a"] = catalogue["b"] = np.full(len(catalogue), 3**0.5)
    catalogue["fwhm"], catalogue["theta"], catalogue["flags"] = 3**0.5 * 2.3548, 0.0, 0
    catalogue.write(path, format="ascii.ecsv", overwrite=True)
    source = page(Results(tmp_path / "run"), tmp_path / "page")
    chart = source[source.index("Growth curves") :]
    chart = chart[: chart.index("</figure>")]
    groups = re.findall(r'<g class="c-(\w+)">\s*<path class="line"[^>]*d="([^"]*)"', chart)
    lines = {hue: np.array(re.findall(r"[ML](\d+) (\d+)", path), int) for hue, path in groups}
    radius = lines["gold"][:, 0] / 10_000 * 12.24  # three widths
    light = 1.1 * (1 - lines["gold"][:, 1] / 2000)
    truth = (1 - np.exp(-(radius**2) / 6)) / (1 - np.exp(-(12.24**2) / 6))
    assert np.abs(light - truth).max() < 0.02  # the brightest star: its noise is nothing, its neighbours little
    model = 1.1 * (1 - lines["ink"][:, 1] / 2000)
    # The model is integrated over pixels, which the factory's stars are not: it is a little wider.
    assert np.abs(model - truth).max() < 0.03
    assert len(re.findall('class="stamp"', source)) == 4  # the target and three comparison stars


def test_without_the_plugins_of_a_run_the_page_says_why_there_is_no_background(night: Write, tmp_path: Path) -> None:
    shutil.copytree(night().folder, tmp_path / "run")
    recipe = tmp_path / "run" / "run.toml"
    recipe.write_text(recipe.read_text() + '\n[background]\nuse = "nobody-has-this"\n')
    text = text_of(page(Results(tmp_path / "run"), tmp_path / "page"))
    assert "The background cannot be drawn: the recipe of the run cannot be used here" in text
    assert "nobody-has-this" in text


def test_the_paragraph_of_methods_can_be_pasted(night: Write, tmp_path: Path) -> None:
    text = text_of(page(night(), tmp_path))
    paragraph = text[text.index("39 of 40 science frames of") : text.index("References")]
    assert paragraph.startswith(
        "39 of 40 science frames of 2017-12-20 (UTC) were reduced with Albireo 0.1.0 (numpy 2.4.0)."
    )
    assert "There are 2 master flats from 8 frames." in paragraph
    assert "WASP-12 b is measured against 3 comparison stars in g and r (3, 5, 8)." in paragraph
    assert "Errors are those of the counts of star and sky, read noise, the noise of the masters" in paragraph


def test_what_targets_and_filters_share_is_told_once(night: Write, tmp_path: Path) -> None:
    run = night()
    shutil.copytree(run.folder, tmp_path / "run")
    stars, summary = run.stars.copy(), dict(run.summary)
    stars["name"] = np.where(stars["source"] == 1, "second", stars["name"].astype("U20"))
    stars.write(tmp_path / "run" / "stars.ecsv", format="ascii.ecsv", overwrite=True)
    for curve in run.curves:
        other = curve.copy()
        # In r the second target has comparison stars of its own.
        shared = curve.meta["FILTER"] == "g"
        other.meta |= {"OBJECT": "second", "SOURCE": 1}
        other.meta["COMPARISONS"] = curve.meta["COMPARISONS"] if shared else {3: 0.5, 8: 0.5}
        path = f"curves/second {curve.meta['FILTER']}.ecsv"
        other.write(tmp_path / "run" / path, format="ascii.ecsv")
        summary["curves"] = [*summary["curves"], path]
    (tmp_path / "run" / "run.json").write_text(json.dumps(summary))
    text = text_of(page(Results(tmp_path / "run"), tmp_path / "page"))
    assert "WASP-12 b and second are measured against 3 comparison stars in g (3, 5, 8)." in text
    assert "WASP-12 b is measured against 3 comparison stars in r (3, 5, 8)." in text
    assert "second is measured against 2 comparison stars in r (3, 8)." in text
    assert text.count("in g (3, 5, 8)") == 1


def test_without_photometry_the_page_keeps_the_rest(night: Write, tmp_path: Path) -> None:
    shutil.copytree(night(curves=False).folder, tmp_path / "run")
    for name in ("photometry.fits", "stars.ecsv"):
        (tmp_path / "run" / name).unlink()
    text = text_of(page(Results(tmp_path / "run"), tmp_path / "page"))
    assert "This run made no light curve" in text
    assert "shift in x" in text
