"""``albireo new``."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from albireo.cli.common import complain, listing, terminal

if TYPE_CHECKING:
    from rich.console import Console

    from albireo.survey import Survey

COLOURS = {"measured": "green", "header": "green", "inferred": "", "unverified": "yellow", "unknown": "red"}


def command(options: Namespace) -> int:
    """Write a package for a plugin, or for a camera from its sample files."""
    from albireo.scaffold import new

    folder: Path = options.out or Path()
    try:
        if options.samples is not None:
            return _from_samples(options, folder)
        paths = new(options.role, options.name, folder)
    except (ValueError, OSError) as error:
        complain(str(error))
        return 2
    for path in paths:
        print(path)
    return 0


def _from_samples(options: Namespace, folder: Path) -> int:
    from albireo.scaffold import check_place, new_camera
    from albireo.survey import survey

    if options.role != "instrument":
        complain(f"--from makes an instrument from sample files; a {options.role} is made without it")
        return 2
    top = check_place(options.name, folder)  # before the samples are read, which takes time
    found = survey(options.samples)
    paths = new_camera(options.name, found, folder)
    console = terminal()
    _show(console, options.name, found)
    for path in paths:
        print(path)
    if found.unknown:
        console.print(
            f"\nUnknown: {', '.join(finding.quantity for finding in found.unknown)}. Give what you know in {paths[0]}"
        )
    console.print("\nNext:")
    console.print(f"  albireo inspect {options.samples} --definition {paths[0]}", soft_wrap=True)
    console.print(f'  python -m pip install -e "{top}[test]" && python -m pytest {top}', soft_wrap=True)
    console.print(f"  albireo init --instrument {options.name}")
    return 0


def _show(console: Console, name: str, found: Survey) -> None:
    from rich.text import Text

    from albireo.survey import plural

    table = listing(
        "quantity", "value", "how found", "how sure", title=f"{name}, by {plural(len(found.samples), 'sample file')}"
    )
    for finding in found.findings:
        how = finding.how + "".join(f"\nnot {other}" for other in finding.others[:4])
        sure = Text(finding.certainty, style=COLOURS[finding.certainty])
        table.add_row(finding.quantity, finding.value, how, sure)
    console.print(table)
    for remark in found.remarks[:10]:
        console.print(f"note: {remark}")
    if len(found.remarks) > 10:
        console.print(f"note: {len(found.remarks) - 10} more remarks stand in the README")
    console.print()
