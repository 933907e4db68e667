"""Lists of sources, transforms between frames, and the shape of a star."""

import math

import numpy as np
import pytest
from astropy import units as u
from hypothesis import given, settings
from hypothesis import strategies as st

from albireo import PSF, Flag, Sources, Transform

CALM = settings(deadline=None, max_examples=60)
shifts = st.floats(-5000, 5000)
angles = st.floats(-179.9, 179.9)
scales = st.floats(0.05, 20)
similarities = st.builds(Transform.similarity, shifts, shifts, angles, scales, st.booleans())
points = st.lists(st.tuples(shifts, shifts), min_size=1, max_size=8).map(np.array)


# --- transforms -------------------------------------------------------------------------------------------------------


@CALM
@given(similarities, points)
def test_the_inverse_undoes_a_transform(transform, xy):
    back = transform.inverse()(*transform(xy[:, 0], xy[:, 1]))
    # Rounding: 1e-16 of coordinates up to 1e5, magnified by up to 20.
    np.testing.assert_allclose(np.array(back).T, xy, atol=1e-8)


@CALM
@given(similarities, similarities, points)
def test_a_product_applies_the_right_transform_first(second, first, xy):
    together = (second @ first)(xy[:, 0], xy[:, 1])
    np.testing.assert_allclose(together, second(*first(xy[:, 0], xy[:, 1])), rtol=1e-9, atol=1e-6)


@CALM
@given(shifts, shifts, angles, scales, st.booleans())
def test_a_similarity_tells_what_it_was_made_of(dx, dy, rotation, scale, mirrored):
    transform = Transform.similarity(dx, dy, rotation, scale, mirrored)
    assert transform.shift == (dx, dy)
    assert transform.scale == pytest.approx(scale, rel=1e-9)
    assert transform.mirrored == mirrored
    assert (transform.rotation - rotation + 180) % 360 - 180 == pytest.approx(0, abs=1e-9)
    back = transform.inverse()
    assert back.scale == pytest.approx(1 / scale, rel=1e-9)
    assert back.mirrored == mirrored


def test_rotation_is_counter_clockwise_and_mirroring_turns_x_first():
    x, y = Transform.similarity(dx=10, dy=20, rotation=90)(1.0, 0.0)
    assert (float(x), float(y)) == pytest.approx((10, 21))
    x, y = Transform.similarity(rotation=90, mirrored=True)(1.0, 2.0)
    assert (float(x), float(y)) == pytest.approx((-2, -1))


def test_the_residual_follows_the_scale():
    transform = Transform(2.0 * np.diag([1.0, 1.0, 0.5]), rms=0.3, matched=12)
    assert transform.inverse().rms == pytest.approx(0.15)
    assert transform.inverse().matched == 12
    assert Transform.identity().rms == 0.0
    assert math.isnan(Transform.similarity().rms)


# --- lists ------------------------------------------------------------------------------------------------------------


def test_make_fills_what_is_not_known():
    sources = Sources.make([1, 2], [3, 4], flux=[5, 6])
    assert sources.x.dtype == np.float64
    assert sources.flags.dtype == np.uint16
    assert sources.id.dtype == np.int64
    assert sources.flux.tolist() == [5.0, 6.0]
    assert sources.flags.tolist() == sources.id.tolist() == [0, 0]
    assert np.isnan([sources.a, sources.b, sources.theta, sources.fwhm, sources.peak]).all()
    assert len(Sources.make([], [])) == 0
    assert len(Sources.make(1.0, 2.0)) == 1


def test_make_says_what_is_wrong():
    with pytest.raises(ValueError) as caught:
        Sources.make([1, 2], [1])
    assert str(caught.value) == "column 'y' has shape (1,), the positions (2,)"
    with pytest.raises(ValueError) as caught:
        Sources.make([1, 2], [1, 2], flux=[1, 2, 3])
    assert str(caught.value) == "column 'flux' has shape (3,), the positions (2,)"
    with pytest.raises(ValueError) as caught:
        Sources.make([1], [1], mag=[2])
    assert str(caught.value) == (
        "sources have no column mag; columns are x, y, flux, a, b, theta, fwhm, peak, flags, id"
    )


