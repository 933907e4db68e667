"""``albireo schema``."""

from __future__ import annotations

import json
from argparse import Namespace

from albireo.registry import Registry
from albireo.schema import recipe_schema


def command(options: Namespace) -> int:
    """Print a JSON Schema of recipes."""
    del options
    print(json.dumps(recipe_schema(Registry.discover()), indent=1))
    return 0
