"""A trial is fitted on training rows, and measured on validation rows or on each fold."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from pyspark.storagelevel import StorageLevel

from featurelib.specs import Tuning
from featurelib.training.learners import Bench, Fitted, fit_learner
from featurelib.training.search import tried
from featurelib.training.smaller import Comparison, scoring_seconds
from featurelib.training.tuning import Measured, Objective, OnTrial, Parameter, Trial, best_trial
from featurelib.training.workshop import Workshop
from featurelib.tuning_specs import ITERATIONS

if TYPE_CHECKING:
    from pyspark.ml import Model


@contextmanager
def cut_for_trials(places: Sequence[Workshop]) -> Iterator[list[Workshop]]:
    """Give the workshops with their sampled training rows and validation rows cached alone, until the end.

    Each trial reads these many times over, and should not walk past all the others.
    """
    cut = [
        replace(
            place,
            alone={
                "train": place.cut(place.sample(), "train").persist(StorageLevel.MEMORY_AND_DISK),
                "validate": place.cut(place.of("validate"), "validate").persist(StorageLevel.MEMORY_AND_DISK),
            },
        )
        for place in places
    ]
    try:
        yield cut
    finally:
        for place in cut:
            for rows in place.alone.values():
                rows.unpersist()


def trial_objective(places: Sequence[Workshop], tuning: Tuning, bench: Bench) -> Objective:
    """Return what fits and measures a trial: on each fold, or on the validation rows of the only workshop.

    The value is the mean over folds; the threshold is that of all their rows together. Parameters that a fit
    finds by itself are the mean over folds, rounded.
    """
    return lambda trial: _fitted(places, tuning, bench, trial)[0]


def fewer_iterations(parameters: Mapping[str, Parameter], share: float) -> dict[str, Parameter]:
    """Return the parameters with that share of the trees or steps, at least one."""
    return {
        name: max(1, math.ceil(float(value) * share)) if name in ITERATIONS else value
        for name, value in parameters.items()
    }


def with_best_parameters(bench: Bench, trials: tuple[Trial, ...]) -> Bench:
    """Return the bench with the parameters of each learner's best trial, for ensembles of them."""
    best = {name: best_trial([trial for trial in trials if trial.estimator == name]) for name in bench.usable}
    return replace(
        bench, parameters={name: trial.fitted for name, trial in best.items() if trial is not None}
    )


def ensemble_trials(
    places: Sequence[Workshop], tuning: Tuning, bench: Bench, *, trials: Sequence[Trial], on_trial: OnTrial
) -> tuple[tuple[Trial, ...], tuple[Comparison, ...]]:
    """Try each ensemble once, when its members are tuned; one whose member has no finished trial fails.

    Args:
        places: the folds, or the only workshop.
        tuning: as members were tuned; rungs are not climbed.
        bench: with the members' best parameters.
        trials: what was tried before.
        on_trial: called after each.

    Returns:
        The trials, and of models made smaller how they compare with what they were made of.
    """
    found: list[Trial] = []
    compared: list[Comparison] = []
    ensembles = {name: spec for name, spec in bench.usable.items() if spec.members}
    whole, alone = tuning.model_copy(update={"rungs": ()}), replace(bench, at_once=1)
    for number, (name, spec) in enumerate(ensembles.items(), start=len(trials)):
        trial = Trial(number, name, spec.kind, dict(spec.parameters), tuning.metric)
        lacking = [member for member in spec.members if member not in bench.parameters]
        if lacking:
            trial = replace(trial, state="failed", reason=f"its member {lacking[0]} has no finished trial")
        else:
            trial = tried(trial, partial(_compared, places, whole, alone, compared), whole)
        found.append(trial)
        on_trial(trial)
    return tuple(found), tuple(compared)


def _compared(
    places: Sequence[Workshop], tuning: Tuning, bench: Bench, compared: list[Comparison], trial: Trial
) -> Measured:
    """Measure an ensemble; of one made smaller, note how it compares with what it was made of."""
    outcome, fits = _fitted(places, tuning, bench, trial)
    larges = [fit.large for fit in fits if fit.large is not None]
    if larges:
        compared.append(
            Comparison(
                estimator=trial.estimator,
                made_of=bench.usable[trial.estimator].members[0],
                metric=trial.metric,
                value=outcome.value,
                value_before=_measured(places, trial, larges).value,
                seconds=scoring_seconds(places[0], fits[0].model),
                seconds_before=scoring_seconds(places[0], larges[0]),
            )
        )
    return outcome


def _fitted(
    places: Sequence[Workshop], tuning: Tuning, bench: Bench, trial: Trial
) -> tuple[Measured, list[Fitted]]:
    parameters, share = trial.parameters, trial.share
    if tuning.rungs_of == "iterations":
        parameters, share = fewer_iterations(parameters, share), 1.0
    fits = [
        fit_learner(place, trial.estimator, parameters, place.sampled(share), bench=bench, watching=True)
        for place in places
    ]
    measured = _measured(places, trial, [fit.model for fit in fits])
    found = {name: round(statistics.fmean(float(fit.found[name]) for fit in fits)) for name in fits[0].found}
    return replace(measured, folds=measured.folds if tuning.folds else (), found=found), fits


def _measured(places: Sequence[Workshop], trial: Trial, models: Sequence[Model]) -> Measured:
    measures = places[0].measures
    tallies = [
        measures.tallies(model.transform(place.of("validate")))
        for place, model in zip(places, models, strict=True)
    ]
    return measures.measured(tallies, trial.metric)
