"""The kit passes honest stages, and fails a broken one in exactly the check concerned."""

import functools

import numpy as np
import pytest
from pydantic import Field

from albireo import (
    PSF,
    Aligner,
    Background,
    BackgroundEstimator,
    Correction,
    CurveStep,
    Executor,
    Finder,
    Flag,
    FrameError,
    Frames,
    MasterBuilder,
    Outcome,
    Photometer,
    PixelwiseCorrection,
    Report,
    Selection,
    Selector,
    Sources,
    Stage,
    Terms,
    Transform,
    image,
    variance_of,
)
from albireo.testing import PlainCamera, conformance

# --- honest stages, each as plain as it can be ------------------------------------------------------------------------


def good_pixels(picture):
    good = np.isfinite(picture.data)
    return good if picture.mask is None else good & ~picture.mask


class Circle(Photometer):
    """Sum in a circle, with a sky from the map."""

    needs = frozenset({"background"})
    radius: float = Field(5.0, gt=0, description="Radius.", json_schema_extra={"unit": "pixel"})

    def measure(self, image, sources, sky, psf):
        rows = [self.one(image, sky, x, y) for x, y in zip(sources.x, sources.y, strict=True)]
        table = np.array(rows, dtype=float).reshape(-1, 4)
        return {
            "id": sources.id,
            "aperture": np.full(len(sources), self.radius),
            "flux": table[:, 0],
            "flux_err": table[:, 1],
            "sky": table[:, 2],
            "sky_err": np.zeros(len(sources)),
            "flags": table[:, 3].astype(np.uint16),
        }

    def one(self, image, sky, x, y):
        reach, (ny, nx) = int(self.radius) + 2, image.shape
        if not (0 <= x < nx - 1 and 0 <= y < ny - 1):
            return np.nan, np.nan, sky.median, Flag.FAILED
        rows = slice(max(round(y) - reach, 0), round(y) + reach + 1)
        columns = slice(max(round(x) - reach, 0), round(x) + reach + 1)
        yy, xx = np.mgrid[rows, columns][:, : ny - rows.start, : nx - columns.start]
        fine = (np.arange(20) + 0.5) / 20 - 0.5
        dx, dy = (axis[..., None] + fine for axis in (xx - x, yy - y))
        weight = (dx[..., None, :] ** 2 + dy[..., :, None] ** 2 < self.radius**2).mean(axis=(-1, -2))
        edge = min(x, y, nx - 1 - x, ny - 1 - y) < self.radius
        inside = weight > 0
        flags = int(np.bitwise_or.reduce(image.flags[rows, columns][inside])) if image.flags is not None else 0
        if not good_pixels(image)[rows, columns][inside].all():
            return np.nan, np.nan, sky.median, flags | Flag.FAILED
        level = sky.level[rows, columns]
        flux = ((image.data[rows, columns] - level) * weight)[inside].sum(dtype=float)
        error = np.sqrt((variance_of(image)[rows, columns] * weight**2)[inside].sum(dtype=float))
        return flux, error, float(np.mean(level)), flags | (Flag.EDGE if edge else 0)


class Clipped(BackgroundEstimator):
    """One level for the whole image, after clipping."""

    def estimate(self, image):
        values = image.data[good_pixels(image)].astype(float)
        if values.size == 0:
            raise FrameError("every pixel is masked")
        for _ in range(20):
            level, rms = np.median(values), values.std()
            values = values[np.abs(values - level) < 3.0 * rms]
        rms *= 1.0 / 0.9866  # what clipping at three sigma takes from a Gaussian
        level = values.mean()
        return Background(*(np.full(image.shape, v, np.float32) for v in (level, rms)), float(level), float(rms))


