"""Cameras with several detectors that expose at once: one star has one number in all bands, one moment has one name."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from albireo import Flag, Frame, Frames, Recipe, Results, Sources, Transform, group_by_overlap
from albireo.run import RunError, RunOutcome, run
from albireo.testing import PlainCamera, Profile, draw_stars, poisson

SHAPE = (300, 320)
OVERSCAN = 16
STARS = 45
EXPOSURES = 6
EXPTIME = 30.0
START = 60310.25
BIAS, GAIN, READ_NOISE, SKY = 1000.0, 1.6, 5.0, 60.0
VARIABLE, RED, BLUE = 7, 11, 15
"""Stars by rank: one that varies, one that only the reddest camera sees, one that only the bluest sees."""

RECIPE = """
[recipe]
title = "Three eyes"
[instrument]
use = "lmi"
[[corrections]]
use = "overscan"
[[corrections]]
use = "trim"
[[corrections]]
use = "gain"
[background]
use = "mesh"
[finding]
use = "sep"
[alignment]
use = "astroalign"
[[photometry]]
use = "aperture"
radius = 5
annulus = [9, 16]
[[curves]]
use = "differential"
[executor]
use = "serial"
"""


class Trio(PlainCamera, name="trio"):
    """Three detectors behind dichroics; a card says which of them wrote a file."""

    def frames(self, path: Path) -> Iterable[Frame]:
        (frame,) = super().frames(path)
        return (frame.replace(detector=fits.getval(path, "DETECTOR")),)

    def header(self, frame: Frame) -> fits.Header:
        cards = super().header(frame)
        cards["DETECTOR"] = frame.detector
        return cards

    def together(self, frames: Frames) -> Frames:
        return group_by_overlap(frames)


@dataclass(frozen=True)
class Eye:
    """A detector: its filter, how it sees the sky, and how late it opens."""

    filter: str
    view: Transform
    late: float = 0.0


def view(scale: float, rotation: float, mirrored: bool, dx: float = 0.0, dy: float = 0.0) -> Transform:
    """A map that puts the middle of the sky on the middle of the chip, but for a shift in pixels."""
    turned = Transform.similarity(rotation=rotation, scale=scale, mirrored=mirrored)
    x, y = turned(200.0, 200.0)
    middle = (SHAPE[1] / 2 - x + dx, SHAPE[0] / 2 - y + dy)
    return Transform.similarity(*middle, rotation=rotation, scale=scale, mirrored=mirrored)


EYES = {
    "C1": Eye("g", view(1.0, 0.6, False)),
    "C2": Eye("r", view(0.94, 92.0, True, 12.0, -9.0), late=-0.3),
    "C3": Eye("i", view(1.12, -3.0, False, -15.0, 20.0), late=1.1),
}


class Sky:
    """Stars of the sky and the raw frames of them, with the truth."""

    def __init__(self, seed: int = 4) -> None:
        rng = np.random.default_rng(seed)
        # The variable, the red and the blue star lie where every camera sees them.
        inner = {VARIABLE: (200.0, 190.0), RED: (160.0, 240.0), BLUE: (245.0, 150.0)}
        places = dict(inner)
        while len(places) < STARS:
            place = tuple(rng.uniform(25.0, 375.0, 2))
            if all(np.hypot(place[0] - x, place[1] - y) > 18.0 for x, y in places.values()):
                places[next(star for star in range(STARS) if star not in places)] = place
        self.x, self.y = np.array([places[star] for star in range(STARS)]).T
        self.light = np.geomspace(2.5e5, 6e3, STARS)
        self.colour = {name: rng.uniform(0.7, 1.4, STARS) for name in EYES}
        for name in ("C1", "C2"):
            self.colour[name][RED] = 0.0
        for name in ("C2", "C3"):
            self.colour[name][BLUE] = 0.0

    def where(self, detector: str, exposure: int, eyes: dict[str, Eye] = EYES) -> tuple[np.ndarray, np.ndarray]:
        """Pixels of the stars in the trimmed frame of an exposure; the telescope drifts."""
        return eyes[detector].view(self.x + 1.5 * exposure, self.y - 0.7 * exposure)

    def brightness(self, exposure: int) -> float:
        """Of the variable."""
        return float(1.0 + 0.2 * np.sin(1.1 * exposure))

    def write(self, folder: Path, detector: str, exposure: int, eyes: dict[str, Eye] = EYES, **facts: Any) -> Path:
        """Write the raw frame of one detector."""
        camera, eye = Trio(rows=SHAPE[0], columns=SHAPE[1]), eyes[detector]
        rng = np.random.default_rng([exposure, *detector.encode()])
        light = self.light * self.colour[detector]
        light[VARIABLE] *= self.brightness(exposure)
        image = np.full((SHAPE[0], SHAPE[1] + OVERSCAN), 0.0, dtype=np.float32)
        stars = draw_stars(SHAPE, *self.where(detector, exposure, eyes), light, Profile(3.2))
        image[:, : SHAPE[1]] = poisson(rng, stars + SKY)
        counts = BIAS + (image + rng.normal(0, READ_NOISE, image.shape)) / GAIN
        start = START + (40.0 * exposure + eye.late) / 86400.0
        path = folder / detector / f"{detector}-{exposure:03d}.fits"
        path.parent.mkdir(parents=True, exist_ok=True)
        frame = camera.example().replace(
            path=str(path), detector=detector, filter=eye.filter, exptime=EXPTIME, start=start, ra=132.825, **facts
        )
        fits.PrimaryHDU(np.rint(counts).astype(np.uint16), camera.header(frame)).writeto(path)
        return path

    def night(self, folder: Path, without: Iterable[tuple[str, int]] = (), exposures: int = EXPOSURES) -> Path:
        """Write all frames but some."""
        for exposure in range(exposures):
            for detector in EYES:
                if (detector, exposure) not in without:
                    self.write(folder, detector, exposure)
        return folder

    def target(self, detector: str, star: int, exposure: int = 0) -> str:
        """A target in pixels of one frame."""
        x, y = self.where(detector, exposure)
        frame = f"{detector}-{exposure:03d}.fits"
        return f'[[targets]]\nname = "V{star}"\nx = {x[star]:.2f}\ny = {y[star]:.2f}\nframe = "{frame}"\n'


def reduce(raw: Path, out: Path, extra: str = "", camera: PlainCamera | None = None) -> tuple[RunOutcome, Results]:
    """Reduce frames with the made-up camera, in this process."""
    recipe = replace(Recipe.parse(RECIPE + extra), instrument=camera or Trio(rows=SHAPE[0], columns=SHAPE[1]))
    outcome = run(recipe, raw, out)
    return outcome, Results(out)


def truths(results: Results, sky: Sky, eyes: dict[str, Eye] = EYES) -> dict[str, dict[int, int]]:
    """For each detector, which star of the sky every number of its catalogue is."""
    found: dict[str, dict[int, int]] = {}
    for field in results.fields:
        catalogue = field.read_catalogue()
        exposure = int(field.reference[-8:-5])
        x, y = sky.where(field.detector, exposure, eyes)
        stars: dict[int, int] = {}
        for row in catalogue:
            if row["flags"] & Flag.EDGE:
                continue  # a part of a star, whose middle lies beyond the edge
            distance = np.hypot(x - row["x"], y - row["y"])
            assert distance.min() < 1.5, f"star {row['id']} of {field.detector} is no star of the sky"
            stars[int(row["id"])] = int(distance.argmin())
        found[field.detector] = stars
    return found


def identities(stars: dict[int, int]) -> dict[int, int]:
    """Number of each star of the sky."""
    turned = {star: number for number, star in stars.items()}
    assert len(turned) == len(stars), "a star has two numbers"
    return turned


@pytest.fixture(scope="module")
def sky() -> Sky:
    return Sky()


@pytest.fixture(scope="module")
def raw(sky: Sky, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six exposures; the second camera missed the fourth."""
    return sky.night(tmp_path_factory.mktemp("many") / "raw", without=[("C2", 3)])


