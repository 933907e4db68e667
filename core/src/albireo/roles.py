"""What a plugin can be: one small abstract class for each role.

A stage is a frozen, configured object whose fields are its options. One declaration gives the keys a recipe may use,
their validation, the reference page, the record of provenance and a small job that travels to a worker. Options are
pydantic fields with a description; the name that a recipe writes after ``use`` is given with the class::

    class Aperture(Photometer, name="aperture"):
        '''Sum in circles.'''

        radius: float = Field(3.0, gt=0, description="Radius of the circle.", json_schema_extra={"unit": "pixel"})

        def measure(self, image, sources, sky, psf): ...

Stages work without the framework too: ``Aperture(radius=4).measure(image, sources, None, None)``.

Nothing heavy is imported here, and a plugin should import its own heavy libraries inside its methods, so that
``albireo check`` stays fast however many plugins are installed.
"""

from __future__ import annotations

import inspect
import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, field_validator

from albireo.frames import Frame, FrameError, Frames, Section

if TYPE_CHECKING:
    import numpy as np
    from astropy.io.fits import Header
    from astropy.nddata import CCDData
    from astropy.table import Table
    from astropy.wcs import WCS
    from numpy.typing import NDArray

    from albireo.curves import Ensemble
    from albireo.pixelwise import Terms
    from albireo.psf import PSF
    from albireo.results import Results
    from albireo.sources import Background, Sources, Transform
    from albireo.testing.simulation import Simulation

__all__ = [
    "ROLES",
    "AlignedFrame",
    "AlignedFrames",
    "Aligner",
    "BackgroundEstimator",
    "Correction",
    "CurveStep",
    "Executor",
    "Finder",
    "ImageAligner",
    "Instrument",
    "MasterBuilder",
    "Outcome",
    "PSFEstimator",
    "Photometer",
    "PixelwiseCorrection",
    "Report",
    "Role",
    "Selection",
    "Selector",
    "Stack",
    "Stacker",
    "Stage",
    "Strip",
]

Item = TypeVar("Item")
Result = TypeVar("Result")


