"""Pixel-wise corrections in one pass: equal to the plain formulas in float64, wherever the image was cropped."""

import numpy as np
import pytest

import albireo.pixelwise
from albireo import Amplifier, Flag, Frame, FrameError, Section, Terms, apply_terms, flags_of, image, variance_of

RAW = (60, 80)
DATA = Section(5, 55, 10, 70)
GAIN, READ_NOISE = 2.5, 7.5


def frame_of(shape=RAW, *amplifiers):
    whole = Amplifier(Section(0, shape[0], 0, shape[1]), gain=GAIN, read_noise=READ_NOISE)
    return Frame("a.fits", shape=shape, amplifiers=amplifiers or (whole,))


def plane(rng, level, scatter, shape=DATA.shape):
    return (level + scatter * rng.standard_normal(shape)).astype(np.float32)


@pytest.fixture
def rng():
    return np.random.default_rng(20)


@pytest.fixture
def chain(rng):
    """Overscan by rows of the raw image, trim, bias, dark, gain, flat; and the planes they were made from."""
    planes = {
        "overscan": plane(rng, 1000.0, 50.0, (RAW[0], 1)),
        "overscan_variance": plane(rng, 0.2, 0.01, (RAW[0], 1)),
        "bias": plane(rng, 0.0, 3.0),
        "bias_variance": plane(rng, 1.0, 0.1),
        "dark": plane(rng, 20.0, 3.0),
        "dark_variance": plane(rng, 0.5, 0.05),
        "flat": plane(rng, 1.0, 0.1),
        "flat_variance": plane(rng, 1e-4, 1e-5),
    }
    terms = [
        Terms(subtract=planes["overscan"], subtract_variance=planes["overscan_variance"], pedestal=True),
        Terms(crop=DATA),
        Terms(subtract=planes["bias"], subtract_variance=planes["bias_variance"], pedestal=True),
        Terms(subtract=planes["dark"], subtract_variance=planes["dark_variance"], subtract_scale=1.7),
        Terms(multiply=GAIN, unit="electron"),
        Terms(divide=planes["flat"], divide_variance=planes["flat_variance"]),
    ]
    return planes, terms


def expected(raw, planes):
    """The same chain in float64, in the words of the formulas."""
    p = {name: values.astype(float) for name, values in planes.items()}
    rows = DATA.slices[0]
    light = raw.astype(float)[DATA.slices] - p["overscan"][rows] - p["bias"]
    variance = p["overscan_variance"][rows] + p["bias_variance"]
    variance = variance + np.maximum(light, 0.0) / GAIN + (READ_NOISE / GAIN) ** 2
    electrons = (light - 1.7 * p["dark"]) * GAIN
    variance = (variance + 1.7**2 * p["dark_variance"]) * GAIN**2
    out = electrons / p["flat"]
    return out, variance / p["flat"] ** 2 + electrons**2 * p["flat_variance"] / p["flat"] ** 4


@pytest.fixture
def raw(rng):
    return (1000.0 + rng.integers(0, 30000, RAW)).astype(np.float32)


def test_a_whole_chain_equals_the_plain_formulas(raw, chain):
    planes, terms = chain
    result = apply_terms(image(raw), frame_of(), terms)
    data, variance = expected(raw, planes)
    # Every one of about ten float32 operations may round by 6e-8; subtracting a pedestal of 1000 adds 1e-4 electrons.
    np.testing.assert_allclose(result.data, data, rtol=1e-6, atol=1e-3)
    np.testing.assert_allclose(variance_of(result), variance, rtol=2e-6)
    assert str(result.unit) == "electron"
    assert result.meta["CROPSEC"] == "[11:70,6:55]"
    assert not flags_of(result).any()


@pytest.mark.parametrize("pixels", [1, 7 * 60, 1 << 20])
def test_the_height_of_strips_does_not_change_a_bit(raw, chain, monkeypatch, pixels):
    whole = apply_terms(image(raw), frame_of(), chain[1])
    monkeypatch.setattr(albireo.pixelwise, "STRIP_PIXELS", pixels)
    strips = apply_terms(image(raw), frame_of(), chain[1])
    assert np.array_equal(whole.data, strips.data)
    assert np.array_equal(variance_of(whole), variance_of(strips))


