"""How a model of each task is measured, behind one face: classes by scores, numbers by errors."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pyspark.sql import functions as F

from featurelib.model_specs import Task
from featurelib.specs import Costs
from featurelib.training import evaluation, regression
from featurelib.training.estimators import LABEL
from featurelib.training.intervals import intervals
from featurelib.training.result import Figures, SliceMetrics
from featurelib.training.tuning import Measured

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

PREDICTION = "prediction"
Tallies = Mapping[tuple[str, str], Any]


class Measures(Protocol):
    """What a task knows of predictions: how to count them, and which figures these give."""

    def tallies(
        self, predictions: DataFrame, *, slices: Sequence[str] = (), block: Column | None = None
    ) -> Tallies:
        """Count what a fitted model predicted, for all rows, for each slice and for each block."""
        ...

    def constant(self, rows: DataFrame, value: float) -> Tallies:
        """Count rows for which the same is predicted: the mean label."""
        ...

    def measured(self, parts: Sequence[Tallies], metric: str) -> Measured:
        """Return the mean over parts of the metric a search is steered by, each, and a threshold for all."""
        ...

    def evaluation_of(self, tally: Any, *, threshold: float) -> Any:  # noqa: ANN401 - each task has its own
        """Return every metric of a tally."""
        ...

    def figures(self, tally: Any) -> Figures:  # noqa: ANN401 - each task has its own
        """Return the metrics that tables show beside each other."""
        ...

    def slice_of(self, column: str, value: str, tally: Any, *, threshold: float, seed: int) -> SliceMetrics:  # noqa: ANN401
        """Return the metrics of the rows with one value in one column."""
        ...


def measures_of(task: Task, costs: Costs | None = None) -> Measures:
    """Return how models of the task are measured."""
    return Numbers() if task == "regression" else Classes(costs)


@dataclass(frozen=True)
class Classes:
    """Scores of label 1 against labels of 0 and 1; the threshold costs least or has the greatest F1."""

    costs: Costs | None = None

    def tallies(
        self, predictions: DataFrame, *, slices: Sequence[str] = (), block: Column | None = None
    ) -> Tallies:
        """Count rows by score."""
        scored = evaluation.with_score(predictions)
        return evaluation.tallies(scored, label=LABEL, slices=slices, block=block)

    def constant(self, rows: DataFrame, value: float) -> Tallies:
        """Count rows that all score the same."""
        return evaluation.tallies(rows.withColumn(evaluation.SCORE, F.lit(value)), label=LABEL)

    def measured(self, parts: Sequence[Tallies], metric: str) -> Measured:
        """Return the metric, and the threshold on the rows of all parts."""
        tallies = [whole(part) for part in parts]
        values = tuple(evaluation.metric_of(tally, metric) for tally in tallies)
        threshold = evaluation.best_threshold(evaluation.together(tallies), self.costs)
        return Measured(statistics.fmean(values), threshold, folds=values)

    def evaluation_of(self, tally: evaluation.Tally, *, threshold: float) -> evaluation.Evaluation:
        """Return every metric at the threshold."""
        return evaluation.evaluation_of(tally, threshold=threshold)

    def figures(self, tally: evaluation.Tally) -> Figures:
        """Return ROC AUC, PR AUC and log loss."""
        return Figures(
            roc_auc=evaluation.roc_auc(tally.rows, tally.positives),
            pr_auc=evaluation.pr_auc(tally.rows, tally.positives),
            log_loss=tally.log_loss,
        )

    def slice_of(
        self, column: str, value: str, tally: evaluation.Tally, *, threshold: float, seed: int
    ) -> SliceMetrics:
        """Return counts, ROC AUC, precision, recall and calibration error, with intervals."""
        measured = evaluation.evaluation_of(tally, threshold=threshold)
        return SliceMetrics(
            column=column,
            value=value,
            rows=measured.rows,
            positives=measured.positives,
            roc_auc=measured.roc_auc,
            precision=measured.precision,
            recall=measured.recall,
            calibration_error=measured.calibration_error,
            intervals=intervals(tally, threshold=threshold, seed=seed),
        )


class Numbers:
    """Predicted numbers against numeric labels; they have no threshold."""

    def tallies(
        self, predictions: DataFrame, *, slices: Sequence[str] = (), block: Column | None = None
    ) -> Tallies:
        """Sum errors."""
        return regression.error_tallies(
            predictions, label=LABEL, prediction=PREDICTION, slices=slices, block=block
        )

    def constant(self, rows: DataFrame, value: float) -> Tallies:
        """Sum errors of the same prediction for all rows."""
        predicted = rows.withColumn(PREDICTION, F.lit(value))
        return regression.error_tallies(predicted, label=LABEL, prediction=PREDICTION)

    def measured(self, parts: Sequence[Tallies], metric: str) -> Measured:
        """Return the metric; the threshold says nothing here and is 0."""
        found = [getattr(regression.regression_of(whole(part)), metric) for part in parts]
        values = tuple(float("nan") if value is None else value for value in found)
        return Measured(statistics.fmean(values), 0.0, folds=values)

    def evaluation_of(
        self,
        tally: regression.ErrorTally,
        *,
        threshold: float,  # noqa: ARG002 - of classes only
    ) -> regression.RegressionEvaluation:
        """Return every metric."""
        return regression.regression_of(tally)

    def figures(self, tally: regression.ErrorTally) -> Figures:
        """Return RMSE, MAE and R2."""
        found = regression.regression_of(tally)
        return Figures(rmse=found.rmse, mae=found.mae, r2=found.r2)

    def slice_of(
        self,
        column: str,
        value: str,
        tally: regression.ErrorTally,
        *,
        threshold: float,  # noqa: ARG002 - of classes only
        seed: int,  # noqa: ARG002 - likewise
    ) -> SliceMetrics:
        """Return RMSE, MAE and R2; what is of classes is None."""
        found = regression.regression_of(tally)
        return SliceMetrics(
            column=column, value=value, rows=found.rows, rmse=found.rmse, mae=found.mae, r2=found.r2
        )


def whole(tallies: Tallies) -> Any:  # noqa: ANN401 - each task has its own
    """Return the tally of all rows."""
    return tallies[evaluation.ALL_ROWS, evaluation.ALL_ROWS]
