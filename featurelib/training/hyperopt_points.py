"""Hyperopt proposes: its tree of Parzen estimators, its annealing, its random draws."""

# ruff: noqa: PLC0415 - hyperopt is needed only where a search runs

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from featurelib.specs import EstimatorSpec, SearchRange, Tuning
from featurelib.training.tuning import Parameter, Point, Trial, learnt_loss

_CHOSEN = "estimator"
_MAX_DRAWS = 10_000
_FOLLOWED = 3
_DRAWN_AGAIN = 50
_SEED_STEP = 1_000_003


class HyperoptPoints:
    """Hyperopt's ``Trials``, asked for one point at a time and told its loss.

    The first points take the estimators in turn, so that each is tried; with ``tpe`` the first third of the
    trials (at least two an estimator) are random draws, the rest follow what was learnt.
    """

    def __init__(self, estimators: Mapping[str, EstimatorSpec], tuning: Tuning) -> None:
        from hyperopt import Trials
        from hyperopt.base import Domain

        self._names = list(estimators)
        self._tuning = tuning
        self._space = _search_space(estimators)
        # The domain's function is never called: we ask for points only.
        self._domain = Domain(len, self._space)
        self._trials = Trials()
        self._seen: list[dict[str, Any]] = []

    def propose(self, number: int) -> Point:
        """Return the next point, one that was not proposed before where such are easily found."""
        from hyperopt import space_eval

        (tid,) = self._trials.new_trial_ids(1)
        documents = self._drawn_for(number, tid=tid) if number < len(self._names) else self._unseen(tid)
        self._trials.insert_trial_docs(documents)
        self._trials.refresh()
        self._seen.append(_values(documents))
        chosen = space_eval(self._space, self._seen[-1])
        return Point(chosen["name"], {name: _plain(value) for name, value in chosen["parameters"].items()})

    def learn(self, trial: Trial) -> None:
        """Record the outcome with Hyperopt; a failed trial counts as worse than any other."""
        from hyperopt import JOB_STATE_DONE, STATUS_FAIL, STATUS_OK

        worth = learnt_loss(trial)
        for document in self._trials._dynamic_trials:
            if document["tid"] == trial.number:
                document["state"] = JOB_STATE_DONE
                document["result"] = (
                    {"status": STATUS_FAIL} if worth is None else {"status": STATUS_OK, "loss": worth}
                )
        self._trials.refresh()

    def _unseen(self, tid: int) -> list[dict[str, Any]]:
        """Follow what was learnt; a point tried before would teach nothing, so draw at random instead."""
        from hyperopt import rand

        followed = [] if self._tuning.algorithm == "random" else [self._followed()] * _FOLLOWED
        documents: list[dict[str, Any]] = []
        for again, suggest in enumerate([*followed, *[rand.suggest] * _DRAWN_AGAIN]):
            seed = self._tuning.seed + tid + _SEED_STEP * again
            documents = suggest([tid], self._domain, self._trials, seed)
            if _values(documents) not in self._seen:
                break
        return documents

    def _followed(self) -> Any:  # noqa: ANN401 - a function of hyperopt
        from hyperopt import anneal, tpe

        if self._tuning.algorithm == "anneal":
            return anneal.suggest
        random_first = max(2 * len(self._names), self._tuning.trials // 3)
        return partial(tpe.suggest, n_startup_jobs=random_first, verbose=False)

    def _drawn_for(self, number: int, *, tid: int) -> list[dict[str, Any]]:
        """Draw at random until the wanted estimator comes up: its share is one in a few."""
        from hyperopt import rand

        for draw in range(_MAX_DRAWS):
            seed = self._tuning.seed + number + _SEED_STEP * draw
            documents: list[dict[str, Any]] = rand.suggest([tid], self._domain, self._trials, seed)
            if documents[0]["misc"]["vals"][_CHOSEN] == [number]:
                return documents
        raise AssertionError(self._names[number])  # pragma: no cover - one in (1 - 1/n) ** 10000


def _values(documents: list[dict[str, Any]]) -> dict[str, Any]:
    return {label: values[0] for label, values in documents[0]["misc"]["vals"].items() if values}


def _plain(value: Any) -> Parameter:  # noqa: ANN401 - hyperopt gives numpy scalars and Python values
    plain: Parameter = value.item() if hasattr(value, "item") else value
    return plain


def _search_space(estimators: Mapping[str, EstimatorSpec]) -> Any:  # noqa: ANN401 - a node of hyperopt's graph
    from hyperopt import hp

    return hp.choice(
        _CHOSEN,
        [
            {
                "name": name,
                "parameters": {
                    parameter: _dimension(f"{name}.{parameter}", searched)
                    for parameter, searched in spec.space.items()
                },
            }
            for name, spec in estimators.items()
        ],
    )


def _dimension(label: str, searched: SearchRange) -> Any:  # noqa: ANN401 - a node of hyperopt's graph
    from hyperopt import hp

    if searched.choice is not None:
        return hp.choice(label, list(searched.choice))
    if searched.integer is not None:
        return hp.uniformint(label, *searched.integer)
    if searched.log_uniform is not None:
        low, high = searched.log_uniform
        return hp.loguniform(label, math.log(low), math.log(high))
    return hp.uniform(label, *(searched.uniform or (0.0, 1.0)))
