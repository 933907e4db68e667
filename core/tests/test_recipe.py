"""From a TOML text to checked stages, and everything that can be wrong with one."""

import math
import types
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, field_validator, model_validator

from albireo import (
    Aligner,
    BackgroundEstimator,
    Correction,
    CurveStep,
    Finder,
    MasterBuilder,
    Photometer,
    Recipe,
    RecipeError,
    Registry,
    Report,
    builtin,
    hookimpl,
)
from albireo.registry import Provider
from albireo.testing import PlainCamera

# --- a small world of stages ------------------------------------------------------------------------------------------


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Mean(MasterBuilder, name="mean"):
    """Does nothing."""

    def build(self, stack):
        raise NotImplementedError


class Step(Correction, name="step"):
    """Does nothing."""

    def correct(self, image, frame, masters):
        return image


class Overscan(Step, name="overscan"):
    """Says that it subtracts the pedestal."""

    provides = frozenset({"pedestal"})
    order: int = Field(1, ge=0, le=5, description="Order of the polynomial.")


class Gain(Step, name="gain"):
    """Says that it makes electrons."""

    needs = frozenset({"pedestal"})
    provides = frozenset({"electron"})


class Flat(Step, name="flat"):
    """Says that it divides by a flat."""

    master = "flat"
    needs = frozenset({"pedestal"})
    provides = frozenset({"flat"})


class Sky(BackgroundEstimator, name="sky"):
    """Does nothing."""

    def estimate(self, image):
        raise NotImplementedError


class Find(Finder, name="find"):
    """Does nothing."""

    def find(self, image, background):
        raise NotImplementedError


class Align(Aligner, name="align"):
    """Does nothing."""

    def align(self, sources, reference):
        raise NotImplementedError


class Aperture(Photometer, name="aperture"):
    """Does nothing."""

    needs = frozenset({"electron", "background"})
    radius: float | list[float] = Field(3.0, description="Radius.", json_schema_extra={"unit": "pixel"})
    inner: float = Field(8.0, gt=0, description="Inner radius of the sky.")
    outer: float = Field(12.0, gt=0, description="Outer radius of the sky.")

    @model_validator(mode="after")
    def _order(self):
        if self.outer <= self.inner:
            raise ValueError(f"the outer radius {self.outer:g} must be larger than the inner {self.inner:g}")
        return self

    def measure(self, image, sources, sky, psf):
        raise NotImplementedError


class Everything(Photometer, name="everything"):
    """Has an option of every kind."""

    text: str = Field("x", description="Text.")
    number: float = Field(1.0, description="Number.")
    count: int = Field(1, description="Whole number.")
    yes: bool = Field(True, description="Switch.")
    maybe: float | None = Field(None, description="May be left out.")
    several: list[float] = Field([], description="List.")
    pair: tuple[int, str] = Field((1, "a"), description="Pair.")
    names: frozenset[str] = Field(frozenset(), description="Set.")
    table: dict[str, float] = Field({}, description="Table.")
    choice: Literal["a", "b"] = Field("a", description="Choice.")
    colour: Colour = Field(Colour.RED, description="Colour.")
    place: Path = Field(Path("x"), description="Path.")

    def measure(self, image, sources, sky, psf):
        raise NotImplementedError


class Needy(Photometer, name="needy"):
    """Has an option without a default, and a check that breaks."""

    wanted: float = Field(description="What it cannot do without.")

    @field_validator("wanted")
    @classmethod
    def _check(cls, value):
        if value == 13:
            raise KeyError("a defect")
        return value

    def measure(self, image, sources, sky, psf):
        raise NotImplementedError


class Ensemble(CurveStep, name="ensemble"):
    """Does nothing."""

    def apply(self, curves):
        return curves


class Page(Report, name="page"):
    """Does nothing."""

    def write(self, run, folder):
        return []


def hook(offered):
    @hookimpl
    def function():
        return offered

    return function


def plugin(name, **classes):
    module = types.ModuleType(name)
    for role, offered in classes.items():
        setattr(module, role, hook(offered))
    return module


