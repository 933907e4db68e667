"""What a photometer must do.

No method is asked for the total flux: an aperture misses some of it. But what it misses must be the same for all stars
of one shape, the flux must be proportional to the light, and the error bar must be the scatter.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo.frames import FrameError
from albireo.images import Flag
from albireo.roles import Photometer
from albireo.sources import Sources
from albireo.testing.conformance.kit import (
    RUBBISH,
    Check,
    ConformanceWarning,
    changed,
    disturbed,
    fingerprint,
    patch,
    require,
    with_flags,
)
from albireo.testing.picture import Picture, simulate_image
from albireo.testing.scene import Scene
from albireo.testing.stars import Profile

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

__all__ = ["CHECKS", "typical"]

SHAPE = (256, 256)
PROFILE = Profile(3.5, beta=4.0)
REALISATIONS = 24
WIDTH_TOLERANCE = 0.15
"""Of the pull; its own error is 0.025 with 36 stars and 24 realisations."""
MEAN_TOLERANCE = 0.2
"""Of the pull in a third of the stars; its own error is 0.06."""
PHASE = 0.01
"""How much the share of the light in an aperture may depend on where in a pixel a star lies, relative."""
LINEARITY = 0.005


def _stars() -> Picture:
    """Isolated stars with signal to noise from 12 to 80: bright enough to count, too faint for pixel phases to show."""
    scene = Scene.grid(SHAPE, 40.0, 9000.0, 900.0, seed=11)
    return simulate_image(scene, SHAPE, profile=PROFILE, sky=100.0, read_noise=5.0, seed=1)


def _measure(stage: Photometer, picture: Picture, image: CCDData, sources: Sources) -> dict[str, NDArray[Any]]:
    sky = picture.background if "background" in stage.needs else None
    return _columns(stage.measure(image, sources, sky, picture.psf))


def _columns(result: Any) -> dict[str, NDArray[Any]]:
    names = getattr(result, "colnames", None) or list(result)
    columns: dict[str, NDArray[Any]] = {}
    for name in names:
        column = result[name]
        columns[name] = np.atleast_1d(np.asarray(getattr(column, "value", column)))
    for name in ("id", "flux", "flux_err"):
        require(name in columns, f"the result has no column {name!r}, only {', '.join(columns) or 'none at all'}")
    lengths = {name: len(column) for name, column in columns.items()}
    require(len(set(lengths.values())) == 1, f"columns differ in length: {lengths}")
    return columns


def _by_aperture(columns: dict[str, NDArray[Any]]) -> Iterator[tuple[str, dict[str, NDArray[Any]]]]:
    """Split the rows into one table for each aperture."""
    aperture = np.asarray(columns.get("aperture", np.full(len(columns["id"]), np.nan)), dtype=float)
    for value in np.unique(aperture):
        rows = np.isnan(aperture) if np.isnan(value) else aperture == value
        yield (
            "" if np.isnan(value) else f" with aperture {value:g} px",
            {name: column[rows] for name, column in columns.items()},
        )


def _pick(columns: dict[str, NDArray[Any]], ids: NDArray[np.int64], name: str) -> NDArray[np.float64]:
    """A column in the order of ``ids``; NaN where there is no row."""
    values = dict(zip(columns["id"].tolist(), columns[name].tolist(), strict=True))
    return np.array([values.get(identity, np.nan) for identity in ids.tolist()], dtype=float)


def _sane(columns: dict[str, NDArray[Any]], what: str) -> None:
    """What holds for every row whatever was measured: a finite flux has an error, and a missing one has a flag."""
    flux, error = columns["flux"].astype(float), columns["flux_err"].astype(float)
    bare = np.isfinite(flux) & ~(np.isfinite(error) & (error > 0))
    require(not bare.any(), f"{what}: flux {flux[bare][:1]} has the error {error[bare][:1]}; it must be positive")
    if np.isfinite(flux).all():
        return
    require("flags" in columns, f"{what}: flux is NaN, and there is no column 'flags' to say Flag.FAILED")
    failed = (columns["flags"].astype(np.uint16) & Flag.FAILED) != 0
    require(failed[~np.isfinite(flux)].all(), f"{what}: flux is NaN (or infinite) and Flag.FAILED is not set")


def _hard() -> tuple[Picture, Sources]:
    """A picture with stars at the edge, outside, without position and saturated, and odd identities."""
    scene = Scene(
        [40.2, 120.7, 0.3, 255.4, 100.0, -6.0, 900.0, 180.0, 60.0],
        [50.6, 60.1, 80.5, 255.3, 160.0, 40.0, -800.0, 200.4, 0.0],
        [5e3, 2e4, 9e3, 9e3, 4e6, 9e3, 9e3, 3e3, 2e4],
    )
    picture = simulate_image(scene, SHAPE, profile=PROFILE, saturation=4e4, seed=2)
    x, identity = picture.sources.x.copy(), np.array([7, 3, 900, 12, 5, 44, 45, 46, 1], dtype=np.int64)
    x[7] = np.nan
    return picture, replace(picture.sources, x=x, id=identity)


def typical(stage: Photometer) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Give calls to try."""
    picture, hard = _stars(), _hard()
    for shot, sources in ((picture, picture.sources), hard):
        sky = shot.background if "background" in stage.needs else None
        yield "measure", (shot.image, sources, sky, shot.psf)


