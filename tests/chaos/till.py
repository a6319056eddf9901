"""The smallest pipeline with all that a real one has to lose: a load of several tables, and what follows from it.

It runs through the same runs, leases, manifests and diary as the real steps, without Spark: milliseconds a run.
What it must leave is told by a plain sum.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

from pyspark.sql.types import DoubleType, LongType, StringType, StructField, StructType

from featurelib.tables import Store, append_ops, begin_run, log, published, rows_of
from featurelib.tables.log import Stamp

DAYS = ("d1", "d2", "d3")
FILES, SALES, GOOD, TOTALS, SEEN = (
    "bronze.files",
    "bronze.sales",
    "silver.sales",
    "features.till",
    "features.seen",
)
DIARY = "ops.runs"

_FILES = StructType([StructField("day", StringType()), StructField("rows", LongType())])
_SALES = StructType(
    [StructField("day", StringType()), StructField("sale", StringType()), StructField("amount", StringType())]
)
_GOOD = StructType([*_SALES.fields[:2], StructField("amount", DoubleType())])
_TOTALS = StructType([StructField("day", StringType()), StructField("total", DoubleType())])
_SEEN = StructType([StructField("table", StringType()), StructField("version", LongType())])
DIARY_COLUMNS = StructType([StructField("run_id", StringType()), StructField("step", StringType())])

NO_SPARK = cast("Any", None)  # nothing here writes a frame
MOMENT = datetime(2024, 1, 1, tzinfo=UTC)


def sales_of(day: str) -> list[tuple[str, float]]:
    """The sales that have landed on a day."""
    return [(f"{day}-{number}", number + int(day[1:]) / 10) for number in range(4)]


def pipeline(root: str, days: Sequence[str] = DAYS) -> None:
    """Load the days that are not loaded, then sum what changed; a rerun does only what is left."""
    store, run = Store(root), uuid.uuid4().hex[:8]
    load(store, days, run)
    total(store, run)


def load(store: Store, days: Sequence[str], run_id: str) -> None:
    """Append the new days to three tables and publish these together."""
    known = published(store)
    loaded = {row["day"] for row in rows_of(store, FILES)} if FILES in known else set()
    new = [day for day in days if day not in loaded]
    if not new:
        return
    with begin_run(NO_SPARK, store, pipeline="till", run_id=f"load-{run_id}") as run:
        for table, schema in ((SALES, _SALES), (GOOD, _GOOD), (FILES, _FILES)):
            run.create(table, schema)
        sold = [(day, sale, amount) for day in new for sale, amount in sales_of(day)]
        run.append_rows([{"day": d, "sale": s, "amount": str(a)} for d, s, a in sold], SALES)
        run.append_rows([{"day": d, "sale": s, "amount": a} for d, s, a in sold], GOOD)
        run.append_rows([{"day": day, "rows": len(sales_of(day))} for day in new], FILES)
        run.publish(published_at=MOMENT)
    _note(store, run_id, "load")


def total(store: Store, run_id: str) -> None:
    """Replace the sums if they have not seen the newest sales; publish them with what they have seen."""
    known = published(store)
    seen = {row["table"]: row["version"] for row in rows_of(store, SEEN)} if SEEN in known else {}
    if seen.get(GOOD) == known[GOOD]:
        return
    with begin_run(NO_SPARK, store, pipeline="till", run_id=f"total-{run_id}") as run:
        run.create(TOTALS, _TOTALS)
        run.create(SEEN, _SEEN)
        run.replace_rows(totals_of(rows_of(store, GOOD)), TOTALS)
        run.replace_rows([{"table": GOOD, "version": run.base[GOOD]}], SEEN)
        run.publish(published_at=MOMENT)
    _note(store, run_id, "total")


def totals_of(sales: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The sum of each day."""
    days = sorted({row["day"] for row in sales})
    return [{"day": day, "total": sum(row["amount"] for row in sales if row["day"] == day)} for day in days]


def _note(store: Store, run_id: str, step: str) -> None:
    row = {"run_id": run_id, "step": step}
    append_ops(store, DIARY, [row], schema=DIARY_COLUMNS, stamp=Stamp(run_id, "till", 0))


# --- what is true of the tables -------------------------------------------------------------------------


def contents(store: Store) -> dict[str, list[str]]:
    """The rows of every published table, sorted; versions are left out, they count the deaths."""
    return {
        table: sorted(
            json.dumps({name: value for name, value in row.items() if name != "version"}, sort_keys=True)
            for row in rows_of(store, table)
        )
        for table in published(store)
    }


def faults_of(store: Store) -> list[str]:
    """What is torn, lost or double in the published tables; nothing, whatever was killed."""
    known = published(store)
    if FILES not in known:
        return [f"{table} without {FILES}" for table in known]
    files = {row["day"]: row["rows"] for row in rows_of(store, FILES)}
    wanted = sorted((day, sale, amount) for day in files for sale, amount in sales_of(day))
    found = []
    if files != {day: len(sales_of(day)) for day in files}:
        found.append(f"{FILES}: {files}")
    for table in (SALES, GOOD):
        rows = rows_of(store, table)
        if sorted((row["day"], row["sale"], float(row["amount"])) for row in rows) != wanted:
            found.append(f"{table} does not hold the sales of {sorted(files)}: {len(rows)} rows")
    if TOTALS in known:
        (seen,) = rows_of(store, SEEN)
        then = rows_of(store, GOOD, version=seen["version"])
        if sorted(map(repr, rows_of(store, TOTALS))) != sorted(map(repr, totals_of(then))):
            found.append(f"{TOTALS} is not the sum of {GOOD} version {seen['version']}")
    return found


def versions_in_log(store: Store, table: str) -> list[int]:
    """The versions of a table, newest first, as its log has them."""
    return [commit.version for commit in log.commits_after(store.path(table), -1)]
