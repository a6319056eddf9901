"""A budget stops a run before the step that would exceed it; what was done stays, and a rerun goes on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from featurelib.errors import BudgetExceeded, ConfigError
from featurelib.pipeline.plan import Plan, StepPlan, money
from featurelib.pipeline.plan_text import price
from featurelib.reports.formats import seconds, words
from featurelib.specs import CostSettings


@dataclass(frozen=True)
class Budget:
    """What a command may take, from its start to its end.

    Attributes:
        seconds: the limit.
        cost: what an hour costs, None if nothing says it.
        again: the command that goes on.
        clock: seconds that only grow.
    """

    seconds: float
    cost: CostSettings | None
    again: str
    clock: Callable[[], float] = time.monotonic
    _started: list[float] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        self._started.append(self.clock())

    @property
    def left(self) -> float:
        """Seconds that are left, below zero once the limit is passed."""
        return self.seconds - (self.clock() - self._started[0])

    def refuse_hopeless(self, plan: Plan) -> None:
        """Refuse a run that could not do a single step, before anything is started.

        Raises:
            BudgetExceeded: the budget is below the smallest step, or the first one has no estimate.
        """
        known = [step for step in plan.busy if step.seconds is not None]
        smallest = min(known, key=lambda step: step.seconds or 0.0, default=None)
        if smallest is not None and (smallest.seconds or 0.0) > self.seconds:
            raise BudgetExceeded(
                f"a budget of {self.told(self.seconds)} is below the smallest step that is to be done, "
                f"{words(smallest.step)}, which takes about {self.told(smallest.seconds)}",
                f"at least that; all that is to be done takes about {self.told(plan.seconds)}",
                f"give more, or see what there is to do: featurelib plan; then {self.again}",
            )
        for step in plan.busy[:1]:
            self.check(step, done=(), left=[one.step for one in plan.busy])

    def check(self, step: StepPlan, *, done: Sequence[str], left: Sequence[str]) -> None:
        """Stop the run where a step does not fit into what is left.

        Args:
            step: the next one, as it is planned now.
            done: the steps that were run.
            left: those that were not, this one first.

        Raises:
            BudgetExceeded: it does not fit, or no earlier run says whether it does.
        """
        remaining, limit = self.left, self.told(self.seconds)
        if step.seconds is not None and step.seconds <= remaining:
            return
        named = f"\n  done: {', '.join(map(words, done)) or 'nothing'}\n  left: {', '.join(map(words, left))}"
        if step.seconds is None:
            raise BudgetExceeded(
                f"no earlier run says how long {words(step.step)} takes, and the budget is {limit}{named}",
                "a step that is known to fit",
                f"run once without a budget: {self.again}",
            )
        raise BudgetExceeded(
            f"{words(step.step)} takes about {self.told(step.seconds)}, "
            f"and {self.told(max(remaining, 0.0))} of {limit} are left{named}",
            "a step that fits into what is left",
            f"go on with {self.again}",
        )

    def told(self, value: float | None) -> str:
        """Return seconds for people, with what they cost where that is known."""
        if self.cost is None:
            return seconds(value)
        return f"{seconds(value)} ({price(money(value, self.cost), self.cost)})"


def budget_of(
    amount: float | None, max_seconds: float | None, *, cost: CostSettings | None, again: str
) -> Budget | None:
    """Return the budget that options ask for, the narrower of money and seconds; None without any.

    Raises:
        ConfigError: an amount that is not above zero, or money without a price of an hour.
    """
    for option, value in (("--budget", amount), ("--max-seconds", max_seconds)):
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise ConfigError(f"{option} {value:g}", "a number above zero", f"correct {option}")
    limits = [] if max_seconds is None else [max_seconds]
    if amount is not None:
        if cost is None:
            raise ConfigError(
                f"--budget {amount:g}, and the settings do not say what an hour costs",
                "cost.per_hour",
                "write cost: {per_hour: 0.40, currency: EUR} into conf/base.yaml, or give --max-seconds",
            )
        limits.append(amount / cost.per_hour * 3600)
    return Budget(min(limits), cost, again) if limits else None
