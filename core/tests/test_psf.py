"""Shares of light, and what a product holds of a PSF."""

import numpy as np
import pytest

from albireo import PSF

PROFILES = [
    PSF(fwhm=1.2),
    PSF(fwhm=1.4, elongation=1.3, theta=0.5),
    PSF(fwhm=3.0, elongation=1.5, theta=-1.0),
    PSF(fwhm=1.5, beta=2.5),
    PSF(fwhm=4.0, beta=3.0, elongation=1.2, theta=1.0),
    PSF(fwhm=7.0, elongation=1.1, theta=2.0),
]

FINE = (np.arange(400) + 0.5) / 400 - 0.5
"""Points along a side of a pixel: the mean over them differs from the integral by a millionth."""


def density(psf, x, y):
    """Light per square pixel, from the definition of the profile."""
    stretch = np.sqrt(psf.elongation)
    u = (x * np.cos(psf.theta) + y * np.sin(psf.theta)) / stretch
    v = (y * np.cos(psf.theta) - x * np.sin(psf.theta)) * stretch
    r = np.hypot(u, v)
    if np.isinf(psf.beta):
        sigma = psf.fwhm / np.sqrt(8 * np.log(2))
        return np.exp(-0.5 * (r / sigma) ** 2) / (2 * np.pi * sigma**2)
    alpha = psf.fwhm / 2 / np.sqrt(2 ** (1 / psf.beta) - 1)
    return (psf.beta - 1) / (np.pi * alpha**2) * (1 + (r / alpha) ** 2) ** -psf.beta


@pytest.mark.parametrize("psf", PROFILES, ids=str)
def test_shares_are_the_integrals_over_pixels(psf):
    dx, dy = 0.31, -0.44
    shares = psf.stamps([dx], [dy], 3)[0]
    for row, column in ((3, 3), (2, 3), (3, 5), (4, 2), (0, 6)):
        x, y = column - 3 - dx, row - 3 - dy
        exact = density(psf, x + FINE[None, :], y + FINE[:, None]).mean()
        assert shares[row, column] == pytest.approx(exact, abs=1e-5)


@pytest.mark.parametrize("psf", [p for p in PROFILES if np.isinf(p.beta)], ids=str)
def test_shares_add_up_to_one_wherever_the_star_lies_in_a_pixel(psf):
    dx, dy = np.random.default_rng(1).uniform(-0.5, 0.5, (2, 30))
    assert psf.stamps(dx, dy, 25).sum(axis=(1, 2)) == pytest.approx(np.ones(30), abs=1e-5)


def test_the_wings_of_a_moffat_go_on_beyond_the_stamp():
    psf = PSF(fwhm=3.0, beta=3.0)
    alpha = 1.5 / np.sqrt(2 ** (1 / 3) - 1)
    # A square and the circle of the same area leave nearly the same light outside.
    outside = (1 + (61**2 / np.pi) / alpha**2) ** -2
    assert 1.0 - psf.stamps([0.0], [0.0], 30).sum() == pytest.approx(outside, rel=0.15)


def test_rows_run_along_y_and_many_stars_are_drawn_like_one():
    psf = PSF(fwhm=2.0, elongation=1.4, theta=0.3, beta=4.0)
    dx, dy = np.random.default_rng(2).uniform(-0.5, 0.5, (2, 4000))
    shares = psf.stamps(dx, dy, 6)
    assert shares.shape == (4000, 13, 13)
    assert np.array_equal(shares[1234], psf.stamps(dx[1234], dy[1234], 6)[0])
    grid = np.arange(-6, 7)
    light = shares.sum(axis=(1, 2))
    assert np.corrcoef((shares.sum(axis=1) @ grid) / light, dx)[0, 1] > 0.999
    assert np.corrcoef((shares.sum(axis=2) @ grid) / light, dy)[0, 1] > 0.999


def test_no_star_gives_no_stamp_and_a_place_that_is_not_a_number_nothing_else():
    psf = PSF(fwhm=3.0, elongation=1.2, theta=0.2)
    assert psf.stamps([], [], 4).shape == (0, 9, 9)
    shares = psf.stamps([0.1, np.nan], [0.2, 0.0], 4)
    assert np.isfinite(shares[0]).all()
    assert np.isnan(shares[1]).all()


@pytest.mark.parametrize("oversampling", [1, 2, 3, 4])
def test_a_grid_is_what_is_added_to_the_profile(oversampling):
    # A smooth function, sampled at its places, comes back between them.
    half = 8 * oversampling
    y, x = np.mgrid[-half : half + 1, -half : half + 1] / oversampling

    def bump(u, v):
        return 1e-3 * np.exp(-0.5 * ((u - 1.0) ** 2 + (v + 0.5) ** 2) / 2.5**2)

    plain = PSF(fwhm=3.0)
    psf = PSF(fwhm=3.0, grid=bump(x, y).astype(np.float32), oversampling=oversampling)
    dx, dy = np.random.default_rng(3).uniform(-0.5, 0.5, (2, 20))
    added = psf.stamps(dx, dy, 5) - plain.stamps(dx, dy, 5)
    pixels = np.arange(-5, 6)
    expected = bump(pixels[None, None, :] - dx[:, None, None], pixels[None, :, None] - dy[:, None, None])
    assert added == pytest.approx(expected, abs=1e-5)
    beyond = psf.stamps([0.0], [0.0], 12) - plain.stamps([0.0], [0.0], 12)
    assert not beyond[0, :3].any()
    assert not beyond[0, :, -3:].any()


@pytest.mark.parametrize("shape", [(4, 4), (5, 7), (9,)])
def test_a_grid_without_a_middle_is_refused(shape):
    with pytest.raises(ValueError, match="square with an odd number of rows"):
        PSF(fwhm=3.0, grid=np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    "psf",
    [
        PSF(2.5, 1.1, 0.3, 12),
        PSF(2.5, 1.1, 0.3, 12, beta=3.3),
        PSF(2.5, 1.1, 0.3, 12, 3.3, np.random.default_rng(4).normal(0, 1e-4, (25, 25)).astype(np.float32), 3),
    ],
    ids=["gaussian", "moffat", "grid"],
)
def test_a_psf_comes_back_from_a_product(psf, tmp_path):
    np.savez(tmp_path / "product.npz", **psf.arrays())
    with np.load(tmp_path / "product.npz") as file:
        again = PSF.restore(psf.numbers(), dict(file))
    assert again == psf
    assert np.array_equal(again.stamps([0.2], [0.1], 7), psf.stamps([0.2], [0.1], 7))
    assert again != PSF(2.5, 1.1, 0.3, 12, beta=2.0)
    assert PSF.restore({**psf.numbers(), "psf_stars": 0}, psf.arrays()) is None
