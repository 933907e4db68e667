"""``albireo certify``."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import tomli
from pydantic import ValidationError

from albireo.cli.common import complain, in_words
from albireo.recipe import DataOptions
from albireo.registry import Registry, RegistryError
from albireo.roles import ROLES, Instrument
from albireo.run.ingest import raw_files


def command(options: Namespace) -> int:
    """Run the conformance kit on an installed stage."""
    from albireo.testing.conformance import certify, certify_samples

    if options.role not in ROLES:
        complain(f"there is no role {options.role!r}; roles are {', '.join(ROLES)}")
        return 2
    try:
        cls = Registry.discover().get(options.role, options.name).cls
    except RegistryError as error:
        complain(str(error))
        return 2
    files = _samples(options)
    if files is None:
        return 2
    values = {}
    for setting in options.settings:
        key, _, raw = setting.partition("=")
        try:
            values[key] = tomli.loads(f"value = {raw}")["value"]
        except tomli.TOMLDecodeError:
            values[key] = raw
    try:
        stage = cls.model_validate(values)
    except ValidationError as error:
        complain(f"{in_words(error)}; give options with --set NAME=VALUE")
        return 2
    reports = [certify(stage)]
    if files:
        assert isinstance(stage, Instrument)
        reports.append(certify_samples(stage, files))
    for report in reports:
        print(report)
    return 0 if all(report.passed for report in reports) else 1


def _samples(options: Namespace) -> list[Path] | None:
    """Find the sample files of a call; complain and give None where it is wrong."""
    if options.samples and options.role != "instrument":
        complain(f"a {options.role} has no samples; only an instrument is certified on files")
        return None
    files: list[Path] = []
    for place in options.samples:
        if not place.exists():
            complain(f"there is no {place}")
            return None
        found = raw_files(DataOptions(), place.resolve())
        if not found:
            complain(f"there are no FITS files in {place}")
            return None
        files += found
    return files
