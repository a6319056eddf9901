"""The columnar shuffle: a plan of one Spark shuffle for each entity key, with the spine row carried along.

Every input is packed into Arrow blobs by the bucket of its key, Spark shuffles the blobs, and each bucket
computes the features of its entities and packs its spine rows for the next key. Keys whose sources are small
cost no shuffle: their features are computed where the spine is read. There is no join and no sort in Spark.
Only the public DataFrame API is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import reduce
from itertools import chain
from typing import TypeAlias

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.pandas.types import to_arrow_schema

from featurelib.point_in_time import blobs
from featurelib.point_in_time.buckets import SPINE_TAG, with_features
from featurelib.point_in_time.inputs import mapped
from featurelib.point_in_time.placement import Instants, Placement
from featurelib.point_in_time.plans import KeyPlan, Plan
from featurelib.point_in_time.reductions import Reduction, Tasks
from featurelib.point_in_time.slicing import ASKED
from featurelib.point_in_time.small import SmallKey, with_small_features

_OUTPUT_ROWS = 65_536

_Given: TypeAlias = tuple[Callable[[Iterable[pa.Table]], Iterator[pa.RecordBatch]], T.StructType | str]
"""What is made of tables of spine rows, and its schema."""


def columnar_features(plan: Plan) -> DataFrame:
    """Return the spine with its features, by one shuffle for each entity key that needs one.

    Grain: the spine's.
    """
    small = [_small_key(key) for key in plan.keys if not key.shuffled]
    shuffled = [key for key in plan.keys if key.shuffled]
    gives = [_packing(key.placement, ASKED, SPINE_TAG) for key in shuffled] + [_finishing(plan.schema)]
    first, schema = gives[0]
    piece_bytes = plan.bucket_bytes

    def begun(spine: Iterable[pa.Table]) -> Iterator[pa.RecordBatch]:
        yield from first(with_small_features(spine, small, piece_bytes=piece_bytes) if small else spine)

    carried = mapped(
        plan.spine, begun, schema, parallelism=plan.parallelism, makes=plan.spine_memory if small else None
    )
    for key, given in zip(shuffled, gives[1:], strict=True):
        carried = _through(key, carried, plan, given)
    return carried


def _through(key: KeyPlan, carried: DataFrame, plan: Plan, given: _Given) -> DataFrame:
    """Shuffle packed spine rows and the key's sources, compute its features, and make the next of them."""
    tasks, most_bytes = Tasks(key.task, key.placement, key.reductions), plan.most_bytes
    reductions = {reduction.served.tag: reduction for reduction in key.reductions}
    inputs = [carried]
    for source in key.sources:
        make, schema = _packing(key.placement, source.instants, source.tag, reductions.get(source.tag))
        inputs.append(mapped(source.scan, make, schema, parallelism=plan.parallelism))
    shuffled = reduce(DataFrame.unionAll, inputs).repartitionById(key.placement.count, F.col("bucket"))
    make_next, schema = given

    def computed(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        filled = (batch for batch in batches if batch.num_rows)
        for first in filled:  # all of a task's blobs are of one bucket
            task = tasks.of(first.column("bucket")[0].as_py())
            bucket = chain([first], filled)
            yield from make_next(with_features(bucket, task, most_bytes=most_bytes))

    # Kernels over whole buckets need Arrow: Spark has no operator that sees an entity's rows at once.
    return shuffled.mapInArrow(computed, schema)


def _packing(
    placement: Placement, instants: Instants, tag: int, reduction: Reduction | None = None
) -> _Given:
    """Pack tables into blobs of ``(bucket, tag, blob)``."""

    def pack(tables: Iterable[pa.Table]) -> Iterator[pa.RecordBatch]:
        for table in tables:
            if reduction is None:
                yield from blobs.packed(table, placement=placement, instants=instants, tag=tag)
            else:
                yield from reduction.packed(table, placement, instants)

    return pack, blobs.BLOB_SCHEMA


def _finishing(schema: T.StructType) -> _Given:
    """Give rows to Spark, columns in the order of the schema."""
    arrow_schema = to_arrow_schema(schema, timezone="UTC")

    def finish(tables: Iterable[pa.Table]) -> Iterator[pa.RecordBatch]:
        for table in tables:
            ordered = table.select(arrow_schema.names).cast(arrow_schema)
            yield from ordered.to_batches(max_chunksize=_OUTPUT_ROWS)

    return finish, schema


def _small_key(key: KeyPlan) -> SmallKey:
    reads = {source.tag: (source.scan.parts, source.scan.reading) for source in key.sources}
    return SmallKey(key.task, reads)
