"""Compiled: the level and the noise of the sky in boxes, by clipping.

The numbers of a box are copied together once, without those that are masked or not finite. All else are passes over
that copy, which stays in the first-level cache and which the compiler turns into vector instructions: sums of what lies
between two limits, and counts of what lies below a limit. The median needs no sorting: a guess is moved by the number
of values it is off, and three or four counts find it.

Values that are not numbers are gone before.
"""

from __future__ import annotations

from math import erf, exp, pi, sqrt
from typing import Any

import numpy as np

from albireo_detection.compiling import compiled, part, reordered

__all__ = ["box_statistics", "clipped"]

SAMPLE = 63
"""Values that the first guess is made from."""

ROUNDS = 30
"""Rounds of clipping at most; four to eight is usual."""

SETTLED = 1e-3
"""Relative change of the noise that ends the clipping."""

GUESSES = 24
"""Guesses of a median, before equal values are suspected."""

SKEWED = 0.3
"""Mean above median, in standard deviations, from where on the box is crowded and Pearson's rule fails."""

OVERSHOOT = 0.12
"""Share of the last change of the noise by which it will go on changing, for a normal distribution cut at three."""

EXACT, ROUGH = 0.00025, 0.01
"""How far off a median may be, in values over their number: 0.0006 standard deviations at the end, 0.025 on the way."""

BLOCK = 4096
"""Values summed in single precision before the sum goes to double."""

LANES = 32
"""Sums that are taken side by side. They become vector instructions, and give the same bits whatever the compiler
makes of them: were it left to choose the order, a function just compiled and the same one from the cache differed."""

NORMAL_QUARTILE = 0.6745
"""Distance of the quartile from the median of a normal distribution, in standard deviations."""

LARGEST = np.float32(np.finfo(np.float32).max)
ZERO, ONE = np.float32(0.0), np.float32(1.0)


@part
def _add(x: Any, centre: Any, reach: Any, number: Any, first: Any, second: Any) -> None:
    for j in range(x.size):
        d = x[j] - centre
        inside = abs(d) <= reach
        d = d if inside else ZERO
        number[j] += ONE if inside else ZERO
        first[j] += d
        second[j] += d * d


@part
def _block_sums(x: Any, centre: Any, reach: Any) -> Any:
    number, first, second = np.zeros(LANES, np.float32), np.zeros(LANES, np.float32), np.zeros(LANES, np.float32)
    whole = x.size - x.size % LANES
    for i in range(0, whole, LANES):
        _add(x[i : i + LANES], centre, reach, number, first, second)
    _add(x[whole:], centre, reach, number, first, second)
    total, s, q = 0.0, 0.0, 0.0
    for j in range(LANES):
        total += number[j]
        s += first[j]
        q += second[j]
    return total, s, q


@reordered
def _block_below(x: Any, limit: Any) -> Any:
    number = ZERO
    for i in range(x.size):
        number += ONE if x[i] < limit else ZERO
    return number


@part
def _sums(x: Any, n: int, centre: Any, reach: Any) -> Any:
    """Number of the values within reach of a centre, sum of their distances and of the squares."""
    number, first, second = 0, 0.0, 0.0
    for begin in range(0, n, BLOCK):
        some, s, q = _block_sums(x[begin : min(begin + BLOCK, n)], centre, reach)
        number += int(some)
        first += s
        second += q
    return number, first, second


@part
def _below(x: Any, n: int, limit: Any) -> int:
    """Count the values below a limit."""
    number = 0
    for begin in range(0, n, BLOCK):
        number += int(_block_below(x[begin : min(begin + BLOCK, n)], limit))
    return number