@pytest.fixture(scope="module")
def registry():
    made = Registry()
    made.add(builtin, Provider("albireo-core", "0.1", "core"))
    made.add(
        plugin(
            "albireo_small",
            instruments=[PlainCamera],
            masters=[Mean],
            corrections=[Overscan, Gain, Flat],
            backgrounds=[Sky],
            finders=[Find],
            aligners=[Align],
            photometers=[Aperture, Everything, Needy],
            curve_steps=[Ensemble],
            reports=[Page],
        ),
        Provider("albireo-small", "1.0", "small"),
    )
    assert not made.broken
    return made


GOOD = """\
[instrument]
use = "plain-camera"
[[masters]]
use = "mean"
kind = "flat"
[[corrections]]
use = "overscan"
[[corrections]]
use = "gain"
[[corrections]]
use = "flat"
[background]
use = "sky"
[finding]
use = "find"
[alignment]
use = "align"
[[photometry]]
use = "aperture"
radius = [3, 4]
[[curves]]
use = "ensemble"
[[reports]]
use = "page"
"""
CAMERA = '[instrument]\nuse = "plain-camera"\n'
MEASURE = """\
[[corrections]]
use = "overscan"
[[corrections]]
use = "gain"
[background]
use = "sky"
[finding]
use = "find"
[alignment]
use = "align"
"""


@pytest.fixture
def wrong(registry):
    """Give the lines of the message about a recipe."""

    def read(text, *settings):
        with pytest.raises(RecipeError) as caught:
            Recipe.parse(text, "night.toml", settings, registry)
        return str(caught.value).split("\n")

    return read


# --- good recipes -----------------------------------------------------------------------------------------------------


def test_a_good_recipe_gives_configured_stages_in_order(registry):
    recipe = Recipe.parse(GOOD, "folder/night.toml", registry=registry)
    assert isinstance(recipe.instrument, PlainCamera)
    assert [c.name for c in recipe.corrections] == ["overscan", "gain", "flat"]
    assert recipe.masters[0].kind == "flat"
    assert recipe.photometers == [Aperture(radius=[3.0, 4.0])]
    assert recipe.aligner == Align()
    assert recipe.folder == Path("folder")
    assert recipe.warnings == []
    assert list(recipe.stages()) == [
        *("instrument", "masters", "corrections", "background", "finding", "alignment", "photometry", "curves"),
        *("reports", "executor"),
    ]


def test_what_is_left_out_has_its_default(registry):
    recipe = Recipe.parse(CAMERA, registry=registry)
    assert recipe.executor.name == "processes"
    assert recipe.catalogue.max_sources == 200
    assert recipe.data.path == "."
    assert recipe.targets == []
    assert recipe.finder is None


def test_one_pattern_may_stand_without_brackets(registry):
    recipe = Recipe.parse(f'{CAMERA}[data]\npattern = "*.fits"\nexclude = ["bad*"]', registry=registry)
    assert recipe.data.pattern == ["*.fits"]
    assert recipe.data.exclude == ["bad*"]


def test_odd_but_workable_recipes_get_a_warning(registry):
    text = f'{CAMERA}[[masters]]\nuse = "mean"\nkind = "dark"\n[[targets]]\nname = "x"\nx = 1\ny = 2'
    assert Recipe.parse(text, registry=registry).warnings == [
        "a master dark is asked for, but no correction uses it",
        "the recipe has targets but no [[photometry]]: nothing will be measured",
    ]
    text = CAMERA + MEASURE.replace('[alignment]\nuse = "align"\n', "") + '[[photometry]]\nuse = "aperture"'
    assert Recipe.parse(text, registry=registry).warnings == [
        "no [alignment]: stars are measured at the same pixels in every frame"
    ]


def test_a_recipe_file_may_begin_with_a_byte_order_mark(registry, tmp_path):
    (tmp_path / "night.toml").write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert Recipe.read(tmp_path / "night.toml", registry=registry).finder == Find()


