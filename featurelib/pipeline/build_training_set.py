"""A training set is spine, features and mature label, split by time, pinned as one table version."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from featurelib.errors import FeaturelibError
from featurelib.pipeline.context import Context, StepResult
from featurelib.pipeline.schemas import struct
from featurelib.point_in_time.buckets import AS_OF
from featurelib.specs import Split
from featurelib.tables import ALL, begin_run, content_hash, published, read
from featurelib.timeline import duration_micros

SPLIT = "_split"
_CONTENT = struct(rows="long", content="string")


def build_training_set(context: Context) -> StepResult:
    """Join the mature labels to the features and split the rows; idle when nothing has changed.

    A label is mature when it is known before ``as_of``. Rows without one, and rows of no part of the split,
    are left out and counted.
    """
    project = context.project
    if context.names.features not in published(context.store):
        raise FeaturelibError("no features were built yet", "a feature table", "run build_features first")
    run_id = context.new_run_id("training-set")
    with begin_run(context.spark, context.store, pipeline=project.name, run_id=run_id) as run:
        features = run.read(context.names.features)
        labels = mature_labels(context, run.read(context.names.silver(project.spine.table)))
        labelled = features.join(labels, on=list(project.spine.key), how="left")
        split = labelled.withColumn(SPLIT, _part(project.split))
        mature = F.col(project.label.name).isNotNull()
        chosen = split.where(mature & F.col(SPLIT).isNotNull())
        run.create(context.names.training, chosen.schema, description=f"Training set of {project.name}.")
        before = training_content(context)
        if before is not None and before == content_hash(chosen):
            return StepResult("training set", "unchanged")
        run.write(chosen, context.names.training, replace=ALL)
        content = content_hash(run.read(context.names.training))
        run.create(context.names.training_content, _CONTENT, description="What the training set holds.")
        row = context.spark.createDataFrame([content], _CONTENT).coalesce(1)
        run.write(row, context.names.training_content, replace=ALL)
        counts = _counts(run.read(context.names.training), project.label.name)
        immature = features.count() - sum(rows for rows, _ in counts.values())
        run.publish(published_at=context.as_of)
    parts = ", ".join(
        f"{part} {rows:,} ({share:.1%} {project.label.name})" for part, (rows, share) in counts.items()
    )
    return StepResult(
        "training set",
        f"{parts}; {immature:,} rows left out (no mature label, or outside the split)",
        run_id,
        facts={"parts": {part: rows for part, (rows, _) in counts.items()}, "left_out": immature},
        versions=run.versions,
    )


def training_content(context: Context) -> tuple[int, str] | None:
    """Return rows and content hash of the published training set, None when there is none."""
    if context.names.training_content not in published(context.store):
        return None
    row = read(context.spark, context.store, context.names.training_content).collect()[0]
    return row["rows"], row["content"]


def mature_labels(context: Context, rows: DataFrame) -> DataFrame:
    """Return key and label of the rows whose label is known before ``as_of``. Grain: one row a spine key."""
    spine, label = context.project.spine, context.project.label
    keys = [F.expr(spine.columns[key]).alias(key) for key in spine.key]
    known = F.expr(label.known_ts) < F.lit(context.as_of)
    return rows.where(known).select(*keys, F.expr(label.value).cast("int").alias(label.name))


def _part(split: Split) -> Column:
    """Return the part of the split that a row's moment falls into, null for none."""
    embargo = timedelta(microseconds=duration_micros(split.embargo) if split.embargo else 0)
    parts = {"train": split.train, "validate": split.validate_, "test": split.test}
    chosen = F.lit(None).cast("string")
    for name, (first, last) in reversed(parts.items()):
        until = _midnight(last) - (embargo if name != "test" else timedelta(0))
        inside = (F.col(AS_OF) >= F.lit(_midnight(first))) & (F.col(AS_OF) < F.lit(until))
        chosen = F.when(inside, F.lit(name)).otherwise(chosen)
    return chosen


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)


def _counts(training: DataFrame, label: str) -> dict[str, tuple[int, float]]:
    rows = training.groupBy(SPLIT).agg(F.count("*").alias("rows"), F.avg(label).alias("share")).collect()
    found = {row[SPLIT]: (row["rows"], row["share"]) for row in rows}
    return {part: found.get(part, (0, 0.0)) for part in ("train", "validate", "test")}