class Stage(BaseModel):
    """The base of every role: frozen options, a name, and the terms under which it works with others.

    Class attributes
    ----------------
    name : str
        What a recipe writes after ``use``. Given as ``class X(Role, name="x")``; else the class name in lower case.
    needs : frozenset of str
        What must have happened before this stage runs: for a correction any of ``pedestal``, ``trim``, ``dark``,
        ``electron``, ``flat``; for a finder or photometer also ``background`` and ``psf``.
    provides : frozenset of str
        What is true after it.
    excludes : frozenset of str
        Of a correction: what must not have happened before it.
    citations : tuple of str
        What a paper that uses this stage should cite, one reference each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(), arbitrary_types_allowed=False)

    name: ClassVar[str] = ""
    needs: ClassVar[frozenset[str]] = frozenset()
    provides: ClassVar[frozenset[str]] = frozenset()
    excludes: ClassVar[frozenset[str]] = frozenset()
    citations: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, *, name: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.name = name or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", cls.__name__).lower()

    @classmethod
    def __pydantic_init_subclass__(cls, *, name: str | None = None, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)

    def fingerprint(self) -> str:
        """Give what the options do not say but the result depends on, such as the digest of a file they name."""
        return ""

    @classmethod
    def summary(cls) -> str:
        """Give the first paragraph of the docstring, on one line."""
        text = inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0]
        return " ".join(text.split())


# --- instruments ------------------------------------------------------------------------------------------------------


class Instrument(Stage):
    """Knows how one camera writes its files.

    Most cameras need no code: see `albireo.DeclarativeInstrument`, which implements all of this from a table.
    """

    @abstractmethod
    def owns(self, header: Header, path: Path) -> bool:
        """Whether this camera wrote the file. Must not raise on strange headers."""

    @abstractmethod
    def frames(self, path: Path) -> Iterable[Frame]:
        """Read the headers of one file and give a frame for each image in it.

        Raises
        ------
        FrameError
            If the file cannot be understood, with what is missing and where.
        """

    @abstractmethod
    def read(self, frame: Frame, region: Section | None = None) -> CCDData:
        """Read raw pixels: float32, unit adu, no variance; `Flag.SATURATED` and `Flag.NO_DATA` set.

        Parameters
        ----------
        frame : Frame
        region : Section, optional
            Only this part of the raw image.

        Raises
        ------
        FrameError
            If the pixels cannot be read.
        """

    @abstractmethod
    def header(self, frame: Frame) -> Header:
        """Write the header this camera would write for a frame: the inverse of `frames`.

        Raises
        ------
        ValueError
            If this camera writes no frames of this kind.
        """

    def headers(self, frame: Frame) -> dict[int, Header]:
        """Write the header of each HDU of a file with this frame, by the index of the HDU.

        Only cameras that spread an image over several HDUs need more than `header`.
        """
        header = self.header(frame)
        return {0: header} if frame.hdu == 0 else {0: header, frame.hdu: header}

    @abstractmethod
    def example(self) -> Frame:
        """Give a typical science frame, complete, for simulations and tests; small enough to simulate quickly."""

    def examples(self) -> tuple[Frame, ...]:
        """Give a typical science frame of each detector; those that lie in one file have the same ``path``."""
        return (self.example(),)

    def filename(self, frame: Frame, number: int) -> str:
        """Name a raw file as this camera does, below the folder of a night; empty where any name will do.

        Simulations and tests call their files so. Only cameras that tell something by the names of files or folders
        need it.

        Parameters
        ----------
        frame : Frame
            The first frame of the file.
        number : int
            Of its exposure in the night, from one.
        """
        return ""

    def together(self, frames: Frames) -> Frames:
        """Give frames of several detectors that were exposed at once the same `Frame.exposure`.

        Called with all frames of a night in order of their names; gives the same frames in the same order. A camera
        whose frames know their exposure by themselves, or that has one detector, leaves it at that.
        """
        return frames

    def simulation(self) -> Simulation | None:
        """Describe a night of this camera with its own quirks for ``albireo demo``; None for the usual one."""
        return None

    def match(self, kind: str) -> tuple[str, ...]:
        """Which attributes of `Frame` a master of this kind must share with the frame it is used for."""
        common = ("instrument", "detector", "shape", "setup")
        return (*common, "filter") if kind in ("flat", "sky", "fringe", "illumination") else common

    def wcs(self, frame: Frame) -> WCS | None:
        """Celestial coordinates of the raw image from its header; None if there are none to trust."""
        return None

    def guess(self, frame: Frame) -> WCS | None:
        """Celestial coordinates of the raw image from where the telescope was sent; None if that is not known.

        A start for a plate solution. Off by arcseconds or arcminutes, it never places a target.
        """
        return None

    @classmethod
    def recipe(cls) -> str:
        """Give a recipe to start from, as TOML text; empty if this camera has none of its own."""
        return ""


# --- selection --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Selection:
    """What a selector decided: the frames kept, and a reason for each frame dropped, by its name."""

    kept: Frames
    dropped: dict[str, str] = field(default_factory=dict)


class Selector(Stage):
    """Decides which frames take part: from header facts, from raw pixels, or from the reduced frames.

    A selector that needs raw pixels overrides `wants` and `measure`; measuring runs in the workers, once for each
    frame, and is remembered between runs. One that sets `judges_results` is asked after the science frames were
    reduced; what it drops then makes no light curves and no stacks.

    Class attributes
    ----------------
    judges_results : bool
        Whether it decides by what the reduction measured (the numbers of the table of frames) instead of before it.
    """

    judges_results: ClassVar[bool] = False

    def wants(self, frame: Frame) -> bool:
        """Whether this frame must be measured before `select`."""
        return False

    def measure(self, image: CCDData, frame: Frame) -> dict[str, float]:
        """Measure numbers on the raw image (unit adu, with saturation flags); NaN where there is no value."""
        return {}

    @abstractmethod
    def select(self, frames: Frames, measured: Mapping[str, Mapping[str, float]]) -> Selection:
        """Decide.

        Parameters
        ----------
        frames : Frames
            Those that are left after the selectors before this one.
        measured : mapping
            What `measure` gave, by the name of the frame; for a selector that judges results the numbers of the table
            of frames, and ``field``, a number that frames aligned onto the same reference share.
        """

    def rescue(self, frames: Frames) -> Mapping[str, str]:
        """Say which frames must stay whatever this or another selector says, by name, with the reason."""
        return {}


# --- masters ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Strip:
    """The same rows of every frame of a stack.

    Attributes
    ----------
    rows : slice
        Which rows of the master these are.
    data : ndarray of float32, shape (n, rows, nx)
        Corrected pixels; the buffer is used again for the next strip. Masked pixels are NaN.
    """

    rows: slice
    data: NDArray[np.float32]


class Stack(Sequence["CCDData"]):
    """Frames of one group, corrected up to where their master will be used, without holding them in memory.

    Indexing gives one corrected image with its variance; `strips` gives all of them, some rows at a time.

    Attributes
    ----------
    frames : Frames
    shape : tuple of int
        Rows and columns of the master.
    unit : str
    """

    frames: Frames
    shape: tuple[int, int]
    unit: str

    def pixels(self, index: int) -> NDArray[np.float32]:
        """One corrected image as a plain array, NaN where it is masked; cheaper than ``stack[index]``."""
        import numpy as np

        picture = self[index]
        return picture.data if picture.mask is None else np.where(picture.mask, np.float32(np.nan), picture.data)

    @abstractmethod
    def strips(self, scale: NDArray[np.float64] | None = None) -> Iterator[Strip]:
        """Go through the stack from the first row to the last within the memory of the recipe.

        Parameters
        ----------
        scale : ndarray, shape (n,), optional
            Multiply each frame by a number first.
        """


class MasterBuilder(Stage):
    """Combines many calibration frames into one."""

    kind: str = Field(description="Which kind of master to make, as corrections ask for it: bias, dark, flat or sky.")

    def wants(self, frame: Frame) -> bool:
        """Whether this frame may become part of a master; by default those of the same kind."""
        return frame.kind == self.kind

    def split(self, frames: Frames) -> Iterable[Frames]:
        """Split frames that agree in what their camera matches masters by into those that make one master each.

        By default variants do not mix, and darks of different exposure times do not. Groups may share frames.

        Parameters
        ----------
        frames : Frames
            In order of time.
        """
        return frames.by(*(("exptime", "variant") if self.kind == "dark" else ("variant",))).values()

    def comparable(self, frames: Frames, others: Frames) -> bool:
        """Whether masters of these and of those frames, both of one night, should be held against each other."""
        return False

    def compare(self, master: CCDData, other: CCDData) -> str:
        """Hold a new master against another of its kind from the same detector, and say what a person should know.

        The other is one of the same night where `comparable` asks for it, or the one before it in a library. Both have
        ``meta`` as in their files: EXPTIME, CCD-TEMP, NFRAMES, and what `build` noted. Empty if nothing is to be said.
        """
        return ""

    @abstractmethod
    def build(self, stack: Stack) -> CCDData:
        """Combine.

        Returns
        -------
        CCDData
            With the shape and unit of the stack (a flat or sky is dimensionless, around one), the variance of the
            result, and `Flag.NO_DATA` where no frame had a value. ``meta`` may hold what the report should say: numbers
            and texts under keys of at most eight characters, ``HISTORY`` lines, ``COMMENT`` lines that the run tells a
            person, and ``DROPPED``, the names of frames that it left out with the reasons. Planes beside it, such as
            the number of values of each pixel, go with `albireo.image` as ``planes``.

        Raises
        ------
        FrameError
            If these frames make no master.
        """


# --- corrections ------------------------------------------------------------------------------------------------------


class Correction(Stage):
    """One step from the raw image towards the calibrated image.

    Class attributes
    ----------------
    master : str
        The kind of master it takes; empty for none.
    uses_noise : bool
        Whether it looks at the variance of the image, which then is made for frames of masters too.
    """

    master: ClassVar[str] = ""
    uses_noise: ClassVar[bool] = False

    @abstractmethod
    def correct(self, image: CCDData, frame: Frame, masters: Mapping[str, CCDData]) -> CCDData:
        """Give a new image; ``masters`` holds this frame's master for each kind."""

    def choose(self, frame: Frame, masters: Sequence[Frames]) -> tuple[Frames | None, str]:
        """Choose among the groups of calibration frames that match a frame, and say why.

        Parameters
        ----------
        frame : Frame
            The frame to be corrected.
        masters : sequence of Frames
            Groups whose facts match by the instrument's rules; at least one.

        Returns
        -------
        Frames or None
            The group to use; None if none will do.
        str
            The reason, for the plan and the report.
        """

        def distance(group: Frames) -> float:
            return min((abs(f.start - frame.start) for f in group if f.start == f.start), default=float("inf"))

        best = min(masters, key=distance)
        days = distance(best)
        when = f"nearest in time, {days * 24:.1f} h away" if days < float("inf") else "times unknown"
        return best, "the only one that matches" if len(masters) == 1 else f"{when}, of {len(masters)} that match"

    def check(self, frame: Frame, group: Frames | None) -> str:
        """Say what is wrong with correcting this frame (with that group of calibration frames); empty if nothing."""
        return ""


