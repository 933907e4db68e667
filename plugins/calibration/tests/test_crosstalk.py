"""Crosstalk: ghosts of one amplifier in the others go, wherever each of them reads out, and the noise stays right."""

import numpy as np
import pytest
from pydantic import ValidationError

from albireo import Amplifier, Flag, Frame, FrameError, Section, apply_terms, flags_of, image, variance_of
from albireo_calibration import Crosstalk, Gain, Overscan, Trim

HALF, WIDE = 40, 8
GAIN, READ_NOISE, PEDESTAL = 2.0, 8.0, 1000.0
FULL = 60000.0
C = ((0.0, 2e-3, 1e-3, 5e-4), (1e-3, 0.0, 2e-3, 0.0), (3e-3, 0.0, 0.0, 1e-3), (0.0, -1e-3, 4e-3, 0.0))


def amplifiers(gain=GAIN, read_noise=READ_NOISE):
    """Four quadrants, each read towards its corner of the chip; the overscan lies outside."""
    made = []
    for y in (0, 1):
        for x in (0, 1):
            rows = (y * HALF, (y + 1) * HALF)
            data = Section(*rows, WIDE + x * HALF, WIDE + (x + 1) * HALF)
            overscan = Section(*rows, 0, WIDE) if x == 0 else Section(*rows, WIDE + 2 * HALF, 2 * (WIDE + HALF))
            made.append(Amplifier(data, overscan, gain, read_noise, "ABCD"[2 * y + x]))
    return tuple(made)


FRAME = Frame("a.fits", detector="red", shape=(2 * HALF, 2 * (HALF + WIDE)), amplifiers=amplifiers(), saturation=FULL)
TURNS = ((1, 1), (1, -1), (-1, 1), (-1, -1))
"""Order of rows and columns of each amplifier as it is read."""


def star(x, y, flux, sigma=1.5):
    rows, columns = np.mgrid[:HALF, :HALF]
    return flux / (2 * np.pi * sigma**2) * np.exp(-0.5 * ((columns - x) ** 2 + (rows - y) ** 2) / sigma**2)


def exposure(rng, light, turns=TURNS):
    """Counts of four amplifiers, given in the order of reading, with noise, ghosts and pedestal, full at `FULL`."""
    seen = [rng.poisson(plane * GAIN) / GAIN for plane in light]
    seen = [plane + READ_NOISE / GAIN * rng.standard_normal(plane.shape) for plane in seen]
    seen = [np.minimum(plane, FULL - PEDESTAL) for plane in seen]
    raw = PEDESTAL + READ_NOISE / GAIN * rng.standard_normal(FRAME.shape)
    for number, (amplifier, turn) in enumerate(zip(FRAME.amplifiers, turns, strict=True)):
        ghost = sum(c * plane for c, plane in zip(C[number], seen, strict=True))
        raw[amplifier.data.slices] = PEDESTAL + (seen[number] + ghost)[:: turn[0], :: turn[1]]
    flags = np.where(raw >= FULL, Flag.SATURATED, 0).astype(np.uint16)
    return image(raw, flags=flags)


def corrected(raw, *stages, frame=FRAME):
    picture = apply_terms(raw, frame, [Overscan(along="all").terms(raw, frame, {})], last=False)
    for stage in stages:
        picture = apply_terms(picture, frame, [stage.terms(picture, frame, {})], last=False)
    return picture


def amplifier_of(picture, number):
    turn = TURNS[number]
    return picture[FRAME.amplifiers[number].data.slices][:: turn[0], :: turn[1]]


def sky(level=100.0):
    return [np.full((HALF, HALF), level) for _ in range(4)]


