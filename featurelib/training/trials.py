"""What one trial is: an estimator fitted on training rows and measured on the validation rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from featurelib.training.learners import Bench, fit_learner
from featurelib.training.tuning import Measured, Trial, best_trial, tried
from featurelib.training.workshop import Workshop


def measured(workshop: Workshop, bench: Bench, trial: Trial) -> Measured:
    """Fit the trial's estimator on sampled training rows and measure it on the validation rows."""
    fitted = fit_learner(
        workshop, trial.estimator, trial.parameters, workshop.sampled(), bench=bench, watching=True
    )
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
) -> tuple[Trial, ...]:
    """Try each ensemble once, when its members are tuned; one whose member has no finished trial fails."""
    found: list[Trial] = []
    ensembles = {name: spec for name, spec in bench.usable.items() if spec.members}
    for number, (name, spec) in enumerate(ensembles.items(), start=numbered_from):
        trial = Trial(number, name, spec.kind, dict(spec.parameters), workshop.model.tuning.metric)
        lacking = [member for member in spec.members if member not in bench.parameters]
        started = time.monotonic()
        if lacking:
            reason = f"its member {lacking[0]} has no finished trial"
            trial = replace(trial, state="failed", reason=reason, seconds=time.monotonic() - started)
        else:
            trial = tried(trial, lambda asked: measured(workshop, replace(bench, at_once=1), asked))
        found.append(trial)
        on_trial(trial)
    return tuple(found)
