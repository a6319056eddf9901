"""Landed files become bronze (as received), silver (typed, valid) and quarantine, all published at once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F
from pyspark.sql import types as T

from featurelib.errors import InputError, LeaseHeld, PublishError, QualityGateError
from featurelib.landing.csv_files import INSPECTED, inspected, received
from featurelib.landing.files import LandedFile, landed_files
from featurelib.pipeline.context import Context, StepResult, Surroundings
from featurelib.pipeline.days import on_days
from featurelib.pipeline.encrypted import read_in_clear
from featurelib.pipeline.evolution import (
    Arriving,
    arriving,
    completed,
    depends,
    refused_columns,
    silver_changes,
)
from featurelib.pipeline.functions import pipeline_function
from featurelib.pipeline.ledger import loaded_sizes, write_ledger
from featurelib.pipeline.loaded_tables import (
    IDENTITY,
    encrypted_bad,
    encrypted_bronze,
    encrypted_silver,
    received_schema,
    shape_bronze,
    shape_judged,
)
from featurelib.quality import rules, typing
from featurelib.specs import LandedTable, QualityGate
from featurelib.tables import Run, begin_run, fault_point, snapshot
from featurelib.threads import run_beside

_FILES_A_TASK = 64
_FEW_FILES = 4
_NO_VALUE = re.compile(r"(\w+) is no ")


@dataclass(frozen=True)
class Loaded:
    """What one table's load did: ``rows_in`` is always ``passed`` + ``quarantined``.

    Attributes:
        aside: of the quarantined rows, those of files that are kept aside whole.
        columns: columns that are new, or whose type was widened, and what became of them.
    """

    table: str
    files: int
    rows_in: int
    passed: int
    quarantined: int
    reasons: dict[str, int] = field(default_factory=dict)
    warnings: dict[str, int] = field(default_factory=dict)
    aside: int = 0
    columns: dict[str, str] = field(default_factory=dict)


def ingest(context: Context) -> StepResult:
    """Load every landed day before ``as_of`` that is not loaded yet, in one pass however many they are.

    Raises:
        InputError: a file is damaged, or not what was declared, or has changed since it was loaded; nothing
            was written.
        ConfigError: a column has another type in silver than declared; nothing was written.
        QualityGateError: too many rows are bad; nothing was published.
        LeaseHeld: another run loads, or has loaded files since this one looked.
    """
    loaded = loaded_sizes(context)
    new = {
        name: not_loaded(context, table, loaded.get(name, {}))
        for name, table in context.project.tables.items()
    }
    new = {name: files for name, files in new.items() if files}
    changes = {name: silver_changes(context, name) for name in context.project.tables}
    changes = {name: found for name, found in changes.items() if found}
    if not new and not changes:
        return StepResult("ingest", f"no day before {context.as_of:%Y-%m-%d} is left to load")
    ledger = {name: _inspection(context, name, files) for name, files in new.items()}
    _refuse_faults(context, ledger)
    run_id = context.new_run_id("ingest")
    fault_point("ingest.inspected")
    with begin_run(context.spark, context.store, pipeline=context.project.name, run_id=run_id) as run:
        _refuse_loaded_meanwhile(context, loaded)
        names = list(dict.fromkeys((*new, *changes)))
        loads = run_beside(
            [
                partial(_load, context, run, name, new[name], ledger[name])
                if name in new
                else partial(_reshaped, context, run, name)
                for name in names
            ],
            spark=context.spark,
            at_once=len(names),
        )
        loads = [replace(load, columns={**changes.get(load.table, {}), **load.columns}) for load in loads]
        if ledger:
            write_ledger(context, run, ledger)
        run.publish(published_at=context.as_of)
    return StepResult(
        "ingest",
        _summary(loads),
        run_id,
        facts={"ingest": [asdict(load) for load in loads]},
        versions=run.versions,
    )


# --- which files ----------------------------------------------------------------------------------------


def not_loaded(context: Surroundings, table: LandedTable, loaded: Mapping[str, int]) -> list[LandedFile]:
    """Return the landed files of days that ended before ``as_of`` and are not in the ledger.

    Raises:
        InputError: a file has changed since it was loaded.
    """
    landed = landed_files(context.project.settings.landing, table.landing)
    complete = [file for file in landed if file.day + timedelta(days=1) <= context.as_of.date()]
    for file in complete:
        if file.name in loaded and loaded[file.name] != file.bytes:
            raise InputError(
                f"{file.name!r} has {file.bytes} bytes and had {loaded[file.name]} when it was loaded",
                "a landed file that never changes",
                "put the loaded file back; land corrections as rows of a later day",
            )
    return [file for file in complete if file.name not in loaded]


def _inspection(context: Context, name: str, files: Sequence[LandedFile]) -> list[dict[str, Any]]:
    """Read every file through and return a row a file; a few are read here, many by tasks."""
    columns = list(context.project.tables[name].columns)
    if len(files) <= _FEW_FILES:
        listed = {
            "name": [f.name for f in files],
            "day": [f.day for f in files],
            "uri": [f.uri for f in files],
        }
        looks = [row for batch in inspected([pa.record_batch(listed)], columns) for row in batch.to_pylist()]
    else:
        inspect = partial(inspected, columns=columns)  # parsing files needs Arrow
        looks = [row.asDict() for row in _listed(context, files).mapInArrow(inspect, INSPECTED).collect()]
    return sorted(looks, key=lambda row: str(row["name"]))


def _refuse_faults(context: Context, ledger: dict[str, list[dict[str, Any]]]) -> None:
    """Refuse the load when a file cannot be taken; all such files are named."""
    faults = [f"{row['name']} {row['fault']}" for rows in ledger.values() for row in rows if row["fault"]]
    needed = ""
    for name, rows in ledger.items():
        odd, dropped = refused_columns(context.project, name, rows)
        faults += odd
        needed += depends(context.project, name, dropped)
        fewest = context.project.gates.get(name, QualityGate()).min_rows
        faults += [
            f"{row['name']} has {row['rows']} rows, fewer than gates.{name}.min_rows = {fewest}"
            for row in rows
            if not row["fault"] and row["rows"] < fewest
        ]
    if faults:
        raise InputError(
            f"{len(faults)} landed file(s) cannot be taken:\n    " + "\n    ".join(faults) + needed,
            "whole UTF-8 CSV files with the declared header and rows",
            "land them again, then rerun; nothing was written" + _instead(ledger, lacks=bool(needed)),
        )


def _instead(ledger: Mapping[str, Sequence[Mapping[str, Any]]], *, lacks: bool) -> str:
    """Return what else can be done about columns that came or went."""
    said = ""
    if lacks:
        said += (
            "; or take the columns out of sources.yaml with all that needs them (featurelib impact), or "
            "say in columns_since from which day on files have them"
        )
    if any(row["new"] for rows in ledger.values() for row in rows):
        said += "; or declare the new columns, or say on_new_columns: ignore, quarantine or evolve"
    return said


def _refuse_loaded_meanwhile(context: Context, before: Mapping[str, Mapping[str, int]]) -> None:
    """Refuse to load twice what another run has loaded between this one's look and its lease."""
    now = loaded_sizes(context)
    if now == before:
        return
    files = sum(len(names.keys() - before.get(table, {}).keys()) for table, names in now.items())
    raise LeaseHeld(
        f"another run has loaded {files} files since this one looked which are new",
        "one run at a time",
        "run again: it loads what is left",
    )


