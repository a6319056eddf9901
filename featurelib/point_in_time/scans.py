"""Tasks read Parquet files themselves: the used columns, row groups and rows of their share, as Arrow.

No row of such an input crosses from the JVM to Python. Runs inside Spark's Python workers: it imports
pyarrow and polars only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet as pq

from featurelib.addresses import located
from featurelib.errors import FrameError
from featurelib.expressions.frames import PolarsExpression, only_where, with_expressions

_BATCH_ROWS: Final = 262_144
_REWRITE: Final = "rewrite the file as its table says, or give the source as a Spark frame"
_MICROS_A_UNIT: Final = {"s": 1_000_000, "ms": 1_000, "us": 1}


@dataclass(frozen=True)
class FilePart:
    """A share of one Parquet file: of its row groups, the ``number``-th of ``parts`` equal runs.

    Attributes:
        path: absolute path, or URI that ``pyarrow.fs`` opens.
        partition: value of each partition column; they are not in the file.
    """

    path: str
    partition: Mapping[str, Any] = field(default_factory=dict)
    number: int = 0
    parts: int = 1

    def of(self, row_groups: int) -> range:
        """Return the row groups of this part."""
        first = row_groups * self.number // self.parts
        return range(first, row_groups * (self.number + 1) // self.parts)


@dataclass(frozen=True)
class Preparation:
    """What tasks compute of stored columns before anything else.

    Attributes:
        where: the rows to keep, None for all.
        columns: columns to add, by name, each over stored columns.
        stored: the stored columns that these may need, with their types.
    """

    where: PolarsExpression | None
    columns: Mapping[str, PolarsExpression]
    stored: pa.Schema

    def only(self, wanted: Iterable[str]) -> Preparation:
        """Return what gives the wanted columns, and no others."""
        columns = {name: self.columns[name] for name in wanted if name in self.columns}
        expressions = [*columns.values(), *([self.where] if self.where else [])]
        needed = {name for expression in expressions for name in expression.needs}
        return Preparation(self.where, columns, pa.schema([f for f in self.stored if f.name in needed]))

    def of(self, table: pa.Table) -> pa.Table:
        """Return the rows to keep with the columns added.

        Raises:
            FrameError: a row for which Spark would fail, as a division by zero.
        """
        frame = pl.DataFrame(pl.from_arrow(table))
        kept = frame if self.where is None else only_where(frame, self.where)
        return with_expressions(kept, self.columns).to_arrow()


@dataclass(frozen=True)
class Reading:
    """What to read of every file.

    Attributes:
        schema: the columns to give, with the types they shall have.
        stored: the name each of them has in the files, or among the partition columns; computed columns have
            none.
        instant: column of ``schema`` that ``since`` and ``until`` speak of.
        since: microseconds since 1970 of the first instant wanted, None for no bound.
        until: microseconds since 1970 of the first instant no longer wanted, None for no bound.
        required: columns of ``schema`` whose nulls drop the row.
        preparation: rows to keep and columns to compute; None for stored rows as they are.
        conditions: boolean columns to give after those of ``schema``, each over them and ``besides``.
        besides: further columns that the conditions need.
    """

    schema: pa.Schema
    stored: Mapping[str, str]
    instant: str | None = None
    since: int | None = None
    until: int | None = None
    required: tuple[str, ...] = ()
    preparation: Preparation | None = None
    conditions: Mapping[str, PolarsExpression] = field(default_factory=dict)
    besides: pa.Schema = field(default_factory=lambda: pa.schema([]))

    @property
    def given(self) -> pa.Schema:
        """The columns of what is read in the end: those of ``schema``, then the conditions."""
        return pa.schema([*self.schema, *(pa.field(name, pa.bool_()) for name in self.conditions)])

    @property
    def asked(self) -> pa.Schema:
        """The columns under their own names before the conditions are evaluated."""
        return pa.schema([*self.schema, *self.besides])

    @property
    def read(self) -> pa.Schema:
        """The stored columns to read, under their stored names."""
        fields = {
            self.stored[field.name]: field.with_name(self.stored[field.name])
            for field in self.asked
            if field.name in self.stored
        }
        needed = () if self.preparation is None else self.preparation.stored
        return pa.schema([*{**fields, **{field.name: field for field in needed}}.values()])

    def excludes(self, least: int | None, greatest: int | None) -> bool:
        """Whether no instant between the two, which are inclusive and None if unknown, is wanted."""
        too_old = self.since is not None and greatest is not None and greatest < self.since
        too_new = self.until is not None and least is not None and least >= self.until
        return too_old or too_new


def batches_of(
    parts: Iterable[FilePart], reading: Reading, *, batch_rows: int = _BATCH_ROWS
) -> Iterator[pa.RecordBatch]:
    """Yield the wanted rows of the parts, typed as asked; columns that a file lacks are null.

    Row groups whose statistics say that they hold no wanted instant are not read. Instants are taken as UTC
    where a file gives them no zone, and are converted from any other.

    Raises:
        FrameError: a column of a file is of another kind than asked for.
    """
    for part in parts:
        with opened(part.path) as source:
            # Of the time units INT96 could be read as, only microseconds hold every instant of Spark's.
            file = pq.ParquetFile(source, pre_buffer=False, coerce_int96_timestamp_unit="us")
            held = _held(file, reading.read, part.path)
            groups = [
                group for group in part.of(file.num_row_groups) if _is_wanted(file, held, group, reading)
            ]
            read = (
                file.iter_batches(batch_rows, groups, [*held.values()], use_threads=False) if groups else ()
            )
            for batch in read:
                stored = _complete(batch, held, part.partition, reading.read)
                wanted = _wanted_rows(_asked(stored, reading), reading)
                yield from _with_conditions(wanted, reading).to_batches()


def opened(path: str) -> pa.NativeFile:
    """Open a file by its absolute path or URI."""
    if "://" not in path:
        return pa.OSFile(path)
    filesystem, inner = located(path)
    return filesystem.open_input_file(inner)


def _held(file: pq.ParquetFile, wanted: pa.Schema, path: str) -> dict[str, str]:
    """Return the columns that the file holds, by the name they are asked for; case counts only between twins.

    Raises:
        FrameError: a column is of another kind than its table says, or one of several that differ in case.
    """
    types = dict(zip(file.schema_arrow.names, file.schema_arrow.types, strict=True))
    held: dict[str, str] = {}
    for asked in wanted:
        alike = [name for name in types if name.lower() == asked.name.lower()]
        if asked.name in alike:
            alike = [asked.name]
        if len(alike) > 1:
            raise FrameError(f"columns {alike} in {path}", f"one column {asked.name!r}", _REWRITE)
        for name in alike:
            if not _fits(types[name], asked.type):
                raise FrameError(f"column {name!r} is {types[name]} in {path}", str(asked.type), _REWRITE)
            held[asked.name] = name
    return held


def _fits(stored: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether a stored value is one of the wanted type, perhaps narrower; nothing is parsed or guessed."""
    if pa.types.is_dictionary(stored):
        return _fits(stored.value_type, wanted)
    if pa.types.is_integer(stored):
        return bool(
            pa.types.is_integer(wanted) or pa.types.is_floating(wanted) or pa.types.is_decimal(wanted)
        )
    alike = (
        *(
            pa.types.is_timestamp,
            pa.types.is_date,
            pa.types.is_floating,
            pa.types.is_decimal,
            pa.types.is_boolean,
        ),
        *(_is_text, pa.types.is_binary, pa.types.is_nested, pa.types.is_duration),
    )
    return any(is_kind(stored) and is_kind(wanted) for is_kind in alike) or stored == wanted


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_wanted(file: pq.ParquetFile, held: Mapping[str, str], group: int, reading: Reading) -> bool:
    """Whether a row group can hold an instant that is wanted, by its statistics."""
    stored = held.get(reading.stored.get(reading.instant or "", ""))
    if stored is None or (reading.since is None and reading.until is None):
        return True
    kind = file.schema_arrow.field(stored).type
    unit = _MICROS_A_UNIT.get(kind.unit) if pa.types.is_timestamp(kind) else None
    metadata = file.metadata.row_group(group)
    found = [
        metadata.column(leaf).statistics
        for leaf in range(metadata.num_columns)
        if metadata.column(leaf).path_in_schema == stored
    ]
    bounds = found[0] if found else None
    if unit is None or bounds is None or not bounds.has_min_max or bounds.physical_type != "INT64":
        return True
    return not reading.excludes(bounds.min_raw * unit, bounds.max_raw * unit)


