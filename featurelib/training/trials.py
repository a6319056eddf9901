"""A trial is fitted on training rows, and measured on validation rows or on each fold."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from featurelib.specs import EstimatorSpec
from featurelib.training import evaluation
from featurelib.training.estimators import LABEL
from featurelib.training.tuning import Measured, Objective, Parameter, Trial
from featurelib.training.workshop import Workshop
from featurelib.tuning_specs import ITERATIONS


def trial_objective(
    workshop: Workshop, folds: Sequence[Workshop], usable: Mapping[str, EstimatorSpec]
) -> Objective:
    """Return what fits and measures a trial: on the folds where there are any, else on the validation rows.

    The value is the mean over folds; the threshold is that of all their rows together.
    """
    tuning = workshop.model.tuning

    def tally_of(trial: Trial, place: Workshop) -> evaluation.Tally:
        parameters, share = trial.parameters, trial.share
        if tuning.rungs_of == "iterations":
            parameters, share = fewer_iterations(parameters, share), 1.0
        estimator = place.estimator(usable[trial.estimator], parameters, at_once=tuning.parallelism)
        scored = evaluation.with_score(estimator.fit(place.sampled(share)).transform(place.of("validate")))
        return evaluation.tallies(scored, label=LABEL)[evaluation.ALL_ROWS, evaluation.ALL_ROWS]

    def objective(trial: Trial) -> Measured:
        tallies = [tally_of(trial, place) for place in folds or [workshop]]
        values = tuple(evaluation.metric_of(tally, tuning.metric) for tally in tallies)
        return Measured(
            statistics.fmean(values),
            evaluation.best_f1_threshold(together(tallies)),
            folds=values if folds else (),
        )

    return objective


def fewer_iterations(parameters: Mapping[str, Parameter], share: float) -> dict[str, Parameter]:
    """Return the parameters with that share of the trees or steps, at least one."""
    return {
        name: max(1, math.ceil(float(value) * share)) if name in ITERATIONS else value
        for name, value in parameters.items()
    }


def together(tallies: Sequence[evaluation.Tally]) -> evaluation.Tally:
    """Return the tally of all rows of several, scores falling."""
    if len(tallies) == 1:
        return tallies[0]
    score = np.concatenate([tally.score for tally in tallies])
    falling = np.argsort(-score, kind="stable")
    rows = [float(tally.rows.sum()) for tally in tallies]

    def mean(values: Sequence[float]) -> float:
        return sum(value * count for value, count in zip(values, rows, strict=True)) / sum(rows)

    def joined(parts: Sequence[Any]) -> Any:  # noqa: ANN401 - arrays
        return np.concatenate(parts)[falling]

    return evaluation.Tally(
        score=score[falling],
        rows=joined([tally.rows for tally in tallies]),
        positives=joined([tally.positives for tally in tallies]),
        log_loss=mean([tally.log_loss for tally in tallies]),
        brier=mean([tally.brier for tally in tallies]),
    )
