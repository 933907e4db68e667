"""``albireo demo``: a simulated raw night, reduced by a recipe, held against the truth."""

from __future__ import annotations

import re
import resource
import shutil
import sys
import time
import tomllib
from argparse import Namespace
from collections.abc import Mapping, Sequence
from math import hypot, inf, isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from albireo.cli.common import complain, in_words, watching
from albireo.recipe import Recipe, RecipeError
from albireo.registry import Registry, RegistryError
from albireo.roles import Instrument
from albireo.run import RunError, run

if TYPE_CHECKING:
    from albireo.cli.comparison import Line, Variable
    from albireo.testing import Eye, Night, Observation, Pointing, Simulation

STARS = 60
"""In the smallest field of view, if there is room for so many."""

BRIGHTEST = 8e3
"""Electrons per second of the brightest star, where no detector saturates with it."""

RANGE = 50.0
"""Flux of the brightest star over that of the faintest."""

WELL = 0.5
"""How full the brightest star may make a pixel, sky included."""

VARIABLE = 8
"""Which star varies, in order of brightness; it is the target."""

AMPLITUDE = 0.03
CYCLES = 1.4
"""Periods of the variable in a night."""


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
    folder: Path = options.out
    if folder.exists():
        if not (folder / "demo.toml").exists():
            complain(f"{folder} exists and is no demo; give another folder with --out")
            return 2
        shutil.rmtree(folder)
    path = folder / "demo.toml"
    path.parent.mkdir(parents=True)
    path.touch()  # the mark of a demo, also of one that is interrupted
    print(f"simulating a night of {options.instrument} (seed {options.seed}) in {folder / 'raw'}", file=sys.stderr)
    try:
        observation, variable = simulate(instrument, folder / "raw", options.seed)
    except ValueError as error:
        complain(f"{options.instrument} cannot be simulated: {error}")
        return 2
    path.write_text(demo_recipe(instrument, observation, variable), encoding="utf-8")
    try:
        recipe = Recipe.read(path, [f"executor.jobs={options.jobs}"] if options.jobs is not None else [])
        with watching(quiet=False) as watch:
            outcome = run(recipe, None, folder / "run", watch, f"albireo run {path} --out {folder / 'run'}")
    except (RecipeError, RunError) as error:
        complain(str(error))
        return 1
    from albireo.cli.comparison import compare
    from albireo.results import Results

    sections = compare(observation, Results(folder / "run"), variable)
    show(sections)
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    memory = max(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, children) / 1024
    if sys.platform == "darwin":  # bytes there, kibibytes elsewhere
        memory /= 1024
    print(f"{time.monotonic() - begin:.0f} s in all, {memory:.0f} MiB in the largest process")
    print(f"recipe: {path}\nreport: {outcome.reports[0] if outcome.reports else 'none'}")
    good = all(line.good for lines in sections.values() for line in lines)
    return 0 if good and outcome.exit_code == 0 else 1


def simulate(instrument: Instrument, raw: Path, seed: int) -> tuple[Observation, Variable]:
    """Write a raw night with a variable star, and a flat that is too bright where the camera's recipe looks for such.

    Raises
    ------
    ValueError
        If the camera's examples or its own simulation do not say enough.
    """
    from albireo.cli.comparison import Variable
    from albireo.testing import Night, Scene, Simulation, Sine, simulate_observation

    simulation = Simulation.of(instrument)
    night = simulation.usual_night
    exptime = max(night.exptime if eye.exptime is None else eye.exptime for eye in simulation.eyes)
    period = night.science * (exptime + night.overhead) / 3600.0 / CYCLES
    brightest = min(BRIGHTEST, *(_limit(eye, night) for eye in simulation.eyes))
    scene = simulation.field(
        STARS,
        brightest,
        brightest / RANGE,
        target=VARIABLE,
        variables={VARIABLE: Sine(AMPLITUDE, period)},
        seed=seed,
    )
    observation = simulate_observation(instrument, raw, simulation, scene, night, seed=seed)
    flats = next((eye.example.path for eye in simulation.eyes if "flat" in eye.calibrations), None)
    if flats is not None and _selects_flats(instrument):
        bright = Simulation(tuple(eye for eye in simulation.eyes if eye.example.path == flats), simulation.pointings)
        night = Night(science=0, bias=0, flat=1, flat_level=1.1)
        simulate_observation(instrument, raw / "too-bright", bright, Scene([], [], []), night, seed=seed + 1)
    return observation, Variable(VARIABLE, AMPLITUDE, period)


