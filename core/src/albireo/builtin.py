"""What the core itself provides, registered like any other plugin: the executors."""

from __future__ import annotations

from collections.abc import Iterable

from albireo.executors import Processes, Serial
from albireo.hookspecs import hookimpl
from albireo.roles import Executor


@hookimpl
def executors() -> Iterable[type[Executor]]:
    """Yield the executors of the core."""
    yield Serial
    yield Processes
