"""The steps by name, and the pipeline that runs them one after another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

from featurelib.errors import FeaturelibError
from featurelib.pipeline.budget import Budget
from featurelib.pipeline.build_features import build_features
from featurelib.pipeline.build_training_set import build_training_set
from featurelib.pipeline.context import Context, StepResult
from featurelib.pipeline.days import ALL_DAYS, DayRange
from featurelib.pipeline.ingest import ingest
from featurelib.pipeline.maintain import maintain
from featurelib.pipeline.monitor import monitor
from featurelib.pipeline.order import PIPELINE
from featurelib.pipeline.plan import StepPlan, plan
from featurelib.pipeline.records import recorded
from featurelib.pipeline.report import write_report
from featurelib.pipeline.score import score
from featurelib.pipeline.train import train
from featurelib.registry.tracker import import_mlflow
from featurelib.threads import begin

Step = Callable[..., StepResult]

STEPS: Mapping[str, Step] = MappingProxyType(
    {
        "ingest": ingest,
        "build_features": build_features,
        "build_training_set": build_training_set,
        "train": train,
        "score": score,
        "monitor": monitor,
        "maintain": maintain,
    }
)


def run_step(
    context: Context,
    name: str,
    *,
    label: str | None = None,
    announced: StepPlan | None = None,
    guard: Callable[[StepPlan], None] | None = None,
    **options: object,
) -> StepResult:
    """Run one step, with the options that it takes, under the user's eyes and record it.

    Args:
        context: the run's surroundings.
        name: of the step.
        label: what the user is shown in place of the name.
        announced: what a plan made before said of it; its estimate is the one that is held against the truth.
        guard: looks at the step's plan before it begins, and raises what stops the run.
        options: those of the step.
    """
    with context.progress.stage(label or name.replace("_", " ")) as stage:
        planned = _planned(context, name, options, must=guard is not None)
        expected = None if planned is None else planned.expected(context.project.name)
        if expected is not None and announced is not None:
            expected = replace(expected, seconds=announced.seconds)

        def work() -> StepResult:
            if guard is not None and planned is not None:
                guard(planned)
            return STEPS[name](context, **options)

        result = recorded(context, name, work, expected=expected)
        stage.summary = result.summary
    return result


def run_pipeline(
    context: Context,
    *,
    steps: tuple[str, ...] = PIPELINE,
    budget: Budget | None = None,
    wait: float = 0.0,
    comment: str = "",
) -> list[StepResult]:
    """Run the steps in order and write the report; each does only what is left to do.

    Args:
        context: the run's surroundings.
        steps: names of steps.
        budget: what the run may take; None for no limit.
        wait: seconds to wait where another run, or a chunk of a backfill, is at work.
        comment: of a model that is trained; see :func:`featurelib.pipeline.train.train`.

    Raises:
        BudgetExceeded: a step does not fit into what is left of the budget; those before it are done.
        LeaseHeld: another run was at work all the time.
    """
    with context.turn("pipeline", wait_seconds=wait):
        return run_steps(context, steps=steps, budget=budget, comment=comment)


def run_steps(
    context: Context, *, steps: tuple[str, ...] = PIPELINE, budget: Budget | None = None, comment: str = ""
) -> list[StepResult]:
    """What :func:`run_pipeline` does once it has its turn, for a caller that took it before the session."""
    begin(import_mlflow)
    announced = {step.step: step for step in _announced(context, steps)}
    results = []
    for place, name in enumerate(steps):
        guard = None
        if budget is not None:
            guard = partial(budget.check, done=steps[:place], left=steps[place:])
        options: dict[str, Any] = {}
        if name == "train":
            options = {"comment": comment, "budget": budget}
        results.append(run_step(context, name, announced=announced.get(name), guard=guard, **options))
    with context.progress.stage("report") as stage:
        stage.summary = str(write_report(context, results))
    return results


def _planned(context: Context, name: str, options: Mapping[str, object], *, must: bool) -> StepPlan | None:
    """Return what is to be done of a step as it begins; None where it cannot be planned.

    Raises:
        FeaturelibError: it cannot, and must be.
    """
    days = options.get("days")
    days, rebuild = days if isinstance(days, DayRange) else ALL_DAYS, options.get("rebuild") is True
    try:
        steps = plan(context, steps=(name,), days=days, rebuild=rebuild, scored=days).steps
    except FeaturelibError:
        if must:
            raise
        return None  # the step itself will say what is wrong, and be recorded with it
    return steps[0] if steps else None


def _announced(context: Context, steps: tuple[str, ...]) -> tuple[StepPlan, ...]:
    """Return the plan of the whole run, nothing where a step cannot be planned."""
    try:
        return plan(context, steps=steps).steps
    except FeaturelibError:
        return ()
