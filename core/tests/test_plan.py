"""What gets which master and why, from headers alone."""

import types
from dataclasses import replace
from typing import ClassVar

import pytest

from albireo import (
    Amplifier,
    Correction,
    Frame,
    Frames,
    MasterBuilder,
    Photometer,
    Recipe,
    Registry,
    Section,
    builtin,
    hookimpl,
)
from albireo.plan import (
    Fate,
    FieldPlan,
    PlanError,
    describe,
    find_frame,
    make_plan,
    safe_name,
    share_targets,
    targets_in,
)
from albireo.recipe import Target
from albireo.testing import PlainCamera


class Camera(PlainCamera, name="camera"):
    """A plain camera."""


class Mean(MasterBuilder, name="mean"):
    """Does nothing here."""

    def build(self, stack):
        raise NotImplementedError


class Step(Correction, name="step"):
    """Does nothing here."""

    def correct(self, image, frame, masters):
        return image


class Bias(Step, name="bias"):
    """Takes a bias."""

    master: ClassVar[str] = "bias"


class Dark(Step, name="dark"):
    """Takes a dark of the same exposure time only, and says what is odd about the others."""

    master: ClassVar[str] = "dark"

    def choose(self, frame, masters):
        equal = [group for group in masters if group[0].exptime == frame.exptime]
        if not equal:
            return None, f"no dark of {frame.exptime:g} s"
        return super().choose(frame, equal)

    def check(self, frame, group):
        return "" if len(group) > 1 else f"one dark only for {frame.exptime:g} s"


class Flat(Step, name="flat"):
    """Takes a flat."""

    master: ClassVar[str] = "flat"


class Aperture(Photometer, name="aperture"):
    """Does nothing here."""

    def measure(self, image, sources, sky, psf):
        raise NotImplementedError


def hook(*classes):
    @hookimpl
    def function():
        return classes

    return function


@pytest.fixture(scope="module")
def registry():
    module = types.ModuleType("small")
    module.instruments = hook(Camera)
    module.masters = hook(Mean)
    module.corrections = hook(Bias, Dark, Flat)
    module.photometers = hook(Aperture)
    made = Registry()
    made.add(builtin)
    made.add(module)
    assert not made.broken
    return made


@pytest.fixture
def recipe(registry):
    def make(*kinds, extra="", masters=None):
        tables = [f'[[corrections]]\nuse = "{kind}"\n' for kind in kinds]
        tables += [f'[[masters]]\nuse = "mean"\nkind = "{kind}"\n' for kind in (kinds if masters is None else masters)]
        return Recipe.parse(f'[instrument]\nuse = "camera"\n{"".join(tables)}{extra}', registry=registry)

    return make


AMPLIFIER = (Amplifier(Section(0, 10, 0, 20), gain=1.0, read_noise=5.0),)
BASE = Frame("x", instrument="camera", shape=(10, 20), setup=(("binning", "1x1"),), amplifiers=AMPLIFIER)


def some(kind, number, start=60000.0, **facts):
    stem = "-".join([kind, *(str(v) for v in facts.values() if not isinstance(v, tuple))])
    facts.setdefault("filter", "r" if kind in ("flat", "science") else "")
    return [
        BASE.replace(
            path=f"/night/{stem}-{i}.fits",
            name=f"{stem}-{i}",
            kind=kind,
            start=start + i / 100,
            mid=start + i / 100 + 1e-4,
            **facts,
        )
        for i in range(number)
    ]


def names(frames):
    return [f.name for f in frames]


# --- matching ---------------------------------------------------------------------------------------------------------


def test_science_frames_get_the_masters_that_match_and_masters_get_theirs(recipe):
    night = Frames([*some("science", 3), *some("flat", 4), *some("flat", 2, filter="V"), *some("bias", 5)])
    plan = make_plan(recipe("bias", "flat"), night)
    assert [m.name for m in plan.masters] == ["bias", "flat-r"]
    bias, flat = plan.masters
    assert names(bias.frames) == [f"bias-{i}" for i in range(5)]
    assert bias.corrections == ()
    assert bias.masters == {}
    assert [c.name for c in flat.corrections] == ["bias"]
    assert flat.masters == {"bias": bias}
    for frame in plan.science:
        assert {k: (m, why) for k, (m, why) in plan.choices[frame.name].items()} == {
            "bias": (bias, "the only one that matches"),
            "flat": (flat, "the only one that matches"),
        }
    assert describe(plan) == {"masters": 2, "fields": 1, "science": 3}


