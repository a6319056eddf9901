"""What is kept of a table's history and what is removed; a table going back; no session."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from featurelib.errors import FeaturelibError
from featurelib.tables import (
    DataFile,
    Layout,
    Pin,
    Run,
    Stamp,
    Store,
    append_ops,
    begin_run,
    compact_ops,
    current_version,
    diaries,
    every_manifest,
    in_partitions,
    is_readable,
    keeping,
    owner,
    published,
    rows_of,
    snapshot,
    sweep,
)
from tests.storage.conftest import DAYS, PROJECT, SCHEMA, TOTALS

NOBODY: Any = None
YEARS_LATER = 4e9


def replaced(store: Store, number: int, table: str = DAYS) -> None:
    """Publish one row in the place of all, as version ``number``."""
    with begin_run(NOBODY, store, pipeline="pipe", run_id=f"run-{number}") as run:
        run.create(table, SCHEMA)
        assert run.replace_rows([{"day": "d", "n": number}], table) == number
        run.publish()


def log_names(store: Store) -> list[str]:
    """The entries of the log."""
    return sorted(path.name for path in Path(store.path(DAYS), "_delta_log").glob("0*"))


def test_files_are_counted_for_the_first_that_needs_them(store: Store) -> None:
    """Published, young, pinned or unneeded: every file is in one of them, a stray one is unneeded."""
    for number in (1, 2, 3, 4):
        replaced(store, number)
    Path(store.path(DAYS), "stray.parquet").write_bytes(b"12345")
    pins = [Pin(DAYS, 2, "model m version 1"), Pin(DAYS, 9, "training set"), Pin(TOTALS, 1, "training set")]

    young = keeping(store, DAYS, published=4, pins=pins, retention="400d", now=0)
    old = keeping(store, DAYS, published=4, pins=pins, retention="400d", now=YEARS_LATER)

    assert (young.current.files, young.history.files, young.pinned.files) == (1, 3, 0)
    assert (old.current.files, old.history.files, old.pinned.files) == (1, 0, 1)
    assert (dict(young.unneeded), len(old.unneeded)) == ({"stray.parquet": 5}, 3)
    assert (old.pins, old.gone, old.log_from) == (tuple(pins[:1]), tuple(pins[1:2]), 2)
    sizes = sum(path.stat().st_size for path in Path(store.path(DAYS)).glob("*.parquet"))
    parts = (old.current, old.history, old.pinned)
    assert sum(part.bytes for part in parts) + sum(old.unneeded.values()) == sizes
    assert owner(store, DAYS) == "pipe"


def test_a_sweep_leaves_published_and_pinned_versions_readable(store: Store) -> None:
    """Years later a pinned version gives its row still, as the published one does; the others are gone."""
    for number in range(1, 25):
        replaced(store, number)
    pins = [Pin(DAYS, 13, "training set")]

    sweep(store, keeping(store, DAYS, published=24, pins=pins, retention="400d", now=YEARS_LATER))

    assert [rows_of(store, DAYS, version=version)[0]["n"] for version in (13, 24)] == [13, 24]
    assert [number for number in range(25) if is_readable(store, DAYS, number)] == [13, 24]
    assert log_names(store)[:2] == [f"{9:020}.checkpoint.parquet", f"{9:020}.json"]
    replaced(store, 25)
    assert rows_of(store, DAYS)[0]["n"] == 25


def test_a_version_is_young_from_when_another_took_its_place(store: Store) -> None:
    """What was published until an hour ago is kept for the retention, however old it is itself."""
    for number in (1, 2, 3):
        replaced(store, number)
    at = [entry["timestamp"] / 1000 for entry in DeltaTable(store.path(DAYS)).history()]
    kept = keeping(store, DAYS, published=3, pins=(), retention="1d", now=at[0] + 86_400)
    assert (kept.history.files, kept.log_from) == (1, 2)


def test_a_sweep_that_was_killed_is_finished_by_the_next(store: Store) -> None:
    """Killed between files and log, a second sweep ends as one that was never killed."""
    for number in range(1, 13):
        replaced(store, number)
    code = (
        "from featurelib.tables import *\n"
        f"store = Store({store.root!r})\n"
        f"sweep(store, keeping(store, {DAYS!r}, published=12, pins=(), retention='1d', now={YEARS_LATER}))"
    )
    child = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        env={**os.environ, "FEATURELIB_FAULT": f"sweep.{DAYS}.files"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (child.returncode, f"fault fired: sweep.{DAYS}.files" in child.stderr) == (-9, True)
    assert f"{0:020}.json" in log_names(store)

    sweep(store, keeping(store, DAYS, published=12, pins=(), retention="1d", now=YEARS_LATER))

    assert log_names(store)[0] == f"{9:020}.checkpoint.parquet"
    assert len(list(Path(store.path(DAYS)).glob("*.parquet"))) == 1
    assert rows_of(store, DAYS)[0]["n"] == 12


def test_a_diary_of_many_runs_is_merged(store: Store) -> None:
    """Eight runs leave eight files: they become one with the same rows; later, nothing but that one is left on disk.

    Fewer files are left alone, and so are the manifests, one of which every publish adds.
    """
    rows = [{"day": "d1", "n": number} for number in range(8)]
    layout = Layout(small_files=8)
    stamp = Stamp("upkeep", "pipe", 1)

    def merged(retention: str = "400d") -> bool:
        return compact_ops(store, "ops.notes", layout=layout, retention=retention, stamp=stamp)

    def files() -> int:
        return len(snapshot(store, "ops.notes", current_version(store, "ops.notes")).files)

    for row in rows:
        assert "ops.notes" not in diaries(store) or not merged()
        append_ops(store, "ops.notes", [row], schema=SCHEMA, stamp=Stamp(f"run-{row['n']}", "pipe", 1))
    replaced(store, 1)  # a publish
    assert diaries(store) == ["ops.notes"]
    assert files() == 8

    assert merged()
    assert files() == 1
    assert sorted(row["n"] for row in rows_of(store, "ops.notes")) == list(range(8))
    assert not merged()
    assert len(list(Path(store.path("ops.notes")).glob("*.parquet"))) == 9

    assert not merged("1us")
    assert len(list(Path(store.path("ops.notes")).glob("*.parquet"))) == 1
    append_ops(store, "ops.notes", rows[:1], schema=SCHEMA, stamp=stamp)
    assert len(rows_of(store, "ops.notes")) == 9


def test_a_log_with_a_hole_removes_nothing(store: Store) -> None:
    """Where the log does not tell what versions hold, no file is unneeded: the sweep is refused."""
    for number in range(1, 13):
        replaced(store, number)
    Path(store.path(DAYS), "_delta_log", f"{5:020}.json").unlink()
    with pytest.raises(FeaturelibError, match="log"):
        keeping(store, DAYS, published=12, pins=(), retention="400d", now=0)


def test_going_back_is_a_new_publish_and_the_next_write_is_not_skipped(store: Store) -> None:
    """A table goes back by a new version; a later run's transaction is newer than those that stood before."""
    for number in (1, 2, 3):
        replaced(store, number)
    with begin_run(NOBODY, store, pipeline="pipe", run_id="back") as run:
        assert run.restore(DAYS, 1) == 4
        run.publish(note={"step": "rollback"})
    assert (published(store), rows_of(store, DAYS)[0]["n"]) == ({DAYS: 4}, 1)
    assert [manifest.tables for manifest in every_manifest(store)] == [
        {DAYS: number} for number in (1, 2, 3, 4)
    ]
    replaced(store, 5)
    assert rows_of(store, DAYS)[0]["n"] == 5


