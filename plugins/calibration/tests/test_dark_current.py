"""The dark current a camera states: electrons, exposure time, error bars, and what is said of it."""

import numpy as np
import pytest

from albireo import Amplifier, Frame, FrameError, Section, apply_terms, image, variance_of
from albireo_calibration import DarkCurrent, Gain, Pedestal

SHAPE = (200, 200)
GAINS = (1.5, 3.0)


def frame_of(**facts):
    halves = tuple(Amplifier(Section(0, 200, n * 100, (n + 1) * 100), None, g, 5.0) for n, g in enumerate(GAINS))
    facts = {"exptime": 120.0, "dark_current": 0.5, **facts}
    return Frame("a.fits", instrument="cam", detector="C1", shape=SHAPE, amplifiers=halves, **facts)


def test_rate_times_exposure_time_is_subtracted_in_electrons_and_its_shot_noise_counts_once():
    rng = np.random.default_rng(3)
    frame = frame_of()
    gain = np.repeat([GAINS], 100, axis=1).reshape(1, 200, order="F")
    electrons = rng.poisson(60.0 + 300.0, SHAPE) + 5.0 * rng.standard_normal(SHAPE)
    raw = image(1000.0 + electrons / gain)
    stages = (Pedestal(level=1000.0), Gain(), DarkCurrent())
    result = apply_terms(raw, frame, [stage.terms(raw, frame, {}) for stage in stages])
    variance = variance_of(result)
    assert variance.mean() == pytest.approx(360.0 + 25.0, rel=0.005)
    for half in (slice(0, 100), slice(100, 200)):
        assert result.data[:, half].mean() == pytest.approx(300.0, abs=4 * np.sqrt(385 / 20000))
    assert result.data.var() == pytest.approx(variance.mean(), rel=4 * np.sqrt(2 / 40000))


def test_a_nominal_number_deserves_a_word_and_an_unknown_one_is_an_error():
    assert DarkCurrent().check(frame_of(), None) == (
        "the dark current of cam C1 is a nominal 0.5 electron/s in every pixel, and hot pixels remain; take dark "
        "frames and use `dark`, or treat hot pixels by `hot`"
    )
    for facts in ({"dark_current": float("nan")}, {"exptime": float("nan")}, {"dark_current": -1.0}):
        frame = frame_of(**facts)
        assert "give `dark_current` in electrons per second and pixel" in DarkCurrent().check(frame, None)
        with pytest.raises(FrameError, match=r"the dark current of a.fits cannot be subtracted"):
            DarkCurrent().terms(image(np.zeros(SHAPE)), frame, {})
