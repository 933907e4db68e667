"""The work of one worker: read a frame, correct it, find its stars, align it, measure it.

A `FrameWork` knows the stages; it is sent to each worker once, and then gets one `albireo.tasks.FrameTask` after
another. Pixels are read once, stay in the worker, and what comes back are numbers for the table of frames.
Measurements go to a file beside the run's other products, under a temporary name first.
"""

from __future__ import annotations

import errno
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo.frames import Frame, FrameError, Section
from albireo.images import Flag, flags_of, image, planes_of, read_image, variance_of, write_image
from albireo.pixelwise import CROP_KEY, REBIN_KEY, Terms, apply_terms
from albireo.products import load_arrays, save_arrays
from albireo.psf import PSF
from albireo.roles import (
    Aligner,
    BackgroundEstimator,
    Correction,
    Finder,
    ImageAligner,
    Instrument,
    Photometer,
    PixelwiseCorrection,
    PSFEstimator,
    Selector,
    Stage,
)
from albireo.sources import Sources, Transform, Window, relative_flux
from albireo.tasks import DamagedProductError, FrameResult, FrameTask

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

    from albireo.sources import Background

__all__ = [
    "FrameWork",
    "MeasureWork",
    "calibrate",
    "load_sources",
]

COLUMNS = (
    *("flux", "flux_err", "aperture", "sky", "sky_err", "area", "x", "y", "x_err", "y_err"),
    *("correction", "correction_err", "flags"),
)
"""What a photometer returns besides ``id``; what it leaves out is NaN (zero for flags)."""

STEPPING_STONES = 150
"""The brightest sources of every frame are kept, so that others can be aligned by way of it."""

CUTOUT = 16
"""Half the side of the cut-outs around stars that are watched, without the pixel in the middle."""


class StageFailure(FrameError):
    """A frame failed in one stage; ``args`` are the stage and the reason."""

    def __str__(self) -> str:
        return f"{self.args[0]}: {self.args[1]}"


@contextmanager
def stage_of(name: str, stage: Stage | None = None) -> Iterator[None]:
    """Say in which stage a frame failed; a defect in a stage costs the frame, with a traceback in its reason."""
    try:
        yield
    except StageFailure:
        raise
    except FrameError as error:
        raise StageFailure(name, str(error)) from error
    except Exception as error:
        if isinstance(error, MemoryError) or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise  # not the frame's fault, nor the stage's
        who = f"{type(stage).__module__}.{type(stage).__qualname__}" if stage is not None else name
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise StageFailure(
            name, f"defect in {who}: {type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"
        ) from error


# --- calibration ------------------------------------------------------------------------------------------------------


def calibrate(
    picture: CCDData,
    frame: Frame,
    corrections: Sequence[Correction],
    masters: Mapping[str, CCDData],
    *,
    noise: bool = True,
) -> CCDData:
    """Run corrections in order; consecutive pixel-wise ones in one pass.

    Parameters
    ----------
    picture : CCDData
        As `Instrument.read` gives it.
    frame : Frame
    corrections : sequence of Correction
    masters : mapping
        This frame's master for each kind. A correction whose master is missing is left out.
    noise : bool
        Whether to make the variance.
    """
    waiting: list[Terms] = []
    known = frame if noise else silent(frame)

    def flush(current: CCDData, last: bool) -> CCDData:
        if waiting or (last and noise and current.uncertainty is None):
            current = apply_terms(current, known, waiting, last=last)
            waiting.clear()
        return current

    for correction in corrections:
        if correction.master and correction.master not in masters:
            continue
        with stage_of(f"correction {correction.name}", correction):
            if isinstance(correction, PixelwiseCorrection):
                if correction.looks_at_pixels:
                    picture = flush(picture, last=False)
                waiting.append(correction.terms(picture, frame, masters))
            else:
                before = flush(picture, last=False)
                picture = correction.correct(before, frame, masters)
                for key in (
                    CROP_KEY,
                    REBIN_KEY,
                ):  # where its pixels come from is not for the author of a method to carry
                    if key in before.meta:
                        picture.meta.setdefault(key, before.meta[key])
    with stage_of("corrections"):
        return flush(picture, last=True)