def _listed(context: Context, files: Sequence[LandedFile]) -> DataFrame:
    """Return the files as rows, neighbouring days in one task, so that tasks write few partitions."""
    most = context.project.settings.spark.shuffle_partitions
    tasks = max(1, min(most, -(-len(files) // _FILES_A_TASK) * 2))
    rows = [(file.name, file.day, file.uri, place * tasks // len(files)) for place, file in enumerate(files)]
    listed = context.spark.createDataFrame(rows, "name string, day date, uri string, task int")
    return listed.repartitionById(tasks, F.col("task")).drop("task")


# --- one table ------------------------------------------------------------------------------------------


def _load(
    context: Context, run: Run, name: str, files: Sequence[LandedFile], ledger: Sequence[dict[str, Any]]
) -> Loaded:
    """Write bronze, silver and quarantine of the files' days, and count what went where.

    The files' own rows are known from their inspection; only where silver has fewer is the quarantine
    computed at all.
    """
    context.progress.step(f"{name}: {len(files)} files")
    reads = arriving(context, name, ledger)
    table = reads.table
    days, rows_in = on_days(file.day for file in files), sum(row["rows"] for row in ledger)
    _append_bronze(context, run, name, table, files)
    bronze = read_in_clear(context, run, context.names.bronze(name))
    judged = _judged(context, bronze.where(days), name, reads)
    shape_judged(context, run, name, table)
    silver = rules.only_good(judged).select(*table.silver_types, *_names(IDENTITY), rules.WARNINGS, "_month")
    silver = encrypted_silver(context, silver, name)
    silver = completed(silver, run, context.names.silver(name))
    warnings = _append_counting_warnings(context, run, name, silver)
    passed = _added(context, run, context.names.silver(name))
    if passed != rows_in:
        bad = encrypted_bad(context, rules.only_bad(judged), name, table)
        run.append(completed(bad, run, context.names.quarantine(name)), context.names.quarantine(name))
    quarantined = _added(context, run, context.names.quarantine(name))
    reasons = _reasons(run.read(context.names.quarantine(name)).where(days)) if quarantined else {}
    aside = sum(row["rows"] for row in ledger if row["name"] in reads.aside)
    loaded = Loaded(
        name,
        len(files),
        passed + quarantined,
        passed,
        quarantined,
        reasons,
        warnings,
        aside,
        dict(reads.noted),
    )
    _check_counts(loaded, rows_in=rows_in)
    _check_gate(context, loaded)
    return loaded


def _reshaped(context: Context, run: Run, name: str) -> Loaded:
    """Bring the tables of a landed table to the declared columns; no row is added."""
    table = context.project.tables[name]
    shape_bronze(context, run, name, table)
    shape_judged(context, run, name, table)
    return Loaded(name, 0, 0, 0, 0)


def _append_bronze(
    context: Context, run: Run, name: str, table: LandedTable, files: Sequence[LandedFile]
) -> None:
    rows = _listed(context, files).mapInArrow(  # parsing files needs Arrow
        partial(received, columns=list(table.columns)), received_schema(table)
    )
    shape_bronze(context, run, name, table)
    rows = encrypted_bronze(context, run, rows, name)
    loaded = rows.withColumns({"_month": F.date_format("_day", "yyyy-MM"), "_run_id": F.lit(run.run_id)})
    run.append(completed(loaded, run, context.names.bronze(name)), context.names.bronze(name))


def _judged(context: Context, bronze: DataFrame, name: str, reads: Arriving) -> DataFrame:
    """Return bronze rows with typed and derived columns, the received texts, reasons and warnings."""
    table = reads.table
    received_texts = [F.col(column).alias(f"_received_{column}") for column in table.columns]
    typed = typing.to_typed(bronze.select("*", *received_texts), table=table)
    for file, new in reads.aside.items():
        why = F.array(F.lit(f"the file has new columns: {', '.join(new)}"))
        reasons = F.concat(F.col(typing.REASONS), why)
        kept = F.when(F.col("_file") == file, reasons).otherwise(F.col(typing.REASONS))
        typed = typed.withColumn(typing.REASONS, kept)
    if table.transform is not None:
        function = pipeline_function(context.project.folder, table.transform)
        typed = typing.transformed(typed, function, table=table)
    prepared = typing.with_prepared(typed, table=table)
    return rules.with_judgement(prepared, rules=context.project.rules.get(name, ()), unique=table.unique)


def _append_counting_warnings(context: Context, run: Run, name: str, silver: DataFrame) -> dict[str, int]:
    """Append silver's rows and return how many of them each warning concerns, counted on the way."""
    warns = [rule.name for rule in context.project.rules.get(name, ()) if rule.on_fail == "warn"]
    if not warns:
        run.append(silver, context.names.silver(name))
        return {}
    seen = Observation()
    counts = [F.count_if(F.array_contains(rules.WARNINGS, warning)).alias(warning) for warning in warns]
    run.append(silver.observe(seen, *counts), context.names.silver(name))
    return {warning: rows for warning, rows in seen.get.items() if rows}


def _added(context: Context, run: Run, table: str) -> int:
    before, after = (
        0 if version is None else snapshot(context.store, table, version).num_records or 0
        for version in (run.base.get(table), run.versions.get(table, run.base.get(table)))
    )
    return after - before


def _reasons(quarantined: DataFrame) -> dict[str, int]:
    """Return how many rows each reason concerns, the most frequent first."""
    texts = quarantined.select(F.explode(typing.REASONS).alias("text"))
    said = texts.groupBy(rules.reason_group(F.col("text")).alias("said"))
    counts = said.count().orderBy(F.desc("count"), "said").collect()
    return {row["said"]: row["count"] for row in counts}


def _check_counts(loaded: Loaded, *, rows_in: int) -> None:
    if loaded.rows_in != rows_in:
        raise PublishError(
            f"{loaded.table}: the files hold {rows_in} rows, silver and quarantine together {loaded.rows_in}",
            "every received row in exactly one of them",
            "check the table's transform: it must keep one row for each row; nothing was published",
        )


def _check_gate(context: Context, loaded: Loaded) -> None:
    gate = context.project.gates.get(loaded.table, QualityGate())
    share = (loaded.quarantined - loaded.aside) / max(loaded.rows_in - loaded.aside, 1)
    strict = {rule.name for rule in context.project.rules.get(loaded.table, ()) if rule.on_fail == "fail"}
    broken = sorted(strict & loaded.reasons.keys())
    if share > gate.max_quarantined or broken:
        reasons = ", ".join(f"{reason} {count}" for reason, count in loaded.reasons.items())
        retyped = [found[1] for reason in loaded.reasons if (found := _NO_VALUE.match(reason))]
        raise QualityGateError(
            f"{loaded.table}: {loaded.quarantined} of {loaded.rows_in} rows are bad ({reasons})"
            + depends(context.project, loaded.table, retyped),
            f"rules {broken} to hold for every row"
            if broken
            else f"at most {gate.max_quarantined:.1%} bad rows",
            f"mend the files, or the rules, or gates.{loaded.table} in quality.yaml; nothing was published",
        )


def _names(fields: Sequence[T.StructField]) -> list[str]:
    return [field.name for field in fields]


def _summary(loads: Sequence[Loaded]) -> str:
    parts = []
    for load in loads:
        text = f"{load.table} {load.rows_in:,} rows of {load.files} file{'s' * (load.files != 1)}"
        if load.columns:
            text += ", " + ", ".join(f"column {name} {became}" for name, became in load.columns.items())
        if load.quarantined:
            reasons = ", ".join(f"{reason} {count}" for reason, count in list(load.reasons.items())[:3])
            text += f", {load.quarantined:,} quarantined ({reasons})"
        parts.append(text)
    return "; ".join(parts)