def test_rows_are_picked_by_mask_slice_index_and_number():
    sources = Sources.make([1, 2, 3], [4, 5, 6], id=[7, 8, 9])
    for index in (np.array([False, True, True]), slice(1, None), np.array([1, 2])):
        assert sources[index].id.tolist() == [8, 9]
    assert sources[1].y.tolist() == [5.0]
    assert sources[1].id.dtype == np.int64
    assert len(sources[np.array([], dtype=int)]) == 0


@CALM
@given(similarities, points)
def test_moved_sources_are_where_the_transform_puts_them_and_scaled(transform, xy):
    sources = Sources.make(xy[:, 0], xy[:, 1], fwhm=np.full(len(xy), 3.0), a=np.full(len(xy), 2.0), id=range(len(xy)))
    moved = sources.moved(transform)
    np.testing.assert_array_equal([moved.x, moved.y], transform(xy[:, 0], xy[:, 1]))
    np.testing.assert_allclose(moved.fwhm, 3.0 * transform.scale)
    np.testing.assert_allclose(moved.a, 2.0 * transform.scale)
    assert moved.id.tolist() == sources.id.tolist()
    assert sources.x.tolist() == xy[:, 0].tolist()


def test_a_table_has_units():
    table = Sources.make([1.0], [2.0], theta=[0.1]).to_table()
    assert table["x"].unit == table["fwhm"].unit == u.pix
    assert table["theta"].unit == u.rad
    assert table["flux"].unit is None


# --- the shape of a star ----------------------------------------------------------------------------------------------


def star(n=5, **changes):
    columns = {"fwhm": 3.0, "a": 2.0, "b": 1.0, "theta": 0.5}
    return Sources.make(np.arange(n), np.arange(n), **{k: np.full(n, v) for k, v in {**columns, **changes}.items()})


def test_the_shape_is_the_median_of_unflagged_sources():
    sources = star(7)
    sources.flags[0], sources.fwhm[0] = Flag.SATURATED, 50.0
    sources.fwhm[1] = np.nan
    sources.fwhm[2:5] = 2.0, 4.0, 9.0
    psf = PSF.of(sources)
    assert (psf.fwhm, psf.elongation, psf.stars) == (3.0, 2.0, 5)  # of 2, 4, 9, 3 and 3
    assert psf.theta == pytest.approx(0.5)


def test_the_faintest_of_many_sources_do_not_count():
    sources = star(5)
    sources.flux[:] = 1.0, 5.0, np.nan, 4.0, 3.0
    sources.fwhm[:] = 1.0, 3.1, 0.9, 3.2, 3.3
    psf = PSF.of(sources, brightest=3)
    assert (psf.fwhm, psf.stars) == (3.2, 3)


def test_nothing_to_measure_gives_no_shape():
    assert PSF.of(Sources.make([], [])) is None
    assert PSF.of(star(fwhm=np.nan)) is None
    assert PSF.of(star(flags=Flag.COSMIC_RAY)) is None
    assert PSF.of(star(b=0.0)) is None
    assert PSF.of(star(a=np.nan)) is None


def test_angles_that_differ_by_half_a_turn_are_one_axis():
    sources = star(4)
    sources.theta[:] = [math.pi / 2 - 0.1, -math.pi / 2 + 0.1, math.pi / 2 - 0.05, -math.pi / 2 + 0.05]
    assert abs(PSF.of(sources).theta) == pytest.approx(math.pi / 2, abs=1e-9)


def test_a_round_star_has_no_angle_and_spoils_none():
    sources = star(3, a=1.0)
    sources.theta[:2] = np.nan
    assert PSF.of(sources).theta == pytest.approx(0.5)
    sources.theta[:] = np.nan
    assert PSF.of(sources).numbers() == PSF(3.0, 1.0, 0.0, 3).numbers()
