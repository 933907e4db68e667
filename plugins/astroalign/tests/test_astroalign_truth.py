"""Alignment of source lists with known transforms."""

import subprocess
import sys

import numpy as np
import pytest

from albireo import Flag, FrameError, Sources, Transform
from albireo_astroalign import Astroalign

SIZE = 1000.0
MIDDLE = np.full(2, 0.5 * (SIZE - 1.0))


def stars(n, seed=1):
    """Positions over a field of 1000 pixels, brightest first."""
    return np.random.default_rng(seed).uniform(0, SIZE, (2, n))


def view(positions, truth, noise=0.0, lose=0.0, extra=0, seed=2):
    """What another exposure lists: moved, cut to the field, jittered, some stars lost, false ones added, reordered."""
    rng = np.random.default_rng(seed)
    x, y = truth(*positions)
    keep = (x >= 0) & (x < SIZE) & (y >= 0) & (y < SIZE) & (rng.random(len(x)) >= lose)
    x, y = x[keep] + rng.normal(0, noise, keep.sum()), y[keep] + rng.normal(0, noise, keep.sum())
    brightness = np.arange(len(x)) + rng.normal(0, 2.0, len(x))
    order = np.argsort(brightness)
    return Sources.make(
        np.concatenate([x[order], rng.uniform(0, SIZE, extra)]), np.concatenate([y[order], rng.uniform(0, SIZE, extra)])
    )


def worst(found, truth):
    """Largest distance of two maps over the field."""
    x, y = (side.ravel() for side in np.meshgrid([0, SIZE], [0, SIZE]))
    return float(np.hypot(*np.subtract(found(x, y), truth(x, y))).max())


CASES = {
    "still": Transform.identity(),
    "drift": Transform.similarity(143.2, -61.7),
    "small rotation": Transform.similarity(5.0, 3.0, rotation=0.3),
    "rotation": Transform.similarity(400.0, -20.0, rotation=25.0),
    "half turn": Transform.similarity(SIZE, SIZE, rotation=180.0),
    "scale": Transform.similarity(-30.0, 10.0, rotation=5.0, scale=1.07),
}


@pytest.mark.parametrize("case", CASES)
def test_reference_is_mapped_onto_the_image(case):
    positions, truth, noise = stars(120), CASES[case], 0.1
    found = Astroalign(max_scale=1.2).align(view(positions, truth, noise, lose=0.2, extra=20), Sources.make(*positions))
    # Four numbers from at least 40 stars of 0.1 pixel in each axis: about 0.1 * 2 / sqrt(40) at the corners.
    assert worst(found, truth) < 0.12
    assert found.matched > 40
    assert found.rms == pytest.approx(noise * np.sqrt(2), rel=0.25)
    assert found.rotation == pytest.approx(truth.rotation, abs=0.01) or abs(found.rotation) == pytest.approx(
        180, abs=0.01
    )
    assert found.scale == pytest.approx(truth.scale, rel=2e-4)


def test_affine_model_follows_a_shear_that_a_similarity_cannot():
    positions = stars(200)
    truth = Transform(np.array([[1.002, 0.0015, 12.0], [0.0, 0.999, -4.0], [0.0, 0.0, 1.0]]))
    image = view(positions, truth, 0.05)
    affine = Astroalign(model="affine").align(image, Sources.make(*positions))
    similarity = Astroalign().align(image, Sources.make(*positions))
    assert worst(affine, truth) < 0.06
    assert affine.rms < 0.1 < similarity.rms


@pytest.mark.parametrize("n", [12, 40, 400])
def test_affine_model_is_not_led_astray_by_chance_pairs(n):
    positions, truth = stars(n), Transform.similarity(30.0, -12.0, rotation=3.0)
    found = Astroalign(model="affine").align(view(positions, truth, 0.05), Sources.make(*positions))
    assert worst(found, truth) < 0.4


def test_half_the_field_may_have_left():
    positions, truth = stars(150), Transform.similarity(500.0, 120.0)
    found = Astroalign().align(view(positions, truth, 0.1), Sources.make(*positions))
    assert worst(found, truth) < 0.15


def test_outliers_do_not_pull_the_map():
    positions, truth = stars(100), Transform.similarity(10.0, 20.0)
    image = view(positions, truth, 0.03)
    image.x[::10] += 1.5
    found = Astroalign().align(image, Sources.make(*positions))
    assert worst(found, truth) < 0.03
    assert found.matched == len(image) - len(image.x[::10])


def test_a_source_has_one_partner():
    # Every star of the reference is listed twice, a little apart: only the nearer one counts.
    positions, truth = stars(40), Transform.similarity(10.0, 20.0)
    twice = np.concatenate([positions, positions + 0.06], axis=1)
    found = Astroalign().align(view(positions, truth), Sources.make(*twice))
    assert found.matched == len(view(positions, truth))
    assert worst(found, truth) < 1e-6


def test_flagged_sources_are_left_out_if_others_suffice():
    positions, truth = stars(60), Transform.similarity(10.0, 20.0)
    image = view(positions, truth)
    image.flags[:5] = Flag.SATURATED
    image.x[:5] += 0.05
    found = Astroalign().align(image, Sources.make(*positions))
    assert worst(found, truth) < 1e-9
    assert found.matched == len(image) - 5
    image.flags[:] = Flag.SATURATED
    assert Astroalign().align(image, Sources.make(*positions)).matched == len(image)


