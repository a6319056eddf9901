"""A run as one page: what came in, what was computed, how good the model is and how to have it again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pydantic import TypeAdapter, ValidationError

from featurelib.errors import ConfigError, nearest
from featurelib.reports import charts, formats
from featurelib.reports.charts import Axis, Frame, Series
from featurelib.reports.number_charts import beyond, number_curves
from featurelib.reports.pages import render_page
from featurelib.reports.run_parts import (
    Evaluation,
    GateResult,
    Ingest,
    Lift,
    Model,
    Numbers,
    Scores,
    Slice,
    Smaller,
    Stage,
    Trial,
    View,
)

if TYPE_CHECKING:
    from markupsafe import Markup

PROTOTYPE_ROC_AUC: Mapping[str, Mapping[str, float]] = {
    "flights": {
        "calendar and route": 0.610,
        "plus weather": 0.694,
        "plus point-in-time windows": 0.729,
        "both": 0.755,
    }
}
"""Test ROC AUC of a single-machine prototype under the same rule, by pipeline and feature set."""

_TONES = {
    "promoted": "good",
    "passed": "good",
    "published": "good",
    "succeeded": "good",
    "failed": "bad",
    "rejected": "bad",
}
_MOST_IMPORTANCES = 20
_COIN = 0.5


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """Everything the page of a run says, as plain values that survive JSON.

    Attributes:
        as_of: the moment the run was asked about, as text.
        verdict: one or two words; ``promoted``, ``passed``, ``published`` and ``succeeded`` show as good,
            ``failed`` and ``rejected`` as bad, others as neither.
        metric: name of the trials' validation metric.
        positive: a word for what the model predicts, as ``late``.
        numbers: how a model of ``task: regression`` did; the lift table then shows R2 and RMSE.
        trivial: what always predicting the mean label of the training rows makes of the test rows.
        smaller: pruned and distilled models beside what they were made of.
        null_shares: share of null values on the test rows by feature.
        importance: ``(feature, share)``, greatest first.
        segments: what became of each slice of a model with segments.
        by_hour: ``(hour, rows, observed share, predicted share)``.
        reference: ROC AUC by name of a lift row to show beside ours; absent means the prototype's
            figures where the pipeline has them.
        versions_read: Delta version by table; likewise ``versions_written``.
        tracking: the command that opens MLflow on this run's tracking store.
        reproduce: the commands that make the same run again.
    """

    pipeline: str
    env: str
    as_of: str
    run_id: str
    verdict: str
    stages: Sequence[Stage] = ()
    ingest: Sequence[Ingest] = ()
    views: Sequence[View] = ()
    null_shares: Mapping[str, float] = field(default_factory=dict)
    lift: Sequence[Lift] = ()
    reference: Mapping[str, float] | None = None
    by_estimator: Mapping[str, Scores] = field(default_factory=dict)
    trials: Sequence[Trial] = ()
    metric: str = "roc_auc"
    positive: str = "positive"
    evaluation: Evaluation | None = None
    numbers: Numbers | None = None
    trivial: Lift | None = None
    smaller: Sequence[Smaller] = ()
    importance: Sequence[tuple[str, float]] = ()
    by_hour: Sequence[Sequence[float]] = ()
    segments: Sequence[Slice] = ()
    gate: GateResult | None = None
    model: Model | None = None
    versions_read: Mapping[str, int] = field(default_factory=dict)
    versions_written: Mapping[str, int] = field(default_factory=dict)
    tracking: str = ""
    reproduce: str = ""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunReport:
        """Return the report that ``to_dict`` or a JSON file of it describes.

        Raises:
            ConfigError: a key is unknown or missing, or a value has the wrong type.
        """
        known = [one.name for one in dataclasses.fields(cls)]
        for key in values:
            if key not in known:
                raise ConfigError(
                    f"run report key {key!r}", f"one of {', '.join(known)}.{nearest(key, known)}"
                )
        try:
            return TypeAdapter(cls).validate_python(values)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise ConfigError(f"run report value {place}", first["msg"], "give plain values") from None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as dictionaries, lists, texts and numbers."""
        return dataclasses.asdict(self)


