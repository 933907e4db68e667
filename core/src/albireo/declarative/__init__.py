"""A camera described by a table: headers to frames, and frames back to headers.

`DeclarativeInstrument` is an `Instrument` that reads and writes headers by a `CameraDefinition`. How it reads stands in
`reading`, how it writes in `writing`, where pixels lie in a file in `layout`.
"""

from __future__ import annotations

import hashlib
import os
import sys
import warnings
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from albireo.airmass import airmass
from albireo.declarative.cards import Cards, agrees
from albireo.declarative.reading import Image, Reading
from albireo.definition import CameraDefinition, load_definition
from albireo.exposures import group_by_overlap
from albireo.frames import Frame, FrameError, Frames, Section
from albireo.headers import celestial_wcs, read_header, read_images
from albireo.roles import Instrument

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from astropy.nddata import CCDData
    from astropy.wcs import WCS

    from albireo.frames import Tile

__all__ = ["Cards", "DeclarativeInstrument"]

Positive = Annotated[float, Field(gt=0)]
PerDetector = Positive | dict[str, Positive] | None
"""One number for all, or one for each detector or amplifier by name."""


class DeclarativeInstrument(Instrument):
    """A camera described by a table in a TOML file.

    A subclass names the file, which lies beside its module::

        class MyCam(DeclarativeInstrument, name="mycam"):
            '''My camera on my telescope.'''
            definition = "mycam.toml"

    What a table cannot say goes into `frame`, which turns one header into one frame.
    """

    definition: ClassVar[str]

    gain: PerDetector = Field(
        None,
        description="Gain that counts in place of the header's or the definition's; or one for each detector or "
        "amplifier, by name.",
        json_schema_extra={"unit": "electron/adu"},
    )
    read_noise: PerDetector = Field(
        None,
        description="Read noise that counts in place of the header's or the definition's.",
        json_schema_extra={"unit": "electron"},
    )
    saturation: PerDetector = Field(
        None,
        description="Raw level from which a pixel is saturated, in place of the header's or the definition's.",
        json_schema_extra={"unit": "adu"},
    )
    dark_current: PerDetector = Field(
        None,
        description="Dark current of a pixel as it was read out, in place of the header's or the definition's.",
        json_schema_extra={"unit": "electron/s"},
    )
    scale: PerDetector = Field(
        None,
        description="Pixel scale of the binned pixel, in place of the header's or the definition's.",
        json_schema_extra={"unit": "arcsec/pixel"},
    )
    site: tuple[float, float, float] | None = Field(
        None,
        description="Longitude (east), latitude and height of the telescope, in place of the definition's.",
        json_schema_extra={"unit": "deg, deg, m"},
    )
    diameter: Positive | None = Field(
        None,
        description="Diameter of the telescope's aperture, in place of the definition's; scintillation depends on it.",
        json_schema_extra={"unit": "m"},
    )

    @property
    def camera(self) -> CameraDefinition:
        """The table; read once for each state of the file.

        Raises
        ------
        ValueError
            With everything that is wrong with the file.
        """
        owner = next(cls for cls in type(self).__mro__ if "definition" in vars(cls))
        return load_definition(Path(str(sys.modules[owner.__module__].__file__)).with_name(self.definition))

    def fingerprint(self) -> str:
        """Give the digest of the table, so that what was made by another table is made again."""
        return hashlib.sha256(self.camera.model_dump_json().encode()).hexdigest()

    def wanted(self, quantity: str, detector: str, amplifier: str = "") -> float | None:
        """Give what the recipe says of a constant, such as the gain, of a detector or amplifier."""
        said = getattr(self, quantity)
        if isinstance(said, dict):
            return said.get(amplifier, said.get(detector))
        return None if said is None else float(said)

    def owns(self, header: Header, path: Path) -> bool:
        """Whether the identity cards of the definition are in the header (of a packed file: in that of its image)."""
        identity = self.camera.identity
        if identity and not header.get("NAXIS") and not any(key in header for key in identity):
            try:
                header = read_header(path, self._hdu)[1]
            except FrameError:
                return False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return agrees(Cards([header], {"file": path.name, "folder": path.parent.name}), identity)

    @property
    def _hdu(self) -> int | None:
        return None if isinstance(self.camera.hdu, str) else self.camera.hdu

    def frames(self, path: Path) -> Iterable[Frame]:
        """Read the headers of one file: a frame for each image, or for each part of an image that is one of its own.

        Raises
        ------
        FrameError
            If the file is no FITS file or is truncated; if a value cannot be understood; if a science frame has no
            exposure time or start although the definition says where they are.
        """
        file = Path(os.path.abspath(path))
        primary, images = self._headers_of(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # cards that break the standard in ways that do no harm
            return self._read(file, primary, images)

    def from_header(self, header: Header, path: Path, hdu: int = 0) -> tuple[Frame, ...]:
        """Give the frames of one header, without opening a file.

        Parameters
        ----------
        header : Header
            With NAXIS1 and NAXIS2.
        path : Path
            What the file is or would be called.
        hdu : int
            Where its image is or would be.

        Raises
        ------
        FrameError
            As for `frames`.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self._read(path, None, [(hdu, header)])

    def _headers_of(self, path: Path) -> tuple[Header | None, list[Image]]:
        """Give the primary header, where it is not that of the image, and the images that the definition speaks of."""
        camera = self.camera
        several = camera.hdu == "each" or any(rule.hdu is not None for rule in camera.amplifiers)
        return read_images(path, None if several else self._hdu, every=several)

    def _read(self, path: Path, primary: Header | None, images: Sequence[Image]) -> tuple[Frame, ...]:
        groups = [[image] for image in images] if self.camera.hdu == "each" else [images]
        frames = []
        for group in groups:
            reading = Reading(self.camera, self, path, group, primary)
            for part in reading.parts():
                frames.append(_with_airmass(self.adapt(reading.frame(part), reading.cards)))
        return tuple(frames)

    def adapt(self, frame: Frame, cards: Cards) -> Frame:
        """Change a frame by what a table cannot say; a subclass overrides this.

        Parameters
        ----------
        frame : Frame
            As the definition says.
        cards : Cards
            ``cards.get("KEYWORD")`` gives the value of a card, None if it has none.

        Raises
        ------
        FrameError
            If the frame cannot be understood.
        """
        return frame

    def together(self, frames: Frames) -> Frames:
        """Give frames whose exposures overlap one id, where the definition says that detectors expose at once."""
        if not self.camera.simultaneous:
            return frames
        return group_by_overlap(frames)

    def read(self, frame: Frame, region: Section | None = None) -> CCDData:
        """Read raw pixels in adu; ``SATURATED`` from `Frame.saturation` on, ``NO_DATA`` where a pixel is blank.

        Zero is a value like any other.

        Raises
        ------
        FrameError
            If the pixels cannot be read.
        """
        from albireo.images import raw_image
        from albireo.pixels import read_raw

        return raw_image(read_raw(frame, region), frame.saturation)

    def header(self, frame: Frame) -> Header:
        """Write the cards that the definition reads; `frames` gives the same frame back, to the precision of the cards.

        What no rule reads comes from the example of the definition.

        Raises
        ------
        ValueError
            If the definition has no rule for the kind of this frame.
        """
        from albireo.declarative.writing import cards_of

        return _header(cards_of(self.camera, frame, self._example_cards(frame)))

    def headers(self, frame: Frame) -> dict[int, Header]:
        """Write the header of each HDU that a file with this frame has."""
        from albireo.declarative.writing import extension_cards

        spread = extension_cards(self.camera, frame)
        if not spread:
            return super().headers(frame)
        return {0: self.header(frame)} | {hdu: _header(cards) for hdu, cards in spread.items()}

    def filename(self, frame: Frame, number: int) -> str:
        """Name a raw file so that the rules of its kind hold: in the folder, or with the letters, that they ask for."""
        return self._filename(frame, number)

    def _filename(self, frame: Frame, number: int) -> str:
        """Name a file by the rules of the definition alone, whatever names a subclass gives."""
        asked = (r.file for r in self.camera.kinds if (r.kind, r.variant) == (frame.kind, frame.variant))
        pattern = next((file for file in asked if "*" in file and not set("?[") & set(file)), "")
        if not pattern:
            return ""
        usual = f"{frame.kind}-{number:04d}.fits"
        *folders, name = pattern.split("/")
        return "/".join([part.replace("*", "") or "night" for part in folders] + [_named_like(name, usual)])

    def example(self) -> Frame:
        """Give the frame of the example cards in the definition."""
        return self.examples()[0]

    def examples(self) -> tuple[Frame, ...]:
        """Give a frame of each example in the definition, or several where an image has several parts."""
        return tuple(frame for _, frames in self._examples() for frame in frames)

    def _examples(self) -> list[tuple[dict[str, Any], tuple[Frame, ...]]]:
        """Give the cards and the frames of each example."""
        camera, found = self.camera, []
        for number, cards in enumerate(camera.all_examples(), 1):
            name = f"{camera.name}-{number}.fits" if camera.more_examples else f"{camera.name}.fits"
            path = Path(self._filename(Frame(name, kind="science"), number) or name)
            header = _header(cards)
            extensions = [(n, _header(cards | extra)) for n, extra in enumerate(camera.example_hdus, 1)]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found.append((cards, self._read(path, header if extensions else None, extensions or [(0, header)])))
        return found

    def _example_cards(self, frame: Frame) -> dict[str, Any]:
        if not self.camera.more_examples:
            return self.camera.example
        examples = self._examples()
        fits = (cards for cards, frames in examples if any(f.detector == frame.detector for f in frames))
        return next(fits, examples[0][0])

    def match(self, kind: str) -> tuple[str, ...]:
        """Which attributes a master shares with its frames: those of the definition, else the usual ones."""
        return self.camera.match.get(kind) or super().match(kind)

    def wcs(self, frame: Frame) -> WCS | None:
        """Celestial coordinates of the raw image from the header of the file; None if there are none to trust."""
        hdu = frame.tiles[0].hdu if frame.tiles else frame.hdu
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wcs = celestial_wcs(read_header(frame.path, hdu)[1])
        return wcs if wcs is None or not frame.tiles else _on_tile(wcs, frame.tiles[0])


def _with_airmass(frame: Frame) -> Frame:
    """Work out the airmass of a frame of the sky whose header does not tell it."""
    if frame.kind not in ("science", "sky") or isfinite(frame.airmass):
        return frame
    value = airmass(frame.ra, frame.dec, frame.mid, frame.site)
    if not isfinite(value):
        return frame
    note = "airmass worked out for the middle of the exposure, from pointing and site: the header has none"
    return frame.replace(airmass=value, notes=(*frame.notes, note))


def _named_like(pattern: str, name: str) -> str:
    """Give a name that fits a pattern: the usual one where it does, else with the letters of the pattern."""
    if fnmatchcase(name.lower(), pattern.lower()):
        return name
    stem, dot, suffix = name.partition(".")
    front, _, back = pattern.partition("*")
    return f"{front}{stem}{back.replace('*', '')}" + ("" if "." in back else dot + suffix)


def _header(cards: dict[str, Any]) -> Header:
    from astropy.io.fits import Header

    header = Header()
    header.update(cards)
    return header


def _on_tile(wcs: WCS, tile: Tile) -> WCS | None:
    """Carry coordinates of an image in a file over to the raw image that a tile of it lies in; None if they bend."""
    moved = wcs.deepcopy()
    if tile.flip_x or tile.flip_y:
        if wcs.sip is not None or wcs.cpdis1 is not None:  # a distortion in pixels would have to be turned as well
            return None
        moved.wcs.cd = wcs.pixel_scale_matrix
    ny, nx = tile.source.shape
    for axis, (flip, source, target, size) in enumerate(
        ((tile.flip_x, tile.source.x0, tile.target.x0, nx), (tile.flip_y, tile.source.y0, tile.target.y0, ny))
    ):
        here = float(wcs.wcs.crpix[axis]) - source  # in pixels of the tile, from one
        moved.wcs.crpix[axis] = target + (size + 1 - here if flip else here)
        if flip:
            moved.wcs.cd[:, axis] *= -1
    if wcs.sip is not None:
        moved.sip = (
            None if wcs.sip is None else type(wcs.sip)(wcs.sip.a, wcs.sip.b, wcs.sip.ap, wcs.sip.bp, moved.wcs.crpix)
        )
    moved.wcs.set()
    return moved
