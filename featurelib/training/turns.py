"""Threads take turns at proposals, so that what a proposal has learnt does not depend on who was first."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from featurelib.specs import EstimatorSpec, Tuning
from featurelib.training.tuning import Proposer, Trial, loss


@dataclass(frozen=True)
class Asked:
    """A trial to be run, what it may depend on, and all that has ended at this moment.

    Attributes:
        trial: the proposal.
        earlier: the trials up to ``number - lag``, the same however long each takes.
        told: whatever has ended, for estimates of time.
    """

    trial: Trial
    earlier: tuple[Trial, ...]
    told: tuple[Trial, ...]


class Turns:
    """Gives proposals in their order, each after exactly the trials up to ``number - lag``.

    The lag is 1 where trials run one at a time. Beside each other they may be a round further apart than they
    must (``2 * parallelism - 1``): with ``parallelism`` alone, whoever has had a short trial would wait for
    the long one beside it.

    Args:
        proposer: who proposes.
        estimators: their specs, for kinds and fixed parameters.
        tuning: trials, parallelism, metric and ``no_progress``.
        is_over: whether a proposal comes too late.
    """

    def __init__(
        self,
        proposer: Proposer,
        estimators: Mapping[str, EstimatorSpec],
        tuning: Tuning,
        *,
        is_over: Callable[[Asked], bool],
    ) -> None:
        self._proposer = proposer
        self._estimators = dict(estimators)
        self._tuning = tuning
        self._lag = 2 * tuning.parallelism - 1
        self._is_over = is_over
        self._turn = threading.Condition()
        self._asked = 0
        self._proposed = 0
        self._ended = False
        self._told: dict[int, Trial] = {}
        self._earlier: list[Trial] = []
        self.stopped_by: Literal["trials", "space", "no_progress", "limit"] = "trials"
        self.telling = threading.Lock()

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Every trial that was told, in the order of proposal."""
        return tuple(trial for _, trial in sorted(self._told.items()))

    def ask(self) -> Asked | None:
        """Return the next proposal, or None when there is none; waits for what it has to learn from."""
        with self._turn:
            if self._ended or self._asked == self._tuning.trials:
                return None
            number = self._asked
            self._asked += 1
            self._turn.wait_for(lambda: self._ended or self._is_turn_of(number))
            if self._is_ended():
                return None
            for place in range(len(self._earlier), number - self._lag + 1):
                self._proposer.learn(self._told[place])
                self._earlier.append(self._told[place])
            asked = self._next(number)
            self._proposed += 1
            self._ended = asked is None
            self._turn.notify_all()
            return asked

    def tell(self, trial: Trial) -> None:
        """Take the outcome; it is learnt from when its turn comes."""
        with self._turn:
            self._told[trial.number] = trial
            self._turn.notify_all()

    def end(self) -> None:
        """Give no further proposals, and let nobody wait for one."""
        with self._turn:
            self._ended = True
            self._turn.notify_all()

    def _is_ended(self) -> bool:
        return self._ended

    def _is_turn_of(self, number: int) -> bool:
        known = all(earlier in self._told for earlier in range(number - self._lag + 1))
        return self._proposed == number and known

    def _next(self, number: int) -> Asked | None:
        if self._is_stuck(number):
            self.stopped_by = "no_progress"
            return None
        point = self._proposer.propose(number)
        if point is None:
            self.stopped_by = "space"
            return None
        spec = self._estimators[point.estimator]
        trial = Trial(
            number=number,
            estimator=point.estimator,
            kind=spec.kind,
            parameters={**spec.parameters, **point.parameters},
            metric=self._tuning.metric,
        )
        asked = Asked(trial, tuple(self._earlier), self.trials)
        if self._is_over(asked):
            self.stopped_by = "limit"
            return None
        return asked

    def _is_stuck(self, number: int) -> bool:
        """Return whether the last trials brought nothing, each estimator having had its turn."""
        patience = self._tuning.no_progress
        if patience is None or number < len(self._estimators):
            return False
        best, since = math.inf, 0
        for trial in self._earlier:
            worth = loss(trial.metric, trial.value) if trial.state == "done" else math.inf
            best, since = (worth, 0) if worth < best else (best, since + 1)
        return since >= patience
