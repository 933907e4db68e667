"""``albireo init``."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from albireo.cli.common import complain
from albireo.registry import Registry, RegistryError
from albireo.roles import Instrument


def command(options: Namespace) -> int:
    """Write a recipe for a camera to start from."""
    from albireo.scaffold import init

    try:
        entry = Registry.discover().get("instrument", options.instrument)
    except RegistryError as error:
        complain(str(error))
        return 2
    assert issubclass(entry.cls, Instrument)
    path: Path = options.out or Path(f"{entry.name}.toml")
    if path.exists():
        complain(f"{path} exists already; give another file with --out")
        return 2
    try:
        path.write_text(init(entry.cls), encoding="utf-8")
    except OSError as error:
        complain(f"{path} cannot be written: {error.strerror}")
        return 2
    print(f"{path}: edit it, then: albireo check {path}")
    return 0