def render_run_report(report: RunReport) -> str:
    """Return one self-contained HTML page: no script, no network, charts inline.

    A part that the run does not have leaves its section out; a sentence at the end of the page says so.
    """
    return render_page(
        "run_report.html.j2",
        report=report,
        tone=_TONES.get(report.verdict, "plain"),
        total_seconds=sum(stage["seconds"] for stage in report.stages),
        ingest_total=_ingest_total(report.ingest),
        views=_views(report),
        view_columns=sum(len(view["features"]) for view in report.views),
        lift=_lift(report),
        curves=_curves(report),
        strip=_strip(report),
        trials=sorted(report.trials, key=lambda trial: trial["number"]),
        by_estimator=_by_estimator(report),
        beyond=beyond(report.numbers["residuals"]) if report.numbers else None,
        importance=_importance(report),
        slices=sorted(report.segments, key=lambda one: (-one["train_rows"], one["segment"])),
        missing=_missing(report),
    )


def _ingest_total(ingest: Sequence[Ingest]) -> dict[str, int]:
    return {
        "files": sum(one["files"] for one in ingest),
        "rows_in": sum(one["rows_in"] for one in ingest),
        "passed": sum(one["passed"] for one in ingest),
        "quarantined": sum(one["quarantined"] for one in ingest),
    }


def _views(report: RunReport) -> list[dict[str, object]]:
    """One row a view: its own values and the mean and each share of nulls of its columns."""
    rows: list[dict[str, object]] = []
    for view in report.views:
        shares = {name: report.null_shares.get(name) for name in view["features"]}
        given = charts.finite(shares.values())
        rows.append({**view, "shares": shares, "null_share": sum(given) / len(given) if given else None})
    return rows


def _lift(report: RunReport) -> dict[str, Any]:
    """The lift table's rows, each with its difference to the first, the prototype's figure and a bar."""
    reference, metric, low = report.reference, _main_metric(report), 0.0 if report.numbers else _COIN
    if reference is None:
        reference = PROTOTYPE_ROC_AUC.get(report.pipeline, {}) if metric == "roc_auc" else {}
    shown = {step["name"]: reference.get(step["name"]) for step in report.lift}
    values = charts.finite([*(step.get(metric) for step in report.lift), *shown.values()])
    axis = Axis(_metric_words(metric), low, min(1.0, int(max([*values, low]) * 10 + 1) / 10))
    trivial = [report.trivial] if report.trivial is not None and report.lift else []
    rows = [
        _lift_row(step, report.lift[0], axis, shown.get(step["name"]), metric=metric)
        for step in (*trivial, *report.lift)
    ]
    return {
        "rows": rows,
        "axis": axis,
        "metrics": [_metric_words(name) for name in _shown_metrics(report)],
        "has_reference": any(value is not None for value in shown.values()),
    }


def _main_metric(report: RunReport) -> Literal["roc_auc", "r2"]:
    return "roc_auc" if report.numbers is None else "r2"


def _shown_metrics(report: RunReport) -> tuple[str, str]:
    return ("roc_auc", "pr_auc") if report.numbers is None else ("r2", "rmse")


def _lift_row(
    step: Lift, baseline: Lift, axis: Axis, reference: float | None, *, metric: Literal["roc_auc", "r2"]
) -> dict[str, Any]:
    ours, theirs, features = step.get(metric), baseline.get(metric), step["features"]
    return {
        **step,
        "main": ours,
        "beside": step["pr_auc"] if metric == "roc_auc" else step.get("rmse"),
        "is_baseline": step is baseline,
        "features": features if isinstance(features, int) else len(features),
        "difference": None if ours is None or theirs is None or step is baseline else ours - theirs,
        "reference": reference,
        "bar": "" if ours is None else charts.bullet(ours, axis=axis, marker=reference),
    }


def _curves(report: RunReport) -> list[Markup]:
    drawn = [] if report.evaluation is None else _evaluation_curves(report.evaluation, report.positive)
    if report.numbers is not None:
        drawn += number_curves(report.numbers, what=report.positive)
    return [*drawn, _hours(report)] if report.by_hour else drawn


