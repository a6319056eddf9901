"""The Spark session of a benchmark, and the ways our engine and Spark read one folder of Parquet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pyarrow import parquet as pq
from pyspark.sql import DataFrame, SparkSession

from featurelib.point_in_time import SnapshotFile, SnapshotScan
from featurelib.session import build_session
from featurelib.specs import SparkSettings


def session(cores: int, *, memory: str, partitions: int, tuned: bool = True) -> SparkSession:
    """A local session; ``tuned`` lets the JVM compile as it likes, which long runs on many rows need."""
    conf = {"spark.log.level": "ERROR", "spark.sql.warehouse.dir": "/tmp/featurelib-benchmarks/warehouse"}
    if tuned:
        conf["spark.driver.extraJavaOptions"] = "-XX:+UseParallelGC"
    settings = SparkSettings(
        master=f"local[{cores}]", driver_memory=memory, shuffle_partitions=partitions, conf=conf
    )
    return build_session(settings, app_name="featurelib benchmarks")


def frame(spark: SparkSession, folder: Path) -> DataFrame:
    """The folder as Spark scans it."""
    return spark.read.parquet(f"file://{folder.absolute()}")


def scan(spark: SparkSession, folder: Path) -> SnapshotScan:
    """The folder as tasks read it: files and their statistics, as a table log would give them."""
    files = []
    for path in sorted(folder.absolute().glob("*.parquet")):
        metadata = pq.read_metadata(path)
        instants = [
            metadata.row_group(group).column(leaf).statistics
            for group in range(metadata.num_row_groups)
            for leaf in range(metadata.num_columns)
            if metadata.row_group(group).column(leaf).path_in_schema in {"as_of_ts", "event_ts"}
        ]
        name = "as_of_ts" if "as_of_ts" in metadata.schema.names else "event_ts"
        files.append(
            SnapshotFile(
                str(path),
                path.stat().st_size,
                metadata.num_rows,
                minimum={name: min(one.min for one in instants)},
                maximum={name: max(one.max for one in instants)},
            )
        )
    return SnapshotScan(frame(spark, folder), tuple(files))


def discard(rows: DataFrame) -> None:
    """Compute every row and column, and keep nothing."""
    rows.write.format("noop").mode("overwrite").save()


def sink(out: str) -> Callable[[DataFrame], None]:
    """Return what takes the rows: ``noop`` keeps nothing, ``delta`` writes a table and replaces it."""
    if out == "noop":
        return discard

    def written(rows: DataFrame) -> None:
        rows.write.format("delta").mode("overwrite").save("/tmp/featurelib-benchmarks/written")

    return written
