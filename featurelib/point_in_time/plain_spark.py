"""The same meaning in plain Spark, slow and short: the second opinion that tests and benchmarks compare with.

``last`` and ``latest`` come from one union of events and questions and one window over it; the other
operations from a range join of questions and events. Inputs and result are those of
:func:`featurelib.point_in_time.features_as_of`. Windows of a number of events, maps, entropy and trend are
not written twice: their second opinion is the plain-Python one of the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Final

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from featurelib.errors import FrameError
from featurelib.feature_specs import FeatureDefinition
from featurelib.operations import OF_QUANTILES
from featurelib.point_in_time.features import AS_OF, EVENT_TS, KNOWN_TS
from featurelib.point_in_time.outputs import output_type
from featurelib.specs import FeatureView
from featurelib.timeline import duration_micros

_NEWEST: Final = frozenset({"last", "latest"})


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
    """Join a view's features to the spine. Cardinality: many spine rows to one row of answers.

    Raises:
        FrameError: a feature is one of those that plain Spark has no short form for.
    """
    keys = [*view.entity_key, AS_OF]
    questions = spine.select(*keys).dropna().distinct()
    answers = questions
    newest = [feature for feature in view.features() if feature.op in _NEWEST]
    reduced = [feature for feature in view.features() if feature.op not in _NEWEST]
    for feature in (*newest, *reduced):
        _require_short_form(feature)
    if newest:
        answers = answers.join(_newest(questions, view, events, order=order), on=keys, how="left")
    if reduced:
        answers = answers.join(_reduced(questions, view, events, order=order), on=keys, how="left")
    return spine.join(answers, on=keys, how="left").select(*spine.columns, *view.feature_names)


def _require_short_form(feature: FeatureDefinition) -> None:
    is_short = feature.op in {*_NEWEST, *_AGGREGATES, *OF_QUANTILES, "histogram"}
    if not is_short or feature.is_map or any(window.rows is not None for window in feature.windows):
        raise FrameError(
            f"feature {feature.name!r}", "an operation that plain Spark says shortly", "use features_as_of"
        )


def _newest(questions: DataFrame, view: FeatureView, events: DataFrame, *, order: Sequence[str]) -> DataFrame:
    """Answers of last and latest: a running maximum of events in the order in which they became visible."""
    keys = list(view.entity_key)
    features = [feature for feature in view.features() if feature.op in _NEWEST]
    known = F.greatest(_micros(F.col(EVENT_TS)) + view.delay_micros, _micros(F.col(KNOWN_TS)))
    turn = -1 if view.boundary == "inclusive" else 1  # events before or after the questions of their instant
    counting = [_counts(feature).alias(f"_counts_{feature.name}") for feature in features]
    event = F.struct(*_rank(order), *view.inputs, *counting)
    shown = events.select(
        *keys,
        known.alias("_shown"),
        F.lit(turn).alias("_turn"),
        event.alias("_event"),
        F.lit(None).alias(AS_OF),
    )
    asked = questions.select(
        *keys,
        _micros(F.col(AS_OF)).alias("_shown"),
        F.lit(0).alias("_turn"),
        F.lit(None).alias("_event"),
        AS_OF,
    )
    running = (
        Window.partitionBy(*keys)
        .orderBy("_shown", "_turn")
        .rowsBetween(Window.unboundedPreceding, Window.currentRow)
    )
    answers = [_newest_column(feature, view, running) for feature in features]
    return shown.unionByName(asked).select(*keys, AS_OF, "_turn", *answers).where("_turn = 0").drop("_turn")


def _rank(order: Sequence[str]) -> list[Column]:
    """Columns that order events: both instants, then the tie breakers under names of their own."""
    return [F.col(EVENT_TS), F.col(KNOWN_TS), *(F.col(name).alias(f"_{name}") for name in order)]


def _newest_column(feature: FeatureDefinition, view: FeatureView, running: object) -> Column:
    value = F.col(f"_event.{feature.input}")
    counts = F.col(f"_event._counts_{feature.name}")
    counted = F.when(counts if feature.op == "latest" else counts & _has_value(value), F.col("_event"))
    found = F.max(counted).over(running)  # type: ignore[arg-type]
    reach = _reach(feature, view)
    age = _micros(F.col(AS_OF)) - _micros(found[EVENT_TS])
    young = F.lit(True) if reach is None else age <= reach  # noqa: FBT003 - a value, no flag
    return F.when(young, found[feature.input]).alias(feature.name)


def _reach(feature: FeatureDefinition, view: FeatureView) -> int | None:
    """Microseconds before the moment at which the window begins, None for never."""
    if feature.op == "latest":
        return duration_micros(view.latest.max_age) if view.latest and view.latest.max_age else None
    micros = feature.windows[0].micros
    return None if micros is None else micros + view.delay_micros


def _reduced(
    questions: DataFrame, view: FeatureView, events: DataFrame, *, order: Sequence[str]
) -> DataFrame:
    """Answers of the other operations: every question meets every event it may see."""
    keys = list(view.entity_key)
    features = [feature for feature in view.features() if feature.op not in _NEWEST]
    rank = F.struct(*_rank(order)).alias("_rank")
    counting = [_counts(feature).alias(f"_counts_{feature.name}") for feature in features]
    columns = dict.fromkeys([*keys, EVENT_TS, KNOWN_TS, *view.inputs])
    met = questions.join(events.select(*columns, rank, *counting), on=keys, how="left")
    answers = [
        _reduced_column(feature, view).cast(output_type(events.schema, feature)) for feature in features
    ]
    named = [answer.alias(feature.name) for answer, feature in zip(answers, features, strict=True)]
    return met.groupBy(*keys, AS_OF).agg(*named)


def _reduced_column(feature: FeatureDefinition, view: FeatureView) -> Column:
    age = _micros(F.col(AS_OF)) - _micros(F.col(EVENT_TS))
    known = F.col(KNOWN_TS) <= F.col(AS_OF), F.col(KNOWN_TS) < F.col(AS_OF)
    happened = age >= view.delay_micros, age > view.delay_micros
    seen = (happened[0] & known[0]) if view.boundary == "inclusive" else (happened[1] & known[1])
    value = F.lit(1) if feature.input is None else F.col(feature.input)
    counts = seen & F.col(f"_counts_{feature.name}")
    if feature.input is not None:
        counts &= _has_value(value)
    parts = []
    for window in feature.windows:
        inside = counts if window.micros is None else counts & (age <= window.micros + view.delay_micros)
        parts.append(_aggregated(feature, F.when(inside, value), F.when(inside, F.col("_rank"))))
    if len(parts) == 1:
        return parts[0]
    above, below = (part.cast("double") for part in parts)
    return F.when(below != 0.0, above / below)


def _aggregated(feature: FeatureDefinition, value: Column, rank: Column) -> Column:
    if feature.op in OF_QUANTILES:
        return F.percentile(value, F.lit(feature.parameter[0]))
    if feature.op == "histogram":
        bounds = [None, *feature.parameter, None]
        inside = [
            value.isNotNull()
            & (F.lit(low is None) | (value >= F.lit(low)))
            & (F.lit(high is None) | (value < F.lit(high)))
            for low, high in pairwise(bounds)
        ]
        return F.array(*[F.count(F.when(one, 1)) for one in inside])
    return _AGGREGATES[feature.op](value, rank, *(int(number) for number in feature.parameter))


def _first_of(value: Column, rank: Column, k: int, *, ascending: bool) -> Column:
    """The values of the k first ranks; null for none."""
    ranked = F.sort_array(
        F.collect_list(F.when(rank.isNotNull(), F.struct(rank.alias("r"), value.alias("v")))), ascending
    )
    return F.when(F.size(ranked) > 0, F.slice(ranked, 1, k)["v"])


def _seconds_since(instant: Column) -> Column:
    return (_micros(F.first(F.col(AS_OF))) - _micros(instant)) / F.lit(1e6)


_AGGREGATES: Final[Mapping[str, Callable[..., Column]]] = MappingProxyType(
    {
        "count": lambda value, _: F.count(value),
        "sum": lambda value, _: F.sum(value),
        "mean": lambda value, _: F.avg(value),
        "min": lambda value, _: F.min(value),
        "max": lambda value, _: F.max(value),
        "variance": lambda value, _: F.var_samp(value),
        "stddev": lambda value, _: F.stddev_samp(value),
        "skewness": lambda value, _: F.skewness(value),
        "kurtosis": lambda value, _: F.kurtosis(value),
        "median": lambda value, _: F.percentile(value, F.lit(0.5)),
        "count_distinct": lambda value, _: F.count_distinct(value),
        "approx_count_distinct": lambda value, _: F.count_distinct(value),
        "mode": lambda value, _: F.mode(value, deterministic=True),
        "first": F.min_by,
        "first_k": lambda value, rank, k: _first_of(value, rank, k, ascending=True),
        "last_k": lambda value, rank, k: _first_of(value, rank, k, ascending=False),
        "bottom_k": lambda value, _, k: _first_of(value, value, k, ascending=True),
        "top_k": lambda value, _, k: _first_of(value, value, k, ascending=False),
        "time_since_first": lambda _, rank: _seconds_since(F.min(rank)[EVENT_TS]),
        "time_since_last": lambda _, rank: _seconds_since(F.max(rank)[EVENT_TS]),
    }
)


def _counts(feature: FeatureDefinition) -> Column:
    """True for the events that ``where`` and ``by`` let count."""
    counts = F.lit(1) if feature.where is None else F.when(F.expr(feature.where), 1)
    if feature.by is not None:
        counts = F.when(F.col(feature.by).cast("string") == F.lit(feature.by_value), counts)
    return counts.isNotNull()


def _has_value(column: Column) -> Column:
    """True unless null or NaN; the comparison with text NaN serves every type."""
    return column.isNotNull() & (column.cast("string") != F.lit("NaN"))


def _micros(instant: Column) -> Column:
    return F.unix_micros(instant)
