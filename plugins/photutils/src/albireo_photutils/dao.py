"""Stars by the method of DAOFIND, with photutils: peaks of the image filtered with the profile of a star."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveFloat, model_validator

from albireo import Finder

if TYPE_CHECKING:
    import numpy as np
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

    from albireo import Background, Sources

FIRST_FWHM = 3.0
"""Of the kernel with which the width of the stars is looked for, in pixels."""

FIRST_THRESHOLD = 10.0
"""Of that search, at least, in standard deviations: bright stars tell the width."""

FWHM_PER_SIGMA = 2.3548
"""Of a Gaussian."""


class Dao(Finder, name="dao"):
    """Stars as peaks of the image filtered with a Gaussian less its mean, the method of DAOFIND, by photutils.

    At each pixel the filter gives the height of the Gaussian that fits best above a constant; peaks of it above the
    threshold are stars, unless they are too sharp (hot pixels, cosmic rays), too flat (galaxies, smudges), or unequal
    in x and y (trails, bad columns). It finds close pairs well, and extended sources badly.

    Saturated pixels and bleed trails take part; other masked pixels count as empty sky. Positions, semi-axes, angle,
    FWHM and ``flux`` are moments under a Gaussian window with the window taken out, exact for a Gaussian star, the
    pixel included. Where they do not converge (a blend, a trail) the position of DAOFIND stands, ``flux`` is that of a
    star of the kernel's width and the peak's height, and the shape is NaN. ``flags`` are those of the pixels within
    1.5 standard deviations of the kernel, with `Flag.EDGE` where that reaches the border.

    Examples
    --------
    >>> import numpy as np
    >>> from albireo import Background, image
    >>> y, x = np.mgrid[:64, :64]
    >>> star = 500 * np.exp(-((x - 20.3) ** 2 + (y - 30.6) ** 2) / (2 * 1.5**2))
    >>> noise = np.random.default_rng(1).normal(0, 2, (64, 64))
    >>> flat = Background(np.zeros((64, 64), np.float32), np.full((64, 64), 2, np.float32), 0.0, 2.0)
    >>> found = Dao().find(image(star + noise, "electron"), flat)
    >>> len(found), round(float(found.x[0]), 1), round(float(found.fwhm[0]), 1)
    (1, 20.3, 3.5)
    """

    citations: ClassVar[tuple[str, ...]] = (
        "Stetson, P. B. 1987, PASP, 99, 191",
        "Bradley, L. et al., photutils, Zenodo, doi:10.5281/zenodo.596036",
        "Bernstein, G. M. & Jarvis, M. 2002, AJ, 123, 583",
    )

    threshold: float = Field(
        5.0,
        gt=0,
        description="Detection threshold: height of a star in standard deviations of the height that noise gives.",
    )
    fwhm: PositiveFloat | None = Field(
        None,
        description="FWHM of the kernel; none to measure it on the bright stars of each image.",
        json_schema_extra={"unit": "pixel"},
    )
    sharpness: tuple[float, float] = Field(
        (0.2, 1.0),
        description="Limits of the sharpness: the brightest pixel less the mean of those around it, over the height of "
        "the Gaussian. Stars have 0.3 to 0.8, hot pixels more, smudges less.",
    )
    roundness: tuple[float, float] = Field(
        (-1.0, 1.0),
        description="Limits of both measures of roundness, zero for a round star: the symmetry under a quarter turn, "
        "and the heights in x and y compared.",
    )
    separation: float = Field(
        1.0, ge=0, description="Of peaks nearer than this the higher one is a star.", json_schema_extra={"unit": "FWHM"}
    )
    border: int = Field(
        0,
        ge=0,
        description="Sources with their centre within so many pixels of the border are left out.",
        json_schema_extra={"unit": "pixel"},
    )
    max_sources: int = Field(0, ge=0, description="How many of the brightest sources to keep; 0 for all.")

    @model_validator(mode="after")
    def _in_order(self) -> Dao:
        for name in ("sharpness", "roundness"):
            low, high = getattr(self, name)
            if low >= high:
                raise ValueError(f"{name} [{low:g}, {high:g}]: the lower limit must be below the upper one")
        return self

    def find(self, image: CCDData, background: Background) -> Sources:
        """Find stars, brightest first.

        Parameters
        ----------
        image : CCDData
        background : Background
            Level and noise in the unit of the image. Pixels without a positive noise count as masked.

        Returns
        -------
        Sources
            Empty where nothing is above the threshold.
        """
        import numpy as np

        from albireo import Sources, flags_of
        from albireo_photutils.moments import axes, measure
        from albireo_photutils.signal import box_flags, significance

        signal, hidden = significance(image, background)
        fwhm = self.fwhm or self._width(signal, hidden)
        x, y, height = self._peaks(signal, hidden, fwhm, self.threshold)
        if not len(x):
            return Sources.make([], [])

        sigma = fwhm / FWHM_PER_SIGMA
        seen = measure(signal, x, y, sigma)
        failed = ~np.isfinite(seen.x)
        x, y = np.where(failed, x, seen.x), np.where(failed, y, seen.y)
        ny, nx = signal.shape
        row, column = (np.clip(np.rint(v).astype(np.intp), 0, n - 1) for v, n in ((y, ny), (x, nx)))
        noise = background.rms[row, column].astype(np.float64)
        flux = np.where(failed, height * 2.0 * np.pi * sigma**2, seen.flux) * noise
        a, b, theta = axes(seen.xx, seen.yy, seen.xy)
        reach = max(1, round(1.5 * sigma))
        boxes = np.stack([row - reach, row + reach, column - reach, column + reach], axis=1)
        found = Sources.make(
            x,
            y,
            flux=flux,
            a=a,
            b=b,
            theta=theta,
            fwhm=seen.fwhm,
            peak=height * noise,
            flags=box_flags(flags_of(image), boxes),
        )
        inside = (x >= self.border) & (x <= nx - 1 - self.border) & (y >= self.border) & (y <= ny - 1 - self.border)
        found = found[inside]
        found = found[np.argsort(-found.flux, kind="stable")]
        return found[: self.max_sources] if self.max_sources else found

    def _width(self, signal: NDArray[np.float32], hidden: NDArray[np.bool_]) -> float:
        """Median FWHM of the brightest stars in pixels; that of the first kernel where there are none."""
        import numpy as np

        from albireo_photutils.moments import BRIGHTEST, measure

        x, y, height = self._peaks(signal, hidden, FIRST_FWHM, max(FIRST_THRESHOLD, self.threshold))
        order = np.argsort(-height, kind="stable")[:BRIGHTEST]
        widths = measure(signal, x[order], y[order], FIRST_FWHM / FWHM_PER_SIGMA).fwhm
        return float(np.nanmedian(widths)) if np.isfinite(widths).any() else FIRST_FWHM

    def _peaks(
        self, signal: NDArray[np.float32], hidden: NDArray[np.bool_], fwhm: float, threshold: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Position and highest pixel of stars within the limits of sharpness and roundness."""
        import numpy as np
        from photutils.detection import DAOStarFinder

        from albireo_photutils.versions import column, keyword, quiet

        # The limits are ours: both ends of a range have other names in other versions.
        limits: dict[str, Any] = {"sharpness_range": None, "roundness_range": None}
        if keyword(DAOStarFinder, "sharpness_range", "sharplo") == "sharplo":
            limits = {"sharplo": -np.inf, "sharphi": np.inf, "roundlo": -np.inf, "roundhi": np.inf}
        # So is the separation: photutils 3.0 looks at every peak of the noise for it, which takes a second on 4 Mpixel.
        finder = DAOStarFinder(threshold, fwhm, min_separation=0.0, **limits)
        with quiet():
            table = finder(signal.astype(np.float64), mask=hidden)
        if table is None:
            return np.zeros(0), np.zeros(0), np.zeros(0)
        x, y = column(table, "x_centroid", "xcentroid"), column(table, "y_centroid", "ycentroid")
        kept = np.isfinite(x) & np.isfinite(y)
        for name, (low, high) in (
            ("sharpness", self.sharpness),
            ("roundness1", self.roundness),
            ("roundness2", self.roundness),
        ):
            values = np.asarray(table[name], dtype=np.float64)
            kept &= (values >= low) & (values <= high)
        x, y, height = x[kept], y[kept], np.asarray(table["peak"], dtype=np.float64)[kept]
        alone = _highest(x, y, height, self.separation * fwhm)
        return x[alone], y[alone], height[alone]


def _highest(
    x: NDArray[np.float64], y: NDArray[np.float64], height: NDArray[np.float64], separation: float
) -> NDArray[np.bool_]:
    """Say which peaks have no higher one nearer than the separation, of those that are themselves kept."""
    import numpy as np
    from scipy.spatial import cKDTree

    kept = np.ones(len(x), dtype=bool)
    near = cKDTree(np.stack([x, y], axis=1)).query_ball_point(np.stack([x, y], axis=1), separation)
    for index in np.argsort(-height, kind="stable").tolist():
        if kept[index]:
            kept[near[index]] = False
            kept[index] = True
    return kept