def silent(frame: Frame) -> Frame:
    """Give the frame without noise constants, for passes that need no variance."""
    return frame.replace(amplifiers=tuple(replace(a, gain=float("nan")) for a in frame.amplifiers[:1]))


@lru_cache(maxsize=12)
def _master(path: Path, key: str) -> CCDData:
    """Open a master once for each worker; ``key`` makes a new one known."""
    del key
    return read_image(path, diagnostics=False)


# --- products ---------------------------------------------------------------------------------------------------------


def source_arrays(sources: Sources) -> dict[str, NDArray[Any]]:
    """Give a list of sources as arrays of a product; `sources_among` finds it again."""
    return {f"s_{name}": column for name, column in sources.columns().items()}


def sources_among(arrays: Mapping[str, NDArray[Any]]) -> Sources:
    """Find the list of sources among the arrays of a product."""
    return Sources(**{name.removeprefix("s_"): values for name, values in arrays.items() if name.startswith("s_")})


@lru_cache(maxsize=32)
def load_sources(path: Path) -> Sources:
    """Read a list of sources from a product."""
    return sources_among(load_arrays(path)[0])


# --- one frame --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FrameWork:
    """Everything a worker needs to know to process frames."""

    instrument: Instrument
    corrections: tuple[Correction, ...]
    background: BackgroundEstimator | None
    finder: Finder | None
    psf: PSFEstimator | None
    aligner: Aligner | None
    photometers: tuple[Photometer, ...]

    def __call__(self, task: FrameTask) -> FrameResult:
        """Process one frame."""
        try:
            return self._process(task)
        except StageFailure as failure:
            return FrameResult(task.frame.name, stage=failure.args[0], reason=failure.args[1])

    def _process(self, task: FrameTask) -> FrameResult:
        picture = self._calibrated(task)
        known = self._known(task)
        measuring = task.measured is not None and task.catalogue is not None
        sky: Background | None = None
        if self.background is not None and (known is None or measuring):
            with stage_of("background", self.background):
                sky = self.background.estimate(picture)
        transform, psf, numbers = known or self._align(task, picture, sky)
        if measuring:
            self._measure(task, picture, sky, transform, psf)
        return FrameResult(task.frame.name, numbers)

    def _known(self, task: FrameTask) -> tuple[Transform, PSF | None, dict[str, float]] | None:
        """Say how the frame lies on the reference if it has been aligned before."""
        try:
            arrays, numbers = load_arrays(task.aligned)
        except (FileNotFoundError, DamagedProductError):
            return None
        transform = Transform(arrays["matrix"], numbers["align_rms"], numbers["matched"])
        return transform, PSF.restore(numbers, arrays), numbers

    def _calibrated(self, task: FrameTask) -> CCDData:
        with stage_of("reading", self.instrument):
            raw = self.instrument.read(task.frame)
        masters = {kind: _master(path, key) for kind, path, key in task.masters}
        picture = calibrate(raw, task.frame, self.corrections, masters)
        if task.reduced is not None:
            cards = {"EXPTIME": task.frame.exptime, "FILTER": task.frame.filter, "OBJECT": task.frame.target}
            cards |= {"MJD-MID": task.frame.mid, "RAWFILE": Path(task.frame.path).name}
            given = {k: v for k, v in cards.items() if v == v}
            history = [*self._history(task), *picture.meta.get("HISTORY", ())]
            write_image(task.reduced, picture, {**given, "HISTORY": history})
        return picture

    def _history(self, task: FrameTask) -> Iterator[str]:
        """Say in a line each what was done to a frame, in order: the correction, its options, its master."""
        masters = {kind: f"{path.name} ({key})" for kind, path, key in task.masters}
        for correction in self.corrections:
            if correction.master and correction.master not in masters:
                yield f"{correction.name}: left out, there is no master {correction.master}"
            else:
                taken = f" with {masters[correction.master]}" if correction.master else ""
                yield f"{correction.name}{taken} {correction}".rstrip()

    def _align(
        self, task: FrameTask, picture: CCDData, sky: Background | None
    ) -> tuple[Transform, PSF | None, dict[str, float]]:
        sources = Sources.make([], [])
        if self.finder is not None:
            assert sky is not None, "the recipe is checked: a finder has a background"
            with stage_of("finding", self.finder):
                sources = self.finder.find(picture, sky)
        transform, star_flux, links = Transform.identity(), 1.0 if task.reference is None else nan, 0
        if task.reference is not None and self.aligner is not None:
            with stage_of("alignment", self.aligner):
                transform, star_flux, links = self._placed(task, picture, sources)
                self.aligner.check(transform, picture.shape)
        psf = PSF.of(sources)
        if self.psf is not None:
            assert sky is not None, "the recipe is checked: a PSF has a background"
            with stage_of("psf", self.psf):
                psf = self.psf.fit(picture, sources, sky)
        left = window_of(picture)
        saturated = (flags_of(picture) & np.uint16(Flag.SATURATED)) != 0
        numbers: dict[str, float] = {
            "sources": len(sources),
            **(psf.numbers() if psf else {"fwhm": nan, "elongation": nan, "theta": nan, "psf_stars": 0}),
            "sky": sky.median if sky else float("nan"),
            "sky_rms": sky.median_rms if sky else float("nan"),
            "sky_gradient": sky.gradient if sky else float("nan"),
            "star_flux": star_flux,
            "saturated": int(saturated.sum()),
            "dx": transform.shift[0],
            "dy": transform.shift[1],
            "rotation": transform.rotation,
            "scale": transform.scale,
            "align_rms": transform.rms,
            "matched": transform.matched,
            "links": links,
            "crop_x": left.x0,
            "crop_y": left.y0,
            "rebin": left.rebin,
        }
        arrays: dict[str, Any] = {"matrix": transform.matrix, **(psf.arrays() if psf else {})}
        arrays |= source_arrays(sources if task.keep_sources else sources[:STEPPING_STONES])
        save_arrays(task.aligned, arrays, numbers)
        return transform, psf, numbers

    def _placed(self, task: FrameTask, picture: CCDData, sources: Sources) -> tuple[Transform, float, int]:
        """Find how an image lies on the reference, how bright its stars are, and by way of how many frames."""
        assert task.reference is not None
        if task.by_way_of is None:
            reference = load_sources(task.reference)
            found = self._transform(task, picture, sources, reference)
            return found, relative_flux(sources, reference, found), 0
        arrays, numbers = load_arrays(task.by_way_of)
        between = sources_among(arrays)
        last = self._transform(task, picture, sources, between)
        whole = last @ Transform(arrays["matrix"])
        rms = float(np.hypot(last.rms, numbers["align_rms"] * last.scale))
        flux = relative_flux(sources, between, last) * numbers["star_flux"]
        return Transform(whole.matrix, rms, last.matched), flux, int(numbers["links"]) + 1

    def _transform(self, task: FrameTask, picture: CCDData, sources: Sources, reference: Sources) -> Transform:
        """Align with the reference, by lists of sources or by images."""
        assert self.aligner is not None
        if not isinstance(self.aligner, ImageAligner):
            if not len(sources):
                raise FrameError("no star was found on this frame")
            return self.aligner.align(sources, reference)
        assert task.reference_frame is not None
        assert task.reference_image is not None
        there = _reference(task.reference_image, self.instrument, task.reference_frame)
        return self.aligner.align_images(with_wcs(picture, self.instrument, task.frame), there)

    def _measure(
        self,
        task: FrameTask,
        picture: CCDData,
        sky: Background | None,
        transform: Transform,
        psf: PSF | None,
    ) -> None:
        assert task.catalogue is not None
        assert task.measured is not None
        sources = load_sources(task.catalogue).moved(transform)
        arrays: dict[str, Any] = {"id": sources.id, "x": sources.x, "y": sources.y}
        arrays |= _cutouts(picture, sources[np.isin(sources.id, task.watched)])
        for position, photometer in enumerate(self.photometers):
            with stage_of(f"photometry {photometer.name}", photometer):
                measured = photometer.measure(picture, sources, sky, psf)
                columns = _checked(measured, sources)
            arrays[f"m{position}_id"] = columns.pop("id")
            # One array for all columns: a file has some milliseconds for each.
            arrays[f"m{position}"] = np.stack([columns[name].astype(np.float64) for name in COLUMNS])
        save_arrays(task.measured, arrays, {})