def gives_the_columns(stage: Photometer) -> None:
    """The result has id, flux and flux_err, and in the unit of the image where columns have units."""
    from astropy.units import UnitBase

    picture = _stars()
    sky = picture.background if "background" in stage.needs else None
    result = stage.measure(picture.image, picture.sources, sky, picture.psf)
    columns = _columns(result)
    for name in ("flux", "flux_err"):
        unit = getattr(result[name], "unit", None)
        require(
            not isinstance(unit, UnitBase) or unit == picture.image.unit,
            f"{name} is in {unit}, the image in {picture.image.unit}",
        )
    if "flags" in columns:
        flags = columns["flags"]
        require(flags.dtype.kind in "iub", f"flags are of type {flags.dtype}; they must be whole numbers")
        require(((flags >= 0) & (flags < 1 << 16)).all(), "flags do not fit into uint16")


def every_source_has_a_row(stage: Photometer) -> None:
    """Each source has one row for each aperture, also at the edge, outside, saturated and without a position."""
    picture, sources = _hard()
    for which, columns in _by_aperture(_measure(stage, picture, picture.image, sources)):
        missing = sorted(set(sources.id.tolist()) - set(columns["id"].tolist()))
        require(not missing, f"no row{which} for source {missing}; give NaN and Flag.FAILED instead of leaving it out")
        extra = sorted(set(columns["id"].tolist()) - set(sources.id.tolist()))
        require(not extra, f"rows{which} for identities {extra} that were not asked for; copy sources.id")
        require(len(columns["id"]) == len(sources), f"more than one row{which} for a source")


def gives_finite_errors(stage: Photometer) -> None:
    """Every finite flux has a finite, positive error; what could not be measured is NaN with Flag.FAILED."""
    picture = _stars()
    columns = _measure(stage, picture, picture.image, picture.sources)
    require(np.isfinite(columns["flux"]).all(), "an isolated star on a clean image has no flux")
    _sane(columns, "on a clean image")
    picture, sources = _hard()
    columns = _measure(stage, picture, picture.image, sources)
    _sane(columns, "on an image with stars at the edge and outside")
    outside = columns["id"] == 45
    require(not np.isfinite(columns["flux"][outside]).any(), "a star far outside the image has a flux")


def _realised(stage: Photometer) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.float64]]]:
    """Fluxes and errors of all realisations by aperture, each of shape (realisations, stars)."""
    picture = _stars()
    flux: dict[str, list[NDArray[np.float64]]] = {}
    error: dict[str, list[NDArray[np.float64]]] = {}
    for seed in range(REALISATIONS):
        for which, columns in _by_aperture(_measure(stage, picture, picture.realise(seed), picture.sources)):
            flux.setdefault(which, []).append(_pick(columns, picture.sources.id, "flux"))
            error.setdefault(which, []).append(_pick(columns, picture.sources.id, "flux_err"))
    return {k: np.array(v) for k, v in flux.items()}, {k: np.array(v) for k, v in error.items()}


def error_is_the_scatter(stage: Photometer) -> None:
    """The scatter of fluxes over realisations of the noise is what flux_err says, to 15 percent."""
    fluxes, errors = _realised(stage)
    for which, flux in fluxes.items():
        known = np.isfinite(flux).all(axis=0)
        width = np.sqrt(np.mean(flux[:, known].var(axis=0, ddof=1) / (errors[which][:, known] ** 2).mean(axis=0)))
        require(
            abs(width - 1.0) < WIDTH_TOLERANCE,
            f"fluxes{which} scatter by {width:.2f} times their error over {len(flux)} realisations of the noise",
        )


