"""A stack of raw frames: strips equal whole frames, bad frames are left out, memory is bounded."""

import tracemalloc
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from albireo import (
    Correction,
    Flag,
    FrameError,
    Frames,
    PixelwiseCorrection,
    Section,
    Terms,
    amplifier_plane,
    flags_of,
    image,
    variance_of,
)
from albireo.stack import RawStack
from albireo.testing import Night, PlainCamera, Scene, simulate_night

NX = 100
ROWS = 48
CAMERA = PlainCamera(rows=ROWS, columns=NX, amplifiers=2)
FRAME = ROWS * NX * 4
"""Bytes of one corrected frame."""

# --- corrections of every sort ----------------------------------------------------------------------------------------


class Overscan(PixelwiseCorrection, name="overscan"):
    """Subtract the mean overscan of each row, amplifier by amplifier: a plane of its own for each frame."""

    looks_at_pixels = True
    provides = frozenset({"pedestal"})

    def terms(self, image, frame, masters):
        level = np.zeros(image.shape, dtype=np.float32)
        for amplifier in frame.amplifiers:
            value = image.data[amplifier.overscan.slices].mean(axis=1, keepdims=True)
            for section in (amplifier.data, amplifier.overscan):
                level[section.slices] = value
        return Terms(subtract=level, subtract_variance=np.full_like(level, 0.5), pedestal=True)


class Level(PixelwiseCorrection, name="level"):
    """Subtract one number for each row: next to nothing to keep."""

    looks_at_pixels = True

    def terms(self, image, frame, masters):
        strip = frame.amplifiers[0].overscan.slices
        return Terms(subtract=image.data[strip].mean(axis=1, keepdims=True), pedestal=True)


class Trim(PixelwiseCorrection, name="trim"):
    """Keep the light-sensitive part, but for a margin."""

    def terms(self, image, frame, masters):
        end = frame.amplifiers[-1].data
        return Terms(crop=Section(2, end.y1 - 3, 5, end.x1 - 7))


class Bias(PixelwiseCorrection, name="bias"):
    """Subtract the master, flag where it is bad."""

    master: ClassVar[str] = "bias"

    def terms(self, image, frame, masters):
        bias = masters["bias"]
        return Terms(subtract=bias.data, subtract_variance=variance_of(bias), flags=flags_of(bias), pedestal=True)


class Gain(PixelwiseCorrection, name="gain"):
    """Multiply by the gain of each amplifier: a new but equal plane for each frame."""

    def terms(self, image, frame, masters):
        return Terms(multiply=amplifier_plane(frame, "gain"), unit="electron")


class Linear(PixelwiseCorrection, name="linear"):
    """Bend the counts, and flag high ones."""

    def terms(self, image, frame, masters):
        return Terms(linearity=(1.0, -2e-6, 1e-11), nonlinear_above=2e4)


class Smooth(Correction, name="smooth"):
    """Mix neighbouring rows, which no strip can do."""

    def correct(self, picture, frame, masters):
        return image(
            picture.data + np.roll(picture.data, 1, axis=0),
            str(picture.unit),
            variance=variance_of(picture),
            flags=flags_of(picture),
        )


class Fussy(PixelwiseCorrection, name="fussy"):
    """Refuses some frames."""

    def terms(self, image, frame, masters):
        if frame.name.endswith("2.fits"):
            raise FrameError("it is the second")
        if frame.name.endswith("3.fits"):
            raise KeyError("a defect")
        return Terms()


class Uneven(PixelwiseCorrection, name="uneven"):
    """Cuts one frame to another size than the rest."""

    def terms(self, image, frame, masters):
        return Terms(crop=Section(0, 40 if frame.name.endswith("3.fits") else 45, 0, NX))


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    folder = tmp_path_factory.mktemp("night")
    return simulate_night(CAMERA, folder, Scene([], [], []), Night(science=0, bias=0, flat=9), seed=3)


def bias_of(shape):
    rng = np.random.default_rng(5)
    flags = np.zeros(shape, dtype=np.uint16)
    flags[10, 20], flags[30, 60:63] = Flag.HOT, Flag.BAD
    data = rng.normal(0, 3, shape).astype(np.float32)
    return {"bias": image(data, variance=np.ones(shape, dtype=np.float32), flags=flags)}


