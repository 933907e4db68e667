"""Write what a person reads, if anything has changed: tables, curves, reports."""

from __future__ import annotations

import logging
from pathlib import Path

from albireo.registry import Registry
from albireo.results import Results
from albireo.roles import Report
from albireo.run.science import load_numbers
from albireo.run.state import RunState
from albireo.store import key_of, stage_key

__all__ = ["outputs_key", "up_to_date", "write_outputs"]

log = logging.getLogger("albireo")


def outputs_key(run: RunState) -> str:
    """Key of everything that is written at the end of a run."""
    return key_of(
        "outputs",
        run.recipe.to_toml(),
        Registry.discover().versions(),
        sorted((name, f.fate, f.stage, f.reason) for name, f in run.fates.items()),
        sorted((name, path.stem) for name, path in run.measured.items()),
        sorted(run.master_keys.items()),
        [(stack["path"], stack["key"]) for stack in run.stacks],
        str(run.root),
        [stage_key(stage) for stage in (*run.recipe.curves, *run.recipe.reports)],
        [state.catalogue_key for state in run.fields],
    )


def up_to_date(run: RunState, key: str) -> bool:
    """Whether all of it is there already."""
    note = run.index.note(key) if run.index.has(key) else {}
    return note.get("problems") == [] and all((run.out / name).exists() for name in note["files"])


def write_outputs(run: RunState, key: str) -> None:
    """Write tables, curves and reports, and remember them."""
    from albireo.run.tables import write_tables

    # Until the last of them is written, they are neither the old ones nor the new.
    run.index.forget(run.out / "run.json")
    load_numbers(run)
    with run.timed("tables"):
        run.watch.stage("writing tables and curves", 1)
        files = write_tables(run)
        run.watch.advance()
    reports: list[str] = []
    results = Results(run.out)
    with run.timed("reports"):
        run.watch.stage("writing reports", len(run.recipe.reports))
        for report in run.recipe.reports:
            reports += [str(path.relative_to(run.out)) for path in _report(run, report, results)]
            run.watch.advance()
    note = {"files": [*files, *reports], "reports": reports, "warnings": run.warnings, "problems": run.problems}
    run.index.save_product(key, run.out / "run.json", note)
    run.tell("run_finished", run=results)


def _report(run: RunState, report: Report, results: Results) -> list[Path]:
    """Write one report; a defect in it costs the report, not the run."""
    folder = run.out / "report"
    folder.mkdir(exist_ok=True)
    try:
        return report.write(results, folder)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        log.exception("report %s", report.name)
        run.fail(f"the report {report.name!r} could not be written: {type(error).__name__}: {error} (see run.log)")
        return []