def test_a_master_may_have_to_share_one_setting_only(recipe, monkeypatch):
    night = Frames([*some("science", 1, setup=(("binning", "2"), ("mirror", "in")))])
    night += Frames([*some("bias", 2, setup=(("binning", "2"), ("mirror", "out")))])
    with pytest.raises(PlanError, match="bias frames at hand: 2 with readout set-up binning=2 mirror=out"):
        make_plan(recipe("bias"), night)
    monkeypatch.setattr(Camera, "match", lambda self, kind: ("setup.binning",))
    assert [m.name for m in make_plan(recipe("bias"), night).masters] == ["bias"]
    other = Frames([*night.where(kind="science"), *some("bias", 2, setup=(("binning", "3"),))])
    with pytest.raises(PlanError, match="There is no master bias for binning 2; bias frames at hand: 2 with binning 3"):
        make_plan(recipe("bias"), other)


def test_a_master_comes_after_what_it_needs(recipe):
    night = Frames([*some("science", 1), *some("bias", 2)])
    night += Frames([*some("flat", 2, exptime=2.0), *some("dark", 2, exptime=2.0)])
    plan = make_plan(recipe("bias", "dark", "flat", extra='[recipe]\nallow_missing = ["dark"]\n'), night)
    assert [m.name for m in plan.masters] == ["bias", "dark-2s", "flat-r"]
    assert list(plan.masters[2].masters) == ["bias", "dark"]


def test_of_several_that_match_the_nearest_in_time_is_chosen(recipe):
    night = Frames(
        [
            *some("science", 2, start=60000.5),
            *some("bias", 2, start=60000.0, variant="evening"),
            *some("bias", 2, start=60000.8, variant="morning"),
        ]
    )
    plan = make_plan(recipe("bias"), night)
    (master,) = plan.masters
    assert master.name == "bias-morning"
    assert plan.choices["science-0"]["bias"][1] == "nearest in time, 7.2 h away, of 2 that match"
    assert plan.fates["bias-evening-0"].reason == "another bias was chosen for every frame"


def test_calibrations_of_an_unknown_exposure_time_make_one_master(recipe):
    # From two sources: a NaN of a header read now, and one of a header remembered as text.
    darks = some("dark", 4)
    darks = [Frame.from_dict(f.to_dict() | {"exptime": float("nan")}) if i % 2 else f for i, f in enumerate(darks)]
    night = Frames([*some("science", 1, exptime=float("nan")), *darks])

    class Any(Step, name="any"):
        """Takes any dark."""

        master: ClassVar[str] = "dark"

    plan = make_plan(replace(recipe("dark"), corrections=[Any()]), night)
    assert [len(m.frames) for m in plan.masters] == [4]
    assert plan.masters[0].name == "dark"


def test_what_a_correction_finds_odd_is_a_warning_said_once(recipe):
    night = Frames([*some("science", 3, exptime=60.0), *some("dark", 1, exptime=60.0)])
    assert make_plan(recipe("dark"), night).warnings == ["one dark only for 60 s"]


def test_frames_of_two_setups_do_not_mix(recipe):
    binned = {"setup": (("binning", "2x2"),), "shape": (5, 10)}
    night = Frames([*some("science", 1), *some("science", 1, target="b", **binned), *some("bias", 2)])
    night += Frames(some("bias", 3, variant="2x2", **binned))
    plan = make_plan(recipe("bias"), night)
    assert [(m.name, len(m.frames)) for m in plan.masters] == [("bias", 2), ("bias-2x2", 3)]


def test_masters_that_would_have_one_name_are_told_apart(recipe):
    binned = {"setup": (("binning", "2x2"),)}
    night = Frames([*some("science", 1), *some("science", 1, target="b", **binned)])
    night += Frames([*some("bias", 2), *(f.replace(name=f"{f.name}b") for f in some("bias", 2, **binned))])
    assert [m.name for m in make_plan(recipe("bias"), night).masters] == ["bias", "bias-2"]
    # Two filters whose names differ in what no file name can hold.
    night = Frames([*some("science", 1, filter="u'"), *some("science", 1, filter="u*")])
    night += Frames([*some("flat", 1, filter="u'"), *some("flat", 1, filter="u*")])
    assert [m.name for m in make_plan(recipe("flat"), night).masters] == ["flat-u", "flat-u-2"]


