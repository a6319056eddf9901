"""Upkeep on tables that Spark has written: a subject is erased, tables go back, pins outlive a sweep."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from pyspark.sql import functions as F

from featurelib.errors import FeaturelibError
from featurelib.pipeline.contents import contents
from featurelib.pipeline.erase import erase, erasing_text
from featurelib.pipeline.erasures import erasures
from featurelib.pipeline.maintain import maintain
from featurelib.pipeline.rollback import roll_back_tables
from featurelib.pipeline.steps import run_step
from featurelib.pipeline.subjects import Subject, subject_of
from featurelib.registry.audit import Decision
from featurelib.tables import (
    InjectedFault,
    begin_run,
    content_hash,
    every_manifest,
    published,
    read,
    snapshot,
)
from featurelib.tables.faults import VARIABLE
from tests.jobs.cafe import cafe_context, features, from_scratch
from tests.jobs.cafe_project import land, visits_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from featurelib.pipeline.context import Context

CANARY = "canary-7f3a91"
WHY = Decision("eva", "asked for by letter")
DAY = "2024-01-06"
SECONDS_OF_YEARS = 4e9


def land_canary(context: Context) -> None:
    """Land a sixth day on which the canary visits and buys, once in a row that is quarantined."""
    root = Path(context.project.settings.root)
    visit = f"C6,A,{CANARY},2,{DAY}T12:00:00Z,1,{DAY}T12:30:00Z"
    land(root, "visits", DAY, *visits_of(DAY)[:2], visit, *visits_of(DAY)[2:])
    sales = [
        f"s6A,A,ann,6.1,{DAY}T09:00:00Z,{DAY}T10:00:00Z,",
        f"s6C,A,{CANARY},9.5,{DAY}T09:30:00Z,{DAY}T09:30:00Z,",
    ]
    broken = f'x,A,{CANARY},no number,{DAY}T09:00:00Z,{DAY}T10:00:00Z,"two\nlines"'
    land(root, "sales", DAY, *sales, broken, f"s6B,B,bob,6.7,{DAY}T12:00:00Z,{DAY}T13:00:00Z,")
    land(root, "weather", DAY, f"A,3.5,{DAY}T06:00:00Z")


def predicted(context: Context) -> None:
    """Predictions of all rows, and those they took the place of, as runs of scoring leave them, without a model."""
    with begin_run(context.spark, context.store, pipeline="cafe", run_id="score-1") as run:
        rows = run.read(context.names.features).select(
            "visit_id", "as_of_ts", "_day", F.lit(0.5).alias("probability")
        )
        for table in (context.names.predictions, context.names.superseded):
            run.create(table, rows.schema)
            run.append(rows.coalesce(1), table)
        run.publish()


def texts_in(root: Path) -> Iterator[tuple[Path, str]]:
    """Every file below a folder with all that it says: Parquet and gzip decoded, others as their bytes."""
    for path in (path for path in root.rglob("*") if path.is_file()):
        raw = path.read_bytes()
        if path.suffix == ".parquet":
            yield path, repr(pq.ParquetFile(path).read().to_pylist()) + repr(pq.read_metadata(path).to_dict())
        elif path.suffix == ".gz":
            yield path, gzip.decompress(raw).decode()
        yield path, raw.decode("latin-1")


def named(root: Path, text: str = CANARY) -> set[str]:
    """The files below a folder that name the canary."""
    return {str(path.relative_to(root)) for path, said in texts_in(root) if text in said}


ANY_SALE = {"cafe/quality.yaml": json.dumps({"rules": {}, "gates": {"sales": {"max_quarantined": 1.0}}})}


@pytest.fixture(scope="module")
def canary_root(spark: SparkSession, cafe_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cafe with a day that holds the canary, everything built and predicted; quarantine takes anything."""
    root = shutil.copytree(cafe_root, tmp_path_factory.mktemp("canary") / "root")
    context = cafe_context(spark, root, changed=ANY_SALE)
    land_canary(context)
    for step in ("ingest", "build_features", "build_training_set"):
        run_step(context, step)
    predicted(context)
    return root


@pytest.fixture
def with_canary(spark: SparkSession, canary_root: Path, tmp_path: Path) -> Context:
    """A copy of it, in which the canary is to be erased."""
    shutil.copytree(canary_root, tmp_path / "root")
    return cafe_context(spark, tmp_path / "root", changed=ANY_SALE)


