"""Predictions whose features were built again for late or corrected data are made again, where declared.

What they were before is kept: the table of superseded predictions has every row that was replaced.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from featurelib.pipeline.context import Context, Surroundings
from featurelib.pipeline.days import in_partitions
from featurelib.pipeline.schemas import struct
from featurelib.pipeline.touched import IDENTITY, KEY, join_identity, with_key
from featurelib.point_in_time.features import AS_OF
from featurelib.tables import Run, read_arrow, rows_of, snapshot

_RUNS = "_prediction_runs"
_SUPERSEDED_BY = "_superseded_by"
_HANDLED = struct(_touched_run="string", _run_id="string")


@dataclass(frozen=True)
class Late:
    """Touched rows whose predictions are to be made again.

    Attributes:
        runs: the runs of the feature step that touched them.
        days: how many of them each day has.
    """

    runs: frozenset[str]
    days: Mapping[date, int]

    def __bool__(self) -> bool:
        return bool(self.runs)


def late_predictions(context: Surroundings, known: Mapping[str, int]) -> Late:
    """Return the touched rows that were predicted before and not again; none where predictions are kept."""
    names = context.names
    if (
        context.project.predictions.late_data == "keep"
        or not {names.touched, names.predictions} <= known.keys()
    ):
        return Late(frozenset(), {})
    handled = set()
    if names.rescored in known:
        handled = {row["_touched_run"] for row in rows_of(context.store, names.rescored)}
    table = read_arrow(
        snapshot(context.store, names.touched, known[names.touched]),
        columns=frozenset({"_run_id", "_day", _RUNS}),
    )
    rows = [row for row in table.to_pylist() if row[_RUNS] and row["_run_id"] not in handled]
    return Late(frozenset(row["_run_id"] for row in rows), Counter(row["_day"] for row in rows))


def stale_predictions(context: Context, run: Run, late: Late) -> DataFrame:
    """Return the touched rows whose prediction is still the one of before. Grain: one row a prediction."""
    touched = run.read(context.names.touched).where(F.col("_run_id").isin(sorted(late.runs)))
    before = touched.select(
        *(F.col(name).alias(f"__{name}") for name in IDENTITY), F.explode(_RUNS).alias("__run")
    )
    predicted = with_key(run.read(context.names.predictions), context.project)
    same = F.col(KEY).eqNullSafe(F.col(f"__{KEY}")) & F.col(AS_OF).eqNullSafe(F.col(f"__{AS_OF}"))
    found = predicted.join(before, on=same & (F.col("_run_id") == F.col("__run")), how="inner")
    return found.select(*IDENTITY).distinct()


def supersede(context: Context, run: Run, late: Late, stale: DataFrame, scored: DataFrame) -> int:
    """Put new predictions in the place of stale ones, keep these, and note what is handled; return how many.

    Args:
        context: the run's surroundings.
        run: writes it all.
        late: what is handled by this.
        stale: identities of the predictions to replace.
        scored: the new predictions of these rows; those of rows that are gone have none.
    """
    names, wanted = context.names, in_partitions(late.days.keys())
    present = run.read(names.predictions).where(wanted)
    old = join_identity(present, stale, context.project, how="left_semi")
    kept = join_identity(present, stale, context.project, how="left_anti")
    schema = T.StructType([*present.schema.fields, T.StructField(_SUPERSEDED_BY, T.StringType())])
    if names.superseded in run.base:
        run.widen(names.superseded, schema)
    run.create(names.superseded, schema, partition_by=("_month",), description="Predictions as they were.")
    run.append(old.withColumn(_SUPERSEDED_BY, F.lit(run.run_id)), names.superseded)
    run.write(kept.unionByName(scored), names.predictions, replace=wanted)
    run.create(names.rescored, _HANDLED, description="Runs whose touched rows were predicted again.")
    rows = [{"_touched_run": touched, "_run_id": run.run_id} for touched in sorted(late.runs)]
    run.append_rows(rows, names.rescored)
    done = run.read(names.superseded).where(F.col(_SUPERSEDED_BY) == run.run_id)
    return done.count()
