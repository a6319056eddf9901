"""Rows of encrypted tables, written as cells and read as values; in clear they are in memory alone.

Spark's own ``aes_encrypt`` takes its key from the plan, and a plan's literals stand in ``explain()`` and in
event logs. So a function in Arrow does it: its code and wrapped data keys travel, and the key that unwraps
them is looked up by its reference where the function runs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import polars as pl
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.pandas.functions import arrow_udf

from featurelib.dependence import made_of
from featurelib.encryption import Keyring, opened_array, sealed_array
from featurelib.encryption.rings import TABLE
from featurelib.pipeline.context import Surroundings
from featurelib.pipeline.data_keys import keyring
from featurelib.pipeline.silver import SilverRows, Span, published_rows
from featurelib.pipeline.subjects import ROW
from featurelib.quality.typing import spark_type
from featurelib.specs import Project
from featurelib.tables import Run, Store

MALFORMED = "_malformed"
_in_arrow: Any = arrow_udf  # its stubs know functions of iterators only
__all__ = [
    "TABLE",
    "encrypted_types",
    "opened_polars",
    "read_in_clear",
    "readable",
    "readable_rows",
    "require_keys",
    "sealed",
    "with_cells",
]


def encrypted_types(project: Project, table: str) -> dict[str, str]:
    """Return the encrypted columns of a bronze, silver or quarantine table, each with its type in clear.

    What was received is text, and a row that could not be split may hold a value of any column.
    """
    landed = project.tables.get(_landed(project, table))
    if landed is None or not landed.encrypted:
        return {}
    if table == f"silver.{_landed(project, table)}":
        return {column: landed.silver_types[column] for column in landed.encrypted}
    received = [column for column in landed.encrypted if column in landed.columns]
    return {**dict.fromkeys(received, "string"), MALFORMED: "string"}


def _landed(project: Project, table: str) -> str:
    """Return the name of the landed table that a table is of, empty for others."""
    layer, _, name = table.partition(".")
    if layer == "silver" and name not in project.tables:
        name = name.removesuffix("_quarantine")
    return name if layer in {"bronze", "silver"} and name in project.tables else ""


def with_cells(fields: T.StructType, encrypted: Collection[str]) -> T.StructType:
    """Return a schema as its table has it: encrypted columns are binary."""
    return T.StructType(
        [T.StructField(field.name, T.BinaryType()) if field.name in encrypted else field for field in fields]
    )


def sealed(
    rows: DataFrame, types: Mapping[str, str], ring: Keyring, table: str, *, subject: Column | None
) -> DataFrame:
    """Return rows with columns as cells of a table; grain unchanged.

    Args:
        rows: they have the identity of the landed row, and the columns in clear.
        types: the columns to encrypt, with their types.
        ring: data keys; each subject has one.
        table: where the rows will stand: a cell opens nowhere else.
        subject: whose a row is, as text; None or null for nobody's.
    """
    whose = F.lit(None).cast("string") if subject is None else subject
    return rows.withColumns(
        {
            column: _sealing(ring, kind, f"{table}.{column}")(column, *ROW, whose)
            for column, kind in types.items()
        }
    )


def readable(context: Surroundings, rows: DataFrame, table: str) -> DataFrame:
    """Return rows of a bronze, silver or quarantine table with encrypted columns as values; grain unchanged.

    Null where a data key was shredded. A column that is not used is not decrypted, and needs no key.
    """
    types = encrypted_types(context.project, table)
    present = {column: kind for column, kind in types.items() if column in rows.columns}
    if not present:
        return rows
    ring = keyring(context.project, context.store, _landed(context.project, table))
    return rows.withColumns(
        {column: _opening(ring, kind, f"{table}.{column}")(column, *ROW) for column, kind in present.items()}
    )


def read_in_clear(context: Surroundings, run: Run, table: str) -> DataFrame:
    """Return the rows of a table as a run reads them, :func:`readable`."""
    return readable(context, run.read(table), table)


def require_keys(context: Surroundings) -> None:
    """Refuse at once, and not in a task later, that a key is not there which features or labels need.

    Raises:
        ConfigError: a key is absent, or is not the one that wrapped the data keys.
    """
    for name, table in context.project.tables.items():
        made = made_of(context.project, name, table.encrypted) if table.encrypted else None
        if made is not None and (made.spine or made.features or made.label):
            keyring(context.project, context.store, name).check()


def readable_rows(project: Project, store: Store, versions: Mapping[str, int] | None = None) -> SilverRows:
    """Return a reader of the silver tables like :func:`published_rows`, with encrypted columns as values."""
    stored = published_rows(store, versions)

    def rows(table: str, columns: frozenset[str] | None, span: Span | None = None, /) -> pl.DataFrame:
        encrypted = set(encrypted_types(project, f"silver.{table}"))
        if columns is None or not encrypted & columns:
            return opened_polars(project, store, f"silver.{table}", stored(table, columns, span))
        found = opened_polars(project, store, f"silver.{table}", stored(table, columns | set(ROW), span))
        return found.drop(set(ROW) - columns)

    return rows


def opened_polars(project: Project, store: Store, table: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows of a silver table, their identity among them, with encrypted columns as values."""
    types = encrypted_types(project, table)
    present = {column: kind for column, kind in types.items() if column in rows.columns}
    if not present:
        return rows
    ring = keyring(project, store, _landed(project, table))
    ring.check()
    file, number = (rows[name].to_arrow() for name in ROW)
    return rows.with_columns(
        pl.Series(
            column,
            opened_array(rows[column].to_arrow(), kind, (file, number), ring=ring, where=f"{table}.{column}"),
        )
        for column, kind in present.items()
    )


def _sealing(ring: Keyring, kind: str, where: str) -> Callable[..., Column]:
    def seal(values: pa.Array, files: pa.Array, numbers: pa.Array, subjects: pa.Array) -> pa.Array:
        return sealed_array(values, kind, (files, numbers), subjects=subjects, ring=ring, where=where)

    function: Callable[..., Column] = _in_arrow(seal, T.BinaryType())
    return function


def _opening(ring: Keyring, kind: str, where: str) -> Callable[..., Column]:
    def opened(cells: pa.Array, files: pa.Array, numbers: pa.Array) -> pa.Array:
        return opened_array(cells, kind, (files, numbers), ring=ring, where=where)

    function: Callable[..., Column] = _in_arrow(opened, spark_type(kind))
    return function
