"""Write the versions that are known to work into the root pyproject, as ``constraint-dependencies``.

The lock file of uv names the index it was made with, so it is not kept in version control. These constraints take its
place: one exact version of every library, for every Python that Albireo supports, and no host.

    python tools/refresh_constraints.py [--keep]

resolves anew and takes the newest versions (``--keep``: changes nothing that is constrained already, and adds what is
missing). Run the tests before you commit what it wrote.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
_TABLE = re.compile(r"^constraint-dependencies = \[.*?\]$", re.MULTILINE | re.DOTALL)
_PIN = re.compile(r"^[a-z0-9][a-z0-9._-]*==\S+( ; .+)?$")


def constraints(exported: str) -> list[str]:
    """Pick the pins out of what ``uv export`` printed.

    Parameters
    ----------
    exported : str
        Requirements, one a line, with environment markers where a version holds only for some of them.

    Returns
    -------
    list of str
        In the order of the names.

    Raises
    ------
    ValueError
        If a line is no exact pin, for example an address.
    """
    lines = [line.strip() for line in exported.splitlines() if line.strip() and not line.startswith("#")]
    strange = [line for line in lines if not _PIN.match(line)]
    if strange:
        raise ValueError(f"not a version to pin: {', '.join(strange)}")
    return sorted(lines)


def with_constraints(pyproject: str, pins: list[str]) -> str:
    """Put the pins into the text of a pyproject, in the place of those it has."""
    body = "".join(f'    "{pin}",\n' for pin in (pin.replace('"', "'") for pin in pins))
    text, count = _TABLE.subn(lambda _: f"constraint-dependencies = [\n{body}]", pyproject)
    if count != 1:
        raise ValueError("the pyproject needs one 'constraint-dependencies = [...]' under [tool.uv]")
    return text


def main(arguments: list[str]) -> None:
    """Resolve, and rewrite the pyproject; it is left as it was if the resolution fails."""
    before = PYPROJECT.read_text(encoding="utf-8")
    uv = [sys.executable, "-m", "uv"]
    export = [*uv, "export", "--quiet", "--all-groups", "--all-packages", "--no-hashes", "--no-emit-workspace"]
    export += ["--no-annotate", "--no-header"]
    try:
        if "--keep" not in arguments:
            PYPROJECT.write_text(with_constraints(before, []), encoding="utf-8")
            subprocess.run([*uv, "lock", "--upgrade"], cwd=PYPROJECT.parent, check=True)
        exported = subprocess.run(export, cwd=PYPROJECT.parent, check=True, capture_output=True, text=True)
        pins = constraints(exported.stdout)
    except BaseException:
        PYPROJECT.write_text(before, encoding="utf-8")
        raise
    PYPROJECT.write_text(with_constraints(before, pins), encoding="utf-8")
    print(f"{len(pins)} versions written to {PYPROJECT.name}")


if __name__ == "__main__":
    main(sys.argv[1:])
