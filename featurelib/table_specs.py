"""What lands: the tables of the landing folder, the rules of their rows, and the gates of their loads."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from featurelib.column_types import is_wider
from featurelib.errors import nearest
from featurelib.references import SECRET, WRITTEN
from featurelib.spec_types import ColumnType, Expression, Name, Spec, unsaid


def _checked_reference(text: str) -> str:
    if not SECRET.fullmatch(text):
        raise ValueError(f"a key that is no reference (not shown); expected {WRITTEN}")
    return text


KeyReference = Annotated[str, AfterValidator(_checked_reference)]
"""Where a key of 32 bytes is found, never the key."""


class Encryption(Spec):
    """Which columns of a landed table are kept as AES-256-GCM cells, and under which key.

    Attributes:
        columns: columns of the silver rows, landed or computed. What is computed of an encrypted column must
            be encrypted too.
        key: where the key is found, 32 bytes as base64 or hex. It wraps the data keys, which encrypt.
        previous_keys: keys before it. Data keys that one of them wrapped are wrapped again by the next load
            of the table, or by ``maintain``.
        subject: a landed text or whole number, the only key column of an entity: each of its values has a
            data key of its own, which ``erase`` destroys.
        reveals: spine columns, features and label that may stand in clear in the tables of features, training
            sets and predictions though they are made of encrypted columns; names or patterns.
    """

    columns: Annotated[tuple[Name, ...], Field(min_length=1)]
    key: KeyReference
    previous_keys: tuple[KeyReference, ...] = ()
    subject: Name | None = None
    reveals: tuple[str, ...] = ()


class LandedTable(Spec):
    """One table of the landing folder, one compressed CSV file a day, and how its rows are typed.

    Attributes:
        landing: folder below the landing root that holds ``YYYY-MM-DD.csv.gz`` files.
        columns: the columns of the files, in order, and the type each has in silver. ``timestamp_utc``
            takes ISO instants that say they are UTC; others go to quarantine.
        nulls: texts that mean null.
        derived: further silver columns, each an expression over typed or earlier derived columns.
        derived_types: the type of each derived column.
        transform: ``module:function`` of the pipeline's own folder (DataFrame -> DataFrame) applied to the
            typed rows before ``derived``; it may add the columns declared in ``transform_adds`` and must
            keep one row for each row.
        transform_reads: the columns that each of ``transform_adds`` is made of. The transform is then given
            those alone, and what depends on a column can be told exactly; absent, on every one.
        unique: columns that identify a row; of several rows the first in file order stays, the others
            go to quarantine.
        every_day: False for reference tables that land now and then, as a register of planes does.
        on_new_columns: what becomes of a column that a file has and ``columns`` lack. ``refuse`` loads
            nothing; ``ignore`` leaves the column out and says so; ``quarantine`` keeps all rows of the file
            aside; ``evolve`` adds it to the tables as text, null in earlier rows.
        columns_since: the first day whose file must have a column; in files of earlier days it may be missing
            and is null then.
        widened_from: columns whose type was narrower when the tables were made: the next load rewrites the
            silver table. Only types that hold every value of the narrower one are taken.
        encryption: which columns are kept as encrypted cells; absent, none.
    """

    landing: str
    columns: dict[Name, ColumnType]
    nulls: tuple[str, ...] = ("",)
    transform: str | None = None
    transform_adds: dict[Name, ColumnType] = Field(default_factory=dict)
    transform_reads: dict[Name, tuple[Name, ...]] = Field(default_factory=dict)
    derived: dict[Name, Expression] = Field(default_factory=dict)
    derived_types: dict[Name, ColumnType] = Field(default_factory=dict)
    unique: tuple[Name, ...] = ()
    every_day: bool = True
    on_new_columns: Literal["refuse", "ignore", "quarantine", "evolve"] = "refuse"
    columns_since: dict[Name, date] = Field(default_factory=dict)
    widened_from: dict[Name, ColumnType] = Field(default_factory=dict)
    encryption: Encryption | None = unsaid(default=None)
    description: str = ""

    @property
    def encrypted(self) -> tuple[str, ...]:
        """The silver columns that are kept as encrypted cells."""
        return () if self.encryption is None else self.encryption.columns

    @property
    def silver_types(self) -> dict[str, ColumnType]:
        """Column name to type of the silver table, in its column order (without identity columns)."""
        return {**self.columns, **self.transform_adds, **self.derived_types}

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        if set(self.derived) != set(self.derived_types):
            odd = sorted(set(self.derived) ^ set(self.derived_types))
            raise ValueError(f"derived and derived_types must name the same columns; only one has {odd}")
        twice = sorted(
            (self.columns.keys() & self.derived.keys())
            | (self.columns.keys() & self.transform_adds.keys())
            | (self.transform_adds.keys() & self.derived.keys())
        )
        if twice:
            raise ValueError(f"column defined twice: {', '.join(twice)}")
        for column in self.unique:
            if column not in self.silver_types:
                raise ValueError(f"unknown column {column!r} in unique.{nearest(column, self.silver_types)}")
        return self

    @model_validator(mode="after")
    def _columns_known(self) -> Self:
        if self.transform_reads and self.transform_reads.keys() != self.transform_adds.keys():
            odd = sorted(self.transform_reads.keys() ^ self.transform_adds.keys())
            raise ValueError(
                f"transform_reads and transform_adds must name the same columns; only one has {odd}"
            )
        for column in (name for names in self.transform_reads.values() for name in names):
            if column not in self.columns:
                close = nearest(column, self.columns)
                raise ValueError(f"unknown column {column!r} in transform_reads.{close}")
        for column in self.columns_since:
            if column not in self.columns:
                close = nearest(column, self.columns)
                raise ValueError(f"unknown column {column!r} in columns_since.{close}")
        return self

    @model_validator(mode="after")
    def _widened(self) -> Self:
        for column, was in self.widened_from.items():
            if column not in self.silver_types:
                close = nearest(column, self.silver_types)
                raise ValueError(f"unknown column {column!r} in widened_from.{close}")
            kind = self.silver_types[column]
            if not is_wider(kind, than=was):
                raise ValueError(
                    f"widened_from: {kind} does not hold every {was} of {column}; int widens to long and"
                    " double, whole numbers to decimals with enough digits, a decimal to one with more"
                )
        return self


class QualityRule(Spec):
    """A row rule: an expression that is true for a good row. Null counts as bad unless ``nulls: pass``."""

    name: Name
    check: Expression
    on_fail: Literal["quarantine", "warn", "fail"] = "quarantine"
    nulls: Literal["pass", "fail"] = "fail"
    description: str = ""


class QualityGate(Spec):
    """What a load must keep to be published: the greatest share quarantined, the fewest rows a file."""

    max_quarantined: Annotated[float, Field(ge=0, le=1)] = 0.05
    min_rows: Annotated[int, Field(ge=0)] = 1
