"""``albireo describe``."""

from __future__ import annotations

import inspect
import re
import textwrap
from argparse import Namespace

from albireo.cli.common import complain
from albireo.registry import Registry, RegistryError
from albireo.roles import ROLES, Stage
from albireo.schema import option_rows


def command(options: Namespace) -> int:
    """Show one stage with its options."""
    if options.role not in ROLES:
        complain(f"there is no role {options.role!r}; roles are {', '.join(ROLES)}")
        return 2
    try:
        entry = Registry.discover().get(options.role, options.name)
    except RegistryError as error:
        complain(str(error))
        return 2
    role = ROLES[entry.role]
    brackets = f"[[{role.table}]]" if role.several else f"[{role.table}]"
    print(f'{brackets} use = "{entry.name}"    ({entry.role}, from {entry.provider})\n')
    print(_text(entry.cls), end="\n\n")
    rows = option_rows(entry.cls)
    print("options:" if rows else "no options")
    for row in rows:
        facts = ", ".join(text for text in (row.kind, row.unit) if text)
        default = "required" if row.default == "(required)" else f"default {row.default}"
        print(f"  {row.name}  ({facts}; {default})" if facts else f"  {row.name}  ({default})")
        print(textwrap.fill(row.description, 100, initial_indent=" " * 6, subsequent_indent=" " * 6))
    for word, terms in (
        ("needs", entry.cls.needs),
        ("comes before", entry.cls.excludes - entry.cls.provides),
        ("provides", entry.cls.provides),
    ):
        if terms:
            print(f"{word}: {', '.join(sorted(terms))}")
    for citation in entry.cls.citations:
        print(f"cite: {citation}")
    return 0


def _text(cls: type[Stage]) -> str:
    """Give the docstring up to its examples, which are for notebooks."""
    text = inspect.cleandoc(cls.__doc__ or "")
    return re.split(r"\n\n(?:Examples|Notes|Parameters)\n-+\n", text)[0]
