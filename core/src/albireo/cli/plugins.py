"""``albireo plugins``."""

from __future__ import annotations

import difflib
from argparse import Namespace

from albireo.cli.common import complain, terminal
from albireo.registry import Registry
from albireo.roles import ROLES


def command(options: Namespace) -> int:
    """List stages by role, then what cannot be used."""
    from rich.table import Table

    if options.role is not None and options.role not in ROLES:
        near = difflib.get_close_matches(options.role, ROLES, 1)
        complain(
            f"there is no role {options.role!r}; roles are {', '.join(ROLES)}" + (f" ({near[0]}?)" if near else "")
        )
        return 2
    registry = Registry.discover()
    console = terminal()
    for role in ROLES.values():
        entries = registry.entries(role.name)
        if not entries or options.role not in (None, role.name):
            continue
        brackets = f"[[{role.table}]]" if role.several else f"[{role.table}]"
        console.print(f"{role.name}  {brackets}", markup=False, style="bold")
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(ratio=1)
        table.add_column(no_wrap=True, style="dim")
        for entry in entries:
            table.add_row(f"  {entry.name}", entry.cls.summary(), str(entry.provider))
        console.print(table)
    for broken in registry.broken:
        what = f" ({broken.role} {broken.name})" if broken.role else ""
        console.print(f"cannot be used: {broken.provider}{what}: {broken.reason}", markup=False)
    return 0