class PixelwiseCorrection(Correction):
    """A correction that treats each pixel by itself: it states its terms, and the core does the arithmetic.

    Consecutive corrections of this kind run as one pass over the image, with the variance.
    """

    looks_at_pixels: ClassVar[bool] = False
    """Whether `terms` depends on the values of the image; such a correction starts a new pass."""

    @abstractmethod
    def terms(self, image: CCDData, frame: Frame, masters: Mapping[str, CCDData]) -> Terms:
        """State what to do to each pixel.

        Parameters
        ----------
        image : CCDData
            As it is before the pass. Use its pixels only if `looks_at_pixels`.
        """

    def correct(self, image: CCDData, frame: Frame, masters: Mapping[str, CCDData]) -> CCDData:
        """Correct one image by this step alone."""
        from albireo.pixelwise import apply_terms

        return apply_terms(image, frame, [self.terms(image, frame, masters)], last=False)


# --- finding and alignment --------------------------------------------------------------------------------------------


class BackgroundEstimator(Stage):
    """Sky level and noise of one image."""

    provides = frozenset({"background"})

    @abstractmethod
    def estimate(self, image: CCDData) -> Background:
        """Estimate; masked pixels do not take part.

        Raises
        ------
        FrameError
            If nothing is left to estimate from.
        """