# --- what is missing --------------------------------------------------------------------------------------------------


def test_a_missing_flat_stops_the_run_and_says_for_whom_and_what_is_at_hand(recipe):
    night = Frames(
        [*some("science", 5, filter="V"), *some("science", 1), *some("flat", 3), *some("flat", 2, filter="B")]
    )
    with pytest.raises(PlanError) as caught:
        make_plan(recipe("flat"), night)
    assert caught.value.problems == [
        "There is no master flat for image size 10 x 20, readout set-up binning=1x1, filter V; flat frames at hand: "
        '3 with filter r; 2 with filter B. Take such flat frames, or write allow_missing = ["flat"] under [recipe] to '
        "go without. Needed by 5 frames: science-V-0, science-V-1, science-V-2, ...."
    ]


def test_everything_that_is_missing_is_told_at_once(recipe):
    night = Frames([*some("science", 1), *some("science", 1, filter="V", exptime=3.0)])
    with pytest.raises(PlanError) as caught:
        make_plan(recipe("bias", "dark", "flat"), night)
    assert [p.split(" for ")[0] for p in caught.value.problems] == [
        "There is no master bias",
        "There is no master dark",
        "There is no master flat",
        "There is no master flat",
    ]
    assert ": no bias frame was found. Take such bias frames" in caught.value.problems[0]
    assert str(caught.value) == "\n".join(caught.value.problems)


@pytest.mark.parametrize("left", [0, 1])
def test_frames_that_were_left_out_before_are_part_of_the_answer(recipe, left):
    night = Frames([*some("science", 1), *some("flat", left, filter="V")])
    dropped = [(frame, Fate("dropped", "select level", "too bright")) for frame in some("flat", 2)]
    with pytest.raises(PlanError) as caught:
        make_plan(recipe("flat"), night, dropped)
    found = "; flat frames at hand: 1 with filter V" if left else ": no flat frame was kept"
    assert f"{found}; 2 flat frames were left out in select level, such as flat-0: too bright. Take" in str(
        caught.value
    )


def test_a_target_in_pixels_of_a_frame_that_is_not_used_stops_the_run(recipe):
    target = '[[targets]]\nname = "{0}"\nx = 1\ny = 2\nframe = "{1}"\n'
    text = "".join(target.format(*pair) for pair in (("a", "science-0.fits"), ("b", "nowhere.fits"), ("c", "other-0")))
    dropped = [(frame, Fate("dropped", "select level", "cloudy")) for frame in some("other", 1)]
    with pytest.raises(PlanError) as caught:
        make_plan(recipe(extra=text), Frames(some("science", 1)), dropped)
    advice = "Give its pixels in a frame that is used."
    assert caught.value.problems == [
        f"The target b is given in pixels of nowhere.fits, which is none of the science frames. {advice}",
        f"The target c is given in pixels of other-0, which was left out in select level: cloudy. {advice}",
    ]


def test_a_choice_that_finds_none_good_enough_is_a_missing_master(recipe):
    night = Frames([*some("science", 1, exptime=60.0), *some("dark", 2, exptime=5.0)])
    with pytest.raises(PlanError, match=r"^No dark of 60 s\. Take such dark frames"):
        make_plan(recipe("dark"), night)


def test_a_recipe_may_go_without_and_the_report_says_so(recipe):
    night = Frames([*some("science", 2, exptime=60.0), *some("dark", 2, exptime=5.0)])
    plan = make_plan(recipe("dark", extra='[recipe]\nallow_missing = ["dark"]\n'), night)
    assert plan.masters == []
    assert plan.choices == {"science-60.0-0": {}, "science-60.0-1": {}}
    assert plan.warnings == ["some frames go without a master dark, as the recipe allows: no dark of 60 s"]
    assert plan.fates["dark-5.0-0"].reason == "no frame could use this dark"


