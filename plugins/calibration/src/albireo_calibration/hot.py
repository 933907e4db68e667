"""Hot pixels of one frame, without a master: brighter than their neighbours by far, and sharper than a star.

A pixel stands x above its surroundings, the median of the 24 pixels around it, and its four neighbours stand m above
them in the mean. A star spreads: however it lies on the pixels, m / x is at least 0.44 for a Moffat or Gaussian profile
of FWHM 1.8 pixels, and more for a wider one; integrated over pixels, with beta from 2 to infinity. A hot pixel has
m / x of zero, or 0.25 beside another one as hot. So a pixel is hot if

* x is above a number of standard deviations of the surroundings, and
* ``0.44 x - m`` is above `CERTAIN` times its own noise, that is, a star would be an unlikely accident.

The noise of a pixel comes from the variance plane, which knows of the photons of a star. Where there is none, it is the
scatter of the surroundings, which grows with the structure of a star. It is never taken as less than the noise of the
whole image. A neighbour that is masked or beyond the edge counts as bright as the pixel itself; it may be the core of
a star.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import Field

from albireo import Correction, Frame

if TYPE_CHECKING:
    import numpy as np
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

STAR_RATIO = 0.44
"""Least ratio of the mean of the four neighbours to the brightest pixel of a star of FWHM 1.8 pixels."""

CERTAIN = 4.0
"""Standard deviations by which a pixel must be sharper than that."""

MAD_TO_SIGMA = 1.482602218505602
"""Standard deviation of a normal distribution whose median absolute deviation is one."""

SAMPLE = 1 << 18
"""Pixels from which the noise of the image is taken."""

BATCH = 1 << 16
"""Candidates looked at together: their surroundings take 6 MB."""

REACH = 2
"""Pixels on each side that make the surroundings."""

CROSS = ((-1, 0), (1, 0), (0, -1), (0, 1))
"""Offsets of rows and columns of the four neighbours."""


class Hot(Correction, name="hot"):
    """Find hot pixels by their contrast, flag them, and replace them by the median of their neighbours.

    A pixel is hot if it stands out of the median of the 24 pixels around it by ``sigma`` standard deviations and is
    sharper than a star of FWHM 1.8 pixels can be: see `albireo_calibration.hot` for the rule. Stars of FWHM 2 pixels
    and more keep all their pixels, faint or bright. Where stars are sharper, leave this correction out. Cosmic rays
    that hit a single pixel look the same and are treated so. Pixels that are masked already are left alone, and a
    corner of the image is never hot.

    Replaced pixels have `Flag.INTERPOLATED` and are not masked. Their variance is ``2 + pi / (2 n)`` times the mean
    of that of the n neighbours, with which the error of a sum over the pixel and its neighbours is right: it counts
    these neighbours twice in part. Without replacing, they have `Flag.HOT`, are masked, and keep their values.

    Best near the end of the corrections, when `flat` has taken out what differs from pixel to pixel.
    """

    needs = frozenset({"pedestal"})

    sigma: float = Field(
        8.0,
        ge=5.0,
        description="How far a hot pixel stands out of its surroundings.",
        json_schema_extra={"unit": "standard deviation"},
    )
    replace: bool = Field(
        True, description="Whether hot pixels take the median of their neighbours; else they are masked."
    )

    def correct(self, image: CCDData, frame: Frame, masters: Mapping[str, CCDData]) -> CCDData:
        """Flag or replace the hot pixels of an image.

        Parameters
        ----------
        image : CCDData
            NaN and masked pixels are never hot, and no value is taken from them; NaN stays, with `Flag.NO_DATA`.
        frame, masters
            Not used.
        """
        import numpy as np

        from albireo import Flag, flags_of, variance_of
        from albireo import image as new_image

        variance, flags = variance_of(image), flags_of(image).copy()
        good = np.isfinite(image.data)
        flags[~good] |= np.uint16(Flag.NO_DATA)
        if image.mask is not None:
            good &= ~image.mask
        row, column = self._found(image.data, good, variance)
        data = image.data.copy()
        variance = None if variance is None else variance.copy()
        if self.replace:
            _replace(data, variance, good, row, column)
        flags[row, column] |= np.uint16(Flag.INTERPOLATED if self.replace else Flag.HOT)
        return new_image(data, str(image.unit), variance=variance, flags=flags, meta=image.meta)

    def _found(
        self, data: NDArray[np.float32], good: NDArray[np.bool_], variance: NDArray[np.float32] | None
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns of hot pixels, which are no longer good then."""
        import numpy as np

        noise = _noise(data, good)
        # What passes both tests stands above its four neighbours by at least this, whatever its surroundings are.
        row, column = _peaks(data, good, (1.0 - STAR_RATIO) * self.sigma * noise)
        found = [np.empty((2, 0), dtype=np.intp)]
        while len(row):
            hot = np.zeros(len(row), dtype=bool)
            for start in range(0, len(row), BATCH):
                batch = slice(start, start + BATCH)
                hot[batch] = self._is_hot(data, good, variance, row[batch], column[batch], noise)
            found.append(np.array([row[hot], column[hot]]))
            good[row[hot], column[hot]] = False
            # The lesser one of two neighbours stands out once the other is known.
            row, column = row[~hot], column[~hot]
            new = np.zeros(good.shape, dtype=bool)
            new[tuple(found[-1])] = True
            beside = _around(data, new, row, column, np.array(CROSS))[1].any(axis=1)
            row, column = row[beside], column[beside]
        row, column = np.concatenate(found, axis=1)
        return row, column

    def _is_hot(
        self,
        data: NDArray[np.float32],
        good: NDArray[np.bool_],
        variance: NDArray[np.float32] | None,
        row: NDArray[np.intp],
        column: NDArray[np.intp],
        noise: float,
    ) -> NDArray[np.bool_]:
        """Apply the two tests to some pixels."""
        import numpy as np

        around, _ = _around(data, good, row, column, _ring(REACH))
        level = _median(around)
        height = data[row, column] - level
        beside, known = _around(data, good, row, column, np.array(CROSS))
        mean = np.where(known, beside - level[:, None], height[:, None]).mean(axis=1)
        if variance is None:
            own = others = np.fmax((MAD_TO_SIGMA * _median(np.abs(around - level[:, None]))) ** 2, noise**2)
        else:
            near, _ = _around(variance, good, row, column, np.array(CROSS))
            own = np.fmax(variance[row, column], noise**2)
            others = np.fmax(_median(near), noise**2)
        error = np.sqrt(STAR_RATIO**2 * own + others / 4.0)
        stands_out = height > self.sigma * np.sqrt(others)
        return np.asarray(stands_out & (STAR_RATIO * height - mean > CERTAIN * error))


