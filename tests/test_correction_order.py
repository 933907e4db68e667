"""Corrections in an order that cannot be right are refused when a recipe is read."""

from __future__ import annotations

import pytest

from albireo import Recipe, RecipeError


def problems(*corrections: str) -> list[str]:
    text = '[instrument]\nuse = "lmi"\n'
    for kind in ("bias", "dark", "flat", "sky"):
        text += f'[[masters]]\nuse = "combine"\nkind = "{kind}"\n'
    text += "".join(f'[[corrections]]\nuse = "{name}"\n' for name in corrections)
    try:
        Recipe.parse(text, "night.toml")
    except RecipeError as error:
        return [line.partition(": ")[2] for line in str(error).split("\n")]
    return []


@pytest.mark.parametrize(
    "order",
    [
        ("overscan", "trim", "bias", "linearity", "dark", "gain", "flat", "sky", "hot"),
        ("overscan", "trim", "linearity", "gain", "dark-current", "flat", "hot"),
        ("bias", "linearity", "flat", "gain"),
    ],
)
def test_a_right_order_is_accepted(order: tuple[str, ...]) -> None:
    assert problems(*order) == []


def test_linearity_comes_before_what_scales_the_counts() -> None:
    for other, leaves in (
        ("flat", "the image flat-fielded"),
        ("gain", "an image in electrons"),
        ("dark", "the dark current subtracted"),
    ):
        assert problems("overscan", "trim", other, "linearity") == [
            f"[[corrections]] linearity: it comes too late: {other!r} before it leaves {leaves}; "
            f"put it before {other!r}"
        ]
    assert "it needs the electronic pedestal subtracted" in problems("linearity")[0]


def test_the_dark_current_is_subtracted_once() -> None:
    for first, second in (("dark", "dark-current"), ("dark-current", "dark")):
        assert problems("overscan", "trim", "gain", first, second) == [
            f"[[corrections]] {second}: it comes too late: {first!r} before it leaves the dark current subtracted; "
            "leave one of the two out"
        ]
    assert problems("overscan", "dark", "dark") == [
        "[[corrections]] dark: it comes too late: 'dark' before it leaves the dark current subtracted; once is enough"
    ]


def test_the_sky_comes_after_the_flat_and_the_overscan_before_the_trim() -> None:
    assert problems("overscan", "trim", "sky", "flat") == [
        "[[corrections]] sky: it needs the image flat-fielded; add corrections 'flat' before it"
    ]
    assert problems("trim", "overscan") == [
        "[[corrections]] overscan: it comes too late: 'trim' before it leaves the overscan trimmed off; "
        "put it before 'trim'"
    ]
