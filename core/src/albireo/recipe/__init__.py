"""From a TOML text to checked stages.

A recipe has one table for each role (an array of tables where several stages make sense); ``use`` picks the plugin and
the other keys are its options. A few tables belong to the core: ``[recipe]``, ``[data]``, ``[catalogue]``,
``[output]`` and ``[[targets]]``. Reading a recipe reports everything that is wrong with it at once, each with the file
and the line, and touches nothing.
"""

from albireo.recipe.checked import Problem, Recipe, RecipeError
from albireo.recipe.reader import TERMS
from albireo.recipe.tables import (
    CatalogueOptions,
    DataOptions,
    LibraryOptions,
    OutputOptions,
    Place,
    RecipeOptions,
    Target,
)

__all__ = [
    "TERMS",
    "CatalogueOptions",
    "DataOptions",
    "LibraryOptions",
    "OutputOptions",
    "Place",
    "Problem",
    "Recipe",
    "RecipeError",
    "RecipeOptions",
    "Target",
]