def test_result_has_nothing_to_do_with_chance():
    # A field that looks the same after half a turn fits in two ways; which is found depends on where a search begins.
    x, y = stars(20)
    positions = np.array([np.append(x, SIZE - x), np.append(y, SIZE - y)])
    image, reference = (
        Sources.make(*Transform.similarity(SIZE, 0.0, rotation=90.0)(*positions)),
        Sources.make(*positions),
    )
    matrices = []
    for seed in range(8):
        np.random.seed(seed)  # noqa: NPY002
        state = np.random.get_state()[1].copy()  # noqa: NPY002
        matrices.append(Astroalign().align(image, reference).matrix.tobytes())
        assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002
    assert len(set(matrices)) == 1


def test_astroalign_itself_is_left_as_it_was():
    astroalign = pytest.importorskip("astroalign")
    positions, truth = stars(40), Transform.similarity(100.0, 0.0, rotation=40.0)
    before = astroalign.PIXEL_TOL
    Astroalign(tolerance=3.5).align(view(positions, truth), Sources.make(*positions))
    assert before == astroalign.PIXEL_TOL
    assert astroalign._np is np


def test_same_answer_in_another_process():
    code = (
        "import numpy as np\nfrom albireo import Sources, Transform\nfrom albireo_astroalign import Astroalign\n"
        "p = np.random.default_rng(1).uniform(0, 1000, (2, 60))\n"
        "q = np.array(Transform.similarity(400, -20, rotation=25)(*p))\n"
        "q += np.random.default_rng(2).normal(0, 0.1, p.shape)\n"
        "print(Astroalign().align(Sources.make(*q), Sources.make(*p)).matrix.tobytes().hex())"
    )
    there = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    p = np.random.default_rng(1).uniform(0, 1000, (2, 60))
    q = np.array(Transform.similarity(400, -20, rotation=25)(*p)) + np.random.default_rng(2).normal(0, 0.1, p.shape)
    assert Astroalign().align(Sources.make(*q), Sources.make(*p)).matrix.tobytes().hex() == there


LIMITS = [
    ({"max_rotation": 2.0}, {"dx": 60.0, "rotation": 3.0}, "rotation 3.00 deg is more than the 2 deg allowed"),
    ({"max_rotation": 2.0}, {"dy": 60.0, "rotation": -3.0}, "rotation -3.00 deg is more than the 2 deg allowed"),
    ({"max_scale": 1.05}, {"scale": 1.07}, "scale 1.0700 is outside the 0.9524 to 1.0500 allowed"),
    ({"max_scale": 1.05}, {"scale": 0.93}, "scale 0.9300 is outside the 0.9524 to 1.0500 allowed"),
    ({"max_shift": 100.0}, {"dx": 120.0, "dy": 50.0}, "shift of 130.0 pixels is more than the 100 pixels allowed"),
]


@pytest.mark.parametrize(("options", "truth", "message"), LIMITS)
def test_limits_are_given_in_their_units_and_hold_both_ways(options, truth, message):
    positions, aligner = stars(120), Astroalign(**options)
    # The middle of the field stays where it is, but for the shift.
    turned = Transform.similarity(**truth).matrix.copy()
    turned[:2, 2] += MIDDLE - turned[:2, :2] @ MIDDLE
    found = aligner.align(view(positions, Transform(turned)), Sources.make(*positions))
    with pytest.raises(FrameError) as caught:
        aligner.check(found, (int(SIZE), int(SIZE)))
    assert str(caught.value) == message


def test_a_rotation_within_the_limit_passes():
    positions, truth, aligner = stars(120), Transform.similarity(10, 0, rotation=1.0), Astroalign(max_rotation=2.0)
    found = aligner.align(view(positions, truth), Sources.make(*positions))
    assert found.matched > 80
    aligner.check(found, (int(SIZE), int(SIZE)))


def test_too_few_sources_are_counted():
    reference = Sources.make(*stars(30))
    with pytest.raises(FrameError, match=r"^3 sources in this image are too few to align, at least 4 are needed$"):
        Astroalign().align(Sources.make(*stars(3)), reference)
    with pytest.raises(FrameError, match=r"^0 sources in the reference are too few"):
        Astroalign().align(reference, Sources.make([], []))


@pytest.mark.parametrize("n", [5, 30, 400])
def test_unrelated_fields_do_not_align(n):
    for seed in range(3):
        with pytest.raises(FrameError, match=r"no pattern of stars is common|sources match the reference"):
            Astroalign().align(Sources.make(*stars(n, 10 + seed)), Sources.make(*stars(n, 20 + seed)))


def test_a_handful_of_stars_suffices():
    positions, truth = stars(5), Transform.similarity(30.0, -12.0, rotation=8.0)
    x, y = truth(*positions)
    found = Astroalign().align(Sources.make(x, y), Sources.make(*positions))
    assert worst(found, truth) < 1e-6
    assert found.matched == 5


def test_sources_in_a_line_or_in_one_place_fail_in_words():
    row = Sources.make(np.full(10, 5.0), np.full(10, 5.0))
    with pytest.raises(FrameError):
        Astroalign().align(row, Sources.make(*stars(20)))


def test_positions_that_are_not_numbers_are_ignored():
    positions, truth = stars(40), Transform.similarity(3.0, 4.0)
    image = view(positions, truth)
    broken = Sources.make(np.append(image.x, np.nan), np.append(image.y, 5.0))
    assert worst(Astroalign().align(broken, Sources.make(*positions)), truth) < 1e-9
