"""The Large Monolithic Imager of the Lowell Discovery Telescope for Albireo."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from albireo import Cards, DeclarativeInstrument, Frame, FrameError, Instrument, hookimpl
from albireo_lmi.chips import chip_at
from albireo_lmi.pointing import believable, pointing_wcs
from albireo_lmi.sections import full_frame_sections

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from astropy.wcs import WCS

__all__ = ["LMI", "instruments"]


class LMI(DeclarativeInstrument, name="lmi"):
    """The Large Monolithic Imager of the Lowell Discovery Telescope.

    One e2v CCD231-C6 read through one to four amplifiers, at any binning, full frame or subarray. Sky and dome flats
    are the variants ``sky`` and ``dome`` of the kind ``flat``. Facts and their sources stand in ``lmi.toml``.

    Parameters
    ----------
    gain, read_noise, saturation, site : optional
        Values that count in place of the header's and the definition's.
    """

    definition = "lmi.toml"

    def adapt(self, frame: Frame, cards: Cards) -> Frame:
        """Add what a header leaves out: the chip by date, and the sections of a full frame.

        Raises
        ------
        FrameError
            If the sections of some amplifiers are missing.
        """
        if not dict(frame.setup)["chip"]:
            chip = chip_at(frame.start)
            note = f"the chip is {chip} by its date: the header has no DETECTOR"
            setup = tuple((name, chip if name == "chip" else setting) for name, setting in frame.setup)
            frame = frame.replace(setup=setup, notes=(*frame.notes, note) if chip else frame.notes)
        amplifiers = cards.number("NUMAMP")
        if amplifiers > 1:
            return _complete(frame, int(amplifiers))
        return frame if "TRIMSEC" in cards or "TRIM01" in cards else _sectioned(frame)

    def header(self, frame: Frame) -> Header:
        """Write the cards of a frame; sections of the whole image only where one amplifier read it."""
        header = super().header(frame)
        header["NUMAMP"] = len(frame.amplifiers)
        for key in ("TRIMSEC", "BIASSEC"):
            header.remove(key, ignore_missing=True)
        if len(frame.amplifiers) == 1:
            (amplifier,) = frame.amplifiers
            header["TRIMSEC"] = amplifier.data.to_fits()
            if amplifier.overscan is not None:
                header["BIASSEC"] = amplifier.overscan.to_fits()
        return header

    def wcs(self, frame: Frame) -> WCS | None:
        """Give the coordinates of the header if they can be true."""
        own = super().wcs(frame)
        return own if own is not None and believable(own, frame) else None

    def guess(self, frame: Frame) -> WCS | None:
        """Give coordinates from pointing, window and position angle; see `pointing`."""
        from astropy.io import fits

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # cards that break the standard in ways that do no harm
            return pointing_wcs(frame, Cards([fits.getheader(frame.path, frame.hdu)]))

    @classmethod
    def recipe(cls) -> str:
        """Give a recipe for a night of time series."""
        return Path(__file__).with_name("recipe.toml").read_text(encoding="utf-8")


def _complete(frame: Frame, amplifiers: int) -> Frame:
    """Give the frame back if the header has the sections of all amplifiers.

    Raises
    ------
    FrameError
    """
    found = {amplifier.name for amplifier in frame.amplifiers} - {""}
    if len(found) == amplifiers:
        return frame
    raise FrameError(
        f"{frame.path}: read through {amplifiers} amplifiers (NUMAMP), but the header has the sections of "
        f"{len(found)}; it should have TRIM01, TRIM02, ... for each"
    )


def _sectioned(frame: Frame) -> Frame:
    """Give a full frame the sections that follow from those of another binning."""
    binning = dict(frame.setup)["binning"].split()
    number = int(binning[0]) if len(set(binning)) == 1 and binning[0].isdigit() else 0
    sections = full_frame_sections(frame.shape, number)
    if sections is None:
        note = "the whole image counts as light: the header has no TRIMSEC, and this is no full frame"
        return frame.replace(notes=(*frame.notes, note))
    light, dark = sections
    note = "trim and overscan scaled from those of a frame binned 2 x 2 (inferred): the header has no TRIMSEC"
    amplifiers = (replace(frame.amplifiers[0], data=light, overscan=dark),)
    return frame.replace(amplifiers=amplifiers, notes=(*frame.notes, note))


@hookimpl
def instruments() -> Iterable[type[Instrument]]:
    """Yield the camera."""
    yield LMI
