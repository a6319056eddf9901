"""A search tries proposals beside each other, keeps every outcome, failures too, and ends when it is to."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from featurelib.errors import BudgetExceeded, ConfigError, ModelGateError
from featurelib.specs import CostSettings, EstimatorSpec, Tuning
from featurelib.tables.faults import fault_point
from featurelib.threads import run_beside
from featurelib.training.grid_points import GridPoints
from featurelib.training.hyperopt_points import HyperoptPoints
from featurelib.training.journal import Journal, Kept
from featurelib.training.optuna_points import OptunaPoints
from featurelib.training.tuning import Objective, OnTrial, Proposer, Searched, Trial, loss
from featurelib.training.turns import Asked, Turns

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_RUNG_TRIALS = 3


@dataclass(frozen=True)
class Limit:
    """The seconds a search may take, those of earlier runs included, and the key that says so."""

    seconds: float
    key: Literal["max_seconds", "budget"]


@dataclass(frozen=True)
class TimeLeft:
    """What the run that a search is part of has left for it, from now on.

    Attributes:
        seconds: asked before each trial; zero or less where nothing is left.
        again: the command that goes on.
    """

    seconds: Callable[[], float]
    again: str


def limit_of(tuning: Tuning, cost: CostSettings | None) -> Limit | None:
    """Return the narrower of seconds and money; None without any.

    Raises:
        ConfigError: money, and no price of an hour.
    """
    limits = [] if tuning.max_seconds is None else [Limit(tuning.max_seconds, "max_seconds")]
    if tuning.budget is not None:
        if cost is None:
            raise ConfigError(
                f"tuning.budget {tuning.budget:g}, and the settings do not say what an hour costs",
                "cost.per_hour",
                "write cost: {per_hour: 0.40, currency: EUR} into conf/base.yaml, or give tuning.max_seconds",
            )
        limits.append(Limit(tuning.budget / cost.per_hour * 3600, "budget"))
    return min(limits, key=lambda limit: limit.seconds, default=None)


def proposer_of(estimators: Mapping[str, EstimatorSpec], tuning: Tuning) -> Proposer:
    """Return who proposes points for this tuning.

    Raises:
        ConfigError: there is no estimator, or a grid has too many points.
        PreconditionError: the backend's package is missing.
    """
    if not estimators:
        raise ConfigError("no estimator to tune", "at least one", "add one to the model's estimators")
    if tuning.algorithm == "grid":
        return GridPoints(estimators, tuning)
    return (OptunaPoints if tuning.backend == "optuna" else HyperoptPoints)(estimators, tuning)


@dataclass(frozen=True)
class TrialSearch:
    """Proposals of either backend, tried by driver threads of ours.

    Proposals depend on the seed and the values alone, however long each trial takes: number ``n`` has learnt
    from exactly the trials up to ``n - (2 * parallelism - 1)``, and waits for the last of them where it must.
    So do the medians of rungs and ``no_progress``. Only the clock of a limit is not repeatable.

    Attributes:
        tuning: algorithm, trials, parallelism, metric, rungs and seed.
        spark: whose properties (job group, tags) the threads inherit; None where trials use no Spark.
        limit: seconds of the search; no trial begins that is not expected to end by then.
        left: what the run has left; where it has too little for another trial the search is not over, it is
            broken off. A budget of one run must not make another model of the same spec.
        journal: where ended trials are kept; what it holds of this search is not tried again.
        clock: seconds that only grow.
    """

    tuning: Tuning
    spark: SparkSession | None = None
    limit: Limit | None = None
    left: TimeLeft | None = None
    journal: Journal | None = None
    clock: Callable[[], float] = time.monotonic

    def search(
        self, estimators: Mapping[str, EstimatorSpec], objective: Objective, *, on_trial: OnTrial
    ) -> Searched:
        """Run all trials; one that raises is recorded as failed, and the search goes on.

        ``on_trial`` is called for trials of this run alone, after they are kept.

        Raises:
            ModelGateError: every trial failed.
            BudgetExceeded: the limit is shorter than any trial, or the run has nothing left for another one;
                what ended is kept in the journal.
        """
        proposer = proposer_of(estimators, self.tuning)
        kept = self.journal.read() if self.journal else Kept()
        opened = self.journal.open(whole=kept.whole) if self.journal else None
        began = self.clock() - max(kept.ended.values(), default=0.0)
        broken_off: list[float] = []
        turns = Turns(
            proposer,
            estimators,
            self.tuning,
            is_over=lambda asked: self._is_over(asked, kept, began, broken_off),
        )
        ended: dict[int, float] = {}
        resumed: list[int] = []

        def work() -> None:
            try:
                while (asked := turns.ask()) is not None:
                    known = kept.trials.get(asked.trial.number)
                    if known is not None and _is_same(known, asked.trial):
                        resumed.append(known.number)
                        ended[known.number] = kept.ended[known.number]
                        turns.tell(known)
                        continue
                    fault_point("trial.begun")
                    trial = tried(
                        asked.trial, objective, self.tuning, earlier=asked.earlier, spark=self.spark
                    )
                    with turns.telling:
                        ended[trial.number] = self.clock() - began
                        if opened is not None:
                            opened.add(trial, elapsed=ended[trial.number])
                        turns.tell(trial)
                        on_trial(trial)
            except BaseException:
                turns.end()
                raise

        try:
            run_beside([work] * self.tuning.parallelism, spark=self.spark, at_once=self.tuning.parallelism)
        finally:
            if opened is not None:
                opened.close()
        if broken_off and self.left is not None:
            raise self._broken_off(turns.trials, broken_off[0], self.left.again)
        found = Searched(turns.trials, self._stop(turns), len(resumed))
        self._check(found, ended)
        return found

    def _is_over(self, asked: Asked, kept: Kept, began: float, broken_off: list[float]) -> bool:
        """Return whether no time is left for a trial, by the longest one of its estimator so far.

        The search's own limit ends it; that of the run breaks it off, and what was left is noted.
        """
        if asked.trial.number in kept.trials:
            return False
        alike = [trial.seconds for trial in asked.told if trial.estimator == asked.trial.estimator]
        longest = max(alike, default=0.0)
        if self.limit is not None and self.clock() - began + longest >= self.limit.seconds:
            return True
        if self.left is not None and longest >= (left := self.left.seconds()):
            broken_off.append(max(left, 0.0))
            return True
        return False

    def _broken_off(self, trials: Sequence[Trial], left: float, again: str) -> BudgetExceeded:
        kept = "and are kept" if self.journal is not None else "and are lost without a journal"
        return BudgetExceeded(
            f"the run's budget leaves {left:.0f} s, too little for another trial of the search: "
            f"{len(trials)} of {self.tuning.trials} ended {kept}",
            "time for all trials, and for what follows them",
            f"go on with {again}; tuning.max_seconds and tuning.budget end a search with its best so far",
        )

    def _stop(self, turns: Turns) -> Any:  # noqa: ANN401 - a literal
        if turns.stopped_by == "limit" and self.limit is not None:
            return self.limit.key
        return turns.stopped_by

    def _check(self, found: Searched, ended: Mapping[int, float]) -> None:
        if found.trials and all(trial.state == "failed" for trial in found.trials):
            raise ModelGateError(
                f"all {len(found.trials)} trials failed; the first because {found.trials[0].reason}",
                "at least one trial that can be fitted and measured",
                "mend the cause above, or narrow the search spaces in the model's estimators",
            )
        if self.limit is not None and min(ended.values(), default=math.inf) > self.limit.seconds:
            took = min((trial.seconds for trial in found.trials), default=None)
            shortest = "" if took is None else f": the shortest took {took:.1f} s"
            raise BudgetExceeded(
                f"tuning.{self.limit.key} allows {self.limit.seconds:g} s of search, "
                f"and not one trial ended by then{shortest}",
                "time for a few trials",
                f"raise tuning.{self.limit.key} and run again: trials that ended are kept, and not repeated",
            )


def tried(
    trial: Trial,
    objective: Objective,
    tuning: Tuning,
    *,
    earlier: Sequence[Trial] = (),
    spark: SparkSession | None = None,
) -> Trial:
    """Run a trial up its rungs; it is pruned at the first where it is worse than the median so far.

    Args:
        trial: what was proposed.
        objective: fits and measures it.
        tuning: the rungs.
        earlier: the trials whose rungs it is compared with.
        spark: whose end is no fault of the trial.
    """
    started = time.monotonic()
    try:
        for share in (*tuning.rungs, 1.0):
            measured = objective(replace(trial, share=share))
            seconds = time.monotonic() - started
            trial = replace(trial, share=share, seconds=seconds, threshold=measured.threshold)
            if loss(trial.metric, measured.value) == math.inf:
                reason = f"{trial.metric} is {measured.value}"
                return replace(trial, state="failed", reason=reason, threshold=None)
            if share == 1.0:
                found = dict(measured.found)
                return replace(trial, value=measured.value, folds=measured.folds, found=found)
            trial = replace(trial, rungs=(*trial.rungs, (share, measured.value)))
            if (median := _median_at(share, earlier)) is not None and (
                loss(trial.metric, measured.value) > loss(trial.metric, median)
            ):
                reason = (
                    f"{trial.metric} {measured.value:.4f} with {share:g} of the {tuning.rungs_of}, "
                    f"worse than {median:.4f}, the median of the trials before it"
                )
                return replace(trial, state="pruned", reason=reason, threshold=None)
    except Exception as error:
        if spark is not None and _is_gone(spark):
            raise  # the run is ending, and that is no fault of the trial
        said = str(error).strip()
        reason = f"{type(error).__name__}: {said.splitlines()[0] if said else ''}"
        seconds = time.monotonic() - started
        return replace(trial, state="failed", reason=reason[:500], seconds=seconds, threshold=None)
    raise AssertionError("the last rung is the whole")  # pragma: no cover


def _median_at(share: float, earlier: Sequence[Trial]) -> float | None:
    """Return the median of what earlier trials measured at a rung; None while they are few."""
    values = [value for trial in earlier for rung, value in trial.rungs if rung == share]
    return statistics.median(values) if len(values) >= _RUNG_TRIALS else None


def _is_same(known: Trial, proposed: Trial) -> bool:
    return (known.estimator, known.parameters, known.metric) == (
        proposed.estimator,
        proposed.parameters,
        proposed.metric,
    )


def _is_gone(spark: SparkSession) -> bool:
    """Return whether the session has ended, as when the process is being stopped."""
    try:
        return bool(spark.sparkContext._jsc.sc().isStopped())
    except Exception:  # noqa: BLE001 - whatever a gateway without a JVM raises
        return True
