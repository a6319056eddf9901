"""Models of slices beside their parent: counted, packed by cost, moved once, and fitted beside each other."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.ml.functions import vector_to_array
from pyspark.sql import functions as F

from featurelib.errors import FrameError, PreconditionError, nearest
from featurelib.point_in_time import blobs
from featurelib.registry.segment_files import SegmentBooster, SegmentModels
from featurelib.specs import SPLIT, ModelSpec, Segments
from featurelib.training import evaluation
from featurelib.training.estimators import LABEL, missing_package
from featurelib.training.preparation import ROW_HASH, VECTOR
from featurelib.training.segment_blobs import BLOBS, PARENT, opened, packed_by_slice
from featurelib.training.segment_blobs import VECTOR as FLOATS
from featurelib.training.segment_fit import (
    SPLITS,
    FitSettings,
    SliceOutcome,
    fitted_slice,
)
from featurelib.training.segment_packs import SliceSize, estimated_cost, packed
from featurelib.training.segment_scores import SEGMENT, segment_of, with_segment_scores

if TYPE_CHECKING:
    from pyspark.ml import Model
    from pyspark.sql import Column, DataFrame

    from featurelib.training.finals import Final
    from featurelib.training.workshop import Workshop

_TYPES = frozenset({"string", "tinyint", "smallint", "int", "bigint", "boolean", "date"})
_AS_OF = "as_of_ts"
_MOST_SLICES = 10_000
_VALUE_BYTES = 4
_ROW_BYTES = 32
_OUTCOMES = "segment string, outcome string, booster binary"


@dataclass(frozen=True)
class Slicing:
    """The slices that a model wants: its spec, and the Spark type of each column that slices are made by."""

    spec: Segments
    by: dict[str, str]


@dataclass(frozen=True)
class SegmentsResult:
    """What became of every slice, and the models of those that have one.

    Attributes:
        models: of the slices in state ``own``.
        outcomes: of all slices, by name.
    """

    models: SegmentModels
    outcomes: tuple[SliceOutcome, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the boosters, as plain JSON values."""
        return {"by": list(self.models.by), "slices": [outcome.to_dict() for outcome in self.outcomes]}


def checked_segments(training: DataFrame, model: ModelSpec) -> Slicing | None:
    """Return the slices that a model wants, None without segments.

    Raises:
        FrameError: a column is missing, or of a type whose values are no names.
        PreconditionError: xgboost is not installed.
    """
    if model.segments is None:
        return None
    if (package := missing_package(model.segments.learner)) is not None:
        raise PreconditionError(
            f"the model has segments, and the package {package} is not installed",
            "xgboost-cpu of the version in requirements.lock",
            "install featurelib[xgboost], or take segments out of the model",
        )
    types = {column.name: column.dataType.simpleString() for column in training.schema.fields}
    for name in model.segments.by:
        if name not in types:
            raise FrameError(
                f"segments by {name!r}: the training frame has no such column.{nearest(name, types)}",
                "a spine column or a feature",
                "mend segments.by of the model, or build the training set with the column",
            )
        if types[name] not in _TYPES:
            raise FrameError(
                f"segments by {name!r}, which is a {types[name]}",
                "text, whole numbers, booleans or dates: other values are not equal or unequal for sure",
                "derive buckets from it, and name these",
            )
    return Slicing(model.segments, {name: types[name] for name in model.segments.by})


def trained_segments(workshop: Workshop, slicing: Slicing, *, fair: Model, final: Model) -> SegmentsResult:
    """Fit a model for each slice that has enough rows, in parallel on Spark.

    Rows cross one shuffle, as Arrow blobs of float32; each is opened where its slice is fitted.

    Args:
        workshop: the parent's prepared rows, with the columns that slices are made by.
        slicing: which slices.
        fair: the parent fitted on training rows alone: slices are held against it on validation rows, which
            ``final`` has learnt from.
        final: the parent as it is kept: slices are measured beside it on test rows.

    Raises:
        FrameError: there are more slices than could be told apart or collected.
    """
    segments, places = slicing.spec, workshop.preparation.places["tree"]
    segment = segment_of(segments.by)
    sizes = _sizes(workshop.rows, segment, by=segments.by)
    kept = {name: _too_small(size, segments, places=len(places)) for name, size in sizes.items()}
    wanted = {name: sizes[name] for name, reason in kept.items() if reason is None}
    settings = FitSettings(segments, workshop.model.tuning.metric, workshop.model.tuning.seed, places)
    fitted = _fitted(_rows(workshop, segment, fair, final), wanted, settings, slots=workshop.cores)
    outcomes = {name: outcome for name, (outcome, _) in fitted.items()}
    outcomes |= {name: _kept_by_parent(name, sizes[name], reason) for name, reason in kept.items() if reason}
    boosters = {
        name: SegmentBooster(outcome.sha256, content)
        for name, (outcome, content) in sorted(fitted.items())
        if outcome.state == "own"
    }
    models = SegmentModels(by=slicing.by, places=places, boosters=boosters)
    return SegmentsResult(models, tuple(outcomes[name] for name in sorted(outcomes)))


