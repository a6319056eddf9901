"""Commands about tables as they lie on disk: what was published, what they take; none starts a JVM."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from featurelib.cli_options import Env, Folder, Overrides, project_of

if TYPE_CHECKING:
    from featurelib.pipeline.context import Place

keeping = typer.Typer()


@keeping.command()
def publishes(
    rows: Annotated[int, typer.Option("--rows", min=1, help="How many, the newest first.")] = 20,
    env: Env = "local",
    pipeline: Folder = "conf/flights",
    overrides: Overrides = None,
) -> None:
    """List which run published which tables, and who rolled back or erased what."""
    from featurelib.pipeline.rollback import publishes_text

    typer.echo(publishes_text(_place(pipeline, env, overrides), rows=rows))


@keeping.command()
def storage(
    pins: Annotated[
        bool, typer.Option("--pins", help="List each pinned version and what holds it instead.")
    ] = False,
    env: Env = "local",
    pipeline: Folder = "conf/flights",
    overrides: Overrides = None,
) -> None:
    """Show what each table takes on disk, and for whom: readers, history within retention, pins alone."""
    from featurelib.pipeline.maintain import stored
    from featurelib.pipeline.storage_text import storage_text

    typer.echo(storage_text(stored(_place(pipeline, env, overrides)), pins=pins))


def _place(pipeline: str, env: str, overrides: list[str] | None) -> Place:
    from featurelib.pipeline.context import Place

    return Place(project_of(pipeline, env, overrides), datetime.fromtimestamp(0, tz=UTC))