def measures_the_same_share_of_every_star(stage: Photometer) -> None:
    """Apart from one common factor, fluxes agree with the truth within their errors, faint or bright."""
    truth = _stars().sources.flux
    fluxes, errors = _realised(stage)
    for which, flux in fluxes.items():
        error = errors[which]
        factor = np.nansum(flux * truth / error**2) / np.nansum((truth / error) ** 2)
        require(factor > 0, f"fluxes{which} do not grow with the light of the stars")
        pull = (flux - factor * truth) / error
        for name, third in zip(("faint", "middling", "bright"), np.array_split(np.argsort(truth), 3), strict=True):
            mean = np.nanmean(pull[:, third])
            require(
                abs(mean) < MEAN_TOLERANCE,
                f"fluxes{which} of {name} stars are off by {mean:+.2f} errors on average, after taking out the factor "
                f"{factor:.3f} common to all stars; is the sky right, or the centre of the aperture?",
            )
        share = np.nanmean(flux, axis=0) / (factor * truth)
        allowed = PHASE + 4.5 * np.nanmean(error, axis=0) / (factor * truth) / np.sqrt(len(flux))
        worst = int(np.nanargmax(np.abs(share - 1.0) / allowed))
        require(
            abs(share[worst] - 1.0) < allowed[worst],
            f"the flux{which} of one star is {share[worst]:.3f} of what it should be beside the others",
        )


def is_linear(stage: Photometer) -> None:
    """Twice the light gives twice the flux, from 2000 to a million electrons (an image without noise)."""
    n = 6
    scene = Scene(np.arange(n) * 40.0 + 28.3, np.full(n, 128.4), np.geomspace(2e3, 1e6, n))
    picture = simulate_image(scene, SHAPE, profile=PROFILE, sky=100.0)
    exact = with_flags(picture.image, np.zeros(SHAPE, dtype=np.uint16), picture.expected.copy())
    for which, columns in _by_aperture(_measure(stage, picture, exact, picture.sources)):
        share = _pick(columns, picture.sources.id, "flux") / picture.sources.flux
        spread = np.nanmax(share) / np.nanmin(share) - 1.0
        require(
            0 <= spread < LINEARITY, f"the share of the light{which} changes by {spread:.2%} from faint to bright stars"
        )


def sky_is_per_pixel(stage: Photometer) -> None:
    """Where a sky is given, it is that of one pixel, in the unit of the image, and its error is finite."""
    picture = _stars()
    columns = _measure(stage, picture, picture.image, picture.sources)
    if "sky" in columns:
        sky = float(np.median(columns["sky"].astype(float)))
        require(abs(sky - 100.0) < 3.0, f"the sky is {sky:.1f}; the truth is 100 electrons per pixel")
    if "sky_err" in columns:
        error = columns["sky_err"].astype(float)
        require((np.isfinite(error) & (error >= 0)).all(), "sky_err is not finite, or negative")


def honours_the_mask(stage: Photometer) -> None:
    """What a masked pixel holds has no influence, and does not harm other stars."""
    picture = _stars()
    image, sources = picture.image, picture.sources
    bad = patch(SHAPE, sources, 14)
    results = [_measure(stage, picture, disturbed(image, bad, value), sources) for value in RUBBISH]
    part = changed(fingerprint(results[0]), fingerprint(results[1])) or changed(*map(fingerprint, results[1:]))
    require(
        not part,
        f"column {part!r} depends on the value of a masked pixel; leave masked pixels out, or replace them, "
        "or give NaN and Flag.FAILED",
    )
    _sane(results[0], "for a star with masked pixels")
    clean = _measure(stage, picture, image, sources)
    others = sources.id[np.arange(len(sources)) != 14]
    require(
        np.array_equal(_pick(results[0], others, "flux"), _pick(clean, others, "flux"), equal_nan=True),
        "a masked pixel in one star changed the flux of another",
    )


def survives_nan_pixels(stage: Photometer) -> None:
    """A NaN that nobody has masked does not harm other stars, and its own star has a value or Flag.FAILED."""
    picture = _stars()
    data = picture.image.data.copy()
    data[patch(SHAPE, picture.sources, 20)] = np.nan
    columns = _measure(stage, picture, with_flags(picture.image, picture.image.flags, data), picture.sources)
    _sane(columns, "with a NaN pixel in a star")
    others = columns["id"] != picture.sources.id[20]
    require(np.isfinite(columns["flux"][others]).all(), "a NaN pixel in one star took the flux of another")


