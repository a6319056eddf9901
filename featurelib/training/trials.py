"""What one trial is: an estimator fitted on training rows and measured on the validation rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from featurelib.training.learners import Bench, Fitted, fit_learner
from featurelib.training.smaller import Comparison, scoring_seconds
from featurelib.training.tuning import Measured, Trial, best_trial, tried
from featurelib.training.workshop import Workshop


def measured(workshop: Workshop, bench: Bench, trial: Trial) -> Measured:
    """Fit the trial's estimator on sampled training rows and measure it on the validation rows."""
    fitted = fit_learner(
        workshop, trial.estimator, trial.parameters, workshop.sampled(), bench=bench, watching=True
    )
    return _measured(workshop, trial, fitted)


def _measured(workshop: Workshop, trial: Trial, fitted: Fitted) -> Measured:
    tallies = workshop.measures.tallies(fitted.model.transform(workshop.of("validate")))
    return replace(workshop.measures.measured(tallies, trial.metric), found=fitted.found)


def with_best_parameters(bench: Bench, trials: tuple[Trial, ...]) -> Bench:
    """Return the bench with the parameters of each learner's best trial, for ensembles of them."""
    best = {name: best_trial([trial for trial in trials if trial.estimator == name]) for name in bench.usable}
    return replace(
        bench, parameters={name: trial.parameters for name, trial in best.items() if trial is not None}
    )


def ensemble_trials(
    workshop: Workshop, bench: Bench, *, numbered_from: int, on_trial: Callable[[Trial], None]
) -> tuple[tuple[Trial, ...], tuple[Comparison, ...]]:
    """Try each ensemble once, when its members are tuned; one whose member has no finished trial fails.

    Returns:
        The trials, and of models made smaller how they compare with what they were made of.
    """
    found: list[Trial] = []
    compared: list[Comparison] = []
    ensembles = {name: spec for name, spec in bench.usable.items() if spec.members}
    for number, (name, spec) in enumerate(ensembles.items(), start=numbered_from):
        trial = Trial(number, name, spec.kind, dict(spec.parameters), workshop.model.tuning.metric)
        lacking = [member for member in spec.members if member not in bench.parameters]
        started = time.monotonic()
        if lacking:
            reason = f"its member {lacking[0]} has no finished trial"
            trial = replace(trial, state="failed", reason=reason, seconds=time.monotonic() - started)
        else:
            trial = tried(trial, partial(_compared, workshop, replace(bench, at_once=1), compared))
        found.append(trial)
        on_trial(trial)
    return tuple(found), tuple(compared)


def _compared(workshop: Workshop, bench: Bench, compared: list[Comparison], trial: Trial) -> Measured:
    """Measure an ensemble; of one made smaller, note how it compares with what it was made of."""
    fitted = fit_learner(
        workshop, trial.estimator, trial.parameters, workshop.sampled(), bench=bench, watching=True
    )
    outcome = _measured(workshop, trial, fitted)
    if fitted.large is not None:
        before = _measured(workshop, trial, replace(fitted, model=fitted.large))
        compared.append(
            Comparison(
                estimator=trial.estimator,
                made_of=bench.usable[trial.estimator].members[0],
                metric=trial.metric,
                value=outcome.value,
                value_before=before.value,
                seconds=scoring_seconds(workshop, fitted.model),
                seconds_before=scoring_seconds(workshop, fitted.large),
            )
        )
    return outcome
