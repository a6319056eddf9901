"""Tiles follow what silver does, spare reading it, and never show in the features."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from featurelib.pipeline.build_features import build_features
from featurelib.pipeline.days import DayRange
from featurelib.pipeline.steps import run_step
from featurelib.specs import EngineSettings
from featurelib.tables import InjectedFault, compact, content_hash, published, read, rows_of
from tests.jobs.cafe import cafe_context, changed, edit, features, from_scratch
from tests.jobs.cafe_project import FEATURES, SOURCES, land, land_day

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from featurelib.pipeline.context import Context

TILES = "features.cafe_tiles_sales_by_customer"
DAYS = [f"2024-01-{number:02}" for number in range(1, 9)]
TILED = {
    "cafe/sources.yaml": SOURCES.replace("tie_breaker: [sale_id]", "tie_breaker: [sale_id]\n    tiles: true"),
    "cafe/features.yaml": FEATURES.replace("windows: [6h, 2d]", "windows: [6h, 5d]"),
}


def land_busy_day(root: Path, day: str) -> None:
    """A day as the cafe has them, with a sale every hour to ann and to bob, booked ten minutes later."""
    land_day(root, day, without="sales")
    lines = [
        f"{day}-{who}-{hour},{shop},{who},{hour}.{day[-1]},{day}T{hour:02}:00:00Z,{day}T{hour:02}:10:00Z,"
        for shop, who in (("A", "ann"), ("B", "bob"))
        for hour in range(24)
    ]
    land(root, "sales", day, *lines)


@pytest.fixture(scope="module")
def busy_root(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight days that are loaded, of which seven are built."""
    root = tmp_path_factory.mktemp("busy") / "root"
    context = cafe_context(spark, root, changed=TILED)
    for day in DAYS[:7]:
        land_busy_day(root, day)
    run_step(context, "ingest")
    run_step(context, "build_features")
    land_busy_day(root, DAYS[7])
    run_step(context, "ingest")
    return root


@pytest.fixture
def busy(spark: SparkSession, busy_root: Path, tmp_path: Path) -> Context:
    """A copy of those days, to be changed."""
    shutil.copytree(busy_root, tmp_path / "root")
    return cafe_context(spark, tmp_path / "root", changed=TILED)


def untiled(context: Context) -> Context:
    """The same pipeline without tiles."""
    changed = {**TILED, "cafe/sources.yaml": SOURCES}
    return cafe_context(context.spark, Path(context.project.settings.root), changed=changed)


def made_from(context: Context) -> dict[str, int]:
    """The version of silver that each tile table was made from."""
    return {row["tiles"]: row["_version"] for row in rows_of(context.store, "features.cafe_tiles")}


def test_a_new_day_reads_tiles_and_its_own_tile_is_made(busy: Context) -> None:
    """Both keys of the sales have tiles; the eighth day reads them, and equals a build of all events."""
    result = run_step(busy, "build_features")

    assert set(made_from(busy)) == {TILES, "features.cafe_tiles_sales_by_shop"}
    assert "sales (tiles): read by the tasks" in result.facts["plan"]
    assert content_hash(features(busy)) == from_scratch(untiled(busy))


def test_large_sources_keep_tiles_without_being_asked(busy: Context) -> None:
    """Where the configuration says nothing, a source's size decides: of these small ones none keeps any."""
    silent = replace(untiled(busy), project=untiled(busy).project.model_copy(update={"name": "silent"}))
    build_features(silent)
    none = {name for name in published(busy.store) if name.startswith("features.silent_tiles")}
    settings = silent.project.settings.model_copy(update={"engine": EngineSettings(broadcast_mib=0)})
    small = replace(silent, project=silent.project.model_copy(update={"settings": settings}))

    build_features(small, rebuild=True)

    found = {name for name in published(busy.store) if name.startswith("features.silent_tiles")}
    assert none == set()
    assert {f"features.silent_tiles_sales_by_{key}" for key in ("customer", "shop")} <= found
    assert content_hash(features(silent)) == from_scratch(untiled(busy))
    assert content_hash(read(busy.spark, busy.store, "features.silent_tiles_sales_by_shop"))[0] == 8 * 2


