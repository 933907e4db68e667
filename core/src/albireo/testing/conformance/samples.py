"""A camera on real files: what `albireo.inspection.check_file` tries on each, and what makes a camera trustworthy."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from math import isfinite
from pathlib import Path

from albireo.frames import Frame, Frames
from albireo.inspection import ASPECTS, check_file
from albireo.roles import Instrument

__all__ = ["RULES", "faults"]

RULES = {
    "file": "Every sample is a whole FITS file with an image.",
    "owner": "The camera owns every sample.",
    "frames": "Every header is understood.",
    "kind": "What a frame is, is known for every sample.",
    "science": "Science frames have exposure time, start, filter and gain.",
    **{aspect: meaning for aspect, meaning in ASPECTS.items() if aspect not in ("file", "owner", "frames")},
    "together": "together() gives the same frames in the same order, and no exposure to a detector twice.",
    "unchanged": "Raw files are not changed.",
}
"""What must hold for the samples of a camera, by what goes wrong."""


def faults(camera: Instrument, files: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """Check samples.

    Parameters
    ----------
    camera : Instrument
    files : sequence of Path

    Yields
    ------
    rule, reason : str
        A key of `RULES` and what is wrong, with the name of the file.
    """
    night: list[Frame] = []
    for path in files:
        before = _digest(path)
        checked = check_file(camera, path)
        for trouble in checked.troubles:
            yield trouble.aspect, f"{path.name}: {trouble.reason}"
        if not checked.owned and not checked.troubles:
            yield "owner", f"{path.name}: the camera does not own it"
        for frame in checked.frames:
            if frame.kind == "unknown":
                yield "kind", f"{path.name}: {'; '.join(frame.notes) or 'nothing tells it'}"
            missing = _missing(frame)
            if missing:
                yield "science", f"{path.name}: no {', '.join(missing)}"
        if _digest(path) != before:
            yield "unchanged", f"{path.name}: its bytes are not those from before the check"
        night += [f.replace(name=f"{path}:{number}") for number, f in enumerate(checked.frames)]
    for reason in _together(camera, Frames(night).sorted("name")):
        yield "together", reason


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""  # the check says why it cannot be read


def _missing(frame: Frame) -> list[str]:
    if frame.kind != "science":
        return []
    known = {
        "exposure time": isfinite(frame.exptime),
        "start": isfinite(frame.start),
        "filter": bool(frame.filter),
        "gain": all(isfinite(amplifier.gain) for amplifier in frame.amplifiers),
    }
    return [name for name, there in known.items() if not there]


def _together(camera: Instrument, night: Frames) -> Iterator[str]:
    found = camera.together(night)
    if [f.replace(exposure="") for f in found] != [f.replace(exposure="") for f in night]:
        yield "other frames came back, or in another order"
    for (exposure, detector), group in found.by("exposure", "detector").items():
        files = list(dict.fromkeys(Path(path).name for path in group.values("path")))
        if exposure and len(files) > 1:
            yield f"{', '.join(files)} of the detector {detector!r} have one exposure, {exposure}"
