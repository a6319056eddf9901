"""The one command tree: the console command, the jobs of spark-submit and the script all end here."""

from __future__ import annotations

import shlex
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from featurelib.cli_features import looking
from featurelib.cli_models import deciding
from featurelib.cli_options import (
    PROJECT,
    AsOf,
    Comment,
    End,
    Env,
    First,
    Folder,
    IdleOk,
    MaxSeconds,
    Money,
    Overrides,
    Rebuild,
    Wait,
    days_of,
    opening,
    pair_of,
    project_of,
)
from featurelib.cli_training import training
from featurelib.cli_upkeep import keeping
from featurelib.errors import BudgetExceeded, FeaturelibError, NoNewData
from featurelib.timeline import parse_instant

if TYPE_CHECKING:
    from featurelib.pipeline.budget import Budget
    from featurelib.specs import Project


_WORDS = {NoNewData: "nothing to do", BudgetExceeded: "over budget"}

app = typer.Typer(
    name="featurelib",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Point-in-time feature and training pipelines on Spark and Delta.",
)


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit: 0 done, otherwise the code of the error (see :mod:`featurelib.errors`)."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code; errors are printed, never raised."""
    try:
        code = app(args=arguments, standalone_mode=False)  # what a command's typer.Exit says, else None
    except FeaturelibError as error:
        word = _WORDS.get(type(error), "error")
        print(f"{word}: {error}", file=sys.stderr)  # noqa: T201 - the command's own output
        return error.exit_code
    except typer.Exit as done:
        return int(done.exit_code)
    except typer.Abort:
        return 1
    except Exception as error:  # noqa: BLE001 - the outermost place: everything becomes an exit code
        return _unexpected(error)
    return code if isinstance(code, int) else 0


def job(step: str) -> None:
    """Run a step as a spark-submit job does: the arguments of the command line, then exit.

    Jobs are started by schedulers too, which have no comment to make.
    """
    unattended = ["--unattended"] if step == "train" else []
    main([step.replace("_", "-"), *unattended, *sys.argv[1:]])


def _unexpected(error: Exception) -> int:
    if hasattr(error, "format_message"):  # what click says of a wrong argument
        print(f"error: {error.format_message()}\n  to do: see featurelib --help", file=sys.stderr)  # noqa: T201
        return 2
    traceback.print_exception(error)
    return 1


# --- steps ----------------------------------------------------------------------------------------------


def _step(name: str, text: str) -> None:
    def command(
        as_of: AsOf,
        env: Env = "local",
        pipeline: Folder = "conf/flights",
        overrides: Overrides = None,
        idle_ok: IdleOk = False,
    ) -> None:
        parse_instant(as_of)
        context = opening(project_of(pipeline, env, overrides))
        from featurelib.pipeline.steps import run_step

        result = run_step(context(as_of), name)
        if result.is_idle and not idle_ok:
            raise NoNewData(f"{name}: {result.summary}")

    app.command(name.replace("_", "-"), help=text)(command)


for _name, _text in {
    "ingest": "Load landed days that are not loaded yet.",
    "build_training_set": "Join mature labels to features and split them by time.",
    "score": "Predict every day that has no prediction yet.",
    "monitor": "Measure drift, and quality where labels are known.",
    "maintain": "Merge small files; remove what no kept or pinned version needs.",
}.items():
    _step(_name, _text)


@app.command("build-features", help="Compute features where something is new.")
def build_features_command(
    as_of: AsOf,
    first: First = None,
    end: End = None,
    rebuild: Rebuild = False,
    env: Env = "local",
    pipeline: Folder = "conf/flights",
    overrides: Overrides = None,
    idle_ok: IdleOk = False,
) -> None:
    """Fill what is missing, and build again what late or corrected data and changed definitions touch."""
    parse_instant(as_of)
    days = days_of(first, end)
    context = opening(project_of(pipeline, env, overrides))
    from featurelib.pipeline.steps import run_step

    result = run_step(context(as_of), "build_features", days=days, rebuild=rebuild)
    if result.is_idle and not idle_ok:
        raise NoNewData(f"build_features: {result.summary}")


