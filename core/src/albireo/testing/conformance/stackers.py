"""What a stacker must do.

The frames show stars on a known sky. They are shifted by whole pixels where values are compared, so that the way of
interpolating does not matter, and by parts of pixels, turned and scaled where light is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo.images import Flag, flags_of, image, planes_of, variance_of
from albireo.roles import Stacker
from albireo.sources import Transform
from albireo.testing.aligned import ImageFrames
from albireo.testing.conformance.kit import RUBBISH, Check, changed, fingerprint, require
from albireo.testing.picture import simulate_image
from albireo.testing.scene import Scene

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

__all__ = ["CHECKS", "typical"]

SHAPE = (120, 140)
SKY, READ_NOISE = 200.0, 5.0
"""Of every frame, in electrons."""
NOISE = (SKY + READ_NOISE**2) ** 0.5
STARS = Scene([30.3, 70.6, 110.2, 40.8, 95.4], [30.7, 60.1, 35.5, 90.2, 88.9], [2.0e5, 1.2e5, 3.0e5, 1.5e5, 2.5e5])
APERTURE = 10.0
"""Radius in pixels of circles with all light of a star three pixels wide."""
LIGHT = 0.01
"""Relative error of the light of a star that is allowed; that of the noise is 0.1 percent."""
WHOLE = tuple(Transform.similarity(dx, dy) for dx, dy in ((0, 0), (4, -3), (-6, 5), (2, 7), (-3, -5), (5, 1)))
TURNED = (
    Transform.identity(),
    Transform.similarity(3.4, -2.7),
    Transform.similarity(-1.6, 4.2, rotation=1.5),
    Transform.similarity(-2.5, 1.3),
    Transform.similarity(SHAPE[1] - 0.5, SHAPE[0] - 1.5, rotation=180.0),
)
SCALED = tuple(Transform.similarity(dx, 2.0 - dx, scale=1.05) for dx in (-3.1, -1.7, 0.4, 1.9, 3.3))
LIGHT_SCALED = 0.03
"""Mean relative error that is allowed there; without the area of a pixel it would be 10 percent."""


def _frames(transforms: Sequence[Transform] = WHOLE, stars: Scene = STARS, **options: Any) -> ImageFrames:
    images = [
        simulate_image(stars, SHAPE, sky=SKY, read_noise=READ_NOISE, transform=transform, seed=number).image
        for number, transform in enumerate(transforms, 100)
    ]
    n = len(images)
    return ImageFrames.make(images, transforms, skies=n * [SKY], sky_rms=n * [NOISE], **options)


def _changed(frames: ImageFrames, number: int, picture: CCDData) -> ImageFrames:
    """Put another image in the place of one."""
    images = [*frames.images]
    images[number] = picture
    return ImageFrames(images, frames.facts, frames.skies, frames.memory, frames.scratch)


def _plane(stack: CCDData, name: str) -> NDArray[Any]:
    planes = planes_of(stack)
    require(name in planes, f"the stack has no plane {name}; give it with `albireo.image` as planes")
    return planes[name]


def _corner(stack: CCDData) -> tuple[float, float]:
    return float(stack.meta.get("LTV1", 0.0)), float(stack.meta.get("LTV2", 0.0))


def typical(stage: Stacker) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Give a call to try."""
    yield "stack", (_frames(),)


def gives_what_a_stack_has(stage: Stacker) -> None:
    """Data, variance, flags and the planes COUNT, COVERAGE and REJECTED have one shape, in the unit of the frames."""
    frames = _frames()
    stack = stage.stack(frames)
    require(str(stack.unit) == frames.unit, f"the unit is {stack.unit}, that of the frames {frames.unit}")
    require(variance_of(stack) is not None, "it has no variance")
    for name in ("COUNT", "COVERAGE", "REJECTED"):
        shape = _plane(stack, name).shape
        require(shape == stack.shape, f"the plane {name} has the shape {shape}, the stack {stack.shape}")
    require(_plane(stack, "COUNT").max() == len(frames), "no pixel has COUNT equal to the number of frames")
    seconds = sum(facts.frame.exptime for facts in frames)
    require(np.isclose(_plane(stack, "COVERAGE").max(), seconds), "COVERAGE is not the sum of exposure times in s")


def has_no_value_exactly_where_nothing_counted(stage: Stacker) -> None:
    """Pixels with COUNT zero are NaN and have `Flag.NO_DATA`; all others are finite, with a positive variance."""
    frames = _frames()
    for number, picture in enumerate(frames.images):
        flags = flags_of(picture).copy()
        dx, dy = (round(shift) for shift in frames[number].transform.shift)
        flags[60 + dy, 20 + dx] |= np.uint16(Flag.BAD)
        frames = _changed(frames, number, _with(picture, picture.data, flags))
    stack = stage.stack(frames)
    none = _plane(stack, "COUNT") == 0
    require(none.any(), "a pixel that is masked in every frame has COUNT above zero")
    variance = variance_of(stack)
    assert variance is not None
    require(np.isnan(stack.data[none]).all(), "a pixel that no frame has a value of is not NaN")
    require((flags_of(stack)[none] & np.uint16(Flag.NO_DATA)).all(), "it is not flagged NO_DATA")
    require(np.isfinite(stack.data[~none]).all(), "a pixel with COUNT above zero is not finite")
    require((variance[~none] > 0).all(), "a pixel with COUNT above zero has no positive variance")