@pytest.fixture(scope="module")
def finished(sky: Sky, raw: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunOutcome, Results]:
    outcome, results = reduce(
        raw, tmp_path_factory.mktemp("finished") / "run", sky.target("C1", VARIABLE) + '[[reports]]\nuse = "html"\n'
    )
    assert outcome.exit_code == 0, outcome.warnings
    return outcome, results


@pytest.fixture(scope="module")
def untargeted(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """The same night with a recipe that names no target; only to be read."""
    return reduce(raw, tmp_path_factory.mktemp("untargeted") / "run")[1]


# --- one list of stars ------------------------------------------------------------------------------------------------


def test_a_star_has_one_number_on_every_detector(finished, sky: Sky) -> None:
    _, results = finished
    found = {detector: identities(stars) for detector, stars in truths(results, sky).items()}
    assert set(found) == {"C1", "C2", "C3"}
    assert {field.sky for field in results.fields} == {"M_67"}
    common: dict[int, int] = {}
    for numbers in found.values():
        for star, number in numbers.items():
            assert common.setdefault(star, number) == number
    assert len(set(common.values())) == len(common)
    everywhere = set.intersection(*(set(numbers) for numbers in found.values()))
    assert len(everywhere) >= 25
    # The first numbers go by brightness on the camera that sees most.
    first = min(found, key=lambda d: min(found[d].values()))
    fluxes = next(f for f in results.fields if f.detector == first).read_catalogue()["flux"]
    assert min(min(numbers.values()) for numbers in found.values()) == 1
    assert np.isfinite(fluxes).any()


def test_a_star_beside_a_chip_is_not_in_its_list(finished, sky: Sky) -> None:
    _, results = finished
    for field in results.fields:
        catalogue = field.read_catalogue()
        assert ((catalogue["x"] > -0.5) & (catalogue["x"] < SHAPE[1] - 0.5)).all()
        assert ((catalogue["y"] > -0.5) & (catalogue["y"] < SHAPE[0] - 0.5)).all()
    sizes = {len(field.read_catalogue()) for field in results.fields}
    highest = max(int(field.read_catalogue()["id"].max()) for field in results.fields)
    assert min(sizes) < highest, "some list has gaps"


@pytest.mark.parametrize(("star", "seen"), [(RED, "C3"), (BLUE, "C1")])
def test_a_star_that_one_band_sees_is_measured_in_all(finished, sky: Sky, star: int, seen: str) -> None:
    _, results = finished
    found = {detector: identities(stars) for detector, stars in truths(results, sky).items()}
    numbers = {numbers[star] for numbers in found.values()}
    assert len(numbers) == 1
    (number,) = numbers
    table = results.photometry[results.photometry["source"] == number]
    for field in results.fields:
        (row,) = field.read_catalogue()[field.read_catalogue()["id"] == number]
        mine = table[table["detector"] == field.detector]
        pull = np.asarray(mine["flux"] / mine["flux_err"])
        assert np.isfinite(row["flux"]) == (field.detector == seen)
        if field.detector == seen:
            assert (pull > 30).all()
        else:
            # Nothing is there: the mean of at least five fluxes is zero within its error.
            assert abs(pull.mean()) < 4.0 / np.sqrt(len(pull))
            assert (np.abs(pull) < 5).all()


def test_the_table_of_stars_says_where_a_star_is_in_each_band(finished, sky: Sky) -> None:
    _, results = finished
    stars = results.stars[results.stars["name"] == f"V{VARIABLE}"]
    assert sorted(stars["detector"]) == ["C1", "C2", "C3"]
    assert len(set(stars["source"])) == 1
    assert set(stars["sky"]) == {"M_67"}
    for row in stars:
        (field,) = [f for f in results.fields if f.name == row["field"]]
        x, y = sky.where(field.detector, int(field.reference[-8:-5]))
        assert np.hypot(row["x"] - x[VARIABLE], row["y"] - y[VARIABLE]) < 0.3


# --- several bands at once --------------------------------------------------------------------------------------------


def test_frames_that_were_exposed_at_once_are_named_alike(finished) -> None:
    _, results = finished
    groups = results.frames.group_by("exposure").groups
    assert [sorted(group["detector"]) for group in groups] == [
        ["C1", "C3"] if number == 3 else ["C1", "C2", "C3"] for number in range(EXPOSURES)
    ]
    assert all(group["exposure"][0] == min(group["start"]) for group in groups)


def test_bands_stand_side_by_side_and_what_is_missing_is_nan(finished, sky: Sky) -> None:
    _, results = finished
    (table,) = results.bands
    assert table.colnames == ["exposure", *(f"{c}_{b}" for b in "gri" for c in ("time", "flux", "flux_err"))]
    assert len(table) == EXPOSURES
    assert list(table["exposure"]) == sorted(table["exposure"])
    assert np.isnan(table["flux_r"]).tolist() == [number == 3 for number in range(EXPOSURES)]
    assert {band: facts["DETECTOR"] for band, facts in table.meta["BANDS"].items()} == {"g": "C1", "r": "C2", "i": "C3"}
    expected = np.array([sky.brightness(number) for number in range(EXPOSURES)])
    for band in "gri":
        flux, error = np.asarray(table[f"flux_{band}"]), np.asarray(table[f"flux_err_{band}"])
        seen = np.isfinite(flux)
        ratio = (flux / expected)[seen]
        assert np.std(ratio / ratio.mean()) < 3.0 * np.median(error[seen] / flux[seen])
        assert (results.folder / f"curves/V{VARIABLE}_{band}_{table.meta['BANDS'][band]['DETECTOR']}.ecsv").is_file()
    assert np.nanmax(np.abs(table["time_i"] - table["time_g"]) * 86400.0) == pytest.approx(1.1, abs=0.01)


def test_the_report_counts_exposures_and_draws_bands_over_each_other(finished) -> None:
    _, results = finished
    text = (results.folder / "report" / "index.html").read_text(encoding="utf-8")
    assert "6 exposures; complete in all 3 detectors: 5." in text
    assert "flux over its median, all bands at once" in text


def test_without_targets_the_same_stars_are_shown_in_every_band(untargeted: Results) -> None:
    assert len(untargeted.bands) == 5
    for table in untargeted.bands:
        assert len({facts["SOURCE"] for facts in table.meta["BANDS"].values()}) == 1
        assert set(table.meta["BANDS"]) == {"g", "r", "i"}
        assert table.meta["OBJECT"] == f"star {table.meta['BANDS']['g']['SOURCE']}"


def test_a_target_in_pixels_of_any_camera_is_the_same_star(raw: Path, sky: Sky, tmp_path: Path) -> None:
    _, results = reduce(raw, tmp_path / "run", sky.target("C2", VARIABLE, 2) + sky.target("C3", RED, 1))
    found = {detector: identities(stars) for detector, stars in truths(results, sky).items()}
    for star in (VARIABLE, RED):
        curves = [curve for curve in results.curves if curve.meta["OBJECT"] == f"V{star}"]
        assert {(c.meta["DETECTOR"], c.meta["SOURCE"]) for c in curves} == {(d, found[d][star]) for d in EYES}


def test_a_target_beside_one_chip_is_followed_by_the_others(raw: Path, sky: Sky, tmp_path: Path) -> None:
    inside = {d: [0 <= x < SHAPE[1] and 0 <= y < SHAPE[0] for x, y in zip(*sky.where(d, 2), strict=True)] for d in EYES}
    star = next(s for s in range(STARS) if inside["C1"][s] and not inside["C3"][s])
    settled = '\n[catalogue]\nreference = "middle"\n'
    outcome, results = reduce(raw, tmp_path / "run", sky.target("C1", star) + settled)
    assert f"the target V{star} lies outside the image of C3" in outcome.warnings
    assert "C3" not in {curve.meta["DETECTOR"] for curve in results.curves}
    assert outcome.exit_code == 0


# --- going on, and going alone ----------------------------------------------------------------------------------------


def products(results: Results) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in (results.folder / "products").rglob("*.product")}


