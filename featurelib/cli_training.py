"""Commands that train a model and take its predictions apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from featurelib.cli_options import Comment, Env, Folder, IdleOk, Overrides, opening, pair_of, project_of
from featurelib.errors import ConfigError, ModelGateError, NoNewData
from featurelib.timeline import parse_instant

if TYPE_CHECKING:
    from featurelib.specs import Project

training = typer.Typer()


@training.command("train", help="Tune, fit, register and judge the models; --comment says why.")
def train_command(
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="The moment asked about; not needed with --from-run.")
    ] = None,
    comment: Comment = None,
    unattended: Annotated[
        bool, typer.Option("--unattended", help="Without --comment, take run_comment of the settings.")
    ] = False,
    from_run: Annotated[
        str | None,
        typer.Option("--from-run", help="Train this run's model again from what it recorded, and compare."),
    ] = None,
    env: Env = "local",
    pipeline: Folder = "conf/flights",
    overrides: Overrides = None,
    idle_ok: IdleOk = False,
) -> None:
    """Train on the published training set or, with --from-run, on the version that a run recorded."""
    if from_run is not None:
        _reproduce(project_of(pipeline, env, overrides), from_run)
        return
    if as_of is None:
        raise ConfigError("train without --as-of", "the moment asked about", "give --as-of DAY")
    parse_instant(as_of)
    if not unattended and not (comment or "").strip():
        raise ConfigError(
            f"train with the comment {comment or ''!r}",
            "why it is trained, as a commit message says it",
            'add --comment "...", or --unattended where a scheduler starts it',
        )
    context = opening(project_of(pipeline, env, overrides))
    from featurelib.pipeline.steps import run_step

    result = run_step(context(as_of), "train", comment=comment or "")
    if result.is_idle and not idle_ok:
        raise NoNewData(f"train: {result.summary}")


def _reproduce(project: Project, run: str) -> None:
    from featurelib.pipeline.reproduce import find_run, reproduce, reproduction_text

    registered = find_run(project, run)
    found = reproduce(opening(project)("1970-01-01"), registered)
    typer.echo(reproduction_text(found))
    if not found.is_equal:
        raise typer.Exit(ModelGateError.exit_code)


@training.command("explain", help="Say what one prediction depends on, feature by feature.")
def explain_command(
    model: Annotated[str, typer.Option("--model", help="The model, as models.yaml names it.")],
    key: Annotated[list[str], typer.Option("--key", help="A key column's value, as --key flight_id=17.")],
    version: Annotated[
        int | None, typer.Option("--version", min=1, help="A version; the champion if none is given.")
    ] = None,
    method: Annotated[
        str, typer.Option("--method", help="contributions, which are exact, or lime, for any model.")
    ] = "contributions",
    env: Env = "local",
    pipeline: Folder = "conf/flights",
    overrides: Overrides = None,
) -> None:
    """Take the score of a row of the feature table apart."""
    project = project_of(pipeline, env, overrides)
    from featurelib.pipeline.explain_rows import checked_request, explain_rows, explained_text

    request = checked_request(
        project, model, dict(pair_of(one, "--key id=17") for one in key), version=version, method=method
    )
    typer.echo(explained_text(explain_rows(opening(project)("1970-01-01"), request)))
