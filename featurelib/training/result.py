"""What a training gives back: the fitted model, and everything known of it as plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from featurelib.training.evaluation import Evaluation
from featurelib.training.intervals import Interval
from featurelib.training.tuning import Trial

if TYPE_CHECKING:
    from pyspark.ml import PipelineModel


@dataclass(frozen=True)
class LiftMetrics:
    """A row of the lift table: a set of features, and what the lift learner made of it on the test rows."""

    name: str
    features: tuple[str, ...]
    roc_auc: float | None
    pr_auc: float | None


@dataclass(frozen=True)
class EstimatorMetrics:
    """A best trial of an estimator, fitted again and measured on the test rows."""

    estimator: str
    kind: str
    parameters: dict[str, Any]
    roc_auc: float | None
    pr_auc: float | None
    log_loss: float
    seconds: float


@dataclass(frozen=True)
class SliceMetrics:
    """Test metrics of the rows with one value in one column, at the model's threshold, with intervals."""

    column: str
    value: str
    rows: int
    positives: int
    roc_auc: float | None
    precision: float
    recall: float
    calibration_error: float = 0.0
    intervals: dict[str, Interval] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingResult:
    """A trained model and its record.

    Attributes:
        name: the model's name.
        label: its label column.
        model: takes the raw feature columns and adds ``probability`` (a vector) and ``prediction``.
        features: the raw feature columns, in order.
        feature_types: the Spark type of each.
        dropped: features left out, as no training row had a value.
        skipped: estimators that could not run here, and why.
        rows: rows of each split.
        trials: every trial, failed ones too, in the order of proposal.
        best: the trial the model comes from.
        parameters: the parameters it was fitted with in the end.
        evaluation: on the test rows.
        roc_auc_interval: 95% interval of the test ROC AUC, by a bootstrap over days.
        baseline: the baseline's features under the lift learner.
        lift: further feature sets under the lift learner.
        by_estimator: test metrics of the model first, then of the best MLlib or xgboost trial beside it.
        importance: each feature's share of the model's weights, greatest first.
        slices: test metrics by slice.
        seconds: of each step.
        review: what :func:`featurelib.training.review.reviewed` found, as plain values.
    """

    name: str
    label: str
    model: PipelineModel
    features: tuple[str, ...]
    feature_types: dict[str, str]
    dropped: tuple[str, ...]
    skipped: dict[str, str]
    rows: dict[str, int]
    trials: tuple[Trial, ...]
    best: Trial
    parameters: dict[str, Any]
    evaluation: Evaluation
    roc_auc_interval: tuple[float, float] | None
    baseline: LiftMetrics
    lift: tuple[LiftMetrics, ...]
    by_estimator: tuple[EstimatorMetrics, ...]
    importance: tuple[tuple[str, float], ...]
    slices: tuple[SliceMetrics, ...]
    seconds: dict[str, float]
    review: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the fitted model, as plain JSON values."""
        return {
            "name": self.name,
            "label": self.label,
            "estimator": self.best.estimator,
            "kind": self.best.kind,
            "parameters": self.parameters,
            "best_trial": self.best.number,
            "features": list(self.features),
            "feature_types": self.feature_types,
            "dropped": list(self.dropped),
            "skipped": self.skipped,
            "rows": self.rows,
            "trials": [trial.to_dict() for trial in self.trials],
            "evaluation": self.evaluation.to_dict(),
            "roc_auc_interval": list(self.roc_auc_interval) if self.roc_auc_interval else None,
            "baseline": _plain(self.baseline),
            "lift": [_plain(step) for step in self.lift],
            "by_estimator": [asdict(entry) for entry in self.by_estimator],
            "importance": [list(pair) for pair in self.importance],
            "slices": [asdict(entry) for entry in self.slices],
            "seconds": self.seconds,
            "review": self.review,
        }


def _plain(step: LiftMetrics) -> dict[str, Any]:
    return {**asdict(step), "features": list(step.features)}