def window_of(picture: CCDData) -> Window:
    """Say where a calibrated image lies in its raw image."""
    left = Section.from_fits(picture.meta.get(CROP_KEY, "[1:1,1:1]"))
    return Window(left.x0, left.y0, int(picture.meta.get(REBIN_KEY, 1)))


def with_wcs(picture: CCDData, instrument: Instrument, frame: Frame) -> CCDData:
    """Give a calibrated image the celestial coordinates that its camera vouches for, shifted to its own pixels."""
    wcs, window = instrument.wcs(frame), window_of(picture)
    if wcs is None:
        return picture
    nx, ny = picture.shape[1] * window.rebin, picture.shape[0] * window.rebin
    x0, y0 = int(window.x0), int(window.y0)
    steps = slice(y0, y0 + ny, window.rebin), slice(x0, x0 + nx, window.rebin)
    result = with_meta(picture)
    result.wcs = wcs.slice(steps)
    return result


@lru_cache(maxsize=2)
def _reference(path: Path, instrument: Instrument, frame: Frame) -> CCDData:
    """Open the calibrated reference of a field once for each worker."""
    return with_wcs(read_image(path), instrument, frame)


def _cutouts(picture: CCDData, sources: Sources) -> dict[str, NDArray[Any]]:
    """Cut squares out around sources, for people to look at: NaN beyond the image."""
    side = 2 * CUTOUT + 1
    ny, nx = picture.shape
    boxes = np.full((len(sources), side, side), np.nan, dtype=np.float32)
    corners = np.zeros((len(sources), 2), dtype=np.int64)
    for box, corner, x, y in zip(boxes, corners, sources.x, sources.y, strict=True):
        if not (-side < x < nx + side and -side < y < ny + side):
            continue
        x0, y0 = int(np.rint(x)) - CUTOUT, int(np.rint(y)) - CUTOUT
        corner[:] = x0, y0
        rows, columns = slice(max(y0, 0), min(y0 + side, ny)), slice(max(x0, 0), min(x0 + side, nx))
        if rows.start < rows.stop and columns.start < columns.stop:
            there = picture.data[rows, columns]
            box[rows.start - y0 : rows.stop - y0, columns.start - x0 : columns.stop - x0] = there
    return {"cut_id": sources.id, "cut": boxes, "cut_corner": corners}


