"""The work of one worker: what it makes of a frame, and how it says what went wrong."""

import pickle
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import Field

from albireo import (
    Aligner,
    Background,
    BackgroundEstimator,
    Correction,
    Finder,
    Flag,
    FrameError,
    Photometer,
    PixelwiseCorrection,
    Section,
    Selector,
    Sources,
    Terms,
    Transform,
    image,
    jobs,
    read_image,
    variance_of,
    write_image,
)
from albireo.jobs import FrameWork, MeasureWork, calibrate, load_sources
from albireo.products import load_arrays, save_arrays
from albireo.tasks import FrameTask
from albireo.testing import Camera, Night, PlainCamera, Scene, simulate_night

ROWS, COLUMNS = 120, 140
STARS = Scene([30.0, 70.0, 110.0], [30.0, 90.0, 40.0], [4000.0, 2000.0, 1000.0])
CAMERA = PlainCamera(rows=ROWS, columns=COLUMNS)


# --- a chain of small stages ------------------------------------------------------------------------------------------


class Overscan(PixelwiseCorrection, name="overscan"):
    """Subtract the mean of the overscan."""

    looks_at_pixels = True

    def terms(self, image, frame, masters):
        return Terms(subtract=float(image.data[frame.amplifiers[0].overscan.slices].mean()), pedestal=True)


class Trim(PixelwiseCorrection, name="trim"):
    """Keep the light-sensitive part."""

    def terms(self, image, frame, masters):
        return Terms(crop=frame.amplifiers[0].data)


class Gain(PixelwiseCorrection, name="gain"):
    """Make electrons."""

    def terms(self, image, frame, masters):
        return Terms(multiply=frame.gain, unit="electron")


class Bias(PixelwiseCorrection, name="bias"):
    """Subtract the master."""

    master: ClassVar[str] = "bias"

    def terms(self, image, frame, masters):
        return Terms(subtract=masters["bias"].data, pedestal=True)


class Forgetful(Correction, name="forgetful"):
    """A whole-image correction whose author has not heard of metadata."""

    def correct(self, picture, frame, masters):
        return image(picture.data.copy(), str(picture.unit), variance=variance_of(picture), flags=picture.flags)


class Sky(BackgroundEstimator, name="sky"):
    """The median."""

    def estimate(self, image):
        level = float(np.median(image.data))
        rms = 1.4826 * float(np.median(np.abs(image.data - level)))
        plane = np.ones(image.shape, dtype=np.float32)
        return Background(level * plane, rms * plane, level, rms)


class Peaks(Finder, name="peaks"):
    """Local maxima far above the sky, centred by their light."""

    threshold: float = Field(25.0, description="In standard deviations.")

    def find(self, image, background):
        signal = image.data - background.level
        found = []
        while len(found) < 20:
            y, x = np.unravel_index(np.argmax(signal), signal.shape)
            if signal[y, x] < self.threshold * background.median_rms:
                break
            box = np.s_[max(y - 7, 0) : y + 8, max(x - 7, 0) : x + 8]
            rows, columns = np.mgrid[box]
            light = np.clip(signal[box], 0, None)
            centre = np.average(columns, weights=light), np.average(rows, weights=light)
            found.append((*centre, light.sum(), signal[y, x]))
            signal[box] = 0
        x, y, flux, peak = np.array(found).T.reshape(4, -1)
        full = np.ones_like(x)
        return Sources.make(x, y, flux=flux, peak=peak, fwhm=3.5 * full, a=1.5 * full, b=1.5 * full, theta=0 * full)


class Nearest(Aligner, name="nearest"):
    """The shift of the brightest star."""

    def align(self, sources, reference):
        shift = sources.x[0] - reference.x[0], sources.y[0] - reference.y[0]
        return Transform(Transform.similarity(*shift).matrix, rms=0.1, matched=1)


class Box(Photometer, name="box"):
    """The sum in a box."""

    half: int = Field(7, description="Half the side.")

    def measure(self, image, sources, sky, psf):
        assert psf is not None
        sums = []
        for x, y in zip(np.rint(sources.x).astype(int), np.rint(sources.y).astype(int), strict=True):
            box = np.s_[y - self.half : y + self.half + 1, x - self.half : x + self.half + 1]
            sums.append(((image.data[box] - sky.level[box]).sum(), np.sqrt(variance_of(image)[box].sum())))
        flux, error = np.array(sums).T
        return {"id": sources.id, "flux": flux, "flux_err": error, "aperture": 7.0, "extra": 3}


