"""The detector that a scene falls on: its response, its defects, its noise, and how it is read out.

Geometry and constants (shape, amplifiers, gain, read noise, saturation) are those of a `albireo.Frame`, so that a
simulated detector has the sections a camera's headers speak of; everything a header does not say is in `Camera`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np

from albireo.frames import Frame, Section
from albireo.testing.noise import poisson

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Camera", "Detector"]

ADC_MAX = 65535
"""Largest count of a 16-bit converter."""

FULL_WELL = 1.03
"""Where a pixel is full, relative to the saturation of the frame: full pixels read above it whatever their noise."""


@dataclass(frozen=True)
class Camera:
    """What a detector does to light, beyond what its headers say.

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
        The light-sensitive part of the raw image: the smallest rectangle that holds the data of all amplifiers. Planes
        of light have its shape.

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
        data = [amplifier.data for amplifier in frame.amplifiers]
        self.window = Section(
            min(s.y0 for s in data), max(s.y1 for s in data), min(s.x0 for s in data), max(s.x1 for s in data)
        )
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
    ) -> NDArray[np.uint16]:
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
        ndarray of uint16
            The raw image.
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
                full = (FULL_WELL * self.frame.saturation - self.camera.bias) * amplifier.gain
                _overflow(charge[where], full, self.camera.bleeding)
            counts[amplifier.data.slices] += charge[where] * np.float32(1.0 / amplifier.gain)
        counts += self.bias
        counts += np.float32(bias_shift + 0.5)
        return np.clip(counts, 0, ADC_MAX, out=counts).astype(np.uint16)


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
