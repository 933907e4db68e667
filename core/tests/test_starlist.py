"""One list of stars for several cameras: who is who, in which order, and where."""

import numpy as np
import pytest

from albireo import Flag, Sources, Transform
from albireo.recipe import CatalogueOptions
from albireo.run.starlist import StarList, View, good_stars

SHAPE = (400, 500)
OPTIONS = CatalogueOptions()
AWAY = Transform.similarity(480.0, 30.0, rotation=4.0, scale=0.9, mirrored=True)
"""From the first camera to the second."""


def camera(places, flux, transform=None, shape=SHAPE, flags=0, jitter=0.0):
    """A camera that detects stars at places of the first camera."""
    transform = transform or Transform.identity()
    x, y = transform(*np.array(places, dtype=float).reshape(-1, 2).T)
    x = x + jitter * np.cos(np.arange(len(x)))
    found = Sources.make(x, y, flux=flux, fwhm=np.full(len(x), 4.0), flags=np.broadcast_to(flags, x.shape))
    return View(found, 4.0, 5.0, shape, transform)


PLACES = [(50.0, 60.0), (120.0, 300.0), (300.0, 200.0), (420.0, 350.0)]
FLUX = [2e4, 8e4, 4e4, 1e4]


def test_one_camera_gives_its_own_stars_by_brightness():
    stars = StarList([camera(PLACES, FLUX)], OPTIONS)
    sources = stars.sources(0)
    assert sources.id.tolist() == [1, 2, 3, 4]
    assert sources.flux.tolist() == sorted(FLUX, reverse=True)
    assert (sources.x[0], sources.y[0]) == PLACES[1]


def test_faint_stars_and_those_beyond_the_limit_are_left_out():
    view = camera(PLACES, [2e4, 8e4, 4e4, 300.0])
    # Howell: 300 / sqrt(300 + pi 4^2 5^2) = 7.6.
    assert good_stars(view, 7.5).tolist() == [1, 2, 0, 3]
    assert good_stars(view, 7.7).tolist() == [1, 2, 0]
    assert len(StarList([view], CatalogueOptions(max_sources=2))) == 2


def test_a_star_has_one_identity_on_both_cameras():
    views = [camera(PLACES, FLUX), camera(PLACES, FLUX[::-1], AWAY, jitter=0.4)]
    stars = StarList(views, OPTIONS)
    assert len(stars) == 4
    here, there = stars.sources(0), stars.sources(1)
    assert here.id.tolist() == there.id.tolist() == [1, 2, 3, 4]
    assert np.allclose(AWAY(here.x, here.y), (there.x, there.y), atol=0.5)
    # Where a camera detects a star itself, that is its place.
    assert set(there.x.tolist()) == set(views[1].found.x.tolist())


def test_stars_that_only_others_see_come_behind_and_are_measured_everywhere():
    extra = [(200.0, 100.0), (250.0, 330.0)]
    views = [camera(PLACES, FLUX), camera([*PLACES, *extra], [*FLUX, 5e3, 9e5], AWAY)]
    stars = StarList(views, OPTIONS)
    here, there = stars.sources(0), stars.sources(1)
    assert here.id.tolist() == there.id.tolist() == [1, 2, 3, 4, 5, 6]
    assert there.flux[4:].tolist() == [9e5, 5e3]
    assert np.isnan(here.flux[4:]).all()
    assert np.allclose((here.x[4:], here.y[4:]), np.array(extra[::-1]).T)


def test_a_star_of_two_others_is_one():
    extra = [(200.0, 100.0)]
    other = Transform.similarity(3.0, -8.0, rotation=1.0, scale=1.1)
    views = [
        camera(PLACES, FLUX),
        camera([*PLACES, *extra], [*FLUX, 5e4], AWAY),
        camera([*PLACES, *extra], [*FLUX, 5e4], other, jitter=0.5),
    ]
    assert [StarList(views, OPTIONS).sources(n).id.tolist() for n in range(3)] == [[1, 2, 3, 4, 5]] * 3


def test_a_star_beside_an_image_is_missing_from_its_list():
    views = [camera(PLACES, FLUX), camera(PLACES[:3], FLUX[:3], Transform.similarity(dx=100.0))]
    stars = StarList(views, OPTIONS)
    assert stars.sources(0).id.tolist() == [1, 2, 3, 4]
    assert stars.sources(1).id.tolist() == [1, 2, 3], "the fourth lies at x = 520 of 500"


def test_neighbours_are_not_confused():
    # One camera sees only the second of two stars four pixels apart.
    views = [camera([(100.0, 100.0), (104.0, 100.0)], [2e4, 1e4]), camera([(102.8, 100.0)], [1e4])]
    there = StarList(views, OPTIONS).sources(1)
    assert there.x.tolist() == pytest.approx([100.0, 102.8])


@pytest.mark.parametrize(("x", "flags"), [(496.0, 0), (460.0, Flag.EDGE)])
def test_what_an_edge_cuts_is_neither_a_star_nor_the_place_of_one(x, flags):
    # A star 4 pixels wide loses light within 6 pixels of the edge.
    cut = camera([*PLACES, (x, 20.0)], [*FLUX, 3e5], flags=[0, 0, 0, 0, flags])
    assert len(StarList([cut], OPTIONS)) == 4
    whole = camera([*PLACES, (x + 1.0, 20.0)], [*FLUX, 9e5], shape=(400, 600))
    stars = StarList([cut, whole], OPTIONS)
    assert len(stars) == 5
    assert stars.sources(1).x[4] == x + 1.0
    assert stars.sources(0).x[4] == pytest.approx(x + 1.0), "where the other camera says, not where the edge draws it"


def test_places_are_detections_if_there_are_any_near():
    stars = StarList([camera(PLACES, FLUX), camera(PLACES, FLUX, AWAY)], OPTIONS, first=11)
    x, y = AWAY(*PLACES[0])
    assert stars.place(1, float(x) + 2.0, float(y)) == stars.place(0, *PLACES[0]) == 13
    new = stars.place(0, 200.0, 40.0)
    assert new == 15
    assert stars.place(0, 200.3, 40.0) == new
    assert stars.place(0, 201.0, 40.0) == 16, "two faint things may be near to each other"
    assert stars.sources(0).id.tolist() == [11, 12, 13, 14, 15, 16]
    assert np.isnan(stars.sources(1).flux[4:]).all()


def test_a_place_where_another_camera_has_a_star_is_that_star():
    extra = (200.0, 100.0)
    stars = StarList([camera(PLACES, FLUX), camera([*PLACES, extra], [*FLUX, 5e4], AWAY)], OPTIONS)
    assert stars.place(0, 201.5, 101.0) == 5


def test_what_a_recipe_places_beside_the_image_stays_in_the_list_of_that_camera():
    stars = StarList([camera(PLACES, FLUX), camera(PLACES, FLUX, AWAY)], OPTIONS)
    number = stars.place(0, 620.0, 10.0)
    assert number in stars.sources(0).id
    assert number not in stars.sources(1).id


def test_an_empty_camera_measures_what_the_other_sees():
    stars = StarList([camera(PLACES, FLUX), camera([], [], AWAY)], OPTIONS)
    sources = stars.sources(1)
    assert sources.id.tolist() == [1, 2, 3, 4]
    assert np.isnan(sources.flux).all()
    assert np.allclose((sources.x, sources.y), AWAY(stars.sources(0).x, stars.sources(0).y))
