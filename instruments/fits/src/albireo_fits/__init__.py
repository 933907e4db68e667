"""Any camera for Albireo, described in a TOML file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator

from albireo import CameraDefinition, DeclarativeInstrument, Instrument, hookimpl, load_definition

__all__ = ["Fits", "instruments"]


class Fits(DeclarativeInstrument, name="fits"):
    """Any camera whose definition is a TOML file beside the recipe.

    Parameters
    ----------
    definition : path
        The definition; see `albireo.definition.CameraDefinition` for its keys.
    gain, read_noise, saturation, site : optional
        Values that count in place of the header's and the definition's.
    """

    definition: Path = Field(  # type: ignore[assignment,misc]
        description="TOML file that describes the camera; a relative path starts at the folder of the recipe."
    )

    @field_validator("definition")
    @classmethod
    def _readable(cls, path: Path, info: ValidationInfo) -> Path:
        folder = Path((info.context or {}).get("folder", "."))
        file = (folder / path).absolute()
        load_definition(file)
        return file

    @property
    def camera(self) -> CameraDefinition:
        """The table; read once for each state of the file."""
        return load_definition(self.definition)


@hookimpl
def instruments() -> Iterable[type[Instrument]]:
    """Yield the camera of the definition."""
    yield Fits
