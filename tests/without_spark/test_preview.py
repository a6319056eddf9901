"""``preview`` reads the newest files of a published table and shows a few rows with their features."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from featurelib.errors import FeaturelibError
from featurelib.pipeline.preview import newest_spine
from featurelib.reports.text_tables import frame_text, text_table
from featurelib.tables import Manifest, Stamp, Store
from featurelib.tables.manifests import append
from featurelib.tables.store import MANIFESTS
from tests.without_spark.test_without_spark import at, project_in


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


def test_tables_of_text_fit_the_terminal() -> None:
    """Numbers stand to the right; a table that is too wide is turned on its side."""
    assert text_table(("name", "n"), [("a", 1), ("b", 20)]) == "name   n\na      1\nb     20"
    assert frame_text(["key", "x"], [("k", 0.1 + 0.2)], width=20) == "key    x\nk    0.3"
    assert frame_text(["key", "x"], [("k", None)], width=4) == "key  k\nx    null"