def test_error_bars_need_gain_and_read_noise(recipe):
    bare = [f.replace(amplifiers=(Amplifier(Section(0, 10, 0, 20), gain=2.0),)) for f in some("science", 2)]
    plain = recipe()
    assert make_plan(plain, Frames(bare)).science
    with pytest.raises(PlanError) as caught:
        make_plan(replace(plain, photometers=[Aperture()]), Frames(bare))
    assert str(caught.value) == (
        "The read noise (electron) is not known. Give read_noise under [instrument]; without it there are no error "
        "bars. Needed by 2 frames: science-0, science-1."
    )


# --- what is left over ------------------------------------------------------------------------------------------------


def test_every_frame_that_is_not_used_has_a_reason(recipe):
    night = Frames(
        [
            *some("science", 1),
            *some("flat", 1),
            *some("flat", 1, filter="V"),
            *some("flat", 1, variant="binned", setup=(("binning", "2x2"),)),
            *some("flat", 1, variant="small", shape=(5, 5)),
            *some("bias", 1),
            *some("other", 1),
            *some("unknown", 1),
        ]
    )
    plan = make_plan(recipe("flat"), night)
    assert {name: fate.reason for name, fate in plan.fates.items()} == {
        "flat-V-0": "filter V: no science frame needs such a flat (they have filter r)",
        "flat-binned-0": (
            "readout set-up binning=2x2: no science frame needs such a flat (they have readout set-up binning=1x1)"
        ),
        "flat-small-0": "image size 5 x 5: no science frame needs such a flat (they have image size 10 x 20)",
        "bias-0": "the recipe has no [[masters]] for the kind bias",
        "other-0": "not a frame that a reduction uses",
        "unknown-0": "the header does not say what kind of frame this is",
    }
    assert {fate.fate for fate in plan.fates.values()} == {"unused"}
    assert {fate.stage for fate in plan.fates.values()} == {"matching"}


def test_calibrations_that_no_correction_takes_are_unused(recipe):
    plan = make_plan(recipe(masters=["bias"]), Frames([*some("science", 1), *some("bias", 1)]))
    assert plan.masters == []
    assert plan.fates["bias-0"].reason == "no correction of the recipe uses a master bias"


def test_a_night_without_science_frames_has_no_work(recipe):
    plan = make_plan(recipe("flat"), Frames(some("flat", 2)))
    assert (plan.masters, plan.fields, plan.choices) == ([], [], {})
    assert plan.fates["flat-0"].reason == "there is no science frame to use it for"


def test_every_frame_is_accounted_for_once(recipe):
    night = Frames(
        [*some("science", 3), *some("flat", 2), *some("flat", 2, filter="V"), *some("bias", 2), *some("other", 1)]
    )
    plan = make_plan(recipe("bias", "flat"), night)
    built = [f.name for m in plan.masters for f in m.frames]
    assert sorted([*built, *names(plan.science), *plan.fates]) == sorted(names(night))


# --- fields -----------------------------------------------------------------------------------------------------------


def test_fields_are_targets_and_detectors(recipe):
    night = Frames(
        [
            *some("science", 2, target="WASP-12 b", detector="1"),
            *some("science", 2, target="WASP-12 b", detector="2"),
            *some("science", 1, target=""),
            *some("science", 1, target="M 67"),
            *some("science", 1, target="M/67"),
        ]
    )
    fields = make_plan(recipe(), night).fields
    assert sorted((f.name, f.target, f.detector, len(f.frames)) for f in fields) == [
        ("M_67", "M 67", "", 1),
        ("M_67-2", "M/67", "", 1),
        ("WASP-12_b-1", "WASP-12 b", "1", 2),
        ("WASP-12_b-2", "WASP-12 b", "2", 2),
        ("field", "", "", 1),
    ]


SIDE = 10 * 60.0 / 3600.0
"""Smaller side in degrees of a field of 10 x 20 pixels of a minute of arc."""


def pointed(number, dec=10.0, ra=30.0, target="M 67", start=60000.0, **facts):
    """A frame that points somewhere, with a name of its own."""
    name = f"{facts.get('detector', '')}{number}"
    place = {"ra": ra, "dec": dec, "scale": 60.0, "target": target, "filter": "r", "kind": "science"}
    return BASE.replace(path=name, name=name, start=start + number / 100, mid=start + number / 100, **place | facts)


def fields_of(recipe, *frames):
    return {field.name: names(field.frames) for field in make_plan(recipe(), Frames(frames)).fields}