@part
def _sampled(x: Any, n: int, sample: Any) -> Any:
    """First guess: median and lower quartile of some values; stars lift the upper one."""
    m = min(SAMPLE, n)
    for i in range(m):
        value = x[i * n // m]
        j = i
        while j > 0 and sample[j - 1] > value:
            sample[j] = sample[j - 1]
            j -= 1
        sample[j] = value
    return sample[m // 2], (sample[m // 2] - sample[m // 4]) / NORMAL_QUARTILE


@part
def _median(x: Any, n: int, low: Any, high: Any, below: int, inside: int, guess: Any, width: Any, off: float) -> Any:
    """Median of the values between two limits, right to ``off`` places.

    Equal values (counts of a detector) count as spread evenly, half-way to the next values that occur.
    """
    target = below + 0.5 * inside
    left, right, under, over = low, high, below, below + inside
    for k in range(GUESSES):
        if not (left < guess < right):
            guess = np.float32(0.5 * (left + right))
        number = _below(x, n, guess)
        if abs(number - target) <= off:
            return guess
        if number < target:
            left, under = guess, number
        else:
            right, over = guess, number
        # The density at the median of a normal distribution; every fourth guess halves the interval.
        step = (target - number) * width * 2.5066 / inside
        guess = np.float32(0.5 * (left + right)) if k % 4 == 3 else np.float32(guess + step)
    while True:
        value, next_one = low, high
        for i in range(n):
            if x[i] < right:
                value = max(value, x[i])
            else:
                next_one = min(next_one, x[i])
        under = _below(x, n, value)
        if under <= target or under <= below:
            break
        right, over = value, under
    before = low
    for i in range(n):
        if x[i] < value:
            before = max(before, x[i])
    start, stop = 0.5 * (before + value), 0.5 * (value + next_one)
    share = (target - under) / max(over - under, 1)
    return np.float32(start + share * (stop - start))


@part
def _clipped(x: Any, n: int, clip: float, shrink: float, sample: Any) -> Any:
    """Mode and standard deviation of values without their outliers; see `clipped`."""
    centre, sigma = _sampled(x, n, sample)
    if sigma <= 0.0:
        inside, first, second = _sums(x, n, centre, LARGEST)
        sigma = np.float32(sqrt(second / inside))
    mean = float(centre)
    for _ in range(ROUNDS):
        if sigma <= 0.0:
            return float(centre), 0.0
        reach = np.float32(clip * sigma)
        inside, first, second = _sums(x, n, centre, reach)
        if inside < 2:
            break
        off = first / inside
        mean = centre + off
        before, sigma = sigma, np.float32(sqrt(max(second / inside - off * off, 0.0)) * shrink)
        low, high = np.float32(centre - reach), np.float32(centre + reach)
        below = _below(x, n, low)
        settled = abs(sigma / before - 1.0) < SETTLED
        close = max(0.5, EXACT * inside) if settled else ROUGH * inside
        centre = _median(x, n, low, high, below, inside, centre, sigma, close)
        if settled:
            break
        sigma = np.float32(sigma + OVERSHOOT * (sigma - before))
    skew = mean - centre
    if abs(skew) < SKEWED * sigma:
        return 2.5 * centre - 1.5 * mean, float(sigma)
    return float(centre), float(sigma)


@part
def _shrink(clip: float) -> float:
    """Standard deviation of a normal distribution over that of its part within ``clip`` standard deviations."""
    density = exp(-0.5 * clip * clip) / sqrt(2.0 * pi)
    return 1.0 / sqrt(1.0 - 2.0 * clip * density / erf(clip / sqrt(2.0)))


@compiled("UniTuple(float64, 2)(float32[::1], float64)")
def clipped(values: Any, clip: float) -> Any:
    """Level and noise of finite values.

    Parameters
    ----------
    values : ndarray of float32, shape (n,)
        At least two, all finite.
    clip : float
        Values farther from the median than this many standard deviations are left out, until nothing changes. The
        standard deviation counts as that of a normal distribution without its wings.

    Returns
    -------
    level, sigma : float
        The level is 2.5 median - 1.5 mean of what is left, or the median where the mean is off by 0.3 standard
        deviations or more.
    """
    return _clipped(values, values.size, clip, _shrink(clip), np.empty(SAMPLE, dtype=np.float32))


@reordered
def _gathered(pixels: Any, hidden: Any, values: Any, n: int) -> int:
    """Append what is usable of a row of a box; give the number of values then."""
    good, room = ZERO, values[n : n + pixels.size]
    for x in range(pixels.size):
        room[x] = pixels[x]
        good += ONE if abs(pixels[x]) <= LARGEST else ZERO
    for x in range(hidden.size):
        good -= ONE if hidden[x] else ZERO
    if good == pixels.size:
        return n + pixels.size
    for x in range(pixels.size):
        if abs(pixels[x]) <= LARGEST and not (hidden.size and hidden[x]):
            values[n] = pixels[x]
            n += 1
    return n


@compiled(
    "void(float32[:, ::1], boolean[:, ::1], int64[::1], int64[::1], int64, float64, float64[:, ::1], float64[:, ::1], "
    "int64[:, ::1])"
)
def box_statistics(
    data: Any, mask: Any, rows: Any, columns: Any, step: int, clip: float, level: Any, sigma: Any, usable: Any
) -> None:
    """Level and noise of each box; see `clipped`.

    Parameters
    ----------
    data : ndarray of float32, shape (ny, nx)
    mask : ndarray of bool, shape (ny, nx)
        Pixels to leave out; of shape (ny, 0) for none. Those that are not finite are left out too.
    rows, columns : ndarray of int64, shapes (m + 1,) and (n + 1,)
        Where boxes begin, and where the last one ends.
    step : int
        Take every row, or each so many.
    clip : float
    level, sigma, usable : ndarray, shape (m, n)
        Filled. NaN where there are less than two usable pixels.
    """
    shrink = _shrink(clip)
    sample = np.empty(SAMPLE, dtype=np.float32)
    tall, wide = np.max(np.diff(rows)), np.max(np.diff(columns))
    values = np.empty(tall * wide, dtype=np.float32)
    for i in range(rows.size - 1):
        for j in range(columns.size - 1):
            n, begin, end = 0, columns[j], columns[j + 1]
            for y in range(rows[i], rows[i + 1], step):
                n = _gathered(data[y, begin:end], mask[y, begin:end], values, n)
            usable[i, j] = n
            if n < 2:
                level[i, j], sigma[i, j] = np.nan, np.nan
            else:
                level[i, j], sigma[i, j] = _clipped(values, n, clip, shrink, sample)
