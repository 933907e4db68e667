"""The curve step `bin`."""

import numpy as np
import pytest
from pydantic import ValidationError

from albireo import Ensemble, Flag
from albireo.testing import conformance
from albireo_timing import Bin

STAGES = (Bin(), Bin(points=2), Bin(points=4, method="mean"), Bin(width=900.0, gap=float("inf")))


@pytest.mark.parametrize("case", [case for stage in STAGES for case in conformance.cases(stage)], ids=str)
def test_conforms(case):
    case()


def ensemble(points=60, stars=3, gap=10, error=0.01, unit="", scatter=1.0):
    """Relative fluxes around one, a frame a minute, with a gap of five minutes after the first frames."""
    rng = np.random.default_rng(2)
    time = 2460310.5 + (np.arange(points) + 5.0 * (np.arange(points) >= gap)) / 1440.0
    shape = (points, stars)
    return Ensemble(
        target="M 67",
        detector="",
        filter="r",
        method="aperture",
        aperture=4.0,
        frames=np.array([f"s{k:03d}" for k in range(points)]),
        time=time,
        time_scale="BJD_TDB",
        exptime=np.full(points, 30.0),
        airmass=np.linspace(1.0, 1.5, points),
        fwhm=np.full(points, 3.0),
        sources=np.arange(1, stars + 1),
        flux=1.0 + scatter * error * rng.standard_normal(shape),
        flux_err=np.full(shape, error),
        x=np.arange(points)[:, None] + np.zeros(shape),
        y=np.zeros(shape),
        sky=np.full(shape, 100.0),
        flags=np.zeros(shape, dtype=np.uint16),
        area=np.full(shape, 50.0),
        sky_err=np.full(shape, 0.4),
        unit=unit,
        targets={"V1": 2},
        meta={"differential": {"transparency": [0.9] * points, "transparency_err": [0.01] * points}},
    )


def test_a_bin_holds_what_its_exposures_were():
    given = ensemble()
    made = Bin(points=5).apply(given)
    assert made.meta["bin"]["frames"] == [5] * 12
    assert made.frames[:3].tolist() == ["s000..s004", "s005..s009", "s010..s014"]  # the gap is after s009
    assert made.time == pytest.approx(given.time.reshape(12, 5).mean(axis=1), abs=1e-9)
    assert made.exptime.tolist() == [150.0] * 12
    assert made.airmass == pytest.approx(given.airmass.reshape(12, 5).mean(axis=1))
    assert made.x[:, 0] == pytest.approx(np.arange(2.0, 60.0, 5.0))
    assert made.flux_err == pytest.approx(0.01 / np.sqrt(5.0))
    assert made.sky_err == pytest.approx(0.4 / np.sqrt(5.0))
    assert (made.area == 50.0).all()
    assert made.targets == given.targets
    note = made.meta["differential"]
    assert note["transparency"] == pytest.approx([0.9] * 12)
    assert note["transparency_err"] == pytest.approx([0.01 / np.sqrt(5.0)] * 12)


def test_bins_follow_the_width_and_stop_at_gaps():
    made = Bin(width=240.0).apply(ensemble())
    assert made.meta["bin"]["frames"] == [4, 4, 2, *[4] * 12, 2]
    assert Bin(width=240.0, gap=float("inf")).apply(ensemble()).meta["bin"]["frames"][:4] == [4, 4, 2, 1]


def test_missing_points_are_left_out_and_their_flags_with_them():
    given = ensemble()
    flux, flags = given.flux.copy(), given.flags.copy()
    flux[0, 0], flags[0, 0], flags[1, 0] = np.nan, Flag.SATURATED, Flag.EDGE
    flux[:5, 1], flags[2, 1] = np.nan, Flag.FAILED
    made = Bin(points=5).apply(given.replace(flux=flux, flags=flags))
    assert made.flux[0, 0] == pytest.approx(flux[1:5, 0].mean())
    assert made.x[0, 0] == pytest.approx(2.5)
    assert made.flags[0, :2].tolist() == [int(Flag.EDGE), int(Flag.FAILED)]
    assert np.isnan(made.flux[0, 1])
    assert np.isnan(made.flux_err[0, 1])
    assert made.x[0, 1] == pytest.approx(2.0)


def test_a_sum_has_the_light_and_the_pixels_of_all_exposures():
    given = ensemble(unit="electron")
    made = Bin(points=5, method="sum").apply(given)
    assert made.flux.sum() == pytest.approx(given.flux.sum())
    assert (made.area == 250.0).all()


def test_points_worse_than_their_errors_are_told_of_relative_fluxes():
    assert "warnings" not in Bin(points=5).apply(ensemble()).meta
    bad = Bin(points=5).apply(ensemble(scatter=3.0))
    (warning,) = bad.meta["warnings"]
    assert "scatter by 3." in warning or "scatter by 2." in warning
    assert bad.meta["bin"]["excess"][2] == pytest.approx(3.0, rel=0.4)
    assert "warnings" not in Bin(points=5).apply(ensemble(scatter=3.0, unit="electron")).meta


def test_a_bin_has_one_size():
    with pytest.raises(ValidationError, match="leave one of the two out"):
        Bin(width=60.0, points=3)
    assert Bin().apply(ensemble()).meta["bin"]["frames"][:2] == [5, 5]  # 300 s