@pytest.fixture
def copied(untargeted: Results, raw: Path, tmp_path: Path) -> Results:
    """A finished run to go on with, beside a copy of its frames."""
    shutil.copytree(raw, tmp_path / "raw")
    shutil.copytree(untargeted.folder, tmp_path / "run")
    return Results(tmp_path / "run")


def test_a_further_exposure_costs_its_own_frames_only(copied: Results, sky: Sky, tmp_path: Path) -> None:
    before = products(copied)
    lists = {field.name: field.catalogue.read_bytes() for field in copied.fields}
    for detector in EYES:
        sky.write(tmp_path / "raw", detector, EXPOSURES)
    sky.write(tmp_path / "raw", "C2", 3)
    outcome, results = reduce(tmp_path / "raw", tmp_path / "run")
    after = products(results)
    assert {name: after[name] for name in before} == before
    new = [Path(name).relative_to(tmp_path / "run" / "products").parts[0] for name in after.keys() - before.keys()]
    assert sorted(new) == ["aligned"] * 4 + ["measured"] * 4
    assert outcome.counts == {"used": 3 * (EXPOSURES + 1)}
    assert {field.name: field.catalogue.read_bytes() for field in results.fields} == lists
    outcome, _ = reduce(tmp_path / "raw", tmp_path / "run")
    assert not outcome.changed


