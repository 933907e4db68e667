"""Frames with several amplifiers, also where the raw image is put together from tiles: each has its own constants."""

import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from albireo import Amplifier, Frame, Section, Tile, apply_terms, image, raw_image, read_raw, variance_of
from albireo.testing import PlainCamera
from albireo_calibration import Gain, Overscan, Trim

STAGES = (Overscan(), Trim(), Gain())


def calibrated(raw, frame, stages=STAGES):
    return apply_terms(raw, frame, [stage.terms(raw, frame, {}) for stage in stages])


def quadrants(path, rows, columns, wide, constants, source, gap):
    """A frame of four amplifiers, each in an HDU of its own as it was read out, the overscan after the data.

    The data make one rectangle; the overscans lie to the right of it, side by side for the amplifiers of a row.
    """
    amplifiers, tiles = [], []
    for number, (gain, read_noise) in enumerate(constants):
        up, right = divmod(number, 2)
        data = Section(up * rows, (up + 1) * rows, right * columns, (right + 1) * columns)
        start = 2 * columns + right * wide
        strip = Section(up * rows, (up + 1) * rows, start, start + wide)
        amplifiers.append(Amplifier(data, strip, gain, read_noise, f"A{number + 1}"))
        for first, target in ((0, data), (columns + gap, strip)):
            part = Section(0, rows, first, first + target.shape[1])
            tiles.append(Tile(number + 1, source, part, target, flip_y=up == 1, flip_x=right == 1))
    shape = (2 * rows, 2 * columns + 2 * wide)
    return Frame(str(path), hdu=1, kind="science", shape=shape, amplifiers=tuple(amplifiers), tiles=tuple(tiles))


@pytest.fixture
def rng():
    return np.random.default_rng(4)


@pytest.mark.parametrize("along", ["rows", "all"])
def test_two_amplifiers_give_one_image_in_electrons_with_the_noise_of_each(rng, along):
    frame = PlainCamera(rows=300, columns=400, amplifiers=2).example()
    electrons = rng.poisson(2000.0, frame.shape).astype(float)
    raw = np.zeros(frame.shape)
    for level, amplifier in zip((1000.0, 1300.0), frame.amplifiers, strict=True):
        for section, light in ((amplifier.data, electrons), (amplifier.overscan, 0 * electrons)):
            read = amplifier.read_noise * rng.standard_normal(section.shape)
            raw[section.slices] = level + (light[section.slices] + read) / amplifier.gain
    result = calibrated(image(raw), frame, (Overscan(along=along), Trim(), Gain()))
    assert result.shape == (300, 400)
    for part, amplifier in zip(np.split(np.arange(400), 2), frame.amplifiers, strict=True):
        data, variance = result.data[:, part], variance_of(result)[:, part]
        error = np.sqrt(2000.0 / data.size + amplifier.read_noise**2 / (300 * 16))
        assert data.mean() == pytest.approx(2000.0, abs=4 * error)
        share = 1 / 16 if along == "rows" else 1 / (300 * 16)
        assert variance.mean() == pytest.approx(2000.0 + amplifier.read_noise**2 * (1 + share), rel=0.002)
        assert data.var() == pytest.approx(variance.mean(), rel=0.02)


def test_four_tiled_amplifiers_make_the_sky_without_a_seam(rng, tmp_path):
    rows, columns, wide, gap = 60, 80, 20, 3
    constants = ((1.5, 4.0), (2.0, 6.0), (2.5, 8.0), (3.0, 10.0))
    path = tmp_path / "four.fits"
    source = (rows, columns + gap + wide)
    frame = quadrants(path, rows, columns, wide, constants, source, gap)
    y, x = np.mgrid[: 2 * rows, : 2 * columns]
    truth = 3000.0 + 10.0 * x + 20.0 * y
    light = rng.poisson(truth)
    units = [fits.PrimaryHDU()]
    for number, (gain, read_noise) in enumerate(constants):
        up, right = divmod(number, 2)
        piece = light[frame.amplifiers[number].data.slices][:: -1 if up else 1, :: -1 if right else 1]
        drift = 900.0 + 100.0 * number + 0.5 * np.arange(rows)[:, None]  # in the order of reading
        raw = drift + read_noise / gain * rng.standard_normal(source)
        raw[:, :columns] += piece / gain
        raw[:, columns : columns + gap] += 500.0  # columns between data and overscan, in no tile
        units.append(fits.ImageHDU(np.round(raw).astype(np.uint16)))
    fits.HDUList(units).writeto(path)
    raw = raw_image(read_raw(frame), 60000.0)
    result = calibrated(raw, frame)
    assert result.shape == (2 * rows, 2 * columns)
    assert np.isfinite(result.data).all()
    pull = (result.data - truth) / np.sqrt(variance_of(result))
    for amplifier in frame.amplifiers:
        part = pull[amplifier.data.slices]
        assert part.std() == pytest.approx(1.0, abs=4 / np.sqrt(2 * part.size) + 0.01)
        assert abs(part.mean()) < 4 * np.sqrt(1 / part.size + 64 / 3000 / (rows * wide))


def test_four_real_amplifiers_lose_their_overscan():
    base = Path(os.environ.get("ALBIREO_DATA", Path(__file__).parents[3].parent / "shared" / "data"))
    path = base / "lco_mef" / "mef_raw_test_frame.fits"
    if not path.exists():
        pytest.skip(f"no real frames in {base}")
    # In order of their place on the detector (DETSEC): extension 2 lies lower left, 3 lower right, 1 upper left.
    order, gains = (2, 3, 1, 4), (6.23, 6.27, 6.42, 6.26)
    medians = {1: 2522.0, 2: 2560.0, 3: 2553.0, 4: 2582.0}
    made = quadrants(path, 512, 512, 21, [(gain, 7.0) for gain in gains], (522, 544), 7)
    tiles = [
        Tile(order[tile.hdu - 1], tile.image, tile.source, tile.target, tile.flip_y, tile.flip_x) for tile in made.tiles
    ]
    frame = made.replace(tiles=tuple(tiles))
    raw = raw_image(read_raw(frame), 40000.0)
    terms = Overscan().terms(raw, frame, {})
    for extension, amplifier in zip(order, frame.amplifiers, strict=True):
        assert np.median(terms.subtract[amplifier.data.slices]) == pytest.approx(medians[extension], abs=1.0)
    counts = calibrated(raw, frame, (Overscan(), Trim()))
    assert counts.shape == (1024, 1024)
    levels = [np.median(counts.data[amplifier.data.slices]) for amplifier in frame.amplifiers]
    np.testing.assert_allclose(levels, 300.0, atol=5.0)
    # Where four amplifiers meet, the sky goes on: in electrons it is the same to a per cent or two.
    result = calibrated(raw, frame).data
    corners = [result[y : y + 60, x : x + 60] for y in (452, 512) for x in (452, 512)]
    np.testing.assert_allclose(np.median(corners, axis=(1, 2)), np.median(corners), rtol=0.02)
