"""A frame fits a table when it has the same columns with the same types; order and nullability aside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.types import StructField, StructType

from featurelib.errors import FrameError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def differences(given: StructType, wanted: StructType) -> list[str]:
    """Return one phrase for each column that is missing, unknown or of another type; empty if none."""
    has = {field.name: field.dataType.simpleString() for field in given}
    needs = {field.name: field.dataType.simpleString() for field in wanted}
    return [
        *(f"{name} ({needs[name]}) is missing" for name in needs if name not in has),
        *(f"{name} ({has[name]}) is not a column of the table" for name in has if name not in needs),
        *(
            f"{name} is {has[name]}, not {needs[name]}"
            for name in needs
            if name in has and has[name] != needs[name]
        ),
    ]


def fitted(frame: DataFrame, table: str, schema: StructType) -> DataFrame:
    """Return the frame with its columns in the table's order.

    Raises:
        FrameError: a column is missing, unknown, given twice or of another type.
    """
    odd = differences(frame.schema, schema)
    twice = sorted({name for name in frame.columns if frame.columns.count(name) > 1})
    odd += [f"{name} is given twice" for name in twice]
    if odd:
        raise FrameError(
            f"frame for table {table!r}: {'; '.join(odd)}",
            ", ".join(f"{field.name} {field.dataType.simpleString()}" for field in schema),
            "select exactly these columns; to add columns to the table, widen it in the run first",
        )
    if frame.columns == schema.fieldNames():
        return frame
    return frame.select(*(F.col(f"`{field.name}`") for field in schema))


def added(wanted: StructType, table: str, has: StructType) -> list[StructField]:
    """Return the fields of ``wanted`` that the table lacks.

    Raises:
        FrameError: a column of the table is missing from ``wanted`` or has another type there.
    """
    new = [field for field in wanted if field.name not in has.fieldNames()]
    odd = differences(StructType([field for field in wanted if field not in new]), has)
    if odd:
        raise FrameError(
            f"table {table!r} cannot be widened: {'; '.join(odd)}",
            "every column of the table, with its type, and new ones",
            "write to a table of another name when a column goes or changes its type",
        )
    return new
