"""How the values of a pixel are combined: the rule, and the numbers that kernel and numpy reference share.

Rejection. For each pixel, values are sorted, and those between two ranks are kept.

``minmax`` and ``percentile`` drop so many of the lowest and of the highest values, or such fractions of them.

``sigma`` and ``winsorised`` reject what lies more than ``low`` times a scale below the median, or ``high`` times above
it. The scale is the larger of the noise that the pixel should have (see `albireo_combine.noise`) and a width of the
column: 1.4826 times the median absolute deviation, the standard deviation, or the Winsorised standard deviation. Median
and width are taken anew from what is left, until nothing changes or a number of rounds is reached; two values are never
separated. The noise that is known beforehand keeps the rule from rejecting good values in short columns and in columns
of whole counts, whose median absolute deviation is often far too small or zero; the width keeps it from cutting into
pixels that are noisier than others.

The Winsorised width begins with the median absolute deviation. Values beyond 1.5 times the width are pulled in to that
limit (Huber 1981, Robust Statistics, section 1.7), the width becomes the standard deviation of all values divided by
what it is for normal values, 0.8817, and so on until it changes by less than 0.05 percent.

Variance. The scatter of the accepted values about their mean is pooled with the noise the pixel should have, which
counts as `PRIOR_WEIGHT` degrees of freedom (shrinkage of variances, Smyth 2004, Stat. Appl. Genet. Mol. Biol. 3, 3):
a handful of frames then gives error bars that are right pixel by pixel and not only on average, and with many frames
each pixel speaks for itself. Rejection takes from the scatter more than from the error of the result, and a median has
a larger error than a mean; `albireo_combine.factors` has the numbers that set both right.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erf, exp, pi, sqrt
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Method = Literal["mean", "median"]
Rejection = Literal["none", "sigma", "minmax", "percentile", "winsorised"]
Scale = Literal["mad", "deviation"]

BY_RANK = ("minmax", "percentile")
"""Rejections that look at the order of the values alone."""

MAD_TO_SIGMA = 1.482602218505602
"""Standard deviation of a normal distribution whose median absolute deviation is one."""

HALF_PI = 0.5 * pi
"""Variance of the median of many normal values over that of their mean."""

TIE = 1e-9
"""Share of all weights within which a weighted median counts as lying between two values."""

PRIOR_WEIGHT = 5.0
"""Degrees of freedom that the expected noise counts for beside the scatter of one pixel."""

WINSOR_LIMIT = 1.5
"""Widths from the median beyond which values are pulled in to measure the Winsorised width."""

WINSOR_CHANGE = 0.0005
"""Relative change of the Winsorised width that ends its iteration."""

WINSOR_ROUNDS = 20
"""Rounds after which it ends in any case."""


def _winsorised_deviation(limit: float) -> float:
    """Standard deviation of unit normal values that are pulled in to ``-limit`` and ``limit``."""
    inside = erf(limit / sqrt(2.0))
    density = exp(-0.5 * limit * limit) / sqrt(2.0 * pi)
    return sqrt(inside - 2.0 * limit * density + limit * limit * (1.0 - inside))


WINSOR_DEVIATION = _winsorised_deviation(WINSOR_LIMIT)
"""Standard deviation of Winsorised unit normal values: 0.8817."""

CLIPPING = {("sigma", "mad"): 1, ("sigma", "deviation"): 2, ("winsorised", "mad"): 3, ("winsorised", "deviation"): 3}
"""Widths as the kernel numbers them; 0 for none."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How the values of a pixel become one.

    Attributes
    ----------
    method : {"mean", "median"}
        What is made of the values that are left.
    rejection : {"none", "sigma", "minmax", "percentile", "winsorised"}
        What is left.
    low, high : float
        Limits of the rejection: standard deviations (``sigma``, ``winsorised``), numbers of values (``minmax``) or
        fractions of them (``percentile``).
    scale : {"mad", "deviation"}
        Width of the column for ``sigma``: from the median absolute deviation, or the standard deviation.
    iterations : int
        Rounds of ``sigma`` and ``winsorised`` at most.
    noise_floor, noise_slope : float
        Expected variance of one value: floor plus slope times the median, where that is positive.
    frame_noise : tuple of (float, float)
        Floor and slope of each frame, in the order of the stack; the mean is then weighted by the inverse of the
        variance that follows from them. Empty for equal weights.
    """

    method: Method = "mean"
    rejection: Rejection = "sigma"
    low: float = 3.0
    high: float = 3.0
    scale: Scale = "mad"
    iterations: int = 5
    noise_floor: float = 0.0
    noise_slope: float = 0.0
    frame_noise: tuple[tuple[float, float], ...] = ()

    @property
    def clipping(self) -> int:
        """The width as the kernel numbers it."""
        return CLIPPING.get((self.rejection, self.scale), 0)

    def dropped(self, number: int) -> tuple[int, int]:
        """How many of the lowest and of the highest values are dropped by rank, of so many.

        Where a pixel has too few values for the numbers of ``minmax``, one is left, and the others are dropped from
        both ends in the same proportion.
        """
        if self.rejection == "minmax":
            low, high = int(self.low), int(self.high)
            excess = max(0, number - 1)
            if low + high > excess:
                return excess * low // (low + high), excess * high // (low + high)
            return low, high
        if self.rejection == "percentile":
            # Nine digits are enough for a fraction that a person wrote, and 0.1 of 30 is three.
            return int(round(self.low * number, 9)), int(round(self.high * number, 9))
        return 0, 0

    def drops(self, n: int) -> NDArray[np.int64]:
        """Give `dropped` for 0 to ``n`` values, shape (n + 1, 2)."""
        return np.array([self.dropped(k) for k in range(n + 1)], dtype=np.int64)
