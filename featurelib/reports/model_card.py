"""A model version as one page and one JSON file: what it is for, how good, how fair, and who let it pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from featurelib.errors import ConfigError
from featurelib.reports import charts, formats
from featurelib.reports.charts import Axis, Frame, Series
from featurelib.reports.number_charts import number_curves
from featurelib.reports.pages import render_page

_METRICS = {
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "log_loss": "log loss",
    "brier": "Brier score",
    "calibration_error": "calibration error",
    "worst_calibration_error": "worst calibration error",
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "r2": "R2",
    "rmse": "RMSE",
    "mae": "MAE",
    "mape": "MAPE",
    "bias": "mean error",
}
_RATES = {
    "selection_rate": "called positive",
    "true_positive_rate": "true positive rate",
    "false_positive_rate": "false positive rate",
    "false_negative_rate": "false negative rate",
    "observed": "observed",
    "mean_predicted": "predicted",
}
_MOST_SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """Everything a card says, as plain values that survive JSON; what is not optional must be there.

    The sections are those of Mitchell et al., "Model cards for model reporting" (2019).

    Attributes:
        name: the registered model, with ``version``, ``aliases``, ``sha256`` and ``run_id``.
        comment: why it was trained.
        intended_use: what for, ``out_of_scope`` what not for, ``owner`` who answers for it.
        limitations: sentences.
        label: what is predicted.
        tables: versions of the tables it was trained on.
        periods: first and last moment, rows and positives of each part of the split.
        features: Spark types by feature; ``features_hash`` names what they mean.
        evaluation: metrics on the test rows, ``intervals`` their 95% intervals.
        decision: the threshold, or thresholds by group, and what they come from.
        verdict: what the gate says, ``approvals`` who approved it.
        checklist: items with ``item``, ``state`` and ``said``.
        task: ``binary`` or ``regression``; the latter has ``shapes``, what its curves are drawn from.
        trivial: what always predicting the mean label gives.
        ranked: precision, recall and NDCG of the first rows of each group, where the review asks for them.
        smaller: models made smaller, beside what they were made of.
        continued_from: ``version``, ``sha256`` and ``trees`` of the model it went on from.
        packages: versions of what computes; ``code`` that of this library.
    """

    name: str
    version: int
    aliases: Sequence[str]
    sha256: str
    run_id: str
    registered_at: str
    comment: str
    intended_use: str
    out_of_scope: str
    owner: str
    limitations: Sequence[str]
    label: str
    label_description: str
    tables: Mapping[str, int]
    periods: Mapping[str, Mapping[str, Any]]
    features: Mapping[str, str]
    features_hash: str
    estimator: str
    parameters: Mapping[str, Any]
    baseline: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    intervals: Mapping[str, Sequence[float]]
    decision: Mapping[str, Any]
    verdict: Mapping[str, Any]
    checklist: Sequence[Mapping[str, str]]
    code: Mapping[str, str]
    python: str
    packages: Mapping[str, str]
    approvals: Sequence[Mapping[str, str]] = ()
    importance: Sequence[Sequence[Any]] = ()
    slices: Sequence[Mapping[str, Any]] = ()
    stability: Mapping[str, Any] = field(default_factory=dict)
    ranking: Sequence[Mapping[str, Any]] = ()
    learning_curve: Sequence[Mapping[str, Any]] = ()
    cost: Mapping[str, Any] | None = None
    fairness: Mapping[str, Any] | None = None
    mitigation: Mapping[str, Any] | None = None
    explanation: Mapping[str, Any] | None = None
    champion: Mapping[str, Any] | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    task: str = "binary"
    trivial: Mapping[str, Any] | None = None
    smaller: Sequence[Mapping[str, Any]] = ()
    shapes: Mapping[str, Any] = field(default_factory=dict)
    ranked: Mapping[str, Any] | None = None
    continued_from: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the card as dictionaries, lists, texts and numbers."""
        return asdict(self)


MANDATORY = (
    *("name", "version", "sha256", "run_id", "registered_at", "comment"),
    *("intended_use", "out_of_scope", "owner", "limitations", "label", "tables", "periods", "features"),
    *("features_hash", "estimator", "baseline", "evaluation", "decision", "verdict", "checklist"),
    *("code", "python", "packages"),
)
"""What no card may be without. Intervals may be missing: a test of one day has none."""

_FROM_SPEC = frozenset({"intended_use", "out_of_scope", "owner"})


def missing_fields(card: ModelCard) -> list[str]:
    """Return the mandatory fields that are empty."""
    return [name for name in MANDATORY if not getattr(card, name)]