@app.command("run", help="The same as pipeline.")
@app.command("pipeline", help="Run every step; each does what is left to do.")
def pipeline_command(
    as_of: AsOf,
    env: Env = "local",
    pipeline: Folder = "conf/flights",
    overrides: Overrides = None,
    idle_ok: IdleOk = False,
    amount: Money = None,
    max_seconds: MaxSeconds = None,
    wait: Wait = 0.0,
    comment: Comment = None,
) -> None:
    """Run ingest, features, training set, training, scoring and monitoring, and write the report."""
    moment, project = parse_instant(as_of), project_of(pipeline, env, overrides)
    again = ["jobs/pipeline.py", "--as-of", as_of, "--env", env, "--pipeline", pipeline]
    budget = _budget(project, amount, max_seconds, again=[*again, *_given(overrides)])
    from featurelib.pipeline.context import Place

    place = Place(project, moment)
    if budget is not None:
        from featurelib.pipeline.order import PIPELINE
        from featurelib.pipeline.plan import plan

        budget.refuse_hopeless(plan(place, steps=PIPELINE))
    with place.turn("pipeline", wait_seconds=wait):  # before Java: who is refused, or waits, starts none
        context = opening(project)
        from featurelib.pipeline.steps import run_steps

        results = run_steps(context(as_of), budget=budget, comment=comment or "")
    if all(result.is_idle for result in results if result.step != "monitor") and not idle_ok:
        raise NoNewData("pipeline: every step was done before")


@app.command("backfill", help="Fill days in chunks, each published on its own, then what follows from them.")
def backfill_command(
    as_of: AsOf,
    first: First = None,
    end: End = None,
    chunk: Annotated[str, typer.Option("--chunk", help="Whole days, as 30d.")] = "30d",
    env: Env = "local",
    pipeline: Folder = "conf/flights",
    overrides: Overrides = None,
    idle_ok: IdleOk = False,
    amount: Money = None,
    max_seconds: MaxSeconds = None,
    wait: Wait = 600.0,
) -> None:
    """Features chunk by chunk, training set and models, predictions chunk by chunk; a rerun goes on."""
    from featurelib.pipeline.backfill import backfill, pieces_of, plan_of, refuse_older
    from featurelib.pipeline.context import Place

    moment, project = parse_instant(as_of), project_of(pipeline, env, overrides)
    days, place = days_of(first, end), Place(project, moment)
    pieces = pieces_of(place, days, chunk=chunk)
    refuse_older(place)
    ends = [word for word, day in (("--from", first), ("--to", end)) if day for word in (word, day)]
    again = ["backfill", "--as-of", as_of, *ends, "--chunk", chunk, "--env", env, "--pipeline", pipeline]
    budget = _budget(project, amount, max_seconds, again=[*again, *_given(overrides)])
    if budget is not None:
        left = (found for piece in pieces if (found := plan_of(place, piece)).busy)
        if (ahead := next(left, None)) is not None:
            budget.refuse_hopeless(ahead)
    context = opening(project)
    results = backfill(context(as_of), pieces, wait=wait, budget=budget)
    if all(result.is_idle for result in results) and not idle_ok:
        raise NoNewData(f"backfill, {days}: every chunk was done before")


