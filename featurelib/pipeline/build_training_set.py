"""A training set is spine, features and mature label, split by time, pinned as one table version."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from featurelib.config import spec_hash
from featurelib.derived import feature_names
from featurelib.errors import FeaturelibError
from featurelib.pipeline.context import Context, StepResult, Surroundings
from featurelib.pipeline.encrypted import read_in_clear, require_keys
from featurelib.pipeline.reference import write_reference
from featurelib.pipeline.schemas import struct
from featurelib.point_in_time.features import AS_OF
from featurelib.specs import SPLIT, Split
from featurelib.tables import DataFile, Run, begin_run, content_hash, published, rows_of, snapshot
from featurelib.timeline import duration_micros

_CONTENT = struct(rows="long", content="string", pending="long", _made_from="string")


class TrainingContent(NamedTuple):
    """What a training set holds, and whether it could hold anything else by now.

    Attributes:
        rows: number of rows.
        content: hash of the rows in any order.
        pending: labels of its days that were not yet known.
        made_from: identity of the files and definitions it was made from.
    """

    rows: int
    content: str
    pending: int
    made_from: str


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
        before = training_content(context)
        made_from, days = made_of(context, run.base)
        if before is not None and before.made_from == made_from and not before.pending:
            return StepResult("training set", "unchanged")
        require_keys(context)
        chosen = _chosen(context, run)
        pending = _pending(context, run, days)
        if before is not None and (before.rows, before.content) == content_hash(chosen):
            _write_content(context, run, before._replace(made_from=made_from, pending=pending))
            run.publish(published_at=context.as_of)
            return StepResult("training set", "unchanged")
        run.rewrite(chosen, context.names.training, description=f"Training set of {project.name}.")
        rows, content = content_hash(run.read(context.names.training))
        _write_content(context, run, TrainingContent(rows, content, pending, made_from))
        write_reference(context, run)
        parts, null_shares = _profile(context, run)
        left_out = (snapshot(context.store, *_features(context, run)).num_records or 0) - rows
        run.publish(published_at=context.as_of)
    shown = ".1%" if _label_type(context) == "int" else ".4g"
    said = ", ".join(
        f"{part} {number:,} ({share:{shown}} {project.label.name})" for part, (number, share) in parts.items()
    )
    return StepResult(
        "training set",
        f"{said}; {left_out:,} rows left out (no mature label, or outside the split)",
        run_id,
        facts={
            "parts": {part: number for part, (number, _) in parts.items()},
            "left_out": left_out,
            "null_shares": null_shares,
        },
        versions=run.versions,
    )


def training_content(context: Surroundings) -> TrainingContent | None:
    """Return what the published training set holds, None when there is none."""
    if context.names.training_content not in published(context.store):
        return None
    row = rows_of(context.store, context.names.training_content)[0]
    return TrainingContent(row["rows"], row["content"], row["pending"], row["_made_from"])


def mature_labels(context: Context, rows: DataFrame) -> DataFrame:
    """Return key, ``_day`` and label of the rows whose label is known before ``as_of``.

    Grain: one row a row of the spine's table; the label of a spine row is that of the very row landed.
    """
    spine, label = context.project.spine, context.project.label
    keys = [F.expr(spine.columns[key]).alias(key) for key in spine.key]
    known = F.expr(label.known_ts) < F.lit(context.as_of)
    value = F.expr(label.value).cast(_label_type(context)).alias(label.name)
    return rows.where(known).select(*keys, "_day", value)


def _label_type(context: Surroundings) -> str:
    """Return ``int`` for the label of classes, ``double`` where a model predicts it as a number."""
    return "double" if any(one.task == "regression" for one in context.project.models.values()) else "int"


def _chosen(context: Context, run: Run) -> DataFrame:
    """Return the rows of the training set. Grain: a spine row in a part of the split, its label mature."""
    project = context.project
    features = run.read(context.names.features)
    labels = mature_labels(context, read_in_clear(context, run, context.names.silver(project.spine.table)))
    labelled = features.join(labels, on=[*project.spine.key, "_day"], how="left")
    split = labelled.withColumn(SPLIT, _part(project.split))
    return split.where(F.col(project.label.name).isNotNull() & F.col(SPLIT).isNotNull())


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


def bounds_of(split: Split) -> tuple[datetime, datetime]:
    """Return the interval of the moments that belong to some part of the split."""
    return _midnight(split.train[0]), _midnight(split.test[1])


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)


# --- has anything changed -------------------------------------------------------------------------------


def made_of(context: Surroundings, versions: Mapping[str, int]) -> tuple[str, tuple[date, date] | None]:
    """Return the identity of all that a training set is made from, and the first and last day of its rows.

    Files never change, so the names of those that can hold rows of the split say whether anything has.
    """
    project = context.project
    first, last = bounds_of(project.split)
    names = context.names
    features = snapshot(context.store, names.features, versions[names.features]).files
    features = tuple(file for file in features if _may_hold(file, AS_OF, first, last))
    bounds = [bound.get("_day") for file in features for bound in (file.minimum, file.maximum)]
    known: list[date] = [bound for bound in bounds if bound is not None]
    days = (min(known), max(known)) if known and len(known) == len(bounds) else None
    table = names.silver(project.spine.table)
    labels = snapshot(context.store, table, versions[table]).files
    if days is not None:
        labels = tuple(file for file in labels if _may_hold(file, "_day", *days))
    files = sorted(file.path.rsplit("/", 1)[-1] for file in (*features, *labels))
    specs = [spec_hash(spec) for spec in (project.spine, project.label, project.split)]
    specs += ["double"] if _label_type(context) == "double" else []
    return hashlib.sha256(repr((files, specs)).encode()).hexdigest(), days


def _features(context: Context, run: Run) -> tuple[str, int]:
    return context.names.features, run.base[context.names.features]


def _may_hold(file: DataFile, column: str, first: Any, last: Any) -> bool:  # noqa: ANN401 - dates or instants
    """Return whether a file can hold a value of ``[first, last]``, by the bounds in the log."""
    least, greatest = file.minimum.get(column), file.maximum.get(column)
    return least is None or greatest is None or bool(least <= last and greatest >= first)


def _pending(context: Context, run: Run, days: tuple[date, date] | None) -> int:
    """Return how many labels of the split's rows will be known, but are not yet."""
    project = context.project
    first, last = bounds_of(project.split)
    moment = F.expr(project.spine.as_of_ts)
    rows = read_in_clear(context, run, context.names.silver(project.spine.table))
    if days is not None:
        rows = rows.where(F.col("_day").between(*(F.lit(day) for day in days)))
    asked = rows.where((moment >= F.lit(first)) & (moment < F.lit(last)))
    return asked.where(F.expr(project.label.known_ts) >= F.lit(context.as_of)).count()


def _write_content(context: Context, run: Run, content: TrainingContent) -> None:
    run.create(context.names.training_content, _CONTENT, description="What the training set holds.")
    row = {name: value for name, value in content._asdict().items() if name != "made_from"}
    run.replace_rows([{**row, "_made_from": content.made_from}], context.names.training_content)


# --- what people are told -------------------------------------------------------------------------------


def _profile(context: Context, run: Run) -> tuple[dict[str, tuple[int, float]], dict[str, float]]:
    """Return rows and positive share of each part, and the share of nulls of each feature on test rows."""
    names = feature_names(context.project)
    nulls = [F.avg(F.col(name).isNull().cast("double")).alias(name) for name in names]
    share = F.avg(context.project.label.name).alias("_share")
    training = run.read(context.names.training)
    found = {
        row[SPLIT]: row
        for row in training.groupBy(SPLIT).agg(F.count("*").alias("_rows"), share, *nulls).collect()
    }
    parts = {
        part: (found[part]["_rows"], found[part]["_share"]) if part in found else (0, 0.0)
        for part in ("train", "validate", "test")
    }
    return parts, {name: found["test"][name] for name in names} if "test" in found else {}
