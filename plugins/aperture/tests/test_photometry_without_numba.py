"""Where numba cannot be imported, the same loops run as plain Python."""

import subprocess
import sys

import numpy as np

CODE = """
import logging, sys
import numpy as np
from albireo import Flag, PSF, Sources, image
from albireo_aperture import Aperture, Optimal
if sys.argv[2] == "plain":
    sys.modules["numba"] = None
rng = np.random.default_rng(1)
psf, pixels = PSF(3.0, 1.4, 0.5), rng.normal(100, 5, (64, 64))
pixels[20:41, 20:41] += 5000 * psf.stamps([0.2], [-0.3], 10)[0]
flags = np.zeros((64, 64), np.uint16)
flags[31, 33], flags[45, 45], pixels[20, 30] = Flag.SATURATED, Flag.HOT, np.nan
picture = image(pixels, "electron", variance=np.abs(pixels), flags=flags)
sources = Sources.make([30.0, 0.0, np.nan], [29.5, 5.0, 3.0], id=[1, 2, 3])
stages = (
    Aperture(radius=(2, 4), statistic="mode"),
    Aperture(shape="ellipse", recenter="windowed"),
    Aperture(recenter="moments"),
    Optimal(weights="full"),
)
columns = {}
for k, stage in enumerate(stages):
    for name, column in stage.measure(picture, sources, None, psf).items():
        columns[f"{name}{k}"] = column
np.savez(sys.argv[1], **columns)
"""


def test_the_results_are_those_of_compiled_code(tmp_path):
    found = {}
    for which in ("plain", "compiled"):
        path = tmp_path / f"{which}.npz"
        done = subprocess.run([sys.executable, "-c", CODE, path, which], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert ("stars are measured by plain Python" in done.stderr) == (which == "plain")
        with np.load(path) as file:
            found[which] = dict(file)
    assert found["plain"].keys() == found["compiled"].keys()
    for name, column in found["plain"].items():
        # Sums that the compiler fuses differ in their last digits.
        assert np.allclose(column, found["compiled"][name], rtol=1e-9, atol=1e-12, equal_nan=True), name
    assert np.isfinite(found["plain"]["flux1"][0])
