"""Crosstalk: the ghosts that amplifiers read at once leave in each other's pixels.

While one amplifier digitises a bright pixel, the others digitise theirs, and a small part of the signal leaks across.
With the counts x above the pedestal, amplifier i shows ``x_i + sum_j c_ij x_j``. The correction subtracts the ghosts,
``x_i - sum_j c_ij x_j``, in which x_j holds ghosts itself; what that leaves is of the order of c squared (Freyhammer et
al. 2001, Experimental Astronomy 12, 147).

Pixels meet that are read at the same moment, that is, in the same row and column counted from the corner where each
amplifier reads out. That corner is taken from where the amplifier lies: one in the right half of the chip reads to the
right and one in the upper half reads to the top, as where each of two or four amplifiers has a corner of the chip.
Where all amplifiers read in one direction, ``readout = "parallel"`` says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar

from pydantic import Field, field_validator

from albireo import Amplifier, Frame, FrameError, Frames, PixelwiseCorrection

if TYPE_CHECKING:
    import numpy as np
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

    from albireo import Terms

Pixel = TypeVar("Pixel", bound="np.generic")


class Crosstalk(PixelwiseCorrection, name="crosstalk"):
    """Subtract the ghosts that amplifiers induce in each other, with the variance of what is subtracted.

    The coefficients are taken as exact, so that a pixel of variance V gets the variance ``V_i + sum_j c_ij**2 V_j``. A
    ghost has no photon noise of its own. Its error is shared with the pixel that made it, which a variance plane
    cannot say. Where gain or read noise are not known, nothing is added.

    How bright a saturated pixel was is not known, nor is its ghost: where that is above the read noise of the
    amplifier that shows it, it is subtracted as far as known and flagged `Flag.BLEED`. A pixel that is missing (NaN)
    leaves no ghost.

    Runs after the pedestal is gone, because only the signal leaks, and before `trim`, on the whole raw image. Put it
    before `linearity`: ghosts are made by the counts as they were read.
    """

    looks_at_pixels: ClassVar[bool] = True
    needs = frozenset({"pedestal"})
    excludes = frozenset({"trim", "dark", "electron", "flat", "rebin"})

    coefficients: tuple[tuple[float, ...], ...] = Field(
        description="A row for each amplifier, in the order of the camera: the ghost of amplifier 1, 2, ... in it, "
        "relative to the counts that made it. Zero for an amplifier in itself."
    )
    readout: Literal["corners", "parallel"] = Field(
        "corners",
        description="'corners': amplifiers read towards the corner or edge of the chip where they lie; 'parallel': all "
        "in the same direction.",
    )
    detector: str = Field("", description="Only frames of this detector are corrected; empty for all.")

    @field_validator("coefficients")
    @classmethod
    def _is_a_matrix(cls, matrix: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
        if not matrix or any(len(row) != len(matrix) for row in matrix):
            sizes = ", ".join(str(len(row)) for row in matrix) or "none"
            raise ValueError(f"write as many rows as there are numbers in a row ({len(matrix)} rows, with {sizes})")
        if any(row[number] != 0.0 for number, row in enumerate(matrix)):
            raise ValueError("an amplifier has no ghost in itself; the number on the diagonal is zero")
        if not all(isfinite(c) and abs(c) < 1.0 for row in matrix for c in row):
            raise ValueError("coefficients are numbers between -1 and 1")
        return matrix

    def terms(self, image: CCDData, frame: Frame, masters: Mapping[str, CCDData]) -> Terms:
        """Measure the ghosts on the image, in adu above the pedestal.

        Raises
        ------
        FrameError
            If the amplifiers of the frame do not fit the coefficients or each other, or if the image was trimmed.
        """
        import numpy as np

        from albireo import Flag, Terms, flags_of, variance_of

        if self._is_another(frame):
            return Terms()
        problem = self.check(frame, None)
        if problem:
            raise FrameError(problem)
        if image.shape != frame.shape:
            raise FrameError(
                f"{frame.name} has {image.shape[1]} x {image.shape[0]} pixels where its raw image has "
                f"{frame.shape[1]} x {frame.shape[0]}; put `crosstalk` before `trim`"
            )
        given = variance_of(image)
        saturated = (flags_of(image) & np.uint16(Flag.SATURATED)) != 0
        known = np.isfinite(image.data)
        seen = image.data if known.all() else np.where(known, image.data, np.float32(0.0))
        signals = [self._as_read(seen, frame, source) for source in frame.amplifiers]
        full = [np.nonzero(self._as_read(saturated, frame, source)) for source in frame.amplifiers]
        noises = [
            _noise(signal, source) if given is None else np.nan_to_num(self._as_read(given, frame, source), nan=0.0)
            for signal, source in zip(signals, frame.amplifiers, strict=True)
        ]
        ghosts, variances = np.zeros(image.shape, np.float32), np.zeros(image.shape, np.float32)
        flags = np.zeros(image.shape, np.uint16)
        for victim, row in zip(frame.amplifiers, self.coefficients, strict=True):
            ghost, variance, flag = (self._as_read(plane, frame, victim) for plane in (ghosts, variances, flags))
            read_noise = victim.read_noise / victim.gain
            least = read_noise if read_noise >= 0 else 0.0
            for signal, noise, bright, c in zip(signals, noises, full, row, strict=True):
                if c == 0.0:
                    continue
                ghost += np.float32(c) * signal
                variance += np.float32(c**2) * noise
                unsure = np.abs(c * signal[bright]) > least
                flag[bright[0][unsure], bright[1][unsure]] |= np.uint16(Flag.BLEED)
        strongest = float(np.abs(ghosts).max())
        return Terms(
            subtract=ghosts,
            subtract_variance=variances,
            pedestal=True,  # electronic: the ghost of light has no photon noise
            flags=flags if flags.any() else None,
            note=f"crosstalk: ghosts of up to {strongest:.1f} adu, {np.count_nonzero(flags)} pixels flagged",
        )

    def check(self, frame: Frame, group: Frames | None) -> str:
        """Say if the amplifiers of this frame do not fit the coefficients or each other."""
        number = len(frame.amplifiers)
        if self._is_another(frame) or (number == len(self.coefficients) and len(_shapes(frame)) == 1):
            return ""
        if number != len(self.coefficients):
            return (
                f"{frame.name} has {number} amplifiers, the coefficients of `crosstalk` are for "
                f"{len(self.coefficients)}; give a row for each amplifier of the camera, or name the detector that "
                "they are for as `detector`"
            )
        listed = ", ".join(amplifier.data.to_fits() for amplifier in frame.amplifiers)
        return (
            f"the amplifiers of {frame.name} have data sections of different size ({listed}), and it is not known "
            "which of their pixels were read at once; leave `crosstalk` out for such frames"
        )

    def _is_another(self, frame: Frame) -> bool:
        return bool(self.detector) and frame.detector != self.detector

    def _as_read(self, plane: NDArray[Pixel], frame: Frame, amplifier: Amplifier) -> NDArray[Pixel]:
        """The pixels of an amplifier, as a view in the order in which they are read."""
        data, chip = amplifier.data, frame.lit
        corners = self.readout == "corners"
        up = -1 if corners and data.y0 + data.y1 > chip.y0 + chip.y1 else 1
        right = -1 if corners and data.x0 + data.x1 > chip.x0 + chip.x1 else 1
        return plane[data.slices][::up, ::right]


def _shapes(frame: Frame) -> set[tuple[int, int]]:
    return {amplifier.data.shape for amplifier in frame.amplifiers}


def _noise(signal: NDArray[np.float32], amplifier: Amplifier) -> NDArray[np.float32] | float:
    """Variance of counts above the pedestal in adu squared; zero if the amplifier is not known well enough."""
    import numpy as np

    if not (amplifier.gain > 0 and amplifier.read_noise >= 0):
        return 0.0
    variance: NDArray[np.float32] = np.maximum(signal, np.float32(0.0))
    variance /= np.float32(amplifier.gain)
    variance += np.float32((amplifier.read_noise / amplifier.gain) ** 2)
    return variance
