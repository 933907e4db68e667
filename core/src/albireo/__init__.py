"""Albireo: from raw frames of an imaging camera to light curves.

Everything a plugin author needs has its name here. Names are looked up when they are first used, so that
``import albireo`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOMES = {
    "frames": (
        "JD_OF_MJD_ZERO",
        "MASTER_KINDS",
        "SECONDS_PER_DAY",
        "Amplifier",
        "Frame",
        "FrameError",
        "Frames",
        "Section",
        "Tile",
        "iso_to_mjd",
        "mjd_to_iso",
    ),
    "engine.compiling": ("kernel",),
    "engine.memory": ("empty_plane",),
    "engine.threads": ("available_cores",),
    "exposures": ("group_by_overlap",),
    "psf": ("PSF",),
    "sources": ("Background", "Sources", "Transform"),
    "images": (
        "MASKED",
        "Flag",
        "atomic_path",
        "flags_of",
        "image",
        "planes_of",
        "raw_image",
        "read_image",
        "variance_of",
        "write_image",
    ),
    "headers": ("tangent_wcs",),
    "noise": ("scintillation_noise",),
    "overrides": ("Override", "Overrides", "OverridesError", "is_called", "remove_override", "write_override"),
    "pixels": ("read_pixels", "read_raw"),
    "pixelwise": ("Terms", "amplifier_plane", "apply_terms"),
    "curves": ("Ensemble",),
    "roles": (
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
        "Selection",
        "Selector",
        "Stack",
        "Stacker",
        "Stage",
        "Strip",
    ),
    "declarative": ("Cards", "DeclarativeInstrument"),
    "definition": ("CameraDefinition", "load_definition"),
    "hookspecs": ("hookimpl",),
    "png": ("encode_png",),
    "registry": ("Registry",),
    "recipe": ("Recipe", "RecipeError"),
    "results": ("Results",),
    "review": ("contact_sheet", "frame_thumbnails"),
}
_WHERE = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [*sorted(_WHERE), "__version__"]

if TYPE_CHECKING:
    from albireo.curves import Ensemble as Ensemble
    from albireo.declarative import Cards as Cards
    from albireo.declarative import DeclarativeInstrument as DeclarativeInstrument
    from albireo.definition import CameraDefinition as CameraDefinition
    from albireo.definition import load_definition as load_definition
    from albireo.engine.compiling import kernel as kernel
    from albireo.engine.memory import empty_plane as empty_plane
    from albireo.engine.threads import available_cores as available_cores
    from albireo.exposures import group_by_overlap as group_by_overlap
    from albireo.frames import JD_OF_MJD_ZERO as JD_OF_MJD_ZERO
    from albireo.frames import MASTER_KINDS as MASTER_KINDS
    from albireo.frames import SECONDS_PER_DAY as SECONDS_PER_DAY
    from albireo.frames import Amplifier as Amplifier
    from albireo.frames import Frame as Frame
    from albireo.frames import FrameError as FrameError
    from albireo.frames import Frames as Frames
    from albireo.frames import Section as Section
    from albireo.frames import Tile as Tile
    from albireo.frames import iso_to_mjd as iso_to_mjd
    from albireo.frames import mjd_to_iso as mjd_to_iso
    from albireo.headers import tangent_wcs as tangent_wcs
    from albireo.hookspecs import hookimpl as hookimpl
    from albireo.images import MASKED as MASKED
    from albireo.images import Flag as Flag
    from albireo.images import atomic_path as atomic_path
    from albireo.images import flags_of as flags_of
    from albireo.images import image as image
    from albireo.images import planes_of as planes_of
    from albireo.images import raw_image as raw_image
    from albireo.images import read_image as read_image
    from albireo.images import variance_of as variance_of
    from albireo.images import write_image as write_image
    from albireo.noise import scintillation_noise as scintillation_noise
    from albireo.overrides import Override as Override
    from albireo.overrides import Overrides as Overrides
    from albireo.overrides import OverridesError as OverridesError
    from albireo.overrides import is_called as is_called
    from albireo.overrides import remove_override as remove_override
    from albireo.overrides import write_override as write_override
    from albireo.pixels import read_pixels as read_pixels
    from albireo.pixels import read_raw as read_raw
    from albireo.pixelwise import Terms as Terms
    from albireo.pixelwise import amplifier_plane as amplifier_plane
    from albireo.pixelwise import apply_terms as apply_terms
    from albireo.png import encode_png as encode_png
    from albireo.psf import PSF as PSF
    from albireo.recipe import Recipe as Recipe
    from albireo.recipe import RecipeError as RecipeError
    from albireo.registry import Registry as Registry
    from albireo.results import Results as Results
    from albireo.review import contact_sheet as contact_sheet
    from albireo.review import frame_thumbnails as frame_thumbnails
    from albireo.roles import ROLES as ROLES
    from albireo.roles import AlignedFrame as AlignedFrame
    from albireo.roles import AlignedFrames as AlignedFrames
    from albireo.roles import Aligner as Aligner
    from albireo.roles import BackgroundEstimator as BackgroundEstimator
    from albireo.roles import Correction as Correction
    from albireo.roles import CurveStep as CurveStep
    from albireo.roles import Executor as Executor
    from albireo.roles import Finder as Finder
    from albireo.roles import ImageAligner as ImageAligner
    from albireo.roles import Instrument as Instrument
    from albireo.roles import MasterBuilder as MasterBuilder
    from albireo.roles import Outcome as Outcome
    from albireo.roles import Photometer as Photometer
    from albireo.roles import PixelwiseCorrection as PixelwiseCorrection
    from albireo.roles import PSFEstimator as PSFEstimator
    from albireo.roles import Report as Report
    from albireo.roles import Selection as Selection
    from albireo.roles import Selector as Selector
    from albireo.roles import Stack as Stack
    from albireo.roles import Stacker as Stacker
    from albireo.roles import Stage as Stage
    from albireo.roles import Strip as Strip
    from albireo.sources import Background as Background
    from albireo.sources import Sources as Sources
    from albireo.sources import Transform as Transform

    __version__: str


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("albireo-core")
    if name in _WHERE:
        return getattr(import_module(f"albireo.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'albireo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_WHERE])
