"""``preview`` reads the newest files of a published table and shows a few rows with their features."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from deltalake import WriterProperties, write_deltalake

from featurelib.errors import FeaturelibError
from featurelib.pipeline.preview import newest_spine
from featurelib.pipeline.silver import Span, published_rows
from featurelib.pipeline.without_spark import features_without_spark
from featurelib.reports.text_tables import frame_text, text_table
from featurelib.tables import Manifest, Stamp, Store, snapshot
from featurelib.tables.manifests import append
from featurelib.tables.store import MANIFESTS
from featurelib.timeline import to_micros
from tests.unit.shop_project import FEATURES, MODELS, SOURCES
from tests.without_spark.test_without_spark import at, project_in

ONE_DAY = {
    "shop/features.yaml": FEATURES.partition("  facts:")[0].partition("    aggregations:")[0]
    + "    aggregations:\n      - {ops: [count], windows: [1d]}\n",
    "shop/models.yaml": MODELS.replace('"spending__*", "facts__*"', '"spending__*"'),
    "shop/sources.yaml": SOURCES.replace("    known_ts: settled_ts\n", "").replace(
        "    where: amount IS NOT NULL\n", ""
    ),
}


def asked(day: int) -> pl.DataFrame:
    """One question about ann at midnight."""
    return pl.DataFrame({"customer": ["ann"], "as_of_ts": [at(day)]})


def store_in(folder: Path) -> Store:
    """A store whose published orders are two files of a day each."""
    store = Store(str(folder))
    for day in (1, 2):
        rows = pl.DataFrame(
            {
                "order_id": [f"o{day}{number}" for number in range(3)],
                "customer": ["ann"] * 3,
                "ordered_ts": [at(day, number) for number in range(3)],
                "day": [date(2024, 5, day)] * 3,
                "_day": [date(2024, 5, day)] * 3,
            }
        )
        table = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
        write_deltalake(store.path("silver.orders"), pa.table(table), mode="append")
    manifest = Manifest(1, "run", "shop", 1, datetime(2024, 5, 3, tzinfo=UTC), {"silver.orders": 1})
    append(store.path(MANIFESTS), manifest, stamp=Stamp("run", "shop", 1))
    return store


def test_the_newest_rows_before_a_moment_are_taken(tmp_path: Path) -> None:
    """Rows of the newest files come first; older files fill up; nothing before the first row is an error."""
    project, store = project_in(tmp_path / "project"), store_in(tmp_path / "store")
    newest = newest_spine(project, store, rows=2, before=None)
    assert sorted(newest["order_id"]) == ["o21", "o22"]
    some = newest_spine(project, store, rows=3, before=at(2, 1))
    assert sorted(some["order_id"]) == ["o11", "o12", "o20"]
    with pytest.raises(FeaturelibError, match=r"no row of silver\.orders is asked about before 2024-05-01"):
        newest_spine(project, store, rows=3, before=at(1))


def test_files_that_no_window_reaches_are_not_opened(tmp_path: Path) -> None:
    """With the first day's file gone, a window of a day before the second day's end still has its answer."""
    project, store = project_in(tmp_path / "project", ONE_DAY), store_in(tmp_path / "store")
    (view,) = project.views
    found = snapshot(store, "silver.orders", 1)
    (first,) = (file for file in found.files if file.maximum["_day"] == date(2024, 5, 1))
    silver = published_rows(store)
    between = [features_without_spark(project, [view], asked(day), silver) for day in (2, 4)]

    Path(first.path).unlink()

    assert [frame[view.feature_names[0]].to_list() for frame in between] == [[3], [0]]
    assert features_without_spark(project, [view], asked(4), silver).equals(between[1])
    with pytest.raises(FileNotFoundError):
        features_without_spark(project, [view], asked(2), silver)


def test_only_row_groups_and_columns_in_use_are_read(tmp_path: Path) -> None:
    """Of one file with a row group an hour, the rows of the hours that are wanted, and no other column."""
    store = Store(str(tmp_path))
    rows = pl.DataFrame(
        {"order_id": ["a", "b", "c"], "ordered_ts": [at(1, hour) for hour in range(3)], "x": [1, 2, 3]}
    )
    write_deltalake(
        store.path("silver.orders"),
        pa.table(rows.to_arrow(compat_level=pl.CompatLevel.oldest())),
        writer_properties=WriterProperties(max_row_group_size=1, write_batch_size=1),
    )
    span = Span("ordered_ts", to_micros(at(1, 1)), to_micros(at(1, 2)))

    read = published_rows(store, {"silver.orders": 0})("orders", frozenset({"order_id"}), span)

    assert read.rows() == [("b", at(1, 1))]


def test_tables_of_text_fit_the_terminal() -> None:
    """Numbers stand to the right; a table that is too wide is turned on its side."""
    assert text_table(("name", "n"), [("a", 1), ("b", 20)]) == "name   n\na      1\nb     20"
    assert frame_text(["key", "x"], [("k", 0.1 + 0.2)], width=20) == "key    x\nk    0.3"
    assert frame_text(["key", "x"], [("k", None)], width=4) == "key  k\nx    null"
