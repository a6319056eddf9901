"""Helpers of the tests on real flights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from featurelib.pipeline.contents import contents
from featurelib.tables import read

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from featurelib.pipeline.context import Context


def table(context: Context, name: str) -> DataFrame:
    """A published table."""
    return read(context.spark, context.store, name)


def all_contents(context: Context) -> dict[str, tuple[int, str]]:
    """Rows and content of every table."""
    return {row.table: (row.rows, row.content) for row in contents(context)}