def _checked(measured: Any, sources: Sources) -> dict[str, NDArray[Any]]:
    """Bring what a photometer gave to arrays of plain types, or say what is wrong with it."""
    names = set(getattr(measured, "colnames", None) or measured)
    missing = {"id", "flux", "flux_err"} - names
    if missing:
        raise TypeError(f"the result has no column {', '.join(sorted(missing))}")
    ids = np.atleast_1d(np.asarray(measured["id"], dtype=np.int64))
    if not set(sources.id.tolist()) <= set(ids.tolist()):
        raise ValueError(f"{len(sources)} sources were given, the result has {len(set(ids.tolist()))} of them")
    columns = {"id": ids}
    for name in COLUMNS:
        dtype = np.uint16 if name == "flags" else np.float64
        fill = 0 if name == "flags" else np.nan
        values = np.asarray(getattr(measured[name], "value", measured[name])) if name in names else np.asarray(fill)
        columns[name] = np.broadcast_to(values, ids.shape).astype(dtype)
    return columns


# --- measuring for selection ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MeasureWork:
    """Measure raw frames for a selector."""

    instrument: Instrument
    selector: Selector

    def __call__(self, frame: Frame) -> dict[str, float]:
        """Read one frame and let the selector measure it."""
        with stage_of(f"select {self.selector.name}", self.selector):
            numbers = self.selector.measure(self.instrument.read(frame), frame)
        return {name: float(value) for name, value in numbers.items()}


def stack_rows(picture: CCDData) -> NDArray[np.float32]:
    """Give pixels with NaN where they are masked; the plane of a fresh image is used, not copied."""
    data: NDArray[np.float32] = picture.data
    if picture.mask is not None and picture.mask.any():
        data[picture.mask] = np.nan
    return data


def with_meta(picture: CCDData, **meta: Any) -> CCDData:
    """Give an image more cards in its header."""
    return image(
        picture.data,
        str(picture.unit or ""),
        variance=variance_of(picture),
        flags=flags_of(picture),
        planes=planes_of(picture),
        meta={**dict(picture.meta), **meta},
    )
