"""A simulated night, written as the raw files of a camera.

All eyes of a camera look at one scene. Where a star falls on a pixel of an eye follows, from the sky to the detector,
from the offset of the telescope, the rotation of the field, drift, dithers and the random part of the pointing, which
all eyes share, and from the view of the eye. What an eye makes of the light is told in `albireo.testing.detector`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from math import cos, isfinite, radians
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from albireo.airmass import airmass
from albireo.frames import SECONDS_PER_DAY, Frame, Frames
from albireo.roles import Instrument
from albireo.sources import Transform
from albireo.testing.detector import RANGES, Camera, Detector, lit_window
from albireo.testing.night import Exposure, Night, Truth, value_at
from albireo.testing.raw_files import write_raw
from albireo.testing.scene import Scene
from albireo.testing.simulation import Eye, Pointing, Simulation
from albireo.testing.stars import Profile, draw_stars

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Observation", "simulate_night", "simulate_observation"]

FIRST_NIGHT = 60310.0
"""MJD of 2024-01-01, for cameras whose example has no date."""

FLAT_EXPTIME = 2.0
"""Exposure time of a simulated flat in s."""

EYES = 100
"""Stream of random numbers from which the seeds of eyes come."""

THREADS = min(4, os.cpu_count() or 1)
"""Files that are simulated at once; numpy draws random numbers without the interpreter's lock."""


@dataclass(frozen=True, eq=False)
class Observation:
    """The truth about a night of a camera.

    Attributes
    ----------
    scene : Scene
        In arcsec west and north of the target.
    night : Night
    simulation : Simulation
    truths : tuple of Truth
        One for each eye, in order.
    frames : Frames
        All frames written, in order of time; frames of one exposure in order of the eyes.
    """

    scene: Scene
    night: Night
    simulation: Simulation
    truths: tuple[Truth, ...]
    frames: Frames

    def __getitem__(self, name: str) -> Exposure:
        """Find the truth of a frame of the sky by its name: the path below the folder of the night.

        Where a file holds frames of several detectors, the name ends with a colon and the detector.

        Raises
        ------
        KeyError
            If no frame of the sky has this name.
        """
        for exposure in self:
            if exposure.frame.name == name:
                return exposure
        raise KeyError(f"no simulated frame of the sky is called {name!r}")

    def __iter__(self) -> Iterator[Exposure]:
        """Go through the frames of the sky, eye by eye."""
        return (exposure for truth in self.truths for exposure in truth.exposures)


