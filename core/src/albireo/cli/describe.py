"""``albireo describe``."""

from __future__ import annotations

import inspect
from argparse import Namespace

from albireo.cli.common import complain
from albireo.registry import Registry, RegistryError
from albireo.roles import ROLES
from albireo.schema import option_rows


def command(options: Namespace) -> int:
    """Show one stage with its options."""
    from rich.console import Console
    from rich.table import Table

    if options.role not in ROLES:
        complain(f"there is no role {options.role!r}; roles are {', '.join(ROLES)}")
        return 2
    try:
        entry = Registry.discover().get(options.role, options.name)
    except RegistryError as error:
        complain(str(error))
        return 2
    console = Console(highlight=False)
    role = ROLES[entry.role]
    brackets = f"[[{role.table}]]" if role.several else f"[{role.table}]"
    console.print(f'{brackets} use = "{entry.name}"    ({entry.role}, from {entry.provider})\n', markup=False)
    console.print(inspect.cleandoc(entry.cls.__doc__ or ""), markup=False)
    console.print()
    table = Table("option", "type", "default", "unit", "meaning")
    for row in option_rows(entry.cls):
        table.add_row(row.name, row.kind, row.default, row.unit, row.description)
    console.print(table if table.rows else "(no options)")
    for word, terms in (("needs", entry.cls.needs), ("provides", entry.cls.provides)):
        if terms:
            console.print(f"{word}: {', '.join(sorted(terms))}", markup=False)
    for citation in entry.cls.citations:
        console.print(f"cite: {citation}", markup=False)
    return 0
