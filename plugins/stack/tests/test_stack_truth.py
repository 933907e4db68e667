"""Stacks of scenes with a known truth: light, noise, what is rejected, which pixels there are, and how much is held."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from albireo import (
    AlignedFrame,
    AlignedFrames,
    Background,
    Flag,
    Frame,
    FrameError,
    Transform,
    flags_of,
    image,
    planes_of,
    variance_of,
)
from albireo.testing import ImageFrames, Profile, Scene, conformance, simulate_image
from albireo_stack import MeanStack
from albireo_stack.median_factor import median_factor
from albireo_stack.scratch import frame_store

SHAPE = (200, 220)
SKY, READ_NOISE = 200.0, 5.0
NOISE = np.sqrt(SKY + READ_NOISE**2)
BLANK = Scene([], [], [])
STARS = Scene.field(SHAPE, 12, 4e5, 4e4, separation=28.0, margin=30.0, seed=5)
MOVES = {
    "whole": Transform.similarity(4.0, -7.0),
    "part": Transform.similarity(0.37, -1.62),
    "turned": Transform.similarity(-3.3, 4.1, rotation=2.3),
    "half a turn": Transform.similarity(SHAPE[1] - 1.3, SHAPE[0] - 0.6, rotation=179.6),
    "larger": Transform.similarity(1.2, 0.4, rotation=0.4, scale=1.04),
    "smaller": Transform.similarity(0.6, 2.3, rotation=-0.7, scale=0.96),
    "mirrored": Transform.similarity(SHAPE[1] - 2.2, 0.8, rotation=0.3, mirrored=True),
}
CONFIGURATIONS = [
    {},
    {"method": "mean", "interpolation": "lanczos3", "area": "union", "weights": "point-source"},
    {"method": "median", "interpolation": "bilinear", "sky": "constant"},
    {"area": "common", "weights": "seeing", "scaling": "exposure"},
    {"method": "mean", "weights": "exposure", "scaling": "none", "sky": "none"},
]


@pytest.mark.parametrize(
    "case", [case for options in CONFIGURATIONS for case in conformance.cases(MeanStack(**options))], ids=str
)
def test_the_stacker_conforms(case) -> None:
    case()


def observed(transforms, scene=STARS, seed=1, exptime=1.0, widths=None, **options) -> ImageFrames:
    """Frames of a scene with noise."""
    n = len(transforms)
    images = [
        simulate_image(
            scene,
            SHAPE,
            sky=SKY,
            read_noise=READ_NOISE,
            transform=transform,
            exptime=exptime,
            profile=Profile(fwhm=widths[number]) if widths is not None else None,
            seed=1000 * seed + number,
        ).image
        for number, transform in enumerate(transforms)
    ]
    return ImageFrames.make(images, transforms, skies=n * [SKY], sky_rms=n * [NOISE], **options)


def wanderings(n: int, seed: int = 0, whole: bool = False, turn: float = 1.0) -> list[Transform]:
    """The identity and small shifts, in whole pixels or with rotations."""
    rng = np.random.default_rng(seed)
    shifts = rng.uniform(-6.0, 6.0, (n - 1, 2))
    if whole:
        return [Transform.identity(), *(Transform.similarity(*np.rint(shift)) for shift in shifts)]
    return [Transform.identity(), *(Transform.similarity(*shift, rng.uniform(-turn, turn)) for shift in shifts)]


def light(stack, x: float, y: float, radius: float = 12.0) -> float:
    """Sum in a circle."""
    rows, columns = np.indices(stack.shape)
    inside = np.hypot(columns - x - stack.meta["LTV1"], rows - y - stack.meta["LTV2"]) < radius
    return float(stack.data[inside].sum(dtype=np.float64))


# --- light ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos3"])
@pytest.mark.parametrize("move", MOVES)
def test_interpolation_keeps_the_light_of_stars_to_a_thousandth(move: str, interpolation: str) -> None:
    transform = MOVES[move]
    picture = simulate_image(STARS, SHAPE, sky=0.0, transform=transform)
    frame = image(picture.expected, "electron", variance=np.ones(SHAPE))
    reference = image(np.zeros(SHAPE), "electron", variance=np.ones(SHAPE), flags=np.full(SHAPE, Flag.BAD, np.uint16))
    frames = ImageFrames.make([reference, frame], [Transform.identity(), transform])
    stack = MeanStack(method="mean", interpolation=interpolation, area="union").stack(frames)
    seen = [light(stack, x, y) / flux for x, y, flux in zip(STARS.x, STARS.y, STARS.flux, strict=True)]
    # Where the scale differs, a little of the pattern of the pixels comes through all kernels but the cubic.
    scaled = {"bilinear": 1e-2, "bicubic": 1e-3, "lanczos3": 2e-3}
    tolerance = scaled[interpolation] if move in ("larger", "smaller") else 1e-3
    np.testing.assert_allclose(seen, 1.0, atol=tolerance)


def test_frames_of_other_transparency_are_brought_to_the_light_of_the_reference() -> None:
    clear = observed(wanderings(1), seed=1)
    cloudy = observed(wanderings(4, seed=3)[1:], seed=2, exptime=0.5)
    frames = ImageFrames.make(
        [*clear.images, *cloudy.images],
        [f.transform for f in (*clear, *cloudy)],
        skies=4 * [SKY],
        sky_rms=4 * [NOISE],
        fluxes=[1.0, 0.5, 0.5, 0.5],
        exptimes=[20.0, 10.0, 10.0, 10.0],
    )
    for options in ({}, {"method": "median"}, {"scaling": "exposure"}):
        stack = MeanStack(**options).stack(frames)
        error = NOISE * np.sqrt(np.pi * 12.0**2)
        for x, y, flux in zip(STARS.x, STARS.y, STARS.flux, strict=True):
            assert abs(light(stack, x, y) - flux) < 5 * np.hypot(error, np.sqrt(flux))
    assert stack.meta["WEIGHTS"] == "inverse-variance"
    assert "weight 0.5714, times 2" in stack.meta["USED"]["frame-001.fits"], "a quarter of the weight of the clear one"


def test_stars_that_follow_the_seeing_are_not_taken_for_rays() -> None:
    widths = np.random.default_rng(3).uniform(2.6, 3.8, 12)
    frames = observed(wanderings(12, seed=8), widths=widths)
    clipped, mean = MeanStack().stack(frames), MeanStack(method="mean").stack(frames)
    rows, columns = np.indices(SHAPE)
    for x, y, flux in zip(STARS.x, STARS.y, STARS.flux, strict=True):
        near = np.hypot(columns - x, rows - y) < 6.0
        assert planes_of(clipped)["REJECTED"][near].sum() < 0.005 * 12 * near.sum()
        assert abs(light(clipped, x, y) - light(mean, x, y)) < 2e-3 * flux


# --- against numpy ----------------------------------------------------------------------------------------------------


def cube(frames: ImageFrames) -> np.ndarray:
    """The frames moved by whole pixels, NaN outside."""
    ny, nx = SHAPE
    rows, columns = np.indices(SHAPE)
    result = np.full((len(frames), ny, nx), np.nan)
    for number, facts in enumerate(frames):
        x, y = (np.rint(axis).astype(int) for axis in facts.transform(columns, rows))
        there = (x >= 0) & (x < nx) & (y >= 0) & (y < ny)
        result[number][there] = (frames.image(number).data - np.float32(SKY))[y[there], x[there]]
    return result


@pytest.mark.parametrize("n", [1, 2, 3, 8, 11])
def test_means_and_medians_of_whole_shifts_are_those_of_numpy(n: int) -> None:
    frames = observed(wanderings(n, seed=n, whole=True))
    values = cube(frames)
    mean = MeanStack(method="mean", weights="equal").stack(frames)
    np.testing.assert_allclose(mean.data, np.nanmean(values, axis=0), rtol=1e-6, atol=1e-5)
    median = MeanStack(method="median").stack(frames)
    np.testing.assert_allclose(median.data, np.nanmedian(values, axis=0), rtol=1e-6, atol=1e-5)
    np.testing.assert_array_equal(planes_of(median)["COUNT"], np.isfinite(values).sum(axis=0))
    np.testing.assert_allclose(planes_of(mean)["COVERAGE"], 10.0 * np.isfinite(values).sum(axis=0))


def test_the_clipped_mean_rejects_what_its_rule_says() -> None:
    n, kappa, tolerance = 9, 3.0, 0.7
    frames = observed(wanderings(n, seed=4, whole=True))
    values = cube(frames)
    noise = np.where(np.isfinite(values), np.maximum(values + SKY, 0) + READ_NOISE**2, np.nan)
    middle = np.nanmedian(values, axis=0)
    spread = 1.482602218505602 * np.nanmedian(np.abs(values - middle), axis=0)
    steps = [np.abs(middle - np.roll(middle, by, axis)) for by in (-1, 1) for axis in (0, 1)]
    inner = (slice(10, -10), slice(10, -10))
    off = np.abs(values - middle)
    limit = kappa * np.maximum(np.sqrt(noise - (values - middle)), spread) + tolerance * np.max(steps, axis=0)
    kept = np.where(off > limit, np.nan, values)[:, *inner]
    stack = MeanStack(kappa=kappa, tolerance=tolerance, weights="equal").stack(frames)
    assert (~np.isfinite(kept)).sum() > 100
    np.testing.assert_array_equal(planes_of(stack)["REJECTED"][inner], (~np.isfinite(kept)).sum(axis=0))
    np.testing.assert_allclose(stack.data[inner], np.nanmean(kept, axis=0), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("n", [2, 3, 4, 9, 40, 41, 101])
def test_the_variance_of_a_median_is_that_of_normal_values(n: int) -> None:
    draws = 40_000
    medians = np.median(np.random.default_rng(n).standard_normal((draws, n)), axis=1)
    assert median_factor(n) == pytest.approx(n * medians.var(), rel=5 * np.sqrt(2 / draws))


# --- noise ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos3"])
@pytest.mark.parametrize("method", ["mean", "clipped-mean", "median"])
def test_errors_of_pixels_and_of_apertures_are_right(method: str, interpolation: str) -> None:
    rows, columns = np.indices(SHAPE)
    pixels, apertures = [], []
    for seed in range(4):
        stack = MeanStack(method=method, interpolation=interpolation).stack(
            observed(wanderings(7, seed=seed), BLANK, seed=seed)
        )
        variance = variance_of(stack).astype(np.float64)
        inner = (slice(12, -12), slice(12, -12))
        pixels.append((stack.data[inner] / np.sqrt(variance[inner])).ravel())
        for y in range(25, SHAPE[0] - 24, 19):
            for x in range(25, SHAPE[1] - 24, 19):
                inside = np.hypot(columns - x, rows - y) < 8.0
                apertures.append(stack.data[inside].sum(dtype=float) / np.sqrt(variance[inside].sum()))
    assert np.std(np.concatenate(pixels)) == pytest.approx(1.0, abs=0.03)
    width = np.std(apertures) / stack.meta["NOISECOR"]
    # At the rim of an aperture neighbours are cut off: its error is a little less than that of a large area.
    assert width == pytest.approx(0.97, abs=4 / np.sqrt(2 * len(apertures)) + 0.02)


def test_a_noisy_frame_counts_little() -> None:
    quiet, noisy = observed(wanderings(3, whole=True), BLANK), observed(wanderings(3, whole=True), BLANK, seed=2)
    rough = [
        image(p.data + np.random.default_rng(i).normal(0, 60, SHAPE), "electron", variance=variance_of(p) + 3600.0)
        for i, p in enumerate(noisy.images)
    ]
    frames = ImageFrames.make(
        [*quiet.images, *rough],
        [f.transform for f in (*quiet, *noisy)],
        skies=6 * [SKY],
        sky_rms=[*3 * [NOISE], *3 * [float(np.hypot(NOISE, 60))]],
    )
    inner = (slice(10, -10), slice(10, -10))
    best, equal = (MeanStack(method="mean", weights=w).stack(frames) for w in ("inverse-variance", "equal"))
    expected = 1 / np.sqrt(3 / NOISE**2 + 3 / (NOISE**2 + 3600))
    assert np.std(best.data[inner]) == pytest.approx(expected, rel=0.03)
    assert np.std(best.data[inner]) < 0.6 * np.std(equal.data[inner])


# --- what is rejected, and what is masked -----------------------------------------------------------------------------


def test_satellites_and_cosmic_rays_leave_no_trace() -> None:
    n = 10
    frames = observed(wanderings(n, seed=2))
    clean = MeanStack().stack(frames)
    rng = np.random.default_rng(7)
    rows, columns = np.indices(SHAPE)
    dirty = []
    for number, picture in enumerate(frames.images):
        extra = np.zeros(SHAPE, np.float32)
        if number in (3, 6):
            distance = np.abs(columns * 0.6 - rows * 0.8 + 10.0 * number)
            extra += 400.0 * np.exp(-0.5 * (distance / 1.3) ** 2)
        hit = rng.integers(0, SHAPE[0] - 1, 40), rng.integers(0, SHAPE[1] - 1, 40)
        extra[hit] += rng.uniform(500.0, 2e4, 40)
        dirty.append(image(picture.data + extra, "electron", variance=variance_of(picture) + extra))
    spoilt = MeanStack().stack(ImageFrames(dirty, frames.facts, frames.skies))
    error = np.sqrt(variance_of(clean))
    faint = planes_of(clean)["COUNT"] == n
    for x, y in zip(STARS.x, STARS.y, strict=True):
        faint &= np.hypot(columns - x, rows - y) > 8.0
    assert np.nanmax(np.abs(spoilt.data - clean.data)[faint] / error[faint]) < 4.0
    assert (
        np.nanmax(
            (MeanStack(method="mean").stack(ImageFrames(dirty, frames.facts, frames.skies)).data - clean.data)[faint]
            / error[faint]
        )
        > 50.0
    )
    assert spoilt.meta["NREJECT"] > 40 * n


def test_two_frames_are_enough_to_find_a_ray() -> None:
    frames = observed(wanderings(2, whole=True), BLANK)
    data = frames.images[0].data.copy()
    data[60, 70] += 3000.0
    ray = image(data, "electron", variance=variance_of(frames.images[0]) + (data - frames.images[0].data))
    stack = MeanStack().stack(ImageFrames([ray, frames.images[1]], frames.facts, frames.skies))
    assert planes_of(stack)["REJECTED"][60, 70] == 1
    assert abs(stack.data[60, 70]) < 5 * NOISE


def test_few_good_values_are_rejected() -> None:
    stack = MeanStack().stack(observed(wanderings(12, whole=True), BLANK))
    # Beyond 4 standard deviations lie 6e-5 of normal values; the median has an error of its own.
    assert stack.meta["NREJECT"] < 3e-4 * 12 * stack.data.size


def test_a_bad_column_and_a_saturated_star_have_no_weight() -> None:
    frames = observed(wanderings(6, seed=6))
    spoilt = []
    x, y = round(STARS.x[0]), round(STARS.y[0])
    for facts, picture in zip(frames, frames.images, strict=True):
        data, flags = picture.data.copy(), flags_of(picture).copy()
        data[:, 100], flags[:, 100] = 6e4, Flag.BAD
        column, row = (round(float(v)) for v in facts.transform(x, y))
        flags[row - 2 : row + 3, column - 2 : column + 3] |= np.uint16(Flag.SATURATED)
        spoilt.append(image(data, "electron", variance=variance_of(picture), flags=flags))
    clean = MeanStack().stack(frames)
    stack = MeanStack().stack(ImageFrames(spoilt, frames.facts, frames.skies))
    good = np.isfinite(stack.data)
    rows, columns = np.indices(SHAPE)
    good &= np.hypot(columns - x, rows - y) > 5.0
    error = np.sqrt(variance_of(stack)[good] + variance_of(clean)[good])
    assert np.max(np.abs(stack.data - clean.data)[good] / error) < 6.0
    assert flags_of(stack)[y, x] == Flag.SATURATED | Flag.NO_DATA
    assert planes_of(stack)["COUNT"][20:-20, 92:109].min() >= 2, "other frames fill in the column"


# --- which pixels -----------------------------------------------------------------------------------------------------


def test_the_union_has_all_and_the_common_area_only_what_all_show() -> None:
    moves = [Transform.identity(), Transform.similarity(20.0, 0.0), Transform.similarity(-15.0, 30.0, rotation=1.0)]
    frames = observed(moves)
    union = MeanStack(method="mean", area="union").stack(frames)
    assert (union.meta["LTV1"], union.meta["LTV2"]) == (20.0, 34.0)
    assert planes_of(union)["COVERAGE"].max() == 30.0
    assert set(np.unique(planes_of(union)["COUNT"])) == {0, 1, 2, 3}
    common = MeanStack(method="mean", area="common").stack(frames)
    assert set(np.unique(planes_of(common)["COUNT"])) == {0, 3}
    every = (planes_of(union)["COUNT"] == 3).sum()
    assert 0.98 * every < (planes_of(common)["COUNT"] == 3).sum() <= every
    x, y = STARS.x[STARS.flux.argmax()], STARS.y[STARS.flux.argmax()]
    assert light(union, x, y) == pytest.approx(light(common, x, y), rel=1e-5)


def test_frames_that_cannot_take_part_are_named() -> None:
    frames = observed([*wanderings(3), Transform.similarity(900.0, 0.0)], fluxes=[1.0, float("nan"), 1.0, 1.0])
    stack = MeanStack(method="mean").stack(frames)
    assert stack.meta["NCOMBINE"] == 2
    assert [*stack.meta["USED"]] == ["frame-000.fits", "frame-002.fits"]
    assert stack.meta["DROPPED"] == {
        "frame-001.fits": "its light cannot be compared with that of the reference: no star in common, or no exposure "
        "time",
        "frame-003.fits": "it shows nothing of the reference",
    }


def test_frames_without_anything_in_common_have_no_common_area() -> None:
    apart = [Transform.identity(), Transform.similarity(150.0, 0.0), Transform.similarity(-150.0, 0.0)]
    with pytest.raises(FrameError, match='nothing that all frames show; use area = "reference"'):
        MeanStack(area="common").stack(observed(apart))


class Unreadable(ImageFrames):
    """Frames of which some cannot be read."""

    bad: tuple[int, ...] = ()

    def image(self, index):
        """Fail where it is asked for."""
        if index in self.bad:
            raise FrameError("the file ends too early")
        return super().image(index)


@pytest.mark.parametrize("method", ["mean", "median", "clipped-mean"])
def test_a_frame_that_cannot_be_read_is_left_out(method: str) -> None:
    frames = observed(wanderings(4))
    broken = Unreadable(frames.images, frames.facts, frames.skies)
    broken.bad = (1,)
    stack = MeanStack(method=method).stack(broken)
    assert stack.meta["DROPPED"] == {"frame-001.fits": "the file ends too early"}
    rest = [0, 2, 3]
    without = ImageFrames([frames.images[i] for i in rest], [frames[i] for i in rest], 3 * [SKY])
    np.testing.assert_array_equal(stack.data, MeanStack(method=method).stack(without).data)
    broken.bad = (0, 1, 2, 3)
    with pytest.raises(FrameError, match="none of 4 frames can be used"):
        MeanStack(method=method).stack(broken)


# --- memory and threads -----------------------------------------------------------------------------------------------


class Endless(AlignedFrames):
    """Any number of frames, made when they are asked for."""

    def __init__(self, number: int, memory: int, scratch: Path) -> None:
        self.shape, self.unit, self.memory, self.scratch = SHAPE, "electron", memory, scratch
        self._facts = [
            AlignedFrame(Frame(f"{i}.fits", exptime=1.0), Transform.similarity(0.01 * i % 3, 0.02 * i % 3), 1, 3, 0, 1)
            for i in range(number)
        ]

    def __len__(self) -> int:
        return len(self._facts)

    def __getitem__(self, index):
        return self._facts[index]

    def image(self, index):
        """Make a frame."""
        rng = np.random.default_rng(index)
        return image(rng.standard_normal(SHAPE, dtype=np.float32), "electron", variance=np.ones(SHAPE, np.float32))

    def background(self, image):
        """Know the sky."""
        zero = np.zeros(SHAPE, np.float32)
        return Background(zero, zero, 0.0, 0.0)


@pytest.mark.parametrize("method", ["mean", "clipped-mean"])
def test_memory_does_not_grow_with_the_number_of_frames(method: str, tmp_path: Path) -> None:
    peaks = []
    stage = MeanStack(method=method)
    stage.stack(Endless(3, 1 << 20, tmp_path))
    for number in (20, 200):
        frames = Endless(number, 6 << 20, tmp_path)
        tracemalloc.start()
        stack = stage.stack(frames)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert planes_of(stack)["COUNT"].max() == number
    assert peaks[1] < 1.15 * peaks[0], f"{peaks[0] >> 20} and {peaks[1] >> 20} MiB"
    assert not [*tmp_path.iterdir()]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be taken away here")
@pytest.mark.parametrize("method", ["mean", "median", "clipped-mean"])
def test_the_number_of_threads_changes_nothing(method: str) -> None:
    frames, cores = observed(wanderings(6)), os.sched_getaffinity(0)
    many = MeanStack(method=method).stack(frames)
    os.sched_setaffinity(0, {min(cores)})
    try:
        one = MeanStack(method=method).stack(frames)
    finally:
        os.sched_setaffinity(0, cores)
    assert one.data.tobytes() == many.data.tobytes()
    assert variance_of(one).tobytes() == variance_of(many).tobytes()


def test_a_disk_without_room_is_told_before_anything_is_written(tmp_path: Path) -> None:
    with (
        pytest.raises(FrameError, match=r"10000000 frames on 2048 x 2048 pixels need 312500\.0 GiB of disk space"),
        frame_store(10_000_000, (2048, 2048), 1 << 30, tmp_path),
    ):
        pass
