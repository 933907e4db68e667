"""RIMAS, the two-armed infrared imager of the Lowell Discovery Telescope, for Albireo."""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from albireo import Cards, DeclarativeInstrument, Frame, FrameError, Instrument, hookimpl, iso_to_mjd, mjd_to_iso
from albireo_rimas import optics, pointing, timing

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from astropy.wcs import WCS

    from albireo.testing import Simulation

__all__ = ["RIMAS", "instruments"]

ARMS = {"YJ": 0, "HK": 1}
"""ASICINDX of each arm."""

DIFFERENCES = re.compile(r"(?i)CDS|FOWLER.*")
"""Modes that subtract reads from each other, so that the pedestal is gone."""

SOFTWARE_CROP = "2025-11-03"
"""Since this date the detector server crops frames; where its cut lies may differ from that of before."""

_NAME = re.compile(r"(?i)(reset\.)?\d{8}\.rimas\.\d+\.(YJ|HK)(\.\d+)?\.fits(\.fz|\.gz)?|rimas\.\d+\.\d+\.C[01]\.fits.*")


class RIMAS(DeclarativeInstrument, name="rimas"):
    """RIMAS at the 4.3 m Lowell Discovery Telescope: two infrared arms, YJ and HK, that expose at once.

    Reduced frames, one for each exposure and arm, called like ``20251009.rimas.0068.YJ.fits``. Raw reads, running
    differences and reset reads are of the kind ``other``. Pixels that the detector server gave up are NaN and become
    `Flag.NO_DATA`. Facts and how sure they are stand in ``rimas.toml``.

    Parameters
    ----------
    gain, read_noise, saturation, site : optional
        Values that count in place of the header's and the definition's.
    """

    definition = "rimas.toml"

    pedestal: float = Field(
        10_000.0,
        ge=0,
        description="Level of the first read, which the header's saturation contains and differences of reads (CDS, "
        "Fowler) do not: they saturate so much lower. Not measured.",
        json_schema_extra={"unit": "adu"},
    )

    def owns(self, header: Header, path: Path) -> bool:
        """Whether name or cards are those of RIMAS; never for PRIME, which the same detector server drives."""
        said = {key: str(header.get(key, "")).strip().upper() for key in ("CAMNAME", "INSTRUME", "TELESCOP")}
        if "prime" in path.name.lower() or any("PRIME" in text for text in said.values()):
            return False
        if said["CAMNAME"] not in ("", *ARMS):
            return False
        named = _NAME.fullmatch(path.name) is not None and (not said["INSTRUME"] or "RIMAS" in said["INSTRUME"])
        return named or super().owns(header, path)

    def adapt(self, frame: Frame, cards: Cards) -> Frame:
        """Add filter, times, saturation and crop epoch.

        Raises
        ------
        FrameError
            If a frame is of the form of 2020, of no arm, or a science frame without exposure time.
        """
        if frame.variant == "2020":
            raise FrameError(
                f"{frame.path}: a name of 2020 (rimas.NNNN.NN.C0.fits), whose header cards had other meanings; frames "
                "called YYYYMMDD.rimas.NNNN.YJ.fits can be reduced"
            )
        if frame.detector not in ARMS:
            raise FrameError(
                f"{frame.path}: the arm is {frame.detector or 'not known'}; CAMNAME should be YJ or HK, or ASICINDX 0 "
                "or 1"
            )
        when = timing.Timing(cards, frame.start)
        if frame.kind == "science" and not when.exptime > 0:
            raise FrameError(
                f"{frame.path}: the header has no effective exposure time, which a science frame needs: neither "
                "EXPTIMEE, nor NFRAMES and FRTIME with a REDXMODE that has a rule"
            )
        saturation, spoken = self._saturation(frame, cards)
        return frame.replace(
            filter=optics.compose(_text(cards, "FILTER3"), _text(cards, optics.WHEELS[frame.detector])),
            exptime=when.exptime,
            mid=when.mid,
            saturation=saturation,
            setup=(*frame.setup, ("crop", _crop(frame))),
            notes=(*frame.notes, *when.notes, *spoken),
        )

    def _saturation(self, frame: Frame, cards: Cards) -> tuple[float, list[str]]:
        """Give the level at which a frame of this mode saturates, and what to note."""
        if self.wanted("saturation", frame.detector) is not None:
            return frame.saturation, []
        mode = _text(cards, "REDXMODE")
        if mode.upper() == "RAMP":
            return nan, ["no saturation level: ramps are fitted below it, and what saturated at once is NaN"]
        if not DIFFERENCES.fullmatch(mode):
            return frame.saturation, []
        left = frame.saturation - self.pedestal
        note = f"saturation lowered by a pedestal of {self.pedestal:g} adu, which {mode} frames no longer contain"
        return (left if left > 0 else nan), [f"{note} (not measured)"]

    def header(self, frame: Frame) -> Header:
        """Write the cards of a frame in the mode CDS; `frames` gives the same frame back."""
        header = super().header(frame)
        auxiliary, main = optics.split(frame.filter)
        header.update({"ASICINDX": ARMS[frame.detector], "FILTER3": auxiliary, optics.WHEELS[frame.detector]: main})
        header.update(timing.cards_of(frame))
        if isfinite(frame.saturation):
            header["SATURATE"] = frame.saturation + self.pedestal
        return header

    def guess(self, frame: Frame) -> WCS | None:
        """Give coordinates from the pointing; see `pointing`."""
        from astropy.io import fits

        header = fits.getheader(frame.path, frame.hdu)
        return pointing.pointing_wcs(frame, Cards([header]).number("ROT"))

    def filename(self, frame: Frame, number: int) -> str:
        """Name a reduced frame as the detector server does, by date, number and arm."""
        date = mjd_to_iso(frame.start)[:10].replace("-", "")
        return f"{date}.rimas.{number:04d}.{frame.detector}.fits"

    def simulation(self) -> Simulation:
        """Describe a night of J and H frames with missing pixels, without bias or dark frames."""
        from albireo_rimas.simulation import simulation

        return simulation(self.examples())

    @classmethod
    def recipe(cls) -> str:
        """Give a recipe for a night of time series in both arms."""
        return Path(__file__).with_name("recipe.toml").read_text(encoding="utf-8")


def _text(cards: Cards, key: str) -> str:
    return str(cards.get(key, ""))


def _crop(frame: Frame) -> str:
    """Say who cut the frame out of the detector; flats of one cut are not for the other."""
    if not isfinite(frame.start):
        return ""
    return f"{'before' if frame.start < iso_to_mjd(SOFTWARE_CROP) else 'since'} {SOFTWARE_CROP}"


@hookimpl
def instruments() -> Iterable[type[Instrument]]:
    """Yield the camera."""
    yield RIMAS
