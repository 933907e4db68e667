"""Which stars are measured in each field: the sources of its reference frame, in common with other cameras.

Fields of several detectors that look at the same sky get one `StarList`. The primary is the field whose reference has
most good stars; each of the others is mapped onto it by the aligner of the recipe, if need be by way of another. Where
there is no map, a field keeps a list of its own, with numbers that follow those of the common one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo.frames import Frame, FrameError
from albireo.headers import read_header
from albireo.plan import find_frame, first_frame, share_targets
from albireo.recipe import Place, Target
from albireo.run.folder import RunError
from albireo.run.science import work_on
from albireo.run.state import FieldState, RunState
from albireo.run.userstars import read_user_stars
from albireo.sources import Transform, Window
from albireo.store import key_of, stage_key

if TYPE_CHECKING:
    from albireo.run.starlist import StarList, View

__all__ = ["make_catalogues"]

log = logging.getLogger("albireo")

WATCHED = 5
"""Stars of which cut-outs are kept where a recipe names no target."""


def make_catalogues(run: RunState) -> None:
    """Give every field that has a reference its catalogue and targets, as far as they are not there already.

    Raises
    ------
    RunError
        If a target has no place in any field that it belongs to.
    """
    shared = run.recipe.catalogue.common and run.recipe.aligner is not None
    skies: dict[str, list[FieldState]] = {}
    for state in run.fields:
        state.sky = state.plan.sky if shared else state.plan.name
        skies.setdefault(state.sky, []).append(state)
    groups = list(skies.values())
    targets = share_targets(run.recipe.targets, [[state.plan for state in group] for group in groups])
    for target in run.recipe.targets:
        if groups and not any(target in chosen for chosen in targets):
            run.warn(f"the target {target.name} belongs to no field: neither name nor coordinates fit one")
    for group, chosen in zip(groups, targets, strict=True):
        _Sky(run, group, chosen).catalogues()
        for _ in group:
            run.watch.advance()


@dataclass(eq=False)
class _Eye:
    """A field with what its camera sees, where its reference frame lies in the raw image, and where its stars are."""

    state: FieldState
    view: View
    window: Window
    stars: StarList = field(init=False)
    number: int = field(init=False)


@dataclass(eq=False)
class _Named:
    """What a recipe names: identities of targets and comparison stars, and what could not be done."""

    targets: dict[str, list[int]] = field(default_factory=dict)
    comparisons: list[int] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class _Sky:
    """Fields that share a list of stars, in order of their detectors, so that the times of frames do not matter."""

    def __init__(self, run: RunState, group: Sequence[FieldState], targets: Sequence[Target]) -> None:
        self.run, self.targets = run, targets
        file = run.recipe.star_file
        self.given = read_user_stars(file) if file is not None else []
        self.states = sorted(group, key=lambda state: (state.plan.detector, state.plan.name))
        self.group = [state for state in self.states if state.reference is not None]

    def catalogues(self) -> None:
        """Fill in the states of the fields."""
        run = self.run
        if not self.group or not run.recipe.photometers:
            return
        places = [p for target in self.targets for p in (target, *target.comparisons)]
        places += [star.place for star in self.given]
        frames = {name: self._frame_of(p) for name, p in {p.frame: p for p in places if p.x is not None}.items()}
        sky_key = key_of(
            "sky",
            [(s.plan.detector, run.found_key(s.reference), s.deep_key) for s in self.group if s.reference],
            stage_key(run.recipe.aligner) if len(self.group) > 1 else None,
            run.recipe.catalogue.model_dump(mode="json"),
            [t.model_dump(mode="json") for t in self.targets],
            [(star.place.model_dump(mode="json"), star.number) for star in self.given],
            {name: run.aligned_key(frame, state) for name, (frame, state) in frames.items()},
        )
        for number, state in enumerate(self.group):
            state.catalogue_key = key_of("catalogue", sky_key, number)
            state.catalogue_product = run.product("catalogue", state.catalogue_key)
        if not all(state.catalogue_product and state.catalogue_product.exists() for state in self.group):
            self._make(frames)
        for state in self.group:
            note = self._note(state)
            state.targets = {str(name): int(number) for name, number in note["targets"].items()}
            state.comparisons = [int(number) for number in note["comparisons"]]
            state.watched = tuple(state.targets.values()) or tuple(int(number) for number in note["brightest"])
            for text in note["warnings"]:
                run.warn(text)

    def _note(self, state: FieldState) -> dict[str, Any]:
        from albireo.products import load_arrays

        assert state.catalogue_product is not None
        note = self.run.index.note(state.catalogue_key)
        if not note:
            _, note = load_arrays(state.catalogue_product)
            self.run.index.save_product(state.catalogue_key, state.catalogue_product, note)
        return note

    def _make(self, frames: Mapping[str, tuple[Frame, FieldState]]) -> None:
        from albireo.jobs import source_arrays
        from albireo.products import save_arrays

        named = _Named()
        eyes = [self._eye(state) for state in self.group]
        alone = self._common(eyes, named)
        shared = [eye for eye in eyes if eye not in alone]
        stars = self._list(shared, frames, named)
        self._settle(stars, shared, frames, named)
        for eye in alone:
            stars = self._list([eye], frames, named, first=stars.next)
            self._settle(stars, [eye], frames, named)
        self._check_placed(named)
        for eye in eyes:
            sources = eye.stars.sources(eye.number)
            here = set(sources.id.tolist())
            listed = set(eye.stars.numbers)
            pairs = [(name, number) for name, numbers in named.targets.items() for number in numbers]
            outside = [
                f"the target {name} lies outside the image of {self._name(eye)}"
                for name, number in pairs
                if number in listed and number not in here
            ]
            note = {
                "targets": {name: number for name, number in pairs if number in here},
                "comparisons": [number for number in named.comparisons if number in here],
                "brightest": sources.id[:WATCHED].tolist(),
                "warnings": [*named.warnings, *outside],
            }
            assert eye.state.catalogue_product is not None
            save_arrays(eye.state.catalogue_product, source_arrays(sources), note)

    # --- which cameras have a list in common

    def _eye(self, state: FieldState) -> _Eye:
        from albireo.jobs import load_sources
        from albireo.products import load_arrays
        from albireo.run.starlist import View

        assert state.reference_product is not None
        assert state.reference_image is not None
        _, numbers = load_arrays(state.reference_product)
        _, header = read_header(state.reference_image, 0)
        shape = (int(header["NAXIS2"]), int(header["NAXIS1"]))
        if state.deep_product is not None:
            _, numbers = load_arrays(state.deep_product)
        found = load_sources(state.deep_product or state.reference_product)
        view = View(found, numbers["fwhm"], numbers["sky_rms"], shape, Transform.identity())
        return _Eye(state, view, _window(numbers))

    def _name(self, eye: _Eye) -> str:
        """Name a camera by its detector, or by its field where that does not tell it from the others."""
        detector = eye.state.plan.detector
        alike = sum(state.plan.detector == detector for state in self.group)
        return detector if detector and alike == 1 else eye.state.plan.name

    def _common(self, eyes: list[_Eye], named: _Named) -> list[_Eye]:
        """Bring the camera with most good stars to the front, and map the others onto it; give those that no map fits.

        A camera that cannot be mapped onto the primary may be mapped onto another that can.
        """
        from albireo.run.starlist import good_stars

        least = self.run.recipe.catalogue.min_snr
        eyes.sort(key=lambda eye: -len(good_stars(eye.view, least)))  # stable: of equal ones the first
        mapped, waiting = eyes[:1], eyes[1:]
        reasons: dict[tuple[int, int], str] = {}
        while new := next((eye for eye in waiting if self._is_mapped(eye, mapped, reasons)), None):
            mapped.append(new)
            waiting.remove(new)
        for eye in waiting:
            one, primary = self._name(eye), self._name(eyes[0])
            named.warnings.append(
                f"{eye.state.sky}: no common stars of {one} and {primary} "
                f"({reasons[id(eye), id(eyes[0])]}); {one} has a list of stars of its own"
            )
        return waiting

    def _is_mapped(self, eye: _Eye, mapped: Sequence[_Eye], reasons: dict[tuple[int, int], str]) -> bool:
        aligner = self.run.recipe.aligner
        assert aligner is not None, "without an aligner no fields are grouped"
        for other in mapped:
            if (id(eye), id(other)) in reasons:
                continue
            try:
                found = aligner.across(eye.view.found, other.view.found)
            except FrameError as error:
                reasons[id(eye), id(other)] = str(error)
                continue
            eye.view = replace(eye.view, transform=found @ other.view.transform)
            log.info(
                "%s onto %s: scale %.4f, rotation %.2f deg%s, %d stars, rms %.2f pixels",
                self._name(other),
                self._name(eye),
                found.scale,
                found.rotation,
                ", mirrored" if found.mirrored else "",
                found.matched,
                found.rms,
            )
            return True
        return False

    # --- what the recipe names

    def _list(
        self,
        eyes: Sequence[_Eye],
        frames: Mapping[str, tuple[Frame, FieldState]],
        named: _Named,
        first: int = 1,
    ) -> StarList:
        """List the stars to measure on some cameras: what they detected, or what a person gave."""
        from albireo.run.starlist import StarList

        views = [eye.view for eye in eyes]
        if not self.given:
            return StarList(views, self.run.recipe.catalogue, first)
        stars = StarList(views, self.run.recipe.catalogue, first, detected=False)
        outside, merged = 0, 0
        for star in self.given:
            place = self._place(star.place, eyes, frames)
            if place is None or not eyes[place[0]].view.holds(np.array(place[1]), np.array(place[2])):
                outside += 1
            else:
                before = len(stars)
                stars.place(*place, identity=star.number if first == 1 else None)
                merged += len(stars) == before
        if merged:
            named.warnings.append(
                f"{merged} of the {len(self.given)} stars of {self.run.recipe.catalogue.file} are stars that the list "
                f"has already (nearer than {stars.radius:g} pixels to one source)"
            )
        if outside:
            where = " and ".join(self._name(eye) for eye in eyes)
            named.warnings.append(
                f"{outside} of the {len(self.given)} stars of {self.run.recipe.catalogue.file} lie outside the "
                f"reference of {where} and are not measured"
            )
        return stars

    def _settle(
        self,
        stars: StarList,
        eyes: Sequence[_Eye],
        frames: Mapping[str, tuple[Frame, FieldState]],
        named: _Named,
    ) -> None:
        """Give cameras their list, and find in it what the recipe names and has a place on one of them."""
        for number, eye in enumerate(eyes):
            eye.stars, eye.number = stars, number
        for target in self.targets:
            for spot, what in _named_places(target):
                place = self._place(spot, eyes, frames)
                if place is None:
                    continue
                number, x, y = place
                if not (np.isfinite(x) and np.isfinite(y)):
                    raise RunError(f"{what} has no position on the reference frame; check its coordinates")
                identity = stars.place(number, x, y)
                if spot is target:
                    named.targets.setdefault(target.name, []).append(identity)
                else:
                    named.comparisons.append(identity)

    def _place(
        self, spot: Place, eyes: Sequence[_Eye], frames: Mapping[str, tuple[Frame, FieldState]]
    ) -> tuple[int, float, float] | None:
        """Find a place on one of the cameras: which of them, and where on its reference; None if on none of them."""
        if spot.x is not None and spot.y is not None:
            frame, state = frames[spot.frame]
            for number, eye in enumerate(eyes):
                if eye.state is state:
                    transform, window = self._lies(frame, eye)
                    x, y = transform.inverse()(*window.from_raw(spot.x, spot.y))
                    return number, float(x), float(y)
            return None
        places = []
        for number, eye in enumerate(eyes):
            assert eye.state.reference is not None
            wcs = self.run.recipe.instrument.wcs(eye.state.reference)
            if wcs is not None:
                x, y = wcs.all_world2pix([[spot.ra, spot.dec]], 0, quiet=True)[0]
                places.append((number, *eye.window.from_raw(float(x), float(y))))
        inside = [place for place in places if eyes[place[0]].view.holds(np.array(place[1]), np.array(place[2]))]
        return next(iter([*inside, *places]), None)

    def _check_placed(self, named: _Named) -> None:
        """Complain of targets by celestial coordinates where no camera has any; pixels always have a place."""
        lost = [t.name for t in self.targets if any(p.x is None for p in (t, *t.comparisons))]
        if any(star.place.x is None for star in self.given):
            lost.append(f"list {self.run.recipe.catalogue.file}")
        references = [state.reference for state in self.group if state.reference is not None]
        if lost and all(self.run.recipe.instrument.wcs(reference) is None for reference in references):
            raise RunError(
                f"target {', '.join(lost)} is given by ra and dec, but the header of {references[0].name} has no "
                "celestial coordinates to trust. Give x, y and frame as well."
            )

    def _frame_of(self, place: Place) -> tuple[Frame, FieldState]:
        """Find the frame in whose pixels a place is given.

        Raises
        ------
        RunError
            If it shows another field, or no frame of its detector could be used.
        """
        name = place.frame or first_frame(state.plan for state in self.states).name
        for state in self.states:
            frame = find_frame(name, state.plan.frames)
            if frame is not None and state.reference is not None:
                return frame, state
            if frame is not None:
                raise RunError(
                    f"a target is given in pixels of {name}, but no frame of {state.plan.name} could be used. "
                    "Give its pixels in another frame."
                )
        raise RunError(
            f"a comparison star is given in pixels of {name}, which shows another field than its target. "
            "Give its pixels in a frame of that field."
        )

    def _lies(self, frame: Frame, eye: _Eye) -> tuple[Transform, Window]:
        """Say how a frame lies on the reference of its field, aligning it if need be, and in its raw image."""
        from albireo.products import load_arrays

        if eye.state.reference is not None and frame.name == eye.state.reference.name:
            return Transform.identity(), eye.window
        task = replace(self.run.frame_task(frame, eye.state), catalogue=None, measured=None, reduced=None)
        if not task.aligned.exists():
            for outcome in work_on(self.run, [task]):
                problem = outcome.error or (outcome.value.reason if outcome.value else "")
                if problem:
                    raise RunError(
                        f"a target is given in pixels of {frame.name}, which cannot be used: {problem}. "
                        "Give its pixels in another frame."
                    )
        arrays, numbers = load_arrays(task.aligned)
        return Transform(arrays["matrix"]), _window(numbers)


def _window(numbers: Mapping[str, float]) -> Window:
    """Say where a calibrated image lies in its raw image."""
    return Window(numbers["crop_x"], numbers["crop_y"], int(numbers["rebin"]))


def _named_places(target: Target) -> list[tuple[Place, str]]:
    """Give the places of a target and its comparison stars, and what to call them."""
    others = [(spot, f"comparison star {n} of {target.name}") for n, spot in enumerate(target.comparisons, 1)]
    return [(target, f"target {target.name}"), *others]