plain = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
options = st.fixed_dictionaries(
    {},
    optional={
        "text": plain,
        "number": st.floats(allow_nan=False),
        "count": st.integers(-(2**63), 2**63 - 1),
        "yes": st.booleans(),
        "maybe": st.none() | st.floats(allow_nan=False),
        "several": st.lists(st.floats(allow_nan=False), max_size=3),
        "pair": st.tuples(st.integers(-9, 9), plain),
        "names": st.frozensets(plain, max_size=4),
        "table": st.dictionaries(plain, st.floats(allow_nan=False), max_size=3),
        "choice": st.sampled_from("ab"),
        "colour": st.sampled_from(Colour),
        "place": st.sampled_from(["a/b", "c d"]).map(Path),
    },
)


@settings(deadline=None, max_examples=60)
@given(options, plain, st.booleans())
def test_the_resolved_recipe_gives_the_same_stages(registry, values, title, reduced):
    recipe = Recipe.parse(
        CAMERA + MEASURE + '[[photometry]]\nuse = "everything"\n[[targets]]\nname="x"\nra = "1:30:0"\ndec = -5',
        settings=[],
        registry=registry,
    )
    recipe = replace(
        recipe,
        photometers=[Everything(**values), Everything()],
        options=recipe.options.model_copy(update={"title": title}),
        output=recipe.output.model_copy(update={"reduced": reduced}),
    )
    again = Recipe.parse(recipe.to_toml(), registry=registry)
    assert again == replace(recipe, path=again.path)
    assert again.to_toml() == recipe.to_toml()


def test_infinite_and_undefined_numbers_survive(registry):
    text = (
        CAMERA + MEASURE + '[[photometry]]\nuse = "everything"\nnumber = nan\nseveral = [inf, -inf, nan]\nmaybe = inf'
    )
    again = Recipe.parse(Recipe.parse(text, registry=registry).to_toml(), registry=registry).photometers[0]
    assert math.isnan(again.number)
    assert again.several[:2] == [math.inf, -math.inf]
    assert math.isnan(again.several[2])
    assert again.maybe == math.inf


# --- --set ------------------------------------------------------------------------------------------------------------

TWO = CAMERA + MEASURE + '[[photometry]]\nuse = "aperture"\n[[photometry]]\nuse = "everything"\nnumber = 2\n'


@pytest.mark.parametrize(
    ("setting", "get", "value"),
    [
        ("photometry.aperture.radius=6", lambda r: r.photometers[0].radius, 6.0),
        ("photometry.aperture.radius=[1, 2]", lambda r: r.photometers[0].radius, [1.0, 2.0]),
        ("photometry.everything.text=plain words", lambda r: r.photometers[1].text, "plain words"),
        ("photometry.everything.text='quoted'", lambda r: r.photometers[1].text, "quoted"),
        ("photometry.everything.yes=false", lambda r: r.photometers[1].yes, False),
        ("photometry.everything.text=a=b", lambda r: r.photometers[1].text, "a=b"),
        ("recipe.title=WASP-12 b", lambda r: r.options.title, "WASP-12 b"),
        ("executor.jobs=3", lambda r: r.executor.jobs, 3),
        ("executor.use=serial", lambda r: r.executor.name, "serial"),
        (" output.reduced = true", lambda r: r.output.reduced, True),
        ("data.pattern=*.fts", lambda r: r.data.pattern, ["*.fts"]),
    ],
)
def test_options_can_be_set_from_outside(registry, setting, get, value):
    assert get(Recipe.parse(TWO, settings=[setting], registry=registry)) == value


