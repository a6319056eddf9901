"""What commands share: their options, and the project that these name."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from featurelib.errors import ConfigError
from featurelib.threads import begin
from featurelib.timeline import parse_day, parse_instant

if TYPE_CHECKING:
    from featurelib.pipeline.context import Context, Place
    from featurelib.pipeline.days import DayRange
    from featurelib.specs import Project

PROJECT = Path(__file__).resolve().parent.parent

Env = Annotated[str, typer.Option("--env", help="Environment: a file conf/env/ENV.yaml.")]
Folder = Annotated[str, typer.Option("--pipeline", help="The pipeline's folder.")]
AsOf = Annotated[
    str, typer.Option("--as-of", help="The moment asked about, UTC: 2013-12-31 or 2013-12-31T06:00:00Z.")
]
Overrides = Annotated[
    list[str] | None, typer.Option("-c", help="Override a setting, as -c spark.driver_memory=8g.")
]
Views = Annotated[list[str] | None, typer.Option("--view", help="A view; all of them if none is given.")]
First = Annotated[str | None, typer.Option("--from", help="First day of the spine, UTC date.")]
End = Annotated[str | None, typer.Option("--to", help="Day at which to stop, itself left out.")]
Money = Annotated[
    float | None,
    typer.Option("--budget", help="Stop before costing more; needs cost.per_hour in the settings."),
]
MaxSeconds = Annotated[float | None, typer.Option("--max-seconds", help="Stop before taking longer.")]
Rebuild = Annotated[
    bool, typer.Option("--rebuild", help="Compute these days from scratch, whatever has changed.")
]
Wait = Annotated[
    float,
    typer.Option("--wait", min=0, help="Seconds to wait while another run of the pipeline is at work."),
]
By = Annotated[str, typer.Option("--by", help="Who decides.")]
Note = Annotated[str, typer.Option("--note", help="Why, as in a commit message.")]
Comment = Annotated[
    str | None, typer.Option("--comment", help="Why a model is trained, as in a commit message.")
]
IdleOk = Annotated[bool, typer.Option("--idle-ok", help="Exit 0 instead of 5 when there was nothing to do.")]


def project_of(folder: str, env: str, overrides: list[str] | None) -> Project:
    """Return the project of a pipeline folder, looked for here and beside the library."""
    from featurelib.config import load_project

    place = Path(folder)
    if not place.is_absolute() and not place.exists():
        place = PROJECT / folder
    return load_project(place, env=env, overrides=overrides or ())


def place_of(folder: str, env: str, overrides: list[str] | None) -> Place:
    """Return the project and its stores, for what asks about no moment."""
    from featurelib.pipeline.context import Place

    return Place(project_of(folder, env, overrides), datetime.fromtimestamp(0, tz=UTC))


def opening(project: Project) -> Callable[[str], Context]:
    """Begin to start a session, and return what gives the context of a moment once it is there.

    Java takes seconds to start, and so do the imports of the steps: commands call this first.
    """
    from featurelib.session import build_session

    session = begin(lambda: build_session(project.settings.spark, app_name=f"{project.name}-{project.env}"))

    def context(as_of: str) -> Context:
        from featurelib.pipeline.context import Context
        from featurelib.pipeline.progress import Progress

        return Context(project, session(), parse_instant(as_of), Progress())

    return context


def days_of(first: str | None, end: str | None) -> DayRange:
    """Return the days ``[first, end)``; None on a side is no bound."""
    from featurelib.pipeline.days import DayRange

    return DayRange(*(None if text is None else parse_day(text) for text in (first, end)))


def pair_of(text: str, example: str = "-p day=2013-12-30") -> tuple[str, str]:
    """Return the two sides of ``name=value``."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"parameter {text!r}", "name=value", f"write {example}")
    return name.strip(), value
