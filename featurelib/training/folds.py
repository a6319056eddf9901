"""The training rows are cut into folds, each prepared by its own training rows alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from pyspark.sql import functions as F

from featurelib.errors import FrameError, ModelGateError, nearest
from featurelib.specs import SPLIT, Folds, ModelSpec
from featurelib.timeline import duration_micros
from featurelib.training.workshop import AS_OF, Workshop, prepared, row_hash

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_PARTS = ("train", "validate")
_BUCKETS = 4096


@contextmanager
def folded(
    training: DataFrame, model: ModelSpec, *, features: tuple[str, ...], label: str, key: Sequence[str]
) -> Iterator[list[Workshop]]:
    """Give a workshop for each fold of the training rows, persisted until the end; none without folds.

    Medians, categories and scales of a fold are those of its own training rows: what is measured on the
    others has taught nothing.

    Raises:
        FrameError: there is no such column to group by.
        ModelGateError: a fold has rows of one label only.
    """
    workshops: list[Workshop] = []
    try:
        if model.tuning.folds is not None:
            identity = key or (AS_OF, *model.identities, *features)
            hashed = row_hash(identity, seed=model.tuning.seed)
            cuts = fold_frames(training, model.tuning.folds, label=label, hashed=hashed)
            for number, rows in enumerate(cuts, start=1):
                workshops.append(_prepared(rows, model, number, features=features, label=label, key=key))
        yield workshops
    finally:
        for workshop in workshops:
            workshop.rows.unpersist()


def _prepared(
    rows: DataFrame,
    model: ModelSpec,
    number: int,
    *,
    features: tuple[str, ...],
    label: str,
    key: Sequence[str],
) -> Workshop:
    try:
        return prepared(rows, model, features=features, label=label, key=key, splits=_PARTS)
    except ModelGateError as error:
        raise ModelGateError(
            f"fold {number}: {error.given}", error.expected, "take fewer folds, or another kind of them"
        ) from error


def fold_frames(training: DataFrame, folds: Folds, *, label: str, hashed: Column) -> list[DataFrame]:
    """Return the training rows once a fold, ``_split`` saying ``train``, ``validate`` or null for neither.

    Which fold a row belongs to follows from the rows alone, however they are partitioned.

    Args:
        training: rows with ``_split``; those that are not ``train`` are left out.
        folds: how to cut.
        label: the label column, of few distinct values, for ``stratified``.
        hashed: a hash of each row's identity.
    """
    rows = training.where(F.col(SPLIT) == "train")
    parts = _expanding(rows, folds) if folds.kind == "expanding" else _apart(rows, folds, label, hashed)
    return [rows.withColumn(SPLIT, part) for part in parts]


def _expanding(rows: DataFrame, folds: Folds) -> list[Column]:
    """Cut where equally many rows lie between; an instant is never cut."""
    at = F.unix_micros(F.col(AS_OF).cast("timestamp"))
    shares = [number / (folds.count + 1) for number in range(1, folds.count + 1)]
    found = rows.agg(F.percentile(at, F.lit(shares)).alias("cuts")).collect()[0]["cuts"]
    cuts = [round(cut) for cut in found or []]
    if len({*cuts}) < folds.count:
        raise ModelGateError(
            f"the training rows have too few instants for {folds.count} expanding folds",
            f"{folds.count + 1} parts that follow each other",
            "take fewer folds, or load more days",
        )
    pause = duration_micros(folds.embargo) if folds.embargo else 0
    return [
        F.when(at < start - pause, "train").when((at >= start) & (at < end), "validate")
        for start, end in zip(cuts, [*cuts[1:], np.iinfo(np.int64).max], strict=True)
    ]


def _apart(rows: DataFrame, folds: Folds, label: str, hashed: Column) -> list[Column]:
    if folds.group is not None:
        if folds.group not in rows.columns:
            raise FrameError(
                f"no column {folds.group!r} to make folds by.{nearest(folds.group, rows.columns)}",
                f"a column of the training set: {', '.join(rows.columns[:20])}",
                "correct tuning.folds.group",
            )
        fold = F.pmod(F.xxhash64(F.col(f"`{folds.group}`"), F.lit("fold")), F.lit(folds.count))
    else:
        fold = _stratum(rows, folds.count, label=label, hashed=hashed)
    return [F.when(fold == number, "validate").otherwise("train") for number in range(folds.count)]


def _stratum(rows: DataFrame, count: int, *, label: str, hashed: Column) -> Column:
    """Return the fold of a row by its label and hash: of each label, about equally many rows in each.

    Rows are counted by label and a few thousand buckets of their hash; folds are runs of buckets, so no
    row has to move, and of a rare label each bucket holds one row at most.
    """
    value = F.col(f"`{label}`").cast("double")
    # Not the hash itself: which rows are sampled follows from that one.
    bucket = F.pmod(F.xxhash64(hashed, F.lit("fold")), F.lit(_BUCKETS))
    counted = rows.groupBy(value.alias("label"), bucket.alias("bucket")).count().collect()
    labels = sorted({row["label"] for row in counted if row["label"] is not None})
    fold: Column = F.lit(0)
    for known in labels:
        sizes = np.zeros(_BUCKETS, dtype=np.int64)
        for row in counted:
            if row["label"] == known:
                sizes[row["bucket"]] = row["count"]
        middle = np.cumsum(sizes) - (sizes + 1) / 2  # a bucket belongs where its middle row does
        owner = np.minimum(middle * count // max(sizes.sum(), 1), count - 1)
        place = F.lit(0)
        for number in range(1, count):
            first = int(np.searchsorted(owner, number))
            place = place + F.when(bucket >= first, 1).otherwise(0)
        fold = F.when(value == known, place).otherwise(fold)
    return fold
