"""The engine: what to do next, and what is done already.

A run goes through these rooms in order: `ingest` turns files into frames, selectors and `albireo.plan` decide what
is to be done with them, `engine` does what is not done yet, and `tables` writes what a person reads.
"""

from albireo.run.engine import RunError, RunOutcome, Watch, plan_run, run

__all__ = ["RunError", "RunOutcome", "Watch", "plan_run", "run"]
