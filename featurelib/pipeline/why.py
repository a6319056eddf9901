"""Why a feature has its value: the very events in its windows, and those left out with the reason."""

from __future__ import annotations

import math
import operator
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from featurelib.errors import ConfigError, nearest
from featurelib.expressions.frames import INSTANT, polars_type
from featurelib.pipeline.polars_frames import to_events, used_columns
from featurelib.pipeline.silver import SilverRows
from featurelib.pipeline.without_spark import arrow, features_over, source_schema
from featurelib.point_in_time.buckets import features_of
from featurelib.point_in_time.features import AS_OF, EVENT_TS, KNOWN_TS, Feature, KeyTask, SourceTask
from featurelib.point_in_time.tasks import condition_columns, order_of, source_task
from featurelib.reports.text_tables import shown, text_table
from featurelib.specs import FeatureDefinition, FeatureView, Project
from featurelib.timeline import Window, duration_micros

_NUMBER = "__number"
_LATEST = "latest"

_AMONG = ""

Held = tuple[str | None, str]
"""An input, None for rows themselves, and the window that holds an event; ``_AMONG`` and a window of newest
events for one that is among these, whether an input of it is null or not."""


@dataclass(frozen=True)
class Event:
    """An event of the entity.

    Attributes:
        event_ts: when it happened.
        known_ts: when it could be known.
        values: the view's inputs.
        windows: the windows that hold it with at least one input; ``latest`` for the newest row.
        left_out: why it is in no window, or not in all of them.
    """

    event_ts: datetime | None
    known_ts: datetime | None
    values: Mapping[str, Any]
    windows: tuple[str, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class Why:
    """A question and everything its answer came from, events from the newest to the oldest."""

    view: FeatureView
    key: Mapping[str, Any]
    as_of: datetime
    features: Mapping[str, Any]
    events: tuple[Event, ...]


def why(
    project: Project, view: FeatureView, key: Mapping[str, str], as_of: datetime, silver: SilverRows
) -> Why:
    """Return the features of one entity at one moment with every event of the entity.

    Whether a window holds an event is asked of the engine's own kernels, an event at a time.

    Args:
        project: the validated specs.
        view: one of its views.
        key: the entity's key columns, as texts.
        as_of: the moment.
        silver: gives the rows of landed tables.

    Raises:
        ConfigError: the key is not the view's, or the source needs Spark.
    """
    typed = _typed_key(project, view, key)
    source = project.sources[view.source]
    rows = silver(source.table, used_columns(source, [view]))
    if source.sql is None and not typed.keys() & source.columns.keys():
        rows = _of_entity(rows, typed)
    conditions = condition_columns([view])
    kept = _of_entity(to_events(rows, project, source, conditions=conditions), typed)
    without = to_events(rows, project, source, conditions=conditions, filtered_out=True)
    filtered = _of_entity(without, typed)
    moment = {name: pl.Series([value], dtype=_key_type(project, name)) for name, value in typed.items()}
    spine = pl.DataFrame({**moment, AS_OF: pl.Series([as_of], dtype=INSTANT)})
    answered = features_over(project, [view], spine, {view.source: kept})
    features = answered.select(view.feature_names).row(0, named=True)
    held = _holding(view, kept, typed, as_of, source.tie_breaker)
    events = [
        _event(view, row, as_of, windows)
        for row, windows in zip(kept.iter_rows(named=True), held, strict=True)
    ]
    events += [_event(view, row, as_of, None) for row in filtered.iter_rows(named=True)]
    newest_first = sorted(events, key=_age)
    return Why(view, typed, as_of, features, tuple(newest_first))


def _age(event: Event) -> tuple[bool, float, float]:
    happened, known = event.event_ts, event.known_ts
    return (
        happened is None,
        0.0 if happened is None else -happened.timestamp(),
        0.0 if known is None else -known.timestamp(),
    )


def _typed_key(project: Project, view: FeatureView, key: Mapping[str, str]) -> dict[str, Any]:
    """Return the key with the types of the spine's columns, in the view's order."""
    odd = [name for name in key if name not in view.entity_key]
    if odd or len(key) < len(view.entity_key):
        close = nearest(odd[0], view.entity_key) if odd else ""
        raise ConfigError(
            f"entity {', '.join(f'{name}={value}' for name, value in key.items())}.{close}",
            ",".join(f"{name}=VALUE" for name in view.entity_key),
            "give --entity with every key of the view",
        )
    typed: dict[str, Any] = {}
    for name in view.entity_key:
        text = pl.Series([key[name]], dtype=pl.String)
        value = text.cast(_key_type(project, name), strict=False)[0]
        if value is None:
            raise ConfigError(
                f"{name}={key[name]!r}", f"a {project.spine.column_types[name]}", "correct --entity"
            )
        typed[name] = value
    return typed


def _key_type(project: Project, name: str) -> pl.DataType:
    return polars_type(project.spine.column_types[name])


def _of_entity(rows: pl.DataFrame, key: Mapping[str, Any]) -> pl.DataFrame:
    return rows.filter(*(pl.col(name) == value for name, value in key.items()))


# --- which windows hold an event ------------------------------------------------------------------------


def _holding(
    view: FeatureView, events: pl.DataFrame, key: Mapping[str, Any], as_of: datetime, declared: Sequence[str]
) -> list[list[Held]]:
    """Return for each event the pairs of input and window that hold it.

    The features' own definitions are asked for a count, each event an entity of its own: it is 0 or 1.
    """
    held: list[list[Held]] = [[] for _ in range(events.height)]
    if not held:
        return held
    table = arrow(events)
    schema = source_schema(table)
    order = order_of([view], schema, declared or None)
    task = source_task(1, [view], schema, order)
    numbered = events.with_columns(pl.Series(_NUMBER, np.arange(events.height)))
    asked = {
        (definition.input, _label(definition, text)): _counted(feature, Window.parse(text))
        for definition, feature in zip(view.features(), task.features, strict=True)
        for text in (definition.window, definition.ratio_to)
        if text is not None
    }
    for pair, count in asked.items():
        among, counting = _counting(count, numbered, as_of, order)
        for number in counting:
            held[number].append(pair)
        for number in among:
            held[number].append((_AMONG, str(pair[1])))
    newest = _newest(task, numbered, key, as_of) if view.latest is not None else None
    if newest is not None and view.latest is not None:
        held[newest] += [(column, _LATEST) for column in view.latest.inputs]
    return held


def _label(definition: FeatureDefinition, window: str) -> str:
    split = f" {definition.by}={definition.by_value}" if definition.by_value is not None else ""
    return f"{window}{f' where {definition.where}' if definition.where else ''}{split}"


def _counted(feature: Feature, window: Window) -> Feature:
    """Return a feature as a count of its events in one window."""
    by = feature.by if feature.by_value is not None else None
    return feature._replace(op="count", windows=(window,), type=pa.int64(), parameter=(), by=by)


def _counting(
    count: Feature, events: pl.DataFrame, as_of: datetime, order: Sequence[str]
) -> tuple[set[int], list[int]]:
    """Return the numbers of the newest events, for a window of such, and of those that a count counts.

    The newest are chosen among all that ``where`` keeps, before nulls and other values of ``by`` go.
    """
    (window,) = count.windows
    alone = count._replace(windows=(Window(window.micros),))
    found = _counted_alone(alone, events, as_of)
    if window.rows is None:
        return set(), found
    visible = _counted_alone(alone._replace(input=None, by=None, by_value=None), events, as_of)
    by_time = events[visible].sort([EVENT_TS, KNOWN_TS, *order], nulls_last=False)[_NUMBER]
    newest = set(by_time.tail(window.rows).to_list())
    return newest, [number for number in found if number in newest]


def _counted_alone(count: Feature, events: pl.DataFrame, as_of: datetime) -> list[int]:
    """Return the numbers of the events that a count counts when each is the only one of its entity."""
    spine = events.select(_NUMBER, pl.lit(as_of, INSTANT).alias(AS_OF))
    task = KeyTask((_NUMBER,), (SourceTask(1, (), (count,)),))
    found = features_of(arrow(spine), {1: arrow(events)}, task)[count.name].to_numpy(zero_copy_only=False)
    return [int(number) for number in np.flatnonzero(found)]


def _newest(task: SourceTask, events: pl.DataFrame, key: Mapping[str, Any], as_of: datetime) -> int | None:
    """Return the number of the row that ``latest`` takes, None for none."""
    latest = next(feature for feature in task.features if feature.op == _LATEST)
    numbered = latest._replace(input=_NUMBER, type=pa.int64())
    spine = arrow(events.head(1).select(*key, pl.lit(as_of, INSTANT).alias(AS_OF)))
    asked = KeyTask(tuple(key), (SourceTask(1, task.order, (numbered,)),))
    number: int | None = features_of(spine, {1: arrow(events)}, asked)[latest.name][0].as_py()
    return number


# --- why others are left out ----------------------------------------------------------------------------


def _event(view: FeatureView, row: Mapping[str, Any], as_of: datetime, held: list[Held] | None) -> Event:
    """Describe an event; ``held`` is None for one that the source's ``where`` takes away."""
    windows = tuple(dict.fromkeys(window for column, window in held or () if column != _AMONG))
    among = frozenset(window for column, window in held or () if column == _AMONG)
    return Event(
        event_ts=row[EVENT_TS],
        known_ts=row[KNOWN_TS],
        values={name: row[name] for name in view.inputs},
        windows=windows,
        left_out=("filtered by where",)
        if held is None
        else tuple(_reasons(view, row, as_of, {*windows, *among})),
    )


def _reasons(
    view: FeatureView, row: Mapping[str, Any], as_of: datetime, windows: Collection[str]
) -> Iterator[str]:
    happened, known = row[EVENT_TS], row[KNOWN_TS]
    end = as_of - timedelta(microseconds=view.delay_micros)
    is_late = operator.gt if view.boundary == "inclusive" else operator.ge
    if happened is None or known is None:
        yield f"no {EVENT_TS if happened is None else KNOWN_TS}"
    elif is_late(happened, end):
        yield "not yet happened" if is_late(happened, as_of) else f"within the delay of {view.delay}"
    elif is_late(known, as_of):
        yield "not yet known"
    else:
        yield from _left_behind(view, row, end, windows)
        yield from (f"not {text}" for text, name in condition_columns([view]).items() if not row[name])
        aggregated = dict.fromkeys(feature.input for feature in view.features() if feature.op != _LATEST)
        yield from (f"{name} is null" for name in aggregated if name and _is_missing(row[name]))


def _left_behind(
    view: FeatureView, row: Mapping[str, Any], end: datetime, windows: Collection[str]
) -> Iterator[str]:
    """Yield the windows that a visible event is too old for, or too far back in."""
    texts = dict.fromkeys(
        text for feature in view.features() for text in (feature.window, feature.ratio_to) if text is not None
    )
    passed = [text for text in texts if _is_over(Window.parse(text).micros, row[EVENT_TS], end)]
    if passed:
        yield f"too old for {', '.join(passed)}"
    for text in texts:
        if Window.parse(text).rows is not None and not any(label.startswith(text) for label in windows):
            yield f"not among the {text}"
    if view.latest is not None and _LATEST not in windows:
        max_age = view.latest.max_age
        micros = None if max_age is None else duration_micros(max_age) - view.delay_micros
        is_old = _is_over(micros, row[EVENT_TS], end)
        yield f"older than max_age {max_age}" if is_old else "a newer row is the latest"


def _is_over(micros: int | None, happened: datetime, end: datetime) -> bool:
    return micros is not None and happened < end - timedelta(microseconds=micros)


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


# --- for people -----------------------------------------------------------------------------------------


def rendered(answer: Why, *, rows: int) -> str:
    """Return the answer as text: the features, then at most ``rows`` events."""
    view = answer.view
    key = ", ".join(f"{name} {shown(value)}" for name, value in answer.key.items())
    named = [(name, shown(value)) for name, value in answer.features.items()]
    features = text_table(("feature", "value"), named)
    inside = sum(bool(event.windows) for event in answer.events)
    lines = [f"{view.name} of {key} as of {shown(answer.as_of)}, source {view.source}", "", features, ""]
    lines.append(f"{len(answer.events):,} events of this entity, {inside:,} in a window; newest first")
    listed = _listed(answer, rows)
    table = [
        (
            shown(event.event_ts),
            shown(event.known_ts),
            *(shown(event.values[name]) for name in view.inputs),
            ", ".join(event.windows) or "-",
            "; ".join(event.left_out),
        )
        for event in listed
    ]
    lines.append(text_table((EVENT_TS, KNOWN_TS, *view.inputs, "in", "left out"), table))
    if len(listed) < len(answer.events):
        lines.append(f"{len(answer.events) - len(listed):,} more (--rows)")
    return "\n".join(lines)


def _listed(answer: Why, rows: int) -> Sequence[Event]:
    """Return the events around the question: a third of the rows may lie after it."""
    events = answer.events
    before = (at for at, event in enumerate(events) if event.event_ts and event.event_ts < answer.as_of)
    start = max(0, next(before, 0) - rows // 3)
    return events[start : start + rows]
