"""The kit passes honest stages, and fails a broken one in exactly the check concerned."""

from dataclasses import replace

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
    PSFEstimator,
    Report,
    Section,
    Selection,
    Selector,
    Sources,
    Terms,
    Tile,
    Transform,
    image,
    variance_of,
)
from albireo.testing import Night, PlainCamera, conformance, simulate_night

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
        fine = (np.arange(5) + 0.5) / 5 - 0.5
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
        for _ in range(8):
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


class Moments(PSFEstimator):
    """The median of second moments within a Gaussian window of the width that the finder says."""

    stars: int = Field(25, ge=1, description="How many stars.")

    def fit(self, image, sources, background):
        stars = sources[(sources.flags == 0) & (sources.fwhm > 0)][: self.stars]
        found = [self.one(image, background, *star) for star in zip(stars.x, stars.y, stars.fwhm, strict=True)]
        shapes = np.array([shape for shape in found if shape is not None]).reshape(-1, 3)
        if not len(shapes):
            return None
        xx, yy, xy = np.median(shapes, axis=0)
        (minor, major), vectors = np.linalg.eigh([[xx, xy], [xy, yy]])
        theta = np.arctan(vectors[1, 1] / vectors[0, 1])
        return PSF(2.3548 * (major * minor) ** 0.25, np.sqrt(major / minor), theta, len(shapes))

    def one(self, image, background, x, y, fwhm):
        sigma = fwhm / 2.3548
        reach = int(np.ceil(4 * sigma))
        rows, columns = (slice(max(round(c) - reach, 0), round(c) + reach + 1) for c in (y, x))
        if not good_pixels(image)[rows, columns].all() or min(x, y) < reach:
            return None
        if max(x - image.shape[1], y - image.shape[0]) > -1 - reach:
            return None
        dx, dy = np.arange(columns.start, columns.stop) - x, (np.arange(rows.start, rows.stop) - y)[:, None]
        light = (image.data - background.level)[rows, columns] * np.exp(-0.5 * (dx**2 + dy**2) / sigma**2)
        xx, yy, xy = (float((light * m).sum() / light.sum()) for m in (dx * dx, dy * dy, dx * dy))
        wide = np.linalg.inv(np.linalg.inv([[xx, xy], [xy, yy]]) - np.eye(2) / sigma**2) - np.eye(2) / 12
        return wide[0, 0], wide[1, 1], wide[0, 1]


class Pairs(Aligner):
    """Try pairs of bright stars, keep the map that most stars follow."""

    def align(self, sources, reference):
        best, there, here = 0, None, None
        s, r = sources.x + 1j * sources.y, reference.x + 1j * reference.y
        near, far = (list(zip(*np.triu_indices(min(14, len(z)), 1), strict=True)) for z in (r, s))
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
    Moments(),
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


# --- broken stages, each in one way -----------------------------------------------------------------------------------


class WrongErrors(Circle):
    """Errors too large by 1.3."""

    def measure(self, *given):
        table = super().measure(*given)
        return {**table, "flux_err": 1.3 * table["flux_err"]}


class DropsRows(Circle):
    """Leaves out what cannot be measured."""

    def measure(self, *given):
        table = super().measure(*given)
        return {name: column[np.isfinite(table["flux"])] for name, column in table.items()}


class InventsIdentities(Circle):
    """Counts rows by itself where identities are not in order."""

    def measure(self, image, sources, sky, psf):
        table = super().measure(image, sources, sky, psf)
        ordered = (np.diff(sources.id) > 0).all()
        return {**table, "id": sources.id if ordered else np.sort(sources.id)[::-1] + 1}


class IgnoresTheMask(Circle):
    """Takes masked pixels for good ones."""

    def measure(self, image_, sources, sky, psf):
        flags = np.where(image_.flags == Flag.BAD, 0, image_.flags) if image_.flags is not None else None
        bare = image(image_.data, "electron", variance=variance_of(image_), flags=flags)
        return super().measure(bare, sources, sky, psf)


class SpoilsItsInput(Circle):
    """Subtracts the sky in place, and puts it back not quite."""

    def measure(self, image, *given):
        table = super().measure(image, *given)
        image.data[0, 0] += 1
        return table


class ForgetsTheSky(Circle):
    """Subtracts too little sky."""

    def measure(self, image, sources, sky, psf):
        low = Background(0.985 * sky.level, sky.rms, 0.985 * sky.median, sky.median_rms)
        return super().measure(image, sources, low, psf)


