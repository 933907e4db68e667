"""Whether the calibration frames of a night fit its science frames."""

from __future__ import annotations

from collections.abc import Iterator
from math import isclose, isfinite
from statistics import median

from albireo.frames import CALIBRATION_KINDS, Frame, Frames
from albireo.inspection.finding import Finding, about, each_part, listed, of_detector, setup_words, share
from albireo.roles import Instrument

__all__ = ["mixed_setups", "science_without_bias", "science_without_darks", "science_without_flats", "warm_darks"]

SAME_EXPTIME = 1e-3
"""Exposure times that differ by less, relatively, are the same."""

TEMPERATURE_STEP = 2.0
"""Difference of temperatures in deg C that dark frames should not have; dark current of silicon doubles in about 7."""


def mixed_setups(frames: Frames, camera: Instrument) -> Iterator[Finding]:
    """Say where frames of one kind and detector differ in size, binning or another part of the set-up."""
    for (detector, _), part in each_part(frames).items():
        for (kind,), group in part.where(kind=("science", *CALIBRATION_KINDS)).by("kind").items():
            ways = group.by("shape", "setup")
            if len(ways) < 2:
                continue
            words = [f"{setup_words(way[0], group)} ({len(way)})" for way in ways.values()]
            yield about(
                "warning",
                f"{kind} frames{of_detector(detector)} come in {len(ways)} set-ups: {listed(words)}; calibrations are "
                "made of frames of one set-up and serve that set-up only",
                group,
            )


def science_without_flats(frames: Frames, camera: Instrument) -> Iterator[Finding]:
    """Say which science frames no flat matches, and which flats there are."""
    flats = frames.where(kind="flat")
    science = frames.where(kind="science", spared=lambda kinds: "flat" not in kinds)
    if science and not flats:
        yield about("warning", "there are no flats: the sensitivity of the pixels cannot be corrected")
        return
    keys = camera.match("flat")
    there = flats.by(*keys)
    for key, group in science.by(*keys).items():
        if key in there:
            continue
        first = group[0]
        near = flats.where(detector=first.detector, filter=first.filter)
        if near:
            others = near + group[:1]
            words = listed([f"{setup_words(f[0], others)} ({len(f)})" for f in near.by("shape", "setup").values()])
            why = f"those through {first.filter or 'no filter'} are of another set-up: {words}"
        else:
            names = [
                f"{name or '(none)'} ({len(g)})"
                for (name,), g in flats.where(detector=first.detector).by("filter").items()
            ]
            why = f"there are flats through {listed(names)}" if names else "there are none of this detector"
        yield about(
            "warning",
            f"no flat for {share(group, science, 'science')}{of_detector(first.detector)} through "
            f"{first.filter or '(no filter)'}; {why}",
            group,
        )


def science_without_darks(frames: Frames, camera: Instrument) -> Iterator[Finding]:
    """Say which science frames have no dark of their exposure time, where dark frames were taken at all."""
    keys = camera.match("dark")
    darks = frames.where(kind="dark")
    there = darks.by(*keys)
    science = frames.where(kind="science", detector=darks.values("detector"), spared=lambda kinds: "dark" not in kinds)
    for key, alike in science.by(*keys).items():
        for (exptime,), group in alike.by("exptime").items():
            what = (
                f"{len(group)} science frame{'s' * (len(group) > 1)}{of_detector(group[0].detector)} of {exptime:g} s"
            )
            if key not in there:
                yield about("warning", f"no dark has the set-up of {what}", group)
                continue
            times = sorted({dark.exptime for dark in there[key]})
            if not any(isclose(time, exptime, rel_tol=SAME_EXPTIME) for time in times):
                words = listed([f"{time:g} s" for time in times])
                yield about("note", f"no dark is as long as {what}; those of {words} would be scaled", group)


def science_without_bias(frames: Frames, camera: Instrument) -> Iterator[Finding]:
    """Say which science frames have neither bias nor darks, and whether an overscan stands in."""
    keys = camera.match("bias")
    there = {*frames.where(kind="bias").by(*keys), *frames.where(kind="dark").by(*keys)}
    science = frames.where(kind="science")
    missing = Frames(f for key, group in science.by(*keys).items() if key not in there for f in group)
    bare: dict[bool, list[Frame]] = {}
    for frame in missing:
        if "bias" not in frame.spared:
            bare.setdefault(any(a.overscan is None for a in frame.amplifiers), []).append(frame)
    for without_overscan, group in bare.items():
        detectors = ", ".join(sorted({frame.detector for frame in group}))
        what = f"no bias for {share(Frames(group), science, 'science')}{of_detector(detectors)}"
        if without_overscan:
            yield about("warning", f"{what}, and no overscan: the electronic pedestal must be known otherwise", group)
        else:
            yield about("note", f"{what}: the overscan gives the level, the structure of the bias stays in", group)


def warm_darks(frames: Frames, camera: Instrument) -> Iterator[Finding]:
    """Say where darks and science frames were not taken at the same temperature of the detector."""
    for (detector,), group in frames.where(kind=("dark", "science")).by("detector").items():
        degrees = {
            kind: [f.temperature for f in group if f.kind == kind and isfinite(f.temperature)]
            for kind in ("dark", "science")
        }
        if not all(degrees.values()):
            continue
        dark, science = median(degrees["dark"]), median(degrees["science"])
        spread = max(map(max, degrees.values())) - min(map(min, degrees.values()))
        if spread > TEMPERATURE_STEP:
            yield about(
                "warning",
                f"temperature{of_detector(detector)}: darks at {dark:.1f} deg C, science at {science:.1f} deg C, "
                f"{spread:.1f} deg C between extremes; dark current changes by a tenth with each degree",
                group.where(kind="dark"),
            )