def test_another_aperture_leaves_the_lists_as_they_are(copied: Results, tmp_path: Path) -> None:
    before = {name: time for name, time in products(copied).items() if "measured" not in name}
    recipe = Recipe.parse(RECIPE.replace("radius = 5", "radius = 4"))
    run(replace(recipe, instrument=Trio(rows=SHAPE[0], columns=SHAPE[1])), tmp_path / "raw", copied.folder)
    assert {name: time for name, time in products(copied).items() if "measured" not in name} == before
    assert set(Results(copied.folder).photometry["aperture"]) == {4.0}


def test_each_detector_may_keep_a_list_of_its_own(raw: Path, sky: Sky, tmp_path: Path) -> None:
    outcome, results = reduce(raw, tmp_path / "run", "[catalogue]\ncommon = false\n")
    assert outcome.exit_code == 0
    for field in results.fields:
        catalogue = field.read_catalogue()
        assert catalogue["id"].tolist() == list(range(1, len(catalogue) + 1))
        assert np.isfinite(catalogue["flux"]).all()
        assert (np.diff(catalogue["flux"]) <= 0).all()
        assert field.sky == field.name
    found = truths(results, sky)
    assert any(found["C1"][n] != found["C2"][n] for n in found["C1"].keys() & found["C2"].keys())