class IsNotLinear(Circle):
    """Loses a part of bright stars."""

    def measure(self, *given):
        table = super().measure(*given)
        return {**table, "flux": table["flux"] * (1 - 2e-8 * table["flux"])}


class TotalSky(Circle):
    """Gives the sky of the whole aperture."""

    def measure(self, *given):
        table = super().measure(*given)
        return {**table, "sky": table["sky"] * np.pi * self.radius**2}


class HidesSaturation(Circle):
    """Does not look at the flags."""

    def one(self, image_, sky, x, y):
        flux, error, level, flags = super().one(image_, sky, x, y)
        if flags & Flag.SATURATED:
            return 1e5, 1e3, level, 0
        return flux, error, level, flags


class HidesTheEdge(Circle):
    """Does not say that the aperture was cut."""

    def measure(self, *given):
        table = super().measure(*given)
        return {**table, "flags": table["flags"] & ~np.uint16(Flag.EDGE)}


class HidesFailure(Circle):
    """NaN without a flag."""

    def measure(self, *given):
        table = super().measure(*given)
        return {**table, "flags": table["flags"] & ~np.uint16(Flag.FAILED)}


class NeedsStars(Circle):
    """Breaks without sources."""

    def measure(self, image, sources, *given):
        sources.flux.max()
        return super().measure(image, sources, *given)


class NeedsPsf(Circle):
    """Breaks without a PSF."""

    def measure(self, image, sources, sky, psf):
        assert psf.fwhm > 0
        return super().measure(image, sources, sky, psf)


class Throws(Circle):
    """Random."""

    def measure(self, *given):
        table = super().measure(*given)
        return {**table, "flux": table["flux"] + 1e-3 * np.random.default_rng().normal(size=len(table["flux"]))}


class OffByOne(Windowed):
    """Counts pixels from one."""

    def find(self, *given):
        found = super().find(*given)
        return Sources(**{**found.columns(), "x": found.x + 1, "y": found.y + 1})


class Degrees(Windowed):
    """Angles in degrees."""

    def find(self, *given):
        found = super().find(*given)
        return Sources(**{**found.columns(), "theta": np.rad2deg(found.theta)})


class Clockwise(Windowed):
    """Angles the wrong way round."""

    def find(self, *given):
        found = super().find(*given)
        return Sources(**{**found.columns(), "theta": -found.theta})


class Unsorted(Windowed):
    """Faintest first."""

    def find(self, *given):
        return super().find(*given)[::-1]


class SigmaForWidth(Windowed):
    """Gives the diameter at one sigma as the width."""

    def find(self, *given):
        found = super().find(*given)
        return Sources(**{**found.columns(), "fwhm": 2 * np.sqrt(found.a * found.b)})


class BrightOnly(Windowed):
    """Misses faint stars."""

    def find(self, *given):
        found = super().find(*given)
        return found[found.flux > 5e3]


class Credulous(Windowed):
    """Believes in noise."""

    def find(self, image, background):
        low = Background(background.level, 0.6 * background.rms, background.median, 0.6 * background.median_rms)
        return super().find(image, low)


class MeanSky(Clipped):
    """Stars in the sky."""

    def estimate(self, image):
        sky = super().estimate(image)
        level = float(image.data[good_pixels(image)].mean(dtype=float))
        return Background(np.full(image.shape, level, np.float32), sky.rms, level, sky.median_rms)


class ErrorOfTheMean(Clipped):
    """The rms of something else."""

    def estimate(self, image):
        sky = super().estimate(image)
        return Background(sky.level, sky.rms / 10, sky.median, sky.median_rms / 10)


class SigmaForFwhm(Moments):
    """Takes the standard deviation for the width."""

    def fit(self, *given):
        psf = super().fit(*given)
        return psf and replace(psf, fwhm=psf.fwhm / 2.3548)


class DegreesOfStars(Moments):
    """The angle of stars in degrees."""

    def fit(self, *given):
        psf = super().fit(*given)
        return psf and replace(psf, theta=float(np.rad2deg(psf.theta)))


class BelievesTheFinder(PSFEstimator):
    """The width of the brightest source, whatever it is."""

    def fit(self, image, sources, background):
        return PSF(float(sources.fwhm[0]), stars=1) if len(sources) else None


class SpreadsLight(Moments):
    """A grid that adds light, too large for a product."""

    def fit(self, *given):
        psf = super().fit(*given)
        return psf and replace(psf, grid=np.full((181, 181), 1e-4, np.float32), oversampling=2)


