"""The detector that a scene falls on: its response, its defects, its noise, and how it is read out.

Geometry and constants (shape, amplifiers, gain, read noise, saturation) are those of a `albireo.Frame`, so that a
simulated detector has the sections a camera's headers speak of; everything a header does not say is in `Camera`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import inf, isfinite
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from albireo.frames import Frame, Section
from albireo.testing.noise import poisson

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Camera", "Detector", "PixelType", "lit_window"]

PixelType: TypeAlias = Literal["uint16", "int16", "float32"]
"""What cameras write their pixels as."""

RANGES: dict[PixelType, tuple[float, float]] = {
    "uint16": (0.0, 65535.0),
    "int16": (-32768.0, 32767.0),
    "float32": (-inf, inf),
}
"""Smallest and largest count that a pixel of a type can hold."""

NEWTON_STEPS = 4
"""Enough for response curves that bend by some percent."""

SKY_WAVES = 4
"""Terms along each axis of the pattern in the sky."""

FULL_WELL = 1.03
"""Where a pixel is full, relative to the saturation of the frame: full pixels read above it whatever their noise."""


@dataclass(frozen=True)
class Camera:
    """What a detector does to light, beyond what its headers say.

    The defaults are those of a CCD behind a 16-bit converter. An infrared array that is read before and after the
    exposure gives the difference: ``Camera(dtype="int16", bias=0.0, bias_structure=0.0, overscan_drift=0.0, ...)``,
    and counts below zero are as good as others.

    Attributes
    ----------
    bias : float
        Level without light, in adu.
    bias_structure : float
        Standard deviation of the fixed pattern of the bias in adu: columns, pixels, and a slope from bottom to top.
    overscan_drift : float
        Change of the bias level from the first to the last exposure of a night, in adu.
    dark : float
        Dark current in electron/s and pixel.
    hot : float
        Fraction of pixels that are hot.
    hot_current : float
        Mean dark current of a hot pixel in electron/s.
    dead : float
        Fraction of pixels without response.
    vignetting : float
        Loss of light in the corners, relative to the centre.
    response : float
        Standard deviation of the relative response from pixel to pixel.
    cosmic_rays : float
        Hits per second and million pixels. At sea level and with pixels of 15 micrometres there are about 0.04.
    bleeding : bool
        Whether charge above the full well flows along the columns; else it is lost.
    dtype : {"uint16", "int16", "float32"}
        Type of the pixels in the file. Integers are whole counts, cut off at the ends of their range; float32 is for
        counts that software made of several reads: neither whole nor cut off.
    ceiling : float
        Highest count that the converter gives, in adu, where that is below the end of the range.
    missing : float
        Fraction of pixels for which the file has no value (NaN); only float32 can say so.
    sky_structure : float
        Standard deviation of a smooth, fixed pattern in the light of the sky, relative to it. A flat does not show
        it: it is what the sky adds to an infrared image from inside the camera.

    Raises
    ------
    ValueError
        If integers are to have missing pixels.
    """

    bias: float = 1000.0
    bias_structure: float = 2.0
    overscan_drift: float = 2.0
    dark: float = 0.01
    hot: float = 2e-4
    hot_current: float = 20.0
    dead: float = 1e-4
    vignetting: float = 0.15
    response: float = 0.01
    cosmic_rays: float = 0.04
    bleeding: bool = True
    dtype: PixelType = "uint16"
    ceiling: float = inf
    missing: float = 0.0
    sky_structure: float = 0.0

    def __post_init__(self) -> None:
        if self.missing and self.dtype != "float32":
            raise ValueError(f"pixels of type {self.dtype} cannot be missing; only float32 has a NaN")

    @property
    def limits(self) -> tuple[float, float]:
        """Smallest and largest count of a pixel, in adu."""
        low, high = RANGES[self.dtype]
        return low, min(high, self.ceiling)


class Detector:
    """One chip with its fixed truth, drawn from a seed.

    Parameters
    ----------
    frame : Frame
        Gives shape, amplifiers and saturation.
    camera : Camera
    seed : int

    Attributes
    ----------
    window : Section
        The light-sensitive part of the raw image; see `lit_window`. Planes of light have its shape.

    Raises
    ------
    ValueError
        If the frame does not say enough, with all that is missing.
    """

    def __init__(self, frame: Frame, camera: Camera, seed: int) -> None:
        missing = [name for name in ("gain", "read_noise") if any(not getattr(a, name) > 0 for a in frame.amplifiers)]
        if not frame.amplifiers:
            missing.append("amplifiers")
        if min(frame.shape) < 1:
            missing.append("shape")
        if missing:
            raise ValueError(f"frame {frame.name!r} cannot be simulated: it has no {', '.join(missing)}")
        self.frame, self.camera, self.seed = frame, camera, seed
        self.window = lit_window(frame)
        # A bounded cache: a flat of a large chip is tens of megabytes.
        self.flat = lru_cache(maxsize=2)(self._flat)

    def _rng(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *stream])

    @cached_property
    def bias(self) -> NDArray[np.float32]:
        """Counts without light, in adu, of the whole raw image."""
        ny, nx = self.frame.shape
        rng = self._rng(1)
        pattern = rng.standard_normal((ny, nx), dtype=np.float32)
        pattern += rng.standard_normal((1, nx), dtype=np.float32)
        pattern += np.linspace(-1.7, 1.7, ny, dtype=np.float32)[:, None]
        return np.asarray(self.camera.bias + self.camera.bias_structure / np.sqrt(3.0) * pattern, dtype=np.float32)

    @cached_property
    def hot(self) -> NDArray[np.bool_]:
        """Hot pixels of the window."""
        return self._rng(2).random(self.window.shape, dtype=np.float32) < self.camera.hot

    @cached_property
    def dead(self) -> NDArray[np.bool_]:
        """Pixels of the window without response."""
        return self._rng(3).random(self.window.shape, dtype=np.float32) < self.camera.dead

    @cached_property
    def missing(self) -> NDArray[np.bool_]:
        """Pixels of the window for which the file has no value."""
        return self._rng(8).random(self.window.shape, dtype=np.float32) < self.camera.missing

    @cached_property
    def sky_pattern(self) -> NDArray[np.float32]:
        """Light of an even sky in each pixel of the window, relative to its mean: a sum of long waves."""
        waves = np.arange(SKY_WAVES)
        strength = self._rng(9).standard_normal((SKY_WAVES, SKY_WAVES))
        strength[0, 0] = 0.0
        rows, columns = (np.cos(np.pi * np.outer(waves, (np.arange(n) + 0.5) / n)) for n in self.window.shape)
        pattern = np.einsum("ij,iy,jx->yx", strength, rows, columns, optimize=True)
        return np.asarray(1.0 + self.camera.sky_structure / pattern.std() * pattern, dtype=np.float32)

    @cached_property
    def dark(self) -> NDArray[np.float32]:
        """Dark current of the window in electron/s."""
        current = np.full(self.window.shape, self.camera.dark, dtype=np.float32)
        current[self.hot] += self._rng(4).exponential(self.camera.hot_current, int(self.hot.sum())).astype(np.float32)
        return current

    def _flat(self, filter: str = "") -> NDArray[np.float32]:
        """Relative response of the window through a filter, one on average over living pixels, zero where dead."""
        ny, nx = self.window.shape
        y, x = np.linspace(-1.0, 1.0, ny, dtype=np.float32), np.linspace(-1.0, 1.0, nx, dtype=np.float32)
        response = self._rng(5, *filter.encode()).standard_normal((ny, nx), dtype=np.float32)
        response *= np.float32(self.camera.response)
        response += 1.0
        response *= 1.0 - np.float32(0.5 * self.camera.vignetting) * (x[None, :] ** 2 + y[:, None] ** 2)
        response[self.dead] = 0.0
        response *= np.float32((ny * nx - self.dead.sum()) / response.sum(dtype=np.float64))
        return response

    def cosmic_rays(self, exptime: float, number: int) -> NDArray[np.float32]:
        """Electrons that cosmic rays leave in the window during exposure ``number``.

        Tracks are straight, with lengths of an exponential distribution (mean 6 pixels) and 300 to 3000 electrons per
        pixel of length.
        """
        ny, nx = self.window.shape
        rng = self._rng(6, number)
        charge = np.zeros((ny, nx), dtype=np.float32)
        for _ in range(rng.poisson(self.camera.cosmic_rays * exptime * ny * nx / 1e6)):
            y, x, angle = rng.uniform(0, ny), rng.uniform(0, nx), rng.uniform(0, 2.0 * np.pi)
            length, density = 1.0 + rng.exponential(6.0), np.exp(rng.uniform(np.log(300.0), np.log(3000.0)))
            steps = np.linspace(0.0, length, max(2, int(4 * length)))
            row = np.floor(y + steps * np.sin(angle)).astype(int)
            column = np.floor(x + steps * np.cos(angle)).astype(int)
            inside = (row >= 0) & (row < ny) & (column >= 0) & (column < nx)
            np.add.at(charge, (row[inside], column[inside]), np.float32(density * length / steps.size))
        return charge

    def expose(
        self,
        light: NDArray[np.float32] | np.float32,
        exptime: float,
        *,
        filter: str = "",
        number: int = 0,
        bias_shift: float = 0.0,
    ) -> NDArray[Any]:
        """Take one exposure.

        Parameters
        ----------
        light : ndarray or float32
            Expected photo-electrons of the window with a response of one, during the whole exposure.
        exptime : float
            In s.
        filter : str
            Which flat applies.
        number : int
            Of the exposure: cosmic rays and noise follow from it and the seed.
        bias_shift : float
            Added to the bias level of the whole image, in adu.

        Returns
        -------
        ndarray
            The raw image, of the camera's type.
        """
        expected = self.flat(filter) * light
        if exptime > 0:
            expected += self.dark * np.float32(exptime)
        rng = self._rng(7, number)
        charge = poisson(rng, expected) if exptime > 0 else np.zeros(self.window.shape, dtype=np.float32)
        if exptime > 0 and self.camera.cosmic_rays > 0:
            charge += self.cosmic_rays(exptime, number)
        counts = rng.standard_normal(self.frame.shape, dtype=np.float32)
        counts *= np.float32(self.frame.read_noise / self.frame.gain)
        for amplifier in self.frame.amplifiers:
            noise = np.float32((amplifier.read_noise / amplifier.gain) / (self.frame.read_noise / self.frame.gain))
            for part in (amplifier.data, amplifier.overscan):
                if part is not None and noise != 1.0:
                    counts[part.slices] *= noise
            where = (
                slice(amplifier.data.y0 - self.window.y0, amplifier.data.y1 - self.window.y0),
                slice(amplifier.data.x0 - self.window.x0, amplifier.data.x1 - self.window.x0),
            )
            if isfinite(self.frame.saturation):
                # The full well is a property of the pixel; a chip that the converter limits never gets there.
                full = _linear(FULL_WELL * self.frame.saturation - self.camera.bias, self.frame.linearity)
                _overflow(charge[where], full * amplifier.gain, self.camera.bleeding)
            counts[amplifier.data.slices] += _shown(charge[where] * np.float32(1.0 / amplifier.gain), self.frame)
        counts += self.bias
        raw = self._converted(counts, bias_shift)
        if self.camera.missing > 0:
            raw[self.window.slices][self.missing] = np.nan
        return raw

    def unlit(self, shape: tuple[int, int], *, number: int = 0, bias_shift: float = 0.0) -> NDArray[Any]:
        """Read out pixels that no light reaches and no frame shows: reference pixels, a part that is not used.

        Parameters
        ----------
        shape : tuple of int
        number : int
            Of the exposure.
        bias_shift : float
            As for `expose`.

        Returns
        -------
        ndarray
            Bias level and read noise, of the camera's type.
        """
        counts = self._rng(10, number).standard_normal(shape, dtype=np.float32)
        counts *= np.float32(self.frame.read_noise / self.frame.gain)
        counts += np.float32(self.camera.bias)
        return self._converted(counts, bias_shift)

    def _converted(self, counts: NDArray[np.float32], shift: float) -> NDArray[Any]:
        """Shift counts, and turn them into what the file holds, in place where the type allows."""
        low, high = self.camera.limits
        if self.camera.dtype == "float32":
            counts += np.float32(shift)
            return np.minimum(counts, np.float32(high), out=counts)
        counts += np.float32(shift + 0.5)
        np.floor(counts, out=counts)
        return np.clip(counts, low, high, out=counts).astype(self.camera.dtype)


def lit_window(frame: Frame) -> Section:
    """Give the light-sensitive part of a raw image: the smallest rectangle with the data of all amplifiers.

    Raises
    ------
    ValueError
        If the frame has no amplifier.
    """
    if not frame.amplifiers:
        raise ValueError(f"frame {frame.name!r} cannot be simulated: it has no amplifiers")
    return frame.lit


def _linear(counts: float, coefficients: tuple[float, ...]) -> float:
    """Linear counts of a pixel that shows ``counts`` above the bias; see `Frame.linearity`."""
    return counts * sum(c * counts**n for n, c in enumerate(coefficients)) if coefficients else counts


def _shown(linear: NDArray[np.float32], frame: Frame) -> NDArray[np.float32]:
    """Counts that a camera shows for linear counts: the inverse of `Frame.linearity`, by Newton's method."""
    if not frame.linearity:
        return linear
    shown = linear.copy()
    for _ in range(NEWTON_STEPS):
        value, slope = np.zeros_like(shown), np.zeros_like(shown)
        for n in reversed(range(len(frame.linearity))):  # Horner's scheme, of the polynomial and its derivative
            slope = slope * shown + np.float32((n + 1) * frame.linearity[n])
            value = (value + np.float32(frame.linearity[n])) * shown
        shown -= (value - linear) / slope
    return shown


def _overflow(charge: NDArray[np.float32], full: float, bleeding: bool) -> None:
    """Clip pixels at the full well, in place; half of what is too much flows up the column, half flows down."""
    if not bleeding:
        np.minimum(charge, np.float32(full), out=charge)
        return
    for column in np.flatnonzero((charge > full).any(axis=0)):
        pixels = charge[:, column].astype(np.float64)
        edges = np.flatnonzero(np.diff(np.concatenate(([False], pixels > full, [False])).astype(np.int8)))
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            spilt = float((pixels[start:stop] - full).clip(0.0).sum())
            pixels[start:stop] = np.minimum(pixels[start:stop], full)
            for way in (pixels[stop:], pixels[:start][::-1]):
                room = np.maximum(full - way, 0.0)
                way += np.clip(0.5 * spilt - (np.cumsum(room) - room), 0.0, room)
        charge[:, column] = pixels
