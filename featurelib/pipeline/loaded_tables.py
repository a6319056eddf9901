"""The tables that a load writes, their columns, and which of these are encrypted on the way."""

from __future__ import annotations

from collections.abc import Iterable

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from featurelib.pipeline.context import Context
from featurelib.pipeline.data_keys import keyring, ready_keyring
from featurelib.pipeline.encrypted import encrypted_types, sealed, with_cells
from featurelib.pipeline.evolution import shape
from featurelib.quality import rules, typing
from featurelib.specs import LandedTable
from featurelib.tables import Run, Stamp

IDENTITY = [
    T.StructField("_file", T.StringType()),
    T.StructField("_day", T.DateType()),
    T.StructField("_row", T.LongType()),
]
MALFORMED = T.StructField("_malformed", T.StringType())
_MONTH = T.StructField("_month", T.StringType())
_REASONS = T.StructField(typing.REASONS, T.ArrayType(T.StringType()))
_WARNINGS = T.StructField(rules.WARNINGS, T.ArrayType(T.StringType()))
_PARTITIONS = ("_month",)
_SUBJECT = "_subject"


def received_schema(table: LandedTable) -> T.StructType:
    """Return the columns of landed rows as they are received: texts, and where each row stood."""
    texts = [T.StructField(column, T.StringType()) for column in table.columns]
    return T.StructType([*texts, *IDENTITY, MALFORMED])


def shape_bronze(context: Context, run: Run, name: str, table: LandedTable) -> None:
    """Bring the bronze table to the declared columns."""
    bronze = context.names.bronze(name)
    run_id = T.StructField("_run_id", T.StringType())
    fields = T.StructType([*received_schema(table), _MONTH, run_id])
    shape(
        run,
        bronze,
        with_cells(fields, encrypted_types(context.project, bronze)),
        partition_by=_PARTITIONS,
        description=f"As received. {table.description}",
    )


def shape_judged(context: Context, run: Run, name: str, table: LandedTable) -> None:
    """Bring the silver table and its quarantine to the declared columns."""
    good = T.StructType([*typing.silver_schema(table).fields, *IDENTITY, _WARNINGS, _MONTH])
    bad = T.StructType([*received_schema(table), _REASONS, _MONTH])
    said = f"Rows of {name} that are not good, as received, with every reason."
    for written, fields, description in (
        (context.names.silver(name), good, table.description),
        (context.names.quarantine(name), bad, said),
    ):
        fields = with_cells(fields, encrypted_types(context.project, written))  # noqa: PLW2901
        shape(run, written, fields, partition_by=_PARTITIONS, description=description)


# --- what is written encrypted --------------------------------------------------------------------------


def encrypted_bronze(context: Context, run: Run, rows: DataFrame, name: str) -> DataFrame:
    """Return received rows as bronze has them; every subject among them has a data key from here on."""
    table, bronze = context.project.tables[name], context.names.bronze(name)
    if table.encryption is None:
        return rows
    whose = _subject(table, received=True)
    subjects: Iterable[str] = ()
    if whose is not None:
        named = rows.select(whose.alias(_SUBJECT)).where(F.col(_SUBJECT).isNotNull())
        subjects = named.distinct().toArrow()[_SUBJECT].to_pylist()
    stamp = Stamp(run.run_id, context.project.name, run.token)
    ring = ready_keyring(context.project, context.store, name, subjects, stamp=stamp)
    return sealed(rows, encrypted_types(context.project, bronze), ring, bronze, subject=whose)


def encrypted_silver(context: Context, good: DataFrame, name: str) -> DataFrame:
    """Return good rows as silver has them."""
    table, silver = context.project.tables[name], context.names.silver(name)
    if table.encryption is None:
        return good
    ring = keyring(context.project, context.store, name)
    types = encrypted_types(context.project, silver)
    return sealed(good, types, ring, silver, subject=_subject(table, received=False))


def encrypted_bad(context: Context, judged: DataFrame, name: str, table: LandedTable) -> DataFrame:
    """Return bad rows, with the texts that were received, as the quarantine has them; other columns go.

    Args:
        context: the run's surroundings.
        judged: bad rows, with what was received.
        name: of the table.
        table: with the columns that it has come to have, undeclared ones too.
    """
    quarantine = context.names.quarantine(name)
    whose = _subject(table, received=False)
    subject = F.lit(None).cast("string") if whose is None else whose
    texts = [F.col(f"_received_{column}").alias(column) for column in table.columns]
    others = [*(field.name for field in IDENTITY), MALFORMED.name, typing.REASONS, _MONTH.name]
    bad = judged.select(*texts, *others, subject.alias(_SUBJECT))
    if table.encryption is not None:
        ring = keyring(context.project, context.store, name)
        types = encrypted_types(context.project, quarantine)
        bad = sealed(bad, types, ring, quarantine, subject=F.col(_SUBJECT))
    return bad.drop(_SUBJECT)


def _subject(table: LandedTable, *, received: bool) -> Column | None:
    """Return whose a row is, as the text of the typed value: ``007`` and ``7`` are one whole number."""
    if table.encryption is None or table.encryption.subject is None:
        return None
    name = table.encryption.subject
    return typing.typed_text(name, table=table) if received else F.col(name).cast("string")