def test_one_setting_changes_every_stage_of_its_table(registry):
    text = CAMERA + MEASURE + '[[photometry]]\nuse = "aperture"\n' * 2
    recipe = Recipe.parse(text, settings=["photometry.radius=6", "photometry.radius=7"], registry=registry)
    assert [p.radius for p in recipe.photometers] == [7.0, 7.0]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("photometry.radius", "expected table.option=value or table.stage.option=value"),
        ("radius=6", "expected table.option=value or table.stage.option=value"),
        ("a.b.c.d=6", "expected table.option=value or table.stage.option=value"),
        ("curves.x=6", "the recipe has no [[curves]] to change"),
        ("photometry.optimal.x=6", 'the recipe has no [[photometry]] with use = "optimal" to change'),
        (
            "photometry.aperture.inner=-1",
            "[[photometry]] aperture: option 'inner': input should be greater than 0, not -1",
        ),
        (
            "photometry.aperture.iner=1",
            "[[photometry]] aperture: there is no option 'iner'; did you mean 'inner'?",
        ),
        ("executor.jobs=-2", "[executor] processes: option 'jobs': input should be greater than or equal to 0, not -2"),
    ],
)
def test_a_wrong_setting_is_blamed_itself_and_no_line_of_the_file(wrong, setting, message):
    assert wrong(TWO, setting) == [f"night.toml: --set {setting}: {message}"]


def test_a_setting_of_a_table_that_does_not_exist(wrong):
    assert wrong(TWO, "photometri.radius=6") == [
        "night.toml: there is no table [photometri]; did you mean 'photometry'?"
    ]


# --- everything that is wrong, at once --------------------------------------------------------------------------------


def test_seven_mistakes_give_seven_messages_with_their_lines(wrong):
    text = """\
[recipe]
title = "seven mistakes"
requires = ["albireo-nowhere>=2"]
[instrument]
use = "plane-camera"
[dat]
path = "raw"
[[masters]]
use = "mean"
kind = "falt"
[[corrections]]
use = "overscan"
ordre = 3
[[corrections]]
use = "gain"
[background]
use = "sky"
[finding]
use = "find"
[[photometry]]
use = "aperture"
inner = [
    "8",
]
[[photometry]]
radius = 3
"""
    assert wrong(text) == [
        "night.toml:3: [recipe]: albireo-nowhere>=2 is not installed: python -m pip install 'albireo-nowhere>=2'",
        "night.toml:5: [instrument]: there is no instrument 'plane-camera'; did you mean 'plain-camera'?",
        "night.toml:6: there is no table [dat]; did you mean 'data'?",
        "night.toml:10: [[masters]] mean: kind 'falt' is none of bias, dark, flat, sky, fringe, illumination, bad",
        "night.toml:13: [[corrections]] overscan: there is no option 'ordre'; did you mean 'order'?",
        "night.toml:22: [[photometry]] aperture: option 'inner': input should be a valid number, not ['8']",
        "night.toml:25: [[photometry]]: 'use' is missing: it names the plugin; installed: aperture, everything, needy",
    ]


def test_later_mistakes_have_their_own_lines_though_an_earlier_stage_is_broken(wrong):
    text = f"""\
{CAMERA}
[[masters]]
use = "nothing"
[[masters]]
use = "mean"
kind = "bananas"
[[corrections]]
use = "overscan"
order = 99
[[corrections]]
use = "overscan"
[[corrections]]
use = "flat"
[[targets]]
name = ""
[[targets]]
name = "a"
x = 1
y = 2
[[targets]]
name = "a"
x = 3
y = 4
"""
    assert [line.split(": ", 1)[0] for line in wrong(text)] == [f"night.toml:{n}" for n in (5, 8, 11, 17, 22)]


@pytest.mark.parametrize(
    ("table", "messages"),
    [
        ("[reports]\nuse = 'page'", ["3: write [[reports]] with two brackets: there may be several"]),
        ("reports = 3", ["1: write [[reports]] with two brackets: there may be several"]),
        ("reports = [1, 2]", ["1: write [[reports]] with two brackets: there may be several"]),
        ("corrections = 3", ["1: write [[corrections]] with two brackets: there may be several"]),
        ("masters = 'mean'", ["1: write [[masters]] with two brackets: there may be several"]),
        ("targets = [1]", ["1: write [[targets]] with two brackets: there may be several"]),
        ("[targets]\nname = 'x'", ["3: write [[targets]] with two brackets: there may be several"]),
        ("[[finding]]\nuse = 'find'", ["3: a recipe has one [finding]; write it with single brackets, once"]),
        ("executor = 'serial'", ["1: a recipe has one [executor]; write it with single brackets, once"]),
        ("[[data]]\npath = 'x'", ["3: [data] is one table, not several"]),
        ("title = 'x'", ["1: there is no table [title]"]),
        ("foto.radius = 1", ["1: there is no table [foto]"]),
        ("[[reports]]\nuse = 3", ["3: [[reports]]: 'use' is missing: it names the plugin; installed: page"]),
    ],
)
def test_wrong_brackets_are_explained(wrong, table, messages):
    text = f"{table}\n{CAMERA}" if "=" in table.split("\n")[0] else f"{CAMERA}{table}\n"
    assert wrong(text) == [f"night.toml:{message}" for message in messages]
    # --set must not stumble over it either.
    name = table.strip("[").split("]")[0].split(" ")[0].split(".")[0]
    assert wrong(text, f"{name}.use=1")


