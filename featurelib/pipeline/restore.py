"""A table whose folder was lost is made again from what it came from, or is asked for from a backup."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from featurelib.errors import ConfigError, NoNewData, nearest
from featurelib.pipeline.context import Surroundings
from featurelib.registry.audit import Decision
from featurelib.tables import begin_run, current_version, is_readable, published


@dataclass(frozen=True)
class Restored:
    """What was taken out of the manifest, so that the next run makes it again."""

    run_id: str
    tables: tuple[str, ...]
    remark: str


def restore_table(context: Surroundings, table: str, decision: Decision) -> Restored:
    """Publish without a lost table and what belongs to it, so that the next run makes them again.

    Bronze and silver come again from the landed files, with the ledger; features and tiles from silver; the
    training set from features. Numbers of versions go on from where they were: none comes to mean other rows.
    No session is needed.

    Args:
        context: where to look.
        table: a published table whose version cannot be read.
        decision: who and why; kept in the note of the manifest.

    Raises:
        ConfigError: no such table is published.
        NoNewData: the table is whole.
        LeaseHeld: the pipeline is at work.
    """
    known = published(context.store)
    if table not in known:
        raise ConfigError(
            f"table {table!r} is not published.{nearest(table, known)}",
            f"one of {', '.join(sorted(known))}",
            "give the name of a published table with --table",
        )
    if is_readable(context.store, table, known[table]):
        raise NoNewData(f"table {table!r} version {known[table]} is whole: every file of it is there")
    group, remark = _group(context, table, known)
    lost = [
        name for name in known if name in group and (current_version(context.store, name) or -1) < known[name]
    ]
    run_id, nobody = f"restore-{uuid.uuid4().hex[:8]}", _nobody()
    with begin_run(nobody, context.store, pipeline=context.project.name, run_id=run_id, lost=lost) as run:
        for name in group:
            if current_version(context.store, name) is None:
                run.forget(name)
            else:
                run.withdraw(name)
        note = {"step": "restore", "lost": table, "by": decision.by, "note": decision.note}
        run.publish(note=note)
    return Restored(run_id, tuple(group), remark)


def _group(context: Surroundings, table: str, known: dict[str, int]) -> tuple[list[str], str]:
    """Return the published tables that are made together with one, and what their making again means."""
    names, layer = context.names, table.partition(".")[0]
    if layer in {"bronze", "silver"}:
        landed = {
            part(name)
            for name in context.project.tables
            for part in (names.bronze, names.silver, names.quarantine)
        }
        group, remark = {*landed, names.files}, "the next run loads every landed file again"
    elif layer == "predictions":
        group = {table}
        remark = "the next run predicts every day again with today's champion; a backup has the old ones"
    elif layer == "features":
        made = {name for name in known if name == names.features or name.startswith(f"{names.features}_")}
        group, remark = made, "the next run computes all features again"
    else:
        group = {names.training, names.training_content, names.training_reference}
        remark = "the next run makes the training set again"
    return sorted({*(group & known.keys()), table}), remark


def _nobody() -> Any:  # noqa: ANN401 - a run that starts no query needs no session
    return None
