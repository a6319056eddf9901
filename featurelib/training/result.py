"""What a training gives back: the fitted model, and everything known of it as plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from featurelib.training.evaluation import Evaluation
from featurelib.training.intervals import Interval
from featurelib.training.regression import RegressionEvaluation
from featurelib.training.tuning import Stop, Trial

if TYPE_CHECKING:
    from pyspark.ml import PipelineModel

    from featurelib.training.segments import SegmentsResult


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Test metrics as tables show them beside each other; those of the other task are None."""

    roc_auc: float | None = None
    pr_auc: float | None = None
    log_loss: float | None = None
    rmse: float | None = None
    mae: float | None = None
    r2: float | None = None


@dataclass(frozen=True)
class LiftMetrics(Figures):
    """A row of the lift table: a set of features, and what the lift learner made of it on the test rows."""

    name: str
    features: tuple[str, ...]


@dataclass(frozen=True)
class EstimatorMetrics(Figures):
    """A best trial of an estimator, fitted again and measured on the test rows."""

    estimator: str
    kind: str
    parameters: dict[str, Any]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class SliceMetrics:
    """Test metrics of the rows with one value in one column, at the model's threshold, with intervals."""

    column: str
    value: str
    rows: int
    positives: int | None = None
    roc_auc: float | None = None
    precision: float | None = None
    recall: float | None = None
    rmse: float | None = None
    mae: float | None = None
    r2: float | None = None
    calibration_error: float | None = None
    intervals: dict[str, Interval] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingResult:
    """A trained model and its record.

    Attributes:
        name: the model's name.
        label: its label column.
        model: takes the raw feature columns and adds ``probability`` (a vector) and ``prediction``.
        features: the raw columns that the model reads, in order: features, and users and items of ALS.
        feature_types: the Spark type of each.
        dropped: features left out.
        dropped_because: why each of them was.
        skipped: estimators that could not run here, and why.
        rows: rows of each split.
        trials: every trial, failed ones too, in the order of proposal.
        stopped_by: what ended the search, as :class:`featurelib.training.tuning.Searched` has it.
        best: the trial the model comes from.
        parameters: the parameters it was fitted with in the end.
        evaluation: on the test rows.
        task: ``binary`` or ``regression``.
        smaller: of models made smaller, the loss of quality and the seconds of scoring, beside what they were
            made of: plain values of :class:`~featurelib.training.smaller.Comparison`.
        trivial: what the mean label of the training rows, predicted for every row, makes of the test rows.
        roc_auc_interval: 95% interval of the test ROC AUC, by a bootstrap over days.
        baseline: the baseline's features under the lift learner.
        lift: further feature sets under the lift learner.
        by_estimator: test metrics of the model first, then of the best MLlib or xgboost trial beside it.
        importance: each feature's share of the model's weights, greatest first; none where it has no weights.
        slices: test metrics by slice.
        seconds: of each step.
        segments: models of slices, None where the model has none; evaluation, interval and slices measure the
            whole, as it predicts with them, and the first of ``by_estimator`` is their parent alone.
        continued_from: ``version``, ``sha256`` and ``trees`` of the model that this one went on from.
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
    stopped_by: Stop
    best: Trial
    parameters: dict[str, Any]
    evaluation: Evaluation | RegressionEvaluation
    roc_auc_interval: tuple[float, float] | None
    baseline: LiftMetrics
    lift: tuple[LiftMetrics, ...]
    by_estimator: tuple[EstimatorMetrics, ...]
    importance: tuple[tuple[str, float], ...]
    slices: tuple[SliceMetrics, ...]
    seconds: dict[str, float]
    task: str = "binary"
    trivial: LiftMetrics | None = None
    smaller: tuple[dict[str, Any], ...] = ()
    dropped_because: dict[str, str] = field(default_factory=dict)
    segments: SegmentsResult | None = None
    review: dict[str, Any] = field(default_factory=dict)
    continued_from: dict[str, Any] | None = None

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
            "dropped_because": self.dropped_because,
            "skipped": self.skipped,
            "rows": self.rows,
            "stopped_by": self.stopped_by,
            "trials": [trial.to_dict() for trial in self.trials],
            "evaluation": self.evaluation.to_dict(),
            "roc_auc_interval": list(self.roc_auc_interval) if self.roc_auc_interval else None,
            "baseline": _plain(self.baseline),
            "task": self.task,
            "trivial": _plain(self.trivial) if self.trivial else None,
            "smaller": list(self.smaller),
            "lift": [_plain(step) for step in self.lift],
            "by_estimator": [asdict(entry) for entry in self.by_estimator],
            "importance": [list(pair) for pair in self.importance],
            "slices": [asdict(entry) for entry in self.slices],
            "seconds": self.seconds,
            **({"segments": self.segments.to_dict()} if self.segments is not None else {}),
            "review": self.review,
            **({"continued_from": self.continued_from} if self.continued_from is not None else {}),
        }


def _plain(step: LiftMetrics) -> dict[str, Any]:
    return {**asdict(step), "features": list(step.features)}
