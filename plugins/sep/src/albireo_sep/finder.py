"""Sources by SEP: connected pixels above a threshold in the matched-filtered image, deblended.

The image is divided by its noise map first. With equal noise everywhere, convolution with the profile of a star is
the matched filter, whose noise is known (the root of the sum of the squared kernel), and SEP need not filter the
noise map too, which would take five times as long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from albireo import Finder, FrameError

if TYPE_CHECKING:
    import numpy as np
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

    from albireo import Background, Sources

RAISES = 2
"""How often the limits of SEP (pixels above the threshold at a time, parts of one object) are raised, tenfold each
time, before a frame is given up. They are not high from the start: SEP allocates its pixel stack for every image."""


class SepFinder(Finder, name="sep"):
    """Stars and galaxies above a threshold, by SEP.

    Saturated pixels and bleed trails take part, or a bright star would be a ring; other masked pixels count as
    empty sky. Positions are windowed centroids, close to what a fit of the profile gives and independent of the
    threshold; semi-axes, angle and FWHM are moments under a Gaussian window with the window taken out, exact for a
    Gaussian and a few per cent wide for a Moffat profile. The FWHM is that of the image as sampled, the width of the
    pixel included. Where the moments do not converge (a blend, a trail, a faint smudge) the isophotal position and axes
    stand, and the FWHM is NaN.

    ``flux`` is the isophotal sum, made for ranking: it loses the wings below the threshold. ``flags`` are those of the
    pixels in the rectangle around the source, with `Flag.EDGE` where the image cuts it.

    Examples
    --------
    >>> import numpy as np
    >>> from albireo import Background, image
    >>> y, x = np.mgrid[:64, :64]
    >>> star = 500 * np.exp(-((x - 20.3) ** 2 + (y - 30.6) ** 2) / (2 * 1.5**2))
    >>> noise = np.random.default_rng(1).normal(0, 2, (64, 64))
    >>> flat = Background(np.zeros((64, 64), np.float32), np.full((64, 64), 2, np.float32), 0.0, 2.0)
    >>> found = SepFinder().find(image(star + noise, "electron"), flat)
    >>> len(found), round(float(found.x[0]), 1), round(float(found.y[0]), 1)
    (1, 20.3, 30.6)
    """

    citations: ClassVar[tuple[str, ...]] = (
        "Bertin, E. & Arnouts, S. 1996, A&AS, 117, 393",
        "Barbary, K. 2016, JOSS, 1, 58",
        "Bernstein, G. M. & Jarvis, M. 2002, AJ, 123, 583",
    )

    threshold: float = Field(
        5.0, gt=0, description="Detection threshold in standard deviations of the (filtered) background."
    )
    min_area: int = Field(5, ge=1, description="Pixels above the threshold that make a source.")
    filter_fwhm: float = Field(
        1.7,
        ge=0,
        le=20,
        description="FWHM of the Gaussian that the image is filtered with before the threshold; 0 for no filter. Wider "
        "filters find fainter stars in bad seeing, and cost more.",
        json_schema_extra={"unit": "pixel"},
    )
    deblend_levels: int = Field(
        32, ge=1, description="Levels, in steps of equal ratio, at which a source is tried for parts."
    )
    deblend_contrast: float = Field(
        0.005, ge=0, le=1, description="Share of the flux that a part must have to be a source; 1 for no deblending."
    )
    max_sharpness: float = Field(
        0.6,
        gt=0,
        description="Largest share of the brightest pixel in the 3 x 3 pixels around it: 1 for a hot pixel, 0.4 for a "
        "star of FWHM 1.5 pixel. Sharper sources are left out.",
    )
    max_sources: int = Field(0, ge=0, description="How many of the brightest sources to keep; 0 for all.")

    def find(self, image: CCDData, background: Background) -> Sources:
        """Find sources, brightest first.

        Parameters
        ----------
        image : CCDData
        background : Background
            Level and noise in the unit of the image. Pixels without a positive noise count as masked.

        Returns
        -------
        Sources
            Empty where nothing is above the threshold.

        Raises
        ------
        FrameError
            If so much lies above the threshold that SEP runs out of its limits.
        """
        import numpy as np

        from albireo import Flag, Sources, flags_of

        flags = flags_of(image)
        signal = _significance(image, background, flags)
        kernel = _kernel(self.filter_fwhm)
        objects = self._extract(signal, kernel)
        row, column = objects["ypeak"], objects["xpeak"]
        objects = objects[_sharpness(signal, row, column) <= self.max_sharpness]
        noise = background.rms[objects["ypeak"], objects["xpeak"]].astype(np.float64)
        flux = objects["flux"] * noise
        order = np.argsort(-flux, kind="stable")
        objects, flux, noise = objects[order], flux[order], noise[order]
        if not len(objects):
            return Sources.make([], [])

        from albireo_sep.shapes import BRIGHTEST, measure

        width = float(np.median(np.sqrt(objects["a"] * objects["b"])[:BRIGHTEST]))
        shapes = measure(signal, objects["x"], objects["y"], width)
        failed = ~np.isfinite(shapes.x)
        isophotal = (objects["a"], objects["b"], objects["theta"])
        a, b, theta = (np.where(failed, old, new) for new, old in zip(shapes.axes, isophotal, strict=True))
        cut = np.where(_cut(objects, flags.shape), np.uint16(Flag.EDGE), np.uint16(0))
        found = Sources.make(
            np.where(failed, objects["x"], shapes.x),
            np.where(failed, objects["y"], shapes.y),
            flux=flux,
            a=a,
            b=b,
            theta=theta,
            fwhm=shapes.fwhm,
            peak=objects["peak"] * noise,
            flags=_flags(objects, flags) | cut,
        )
        return found[: self.max_sources] if self.max_sources else found

    def _extract(self, signal: NDArray[np.float32], kernel: NDArray[np.float32] | None) -> NDArray[Any]:
        """Run SEP, with more room where a crowded or bright frame needs it."""
        import numpy as np
        import sep

        gain = 1.0 if kernel is None else float(np.sqrt(np.sum(kernel.astype(np.float64) ** 2)) / np.sum(kernel))
        before = sep.get_extract_pixstack(), sep.get_sub_object_limit()
        reason = ""
        try:
            for raised in range(RAISES + 1):
                if raised:
                    sep.set_extract_pixstack(before[0] * 10**raised)
                    sep.set_sub_object_limit(before[1] * 10**raised)
                try:
                    return sep.extract(
                        signal,
                        self.threshold * gain,
                        minarea=self.min_area,
                        filter_kernel=kernel,
                        filter_type="conv",
                        deblend_nthresh=self.deblend_levels,
                        deblend_cont=self.deblend_contrast,
                    )
                except Exception as error:  # SEP raises bare Exception; only its limits can be helped
                    if not any(words in str(error) for words in ("buffer full", "overflow")):
                        raise
                    reason = str(error)
        finally:
            sep.set_extract_pixstack(before[0])
            sep.set_sub_object_limit(before[1])
        raise FrameError(
            f"too many pixels lie above {self.threshold:g} standard deviations of the background to make sources of "
            f"them ({reason}); look whether the background suits the frame, or raise the threshold"
        )


def _significance(image: CCDData, background: Background, flags: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Image above the background in units of its noise, zero where it means nothing."""
    import numpy as np

    from albireo import MASKED, Flag

    signal = np.subtract(image.data, background.level, dtype=np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        signal /= background.rms
    hidden = np.uint16(MASKED & ~(Flag.SATURATED | Flag.BLEED))
    signal[(flags & hidden) != 0] = 0.0
    signal[~np.isfinite(signal) | ~(background.rms > 0)] = 0.0
    return signal


def _kernel(fwhm: float) -> NDArray[np.float32] | None:
    """Gaussian that reaches to about 1.2 FWHM across; None without a filter."""
    import numpy as np

    if fwhm == 0:
        return None
    half = max(1, round(0.6 * fwhm))
    profile = np.exp(-4.0 * np.log(2.0) * (np.arange(-half, half + 1) / fwhm) ** 2)
    return np.outer(profile, profile).astype(np.float32)


def _sharpness(signal: NDArray[np.float32], row: NDArray[np.int_], column: NDArray[np.int_]) -> NDArray[np.float64]:
    """Share of the brightest pixel in the 3 x 3 pixels around it; neighbours beyond the image are zero."""
    import numpy as np

    near = np.arange(-1, 2)
    rows, columns = row[:, None] + near, column[:, None] + near
    ny, nx = signal.shape
    box = signal[np.clip(rows, 0, ny - 1)[:, :, None], np.clip(columns, 0, nx - 1)[:, None, :]].astype(np.float64)
    box *= ((rows >= 0) & (rows < ny))[:, :, None] & ((columns >= 0) & (columns < nx))[:, None, :]
    total = box.sum(axis=(1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(total > 0, signal[row, column] / total, np.inf)


def _flags(objects: NDArray[Any], flags: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Bits of all pixels in the rectangle around each source."""
    import numpy as np

    return np.array(
        [
            np.bitwise_or.reduce(flags[y0 : y1 + 1, x0 : x1 + 1], axis=None)
            for y0, y1, x0, x1 in zip(
                *(objects[name].tolist() for name in ("ymin", "ymax", "xmin", "xmax")), strict=True
            )
        ],
        dtype=np.uint16,
    )


def _cut(objects: NDArray[Any], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Whether the footprint touches the border of the image."""
    cut: NDArray[np.bool_] = (
        (objects["xmin"] == 0)
        | (objects["ymin"] == 0)
        | (objects["xmax"] == shape[1] - 1)
        | (objects["ymax"] == shape[0] - 1)
    )
    return cut
