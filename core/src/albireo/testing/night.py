"""A night at a telescope, written as the raw files of a camera, and the truth about it.

The reference system of a night is the light-sensitive part of the camera without drift, which is also what a reduction
has after overscan and trim: pixel (0, 0) is the first one of `Detector.window`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from albireo.frames import SECONDS_PER_DAY, Frame, Frames
from albireo.roles import Instrument
from albireo.sources import Transform
from albireo.testing.detector import ADC_MAX, Camera, Detector
from albireo.testing.scene import Scene
from albireo.testing.stars import Profile, draw_stars

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Exposure", "Night", "Truth", "simulate_night"]

Curve: TypeAlias = "float | Callable[[float], float]"
"""A number, or a function of the hours since the first science exposure began."""

FIRST_NIGHT = 60310.0
"""MJD of 2024-01-01, for cameras whose example has no date."""

FLAT_EXPTIME = 2.0
"""Exposure time of a simulated flat in s."""


@dataclass(frozen=True)
class Night:
    """What was observed, and under which sky.

    Attributes
    ----------
    science, bias, dark, flat : int
        Number of frames; flats are per filter, darks have the exposure time of the science frames.
    exptime, overhead : float
        Exposure time and dead time of science frames, in s.
    filters : tuple of str
        The science frames go round them. Empty for the filter of the camera's example.
    fwhm : float or callable
        Seeing in pixels; like all curves below a number, or a function of the hours since the first science exposure.
    beta, elongation, theta
        The rest of the shape of a star; see `Profile`.
    drift : tuple of float
        Along x and y in pixels per hour.
    jitter : float
        Standard deviation of the random part of the pointing, along each axis, in pixels.
    rotation : float or callable
        Of the field around the centre of the image, in degrees counter-clockwise.
    mirrored : bool
        Whether the camera sees the scene through an odd number of mirrors.
    sky : float or callable
        Electrons per second and pixel at the centre of the image.
    gradient : tuple of float
        Change of the sky along x and y over the width of the image, relative to the centre.
    transparency : float or callable
        Of atmosphere and clouds, for stars: one is a clear sky.
    airmass : float or callable
        What the headers say.
    flat_level : float
        Mean level of flats, as a fraction of saturation.
    """

    science: int = 20
    bias: int = 7
    dark: int = 0
    flat: int = 7
    exptime: float = 30.0
    overhead: float = 10.0
    filters: tuple[str, ...] = ()
    fwhm: Curve = 3.5
    beta: float = 3.5
    elongation: float = 1.0
    theta: float = 0.0
    drift: tuple[float, float] = (0.0, 0.0)
    jitter: float = 0.0
    rotation: Curve = 0.0
    mirrored: bool = False
    sky: Curve = 5.0
    gradient: tuple[float, float] = (0.0, 0.0)
    transparency: Curve = 1.0
    airmass: Curve = 1.2
    flat_level: float = 0.4


@dataclass(frozen=True, eq=False)
class Exposure:
    """The truth about one science frame.

    Attributes
    ----------
    frame : Frame
        As it was written.
    number : int
        Running number in the night.
    hours : float
        Middle of the exposure, after the first science exposure began.
    transform : Transform
        From the pixels of the scene to the trimmed pixels of this frame.
    x, y : ndarray
        Where the stars are in the trimmed frame.
    electrons : ndarray
        Expected electrons of each star in the exposure after flat-fielding: total light, with clouds and variability.
    relative : ndarray
        Brightness of each star relative to its mean, without clouds.
    transparency, sky : float
        The sky in electrons per pixel of the whole exposure, at the centre.
    profile : Profile
    """

    frame: Frame
    number: int
    hours: float
    transform: Transform
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    electrons: NDArray[np.float64]
    relative: NDArray[np.float64]
    transparency: float
    sky: float
    profile: Profile


@dataclass(frozen=True, eq=False)
class Truth:
    """The truth about a night.

    Attributes
    ----------
    scene : Scene
    night : Night
    detector : Detector
        Has the planes: ``bias``, ``dark``, ``flat(filter)``, ``hot``, ``dead``, and ``window``, the sensitive part.
    frames : Frames
        All frames written, in order of time.
    exposures : tuple of Exposure
        Science frames, in order of time.
    """

    scene: Scene
    night: Night
    detector: Detector
    frames: Frames
    exposures: tuple[Exposure, ...]

    def __getitem__(self, name: str | Path) -> Exposure:
        """Find the truth of a science frame by its file, with or without folders.

        Raises
        ------
        KeyError
            If no science frame has this file name.
        """
        file = Path(name).name
        for exposure in self.exposures:
            if Path(exposure.frame.path).name == file:
                return exposure
        raise KeyError(f"no simulated science frame is called {file!r}")

    def __iter__(self) -> Iterator[Exposure]:
        return iter(self.exposures)

    def cosmic_rays(self, exposure: Exposure) -> NDArray[np.bool_]:
        """Pixels of the window that cosmic rays hit."""
        return self.detector.cosmic_rays(exposure.frame.exptime, exposure.number) > 0


def simulate_night(
    instrument: Instrument,
    folder: str | Path,
    scene: Scene | None = None,
    night: Night | None = None,
    camera: Camera | None = None,
    *,
    example: Frame | None = None,
    seed: int = 0,
) -> Truth:
    """Write the raw files of a night as a camera would.

    Parameters
    ----------
    instrument : Instrument
        Its `example` gives geometry and constants, and its `header` writes the headers.
    folder : path
        Made if it does not exist. Files are called ``bias-0001.fits`` and so on.
    scene : Scene, optional
        Forty random stars unless given.
    night : Night, optional
    camera : Camera, optional
    example : Frame, optional
        A frame to use instead of the instrument's example: another detector, another binning.
    seed : int
        Of everything random; the same seed gives the same bytes.

    Returns
    -------
    Truth

    Raises
    ------
    OSError
        If a file exists already: a simulation never overwrites one.
    ValueError
        If the example does not say enough of the camera.
    """
    night, camera = night or Night(), camera or Camera()
    model = example or instrument.example()
    detector = Detector(model, camera, seed)
    ny, nx = detector.window.shape
    if scene is None:
        scene = Scene.field((ny, nx), 40, 2e4, 2e2, separation=12.0, margin=0.06 * min(ny, nx), seed=seed)
    home = Path(folder).resolve()
    home.mkdir(parents=True, exist_ok=True)

    rng = np.random.default_rng([seed, 0])
    schedule = list(_schedule(model, night, home))
    drift = camera.overscan_drift / max(1, len(schedule) - 1)
    saturation = model.saturation if isfinite(model.saturation) else float(ADC_MAX)
    exposures: list[Exposure] = []
    for number, (frame, hours) in enumerate(schedule):
        light: NDArray[np.float32] | np.float32 = np.float32(0.0)
        if frame.kind == "flat":
            level = night.flat_level * rng.uniform(0.8, 1.2)
            light = np.float32(level * (saturation - camera.bias) * model.gain)
        elif frame.kind == "science":
            jitter = night.jitter * rng.standard_normal(2)
            exposure = _observe(scene, night, frame, number, hours, detector.window.shape, jitter)
            exposures.append(exposure)
            light = _light(exposure, night, (ny, nx))
        counts = detector.expose(light, frame.exptime, filter=frame.filter, number=number, bias_shift=drift * number)
        write_raw(instrument, frame, counts)
    return Truth(scene, night, detector, Frames(frame for frame, _ in schedule), tuple(exposures))


def _schedule(model: Frame, night: Night, home: Path) -> Iterator[tuple[Frame, float]]:
    """Frames in order of time, and the hours of their middle after the science began."""
    filters = night.filters or (model.filter,)
    # Whole seconds, so that no header rounds the times.
    begin = round((model.start if isfinite(model.start) else FIRST_NIGHT) * SECONDS_PER_DAY)
    plan = [("bias", "", 0.0)] * night.bias + [("dark", "", night.exptime)] * night.dark
    plan += [("flat", name, FLAT_EXPTIME) for name in filters for _ in range(night.flat)]
    before = sum(round(exptime + night.overhead, 2) for _, _, exptime in plan)
    plan += [("science", filters[index % len(filters)], night.exptime) for index in range(night.science)]
    counts = dict.fromkeys(("bias", "dark", "flat", "science"), 0)
    seconds = -before
    for kind, name, exptime in plan:
        counts[kind] += 1
        middle = seconds + 0.5 * exptime
        airmass = _at(night.airmass, middle / 3600.0) if kind == "science" else model.airmass
        path = home / f"{kind}-{counts[kind]:04d}.fits"
        frame = model.replace(
            path=str(path),
            name=path.name,
            kind=kind,
            filter=name if kind in ("flat", "science") else model.filter,
            exptime=exptime,
            start=(begin + seconds) / SECONDS_PER_DAY,
            mid=(begin + middle) / SECONDS_PER_DAY,
            airmass=airmass,
        )
        yield frame, middle / 3600.0
        seconds += round(exptime + night.overhead, 2)


def _observe(
    scene: Scene,
    night: Night,
    frame: Frame,
    number: int,
    hours: float,
    shape: tuple[int, int],
    jitter: NDArray[np.float64],
) -> Exposure:
    middle = (0.5 * (shape[1] - 1), 0.5 * (shape[0] - 1))
    dx, dy = (rate * hours + noise for rate, noise in zip(night.drift, jitter, strict=True))
    turn = Transform.similarity(rotation=_at(night.rotation, hours), mirrored=night.mirrored)
    transform = (
        Transform.similarity(middle[0] + dx, middle[1] + dy) @ turn @ Transform.similarity(-middle[0], -middle[1])
    )
    x, y = transform(scene.x, scene.y)
    transparency, relative = _at(night.transparency, hours), scene.relative(hours)
    return Exposure(
        frame=frame,
        number=number,
        hours=hours,
        transform=transform,
        x=x,
        y=y,
        electrons=scene.flux * frame.exptime * transparency * relative,
        relative=relative,
        transparency=transparency,
        sky=_at(night.sky, hours) * frame.exptime,
        profile=Profile(_at(night.fwhm, hours), night.beta, night.elongation, night.theta),
    )


def _light(exposure: Exposure, night: Night, shape: tuple[int, int]) -> NDArray[np.float32]:
    light = draw_stars(shape, exposure.x, exposure.y, exposure.electrons, exposure.profile)
    across, along = (np.linspace(-0.5, 0.5, size, dtype=np.float32) for size in (shape[1], shape[0]))
    tilt = night.gradient[0] * across[None, :] + night.gradient[1] * along[:, None]
    light += np.float32(exposure.sky) * (1 + tilt)
    return light


def write_raw(instrument: Instrument, frame: Frame, counts: NDArray[np.uint16]) -> None:
    """Write one raw file; where the camera keeps its pixels in an extension, the other units stay empty."""
    from astropy.io import fits

    header = instrument.header(frame)
    if frame.hdu == 0:
        fits.PrimaryHDU(counts, header).writeto(frame.path)
        return
    empty = [fits.ImageHDU() for _ in range(frame.hdu - 1)]
    fits.HDUList([fits.PrimaryHDU(header=header), *empty, fits.ImageHDU(counts, header)]).writeto(frame.path)


def _at(curve: Curve, hours: float) -> float:
    return float(curve(hours)) if callable(curve) else float(curve)