def test_no_file_names_an_erased_subject(with_canary: Context) -> None:
    """After an erasure no file below the root holds the subject; others' rows, and the rerun, are as without it."""
    context = with_canary
    root = Path(context.project.settings.root)
    subject = subject_of(context.project, {"customer": CANARY})
    before = named(root)
    assert {path.split("/")[1] for path in before if path.startswith("tables/")} >= {
        "bronze",
        "silver",
        "features",
    }
    assert any(path.startswith("landing/") for path in before)
    assert any("/_delta_log/" in path for path in before)
    ahead = erase(context, subject, request="R-1", decision=WHY, dry_run=True)
    assert named(root) == before

    done = erase(context, subject, request="R-1", decision=WHY)

    assert named(root) == set()
    assert done.rows == ahead.rows
    assert {table: rows for table, rows in done.rows.items() if rows} == {
        "bronze.visits": 1,
        "silver.visits": 1,
        "bronze.sales": 2,
        "silver.sales": 1,
        "silver.sales_quarantine": 1,
        "predictions.cafe": 1,
        "predictions.cafe_superseded": 1,
    }
    assert done.landed == {f"sales/{DAY}.csv.gz": 2, f"visits/{DAY}.csv.gz": 1}
    assert "predictions.cafe" in erasing_text(done)
    left = read(context.spark, context.store, "predictions.cafe").select("visit_id").collect()
    assert len(left) == 24
    (told,) = erasures(context.store, subject)
    assert (told.request, told.state, told.decided_by) == ("R-1", "done", "eva")
    assert erasures(context.store, Subject("customer", {"customer": "ann"})) == []
    with pytest.raises(FeaturelibError, match=r"was erased at .* on request R-1"):
        snapshot(context.store, "silver.sales", 1)

    assert run_step(context, "ingest").is_idle
    run_step(context, "build_features")
    run_step(context, "build_training_set")
    assert features(context).count() == 24
    assert content_hash(features(context)) == from_scratch(context)
    assert "C6" not in {row["visit_id"] for row in features(context).collect()}


def test_an_erasure_that_was_killed_is_finished_by_the_next(
    with_canary: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after its publish, then within the purge, then after it: the last run leaves no trace."""
    root = Path(with_canary.project.settings.root)
    subject = subject_of(with_canary.project, {"customer": CANARY})
    for point in ("erase.published", "purge.silver.sales.before", "erase.purged"):
        monkeypatch.setenv(VARIABLE, f"raise:{point}")
        with pytest.raises(InjectedFault, match=point):
            erase(with_canary, subject, request="R-1", decision=WHY)
        assert [one.state for one in erasures(with_canary.store, subject)] == ["begun"]
    monkeypatch.delenv(VARIABLE)

    erase(with_canary, subject, request="R-1", decision=WHY)

    assert named(root) == set()
    assert [one.state for one in erasures(with_canary.store, subject)] == ["done"]
    assert run_step(with_canary, "ingest").is_idle


def test_tables_that_went_back_are_made_again(cafe: Context) -> None:
    """After a rollback of a late day and a rerun every table holds what it held before."""
    to = every_manifest(cafe.store)[-1].run_id
    root = Path(cafe.project.settings.root)
    land(root, "sales", DAY, "x,A,cat,100,2024-01-03T10:00:00Z,2024-01-03T09:00:00Z,")
    for step in ("ingest", "build_features", "build_training_set"):
        run_step(cafe, step)
    before = {row.table: (row.rows, row.content) for row in contents(cafe)}

    roll_back_tables(cafe, to, WHY)
    for step in ("ingest", "build_features", "build_training_set"):
        assert not run_step(cafe, step).is_idle

    assert {row.table: (row.rows, row.content) for row in contents(cafe)} == before
    assert content_hash(features(cafe)) == from_scratch(cafe)


def zordered(context: Context, table: str) -> list[str]:
    """The columns by which the newest OPTIMIZE of a table has sorted it, as Delta's history says."""
    history = DeltaTable(context.store.path(table)).history()
    newest = next(commit for commit in history if commit["operation"] == "OPTIMIZE")
    return json.loads(newest["operationParameters"]["zOrderBy"])


def test_upkeep_keeps_what_the_training_set_was_made_from(cafe: Context) -> None:
    """Years later small files are merged, old versions are gone, and Spark reads the pinned ones still.

    The feature table's are merged in order of time, as they were written.
    """
    table, store = cafe.names.features, cafe.store
    pinned = published(store)
    rows = content_hash(read(cafe.spark, store, table, version=pinned[table]))
    project = cafe.project.model_copy(deep=True)
    storage = project.settings.storage.model_validate({"tables": {"features": {"small_files": 2}}})
    settings = project.settings.model_copy(update={"storage": storage})
    cafe = type(cafe)(
        project.model_copy(update={"settings": settings}), cafe.spark, cafe.as_of, cafe.progress
    )

    result = maintain(cafe, now=SECONDS_OF_YEARS)

    assert result.facts["compacted"] == [table]
    assert result.facts["gone"] == []
    assert published(store)[table] > pinned[table]
    assert len(snapshot(store, table, published(store)[table]).files) == 1
    assert zordered(cafe, table) == ["as_of_ts"]
    assert content_hash(read(cafe.spark, store, table)) == rows
    assert content_hash(read(cafe.spark, store, table, version=pinned[table])) == rows
    storage = {row["table"]: row for row in result.facts["storage"]}
    assert storage[table]["pinned_bytes"] > 0
    assert maintain(cafe, now=SECONDS_OF_YEARS).facts["deleted"] == 0
