"""A subject is erased from every table and its history, from landed files and from what people read.

The order makes it safe to kill: first one publish without the subject's rows, then landed files, then the
purge of everything older. Run again, each step does what is left to do.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from featurelib.encryption.rings import TABLE as DATA_KEYS
from featurelib.landing import rewriting
from featurelib.landing.csv_files import Inspection
from featurelib.landing.files import LandedFile
from featurelib.pipeline import erasures
from featurelib.pipeline.context import Context
from featurelib.pipeline.data_keys import count_keys, shred
from featurelib.pipeline.encrypted import readable
from featurelib.pipeline.ledger import LEDGER, ledger_rows
from featurelib.pipeline.pins import pins
from featurelib.pipeline.subjects import ROW, Subject, landed_rows, silver_conditions, with_received
from featurelib.registry.audit import Decision
from featurelib.registry.look import is_there
from featurelib.registry.tracker import Tracker
from featurelib.reports.text_tables import text_table
from featurelib.tables import (
    Run,
    Stamp,
    begin_run,
    current_version,
    erasure_mark,
    fault_point,
    owner,
    published,
    purge,
    read,
)


@dataclass
class Erasing:
    """What an erasure takes away, or would.

    Attributes:
        rows: rows by table, of the published version.
        landed: rows by landed file.
        derived: tables that are emptied, because they are made anew from what is left.
        purged: tables whose versions so far are gone.
        unpinned: who can no longer replay what, as ``model m version 1``.
        remarks: sentences for people about what they still have to do.
        run_id: the run that did it, None for a look ahead.
    """

    rows: dict[str, int] = field(default_factory=dict)
    landed: dict[str, int] = field(default_factory=dict)
    derived: list[str] = field(default_factory=list)
    purged: list[str] = field(default_factory=list)
    unpinned: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    run_id: str | None = None


@dataclass(frozen=True)
class _Found:
    """The subject's rows of one landed table, by file and row, and the landed files to write anew."""

    rows: DataFrame
    landed: Mapping[LandedFile, Collection[int]]


def erase(
    context: Context, subject: Subject, *, request: str, decision: Decision, dry_run: bool = False
) -> Erasing:
    """Erase a subject everywhere below the root and in the landing folder, and note it in ``ops.erasures``.

    Bronze, silver, quarantine and predictions lose its rows; features, tiles and training sets, in which it
    may be added up, are emptied, and the next run makes them anew from what is left. Every earlier version of
    all these tables is gone then, pinned or not. Landed files lose its rows and keep all else. Where columns
    are encrypted by subject its data keys are destroyed, and with them what any copy holds of these columns.

    Args:
        context: the run's surroundings; their moment does not matter.
        subject: who.
        request: names the request, for those who ask later; it must not name the subject.
        decision: who decides, and why.
        dry_run: tell what would go, and change nothing.

    Raises:
        ConfigError: a transform makes the key, so that nobody can say which rows are meant; or the key is not
            there that finds the subject's data keys.
        InputError: a landed file cannot be written without its rows; nothing was published.
        LeaseHeld: the pipeline is at work.
    """
    if dry_run:
        return _looked(context, subject)
    run_id = context.new_run_id("erase")
    moment = datetime.fromtimestamp(time.time(), tz=UTC)  # an erasure happens when it happens
    with begin_run(context.spark, context.store, pipeline=context.project.name, run_id=run_id) as run:
        stamp = Stamp(run_id, context.project.name, run.token)
        _finish_drafts(context)
        asked = erasures.Asked(request, decision.by, moment, stamp)
        erasures.note(context.store, subject, asked, state="begun", facts={})
        found = _rows_of(context, subject)
        done = _weighed(context, found)
        _weigh_keys(context, subject, done)
        done.run_id, at = run_id, f"{moment:%Y-%m-%dT%H:%M:%SZ}"
        looks = _write_drafts(context, found)
        _remove(context, run, found, done, request=request, at=at)
        _write_ledger(context, run, looks)
        run.publish(note={"step": "erase", "request": request, "by": decision.by, "note": decision.note})
        fault_point("erase.published")
        for files in (one.landed for one in found.values()):
            for file in files:
                rewriting.take_draft(file.uri)
        fault_point("erase.landed")
        for table in done.purged:
            purge(context.store, table)
        shred(context.project, context.store, subject, request=request, stamp=stamp)
        fault_point("erase.purged")
        done.rows |= erasures.redact_ops(context.store, subject, stamp=stamp)
        _clean_pages(context, subject)
        _drop_examples(context)
        facts = {"tables": done.purged, "rows": sum(done.rows.values()), "landed": len(done.landed)}
        erasures.note(context.store, subject, asked, state="done", facts=facts)
    return done


