"""Commands about models: what there is, and what people decide; none starts a JVM."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from featurelib.cli_options import By, Env, Folder, Note, Overrides, place_of, project_of
from featurelib.errors import ConfigError

if TYPE_CHECKING:
    from featurelib.pipeline.context import Place
    from featurelib.pipeline.models import Outcome

deciding = typer.Typer()

Model = Annotated[str, typer.Option("--model", help="The model, as models.yaml names it.")]
Version = Annotated[int, typer.Option("--version", min=1, help="The version, as MLflow numbers it.")]
IfChampion = Annotated[
    int | None,
    typer.Option("--if-champion", min=0, help="Only if this version is champion still; 0 for none."),
]


@deciding.command("models")
def models_command(
    model: Annotated[
        str | None, typer.Option("--model", help="A model; all of them if none is given.")
    ] = None,
    moves: Annotated[bool, typer.Option("--moves", help="Print every decision instead.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print versions and decisions as JSON.")] = False,
    segments: Annotated[
        bool, typer.Option("--segments", help="Print what became of each slice instead; needs --model.")
    ] = False,
    version: Annotated[
        int | None, typer.Option("--version", min=1, help="With --segments: of this version, not the newest.")
    ] = None,
    env: Env = "local",
    pipeline: Folder = "conf/flights",
    overrides: Overrides = None,
) -> None:
    """List versions with aliases, figures, and who decided what about them, when and why."""
    if segments or version is not None:
        typer.echo(_slices(model if segments else None, version, place_of(pipeline, env, overrides)))
        return
    from featurelib.pipeline import model_list

    found = model_list.list_models(project_of(pipeline, env, overrides), model)
    if as_json:
        typer.echo(model_list.as_json(found))
    else:
        typer.echo(model_list.moves_text(found) if moves else model_list.versions_text(found))


def _slices(model: str | None, version: int | None, place: Place) -> str:
    from featurelib.pipeline.models import checked_model
    from featurelib.pipeline.segment_list import slices_text

    if model is None:
        raise ConfigError(
            "--segments without --model, or --version without --segments",
            "--model M --segments, and --version V if it shall not be the newest",
            "name the model: featurelib models --model M --segments",
        )
    return slices_text(place, checked_model(place.project, model), version)


@deciding.command("promote")
def promote_command(
    model: Model,
    version: Version,
    by: By,
    note: Note,
    despite_gate: Annotated[
        bool, typer.Option("--despite-gate", help="Promote what its figures hold back; the audit says so.")
    ] = False,
    if_champion: IfChampion = None,
    env: Env = "local",
    pipeline: Folder = "conf/flights",
    overrides: Overrides = None,
) -> None:
    """Make a version champion, if its features, its files and the gate allow it."""
    from featurelib.pipeline.models import promote
    from featurelib.registry.audit import Decision

    decision = Decision(by, note)
    project = project_of(pipeline, env, overrides)
    outcome = promote(project, model, version, decision, despite_gate=despite_gate, if_champion=if_champion)
    _say(outcome, f"champion of {model} is version {version}")


@deciding.command("rollback")
def rollback_command(
    by: By,
    note: Note,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            help="A run (see publishes); with --model an earlier champion, else the one before.",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Roll back this model's champion instead of the tables.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list the tables that would move.")] = False,
    if_champion: IfChampion = None,
    env: Env = "local",
    pipeline: Folder = "conf/flights",
    overrides: Overrides = None,
) -> None:
    """Put all tables back to what a run published or, with --model, an earlier champion in its place."""
    from featurelib.registry.audit import Decision

    decision = Decision(by, note)
    if model is None:
        if to is None or if_champion is not None:
            raise ConfigError(
                "rollback of all tables " + ("without --to" if to is None else "with --if-champion"),
                "the run to go back to, or a model",
                "give --to RUN (see featurelib publishes), or --model",
            )
        from featurelib.pipeline.rollback import roll_back_tables, rollback_text

        place = place_of(pipeline, env, overrides)
        typer.echo(rollback_text(roll_back_tables(place, to, decision, dry_run=dry_run)))
        return
    from featurelib.pipeline.models import roll_back

    if dry_run or not (to is None or (to.isdecimal() and int(to) > 0)):
        raise ConfigError(
            f"rollback of model {model!r} with {'--dry-run' if dry_run else f'--to {to}'}",
            "a version number of the model after --to, or nothing",
            f"see its versions with: featurelib models --model {model}",
        )
    version, project = None if to is None else int(to), project_of(pipeline, env, overrides)
    outcome = roll_back(project, model, decision, to=version, if_champion=if_champion)
    _say(outcome, f"champion of {model} is version {outcome.version} again")


@deciding.command("approve")
def approve_command(
    model: Model,
    version: Version,
    by: By,
    note: Note,
    env: Env = "local",
    pipeline: Folder = "conf/flights",
    overrides: Overrides = None,
) -> None:
    """Record a reviewer's approval of a version; promote it where only that was missing."""
    from featurelib.pipeline.models import approve
    from featurelib.registry.audit import Decision

    decision = Decision(by, note)
    outcome = approve(project_of(pipeline, env, overrides), model, version, decision)
    promoted = outcome.champion == version != outcome.was_champion
    _say(outcome, f"version {version} of {model} is approved" + (" and champion" if promoted else ""))


@deciding.command("card")
def card_command(
    model: Model,
    out: Annotated[str, typer.Option("--out", help="Folder for model_card.html and model_card.json.")],
    version: Annotated[
        int | None, typer.Option("--version", min=1, help="A version; the champion if none is given.")
    ] = None,
    env: Env = "local",
    pipeline: Folder = "conf/flights",
    overrides: Overrides = None,
) -> None:
    """Write the model card of a version from what is recorded of it, approvals of today included."""
    from featurelib.pipeline.card import card_of, write_card

    for path in write_card(card_of(project_of(pipeline, env, overrides), model, version), Path(out)):
        typer.echo(path)


@deciding.command()
def register(
    from_outbox: Annotated[
        str, typer.Option("--from-outbox", help="Folder that a failed registration named.")
    ],
    env: Env = "local",
    pipeline: Folder = "conf/flights",
    overrides: Overrides = None,
) -> None:
    """Register a trained model that MLflow could not take at the time."""
    from featurelib.registry.tracker import Tracker, register_from_outbox

    tracker = Tracker(project_of(pipeline, env, overrides).settings.tracking)
    registered = register_from_outbox(Path(from_outbox), tracker=tracker)
    typer.echo(f"registered {registered.name} version {registered.version}")


@deciding.command()
def ui(
    env: Env = "local",
    pipeline: Folder = "conf/flights",
    overrides: Overrides = None,
    port: Annotated[int, typer.Option("--port", help="Port on the loopback address.")] = 5000,
) -> None:
    """Open MLflow on this environment's runs and models, until interrupted."""
    uri = project_of(pipeline, env, overrides).settings.tracking.tracking_uri
    typer.echo(f"MLflow on http://127.0.0.1:{port}, interrupt to end")
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--host", "127.0.0.1"]
    os.execv(sys.executable, [*command, "--port", str(port)])  # noqa: S606 - this very Python, no shell


def _say(outcome: Outcome, headline: str) -> None:
    before = f"version {outcome.was_champion}" if outcome.was_champion else "none"
    typer.echo(headline + (f" (before: {before})" if outcome.champion != outcome.was_champion else ""))
    for remark in outcome.remarks:
        typer.echo(f"  {remark}")
