"""Compiled corrections give the bits of numpy's, whatever chain, planes and image they are given."""

import gc
import subprocess
import sys
from contextlib import contextmanager
from itertools import pairwise
from unittest import mock

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

import albireo.pixelwise
from albireo import Amplifier, Frame, Section, Terms, apply_terms, engine, flags_of, image, read_pixels, variance_of
from albireo.engine.memory import KEPT, _free, empty_plane

pytest.importorskip("numba")
from albireo.engine import kernels

RAW = (13, 37)
VALUES = np.array(
    [0.0, -0.0, 1.0, -1.0, 0.5, 3.25, 1e-3, 700.7, 6e4, 1e30, -1e-30, np.nan, np.inf, -np.inf], np.float32
)
NUMBERS = st.sampled_from([0.0, 1.0, 0.3, -2.5, 1.7, 1e3, 1e-12])


@contextmanager
def done_by(code, strip_pixels):
    with (
        mock.patch.multiple(engine._Choice, kernels=code, refused=code is None),
        mock.patch.object(albireo.pixelwise, "STRIP_PIXELS", strip_pixels),
    ):
        yield


def numbers_of(rng, shape, wild):
    """Ordinary values, with some that hurt."""
    plain = (rng.normal(1.0, 0.3, shape) * rng.choice([1.0, 30.0])).astype(np.float32)
    return np.where(rng.random(shape) < wild, rng.choice(VALUES, shape), plain)


@st.composite
def planes(draw, shape, rng):
    """A number, or a plane of any shape and layout that fits an image."""
    kind = draw(
        st.sampled_from(["number", "full", "row", "column", "one", "turned", "gaps", "spread", "fixed", "double"])
    )
    wild = draw(st.sampled_from([0.0, 0.1]))
    ny, nx = shape
    if kind == "number":
        return draw(NUMBERS)
    if kind in ("row", "column", "one"):
        return numbers_of(rng, {"row": (1, nx), "column": (ny, 1), "one": (1, 1)}[kind], wild)
    if kind == "turned":
        return numbers_of(rng, (nx, ny), wild).T
    if kind == "gaps":
        return numbers_of(rng, (ny + 2, 2 * nx + 1), wild)[1:-1, : 2 * nx : 2]
    if kind == "spread":
        return np.broadcast_to(numbers_of(rng, (ny, 1), wild), shape)
    plane = numbers_of(rng, shape, wild)
    if kind == "double":
        return plane.astype(">f8")
    plane.flags.writeable = kind != "fixed"
    return plane


@st.composite
def flag_planes(draw, shape, rng):
    size = draw(st.sampled_from([shape, (1, shape[1]), (shape[0], 1)]))
    return rng.choice(np.array([0, 0, 0, 1, 64, 256], np.uint16), size)


