"""What commands share: their options, and the project that these name."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from featurelib.errors import ConfigError
from featurelib.timeline import parse_day

if TYPE_CHECKING:
    from featurelib.pipeline.context import Place
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
