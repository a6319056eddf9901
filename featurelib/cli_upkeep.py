"""Commands about tables as they lie on disk: what was published, what they take, and what must go."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated

import typer

from featurelib.cli_options import By, Env, Folder, Note, Overrides, pair_of, place_of, project_of

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

    typer.echo(publishes_text(place_of(pipeline, env, overrides), rows=rows))


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

    typer.echo(storage_text(stored(place_of(pipeline, env, overrides)), pins=pins))


@keeping.command("erase")
def erase_command(
    key: Annotated[list[str], typer.Option("--key", help="A column of the subject's key, as carrier=XX.")],
    request: Annotated[str, typer.Option("--request", help="What names the request; not the subject.")],
    by: By,
    note: Annotated[str, typer.Option("--note", help="Why; must not name the subject.")] = "asked to",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would go.")] = False,
    env: Env = "local",
    pipeline: Folder = "conf/flights",
    overrides: Overrides = None,
) -> None:
    """Erase a subject from every table and its history, from landed files and from the diary."""
    from featurelib.pipeline.context import Context
    from featurelib.pipeline.erase import erase, erasing_text
    from featurelib.pipeline.progress import Progress
    from featurelib.pipeline.subjects import subject_of
    from featurelib.registry.audit import Decision
    from featurelib.session import build_session

    project, decision = project_of(pipeline, env, overrides), Decision(by, note)
    subject = subject_of(project, dict(pair_of(text, "--key carrier=XX") for text in key))
    spark = build_session(project.settings.spark, app_name=f"{project.name}-{project.env}")
    now = datetime.fromtimestamp(time.time(), tz=UTC)  # an erasure happens when it happens
    context = Context(project, spark, now, Progress())
    done = erase(context, subject, request=request, decision=decision, dry_run=dry_run)
    typer.echo(erasing_text(done))


@keeping.command()
def restore(
    table: Annotated[str, typer.Option("--table", help="The published table whose files are lost.")],
    by: By,
    note: Note,
    env: Env = "local",
    pipeline: Folder = "conf/flights",
    overrides: Overrides = None,
) -> None:
    """Give a lost table up, so that the next run makes it again from what it came from."""
    from featurelib.pipeline.restore import restore_table
    from featurelib.registry.audit import Decision

    done = restore_table(place_of(pipeline, env, overrides), table, Decision(by, note))
    typer.echo(f"run {done.run_id}: no longer published: {', '.join(done.tables)}\n{done.remark}")
