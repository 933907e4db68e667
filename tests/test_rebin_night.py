"""A night that is binned after calibration: targets in raw pixels are found, and stars keep their light."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from albireo import Recipe, RecipeError, Results, read_image

VARIABLE = 6  # of the shared night, by order of brightness
BINNED = '[[corrections]]\nuse = "flat"\n[[corrections]]\nuse = "rebin"\nfactor = 2\n'
PHOTOMETRY = "radius = [4, 6]\nannulus = [14, 24]"


def recipe_of(night, folder: Path, corrections: str = BINNED) -> Path:
    """Write the recipe of the shared night with other corrections, and apertures of the same size on the sky."""
    path = night.write(folder, "[output]\nreduced = true", instead_of=('[[corrections]]\nuse = "flat"\n', corrections))
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(PHOTOMETRY, "radius = [2, 3]\nannulus = [7, 12]"), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def binned(night, reduce, tmp_path_factory) -> Results:
    folder = tmp_path_factory.mktemp("binned")
    done = reduce(recipe_of(night, folder), night.raw, folder / "run")
    assert done.code == 0, done.text
    return Results(folder / "run")


def measured(results: Results, aperture: float) -> dict[str, tuple[float, float, float, float]]:
    """Place, flux and error of the target in each frame."""
    table = results.photometry
    table.convert_bytestring_to_unicode()
    (star,) = set(results.stars["source"][results.stars["name"] == "variable"])
    rows = table[(table["source"] == star) & np.isclose(table["aperture"], aperture)]
    return {row["frame"]: (row["x"], row["y"], row["flux"], row["flux_err"]) for row in rows}


def test_a_target_in_raw_pixels_is_found_and_has_the_same_light(binned: Results, undisturbed: Path, night) -> None:
    full, half = measured(Results(undisturbed), 6.0), measured(binned, 3.0)
    assert set(half) == set(full)
    assert len(half) == 8
    ratios = []
    for name, (x, y, flux, error) in half.items():
        truth = night.truth[name]
        # Centres of squares: pixel 0 of the binned image has its centre between pixels 0 and 1.
        assert x == pytest.approx((truth.x[VARIABLE] + 0.5) / 2 - 0.5, abs=0.1)
        assert y == pytest.approx((truth.y[VARIABLE] + 0.5) / 2 - 0.5, abs=0.1)
        assert flux == pytest.approx(full[name][2], abs=2 * error)
        assert error == pytest.approx(full[name][3], rel=0.1)
        ratios.append(flux / full[name][2])
    # The same photons: what differs are the pixels at the rim of the aperture.
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.01)


def test_reduced_images_say_how_they_were_binned(binned: Results, undisturbed: Path) -> None:
    shape = read_image(next(m.path for m in Results(undisturbed).masters if m.kind == "flat")).shape
    for path in binned.reduced():
        picture = read_image(path)
        assert picture.shape == (shape[0] // 2, shape[1] // 2)
        assert picture.meta["REBIN"] == 2
        history = " ".join(map(str, picture.meta["HISTORY"]))
        assert "squares of 2 x 2 pixels summed" in history
        assert "overscan" in history
        assert "adu rms" in history


def test_masters_after_the_binning_are_binned_too(night, reduce, binned: Results, tmp_path: Path) -> None:
    order = '[[corrections]]\nuse = "rebin"\nfactor = 2\n[[corrections]]\nuse = "flat"\n'
    done = reduce(recipe_of(night, tmp_path, order), night.raw, tmp_path / "run")
    assert done.code == 0, done.text
    results = Results(tmp_path / "run")
    (flat,) = (read_image(m.path) for m in results.masters if m.kind == "flat")
    assert flat.shape == read_image(results.reduced()[0]).shape
    first, second = measured(binned, 3.0), measured(results, 3.0)
    for name, (_, _, flux, error) in second.items():
        assert flux == pytest.approx(first[name][2], abs=error)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (("gain", "rebin", "trim"), "it comes too late: 'rebin' before it leaves the pixels binned"),
        (("gain", "rebin", "overscan"), "it comes too late: 'rebin' before it leaves the pixels binned"),
        (("gain", "rebin", "dark-current"), "it comes too late: 'rebin' before it leaves the pixels binned"),
        (("rebin", "gain"), "it needs an image in electrons"),
        (("gain", "rebin", "rebin"), "once is enough"),
    ],
)
def test_orders_that_cannot_be_right_are_refused(order: tuple[str, ...], message: str) -> None:
    tables = "".join(f'[[corrections]]\nuse = "{name}"\n' for name in ("overscan", *order))
    with pytest.raises(RecipeError) as caught:
        Recipe.parse(f'[instrument]\nuse = "lmi"\n{tables}', Path("night.toml"))
    assert message in str(caught.value)
