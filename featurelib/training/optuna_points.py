"""Optuna proposes: its tree of Parzen estimators and its random draws, behind the same protocol."""

# ruff: noqa: PLC0415 - optuna is optional

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

from featurelib.errors import PreconditionError
from featurelib.specs import EstimatorSpec, SearchRange, Tuning
from featurelib.training.tuning import Parameter, Point, Trial, learnt_loss

_CHOSEN = "estimator"
_FOLLOWED = 3
_DRAWN_AGAIN = 50
_SEED_STEP = 1_000_003


class OptunaPoints:
    """An Optuna study in memory, asked for one point at a time and told its loss.

    As with Hyperopt, the first points take the estimators in turn and the first third of the trials are
    random draws. The sampler is made anew for each point, from the seed and the point's number: a point
    depends on what was learnt before it, and on nothing a random generator went through meanwhile.

    Raises:
        PreconditionError: optuna is not installed.
    """

    def __init__(self, estimators: Mapping[str, EstimatorSpec], tuning: Tuning) -> None:
        if importlib.util.find_spec("optuna") is None:
            raise PreconditionError(
                "tuning.backend is optuna, and the package optuna is not installed",
                "optuna of the version in requirements.lock",
                "install featurelib[optuna], or take the backend hyperopt",
            )
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._estimators = dict(estimators)
        self._tuning = tuning
        self._study = optuna.create_study(direction="minimize")
        self._asked: dict[int, Any] = {}
        self._seen: list[Point] = []

    def propose(self, number: int) -> Point:
        """Return the next point, one that was not proposed before where such are easily found."""
        from optuna.trial import TrialState

        for again in range(_FOLLOWED + _DRAWN_AGAIN):
            self._study.sampler = self._sampler(number, again)
            if number < len(self._estimators):
                self._study.enqueue_trial({_CHOSEN: list(self._estimators)[number]})
            asked = self._study.ask()
            point = self._point(asked)
            if point not in self._seen or again == _FOLLOWED + _DRAWN_AGAIN - 1:
                break
            self._study.tell(asked, state=TrialState.FAIL)  # a point tried before: it is forgotten
        self._asked[number] = asked
        self._seen.append(point)
        return point

    def learn(self, trial: Trial) -> None:
        """Tell the study the outcome; a failed trial teaches nothing."""
        from optuna.trial import TrialState

        asked, worth = self._asked.pop(trial.number), learnt_loss(trial)
        if worth is None:
            self._study.tell(asked, state=TrialState.FAIL)
        elif trial.state == "pruned":
            asked.report(worth, step=len(trial.rungs))
            self._study.tell(asked, state=TrialState.PRUNED)
        else:
            self._study.tell(asked, worth)

    def _sampler(self, number: int, again: int) -> Any:  # noqa: ANN401 - a sampler of optuna
        from optuna.samplers import RandomSampler, TPESampler

        seed = (self._tuning.seed + number + _SEED_STEP * again) % 2**32
        if self._tuning.algorithm == "random" or again >= _FOLLOWED:
            return RandomSampler(seed=seed)
        random_first = max(2 * len(self._estimators), self._tuning.trials // 3)
        return TPESampler(seed=seed, n_startup_trials=random_first)

    def _point(self, asked: Any) -> Point:  # noqa: ANN401 - a trial of optuna
        name = asked.suggest_categorical(_CHOSEN, list(self._estimators))
        space = self._estimators[name].space
        return Point(
            name,
            {
                parameter: _suggested(asked, f"{name}.{parameter}", found)
                for parameter, found in space.items()
            },
        )


def _suggested(asked: Any, label: str, searched: SearchRange) -> Parameter:  # noqa: ANN401 - a trial of optuna
    value: Parameter
    if searched.choice is not None:
        value = asked.suggest_categorical(label, list(searched.choice))
    elif searched.integer is not None:
        value = asked.suggest_int(label, *searched.integer)
    else:
        low, high = searched.log_uniform or searched.uniform or (0.0, 1.0)
        value = asked.suggest_float(label, low, high, log=searched.log_uniform is not None)
    return value