@st.composite
def chains(draw):
    """A raw image, its frame, and some terms; perhaps the usual chain, perhaps any."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    terms, shape = [], RAW
    for _ in range(draw(st.integers(0, 7))):
        crop = None
        if draw(st.integers(0, 5)) == 0 and min(shape) > 4:
            crop = Section(1, shape[0] - draw(st.integers(0, 2)), draw(st.integers(0, 3)), shape[1])
            shape = crop.shape
        given = {"crop": crop}
        for name in draw(st.sets(st.sampled_from(["subtract", "multiply", "divide", "linear", "flags"]), max_size=3)):
            if name == "linear":
                given["linearity"] = tuple(draw(st.lists(st.sampled_from([1.0, 1.01, -1e-6, 1e-11]), max_size=4)))
                given["nonlinear_above"] = draw(st.sampled_from([np.inf, 1.0, 4e4]))
            elif name == "flags":
                given["flags"] = draw(flag_planes(shape, rng))
            else:
                given[name] = draw(planes(shape, rng))
                if name != "multiply" and draw(st.booleans()):
                    given[f"{name}_variance"] = draw(planes(shape, rng))
        given["subtract_scale"] = draw(st.sampled_from([1.0, 1.0, 1.7, 0.0]))
        terms.append(Terms(**given, pedestal=draw(st.booleans())))
    whole = Section(0, RAW[0], 0, RAW[1])
    halves = Section(0, RAW[0], 0, 17), Section(1, RAW[0], 17, RAW[1])
    gain = draw(st.sampled_from([2.5, 2.5, np.nan]))
    amplifiers = [Amplifier(whole, gain=gain, read_noise=7.5)]
    if draw(st.booleans()):
        amplifiers = [
            Amplifier(half, gain=g, read_noise=r) for half, g, r in zip(halves, (gain, 1.3), (7.5, 4), strict=True)
        ]
    frame = Frame("a.fits", shape=RAW, amplifiers=tuple(amplifiers))
    wild = draw(st.sampled_from([0.0, 0.05]))
    picture = image(
        np.where(rng.random(RAW) < wild, rng.choice(VALUES, RAW), rng.normal(900, 300, RAW)).astype(np.float32),
        variance=np.abs(numbers_of(rng, RAW, wild)) if draw(st.booleans()) else None,
        flags=rng.choice(np.array([0, 0, 4, 64], np.uint16), RAW) if draw(st.booleans()) else None,
    )
    return picture, frame, terms, draw(st.booleans())


def bits_of(plane):
    """The bits of numbers; one NaN is like another."""
    return None if plane is None else np.where(np.isnan(plane), np.uint32(0x7FC00000), plane.view(np.uint32))


@settings(max_examples=400, deadline=None)
@given(chains(), st.sampled_from([1, 100, 1 << 16]))
def test_compiled_corrections_equal_those_of_numpy_bit_for_bit(chain, strip_pixels):
    picture, frame, terms, last = chain
    with done_by(None, 1 << 16):
        expected = apply_terms(picture, frame, terms, last=last)
    with done_by(kernels, strip_pixels):
        result = apply_terms(picture, frame, terms, last=last)
    np.testing.assert_array_equal(bits_of(result.data), bits_of(expected.data))
    np.testing.assert_array_equal(bits_of(variance_of(result)), bits_of(variance_of(expected)))
    np.testing.assert_array_equal(flags_of(result), flags_of(expected))
    np.testing.assert_array_equal(result.mask, expected.mask)
    assert result.meta == expected.meta
    assert result.unit == expected.unit


@pytest.mark.parametrize("missing", ["", "overscan", "bias", "dark", "gain", "flat", "light"])
def test_the_usual_chain_and_its_parts_equal_those_of_numpy_bit_for_bit(missing):
    rng = np.random.default_rng(3)

    def plane(level, scatter, shape=RAW):
        return (level + scatter * rng.standard_normal(shape)).astype(np.float32)

    chain = {
        "overscan": Terms(subtract=plane(900, 5, (13, 1)), subtract_variance=plane(0.2, 0.01, (13, 1)), pedestal=True),
        "bias": Terms(subtract=plane(0, 3), subtract_variance=plane(1, 0.1), pedestal=True),
        "dark": Terms(subtract=plane(20, 3), subtract_variance=plane(0.5, 0.05), subtract_scale=1.7),
        "gain": Terms(multiply=2.5, unit="electron"),
        "flat": Terms(divide=plane(1, 0.1), divide_variance=plane(1e-4, 1e-5)),
        "light": Terms(subtract=plane(100, 1)),
    }
    chain.pop(missing, None)
    frame = Frame("a.fits", shape=RAW, amplifiers=(Amplifier(Section(0, 13, 0, 37), gain=2.5, read_noise=7.5),))
    picture = image(plane(5000, 2000))
    for last in (True, False):
        with done_by(None, 1 << 16):
            expected = apply_terms(picture, frame, list(chain.values()), last=last)
        with done_by(kernels, 100):
            result = apply_terms(picture, frame, list(chain.values()), last=last)
        np.testing.assert_array_equal(bits_of(result.data), bits_of(expected.data))
        np.testing.assert_array_equal(bits_of(variance_of(result)), bits_of(variance_of(expected)))


@pytest.mark.parametrize("counts", [np.int16, np.uint16])
@pytest.mark.parametrize("region", [None, Section(3, 9, 5, 31)])
def test_compiled_reading_gives_every_count(tmp_path, counts, region):
    rng = np.random.default_rng(4)
    limits = np.iinfo(counts)
    stored = rng.integers(limits.min, limits.max, RAW, dtype=counts, endpoint=True)
    stored[0, :2], stored[4, 6:8] = (limits.min, limits.max), (limits.min, limits.max)
    fits.writeto(tmp_path / "a.fits", stored)
    expected = stored.astype(np.float32)
    with done_by(kernels, 1):
        pixels = read_pixels(tmp_path / "a.fits", 0, region)
    np.testing.assert_array_equal(pixels, expected if region is None else expected[region.slices])


# --- who does the work

CHOICE = """
import sys
import numpy as np
from albireo import Frame, Terms, apply_terms, engine, image
engine.TO_IMPORT, engine.TO_LOAD = 3 * 16, 16
seen = []
for _ in range(5):
    result = apply_terms(image(np.full((4, 4), 7.0)), Frame("a.fits", shape=(4, 4)), [Terms(subtract=2.0)])
    assert (result.data == 5.0).all()
    seen.append(engine._Choice.kernels is not None)
print(seen)
"""


def python(code, *, before=""):
    done = subprocess.run([sys.executable, "-c", before + code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_compiled_code_comes_once_there_was_enough_to_do():
    assert python(CHOICE + "print('numba' in sys.modules)") == "[False, False, False, True, True]\nTrue"


def test_compiled_code_comes_sooner_where_numba_was_imported_anyway():
    assert python(CHOICE, before="import numba\n") == "[False, True, True, True, True]"


def test_without_numba_numpy_does_everything():
    assert python(CHOICE, before="import sys\nsys.modules['numba'] = None\n") == str([False] * 5)


# --- memory used again


def test_memory_is_used_again_when_nobody_holds_it():
    shape = 1000, 1000
    first = empty_plane(shape, np.float32)
    address = first.ctypes.data
    view = first[10:, ::2]
    view[...] = 3.0
    del first
    assert empty_plane(shape, np.float32).ctypes.data != address
    assert (view == 3.0).all()
    del view
    gc.collect()
    assert address in [plane.ctypes.data for plane in [empty_plane(shape, np.float32) for _ in range(3)]]


def test_what_is_kept_has_an_end():
    planes = [empty_plane((1 << 21,), np.uint8) for _ in range(KEPT // (1 << 21) + 5)]
    assert not any(np.shares_memory(one, other) for one, other in pairwise(planes))
    del planes
    gc.collect()
    assert sum(memory.size for memory in _free) <= KEPT
    others = [empty_plane((1 << 20,), np.uint8) for _ in range(len(_free))]  # another size: the old ones make room
    assert not _free
    assert len(others) > 1