def _evaluation_curves(evaluation: Evaluation, positive: str) -> list[Markup]:
    prevalence = evaluation["positives"] / evaluation["rows"] if evaluation["rows"] else 0.0
    roc = Frame("ROC curve", Axis("false positive rate", 0, 1), Axis("true positive rate", 0, 1))
    recall = Frame("Precision and recall", Axis("recall", 0, 1), Axis("precision", 0, 1))
    greatest = max((max(x, y) for x, y, *_ in evaluation["calibration"]), default=1.0)
    top = min(1.0, int(greatest * 10 + 1) / 10)
    calibration = Frame(
        "Calibration",
        Axis(f"predicted share {positive}", 0, top, percent=True),
        Axis(f"observed share {positive}", 0, top, percent=True),
    )
    return [
        charts.line_chart(
            [
                Series("chance", ((0, 0), (1, 1)), "dashed", "quiet"),
                Series(f"model, area {formats.metric(evaluation['roc_auc'])}", evaluation["roc"]),
            ],
            frame=roc,
        ),
        charts.line_chart(
            [
                Series(f"always {positive}", ((0, prevalence), (1, prevalence)), "dashed", "quiet"),
                Series(f"model, area {formats.metric(evaluation['pr_auc'])}", evaluation["precision_recall"]),
            ],
            frame=recall,
        ),
        charts.line_chart(
            [
                Series("perfect", ((0, 0), (top, top)), "dashed", "quiet"),
                Series("model, area: rows", evaluation["calibration"], "dots"),
            ],
            frame=calibration,
        ),
    ]


def _hours(report: RunReport) -> Markup:
    hours = sorted(report.by_hour, key=lambda row: row[0])
    top = max([*charts.finite(share for row in hours for share in row[2:4]), 0.01])
    frame = Frame(
        "Delay by hour" if report.positive == "late" else "By hour",
        Axis(
            "hour of scheduled departure" if report.pipeline == "flights" else "hour of day",
            hours[0][0] - 0.5,
            hours[-1][0] + 0.5,
        ),
        Axis(f"share {report.positive}", 0, top * 1.1, percent=True),
    )
    return charts.line_chart(
        [
            Series("observed", [(row[0], row[2]) for row in hours]),
            Series("predicted", [(row[0], row[3]) for row in hours], "dashed", "second"),
        ],
        frame=frame,
        bars=[(row[0], row[1]) for row in hours],
    )


def _strip(report: RunReport) -> Markup:
    groups: dict[str, list[float]] = {}
    for trial in report.trials:
        groups.setdefault(formats.words(trial["estimator"]), []).extend(charts.finite([trial["value"]]))
    label = f"validation {_metric_words(report.metric)}"
    best: Literal["max", "min"] = "min" if report.metric in {"log_loss", "rmse", "mae"} else "max"
    return charts.strip_chart(groups, title="Trials", label=label, best=best)


def _metric_words(name: str) -> str:
    return {"roc_auc": "ROC AUC", "pr_auc": "PR AUC", "r2": "R2", "rmse": "RMSE", "mae": "MAE"}.get(
        name, formats.words(name)
    )


def _by_estimator(report: RunReport) -> list[tuple[str, float | None, float | None]]:
    main, beside = _shown_metrics(report)
    found = [(name, one.get(main), one.get(beside)) for name, one in report.by_estimator.items()]
    return sorted(
        ((name, _number(first), _number(second)) for name, first, second in found),
        key=lambda row: -(row[1] or 0),
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _importance(report: RunReport) -> list[dict[str, object]]:
    rows = sorted(report.importance, key=lambda pair: -pair[1])[:_MOST_IMPORTANCES]
    greatest = max((share for _, share in rows), default=0.0) or 1.0
    return [{"feature": name, "share": share, "width": 100 * share / greatest} for name, share in rows]


def _missing(report: RunReport) -> list[str]:
    parts: list[tuple[object, str]] = [
        (report.stages, "No stages were recorded."),
        (report.ingest, "Nothing was ingested in this run."),
        (report.views, "No features were built in this run."),
        (report.evaluation or report.numbers, "No model was evaluated in this run, so there are no curves."),
        (report.lift, "No lift was measured: the run trained no baseline beside the model."),
        (report.trials, "No hyperparameters were searched in this run."),
        (report.importance, "No feature importance was recorded."),
        (report.gate, "No gate was asked: the run had no model to promote."),
        (report.versions_read or report.versions_written, "No Delta versions were recorded."),
    ]
    return [sentence for present, sentence in parts if not present]