def test_a_camera_without_common_stars_says_so_and_numbers_its_own(sky: Sky, tmp_path: Path) -> None:
    other = Sky(seed=99)
    for exposure in range(2):
        for detector in ("C1", "C2"):
            sky.write(tmp_path / "raw", detector, exposure)
        other.write(tmp_path / "raw", "C3", exposure)
    outcome, results = reduce(tmp_path / "raw", tmp_path / "run")
    (warning,) = [text for text in outcome.warnings if "no common stars" in text]
    assert warning.startswith(("M_67: no common stars of C3 and C", "M_67: no common stars of C1 and C3"))
    assert "list of stars of its own" in warning
    numbers = {field.detector: set(field.read_catalogue()["id"].tolist()) for field in results.fields}
    assert numbers["C1"] & numbers["C2"]
    assert not numbers["C3"] & (numbers["C1"] | numbers["C2"])
    assert {curve.meta["DETECTOR"] for curve in results.curves} == {"C1", "C2", "C3"}
    again, _ = reduce(tmp_path / "raw", tmp_path / "run")
    assert warning in again.warnings


def test_pointings_apart_are_fields_of_their_own(sky: Sky, tmp_path: Path) -> None:
    apart = 300.0 * 0.4 / 3600.0
    for exposure in range(4):
        for detector in ("C1", "C2"):
            sky.write(tmp_path / "raw", detector, exposure, dec=11.8 + apart * (exposure % 2))
    _, results = reduce(tmp_path / "raw", tmp_path / "run")
    names = {field.name: field.sky for field in results.fields}
    assert names == {"M_67-C1": "M_67", "M_67-C2": "M_67", "M_67-C1-2": "M_67-2", "M_67-C2-2": "M_67-2"}
    frames = results.frames
    assert {tuple(frames["exposure"][frames["field"] == name]) for name in names} == {
        tuple(sorted(set(frames["exposure"]))[k::2]) for k in (0, 1)
    }
    assert {curve.meta["OBJECT"].split(" of ")[1] for curve in results.curves} == {"M_67", "M_67-2"}