class Windowed(Finder):
    """Peaks of the smoothed image, measured with Gaussian windows."""

    sigma: float = Field(2.0, gt=0, description="Width of the window.", json_schema_extra={"unit": "pixel"})

    def find(self, image, background):
        good = good_pixels(image)
        signal = np.where(good, image.data - background.level, 0.0).astype(float)
        fy, fx = np.fft.fftfreq(image.shape[0])[:, None], np.fft.rfftfreq(image.shape[1])[None, :]
        window = np.exp(-2.0 * (np.pi * self.sigma) ** 2 * (fx**2 + fy**2))
        smooth = np.fft.irfft2(np.fft.rfft2(signal) * window, image.shape)
        noise = background.median_rms / np.sqrt(4.0 * np.pi) / self.sigma
        padded = np.pad(smooth, 1, constant_values=-np.inf)
        around = [
            padded[1 + j : padded.shape[0] - 1 + j, 1 + i : padded.shape[1] - 1 + i]
            for j in (-1, 0, 1)
            for i in (-1, 0, 1)
        ]
        peaks = np.argwhere((smooth >= np.max(around, axis=0)) & (smooth > 5.5 * noise) & good)
        found = [self.one(signal, good, y, x) for y, x in peaks]
        rows = np.array([row for row in found if row is not None], dtype=float).reshape(-1, 7)
        rows = rows[np.argsort(-rows[:, 2], kind="stable")]
        flags = image.flags if image.flags is not None else np.zeros(image.shape, np.uint16)
        near = [self.flagged(flags, x, y) for x, y in rows[:, :2]]
        names = ("flux", "a", "b", "theta", "fwhm")
        return Sources.make(rows[:, 0], rows[:, 1], **dict(zip(names, rows.T[2:], strict=True)), flags=near)

    def flagged(self, flags, x, y):
        cut = flags[max(round(y) - 3, 0) : round(y) + 4, max(round(x) - 3, 0) : round(x) + 4]
        return int(np.bitwise_or.reduce(cut, axis=None)) if cut.size else 0

    def one(self, signal, good, y, x):
        reach = int(4 * self.sigma)
        rows = slice(max(y - reach, 0), y + reach + 1)
        columns = slice(max(x - reach, 0), x + reach + 1)
        yy, xx = np.mgrid[rows, columns][:, : signal.shape[0] - rows.start, : signal.shape[1] - columns.start]
        cut, cx, cy = signal[rows, columns], float(x), float(y)
        if not good[rows, columns].all():
            return None if not good[y, x] else (cx, cy, cut.sum(), *[np.nan] * 4)
        for _ in range(8):
            light = cut * np.exp(-0.5 * ((xx - cx) ** 2 + (yy - cy) ** 2) / self.sigma**2)
            cx, cy = (c + 2.0 * (light * (a - c)).sum() / light.sum() for a, c in ((xx, cx), (yy, cy)))
        mxx, myy, mxy = (
            (light * p * q).sum() / light.sum() for p, q in ((xx - cx, xx - cx), (yy - cy, yy - cy), (xx - cx, yy - cy))
        )
        inverse = np.linalg.inv([[mxx, mxy], [mxy, myy]]) - np.eye(2) / self.sigma**2
        values, vectors = np.linalg.eigh(np.linalg.inv(inverse))
        if not (values > 0).all():
            return cx, cy, cut.sum(), *[np.nan] * 4
        minor, major = np.sqrt(values)
        theta = np.arctan(vectors[1, 1] / vectors[0, 1])
        flux = light.sum() * np.sqrt(np.linalg.det(np.eye(2) + np.diag(values) / self.sigma**2))
        return cx, cy, flux, major, minor, theta, 2.3548 * np.sqrt(major * minor)


class Pairs(Aligner):
    """Try pairs of bright stars, keep the map that most stars follow."""

    def align(self, sources, reference):
        best, there, here = 0, None, None
        s, r = sources.x + 1j * sources.y, reference.x + 1j * reference.y
        near, far = (list(zip(*np.triu_indices(min(18, len(z)), 1), strict=True)) for z in (r, s))
        far += [(j, i) for i, j in far]
        for i, j in near:
            for k, m in far:
                if abs(r[j] - r[i]) < 100 or abs(abs((s[m] - s[k]) / (r[j] - r[i])) - 1.0) > 0.03:
                    continue
                turn = (s[m] - s[k]) / (r[j] - r[i])
                distance = np.abs(s[k] + turn * (r - r[i]) - s[:, None])
                hits = distance.min(axis=0) < 2.0
                if hits.sum() > best:
                    best, there, here = hits.sum(), distance.argmin(axis=0)[hits], hits
        if best < 12:
            raise FrameError(f"only {best} stars follow a common map; at least 12 are needed")
        design = np.stack([reference.x[here], reference.y[here], np.ones(best)], axis=1)
        target = np.stack([sources.x[there], sources.y[there]], axis=1)
        keep = np.ones(best, dtype=bool)
        for _ in range(5):
            fit = np.linalg.lstsq(design[keep], target[keep], rcond=None)[0]
            off = np.hypot(*(design @ fit - target).T)
            keep = off < max(3.0 * np.median(off), 1e-6)
        return Transform(np.vstack([fit.T, [0, 0, 1]]), float(np.sqrt(np.mean(off[keep] ** 2))), int(keep.sum()))


