"""The ledger is a small table of every landed file that was loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from featurelib.pipeline.context import Context, Surroundings
from featurelib.pipeline.schemas import struct
from featurelib.tables import Run, published, rows_of

LEDGER = struct(
    table="string", name="string", day="date", bytes="long", sha256="string", rows="long", _run_id="string"
)


def ledger_rows(context: Surroundings) -> list[dict[str, Any]]:
    """Return the ledger: one row a landed file that was loaded, none before the first load."""
    if context.names.files not in published(context.store):
        return []
    return rows_of(context.store, context.names.files)


def loaded_sizes(context: Surroundings) -> dict[str, dict[str, int]]:
    """Return, by table, the loaded files and their size in bytes."""
    found: dict[str, dict[str, int]] = {}
    for row in ledger_rows(context):
        found.setdefault(row["table"], {})[row["name"]] = row["bytes"]
    return found


def loaded_days(context: Surroundings, tables: Iterable[str]) -> dict[str, set[date]]:
    """Return the loaded days of each of the tables."""
    days: dict[str, set[date]] = {name: set() for name in tables}
    for row in ledger_rows(context):
        if row["table"] in days:
            days[row["table"]].add(row["day"])
    return days


def write_ledger(context: Context, run: Run, looks: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Add the inspected files of each table to the ledger, as part of the run that loads them."""
    rows = [
        {**{column: look[column] for column in ("name", "day", "bytes", "sha256", "rows")}, "table": table}
        for table, files in looks.items()
        for look in files
    ]
    run.create(context.names.files, LEDGER, description="Every landed file that was loaded.")
    run.append_rows([{**row, "_run_id": run.run_id} for row in rows], context.names.files)