class AlwaysSeesAStar(Moments):
    """A PSF without stars."""

    def fit(self, *given):
        return super().fit(*given) or PSF(3.5, stars=1)


class LooksUnderTheMask(Moments):
    """Uses masked pixels."""

    def fit(self, image_, sources, background):
        return super().fit(image(image_.data, str(image_.unit)), sources, background)


class Inverse(Pairs):
    """The map the wrong way round."""

    def align(self, *given):
        return super().align(*given).inverse()


class AlwaysSure(Pairs):
    """A map for everything."""

    def align(self, *given):
        try:
            return super().align(*given)
        except FrameError:
            return Transform.identity()


class ShiftOnly(Pairs):
    """Refuses what is turned: an honest limit."""

    def align(self, *given):
        found = super().align(*given)
        if abs(found.rotation) > 0.1 or abs(found.scale - 1) > 1e-3:
            raise FrameError("the field is turned")
        return found


class FloatVariance(NanMean):
    """The variance of one frame instead of the mean."""

    def build(self, stack):
        master = super().build(stack)
        return image(master.data, str(master.unit), variance=len(stack) * variance_of(master), flags=master.flags)


class DropsNan(NanMean):
    """One missing pixel costs all."""

    def build(self, stack):
        master = super().build(stack)
        data = np.array(master.data)
        for strip in stack.strips():
            data[strip.rows][np.isnan(strip.data).any(axis=0)] = np.nan
        flags = np.where(np.isfinite(data), 0, Flag.NO_DATA).astype(np.uint16)
        return image(data, str(master.unit), variance=variance_of(master), flags=flags)


class FirstCounts(NanMean):
    """Prefers the first frame."""

    def build(self, stack):
        master = super().build(stack)
        return image(
            master.data + 1e-4 * stack[0].data, str(master.unit), variance=variance_of(master), flags=master.flags
        )


class KeepsTheBuffer(NanMean):
    """Forgets that the buffer is used again."""

    def build(self, stack):
        master = super().build(stack)
        kept = list(stack.strips())
        data = master.data.copy()
        for strip in kept:
            data[strip.rows] += 1e-3 * np.nanmean(strip.data[: len(stack), : strip.rows.stop - strip.rows.start])
        return image(data, str(master.unit), variance=variance_of(master), flags=master.flags)


class WrongUnit(Gain):
    """Says adu, means electrons."""

    def terms(self, image, frame, masters):
        return Terms(multiply=frame.gain)


class ForgetsFlags(Divide):
    """Loses flags."""

    def correct(self, picture, frame, masters):
        result = super().correct(picture, frame, masters)
        lost = np.where(np.isfinite(result.data), 0, Flag.NO_DATA).astype(np.uint16)
        return image(result.data, str(result.unit), variance=variance_of(result), flags=lost)


class ForgetsVariance(Divide):
    """Loses the variance."""

    def correct(self, *given):
        result = super().correct(*given)
        return image(result.data, str(result.unit), flags=result.flags)


class InPlace(Divide):
    """Divides the image it was given."""

    def correct(self, picture, frame, masters):
        result = super().correct(picture, frame, masters)
        picture.data /= masters["flat"].data
        return result


class NotFused(Gain):
    """Its own arithmetic, which is not that of its terms."""

    def correct(self, *given):
        result = super().correct(*given)
        return image(1.001 * result.data, str(result.unit), variance=variance_of(result), flags=result.flags)


class Loses(Dim):
    """Forgets what it drops."""

    def select(self, frames, measured):
        return Selection(super().select(frames, measured).kept)


class Silent(Dim):
    """Gives no reason."""

    def select(self, *given):
        result = super().select(*given)
        return Selection(result.kept, dict.fromkeys(result.dropped, ""))


class NumpyNumbers(Dim):
    """Measures something that cannot be stored."""

    def measure(self, image, frame):
        return {"median": np.float32(np.median(image.data))}


class ComparesWithItsTarget(BySum):
    """Takes every star for constant."""

    def apply(self, curves):
        result = super().apply(curves.replace(targets={}))
        return result.replace(targets=curves.targets)


class LosesPoints(BySum):
    """One missing point costs the frame."""

    def apply(self, curves):
        result = super().apply(curves)
        whole = np.isfinite(curves.flux[:, np.isfinite(curves.flux).any(axis=0)]).all(axis=1)
        return result.replace(flux=np.where(whole[:, None], result.flux, np.nan))


class KeepsErrors(BySum):
    """Relative fluxes with errors three times too small."""

    def apply(self, curves):
        result = super().apply(curves)
        return result.replace(flux_err=result.flux_err / 3)


