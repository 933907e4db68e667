"""The Large Monolithic Imager of the Lowell Discovery Telescope for Albireo."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from albireo import Cards, DeclarativeInstrument, Frame, FrameError, Instrument, hookimpl

__all__ = ["LMI", "instruments"]


class LMI(DeclarativeInstrument, name="lmi"):
    """The Large Monolithic Imager of the Lowell Discovery Telescope.

    One e2v CCD231-C6 read through one amplifier, at any binning, full frame or subarray. Sky and dome flats are the
    variants ``sky`` and ``dome`` of the kind ``flat``. Facts and their sources stand in ``lmi.toml``.

    Parameters
    ----------
    gain, read_noise, saturation, site : optional
        Values that count in place of the header's and the definition's.
    """

    definition = "lmi.toml"

    def adapt(self, frame: Frame, cards: Cards) -> Frame:
        """Refuse what was read through several amplifiers.

        Raises
        ------
        FrameError
        """
        amplifiers = cards.get("NUMAMP", 1)
        if isinstance(amplifiers, int | float) and amplifiers > 1:
            raise FrameError(
                f"{frame.path}: read through {amplifiers:g} amplifiers (NUMAMP); only frames read through one can be "
                "reduced"
            )
        return frame

    @classmethod
    def recipe(cls) -> str:
        """Give a recipe for a night of time series."""
        return Path(__file__).with_name("recipe.toml").read_text(encoding="utf-8")


@hookimpl
def instruments() -> Iterable[type[Instrument]]:
    """Yield the camera."""
    yield LMI
