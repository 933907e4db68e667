"""Thumbnails show what a frame holds, are made once, and stand on the sheet with the verdict."""

from __future__ import annotations

import json
import re
import struct
import zlib
from math import nan
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from albireo import Frame, FrameError, Registry, Results, Section, Tile, contact_sheet, encode_png, hookimpl
from albireo.pixels import sample_raw
from albireo.png import png_note
from albireo.review.pictures import Levels, Sample, look
from albireo.testing import PlainCamera, write_raw

PLAIN = Frame("a.fits", shape=(60, 50))


def decoded(png: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Palette entry of each pixel, first row on top, and the palette; refuses a broken file."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(png):
        (size,) = struct.unpack(">I", png[at : at + 4])
        kind, body = png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        assert struct.unpack(">I", png[at + 8 + size : at + 12 + size]) == (zlib.crc32(kind + body),)
        chunks[kind] = body
        at += 12 + size
    width, height, depth = struct.unpack(">IIB", chunks[b"IHDR"][:9])
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    assert not rows[:, 0].any()
    body = rows[:, 1:]
    if depth == 4:
        body = np.stack([body >> 4, body & 15], axis=-1).reshape(height, -1)
    return body[:, :width], np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(-1, 3)


@pytest.mark.parametrize("colours", [5, 16, 17, 200])
@pytest.mark.parametrize("shape", [(3, 4), (4, 7), (1, 1)])
def test_a_picture_holds_every_pixel_with_the_first_row_at_the_bottom(colours: int, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    indices, palette = rng.integers(0, colours, shape).astype(np.uint8), rng.integers(0, 256, (colours, 3))
    png = encode_png(indices, palette, "12.5 nan")
    pixels, colour = decoded(png)
    assert (pixels == indices[::-1]).all()
    assert (colour == palette).all()
    assert png_note(png[:100]) == "12.5 nan"
    assert png_note(encode_png(indices, palette)) == ""


# --- samples of raw frames


@pytest.fixture
def counts(tmp_path: Path) -> np.ndarray:
    """A raw image of 60 x 50 pixels, each with a value of its own, written three times: plain, packed, and gzipped."""
    values = np.arange(3000, dtype=np.uint16).reshape(60, 50) + 40000
    fits.writeto(tmp_path / "a.fits", values)
    fits.writeto(tmp_path / "a.fits.gz", values)
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(values)]).writeto(tmp_path / "a.fits.fz")
    return values.astype(np.float32)


@pytest.mark.parametrize(("name", "hdu"), [("a.fits", 0), ("a.fits.gz", 0), ("a.fits.fz", 1)])
def test_a_sample_is_the_middle_rows_of_each_block(name: str, hdu: int, counts: np.ndarray, tmp_path: Path) -> None:
    found = sample_raw(PLAIN.replace(path=str(tmp_path / name), hdu=hdu), 8, 4)
    assert found.shape == (7, 4, 50)
    for block in range(7):
        assert (found[block] == counts[8 * block + 2 : 8 * block + 6]).all()


def test_a_sample_of_a_window_and_of_a_mosaic_follows_the_tiles(counts: np.ndarray, tmp_path: Path) -> None:
    left, right = Section(0, 60, 0, 20), Section(0, 60, 20, 50)
    frame = PLAIN.replace(path=str(tmp_path / "a.fits"))
    window = frame.replace(shape=(60, 30), tiles=(Tile(0, (60, 50), right, Section(0, 60, 0, 30)),))
    assert (sample_raw(window, 10, 1)[:, 0] == counts[4::10, 20:]).all()
    flipped = (Tile(0, (60, 50), left, left, flip_x=True), Tile(0, (60, 50), right, right, flip_y=True))
    mosaic = np.hstack([counts[:, 19::-1], counts[::-1, 20:]])
    assert (sample_raw(frame.replace(tiles=flipped), 10, 1)[:, 0] == mosaic[4::10]).all()


