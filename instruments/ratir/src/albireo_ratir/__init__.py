"""RATIR, the four-channel optical and infrared camera of the 1.5 m telescope at San Pedro Martir, for Albireo."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import cos, isfinite, nan, radians
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from albireo import (
    SECONDS_PER_DAY,
    Cards,
    DeclarativeInstrument,
    Frame,
    FrameError,
    Frames,
    Instrument,
    hookimpl,
    mjd_to_iso,
)
from albireo_ratir.astrometry import axis_of, celestial, centre_of, optical_axis
from albireo_ratir.channels import INFRARED, LETTERS, channel, is_cut, kind_by_name, require_one_channel
from albireo_ratir.clock import exposed, named_start
from albireo_ratir.halves import APERTURES, aperture_of, with_aperture

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from astropy.wcs import WCS

    from albireo.testing import Simulation

__all__ = ["RATIR", "instruments"]


CONSTANTS = ("gain", "read_noise", "saturation", "dark_current", "scale")
"""What a recipe can say of a detector."""

OF_THE_TARGET = ("STRSTRA", "STRSTDE", "STRAPRAO", "STRAPDEO")
"""Cards that frames without a target do not have."""

VISITS = {
    "bias": ("2012A-0006", "biases"),
    "dark": ("2012A-0007", "darks"),
    "flat": ("2012A-0008", "evening flats (bright)"),
}
"""Programme and name of the visits that take calibrations."""

BOTH_FILTERS = {"C2": "Z/Y", "C3": "J/H"}
"""What FILTER says of a raw infrared frame."""


class RATIR(DeclarativeInstrument, name="ratir"):
    """RATIR, four cameras behind dichroics on the 1.5 m Harold L. Johnson telescope.

    C0 (filter wheel) and C1 (i) are CCDs with bias and dark frames. C2 and C3 are infrared arrays with two filters side
    by side: a file gives two frames, the detectors C2Z and C2Y, C3J and C3H. Which half has the target follows from the
    aperture of the pointing; the other one sees the sky beside it and is of the kind ``sky``. Facts and their sources
    stand in ``ratir.toml``.
    """

    definition = "ratir.toml"

    sky_halves: Literal["sky", "science"] = Field(
        "sky",
        description="What the half beside the target is: a frame of the sky for the background of the infrared images, "
        "or a science frame like the other, to measure the stars on it.",
    )
    infrared_start: float = Field(
        0.0,
        ge=-60,
        le=60,
        description="How much later than SDATE the exposures of C2 and C3 begin.",
        json_schema_extra={"unit": "s"},
    )

    def adapt(self, frame: Frame, cards: Cards) -> Frame:
        """Complete a frame by what the table cannot say: channel, half, time, place and role.

        Raises
        ------
        FrameError
            If the cards and the name tell different channels, or an infrared frame has another size than raw frames
            and their halves.
        """
        path = Path(frame.path)
        require_one_channel(cards, path)
        frame = _with_cards_of_channel(frame, cards)
        infrared = frame.detector in INFRARED
        frame = exposed(frame, cards, infrared, self.infrared_start)
        if infrared:
            frame = self._half(frame, cards)
        named = kind_by_name(path)
        if named and named != frame.kind:
            frame = _noted(frame, f"the header says {frame.kind}, the file name {named}; the header counts")
        frame = self._with_role(frame, cards)
        return _placed(frame, cards)

    def _half(self, frame: Frame, cards: Cards) -> Frame:
        """Call an infrared frame by its half, and apply what the recipe says of this half alone."""
        half = str(cards.get("part", ""))
        if not half:
            ny, nx = frame.shape
            raise FrameError(
                f"{frame.path}: the halves of {frame.detector} are known in raw frames of 2048 x 2048 pixels and in "
                f"halves cut from them, not in frames of {nx} x {ny}"
            )
        name = frame.detector + half
        given = {quantity: self.wanted(quantity, name) for quantity in CONSTANTS}
        constants = {quantity: value for quantity, value in given.items() if value is not None}
        gain, read_noise = constants.pop("gain", frame.gain), constants.pop("read_noise", frame.read_noise)
        amplifiers = (replace(frame.amplifiers[0], gain=gain, read_noise=read_noise),)
        return frame.replace(detector=name, amplifiers=amplifiers, **constants)

    def _with_role(self, frame: Frame, cards: Cards) -> Frame:
        """Tell the half with the target from the half beside it, and keep flats apart that must not be mixed."""
        cut = is_cut(frame)
        if cut:
            frame = _noted(frame, "cut out of a raw frame by other software; its coordinates are not used")
        if frame.kind == "flat":
            # No dark is subtracted from infrared flats: what they hold of it depends on the exposure time.
            apart = f"{frame.exptime:g}s" if channel(frame.detector) in INFRARED else ""
            return frame.replace(variant="-".join(filter(None, ("cut" if cut else "", apart))))
        if frame.kind == "science":
            return with_aperture(frame, str(cards.get("STRRQAP", "")), self.sky_halves)
        return frame

    def together(self, frames: Frames) -> Frames:
        """Give frames of channels that were exposed at once the same exposure, by the stamps in their names."""
        commanded = Frames(frame.replace(start=named_start(frame)) for frame in frames)
        grouped = super().together(commanded).values("exposure")
        return Frames(frame.replace(exposure=name) for frame, name in zip(frames, grouped, strict=True))

    def header(self, frame: Frame) -> Header:
        """Write the cards that RATIR wrote in 2013; `frames` gives the same frame back.

        Raises
        ------
        ValueError
            For a frame of the sky whose aperture does not make it one.
        """
        infrared = channel(frame.detector) in INFRARED
        pointed = frame.kind in ("science", "sky")
        aperture = aperture_of(frame)
        east, north = APERTURES.get(aperture, (0.0, 0.0))
        ra, dec = axis_of(frame)
        dec += north / 60.0
        ra = (ra + east / 60.0 / cos(radians(dec))) % 360.0
        start = frame.start - (self.infrared_start / SECONDS_PER_DAY if infrared else 0.0)
        kind = "science" if frame.kind == "sky" else frame.kind
        header = super().header(frame.replace(kind=kind, ra=ra, dec=dec, start=start))
        header.remove("EXPTYPE", ignore_missing=True)  # a card of 2019
        closed = frame.kind in ("bias", "dark")
        header.update({"SHUTTER": int(closed), "SCRIPT": f"{'D' if closed else 'E'} {frame.exptime:g}"})
        if infrared:
            header["FILTER"] = BOTH_FILTERS[channel(frame.detector)]
        if frame.kind in VISITS:
            header["PRPSLID"], header["SEXVSNM"] = VISITS[frame.kind]
        header.update({"STRRQAP": aperture if pointed else "", "STRAPRAO": -east / 60.0, "STRAPDEO": -north / 60.0})
        if not (pointed and frame.has_position):
            for key in OF_THE_TARGET:
                header.remove(key, ignore_missing=True)
        return header

    def examples(self) -> tuple[Frame, ...]:
        """Give a science frame of each detector, the CCDs first."""
        return tuple(sorted(super().examples(), key=lambda frame: frame.detector))

    def example(self) -> Frame:
        """Give a science frame of C0."""
        return self.examples()[0]

    def wcs(self, frame: Frame) -> WCS | None:
        """Give the celestial coordinates of a raw image: a plate solution in its header.

        RATIR itself writes none. Halves that other software cut out have the coordinates of whole frames, or invented
        ones, and get None.
        """
        return None if is_cut(frame) else super().wcs(frame)

    def guess(self, frame: Frame) -> WCS | None:
        """Give celestial coordinates from the pointing alone, good to 2.5 arcmin; None where that is not known."""
        return None if is_cut(frame) else celestial(frame)

    def filename(self, frame: Frame, number: int) -> str:
        """Name a file by its start, channel and the letter of its kind; the start tells files apart."""
        letter = next((letter for letter, kind in LETTERS.items() if kind == frame.kind), "o")
        stamp = mjd_to_iso(frame.start)[:19].replace("-", "").replace(":", "")
        return f"{stamp}{channel(frame.detector)}{letter}.fits"

    def simulation(self) -> Simulation:
        """Describe a night that alternates between the two apertures, so that each half has the target in turn."""
        from albireo_ratir.night import simulation

        return simulation(self)

    @classmethod
    def recipe(cls) -> str:
        """Give a recipe for a night of all six bands."""
        return Path(__file__).with_name("recipe.toml").read_text(encoding="utf-8")


def _noted(frame: Frame, note: str) -> Frame:
    return frame.replace(notes=(*frame.notes, note))


def _with_cards_of_channel(frame: Frame, cards: Cards) -> Frame:
    """Fill in what headers of 2019 tell of each channel under a keyword of its own: ``SC1FL`` for C1."""

    def told(card: str) -> str:
        value = cards.get(f"S{frame.detector}{card}")
        return "" if value is None else str(value)

    binning = told("DTBN")
    instead = {
        "binning": binning and f"{binning}x{binning}",
        "software_gain": told("DTSG"),
        "readout": told("DTRM"),
        "set_temperature": told("CLTM").removesuffix(".0"),
    }
    temperature = cards.get(f"S{frame.detector}DTTM")
    if isfinite(frame.temperature) or not isinstance(temperature, int | float):
        temperature = frame.temperature
    return frame.replace(
        filter=frame.filter or told("FL"),
        temperature=float(temperature),
        setup=tuple((name, value or instead.get(name, "")) for name, value in frame.setup),
    )


def _placed(frame: Frame, cards: Cards) -> Frame:
    """Give a frame of the sky the celestial coordinates of its centre."""
    if frame.kind not in ("science", "sky") or is_cut(frame):
        return frame.replace(ra=nan, dec=nan)
    ra, dec = centre_of(frame, *optical_axis(cards))
    frame = frame.replace(ra=ra, dec=dec)
    if frame.has_position:
        return frame
    return _noted(frame, "pointing unknown: the header has neither STRSTRA and STRSTDE nor STRRQRA and STRRQDE")


@hookimpl
def instruments() -> Iterable[type[Instrument]]:
    """Yield the camera."""
    yield RATIR
