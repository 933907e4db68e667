"""`albireo inspect` on real frames gives what the README of each set says: kinds, filters, exposures, times and gains.

The figures stand in the READMEs of the frames; the frames are not part of this repository. A set is skipped where it,
or its camera, is not there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from albireo import Frame, Frames, Instrument, Registry, iso_to_mjd
from albireo.inspection import check_file, judge, look
from albireo.inspection.pixels import levels, noise_findings
from albireo.recipe import DataOptions
from albireo.run.ingest import raw_files

EXAMPLES = Path(__file__).resolve().parents[1] / "docs" / "examples"
SECOND = 1.0 / 86400.0

Row = tuple[str, str, str, float]
"""Kind, filter, detector, exposure time in s."""


@dataclass(frozen=True)
class Set:
    """What the README of a set says.

    Attributes
    ----------
    name : str
        The folder.
    camera : str
        Name of the instrument.
    definition : str
        Its definition among the worked examples, for cameras without a plugin.
    counts : dict
        How many frames of which kind, filter, detector and exposure time; those of twilight flats are in ``ranges``.
    ranges : dict
        Kind and filter to the number of frames and the shortest and longest exposure.
    times : dict
        Part of a name to start and middle of the exposure, UTC.
    gains : dict
        Detector to the gains of its amplifiers, as the camera says them.
    says : tuple of str
        Patterns, each of which some finding fits.
    """

    name: str
    camera: str
    definition: str = ""
    counts: dict[Row, int] = field(default_factory=dict)
    ranges: dict[tuple[str, str], tuple[int, float, float]] = field(default_factory=dict)
    times: dict[str, tuple[str, str]] = field(default_factory=dict)
    gains: dict[str, tuple[float, ...]] = field(default_factory=dict)
    says: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name


SETS = (
    Set(
        "lowell42",
        "fits",
        "lowell42-camera.toml",
        counts={("bias", "VR", "", 0.0): 9, ("flat", "V", "", 2.7): 1, ("science", "VR", "", 300.0): 23},
        ranges={("flat", "VR"): (6, 3.3, 4.5)},
        # MIDTIMJD of the first science frame and UTCSTART.
        times={"0126": ("2019-03-26T02:27:31.13", "2019-03-26T02:30:01.13")},
        gains={"": (4.95,)},
    ),
    Set(
        "hatp32",
        "fits",
        "hatp32-camera.toml",
        counts={("science", "Clear", "", 60.0): 142},
        times={"HATP-32171220013343": ("2017-12-20T01:33:43", "2017-12-20T01:34:13")},
        gains={"": (43.0,)},
        says=("there are no flats", "no bias for all 142 science frames, and no overscan"),
    ),
    Set(
        "opticam",
        "opticam",
        counts={("science", name, detector, 5.0): 1 for name, detector in (("g", "C1"), ("r", "C2"), ("z", "C3"))},
        times={f"c{n}": ("2023-11-22T03:02:49", "2023-11-22T03:02:51.5") for n in (1, 2, 3)},
        says=("position unknown for all 3 science frames", "1 exposure of C1, C2, C3: 1 complete"),
    ),
    Set(
        "ratir_c1",
        "ratir",
        counts={
            ("bias", "i", "C1", 0.0): 8,
            ("dark", "i", "C1", 80.0): 5,
            ("flat", "i", "C1", 10.0): 8,
            ("science", "i", "C1", 10.0): 10,
        },
        gains={"C1": (4.66,)},
        says=(r"no dark is as long as 10 science frames of C1 of 10 s; those of 80 s would be scaled",),
    ),
    Set("ratir_ir", "ratir", counts={("flat", "H", "C3", 10.0): 1, ("flat", "Y", "C2", 10.0): 1}),
    Set(
        "lco_mef",
        "fits",
        "sinistro-camera.toml",
        counts={("science", "w", "fa05", 94.975): 1},
        # 94.975 s began within the second 01:55:17.
        times={"mef": ("2021-10-08T01:55:17.5", "2021-10-08T01:56:04.99")},
        gains={"fa05": (6.42, 6.23, 6.27, 6.26)},
    ),
)


@lru_cache
def camera_of(one: Set) -> Instrument:
    if one.definition and not (EXAMPLES / one.definition).is_file():
        pytest.skip(f"there is no definition {one.definition}")
    entries = [entry for entry in Registry.discover().entries("instrument") if entry.name == one.camera]
    if not entries:
        pytest.skip(f"the camera {one.camera} is not installed")
    stage = entries[0].cls.model_validate({"definition": str(EXAMPLES / one.definition)} if one.definition else {})
    assert isinstance(stage, Instrument)
    return stage


Set.__hash__ = object.__hash__  # type: ignore[method-assign]


@pytest.fixture
def seen(data: Path) -> Callable[[Set], tuple[Instrument, Frames]]:
    """The frames of a set as its camera sees them."""

    def read(one: Set) -> tuple[Instrument, Frames]:
        folder = data / one.name
        if not folder.is_dir():
            pytest.skip(f"there is no set {one.name} in {data}")
        ((camera, frames),) = look(raw_files(DataOptions(), folder), folder, [camera_of(one)]).nights
        return camera, frames

    return read


each_set = pytest.mark.parametrize("one", SETS, ids=str)


def detector(frame: Frame) -> str:
    """The chip: halves of one may have names of their own."""
    return re.sub(r"^(C\d)\w*$", r"\1", frame.detector)


@each_set
def test_kinds_filters_and_exposures_are_those_of_the_readme(one: Set, seen: Any) -> None:
    _, frames = seen(one)
    ranged = Frames(f for f in frames if (f.kind, f.filter) in one.ranges)
    for (kind, name), (count, shortest, longest) in one.ranges.items():
        times = [f.exptime for f in ranged.where(kind=kind, filter=name)]
        assert (len(times), min(times), max(times)) == (count, pytest.approx(shortest), pytest.approx(longest))
    others = Counter((f.kind, f.filter, detector(f), round(f.exptime, 3)) for f in frames if f not in ranged)
    assert others == one.counts


@each_set
def test_start_and_middle_are_those_of_the_readme(one: Set, seen: Any) -> None:
    _, frames = seen(one)
    assert all(f.start == f.start and f.mid == f.mid for f in frames)
    for part, (start, middle) in one.times.items():
        (frame,) = [f for f in frames if part in f.name]
        assert abs(frame.mid - iso_to_mjd(middle)) < 0.51 * SECOND
        assert abs(frame.start - iso_to_mjd(start)) < 0.51 * SECOND


@each_set
def test_gains_are_what_the_camera_says(one: Set, seen: Any) -> None:
    _, frames = seen(one)
    for name, gains in one.gains.items():
        for frame in frames:
            if detector(frame) == name:
                assert [a.gain for a in frame.amplifiers] == pytest.approx(gains)


@each_set
def test_what_is_missing_is_said(one: Set, seen: Any) -> None:
    camera, frames = seen(one)
    said = [finding.text for finding in judge(frames, camera)]
    for pattern in one.says:
        assert any(re.search(pattern, text) for text in said), said
    assert not any("start at the same moment" in text or "by name" in text for text in said)


@each_set
def test_every_promise_of_the_camera_holds_on_every_file(one: Set, seen: Any) -> None:
    camera, frames = seen(one)
    for path in sorted({f.path for f in frames})[:: 1 if len(frames) < 50 else 10]:
        assert check_file(camera, Path(path)).troubles == ()


def test_lowell42_gain_and_noise_contradict_the_header(seen: Any) -> None:
    camera, frames = seen(SETS[0])
    gain, noise = noise_findings(camera, frames)
    assert gain.severity == noise.severity == "warning"
    match = re.match(r"gain (\S+) \+- (\S+) e-/adu from 5 pairs of flats through VR; the camera says 4.95", gain.text)
    assert match
    assert float(match[1]) == pytest.approx(3.66, abs=0.04)
    match = re.match(r"read noise (\S+) \+- (\S+) adu \((\S+) e-\) from 8 pairs of bias", noise.text)
    assert match
    assert float(match[1]) == pytest.approx(1.18, abs=0.03)
    assert float(match[3]) == pytest.approx(4.3, abs=0.1)


def test_lowell42_levels_are_those_of_the_readme(seen: Any) -> None:
    camera, frames = seen(SETS[0])
    measured = list(levels(camera, frames))
    flats = [round(one.above) for one in measured if one.frame.kind == "flat"]
    assert flats == [25695, 21553, 25695, 24043, 22515, 21066, 19709]
    assert {one.level for one in measured if one.frame.kind == "bias"} == {1626.0}
    odd = measured[[one.frame.filter for one in measured].index("V")]
    ny, nx = odd.frame.amplifiers[0].data.shape
    assert odd.saturated * ny * nx == pytest.approx(2)


def test_ratir_c1_exposures_start_after_the_time_in_the_name(seen: Any) -> None:
    (one,) = [one for one in SETS if one.name == "ratir_c1"]
    _, frames = seen(one)
    for frame in frames:
        day, clock = re.findall(r"(\d{8})T(\d{6})", frame.name)[0]
        named = iso_to_mjd(f"{day[:4]}-{day[4:6]}-{day[6:]}T{clock[:2]}:{clock[2:4]}:{clock[4:]}")
        assert 0.5 < (frame.start - named) / SECOND < 14.0
        assert frame.mid - frame.start == pytest.approx(0.5 * frame.exptime * SECOND, abs=0.01 * SECOND)


def test_ratir_c1_gain_noise_and_saturated_flats_are_those_of_the_readme(seen: Any) -> None:
    (one,) = [one for one in SETS if one.name == "ratir_c1"]
    camera, frames = seen(one)
    measured = {re.sub(r".*T(\d{6}).*", r"\1", found.frame.name): found for found in levels(camera, frames)}
    assert measured["031009"].saturated == pytest.approx(1.0, abs=0.1)
    assert measured["031309"].level == pytest.approx(15102, abs=30)
    said = {finding.text.split()[0]: finding.text for finding in noise_findings(camera, frames)}
    assert float(said["gain"].split()[3]) == pytest.approx(4.66, abs=0.1)
    assert float(said["read"].split()[4]) == pytest.approx(2.41, abs=0.05)


def test_a_spectrograph_with_the_same_program_is_not_taken_for_lmi(data: Path, command: Any) -> None:
    folder = data / "lois_headers"
    if not folder.is_dir():
        pytest.skip(f"there is no set lois_headers in {data}")
    done = command("inspect", folder, "--instrument", "lmi")
    assert done.code == 1
    assert done.err.splitlines()[:2] == [
        "albireo: none of the 1 files is a frame of lmi:",
        "albireo:   20250203.0021.fits.fz: another camera wrote it (INSTRUME = 'Deveny', TELESCOP = 'DCT', "
        "DETECTOR = 'CCD42-10-1-E99_SN-11012-03-08')",
    ]
    assert command("inspect", folder, "--instrument", "lmi", "--check").code == 1


def test_the_command_shows_the_night_of_lowell42(data: Path, command: Any) -> None:
    if not (data / "lowell42").is_dir():
        pytest.skip(f"there is no set lowell42 in {data}")
    camera = EXAMPLES / "lowell42-camera.toml"
    done = command("inspect", data / "lowell42" / "flat", "--definition", camera, "--files", "--pixels")
    assert done.code == 0
    words = " ".join(done.out.split())
    assert "flat VR 3.3 s to 4.5 s 6 2019-03-26T02:05:40 02:07:01" in words
    assert "20190326.0110.fits.fz flat VR VR twil f… 3.3 02:05:40.290 02:05:41.940 1.070 4.95 9.3" in words
    assert re.search(
        r"warning: gain 3\.6\d+ \+- 0\.00\d e-/adu from 5 pairs of flats through VR; the camera says 4\.95", words
    )
    done = command("certify", "instrument", "fits", data / "lowell42" / "flat", "--set", f"definition={camera}")
    assert done.code == 0, done.text
    assert "passed  samples: round trip" in done.out