def test_a_select_keeps_tiles_though_it_takes_no_day(busy: Context) -> None:
    """A source written as SELECT, its ties told by all its columns, is tiled by loads all the same."""
    select = """  sales:
    table: sales
    sql: SELECT shop, customer, amount, sold_ts, booked_ts FROM sales WHERE amount > 1
"""
    text = SOURCES.replace("  sales:\n    table: sales\n", select).replace("    tie_breaker: [sale_id]\n", "")
    root = Path(busy.project.settings.root)
    tiled = cafe_context(busy.spark, root, changed={**TILED, "cafe/sources.yaml": text})
    with_tiles = tiled.project.sources["sales"].model_copy(update={"tiles": True})
    project = tiled.project.model_copy(update={"sources": {**tiled.project.sources, "sales": with_tiles}})

    result = build_features(replace(tiled, project=project), rebuild=True)
    again = build_features(replace(tiled, project=project), days=DayRange(date(2024, 1, 8)), rebuild=True)

    assert not result.is_idle
    assert "sales (tiles): read by the tasks" in again.facts["plan"]
    assert content_hash(features(tiled)) == from_scratch(tiled)


def test_late_corrected_and_removed_events_change_their_tiles(busy: Context) -> None:
    """A sale that lands five days late, one that is corrected and one that goes are in the features at once."""
    root = Path(busy.project.settings.root)
    run_step(busy, "build_features")
    land(root, "sales", "2024-01-09", "x,A,ann,1000,2024-01-03T09:30:00Z,2024-01-03T09:40:00Z,")
    run_step(busy, "ingest")
    edit(busy, "sales", changed("amount", "77D", "sale_id = '2024-01-05-bob-6'"))
    edit(busy, "sales", lambda rows: rows.where("sale_id <> '2024-01-06-ann-7'"))

    run_step(busy, "build_features")

    assert content_hash(features(busy)) == from_scratch(untiled(busy))


def test_merged_files_make_no_tile_again(busy: Context) -> None:
    """Compaction rewrites silver's files and no row: the tiles stay at their version."""
    run_step(busy, "build_features")
    before = published(busy.store)
    compact(busy.spark, busy.store, "silver.sales", pipeline="cafe", run_id="merge")
    land_day(Path(busy.project.settings.root), "2024-01-09", without="sales")
    run_step(busy, "ingest")

    run_step(busy, "build_features")

    after = published(busy.store)
    assert after["silver.sales"] > before["silver.sales"]
    assert after[TILES] == before[TILES]
    assert content_hash(features(busy)) == from_scratch(untiled(busy))


def test_another_definition_makes_all_tiles_again(busy: Context) -> None:
    """A feature that tiles did not keep anything for is served by them after the next build."""
    root = Path(busy.project.settings.root)
    more = TILED["cafe/features.yaml"].replace(
        "ops: [last], windows: [lifetime]", "ops: [last, mean], windows: [lifetime]"
    )
    edited = cafe_context(busy.spark, root, changed={**TILED, "cafe/features.yaml": more})

    run_step(edited, "build_features")

    plain = cafe_context(busy.spark, root, changed={"cafe/features.yaml": more, "cafe/sources.yaml": SOURCES})
    assert content_hash(features(edited)) == from_scratch(plain)


@pytest.mark.parametrize("point", [f"write.{TILES}.after", "write.features.cafe.before"])
def test_a_run_killed_between_tiles_and_features_is_mended(
    busy: Context, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """Tiles of a run that never published are taken back with everything else; the rerun makes them again."""
    monkeypatch.setenv("FEATURELIB_FAULT", f"raise:{point}")
    with pytest.raises(InjectedFault):
        build_features(busy)
    monkeypatch.delenv("FEATURELIB_FAULT")

    run_step(busy, "build_features")

    assert content_hash(features(busy)) == from_scratch(untiled(busy))
