"""Where stars are: lists of sources, the transform between two frames, and the background.

Pixel coordinates are zero-based, x along columns and y along rows, and integers are centres of pixels, as numpy
indexes and photutils count. Positions are float64 throughout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from astropy.table import QTable
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Background", "Sources", "Transform", "Window", "relative_flux"]

FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))


@dataclass(frozen=True, eq=False)
class Sources:
    """Sources of one image, one array element each, brightest first where a finder made the list.

    Attributes
    ----------
    x, y : ndarray of float64
        Centre in pixels.
    flux : ndarray
        Sum above the background, in the unit of the image; NaN if not measured.
    a, b : ndarray
        Semi-axes (one standard deviation) in pixels.
    theta : ndarray
        Position angle of the major axis in radians, counter-clockwise from +x.
    fwhm : ndarray
        Full width at half maximum in pixels.
    peak : ndarray
        Highest pixel above the background.
    flags : ndarray of uint16
        The `Flag` bits of the pixels that belong to the source.
    id : ndarray of int64
        Identity in the catalogue; zero where there is none.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    flux: NDArray[np.float64]
    a: NDArray[np.float64]
    b: NDArray[np.float64]
    theta: NDArray[np.float64]
    fwhm: NDArray[np.float64]
    peak: NDArray[np.float64]
    flags: NDArray[np.uint16]
    id: NDArray[np.int64]

    @classmethod
    def make(cls, x: ArrayLike, y: ArrayLike, **columns: ArrayLike) -> Sources:
        """Make a list from positions and whatever else is known; the rest is NaN (or zero for flags and id).

        Raises
        ------
        ValueError
            If a column does not have the length of ``x``.
        """
        positions = np.atleast_1d(np.asarray(x, dtype=np.float64))
        given: Mapping[str, ArrayLike] = {"x": positions, "y": y, **columns}
        values: dict[str, Any] = {}
        for entry in fields(cls):
            dtype: Any = {"flags": np.uint16, "id": np.int64}.get(entry.name, np.float64)
            if entry.name in given:
                values[entry.name] = np.atleast_1d(np.asarray(given[entry.name], dtype=dtype))
            else:
                fill = 0 if dtype is not np.float64 else np.nan
                values[entry.name] = np.full(positions.shape, fill, dtype=dtype)
            if values[entry.name].shape != positions.shape:
                raise ValueError(
                    f"column {entry.name!r} has shape {values[entry.name].shape}, the positions {positions.shape}"
                )
        unknown = sorted(set(given) - set(values))
        if unknown:
            raise ValueError(f"sources have no column {', '.join(unknown)}; columns are {', '.join(values)}")
        return cls(**values)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: Any) -> Sources:
        """Pick rows by mask, slice or index array."""
        return Sources(**{name: np.atleast_1d(column[index]) for name, column in self.columns().items()})

    def columns(self) -> dict[str, NDArray[Any]]:
        """Give the columns by name."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    def usable_positions(self, fewest: int) -> NDArray[np.float64]:
        """Give the positions of the sources without flags, or of all where those are too few.

        The centre of a star that is saturated or cut off is wrong by a fraction of a pixel, which is better than no
        star. Sources without finite positions are left out.

        Parameters
        ----------
        fewest : int
            How many unflagged sources there must be; at least half of all must have no flag as well.

        Returns
        -------
        ndarray, shape (n, 2)
            In the order of the list.
        """
        positions = np.stack([self.x, self.y], axis=1)
        finite = np.isfinite(positions).all(axis=1)
        clean = finite & (self.flags == 0)
        enough = np.count_nonzero(clean) >= max(fewest, 0.5 * np.count_nonzero(finite))
        return positions[clean if enough else finite]

    def moved(self, transform: Transform) -> Sources:
        """Give the same sources at transformed positions; shapes are scaled, not rotated."""
        x, y = transform(self.x, self.y)
        columns = self.columns()
        scaled = {name: columns[name] * transform.scale for name in ("a", "b", "fwhm")}
        return Sources(**{**columns, **scaled, "x": x, "y": y})

    def to_table(self) -> QTable:
        """Write as an astropy table with units."""
        from astropy import units as u
        from astropy.table import QTable

        pixel = {"x", "y", "a", "b", "fwhm"}
        table = QTable()
        for name, column in self.columns().items():
            unit = u.pix if name in pixel else u.rad if name == "theta" else None
            table[name] = column if unit is None else column * unit
        return table


@dataclass(frozen=True, eq=False)
class Transform:
    """An affine map from pixels of the reference image to pixels of another image.

    Attributes
    ----------
    matrix : ndarray, shape (3, 3)
        Acts on column vectors ``(x, y, 1)``.
    rms : float
        Root mean square distance of the matched stars from the map, in pixels of the other image.
    matched : int
        Number of stars the map was fitted to.
    """

    matrix: NDArray[np.float64]
    rms: float = float("nan")
    matched: int = 0

    @classmethod
    def identity(cls) -> Transform:
        """Map an image onto itself."""
        return cls(np.eye(3), 0.0, 0)

    @classmethod
    def similarity(
        cls, dx: float = 0.0, dy: float = 0.0, rotation: float = 0.0, scale: float = 1.0, mirrored: bool = False
    ) -> Transform:
        """Shift in pixels, rotation in degrees counter-clockwise, scale, and x mirrored first if asked."""
        angle = np.deg2rad(rotation)
        c, s = scale * np.cos(angle), scale * np.sin(angle)
        flip = -1.0 if mirrored else 1.0
        return cls(np.array([[c * flip, -s, dx], [s * flip, c, dy], [0.0, 0.0, 1.0]]))

    def __call__(self, x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Map positions of the reference to positions of the other image."""
        xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        m = self.matrix
        return (m[0, 0] * xs + m[0, 1] * ys + m[0, 2], m[1, 0] * xs + m[1, 1] * ys + m[1, 2])

    def inverse(self) -> Transform:
        """Map from the other image back to the reference; the residual is scaled with it."""
        return Transform(np.linalg.inv(self.matrix).astype(np.float64), self.rms / self.scale, self.matched)

    def __matmul__(self, first: Transform) -> Transform:
        """Apply ``first``, then this one."""
        return Transform(self.matrix @ first.matrix, self.rms, self.matched)

    @property
    def scale(self) -> float:
        """Linear scale: the square root of the area ratio."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix[:2, :2]))))

    @property
    def rotation(self) -> float:
        """Angle in degrees, counter-clockwise, from -180 to 180, after taking out a mirroring of x."""
        flip = -1.0 if self.mirrored else 1.0
        return float(np.rad2deg(np.arctan2(self.matrix[1, 0] * flip, self.matrix[0, 0] * flip)))

    @property
    def mirrored(self) -> bool:
        """Whether the parity differs."""
        return bool(np.linalg.det(self.matrix[:2, :2]) < 0)

    @property
    def shift(self) -> tuple[float, float]:
        """Where the reference pixel (0, 0) lies in the other image."""
        return float(self.matrix[0, 2]), float(self.matrix[1, 2])


@dataclass(frozen=True)
class Window:
    """Where a calibrated image lies in its raw image: cut at a corner, and perhaps binned.

    Attributes
    ----------
    x0, y0 : float
        The first pixel of the raw image that is left.
    rebin : int
        How many raw pixels on a side make one of the calibrated image.
    """

    x0: float = 0.0
    y0: float = 0.0
    rebin: int = 1

    def from_raw(self, x: float, y: float) -> tuple[float, float]:
        """Give the place in the calibrated image of a place in the raw image."""
        return (x - self.x0 + 0.5) / self.rebin - 0.5, (y - self.y0 + 0.5) / self.rebin - 0.5


def relative_flux(sources: Sources, reference: Sources, transform: Transform, brightest: int = 100) -> float:
    """Tell how bright the stars of one image are against the same stars of another.

    Parameters
    ----------
    sources, reference : Sources
        With fluxes.
    transform : Transform
        From the reference to the image.
    brightest : int
        How many of the brightest unflagged stars of the reference to look for.

    Returns
    -------
    float
        Median ratio of the fluxes of stars that lie within half a width of each other; NaN if there are none.
    """
    good = reference[(reference.flags == 0) & (reference.flux > 0)]
    stars = good[np.argsort(-good.flux, kind="stable")[:brightest]]
    seen = sources[(sources.flags == 0) & np.isfinite(sources.flux)]
    if not (len(stars) and len(seen)):
        return float("nan")
    x, y = transform(stars.x, stars.y)
    widths = seen.fwhm[np.isfinite(seen.fwhm)]
    reach = max(1.5, 0.5 * float(np.median(widths)) if len(widths) else 0.0)
    distance = np.subtract.outer(x, seen.x) ** 2 + np.subtract.outer(y, seen.y) ** 2
    nearest = np.argmin(distance, axis=1)
    near = distance[np.arange(len(stars)), nearest] <= reach**2
    return float(np.median(seen.flux[nearest[near]] / stars.flux[near])) if near.any() else float("nan")


@dataclass(frozen=True, eq=False)
class Background:
    """Sky level and its noise, in the unit of the image.

    Attributes
    ----------
    level, rms : ndarray (float32, shape of the image)
        The background map and the standard deviation of the background in one pixel.
    median, median_rms : float
        One number for the frame.
    """

    level: NDArray[np.float32]
    rms: NDArray[np.float32]
    median: float
    median_rms: float

    @property
    def gradient(self) -> float:
        """How much the level differs over the image: from its 5th to its 95th percentile."""
        sample = self.level[:: max(1, self.level.shape[0] // 64), :: max(1, self.level.shape[1] // 64)]
        low, high = np.nanpercentile(sample, (5.0, 95.0))
        return float(high - low)