class NanMean(MasterBuilder):
    """The mean of what there is."""

    def build(self, stack):
        data, variance = np.empty(stack.shape, np.float32), np.empty(stack.shape, np.float32)
        scale = None
        if self.kind == "flat":
            scale = np.array([1.0 / np.median(picture.data) for picture in stack])
        with np.errstate(invalid="ignore", divide="ignore"):
            for strip in stack.strips(scale):
                there = np.isfinite(strip.data)
                count = there.sum(axis=0)
                values = np.where(there, strip.data, 0.0).astype(float)
                mean = values.sum(axis=0) / count
                square = (np.where(there, values - mean, 0.0) ** 2).sum(axis=0)
                data[strip.rows], variance[strip.rows] = mean, square / (count - 1) / count
        variance[~np.isfinite(variance)] = 0.0
        flags = np.where(np.isfinite(data), 0, Flag.NO_DATA).astype(np.uint16)
        return image(data, "" if self.kind == "flat" else stack.unit, variance=variance, flags=flags)


class Gain(PixelwiseCorrection):
    """Counts to electrons."""

    provides = frozenset({"electron"})

    def terms(self, image, frame, masters):
        return Terms(multiply=frame.gain, unit="electron")


class Divide(Correction):
    """Divide by the flat, without stating terms."""

    master = "flat"
    needs = frozenset({"electron", "trim"})

    def correct(self, image_, frame, masters):
        flat = masters["flat"].data
        result = image_.data / flat
        flags = np.zeros(image_.shape, np.uint16) if image_.flags is None else image_.flags.copy()
        flags[~np.isfinite(result)] |= np.uint16(Flag.NO_DATA)
        return image(result, str(image_.unit), variance=variance_of(image_) / flat**2, flags=flags, meta=image_.meta)


class Dim(Selector):
    """Drop what is darker than a level."""

    min: float = Field(5000.0, description="Lowest median.", json_schema_extra={"unit": "adu"})

    def wants(self, frame):
        return frame.kind == "flat"

    def measure(self, image, frame):
        return {"median": float(np.median(image.data))}

    def select(self, frames, measured):
        dark = {name for name, values in measured.items() if values["median"] < self.min}
        return Selection(
            Frames(f for f in frames if f.name not in dark),
            {
                f.name: f"median {measured[f.name]['median']:.0f} is below {self.min:.0f}"
                for f in frames
                if f.name in dark
            },
        )


class BySum(CurveStep):
    """Divide by the mean of all stars but the targets."""

    def apply(self, curves):
        if curves.flux.shape[0] == 0:
            raise FrameError("no frame to make curves of")
        whole = np.isfinite(curves.flux).mean(axis=0) > 0.9
        chosen = whole & ~np.isin(curves.sources, list(curves.targets.values()))
        if not chosen.any():
            raise FrameError("no comparison star")
        median = np.array([np.median(f[np.isfinite(f)]) if np.isfinite(f).any() else np.nan for f in curves.flux.T])
        relative, error = curves.flux / median, curves.flux_err / median
        weight = np.where(chosen, 1.0 / np.nanmean(np.where(chosen, error, 1.0), axis=0) ** 2, 0.0)
        usable = np.isfinite(relative) & chosen
        frame = np.where(usable, relative * weight, 0).sum(axis=1) / np.where(usable, weight, 0).sum(axis=1)
        spread = np.where(usable, weight * error, 0) ** 2
        noise = np.sqrt(spread.sum(axis=1)) / np.where(usable, weight, 0).sum(axis=1)
        relative = relative / frame[:, None]
        # A comparison star is part of its own reference.
        share = np.where(chosen, weight / weight.sum(), 0.0)
        total = np.sqrt(np.maximum(error**2 * (1 - 2 * share) + (noise**2)[:, None], 0)) / frame[:, None]
        return curves.replace(
            flux=relative,
            flux_err=np.where(np.isfinite(relative), total, np.nan),
            unit="",
            comparisons=dict(zip(curves.sources[chosen].tolist(), share[chosen].tolist(), strict=True)),
        )


class Plain(Executor):
    """One after the other."""

    def map(self, work, items):
        for index, item in enumerate(items):
            try:
                yield Outcome(index, work(item))
            except FrameError as error:
                yield Outcome(index, error=str(error))


class Counts(Report):
    """How many frames were used."""

    def write(self, run, folder):
        path = folder / "counts.txt"
        path.write_text(str(len(run.frames)))
        return [path]


HONEST = [
    Circle(),
    Clipped(),
    Windowed(),
    Pairs(),
    NanMean(kind="bias"),
    NanMean(kind="dark"),
    NanMean(kind="flat"),
    Gain(),
    Divide(),
    Dim(),
    BySum(),
    Plain(),
    Counts(),
    PlainCamera(),
    PlainCamera(amplifiers=2, overscan=False),
]


@pytest.mark.parametrize("stage", HONEST, ids=lambda stage: f"{stage.name}-{stage}")
def test_an_honest_stage_passes(stage):
    report = conformance.certify(stage)
    assert report.passed, str(report)
    assert {result.status for result in report.results} <= {"passed", "skipped", "warned"}