class Adds(CurveStep):
    """Adds noise."""

    def apply(self, curves):
        noise = np.random.default_rng(0).normal(1, 0.02, curves.flux.shape)
        return curves.replace(flux=curves.flux * noise, flux_err=np.hypot(curves.flux_err, 0.02 * curves.flux))


class ChangesCurves(BySum):
    """Works in place."""

    def apply(self, curves):
        result = super().apply(curves)
        curves.flux[:] = 0
        return result


class Swallows(Plain):
    """Defects vanish."""

    def map(self, work, items):
        for index, item in enumerate(items):
            try:
                yield Outcome(index, work(item))
            except Exception as error:
                yield Outcome(index, error=str(error))


class StopsEarly(Plain):
    """A frame at fault ends the run."""

    def map(self, work, items):
        for index, item in enumerate(items):
            yield Outcome(index, work(item))


class Undescribed(Circle):
    """An option without help."""

    factor: float = 1.0


class Muddled(PlainCamera):
    """Header and frame do not agree on the exposure time."""

    def header(self, frame):
        cards = super().header(frame)
        cards["EXPTIME"] = cards["EXPTIME"] * 1000
        return cards


class ScienceOnly(PlainCamera):
    """Has no calibration frames: an honest limit."""

    def header(self, frame):
        if frame.kind != "science":
            raise ValueError(f"there are no {frame.kind} frames")
        return super().header(frame)


class Greedy(PlainCamera):
    """Owns everything."""

    def owns(self, header, path):
        return True


class Fragile(PlainCamera):
    """Cannot stand a strange header."""

    def owns(self, header, path):
        return header.get("INSTRUME") == self.name and header["EXPTIME"] >= 0


class CutsElsewhere(PlainCamera):
    """Regions are off by one."""

    def read(self, frame, region=None):
        whole = super().read(frame)
        return whole if region is None else whole[region.y0 + 1 : region.y1 + 1, region.x0 : region.x1]


class Unflagged(PlainCamera):
    """Saturation goes unnoticed."""

    def read(self, frame, region=None):
        return image(super().read(frame, region).data)


class Twins(PlainCamera):
    """Has two detectors and knows them by the file, as cameras with a file for each detector do."""

    def example(self):
        return self.examples()[0]

    def examples(self):
        first = super().example()
        return tuple(first.replace(path=f"{name}.fits", detector=name) for name in ("C1", "C2"))

    def header(self, frame):
        header = super().header(frame)
        header["DETECTOR"] = frame.detector
        return header

    def frames(self, path):
        from astropy.io import fits

        return [f.replace(detector=fits.getheader(path)["DETECTOR"]) for f in super().frames(path)]

    def together(self, frames):
        return Frames(f.replace(exposure=f"{f.start:.6f}") for f in frames)


class OneForAll(Twins):
    """Gives every frame of the night one exposure."""

    def together(self, frames):
        return Frames(f.replace(exposure="night") for f in frames)


class Reorders(Twins):
    """Gives frames back in order of time."""

    def together(self, frames):
        return super().together(frames).sorted("start", "detector")[::-1]


class SameTwice(Twins):
    """Gives an example of one detector twice."""

    def examples(self):
        first, second = super().examples()
        return first, second.replace(detector=first.detector)

    def together(self, frames):
        return frames


class NotAmongThem(Twins):
    """Has an example that is none of its examples."""

    def example(self):
        return super().example().replace(target="M 35")


class Overlaid(PlainCamera):
    """Puts two tiles on each other."""

    def example(self):
        frame = super().example()
        whole = Section(0, frame.shape[0], 0, frame.shape[1])
        left = Section(0, frame.shape[0], 0, 100)
        return frame.replace(tiles=(Tile(0, frame.shape, whole, whole), Tile(0, frame.shape, left, left)))

    def frames(self, path):
        return [f.replace(tiles=self.example().tiles) for f in super().frames(path)]


class Misspelt(PlainCamera):
    """Has a recipe with a mistake, and a stage of a plugin that nobody has."""

    @classmethod
    def recipe(cls):
        return """
            [instrument]
            use = "a-camera-from-elsewhere"
            [executor]
            use = "processes"
            jbos = 2
        """


class Elsewhere(PlainCamera):
    """Has coordinates far from the pointing."""

    def wcs(self, frame):
        from astropy.wcs import WCS

        wcs = WCS(naxis=2)
        wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
        wcs.wcs.crval = frame.ra, frame.dec - 20.0
        wcs.wcs.cdelt = -1e-4, 1e-4
        return wcs