def test_the_ghosts_of_a_saturated_star_go_from_all_amplifiers():
    rng = np.random.default_rng(1)
    light = sky()
    light[0] = light[0] + star(12.0, 25.0, 4e6)
    raw = exposure(rng, light)
    before, after = corrected(raw).data, corrected(raw, Crosstalk(coefficients=C)).data
    where = star(12.0, 25.0, 4e6) > 2e3
    noise = np.sqrt(100.0 / GAIN + (READ_NOISE / GAIN) ** 2)
    for number in (1, 2, 3):
        expected = C[number][0] * np.minimum(light[0], FULL - PEDESTAL)[where].mean()
        mean = amplifier_of(before, number)[where].mean() - 100.0
        assert mean == pytest.approx(expected, abs=4 * noise / np.sqrt(where.sum()) + 0.5)
        # What is left is of the order of the square of the coefficients, and of ghosts of ghosts.
        left = amplifier_of(after, number)[where].mean() - 100.0
        assert left == pytest.approx(0.0, abs=4 * noise / np.sqrt(where.sum()) + 0.5)
    # The star itself keeps its light but for the ghosts of the sky in the others.
    assert amplifier_of(after, 0)[25, 12] == pytest.approx(amplifier_of(before, 0)[25, 12], rel=1e-4)


def test_ghosts_of_saturated_pixels_are_flagged_where_they_stand_out_of_the_noise():
    light = sky()
    light[0] = light[0] + star(12.0, 25.0, 4e6)
    raw = exposure(np.random.default_rng(2), light)
    saturated = amplifier_of(flags_of(raw), 0) == Flag.SATURATED
    result = corrected(raw, Crosstalk(coefficients=C))
    flagged = flags_of(result) & Flag.BLEED != 0
    # Ghosts of 59 and 177 adu in the second and third amplifier, none in the fourth.
    for number, shown in enumerate((False, True, True, False)):
        np.testing.assert_array_equal(amplifier_of(flagged, number), saturated & shown)
    assert result.mask[flagged].all()
    weak = tuple(tuple(c / 1000 for c in row) for row in C)
    assert not (flags_of(corrected(raw, Crosstalk(coefficients=weak))) & Flag.BLEED).any()


def test_the_error_of_a_pixel_grows_by_that_of_its_ghosts():
    c = 0.3  # far more than any camera, so that it shows
    matrix = ((0.0, c, 0.0, 0.0), (0.0,) * 4, (0.0,) * 4, (0.0,) * 4)
    rng = np.random.default_rng(3)
    pulls = []
    for _ in range(20):
        made = [rng.poisson(level * GAIN, (HALF, HALF)) / GAIN for level in (200.0, 3000.0, 200.0, 200.0)]
        made = [plane + READ_NOISE / GAIN * rng.standard_normal(plane.shape) for plane in made]
        data = np.zeros(FRAME.shape)
        for number, (amplifier, turn) in enumerate(zip(FRAME.amplifiers, TURNS, strict=True)):
            # The second amplifier is measured with noise of its own, apart from what makes the ghost.
            again = rng.poisson(3000.0 * GAIN, (HALF, HALF)) / GAIN
            again = again + READ_NOISE / GAIN * rng.standard_normal((HALF, HALF))
            shown = made[0] + c * 3000.0 if number == 0 else again if number == 1 else made[number]
            data[amplifier.data.slices] = shown[:: turn[0], :: turn[1]]
        stages = [Crosstalk(coefficients=matrix), Gain(), Trim()]
        picture = image(data)
        result = apply_terms(picture, FRAME, [stage.terms(picture, FRAME, {}) for stage in stages])
        quarter = (slice(0, HALF), slice(0, HALF))
        pulls.append((result.data[quarter] - 200.0 * GAIN) / np.sqrt(variance_of(result)[quarter]))
    number = np.size(pulls)
    assert np.std(pulls) == pytest.approx(1.0, abs=4 / np.sqrt(2 * number) + 0.005)


