"""``albireo new``."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from albireo.cli.common import complain


def command(options: Namespace) -> int:
    """Write a package for a plugin."""
    from albireo.scaffold import new

    folder: Path = options.out or Path()
    try:
        paths = new(options.role, options.name, folder)
    except (ValueError, OSError) as error:
        complain(str(error))
        return 2
    for path in paths:
        print(path)
    return 0
