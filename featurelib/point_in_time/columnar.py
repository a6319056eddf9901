"""The columnar shuffle: a plan of one Spark shuffle for each entity key, with the spine row carried along.

Every input is packed into Arrow blobs by the bucket of its key, Spark shuffles the blobs, and each bucket
computes the features of its entities and packs its spine rows for the next key. There is no join and no
sort in Spark. Only the public DataFrame API is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import reduce

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.pandas.types import to_arrow_schema

from featurelib.point_in_time import blobs
from featurelib.point_in_time.buckets import (
    EVENT_TS,
    KNOWN_TS,
    SPINE_TAG,
    Feature,
    KeyTask,
    SourceTask,
    with_features,
)
from featurelib.point_in_time.outputs import output_type
from featurelib.point_in_time.reach import only_reachable
from featurelib.specs import FeatureView
from featurelib.timeline import duration_micros, window_micros

_OUTPUT_ROWS = 65_536


def columnar_features(
    spine: DataFrame,
    views: Sequence[FeatureView],
    sources: Mapping[str, DataFrame],
    *,
    tie_breakers: Mapping[str, Sequence[str]],
    between: tuple[datetime, datetime] | None,
    buckets: int,
) -> DataFrame:
    """Return the spine with the views' features, by one shuffle for each distinct entity key.

    Inputs are as checked by :func:`featurelib.point_in_time.features_as_of`. Grain: the spine's.
    """
    groups: dict[tuple[str, ...], list[FeatureView]] = {}
    for view in views:
        groups.setdefault(view.entity_key, []).append(view)
    keys = list(groups)
    carried = _packed(spine, keys=keys[0], buckets=buckets, tag=SPINE_TAG)
    schema = spine.schema
    for position, (key, members) in enumerate(groups.items()):
        task, inputs = _key_task(key, members, sources, tie_breakers=tie_breakers, between=between)
        packed = [_packed(frame, keys=key, buckets=buckets, tag=tag) for tag, frame in inputs.items()]
        shuffled = reduce(DataFrame.unionAll, [carried, *packed]).repartitionById(buckets, F.col("bucket"))
        schema = T.StructType([*schema.fields, *_fields(members, sources)])
        following = keys[position + 1] if position + 1 < len(keys) else None
        carried = _next(shuffled, task, schema=schema, following=following, buckets=buckets)
    names = [name for view in views for name in view.feature_names]
    return carried.select(*spine.columns, *names)


def _next(
    shuffled: DataFrame,
    task: KeyTask,
    *,
    schema: T.StructType,
    following: tuple[str, ...] | None,
    buckets: int,
) -> DataFrame:
    """Compute a bucket's features; then pack the rows for the following key, or give them to Spark."""
    if following is None:
        arrow_schema = to_arrow_schema(schema, timezone="UTC")

        def finished(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for table in with_features(batches, task):
                yield from table.cast(arrow_schema).to_batches(max_chunksize=_OUTPUT_ROWS)

        # Kernels over whole buckets need Arrow: Spark has no operator that sees an entity's rows at once.
        return shuffled.mapInArrow(finished, schema)

    def repacked(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for table in with_features(batches, task):
            yield from blobs.packed(table, keys=following, buckets=buckets, tag=SPINE_TAG)

    return shuffled.mapInArrow(repacked, blobs.BLOB_SCHEMA)


def _packed(frame: DataFrame, *, keys: Sequence[str], buckets: int, tag: int) -> DataFrame:
    """Map rows to blobs of ``(bucket, tag, blob)``."""

    def pack(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for table in blobs.chunks(batches):
            yield from blobs.packed(table, keys=keys, buckets=buckets, tag=tag)

    return frame.mapInArrow(pack, blobs.BLOB_SCHEMA)


def _key_task(
    keys: tuple[str, ...],
    views: Sequence[FeatureView],
    sources: Mapping[str, DataFrame],
    *,
    tie_breakers: Mapping[str, Sequence[str]],
    between: tuple[datetime, datetime] | None,
) -> tuple[KeyTask, dict[int, DataFrame]]:
    """Return what a bucket computes for views that share a key, and the frames to shuffle, by tag."""
    tasks: list[SourceTask] = []
    inputs: dict[int, DataFrame] = {}
    for tag, name in enumerate(dict.fromkeys(view.source for view in views), start=SPINE_TAG + 1):
        members = [view for view in views if view.source == name]
        frame = sources[name]
        used = list(dict.fromkeys(column for view in members for column in view.inputs))
        order = _order(members, frame, tie_breakers.get(name))
        features = tuple(feature for view in members for feature in _features(view, frame.schema))
        tasks.append(SourceTask(tag, order, features))
        columns = dict.fromkeys([*keys, EVENT_TS, KNOWN_TS, *order, *used])
        inputs[tag] = only_reachable(frame, members, between).select(*columns)
    return KeyTask(keys, tuple(tasks)), inputs


def _order(views: Sequence[FeatureView], frame: DataFrame, declared: Sequence[str] | None) -> tuple[str, ...]:
    """Return the columns that order equal instants, where an operation depends on the order at all."""
    if not any(op in {"last", "latest"} for view in views for _, _, op, _ in view.features()):
        return ()
    sortable = [field.name for field in frame.schema if not isinstance(field.dataType, T.MapType)]
    return tuple(declared or sorted(sortable))


def _features(view: FeatureView, schema: T.StructType) -> Iterator[Feature]:
    for name, column, op, window in view.features():
        kind = to_arrow_schema(
            T.StructType([T.StructField(name, output_type(schema, column, op))]), timezone="UTC"
        )
        yield Feature(name, column, op, _window(view, op, window), kind.field(0).type)


def _window(view: FeatureView, op: str, window: str | None) -> int | None:
    if op == "latest":
        max_age = view.latest.max_age if view.latest else None
        return None if max_age is None else duration_micros(max_age)
    return window_micros(window or "")


def _fields(views: Sequence[FeatureView], sources: Mapping[str, DataFrame]) -> list[T.StructField]:
    """Return the feature columns in the order in which buckets append them: by source, then by view."""
    return [
        T.StructField(feature, output_type(sources[name].schema, column, op))
        for name in dict.fromkeys(view.source for view in views)
        for view in views
        if view.source == name
        for feature, column, op, _ in view.features()
    ]