def test_pointings_further_apart_than_half_the_field_are_fields_of_their_own(recipe):
    near, far = 0.45 * SIDE, 0.55 * SIDE
    assert fields_of(recipe, pointed(0), pointed(1, 10.0 + near), pointed(2)) == {"M_67": ["0", "1", "2"]}
    to_and_fro = [pointed(n, 10.0 + (far if n % 2 else 0.0)) for n in range(6)]
    assert fields_of(recipe, *to_and_fro) == {"M_67": ["0", "2", "4"], "M_67-2": ["1", "3", "5"]}


def test_a_field_that_drifts_stays_one(recipe):
    drift = [pointed(n, 10.0 + 0.3 * SIDE * n) for n in range(12)]
    assert fields_of(recipe, *drift) == {"M_67": [str(n) for n in range(12)]}


@pytest.mark.parametrize(("ra", "dec"), [(0.0, 0.0), (0.001, 60.0), (123.0, 89.5)])
def test_pointings_are_places_on_a_sphere(recipe, ra, dec):
    from math import cos, radians

    for step, fields in ((0.4, 1), (0.6, 2)):
        east = step * SIDE / cos(radians(dec))
        found = fields_of(recipe, pointed(0, dec, (ra - 0.5 * east) % 360), pointed(1, dec, (ra + 0.5 * east) % 360))
        assert len(found) == fields, step


def test_a_frame_without_a_pointing_goes_with_the_next_in_time(recipe):
    nan = float("nan")
    night = [pointed(0), pointed(1), pointed(2, ra=nan, dec=nan), pointed(10, 20.0), pointed(9, ra=nan, dec=nan)]
    assert fields_of(recipe, *night) == {"M_67": ["0", "1", "2"], "M_67-2": ["9", "10"]}
    blind = [pointed(n, ra=nan, dec=nan) for n in range(3)]
    assert fields_of(recipe, *blind) == {"M_67": ["0", "1", "2"]}
    assert fields_of(recipe, *(pointed(n, 10.0 * n, scale=nan) for n in range(3))) == {"M_67": ["0", "1", "2"]}


def skies_of(recipe, *frames):
    """Names of the fields on each sky."""
    skies = {}
    for field in make_plan(recipe(), Frames(frames)).fields:
        skies.setdefault(field.sky, set()).add(field.name)
    return skies


def test_detectors_that_look_at_one_target_share_a_sky(recipe):
    night = [pointed(n, detector=d, exposure=f"e{n}") for n in range(2) for d in ("C1", "C2", "C3")]
    assert skies_of(recipe, *night) == {"M_67": {"M_67-C1", "M_67-C2", "M_67-C3"}}
    turns = [pointed(n, detector=f"C{n}") for n in range(2)]
    assert skies_of(recipe, *turns) == {"M_67": {"M_67-C0", "M_67-C1"}}


def test_pointings_decide_over_names_where_they_are_known(recipe):
    nan = float("nan")
    other = {"detector": "C2", "exposure": "e0"}
    one = pointed(0, detector="C1", exposure="e0")
    assert len(skies_of(recipe, one, pointed(0, 10.0 + 0.6 * SIDE, **other))) == 1
    assert len(skies_of(recipe, one, pointed(0, 10.0 + 0.7 * SIDE, **other))) == 2
    assert len(skies_of(recipe, one, pointed(0, target="field of C2", **other))) == 1
    assert len(skies_of(recipe, one, pointed(0, ra=nan, dec=nan, **other))) == 1
    assert len(skies_of(recipe, one, pointed(0, ra=nan, dec=nan, **other | {"target": "x"}))) == 2
    assert len(skies_of(recipe, one, pointed(0, target="x", detector="C2", exposure="later"))) == 2


def test_frames_without_a_name_are_of_one_sky_only_if_they_were_exposed_at_once(recipe):
    nan = float("nan")
    blind = {"target": "", "ra": nan, "dec": nan}
    pair = [pointed(0, detector=d, **blind) for d in ("C1", "C2")]
    assert skies_of(recipe, *pair) == {"field": {"field-C1"}, "field-2": {"field-C2"}}
    assert skies_of(recipe, *(f.replace(exposure="e0") for f in pair)) == {"field": {"field-C1", "field-C2"}}