class Finder(Stage):
    """Sources of one image."""

    needs = frozenset({"background"})
    provides = frozenset({"sources", "psf"})

    @abstractmethod
    def find(self, image: CCDData, background: Background) -> Sources:
        """Find, brightest first. An image without sources gives an empty list, not an error."""


class PSFEstimator(Stage):
    """The shape of a star in one image, from its stars."""

    needs = frozenset({"background", "sources"})
    provides = frozenset({"psf"})

    @abstractmethod
    def fit(self, image: CCDData, sources: Sources, background: Background) -> PSF | None:
        """Fit; None if no star is good enough.

        Parameters
        ----------
        image : CCDData
            Calibrated, with variance; masked pixels do not take part.
        sources : Sources
            What the finder found, brightest first.
        background : Background
        """


class Aligner(Stage):
    """Finds how one image lies on the reference.

    The limits are options of every aligner. They hold between two exposures of one camera; a map beyond them costs the
    frame.
    """

    needs = frozenset({"sources"})

    max_shift: PositiveFloat | tuple[PositiveFloat, PositiveFloat] | None = Field(
        None,
        description="Largest shift of the middle of the field: one number for its length, or two for x and y; none "
        "for any.",
        json_schema_extra={"unit": "pixel"},
    )
    max_rotation: float | None = Field(
        None, ge=0, description="Largest rotation either way; none for any.", json_schema_extra={"unit": "deg"}
    )
    max_scale: float | None = Field(
        1.1, ge=1, description="Largest change of scale, as a ratio either way (1.1 allows 0.909 to 1.1); none for any."
    )
    chain: bool = Field(
        True,
        description="Whether a frame that does not match the reference is aligned by way of the frame nearest in time "
        "that does, as where a field drifts out of the reference.",
    )

    def check(self, found: Transform, shape: tuple[int, int]) -> None:
        """Hold a map against the limits.

        Parameters
        ----------
        found : Transform
            From the reference to an image.
        shape : (int, int)
            Rows and columns of the reference.

        Raises
        ------
        FrameError
            If it is beyond one of them.
        """
        if self.max_rotation is not None and abs(found.rotation) > self.max_rotation:
            raise FrameError(f"rotation {found.rotation:.2f} deg is more than the {self.max_rotation:g} deg allowed")
        if self.max_scale is not None and not 1.0 / self.max_scale <= found.scale <= self.max_scale:
            raise FrameError(
                f"scale {found.scale:.4f} is outside the {1.0 / self.max_scale:.4f} to {self.max_scale:.4f} allowed"
            )
        middle = 0.5 * (shape[1] - 1), 0.5 * (shape[0] - 1)
        x, y = found(*middle)
        dx, dy = float(x) - middle[0], float(y) - middle[1]
        if isinstance(self.max_shift, tuple):
            if abs(dx) > self.max_shift[0] or abs(dy) > self.max_shift[1]:
                limits = " and ".join(f"{limit:g}" for limit in self.max_shift)
                raise FrameError(f"shift of {dx:.1f} and {dy:.1f} pixels is more than the {limits} pixels allowed")
        elif self.max_shift is not None and (dx * dx + dy * dy) ** 0.5 > self.max_shift:
            raise FrameError(
                f"shift of {(dx * dx + dy * dy) ** 0.5:.1f} pixels is more than the {self.max_shift:g} pixels allowed"
            )

    @abstractmethod
    def align(self, sources: Sources, reference: Sources) -> Transform:
        """Find the map from pixels of the reference to pixels of this image.

        Raises
        ------
        FrameError
            If there is none to be trusted, with the reason.
        """

    def across(self, sources: Sources, reference: Sources) -> Transform:
        """Find the map between two cameras that look at the same sky, whose scale, rotation and parity may differ.

        Options that limit what a telescope may do between two exposures do not count here.

        Raises
        ------
        FrameError
            If there is none to be trusted, or this aligner cannot map one camera onto another.
        """
        raise FrameError(f"{self.name} does not map one camera onto another")


