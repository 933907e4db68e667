"""``albireo plugins``."""

from __future__ import annotations

import difflib
from argparse import Namespace

from albireo.cli.common import complain
from albireo.registry import Registry
from albireo.roles import ROLES


def command(options: Namespace) -> int:
    """List stages by role, then what cannot be used."""
    from rich.console import Console
    from rich.table import Table

    if options.role is not None and options.role not in ROLES:
        near = difflib.get_close_matches(options.role, ROLES, 1)
        complain(
            f"there is no role {options.role!r}; roles are {', '.join(ROLES)}" + (f" ({near[0]}?)" if near else "")
        )
        return 2
    registry = Registry.discover()
    table = Table("role", "table", "use", "what it does", "from")
    for entry in registry.entries(options.role):
        role = ROLES[entry.role]
        brackets = f"[[{role.table}]]" if role.several else f"[{role.table}]"
        table.add_row(entry.role, brackets.replace("[", "\\["), entry.name, entry.cls.summary(), str(entry.provider))
    console = Console(highlight=False)
    console.print(table)
    for broken in registry.broken:
        what = f" ({broken.role} {broken.name})" if broken.role else ""
        console.print(f"cannot be used: {broken.provider}{what}: {broken.reason}", markup=False)
    return 0
