"""Raw dark: subtract dark frames that still hold their bias, where there are no bias frames.

The pedestal and the dark current go in one step. That leaves a question of noise: the photon noise of the dark current
is in the image, but the counts that tell of it are gone with the master. It is added again,

* from the rate of a fitted master, as ``rate t / gain``, or
* from the scatter of one dark frame, ``n V``, where V is the variance of a mean of n frames. It holds the read noise
  already, which is then not counted twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan
from typing import TYPE_CHECKING

from albireo import Frame, FrameError, Frames, Section
from albireo_calibration.dark_groups import DarkFrames, covers, is_several, offered, same_exposure, told

if TYPE_CHECKING:
    import numpy as np
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

    from albireo import Terms


class RawDark(DarkFrames, name="raw-dark"):
    """Subtract a master dark that still holds its bias, for nights without bias frames.

    The bias does not grow with time, so that such a dark cannot be scaled: it must have the exposure time of the frame
    within 1 %, or be fitted to several times around it (`dark-fit`). Flats need darks of their own exposure time too.

    The variance is that of light, dark current and read noise, plus that of the master. With a master of one exposure
    time the noise of dark current and read noise is what n dark frames show; take five or more. A master that is a
    median makes it too large, by a factor of pi / 2 at most.
    """

    provides = frozenset({"pedestal", "dark"})
    excludes = frozenset({"pedestal", "dark"})

    def terms(self, image: CCDData, frame: Frame, masters: Mapping[str, CCDData]) -> Terms:
        """Give the master to subtract, with the noise that goes out of sight with it.

        Raises
        ------
        FrameError
            If the exposure time is unknown or is not that of the master, if the master does not say how many frames it
            was made from, or if it has another size.
        """
        from albireo import Terms
        from albireo_calibration.fitted_dark import dark_at, fitted_range, is_fitted
        from albireo_calibration.planes import raised_flags

        dark = masters[self.master]
        if is_fitted(dark):
            if not frame.exptime >= 0:
                raise FrameError(f"the exposure time of {frame.name} is not known, so that its dark is not either")
            shortest, longest = fitted_range(dark)
            data, variance = dark_at(dark, frame.exptime)
            return Terms(
                subtract=data,
                subtract_variance=variance + _signal_noise(dark, frame),
                pedestal=True,
                flags=raised_flags(dark),
                note=f"raw-dark: of {frame.exptime:g} s from a fit to {shortest:g} to {longest:g} s",
            )
        exptime = float(dark.meta.get("EXPTIME", nan))
        if not same_exposure(frame.exptime, exptime):
            raise FrameError(
                f"{frame.name} has {frame.exptime:g} s and its master dark, which holds the bias, {exptime:g} s; such "
                "a dark cannot be scaled. Take darks of the same exposure time, or of several and combine them by "
                "`dark-fit`, which suits frames of all times"
            )
        return Terms(
            subtract=dark.data,
            subtract_variance=_scatter_noise(dark, frame),
            pedestal=True,
            flags=raised_flags(dark),
            note=f"raw-dark: of {exptime:g} s",
        )

    def choose_exposure(self, frame: Frame, groups: Sequence[Frames]) -> tuple[Frames | None, str]:
        """Take groups of equal exposure time, or fitted ones that cover it."""
        suited = [group for group in groups if covers(group, frame.exptime)]
        if not suited and (fitted := [group for group in groups if is_several(group)]):
            suited = fitted
        if not suited:
            return None, (
                f"no dark of {frame.exptime:g} s for {frame.kind} frames (there is {offered(groups)}), and a dark that "
                "holds its bias cannot be scaled; `dark-fit` makes one that suits other times"
            )
        group, reason = self.nearest(frame, suited)
        assert group is not None  # the nearest of at least one
        which = f"fitted to {told(group)}" if is_several(group) else f"same exposure time ({frame.exptime:g} s)"
        return group, f"{which}; {reason}"

    def check_exposure(self, frame: Frame, group: Frames) -> str:
        """Say if a fitted dark is extrapolated, or if one frame alone cannot tell its noise."""
        if is_several(group):
            if covers(group, frame.exptime):
                return ""
            return (
                f"the dark of frames of {frame.exptime:g} s is extrapolated from exposures of {told(group)}: take "
                f"darks of {frame.exptime:g} s too, because hot pixels leave the straight line"
            )
        if len(group) > 1:
            return ""
        return (
            f"the dark of {told(group)} is a single frame, whose noise cannot be told from its bias: error bars of "
            "what it is subtracted from are too large; take five darks or more"
        )


def _signal_noise(dark: CCDData, frame: Frame) -> NDArray[np.float32]:
    """Photon noise of the dark current during an exposure in adu squared, from the rate of a fitted master.

    Where there is next to no dark current its rate is as often below zero as above; to cut it off there would make the
    noise too large in the mean. It takes half of the variance of the read noise away at most.
    """
    import numpy as np

    from albireo import amplifier_plane
    from albireo_calibration.fitted_dark import dark_rate

    gain, read_noise = (amplifier_plane(frame, name, _section(dark, frame)) for name in ("gain", "read_noise"))
    noise = dark_rate(dark) * np.float32(frame.exptime) / gain
    least = np.float32(-0.5) * np.float32((read_noise / gain) ** 2)
    limited: NDArray[np.float32] = np.maximum(noise, least, dtype=np.float32)
    return limited


def _scatter_noise(dark: CCDData, frame: Frame) -> NDArray[np.float32] | float:
    """Variance of the master, and of one dark frame beyond the read noise, in adu squared.

    Where a few frames scatter less than the read noise by chance, the latter is negative. With the read noise, which
    the noise of the image begins with, the sum is not.
    """
    import numpy as np

    from albireo import amplifier_plane, variance_of

    variance = variance_of(dark)
    if variance is None:
        return 0.0
    number = dark.meta.get("NCOMBINE", dark.meta.get("NFRAMES"))
    if number is None:
        raise FrameError(
            f"the master dark of {frame.name} does not say in NCOMBINE how many frames it was made from, so that the "
            "noise of the dark current is not known"
        )
    section = _section(dark, frame)
    gain, read_noise = (amplifier_plane(frame, name, section) for name in ("gain", "read_noise"))
    noise: NDArray[np.float32] = variance * np.float32(number + 1) - np.float32((read_noise / gain) ** 2)
    return noise


def _section(dark: CCDData, frame: Frame) -> Section | None:
    """The part of the raw image that a master has: all of it, or what sees light."""
    if dark.shape not in (frame.shape, frame.lit.shape):
        raise FrameError(
            f"the master dark of {frame.name} has {dark.shape[1]} x {dark.shape[0]} pixels, neither those of the raw "
            f"image ({frame.shape[1]} x {frame.shape[0]}) nor those that see light; was it made for another window?"
        )
    return None if dark.shape == frame.shape else frame.lit