CHAIN = (Overscan(), Trim(), Gain())


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    perfect = {"hot": 0.0, "dead": 0.0, "dark": 0.0, "cosmic_rays": 0.0, "vignetting": 0.0, "response": 0.0}
    quiet = Camera(**perfect, overscan_drift=0.0, bias_structure=0.0)
    night = Night(science=2, bias=0, flat=0, exptime=30.0, drift=(400.0, -300.0))
    return simulate_night(CAMERA, tmp_path_factory.mktemp("night"), STARS, night, quiet, seed=4)


@pytest.fixture
def tasks(truth, tmp_path):
    """The task of the reference, and of the second frame."""
    first, second = (exposure.frame for exposure in truth)
    reference, catalogue = tmp_path / "reference.product", tmp_path / "catalogue.product"
    made = Sources.make(STARS.x, STARS.y, fwhm=[3.5] * 3, id=[1, 2, 3])
    save_arrays(catalogue, {f"s_{name}": column for name, column in made.columns().items()}, {})
    return (
        FrameTask(first, (), reference, keep_sources=True),
        FrameTask(second, (), tmp_path / "aligned.product", reference, catalogue, tmp_path / "measured.product"),
    )


def column(arrays, method: int, name: str) -> np.ndarray:
    return arrays[f"m{method}"][jobs.COLUMNS.index(name)]


def work(**changes: Any) -> FrameWork:
    stages = {
        "instrument": CAMERA,
        "corrections": CHAIN,
        "background": Sky(),
        "finder": Peaks(),
        "psf": None,
        "aligner": Nearest(),
        "photometers": (Box(), Box(half=4)),
    }
    return FrameWork(**stages | changes)


# --- a frame that is in order -----------------------------------------------------------------------------------------


def test_a_frame_is_found_aligned_and_measured(truth, tasks):
    job = pickle.loads(pickle.dumps(work()))
    reference = job(tasks[0])
    assert (reference.stage, reference.reason) == ("", "")
    assert reference.numbers["sources"] == 3
    assert (reference.numbers["dx"], reference.numbers["matched"]) == (0.0, 0)
    # The half-second drift of the first exposure; a centre in 15 x 15 pixels is good to a few hundredths.
    np.testing.assert_allclose(load_sources(tasks[0].aligned).x, truth.exposures[0].x, atol=0.1)

    result = job(pickle.loads(pickle.dumps(tasks[1])))
    assert result.stage == ""
    first, second = truth.exposures
    assert result.numbers["dx"] == pytest.approx(second.x[0] - first.x[0], abs=0.15)
    assert result.numbers["dy"] == pytest.approx(second.y[0] - first.y[0], abs=0.15)
    assert result.numbers["sky"] == pytest.approx(second.sky, rel=0.02)
    # A median of deviations goes in steps of one count, which is 1.6 electrons.
    assert result.numbers["sky_rms"] == pytest.approx(np.sqrt(second.sky + 25), abs=1.6 * 1.4826)
    assert (result.numbers["crop_x"], result.numbers["crop_y"]) == (0, 0)

    arrays, _ = load_arrays(tasks[1].measured)
    assert arrays["id"].tolist() == [1, 2, 3]
    # 15 x 15 pixels hold all but 1.5 % of the light of a Moffat profile of this seeing.
    pull = (column(arrays, 0, "flux") / 0.985 - second.electrons) / column(arrays, 0, "flux_err")
    assert np.abs(pull).max() < 5
    assert (column(arrays, 1, "flux") < column(arrays, 0, "flux")).all()
    assert column(arrays, 0, "aperture").tolist() == [7.0] * 3
    assert np.isnan(column(arrays, 0, "sky")).all(), "what a photometer leaves out is unknown"
    assert arrays["m0"].shape == (len(jobs.COLUMNS), 3)


def test_what_is_aligned_already_is_not_aligned_again(tasks):
    work()(tasks[0])
    first = work()(tasks[1])
    before = tasks[1].aligned.stat().st_mtime_ns
    tasks[1].measured.unlink()

    class Refuses(Nearest, name="refuses"):
        """Must not be asked."""

        def align(self, sources, reference):
            raise FrameError("asked again")

    again = work(aligner=Refuses())(tasks[1])
    assert again == first
    assert tasks[1].aligned.stat().st_mtime_ns == before
    assert tasks[1].measured.exists()


