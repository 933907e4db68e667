"""``albireo demo``: a simulated raw night, reduced by a recipe, held against the truth."""

from __future__ import annotations

import re
import resource
import shutil
import sys
import time
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from albireo.cli.common import complain, in_words, watching
from albireo.recipe import Recipe, RecipeError
from albireo.registry import Registry, RegistryError
from albireo.roles import Instrument
from albireo.run import RunError, run

if TYPE_CHECKING:
    from albireo.results import Results
    from albireo.testing import Truth

STARS = 60
VARIABLE = 8
"""Which star varies, in order of brightness."""

AMPLITUDE, PERIOD_HOURS = 0.03, 0.25
PULL_LIMITS = (0.8, 1.25)
"""Scatter of the comparison stars over the photon limit that a demo of this length may show."""


@dataclass
class Line:
    """One comparison of truth and measurement."""

    what: str
    truth: str
    measured: str
    good: bool


def command(options: Namespace) -> int:
    """Simulate, reduce, compare."""
    begin = time.monotonic()
    try:
        instrument = Registry.discover().get("instrument", options.instrument).cls()
    except RegistryError as error:
        complain(str(error))
        return 2
    except ValidationError as error:
        complain(f"the instrument {options.instrument!r} needs options, and a demo has none: {in_words(error)}")
        return 2
    assert isinstance(instrument, Instrument)
    if not type(instrument).recipe():
        complain(f"the instrument {options.instrument!r} brings no recipe, which a demo needs")
        return 2
    folder: Path = options.out
    if folder.exists():
        if not (folder / "demo.toml").exists():
            complain(f"{folder} exists and is no demo; give another folder with --out")
            return 2
        shutil.rmtree(folder)
    print(f"simulating a night of {options.instrument} (seed {options.seed}) in {folder / 'raw'}", file=sys.stderr)
    truth = simulate(instrument, folder / "raw", options.seed)
    path = folder / "demo.toml"
    path.write_text(demo_recipe(instrument, truth), encoding="utf-8")
    try:
        recipe = Recipe.read(path, [f"executor.jobs={options.jobs}"] if options.jobs is not None else [])
        with watching(quiet=False) as watch:
            outcome = run(recipe, None, folder / "run", watch, f"albireo run {path} --out {folder / 'run'}")
    except (RecipeError, RunError) as error:
        complain(str(error))
        return 1
    from albireo.results import Results

    lines = compare(truth, Results(folder / "run"))
    show(lines)
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    memory = max(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, children) / 1024
    if sys.platform == "darwin":  # bytes there, kibibytes elsewhere
        memory /= 1024
    print(f"{time.monotonic() - begin:.0f} s in all, {memory:.0f} MiB in the largest process")
    print(f"recipe: {path}\nreport: {outcome.reports[0] if outcome.reports else 'none'}")
    return 0 if all(line.good for line in lines) and outcome.exit_code == 0 else 1


def simulate(instrument: Instrument, raw: Path, seed: int) -> Truth:
    """Write a raw night with drift, changing seeing, thin clouds, a variable star, and a flat that is too bright."""
    from albireo.testing import Night, Scene, Sine, simulate_night

    example = instrument.example()
    ny, nx = example.amplifiers[0].data.shape
    scene = Scene.field(
        (ny, nx),
        STARS,
        brightest=8e3,
        faintest=1.5e2,
        separation=30.0,
        margin=40.0,
        variables={VARIABLE: Sine(AMPLITUDE, PERIOD_HOURS)},
        seed=seed,
    )

    def clouds(hours: float) -> float:
        return 0.75 if 0.20 < hours < 0.25 else 1.0

    night = Night(
        science=48,
        bias=9,
        flat=7,
        exptime=20.0,
        overhead=6.0,
        fwhm=Sine(0.1, 0.4, level=3.6),
        drift=(30.0, -18.0),
        jitter=0.5,
        sky=8.0,
        gradient=(0.05, 0.0),
        transparency=clouds,
        airmass=lambda hours: 1.1 + 0.4 * hours,
    )
    truth = simulate_night(instrument, raw, scene, night, seed=seed)
    too_bright = Night(science=0, bias=0, flat=1, flat_level=1.1)
    simulate_night(instrument, raw / "too-bright", scene, too_bright, seed=seed + 1)
    return truth


def demo_recipe(instrument: Instrument, truth: Truth) -> str:
    """Take the default recipe of a camera, point it at the simulated frames, and name the variable star."""
    text = re.sub(r'(?m)^path = "\.".*$', 'path = "raw"', type(instrument).recipe())
    text = re.sub(r"(?m)^title = .*$", 'title = "Demo: a simulated night"', text)
    text = re.sub(r"(?m)^# (\[\[targets\]\]|name = |ra = |dec = ).*\n", "", text)
    first = truth.exposures[0]
    window = truth.detector.window
    # A target is given in pixels of the raw frame, where a person would point at it.
    x, y = first.x[VARIABLE] + window.x0, first.y[VARIABLE] + window.y0
    place = f'x = {x:.1f}\ny = {y:.1f}\nframe = "{Path(first.frame.path).name}"'
    return f'{text.rstrip()}\n\n[[targets]]\nname = "variable"\n{place}\n'