def erasing_text(done: Erasing) -> str:
    """Return what went, or would go, as text."""
    head = f"run {done.run_id}: erased" if done.run_id else "would erase"
    rows = [(name, count) for name, count in {**done.rows, **done.landed}.items()]
    lines = [head, text_table(("table or file", "rows"), rows)] if rows else [f"{head} no row"]
    lines += [f"to be made anew: {', '.join(done.derived)}"] if done.derived else []
    lines += [f"versions so far gone: {', '.join(done.purged)}"] if done.purged else []
    lines += [f"cannot be replayed any more: {name}" for name in done.unpinned]
    return "\n".join([*lines, *done.remarks])


# --- finding them ---------------------------------------------------------------------------------------


def _looked(context: Context, subject: Subject) -> Erasing:
    done = _weighed(context, _rows_of(context, subject))
    _weigh_keys(context, subject, done)
    return done


def _rows_of(context: Context, subject: Subject) -> dict[str, _Found]:
    """Return the subject's rows, by landed table that can hold it."""
    known, names, found = published(context.store), context.names, {}
    loaded = {row["name"]: row for row in ledger_rows(context)}
    for name, condition in silver_conditions(context.project, subject).items():
        table = context.project.tables[name]
        parts = []
        if names.silver(name) in known:
            silver = readable(
                context, read(context.spark, context.store, names.silver(name)), names.silver(name)
            )
            parts.append(silver.where(condition).select(*ROW))
        if names.bronze(name) in known:
            bronze = readable(
                context, read(context.spark, context.store, names.bronze(name)), names.bronze(name)
            )
            parts.append(with_received(bronze, table, subject))
        rows = context.spark.createDataFrame([], "_file string, _row long")
        for part in parts:
            rows = rows.unionByName(part)
        collected = rows.distinct().toArrow()
        landed = landed_rows(context, table, subject, collected, loaded)
        found[name] = _Found(context.spark.createDataFrame(collected), landed)
    return found


def _spine_keys(context: Context, found: Mapping[str, _Found]) -> DataFrame | None:
    """Return the keys of the subject's spine rows, None where the spine's table cannot hold it."""
    spine = context.project.spine
    silver = context.names.silver(spine.table)
    if spine.table not in found or silver not in published(context.store):
        return None
    rows = readable(context, read(context.spark, context.store, silver), silver).join(
        found[spine.table].rows, on=list(ROW), how="left_semi"
    )
    keys = rows.select(*(F.expr(spine.columns[key]).alias(key) for key in spine.key)).distinct()
    return context.spark.createDataFrame(keys.toArrow())


def _weighed(context: Context, found: Mapping[str, _Found]) -> Erasing:
    """Count what goes, and name what goes with it."""
    known, done = published(context.store), Erasing()
    for table, (keys, on) in _going(context, found).items():
        if table in known:
            rows = read(context.spark, context.store, table)
            done.rows[table] = rows.join(keys, on=list(on), how="left_semi").count()
    done.landed |= {file.name: len(rows) for one in found.values() for file, rows in one.landed.items()}
    for table in _concerned(context, found):
        done.purged.append(table)
        if table.partition(".")[0] in {"features", "training"} and table in known:
            done.derived.append(table)
    pinned = {pin.held_by for pin in pins(context) if pin.table in done.purged}
    done.unpinned = sorted(pinned)
    models = [name for name in done.unpinned if name.startswith("model ")]
    if models:
        done.remarks.append(
            f"trained on the subject's rows among others: {', '.join(models)}. Model files stay as they are: "
            "train again, promote what comes of it, and delete old versions in MLflow where that is asked for"
        )
    return done


def _weigh_keys(context: Context, subject: Subject, done: Erasing) -> None:
    """Count the data keys that go, and with them every copy of the subject's encrypted columns."""
    if keys := count_keys(context.project, context.store, subject):
        done.rows[DATA_KEYS] = keys


