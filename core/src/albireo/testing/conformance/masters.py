"""What a builder of masters must do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo.frames import Frame, FrameError, Frames
from albireo.images import Flag, flags_of, image, variance_of
from albireo.roles import MasterBuilder
from albireo.testing.conformance.kit import Check, changed, fingerprint, require, skip
from albireo.testing.stack import ImageStack

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

__all__ = ["CHECKS", "typical"]

SHAPE = (48, 40)
FRAMES = 9
REALISATIONS = 40
VARIANCE_TOLERANCE = 0.1
"""Of the mean variance; its own error is 0.4 percent with 1920 pixels and 40 realisations."""
SCALED = ("flat", "sky")
"""Kinds whose master is around one."""
DIMENSIONLESS = (*SCALED, "fringe", "illumination", "bad")
FAINT = 2500.0
"""Level of a flat without its lamp, in electrons."""
EXPTIME = {"bias": 0.0, "dark": 60.0, "flat": 2.0, "sky": 60.0, "science": 60.0}
"""Exposure times in s; every other dark has half of it, where a builder keeps darks of several together."""
LOST = (5, 7)
"""Pixel that no frame has."""
ROUNDING = 2e-6
"""Relative difference that the order of a sum in float32 may make."""


def _truth(kind: str) -> NDArray[np.float64]:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] / 40.0
    pattern = np.sin(9.0 * x) * np.cos(7.0 * y)
    level, depth = {"bias": (20.0, 5.0), "dark": (60.0, 20.0)}.get(kind, (1.0, 0.1))
    return np.asarray(level + depth * pattern)


def _images(frames: Frames, seed: int, lamp_off: bool = False) -> list[CCDData]:
    """Frames as a builder gets them: in adu for a bias, in electrons and with different levels for sky and flats.

    With ``lamp_off`` every other flat has only a little light, always the same.
    """
    made = []
    generators = {kind: np.random.default_rng([seed, *kind.encode()]) for kind in EXPTIME}
    for number, frame in enumerate(frames):
        kind, rng = frame.kind, generators[frame.kind]
        level = frame.exptime / EXPTIME[kind] if kind == "dark" else 1.0
        if kind not in ("bias", "dark"):
            level = FAINT if lamp_off and number % 2 else rng.uniform(16000.0, 24000.0)
        expected = level * _truth(kind)
        variance = np.full(SHAPE, 16.0) if kind == "bias" else expected + 25.0
        data = expected + np.sqrt(variance) * rng.standard_normal(SHAPE)
        unit = "adu" if kind == "bias" else "electron"
        made.append(image(data, unit, variance=variance.astype(np.float32), flags=np.zeros(SHAPE, np.uint16)))
    return made


def _frames(stage: MasterBuilder, count: int = FRAMES) -> Frames:
    """Frames of the kinds that a builder wants, in turn."""
    kinds = [kind for kind in EXPTIME if stage.wants(Frame("", kind=kind, filter="r"))]
    require(kinds, "it wants frames of no kind")

    def named(number: int, exptime: float, kind: str) -> Frame:
        name = f"{kind}-{number}.fits"
        return Frame(name, kind=kind, exptime=exptime, filter="r", start=60000.0 + number / 1440.0)

    frames = Frames(named(n, EXPTIME[kinds[n % len(kinds)]], kinds[n % len(kinds)]) for n in range(count))
    mixed = Frames(f.replace(exptime=f.exptime / (1 + n % 2)) for n, f in enumerate(frames))
    return mixed if kinds == ["dark"] and len(list(stage.split(mixed))) == 1 else frames


def _needs_lamp_off(stage: MasterBuilder) -> bool:
    """Whether a builder of flats refuses frames of about one level, to hold those with a lamp against those without."""
    if stage.kind != "flat":
        return False
    frames = _frames(stage)
    try:
        stage.build(ImageStack(_images(frames, 1), frames))
    except FrameError:
        return True
    return False


def _stack(stage: MasterBuilder, seed: int = 1, rows: int = 16, prepare: Callable[[CCDData, int], None] | None = None,
           count: int = FRAMES) -> ImageStack:  # fmt: skip
    frames = _frames(stage, count)
    images = _images(frames, seed, _needs_lamp_off(stage))
    for index, picture in enumerate(images):
        if prepare is not None:
            prepare(picture, index)
    return ImageStack(images, frames, rows)


def typical(stage: MasterBuilder) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Give a call to try."""
    yield "build", (_Arguments(_frames(stage), _needs_lamp_off(stage)),)


class _Arguments(ImageStack):
    """A stack whose images can be compared before and after."""

    def __init__(self, frames: Frames, lamp_off: bool) -> None:
        super().__init__(_images(frames, 1, lamp_off), frames)

    def __repr__(self) -> str:
        return repr(fingerprint(self._images))


def gives_an_image(stage: MasterBuilder) -> None:
    """The master has shape and unit of the stack (or none), finite data and variance, short keys in meta."""
    stack = _stack(stage)
    master = stage.build(stack)
    require(master.shape == SHAPE, f"the master has shape {master.shape}, the frames {SHAPE}")
    require(master.data.dtype == np.float32, f"the master is {master.data.dtype}; it must be float32")
    wanted = "" if stage.kind in DIMENSIONLESS else stack.unit
    require(str(master.unit or "") == wanted, f"the unit is {str(master.unit)!r}; it must be {wanted!r}")
    require(np.isfinite(master.data).all(), "there are values that are not finite although every frame has all pixels")
    require(master.uncertainty is not None, "the master has no variance")
    variance = _variance(master)
    require(np.isfinite(variance).all() and (variance >= 0).all(), "the variance is not finite, or negative")
    long = [key for key in master.meta if len(key) > 8]
    require(not long, f"keys of meta have at most eight characters: {', '.join(long)}")


