"""PSF photometry against simulated truth, and against the linear algebra of stars at known places."""

import numpy as np
import pytest

from albireo import PSF, Background, Flag, FrameError, Sources, image
from albireo_photutils import PsfPhotometry

ROUND = PSF(fwhm=4.0)
REACH = 25


def picture(psf, x, y, flux, shape, *, sky=40.0, read_noise=6.0, gain=1.0, seed=1, noise=True):
    """Stars of one shape, in electrons, digitised with the gain; the variance is what a reduction makes of it."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    rng = np.random.default_rng(seed)
    light = np.full((shape[0] + 2 * REACH, shape[1] + 2 * REACH), float(sky))
    column, row = np.rint(x).astype(int), np.rint(y).astype(int)
    side = 2 * REACH + 1
    for stamp, i, j, total in zip(psf.stamps(x - column, y - row, REACH), column, row, flux, strict=True):
        light[j : j + side, i : i + side] += total * stamp
    light = light[REACH:-REACH, REACH:-REACH]
    pixels = light
    if noise:
        pixels = np.round((rng.poisson(light) + rng.normal(0, read_noise, shape)) / gain) * gain
    variance = np.maximum(pixels, 0) + read_noise**2 + gain**2 / 12
    return image(pixels, "electron", variance=variance, flags=np.zeros(shape, np.uint16))


def field(crowded, count=12, seed=5):
    """Stars from too faint to be seen to bright; crowded ones are 3 FWHM apart in the mean, many of them blends."""
    rng = np.random.default_rng(seed)
    step, stray = (12, 4.0) if crowded else (30, 0.5)
    x, y = (grid.ravel() * step + 30.0 for grid in np.meshgrid(np.arange(count), np.arange(count)))
    x, y = x + rng.uniform(-stray, stray, x.size), y + rng.uniform(-stray, stray, y.size)
    flux = rng.permutation(np.tile([100.0, 400.0, 4000.0, 40000.0], x.size // 4))
    return x, y, flux, (int(y.max()) + 31, int(x.max()) + 31)


def measure(stage, shot, x, y, psf, sky=None):
    return stage.measure(shot, Sources.make(x, y, id=np.arange(1, len(x) + 1)), sky, psf)


@pytest.mark.parametrize("gain", [0.25, 1.0, 4.0])
@pytest.mark.parametrize("crowded", [False, True], ids=["sparse", "crowded"])
def test_pulls_are_standard(crowded, gain):
    x, y, flux, shape = field(crowded)
    pulls = []
    for seed in range(2):
        # Noise of its own for each case.
        shot = picture(ROUND, x, y, flux, shape, gain=gain, seed=[seed, int(4 * gain), crowded])
        rows = measure(PsfPhotometry(), shot, x, y, ROUND)
        pulls.append((rows["flux"] - flux) / rows["flux_err"])
    pulls = np.concatenate(pulls)
    # 288 pulls: the mean to 0.06, the width to 0.042; the house's limits, and two of these for the mean.
    assert abs(np.mean(pulls)) < 0.1 + 2 * 0.06
    assert np.std(pulls) == pytest.approx(1.0, abs=0.1)
    for level in np.unique(flux):
        some = pulls[np.tile(flux, 2) == level]
        assert abs(np.mean(some)) < 0.1 + 2.5 * 0.12
        assert np.std(some) == pytest.approx(1.0, abs=0.1 + 2.5 * 0.083)


@pytest.mark.parametrize(
    "psf",
    [PSF(fwhm=3.5, beta=3.0), PSF(fwhm=4.0, elongation=1.5, theta=0.7), PSF(fwhm=1.5)],
    ids=["wings", "long", "narrow"],
)
def test_pulls_are_standard_for_other_stars(psf):
    # After round stars in the same process: photutils keeps models of groups, and must not take the wrong ones.
    x, y, flux, shape = field(crowded=True)
    measure(PsfPhotometry(), picture(ROUND, x, y, flux, shape), x, y, ROUND)
    rows = measure(PsfPhotometry(), picture(psf, x, y, flux, shape, sky=100.0), x, y, psf)
    pulls = (rows["flux"] - flux) / rows["flux_err"]
    assert abs(np.mean(pulls)) < 0.1 + 2 * 0.083
    assert np.std(pulls) == pytest.approx(1.0, abs=0.1 + 2 * 0.06)


def test_fluxes_and_errors_of_a_blend_are_those_of_linear_algebra():
    x, y, flux = np.array([30.2, 33.6, 31.0]), np.array([30.0, 31.1, 27.2]), np.array([5e3, 2e4, 9e3])
    shot = picture(ROUND, x, y, flux, (64, 64), noise=False)
    sky = Background(np.full((64, 64), 40.0, np.float32), np.ones((64, 64), np.float32), 40.0, 1.0)
    rows = measure(PsfPhotometry(sky="background"), shot, x, y, ROUND, sky)
    column, row = np.rint(x).astype(int), np.rint(y).astype(int)
    profile, used = np.zeros((3, 64, 64)), np.zeros((64, 64), bool)
    for k, stamp in enumerate(ROUND.stamps(x - column, y - row, 16)):
        profile[k, row[k] - 16 : row[k] + 17, column[k] - 16 : column[k] + 17] = stamp
        used[row[k] - 4 : row[k] + 5, column[k] - 4 : column[k] + 5] = True
    design = profile[:, used] / np.sqrt(shot.uncertainty.array[used])
    expected = np.sqrt(np.diag(np.linalg.inv(design @ design.T)))
    assert rows["flux"] == pytest.approx(flux, rel=1e-3)
    # The noise of the sky is that of the ring, whose clipped variance is right to one per cent.
    assert rows["flux_err"] == pytest.approx(expected, rel=0.01)
    assert rows["sky"] == pytest.approx(40.0)
    assert (rows["sky_err"] == 0).all()


def test_neighbours_beyond_the_group_do_no_harm():
    # A star 100 times as bright at 2.2 FWHM is not fitted together with this one.
    x, y, flux = [30.2, 39.0], [30.0, 30.4], [1e3, 1e5]
    shot = picture(ROUND, x, y, flux, (64, 72), sky=0.0, noise=False)
    rows = measure(PsfPhotometry(grouping=2.0), shot, x, y, ROUND)
    assert rows["flux"] == pytest.approx(flux, rel=0.005)


def test_area_of_a_lone_star_is_that_of_the_profile():
    shot = picture(ROUND, [30.0], [30.0], [10.0], (64, 64))
    rows = measure(PsfPhotometry(), shot, [30.0], [30.0], ROUND)
    # 4 pi sigma^2 for a Gaussian wider by a pixel.
    sigma = np.sqrt((4.0 / 2.3548) ** 2 + 1 / 12)
    assert rows["area"][0] == pytest.approx(4 * np.pi * sigma**2, rel=0.02)


def test_free_positions_are_found_with_true_errors():
    x, y, _, shape = field(crowded=False, count=10)
    flux = np.full(len(x), 4000.0)
    pulls = []
    for seed in range(2):
        rows = measure(
            PsfPhotometry(positions="free"), picture(ROUND, x, y, flux, shape, seed=seed), x + 0.2, y - 0.3, ROUND
        )
        for name, truth in (("x", x), ("y", y)):
            pulls.append((rows[name] - truth) / rows[f"{name}_err"])
        assert abs(np.mean((rows["flux"] - flux) / rows["flux_err"])) < 0.1 + 2.5 * 0.1
    pulls = np.concatenate(pulls)
    assert abs(np.mean(pulls)) < 0.1 + 2 * 0.05
    assert np.std(pulls) == pytest.approx(1.0, abs=0.1)


def test_a_star_further_off_than_the_tolerance_is_no_measurement():
    shot = picture(ROUND, [30.0, 80.0], [30.0, 30.0], [2e4, 2e4], (64, 110))
    rows = measure(PsfPhotometry(positions="free", tolerance=0.5), shot, [30.8, 80.1], [30.0, 30.0], ROUND)
    assert rows["flags"].tolist() == [Flag.FAILED, 0]
    assert np.isnan([rows[name][0] for name in ("flux", "flux_err", "x", "y")]).all()
    assert rows["x"][1] == pytest.approx(80.0, abs=0.05)


def test_positions_are_given_only_where_they_are_fitted():
    shot = picture(ROUND, [30.0], [30.0], [2e4], (64, 64))
    assert not {"x", "y", "x_err", "y_err"} & set(measure(PsfPhotometry(), shot, [30.0], [30.0], ROUND))


def test_saturated_pixels_are_not_fitted():
    shot = picture(ROUND, [30.0], [30.0], [1e6], (64, 64), noise=False)
    pixels, flags = shot.data.copy(), shot.flags.copy()
    full = pixels > 4.5e4
    pixels[full], flags[full] = 4.5e4, Flag.SATURATED
    clipped = image(pixels, "electron", variance=shot.uncertainty.array, flags=flags)
    rows = measure(PsfPhotometry(), clipped, [30.0], [30.0], ROUND)
    assert 1 < full.sum() < 9
    assert rows["flux"][0] == pytest.approx(1e6, rel=1e-3)
    assert rows["flags"][0] == Flag.SATURATED


def test_a_star_with_little_light_left_is_no_measurement():
    shot = picture(ROUND, [30.0, 60.0], [30.0, 30.0], [1e4, 1e4], (64, 90))
    flags = shot.flags.copy()
    flags[27:34, 28:33] = Flag.BAD
    masked = image(shot.data, "electron", variance=shot.uncertainty.array, flags=flags)
    rows = measure(PsfPhotometry(), masked, [30.0, 60.0, -20.0, np.nan], [30.0] * 4, ROUND)
    assert rows["flags"].tolist() == [Flag.BAD | Flag.FAILED, 0, Flag.EDGE | Flag.FAILED, Flag.EDGE | Flag.FAILED]
    assert np.isfinite(rows["flux"]).tolist() == [False, True, False, False]


def test_a_noisy_pixel_weighs_less():
    # 2000 electrons of dark current were subtracted from a pixel of the core.
    shot = picture(ROUND, [30.0], [30.0], [2e3], (64, 64))
    variance = shot.uncertainty.array.copy()
    variance[30, 30] += 2000.0
    noisy = image(shot.data, "electron", variance=variance, flags=shot.flags)
    plain, rows = (measure(PsfPhotometry(), some, [30.0], [30.0], ROUND) for some in (shot, noisy))
    flags = shot.flags.copy()
    flags[30, 30] = Flag.BAD
    without = image(shot.data, "electron", variance=shot.uncertainty.array, flags=flags)
    masked = measure(PsfPhotometry(), without, [30.0], [30.0], ROUND)
    assert plain["flux_err"][0] < rows["flux_err"][0] < masked["flux_err"][0]
    assert abs(rows["flux"][0] - masked["flux"][0]) < abs(plain["flux"][0] - masked["flux"][0])


def test_what_is_missing_is_said():
    shot = picture(ROUND, [30.0], [30.0], [1e3], (64, 64))
    with pytest.raises(FrameError, match="no star was good enough to tell the PSF"):
        measure(PsfPhotometry(), shot, [30.0], [30.0], None)
    with pytest.raises(FrameError, match=r"needs the map of a \[background\] stage"):
        measure(PsfPhotometry(sky="background"), shot, [30.0], [30.0], ROUND)
    with pytest.raises(FrameError, match="gain and read noise must be known"):
        measure(PsfPhotometry(), image(shot.data, "electron"), [30.0], [30.0], ROUND)
    with pytest.raises(ValueError, match="the inner radius must be below the outer one"):
        PsfPhotometry(annulus=(6.0, 3.0))


def test_needs_follow_from_the_options():
    assert PsfPhotometry().needs == {"pedestal", "electron", "psf"}
    assert PsfPhotometry(sky="background").needs == {"pedestal", "electron", "psf", "background"}
