"""Trails of saturated stars: they are found to their ends, and stars, spikes and neighbours are left alone."""

import os
from pathlib import Path

import numpy as np
import pytest

from albireo import Flag, Frame, flags_of, image, raw_image, read_pixels
from albireo.testing import Profile, Scene, simulate_image
from albireo_calibration import Bleed

SHAPE = (300, 260)
FULL = 50000.0
FRAME = Frame("a.fits", shape=SHAPE)


def picture_of(scene, seed=1, profile=None, sky=200.0):
    return simulate_image(scene, SHAPE, profile=profile or Profile(4.0, 3.5), sky=sky, read_noise=5.0).realise(seed)


def saturated(data, full=FULL):
    data = np.minimum(data, full).astype(np.float32)
    return image(data, flags=np.where(data >= full, Flag.SATURATED, 0).astype(np.uint16))


def trail(x, y, up, down, wide=1, level=FULL, taper=1.0):
    """Charge along the columns, from ``down`` pixels below a star to ``up`` pixels above it."""
    plane = np.zeros(SHAPE, dtype=np.float32)
    for step in range(-down, up + 1):
        end = up if step > 0 else down
        plane[y + step, x - wide // 2 : x - wide // 2 + wide] = level * taper ** (abs(step) / max(end, 1))
    return plane


def found(picture, **options):
    return flags_of(Bleed(**{"grow": 0, **options}).correct(picture, FRAME, {})) & Flag.BLEED != 0


def core(picture, reach=0):
    """Saturated pixels, and those within reach of them."""
    row, column = np.nonzero(flags_of(picture) & Flag.SATURATED)
    grown = np.zeros(SHAPE, dtype=bool)
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            grown[np.clip(row + dy, 0, SHAPE[0] - 1), np.clip(column + dx, 0, SHAPE[1] - 1)] = True
    return grown


@pytest.mark.parametrize("wide", [1, 2, 5])
@pytest.mark.parametrize(("level", "taper"), [(FULL, 1.0), (0.7 * FULL, 1.0), (0.5 * FULL, 0.02), (400.0, 1.0)])
def test_trails_are_found_to_their_ends_and_nothing_else_is(wide, level, taper):
    stars = [(100, 150, 90, 120), (190, 60, 70, 40), (41, 200, 60, 60)]
    light = picture_of(Scene([100.2, 190.0, 40.7], [150.1, 60.4, 200.0], [6e6, 3e6, 3e6])).data
    spilt = sum(trail(x, y, up, down, wide, level, taper) for x, y, up, down in stars)
    picture = saturated(light + spilt)
    marked = found(picture)
    rows = np.abs(np.arange(SHAPE[0])[:, None] - np.array([[60, 150, 200]]))
    beyond = (rows > 16).all(axis=1)[:, None]  # nearer than that, a faint trail is lost in the light of its star
    true = (spilt > 10 * 15.0) & beyond
    assert true.sum() > 150 * wide
    assert marked[true].mean() > 0.99
    assert (marked & beyond & (spilt == 0)).sum() <= 0.01 * true.sum()


@pytest.mark.parametrize("elongation", [1.0, 1.15])
@pytest.mark.parametrize("flux", [2e6, 4e6, 3e7])
def test_a_saturated_star_without_a_trail_has_none(flux, elongation):
    scene = Scene([100.3, 190.0, 60.5], [150.0, 60.2, 240.5], [flux] * 3)
    profile = Profile(4.0, 3.5, elongation=elongation, theta=np.pi / 2)
    picture = saturated(picture_of(scene, profile=profile).data)
    assert core(picture).sum() > 15
    assert not (found(picture) & ~core(picture)).any()


def test_spikes_of_the_secondary_are_not_trails():
    data = picture_of(Scene([130.0], [150.0], [5e6])).data
    distance = np.abs(np.arange(-100, 101))
    spike = 8000.0 / (1.0 + distance / 5.0) ** 1.5
    data[50:251, 130] += spike
    data[150, 30:231] += spike
    picture = saturated(data)
    assert not (found(picture) & ~core(picture)).any()


def test_a_field_of_unsaturated_stars_is_untouched():
    scene = Scene.field(SHAPE, 60, 2e5, 1e3, separation=12.0, margin=5.0, seed=3)
    picture = saturated(picture_of(scene).data)
    assert not core(picture).any()
    result = Bleed().correct(picture, FRAME, {})
    assert not flags_of(result).any()
    assert "HISTORY" not in result.meta


def test_stars_near_a_saturated_one_keep_their_pixels_but_in_its_trail():
    # One star above the trail's end, in line with it, one beside the trail.
    scene = Scene([100.0, 101.0, 112.0], [100.0, 200.0, 140.0], [6e6, 1e5, 1e5])
    light = picture_of(scene).data
    spilt = trail(100, 100, 60, 60)
    picture = saturated(np.maximum(light, spilt))
    marked = found(picture)
    assert marked[130:160, 100].all()  # past the star beside it
    assert not marked[166:, :].any()
    assert not marked[:, 104:].any()


def test_a_neighbour_in_line_within_the_light_of_a_saturated_star_keeps_its_pixels():
    data = picture_of(Scene([100.0, 100.0], [150.0, 175.0], [3e7, 3e5])).data
    picture = saturated(data)
    assert data[175, 100] < 0.5 * FULL
    assert not (found(picture) & ~core(picture)).any()


def test_a_star_at_the_edge_keeps_its_trail():
    for x in (0, 2, SHAPE[1] - 1):
        light = picture_of(Scene([float(x)], [150.0], [6e6])).data
        picture = saturated(np.maximum(light, trail(x, 150, 149, 120, level=0.8 * FULL)))
        marked = found(picture)
        assert marked[180:, x].all()
        assert marked[31:120, x].all()
        assert marked.sum() < 300


def test_trails_along_rows_are_those_along_columns_turned():
    light = picture_of(Scene([100.2], [150.1], [6e6])).data
    data = np.maximum(light, trail(100, 150, 90, 120, 2, 0.6 * FULL))
    upright = found(saturated(data))
    turned = saturated(data.T.copy())
    frame = FRAME.replace(shape=SHAPE[::-1])
    marked = flags_of(Bleed(along="rows", grow=0).correct(turned, frame, {})) & Flag.BLEED != 0
    np.testing.assert_array_equal(marked, upright.T)
    assert not found(turned)[:, :].sum() > 0.2 * upright.sum()


def test_pixels_around_saturated_ones_and_trails_are_flagged_as_asked():
    light = picture_of(Scene([100.0], [150.0], [6e6])).data
    picture = saturated(np.maximum(light, trail(100, 150, 60, 60, level=0.8 * FULL)))
    narrow, wide = found(picture), found(picture, grow=2)
    seeds = narrow | core(picture)
    expected = np.zeros(SHAPE, dtype=bool)
    for row, column in np.argwhere(seeds):
        expected[row - 2 : row + 3, column - 2 : column + 3] = True
    np.testing.assert_array_equal(wide | core(picture), expected)


def test_the_same_pixels_are_found_on_raw_and_on_calibrated_images():
    rng = np.random.default_rng(6)
    light = picture_of(Scene([100.2, 190.0], [150.1, 60.4], [6e6, 3e6])).data
    raw = saturated(np.maximum(light, trail(100, 150, 90, 120, 2, 0.6 * FULL)))
    later = raw.data * 1.7 / (1.0 + 0.01 * rng.standard_normal(SHAPE)) - 300.0
    calibrated = image(later, "electron", variance=np.abs(later), flags=flags_of(raw))
    first, second = found(raw), found(calibrated)
    assert (first != second).sum() <= 3
    assert first.sum() > 100


def test_missing_pixels_and_images_full_of_light_do_no_harm():
    picture = saturated(picture_of(Scene([100.0], [150.0], [6e6])).data + trail(100, 150, 60, 60, level=0.8 * FULL))
    picture.data[190, :] = np.nan
    marked = found(picture)
    assert marked[180:190, 100].all()
    assert not marked[190:].any()
    full = saturated(np.full(SHAPE, 2 * FULL))
    assert found(full, grow=1).sum() <= full.data.size
    for shape in ((1, 1), (1, 7), (7, 1)):
        full = saturated(np.full(shape, 2 * FULL))
        assert Bleed().correct(full, FRAME.replace(shape=shape), {}).mask.all()


def test_full_pixels_that_read_lower_are_flagged_between_saturated_ones():
    data = picture_of(Scene([100.0], [150.0], [6e6])).data
    picture = saturated(data)
    picture.data[149:152, 99:102] = 0.9 * FULL
    flags = flags_of(picture)
    flags[149:152, 99:102] = 0
    marked = found(image(picture.data, flags=flags))
    assert marked[149:152, 99:102].all()
    assert marked.sum() == 9


def test_the_header_tells_what_was_found():
    light = picture_of(Scene([100.0], [150.0], [6e6])).data
    picture = saturated(np.maximum(light, trail(100, 150, 60, 60, level=0.8 * FULL)))
    (line,) = Bleed().correct(picture, FRAME, {}).meta["HISTORY"]
    assert line == f"bleed: {core(picture).sum()} pixels saturated, {found(picture).sum()} in their trails"


def test_trails_of_real_stars_are_found_and_other_saturated_stars_have_none():
    base = Path(os.environ.get("ALBIREO_DATA", Path(__file__).parents[3].parent / "shared" / "data"))
    paths = sorted((base / "lowell42" / "5945").glob("*.fits.fz"))
    if not paths:
        pytest.skip(f"no real frames in {base}")
    picture = raw_image(read_pixels(paths[0], hdu=1), 62000.0)
    result = Bleed(grow=0).correct(picture, FRAME.replace(shape=picture.shape), {})
    row, column = np.nonzero(flags_of(result) & Flag.BLEED)
    # Three stars bleed: their trails hold nearly all pixels that were found.
    trails = [(964, 1092, 1236, 1251), (903, 963, 867, 878), (449, 485, 1165, 1175)]
    inside = np.zeros(len(row), dtype=bool)
    for low, high, first, last in trails:
        here = (row >= low - 3) & (row <= high + 3) & (column >= first) & (column <= last)
        inside |= here
        assert row[here].min() <= low + 1
        assert row[here].max() >= high - 1
    assert inside.mean() > 0.97
