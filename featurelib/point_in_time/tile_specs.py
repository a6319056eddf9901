"""Which features tiles can serve, and what tiles must keep for them.

Runs on the driver and in tests; it knows no Spark.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import pyarrow as pa

from featurelib.point_in_time import sampling
from featurelib.point_in_time.features import EVENT_TS, KNOWN_TS, Feature
from featurelib.point_in_time.tiled import Tiling
from featurelib.point_in_time.tiles import Choice, Kept, State, TileTask

_ADDED_UP: Final[Mapping[str, tuple[str, ...]]] = {
    "count": ("count",),
    "sum": ("count", "sum"),
    "mean": ("count", "sum"),
    "variance": ("count", "sum", "squares"),
    "stddev": ("count", "sum", "squares"),
    "min": ("count", "min"),
    "max": ("count", "max"),
}
_KEPT: Final[Mapping[str, str]] = {
    "first": "first",
    "time_since_first": "first",
    "first_k": "first",
    "last": "last",
    "time_since_last": "last",
    "latest": "last",
    "last_k": "last",
    "max": "top",
    "top_k": "top",
    "min": "bottom",
    "bottom_k": "bottom",
    "count_distinct": "distinct",
    "approx_count_distinct": "some_distinct",
    "approx_quantile": "some",
}
_SAMPLES: Final = frozenset(("some", "some_distinct"))


def tile_task(
    features: Sequence[Feature],
    source: pa.Schema,
    *,
    keys: Sequence[str],
    order: Sequence[str],
    hop: int,
    keeps_events: bool = True,
) -> TileTask:
    """Return what tiles must keep to serve those of the features that they can serve.

    Args:
        features: of one source and one entity key.
        source: the columns of its events, conditions included.
        keys: of the entity.
        order: columns that order events equal in both instants.
        hop: microseconds of a tile.
        keeps_events: whether to keep samples of events too, thousands of each tile: they spare reading where
            an entity has many more.
    """
    states: dict[Choice, tuple[str, ...]] = {}
    kept: dict[Kept, None] = {}
    columns: dict[str, None] = {}
    for feature in features:
        if (state := state_of(feature, source)) is not None:
            states[state.choice] = tuple(dict.fromkeys([*states.get(state.choice, ()), *state.parts]))
        elif (end := kept_of(feature)) is not None and (keeps_events or end.end != "some"):
            kept[end] = None
            columns |= dict.fromkeys(feature.columns)
    if kept:
        columns |= dict.fromkeys(order)
    others = tuple(name for name in columns if name not in {*keys, EVENT_TS, KNOWN_TS})
    named = tuple(State(_name(choice), choice, parts) for choice, parts in states.items())
    return TileTask(tuple(keys), hop, tuple(order) if kept else (), named, tuple(kept), others)


def state_of(feature: Feature, source: pa.Schema) -> State | None:
    """Return the state that answers a feature, None where none does."""
    bounded_by_rows = any(window.rows is not None for window in feature.windows)
    if feature.op not in _ADDED_UP or bounded_by_rows or _is_map(feature):
        return None
    parts = _ADDED_UP[feature.op]
    if feature.input is not None:
        kind = source.field(feature.input).type
        is_whole = pa.types.is_integer(kind)
        is_instant = pa.types.is_timestamp(kind) or pa.types.is_date32(kind)
        if not (
            is_whole or pa.types.is_floating(kind) or (is_instant and feature.op in {"count", "min", "max"})
        ):
            return None
        if is_whole and feature.op == "sum":
            parts = ("count", "whole")
    choice = Choice(feature.input, feature.where, feature.by, feature.by_value)
    return State(_name(choice), choice, parts)


def kept_of(feature: Feature) -> Kept | None:
    """Return the events of a tile that answer a feature, None where it may need any of them."""
    rows = [window.rows for window in feature.windows]
    bounded = [number for number in rows if number is not None]
    if bounded:
        return Kept(Choice(None, feature.where), "last", max(bounded)) if len(bounded) == len(rows) else None
    if feature.op not in _KEPT or len(rows) > 1 or _is_map(feature):
        return None
    whole_rows = feature.op == "latest"
    choice = Choice(None if whole_rows else feature.input, feature.where, feature.by, feature.by_value)
    end = _KEPT[feature.op]
    if end in _SAMPLES:
        return Kept(choice, end, sampling.SAMPLE)
    return Kept(choice, end, int(feature.parameter[0]) if feature.op.endswith("_k") else 1)


def tiling_of(
    task: TileTask,
    features: Sequence[Feature],
    source: pa.Schema,
    *,
    tag: int,
    between: tuple[int, int],
    tiles: pa.Schema | None = None,
) -> Tiling:
    """Return how tiles serve features that they hold all for.

    Args:
        task: what the tiles keep.
        features: of the source and the task's entity key.
        source: the columns of the events that are read besides.
        tag: number of the tiles among the inputs.
        between: ``[first, last)`` of the moments asked about, in microseconds since 1970.
        tiles: the columns that are read of the tiles, None for all.
    """
    return Tiling(
        tag=tag,
        hop=task.hop,
        between=between,
        reaches=reaches_of(features),
        delay=max(feature.delay for feature in features),
        states=stored_states(task, features, source),
        events=source,
        tiles=task.schema(source) if tiles is None else tiles,
    )


def stored_states(task: TileTask, features: Sequence[Feature], source: pa.Schema) -> dict[str, State]:
    """Return the stored state that answers each feature that is added up."""
    stored = {state.choice: state for state in task.states}
    found = {feature.name: state_of(feature, source) for feature in features}
    return {name: stored[state.choice] for name, state in found.items() if state is not None}


def reaches_of(features: Iterable[Feature]) -> tuple[tuple[int, int], ...]:
    """Return delay and length of every bounded window."""
    found = {
        (feature.delay, window.micros)
        for feature in features
        for window in feature.windows
        if window.micros is not None
    }
    return tuple(sorted(found))


def _is_map(feature: Feature) -> bool:
    return feature.by is not None and feature.by_value is None


def _name(choice: Choice) -> str:
    """Return a name that says the same choice whatever else tiles keep."""
    digest = hashlib.sha256(repr(tuple(choice)).encode()).hexdigest()[:12]
    return f"{choice.input or 'rows'}_{digest}"
