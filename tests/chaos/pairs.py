"""Two operations on one table at once: the first sleeps past its lease, the second runs, the first wakes up.

What must come of it is told by what each operation does to a list of rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pyspark.sql import SparkSession
from pyspark.sql.types import LongType, StringType, StructField, StructType

from featurelib.errors import LeaseHeld
from featurelib.tables import ALL, Run, Store, begin_run, keeping, published, rows_of, sweep

TABLE = "silver.sales"
COLUMNS = StructType([StructField("day", StringType()), StructField("n", LongType())])
_WIDE = StructType([*COLUMNS.fields, StructField("x", LongType())])
FIRST_ROWS = [("d1", 1), ("d2", 2)]
CUTS = ("before the write", "after the write")

Rows = list[tuple[str, int]]


@dataclass(frozen=True)
class Operation:
    """What is done to the table, and what that makes of a list of rows."""

    act: Callable[[SparkSession, Store, Run], object]
    model: Callable[[Rows], Rows]


def _same(rows: Rows) -> Rows:
    return rows


def _append(spark: SparkSession, _: Store, run: Run) -> object:
    return run.append(_frame(spark, run, [("d1", 10)]), TABLE)


def _partition(spark: SparkSession, _: Store, run: Run) -> object:
    return run.write(_frame(spark, run, [("d1", 100)]), TABLE, replace="day = 'd1'")


def _overwrite(spark: SparkSession, _: Store, run: Run) -> object:
    return run.write(_frame(spark, run, [("d3", 3)]), TABLE, replace=ALL)


def _rewrite(spark: SparkSession, _: Store, run: Run) -> object:
    return run.rewrite(_frame(spark, run, [("d4", 4)]), TABLE, partition_by=("day",))


OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {
        "append": Operation(_append, lambda rows: [*rows, ("d1", 10)]),
        "replace partition": Operation(
            _partition, lambda rows: [*(row for row in rows if row[0] != "d1"), ("d1", 100)]
        ),
        "overwrite": Operation(_overwrite, lambda _: [("d3", 3)]),
        "rewrite": Operation(_rewrite, lambda _: [("d4", 4)]),
        "append rows": Operation(
            lambda _, __, run: run.append_rows([{"day": "d5", "n": 5}], TABLE),
            lambda rows: [*rows, ("d5", 5)],
        ),
        "replace rows": Operation(
            lambda _, __, run: run.replace_rows([{"day": "d6", "n": 6}], TABLE), lambda _: [("d6", 6)]
        ),
        "widen": Operation(lambda _, __, run: run.widen(TABLE, _WIDE), _same),
        "optimize": Operation(lambda _, __, run: run.optimize(TABLE), _same),
        "sweep": Operation(lambda _, store, __: _sweep(store), _same),
    }
)


def _sweep(store: Store) -> None:
    """Remove what no version within the retention needs, as ``maintain`` does."""
    version = published(store).get(TABLE)
    kept = keeping(store, TABLE, published=version, pins=(), retention="400d", now=time.time())
    sweep(store, kept)


def _frame(spark: SparkSession, run: Run, rows: Rows):
    """Rows with the columns that the table has as the run finds it."""
    names = run._commits.schema(TABLE).fieldNames()
    wide = [(*row, None) if "x" in names else row for row in rows]
    return spark.createDataFrame(wide, _WIDE if "x" in names else COLUMNS).coalesce(1)


def prepare(spark: SparkSession, store: Store) -> None:
    """The table with its first rows, in two files."""
    with begin_run(spark, store, pipeline="pipe", run_id="first") as run:
        run.create(TABLE, COLUMNS, partition_by=("day",))
        for day, n in FIRST_ROWS:
            run.append_rows([{"day": day, "n": n}], TABLE)
        run.publish()


def disturbed(spark: SparkSession, store: Store, first: str, second: str, cut: str) -> Iterator[str]:
    """Let the first sleep at the cut while the second runs; yield whatever is wrong with how that ends."""
    refused = False
    try:
        with begin_run(spark, store, pipeline="pipe", run_id=f"{first}-1", ttl_seconds=0.05) as stale:
            stale._lease._stop.set()  # its heart stops, as when the machine sleeps
            if cut == CUTS[1]:
                OPERATIONS[first].act(spark, store, stale)
            time.sleep(0.06)
            whole(spark, store, second)
            if cut == CUTS[0]:
                OPERATIONS[first].act(spark, store, stale)
            stale.publish()
    except LeaseHeld:
        refused = True
    if not refused:
        yield "the first was not refused"
    yield from _differences(store, OPERATIONS[second].model(FIRST_ROWS), "behind the second")
    whole(spark, store, first)
    both = OPERATIONS[first].model(OPERATIONS[second].model(FIRST_ROWS))
    yield from _differences(store, both, "behind the first, run again")


def whole(spark: SparkSession, store: Store, name: str) -> None:
    """Run one operation from its lease to its publish."""
    with begin_run(spark, store, pipeline="pipe", run_id=f"{name}-{time.monotonic_ns()}") as run:
        OPERATIONS[name].act(spark, store, run)
        run.publish()


def _differences(store: Store, wanted: Rows, when: str) -> Iterator[str]:
    found = sorted((row["day"], row["n"]) for row in rows_of(store, TABLE))
    if found != sorted(wanted):
        yield f"{when}: {found} instead of {sorted(wanted)}"