@app.command()
def demo(
    next_day: Annotated[
        bool, typer.Option("--next-day", help="Load one more day and rebuild what it touches.")
    ] = False,
    segments: Annotated[
        bool, typer.Option("--segments", help="Train a model for each airline too; takes minutes more.")
    ] = False,
    env: Env = "local",
    overrides: Overrides = None,
    amount: Money = None,
    max_seconds: MaxSeconds = None,
) -> None:
    """Take 336,776 real flights from raw daily files to governed predictions."""
    if segments:
        overrides = [_BY_CARRIER, *(overrides or ())]
    project = project_of("conf/flights", env, overrides)
    again = ["demo", *(["--next-day"] if next_day else []), "--env", env, *_given(overrides)]
    budget = _budget(project, amount, max_seconds, again=again)
    context = opening(project)
    from featurelib.pipeline.demo import run_demo

    run_demo(project, context, next_day=next_day, budget=budget)


def _budget(
    project: Project, amount: float | None, max_seconds: float | None, *, again: list[str]
) -> Budget | None:
    """Return the budget of a command that starts now, None where none was asked for."""
    if amount is None and max_seconds is None:
        return None
    from featurelib.pipeline.budget import budget_of

    command = shlex.join(["./spark-submit.sh", *again])
    return budget_of(amount, max_seconds, cost=project.settings.cost, again=command)


_BY_CARRIER = "models.late_arrival.segments={by: [carrier], min_rows: 500, trials: 8}"


def _given(overrides: list[str] | None) -> list[str]:
    return [word for override in overrides or () for word in ("-c", override)]


# --- looking --------------------------------------------------------------------------------------------


@app.command("config")
def config_command(
    env: Env = "local",
    pipeline: Folder = "conf/flights",
    overrides: Overrides = None,
    show: Annotated[bool, typer.Option("--print", help="Print every value and where it came from.")] = False,
) -> None:
    """Check the configuration; with --print, show every value and where it came from."""
    from featurelib.config import explain_config, render_settings
    from featurelib.derived import feature_names

    place = pipeline if Path(pipeline).exists() else str(PROJECT / pipeline)
    if show:
        typer.echo(render_settings(explain_config(place, env, overrides or ())))
    project = project_of(pipeline, env, overrides)
    if not show:
        features = len(feature_names(project))
        typer.echo(f"{project.name} ({env}): {len(project.views)} views, {features} features, all valid")


@app.command()
def doctor(env: Env = "local") -> None:
    """Check Java, packages, JARs, ports, disk and write access, each with its fix."""
    from featurelib.doctor import doctor as examine

    raise typer.Exit(examine(PROJECT, env=env))


@app.command()
def tables(
    env: Env = "local",
    pipeline: Folder = "conf/flights",
    overrides: Overrides = None,
) -> None:
    """Show every published table: version, rows and a hash of its content without run identities."""
    from featurelib.pipeline.contents import contents

    project = project_of(pipeline, env, overrides)
    context = opening(project)("1970-01-01")
    typer.echo(f"{'table':<32}{'version':>8}{'rows':>12}  content")
    for row in contents(context):
        typer.echo(f"{row.table:<32}{row.version:>8}{row.rows:>12,}  {row.content}")


app.add_typer(deciding)
app.add_typer(looking)
app.add_typer(keeping)
app.add_typer(training)

notebooks = typer.Typer(no_args_is_help=True, help="Run Databricks-style notebooks anywhere.")
app.add_typer(notebooks, name="notebook")


@notebooks.command("run")
def notebook_run(
    path: str,
    env: Env = "local",
    overrides: Overrides = None,
    parameters: Annotated[
        list[str] | None, typer.Option("-p", help="A widget's value, as -p day=2013-12-30.")
    ] = None,
    out: Annotated[str | None, typer.Option("--out", help="Write the executed page here.")] = None,
) -> None:
    """Run a notebook in Databricks source form."""
    from featurelib.notebook import run_notebook
    from featurelib.session import build_session

    values = dict(pair_of(text) for text in parameters or ())
    spark = build_session(project_of("conf/flights", env, overrides).settings.spark, app_name=Path(path).stem)
    run_notebook(path, spark=spark, parameters=values, html=out)
    typer.echo(f"ran {shlex.quote(path)}" + (f", page {out}" if out else ""))


if __name__ == "__main__":
    main()