def test_options_of_the_wrong_type_or_size(wrong):
    before = CAMERA + MEASURE
    no_number = "input should be a valid number, unable to parse string as a number, not 'wide'"
    line = before.count("\n") + 3
    for option, message in (
        ("inner = 0", "option 'inner': input should be greater than 0, not 0"),
        ("inner = 20", "the outer radius 12 must be larger than the inner 20"),
        ("inner = nan", "option 'inner': input should be greater than 0, not nan"),
        (
            "inner = 'wide'",
            "option 'inner': input should be a valid number, unable to parse string as a number, not 'wide'",
        ),
        (
            "radius = 'wide'",
            f"option 'radius': {no_number}; or option 'radius': input should be a valid list, not 'wide'",
        ),
        (
            "radius = [1, 'wide']",
            f"option 'radius': input should be a valid number, not [1, 'wide']; or option 'radius.1': {no_number}",
        ),
        ("bananas = 1", "there is no option 'bananas'; options are: radius, inner, outer"),
    ):
        (text,) = wrong(f'{before}[[photometry]]\nuse = "aperture"\n{option}\n')
        place, _, said = text.partition(": [[photometry]] aperture: ")
        assert said == message
        assert place in (f"night.toml:{line}", f"night.toml:{line - 2}")
    assert wrong(f'{before}[[photometry]]\nuse = "needy"\n') == [
        f"night.toml:{line - 2}: [[photometry]] needy: option 'wanted' is missing: What it cannot do without."
    ]


def test_a_check_that_breaks_is_a_problem_of_this_recipe_and_not_a_crash(wrong):
    line = (CAMERA + MEASURE).count("\n") + 1
    assert wrong(f'{CAMERA}{MEASURE}[[photometry]]\nuse = "needy"\nwanted = 13\n') == [
        f"night.toml:{line}: [[photometry]] needy: its options cannot be checked: KeyError: 'a defect'"
    ]


def test_requirements_are_checked(wrong):
    def requires(text):
        return wrong(f"{CAMERA}[recipe]\nrequires = {text}\n")

    assert requires('["albireo-core>=99"]')[0].startswith("night.toml:4: [recipe]: albireo-core>=99 is required, ")
    assert requires('["albireo-core>=99"]')[0].endswith(" is installed: python -m pip install 'albireo-core>=99'")
    assert requires('["not a name!"]') == [
        "night.toml:4: [recipe]: 'not a name!' is not a requirement such as 'albireo-lmi>=0.1'"
    ]
    assert requires('"albireo-core"') == [
        "night.toml:4: [recipe]: option 'requires': input should be a valid list, not 'albireo-core'"
    ]
    assert wrong(f'{CAMERA}[recipe]\nallow_missing = ["flats"]\n') == [
        "night.toml:4: [recipe]: option 'allow_missing': 'flats' is no kind of master; "
        "kinds are bias, dark, flat, sky, fringe, illumination, bad"
    ]


def test_a_plugin_that_is_not_installed_is_named_with_what_to_install(wrong):
    (message,) = wrong(f'{CAMERA}[[reports]]\nuse = "television"\n')
    assert message == (
        "night.toml:4: [[reports]]: there is no report 'television'; installed: page; if a package provides it, "
        "install it, for example: python -m pip install albireo-television"
    )


