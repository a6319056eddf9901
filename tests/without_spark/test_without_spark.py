"""Features without Spark: sources and spine from expressions on Polars, features from the engine's kernels."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from featurelib.config import load_project
from featurelib.errors import ConfigError
from featurelib.expressions.frames import polars_type
from featurelib.pipeline.polars_frames import spine_of, used_columns
from featurelib.pipeline.silver import types_of
from featurelib.pipeline.without_spark import chosen_views, features_without_spark
from featurelib.specs import Project
from tests.unit.shop_project import MODELS, SOURCES, mutated, write_project


def at(day: int, hour: int = 0) -> datetime:
    """An instant of May 2024."""
    return datetime(2024, 5, day, hour, tzinfo=UTC)


ORDERS = [
    {"order_id": "o1", "customer": "ann", "amount": 60.0, "ordered_ts": at(1), "settled_ts": at(2)},
    {"order_id": "o2", "customer": "ann", "amount": 40.0, "ordered_ts": at(3), "settled_ts": at(9)},
    {"order_id": "o3", "customer": "ann", "amount": None, "ordered_ts": at(3), "settled_ts": at(3, 1)},
    {"order_id": "o4", "customer": "bob", "amount": 10.0, "ordered_ts": at(4), "settled_ts": at(4, 1)},
    {"order_id": "o5", "customer": "ann", "amount": 5.0, "ordered_ts": at(5), "settled_ts": at(6), "day": date(2024, 5, 5)},
]  # fmt: skip
CUSTOMERS = [
    {"customer": "ann", "joined": 1999, "changed_ts": at(1)},
    {"customer": "ann", "joined": 1980, "changed_ts": at(4)},
]


def project_in(folder: Path, changed: dict[str, str] | None = None) -> Project:
    """The shop project, loaded."""
    return load_project(write_project(folder, changed), env="local", environ={})


def silver_of(project: Project, **tables: list[dict[str, Any]]) -> Any:
    """A reader of literal silver rows."""

    def rows(table: str, columns: frozenset[str] | None, span: object = None) -> pl.DataFrame:
        types = types_of(project, table)
        schema = {name: polars_type(types[name]) for name in types if columns is None or name in columns}
        return pl.DataFrame(tables[table], schema=schema)

    return rows


def test_features_of_a_spine_row_are_what_was_known(tmp_path: Path) -> None:
    """At noon of the fifth o1 is known, o2 is not settled, o3 has no amount, o4 is another's."""
    project = project_in(tmp_path)
    silver = silver_of(project, orders=ORDERS, customers=CUSTOMERS)
    spine = spine_of(project, silver("orders", None)).filter(pl.col("order_id") == "o5")

    features = features_without_spark(project, project.views, spine, silver)

    assert spine.row(0, named=True) == {"order_id": "o5", "customer": "ann", "weekday": 1, "as_of_ts": at(5)}
    assert features.select(pl.exclude(spine.columns)).row(0, named=True) == {
        "spending__amount_sum_1d": None,
        "spending__amount_sum_30d": 60.0,
        "spending__amount_mean_1d": None,
        "spending__amount_mean_30d": 60.0,
        "spending__big_last_lifetime": 1,
        "spending__count_7d": 1,
        "facts__joined_year_latest": 1999,
    }


def test_only_the_columns_in_use_are_read(tmp_path: Path) -> None:
    """Keys, inputs, instants and conditions; everything where every column orders equal events."""
    project = project_in(tmp_path)
    spending, facts = project.views
    assert used_columns(project.sources["orders"], [spending]) == frozenset(
        {"customer", "amount", "order_id", "ordered_ts", "settled_ts"}
    )
    assert used_columns(project.sources["customers"], [facts]) is None


def test_what_needs_spark_is_said(tmp_path: Path) -> None:
    """An expression that only Spark evaluates is refused by name."""
    change = mutated("shop/sources.yaml", "where: amount IS NOT NULL", "where: initcap(customer) = 'Ann'")
    project = project_in(tmp_path, change)
    silver = silver_of(project, orders=ORDERS, customers=CUSTOMERS)
    spine = pl.DataFrame({"customer": ["ann"], "as_of_ts": [at(5)]})
    with pytest.raises(ConfigError, match="cannot run without Spark: the function initcap"):
        features_without_spark(project, chosen_views(project, ["spending"]), spine, silver)


def test_unknown_view_is_answered_with_the_nearest(tmp_path: Path) -> None:
    """A misspelt view names the one that was meant."""
    with pytest.raises(ConfigError, match=r"unknown view 'spendng'.* Did you mean 'spending'"):
        chosen_views(project_in(tmp_path), ["spendng"])


DECIMALS = """\
views:
  spending:
    entity: customer
    source: orders
    aggregations:
      - {input: amount, ops: [sum, mean, min, max, last, count_distinct, median], windows: [30d]}
      - {input: amount, ops: [count], windows: [30d], name: paid, where: amount IS NOT NULL}
"""


def test_decimals_stay_exact(tmp_path: Path) -> None:
    """A hundred times 0.10 is 10.00: sums have ten digits more, means four more behind the point."""
    sources = SOURCES.replace("amount: double", "amount: decimal(12,2)").replace(
        "per_item: amount / items\n      dear: per_item > 100",
        "per_item: CAST(amount AS double) / items\n      dear: per_item > 100",
    )
    sources = sources.replace("CASE WHEN amount > 50", "CASE WHEN items > 50")
    models = MODELS.replace('"spending__*", "facts__*"', '"spending__*"')
    project = project_in(
        tmp_path, {"shop/sources.yaml": sources, "shop/features.yaml": DECIMALS, "shop/models.yaml": models}
    )
    dimes = [{**ORDERS[0], "order_id": f"d{n}", "amount": Decimal("0.10")} for n in range(100)]
    silver = silver_of(
        project, orders=[*dimes, {**ORDERS[0], "amount": Decimal("0.05")}], customers=CUSTOMERS
    )
    spine = pl.DataFrame({"customer": ["ann"], "as_of_ts": [at(5)]})

    (row,) = features_without_spark(project, project.views, spine, silver).iter_rows()

    assert row[2:] == (
        *(Decimal("10.05"), Decimal("0.099505"), Decimal("0.05"), Decimal("0.10"), Decimal("0.05")),
        *(2, 0.1, 101),
    )