def check_card(card: ModelCard) -> None:
    """Check that no mandatory field is empty.

    Raises:
        ConfigError: one is; the message names them all and says who gives them.
    """
    missing = missing_fields(card)
    if not missing:
        return
    asked = [name for name in missing if name in _FROM_SPEC]
    action = f"give {', '.join(asked)} in the model's review section of models.yaml" if asked else ""
    if len(asked) < len(missing):
        again = "train the model again: this version was registered before they were recorded"
        action = f"{action}; {again}" if action else again
    raise ConfigError(
        f"the card of {card.name} version {card.version} lacks {', '.join(missing)}",
        "every mandatory field",
        action,
    )


def render_model_card(card: ModelCard) -> str:
    """Return one self-contained HTML page: no script, no network, charts inline.

    Raises:
        ConfigError: a mandatory field is empty.
    """
    check_card(card)
    return render_page(
        "model_card.html.j2",
        card=card,
        tone="good" if card.verdict.get("passed") else "plain",
        metrics=_metrics(card),
        curves=_curves(card),
        slices=_lowest(card),
        trivial=_trivial(card),
        rates=_RATES,
        explained=_explained(card),
        dependence=_dependence(card),
        definition=[[name, kind] for name, kind in card.features.items()],
    )


def _lowest(card: ModelCard) -> list[Mapping[str, Any]]:
    """Return the slices with the lowest metric, those without one last."""
    metric = "r2" if card.task == "regression" else "roc_auc"
    return sorted(card.slices, key=lambda one: one[metric] if one[metric] is not None else 2.0)[:_MOST_SHOWN]


def _trivial(card: ModelCard) -> tuple[str, Any]:
    metric = "rmse" if card.task == "regression" else "log_loss"
    return _METRICS[metric], (card.trivial or {}).get(metric)


def _metrics(card: ModelCard) -> list[dict[str, Any]]:
    return [
        {"name": words, "value": card.evaluation[name], "interval": card.intervals.get(name)}
        for name, words in _METRICS.items()
        if name in card.evaluation
    ]


def _curves(card: ModelCard) -> list[Any]:
    if card.task == "regression":
        return number_curves(card.shapes, what=card.label) if card.shapes else []
    points = card.evaluation.get("calibration", ())
    top = min(1.0, int(max((max(x, y) for x, y, *_ in points), default=1.0) * 10 + 1) / 10)
    drawn = [
        charts.line_chart(
            [
                Series("perfect", ((0, 0), (top, top)), "dashed", "quiet"),
                Series("model, area: rows", points, "dots"),
            ],
            frame=Frame(
                "Calibration",
                Axis("predicted share", 0, top, percent=True),
                Axis("observed share", 0, top, percent=True),
            ),
        )
    ]
    weeks = [one for one in card.stability.get("week", ()) if one["roc_auc"] is not None]
    if len(weeks) > 1:
        series = [(number, one["roc_auc"]) for number, one in enumerate(weeks)]
        lowest = min(value for _, value in series)
        frame = Frame(
            "ROC AUC by week of the test rows",
            Axis(f"weeks since {weeks[0]['period']}", 0, len(weeks) - 1),
            Axis("ROC AUC", min(0.5, int(lowest * 10) / 10), 1.0),
        )
        drawn.append(charts.line_chart([Series("model", series)], frame=frame))
    curve = [one for one in card.learning_curve if one["roc_auc"] is not None]
    if len(curve) > 1:
        points = [(one["rows"], one["roc_auc"]) for one in curve]
        frame = Frame(
            "Learning curve",
            Axis("training rows", 0, points[-1][0]),
            Axis("ROC AUC, validation", min(0.5, int(min(y for _, y in points) * 10) / 10), 1.0),
        )
        drawn.append(charts.line_chart([Series("lift learner", points)], frame=frame))
    return drawn


def _explained(card: ModelCard) -> dict[str, Any]:
    """Return the bars of what the model looks at, and what they measure."""
    found = card.explanation or {}
    if found.get("contributions"):
        pairs = [(one["feature"], one["contribution"]) for one in found["contributions"]]
        what = f"Mean absolute contribution to the log-odds, exact, of {found['rows']:,} test rows."
    elif found.get("permutation"):
        pairs = [(one["feature"], one["loss"] or 0.0) for one in found["permutation"]]
        lost = "RMSE added" if card.task == "regression" else "ROC AUC lost"
        what = f"{lost} where a feature's values are dealt anew, on {found['rows']:,} test rows."
    else:
        pairs = [(name, share) for name, share in card.importance]
        what = "Share of the model's own weights."
    pairs = pairs[:_MOST_SHOWN]
    greatest = max((abs(value) for _, value in pairs), default=0.0) or 1.0
    return {
        "what": what,
        "rows": [
            {"feature": name, "value": value, "width": 100 * max(value, 0) / greatest}
            for name, value in pairs
        ],
    }


def _dependence(card: ModelCard) -> list[dict[str, Any]]:
    found = (card.explanation or {}).get("partial_dependence", ())
    return [
        {
            "feature": one["feature"],
            "points": [
                (formats.parameter(value), score)
                for value, score in zip(one["values"], one["scores"], strict=True)
            ],
        }
        for one in found
    ]
