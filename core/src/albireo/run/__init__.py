"""The engine: what to do next, and what is done already.

A run goes through these rooms in order: `ingest` turns files into frames, `select` says which take part,
`albireo.plan` what is to be done with them; `masters`, `fields` and `science` do what is not done yet, and `outputs`
writes what a person reads. `state` is what they hand on; `engine` is the order.
"""

from albireo.run.engine import RunOutcome, plan_run, run
from albireo.run.folder import RunError
from albireo.run.state import Watch

__all__ = ["RunError", "RunOutcome", "Watch", "plan_run", "run"]
