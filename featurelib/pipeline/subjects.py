"""Which rows are those of a subject: the value of an entity key that somebody asks to be erased."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from featurelib.errors import ConfigError
from featurelib.expressions.language import check_select
from featurelib.landing.csv_files import texts_of
from featurelib.landing.files import LandedFile, landed_files
from featurelib.pipeline.context import Surroundings
from featurelib.quality.typing import spark_type
from featurelib.specs import LandedTable, Project, Source

ROW = ("_file", "_row")
"""What tells a row of a landed file from all others, in bronze, silver and quarantine alike."""


@dataclass(frozen=True)
class Subject:
    """An entity by its key columns and their values, as texts."""

    entity: str
    key: Mapping[str, str]

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.key.items())


def subject_of(project: Project, key: Mapping[str, str]) -> Subject:
    """Return the subject that a key names.

    Raises:
        ConfigError: no entity has these key columns, or a value is empty.
    """
    for name, entity in project.entities.items():
        if set(entity.keys) == set(key) and all(value.strip() for value in key.values()):
            return Subject(name, {column: key[column].strip() for column in entity.keys})
    known = "; ".join(", ".join(f"{column}=..." for column in one.keys) for one in project.entities.values())
    given = ", ".join(f"{name}={value}" for name, value in key.items())
    raise ConfigError(
        f"subject {given!r}", f"the whole key of one entity: {known}", "give each of its columns with --key"
    )


def silver_conditions(project: Project, subject: Subject) -> dict[str, Column]:
    """Return, by landed table that can hold the subject, what is true of its silver rows.

    A row is the subject's where the table's own columns say so, or the key of a source or of the spine that
    is read from it.

    Raises:
        ConfigError: a source names the key by a transform, so that nobody can say which rows are meant.
    """
    found: dict[str, list[Column]] = {}
    for name, table in project.tables.items():
        for texts in _keys_of(project, name, table, subject):
            equal = [F.expr(texts[column]).cast("string") == value for column, value in subject.key.items()]
            found.setdefault(name, []).append(reduce(Column.__and__, equal))
    return {name: F.coalesce(reduce(Column.__or__, some), F.lit(False)) for name, some in found.items()}  # noqa: FBT003


def _keys_of(
    project: Project, name: str, table: LandedTable, subject: Subject
) -> Iterator[Mapping[str, str]]:
    """Yield the ways in which rows of a table name the subject: an expression for each key column."""
    stored = set(table.silver_types)
    if subject.key.keys() <= stored:
        yield {column: f"`{column}`" for column in subject.key}
    for source_name, source in project.sources.items():
        if source.table != name:
            continue
        texts = {column: _text_of(source, column, stored) for column in subject.key}
        if all(text is not None for text in texts.values()):
            yield {column: text for column, text in texts.items() if text is not None}
        elif source.transform is not None and _is_keyed(project, source_name, subject):
            raise ConfigError(
                f"source {source_name!r} takes {', '.join(subject.key)} from transform {source.transform!r}",
                "key columns that stand in the table, or are expressions over it",
                f"make them columns of table {name!r}, so that the rows of a subject can be told",
            )
    if project.spine.table == name and subject.key.keys() <= project.spine.columns.keys():
        yield {column: project.spine.columns[column] for column in subject.key}


def _is_keyed(project: Project, source: str, subject: Subject) -> bool:
    return any(view.source == source and set(view.entity_key) == set(subject.key) for view in project.views)


def _text_of(source: Source, column: str, stored: set[str]) -> str | None:
    """Return the expression by which a source names a column, None where only its transform can."""
    if source.transform is not None and (source.sql is not None or column in source.transform_adds):
        return None
    if source.sql is not None:
        return check_select(source.sql, source.table, sorted(stored)).columns.get(column)
    return source.columns.get(column) or (f"`{column}`" if column in stored else None)


def with_received(bronze: DataFrame, table: LandedTable, subject: Subject) -> DataFrame:
    """Return the identity of bronze rows that name the subject as they came, whatever became of them.

    Where the table has the key columns, their texts or what these mean must equal the subject's; where it has
    not, any text that equals one of its values counts. So does a malformed row that holds one.
    """
    texts = [F.trim(F.col(column)) for column in table.columns]
    if subject.key.keys() <= table.columns.keys():
        equal = [_means(column, table, value) for column, value in subject.key.items()]
        named = reduce(Column.__and__, equal)
    else:
        named = F.array(*texts)
        named = reduce(Column.__or__, (F.array_contains(named, value) for value in subject.key.values()))
    held = [F.col("_malformed").contains(value) for value in subject.key.values()]
    found = F.coalesce(named, F.lit(False)) | F.coalesce(reduce(Column.__or__, held), F.lit(False))  # noqa: FBT003
    return bronze.where(found).select(*ROW)


def _means(column: str, table: LandedTable, value: str) -> Column:
    text, kind = F.trim(F.col(column)), spark_type(table.columns[column])
    typed = text.try_cast(kind) == F.lit(value).try_cast(kind)
    return F.coalesce(text == value, F.lit(False)) | F.coalesce(typed, F.lit(False))  # noqa: FBT003


def landed_rows(
    context: Surroundings, table: LandedTable, subject: Subject, found: pa.Table, loaded: Mapping[str, object]
) -> dict[LandedFile, set[int]]:
    """Return the landed files that hold rows of the subject, with the numbers of these rows.

    Files that were loaded are known by ``found``, columns ``_file`` and ``_row``; others are read through.
    """
    known: dict[str, set[int]] = {}
    for row in found.to_pylist():
        known.setdefault(row["_file"], set()).add(row["_row"])
    rows = {}
    for file in landed_files(context.project.settings.landing, table.landing):
        numbers = set(known.get(file.name, set()))
        if file.name not in loaded:
            numbers |= _rows_naming(file, list(table.columns), subject)
        if numbers:
            rows[file] = numbers
    return rows


def _rows_naming(file: LandedFile, columns: Sequence[str], subject: Subject) -> set[int]:
    places = [columns.index(column) for column in subject.key if column in columns]
    values = list(subject.key.values())
    found = set()
    for number, texts in texts_of(file.uri, columns):
        stripped = [(text or "").strip() for text in texts]
        if len(texts) != len(columns):
            named = any(value in stripped[0] for value in values)
        elif len(places) == len(values):
            named = [stripped[place] for place in places] == values
        else:
            named = any(value in stripped for value in values)
        if named:
            found.add(number)
    return found