def _with(picture: CCDData, data: NDArray[np.float32], flags: NDArray[np.uint16]) -> CCDData:
    return image(data, str(picture.unit), variance=variance_of(picture), flags=flags)


def keeps_the_light_of_stars(stage: Stacker) -> None:
    """Stars have the light that they have on the reference, however the frames are shifted and turned."""
    worst = float(np.abs(_lights(stage, TURNED)).max())
    require(worst < LIGHT, f"the light of a star is off by {100 * worst:.1f} %; {100 * LIGHT:.0f} % is allowed")


def keeps_the_light_of_stars_at_another_scale(stage: Stacker) -> None:
    """Frames of another scale give the light that stars have on the reference: pixels have another area there."""
    off = float(_lights(stage, SCALED).mean())
    require(abs(off) < LIGHT_SCALED, f"the light of stars is off by {100 * off:.1f} % where a pixel is 5 % smaller")


def _lights(stage: Stacker, transforms: Sequence[Transform]) -> NDArray[np.float64]:
    """Measure the stars of a stack: relative differences from their true light."""
    stack = stage.stack(_frames(transforms))
    y, x = np.indices(stack.shape)
    dx, dy = _corner(stack)
    found = []
    for column, row, flux in zip(STARS.x, STARS.y, STARS.flux, strict=True):
        distance = np.hypot(x - column - dx, y - row - dy)
        # A stack may keep the sky or not: take it out by a ring.
        level = np.nanmedian(stack.data[(distance > APERTURE) & (distance < 1.5 * APERTURE)])
        found.append((stack.data[distance < APERTURE].astype(np.float64) - level).sum() / flux - 1.0)
    return np.array(found)


def tells_its_noise(stage: Stacker) -> None:
    """Blank pixels scatter as the variance says, within 10 % of the error."""
    stack = stage.stack(_frames(TURNED, Scene([], [], [])))
    variance = variance_of(stack)
    assert variance is not None
    good = np.isfinite(stack.data)
    pulls = (stack.data[good] - np.median(stack.data[good])) / np.sqrt(variance[good])
    width = float(np.std(pulls))
    require(abs(width - 1.0) < 0.1, f"pixels scatter by {width:.2f} times the error that the variance says")


def does_not_wrap_around(stage: Stacker) -> None:
    """Frames count only where they show the sky: nothing comes in from the other edge."""
    transforms = (Transform.identity(), Transform.similarity(30.0, 0.0))
    frames = _frames(transforms, Scene([], [], []))
    bright = frames.images[1].data.copy()
    bright[:, :10] += 1000.0  # what lies 30 pixels beyond the left edge of the reference
    stack = stage.stack(_changed(frames, 1, _with(frames.images[1], bright, flags_of(frames.images[1]))))
    column = np.arange(stack.shape[1]) - _corner(stack)[0]
    inner = stack.data[:, (column >= 0) & (column < SHAPE[1])]
    require(np.nanmax(inner) - np.nanmedian(inner) < 10 * NOISE, "light from beyond one edge came in at the other")
    count = _plane(stack, "COUNT")[:, column > SHAPE[1] - 25]
    require(count.max(initial=0) <= 1, "COUNT counts a frame where it shows nothing")


def masked_pixels_do_not_matter(stage: Stacker) -> None:
    """Whatever stands in a masked pixel, the stack is the same, to the last byte."""
    frames = _frames()
    results = []
    for value in RUBBISH:
        data, flags = frames.images[1].data.copy(), flags_of(frames.images[1]).copy()
        data[40:42, 50:53], flags[40:42, 50:53] = value, Flag.BAD
        results.append(fingerprint(stage.stack(_changed(frames, 1, _with(frames.images[1], data, flags)))))
    part = next((part for other in results[1:] if (part := changed(results[0], other, "stack"))), "")
    require(not part, f"the value of a masked pixel changes {part}")


def does_not_depend_on_memory(stage: Stacker) -> None:
    """Little memory gives the same stack, to the last byte, and leaves nothing in the scratch folder."""
    with TemporaryDirectory() as folder:
        scratch = Path(folder)
        much, little = (stage.stack(_frames(TURNED, memory=memory, scratch=scratch)) for memory in (1 << 30, 1 << 18))
        part = changed(fingerprint(much), fingerprint(little), "stack")
        require(not part, f"the memory changes {part}")
        require(not [*scratch.rglob("*")], "it left files in the scratch folder")


def takes_a_single_frame(stage: Stacker) -> None:
    """One frame makes a stack: its own pixels, where it is the reference."""
    frames = _frames(WHOLE[:1])
    stack = stage.stack(frames)
    apart = stack.data - frames.images[0].data
    off = float(np.nanmax(np.abs(apart - np.nanmedian(apart))))
    require(np.isfinite(apart).all(), "pixels of the only frame are missing")
    require(off < 1e-3 * NOISE, f"pixels of the only frame are changed, by up to {off:.2g}")


CHECKS: list[Check] = [
    gives_what_a_stack_has,
    has_no_value_exactly_where_nothing_counted,
    keeps_the_light_of_stars,
    keeps_the_light_of_stars_at_another_scale,
    tells_its_noise,
    does_not_wrap_around,
    masked_pixels_do_not_matter,
    does_not_depend_on_memory,
    takes_a_single_frame,
]