def measured_with_slices(
    workshop: Workshop, parent: Final, models: SegmentModels, *, slices: Sequence[str]
) -> Final:
    """Return the parent, its test rows measured as the whole predicts them: slices by their own models."""
    scored = evaluation.with_score(parent.model.transform(workshop.of("test")))
    combined = with_slice_scores(scored, models)
    counted = evaluation.tallies(combined, label=LABEL, slices=slices, block=F.to_date(_AS_OF))
    return replace(parent, tallies=counted)


def with_slice_scores(scored: DataFrame, models: SegmentModels) -> DataFrame:
    """Put slices' scores in the place of the parent's ``_score``; without models rows stay as they are."""
    if not models.boosters:
        return scored
    dropped = [
        column for column in (*VECTOR.values(), "rawPrediction", "probability") if column in scored.columns
    ]
    kept = [column for column in scored.columns if column not in {*dropped, SEGMENT}]
    rows = scored.select(*kept, segment_of(list(models.by)).alias(SEGMENT), VECTOR["tree"])
    return with_segment_scores(rows, models, vector=VECTOR["tree"], score=evaluation.SCORE)


def _sizes(rows: DataFrame, segment: Column, *, by: Sequence[str]) -> dict[str, SliceSize]:
    """Count the rows and positives of each slice and part.

    Raises:
        FrameError: there are too many slices.
    """
    counted = (
        rows.groupBy(segment.alias(SEGMENT), SPLIT)
        .agg(F.count(F.lit(1)).alias("rows"), F.count_if(F.col(LABEL) == 1).alias("positives"))
        .limit(len(SPLITS) * _MOST_SLICES + 1)
        .collect()
    )
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for row in counted:
        found.setdefault(row[SEGMENT], {})[row[SPLIT]] = (int(row["rows"]), int(row["positives"]))
    if len(found) > _MOST_SLICES:
        raise FrameError(
            f"segments by {', '.join(by)} give more than {_MOST_SLICES:,} slices",
            "slices with hundreds of rows each, which are worth a model",
            "name columns with fewer values, or derive buckets from them",
        )
    sizes = {}
    for name in sorted(found):
        train, validate, test = (found[name].get(split, (0, 0)) for split in SPLITS)
        positives = (train[1], validate[1], test[1])
        sizes[name] = SliceSize(train[0], validate[0], test[0], positives)
    return sizes


def _too_small(size: SliceSize, segments: Segments, *, places: int) -> str | None:
    """Return why a slice keeps its parent whatever a fit would give, None where it is to be fitted."""
    if size.fitted < segments.min_rows:
        return f"{size.fitted:,} train and validation rows, fewer than min_rows {segments.min_rows:,}"
    for part, rows, positives in (
        ("train", size.train, size.positives[0]),
        ("validation", size.validate, size.positives[1]),
    ):
        if positives in {0, rows}:
            label = "no rows" if not rows else f"{rows:,} rows, all of label {int(positives > 0)}"
            return f"one class only: {label} in {part}"
    rows = size.at_most(segments.max_rows).rows
    mib = rows * _row_bytes(places) / 2**20
    if mib > segments.task_mib:
        fewer = segments.task_mib * 2**20 // _row_bytes(places)
        return (
            f"its {rows:,} rows take {mib:,.0f} MiB, more than task_mib {segments.task_mib:,}; "
            f"max_rows {fewer:,} takes a sample that fits"
        )
    return None


def _row_bytes(places: int) -> int:
    return places * _VALUE_BYTES + _ROW_BYTES


def _kept_by_parent(name: str, size: SliceSize, reason: str) -> SliceOutcome:
    counted = (size.train, size.validate, size.test)
    return SliceOutcome(name, "parent", reason, rows=counted, positives=size.positives)


