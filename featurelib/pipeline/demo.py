"""The whole pipeline on the real flights of 2013, then one day more."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from featurelib.errors import ConfigError
from featurelib.pipeline.budget import Budget
from featurelib.pipeline.context import Context, Place
from featurelib.pipeline.flights import LAST_DAY, land_flights
from featurelib.pipeline.order import PIPELINE
from featurelib.pipeline.plan import plan
from featurelib.pipeline.progress import Progress, seconds
from featurelib.pipeline.steps import run_pipeline
from featurelib.specs import Project
from featurelib.timeline import parse_instant

AS_OF = LAST_DAY
NEXT_DAY = LAST_DAY + timedelta(days=1)


def run_demo(
    project: Project,
    context: Callable[[str], Context],
    *,
    next_day: bool,
    budget: Budget | None = None,
) -> None:
    """Land the raw files and run every step: all days but the last, or the last one too.

    Args:
        project: the flights project.
        context: opens the session and gives the context of a moment.
        next_day: land one more day, and rebuild what it touches.
        budget: what the whole may take; None for no limit.

    Raises:
        BudgetExceeded: a step does not fit into the budget; those before it are done.
    """
    if "://" in project.settings.landing:
        raise ConfigError(
            f"landing {project.settings.landing!r}", "a local folder, for the demo", "use --env local"
        )
    progress, started = Progress(), time.monotonic()
    day = NEXT_DAY if next_day else AS_OF
    with progress.stage("land") as stage:
        files = land_flights(project.settings.landing, until=day)
        stage.summary = f"{files:,} raw files below {_shown(project.settings.landing)}"
    if budget is not None:
        budget.refuse_hopeless(plan(Place(project, parse_instant(day.isoformat())), steps=PIPELINE))
    with progress.stage("session") as stage:
        opened = context(day.isoformat())
        stage.summary = f"Spark {opened.spark.version}, {opened.spark.conf.get('spark.master', 'remote')}"
    run_pipeline(opened, budget=budget, comment=f"demo, all days before {day}")
    root = _shown(str(project.settings.work_folder))
    progress.line()
    progress.line(f"done in {seconds(time.monotonic() - started)}")
    progress.line(f"report    {root}/reports/latest.html")
    progress.line("mlflow    ./spark-submit.sh ui      (runs, models, artifacts)")
    progress.line("tables    ./spark-submit.sh tables  (versions, rows, content hashes)")
    if not next_day:
        progress.line("again     ./spark-submit.sh demo --next-day")


def _shown(path: str) -> str:
    """Return a path relative to the working folder where it lies below it."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path