# --- what a camera may get wrong --------------------------------------------------------------------------------------


class Loses(Trio, name="trio"):
    """Gives back fewer frames than it was given."""

    def together(self, frames: Frames) -> Frames:
        return Frames(list(frames)[1:])


class Meddles(Trio, name="trio"):
    """Changes more than the exposure."""

    def together(self, frames: Frames) -> Frames:
        return Frames(frame.replace(filter="x", exposure="1") for frame in frames)


class Breaks(Trio, name="trio"):
    """Divides by zero."""

    def together(self, frames: Frames) -> Frames:
        return Frames([frames[1 // 0]])


@pytest.mark.parametrize(
    ("camera", "message"),
    [
        (Loses, r"defect in the camera trio \(.*Loses\): together was given 17 frames and gave back 16"),
        (
            Meddles,
            r"defect in the camera trio .*Meddles.*nothing changed but `exposure`; in the place of C1/C1-000.fits",
        ),
        (Breaks, r"defect in the camera trio .*Breaks.*together failed with ZeroDivisionError"),
    ],
)
def test_a_defect_in_a_camera_is_told_with_its_name(
    camera: type[Trio], message: str, raw: Path, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=message):
        reduce(raw, tmp_path / "run", camera=camera())


# --- a selection ------------------------------------------------------------------------------------------------------


def test_only_what_all_bands_saw_may_be_kept(raw: Path, tmp_path: Path) -> None:
    outcome, _ = reduce(raw, tmp_path / "run", '[[select]]\nuse = "simultaneous"\nfilters = ["g", "r", "i"]\n')
    dropped = {name: fate.reason for name, fate in outcome.fates.items() if fate.fate == "dropped"}
    assert sorted(dropped) == ["C1/C1-003.fits", "C3/C3-003.fits"]
    assert all("no frame in filter r" in reason for reason in dropped.values())


# --- real frames ------------------------------------------------------------------------------------------------------


def without_hot_pixels(picture: np.ndarray) -> np.ndarray:
    """Replace pixels far above the median of their neighbours."""
    from scipy.ndimage import median_filter

    smooth = median_filter(picture, 3)
    above = picture - smooth
    noise = 1.4826 * np.median(np.abs(picture - np.median(picture)))
    return np.where(above > 8.0 * noise, smooth, picture).astype(np.float32)


def test_a_triplet_of_opticam_is_matched(data: Path) -> None:
    import sep

    from albireo import Registry, read_pixels

    folder = data / "opticam"
    if not folder.is_dir():
        pytest.skip(f"there is no set opticam in {data}")
    lists: dict[str, Sources] = {}
    for eye in "123":
        path = folder / f"get_last_c{eye}.fit.fz"
        picture = np.ascontiguousarray(without_hot_pixels(read_pixels(str(path), 1).astype(np.float32)))
        sky = sep.Background(picture)
        found = sep.extract(picture - sky.back(), 5.0, err=sky.globalrms)
        found = found[np.argsort(-found["flux"])]
        lists[f"C{eye}"] = Sources.make(found["x"], found["y"])
    aligner = Registry.discover().get("aligner", "astroalign").cls()
    # Pixels of the second are mapped onto pixels of the first, which are smaller on the sky.
    for one, other, ratio, least in (("C1", "C2", 1.065, 25), ("C1", "C3", 1.192, 20), ("C2", "C3", 1.119, 40)):
        found = aligner.across(lists[one], lists[other])  # type: ignore[attr-defined]
        assert found.scale == pytest.approx(ratio, abs=0.005)
        assert found.matched >= least
        assert found.rms < 1.0
        assert not found.mirrored
        assert abs(found.rotation) < 0.5
        x, y = found(lists[other].x, lists[other].y)
        distance = np.hypot(x[:, None] - lists[one].x, y[:, None] - lists[one].y).min(axis=1)
        assert np.count_nonzero(distance < 2.0) >= least