class ImageAligner(Aligner):
    """An aligner that looks at the pixels, or at the celestial coordinates of the images, and needs no stars."""

    needs = frozenset()

    @abstractmethod
    def align_images(self, image: CCDData, reference: CCDData) -> Transform:
        """Find the map from pixels of the reference to pixels of this image.

        Parameters
        ----------
        image, reference : CCDData
            Calibrated. ``wcs`` holds the celestial coordinates that the camera vouches for, in pixels of the image as
            it is; None if there are none.

        Raises
        ------
        FrameError
            If there is none to be trusted, with the reason.
        """

    def align(self, sources: Sources, reference: Sources) -> Transform:
        """Refuse: this aligner does not look at lists of sources."""
        raise FrameError(f"{self.name} aligns images, not lists of sources")


# --- stacks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AlignedFrame:
    """One frame of a field: how it lies on the reference, and how good it is.

    Attributes
    ----------
    frame : Frame
    transform : Transform
        From pixels of the reference to pixels of this frame.
    star_flux : float
        How bright its stars are, relative to the reference, where it is one; NaN if no star could be compared.
    fwhm : float
        Of a star, in pixels of this frame; NaN if unknown.
    sky, sky_rms : float
        Level of the sky and its noise in one pixel, in the unit of the image; NaN if unknown.
    """

    frame: Frame
    transform: Transform
    star_flux: float
    fwhm: float
    sky: float
    sky_rms: float


class AlignedFrames(Sequence[AlignedFrame]):
    """Frames of one field in order of time, aligned onto one reference; their pixels are read when they are asked for.

    `image` and `background` may be called from several threads at once.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns of the reference.
    unit : str
        Of the images.
    memory : int
        Bytes that a stack may take.
    scratch : Path
        A folder for files that do not outlive the stack.
    """

    shape: tuple[int, int]
    unit: str
    memory: int
    scratch: Path

    @abstractmethod
    def image(self, index: int) -> CCDData:
        """Read and calibrate one frame: data, variance and flags, in its own pixels.

        Raises
        ------
        FrameError
            If it cannot be read.
        """

    @abstractmethod
    def background(self, image: CCDData) -> Background:
        """Estimate the sky of one of the images as the recipe says."""


class Stacker(Stage):
    """Many aligned frames into one image."""

    needs = frozenset({"background"})

    label: str = Field("", pattern=r"^[A-Za-z0-9.+_-]*$", description="Added to the names of the files.")
    by_filter: bool = Field(True, description="Make a stack for each filter of a field; else one of all its frames.")

    @abstractmethod
    def stack(self, frames: AlignedFrames) -> CCDData:
        """Combine the frames on the pixels of the reference.

        Returns
        -------
        CCDData
            With variance, and `Flag.NO_DATA` where no frame has a value. ``planes`` holds ``COUNT`` (values used),
            ``COVERAGE`` (their exposure time in s) and ``REJECTED`` (values rejected). ``meta`` may hold numbers and
            texts for the header; ``LTV1`` and ``LTV2``, what to add to a position on the reference to get one on the
            stack, where its corner is another; ``HISTORY`` lines; ``USED``, the names of the frames in it with what was
            done to them; and ``DROPPED``, the names of those left out with the reasons.

        Raises
        ------
        FrameError
            If these frames make no stack.
        """


# --- photometry and light curves --------------------------------------------------------------------------------------


