"""Killed anywhere, a rerun ends in the same state as a run that was never disturbed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from featurelib.tables import InjectedFault, Store, current_version, published
from featurelib.tables.faults import VARIABLE
from tests.storage.conftest import DAYS, TOTALS, Pipeline, content, killed_child

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FIRST = [("d1", 1), ("d2", 2)]
SECOND = [("d2", 20), ("d3", 30)]
DAYS_AFTER_BOTH = [("d1", 1), ("d2", 20), ("d3", 30)]
TOTALS_AFTER_BOTH = [("one", 3), ("two", 50)]

FIRST_RUN_POINTS = [f"create.{TOTALS}.before", f"write.{DAYS}.after"]
SECOND_RUN_POINTS = ["begin.leased", f"write.{DAYS}.before", f"write.{TOTALS}.after", "publish.before"]


@pytest.mark.parametrize("point", ["publish.before", "publish.after"])
def test_sigkill_at_publish(spark: SparkSession, store: Store, pipeline: Pipeline, point: str) -> None:
    """A driver killed just before or after the manifest leaves all tables old or all new, never some."""
    pipeline("one", FIRST)
    said = killed_child(spark, store, fault=point, run_id="two", rows=SECOND)
    assert f"fault fired: {point}" in said
    seen = (content(store, DAYS), content(store, TOTALS))
    old = ([("d1", 1), ("d2", 2)], [("one", 3)])
    assert seen == (old if point == "publish.before" else (DAYS_AFTER_BOTH, TOTALS_AFTER_BOTH))

    pipeline("two", SECOND)
    assert content(store, DAYS) == DAYS_AFTER_BOTH
    assert content(store, TOTALS) == TOTALS_AFTER_BOTH