def test_the_ghost_of_light_has_no_photon_noise_of_its_own():
    light = sky(0.0)
    light[0] = light[0] + 40000.0
    raw = exposure(np.random.default_rng(4), light)
    stages = [Overscan(along="all"), Crosstalk(coefficients=C)]
    picture = corrected(raw)
    result = apply_terms(picture, FRAME, [stages[1].terms(picture, FRAME, {})])
    read = (READ_NOISE / GAIN) ** 2
    # 120 adu of ghost are gone from the third amplifier; c**2 times 20000 adu**2 are added.
    expected = read + C[2][0] ** 2 * (40000.0 / GAIN) + np.sqrt(read / (2 * np.pi)) / GAIN
    assert amplifier_of(variance_of(result), 2).mean() == pytest.approx(expected, rel=0.02)


def test_amplifiers_that_all_read_in_one_direction_are_matched_so():
    light = sky()
    light[0] = light[0] + star(8.0, 30.0, 4e6)
    raw = exposure(np.random.default_rng(5), light, turns=((1, 1),) * 4)
    ghost = FRAME.amplifiers[2].data.slices
    where = star(8.0, 30.0, 4e6) > 2e3
    right = corrected(raw, Crosstalk(coefficients=C, readout="parallel")).data[ghost]
    wrong = corrected(raw, Crosstalk(coefficients=C)).data[ghost]
    assert right[where].mean() == pytest.approx(100.0, abs=2.0)
    assert wrong[where].mean() > 130.0


def test_unknown_noise_adds_nothing_and_missing_pixels_leave_no_ghost():
    frame = FRAME.replace(amplifiers=amplifiers(gain=float("nan"), read_noise=float("nan")))
    data = np.full(FRAME.shape, 100.0, dtype=np.float32)
    data[10, WIDE + 10] = np.nan
    terms = Crosstalk(coefficients=C).terms(image(data), frame, {})
    assert not terms.subtract_variance.any()
    assert np.isfinite(terms.subtract).all()
    assert terms.subtract[10, WIDE + 2 * HALF - 11] == pytest.approx(100.0 * C[1][2])


def test_the_note_tells_the_strongest_ghost():
    light = sky()
    light[0] = light[0] + star(12.0, 25.0, 4e6)
    result = corrected(exposure(np.random.default_rng(6), light), Crosstalk(coefficients=C))
    assert result.meta["HISTORY"][-1].startswith("crosstalk: ghosts of up to 177.")


def test_other_detectors_are_left_alone_and_other_layouts_refused():
    stage = Crosstalk(coefficients=((0.0, 1e-3), (1e-3, 0.0)))
    assert stage.check(FRAME, None) == (
        "a.fits has 4 amplifiers, the coefficients of `crosstalk` are for 2; give a row for each amplifier of the "
        "camera, or name the detector that they are for as `detector`"
    )
    picture = image(np.zeros(FRAME.shape))
    with pytest.raises(FrameError, match="has 4 amplifiers"):
        stage.terms(picture, FRAME, {})
    blue = Crosstalk(coefficients=((0.0, 1e-3), (1e-3, 0.0)), detector="blue")
    assert blue.check(FRAME, None) == ""
    np.testing.assert_array_equal(blue.correct(picture, FRAME, {}).data, 0.0)
    uneven = FRAME.replace(amplifiers=(*FRAME.amplifiers[:3], Amplifier(Section(40, 80, 48, 80), None, 2.0, 8.0)))
    assert "data sections of different size" in Crosstalk(coefficients=C).check(uneven, None)
    with pytest.raises(FrameError, match="put `crosstalk` before `trim`"):
        Crosstalk(coefficients=C).terms(image(np.zeros((80, 80))), FRAME, {})


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (((0.0, 0.1), (0.1,)), "write as many rows as there are numbers in a row"),
        (((0.1, 0.1), (0.1, 0.0)), "the number on the diagonal is zero"),
        (((0.0, 2.0), (0.1, 0.0)), "coefficients are numbers between -1 and 1"),
    ],
)
def test_a_matrix_that_cannot_be_right_is_refused(matrix, message):
    with pytest.raises(ValidationError, match=message):
        Crosstalk(coefficients=matrix)
