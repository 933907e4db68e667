"""Shifts by the offset that most stars share, from one star on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albireo import FrameError, Sources, Transform
from albireo_alignment import Translation

SIZE = 1000.0


def lists(dx, dy, common, strangers=0, noise=0.1, seed=1):
    """An image and a reference with some stars in common, and strangers in both."""
    rng = np.random.default_rng(seed)
    stars = rng.uniform(0, SIZE, (2, common))
    made = []
    for places in (stars + np.array([[dx], [dy]]), stars):
        every = np.concatenate(
            [places + rng.normal(0, noise, places.shape), rng.uniform(0, SIZE, (2, strangers))], axis=1
        )
        made.append(Sources.make(*every[:, rng.permutation(common + strangers)]))
    return made


@settings(max_examples=100, deadline=None)
@given(
    dx=st.floats(-600, 600),
    dy=st.floats(-600, 600),
    common=st.integers(4, 60),
    share=st.floats(0, 1),
    noise=st.floats(0, 0.3),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_shift_is_found_though_up_to_half_of_the_stars_differ(dx, dy, common, share, noise, seed):
    found = Translation().align(*lists(dx, dy, common, min(round(share * common), 40), noise, seed))
    # Both lists have the noise; four times what the mean of the differences leaves.
    assert np.hypot(*np.subtract(found.shift, (dx, dy))) < 4.0 * noise * np.sqrt(4.0 / common) + 0.05
    assert np.array_equal(found.matrix[:2, :2], np.eye(2))


def test_the_map_says_how_many_stars_agree_and_how_well():
    found = Translation().align(*lists(31.5, -12.25, 40, 20, noise=0.2))
    assert found.matched == 40
    # Two coordinates, and the noise of both lists.
    assert found.rms == pytest.approx(0.2 * 2.0, rel=0.2)


@pytest.mark.parametrize(("stars", "fields"), [(2, 300), (3, 300), (5, 300), (50, 30)])
def test_unrelated_fields_are_refused_as_often_as_is_stated(stars, fields):
    believed, rng = 0, np.random.default_rng(stars)
    for _ in range(fields):
        try:
            Translation().align(*(Sources.make(*rng.uniform(0, SIZE, (2, stars))) for _ in "ab"))
        except FrameError:
            continue
        believed += 1
    assert believed <= 2


def test_two_stars_that_moved_alike_are_proof():
    found = Translation().align(*lists(3.0, 7.0, 2, noise=0.05))
    assert found.matched == 2
    assert np.hypot(*np.subtract(found.shift, (3.0, 7.0))) < 0.2


def test_a_lone_star_is_the_nearest_one_and_nothing_confirms_it():
    reference = Sources.make([100.0, 300.0, 500.0], [100.0, 320.0, 80.0])
    found = Translation().align(Sources.make([310.0], [316.0]), reference)
    assert found.shift == (10.0, -4.0)
    assert found.matched == 1
    assert np.isnan(found.rms)
    assert Translation().align(reference, Sources.make([310.0], [316.0])).shift == (-10.0, 4.0)


def test_a_lone_star_between_two_is_refused_unless_the_limit_decides():
    reference, image = Sources.make([100.0, 130.0], [50.0, 50.0]), Sources.make([112.0], [50.0])
    with pytest.raises(FrameError) as caught:
        Translation().align(image, reference)
    assert str(caught.value) == (
        "one star does not tell the shift: 2 of the reference may be it, the nearest two 12.0 and 18.0 pixels away; "
        "lower the threshold of the finder, or set max_shift below 18"
    )
    assert Translation(max_shift=15.0).align(image, reference).shift == (12.0, 0.0)


@pytest.mark.parametrize("stars", [1, 40])
def test_a_shift_beyond_the_limit_is_refused_by_its_size(stars):
    aligner = Translation(max_shift=20.0)
    found = aligner.align(*lists(30.0, -40.0, stars, noise=0.0))
    with pytest.raises(FrameError, match=r"^shift of 50.0 pixels is more than the 20 pixels allowed$"):
        aligner.check(found, (1000, 1000))
    aligner.check(aligner.align(*lists(12.0, -9.0, stars, noise=0.0)), (1000, 1000))


def test_within_a_limit_fewer_stars_are_proof():
    rng = np.random.default_rng(6)
    image, reference = lists(2.0, -1.0, 2, 0, noise=0.6, seed=3)
    strangers = rng.uniform(0, SIZE, (2, 2, 12))
    image, reference = (
        Sources.make(np.append(s.x, more[0]), np.append(s.y, more[1]))
        for s, more in zip((image, reference), strangers, strict=True)
    )
    with pytest.raises(FrameError, match="set max_shift if the field moves little"):
        Translation().align(image, reference)
    assert Translation(max_shift=4.0).align(image, reference).matched == 2


def test_a_rotated_field_is_refused():
    x, y = np.random.default_rng(2).uniform(0, SIZE, (2, 50))
    turned = Transform.similarity(10.0, 5.0, rotation=3.0)
    with pytest.raises(FrameError, match="'patterns' if it rotates"):
        Translation().align(Sources.make(*turned(x, y)), Sources.make(x, y))


def test_an_empty_list_is_named():
    with pytest.raises(FrameError, match=r"^there are no sources in this image; lower the threshold"):
        Translation().align(Sources.make([], []), Sources.make([1.0], [2.0]))
    with pytest.raises(FrameError, match=r"^there are no sources in the reference"):
        Translation().align(Sources.make([1.0], [2.0]), Sources.make([np.nan], [2.0]))
