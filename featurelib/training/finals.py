"""The best trials, fitted again on all rows but the test rows, and measured on these."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from featurelib.threads import run_beside
from featurelib.training import evaluation
from featurelib.training.learners import Bench, fit_learner
from featurelib.training.measures import Measures, Tallies, whole
from featurelib.training.regression import BLOCK
from featurelib.training.result import EstimatorMetrics, SliceMetrics
from featurelib.training.tuning import Trial, best_trial
from featurelib.training.workshop import AS_OF, Workshop

if TYPE_CHECKING:
    from pyspark.ml import Model

_MLLIB = frozenset(
    {"logistic_regression", "random_forest", "gradient_boosted_trees", "decision_tree", "naive_bayes"}
    | {"multilayer_perceptron", "factorization_machine", "linear_regression", "als"}
    | {"generalized_linear_regression"}
)


@dataclass(frozen=True)
class Final:
    """A best trial, fitted again on train and validation rows and measured on the test rows."""

    trial: Trial
    model: Model
    parameters: dict[str, Any]
    tallies: Tallies
    seconds: float
    measures: Measures

    @property
    def threshold(self) -> float:
        """The trial's threshold."""
        return 0.5 if self.trial.threshold is None else self.trial.threshold

    @property
    def test(self) -> Any:  # noqa: ANN401 - each task has its own
        """How it does on the test rows, at the trial's threshold."""
        return self.measures.evaluation_of(whole(self.tallies), threshold=self.threshold)


def refitted(
    workshop: Workshop,
    trials: Sequence[Trial],
    bench: Bench,
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
    bench = replace(bench, at_once=len(chosen))
    rows, test_rows = workshop.fitting("train", "validate"), workshop.of("test")

    def refit(trial: Trial) -> Final:
        started = time.monotonic()
        parameters = {**trial.fitted, **bench.usable[trial.estimator].refit}
        fitted = fit_learner(workshop, trial.estimator, parameters, rows, bench=bench).model
        counted = workshop.measures.tallies(
            fitted.transform(test_rows), slices=slices, block=F.to_date(AS_OF)
        )
        return Final(trial, fitted, parameters, counted, time.monotonic() - started, workshop.measures)

    return run_beside(
        [partial(refit, trial) for trial in chosen],
        spark=workshop.rows.sparkSession,
        at_once=workshop.model.tuning.parallelism,
    )


def slice_metrics(final: Final, *, seed: int) -> tuple[SliceMetrics, ...]:
    """Return the test metrics of each value of each slice column, at the model's threshold."""
    return tuple(
        final.measures.slice_of(column, value, tally, threshold=final.threshold, seed=seed)
        for (column, value), tally in sorted(final.tallies.items())
        if column not in {evaluation.ALL_ROWS, BLOCK}
    )


def estimator_metrics(final: Final) -> EstimatorMetrics:
    """Return what the report shows of one fitted estimator."""
    return EstimatorMetrics(
        estimator=final.trial.estimator,
        kind=final.trial.kind,
        parameters=final.parameters,
        seconds=final.seconds,
        **vars(final.measures.figures(whole(final.tallies))),
    )