def simulate_observation(
    instrument: Instrument,
    folder: str | Path,
    simulation: Simulation | None = None,
    scene: Scene | None = None,
    night: Night | None = None,
    *,
    seed: int = 0,
) -> Observation:
    """Write the raw files of a night as a camera with any number of detectors would.

    Parameters
    ----------
    instrument : Instrument
        Its `headers` writes the headers.
    folder : path
        Made if it does not exist.
    simulation : Simulation, optional
        The camera's own, or one that follows from its examples, unless given.
    scene : Scene, optional
        In arcsec; random stars over all that the camera sees unless given.
    night : Night, optional
        Lengths in arcsec; that of the simulation unless given. The times of an exposure are the same for all eyes.
    seed : int
        Of everything random; the same seed gives the same bytes.

    Returns
    -------
    Observation

    Raises
    ------
    OSError
        If a file exists already: a simulation never overwrites one.
    ValueError
        If an example does not say enough of its detector, or two files get the same name.
    """
    seen = simulation or Simulation.of(instrument)
    under = night or seen.usual_night
    if scene is None:
        scene = replace(seen, night=under).field(40, 2e4, 2e2, target=0, seed=seed)
    return _Observer(instrument, Path(folder).resolve(), seen, scene, under, seed).observe()


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
    """Write the raw files of a night of one detector.

    The plane of the scene is the light-sensitive part of the detector without drift, which is also what a reduction
    has after overscan and trim: pixel (0, 0) is the first one of `Detector.window`. Lengths of the night are pixels.

    Parameters
    ----------
    instrument : Instrument
        Its `example` gives geometry and constants, and its `headers` writes the headers.
    folder : path
        Made if it does not exist. Files are called ``bias-0001.fits`` and so on.
    scene : Scene, optional
        In pixels; forty random stars unless given.
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
    model = example or instrument.example()
    ny, nx = lit_window(model).shape
    if scene is None:
        scene = Scene.field((ny, nx), 40, 2e4, 2e2, separation=12.0, margin=0.06 * min(ny, nx), seed=seed)
    # The telescope points at the middle of the scene, and the field turns around it.
    x, y = 0.5 * (nx - 1), 0.5 * (ny - 1)
    eye = Eye(model, camera or Camera(), Transform.similarity(x, y))
    simulation = Simulation((eye,), (Pointing(east=-x, north=y),))
    return simulate_observation(instrument, folder, simulation, scene, night or Night(), seed=seed).truths[0]


@dataclass(frozen=True)
class _Event:
    """What the camera does at one moment; ``turn`` counts the filters of flats, and the science exposures."""

    number: int
    kind: str
    turn: int
    seconds: float
    """Of the start, after the first science exposure began."""


@dataclass(frozen=True, eq=False)
class _Shot:
    """One frame to be exposed."""

    eye: int
    frame: Frame
    number: int
    level: float = 0.0
    """Electrons in a pixel of a flat."""
    exposure: Exposure | None = None


class _Observer:
    """One night at the telescope."""

    def __init__(
        self, instrument: Instrument, home: Path, simulation: Simulation, scene: Scene, night: Night, seed: int
    ) -> None:
        self.instrument, self.home, self.simulation = instrument, home, simulation
        self.scene, self.night, self.seed = scene, night, seed
        self.detectors = [
            Detector(eye.example, eye.camera, _eye_seed(seed, index)) for index, eye in enumerate(simulation.eyes)
        ]

    def observe(self) -> Observation:
        """Plan all exposures, then write their files."""
        rng = np.random.default_rng([self.seed, 0])
        events = list(self._events())
        files: list[list[_Shot]] = []
        counts: dict[str, int] = {}
        for event in events:
            counts[event.kind] = counts.get(event.kind, 0) + 1
            files += self._files(self._shots(event, rng), event.kind, counts[event.kind])
        paths = [Path(shots[0].frame.path) for shots in files]
        if len(set(paths)) < len(paths):
            twice = next(path for path in paths if paths.count(path) > 1)
            raise ValueError(f"two files of the night are to be called {twice}; file names must tell them apart")
        for path in paths:
            if path.exists():
                raise FileExistsError(f"{path} exists already; a simulation never overwrites a file")
            path.parent.mkdir(parents=True, exist_ok=True)
        pool = ThreadPoolExecutor(THREADS)
        try:
            for _ in pool.map(partial(self._write, last=len(events) - 1), files):
                pass
        finally:
            pool.shutdown(cancel_futures=True)
        return self._told(files)

    def _told(self, files: list[list[_Shot]]) -> Observation:
        shots = sorted((shot for file in files for shot in file), key=lambda shot: (shot.number, shot.eye))
        truths = []
        for index, detector in enumerate(self.detectors):
            own = [shot for shot in shots if shot.eye == index]
            exposures = tuple(shot.exposure for shot in own if shot.exposure is not None)
            truths.append(Truth(self.scene, self.night, detector, Frames(shot.frame for shot in own), exposures))
        frames = Frames(shot.frame for shot in shots)
        return Observation(self.scene, self.night, self.simulation, tuple(truths), frames)

    # --- the plan of the night ----------------------------------------------------------------------------------------

    def _filters(self, eye: Eye) -> tuple[str, ...]:
        return eye.filters or self.night.filters or (eye.example.filter,)

    def _exptime(self, eye: Eye, kind: str) -> float:
        if kind in ("bias", "flat"):
            return 0.0 if kind == "bias" else FLAT_EXPTIME
        return self.night.exptime if eye.exptime is None else eye.exptime

    def _taking(self, kind: str, turn: int) -> list[int]:
        """Which eyes take part in an event."""
        return [
            index
            for index, eye in enumerate(self.simulation.eyes)
            if kind == "science" or (kind in eye.calibrations and (kind != "flat" or turn < len(self._filters(eye))))
        ]

    def _events(self) -> Iterator[_Event]:
        """Events in order of time: calibrations, then science."""
        night, eyes = self.night, self.simulation.eyes
        rounds = max(len(self._filters(eye)) for eye in eyes)
        plan = [("bias", 0)] * night.bias + [("dark", 0)] * night.dark
        plan += [("flat", turn) for turn in range(rounds) for _ in range(night.flat)]
        plan += [("science", turn) for turn in range(night.science)]
        plan = [(kind, turn) for kind, turn in plan if self._taking(kind, turn)]

        def lasts(kind: str, turn: int) -> float:
            return round(max(self._exptime(eyes[i], kind) for i in self._taking(kind, turn)) + night.overhead, 2)

        seconds = -sum(lasts(kind, turn) for kind, turn in plan if kind != "science")
        for number, (kind, turn) in enumerate(plan):
            yield _Event(number, kind, turn, seconds)
            seconds += lasts(kind, turn)

    def _shots(self, event: _Event, rng: np.random.Generator) -> list[_Shot]:
        """Expose all eyes that take part; what is random about the telescope and the twilight is drawn once for all."""
        night, pointings = self.night, self.simulation.pointings
        shots = []
        if event.kind == "flat":
            level = night.flat_level * rng.uniform(0.8, 1.2)
        elif event.kind == "science":
            jitter = night.jitter * rng.standard_normal(2)
            pointing = pointings[event.turn % len(pointings)]
        for index in self._taking(event.kind, event.turn):
            frame = self._frame(index, event)
            if event.kind == "science":
                exposure = self._exposure(index, event, frame, pointing, jitter)
                shots.append(_Shot(index, exposure.frame, event.number, exposure=exposure))
            elif event.kind == "flat":
                electrons = level * (_brightest(frame) - self.simulation.eyes[index].camera.bias) * frame.gain
                shots.append(_Shot(index, frame, event.number, electrons))
            else:
                shots.append(_Shot(index, frame, event.number))
        return shots

    def _frame(self, index: int, event: _Event) -> Frame:
        night, eye = self.night, self.simulation.eyes[index]
        # Whole seconds, so that no header rounds the times.
        first = self.simulation.eyes[0].example.start
        begin = round((first if isfinite(first) else FIRST_NIGHT) * SECONDS_PER_DAY)
        exptime = self._exptime(eye, event.kind)
        middle = event.seconds + 0.5 * exptime
        filters = self._filters(eye)
        used = {"flat": event.turn, "science": event.turn // len(self.simulation.pointings)}.get(event.kind)
        frame = eye.example.replace(
            kind=event.kind,
            filter=eye.example.filter if used is None else filters[used % len(filters)],
            exptime=exptime,
            start=(begin + event.seconds) / SECONDS_PER_DAY,
            mid=(begin + middle) / SECONDS_PER_DAY,
        )
        if event.kind != "science":
            return frame
        if night.airmass is not None:
            return frame.replace(airmass=value_at(night.airmass, middle / 3600.0))
        true = airmass(frame.ra, frame.dec, frame.mid, frame.site)
        return frame.replace(airmass=true) if isfinite(true) else frame

    def _exposure(
        self, index: int, event: _Event, frame: Frame, pointing: Pointing, jitter: NDArray[np.float64]
    ) -> Exposure:
        scene, night, eye = self.scene, self.night, self.simulation.eyes[index]
        hours = (event.seconds + 0.5 * frame.exptime) / 3600.0
        dx, dy = (rate * hours + noise for rate, noise in zip(night.drift, jitter, strict=True))
        if night.dithers:
            rounds = len(self.simulation.pointings) * max(len(self._filters(eye)) for eye in self.simulation.eyes)
            east, north = night.dithers[event.turn // rounds % len(night.dithers)]
            dx, dy = dx + east, dy + north
        transform = (
            eye.view
            @ Transform.similarity(dx, dy)
            @ Transform.similarity(rotation=value_at(night.rotation, hours), mirrored=night.mirrored)
            @ Transform.similarity(pointing.east, -pointing.north)
        )
        x, y = transform(scene.x, scene.y)
        frame = self._moved(frame, pointing)
        if self.simulation.adapt is not None:
            frame = self.simulation.adapt(frame, pointing)
        transparency, relative = value_at(night.transparency, hours), scene.relative(hours - eye.lag / 3600.0)
        turned = (-night.theta if eye.view.mirrored else night.theta) + radians(eye.view.rotation)
        return Exposure(
            frame=frame,
            number=event.number,
            hours=hours,
            transform=transform,
            x=x,
            y=y,
            electrons=scene.flux * frame.exptime * transparency * relative * eye.throughput,
            relative=relative,
            transparency=transparency,
            sky=value_at(night.sky, hours) * frame.exptime * eye.sky,
            profile=Profile(value_at(night.fwhm, hours) * eye.view.scale, night.beta, night.elongation, turned),
        )

    def _moved(self, frame: Frame, pointing: Pointing) -> Frame:
        """Tell in a header how far the telescope stands from the first pointing."""
        first = self.simulation.pointings[0]
        east, north = (pointing.east - first.east) / 3600.0, (pointing.north - first.north) / 3600.0
        if not frame.has_position or (east, north) == (0.0, 0.0):
            return frame
        return frame.replace(ra=(frame.ra + east / cos(radians(frame.dec))) % 360.0, dec=frame.dec + north)

    # --- files --------------------------------------------------------------------------------------------------------

    def _files(self, shots: list[_Shot], kind: str, count: int) -> Iterator[list[_Shot]]:
        """Sort the frames of one event into files, and name these."""
        several = len({eye.example.path for eye in self.simulation.eyes}) > 1
        groups: dict[str, list[_Shot]] = {}
        for shot in shots:
            groups.setdefault(self.simulation.eyes[shot.eye].example.path, []).append(shot)
        for example, group in groups.items():
            first = group[0]
            name = self.instrument.filename(first.frame, first.number + 1)
            if name:
                path = self.home / name
            else:
                path = (self.home / Path(example).stem if several else self.home) / f"{kind}-{count:04d}.fits"
            yield [self._named(shot, path, len(group) > 1) for shot in group]

    def _named(self, shot: _Shot, path: Path, several: bool) -> _Shot:
        """Give a frame its path, and the name that a run gives it."""
        name = path.relative_to(self.home).as_posix()
        frame = shot.frame.replace(path=str(path), name=f"{name}:{shot.frame.detector}" if several else name)
        exposure = None if shot.exposure is None else replace(shot.exposure, frame=frame)
        return replace(shot, frame=frame, exposure=exposure)

    def _write(self, shots: list[_Shot], last: int) -> None:
        """Expose the frames of one file and write it."""
        images = []
        for shot in shots:
            detector = self.detectors[shot.eye]
            shift = detector.camera.overscan_drift / max(1, last) * shot.number
            images.append(
                detector.expose(
                    self._light(shot, detector),
                    shot.frame.exptime,
                    filter=shot.frame.filter,
                    number=shot.number,
                    bias_shift=shift,
                )
            )
        unlit = partial(detector.unlit, number=shot.number, bias_shift=shift)
        write_raw(self.instrument, [shot.frame for shot in shots], images, unlit)

    def _light(self, shot: _Shot, detector: Detector) -> NDArray[np.float32] | np.float32:
        """Electrons that stars, sky or twilight leave in each pixel with a response of one."""
        exposure = shot.exposure
        if exposure is None:
            return np.float32(shot.level)
        ny, nx = detector.window.shape
        light = draw_stars((ny, nx), exposure.x, exposure.y, exposure.electrons, exposure.profile)
        across, along = (np.linspace(-0.5, 0.5, size, dtype=np.float32) for size in (nx, ny))
        gradient = self.night.gradient
        sky = np.float32(exposure.sky) * (1 + (gradient[0] * across[None, :] + gradient[1] * along[:, None]))
        light += sky * detector.sky_pattern if detector.camera.sky_structure > 0 else sky
        return light


def _eye_seed(seed: int, index: int) -> int:
    """Give each eye random numbers of its own; the first has those of a night of one detector."""
    if index == 0:
        return seed
    return int(np.random.SeedSequence([seed, EYES, index]).generate_state(1, np.uint64)[0])


def _brightest(frame: Frame) -> float:
    """Give the highest count of a pixel that can be used."""
    return frame.saturation if isfinite(frame.saturation) else RANGES["uint16"][1]
