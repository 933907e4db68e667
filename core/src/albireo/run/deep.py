"""Sources of a stack: the stars of a field as all its frames together show them."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from albireo.frames import FrameError, Frames
from albireo.images import read_image
from albireo.jobs import source_arrays, stage_of
from albireo.products import load_arrays, save_arrays
from albireo.psf import PSF
from albireo.run.science import process_frames
from albireo.run.stacks import stack_frames
from albireo.run.state import FieldState, RunState
from albireo.store import key_of, stage_key

__all__ = ["find_deep_sources"]

log = logging.getLogger("albireo")


def find_deep_sources(run: RunState) -> None:
    """Align the frames of every field, stack them, and find the sources of the stack.

    The first stacker of the recipe does it, with all frames of the field. A field whose frames make no stack keeps the
    sources of its reference, and the run says so.
    """
    process_frames(run)
    run.watch.stage("finding stars on stacks", len(run.fields))
    for state in run.fields:
        if state.reference is not None:
            try:
                _find(run, state)
            except FrameError as error:
                run.fail(f"field {state.plan.name}: its stars come from the reference frame, not from a stack: {error}")
        run.watch.advance()


def _find(run: RunState, state: FieldState) -> None:
    stacker, background, finder = run.recipe.stackers[0], run.recipe.background, run.recipe.finder
    assert background is not None
    assert finder is not None, "the recipe is checked: a catalogue has a finder"
    used = Frames(f for f in state.plan.frames.sorted("mid") if run.fates[f.name].fate == "used")
    path = run.out / "stacks" / f"{state.plan.name}-catalogue.fits"
    stacked = stack_frames(run, state, stacker, used, path)
    state.deep_key = key_of("deep", stacked["key"], stage_key(background), stage_key(finder))
    state.deep_product = run.product("deep", state.deep_key)
    if state.deep_product.exists():
        return
    picture = read_image(path)
    with stage_of("background", background):
        sky = background.estimate(picture)
    with stage_of("finding", finder):
        sources = finder.find(picture, sky)
    if not len(sources):
        raise FrameError("no star was found on the stack")
    # A stack of all that the frames show begins at another pixel than the reference.
    here = replace(
        sources,
        x=sources.x - float(picture.meta.get("LTV1", 0.0)),
        y=sources.y - float(picture.meta.get("LTV2", 0.0)),
    )
    psf = PSF.of(sources)
    assert state.reference_product is not None
    _, numbers = load_arrays(state.reference_product)
    numbers |= {"fwhm": psf.fwhm if psf else np.nan, "sky_rms": sky.median_rms, "sources": len(sources)}
    save_arrays(state.deep_product, source_arrays(here), numbers)
    log.info("field %s: %d sources on a stack of %d frames", state.plan.name, len(sources), len(used))
