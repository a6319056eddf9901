"""Columns that come, go or change their type: between what lands, what is declared and what the tables hold.

A column that is gone from a file or has another type stops the load with what depends on it; a new one is
treated as its table declares.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from featurelib.column_types import is_wider
from featurelib.errors import ConfigError
from featurelib.pipeline.context import Surroundings
from featurelib.pipeline.impact import impact
from featurelib.quality import typing
from featurelib.specs import LandedTable, Project
from featurelib.tables import Run, published, snapshot

CELLS = "binary"
"""The type of a column of encrypted cells."""
_OWN = frozenset({"_file", "_day", "_row", "_month", "_warnings"})
_NAME = re.compile(r"[a-z][a-z0-9_]*")
Looks = Sequence[Mapping[str, Any]]
"""What the inspection says of files, a mapping each."""


@dataclass(frozen=True)
class Arriving:
    """How the files of one load are read.

    Attributes:
        table: the table as declared, with the new columns that are taken.
        aside: names of the files whose rows are kept aside, all of them, with their new columns.
        noted: new columns, and what becomes of each.
    """

    table: LandedTable
    aside: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    noted: Mapping[str, str] = field(default_factory=dict)


def arriving(context: Surroundings, name: str, looks: Looks) -> Arriving:
    """Return how files without a fault are read, by the table's policy on new columns."""
    table = context.project.tables[name]
    new = {row["name"]: tuple(row["new"] or ()) for row in looks if row["new"]}
    columns = list(dict.fromkeys(column for found in new.values() for column in found))
    if table.on_new_columns == "evolve" and columns:
        held = held_types(context, name)
        evolved = table.model_copy(
            update={
                "columns": {**table.columns, **{column: held.get(column, "string") for column in columns}}
            }
        )
        return Arriving(evolved, noted={column: "added" for column in columns if column not in held})
    if table.on_new_columns == "quarantine":
        return Arriving(table, new, dict.fromkeys(columns, "its files are kept aside"))
    return Arriving(table, noted=dict.fromkeys(columns, "ignored"))


def refused_columns(project: Project, name: str, looks: Looks) -> tuple[list[str], list[str]]:
    """Return the faults of files that have other columns than may be, and the declared columns they lack."""
    table, faults, dropped = project.tables[name], [], dict[str, None]()
    for row in looks:
        lacks = [column for column in row["missing"] or () if not _may_lack(table, column, row["day"])]
        new = _refused_new(table, row["new"] or ())
        if lacks or new:
            said = [*([f"lacks {', '.join(lacks)}"] if lacks else []), *new]
            faults.append(f"{row['name']} {' and '.join(said)}")
        dropped |= dict.fromkeys(lacks)
    return faults, list(dropped)


def _may_lack(table: LandedTable, column: str, day: Any) -> bool:  # noqa: ANN401 - a date
    return column in table.columns_since and day < table.columns_since[column]


def _refused_new(table: LandedTable, new: Sequence[str]) -> list[str]:
    if not new or table.on_new_columns in {"ignore", "quarantine"}:
        return []
    if table.on_new_columns == "refuse":
        return [f"has {', '.join(new)}, not declared"]
    taken = table.silver_types.keys() - table.columns.keys()
    odd = [column for column in new if not _NAME.fullmatch(column) or column in taken]
    return [f"has {', '.join(map(repr, odd))}, which cannot be a column of the tables"] if odd else []


def depends(project: Project, name: str, columns: Collection[str]) -> str:
    """Return, as a further line of an error, what depends on columns of a table; empty for no columns."""
    if not columns:
        return ""
    return f"\n    {', '.join(columns)} of {name} is needed by: {impact(project, name, columns).said}"


# --- what the tables hold -------------------------------------------------------------------------------


def held_types(context: Surroundings, name: str) -> dict[str, str]:
    """Return the type of each column of a published silver table, in the words of the specs; none before."""
    table, known = context.names.silver(name), published(context.store)
    if table not in known:
        return {}
    schema = T.StructType.fromJson(json.loads(snapshot(context.store, table, known[table]).schema_json))
    return {held.name: typing.type_name(held.dataType) for held in schema if held.name not in _OWN}


def silver_changes(context: Surroundings, name: str) -> dict[str, str]:
    """Return the declared columns that a silver table lacks or holds as a narrower type, and what is done.

    Raises:
        ConfigError: a column has another type than declared, and nothing says that it is to be widened.
    """
    table, held = context.project.tables[name], held_types(context, name)
    found: dict[str, str] = {}
    for column, kind in table.silver_types.items() if held else ():
        was = held.get(column)
        if was is None:
            found[column] = "added"
        elif (was == CELLS) != (column in table.encrypted):
            raise _encrypted_since(name, column, was)
        elif was not in {kind, CELLS}:
            if table.widened_from.get(column) != was:
                raise _retyped(context.project, name, column, was)
            found[column] = f"{was} to {kind}"
    return found


def _encrypted_since(name: str, column: str, was: str) -> ConfigError:
    is_now, to_do = "not encrypted, and", f"name {column} in tables.{name}.encryption.columns again"
    if was != CELLS:
        is_now = "encrypted, and"
        to_do = f"take {column} out of tables.{name}.encryption.columns"
    return ConfigError(
        f"{column} of {name} is {is_now} silver.{name} holds it as {was}",
        "a column that is encrypted from the first load on, or never",
        f"{to_do}; or load everything anew with -c root=ANOTHER and delete the old root: "
        "its versions hold what they hold",
    )


def _retyped(project: Project, name: str, column: str, was: str) -> ConfigError:
    kind = project.tables[name].silver_types[column]
    to_do = f"declare {column} as {was} again, "
    if is_wider(kind, than=was):
        to_do += (
            f"or write widened_from: {{{column}: {was}}} into tables.{name}: the next load rewrites the table"
        )
    else:
        to_do += (
            f"and say what is wanted as a derived column of another name: {kind} does not hold every {was}; "
            "or load everything anew with -c root=ANOTHER"
        )
    return ConfigError(
        f"{column} of {name} is declared as {kind}, and silver.{name} holds it as {was}"
        + depends(project, name, [column]),
        "the type that the table has, or a wider one that is declared to widen it",
        to_do,
    )


# --- tables that follow ---------------------------------------------------------------------------------


def shape(
    run: Run, table: str, wanted: T.StructType, *, partition_by: tuple[str, ...], description: str
) -> None:
    """Make sure that a table has these columns: it is made, or gets those it lacks, null in earlier rows.

    A column of a narrower type is rewritten with the table. Columns that are no longer wanted stay.
    """
    if table not in run.base:
        run.create(table, wanted, partition_by=partition_by, description=description)
        return
    rows = run.read(table)
    has = {held.name: held.dataType for held in rows.schema}
    new = [column for column in wanted if column.name not in has]
    casts = {
        column.name: F.col(column.name).cast(column.dataType)
        for column in wanted
        if column.name in has and has[column.name] != column.dataType
    }
    if casts:
        added = {column.name: F.lit(None).cast(column.dataType) for column in new}
        run.rewrite(rows.withColumns({**casts, **added}), table, partition_by=partition_by)
    elif new:
        run.widen(table, T.StructType([*rows.schema.fields, *new]))


def completed(rows: DataFrame, run: Run, table: str) -> DataFrame:
    """Return rows with the columns that their table has besides, null: nothing declares these any more."""
    absent = [held for held in run.read(table).schema if held.name not in rows.columns]
    return rows.select("*", *[F.lit(None).cast(held.dataType).alias(held.name) for held in absent])