def test_a_broken_plugin_that_is_asked_for_is_named_with_its_error(registry):
    broken = Registry()
    broken.add(plugin("small", instruments=[PlainCamera]))
    broken.add(builtin)
    broken.add(plugin("albireo_bad", reports=[int]), Provider("albireo-bad", "2.1", "bad"))
    with pytest.raises(RecipeError) as caught:
        Recipe.parse(f'{CAMERA}[[reports]]\nuse = "int"\n', registry=broken)
    assert str(caught.value) == (
        "recipe.toml:4: [[reports]]: the report 'int' of albireo-bad 2.1 cannot be used: <class 'int'> is not a class "
        "derived from albireo.Report, which a report must be"
    )


# --- terms ------------------------------------------------------------------------------------------------------------


def test_stages_are_fitted_together(wrong):
    assert wrong(f'{CAMERA}[[corrections]]\nuse = "gain"\n[[corrections]]\nuse = "overscan"\n') == [
        "night.toml:3: [[corrections]] gain: it needs the electronic pedestal subtracted; "
        "add corrections 'overscan' before it"
    ]
    assert wrong(f'{CAMERA}[[corrections]]\nuse = "overscan"\n[[corrections]]\nuse = "flat"\n') == [
        "night.toml:5: [[corrections]] flat: it takes a master flat, and no [[masters]] makes one; add [[masters]] "
        'with use = "mean", kind = "flat"'
    ]
    assert wrong(f'{CAMERA}[[photometry]]\nuse = "aperture"\n') == [
        "night.toml:3: [[photometry]] aperture: it needs an estimate of the background; "
        "add background 'sky' to the recipe",
        "night.toml:3: [[photometry]] aperture: it needs an image in electrons; add corrections 'gain' to the recipe",
        "night.toml:3: a recipe with photometry needs a table for finding",
    ]
    assert wrong(f'{CAMERA}[finding]\nuse = "find"\n') == [
        "night.toml:3: [finding] find: it needs an estimate of the background; add background 'sky' to the recipe"
    ]
    assert wrong(f'{CAMERA}[[curves]]\nuse = "ensemble"\n') == [
        "night.toml:3: a recipe with curves needs a table for photometry"
    ]


def test_two_builders_of_one_kind(wrong):
    assert wrong(CAMERA + '[[masters]]\nuse = "mean"\nkind = "flat"\n' * 2) == [
        "night.toml:8: two [[masters]] combine the kind 'flat'"
    ]


def test_what_a_broken_stage_would_have_provided_is_not_missed_again(wrong):
    """One mistake, one message."""
    for old, new in (
        ('use = "overscan"', 'use = "overscam"'),
        ('use = "gain"', 'use = "gains"'),
        ('use = "mean"', 'use = "nothing-like-it"'),
        ('use = "sky"', 'use = "skye"'),
        ('use = "find"', 'use = "finder"'),
        ('use = "aperture"', 'use = "apertures"'),
    ):
        assert len(wrong(GOOD.replace(old, new))) == 1, new


def test_terms_that_nobody_provides_are_not_missed_while_a_plugin_is_not_installed(registry):
    small = Registry()
    small.add(builtin)
    small.add(plugin("small", instruments=[PlainCamera], backgrounds=[Sky], finders=[Find], photometers=[Aperture]))
    text = GOOD.replace('use = "overscan"', 'use = "oversea"').replace('[alignment]\nuse = "align"\n', "")
    with pytest.raises(RecipeError) as caught:
        Recipe.parse(text, registry=small)
    assert not [p.message for p in caught.value.problems if "it needs" in p.message]


# --- targets ----------------------------------------------------------------------------------------------------------