def test_several_passes_equal_one_but_for_the_variance_of_lone_pedestals(raw, chain):
    planes, terms = chain
    step = image(raw)
    for index, term in enumerate(terms):
        step = apply_terms(step, frame_of(), [term], last=index == len(terms) - 1)
    exact = {
        name: np.zeros_like(plane) for name, plane in planes.items() if name in ("overscan_variance", "bias_variance")
    }
    data, variance = expected(raw, {**planes, **exact})
    np.testing.assert_allclose(step.data, data, rtol=1e-6, atol=1e-3)
    np.testing.assert_allclose(variance_of(step), variance, rtol=2e-6)
    assert step.meta["CROPSEC"] == "[11:70,6:55]"


def test_inputs_are_left_alone(raw, chain):
    picture = image(raw.copy(), flags=np.zeros(RAW, dtype=np.uint16))
    apply_terms(picture, frame_of(), chain[1])
    assert np.array_equal(picture.data, raw)
    assert not picture.flags.any()
    assert "CROPSEC" not in picture.meta


def test_a_plane_of_the_raw_image_is_cut_like_the_image(rng, raw):
    gains = plane(rng, 2.0, 0.1, RAW)
    for terms in ([Terms(crop=DATA), Terms(multiply=gains)], [Terms(multiply=gains), Terms(crop=DATA)]):
        result = apply_terms(image(raw), frame_of(), terms)
        np.testing.assert_array_equal(result.data, (raw * gains)[DATA.slices])
    trimmed = apply_terms(image(raw), frame_of(), [Terms(crop=DATA)], last=False)
    later = apply_terms(trimmed, frame_of(), [Terms(multiply=gains)])
    np.testing.assert_array_equal(later.data, (raw * gains)[DATA.slices])


def test_crops_nest(raw):
    inner = Section(2, 12, 3, 23)
    result = apply_terms(image(raw), frame_of(), [Terms(crop=DATA), Terms(crop=inner)])
    np.testing.assert_array_equal(result.data, raw[7:17, 13:33])
    assert result.meta["CROPSEC"] == Section(7, 17, 13, 33).to_fits()


def test_every_amplifier_has_its_own_noise(raw):
    left = Amplifier(Section(0, 60, 0, 40), gain=1.0, read_noise=2.0)
    right = Amplifier(Section(0, 60, 40, 80), gain=4.0, read_noise=8.0)
    flat_light = np.full(RAW, 100.0, dtype=np.float32)
    result = apply_terms(image(flat_light), frame_of(RAW, left, right), [])
    np.testing.assert_allclose(variance_of(result)[:, :40], 100.0 + 4.0)
    np.testing.assert_allclose(variance_of(result)[:, 40:], 25.0 + 4.0)


def test_noise_of_light_begins_when_the_pedestal_is_gone():
    # 1000 adu pedestal and 400 adu of which 100 are dark current: the noise is that of 400, whatever is subtracted.
    picture = image(np.full((4, 4), 1400.0, dtype=np.float32))
    steps = [Terms(subtract=900.0, pedestal=True), Terms(subtract=100.0, pedestal=True), Terms(subtract=100.0)]
    result = apply_terms(picture, frame_of((4, 4)), steps)
    np.testing.assert_allclose(result.data, 300.0)
    np.testing.assert_allclose(variance_of(result), 400.0 / GAIN + (READ_NOISE / GAIN) ** 2, rtol=1e-6)


def test_the_error_of_a_flat_enters_with_the_value_after_division():
    # F = 0.5 +- 0.01, I = 10000 adu, gain 1.5, read noise 7.5 electrons.
    amplifier = Amplifier(Section(0, 4, 0, 4), gain=1.5, read_noise=7.5)
    picture = image(np.full((4, 4), 10000.0, dtype=np.float32))
    result = apply_terms(picture, frame_of((4, 4), amplifier), [Terms(divide=0.5, divide_variance=1e-4)])
    sigma = np.sqrt(10000.0 / 1.5 + 25.0 + (0.01 * 20000.0) ** 2) / 0.5
    assert sigma == pytest.approx(432.17, rel=2e-5)
    np.testing.assert_allclose(np.sqrt(variance_of(result)), sigma, rtol=1e-5)