@pytest.fixture(scope="module")
def masters(night):
    return bias_of(night.frames[0].shape)


def strips(stack, scale=None):
    whole = np.full((len(stack), *stack.shape), -1.0, dtype=np.float32)
    heights = []
    for strip in stack.strips(scale):
        assert strip.data.dtype == np.float32
        whole[:, strip.rows] = strip.data
        heights.append(strip.rows.stop - strip.rows.start)
    assert sum(heights) == stack.shape[0]
    return whole, heights


CHAINS = {
    "raw": [],
    "one level": [Level(), Trim()],
    "untrimmed": [Overscan(), Bias(), Gain()],
    "trimmed": [Overscan(), Trim(), Bias(), Gain()],
    "linearised": [Overscan(), Trim(), Bias(), Linear(), Gain()],
    "trimmed first": [Trim(), Bias(), Gain()],
    "looks late": [Bias(), Level()],
    "not by pixels": [Overscan(), Trim(), Smooth(), Gain()],
}


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
@pytest.mark.parametrize("memory", [1, 9 * NX * 4 * 7, 3 * FRAME, 1 << 30], ids=["row", "rows", "thirds", "held"])
def test_strips_are_the_rows_of_the_corrected_frames(night, masters, chain, memory):
    frames = night.frames
    stack = RawStack(frames, CAMERA, chain, masters, memory)
    assert len(stack) == 9
    assert stack.lost == {}
    whole, heights = strips(stack)
    if memory == 1:
        assert set(heights) == {1}
    expected = []
    for picture in stack:
        assert picture.uncertainty is not None or not chain
        assert str(picture.unit) == stack.unit
        assert picture.shape == stack.shape
        expected.append(np.where(picture.mask, np.nan, picture.data))
    np.testing.assert_array_equal(whole, expected)
    np.testing.assert_array_equal([stack.pixels(i) for i in range(len(stack))], expected)
    if any(isinstance(c, Bias) for c in chain):
        assert np.isnan(whole).any()
    scale = np.linspace(0.5, 2, 9)
    scaled = np.asarray(expected) * scale.astype(np.float32)[:, None, None]
    np.testing.assert_array_equal(strips(stack, scale)[0], scaled)
    # Once more, because the buffer and what is held must not have been touched.
    np.testing.assert_array_equal(strips(stack)[0], expected)


def test_indexing_is_that_of_a_sequence(night, masters):
    stack = RawStack(night.frames, CAMERA, [Trim()], masters, 1 << 30)
    np.testing.assert_array_equal(stack[-1].data, stack[8].data)
    assert [p.shape for p in stack[2:4]] == [stack.shape] * 2
    with pytest.raises(IndexError):
        stack[9]