def test_a_damaged_product_is_made_anew(tasks):
    work()(tasks[0])
    good = work()(tasks[1])
    content = tasks[1].aligned.read_bytes()
    for damaged in (b"", content[: len(content) // 2], b"text" * 100, content.replace(b"note.npy", b"node.npy")):
        tasks[1].aligned.write_bytes(damaged)
        assert work()(tasks[1]) == good
        assert load_arrays(tasks[1].aligned)[1] == good.numbers
    tasks[0].aligned.write_bytes(b"")
    with pytest.raises(OSError) as caught:
        load_arrays(tasks[0].aligned)
    assert str(caught.value) == f"{tasks[0].aligned} was damaged and is removed; run again, and it will be made anew"
    assert not tasks[0].aligned.exists()


def test_a_reduced_image_says_what_it_is(truth, tasks, tmp_path):
    frame = truth.exposures[0].frame.replace(target="\N{GREEK SMALL LETTER ALPHA} Cen", mid=float("nan"))
    task = replace(tasks[0], frame=frame, reduced=tmp_path / "reduced.fits")
    assert work()(task).stage == ""
    written = read_image(tmp_path / "reduced.fits")
    assert written.shape == (ROWS, COLUMNS)
    assert str(written.unit) == "electron"
    assert written.uncertainty is not None
    assert written.meta["OBJECT"] == "\\u03b1 Cen"
    assert written.meta["RAWFILE"] == Path(frame.path).name
    assert "MJD-MID" not in written.meta
    assert [line.split(":")[0] for line in written.meta["HISTORY"]] == ["overscan", "trim", "gain"]


# --- a frame that is not ----------------------------------------------------------------------------------------------


class Fails(Nearest, name="fails"):
    """Raises what it is told."""

    what: str = Field(description="What.")

    def align(self, sources, reference):
        errors = {"frame": FrameError("only 2 stars match"), "defect": KeyError("x"), "disk": OSError(28, "full")}
        raise errors[self.what]


class Short(Box, name="short"):
    """Leaves something out of its answer."""

    without: str = Field(description="What.")

    def measure(self, image, sources, sky, psf):
        answer = super().measure(image, sources, sky, psf)
        if self.without == "source":
            return {name: answer[name][:2] for name in ("id", "flux", "flux_err")}
        return {name: column for name, column in answer.items() if name != self.without}


def test_a_failure_names_the_stage_and_the_reason(tasks):
    work()(tasks[0])
    result = work(aligner=Fails(what="frame"))(tasks[1])
    assert (result.stage, result.reason, result.numbers) == ("alignment", "only 2 stars match", {})
    assert not tasks[1].aligned.exists()
    result = work(finder=Peaks(threshold=1e9))(tasks[1])
    assert (result.stage, result.reason) == ("alignment", "no star was found on this frame")


def test_a_defect_in_a_stage_costs_the_frame_and_names_the_class_and_the_line(tasks):
    work()(tasks[0])
    result = work(aligner=Fails(what="defect"))(tasks[1])
    assert result.stage == "alignment"
    assert result.reason.startswith(f"defect in {__name__}.Fails: KeyError: 'x' (test_jobs.py:")


def test_a_full_disk_is_not_the_fault_of_the_frame(tasks):
    work()(tasks[0])
    with pytest.raises(OSError, match="full"):
        work(aligner=Fails(what="disk"))(tasks[1])


@pytest.mark.parametrize(
    ("without", "message"),
    [
        ("flux", "TypeError: the result has no column flux"),
        ("id", "TypeError: the result has no column id"),
        ("source", "ValueError: 3 sources were given, the result has 2 of them"),
    ],
)
def test_an_answer_that_is_not_complete_is_a_defect(tasks, without, message):
    work()(tasks[0])
    result = work(photometers=(Box(), Short(without=without)))(tasks[1])
    assert result.stage == "photometry short"
    assert message in result.reason
    assert tasks[1].aligned.exists(), "the alignment is kept"
    assert not tasks[1].measured.exists()


def test_a_file_that_cannot_be_read_fails_in_reading(tasks, tmp_path):
    text = tmp_path / "text.fits"
    text.write_text("nothing")
    result = work()(replace(tasks[0], frame=tasks[0].frame.replace(path=str(text))))
    assert (result.stage, result.reason) == ("reading", f"{text} cannot be read: it is not a FITS file")


# --- calibration ------------------------------------------------------------------------------------------------------


def raw(truth):
    frame = truth.exposures[0].frame
    return CAMERA.read(frame), frame


def test_one_pass_is_the_same_as_step_by_step(truth):
    picture, frame = raw(truth)
    together = calibrate(picture, frame, CHAIN, {})
    alone = picture
    for correction in CHAIN[:2]:
        alone = correction.correct(alone, frame, {})
    alone = calibrate(alone, frame, CHAIN[2:], {})
    np.testing.assert_allclose(together.data, alone.data, rtol=1e-6)
    np.testing.assert_allclose(variance_of(together), variance_of(alone), rtol=1e-5)
    before, _ = raw(truth)
    np.testing.assert_array_equal(picture.data, before.data)


def test_a_correction_that_looks_at_pixels_sees_what_those_before_it_left(truth):
    picture, frame = raw(truth)
    bias = image(np.full(picture.shape, 500.0))
    late = calibrate(picture, frame, [Bias(), Overscan(), Trim(), Gain()], {"bias": bias})
    np.testing.assert_allclose(late.data, calibrate(picture, frame, CHAIN, {}).data, atol=1e-3)


def test_without_corrections_there_is_still_a_variance(truth):
    picture, frame = raw(truth)
    assert variance_of(calibrate(picture, frame, [], {})) is not None
    assert variance_of(calibrate(picture, frame, [], {}, noise=False)) is None
    assert variance_of(calibrate(picture, frame, CHAIN, {}, noise=False)) is None


def test_a_correction_without_its_master_is_left_out(truth):
    picture, frame = raw(truth)
    np.testing.assert_array_equal(
        calibrate(picture, frame, [*CHAIN[:2], Bias(), CHAIN[2]], {}).data, calibrate(picture, frame, CHAIN, {}).data
    )
    bias = {"bias": image(np.full(picture.shape, 10.0))}
    with_bias = calibrate(picture, frame, [*CHAIN[:2], Bias(), CHAIN[2]], bias)
    np.testing.assert_allclose(calibrate(picture, frame, CHAIN, {}).data - with_bias.data, 16.0, rtol=1e-3)


def test_where_the_pixels_come_from_survives_an_author_who_forgets_it(truth):
    picture, frame = raw(truth)
    chain = [Overscan(), Trim(), Forgetful(), Bias(), Gain()]
    # The bias has the shape of the raw image: without the window it could not be cut to fit.
    result = calibrate(picture, frame, chain, {"bias": image(np.zeros(picture.shape))})
    np.testing.assert_allclose(result.data, calibrate(picture, frame, CHAIN, {}).data, rtol=1e-6)
    assert result.meta["CROPSEC"] == Section(0, ROWS, 0, COLUMNS).to_fits()


def test_planes_that_do_not_fit_are_told_as_a_failure_of_the_corrections(truth):
    picture, frame = raw(truth)
    with pytest.raises(FrameError, match="corrections: a correction has a plane of shape"):
        calibrate(picture, frame, [Bias()], {"bias": image(np.zeros((7, 8)))})


# --- measuring for selection ------------------------------------------------------------------------------------------


class Level(Selector, name="level"):
    """Measures the level."""

    def measure(self, image, frame):
        if frame.name == "science-0002.fits":
            raise ZeroDivisionError
        return {"level": np.median(image.data), "saturated": int(((image.flags & Flag.SATURATED) != 0).sum())}

    def select(self, frames, measured):
        raise NotImplementedError


def test_a_selector_measures_the_raw_image(truth):
    first, second = truth.frames.where(kind="science")
    numbers = MeasureWork(CAMERA, Level())(first)
    assert numbers == {"level": pytest.approx(np.median(CAMERA.read(first).data)), "saturated": 0.0}
    assert {type(value) for value in numbers.values()} == {float}
    with pytest.raises(FrameError, match=r"select level: defect in .*Level: ZeroDivisionError"):
        MeasureWork(CAMERA, Level())(second)


# --- products ---------------------------------------------------------------------------------------------------------


def test_arrays_and_their_note_come_back(tmp_path):
    path = tmp_path / "a" / "b.product"
    note = {"fwhm": 3.5, "unknown": float("nan"), "text": "\N{GREEK SMALL LETTER ALPHA}", "list": [1, 2]}
    save_arrays(path, {"x": np.arange(3.0), "flags": np.array([1, 2], dtype=np.uint16), "empty": np.array([])}, note)
    arrays, again = load_arrays(path)
    assert sorted(arrays) == ["empty", "flags", "x"]
    assert arrays["flags"].dtype == np.uint16
    assert repr(again) == repr(note)
    assert [p.name for p in path.parent.iterdir()] == ["b.product"]
    with pytest.raises(FileNotFoundError):
        load_arrays(tmp_path / "none.product")


def test_a_master_is_opened_once_and_anew_when_it_changed(truth, tasks, tmp_path):
    path = tmp_path / "bias.fits"
    chain = (*CHAIN[:2], Bias(), CHAIN[2])

    def sky(level, key):
        write_image(path, image(np.full((ROWS, COLUMNS), level)))
        task = replace(tasks[0], aligned=tmp_path / f"{key}.product", masters=(("bias", path, key),))
        return work(corrections=chain)(task).numbers["sky"]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        zero, ten = sky(0.0, "one"), sky(10.0, "two")
    assert zero - ten == pytest.approx(16.0, rel=1e-3)
    assert sky(99.0, "two") == ten, "one key, one master"
