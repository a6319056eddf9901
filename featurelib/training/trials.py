"""A trial is fitted on training rows, and measured on validation rows or on each fold."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

from featurelib.specs import Tuning
from featurelib.training.learners import Bench, fit_learner
from featurelib.training.search import tried
from featurelib.training.tuning import Measured, Objective, OnTrial, Parameter, Trial, best_trial
from featurelib.training.workshop import Workshop
from featurelib.tuning_specs import ITERATIONS


def trial_objective(workshop: Workshop, folds: Sequence[Workshop], bench: Bench) -> Objective:
    """Return what fits and measures a trial: on the folds where there are any, else on the validation rows.

    The value is the mean over folds; the threshold is that of all their rows together. Parameters that a fit
    finds by itself are the mean over folds, rounded.
    """
    tuning = workshop.model.tuning
    places = [*folds] or [workshop]

    def objective(trial: Trial) -> Measured:
        parameters, share = trial.parameters, trial.share
        if tuning.rungs_of == "iterations":
            parameters, share = fewer_iterations(parameters, share), 1.0
        tallies, found = [], []
        for place in places:
            rows = place.sampled(share)
            fitted = fit_learner(place, trial.estimator, parameters, rows, bench=bench, watching=True)
            tallies.append(place.measures.tallies(fitted.model.transform(place.of("validate"))))
            found.append(fitted.found)
        measured = workshop.measures.measured(tallies, trial.metric)
        means = {name: round(statistics.fmean(float(one[name]) for one in found)) for name in found[0]}
        return replace(measured, folds=measured.folds if folds else (), found=means)

    return objective


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
    bench: Bench,
    objective: Objective,
    tuning: Tuning,
    *,
    trials: Sequence[Trial],
    on_trial: OnTrial,
) -> tuple[Trial, ...]:
    """Try each ensemble once, when its members are tuned; one whose member has no finished trial fails."""
    found: list[Trial] = []
    ensembles = {name: spec for name, spec in bench.usable.items() if spec.members}
    whole = tuning.model_copy(update={"rungs": ()})
    for number, (name, spec) in enumerate(ensembles.items(), start=len(trials)):
        trial = Trial(number, name, spec.kind, dict(spec.parameters), trials[0].metric)
        lacking = [member for member in spec.members if member not in bench.parameters]
        if lacking:
            trial = replace(trial, state="failed", reason=f"its member {lacking[0]} has no finished trial")
        else:
            trial = tried(trial, objective, whole)
        found.append(trial)
        on_trial(trial)
    return tuple(found)
