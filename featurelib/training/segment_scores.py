"""Rows are scored by their slice's model, in Arrow batches grouped by slice; others keep their parent's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.ml.functions import vector_to_array
from pyspark.sql import functions as F
from pyspark.sql import types as T

from featurelib.registry.segment_files import SegmentBooster, SegmentModels
from featurelib.training.segment_fit import Floats, Matrix, explained, loaded, probabilities
from featurelib.training.segment_metrics import by_feature

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

SEGMENT = "_segment"
"""The slice whose model scored a row, null where the parent did."""

_FLOATS = "_segment_floats"
_EXPLAINED = T.StructType(
    [
        T.StructField("log_odds", T.DoubleType()),
        T.StructField("begin", T.DoubleType()),
        T.StructField("contributions", T.MapType(T.StringType(), T.DoubleType())),
    ]
)

Groups = Iterator[tuple[SegmentBooster, npt.NDArray[np.int64], Matrix]]


def segment_of(by: Sequence[str]) -> Column:
    """Return a row's slice: the values as a JSON list, as ``["UA"]``; null is ``[null]`` and no text."""
    return F.to_json(F.array(*(F.col(f"`{name}`").cast("string") for name in by)))


def with_segment_scores(rows: DataFrame, models: SegmentModels, *, vector: str, score: str) -> DataFrame:
    """Put the scores of slices' models in the place of the parent's; rows and their grain stay.

    A row's score depends on that row alone: not on its partition, its batch, or the other rows.

    Args:
        rows: with ``_segment`` as :func:`segment_of` gives it, the parent's vector and the parent's score.
        models: those of the slices.
        vector: the vector's column, which is taken away.
        score: the column of the probability.

    Returns:
        The rows; ``_segment`` is null where the parent's score stands.
    """
    return _by_slice(rows, models, vector=vector, make=_rescoring(score), adds=T.StructType())


def with_contributions(rows: DataFrame, models: SegmentModels, *, vector: str) -> DataFrame:
    """Explain the rows whose slice has a model of its own; others are left out. Grain: the rows'.

    Args:
        rows: with ``_segment`` as :func:`segment_of` gives it, and the parent's vector.
        models: those of the slices.
        vector: the vector's column, which is taken away.

    Returns:
        The rows with ``log_odds``, ``begin`` (what every row of the slice begins with) and ``contributions``,
        a map of each feature's SHAP value; ``begin`` and these add up to ``log_odds``, within float32.
    """
    made = _by_slice(rows, models, vector=vector, make=_explaining(models.places), adds=_EXPLAINED)
    return made.where(F.col(SEGMENT).isNotNull())


Make = Callable[[pa.RecordBatch, Groups], pa.RecordBatch]


def _by_slice(
    rows: DataFrame, models: SegmentModels, *, vector: str, make: Make, adds: T.StructType
) -> DataFrame:
    """Give every batch to ``make``, with its rows by slice; rows without a model have no vector."""
    known = F.col(SEGMENT).isin(*models.boosters)
    given = rows.select(
        *(F.col(f"`{name}`") for name in rows.columns if name not in {SEGMENT, vector}),
        F.when(known, F.col(SEGMENT)).alias(SEGMENT),
        F.when(known, vector_to_array(F.col(vector), "float32")).alias(_FLOATS),
    )
    schema = T.StructType([*(one for one in given.schema if one.name != _FLOATS), *adds])
    boosters = models.boosters

    def made(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            kept = batch.select([name for name in batch.schema.names if name != _FLOATS])
            yield make(kept, grouped(batch.column(SEGMENT), batch.column(_FLOATS), boosters))

    # xgboost's trees are no expression of Spark's; it takes the rows of a slice as one matrix.
    return given.mapInArrow(made, schema)


def grouped(segments: pa.Array, vectors: pa.Array, boosters: Mapping[str, SegmentBooster]) -> Groups:
    """Yield each slice's booster, the places of its rows in the batch, and their features as one matrix.

    Args:
        segments: the slice of each row, null where it has no model.
        vectors: the vector of each row, null likewise.
        boosters: those of all slices.
    """
    rows = np.flatnonzero(segments.is_valid().to_numpy(zero_copy_only=False))
    if not len(rows):
        return
    encoded = segments.drop_null().dictionary_encode()
    codes = encoded.indices.to_numpy()
    features = vectors.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(len(rows), -1)
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes))
    for name, start, end in zip(encoded.dictionary.to_pylist(), [0, *ends[:-1]], ends, strict=True):
        mine = order[start:end]
        yield boosters[name], rows[mine], np.ascontiguousarray(features[mine], dtype=np.float32)


def _rescoring(score: str) -> Make:
    def rescored(batch: pa.RecordBatch, groups: Groups) -> pa.RecordBatch:
        scores: Floats = batch.column(score).to_numpy(zero_copy_only=False).astype(np.float64)
        for booster, rows, features in groups:
            scores[rows] = probabilities(loaded(booster), features)
        return batch.set_column(batch.schema.get_field_index(score), score, pa.array(scores))

    return rescored


def _explaining(places: tuple[str, ...]) -> Make:
    names = list(dict.fromkeys(places))

    def with_explanations(batch: pa.RecordBatch, groups: Groups) -> pa.RecordBatch:
        log_odds, begin = np.zeros(batch.num_rows), np.zeros(batch.num_rows)
        values = np.zeros((batch.num_rows, len(names)))
        for booster, rows, features in groups:
            contributions, margins = explained(loaded(booster), features)
            log_odds[rows], begin[rows] = margins, contributions[:, -1]
            values[rows] = np.column_stack(list(by_feature(contributions[:, :-1], places).values()))
        offsets = pa.array(np.arange(0, values.size + 1, len(names)), pa.int32())
        keys = pa.array(names * batch.num_rows, pa.string())
        maps = pa.MapArray.from_arrays(offsets, keys, pa.array(values.ravel()))
        columns = [*batch.columns, pa.array(log_odds), pa.array(begin), maps]
        return pa.record_batch(columns, names=[*batch.schema.names, *_EXPLAINED.fieldNames()])

    return with_explanations
