"""The best trials, fitted again on all rows but the test rows, and measured on these."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from featurelib.specs import EstimatorSpec
from featurelib.threads import run_beside
from featurelib.training import evaluation
from featurelib.training.estimators import LABEL
from featurelib.training.intervals import intervals
from featurelib.training.result import EstimatorMetrics, SliceMetrics
from featurelib.training.tuning import Trial, best_trial
from featurelib.training.workshop import AS_OF, Workshop

if TYPE_CHECKING:
    from pyspark.ml import Model

_MLLIB = frozenset({"logistic_regression", "random_forest", "gradient_boosted_trees"})


@dataclass(frozen=True)
class Final:
    """A best trial, fitted again on train and validation rows and measured on the test rows."""

    trial: Trial
    model: Model
    parameters: dict[str, Any]
    tallies: dict[tuple[str, str], evaluation.Tally]
    seconds: float

    @property
    def test(self) -> evaluation.Evaluation:
        """How it does on the test rows, at the trial's threshold."""
        whole = self.tallies[evaluation.ALL_ROWS, evaluation.ALL_ROWS]
        return evaluation.evaluation_of(whole, threshold=self.trial.threshold or 0.5)


def refitted(
    workshop: Workshop,
    trials: Sequence[Trial],
    usable: Mapping[str, EstimatorSpec],
    *,
    slices: Sequence[str],
) -> list[Final]:
    """Fit the best trial, and the best of MLlib and of xgboost, on train and validation rows."""
    candidates = [
        best_trial(trials),
        best_trial(trials, kinds=_MLLIB),
        best_trial(trials, kinds=frozenset({"xgboost"})),
    ]
    chosen = list({trial.number: trial for trial in candidates if trial is not None}.values())
    rows, test_rows = workshop.of("train", "validate"), workshop.of("test")

    def refit(trial: Trial) -> Final:
        started = time.monotonic()
        spec = usable[trial.estimator]
        parameters = {**trial.parameters, **spec.refit}
        fitted = workshop.estimator(spec, parameters, at_once=len(chosen)).fit(rows)
        scored = evaluation.with_score(fitted.transform(test_rows))
        counted = evaluation.tallies(scored, label=LABEL, slices=slices, block=F.to_date(AS_OF))
        return Final(trial, fitted, parameters, counted, time.monotonic() - started)

    return run_beside(
        [partial(refit, trial) for trial in chosen],
        spark=workshop.rows.sparkSession,
        at_once=workshop.model.tuning.parallelism,
    )


def slice_metrics(final: Final, *, seed: int) -> tuple[SliceMetrics, ...]:
    """Return the test metrics of each value of each slice column, at the model's threshold."""
    threshold = final.test.threshold
    found = []
    for (column, value), tally in sorted(final.tallies.items()):
        if column == evaluation.ALL_ROWS:
            continue
        measured = evaluation.evaluation_of(tally, threshold=threshold)
        found.append(
            SliceMetrics(
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
        )
    return tuple(found)


def estimator_metrics(final: Final) -> EstimatorMetrics:
    """Return what the report shows of one fitted estimator."""
    test = final.test
    return EstimatorMetrics(
        estimator=final.trial.estimator,
        kind=final.trial.kind,
        parameters=final.parameters,
        roc_auc=test.roc_auc,
        pr_auc=test.pr_auc,
        log_loss=test.log_loss,
        seconds=final.seconds,
    )
