"""``albireo certify``."""

from __future__ import annotations

from argparse import Namespace

import tomli
from pydantic import ValidationError

from albireo.cli.common import complain, in_words
from albireo.registry import Registry, RegistryError
from albireo.roles import ROLES


def command(options: Namespace) -> int:
    """Run the conformance kit on an installed stage."""
    from albireo.testing.conformance import certify

    if options.role not in ROLES:
        complain(f"there is no role {options.role!r}; roles are {', '.join(ROLES)}")
        return 2
    try:
        cls = Registry.discover().get(options.role, options.name).cls
    except RegistryError as error:
        complain(str(error))
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
    report = certify(stage)
    print(report)
    return 0 if report.passed else 1
