"""OPTICAM, the triple camera of the 2.1 m telescope at San Pedro Martir, for Albireo."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from albireo import (
    SECONDS_PER_DAY,
    CameraDefinition,
    Cards,
    DeclarativeInstrument,
    Frame,
    FrameError,
    Frames,
    Instrument,
    hookimpl,
    mjd_to_iso,
)
from albireo_opticam.coadds import Coadding, exposures_in, of_several
from albireo_opticam.doubts import NOMINAL_GAIN, doubts
from albireo_opticam.names import file_name, trigger

if TYPE_CHECKING:
    from astropy.io.fits import Header

    from albireo.testing import Simulation

__all__ = ["OPTICAM", "instruments"]


class OPTICAM(DeclarativeInstrument, name="opticam"):
    """OPTICAM, the triple camera of the 2.1 m telescope at San Pedro Martir.

    Three sCMOS cameras look at one field through dichroics and expose at once: the detectors ``C1`` (u, g), ``C2`` (r)
    and ``C3`` (i, z). Facts and their sources stand in ``opticam.toml``.

    Constants that a recipe gives are those of one exposure and of the binned pixel.
    """

    definition = "opticam.toml"

    cameras: dict[str, Literal["C1", "C2", "C3"]] = Field(
        {}, description="Serial number (SERIALN) to camera, for chips that were exchanged or are not known yet."
    )
    kinds: dict[str, Literal["science", "bias", "dark", "flat", "other"]] = Field(
        {},
        description="Pattern of the file name, or of the whole path if it holds a '/', to the kind of the frame. It "
        "counts more than IMGTYPE, which is often left at 'object'.",
    )
    coadds: Coadding | None = Field(
        None, description="Whether frames made of several exposures (EXPCOAD) hold their sum or their mean."
    )
    clock: float = Field(
        0.0,
        description="Added to the times of the headers, where the clock of the camera is known to be off.",
        json_schema_extra={"unit": "s"},
    )

    @property
    def camera(self) -> CameraDefinition:
        """The table, with the serial numbers that the recipe adds."""
        camera = super().camera
        if not self.cameras:
            return camera
        rule = camera.frame.detector
        assert rule is not None
        # First in order, and not overruled.
        rule = rule.model_copy(update={"values": {**self.cameras, **rule.values, **self.cameras}})
        return camera.model_copy(update={"frame": camera.frame.model_copy(update={"detector": rule})})

    def adapt(self, frame: Frame, cards: Cards) -> Frame:
        """Add what takes more than one card: kind by the recipe, co-adding, clock, trigger, and doubts.

        Raises
        ------
        FrameError
            If a science frame by the recipe has no time, or if it is not known how several exposures were added.
        """
        frame = self._kind(frame, cards)
        rule = self.camera.frame.detector
        serials = {text.lower() for text in rule.values} if rule is not None else set()
        notes = [*frame.notes, *doubts(frame, cards, serials, self.wanted("gain", frame.detector) is not None)]
        if self.clock:
            notes.append(f"times moved by {self.clock:g} s, as the recipe says")
        frame = of_several(frame.replace(notes=tuple(notes)), exposures_in(frame, cards), self.coadds)
        days = self.clock / SECONDS_PER_DAY
        frame = frame.replace(start=frame.start + days, mid=frame.mid + days)
        return frame.replace(
            exposure=trigger(str(cards.get("FILENAME", "")), Path(frame.path).name),
        )

    def _kind(self, frame: Frame, cards: Cards) -> Frame:
        """Let the recipe name the kind, and say where it was not IMGTYPE that did."""
        path, said = Path(frame.path), str(cards.get("IMGTYPE", ""))
        for pattern, kind in self.kinds.items():
            name = path.as_posix() if "/" in pattern else path.name
            if not fnmatchcase(name.lower(), pattern.lower()):
                continue
            if kind == "science" and not isfinite(frame.mid):
                raise FrameError(
                    f"{frame.path}: the recipe makes it a science frame, but its start (GPSTIME, UT, DATE-OBS) or "
                    "EXPOSURE is missing"
                )
            notes = [note for note in frame.notes if not note.startswith("kind unknown")]
            return frame.replace(
                kind=kind, notes=(*notes, f"{kind} by the recipe ({pattern}); the header says IMGTYPE = {said!r}")
            )
        note = ""
        if frame.kind in ("bias", "dark", "flat") and said.lower() in ("", "object", "other"):
            note = f"{frame.kind} by its folder {path.parent.name!r}; the header says IMGTYPE = {said!r}"
        elif frame.kind == "other" and frame.exptime == 0.0:
            note = "an exposure of 0 s with IMGTYPE = 'other': if it is a bias, say so by kinds under [instrument]"
        return frame.replace(notes=(*frame.notes, note)) if note else frame

    def together(self, frames: Frames) -> Frames:
        """Give frames that were triggered together one id: the digits of their names, else one for those that overlap.

        Digits count where more than one camera, and no camera twice, has them.
        """
        shared = {
            name
            for (name,), group in frames.by("exposure").items()
            if len(group) > 1 and len({frame.detector for frame in group}) == len(group)
        }
        return super().together(Frames(f if f.exposure in shared else f.replace(exposure="") for f in frames))

    def header(self, frame: Frame) -> Header:
        """Write the cards as the camera's software does: a nominal gain, blanks in UT, and digits for the trigger."""
        header = super().header(frame)
        setup = dict(frame.setup)
        header["GAIN"] = NOMINAL_GAIN
        header["BINNING"] = setup["binning"]
        header["CCDXBIN"], header["CCDYBIN"] = (int(number) for number in setup["binning"].split("x"))
        header["EXPCOAD"] = int(setup["coadds"])
        header["EXPOSURE"] = frame.exptime / header["EXPCOAD"]
        date, _, clock = mjd_to_iso(frame.start - self.clock / SECONDS_PER_DAY).partition("T")
        header["UT"], header["DATE-OBS"] = f"{date} {clock} ", date
        header["FILENAME"] = file_name(frame)
        if not frame.has_position:
            header["RA"], header["DEC"] = "0", "31"
        return header

    def filename(self, frame: Frame, number: int) -> str:
        """Name a file as the camera's software does; the start of the exposure tells files apart."""
        return file_name(frame)

    def simulation(self) -> Simulation:
        """Describe a night as the real triplet shows it: scales, offsets, noise and hot pixels of November 2023."""
        from albireo_opticam.simulation import simulation

        return simulation(self.examples())

    @classmethod
    def recipe(cls) -> str:
        """Give a recipe for a night of time series."""
        return Path(__file__).with_name("recipe.toml").read_text(encoding="utf-8")


@hookimpl
def instruments() -> Iterable[type[Instrument]]:
    """Yield the camera."""
    yield OPTICAM
