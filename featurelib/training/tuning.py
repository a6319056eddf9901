"""A search proposes parameters, tries them beside each other and keeps every outcome, failures too."""

# ruff: noqa: PLC0415 - hyperopt is needed only where a search runs

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol

from featurelib.errors import ConfigError, ModelGateError
from featurelib.specs import EstimatorSpec, SearchRange, Tuning
from featurelib.threads import run_beside

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Parameter = float | int | str | bool
Metric = Literal["roc_auc", "pr_auc", "log_loss", "rmse", "mae", "r2"]
SMALLER_IS_BETTER = frozenset({"log_loss", "rmse", "mae"})
_CHOSEN = "estimator"
_MAX_DRAWS = 10_000
_DRAWN_AGAIN = 50
_SEED_STEP = 1_000_003


@dataclass(frozen=True)
class Measured:
    """What a trial measured on the validation rows: the metric, and the threshold of the greatest F1.

    ``found`` are parameters the fit found by itself, as the trees of an early stop; the trial keeps them.
    """

    value: float
    threshold: float
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
        value: the metric on the validation rows; None if the trial failed.
        seconds: how long it took, on the wall clock.
        state: ``done`` or ``failed``.
        reason: why it failed.
        threshold: of the greatest F1 on the validation rows.
    """

    number: int
    estimator: str
    kind: str
    parameters: dict[str, Parameter]
    metric: Metric
    value: float | None = None
    seconds: float = 0.0
    state: Literal["done", "failed"] = "done"
    reason: str = ""
    threshold: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the trial as plain JSON values."""
        return {**vars(self), "parameters": dict(self.parameters)}


Objective = Callable[[Trial], Measured]
OnTrial = Callable[[Trial], None]


class Tuner(Protocol):
    """Tries parameters of several estimators and returns every trial, in the order of proposal."""

    def search(
        self, estimators: Mapping[str, EstimatorSpec], objective: Objective, *, on_trial: OnTrial
    ) -> tuple[Trial, ...]:
        """Call ``objective`` for each proposal and ``on_trial`` after each outcome."""
        ...


@dataclass(frozen=True)
class HyperoptTuner:
    """Hyperopt's tree of Parzen estimators, asked and told by driver threads of ours.

    The first trials take the estimators in turn, so that each is tried; the first third of the trials (at
    least two an estimator) are random draws, the rest follow what was learnt. Proposals depend on the seed
    and the values alone, however many trials run at a time: number ``n`` has learnt from exactly the trials
    up to ``n - parallelism``, and waits for the last of them where it must.

    Attributes:
        tuning: trials, parallelism, metric and seed.
        spark: whose properties (job group, tags) the threads inherit; None where trials use no Spark.
    """

    tuning: Tuning
    spark: SparkSession | None = None

    def search(
        self, estimators: Mapping[str, EstimatorSpec], objective: Objective, *, on_trial: OnTrial
    ) -> tuple[Trial, ...]:
        """Run all trials; one that raises is recorded as failed, and the search goes on.

        Raises:
            ModelGateError: every trial failed.
        """
        proposals = _Proposals(estimators, self.tuning)
        done: list[Trial] = []
        telling = threading.Lock()

        def work() -> None:
            try:
                while (asked := proposals.ask()) is not None:
                    trial = tried(asked, objective)
                    with telling:
                        proposals.tell(trial)
                        done.append(trial)
                        on_trial(trial)
            except BaseException:
                proposals.stop()
                raise

        run_beside([work] * self.tuning.parallelism, spark=self.spark, at_once=self.tuning.parallelism)
        trials = tuple(sorted(done, key=lambda trial: trial.number))
        if all(trial.state == "failed" for trial in trials):
            raise ModelGateError(
                f"all {len(trials)} trials failed; the first because {trials[0].reason}",
                "at least one trial that can be fitted and measured",
                "mend the cause above, or narrow the search spaces in the model's estimators",
            )
        return trials


def best_trial(trials: Sequence[Trial], *, kinds: frozenset[str] | None = None) -> Trial | None:
    """Return the best finished trial (of these kinds), the earlier of equals; None if there is none."""
    finished = [
        trial for trial in trials if trial.value is not None and (kinds is None or trial.kind in kinds)
    ]
    return min(finished, key=lambda trial: (_loss(trial.metric, trial.value), trial.number), default=None)


def _loss(metric: str, value: float | None) -> float:
    if value is None or not math.isfinite(value):
        return math.inf
    return value if metric in SMALLER_IS_BETTER else -value


def tried(trial: Trial, objective: Objective) -> Trial:
    """Return the trial with what came of it: its value, or why it failed."""
    started = time.monotonic()
    try:
        measured = objective(trial)
    except Exception as error:  # noqa: BLE001 - whatever a fit raises is the outcome of the trial
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
        return replace(trial, state="failed", reason=reason[:500], seconds=time.monotonic() - started)
    seconds = time.monotonic() - started
    if not math.isfinite(measured.value):
        reason = f"{trial.metric} is {measured.value}"
        return replace(trial, state="failed", reason=reason, seconds=seconds)
    parameters = {**trial.parameters, **measured.found}
    return replace(
        trial, value=measured.value, threshold=measured.threshold, seconds=seconds, parameters=parameters
    )