class Photometer(Stage):
    """Brightness of given sources in one image."""

    @abstractmethod
    def measure(
        self, image: CCDData, sources: Sources, sky: Background | None, psf: PSF | None
    ) -> Table | Mapping[str, Any]:
        """Measure.

        Parameters
        ----------
        image : CCDData
            Calibrated, with variance; its mask is honoured.
        sources : Sources
            Where to measure, in pixels of this image; identities in ``id``.
        sky : Background or None
            None if neither this stage nor another needs one.
        psf : PSF or None
            The shape of a star in this image, as the stage of the recipe's ``[psf]`` fitted it, else from the finder's
            sources; None if no star could be measured.

        Returns
        -------
        Table or mapping of arrays
            One row for each source and aperture: ``id``; ``flux`` and ``flux_err`` in the unit of the image;
            ``aperture`` in pixels (NaN if there is none); ``sky`` and ``sky_err`` per pixel; ``area``, the pixels
            summed (of a weighted sum the sum of the squares of its weights); ``x``, ``y``, ``x_err`` and ``y_err``
            where the method measures the place itself; ``correction`` and ``correction_err``, the factor that the flux
            was multiplied by for light outside the aperture, which all stars of the image have in common; ``flags``. A
            source that cannot be measured has NaN and `Flag.FAILED`, and is not left out.
        """


class CurveStep(Stage):
    """From light curves to light curves."""

    @abstractmethod
    def apply(self, curves: Ensemble) -> Ensemble:
        """Work on all curves of one field, filter, method and aperture.

        Raises
        ------
        FrameError
            If there are no curves to be made of these; the run says so and goes on with the others.
        """


class Report(Stage):
    """What a person looks at."""

    @abstractmethod
    def write(self, run: Results, folder: Path) -> list[Path]:
        """Write files into the folder from what a run left; the first path is the one to open."""


def parse_memory(text: str) -> int:
    """Read an amount of memory such as ``2 GiB`` as bytes.

    Raises
    ------
    ValueError
        If it is not one.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kMGT]?)(i?)B?\s*", text)
    if match is None or float(match[1]) <= 0:
        raise ValueError(f"{text!r} is not an amount of memory such as '2 GiB' or '800 MB'")
    base = 1024 if match[3] else 1000
    return int(float(match[1]) * base ** " kMGT".index(match[2] or " "))


# --- execution --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Result]):
    """What became of one item: a value, or an error and what kind it was.

    Attributes
    ----------
    index : int
        Position of the item in what was given to ``map``.
    value : object or None
    error : str
        Empty if all went well.
    permanent : bool
        True if the same item would fail again (the frame is at fault), false if the worker was.
    """

    index: int
    value: Result | None = None
    error: str = ""
    permanent: bool = True


class Executor(Stage):
    """Where jobs run."""

    memory: str = Field("2 GiB", description="Memory that masters and stacks may use in all, such as '800 MiB'.")

    @field_validator("memory")
    @classmethod
    def _is_an_amount(cls, text: str) -> str:
        parse_memory(text)
        return text

    @property
    def memory_bytes(self) -> int:
        """The memory in bytes."""
        return parse_memory(self.memory)

    @contextmanager
    def session(self) -> Iterator[None]:
        """Keep what is costly to start for all calls of `map` inside; a run is one session."""
        yield

    @abstractmethod
    def map(self, work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Outcome[Result]]:
        """Run ``work`` on every item and give outcomes as they come, in any order.

        ``work`` and the items can be pickled; ``work`` is sent to each worker once. A `FrameError` becomes an outcome
        with an error; so does the death of a worker. Any other exception is a defect and is passed on.
        """


@dataclass(frozen=True, slots=True)
class Role:
    """Where a role stands in hooks and recipes."""

    name: str
    hook: str
    table: str
    base: type[Stage]
    several: bool
    required: bool = False


ROLES: dict[str, Role] = {
    role.name: role
    for role in (
        Role("instrument", "instruments", "instrument", Instrument, several=False, required=True),
        Role("selector", "selectors", "select", Selector, several=True),
        Role("master", "masters", "masters", MasterBuilder, several=True),
        Role("correction", "corrections", "corrections", Correction, several=True),
        Role("background", "backgrounds", "background", BackgroundEstimator, several=False),
        Role("finder", "finders", "finding", Finder, several=False),
        Role("psf", "psfs", "psf", PSFEstimator, several=False),
        Role("aligner", "aligners", "alignment", Aligner, several=False),
        Role("stacker", "stackers", "stacks", Stacker, several=True),
        Role("photometer", "photometers", "photometry", Photometer, several=True),
        Role("curve-step", "curve_steps", "curves", CurveStep, several=True),
        Role("report", "reports", "reports", Report, several=True),
        Role("executor", "executors", "executor", Executor, several=False),
    )
}
"""Every role: its name, the hook that yields its classes, and its table in a recipe."""