BROKEN = [
    (WrongErrors(), {"error is the scatter"}),
    (DropsRows(), {"every source has a row"}),
    (InventsIdentities(), {"every source has a row"}),
    (IgnoresTheMask(), {"honours the mask"}),
    (SpoilsItsInput(), {"leaves its inputs alone"}),
    (ForgetsTheSky(), {"measures the same share of every star", "is linear"}),
    (IsNotLinear(), {"is linear"}),
    (TotalSky(), {"sky is per pixel"}),
    (HidesSaturation(), {"flags a saturated star"}),
    (HidesTheEdge(), {"flags a star at the edge"}),
    (NeedsStars(), {"measures an empty list"}),
    (NeedsPsf(), {"survives without a psf"}),
    (Throws(), {"is deterministic", "honours the mask", "works without a mask"}),
    (Undescribed(), {"describes every option"}),
    (OffByOne(), {"positions are right"}),
    (Degrees(), {"angles are right"}),
    (Clockwise(), {"angles are right"}),
    (Unsorted(), {"brightest first"}),
    (SigmaForWidth(), {"widths are right"}),
    (BrightOnly(), {"finds the stars"}),
    (Credulous(), {"finds nothing in noise"}),
    (MeanSky(), {"finds the level of the sky"}),
    (ErrorOfTheMean(), {"finds the noise of the sky"}),
    (SigmaForFwhm(), {"widths are right"}),
    (DegreesOfStars(), {"angles are right"}),
    (BelievesTheFinder(), {"ignores saturated stars", "gives nothing without stars"}),
    (SpreadsLight(), {"shares are of a whole star", "survives a product"}),
    (AlwaysSeesAStar(), {"gives nothing without stars"}),
    (LooksUnderTheMask(), {"honours the mask"}),
    (Inverse(), {"maps from the reference to the image"}),
    (FloatVariance(kind="dark"), {"variance is the scatter"}),
    (DropsNan(kind="bias"), {"honours missing pixels"}),
    (FirstCounts(kind="dark"), {"does not depend on the order"}),
    (KeepsTheBuffer(kind="bias"), {"does not depend on the strips"}),
    (WrongUnit(), {"gives an image"}),
    (ForgetsFlags(), {"keeps flags"}),
    (ForgetsVariance(), {"variance is finite"}),
    (InPlace(), {"leaves its inputs alone"}),
    (NotFused(), {"plain and fused agree"}),
    (Loses(), {"every frame is kept or dropped"}),
    (Silent(), {"gives reasons"}),
    (NumpyNumbers(), {"measures plain numbers"}),
    (ComparesWithItsTarget(), {"takes clouds out"}),
    (LosesPoints(), {"survives missing points"}),
    (KeepsErrors(), {"error is the scatter"}),
    (Adds(), {"constant stars stay constant"}),
    (ChangesCurves(), {"leaves its inputs alone"}),
    (Swallows(), {"a defect is passed on"}),
    (StopsEarly(), {"a frame error is an outcome"}),
    (Greedy(), {"owns its files"}),
    (Fragile(), {"owns survives strange headers"}),
    (CutsElsewhere(), {"a region is a cut"}),
    (Unflagged(), {"reads pixels by the rules"}),
    (OneForAll(), {"an exposure has a detector once"}),
    (Reorders(), {"together keeps the frames"}),
    (SameTwice(), {"examples are one of each detector"}),
    (NotAmongThem(), {"examples are one of each detector"}),
    (Misspelt(), {"recipe is right"}),
    (Elsewhere(), {"coordinates are near the pointing"}),
]


@pytest.mark.parametrize(("stage", "concerned"), BROKEN, ids=lambda value: getattr(value, "name", ""))
def test_a_broken_stage_fails_in_the_check_concerned(stage, concerned):
    report = conformance.certify(stage)
    assert {result.name for result in report.failures} == concerned, str(report)
    assert all(result.reason and result.meaning for result in report.failures)


def test_a_camera_of_two_detectors_passes():
    report = conformance.certify(Twins())
    assert report.passed, str(report)


def test_tiles_on_each_other_are_found_even_though_no_such_file_can_be_written():
    failed = {result.name: result.reason for result in conformance.certify(Overlaid()).failures}
    assert failed["tiles make up the image"] == "tiles lie on each other"


