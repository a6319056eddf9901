"""The champion predicts every day that has features and no prediction yet, exactly once."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

import featurelib
from featurelib.config import spec_hash
from featurelib.errors import FeaturelibError
from featurelib.lineage.records import LineageRecord, as_row, code_version, package_versions
from featurelib.pipeline.context import Context, StepResult
from featurelib.pipeline.days import ALL_DAYS, DayRange
from featurelib.pipeline.definitions import check_features
from featurelib.pipeline.functions import loaded_model
from featurelib.pipeline.rescore import late_predictions, stale_predictions, supersede
from featurelib.pipeline.schemas import struct
from featurelib.pipeline.touched import join_identity
from featurelib.registry.tracker import LoadedModel, Tracker
from featurelib.scoring.batch import score as predictions_of
from featurelib.tables import Run, Stamp, append_ops, begin_run, published, snapshot
from featurelib.training.segment_scores import SEGMENT

LINEAGE = "ops.lineage"
_LINEAGE_SCHEMA = struct(lineage_id="string", run_id="string", output="string", record="string")


def score(context: Context, *, days: DayRange = ALL_DAYS) -> StepResult:
    """Write the champion's predictions for every day from ``score_from`` on that has none.

    Grain: one row a (spine key, ``as_of_ts``). Days predicted before stay as they were predicted; where the
    project says ``late_data: rescore``, rows that late or corrected data has touched since are predicted
    again, and what they were is kept.

    Args:
        context: the run's surroundings.
        days: days of the spine to look at for missing predictions; others stay as they are.

    Raises:
        ModelGateError: there is no champion, or its features are no longer those of the feature table.
    """
    project = context.project
    if context.names.features not in published(context.store):
        raise FeaturelibError("no features were built yet", "a feature table", "run build_features first")
    name = next(iter(project.models))
    run_id = context.new_run_id("score")
    with begin_run(context.spark, context.store, pipeline=project.name, run_id=run_id) as run:
        features = run.read(context.names.features)
        since = features
        if project.score_from is not None:
            since = features.where(F.col("_day") >= F.lit(project.score_from))
        wanted = [day for day in _days_to_score(context, run, since) if days.holds(day)]
        late = late_predictions(context, run.base)
        if not wanted and not late:
            return StepResult("score", "every day has its predictions")
        model = _champion(context, name)
        record = _record(context, run, model)
        keys = [*project.spine.key, "_day", "_month"]

        def predict(rows: DataFrame) -> DataFrame:
            found = predictions_of(rows, model, keys=keys, run_id=run_id, lineage_id=record.lineage_id)
            return _with_slices(run, context.names.predictions, found)

        again = 0
        if late:
            stale = stale_predictions(context, run, late)
            touched = join_identity(features, stale, project, how="left_semi")
            again = supersede(context, run, late, stale, predict(touched))
        rows = _append(context, run, predict(since.where(F.col("_day").isin(wanted)))) if wanted else 0
        append_ops(
            context.store,
            LINEAGE,
            [as_row(record, run_id=run_id)],
            schema=_LINEAGE_SCHEMA,
            stamp=Stamp(run_id, project.name, run.token),
        )
        run.publish(published_at=context.as_of)
    said = [f"{rows:,} predictions of {len(wanted)} day{'s' * (len(wanted) != 1)}"] if wanted else []
    said += [f"{again:,} predicted again for late or corrected data"] if late else []
    return StepResult(
        "score",
        f"{', '.join(said)} by {name} version {model.version}, lineage {record.lineage_id[:8]}",
        run_id,
        facts={
            "rows": rows,
            "days": len(wanted),
            "again": again,
            "lineage_id": record.lineage_id,
            "model_version": model.version,
        },
        versions=run.versions,
    )


def _with_slices(run: Run, table: str, scored: DataFrame) -> DataFrame:
    """Make table and frame agree on ``_segment``: only models with segments give it, else it is null."""
    if table not in run.base:
        return scored
    has = run.read(table).schema
    if SEGMENT in scored.columns and SEGMENT not in has.fieldNames():
        run.widen(table, StructType([*has, scored.schema[SEGMENT]]))
    if SEGMENT in has.fieldNames() and SEGMENT not in scored.columns:
        return scored.withColumn(SEGMENT, F.lit(None).cast("string"))
    return scored


def _append(context: Context, run: Run, scored: DataFrame) -> int:
    """Add predictions and return how many these are."""
    table = context.names.predictions
    run.create(table, scored.schema, partition_by=("_month",), description="One row a prediction.")
    before = _rows(context, run.versions.get(table, run.base.get(table)))
    return _rows(context, run.append(scored, table)) - before


def _days_to_score(context: Context, run: Run, features: DataFrame) -> list[date]:
    """Return the days that have features and no prediction, in order."""
    days = features.select("_day").distinct()
    if context.names.predictions in run.base:
        scored = run.read(context.names.predictions).select("_day").distinct()
        days = days.join(scored, on="_day", how="left_anti")
    return sorted(row["_day"] for row in days.collect())


def _champion(context: Context, name: str) -> LoadedModel:
    """Load the champion, unless it was trained on features that mean something else by now."""
    registered = Tracker(context.project.settings.tracking).champion(name)
    check_features(context.project, registered)
    return loaded_model(context.project, registered)


def _record(context: Context, run: Run, model: LoadedModel) -> LineageRecord:
    tables = [context.names.features]
    tables += [context.names.silver(name) for name in context.project.tables]
    return LineageRecord(
        output=context.names.predictions,
        inputs={table: run.base[table] for table in tables},
        features_hash=model.features_hash,
        config_hash=spec_hash(context.project),
        model={"name": model.name, "version": str(model.version), "sha256": model.sha256},
        code=code_version(featurelib.__version__),
        packages=package_versions(),
    )


def _rows(context: Context, version: int | None) -> int:
    if version is None:
        return 0
    return snapshot(context.store, context.names.predictions, version).num_records or 0