def test_the_noise_of_one_image_is_in_it_and_the_unit_is_that_of_the_chain(night, masters):
    stack = RawStack(night.frames, CAMERA, CHAINS["trimmed"], masters, 1)
    assert stack.unit == "electron"
    left = stack[0].data[:, : NX // 2 - 5][np.isfinite(stack[0].data[:, : NX // 2 - 5])]
    # Photon noise in electrons: the variance is the signal, but for read noise, bias and overscan.
    assert np.nanmedian(variance_of(stack[0])) == pytest.approx(np.median(left), rel=0.02)


# --- frames that cannot be used ---------------------------------------------------------------------------------------


@pytest.fixture
def damaged(night, tmp_path):
    """The frames of the night, the first and the fourth truncated."""
    frames = []
    for number, frame in enumerate(night.frames):
        path = tmp_path / frame.name
        content = Path(frame.path).read_bytes()
        path.write_bytes(content[: len(content) // 2] if number in (0, 3) else content)
        frames.append(frame.replace(path=str(path)))
    return Frames(frames)


@pytest.mark.filterwarnings("ignore:File may have been truncated")
@pytest.mark.parametrize("memory", [1, 1 << 30], ids=["strips", "held"])
@pytest.mark.parametrize("chain", ["raw", "trimmed", "not by pixels"])
def test_a_frame_that_cannot_be_read_is_left_out(damaged, masters, chain, memory):
    stack = RawStack(damaged, CAMERA, CHAINS[chain], masters, memory)
    assert list(stack.lost) == [damaged[0].name, damaged[3].name]
    assert ["is truncated" in reason for reason in stack.lost.values()] == [True, True], stack.lost
    good = [f.name for i, f in enumerate(damaged) if i not in (0, 3)]
    assert [f.name for f in stack.frames] == good
    expected = [np.where(p.mask, np.nan, p.data) for p in stack]
    np.testing.assert_array_equal(strips(stack)[0], expected)


@pytest.mark.parametrize("memory", [1, 1 << 30], ids=["strips", "held"])
def test_a_frame_that_a_correction_refuses_is_left_out_with_the_stage(night, masters, memory):
    stack = RawStack(night.frames, CAMERA, [Fussy()], masters, memory)
    assert stack.lost["flat-0002.fits"] == "correction fussy: it is the second"
    assert stack.lost["flat-0003.fits"].startswith("correction fussy: defect in ")
    assert "KeyError: 'a defect'" in stack.lost["flat-0003.fits"]
    assert len(stack) == len(strips(stack)[0]) == 7


@pytest.mark.parametrize("memory", [1, 1 << 30], ids=["strips", "held"])
def test_a_frame_of_another_size_is_left_out(night, masters, memory):
    stack = RawStack(night.frames, CAMERA, [Uneven()], masters, memory)
    assert stack.lost == {
        "flat-0003.fits": (
            "it has 100 x 40 pixels after correction, the frames before it 100 x 45; "
            "frames of one master must be cut to one size"
        )
    }
    assert strips(stack)[0].shape == (8, 45, NX)


def test_if_no_frame_can_be_read_the_reasons_are_told(night, tmp_path):
    missing = Frames(f.replace(path=str(tmp_path / f.name)) for f in night.frames[:2])
    with pytest.raises(FrameError) as caught:
        RawStack(missing, CAMERA, [], {}, 1 << 30)
    text = str(caught.value)
    assert text.startswith("none of 2 frames can be used (flat-0001.fits: ")
    assert "; flat-0002.fits: " in text


# --- memory -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Forty names for three files, larger than what Python itself needs."""
    camera = PlainCamera(rows=250, columns=300, amplifiers=2)
    empty = Scene([], [], [])
    made = simulate_night(camera, tmp_path_factory.mktemp("many"), empty, Night(science=0, bias=0, flat=3)).frames
    return Frames(made[i % 3].replace(name=f"frame-{i:02d}.fits") for i in range(40))


@pytest.mark.parametrize("chain", ["one level", "trimmed", "not by pixels"])
def test_memory_does_not_grow_with_the_number_of_frames(many, chain):
    frame = 4 * 250 * 300
    masters = bias_of(many[0].shape)

    def peak(frames, memory):
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        for _ in RawStack(frames, CAMERA, CHAINS[chain], masters, memory).strips():
            pass
        return tracemalloc.get_traced_memory()[1] - before

    tracemalloc.start()
    try:
        peak(many[:3], 1)  # what is imported and cached once
        few, all_of_them = peak(many[:10], 4 * frame), peak(many, 4 * frame)
        # On top of the limit comes the one frame that is corrected: raw and corrected pixels, terms, flags and masks.
        assert all_of_them < (4 + 16) * frame
        assert all_of_them < few + frame
        assert peak(many, 1 << 30) > 40 * frame, "with enough memory, frames are held and read once"
    finally:
        tracemalloc.stop()


def test_enough_memory_means_one_reading(many, monkeypatch):
    masters = bias_of(many[0].shape)
    readings = []
    read = PlainCamera.read

    def counted(self, frame, region=None):
        readings.append(region)
        return read(self, frame, region)

    monkeypatch.setattr(PlainCamera, "read", counted)
    held = RawStack(many, CAMERA, CHAINS["trimmed"], masters, 1 << 30)
    strips(held)
    strips(held)
    assert len(readings) == 41  # the first frame once more, for shape and unit
    readings.clear()
    in_strips = RawStack(many, CAMERA, CHAINS["trimmed first"], masters, 10 * 4 * 250 * 300)
    assert len(readings) == 42
    _, heights = strips(in_strips)
    assert len(readings) == 42 + 40 * len(heights)
    assert all(region is not None for region in readings[42:])