def compare(truth: Truth, results: Results) -> list[Line]:
    """Hold what was measured against what was put in."""
    import numpy as np

    frames = results.frames
    science = frames[frames["kind"] == "science"]
    lines = [Line("frames used", str(len(truth.exposures)), str(int((science["fate"] == "used").sum())), True)]
    lines[0].good = lines[0].truth == lines[0].measured
    lines.append(_alignment(truth, results))
    lines += _fluxes(truth, results)
    stars = results.stars
    curve = results.curves[0]
    quiet = stars[(stars["comparison"] > 0) & (np.abs(stars["aperture"] - curve.meta["APERTURE"]) < 0.01)]
    ratio = float(np.median(quiet["scatter"] / quiet["expected"]))
    best = float(np.min(quiet["scatter"])) * 1e3
    measured = f"{ratio:.2f} (best star {best:.2f} mmag)"
    lines.append(Line("scatter / photon limit", "1.00", measured, PULL_LIMITS[0] < ratio < PULL_LIMITS[1]))
    lines.append(_variable(truth, curve))
    return lines


def _alignment(truth: Truth, results: Results) -> Line:
    """Compare where the catalogue's stars are said to be with where they were."""
    import numpy as np

    table = results.photometry
    errors = []
    for exposure in truth.exposures:
        rows = table[table["frame"] == Path(exposure.frame.path).name]
        near = _nearest(np.asarray(rows["x"]), np.asarray(rows["y"]), exposure)
        errors.append(near[1][near[1] < 3])
    rms = float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))
    return Line("position of stars", "0 pixel", f"{rms:.3f} pixel rms", rms < 0.1)


def _nearest(x: Any, y: Any, exposure: Any) -> tuple[Any, Any]:
    import numpy as np

    distance = np.hypot(x[:, None] - exposure.x[None, :], y[:, None] - exposure.y[None, :])
    star = np.argmin(distance, axis=1)
    return star, distance[np.arange(len(star)), star]


def _fluxes(truth: Truth, results: Results) -> list[Line]:
    """Compare electrons, after the share of light inside the aperture, which is one number for each frame."""
    import numpy as np

    table = results.photometry
    table = table[np.abs(table["aperture"] - results.curves[0].meta["APERTURE"]) < 0.01]
    pulls, ratios, shares = [], [], []
    for exposure in truth.exposures:
        rows = table[table["frame"] == Path(exposure.frame.path).name]
        star, distance = _nearest(np.asarray(rows["x"]), np.asarray(rows["y"]), exposure)
        flux, error = np.asarray(rows["flux"]), np.asarray(rows["flux_err"])
        good = (distance < 3) & np.isfinite(flux) & (np.asarray(rows["flags"]) == 0)
        true = exposure.electrons[star[good]]
        flux, error = flux[good], error[good]
        weight = true**2 / error**2
        share = float(np.sum(weight * flux / true) / np.sum(weight))
        shares.append(share)
        ratios.append(flux / (true * share))
        pulls.append((flux - true * share) / error)
    pull, ratio = np.concatenate(pulls), np.concatenate(ratios)
    median = float(np.median(ratio))
    width = float(1.4826 * np.median(np.abs(pull - np.median(pull))))
    inside = 100 * float(np.median(shares))
    count = f"{len(ratio)} fluxes, {inside:.1f} % of the light inside the aperture"
    return [
        Line("flux / truth (median)", "1.0000", f"{median:.4f} ({count})", abs(median - 1) < 0.003),
        Line("error bars (width of pulls)", "1.00", f"{width:.2f}", 0.9 < width < 1.1),
    ]


def _variable(truth: Truth, curve: Any) -> Line:
    """Fit the amplitude of the variable, its period and phase given."""
    import numpy as np

    hours = np.array([truth[name].hours for name in curve["frame"]])
    phase = 2.0 * np.pi * hours / PERIOD_HOURS
    good = np.isfinite(curve["flux"])
    flux, error = np.asarray(curve["flux"])[good], np.asarray(curve["flux_err"])[good]
    design = np.stack([np.ones(good.sum()), np.sin(phase[good])], axis=1) / error[:, None]
    covariance = np.linalg.inv(design.T @ design)
    level, amplitude = covariance @ design.T @ (flux / error)
    sigma = float(np.sqrt(covariance[1, 1]) / level)
    measured = float(amplitude / level)
    text = f"{100 * measured:.2f} ± {100 * sigma:.2f} %"
    return Line("amplitude of the variable", f"{100 * AMPLITUDE:.2f} %", text, abs(measured - AMPLITUDE) < 4 * sigma)


def show(lines: list[Line]) -> None:
    """Print the comparison."""
    from rich.console import Console
    from rich.table import Table

    table = Table("", "truth", "measured", "", title="Truth and measurement", title_justify="left")
    for line in lines:
        table.add_row(line.what, line.truth, line.measured, "good" if line.good else "[red]off[/red]")
    Console(highlight=False).print(table)