def test_each_pointing_is_a_sky_of_its_own(recipe):
    night = [
        pointed(n, 10.0 + (SIDE if n % 2 else 0.0), detector=d, exposure=f"e{n}")
        for n in range(4)
        for d in ("C1", "C2")
    ]
    assert skies_of(recipe, *night) == {"M_67": {"M_67-C1", "M_67-C2"}, "M_67-2": {"M_67-C1-2", "M_67-C2-2"}}


def test_of_several_skies_under_one_name_a_target_belongs_where_it_is(recipe):
    night = [pointed(n, 10.0 + (3.0 * SIDE if n % 2 else 0.0)) for n in range(4)]
    skies = [[field] for field in make_plan(recipe(), Frames(night)).fields]
    by_place = Target(name="M 67", ra=30.0, dec=10.0 + 3.0 * SIDE)
    by_pixels = Target(name="m 67", x=1.0, y=2.0)
    by_frame = Target(name="M 67", x=1.0, y=2.0, frame="3")
    nowhere = Target(name="M 31", x=1.0, y=2.0)
    assert share_targets([by_place, by_pixels, by_frame, nowhere], skies) == [[by_pixels], [by_place, by_frame]]
    assert share_targets([nowhere], [[skies[0][0], skies[1][0]]]) == [[nowhere]]


def test_the_reference_is_looked_for_from_the_middle_outwards_in_the_commonest_filter(recipe):
    frames = [f for i in range(5) for f in (*some("science", 1, 60000 + i, exptime=float(i)),)]
    frames += some("science", 2, 60002, filter="V") + [
        f.replace(mid=float("nan")) for f in some("science", 1, exptime=9.0)
    ]
    (field,) = make_plan(recipe(), Frames(frames)).fields
    assert names(field.candidates) == [
        "science-2.0-0",
        "science-1.0-0",
        "science-3.0-0",
        "science-0.0-0",
        "science-4.0-0",
        "science-9.0-0",
        "science-V-0",
        "science-V-1",
    ]


def test_a_frame_is_found_by_name_file_and_either_packed_or_not():
    frames = Frames([Frame("/a/b/one.fits.fz", name="b/one.fits.fz"), Frame("/a/b/two.fits", name="b/two.fits:2")])
    for name in ("b/one.fits.fz", "one.fits.fz", "one.fits", "b/one.fits", "one.fits.gz"):
        assert find_frame(name, frames) is frames[0], name
    assert find_frame("two.fits", frames) is frames[1]
    assert find_frame("b/two.fits:2", frames) is frames[1]
    assert find_frame("three.fits", frames) is None


def field_of(target, **facts):
    frames = Frames(some("science", 2, target=target, **facts))
    return FieldPlan(target, target, "", frames, frames)


def test_targets_belong_where_their_frame_name_or_position_is():
    here = field_of("WASP-12", ra=97.6, dec=29.7, scale=1.0)
    there = field_of("M 67", ra=132.8, dec=11.8, scale=1.0)
    blind = field_of("unknown")
    by_frame = Target(name="a", x=1, y=2, frame="science-WASP-12-97.6-29.7-1.0-1")
    by_name = Target(name="wasp-12", x=1, y=2)
    by_place = Target(name="b", ra=97.603, dec=29.703)
    elsewhere = Target(name="c", ra=10, dec=10)
    targets = [by_frame, by_name, by_place, elsewhere]
    assert targets_in(targets, here, alone=False) == [by_frame, by_name, by_place]
    assert targets_in(targets, there, alone=False) == []
    # Where nobody knows what the telescope pointed at, coordinates may be anywhere.
    assert targets_in(targets, blind, alone=False) == [by_place, elsewhere]
    assert targets_in(targets, here, alone=True) == targets
    # Across the meridian of right ascension zero.
    north = field_of("x", ra=359.999, dec=80.0, scale=1.0)
    assert targets_in([Target(name="d", ra=0.004, dec=80.0)], north, alone=False)


def test_safe_names_read_like_the_original():
    assert [safe_name(n) for n in ("WASP-12 b", "a/b\\c", "..", " x ", "", "\u03b1 Cen")] == [
        "WASP-12_b",
        "a_b_c",
        "unnamed",
        "x",
        "unnamed",
        "Cen",
    ]