def test_targets_by_degrees_sexagesimal_and_pixels(registry):
    text = f"""{CAMERA}
[[targets]]
name = "a"
ra = "02:04:10.3"
dec = "+46:41:16"
comparisons = [{{ x = 1, y = 2 }}, {{ ra = 10.5, dec = -3 }}]
[[targets]]
name = "b"
ra = "2h 4m 10.3s"
dec = "-00d30m00s"
[[targets]]
name = "c"
ra = "31.04"
dec = -0.5
[[targets]]
name = "d"
x = 10
y = 20.5
frame = "night-001.fits"
"""
    a, b, c, d = Recipe.parse(text, registry=registry).targets
    assert a.ra == pytest.approx(15 * (2 + 4 / 60 + 10.3 / 3600), abs=1e-12)
    assert a.dec == pytest.approx(46 + 41 / 60 + 16 / 3600, abs=1e-12)
    assert [(p.x, p.y, p.ra, p.dec) for p in a.comparisons] == [(1, 2, None, None), (None, None, 10.5, -3)]
    assert b.ra == pytest.approx(a.ra, abs=1e-12)
    assert b.dec == -0.5
    assert (c.ra, c.dec) == (31.04, -0.5)
    assert (d.x, d.y, d.frame) == (10.0, 20.5, "night-001.fits")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("ra = 1", "ra and dec go together"),
        ("x = 1", "x and y go together"),
        ("", "give ra and dec, or x and y (pixels of a frame), or both"),
        ("ra = 360\ndec = 0", "option 'ra': input should be less than 360, not 360"),
        ("ra = 10\ndec = 91", "option 'dec': input should be less than or equal to 90, not 91"),
        ("ra = 'nan'\ndec = 0", "option 'ra': input should be less than 360, not nan"),
        ("x = nan\ny = 0", "option 'x': input should be a finite number, not nan"),
        (
            "ra = 'noon'\ndec = 0",
            "option 'ra': 'noon' is neither a number of degrees nor of the form 02:04:10.3",
        ),
        ("x = 1\ny = 2\ncomparisons = [{x = 3}]", "option 'comparisons.0': x and y go together"),
        ("x = 1\ny = 2\ncomparisons = [{x = 3, y = 4, z = 5}]", "there is no option 'comparisons.0.z'"),
        (
            "x = 1\ny = 2\nepoch = 2000",
            "there is no option 'epoch'; options are: ra, dec, x, y, frame, name, comparisons",
        ),
    ],
)
def test_what_is_wrong_with_a_target(wrong, target, message):
    (said,) = wrong(f'{CAMERA}[[targets]]\nname = "a"\n{target}\n')
    assert said.partition(": [[targets]] 1: ")[2] == message


def test_two_targets_of_one_name(wrong):
    target = '[[targets]]\nname = "a"\nx = 1\ny = 1\n'
    assert wrong(CAMERA + target * 2) == ["night.toml:7: two targets are called 'a'"]


# --- no recipe at all -------------------------------------------------------------------------------------------------


def test_an_empty_recipe(wrong):
    assert wrong("") == ["night.toml: a recipe needs a table [instrument] with use = one of: plain-camera"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[instrument\nuse = 1",
            "1: this is not valid TOML: Expected ']' at the end of a table declaration",
        ),
        ("a = 1\na = 2\n", "2: this is not valid TOML: Cannot overwrite a value"),
        ("a = 1\nb = [1,\n2", "3: this is not valid TOML: Unclosed array (at end of document)"),
    ],
)
def test_a_recipe_that_is_no_toml(wrong, text, message):
    assert wrong(text) == [f"night.toml:{message}"]


def test_a_recipe_that_cannot_be_read(registry, tmp_path):
    (tmp_path / "latin.toml").write_bytes(b'title = "\xe9"')
    for path, message in (
        (tmp_path / "missing.toml", "there is no such recipe"),
        (tmp_path, "this is a folder; give the recipe, a .toml file"),
        (tmp_path / "latin.toml", "the recipe cannot be read: 'utf-8' codec can't decode byte"),
    ):
        with pytest.raises(RecipeError) as caught:
            Recipe.read(path, registry=registry)
        assert str(caught.value).startswith(f"{path}: {message}")


def test_without_any_plugin_the_message_still_helps():
    with pytest.raises(RecipeError) as caught:
        Recipe.parse(CAMERA, registry=Registry())
    assert [p.message.split(";")[0] for p in caught.value.problems] == [
        "there is no executor 'processes'",
        "there is no instrument 'plain-camera'",
    ]
