"""A made-up camera, for tests that need raw files and must not depend on a real camera."""

from __future__ import annotations

from collections.abc import Iterable
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from albireo.frames import SECONDS_PER_DAY, Amplifier, Frame, FrameError, Section, iso_to_mjd, mjd_to_iso
from albireo.roles import Instrument

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from astropy.nddata import CCDData

__all__ = ["PlainCamera"]

OVERSCAN = 16
"""Columns of overscan of each amplifier."""


class PlainCamera(Instrument, name="plain-camera"):
    """A camera that writes everything a `Frame` holds into simple cards.

    The amplifiers lie side by side; their overscan follows at the right end of the image, in the same order. The second
    amplifier has a gain and a read noise of its own.
    """

    rows: int = Field(200, gt=0, description="Rows of the chip.", json_schema_extra={"unit": "pixel"})
    columns: int = Field(240, gt=0, description="Columns of the chip.", json_schema_extra={"unit": "pixel"})
    amplifiers: int = Field(1, ge=1, le=2, description="Number of amplifiers.")
    overscan: bool = Field(True, description="Whether the amplifiers read an overscan.")

    def owns(self, header: Header, path: Path) -> bool:
        """Whether INSTRUME says so."""
        return bool(header.get("INSTRUME") == self.name)

    def frames(self, path: Path) -> Iterable[Frame]:
        """Read the primary header.

        Raises
        ------
        FrameError
            If the file is no FITS file or a card is missing.
        """
        from astropy.io import fits

        try:
            cards = fits.getheader(path)
            start = iso_to_mjd(cards["DATE-OBS"])
            amplifiers = tuple(
                Amplifier(
                    Section.from_fits(cards[f"DSEC{n}"]),
                    Section.from_fits(cards[f"BSEC{n}"]) if f"BSEC{n}" in cards else None,
                    cards[f"GAIN{n}"],
                    cards[f"NOISE{n}"],
                    f"A{n}",
                )
                for n in range(1, cards["NAMPS"] + 1)
            )
            frame = Frame(
                path=str(path),
                instrument=self.name,
                kind=cards["KIND"],
                filter=cards["FILTER"],
                target=cards["OBJECT"],
                exptime=cards["EXPTIME"],
                start=start,
                mid=start + 0.5 * cards["EXPTIME"] / SECONDS_PER_DAY,
                ra=cards["RA"],
                dec=cards["DEC"],
                airmass=cards.get("AIRMASS", nan),
                scale=cards["SCALE"],
                shape=(cards["NAXIS2"], cards["NAXIS1"]),
                amplifiers=amplifiers,
                saturation=cards["SATURATE"],
                site=(cards["LONGITUD"], cards["LATITUDE"], cards["HEIGHT"]),
                setup=(("binning", cards["BINNING"]),),
            )
        except KeyError as error:
            raise FrameError(f"{path} is not complete: {error.args[0]}") from error
        except (OSError, ValueError) as error:
            raise FrameError(f"{path} cannot be read: {error}") from error
        return (frame,)

    def read(self, frame: Frame, region: Section | None = None) -> CCDData:
        """Read raw pixels, with saturated ones flagged."""
        from albireo.images import raw_image
        from albireo.pixels import read_pixels

        return raw_image(read_pixels(frame.path, frame.hdu, region), frame.saturation)

    def header(self, frame: Frame) -> Header:
        """Write the cards."""
        from astropy.io import fits

        cards = fits.Header()
        values: dict[str, str | float | int] = {
            "INSTRUME": self.name,
            "KIND": frame.kind,
            "FILTER": frame.filter,
            "OBJECT": frame.target,
            "EXPTIME": frame.exptime,
            "DATE-OBS": mjd_to_iso(frame.start),
            "RA": frame.ra,
            "DEC": frame.dec,
            "SCALE": frame.scale,
            "SATURATE": frame.saturation,
            "BINNING": dict(frame.setup).get("binning", "1x1"),
            "NAMPS": len(frame.amplifiers),
        }
        if frame.airmass == frame.airmass:
            values["AIRMASS"] = frame.airmass
        values.update(zip(("LONGITUD", "LATITUDE", "HEIGHT"), frame.site or (0.0, 0.0, 0.0), strict=True))
        for n, amplifier in enumerate(frame.amplifiers, 1):
            values |= {f"DSEC{n}": amplifier.data.to_fits(), f"GAIN{n}": amplifier.gain}
            values[f"NOISE{n}"] = amplifier.read_noise
            if amplifier.overscan is not None:
                values[f"BSEC{n}"] = amplifier.overscan.to_fits()
        cards.update(values)
        return cards

    def example(self) -> Frame:
        """Give a science frame of a minute through r."""
        width = self.columns // self.amplifiers
        amplifiers = []
        for n in range(self.amplifiers):
            end = self.columns if n == self.amplifiers - 1 else (n + 1) * width
            strip = Section(0, self.rows, self.columns + n * OVERSCAN, self.columns + (n + 1) * OVERSCAN)
            data = Section(0, self.rows, n * width, end)
            amplifiers.append(
                Amplifier(data, strip if self.overscan else None, (1.6, 1.9)[n], (5.0, 6.5)[n], f"A{n + 1}")
            )
        start = 60310.25
        return Frame(
            path="example.fits",
            instrument=self.name,
            kind="science",
            filter="r",
            target="M 67",
            exptime=60.0,
            start=start,
            mid=start + 30.0 / SECONDS_PER_DAY,
            ra=132.825,
            dec=11.8,
            airmass=1.2,
            scale=0.4,
            shape=(self.rows, self.columns + (OVERSCAN * self.amplifiers if self.overscan else 0)),
            amplifiers=tuple(amplifiers),
            saturation=60000.0,
            site=(-111.4223, 34.7443, 2361.0),
            setup=(("binning", "1x1"),),
        )