def works_without_a_mask(stage: Photometer) -> None:
    """An image without mask and flags gives what an image with nothing masked gives."""
    picture = _stars()
    plain = _measure(stage, picture, with_flags(picture.image, None), picture.sources)
    empty = _measure(stage, picture, with_flags(picture.image, np.zeros(SHAPE, np.uint16)), picture.sources)
    part = changed(fingerprint(empty), fingerprint(plain))
    require(not part, f"column {part!r} differs between an image without mask and one where nothing is masked")


def flags_a_saturated_star(stage: Photometer) -> None:
    """A saturated star has Flag.SATURATED or no flux; it never looks like a good measurement."""
    picture, sources = _hard()
    columns = _measure(stage, picture, picture.image, sources)
    row = columns["id"] == 5
    require("flags" in columns, "there is no column 'flags' to say Flag.SATURATED")
    flags, flux = columns["flags"][row].astype(np.uint16), columns["flux"][row]
    marked = (flags & np.uint16(Flag.SATURATED | Flag.FAILED)) != 0
    require(marked.all(), f"a saturated star has flux {flux} and flags {flags}")


def flags_a_star_at_the_edge(stage: Photometer) -> None:
    """A star whose light is cut by the edge has a flag, unless its flux is right in spite of it."""
    picture, sources = _hard()
    columns = _measure(stage, picture, picture.image, sources)
    for which, rows in _by_aperture(columns):
        good = np.isin(sources.id, [7, 3])
        share = np.nanmean(_pick(rows, sources.id, "flux")[good] / sources.flux[good])
        flags = _pick(rows, sources.id, "flags") if "flags" in rows else np.zeros(len(sources))
        flux, error = _pick(rows, sources.id, "flux"), _pick(rows, sources.id, "flux_err")
        for index in (2, 3, 8):
            off = abs(flux[index] - share * sources.flux[index])
            silent = flags[index] == 0 and off > 5.0 * error[index] + 0.05 * share * sources.flux[index]
            require(
                not silent,
                f"the flux{which} of a star at x={sources.x[index]:g}, y={sources.y[index]:g} on the edge is wrong by "
                f"{off / error[index]:.0f} errors and has no flag (such as Flag.EDGE)",
            )


def measures_an_empty_list(stage: Photometer) -> None:
    """No sources give a result with all columns and no row."""
    picture = _stars()
    columns = _measure(stage, picture, picture.image, picture.sources[:0])
    require(len(columns["id"]) == 0, "there are rows although there was no source")


def survives_a_tiny_image(stage: Photometer) -> None:
    """An image of 7 by 9 pixels gives a row or a FrameError."""
    picture = simulate_image(Scene([4.2], [3.1], [3e3]), (7, 9), profile=PROFILE)
    try:
        _sane(_measure(stage, picture, picture.image, picture.sources), "on an image of 7 by 9 pixels")
    except FrameError:
        return


def survives_without_a_psf(stage: Photometer) -> None:
    """Without a PSF (no star of the image could be measured) there are rows or a FrameError."""
    picture = _stars()
    sky = picture.background if "background" in stage.needs else None
    try:
        _sane(_columns(stage.measure(picture.image, picture.sources, sky, None)), "without a PSF")
    except FrameError:
        return


def is_quiet(stage: Photometer) -> None:
    """No warning escapes, even for stars that cannot be measured (a warning)."""
    picture, sources = _hard()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _measure(stage, picture, picture.image, sources)
    said = [f"{w.category.__name__}: {w.message}" for w in caught if issubclass(w.category, RuntimeWarning)]
    if said:
        reason = f"{'; '.join(said[:2])} escaped; use numpy.errstate where it is expected"
        warnings.warn(reason, ConformanceWarning, stacklevel=2)


CHECKS: list[Check] = [
    gives_the_columns,
    every_source_has_a_row,
    gives_finite_errors,
    error_is_the_scatter,
    measures_the_same_share_of_every_star,
    is_linear,
    sky_is_per_pixel,
    honours_the_mask,
    survives_nan_pixels,
    works_without_a_mask,
    flags_a_saturated_star,
    flags_a_star_at_the_edge,
    measures_an_empty_list,
    survives_a_tiny_image,
    survives_without_a_psf,
    is_quiet,
]