def test_a_sample_of_a_frame_smaller_than_a_block_is_an_error(counts: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(FrameError, match="has 60 rows of data, fewer than the 61 of a block"):
        sample_raw(PLAIN.replace(path=str(tmp_path / "a.fits")), 61, 1)


# --- pictures of raw frames

CAMERA = PlainCamera(rows=400, columns=600)


def raw(folder: Path, name: str, values: np.ndarray, **facts: Any) -> Frame:
    """Write a raw file of the plain camera: an overscan at 500 adu beside the values."""
    frame = CAMERA.example().replace(path=str(folder / name), name=name, **facts)
    image = np.full(frame.shape, 500, dtype=np.uint16)
    image[frame.lit.slices] = np.clip(values, 0, 65535)
    write_raw(CAMERA, frame, image)
    return frame


def sky(level: float, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(level, level**0.5, CAMERA.example().lit.shape)


def test_a_picture_shows_a_star_where_it_is_and_saturation_in_red(tmp_path: Path) -> None:
    values = sky(1000)
    values[300:312, 90:102] += 20000  # a bright star; blocks are four pixels wide
    values[:80, 400:] = 65535
    sample = look(raw(tmp_path, "a.fits", values), 180, 10**7)
    pixels, palette = decoded(sample.picture(14))
    assert pixels.shape == (100, 150)  # without the overscan
    upright = pixels[::-1]
    assert (upright[75:78, 23:25] == 13).all()  # white
    assert (palette[upright[:20, 100:]] == (232, 62, 48)).all()
    assert (upright == 14).sum() == 20 * 50
    assert sample.levels.saturated == pytest.approx(80 * 200 / 240000)
    # 60 000 pixels with a noise of 32 adu: their median is known to 0.2 adu.
    assert abs(sample.levels.median - np.median(values)) < 1


def test_a_picture_reads_no_more_pixels_than_it_may(tmp_path: Path) -> None:
    values = sky(1000)
    values[::4] += 5000  # rows that a sample of one in the middle of each block of four does not have
    few = look(raw(tmp_path, "a.fits", values), 150, 100_000)
    assert abs(few.levels.median - 1000) < 2
    assert few.levels == Levels.from_note(png_note(few.picture(14)))


@pytest.mark.parametrize("level", [0, 700, 65535])
def test_a_picture_of_a_constant_frame_is_drawn(level: int, tmp_path: Path) -> None:
    values = np.full(CAMERA.example().lit.shape, level)
    sample = look(raw(tmp_path, "a.fits", values, saturation=70000.0), 180, 10**7)
    pixels, _ = decoded(sample.picture(14))
    assert (pixels < 14).all()
    assert sample.levels == Levels(level, 0.0)


def test_pixels_without_a_number_are_left_out_and_blocks_of_them_are_transparent() -> None:
    counts = np.arange(48.0, dtype=np.float32).reshape(4, 2, 6)  # blocks of two rows and two columns
    counts[0, 0, 0] = counts[3, :, 4:] = nan
    sample = Sample(counts, 2, nan)
    pixels, _ = decoded(sample.picture(14))
    assert (pixels[::-1] == 15).tolist() == [[False] * 3] * 3 + [[False, False, True]]
    assert sample.levels.median == np.nanmedian(counts)
    assert np.isnan(sample.levels.saturated)
    nothing = Sample(np.full((4, 2, 6), nan, np.float32), 2, nan)
    assert (decoded(nothing.picture(14))[0] == 15).all()
    assert nothing.histogram() is None


def test_a_histogram_counts_the_pixels_that_were_read(tmp_path: Path) -> None:
    values = np.where(np.arange(600) < 150, 1000, 3000) * np.ones((400, 1))
    found = look(raw(tmp_path, "a.fits", values), 180, 10**7).histogram()
    assert found is not None
    assert (found.low, found.high) == (1000, 3000)
    assert (found.counts[0], sum(found.counts[1:-1]), found.counts[-1]) == (60_000, 0, 180_000)


# --- the sheet

KNOWN = {"fwhm": 4.123, "sky": 901.24, "sources": 57}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Results:
    """The folder of a run of four frames, one of which lies no longer where it lay."""
    registry = Registry()
    plugin = SimpleNamespace(__name__="plain", instruments=hookimpl(lambda: [PlainCamera]))
    plugin.instruments.__name__ = "instruments"
    registry.add(plugin)
    monkeypatch.setattr(Registry, "discover", lambda: registry)
    folder = tmp_path / "raw"
    folder.mkdir()
    rows = [
        {"name": name, "kind": kind, "fate": fate, "reason": reason, "mjd_mid": 60310.0 + k, "saturation": 60000.0}
        | (KNOWN if kind == "science" else {"fwhm": nan, "sky": nan, "sources": -1})
        for k, (name, kind, fate, reason) in enumerate(
            [
                ("flat.fits", "flat", "dropped", "too bright & </script><b>high"),
                ("star.fits", "science", "used", ""),
                ("gone.fits", "science", "used", ""),
                ("text.fits", "unknown", "failed", "it is not a FITS file"),
            ]
        )
    ]
    raw(folder, "flat.fits", sky(30000), kind="flat")
    raw(folder, "star.fits", sky(1000))
    (folder / "text.fits").write_text("nothing")
    table = Table(rows=rows)
    table["path"] = [str(folder / name) for name in table["name"]]
    table["hdu"], table["detector"], table["stage"] = 0, "", ""
    out = tmp_path / "run"
    out.mkdir()
    table.write(out / "frames.ecsv", format="ascii.ecsv")
    (out / "run.json").write_text(json.dumps({"title": "M 67 & <friends>"}))
    (out / "run.toml").write_text('[instrument]\nuse = "plain-camera"\nrows = 400\ncolumns = 600\n')
    return Results(out)


def shown(sheet: Path) -> dict[str, dict[str, Any]]:
    """What a sheet says of each frame, by name."""
    text = sheet.read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return {entry["name"]: entry for entry in json.loads(found[1])["frames"]}


def test_a_sheet_has_every_frame_with_verdict_reason_and_numbers(run: Results, tmp_path: Path) -> None:
    sheet = contact_sheet(run, tmp_path / "report")
    assert sheet == tmp_path / "report" / "frames.html"
    frames = shown(sheet)
    assert list(frames) == ["flat.fits", "star.fits", "gone.fits", "text.fits"]
    flat, star = frames["flat.fits"], frames["star.fits"]
    assert (flat["fate"], flat["reason"]) == ("dropped", "too bright & </script><b>high")
    assert flat["level"] == pytest.approx(30000, abs=2)
    assert "fwhm" not in flat
    assert "sources" not in flat
    assert (star["fwhm"], star["sky"], star["sources"], star["full"]) == (4.12, 901.2, 57, 0)
    text = sheet.read_text(encoding="utf-8")
    assert "<title>Frames of M 67 &amp; &lt;friends&gt; – Albireo</title>" in text
    assert not re.search(r"https?:|@import|url\(", text)
    for name in (flat["picture"], star["picture"]):
        assert decoded((sheet.parent / "frames" / name).read_bytes())[0].shape == (100, 150)


def test_a_frame_without_a_picture_says_why(run: Results, tmp_path: Path) -> None:
    frames = shown(contact_sheet(run, tmp_path))
    assert frames["gone.fits"]["missing"] == f"the raw file is not at {tmp_path / 'raw' / 'gone.fits'} any more"
    assert "cannot be read" in frames["text.fits"]["missing"]
    (run.folder / "run.toml").write_text('[instrument]\nuse = "nocam"\n')
    frames = shown(contact_sheet(Results(run.folder), tmp_path / "again"))
    assert frames["star.fits"]["missing"].startswith("the camera 'nocam' of this run cannot be used: there is no instr")


def test_thumbnails_are_made_once_and_again_when_their_frame_changes(run: Results, tmp_path: Path) -> None:
    def thumbnails() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in (tmp_path / "frames").iterdir()}

    before = shown(contact_sheet(run, tmp_path))
    first = thumbnails()
    again = shown(contact_sheet(run, tmp_path))
    assert again == before
    assert thumbnails() == first
    (tmp_path / "raw" / "star.fits").unlink()
    raw(tmp_path / "raw", "star.fits", sky(2000))
    after = shown(contact_sheet(run, tmp_path))
    assert after["star.fits"]["level"] == pytest.approx(2000, abs=2)
    assert thumbnails().keys() == {after["flat.fits"]["picture"], after["star.fits"]["picture"]}
    assert after["flat.fits"] == before["flat.fits"]


def test_a_sheet_of_what_was_left_out_draws_nothing_else(run: Results, tmp_path: Path) -> None:
    assert set(shown(contact_sheet(run, tmp_path, "left-out"))) == {"flat.fits", "text.fits"}
    assert len(list((tmp_path / "frames").iterdir())) == 1