def recovers_the_truth(stage: MasterBuilder) -> None:
    """The master is the mean of the frames within its error; flat and sky are around one."""
    _has_truth(stage)
    master = stage.build(_stack(stage))
    truth = _truth(stage.kind)
    if stage.kind == "dark":
        truth = truth * float(master.meta.get("EXPTIME", EXPTIME["dark"])) / EXPTIME["dark"]
    if stage.kind in SCALED:
        middle = float(np.median(master.data))
        require(abs(middle - 1.0) < 0.05, f"the median of the {stage.kind} is {middle:.3f}; it must be around one")
        truth = truth * float(np.mean(master.data) / np.mean(truth))
    pull = (master.data - truth) / np.sqrt(_variance(master))
    mean = float(np.mean(pull))
    require(abs(mean) < 0.15, f"the master is off by {mean:+.2f} of its own errors on average")


def variance_is_the_scatter(stage: MasterBuilder) -> None:
    """The scatter of masters over realisations of the noise is their variance, to 10 percent."""
    _has_truth(stage)
    masters = [stage.build(_stack(stage, seed)) for seed in range(REALISATIONS)]
    scatter = np.var([master.data.astype(np.float64) for master in masters], axis=0, ddof=1).mean()
    claimed = np.mean([_variance(master) for master in masters])
    require(
        abs(scatter / claimed - 1.0) < VARIANCE_TOLERANCE,
        f"the scatter is {scatter / claimed:.2f} times the variance the master claims",
    )


def honours_missing_pixels(stage: MasterBuilder) -> None:
    """A pixel that some frames do not have is made from the others; one that none has is flagged Flag.NO_DATA."""

    def lose(picture: CCDData, index: int) -> None:
        where = np.zeros(SHAPE, dtype=bool)
        where[LOST] = True
        where[20:24, 10:30] = index in (2, 5)
        picture.data[where] = 1e6
        picture.flags[where] |= np.uint16(Flag.BAD)
        picture.mask = np.asarray(picture.flags) != 0

    master = stage.build(_stack(stage, prepare=lose))
    lost = np.zeros(SHAPE, dtype=bool)
    lost[LOST] = True
    require(np.isfinite(master.data[~lost]).all(), "a pixel that two of nine frames lack is not finite in the master")
    flagged = (flags_of(master) & np.uint16(Flag.NO_DATA)) != 0
    # A smooth surface has a value there too.
    require(flagged[LOST] or stage.kind == "illumination", "a pixel that no frame has is not flagged Flag.NO_DATA")
    require(not flagged[~lost].any(), "pixels that some frames have are flagged Flag.NO_DATA")
    clean = stage.build(_stack(stage))
    off = np.abs(master.data - clean.data)[20:24, 10:30]
    require(
        np.mean(off <= 3.0 * np.sqrt(_variance(clean)[20:24, 10:30])) > 0.5,
        "what masked pixels hold shows in the master",
    )


def does_not_depend_on_the_order(stage: MasterBuilder) -> None:
    """Frames in another order give the same master, bit for bit but for the rounding of sums."""
    frames = _frames(stage)
    images = _images(frames, 1, _needs_lamp_off(stage))
    once = stage.build(ImageStack(images, frames))
    again = stage.build(ImageStack(images[::-1], Frames(list(frames)[::-1])))
    _same(once, again, "the order of the frames")


def does_not_depend_on_the_strips(stage: MasterBuilder) -> None:
    """Strips of another height give the same master; their buffer is used again and must not be kept."""
    _same(stage.build(_stack(stage, rows=7)), stage.build(_stack(stage, rows=SHAPE[0])), "the height of the strips")


def _has_truth(stage: MasterBuilder) -> None:
    """Skip where the kit simulates no frames of which it knows the master."""
    if stage.kind in ("fringe", "illumination", "bad"):
        skip(f"the kit knows no true master {stage.kind} of its frames")


def _variance(master: CCDData) -> NDArray[np.float64]:
    """The variance in double precision; a check that needs one does not apply without."""
    variance = variance_of(master)
    if variance is None:
        skip("the master has no variance")
    return variance.astype(np.float64)


def _same(one: CCDData, other: CCDData, what: str) -> None:
    near = np.allclose(one.data, other.data, rtol=ROUNDING, atol=0, equal_nan=True)
    require(near, f"the master depends on {what}")
    require(not changed(fingerprint(flags_of(one)), fingerprint(flags_of(other))), f"the flags depend on {what}")


def survives_one_frame(stage: MasterBuilder) -> None:
    """A single frame gives a master with finite data, or a FrameError with a reason."""
    try:
        master = stage.build(_stack(stage, count=1))
    except FrameError as error:
        require(str(error).strip(), "the FrameError has no message")
        return
    require(np.isfinite(master.data).all(), "the master of one frame is not finite")


CHECKS: list[Check] = [
    gives_an_image,
    recovers_the_truth,
    variance_is_the_scatter,
    honours_missing_pixels,
    does_not_depend_on_the_order,
    does_not_depend_on_the_strips,
    survives_one_frame,
]
