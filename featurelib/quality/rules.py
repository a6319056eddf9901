"""Declared rules are evaluated once a row, in one pass, and name themselves where they fail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from featurelib.quality.typing import REASONS, texts_of
from featurelib.specs import QualityRule

WARNINGS: Final = "_warnings"
"""Array of rule names: what is odd about a good row."""


def with_judgement(rows: DataFrame, *, rules: Sequence[QualityRule], unique: Sequence[str]) -> DataFrame:
    """Complete ``_reasons`` by the rules that a row breaks and add ``_warnings``.

    Grain: unchanged. A rule whose check is null fails unless it says ``nulls: pass``. Of the rows of a day
    that share the ``unique`` columns the first in file order is good.
    """
    broken = [F.when(~_passes(rule), F.lit(rule.name)) for rule in rules if rule.on_fail != "warn"]
    odd = [F.when(~_passes(rule), F.lit(rule.name)) for rule in rules if rule.on_fail == "warn"]
    repeated = [_repeated(unique)] if unique else []
    return rows.select(
        *[column for column in rows.columns if column != REASONS],
        F.concat(F.col(REASONS), texts_of([*broken, *repeated])).alias(REASONS),
        texts_of(odd).alias(WARNINGS),
    )


def only_good(judged: DataFrame) -> DataFrame:
    """Keep the rows without a reason against them."""
    return judged.where(F.size(REASONS) == 0)


def only_bad(judged: DataFrame) -> DataFrame:
    """Keep the rows with a reason against them."""
    return judged.where(F.size(REASONS) > 0)


def reason_group(reason: Column) -> Column:
    """Return a reason without the row's own value, for counting: ``dep_delay: 'x' is no double`` as one."""
    return F.regexp_replace(reason, r"^(\w+): '.*' is ", "$1 is ")


def _passes(rule: QualityRule) -> Column:
    return F.coalesce(F.expr(rule.check).cast("boolean"), F.lit(rule.nulls == "pass"))


def _repeated(unique: Sequence[str]) -> Column:
    same = Window.partitionBy("_day", *unique).orderBy("_file", "_row")
    complete = F.lit(True)  # noqa: FBT003 - a literal column
    for column in unique:
        complete &= F.col(column).isNotNull()
    shown = F.lit(f"repeats {', '.join(unique)} of an earlier row")
    return F.when(complete & (F.row_number().over(same) > 1), shown)
