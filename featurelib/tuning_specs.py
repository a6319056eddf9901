"""How the parameters of a model's learners are searched: spaces, algorithm, limits, folds and rungs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from featurelib.spec_types import Duration, Spec, unsaid

Range = Annotated[tuple[float, float], Field(min_length=2, max_length=2)]
ITERATIONS = frozenset({"trees", "max_iter"})
"""The parameters that say how many iterations a learner runs."""
Share = Annotated[float, Field(gt=0, lt=1)]


class SearchRange(Spec):
    """One hyperparameter's space: exactly one of the forms is given.

    ``uniform`` and ``log_uniform`` take ``[low, high]``; ``integer`` takes ``[low, high]``, both included;
    ``choice`` takes the values. ``steps`` is how many values a grid takes of a range, its ends included and
    the others evenly between (by their logarithm for ``log_uniform``); other algorithms draw from all of it.
    """

    uniform: Range | None = None
    log_uniform: Range | None = None
    integer: tuple[int, int] | None = None
    choice: tuple[float | int | str | bool, ...] | None = None
    steps: Annotated[int, Field(ge=2)] | None = unsaid(default=None)

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        given = [name for name, value in self if value is not None and name != "steps"]
        if len(given) != 1:
            raise ValueError(
                f"give exactly one of uniform, log_uniform, integer, choice; got {given or 'none'}"
            )
        bounds = self.uniform or self.log_uniform or self.integer
        if bounds is not None and bounds[0] >= bounds[1]:
            raise ValueError(f"low must be less than high, got {list(bounds)}")
        if self.log_uniform is not None and self.log_uniform[0] <= 0:
            raise ValueError(f"log_uniform needs low above 0, got {self.log_uniform[0]}")
        if self.choice is not None and not self.choice:
            raise ValueError("choice needs at least one value")
        if self.choice is not None and self.steps is not None:
            raise ValueError("steps cut a range; a choice is a list of values already: take steps away")
        return self

    @property
    def is_continuous(self) -> bool:
        """Whether a grid cannot tell its values apart: a range of numbers without ``steps``."""
        return self.choice is None and self.integer is None and self.steps is None


class Folds(Spec):
    """Trials are measured on several cuts of the training rows, each with a preparation of its own.

    ``expanding`` cuts by ``as_of_ts``: fold k learns from the first k of ``count + 1`` parts with about
    equally many rows and is measured on the part that follows; rows less than ``embargo`` before it belong
    to neither. ``stratified`` holds each label's rows evenly in ``count`` parts, ``group`` all rows with one
    value of the column ``group`` in one part; each part is measured once by what the others teach. These two
    know no time: rows of a later day teach what an earlier one is measured by.
    """

    kind: Literal["expanding", "stratified", "group"]
    count: Annotated[int, Field(ge=2, le=20)] = 3
    embargo: Duration | None = None
    group: str | None = None

    @model_validator(mode="after")
    def _what_its_kind_takes(self) -> Self:
        if (self.kind == "group") != (self.group is not None):
            raise ValueError("folds of kind group, and no other, name the column under group")
        if self.embargo is not None and self.kind != "expanding":
            raise ValueError(f"folds of kind {self.kind} know no time; an embargo needs kind expanding")
        return self


class Tuning(Spec):
    """How the search runs: trials in all, how many at a time, on what share of the rows, and when it ends.

    Attributes:
        trials: how many at most.
        parallelism: how many at a time.
        metric: what is searched for, on the validation rows or the folds.
        seed: of the proposals and of all that is random in a fit.
        sample: share of the training rows that trials are fitted on.
        algorithm: ``tpe`` follows a tree of Parzen estimators, ``anneal`` moves near the best, ``random``
            draws, ``grid`` walks through all combinations in an order drawn by the seed.
        backend: who proposes.
        max_seconds: of the search; no trial begins that is not expected to end by then.
        budget: what the search may cost, by ``cost.per_hour`` of the settings.
        no_progress: the search ends after so many trials in succession that were no better.
        folds: measure on these instead of the validation rows.
        rungs: shares, rising; a trial that is worse than the median of those before it at one is pruned.
        rungs_of: what the shares are of: training rows, or ``iterations``, trees or steps of a linear model.
    """

    trials: Annotated[int, Field(ge=1)] = 12
    parallelism: Annotated[int, Field(ge=1)] = 2
    metric: Literal["roc_auc", "pr_auc", "log_loss", "rmse", "mae", "r2"] = "roc_auc"
    seed: int = 7
    sample: Annotated[float, Field(gt=0, le=1)] = 1.0
    algorithm: Literal["tpe", "random", "anneal", "grid"] = unsaid(default="tpe")
    backend: Literal["hyperopt", "optuna"] = unsaid(default="hyperopt")
    max_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = unsaid(default=None)
    budget: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = unsaid(default=None)
    no_progress: Annotated[int, Field(ge=1)] | None = unsaid(default=None)
    folds: Folds | None = unsaid(default=None)
    rungs: tuple[Share, ...] = unsaid(default=())
    rungs_of: Literal["rows", "iterations"] = unsaid(default="rows")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.backend == "optuna" and self.algorithm == "anneal":
            raise ValueError(
                "optuna has no algorithm anneal: take tpe, random or grid, or the backend hyperopt"
            )
        if any(low >= high for low, high in zip(self.rungs, self.rungs[1:], strict=False)):
            raise ValueError(f"rungs must rise, got {list(self.rungs)}")
        return self


def check_search(
    tuning: Tuning, learners: Mapping[str, tuple[Mapping[str, SearchRange], Collection[str]]]
) -> None:
    """Refuse a search that these learners' spaces and parameters do not allow.

    Args:
        tuning: how the search runs.
        learners: by the name of each estimator its space, and the names of its fixed parameters.

    Raises:
        ValueError: a grid over continuous ranges, or rungs of iterations for a learner that says no number
            of them; all of them are named.
    """
    endless = [
        f"{name}.{parameter}"
        for name, (space, _) in learners.items()
        for parameter, searched in space.items()
        if searched.is_continuous
    ]
    if tuning.algorithm == "grid" and endless:
        raise ValueError(
            f"a grid has no end over {', '.join(endless)}: give each range steps, as"
            " {uniform: [0, 1], steps: 5}, or a choice of values, or take another algorithm"
        )
    uncounted = [name for name, (space, fixed) in learners.items() if not ITERATIONS & {*space, *fixed}]
    if tuning.rungs and tuning.rungs_of == "iterations" and uncounted:
        raise ValueError(
            f"rungs of iterations need trees or max_iter, and {', '.join(uncounted)} gives neither:"
            " give one of them, fixed or in the space, or take rungs_of: rows"
        )