def test_pixels_without_response_or_value_are_no_data():
    raw = np.full((4, 5), 10.0, dtype=np.float32)
    raw[0, 0] = np.nan
    flat = np.ones((4, 5), dtype=np.float32)
    flat[1, 1], flat[2, 2], flat[3, 3] = 0.0, -0.1, np.nan
    result = apply_terms(image(raw), frame_of((4, 5)), [Terms(divide=flat, divide_variance=np.full_like(flat, 1e-4))])
    lost = np.zeros((4, 5), dtype=bool)
    lost[[0, 1, 2, 3], [0, 1, 2, 3]] = True
    np.testing.assert_array_equal(flags_of(result) == Flag.NO_DATA, lost)
    np.testing.assert_array_equal(np.isnan(result.data), lost)
    np.testing.assert_array_equal(np.isnan(variance_of(result)), lost)
    np.testing.assert_array_equal(result.mask, lost)


def test_flags_are_added_and_kept():
    before = np.zeros((2, 2), dtype=np.uint16)
    before[0, 0] = Flag.SATURATED
    more = np.array([[Flag.LOW_RESPONSE, 0], [Flag.INTERPOLATED, 0]], dtype=np.uint16)
    result = apply_terms(image(np.ones((2, 2)), flags=before), frame_of((2, 2)), [Terms(flags=more)])
    np.testing.assert_array_equal(result.flags, [[Flag.SATURATED | Flag.LOW_RESPONSE, 0], [Flag.INTERPOLATED, 0]])
    np.testing.assert_array_equal(result.mask, [[True, False], [False, False]])


@pytest.mark.parametrize("gain", [float("nan"), 0.0, -1.0])
def test_without_a_gain_there_is_no_variance(gain):
    amplifier = Amplifier(Section(0, 2, 0, 2), gain=gain, read_noise=5.0)
    result = apply_terms(image(np.ones((2, 2))), frame_of((2, 2), amplifier), [Terms(subtract=1.0)])
    assert variance_of(result) is None


def test_a_plane_of_another_shape_is_an_error_of_the_frame(raw):
    with pytest.raises(FrameError, match=r"plane of shape \(60, 60\), but the image is \(50, 60\) there"):
        apply_terms(image(raw), frame_of(), [Terms(crop=DATA), Terms(subtract=np.zeros((60, 60), np.float32))])
    with pytest.raises(FrameError, match=r"section \[1:90,1:10\] to keep reaches beyond"):
        apply_terms(image(raw), frame_of(), [Terms(crop=Section(0, 10, 0, 90))])


# --- linearity


def test_counts_are_linearised_after_subtracting_and_before_multiplying(rng):
    raw = (1000.0 + rng.integers(0, 50000, RAW)).astype(np.float32)
    coefficients = (1.01, -1e-6, 1e-11)
    terms = [
        Terms(subtract=1000.0, subtract_variance=0.25, pedestal=True, linearity=coefficients, nonlinear_above=4e4),
        Terms(multiply=GAIN, unit="electron"),
    ]
    result = apply_terms(image(raw), frame_of(), terms)
    x = raw.astype(float) - 1000.0
    linear = x * (1.01 - 1e-6 * x + 1e-11 * x**2)
    slope = 1.01 - 2e-6 * x + 3e-11 * x**2
    np.testing.assert_allclose(result.data, GAIN * linear, rtol=1e-6, atol=1e-3)
    # Photons are counted before the electronics bends their number: the noise is that of the linear counts.
    variance = 0.25 * slope**2 + np.maximum(linear, 0.0) / GAIN + (READ_NOISE / GAIN) ** 2
    np.testing.assert_allclose(variance_of(result), GAIN**2 * variance, rtol=2e-6)
    np.testing.assert_array_equal(flags_of(result), np.where(x > 4e4, Flag.NON_LINEAR, 0))
    assert not result.mask.any()


def test_a_known_variance_goes_with_the_slope_of_the_linearity(rng):
    raw = rng.uniform(0, 40000, RAW).astype(np.float32)
    picture = image(raw, variance=np.full(RAW, 4.0))
    result = apply_terms(picture, frame_of(), [Terms(linearity=(1.0, -2e-6))])
    np.testing.assert_allclose(variance_of(result), 4.0 * (1.0 - 4e-6 * raw.astype(float)) ** 2, rtol=1e-6)
    assert not flags_of(result).any()
