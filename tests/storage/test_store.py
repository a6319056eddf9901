"""Names, paths, and reading what is published."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from deltalake import DeltaTable
from pyspark.sql.types import LongType, MapType, StringType, StructField, StructType

from featurelib.errors import ConfigError, FeaturelibError, FrameError, PreconditionError
from featurelib.tables import Stamp, Store, append_ops, begin_run, current_version, published, read

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

RUNS = StructType(
    [
        StructField("run_id", StringType()),
        StructField("rows", LongType()),
        StructField("versions", MapType(StringType(), LongType())),
    ]
)
STAMP = Stamp("one", "pipe", 1)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "flights",
        "../etc.passwd",
        "silver/../x.y",
        "silver.a.b",
        "Silver.a",
        "silver.a`b",
        "silver.a\n",
        "a. b",
    ],
)
def test_table_names_cannot_leave_the_root(store: Store, name: str) -> None:
    """Anything but two lower-case words around one dot is refused before it becomes a path."""
    with pytest.raises(ConfigError, match="table name"):
        store.path(name)


def test_a_store_says_what_it_needs(tmp_path: Path) -> None:
    """Relative roots and bad retentions are refused, a URI needs a folder for leases, file: is local."""
    with pytest.raises(ConfigError, match="absolute folder"):
        Store("var/store")
    with pytest.raises(ConfigError, match="without %"):
        Store("/data/100%25")
    with pytest.raises(ConfigError, match="duration"):
        Store("/data", retention="a year")
    with pytest.raises(PreconditionError, match="lease folder"):
        _ = Store("s3://bucket/store").leases
    assert Store("s3://bucket/store/").path("silver.a") == "s3://bucket/store/tables/silver/a"
    assert Store("s3://bucket/store", lease_folder="/shared").leases == Path("/shared")
    assert Store("file:///data/my%20store").path("silver.a") == "/data/my store/tables/silver/a"
    assert (
        Store("/data", retention="36h").properties["delta.logRetentionDuration"] == "interval 129600 seconds"
    )


def test_an_empty_store_says_so(spark: SparkSession, store: Store) -> None:
    """Without a manifest nothing is published, and reading says which command would change that."""
    assert published(store) == {}
    assert current_version(store, "silver.flights") is None
    with pytest.raises(FeaturelibError, match=r"never published(.|\n)*to do: run the pipeline"):
        read(spark, store, "silver.flights")


def test_ops_rows_stand_outside_runs(spark: SparkSession, store: Store) -> None:
    """Rows of the diary are visible at once, survive the recovery of every later run, and keep their columns."""
    append_ops(
        store, "ops.runs", [{"run_id": "a", "rows": 1, "versions": {"x.y": 3}}], schema=RUNS, stamp=STAMP
    )
    with begin_run(spark, store, pipeline="pipe", run_id="two"):
        append_ops(store, "ops.runs", [{"run_id": "b"}], schema=RUNS, stamp=STAMP)
    found = {row["run_id"]: row["versions"] for row in read(spark, store, "ops.runs").collect()}
    assert found == {"a": {"x.y": 3}, "b": None}
    assert DeltaTable(store.path("ops.runs")).history(1)[0]["userMetadata"] == STAMP.to_json()
    with pytest.raises(FrameError, match="hold typo"):
        append_ops(store, "ops.runs", [{"typo": 1}], schema=RUNS, stamp=STAMP)
    with pytest.raises(FrameError, match=r"versions .* is missing"):
        append_ops(store, "ops.runs", [], schema=StructType(RUNS.fields[:2]), stamp=STAMP)
    for table in ("silver.runs", "ops.manifests"):
        with pytest.raises(ConfigError, match="inside a run"):
            append_ops(store, table, [], schema=RUNS, stamp=STAMP)
