"""Derived features in Spark are those without Spark."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from featurelib.derived import derived_columns
from featurelib.pipeline.frames import with_derived as in_spark
from featurelib.pipeline.without_spark import with_derived
from tests.without_spark.test_derived import changed
from tests.without_spark.test_without_spark import project_in

ROWS = [
    ("ann", 3, 30.0, 60.0, 50.0),
    ("Bob Jr.", 7, 5.0, 0.0, -1.0),
    (None, None, None, 1.0, None),
    ("x", 1, float("nan"), 2.0, float("nan")),
    ("", 2, -0.0, float("inf"), 100.5),
]


def test_spark_and_polars_agree_on_derived_features(frame, tmp_path: Path) -> None:
    """Every form, with nulls, NaN, zero divisors and values on an edge: types and values are the same."""
    project = project_in(tmp_path, changed())
    columns = {"customer": "string", "weekday": "int"} | dict.fromkeys(
        ("spending__amount_mean_1d", "spending__amount_mean_30d", "spending__amount_sum_30d"), "double"
    )
    given = frame(ROWS, ", ".join(f"{name} {kind}" for name, kind in columns.items()))

    there = pl.DataFrame(pl.from_arrow(in_spark(given, project).toArrow()))

    rows = there.select(*columns)
    here = with_derived(rows, project, list(derived_columns(project.derived)))
    assert here.equals(there)
    assert here.schema == there.schema
