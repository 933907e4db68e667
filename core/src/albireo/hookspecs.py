"""The hooks: one for each role, and three events.

A plugin is an importable module, named in the entry-point group ``albireo`` of its distribution. A hook takes no
argument and yields classes; nothing is called through it. The docstring of each hook shows a whole plugin that runs;
``albireo new`` starts from it. What is heavy is imported inside the methods, so that ``albireo check`` stays fast.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

from albireo import roles

if TYPE_CHECKING:
    from albireo.plan import Plan
    from albireo.results import Results

hookspec = pluggy.HookspecMarker("albireo")
hookimpl = pluggy.HookimplMarker("albireo")
"""Marks a function of a plugin as the implementation of a hook."""


class Providers:
    """Hooks that yield the classes a plugin offers."""

    @hookspec
    def instruments(self) -> Iterable[type[roles.Instrument]]:
        """Yield cameras.

        ::

            from albireo import DeclarativeInstrument, hookimpl

            class MyCam(DeclarativeInstrument, name="mycam"):
                '''My camera on my telescope.'''
                definition = "mycam.toml"          # beside this file

            @hookimpl
            def instruments():
                yield MyCam
        """

    @hookspec
    def selectors(self) -> Iterable[type[roles.Selector]]:
        """Yield ways to decide which frames take part.

        ::

            from albireo import Frames, Selection, Selector, hookimpl
            from pydantic import Field

            class Short(Selector, name="short"):
                '''Drop long exposures.'''
                max: float = Field(60.0, description="Longest exposure.", json_schema_extra={"unit": "s"})

                def select(self, frames, measured):
                    long = {f.name: f"exposed for {f.exptime} s" for f in frames if f.exptime > self.max}
                    return Selection(Frames(f for f in frames if f.name not in long), long)

            @hookimpl
            def selectors():
                yield Short
        """

    @hookspec
    def masters(self) -> Iterable[type[roles.MasterBuilder]]:
        """Yield ways to combine calibration frames.

        ::

            from typing import Literal

            from albireo import MasterBuilder, hookimpl
            from pydantic import Field

            class Mean(MasterBuilder, name="mean"):
                '''The plain mean, for bias and dark.'''
                kind: Literal["bias", "dark"] = Field(description="Which frames to combine.")

                def build(self, stack):
                    import numpy as np
                    from albireo import Flag, image

                    data, variance = np.empty((2, *stack.shape), dtype=np.float32)
                    for strip in stack.strips():
                        there = np.isfinite(strip.data)
                        with np.errstate(invalid="ignore", divide="ignore"):
                            data[strip.rows] = np.mean(strip.data, axis=0, where=there)
                            variance[strip.rows] = np.var(strip.data, axis=0, where=there, ddof=1) / there.sum(axis=0)
                    flags = np.where(np.isfinite(variance), 0, Flag.NO_DATA).astype(np.uint16)
                    return image(data, stack.unit, variance=variance, flags=flags)

            @hookimpl
            def masters():
                yield Mean
        """

    @hookspec
    def corrections(self) -> Iterable[type[roles.Correction]]:
        """Yield steps from the raw to the calibrated image.

        ::

            from albireo import PixelwiseCorrection, hookimpl
            from pydantic import Field

            class Pedestal(PixelwiseCorrection, name="pedestal"):
                '''Subtract a constant.'''
                provides = frozenset({"pedestal"})
                level: float = Field(100.0, description="The constant.", json_schema_extra={"unit": "adu"})

                def terms(self, image, frame, masters):
                    from albireo import Terms

                    return Terms(subtract=self.level, pedestal=True)

            @hookimpl
            def corrections():
                yield Pedestal
        """

    @hookspec
    def backgrounds(self) -> Iterable[type[roles.BackgroundEstimator]]:
        """Yield ways to estimate the sky.

        ::

            from albireo import BackgroundEstimator, FrameError, hookimpl

            class Constant(BackgroundEstimator, name="constant"):
                '''One level for the whole frame, stars clipped away.'''

                def estimate(self, image):
                    import numpy as np
                    from albireo import Background
                    from astropy.stats import sigma_clipped_stats

                    good = np.isfinite(image.data) if image.mask is None else np.isfinite(image.data) & ~image.mask
                    if not good.any():
                        raise FrameError("every pixel is masked: there is no sky to measure")
                    _, level, rms = sigma_clipped_stats(image.data[good], sigma=3, maxiters=None)
                    maps = (np.full(image.shape, value, dtype=np.float32) for value in (level, rms))
                    return Background(*maps, float(level), float(rms))

            @hookimpl
            def backgrounds():
                yield Constant
        """

    @hookspec
    def finders(self) -> Iterable[type[roles.Finder]]:
        """Yield ways to find sources.

        ::

            from albireo import Finder, hookimpl
            from pydantic import Field

            class Segments(Finder, name="segments"):
                '''Connected pixels above a threshold.'''
                threshold: float = Field(3.0, gt=0, description="Lowest pixel, in units of the noise of the sky.")

                def find(self, image, background):
                    import numpy as np
                    from albireo import Sources, flags_of
                    from photutils.segmentation import SourceCatalog, detect_sources

                    bad = ~np.isfinite(image.data) if image.mask is None else ~np.isfinite(image.data) | image.mask
                    signal = np.where(bad, 0, image.data - background.level)
                    segments = detect_sources(signal, self.threshold * background.rms, 5, mask=bad)
                    if segments is None:
                        return Sources.make([], [])
                    found = SourceCatalog(signal, segments, mask=bad)
                    found = found[np.argsort(-found.segment_flux)]
                    x, y = found.centroid_win.T
                    flags = [np.bitwise_or.reduce(flags_of(image)[box], axis=None) for box in found.slices]
                    return Sources.make(
                        x, y, flux=found.segment_flux, peak=found.max_value, flags=flags, fwhm=found.fwhm.value,
                        a=found.semimajor_sigma.value, b=found.semiminor_sigma.value,
                        theta=found.orientation.to_value("rad"),
                    )

            @hookimpl
            def finders():
                yield Segments
        """

    @hookspec
    def psfs(self) -> Iterable[type[roles.PSFEstimator]]:
        """Yield ways to measure the shape of a star in an image.

        ::

            import numpy as np
            from albireo import PSF, PSFEstimator, hookimpl

            class Widest(PSFEstimator, name="widest"):
                '''A Gaussian as wide as the widest of the ten brightest stars.'''

                def fit(self, image, sources, background):
                    good = sources[(sources.flags == 0) & np.isfinite(sources.fwhm)][:10]
                    return PSF(float(good.fwhm.max()), stars=len(good)) if len(good) else None

            @hookimpl
            def psfs():
                yield Widest
        """

    @hookspec
    def aligners(self) -> Iterable[type[roles.Aligner]]:
        """Yield ways to find how an image lies on the reference.

        ::

            from albireo import Aligner, FrameError, hookimpl

            class Vote(Aligner, name="vote"):
                '''The shift that most pairs of stars agree on.'''

                def align(self, sources, reference):
                    import numpy as np
                    from albireo import Transform

                    most = 40
                    dx = (sources.x[:most, None] - reference.x[:most]).ravel()
                    dy = (sources.y[:most, None] - reference.y[:most]).ravel()
                    near = np.hypot(dx[:, None] - dx, dy[:, None] - dy) < 1.0
                    votes = near.sum(axis=0)
                    if votes.max(initial=0) < max(4, 0.4 * min(len(sources), len(reference), most)):
                        raise FrameError("no shift brings more than a few stars onto the reference")
                    agree = near[votes.argmax()]
                    rms = np.sqrt(dx[agree].var() + dy[agree].var())
                    shift = Transform.similarity(dx[agree].mean(), dy[agree].mean())
                    return Transform(shift.matrix, float(rms), int(agree.sum()))

            @hookimpl
            def aligners():
                yield Vote
        """

    @hookspec
    def stackers(self) -> Iterable[type[roles.Stacker]]:
        """Yield ways to combine aligned frames into one image.

        ::

            from albireo import Stacker, hookimpl

            class Nearest(Stacker, name="nearest"):
                '''The mean of the pixels that lie nearest, without the sky.'''

                def stack(self, frames):
                    import numpy as np
                    from albireo import Flag, image, variance_of

                    data, variance = np.zeros((2, *frames.shape))
                    count, coverage = np.zeros(frames.shape, np.int32), np.zeros(frames.shape, np.float32)
                    rows, columns = np.indices(frames.shape)
                    for index, facts in enumerate(frames):
                        picture = frames.image(index)
                        ny, nx = picture.shape
                        x, y = np.rint(facts.transform(columns, rows)).astype(int)
                        there = (x >= 0) & (x < nx) & (y >= 0) & (y < ny)
                        if picture.mask is not None:
                            there[there] &= ~picture.mask[y[there], x[there]]
                        at = y[there], x[there]
                        scale = facts.transform.scale**2 / facts.star_flux
                        data[there] += scale * (picture.data - frames.background(picture).level)[at]
                        variance[there] += scale**2 * variance_of(picture)[at]
                        count[there] += 1
                        coverage[there] += facts.frame.exptime
                    with np.errstate(invalid="ignore"):
                        data, variance = data / count, variance / count**2
                    flags = np.where(count == 0, Flag.NO_DATA, 0).astype(np.uint16)
                    planes = {"COUNT": count, "COVERAGE": coverage, "REJECTED": np.zeros_like(count)}
                    return image(data, frames.unit, variance=variance, flags=flags, planes=planes)

            @hookimpl
            def stackers():
                yield Nearest
        """

    @hookspec
    def photometers(self) -> Iterable[type[roles.Photometer]]:
        """Yield ways to measure brightness.

        ::

            from albireo import Photometer, hookimpl

            class PeakPixel(Photometer, name="peak-pixel"):
                '''The central pixel of each star.'''
                needs = frozenset({"background"})

                def measure(self, image, sources, sky, psf):
                    import numpy as np
                    from albireo import Flag, flags_of, variance_of

                    ny, nx = image.shape
                    inside = (sources.x > -0.5) & (sources.x < nx - 0.5) & (sources.y > -0.5) & (sources.y < ny - 0.5)
                    row, column = np.rint(np.where(inside, (sources.y, sources.x), 0)).astype(int)
                    good = inside if image.mask is None else inside & ~image.mask[row, column]
                    level = sky.level[row, column]
                    return {
                        "id": sources.id,
                        "flux": np.where(good, image.data[row, column] - level, np.nan),
                        "flux_err": np.where(good, np.sqrt(variance_of(image)[row, column]), np.nan),
                        "sky": level,
                        "flags": np.where(inside, flags_of(image)[row, column], 0) | np.where(good, 0, Flag.FAILED),
                    }

            @hookimpl
            def photometers():
                yield PeakPixel
        """

    @hookspec
    def curve_steps(self) -> Iterable[type[roles.CurveStep]]:
        """Yield steps from light curves to light curves.

        ::

            from albireo import CurveStep, hookimpl

            class Normalise(CurveStep, name="normalise"):
                '''Divide each curve by its median.'''

                def apply(self, curves):
                    import numpy as np

                    median = np.nanmedian(curves.flux, axis=0)
                    return curves.replace(flux=curves.flux / median, flux_err=curves.flux_err / median, unit="")

            @hookimpl
            def curve_steps():
                yield Normalise
        """

    @hookspec
    def reports(self) -> Iterable[type[roles.Report]]:
        """Yield things to look at after a run.

        ::

            from albireo import Report, hookimpl

            class Counts(Report, name="counts"):
                '''How many frames were used.'''

                def write(self, run, folder):
                    path = folder / "counts.txt"
                    used = sum(row["fate"] == "used" for row in run.frames)
                    path.write_text(f"{used} of {len(run.frames)} frames used")
                    return [path]

            @hookimpl
            def reports():
                yield Counts
        """

    @hookspec
    def executors(self) -> Iterable[type[roles.Executor]]:
        """Yield places where jobs run.

        ::

            from albireo import Executor, FrameError, Outcome, hookimpl

            class Plain(Executor, name="plain"):
                '''One after the other.'''

                def map(self, work, items):
                    for index, item in enumerate(items):
                        try:
                            yield Outcome(index, work(item))
                        except FrameError as error:
                            yield Outcome(index, error=str(error))

            @hookimpl
            def executors():
                yield Plain
        """


class Events:
    """Hooks that tell what happens; they run in the parent process and their results are ignored."""

    @hookspec
    def run_started(self, plan: Plan) -> None:
        """Tell that a run begins, with what it is going to do."""

    @hookspec
    def frame_finished(self, frame: str, stage: str, error: str) -> None:
        """Tell that a frame went through a stage of the run; ``error`` is empty if all went well."""

    @hookspec
    def run_finished(self, run: Results) -> None:
        """Tell that a run has ended, with what it left."""
