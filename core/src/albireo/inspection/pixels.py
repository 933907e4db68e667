"""What the pixels of calibration frames say: levels, saturation, and whether gain and read noise are as they are said.

Gain comes from pairs of neighbouring flats by photon transfer, read noise from pairs of bias frames; see
`albireo.survey.noise` for the method. No more than two images are in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import floor, inf, isfinite, log10, nan
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo.frames import CALIBRATION_KINDS, Amplifier, Frame, FrameError, Frames, Section
from albireo.images import Flag, flags_of
from albireo.inspection.finding import Finding, about, of_detector
from albireo.roles import Instrument
from albireo.survey.noise import Estimate, combined, gain_of_pair, noise_of_pair

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Level", "levels", "noise_findings"]

WINDOW = 1024
"""Side in pixels of the part in the middle of each amplifier that noise is measured on; a million pixels are enough."""

NEAR_SATURATION = 0.9
"""Flats do not count for the gain beyond this fraction of saturation, where few cameras are linear."""

SATURATED = 1e-3
"""A flat with a larger fraction of saturated pixels does not count at all."""

RATIO = 1.5
"""Flats of a pair differ by no more than this factor in level."""

GAIN_TOLERANCE, NOISE_TOLERANCE = 0.03, 0.2
"""Relative differences that are no contradiction: headers are rounded, and read noise depends on how it is measured."""

SIGMAS = 4.0
"""A contradiction exceeds this many standard errors as well."""


@dataclass(frozen=True)
class Level:
    """The counts of one calibration frame.

    Attributes
    ----------
    frame : Frame
    level : float
        Median of the light-sensitive pixels in adu.
    above : float
        The same above the median of the overscan; NaN without one.
    saturated : float
        Fraction of the light-sensitive pixels.
    error : str
        Why the frame could not be read; empty otherwise.
    """

    frame: Frame
    level: float = nan
    above: float = nan
    saturated: float = nan
    error: str = ""


def levels(camera: Instrument, frames: Frames) -> Iterator[Level]:
    """Measure every calibration frame."""
    for frame in frames.where(kind=CALIBRATION_KINDS):
        try:
            picture = camera.read(frame)
        except FrameError as error:
            yield Level(frame, error=str(error))
            continue
        flags = flags_of(picture)
        light = [picture.data[a.data.slices].ravel() for a in frame.amplifiers]
        dark = [picture.data[a.overscan.slices].ravel() for a in frame.amplifiers if a.overscan is not None]
        full = [(flags[a.data.slices] & np.uint16(Flag.SATURATED)) != 0 for a in frame.amplifiers]
        level = float(np.nanmedian(np.concatenate(light)))
        above = level - float(np.nanmedian(np.concatenate(dark))) if dark else nan
        saturated = sum(int(part.sum()) for part in full) / sum(part.size for part in full)
        yield Level(frame, level, above, saturated)


def noise_findings(camera: Instrument, frames: Frames) -> list[Finding]:
    """Compare read noise and gain with what pairs of bias frames and flats say, for every amplifier."""
    found = []
    keys = camera.match("bias")
    noises: dict[tuple[Any, ...], list[Estimate | None]] = {}
    gains: dict[tuple[tuple[Any, ...], int], float] = {}
    biases = frames.where(kind="bias").by(*keys)
    for key, group in biases.items():
        noises[key] = [_read_noise(camera, group, number) for number in range(len(group[0].amplifiers))]
    for group in frames.where(kind="flat").by("variant", *camera.match("flat")).values():
        key = next(iter(group[:1].by(*keys)))
        for number, amplifier in enumerate(group[0].amplifiers):
            noise = noises[key][number] if key in noises else None
            said = amplifier.read_noise / amplifier.gain if isfinite(amplifier.gain) else nan
            read_noise = noise.value if noise else said if isfinite(said) else 0.0
            gain = _gain(camera, group, biases.get(key, Frames()), number, read_noise)
            if gain is not None:
                found.append(_judged_gain(group, number, gain))
                gains.setdefault((key, number), gain.value)
    for key, group in biases.items():
        for number, (amplifier, noise) in enumerate(zip(group[0].amplifiers, noises[key], strict=True)):
            if noise is not None:
                found.append(_judged_noise(group, number, noise, gains.get((key, number), amplifier.gain)))
    return found


def _read_noise(camera: Instrument, group: Frames, number: int) -> Estimate | None:
    """Read noise in adu from each bias frame and the next."""
    estimates = []
    for first, second in _pairs(camera, group):
        one, two = (_middle(data, frame.amplifiers[number].data) for frame, data in (first, second))
        estimates.append(noise_of_pair(one, two))
    return _combined(estimates)


def _gain(camera: Instrument, group: Frames, biases: Frames, number: int, read_noise: float) -> Estimate | None:
    """Gain from each flat and the next, above the overscan or the level of a bias frame."""
    amplifier = group[0].amplifiers[number]
    pedestal = nan
    if amplifier.overscan is None:
        for frame, data in _images(camera, biases[:1]):
            pedestal = float(np.nanmedian(_middle(data, frame.amplifiers[number].data)))
        if not isfinite(pedestal):
            return None
    estimates = []
    for pair in _pairs(camera, group):
        light, limit = [], inf
        for frame, data in pair:
            own = frame.amplifiers[number]
            dark = pedestal if own.overscan is None else float(np.nanmean(data[own.overscan.slices], dtype=np.float64))
            light.append(_middle(data, own.data) - np.float32(dark))
            if isfinite(frame.saturation):
                limit = NEAR_SATURATION * (frame.saturation - dark)
                if np.mean(~np.isfinite(light[-1]) | (light[-1] >= frame.saturation - dark)) > SATURATED:
                    break
        else:
            low, high = sorted(float(np.nanmedian(part)) for part in light)
            if low > 0 and high < RATIO * low:
                estimates.append(gain_of_pair(light[0], light[1], read_noise, limit)[0])
    return _combined(estimates)


def _combined(estimates: Sequence[Estimate]) -> Estimate | None:
    good = [e for e in estimates if isfinite(e.value) and isfinite(e.error) and e.error > 0]
    return combined(good, shared=len(good) - 1) if good else None


def _images(camera: Instrument, frames: Frames) -> Iterator[tuple[Frame, NDArray[np.float32]]]:
    """Read frames one after the other; one that cannot be read is told of elsewhere."""
    for frame in frames:
        try:
            yield frame, camera.read(frame).data
        except FrameError:
            continue


def _pairs(camera: Instrument, group: Frames) -> Iterator[tuple[tuple[Frame, NDArray[np.float32]], ...]]:
    """Give each frame of a group with the next one."""
    return pairwise(_images(camera, group.sorted("start")))


def _middle(data: NDArray[np.float32], section: Section) -> NDArray[np.float32]:
    ny, nx = section.shape
    y0, x0 = section.y0 + max(0, ny - WINDOW) // 2, section.x0 + max(0, nx - WINDOW) // 2
    return data[y0 : y0 + min(ny, WINDOW), x0 : x0 + min(nx, WINDOW)]


def _judged_gain(group: Frames, number: int, measured: Estimate) -> Finding:
    frame = group[0]
    amplifier = frame.amplifiers[number]
    text = (
        f"gain{_whose(frame, number)} {_with_error(measured)} e-/adu from {_count(measured, 'flats')}"
        f"{f' through {frame.filter}' if frame.filter else ''}; {_said(amplifier, 'gain', '')}"
    )
    return about(_severity(measured.value, measured.error, amplifier.gain, GAIN_TOLERANCE), text, group)


def _judged_noise(group: Frames, number: int, measured: Estimate, gain: float) -> Finding:
    amplifier = group[0].amplifiers[number]
    electrons = f" ({measured.value * gain:.3g} e-)" if isfinite(gain) else ""
    text = (
        f"read noise{_whose(group[0], number)} {_with_error(measured)} adu{electrons} from "
        f"{_count(measured, 'bias frames')}; {_said(amplifier, 'read_noise', ' e-')}"
    )
    said = amplifier.read_noise
    return about(_severity(measured.value * gain, measured.error * gain, said, NOISE_TOLERANCE), text, group)


def _count(measured: Estimate, what: str) -> str:
    return f"{measured.count} pair{'s' * (measured.count != 1)} of {what}"


def _with_error(measured: Estimate) -> str:
    """Write a value to the last figure that its error leaves it."""
    decimals = max(0, -floor(log10(measured.error)))
    return f"{measured.value:.{decimals}f} +- {measured.error:.{decimals}f}"


def _whose(frame: Frame, number: int) -> str:
    name = frame.amplifiers[number].name or str(number + 1)
    amplifier = f" of amplifier {name}" if len(frame.amplifiers) > 1 else ""
    return of_detector(frame.detector) + amplifier


def _said(amplifier: Amplifier, name: str, unit: str) -> str:
    value = getattr(amplifier, name)
    return f"the camera says {value:.4g}{unit}" if isfinite(value) else "the camera does not say"


def _severity(measured: float, error: float, said: float, tolerance: float) -> str:
    off = abs(measured - said)
    return "warning" if off > tolerance * abs(said) and off > SIGMAS * error else "note"