def _best_seeing(night: Night) -> float:
    from albireo.testing.night import value_at

    hours = night.science * (night.exptime + night.overhead) / 3600.0
    return min(value_at(night.fwhm, hours * step / 100) for step in range(101))


def _limit(eye: Eye, night: Night) -> float:
    """Give the flux of a star in electrons per second that fills a pixel of this detector as far as `WELL` says.

    Infinite where the saturation is not known.
    """
    import numpy as np

    from albireo.testing import Profile
    from albireo.testing.night import value_at

    exptime = night.exptime if eye.exptime is None else eye.exptime
    full = (eye.example.saturation - eye.camera.bias) * min(a.gain for a in eye.example.amplifiers)
    light = (value_at(night.sky, 0.0) * eye.sky + eye.camera.dark) * exptime
    profile = Profile(_best_seeing(night) * eye.view.scale, night.beta)
    peak = float(profile.density(np.zeros(1), np.zeros(1))[0])
    limit = (WELL * full - light) / (peak * exptime * eye.throughput)
    if limit <= 0:
        where = eye.example.detector or eye.example.instrument
        raise ValueError(f"the sky alone fills the pixels of {where} in {exptime:g} s; let the night expose for less")
    return limit if isfinite(limit) else inf


def _selects_flats(instrument: Instrument) -> bool:
    from albireo.scaffold import init

    tables = tomllib.loads(init(type(instrument))).get("select", [])
    return any((table.get("use"), table.get("kind")) == ("level", "flat") for table in tables)


def demo_recipe(instrument: Instrument, observation: Observation, variable: Variable) -> str:
    """Take the default recipe of a camera, point it at the simulated frames, and name the variable star."""
    from albireo.scaffold import init

    text = type(instrument).recipe() or _fitting(init(type(instrument)), observation.simulation)
    text = re.sub(r'(?m)^path = "\.".*$', 'path = "raw"', text)
    text = re.sub(r"(?m)^title = .*$", 'title = "Demo: a simulated night"', text)
    text = re.sub(r"(?m)^# (\[\[targets\]\]|(name|ra|dec|x|y) = ).*\n", "", text)
    return f"{text.rstrip()}\n\n{_targets(observation, variable.star)}"


def _fitting(text: str, simulation: Simulation) -> str:
    """Take out of the general recipe what it has for calibrations that a camera does not take."""
    taken = {kind for eye in simulation.eyes for kind in eye.calibrations}
    has_overscan = any(a.overscan is not None for eye in simulation.eyes for a in eye.example.amplifiers)
    unused = [kind for kind in ("bias", "flat") if kind not in taken] + ["overscan"] * (not has_overscan)
    for name in unused:
        text = re.sub(rf'\[\[(corrections|masters)\]\]\n(use = "combine"\nkind|use) = "{name}"\n+', "", text)
    return text


def _targets(observation: Observation, star: int) -> str:
    """Name the variable once for each place of the telescope, as a person would: in the frame that shows it best."""
    from albireo.cli.comparison import from_edge

    eyes, pointings = observation.simulation.eyes, observation.simulation.pointings
    field = min(eye.area for eye in eyes) ** 0.5
    tables: list[str] = []
    done: list[Pointing] = []
    for turn, pointing in enumerate(pointings[: observation.night.science]):
        if any(hypot(pointing.east - other.east, pointing.north - other.north) < 0.5 * field for other in done):
            continue  # the same field
        shown = [(truth.exposures[turn], truth.detector.window) for truth in observation.truths]
        depths = [
            from_edge(exposure, window.shape)[star] if exposure.frame.kind == "science" else -inf
            for exposure, window in shown
        ]
        if max(depths) < 0:
            continue
        exposure, window = shown[depths.index(max(depths))]
        name = " ".join(("variable", pointing.name or str(turn + 1))) if done else "variable"
        done.append(pointing)
        x, y = exposure.x[star] + window.x0, exposure.y[star] + window.y0
        place = f'x = {x:.1f}\ny = {y:.1f}\nframe = "{exposure.frame.name}"'
        tables.append(f'[[targets]]\nname = "{name}"\n{place}\n')
    return "\n".join(tables)


def show(sections: Mapping[str, Sequence[Line]]) -> None:
    """Print the comparison, with a heading for each band where there are several."""
    from rich.console import Console
    from rich.table import Table

    table = Table("", "truth", "measured", "", title="Truth and measurement", title_justify="left")
    for title, lines in sections.items():
        if len(sections) > 1:
            table.add_section()
            table.add_row(f"[bold]{title}[/bold]")
        for line in lines:
            table.add_row(line.what, line.truth, line.measured, "good" if line.good else "[red]off[/red]")
    Console(highlight=False).print(table)
