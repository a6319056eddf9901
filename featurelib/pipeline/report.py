"""A run's page: what its steps did, and the newest figures of the steps that had nothing to do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyspark.sql import functions as F

from featurelib.pipeline.context import Context, StepResult
from featurelib.pipeline.records import last_facts
from featurelib.registry.segment_files import slice_row
from featurelib.registry.versions import CHAMPION
from featurelib.reports.run_report import RunReport, render_run_report
from featurelib.specs import SPLIT
from featurelib.tables import published, read


def write_report(context: Context, results: Sequence[StepResult]) -> Path:
    """Write the page of a run and return its path; ``latest.html`` beside it is a copy."""
    found = last_facts(context)
    known = {step: row["facts"] for step, row in found.items()}
    training = known.get("train", {}).get("training") or {}
    run_id = next((result.run_id for result in reversed(results) if result.run_id), "nothing-new")
    report = RunReport(
        pipeline=context.project.name,
        env=context.project.env,
        as_of=f"{context.as_of:%Y-%m-%d %H:%M} UTC",
        run_id=run_id,
        verdict=_verdict(known, results),
        stages=[
            {"name": result.step.replace("_", " "), "summary": result.summary, "seconds": result.seconds}
            for result in results
        ],
        ingest=[_ingest(load) for load in known.get("ingest", {}).get("ingest", [])],
        views=_views(context),
        null_shares=known.get("build_training_set", {}).get("null_shares") or {},
        lift=[_lift(step) for step in (training.get("baseline"), *training.get("lift", ())) if step],
        by_estimator={one["estimator"]: _scores(one) for one in training.get("by_estimator", ())},
        trials=[_trial(trial) for trial in training.get("trials", ())],
        metric=_metric(context),
        positive=context.project.label.name,
        evaluation=training.get("evaluation") if training.get("task") != "regression" else None,
        numbers=_numbers(training) if training.get("task") == "regression" else None,
        trivial=_lift(training["trivial"]) if training.get("trivial") else None,
        smaller=training.get("smaller", ()),
        importance=[(name, share) for name, share in training.get("importance", ())],
        segments=[_slice(one) for one in training.get("segments", {}).get("slices", ())],
        by_hour=_by_hour(context),
        gate=_gate(known),
        model=known.get("train", {}).get("model"),
        versions_written=published(context.store),
        tracking=f"./spark-submit.sh ui --env {context.project.env}",
        reproduce=_again(context),
    )
    folder = context.project.settings.work_folder / "reports"
    folder.mkdir(parents=True, exist_ok=True)
    page = render_run_report(report)
    path = folder / f"{run_id}.html"
    for target in (path, folder / "latest.html"):
        target.write_text(page, encoding="utf-8")
    path.with_suffix(".json").write_text(json.dumps(report.to_dict(), default=str), encoding="utf-8")
    return folder / "latest.html"


def _again(context: Context) -> str:
    return f"./spark-submit.sh jobs/pipeline.py --env {context.project.env} --as-of {context.as_of:%Y-%m-%d}"


def _verdict(known: dict[str, Any], results: Sequence[StepResult]) -> str:
    facts = known.get("train", {})
    trained = any(result.step == "train" and not result.is_idle for result in results)
    if not (trained and facts.get("gate")):
        return "published"
    if facts["model"]["alias"] == CHAMPION:
        return "promoted"
    return "awaits approval" if facts["gate"].get("awaits_approval") else "rejected"


def _gate(known: dict[str, Any]) -> Any:  # noqa: ANN401 - plain values of a record
    gate = known.get("train", {}).get("gate")
    return {key: gate[key] for key in ("passed", "mode", "reasons")} if gate else None


def _ingest(load: dict[str, Any]) -> Any:  # noqa: ANN401 - plain values of a record
    return {key: load[key] for key in ("table", "files", "rows_in", "passed", "quarantined", "reasons")}


def _lift(step: dict[str, Any]) -> Any:  # noqa: ANN401 - plain values of a record
    return {key: step.get(key) for key in ("name", "features", "roc_auc", "pr_auc", "r2", "rmse")}


def _numbers(training: dict[str, Any]) -> Any:  # noqa: ANN401 - plain values of a record
    """Return figures and shapes of a regression; those of a training before shapes were kept have none."""
    none: dict[str, Any] = {"calibration": [], "residuals": [], "quantiles": {}}
    return {**training["evaluation"], **none, **training.get("review", {}).get("shapes", {})}


def _scores(one: dict[str, Any]) -> Any:  # noqa: ANN401 - plain values of a record
    return {key: one.get(key) for key in ("roc_auc", "pr_auc", "r2", "rmse")}


def _trial(trial: dict[str, Any]) -> Any:  # noqa: ANN401 - plain values of a record
    keys = ("number", "estimator", "parameters", "value", "seconds", "state", "reason")
    return {key: trial[key] for key in keys if key in trial}


def _slice(outcome: dict[str, Any]) -> Any:  # noqa: ANN401 - plain values of a record
    row = slice_row(outcome)
    return {name: value for name, value in row.items() if not name.endswith("log_loss")}


def _metric(context: Context) -> str:
    return next(iter(context.project.models.values())).tuning.metric


def _views(context: Context) -> list[Any]:
    return [
        {
            "view": view.name,
            "entity": ", ".join(view.entity_key),
            "source": view.source,
            "features": list(view.feature_names),
            "windows": list(
                dict.fromkeys(feature.window for feature in view.features() if feature.window is not None)
            ),
        }
        for view in context.project.views
    ]


def _by_hour(context: Context) -> list[list[float]]:
    """Return hour of scheduled departure, rows, observed and predicted share, on predicted test rows."""
    hour = context.project.spine.report_by
    tables = published(context.store)
    if next(iter(context.project.models.values())).task == "regression":
        return []  # a number has no probability
    if hour is None or context.names.training not in tables or context.names.predictions not in tables:
        return []
    label = context.project.label.name
    test = read(context.spark, context.store, context.names.training).where(F.col(SPLIT) == "test")
    predictions = read(context.spark, context.store, context.names.predictions)
    both = test.join(
        predictions.select(*context.project.spine.key, "probability"), on=list(context.project.spine.key)
    )
    rows = (
        both.groupBy(F.expr(hour).cast("int").alias("hour"))
        .agg(F.count("*").alias("rows"), F.avg(label).alias("seen"), F.avg("probability").alias("said"))
        .orderBy("hour")
        .collect()
    )
    return [[row["hour"], row["rows"], row["seen"], row["said"]] for row in rows]
