"""The same meaning in plain Spark, slow and short: the second opinion that tests and benchmarks compare with.

``last`` and ``latest`` come from one union of events and questions and one window over it; the other
operations from a range join of questions and events. Inputs and result are those of
:func:`featurelib.point_in_time.features_as_of`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from featurelib.point_in_time.buckets import AS_OF, EVENT_TS, KNOWN_TS
from featurelib.point_in_time.outputs import output_type
from featurelib.specs import FeatureView
from featurelib.timeline import duration_micros, window_micros


def plain_spark_features(
    spine: DataFrame,
    views: Sequence[FeatureView],
    sources: Mapping[str, DataFrame],
    *,
    tie_breakers: Mapping[str, Sequence[str]] | None = None,
) -> DataFrame:
    """Return the spine with the features of every view. Grain: the spine's."""
    result = spine
    for view in views:
        events = sources[view.source]
        if KNOWN_TS not in events.columns:
            events = events.withColumn(KNOWN_TS, F.col(EVENT_TS))
        events = events.dropna(subset=[*view.entity_key, EVENT_TS, KNOWN_TS])
        order = list((tie_breakers or {}).get(view.source) or sorted(events.columns))
        result = join_features(result, view, events, order=order)
    return result


def join_features(
    spine: DataFrame, view: FeatureView, events: DataFrame, *, order: Sequence[str]
) -> DataFrame:
    """Join a view's features to the spine. Cardinality: many spine rows to one row of answers."""
    keys = [*view.entity_key, AS_OF]
    questions = spine.select(*keys).dropna().distinct()
    answers = questions
    newest = [feature for feature in view.features() if feature[2] in {"last", "latest"}]
    reduced = [feature for feature in view.features() if feature[2] not in {"last", "latest"}]
    if newest:
        answers = answers.join(_newest(questions, view, events, order=order), on=keys, how="left")
    if reduced:
        answers = answers.join(_reduced(questions, view, events), on=keys, how="left")
    return spine.join(answers, on=keys, how="left").select(*spine.columns, *view.feature_names)


def _newest(questions: DataFrame, view: FeatureView, events: DataFrame, *, order: Sequence[str]) -> DataFrame:
    """Answers of last and latest: a running maximum of events in the order in which they became visible."""
    keys = list(view.entity_key)
    inputs = list(view.inputs)
    event = F.struct(EVENT_TS, KNOWN_TS, *(F.col(column).alias(f"_{column}") for column in order), *inputs)
    shown = events.select(
        *keys, F.greatest(EVENT_TS, KNOWN_TS).alias("_shown"), F.lit(1).alias("_turn"), event.alias("_event")
    )
    asked = questions.select(*keys, F.col(AS_OF).alias("_shown"), F.lit(0).alias("_turn"))
    running = (
        Window.partitionBy(*keys)
        .orderBy("_shown", "_turn")
        .rowsBetween(Window.unboundedPreceding, Window.currentRow)
    )
    union = shown.unionByName(asked, allowMissingColumns=True)
    answered = union.select(*keys, "_shown", "_turn", *_newest_columns(view, running)).where("_turn = 0")
    return answered.select(*keys, F.col("_shown").alias(AS_OF), *_names(view, {"last", "latest"}))


def _newest_columns(view: FeatureView, running: object) -> list[Column]:
    columns = []
    for name, column, op, window in view.features():
        if op not in {"last", "latest"} or column is None:
            continue
        value = F.col(f"_event.{column}")
        counted = F.col("_event") if op == "latest" else F.when(_has_value(value), F.col("_event"))
        found = F.max(counted).over(running)  # type: ignore[arg-type]
        reach = window_micros(window) if window else _max_age(view)
        age = _micros(F.col("_shown")) - _micros(found[EVENT_TS])
        young = F.expr("true") if reach is None else age <= reach
        columns.append(F.when(young, found[column]).alias(name))
    return columns


def _reduced(questions: DataFrame, view: FeatureView, events: DataFrame) -> DataFrame:
    """Answers of the other operations: every question meets every event it may see."""
    keys = list(view.entity_key)
    seen = (F.col(EVENT_TS) < F.col(AS_OF)) & (F.col(KNOWN_TS) < F.col(AS_OF))
    met = questions.join(events.select(*keys, EVENT_TS, KNOWN_TS, *view.inputs), on=keys, how="left")
    age = _micros(F.col(AS_OF)) - _micros(F.col(EVENT_TS))
    columns = []
    for name, column, op, window in view.features():
        if op in {"last", "latest"}:
            continue
        reach = window_micros(window or "")
        inside = seen if reach is None else seen & (age <= reach)
        value = F.lit(1) if column is None else F.when(_has_value(F.col(column)), F.col(column))
        aggregate = {"mean": F.avg, "stddev": F.stddev_samp}.get(op) or getattr(F, op)
        kind = output_type(events.schema, column, op)
        columns.append(aggregate(F.when(inside, value)).cast(kind).alias(name))
    return met.groupBy(*keys, AS_OF).agg(*columns)


def _has_value(column: Column) -> Column:
    """True unless null or NaN; the comparison with text NaN serves every type."""
    return column.isNotNull() & (column.cast("string") != F.lit("NaN"))


def _micros(instant: Column) -> Column:
    return F.unix_micros(instant)


def _max_age(view: FeatureView) -> int | None:
    return duration_micros(view.latest.max_age) if view.latest and view.latest.max_age else None


def _names(view: FeatureView, ops: set[str]) -> list[str]:
    return [name for name, _, op, _ in view.features() if op in ops]
