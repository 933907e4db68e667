"""What is on the sky: stars with known brightness, some of them variable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import pi, sin
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Scene", "Sine", "Transit"]


@dataclass(frozen=True)
class Sine:
    """A quantity that goes up and down: ``level (1 + amplitude sin(2 pi (t / period + phase)))``.

    Attributes
    ----------
    amplitude : float
        Relative to the level.
    period : float
        In hours.
    phase : float
        In turns, at time zero.
    level : float
    """

    amplitude: float
    period: float
    phase: float = 0.0
    level: float = 1.0

    def __call__(self, hours: float) -> float:
        """Value at a time in hours after the start of the science exposures."""
        return self.level * (1.0 + self.amplitude * sin(2.0 * pi * (hours / self.period + self.phase)))


@dataclass(frozen=True)
class Transit:
    """A trapezoidal dip, as a planet makes it.

    Attributes
    ----------
    mid : float
        Middle, in hours after the start of the science exposures.
    duration : float
        From first to fourth contact, in hours.
    depth : float
        Relative.
    ingress : float
        From first to second contact, in hours.
    """

    mid: float
    duration: float
    depth: float
    ingress: float

    def __call__(self, hours: float) -> float:
        """Relative flux at a time in hours."""
        inside = 0.5 * self.duration - abs(hours - self.mid)
        return 1.0 - self.depth * min(max(inside / self.ingress, 0.0), 1.0)


@dataclass(frozen=True, eq=False, init=False)
class Scene:
    """Stars of a field.

    Attributes
    ----------
    x, y : ndarray, shape (n,)
        Position. For one detector in pixels of the reference, that is of its light-sensitive part; for a camera of
        several in arcsec west and north of the target, as on a picture with north up and east to the left.
    flux : ndarray, shape (n,)
        Total light in electrons per second through a clear sky.
    variables : mapping of int to callable
        Relative brightness, by the number of the star, as a function of the hours since the first science exposure
        began.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    flux: NDArray[np.float64]
    variables: Mapping[int, Callable[[float], float]]

    def __init__(
        self,
        x: ArrayLike,
        y: ArrayLike,
        flux: ArrayLike,
        variables: Mapping[int, Callable[[float], float]] | None = None,
    ) -> None:
        for name, column in (("x", x), ("y", y), ("flux", flux)):
            object.__setattr__(self, name, np.atleast_1d(np.asarray(column, dtype=np.float64)))
        object.__setattr__(self, "variables", dict(variables or {}))
        if not self.x.shape == self.y.shape == self.flux.shape:
            raise ValueError(f"x, y and flux have shapes {self.x.shape}, {self.y.shape} and {self.flux.shape}")
        strangers = [index for index in self.variables if not 0 <= index < len(self.x)]
        if strangers:
            raise ValueError(f"there is no star {strangers[0]} to vary; stars are numbered 0 to {len(self.x) - 1}")

    def __len__(self) -> int:
        return len(self.x)

    @classmethod
    def field(
        cls,
        shape: tuple[int, int],
        stars: int,
        brightest: float,
        faintest: float,
        *,
        separation: float = 20.0,
        margin: float = 20.0,
        variables: Mapping[int, Callable[[float], float]] | None = None,
        seed: int = 0,
    ) -> Scene:
        """Make a field of isolated stars at random places, brightest first, evenly spread in magnitude.

        Parameters
        ----------
        shape : tuple of int
            Rows and columns.
        stars : int
        brightest, faintest : float
            Flux of the first and the last star in electrons per second.
        separation, margin : float
            Smallest distance between stars and to the edge, in pixels.
        variables : mapping, optional
        seed : int

        Raises
        ------
        ValueError
            If so many stars do not fit.
        """
        rng = np.random.default_rng(seed)
        low, high = np.array([margin, margin]), np.array([shape[1] - 1 - margin, shape[0] - 1 - margin])
        places: list[NDArray[np.float64]] = []
        for _ in range(200 * stars):
            if len(places) == stars or np.any(high <= low):
                break
            place = rng.uniform(low, high)
            if all(np.hypot(*(place - other)) >= separation for other in places):
                places.append(place)
        if len(places) < stars:
            raise ValueError(
                f"{stars} stars, {separation} pixels apart and {margin} from the edge, do not fit into "
                f"{shape[0]} x {shape[1]} pixels"
            )
        x, y = np.array(places).reshape(-1, 2).T
        return cls(x, y, np.geomspace(brightest, faintest, stars), variables)

    @classmethod
    def grid(cls, shape: tuple[int, int], spacing: float, brightest: float, faintest: float, *, seed: int = 0) -> Scene:
        """Make a grid of isolated stars, each at its own place within a pixel, with brightness in random order."""
        rng = np.random.default_rng(seed)
        rows, columns = (np.arange(0.5 * spacing, size - 0.4 * spacing, spacing) for size in shape)
        x, y = (axis.ravel() for axis in np.meshgrid(columns, rows))
        flux = np.geomspace(brightest, faintest, x.size)
        return cls(x + rng.uniform(-0.5, 0.5, x.size), y + rng.uniform(-0.5, 0.5, x.size), rng.permutation(flux))

    def relative(self, hours: float) -> NDArray[np.float64]:
        """Brightness of each star relative to its ``flux`` at a time."""
        factors = np.ones(len(self))
        for index, curve in self.variables.items():
            factors[index] = curve(hours)
        return factors
