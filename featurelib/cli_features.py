"""Commands that look at features, tables and runs without a JVM."""

from __future__ import annotations

import shutil
from typing import Annotated

import typer

from featurelib.cli_options import (
    AsOf,
    End,
    Env,
    First,
    Folder,
    Overrides,
    Rebuild,
    Views,
    days_of,
    pair_of,
    project_of,
)
from featurelib.errors import ModelGateError
from featurelib.timeline import parse_instant

looking = typer.Typer()


@looking.command("catalog")
def catalog_command(
    views: Views = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    env: Env = "local",
    pipeline: Folder = "conf/flights",
    overrides: Overrides = None,
) -> None:
    """List every feature with type, unit, owner and its definition in words; no data is read."""
    import json

    from featurelib.pipeline.without_spark import chosen_views
    from featurelib.reports.catalog import as_rows, catalog, rendered

    project = project_of(pipeline, env, overrides)
    wanted = [view.name for view in chosen_views(project, views or ())] if views else None
    entries = [entry for entry in catalog(project) if wanted is None or entry.view in wanted]
    typer.echo(json.dumps(as_rows(entries), indent=1) if as_json else rendered(entries))


@looking.command("plan")
def plan_command(
    as_of: AsOf,
    first: First = None,
    end: End = None,
    rebuild: Rebuild = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    env: Env = "local",
    pipeline: Folder = "conf/flights",
    overrides: Overrides = None,
) -> None:
    """List what a run would build, why, and what it would take, without changing anything."""
    from featurelib.pipeline.context import Place
    from featurelib.pipeline.order import PIPELINE
    from featurelib.pipeline.plan import plan
    from featurelib.pipeline.plan_text import as_json_text, rendered

    moment, days = parse_instant(as_of), days_of(first, end)
    place = Place(project_of(pipeline, env, overrides), moment)
    found = plan(place, steps=PIPELINE, days=days, rebuild=rebuild)
    typer.echo(as_json_text(found, moment) if as_json else rendered(found))


@looking.command("impact")
def impact_command(
    table: Annotated[str, typer.Option("--table", help="A landed table, as silver.flights.")],
    columns: Annotated[list[str], typer.Option("--column", help="A column of it; several may be given.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    env: Env = "local",
    pipeline: Folder = "conf/flights",
    overrides: Overrides = None,
) -> None:
    """List the features, models and tables that depend on a column; no data is read."""
    import json
    from dataclasses import asdict

    from featurelib.pipeline.impact import asked_columns, impact, rendered

    project = project_of(pipeline, env, overrides)
    found = impact(project, *asked_columns(project, table, columns))
    typer.echo(json.dumps(asdict(found), indent=1) if as_json else rendered(found))


@looking.command("preview")
def preview_command(
    views: Views = None,
    rows: Annotated[int, typer.Option("--rows", min=1, help="How many spine rows.")] = 5,
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="Rows asked about before this moment, UTC.")
    ] = None,
    env: Env = "local",
    pipeline: Folder = "conf/flights",
    overrides: Overrides = None,
) -> None:
    """Show features of the newest spine rows of the published tables, without a JVM."""
    from featurelib.pipeline.context import store_of
    from featurelib.pipeline.preview import preview
    from featurelib.pipeline.without_spark import chosen_views
    from featurelib.reports.text_tables import frame_text

    project = project_of(pipeline, env, overrides)
    before = None if as_of is None else parse_instant(as_of)
    found = preview(project, chosen_views(project, views or ()), store_of(project), rows=rows, before=before)
    typer.echo(frame_text(found.columns, found.rows(), width=_width()))


@looking.command("why")
def why_command(
    view: Annotated[str, typer.Option("--view", help="The view.")],
    entity: Annotated[str, typer.Option("--entity", help="Its key, as origin=EWR,carrier=UA.")],
    as_of: AsOf,
    rows: Annotated[int, typer.Option("--rows", min=1, help="How many events to list.")] = 30,
    env: Env = "local",
    pipeline: Folder = "conf/flights",
    overrides: Overrides = None,
) -> None:
    """List the very events in each window, and those left out with the reason, without a JVM."""
    from featurelib.pipeline.context import store_of
    from featurelib.pipeline.encrypted import readable_rows
    from featurelib.pipeline.erasures import erased_lines
    from featurelib.pipeline.why import rendered, why
    from featurelib.pipeline.without_spark import chosen_views

    project = project_of(pipeline, env, overrides)
    (chosen,) = chosen_views(project, [view])
    key = dict(pair_of(text, "--entity origin=EWR,carrier=UA") for text in entity.split(","))
    answer = why(project, chosen, key, parse_instant(as_of), readable_rows(project, store_of(project)))
    typer.echo(rendered(answer, rows=rows))
    for line in erased_lines(store_of(project), project, key):
        typer.echo(line)


@looking.command("test-features")
def check_features(
    env: Env = "local",
    pipeline: Folder = "conf/flights",
    overrides: Overrides = None,
) -> None:
    """Run the pipeline's feature tests, tests/*.yaml of its folder, without Spark; exit 1 when one fails."""
    from featurelib.pipeline.feature_tests import run_tests

    report, failed = run_tests(project_of(pipeline, env, overrides))
    typer.echo(report)
    if failed:
        raise typer.Exit(1)


@looking.command("audit-leaks")
def audit_leaks_command(
    rows: Annotated[
        int, typer.Option("--rows", min=1, help="Audit at most so many training rows.")
    ] = 500_000,
    max_auc: Annotated[
        float, typer.Option("--max-auc", min=0.5, max=1.0, help="A feature alone above this is a leak.")
    ] = 0.9,
    env: Env = "local",
    pipeline: Folder = "conf/flights",
    overrides: Overrides = None,
) -> None:
    """Say what the training set would be had it seen the future, and find the label in it; exit 4 then."""
    from featurelib.pipeline.audit_leaks import audit_leaks, rendered
    from featurelib.pipeline.context import store_of
    from featurelib.pipeline.encrypted import readable_rows
    from featurelib.pipeline.leak_audits import note_audit
    from featurelib.tables import published_version

    project = project_of(pipeline, env, overrides)
    store = store_of(project)
    audit = audit_leaks(project, store, readable_rows(project, store), rows=rows, limit=max_auc)
    note_audit(project, store, audit, version=published_version(store, f"training.{project.name}"))
    typer.echo(rendered(audit))
    if audit.leaks:
        raise typer.Exit(ModelGateError.exit_code)


def _width() -> int:
    return shutil.get_terminal_size((110, 24)).columns