def test_going_back_is_undone_unless_it_was_published(store: Store) -> None:
    """A run that dies after RESTORE and before its publish leaves what was published."""
    for number in (1, 2, 3):
        replaced(store, number)
    with begin_run(NOBODY, store, pipeline="pipe", run_id="back") as run:
        run.restore(DAYS, 1)
    with begin_run(NOBODY, store, pipeline="pipe", run_id="next"):
        assert rows_of(store, DAYS, version=current_version(store, DAYS))[0]["n"] == 3


def test_a_withdrawn_table_is_as_if_it_was_never_published(store: Store) -> None:
    """Readers find no such table, its folder stays, and a later run makes it again from empty."""
    replaced(store, 1)
    replaced(store, 1, TOTALS)

    with begin_run(NOBODY, store, pipeline="pipe", run_id="back") as run:
        run.withdraw(TOTALS)
        run.publish()
    assert published(store) == {DAYS: 1}
    with pytest.raises(FeaturelibError, match="was never published"):
        rows_of(store, TOTALS)
    with begin_run(NOBODY, store, pipeline="pipe", run_id="again") as run:
        run.create(TOTALS, SCHEMA)
        run.append_rows([{"day": "d", "n": 7}], TOTALS)
        run.publish()
    assert rows_of(store, TOTALS) == [{"day": "d", "n": 7}]


def test_only_partitions_with_many_small_files_are_crowded() -> None:
    """Eight files under a quarter of the wanted size are worth merging; seven, or large ones, are not."""

    def files(month: str | None, count: int, mib: int) -> list[DataFile]:
        return [DataFile(f"{month}{n}", {"_month": month}, mib << 20, None, {}, {}) for n in range(count)]

    layout = Layout(file_mib=128, small_files=8)
    rows = [*files("2013-01", 8, 31), *files("2013-02", 7, 31), *files("2013-03", 9, 32), *files(None, 8, 1)]
    assert layout.crowded(rows) == [{"_month": "2013-01"}, {"_month": None}]
    assert in_partitions(layout.crowded(rows)) == "(`_month` = '2013-01') OR (`_month` IS NULL)"
    assert in_partitions([{}]) is None
    assert in_partitions([{"c": "it's"}]) == "(`c` = 'it\\'s')"


def test_properties_are_set_as_a_step_of_the_run(store: Store) -> None:
    """A longer retention is a commit of the run, published with it; the rows stay."""
    replaced(store, 1)
    with begin_run(NOBODY, store, pipeline="pipe", run_id="two") as run:
        assert isinstance(run, Run)
        run.set_properties(DAYS, {"delta.logRetentionDuration": "interval 900 days"})
        run.publish()
    configuration = DeltaTable(store.path(DAYS)).metadata().configuration
    assert configuration["delta.logRetentionDuration"] == "interval 900 days"
    assert configuration["delta.enableExpiredLogCleanup"] == "false"
    replaced(store, 3)
