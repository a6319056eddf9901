"""Killed anywhere, a rerun ends in the same state as a run that was never disturbed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from featurelib.tables import InjectedFault, Store, current_version, fault_point, published
from featurelib.tables.faults import VARIABLE
from tests.storage.conftest import DAYS, TOTALS, Pipeline, content, killed_child

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FIRST = [("d1", 1), ("d2", 2)]
SECOND = [("d2", 20), ("d3", 30)]
OLD = ([("d1", 1), ("d2", 2)], [("one", 3)])
NEW = ([("d1", 1), ("d2", 20), ("d3", 30)], [("one", 3), ("two", 50)])


def seen(store: Store) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    """Return the published rows of both tables."""
    return content(store, DAYS), content(store, TOTALS)


def test_a_fault_point_does_nothing_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the named point fires, and with ``@2`` only the second time it is reached; ``*`` is every point."""
    monkeypatch.delenv(VARIABLE, raising=False)
    fault_point("here")
    monkeypatch.setenv(VARIABLE, "raise:here@2")
    fault_point("there")
    fault_point("here")
    with pytest.raises(InjectedFault, match="here"):
        fault_point("here")
    monkeypatch.setenv(VARIABLE, "raise:*")
    for point in ("here", "there", "here"):
        with pytest.raises(InjectedFault, match=point):
            fault_point(point)


def test_sigkill_at_publish(spark: SparkSession, store: Store, pipeline: Pipeline) -> None:
    """A driver killed just before or after the manifest leaves all tables old or all new, never some."""
    pipeline("one", FIRST)
    for point, state in (("publish.before", OLD), ("publish.after", NEW)):
        said = killed_child(spark, store, fault=point, run_id="two", rows=SECOND)
        assert f"fault fired: {point}" in said
        assert seen(store) == state

    pipeline("two", SECOND)

    assert seen(store) == NEW


def test_every_point_of_a_first_run(
    store: Store, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing is published by a first run that dies, wherever it dies; the next run starts from empty tables."""
    for point in (
        "begin.leased",
        f"create.{DAYS}.before",
        f"create.{TOTALS}.after",
        f"write.{TOTALS}.after",
        f"restore.{DAYS}.before",
    ):
        monkeypatch.setenv(VARIABLE, f"raise:{point}")
        with pytest.raises(InjectedFault, match=point):
            pipeline("one", FIRST)
        assert f"fault fired: {point}" in capfd.readouterr().err
        assert published(store) == {}
    monkeypatch.delenv(VARIABLE)

    pipeline("one", FIRST)

    assert seen(store) == OLD


def test_every_point_of_a_later_run(
    store: Store, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Readers see the old state through every death of a later run, its own recovery included."""
    pipeline("one", FIRST)
    for point in (
        f"write.{DAYS}.before",
        f"write.{DAYS}.after",
        f"restore.{DAYS}.after",
        "publish.before",
    ):
        monkeypatch.setenv(VARIABLE, f"raise:{point}")
        with pytest.raises(InjectedFault, match=point):
            pipeline("two", SECOND)
        assert f"fault fired: {point}" in capfd.readouterr().err
        assert seen(store) == OLD
    monkeypatch.delenv(VARIABLE)

    versions = pipeline("two", SECOND)

    assert seen(store) == NEW
    assert versions == {table: current_version(store, table) for table in (DAYS, TOTALS)}