def test_a_mistake_in_a_recipe_is_told_and_a_missing_plugin_is_not():
    (failed,) = conformance.certify(Misspelt()).failures
    assert failed.reason.endswith("there is no option 'jbos'; did you mean 'jobs'?")
    assert "elsewhere" not in failed.reason


def test_samples_of_the_camera_pass_and_others_are_named(tmp_path):
    simulate_night(PlainCamera(), tmp_path, night=Night(science=2, bias=1, flat=1))
    files = sorted(tmp_path.iterdir())
    report = conformance.certify_samples(PlainCamera(), files)
    assert report.passed, str(report)
    assert len(report.results) > 8
    files[0].write_text("no FITS file")
    failed = conformance.certify_samples(PlainCamera(), files).failures
    assert [result.name for result in failed] == ["samples: file"]
    assert failed[0].reason == "bias-0001.fits: the file is not a FITS file: it does not begin with SIMPLE"
    failed = conformance.certify_samples(Twins(), files[1:]).failures
    assert {result.name for result in failed} == {"samples: owner"}, "Twins is another camera"


def test_samples_of_a_camera_must_tell_what_a_reduction_needs(tmp_path):
    class Silent(PlainCamera, name="plain-camera"):
        """Knows neither kinds nor filters."""

        def frames(self, path):
            kind = "unknown" if "bias" in path.name else None
            return [f.replace(kind=kind or f.kind, filter="", notes=("nothing says so",)) for f in super().frames(path)]

    simulate_night(PlainCamera(), tmp_path, night=Night(science=7, bias=1, flat=0))
    failed = {r.name: r.reason for r in conformance.certify_samples(Silent(), sorted(tmp_path.iterdir())).failures}
    assert failed.pop("samples: kind") == "bias-0001.fits: nothing says so"
    first, *_, last = failed.pop("samples: science").splitlines()
    assert (first, last.strip()) == ("science-0001.fits: no filter", "and 2 more")
    assert set(failed) <= {"samples: round trip"}


def test_headers_that_do_not_come_back_fail_for_every_kind_with_an_exposure():
    names = {result.name for result in conformance.certify(Muddled()).failures}
    assert names == {f"{kind} headers come back" for kind in ("science", "dark", "flat", "sky")}


def test_a_missing_value_without_flag_fails_wherever_a_value_is_missing():
    names = {result.name for result in conformance.certify(HidesFailure()).failures}
    assert names == {"gives finite errors", "honours the mask", "survives nan pixels"}


def test_an_aligner_that_is_always_sure_fails():
    failed = {result.name for result in conformance.certify(AlwaysSure()).failures}
    assert failed >= {"refuses fields that have nothing in common", "refuses empty lists", "follows a mirrored field"}


def test_an_honest_limit_is_skipped_with_its_reason():
    results = {result.name: result for result in conformance.certify(ShiftOnly()).results}
    assert results["follows a rotation"].status == "skipped"
    assert results["follows a rotation"].reason.endswith("it raised FrameError: the field is turned")
    assert results["follows a large shift"].status == "passed"


def test_kinds_that_a_camera_does_not_write_are_skipped():
    results = {result.name: result for result in conformance.certify(ScienceOnly()).results}
    assert results["dark headers come back"].reason == "the camera writes no dark frames: there are no dark frames"
    skipped = {name for name, result in results.items() if result.status == "skipped"}
    assert skipped == {f"{kind} headers come back" for kind in ("bias", "dark", "flat", "sky")} | {"recipe is right"}
    assert not [result for result in results.values() if result.status == "failed"]


@pytest.mark.parametrize("case", conformance.cases(Dim(min=2000.0)), ids=str)
def test_three_lines_are_enough_for_an_author(case):
    case()


def test_a_class_is_certified_with_its_defaults():
    assert [r.name for r in conformance.certify(Dim).results] == [str(case) for case in conformance.cases(Dim())]
    kinds = [result.name.rpartition(" ")[2] for result in conformance.certify(NanMean).results]
    assert sorted(set(kinds)) == ["[bias]", "[dark]", "[flat]", "[sky]"]


class Demanding(Dim):
    """Cannot do without an option."""

    target: str = Field(description="Which target.")


def test_a_class_that_needs_options_says_which():
    with pytest.raises(ValueError, match=r"Demanding needs options .*target: Field required.*give a configured stage"):
        conformance.certify(Demanding)


def test_a_report_reads_well():
    text = str(conformance.certify(Silent()))
    assert text.startswith("selector silent: ")
    assert "  failed  gives reasons\n          no reason for flat-" in text
    assert "          must hold: Every dropped frame has a reason in words." in text