class _Proposals:
    """Hyperopt's ``Trials``, asked for one proposal at a time and told its loss; safe between threads."""

    def __init__(self, estimators: Mapping[str, EstimatorSpec], tuning: Tuning) -> None:
        from hyperopt import Trials
        from hyperopt.base import Domain

        if not estimators:
            raise ConfigError("no estimator to tune", "at least one", "add one to the model's estimators")
        self._estimators = dict(estimators)
        self._names = list(estimators)
        self._tuning = tuning
        self._space = _search_space(estimators)
        # The domain's function is never called: we ask for points only.
        self._domain = Domain(len, self._space)
        self._trials = Trials()
        self._turn = threading.Condition()
        self._asked = 0
        self._proposed = 0
        self._stopped = False
        self._told: dict[int, Trial] = {}
        self._learnt = 0
        self._points: list[dict[str, Any]] = []

    def ask(self) -> Trial | None:
        """Return the next proposal, or None when all were asked for; waits for what it has to learn from."""
        with self._turn:
            if self._asked == self._tuning.trials:
                return None
            number = self._asked
            self._asked += 1
            self._turn.wait_for(lambda: self._stopped or self._is_turn_of(number))
            if self._stopped:
                return None
            for earlier in range(self._learnt, number - self._tuning.parallelism + 1):
                self._learn(self._told[earlier])
                self._learnt = earlier + 1
            proposal = self._proposal(number)
            self._proposed += 1
            self._turn.notify_all()
            return proposal

    def tell(self, trial: Trial) -> None:
        """Take the outcome; it is learnt from when its turn comes."""
        with self._turn:
            self._told[trial.number] = trial
            self._turn.notify_all()

    def stop(self) -> None:
        """Give no further proposals, and let nobody wait for one."""
        with self._turn:
            self._stopped = True
            self._turn.notify_all()

    def _is_turn_of(self, number: int) -> bool:
        known = all(earlier in self._told for earlier in range(number - self._tuning.parallelism + 1))
        return self._proposed == number and known

    def _learn(self, trial: Trial) -> None:
        """Record the outcome with Hyperopt; a failed trial counts as worse than any other."""
        from hyperopt import JOB_STATE_DONE, STATUS_FAIL, STATUS_OK

        for document in self._trials._dynamic_trials:
            if document["tid"] == trial.number:
                document["state"] = JOB_STATE_DONE
                document["result"] = (
                    {"status": STATUS_OK, "loss": _loss(trial.metric, trial.value)}
                    if trial.state == "done"
                    else {"status": STATUS_FAIL}
                )
        self._trials.refresh()

    def _proposal(self, number: int) -> Trial:
        from hyperopt import space_eval

        (tid,) = self._trials.new_trial_ids(1)
        documents = self._drawn_for(number, tid=tid) if number < len(self._names) else self._unseen(tid)
        self._trials.insert_trial_docs(documents)
        self._trials.refresh()
        point = _point(documents)
        self._points.append(point)
        chosen = space_eval(self._space, point)
        spec = self._estimators[chosen["name"]]
        return Trial(
            number=number,
            estimator=chosen["name"],
            kind=spec.kind,
            parameters={
                **spec.parameters,
                **{name: _plain(value) for name, value in chosen["parameters"].items()},
            },
            metric=self._tuning.metric,
        )

    def _unseen(self, tid: int) -> list[dict[str, Any]]:
        """Follow what was learnt; a point tried before would teach nothing, so draw at random instead."""
        from hyperopt import rand, tpe

        random_first = max(2 * len(self._names), self._tuning.trials // 3)
        learnt = partial(tpe.suggest, n_startup_jobs=random_first, verbose=False)
        documents: list[dict[str, Any]] = []
        for again, suggest in enumerate([learnt] * 3 + [rand.suggest] * _DRAWN_AGAIN):
            seed = self._tuning.seed + tid + _SEED_STEP * again
            documents = suggest([tid], self._domain, self._trials, seed)
            if _point(documents) not in self._points:
                break
        return documents

    def _drawn_for(self, number: int, *, tid: int) -> list[dict[str, Any]]:
        """Draw at random until the wanted estimator comes up: its share is one in a few."""
        from hyperopt import rand

        for draw in range(_MAX_DRAWS):
            seed = self._tuning.seed + number + _SEED_STEP * draw
            documents: list[dict[str, Any]] = rand.suggest([tid], self._domain, self._trials, seed)
            if documents[0]["misc"]["vals"][_CHOSEN] == [number]:
                return documents
        raise AssertionError(self._names[number])  # pragma: no cover - one in (1 - 1/n) ** 10000


def _point(documents: list[dict[str, Any]]) -> dict[str, Any]:
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