def _rows(workshop: Workshop, segment: Column, fair: Model, final: Model) -> DataFrame:
    """Return what a fit needs of each row, with the parent's probability where it may be compared."""
    parts = {
        "train": workshop.of("train").withColumn(evaluation.SCORE, F.lit(None).cast("double")),
        "validate": evaluation.with_score(fair.transform(workshop.of("validate"))),
        "test": evaluation.with_score(final.transform(workshop.of("test"))),
    }
    columns = [
        segment.alias("segment"),
        F.col(ROW_HASH).alias("row_hash"),
        F.col(LABEL).alias("label"),
        F.col(evaluation.SCORE).alias(PARENT),
        F.coalesce(F.unix_date(F.to_date(_AS_OF)), F.lit(0)).alias("day"),
        vector_to_array(F.col(VECTOR["tree"]), "float32").alias(FLOATS),
    ]
    train, validate, test = (
        parts[split].select(*columns, F.lit(place).cast("tinyint").alias("split"))
        for place, split in enumerate(SPLITS)
    )
    return train.unionByName(validate).unionByName(test)


def _fitted(
    rows: DataFrame, sizes: Mapping[str, SliceSize], settings: FitSettings, *, slots: int
) -> dict[str, tuple[SliceOutcome, bytes]]:
    if not sizes:
        return {}
    places, most = len(settings.places), settings.segments.max_rows
    shares = {name: most / size.rows for name, size in sizes.items() if most is not None and size.rows > most}
    all_rows, sizes = sizes, {name: size.at_most(most) for name, size in sizes.items()}
    costs = {name: estimated_cost(size, settings.segments, places=places) for name, size in sizes.items()}
    most_rows = settings.segments.task_mib * 2**20 // _row_bytes(places)
    packs = packed(
        costs, slots=slots, rows={name: size.rows for name, size in sizes.items()}, most_rows=most_rows
    )
    found = {}
    for row in fitted_in_packs(rows, packs, settings, shares=shares).collect():
        name, outcome = row["segment"], SliceOutcome.from_dict(json.loads(row["outcome"]))
        if name in shares:
            outcome = _of_a_sample(outcome, all_rows[name], settings.segments)
        found[name] = (outcome, bytes(row["booster"]))
    return found


def _of_a_sample(outcome: SliceOutcome, size: SliceSize, segments: Segments) -> SliceOutcome:
    """Return an outcome with all rows of its slice, its reason saying how many of them were looked at."""
    said = f"by {sum(outcome.rows):,} of its {size.rows:,} rows (max_rows {segments.max_rows:,})"
    counted = (size.train, size.validate, size.test)
    reason = f"{outcome.reason}; {said}" if outcome.reason else said
    return replace(outcome, rows=counted, positives=size.positives, reason=reason)


def fitted_in_packs(
    rows: DataFrame,
    packs: list[list[str]],
    settings: FitSettings,
    *,
    shares: Mapping[str, float] | None = None,
) -> DataFrame:
    """Fit the slices of each pack in a task of its own, the first pack's first. Grain: one row a slice.

    Args:
        rows: ``segment``, ``row_hash``, ``label``, ``parent``, ``day`` (of ``as_of_ts``, as a number),
            ``split`` (place in train, validate, test) and ``vector`` (an array of floats); rows of slices in
            no pack are left out.
        packs: slices by task.
        settings: what the fits have in common.
        shares: of slices of which not all rows are taken.

    Returns:
        segment, its outcome as JSON, and its booster: empty where it has none.
    """
    pack_of = {name: place for place, names in enumerate(packs) for name in names}

    def pack(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for table in blobs.chunks(batches):
            yield packed_by_slice(table, pack_of, shares)

    def fit(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        waiting: dict[str, list[bytes]] = {}
        number = 0
        for batch in batches:
            for row in batch.to_pylist():
                waiting.setdefault(row["segment"], []).append(row["blob"])
                number = row["pack"]
        for name in packs[number] if waiting else ():
            outcome, booster = fitted_slice(name, opened(waiting.pop(name)), settings)
            yield pa.record_batch(
                [[name], [outcome.to_json()], pa.array([booster], pa.binary())],
                names=["segment", "outcome", "booster"],
            )

    # Arrow both times: Spark moves a blob a slice and chunk, and xgboost takes a slice's rows as one matrix.
    moved = rows.where(F.col("segment").isin(*pack_of)).mapInArrow(pack, BLOBS)
    return moved.repartitionById(len(packs), F.col("pack")).mapInArrow(fit, _OUTCOMES)