def _ring(reach: int) -> NDArray[np.intp]:
    """Offsets of rows and columns of the pixels of a square without its centre, shape (n, 2)."""
    import numpy as np

    near = np.arange(-reach, reach + 1)
    offsets = np.stack(np.meshgrid(near, near, indexing="ij"), axis=-1).reshape(-1, 2)
    return offsets[(offsets != 0).any(axis=1)]


def _around(
    plane: NDArray[np.float32],
    good: NDArray[np.bool_],
    row: NDArray[np.intp],
    column: NDArray[np.intp],
    offsets: NDArray[np.intp],
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Values beside some pixels, shape (pixels, offsets), NaN where they are not good; and where they are good."""
    import numpy as np

    rows, columns = row[:, None] + offsets[:, 0], column[:, None] + offsets[:, 1]
    inside = (rows >= 0) & (rows < plane.shape[0]) & (columns >= 0) & (columns < plane.shape[1])
    rows, columns = np.clip(rows, 0, plane.shape[0] - 1), np.clip(columns, 0, plane.shape[1] - 1)
    known = inside & good[rows, columns]
    return np.where(known, plane[rows, columns], np.float32(np.nan)), known


def _median(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Median of each row without its NaN; NaN where nothing is left."""
    import numpy as np

    ordered = np.sort(values, axis=1)  # NaN goes last
    number = np.isfinite(ordered).sum(axis=1)
    each = np.arange(len(ordered))
    below, above = np.maximum((number - 1) // 2, 0), np.minimum(number // 2, ordered.shape[1] - 1)
    return np.asarray(0.5 * (ordered[each, below] + ordered[each, above]), dtype=np.float32)


def _noise(data: NDArray[np.float32], good: NDArray[np.bool_]) -> float:
    """Standard deviation of one pixel, from the differences of neighbours in a row; zero if there are none."""
    import numpy as np

    rows = slice(None, None, max(1, data.size // SAMPLE))
    both = good[rows, 1:] & good[rows, :-1]
    with np.errstate(invalid="ignore"):
        difference = np.abs(data[rows, 1:] - data[rows, :-1])[both]
    return MAD_TO_SIGMA * float(np.median(difference)) / 2.0**0.5 if difference.size else 0.0


def _peaks(
    data: NDArray[np.float32], good: NDArray[np.bool_], height: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of good pixels that stand higher than this above the mean of their four neighbours.

    A neighbour that is not good, or beyond the edge, counts as low as can be: what it might be is decided later.
    """
    import numpy as np

    low = np.full((data.shape[0] + 2, data.shape[1] + 2), -np.inf, dtype=np.float32)
    np.copyto(low[1:-1, 1:-1], data, where=good)
    mean = low[:-2, 1:-1] + low[2:, 1:-1]
    mean += low[1:-1, :-2]
    mean += low[1:-1, 2:]
    mean *= np.float32(0.25)
    mean += np.float32(height)
    higher = data > mean
    higher &= good
    row, column = np.nonzero(higher)
    return row, column


def _replace(
    data: NDArray[np.float32],
    variance: NDArray[np.float32] | None,
    good: NDArray[np.bool_],
    row: NDArray[np.intp],
    column: NDArray[np.intp],
) -> None:
    """Write the median of the good neighbours into some pixels, each of which has at least two, and its variance."""
    import numpy as np

    near, known = _around(data, good, row, column, _ring(1))
    data[row, column] = _median(near)
    if variance is not None:
        number = known.sum(axis=1)
        mean = np.nansum(_around(variance, good, row, column, _ring(1))[0], axis=1) / number
        variance[row, column] = mean * (2.0 + np.pi / (2.0 * number))
