"""All tables of a pipeline go back to what a run had published, as a new publish; nothing is forgotten."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from featurelib.errors import ConfigError, NoNewData, PublishError, nearest
from featurelib.pipeline.context import Surroundings
from featurelib.pipeline.pins import ROLLBACK
from featurelib.registry.audit import Decision
from featurelib.registry.look import is_there
from featurelib.registry.tracker import Tracker
from featurelib.reports.text_tables import text_table
from featurelib.tables import (
    Manifest,
    begin_run,
    every_manifest,
    is_readable,
    owner,
    published,
    snapshot,
)


@dataclass(frozen=True)
class Move:
    """A table that moves: from its published version to another one, None for not published."""

    table: str
    version: int | None
    to: int | None


@dataclass(frozen=True)
class Rollback:
    """What goes back, or went.

    Attributes:
        to: the run whose publish comes back.
        published_at: the moment noted with it.
        moves: the tables that differ from it, by name.
        left: tables that differ and belong to other pipelines, with these.
        remarks: sentences for people about what does not move along.
        run_id: the run that did it, None for a look ahead.
    """

    to: str
    published_at: datetime
    moves: tuple[Move, ...]
    left: tuple[tuple[str, str], ...]
    remarks: tuple[str, ...]
    run_id: str | None = None


def roll_back_tables(
    context: Surroundings, to: str, decision: Decision, *, dry_run: bool = False
) -> Rollback:
    """Publish once more what a run had published of this pipeline's tables; no session is needed.

    Each table's old files and columns become its newest version; a table that was published later is emptied
    and no longer published. The ledger goes back too, so landed files that were loaded since count as not
    loaded, and a rerun loads them again. Models, their aliases and the diaries of the layer ``ops`` stay.

    Args:
        context: where to look.
        to: the run, as ``ops.manifests`` has it.
        decision: who and why; kept in the note of the new manifest.
        dry_run: tell what would move, and take no lease.

    Raises:
        ConfigError: no run of that name has published.
        PublishError: a version that is needed can no longer be read; nothing was changed.
        NoNewData: the tables are as that run left them.
        LeaseHeld: the pipeline is at work.
    """
    target = _target(context, to)
    if dry_run:
        return _planned(context, target)
    run_id = f"rollback-{uuid.uuid4().hex[:8]}"
    nobody: Any = None
    with begin_run(nobody, context.store, pipeline=context.project.name, run_id=run_id) as run:
        found = _planned(context, target)
        for move in found.moves:
            if move.to is None:
                run.withdraw(move.table)
            else:
                run.restore(move.table, move.to)
        note = {"step": ROLLBACK, "to": to, "by": decision.by, "note": decision.note}
        run.publish(note=note)
    return Rollback(to, found.published_at, found.moves, found.left, found.remarks, run_id)


def publishes_text(context: Surroundings, *, rows: int) -> str:
    """Return the newest publishes as text, the newest first: which run, when, which tables, and a note."""
    every = every_manifest(context.store)
    lines = []
    for before, manifest in zip([None, *every], every, strict=False):
        was = {} if before is None else before.tables
        moved = [name for name, version in manifest.tables.items() if was.get(name) != version]
        gone = [f"-{name}" for name in was if name not in manifest.tables]
        said = {key: value for key, value in manifest.note.items() if key not in {"step", "table"}}
        lines.append(
            (
                manifest.run_id,
                manifest.published_at,
                ", ".join(sorted(moved) + gone),
                ", ".join(f"{key} {value}" for key, value in said.items()),
            )
        )
    return text_table(("run", "published at", "tables", "note"), lines[::-1][:rows])


def rollback_text(found: Rollback) -> str:
    """Return what goes back, or went, as text."""
    rows = [
        (move.table, *("not published" if at is None else f"{at}" for at in (move.version, move.to)))
        for move in found.moves
    ]
    head = f"run {found.run_id}: tables" if found.run_id else "would put tables"
    lines = [f"{head} back to what {found.to} published", text_table(("table", "version", "to"), rows)]
    lines += [f"left: {table}, of pipeline {pipeline}" for table, pipeline in found.left]
    return "\n".join([*lines, *found.remarks])


def _target(context: Surroundings, to: str) -> Manifest:
    every = every_manifest(context.store)
    found = next((one for one in reversed(every) if one.run_id == to), None)
    if found is None:
        names = [one.run_id for one in every]
        raise ConfigError(
            f"no run {to!r} has published in {context.store.root}.{nearest(to, names)}",
            f"one of {', '.join(names[-5:])}, ..." if names else "a store with a finished run",
            "see all of them with: featurelib publishes",
        )
    return found


def _planned(context: Surroundings, target: Manifest) -> Rollback:
    now, moves, left = published(context.store), [], []
    for table in sorted({*now, *target.tables}):
        move = Move(table, now.get(table), target.tables.get(table))
        if _is_same(context, move):
            continue
        whose = owner(context.store, table) or ""
        if whose == context.project.name:
            moves.append(move)
        else:
            left.append((table, whose))
    gone = [
        f"{move.table} version {move.to}"
        for move in moves
        if move.to is not None and not is_readable(context.store, move.table, move.to)
    ]
    if gone:
        raise PublishError(
            f"run {target.run_id} cannot be rolled back to: {'; '.join(gone)} cannot be read any more",
            "every version that it published, with its files",
            "roll back to a newer run (featurelib publishes), or bring the table's folder back from a backup",
        )
    if not moves:
        raise NoNewData(f"the tables are as run {target.run_id} published them")
    remarks = tuple(_remarks(context, target, moves))
    return Rollback(target.run_id, target.published_at, tuple(moves), tuple(left), remarks)


def _is_same(context: Surroundings, move: Move) -> bool:
    """Return whether both versions have the same files and columns, as a version and its RESTORE have."""
    if move.to is None or move.version is None or move.version == move.to:
        return move.version == move.to
    if not is_readable(context.store, move.table, move.to):
        return False
    then, now = (snapshot(context.store, move.table, version) for version in (move.to, move.version))
    return (then.files, then.schema_json) == (now.files, now.schema_json)


def _remarks(context: Surroundings, target: Manifest, moves: Sequence[Move]) -> Iterator[str]:
    """Say which landed files count as not loaded again, and which models know more than the tables."""
    if any(move.table == context.names.files for move in moves):
        yield "landed files that were loaded since count as not loaded: the next run loads them again"
    if not is_there(context.project.settings.tracking):
        return
    tracker, known = Tracker(context.project.settings.tracking), _training_versions(context, target)
    for model in context.project.models:
        version = tracker.aliases(model).get("champion")
        if version is None:
            continue
        on = json.loads(tracker.version(model, version).tags.get("delta_versions", "{}"))
        trained = on.get(context.names.training)
        if trained is not None and trained not in known:
            yield (
                f"the champion of {model} is version {version} still, trained on {context.names.training} "
                f"version {trained}, which was published later: featurelib rollback --model {model}"
            )


def _training_versions(context: Surroundings, target: Manifest) -> set[int]:
    """Return the versions of the training set that had been published by then."""
    table = context.names.training
    earlier = (one for one in every_manifest(context.store) if one.sequence <= target.sequence)
    return {one.tables[table] for one in earlier if table in one.tables}
