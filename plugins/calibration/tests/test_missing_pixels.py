"""Pixels that a camera delivers as NaN stay NaN through every correction, and touch no other pixel."""

import numpy as np
import pytest

from albireo import Flag, apply_terms, flags_of, image, raw_image, variance_of
from albireo.testing import PlainCamera
from albireo_calibration import Bias, Dark, DarkCurrent, Flat, Gain, Hot, Linearity, Overscan, Sky, Trim

FRAME = PlainCamera(rows=80, columns=100).example().replace(linearity=(1.0, 1e-7), dark_current=0.1)
CHAIN = (Overscan(), Trim(), Bias(), Linearity(), Dark(), Gain(), Flat(), Sky(), Hot())
NOMINAL = (Overscan(), Trim(), Bias(), Linearity(), Gain(), DarkCurrent(), Flat(), Sky(), Hot())


@pytest.fixture
def rng():
    return np.random.default_rng(6)


@pytest.fixture
def masters(rng):
    def plane(level, scatter, unit="adu", **meta):
        data = rng.normal(level, scatter, (80, 100))
        return image(data, unit, variance=np.full((80, 100), 1e-4 * scatter**2), meta=meta)

    return {
        "bias": plane(5.0, 1.0),
        "dark": plane(8.0, 1.0, EXPTIME=60.0),
        "flat": plane(1.0, 0.02, ""),
        "sky": plane(1.0, 0.02, ""),
    }


@pytest.fixture
def raw(rng):
    pixels = rng.normal(1000.0, 3.0, FRAME.shape)
    pixels[:, :100] += rng.normal(800.0, 22.0, (80, 100))
    return pixels.astype(np.float32)


@pytest.fixture
def missing(rng):
    where = np.zeros(FRAME.shape, dtype=bool)
    where[rng.random(FRAME.shape) < 0.02] = True
    where[20:23, 40:60] = True
    where[50:53, 100:] = True  # rows without overscan
    return where


def run(raw, chain, masters):
    """Corrections one by one, as `albireo run` would do them."""
    picture = raw_image(raw.copy(), 60000.0)
    for stage in chain:
        if isinstance(stage, Hot):
            picture = stage.correct(picture, FRAME, masters)
        else:
            picture = apply_terms(picture, FRAME, [stage.terms(picture, FRAME, masters)], last=False)
    return picture


@pytest.mark.parametrize("chain", [CHAIN, NOMINAL], ids=["darks", "nominal dark"])
def test_the_mask_is_exactly_what_the_camera_did_not_deliver(raw, missing, masters, chain):
    holes = np.where(missing, np.float32(np.nan), raw)
    result = run(holes, chain, masters)
    lost = missing[:, :100]
    np.testing.assert_array_equal(np.isnan(result.data), lost)
    np.testing.assert_array_equal(result.mask, lost)
    np.testing.assert_array_equal((flags_of(result) & Flag.NO_DATA) != 0, lost)
    assert np.isfinite(variance_of(result)[~lost]).all()
    whole = run(raw, chain, masters)
    # The level of a row and that of the sky are measured on the pixels that are left: they move by their errors only.
    change = (result.data - whole.data)[~lost]
    assert np.abs(change).max() < 6 * 1.6 * 3.0 / np.sqrt(16 * 0.25)
    assert abs(change.mean()) < 0.3


def test_nan_in_masters_becomes_nan_in_the_image_and_nowhere_else(raw, masters):
    holes = {}
    lost = np.zeros((80, 100), dtype=bool)
    for number, (kind, master) in enumerate(masters.items()):
        data = master.data.copy()
        data[10 * number + 3, 7] = np.nan
        lost[10 * number + 3, 7] = True
        holes[kind] = image(data, str(master.unit or ""), variance=variance_of(master), meta=master.meta)
    result = run(raw, CHAIN, holes)
    np.testing.assert_array_equal(np.isnan(result.data), lost)
    np.testing.assert_array_equal(result.mask, lost)
