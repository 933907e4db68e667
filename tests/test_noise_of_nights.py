"""The variance of a calibrated pixel is the scatter it has when the whole night is repeated.

Everything that is random is drawn anew in each repetition: read noise and digits of every frame, photons of dark
current, flat lamp and sky. So the scatter holds the noise of the science frame and of its three masters. Detector and
light stay the same. The comparison is between means over all pixels: with `PIXELS` pixels and `NIGHTS` nights the
scatter is known to ``sqrt(2 / (PIXELS (NIGHTS - 1)))``, 0.6 percent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from albireo import Amplifier, Frame, Frames, Section, image, variance_of
from albireo.jobs import calibrate
from albireo.roles import Instrument
from albireo.stack import RawStack
from albireo_calibration import Bias, Dark, Flat, Gain, Overscan, Trim
from albireo_combine import Combine

ROWS, COLUMNS, OVERSCAN = 40, 48, 64
PIXELS = ROWS * COLUMNS
NIGHTS = 30
TOLERANCE = 0.03

CHAIN = (Overscan(), Trim(), Bias(), Dark(), Gain(), Flat())


@dataclass(frozen=True)
class Setup:
    """What a night is like: detector, light, and how many calibration frames of each kind."""

    gain: float = 1.5
    read_noise: float = 6.0
    dark_rate: float = 0.5
    dark_exptime: float = 60.0
    exptime: float = 60.0
    sky: float = 400.0
    flat_level: float = 20000.0
    number: int = 9

    @property
    def amplifier(self) -> Amplifier:
        """One amplifier; its read noise is what bias frames show, rounding to whole counts included."""
        noise = float(np.hypot(self.read_noise, self.gain / np.sqrt(12.0)))
        overscan = Section(0, ROWS, COLUMNS, COLUMNS + OVERSCAN)
        return Amplifier(Section(0, ROWS, 0, COLUMNS), overscan, self.gain, noise)


class Memory(Instrument, name="memory"):
    """Frames whose pixels are drawn when they are read: always the same for one name."""

    def owns(self, header, path):
        """Own nothing."""
        return False

    def frames(self, path):
        """Give nothing."""
        return ()

    def header(self, frame):
        """Have none."""
        raise ValueError

    def example(self):
        """Have none."""
        raise ValueError

    def read(self, frame, region=None):
        """Draw what the detector of this file shows."""
        setup, night, number = PLACES[frame.path]
        rng = np.random.default_rng([night, number, *frame.kind.encode()])
        pattern = np.random.default_rng(1)  # the detector: always the same
        bias = 900.0 + 5.0 * pattern.standard_normal((ROWS, COLUMNS))
        current = setup.dark_rate * pattern.gamma(2.0, 0.5, (ROWS, COLUMNS))
        response = 1.0 + 0.1 * pattern.standard_normal((ROWS, COLUMNS)).clip(-3, 3)
        light = {"science": setup.sky, "flat": setup.flat_level * (1.0 + 0.05 * number)}.get(frame.kind, 0.0)
        electrons = rng.poisson(current * frame.exptime + light * response).astype(float)
        lit = electrons + setup.read_noise * rng.standard_normal(electrons.shape)
        unlit = setup.read_noise * rng.standard_normal((ROWS, OVERSCAN))
        shift = 3.0 * rng.standard_normal()  # of the electronics, from frame to frame
        counts = np.hstack([bias + lit / setup.gain, 900.0 + unlit / setup.gain]) + shift
        picture = np.rint(counts).astype(np.float32)
        return image(picture if region is None else picture[region.slices])


PLACES: dict[str, tuple[Setup, int, int]] = {}


def frame(setup: Setup, night: int, kind: str, number: int) -> Frame:
    path = f"{setup}-{night}-{kind}-{number}"
    PLACES[path] = (setup, night, number)
    exptime = {"bias": 0.0, "dark": setup.dark_exptime, "flat": 3.0, "science": setup.exptime}[kind]
    return Frame(path, kind=kind, exptime=exptime, shape=(ROWS, COLUMNS + OVERSCAN), amplifiers=(setup.amplifier,))


def reduce_night(setup: Setup, night: int):
    masters = {}
    for step, kind in ((2, "bias"), (3, "dark"), (5, "flat")):
        frames = Frames(frame(setup, night, kind, number) for number in range(setup.number))
        built = Combine(kind=kind).build(RawStack(frames, Memory(), CHAIN[:step], masters, 1 << 30))
        # What a run writes into the header of a master.
        built.meta |= {"EXPTIME": frames[0].exptime, "ALBKEY": kind}
        built.meta |= {f"KEY{other.upper()}": other for other in masters}
        masters[kind] = built
    science = frame(setup, night, "science", 0)
    return calibrate(Memory().read(science), science, CHAIN, masters)


def scatter_over_claim(setup: Setup) -> float:
    """Mean variance over nights, over the mean variance that the chain claims."""
    nights = [reduce_night(setup, night) for night in range(NIGHTS)]
    scatter = np.var([picture.data.astype(np.float64) for picture in nights], axis=0, ddof=1)
    return float(scatter.mean() / np.mean([variance_of(picture).astype(np.float64) for picture in nights]))


@pytest.mark.parametrize(
    "setup",
    [
        Setup(),
        Setup(gain=0.25),
        Setup(gain=4.0),
        Setup(number=3),
        Setup(number=30, sky=3000.0),
        Setup(sky=60000.0, flat_level=30000.0, number=5),  # the flat is as noisy as the science frame
        Setup(flat_level=1000.0, sky=5000.0),
        Setup(dark_rate=20.0, number=4),  # the dark is
        Setup(exptime=180.0, dark_rate=10.0),  # and is scaled up
        Setup(exptime=20.0, dark_rate=10.0),
        Setup(read_noise=20.0, sky=100.0, number=3),  # the bias is
    ],
    ids=str,
)
def test_the_variance_of_the_whole_chain_is_the_scatter_over_repeated_nights(setup):
    assert scatter_over_claim(setup) == pytest.approx(1.0, abs=TOLERANCE)


def test_without_light_the_variance_is_too_large_by_what_negative_counts_lack():
    """Photon noise is taken from counts that are themselves noisy, and negative ones count as none: a known price.

    The mean of the positive part of a normal deviate is 0.4 standard deviations, so that of read noise 6 electrons
    2.4 electrons too many are counted in 36, and less where there is sky.
    """
    dark = Setup(sky=0.0, dark_rate=0.0, number=30)
    excess = 1.0 / scatter_over_claim(dark)
    assert excess == pytest.approx(1.0 + 0.399 * 6.0 / 36.0 / (1 + 1 / 30), abs=TOLERANCE)
