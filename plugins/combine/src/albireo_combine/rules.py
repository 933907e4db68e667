"""The numbers and rules that the compiled kernel and its numpy reference share.

Rejection. For each pixel, values are sorted. A value is rejected if it lies more than ``low`` (below) or ``high``
(above) times the scale from the median; the scale is the larger of the noise the pixel should have (see
`albireo_combine.noise`) and 1.4826 times the median absolute deviation of the column. Median and deviation are taken
anew from what is left, until nothing changes or a number of rounds is reached; two values are never separated. The
noise that is known beforehand keeps the rule from rejecting good values in short columns and in columns of whole
counts, whose median absolute deviation is often far too small or zero; the deviation keeps it from cutting into pixels
that are noisier than others.

Variance. The scatter of the accepted values about their mean is pooled with the noise the pixel should have, which
counts as `PRIOR_WEIGHT` degrees of freedom (shrinkage of variances, Smyth 2004, Stat. Appl. Genet. Mol. Biol. 3, 3):
a handful of frames then gives error bars that are right pixel by pixel and not only on average, and with many frames
each pixel speaks for itself. The result is divided by the number of values; `median_factor` says how much larger it is
for a median.
"""

from __future__ import annotations

from math import erf, exp, pi, sqrt
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

METHODS = {"mean": 0, "median": 1, "clipped-mean": 2}
"""Methods as the kernel numbers them."""

MAD_TO_SIGMA = 1.482602218505602
"""Standard deviation of a normal distribution whose median absolute deviation is one."""

PRIOR_WEIGHT = 5.0
"""Degrees of freedom that the expected noise counts for beside the scatter of one pixel."""


def kept_variance(low: float, high: float) -> float:
    """Variance of a unit normal distribution cut at ``-low`` and ``+high``.

    The scatter of clipped values is divided by it, to be that of all good values again.
    """
    density = {x: exp(-0.5 * x * x) / sqrt(2.0 * pi) for x in (low, high)}
    inside = 0.5 * (erf(low / sqrt(2.0)) + erf(high / sqrt(2.0)))
    shift = (density[low] - density[high]) / inside
    return 1.0 - (low * density[low] + high * density[high]) / inside - shift**2


MEDIAN_FACTORS = (
    *(1.0, 1.0, 1.346013, 1.192798, 1.434168, 1.288456, 1.473128, 1.345447, 1.494912, 1.383264),
    *(1.508787, 1.410194, 1.518387, 1.430350, 1.525420, 1.446003, 1.530792, 1.458513, 1.535029, 1.468741),
)
"""Variance of the median of 1 to 20 normal values over that of their mean, from the joint density of the middle order
statistics (David & Nagaraja 2003, Order Statistics, section 2.2), integrated numerically."""


def median_factor(n: int) -> float:
    """Variance of the median of ``n`` normal values over the variance of their mean.

    Exact up to 20 values; beyond, pi / 2 times an expansion in ``1 / n`` that joins it to 0.04 %.
    """
    if n <= len(MEDIAN_FACTORS):
        return MEDIAN_FACTORS[n - 1]
    first = 2.0 - pi / 2.0
    return pi / 2.0 * (1.0 - first / n if n % 2 else 1.0 - (1.0 + first) / n + 2.7 / n**2)


def variance_factors(method: str, n: int) -> NDArray[np.float64]:
    """By what the variance of a mean is multiplied, for 0 to ``n`` values (the first element is not used)."""
    if method != "median":
        return np.ones(n + 1)
    return np.array([1.0, *(median_factor(k) for k in range(1, n + 1))])
