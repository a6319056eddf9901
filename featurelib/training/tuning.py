"""What a search tries and what comes of it: proposals, trials, and the protocols of those who make them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from featurelib.specs import EstimatorSpec

Parameter = float | int | str | bool
Metric = Literal["roc_auc", "pr_auc", "log_loss", "rmse", "mae", "r2"]
Stop = Literal["trials", "space", "no_progress", "max_seconds", "budget"]
SMALLER_IS_BETTER = frozenset({"log_loss", "rmse", "mae"})


@dataclass(frozen=True)
class Measured:
    """What a trial measured.

    Attributes:
        value: the metric.
        threshold: of the greatest F1.
        folds: the metric of each fold.
        found: parameters that the fit found by itself, as the trees of an early stop.
    """

    value: float
    threshold: float
    folds: tuple[float, ...] = ()
    found: Mapping[str, Parameter] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """One try of the search.

    Attributes:
        number: 0, 1, ... in the order of proposal.
        estimator: the estimator's name in the model's configuration.
        kind: its kind.
        parameters: fixed and proposed ones together.
        metric: name of the metric of ``value``.
        value: the metric on the validation rows, or its mean over the folds; None unless the trial is done.
        seconds: how long it took, on the wall clock.
        state: ``done``, ``failed``, or ``pruned`` at a rung.
        reason: why it failed or was pruned.
        threshold: of the greatest F1 on the rows it was measured on.
        share: of the training rows or iterations that it was last measured with.
        rungs: share and metric at each rung that was reached before the whole.
        folds: the metric on each fold.
        found: parameters that its fit found by itself, as the trees of an early stop.
    """

    number: int
    estimator: str
    kind: str
    parameters: dict[str, Parameter]
    metric: Metric
    value: float | None = None
    seconds: float = 0.0
    state: Literal["done", "failed", "pruned"] = "done"
    reason: str = ""
    threshold: float | None = None
    share: float = 1.0
    rungs: tuple[tuple[float, float], ...] = ()
    folds: tuple[float, ...] = ()
    found: dict[str, Parameter] = field(default_factory=dict)

    @property
    def fitted(self) -> dict[str, Parameter]:
        """The parameters to fit it again with."""
        return {**self.parameters, **self.found}

    @property
    def spread(self) -> float | None:
        """The standard deviation of the metric over the folds; None without folds."""
        return statistics.stdev(self.folds) if len(self.folds) > 1 else None

    def to_dict(self) -> dict[str, Any]:
        """Return the trial as plain JSON values."""
        return {
            **vars(self),
            "parameters": dict(self.parameters),
            "rungs": [list(rung) for rung in self.rungs],
            "folds": list(self.folds),
            "spread": self.spread,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Trial:
        """Return the trial that ``to_dict`` gave."""
        fields = {name: value for name, value in record.items() if name != "spread"}
        rungs = tuple((float(share), float(value)) for share, value in fields.pop("rungs"))
        return cls(**{**fields, "rungs": rungs, "folds": tuple(fields.pop("folds"))})


Objective = Callable[[Trial], Measured]
"""Fits and measures a trial with its ``share`` of the training rows or iterations."""
OnTrial = Callable[[Trial], None]


@dataclass(frozen=True)
class Searched:
    """What a search found.

    Attributes:
        trials: every trial, in the order of proposal.
        stopped_by: ``trials`` (all were tried), ``space`` (a grid was walked through), or the limit reached.
        resumed: how many of the trials an earlier run had finished.
    """

    trials: tuple[Trial, ...]
    stopped_by: Stop = "trials"
    resumed: int = 0


class Tuner(Protocol):
    """Tries parameters of several estimators and returns every trial, in the order of proposal."""

    def search(
        self, estimators: Mapping[str, EstimatorSpec], objective: Objective, *, on_trial: OnTrial
    ) -> Searched:
        """Call ``objective`` for each proposal and ``on_trial`` after each outcome."""
        ...


@dataclass(frozen=True)
class Point:
    """A proposal: an estimator and a value of each parameter of its space."""

    estimator: str
    parameters: dict[str, Parameter]


class Proposer(Protocol):
    """Proposes points by what it was told; the same calls in the same order give the same points.

    It is asked for numbers 0, 1, ... and told trials 0, 1, ..., each once and in order, by one thread at a
    time.
    """

    def propose(self, number: int) -> Point | None:
        """Return the next point; None where the space has no other."""
        ...

    def learn(self, trial: Trial) -> None:
        """Take the outcome of an earlier proposal."""
        ...


def best_trial(trials: Sequence[Trial], *, kinds: frozenset[str] | None = None) -> Trial | None:
    """Return the best finished trial (of these kinds), the earlier of equals; None if there is none."""
    finished = [
        trial
        for trial in trials
        if trial.state == "done" and trial.value is not None and (kinds is None or trial.kind in kinds)
    ]
    return min(finished, key=lambda trial: (loss(trial.metric, trial.value), trial.number), default=None)


def loss(metric: str, value: float | None) -> float:
    """Return what is to be made small; infinite where the value is missing or not finite."""
    if value is None or not math.isfinite(value):
        return math.inf
    return value if metric in SMALLER_IS_BETTER else -value


def learnt_loss(trial: Trial) -> float | None:
    """Return the loss a proposer learns: of a pruned trial that of its last rung, of a failed one none."""
    if trial.state == "pruned":
        return loss(trial.metric, trial.rungs[-1][1])
    return loss(trial.metric, trial.value) if trial.state == "done" else None
