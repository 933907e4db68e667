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

            from albireo import MasterBuilder, hookimpl

            class Mean(MasterBuilder, name="mean"):
                '''The plain mean.'''

                def build(self, stack):
                    import numpy as np
                    from albireo import image

                    data = np.empty(stack.shape, dtype=np.float32)
                    variance = np.empty(stack.shape, dtype=np.float32)
                    for strip in stack.strips():
                        data[strip.rows] = strip.data.mean(axis=0)
                        variance[strip.rows] = strip.data.var(axis=0, ddof=1) / len(stack)
                    return image(data, stack.unit, variance=variance)

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

            from albireo import BackgroundEstimator, hookimpl

            class Flat(BackgroundEstimator, name="constant"):
                '''The median of the frame.'''

                def estimate(self, image):
                    import numpy as np
                    from albireo import Background

                    good = image.data[~image.mask] if image.mask is not None else image.data
                    level, rms = float(np.median(good)), float(np.std(good))
                    plane = np.ones(image.shape, dtype=np.float32)
                    return Background(level * plane, rms * plane, level, rms)

            @hookimpl
            def backgrounds():
                yield Flat
        """

    @hookspec
    def finders(self) -> Iterable[type[roles.Finder]]:
        """Yield ways to find sources.

        ::

            from albireo import Finder, hookimpl

            class Brightest(Finder, name="brightest"):
                '''The brightest pixel of the image.'''

                def find(self, image, background):
                    import numpy as np
                    from albireo import Sources

                    signal = image.data - background.level
                    y, x = np.unravel_index(np.nanargmax(signal), signal.shape)
                    return Sources.make([x], [y], peak=[signal[y, x]])

            @hookimpl
            def finders():
                yield Brightest
        """

    @hookspec
    def aligners(self) -> Iterable[type[roles.Aligner]]:
        """Yield ways to find how an image lies on the reference.

        ::

            from albireo import Aligner, FrameError, hookimpl

            class ByBrightest(Aligner, name="by-brightest"):
                '''Shift by the brightest star.'''

                def align(self, sources, reference):
                    from albireo import Transform

                    if not len(sources) or not len(reference):
                        raise FrameError("no star to align with")
                    return Transform.similarity(sources.x[0] - reference.x[0], sources.y[0] - reference.y[0])

            @hookimpl
            def aligners():
                yield ByBrightest
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
                    from albireo import Flag, variance_of

                    ny, nx = image.shape
                    row, column = np.rint(sources.y).astype(int), np.rint(sources.x).astype(int)
                    inside = (row >= 0) & (row < ny) & (column >= 0) & (column < nx)
                    at = np.where(inside, row, 0), np.where(inside, column, 0)
                    level = sky.level[at]
                    return {
                        "id": sources.id,
                        "flux": np.where(inside, image.data[at] - level, np.nan),
                        "flux_err": np.where(inside, np.sqrt(variance_of(image)[at]), np.nan),
                        "sky": level,
                        "flags": np.where(inside, 0, Flag.FAILED),
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
