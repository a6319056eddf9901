"""The newest predictions are held against the training rows, and against what came true."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from featurelib.errors import FeaturelibError
from featurelib.monitoring.drift import bin_counts, stability_index
from featurelib.pipeline.build_training_set import mature_labels
from featurelib.pipeline.context import Context, StepResult
from featurelib.pipeline.encrypted import readable
from featurelib.pipeline.reference import reference
from featurelib.pipeline.schemas import struct
from featurelib.tables import Stamp, append_ops, published, read
from featurelib.training import evaluation, regression

MONITORING = "ops.monitoring"
SHIFTED = 0.25
_WINDOW_DAYS = 7
_SCHEMA = struct(
    run_id="string", as_of="timestamp", kind="string", name="string", value="double", rows="long"
)


def monitor(context: Context) -> StepResult:
    """Measure drift of features and predictions over the last week, and quality where labels are mature.

    Drift is the population stability index against the training rows. Every figure is a row of
    ``ops.monitoring``.
    """
    known = published(context.store)
    for table, step in (
        (context.names.training_reference, "build_training_set"),
        (context.names.predictions, "score"),
    ):
        if table not in known:
            raise FeaturelibError(
                f"table {table!r} was never published", "a table to look at", f"run {step} first"
            )
    run_id = context.new_run_id("monitor")
    week = F.col("_day") >= F.lit((context.as_of - timedelta(days=_WINDOW_DAYS)).date())
    features = read(context.spark, context.store, context.names.features).where(week)
    predictions = read(context.spark, context.store, context.names.predictions).where(week)
    rows, drift = _drift(context, features)
    quality = _quality(context, predictions)
    facts = [("drift", name, value, rows) for name, value in drift.items()]
    facts += (
        [("quality", name, value, quality.rows) for name, value in _figures(quality).items()]
        if quality
        else []
    )
    append_ops(
        context.store,
        MONITORING,
        [
            {
                "run_id": run_id,
                "as_of": context.as_of,
                "kind": kind,
                "name": name,
                "value": value,
                "rows": number,
            }
            for kind, name, value, number in facts
        ],
        schema=_SCHEMA,
        stamp=Stamp(run_id, context.project.name, 0),
    )
    shifted = sorted(
        (name for name, value in drift.items() if value > SHIFTED), key=lambda name: -drift[name]
    )
    return StepResult(
        "monitor", _summary(shifted, len(drift), quality), run_id, facts={"drift": drift, "shifted": shifted}
    )


def _drift(context: Context, current: DataFrame) -> tuple[int, dict[str, float]]:
    """Return the rows looked at, and the stability index of each numeric feature; none without rows."""
    then = reference(context)
    now = bin_counts(current, {name: binned.edges for name, binned in then.items()})
    rows = max((sum(counts.values()) for counts in now.values()), default=0)
    if not rows:
        return 0, {}
    return rows, {name: stability_index(binned.rows, now[name]) for name, binned in then.items()}


def _quality(
    context: Context, predictions: DataFrame
) -> evaluation.Evaluation | regression.RegressionEvaluation | None:
    """Return how the week's predictions came true, None while no label is known."""
    project = context.project
    silver = context.names.silver(project.spine.table)
    labels = mature_labels(context, readable(context, read(context.spark, context.store, silver), silver))
    label = project.label.name
    met = predictions.join(
        labels.where(F.col(label).isNotNull()), on=[*project.spine.key, "_day"], how="inner"
    )
    if next(iter(project.models.values())).task == "regression":
        errors = regression.error_tallies(met, label=label, prediction="prediction")
        found = errors.get((evaluation.ALL_ROWS, evaluation.ALL_ROWS))
        return None if found is None else regression.regression_of(found)
    scored = met.select(
        F.col("probability").alias(evaluation.SCORE), F.col(label).cast("double").alias(label)
    )
    tally = evaluation.tallies(scored, label=label).get((evaluation.ALL_ROWS, evaluation.ALL_ROWS))
    return None if tally is None else evaluation.evaluation_of(tally, threshold=0.5)


def _figures(quality: evaluation.Evaluation | regression.RegressionEvaluation) -> dict[str, Any]:
    if isinstance(quality, regression.RegressionEvaluation):
        return {"rmse": quality.rmse, "mae": quality.mae, "r2": quality.r2}
    return {
        "roc_auc": quality.roc_auc,
        "pr_auc": quality.pr_auc,
        "log_loss": quality.log_loss,
        "brier": quality.brier,
    }


def _summary(
    shifted: list[str],
    features: int,
    quality: evaluation.Evaluation | regression.RegressionEvaluation | None,
) -> str:
    text = f"last {_WINDOW_DAYS} days: {len(shifted)} of {features} features shifted"
    if shifted:
        text += f" ({', '.join(shifted[:3])}{' ...' if len(shifted) > 3 else ''})"
    if isinstance(quality, regression.RegressionEvaluation):
        return f"{text}; RMSE {quality.rmse:.4g} on {quality.rows:,} rows whose label is known"
    if quality is None or quality.roc_auc is None:
        return f"{text}; no labels known yet"
    return f"{text}; ROC AUC {quality.roc_auc:.3f} on {quality.rows:,} rows whose label is known"