def _complete(
    batch: pa.RecordBatch, held: Mapping[str, str], partition: Mapping[str, Any], schema: pa.Schema
) -> pa.Table:
    """Return the batch with the types asked for, partition values and missing columns filled in."""
    columns = []
    for wanted in schema:
        if wanted.name in held:
            column = batch.column(held[wanted.name])
            columns.append(column if column.type == wanted.type else column.cast(wanted.type))
        else:
            value = pa.scalar(partition.get(wanted.name), wanted.type)
            columns.append(pa.repeat(value, batch.num_rows))
    return pa.table(columns, schema=schema)


def _asked(stored: pa.Table, reading: Reading) -> pa.Table:
    """Return the columns asked for, under their own names, of the rows that the preparation keeps."""
    table = stored if reading.preparation is None else reading.preparation.of(stored)
    columns = [table.column(reading.stored.get(field.name, field.name)) for field in reading.asked]
    typed = [
        column if column.type == field.type else column.cast(field.type)
        for column, field in zip(columns, reading.asked, strict=True)
    ]
    return pa.table(typed, schema=reading.asked)


def _with_conditions(table: pa.Table, reading: Reading) -> pa.Table:
    """Return the columns to give: the conditions are added, what only they need goes."""
    if not reading.conditions:
        return table
    frame = with_expressions(pl.DataFrame(pl.from_arrow(table)), reading.conditions)
    given = table.select(reading.schema.names)
    for name in reading.conditions:
        given = given.append_column(name, frame[name].to_arrow())
    return given.cast(reading.given)


def _wanted_rows(table: pa.Table, reading: Reading) -> pa.Table:
    """Keep the rows with every required value and an instant within the bounds."""
    conditions = [pc.is_valid(table[name]) for name in reading.required if table[name].null_count]
    if reading.instant is not None:
        instants = table[reading.instant].cast(pa.int64())
        bounds = pc.min_max(instants).as_py()
        if reading.since is not None and bounds["min"] is not None and bounds["min"] < reading.since:
            conditions.append(pc.greater_equal(instants, reading.since))
        if reading.until is not None and bounds["max"] is not None and bounds["max"] >= reading.until:
            conditions.append(pc.less(instants, reading.until))
    for condition in conditions[1:]:
        conditions[0] = pc.and_kleene(conditions[0], condition)
    return table.filter(conditions[0]) if conditions else table
