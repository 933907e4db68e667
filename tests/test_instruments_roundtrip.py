"""What a camera writes, it reads back: one property for every camera that is installed and every worked definition.

Frames are drawn around the examples of a camera: other times, places, exposures, targets, filters and temperatures.
They must survive the way through the headers of a file to the precision of the cards.
"""

from __future__ import annotations

import math
import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from albireo import Frame, FrameError, Frames, Instrument, Registry, iso_to_mjd
from albireo.frames import CALIBRATION_KINDS
from albireo.headers import identifying_header
from albireo.inspection import differences, same_place, write_blank

EXAMPLES = Path(__file__).resolve().parents[1] / "docs" / "examples"
SECOND = 1.0 / 86400.0


def cameras() -> list[Any]:
    """Every camera that is installed; the one that takes any definition with each definition of the documentation."""
    found: list[Any] = []
    for entry in Registry.discover().entries("instrument"):
        cls = entry.cls
        if any(option.is_required() for option in cls.model_fields.values()):
            definitions = sorted(EXAMPLES.glob("*-camera.toml"))
            found += [pytest.param((entry.name, str(path)), id=f"{entry.name}-{path.stem}") for path in definitions]
        else:
            found.append(pytest.param((entry.name, ""), id=entry.name))
    return found


@lru_cache
def camera_of(key: tuple[str, str]) -> Instrument:
    """Make a camera; its table is read once."""
    name, definition = key
    cls = Registry.discover().get("instrument", name).cls
    stage = cls.model_validate({"definition": definition} if definition else {})
    assert isinstance(stage, Instrument)
    return stage


@lru_cache
def examples_of(key: tuple[str, str]) -> list[tuple[Frame, ...]]:
    """The examples of a camera, those of one file together."""
    return [tuple(group) for group in Frames(camera_of(key).examples()).by("path").values()]


def ascii_text(text: str) -> str:
    """What is left of a text in a FITS card: printable ASCII, blanks in one piece."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return " ".join("".join(c for c in plain if c.isprintable()).split())


TARGETS = st.one_of(
    st.sampled_from(["M 67", "Barnard's star", "O'Neill''s \"field\"", "HD 1/2 & 3", "2012A-0008", "µ Cephei"]),
    st.text(min_size=1, max_size=40),
).map(ascii_text)


@st.composite
def drawn(draw: st.DrawFn, key: tuple[str, str]) -> tuple[Frame, ...]:
    """Draw the frames of one file: science or a kind of calibration frames, at any time of twenty years."""
    example = draw(st.sampled_from(examples_of(key)))
    kind = draw(st.sampled_from(["science", "science", "science", *CALIBRATION_KINDS]))
    exptime = 0.0 if kind == "bias" else draw(st.integers(1, 3_600_000)) / 1000.0
    # Constants of a camera depend on the date; within a day of the example they are those of the example.
    start = round(example[0].start / SECOND) * SECOND + draw(st.integers(-43_200_000, 43_200_000)) / 1000.0 * SECOND
    facts: dict[str, Any] = {
        "kind": kind,
        "exptime": exptime,
        "start": start,
        "mid": start + 0.5 * exptime * SECOND,
        "target": draw(TARGETS.filter(bool)) if example[0].target else "",
    }
    if math.isfinite(example[0].airmass):
        facts["airmass"] = draw(st.integers(1_000, 3_500)) / 1000.0
    if math.isfinite(example[0].temperature):
        facts["temperature"] = draw(st.integers(-1500, 300)) / 10.0
    if len(example) == 1 and example[0].has_position:
        facts["dec"] = draw(st.integers(-8_900_000, 8_900_000)) / 1e5
    # Parts of a detector look at different places: they move around the pole together.
    moved = draw(st.integers(0, 35_999_999)) / 1e5
    return tuple(frame.replace(**facts, ra=(frame.ra + moved) % 360.0) for frame in example)


@pytest.mark.parametrize("key", cameras())
@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_frame_survives_its_own_headers(key: tuple[str, str], tmp_path: Path, data: st.DataObject) -> None:
    camera = camera_of(key)
    frames = data.draw(drawn(key))
    path = tmp_path / (camera.filename(frames[0], 1) or f"{frames[0].kind}/0001.fits")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    meant = [frame.replace(path=str(path)) for frame in frames]
    try:
        write_blank(camera, meant, path)
    except (FrameError, ValueError):
        assert frames[0].kind != "science", "a camera writes science frames"
        return
    assert camera.owns(identifying_header(path), path)
    back = list(camera.frames(path))
    assert len(back) == len(meant)
    for wanted in meant:
        (seen,) = same_place(back, wanted)
        assert differences(seen, wanted) == []
        if wanted.kind == "science" and math.isfinite(wanted.temperature):
            assert seen.temperature == pytest.approx(wanted.temperature, abs=0.06)


@pytest.mark.parametrize("key", cameras())
@given(which=st.integers(0, 9), days=st.integers(0, 20 * 366), milliseconds=st.integers(0, 86_399_999))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_times_of_any_year_survive(
    key: tuple[str, str], tmp_path: Path, which: int, days: int, milliseconds: int
) -> None:
    camera = camera_of(key)
    example = examples_of(key)[which % len(examples_of(key))]
    start = iso_to_mjd("2012-01-01") + days + milliseconds / 86_400_000
    mid = start + 0.5 * example[0].exptime * SECOND
    path = tmp_path / "science" / "any.fits"
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    write_blank(camera, [frame.replace(path=str(path), start=start, mid=mid) for frame in example], path)
    for seen in camera.frames(path):
        assert abs(seen.start - start) < 0.02 * SECOND
        assert abs(seen.mid - mid) < 0.02 * SECOND
