"""The shape of real stars: what fitted PSFs leave of bright stars, and their widths against other measurements.

A pedestal, a gain and the saturation are enough to fit stars of a single frame; a flat changes nothing within a star.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.nddata import CCDData

from albireo import PSF, Background, Flag, PSFEstimator, Registry, Sources, image, read_pixels
from albireo_psf import EmpiricalPSF, GaussianPSF, MoffatPSF, PSFPhotometer


@dataclass(frozen=True)
class Shot:
    """A frame of a set: constants in adu and electrons, and the width of Gaussian fits where somebody made some."""

    name: str
    file: str
    pedestal: float
    gain: float
    read_noise: float
    saturation: float
    columns: slice
    fwhm: float | None = None


SHOTS = [
    Shot("lowell42", "5945/20190326.0159.fits.fz", 1626.0, 3.66, 4.3, 60000.0, slice(17, 1382), 1.97),
    Shot("lowell42", "5945/20190326.0192.fits.fz", 1626.0, 3.66, 4.3, 60000.0, slice(17, 1382), 3.10),
    Shot("hatp32", "HATP-32171220045112.FITS.fz", 350.0, 43.0, 43.0, 4000.0, slice(None)),
]


@dataclass(frozen=True)
class Field:
    """A frame in electrons, and what was found on it."""

    shot: Shot
    picture: CCDData
    sky: Background
    sources: Sources

    def psf(self, stage: PSFEstimator) -> PSF:
        found = stage.fit(self.picture, self.sources, self.sky)
        assert isinstance(found, PSF)
        return found


@pytest.fixture(scope="module", params=SHOTS, ids=lambda shot: Path(shot.file).name)
def field(request: pytest.FixtureRequest, data: Path) -> Field:
    shot = request.param
    if not (data / shot.name).is_dir():
        pytest.skip(f"there is no set {shot.name} in {data}")
    path = data / shot.name / shot.file
    raw = read_pixels(path, 1)[:, shot.columns]
    light = shot.gain * (raw - shot.pedestal)
    flags = np.where(raw >= shot.saturation, Flag.SATURATED, 0).astype(np.uint16)
    picture = image(light, "electron", variance=np.maximum(light, 0) + shot.read_noise**2, flags=flags)
    registry = Registry.discover()
    mesh: Any = registry.get("background", "mesh").cls()
    finder: Any = registry.get("finder", "sep").cls()
    sky = mesh.estimate(picture)
    return Field(shot, picture, sky, finder.find(picture, sky))


def residuals(field: Field, psf: PSF, stars: int = 20, reach: int = 6) -> np.ndarray:
    """What is left of bright stars, relative to their peaks: root mean square over the pixels of each star."""
    rows = PSFPhotometer(recenter=True, sky="fit").measure(field.picture, field.sources, field.sky, psf)
    good = (rows["flags"] == 0) & np.isfinite(rows["x_err"])
    left = []
    for index in np.flatnonzero(good)[:stars]:
        x, y, flux = rows["x"][index], rows["y"][index], rows["flux"][index]
        column, row = round(x), round(y)
        cut = np.s_[row - reach : row + reach + 1, column - reach : column + reach + 1]
        model = psf.stamps([x - column], [y - row], reach)[0]
        light = field.picture.data[cut].astype(float) - rows["sky"][index]
        core = model > 0.1 * model.max()
        left.append(np.sqrt(np.mean((light - flux * model)[core] ** 2)) / (flux * model.max()))
    return np.array(left)


def test_widths_are_those_of_other_fits(field: Field) -> None:
    gaussian = field.psf(GaussianPSF())
    print(f"{field.shot.file}: {gaussian}")
    assert gaussian.stars >= 10
    if field.shot.fwhm is not None:
        # Those Gaussians were sampled at the centres of pixels: they have the width of a pixel in them, 0.68.
        assert np.hypot(gaussian.fwhm, 0.68) == pytest.approx(field.shot.fwhm, rel=0.15)
    bright = PSF.of(field.sources, brightest=50)
    assert bright is not None
    assert gaussian.fwhm == pytest.approx(bright.fwhm, rel=0.15)
    assert gaussian.elongation == pytest.approx(bright.elongation, rel=0.2)


def test_better_models_leave_less_of_bright_stars(field: Field) -> None:
    stages = GaussianPSF(), MoffatPSF(), EmpiricalPSF()
    left = {stage.name: float(np.median(residuals(field, field.psf(stage)))) for stage in stages}
    print(field.shot.file, {name: round(value, 4) for name, value in left.items()})
    assert left["moffat"] < left["gaussian"]
    assert left["empirical"] < 1.05 * left["moffat"]
    assert left["empirical"] < 0.05
