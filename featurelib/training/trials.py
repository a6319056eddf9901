"""A trial is fitted on training rows, and measured on validation rows or on each fold."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pyspark.storagelevel import StorageLevel

from featurelib.specs import EstimatorSpec
from featurelib.training import evaluation
from featurelib.training.estimators import LABEL
from featurelib.training.preparation import ROW_HASH, VECTOR, is_sampled
from featurelib.training.tuning import Measured, Objective, Parameter, Trial
from featurelib.training.workshop import Workshop
from featurelib.tuning_specs import ITERATIONS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class _Cut:
    """The rows that trials are fitted on and measured on, alone and cached: each trial reads them often."""

    place: Workshop
    train: DataFrame
    validate: DataFrame

    def share(self, share: float) -> DataFrame:
        """Return a share of the rows to fit on; a smaller one is part of a greater one."""
        if share == 1:
            return self.train
        return self.train.where(is_sampled(self.place.model.tuning.sample * share))


@contextmanager
def trial_objective(
    workshop: Workshop, folds: Sequence[Workshop], usable: Mapping[str, EstimatorSpec]
) -> Iterator[Objective]:
    """Give what fits and measures a trial: on the folds where there are any, else on the validation rows.

    The value is the mean over folds; the threshold is that of all their rows together. Rows are cached until
    the end.
    """
    tuning = workshop.model.tuning
    cuts = [_cut(place) for place in folds or [workshop]]

    def tally_of(trial: Trial, cut: _Cut) -> evaluation.Tally:
        parameters, share = trial.parameters, trial.share
        if tuning.rungs_of == "iterations":
            parameters, share = fewer_iterations(parameters, share), 1.0
        estimator = cut.place.estimator(usable[trial.estimator], parameters, at_once=tuning.parallelism)
        scored = evaluation.with_score(estimator.fit(cut.share(share)).transform(cut.validate))
        return evaluation.tallies(scored, label=LABEL)[evaluation.ALL_ROWS, evaluation.ALL_ROWS]

    def objective(trial: Trial) -> Measured:
        tallies = [tally_of(trial, cut) for cut in cuts]
        values = tuple(evaluation.metric_of(tally, tuning.metric) for tally in tallies)
        threshold = evaluation.best_f1_threshold(together(tallies))
        return Measured(statistics.fmean(values), threshold, folds=values if folds else ())

    try:
        yield objective
    finally:
        for cut in cuts:
            cut.train.unpersist()
            cut.validate.unpersist()


def _cut(place: Workshop) -> _Cut:
    def alone(rows: DataFrame) -> DataFrame:
        columns = [name for name in (LABEL, ROW_HASH, *VECTOR.values()) if name in rows.columns]
        return rows.select(*columns).persist(StorageLevel.MEMORY_AND_DISK)

    return _Cut(place, alone(place.sampled()), alone(place.of("validate")))


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
