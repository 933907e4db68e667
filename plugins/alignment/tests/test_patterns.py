"""Maps by patterns of stars against known ones: any shift and rotation, half of the stars unknown, none by chance."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from albireo import Flag, FrameError, Sources, Transform
from albireo_alignment import Patterns

SIZE = 1000.0


def about_the_middle(rotation=0.0, scale=1.0, shift=(0.0, 0.0), mirrored=False):
    """A map that moves the middle of the field by the shift alone."""
    matrix = Transform.similarity(rotation=rotation, scale=scale, mirrored=mirrored).matrix.copy()
    middle = np.full(2, 0.5 * (SIZE - 1.0))
    matrix[:2, 2] = middle + shift - matrix[:2, :2] @ middle
    return Transform(matrix)


def lists(truth, common, strangers=0, noise=0.1, seed=1, shuffled=2.0):
    """Two lists with some stars in common and as many strangers as asked, in about the same order of brightness."""
    rng = np.random.default_rng(seed)
    stars = rng.uniform(0, SIZE, (2, common))
    made = []
    for places in (np.array(truth(*stars)), stars):
        every = np.concatenate(
            [places + rng.normal(0, noise, places.shape), rng.uniform(0, SIZE, (2, strangers))], axis=1
        )
        rank = np.concatenate([np.arange(common), rng.uniform(0, common, strangers)])
        made.append(Sources.make(*every[:, np.argsort(rank + rng.normal(0, shuffled, common + strangers))]))
    return made


def rms_over_stars(found, truth, seed, common):
    """Rms distance of two maps at the stars that both lists have."""
    stars = np.random.default_rng(seed).uniform(0, SIZE, (2, common))
    return float(np.sqrt(np.mean(np.sum(np.subtract(found(*stars), truth(*stars)) ** 2, axis=0))))


@settings(max_examples=150, deadline=None)
@given(
    rotation=st.floats(-180, 180),
    scale=st.floats(1 / 1.1, 1.1),
    shift=st.tuples(st.floats(-500, 500), st.floats(-500, 500)),
    common=st.integers(8, 60),
    share=st.floats(0, 1),
    noise=st.floats(0, 0.3),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_similarity_is_found_though_up_to_half_of_the_stars_differ(
    rotation, scale, shift, common, share, noise, seed
):
    truth = about_the_middle(rotation, scale, shift)
    found = Patterns().align(*lists(truth, common, round(share * common), noise, seed))
    # Both lists have the noise. Four numbers from k stars leave sqrt(4 / k) of it at the stars, rms over both axes.
    expected = noise * np.sqrt(2.0) * np.sqrt(4.0 / common)
    assert rms_over_stars(found, truth, seed, common) < 3.0 * expected + 0.05
    assert found.matched >= 0.7 * common


@pytest.mark.parametrize("common", [3, 4, 5])
def test_a_handful_of_stars_suffices_where_they_agree(common):
    aligned = 0
    for seed in range(40):
        truth = about_the_middle(10.0 * seed, 1.0, (40.0, -25.0))
        try:
            found = Patterns().align(*lists(truth, common, noise=0.05, seed=seed))
        except FrameError:  # three stars in a line or close together are not proof enough
            continue
        aligned += rms_over_stars(found, truth, seed, common) < 0.5
    assert aligned >= {3: 32, 4: 38, 5: 39}[common]


@pytest.mark.parametrize(("stars", "fields"), [(3, 300), (4, 300), (5, 300), (8, 200), (50, 40), (400, 5)])
def test_unrelated_fields_are_refused_as_often_as_is_stated(stars, fields):
    """Less than one map in a thousand fields is to be expected: two in three hundred have a chance of four per cent."""
    believed, rng = 0, np.random.default_rng(stars)
    for _ in range(fields):
        try:
            Patterns().align(*(Sources.make(*rng.uniform(0, SIZE, (2, stars))) for _ in "ab"))
        except FrameError:
            continue
        believed += 1
    assert believed <= 1


@pytest.mark.parametrize("rotation", [180.0, 179.3])
def test_a_meridian_flip_is_followed(rotation):
    truth = about_the_middle(rotation, 1.0, (12.0, 30.0))
    found = Patterns().align(*lists(truth, 40, 20))
    assert rms_over_stars(found, truth, 1, 40) < 0.1
    assert abs(found.rotation) == pytest.approx(rotation, abs=0.01)


def test_three_quarters_of_the_field_may_have_left():
    rng = np.random.default_rng(4)
    sky = rng.uniform(0, 2.0 * SIZE, (2, 400))
    truth = Transform.similarity(-500.0, -500.0, rotation=0.2)

    def seen(x, y):
        inside = (x > 0) & (x < SIZE) & (y > 0) & (y < SIZE)
        return Sources.make(x[inside], y[inside])

    found = Patterns().align(seen(*truth(*sky)), seen(*sky))
    assert np.hypot(*np.subtract(found(750, 750), truth(750, 750))) < 1e-6


@pytest.mark.parametrize("stars", [3000, 6000])
def test_crowded_fields_are_matched_with_all_their_stars(stars):
    truth = about_the_middle(33.0, 1.02, (55.0, -20.0))
    found = Patterns().align(*lists(truth, stars, stars // 3, noise=0.05))
    assert found.matched > 0.9 * stars
    assert rms_over_stars(found, truth, 1, stars) < 0.02


def test_a_mirrored_image_is_followed_if_allowed():
    truth = about_the_middle(20.0, 1.0, (5.0, 5.0), mirrored=True)
    image, reference = lists(truth, 30, 15)
    found = Patterns(mirrored=True).align(image, reference)
    assert found.mirrored
    assert rms_over_stars(found, truth, 1, 30) < 0.1
    with pytest.raises(FrameError, match="no pattern of stars"):
        Patterns().align(image, reference)


def test_the_affine_model_follows_a_shear_that_a_similarity_cannot():
    truth = Transform(np.array([[1.002, 0.0015, 12.0], [0.0, 0.999, -4.0], [0.0, 0.0, 1.0]]))
    image, reference = lists(truth, 200, noise=0.03)
    affine, similarity = Patterns(model="affine").align(image, reference), Patterns().align(image, reference)
    assert rms_over_stars(affine, truth, 1, 200) < 0.02
    assert affine.rms < 0.08 < similarity.rms


LIMITS = [
    ({"max_rotation": 2.0}, {"rotation": 3.0}, "rotation 3.00 deg is more than the 2 deg allowed"),
    ({"max_rotation": 2.0}, {"rotation": -3.0}, "rotation -3.00 deg is more than the 2 deg allowed"),
    ({"max_scale": 1.05}, {"scale": 1.07}, "scale 1.0700 is outside the 0.9524 to 1.0500 allowed"),
    ({"max_scale": 1.05}, {"scale": 0.93}, "scale 0.9300 is outside the 0.9524 to 1.0500 allowed"),
    ({"max_shift": 100.0}, {"shift": (120.0, 50.0)}, "shift of 130.0 pixels is more than the 100 pixels allowed"),
    (
        {"max_shift": (150.0, 40.0)},
        {"shift": (120.0, 50.0)},
        "shift of 120.0 and 50.0 pixels is more than the 150 and 40 pixels allowed",
    ),
]


@pytest.mark.parametrize(("options", "truth", "message"), LIMITS)
def test_what_is_beyond_a_limit_is_found_and_refused_by_its_size(options, truth, message):
    aligner = Patterns(**options)
    found = aligner.align(*lists(about_the_middle(**truth), 60, noise=0.0))
    with pytest.raises(FrameError) as caught:
        aligner.check(found, (int(SIZE), int(SIZE)))
    assert str(caught.value) == message


def test_a_limit_of_two_degrees_keeps_one():
    aligner = Patterns(max_rotation=2.0)
    aligner.check(aligner.align(*lists(about_the_middle(1.0), 60)), (int(SIZE), int(SIZE)))


def test_any_scale_is_found_without_a_limit():
    truth = about_the_middle(50.0, 2.5)
    image, reference = lists(truth, 40)
    assert Patterns(max_scale=None).align(image, reference).scale == pytest.approx(2.5, rel=1e-3)
    with pytest.raises(FrameError, match="a higher max_scale may help"):
        Patterns().align(image, reference)


def test_flagged_sources_are_left_out_if_others_suffice():
    truth = about_the_middle(0.1, 1.0, (10.0, 20.0))
    image, reference = lists(truth, 60, noise=0.0)
    image.flags[:5] = Flag.SATURATED
    image.x[:5] += 0.05
    found = Patterns().align(image, reference)
    assert rms_over_stars(found, truth, 1, 60) < 1e-9
    assert found.matched == 55
    image.flags[:] = Flag.SATURATED
    assert Patterns().align(image, reference).matched == 60


def test_outliers_do_not_pull_the_map():
    truth = about_the_middle(0.0, 1.0, (10.0, 20.0))
    image, reference = lists(truth, 100, noise=0.03)
    image.x[::10] += 1.5
    found = Patterns().align(image, reference)
    assert rms_over_stars(found, truth, 1, 100) < 0.02
    assert found.matched == 90


def test_a_field_that_looks_the_same_from_two_sides_always_gives_the_same_map():
    x, y = np.random.default_rng(1).uniform(0, SIZE, (2, 20))
    positions = np.array([np.append(x, SIZE - x), np.append(y, SIZE - y)])
    image, reference = Sources.make(*about_the_middle(90.0)(*positions)), Sources.make(*positions)
    matrices = set()
    for seed in range(4):
        np.random.seed(seed)  # noqa: NPY002
        matrices.add(Patterns().align(image, reference).matrix.tobytes())
    assert len(matrices) == 1


def test_another_process_gives_the_same_bytes():
    code = (
        "import numpy as np\nfrom albireo import Sources, Transform\nfrom albireo_alignment import Patterns\n"
        "p = np.random.default_rng(1).uniform(0, 1000, (2, 60))\n"
        "q = np.array(Transform.similarity(400, -20, rotation=25)(*p))\n"
        "q += np.random.default_rng(2).normal(0, 0.1, p.shape)\n"
        "print(Patterns().align(Sources.make(*q), Sources.make(*p)).matrix.tobytes().hex())"
    )
    there = [
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout for _ in "ab"
    ]
    assert there[0] == there[1]


def test_too_few_sources_are_counted_and_it_is_said_what_to_do():
    many = Sources.make(*np.random.default_rng(1).uniform(0, SIZE, (2, 30)))
    with pytest.raises(FrameError) as caught:
        Patterns().align(many[:2], many)
    assert str(caught.value) == (
        "2 sources in this image are too few to align, at least 3 are needed; lower the threshold of the finder, or "
        "use 'translation' where the field only shifts"
    )
    with pytest.raises(FrameError, match=r"^0 sources in the reference are too few"):
        Patterns().align(many, many[:0])


@pytest.mark.parametrize("points", [np.full((2, 12), 5.0), np.array([np.arange(12.0), np.arange(12.0)])])
def test_sources_in_one_place_or_in_a_line_fail_in_words(points):
    with pytest.raises(FrameError, match="no pattern of stars"):
        Patterns().align(Sources.make(*points), Sources.make(*np.random.default_rng(1).uniform(0, SIZE, (2, 30))))


def test_positions_that_are_not_numbers_are_ignored():
    truth = about_the_middle(0.0, 1.0, (3.0, 4.0))
    image, reference = lists(truth, 40, noise=0.0)
    broken = Sources.make(np.append(image.x, np.nan), np.append(image.y, 5.0))
    assert rms_over_stars(Patterns().align(broken, reference), truth, 1, 40) < 1e-9


@given(n=st.integers(0, 7), m=st.integers(0, 7), seed=st.integers(0, 1000), span=st.sampled_from([0.0, 1e-3, 5.0, 1e5]))
@settings(max_examples=100, deadline=None)
def test_no_list_however_odd_gives_anything_but_a_finite_map_or_a_reason(n, m, seed, span):
    assume(n != m or n)
    rng = np.random.default_rng(seed)
    try:
        found = Patterns(mirrored=True, max_scale=None).align(
            Sources.make(*(span * rng.random((2, n)))), Sources.make(*rng.uniform(0, 50, (2, m)))
        )
    except FrameError:
        return
    assert np.isfinite(found.matrix).all()