def _going(context: Context, found: Mapping[str, _Found]) -> dict[str, tuple[DataFrame, tuple[str, ...]]]:
    """Return the rows that go from each table, as keys and the columns that these are."""
    names = context.names
    rows: dict[str, tuple[DataFrame, tuple[str, ...]]] = {
        table: (one.rows, ROW)
        for name, one in found.items()
        for table in (names.bronze(name), names.silver(name), names.quarantine(name))
    }
    keys = _spine_keys(context, found)
    if keys is not None:
        explained = (names.contributions(model) for model in context.project.models)
        named = (names.predictions, names.superseded, *explained)
        rows |= dict.fromkeys(named, (keys, context.project.spine.key))
    return rows


def _concerned(context: Context, found: Mapping[str, _Found]) -> list[str]:
    """Return the tables of the pipeline that hold the subject, or ever held it or what was made from it."""
    names = context.names
    received = [
        table for name in found for table in (names.bronze(name), names.silver(name), names.quarantine(name))
    ]
    layers = ("features", "training", "predictions")
    made = [name for name in context.store.tables() if name.partition(".")[0] in layers]
    made += [names.contributions(model) for model in context.project.models]
    return [
        table
        for table in (*received, *made)
        if current_version(context.store, table) is not None
        and owner(context.store, table) == context.project.name
    ]


# --- taking them away -----------------------------------------------------------------------------------


def _remove(
    context: Context, run: Run, found: Mapping[str, _Found], done: Erasing, *, request: str, at: str
) -> None:
    """Take the subject's rows out of what stays, and empty what is made anew; the mark comes last."""
    rows = _going(context, found)
    for table in done.purged:
        context.progress.step(f"erasing from {table}")
        mark = erasure_mark(context.store, table, request=request, at=at)
        if table in done.derived or table not in run.base:
            run.withdraw(table, mark)
            continue
        if table in rows and done.rows.get(table):
            run.remove(rows[table][0], table, on=rows[table][1])
        run.set_properties(table, erasure_mark(context.store, table, request=request, at=at), step="erased")


def _write_drafts(context: Context, found: Mapping[str, _Found]) -> dict[str, Inspection]:
    looks = {}
    for name, one in found.items():
        columns = list(context.project.tables[name].columns)
        for file, rows in one.landed.items():
            looks[file.name] = rewriting.write_draft(file.uri, columns, rows)
    return looks


def _write_ledger(context: Context, run: Run, looks: Mapping[str, Inspection]) -> None:
    """Let the ledger know the landed files as they will be."""
    rows = ledger_rows(context)
    if not any(row["name"] in looks for row in rows):
        return
    run.create(context.names.files, LEDGER, description="Every landed file that was loaded.")
    changed = [{**row, **_size(looks[row["name"]])} if row["name"] in looks else row for row in rows]
    run.replace_rows(changed, context.names.files)


def _size(look: Inspection) -> dict[str, Any]:
    return {"bytes": look.bytes, "sha256": look.sha256, "rows": look.rows}


def _finish_drafts(context: Context) -> None:
    """Take the drafts of an erasure that was killed after its publish; drop those of one killed before."""
    loaded = {row["name"]: row["sha256"] for row in ledger_rows(context)}
    for table in context.project.tables.values():
        for uri in rewriting.drafts(context.project.settings.landing, table.landing):
            name = f"{table.landing}/{uri.rpartition('/')[2]}"
            if rewriting.draft_sha256(uri, list(table.columns)) == loaded.get(name):
                rewriting.take_draft(uri)
            else:
                rewriting.drop_draft(uri)


def _clean_pages(context: Context, subject: Subject) -> None:
    """Replace the subject in ``_RUN.json``, and delete reports and model cards that name it."""
    root = context.project.settings.work_folder
    record = root / "_RUN.json"
    if record.is_file():
        text = record.read_text(encoding="utf-8")
        clean = erasures.without_subject(text, subject)
        if clean is not None and json.loads(clean) != json.loads(text):
            record.write_text(clean, encoding="utf-8")
    for page in [path for path in (root / "reports").rglob("*") if path.is_file()]:
        text = page.read_text(encoding="utf-8", errors="replace")
        if any(value in text for value in subject.key.values()):
            page.unlink()


def _drop_examples(context: Context) -> None:
    """Take the example rows out of every registered or waiting model: nobody can tell whose they are."""
    outbox = context.project.settings.work_folder / "outbox"
    for path in outbox.glob("*/submission.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps({**record, "example": []}), encoding="utf-8")
    if not is_there(context.project.settings.tracking):
        return
    tracker = Tracker(context.project.settings.tracking)
    for model in context.project.models:
        for registered in tracker.versions(model):
            tracker.drop_example(registered)
