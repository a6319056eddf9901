"""The plan of a run: each interval of a table to be built, why, and what it will take; nothing is changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from featurelib.pipeline.context import Surroundings
from featurelib.pipeline.days import ALL_DAYS, DayRange
from featurelib.pipeline.estimates import Error, Past, errors, estimate, past_runs
from featurelib.pipeline.planned import (
    Item,
    Outlook,
    ingest_items,
    monitor_items,
    outlook,
    score_items,
    total,
    train_items,
    training_items,
)
from featurelib.pipeline.planned_features import feature_items
from featurelib.pipeline.records import Expected
from featurelib.specs import CostSettings

Planner = Callable[[Surroundings, Outlook], list[Item]]


@dataclass(frozen=True)
class StepPlan:
    """What is left to do of a step.

    Attributes:
        items: what is to be built, none where there is nothing to do.
        seconds: the estimate, also of finding nothing to do; None without an earlier run.
    """

    step: str
    items: tuple[Item, ...]
    seconds: float | None

    @property
    def size(self) -> float | None:
        """How much there is to do, in the step's own unit; None if unknown."""
        return size_of(self.items)

    def seconds_of(self, item: Item) -> float | None:
        """Return an item's part of the seconds, by its size; None without an estimate."""
        whole = self.size
        if self.seconds is None or whole is None or item.size is None:
            return None
        return self.seconds * item.size / whole if whole else self.seconds / len(self.items)

    def expected(self, pipeline: str) -> Expected:
        """Return what a run of the step records of this."""
        rows, size = (total(getattr(item, name) for item in self.items) for name in ("rows", "bytes"))
        return Expected(pipeline, self.size, rows, size, self.seconds)


@dataclass(frozen=True)
class Plan:
    """What is left to do of a pipeline.

    Attributes:
        steps: in the order in which they run.
        errors: by how much the last estimates of steps were off.
        cost: what an hour costs, None if nothing says it.
    """

    pipeline: str
    steps: tuple[StepPlan, ...]
    errors: Mapping[str, Error]
    cost: CostSettings | None = None

    @property
    def busy(self) -> list[StepPlan]:
        """The steps with something to do."""
        return [step for step in self.steps if step.items]

    @property
    def builds(self) -> list[Item]:
        """What is to be built; what every run only looks at is not."""
        return [item for step in self.steps for item in step.items if not item.table.startswith("ops.")]

    @property
    def unknown(self) -> list[str]:
        """The steps with something to do whose time no earlier run says."""
        return [step.step for step in self.busy if step.seconds is None]

    @property
    def seconds(self) -> float:
        """The estimates of all steps together, without those that are unknown."""
        return sum(step.seconds for step in self.steps if step.seconds is not None)


def size_of(items: Sequence[Item]) -> float | None:
    """Return how much items are together, None where one is unknown."""
    sizes = [item.size for item in items]
    return None if None in sizes else sum(size for size in sizes if size is not None)


def plan(
    context: Surroundings,
    *,
    steps: Sequence[str],
    days: DayRange = ALL_DAYS,
    rebuild: bool = False,
    scored: DayRange = ALL_DAYS,
) -> Plan:
    """Return what a run of these steps, in this order, would do and take, were nothing to land meanwhile.

    Args:
        context: where and when; no session is needed.
        steps: names of steps; those that can not be planned are left out.
        days: the days of the spine that the feature step is to look at; other steps know no range.
        rebuild: whether the feature step computes these days from scratch.
        scored: the days that the scoring step is to look at.

    Raises:
        FeaturelibError: a step would be refused; the error is the step's own.
    """
    planners: Mapping[str, Planner] = {
        "ingest": ingest_items,
        "build_features": partial(feature_items, days=days, rebuild=rebuild),
        "build_training_set": training_items,
        "train": train_items,
        "score": partial(score_items, days=scored),
        "monitor": monitor_items,
    }
    ahead, past = outlook(context), past_runs(context)
    planned = [
        _planned(step, planners[step](context, ahead), past.get(step, []))
        for step in steps
        if step in planners
    ]
    settings = context.project.settings
    return Plan(context.project.name, tuple(planned), errors(past), settings.cost)


def _planned(step: str, items: Sequence[Item], past: Sequence[Past]) -> StepPlan:
    return StepPlan(step, tuple(items), estimate(past, size_of(items)))


def money(seconds: float | None, cost: CostSettings | None) -> float | None:
    """Return what seconds cost, None where either is unknown."""
    return None if seconds is None or cost is None else seconds / 3600 * cost.per_hour
