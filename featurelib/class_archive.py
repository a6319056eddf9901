"""A short job that touches what every run needs, so that Java can keep those classes ready to map.

Half of a short run on one machine is Java reading and verifying some 20,000 classes. ``spark-submit.sh`` runs
this file once with ``-XX:ArchiveClassesAtExit`` (class data sharing, JDK 13 and newer) and hands the archive
to every later local session by ``FEATURELIB_CLASS_ARCHIVE``. A Java that finds the archive made by another
Java, or for other JARs, starts without it.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from featurelib.session import build_session
from featurelib.specs import SparkSettings

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession


def touch_classes(spark: SparkSession, folder: str) -> int:
    """Write, read, sort, join and aggregate a few rows in a Delta table below a folder; return how many."""
    numbers = spark.range(0, 1000, 1, 4).select(
        "id",
        (F.col("id") % 3).cast("string").alias("part"),
        F.timestamp_micros(F.col("id") * 1_000_000).alias("at"),
        F.array(F.lit("a"), F.lit(None)).alias("texts"),
        (F.col("id") / 7).alias("x"),
    )
    path = f"{folder}/numbers"
    writer = numbers.write.format("delta").partitionBy("part").option("compression", "zstd")
    writer.option("txnAppId", "touch").option("txnVersion", "1").mode("append").save(path)
    read = spark.read.format("delta").option("versionAsOf", 0).load(path)
    ordered = Window.partitionBy("part").orderBy("at", "id")
    judged = read.withColumn("place", F.row_number().over(ordered)).where("place > 1")
    packed = judged.drop("texts").mapInArrow(_as_they_are, judged.drop("texts").schema)
    shuffled = packed.repartitionById(2, (F.col("id") % 2).cast("int"))
    joined = shuffled.join(read.select("id", "texts"), on="id", how="left")
    replaced = joined.where("part = '1'").drop("place")
    replaced.write.format("delta").mode("overwrite").option("replaceWhere", "part = '1'").save(path)
    seen = spark.read.format("delta").load(path)
    totals = seen.groupBy("part").agg(F.count("*"), F.sum("x"), F.avg("x"), F.min("at"), F.max("at"))
    hashed = seen.agg(F.sum(F.xxhash64("id", "x", F.to_json("texts")).cast("decimal(20,0)")))
    return len(totals.orderBy("part").collect()) + len(hashed.collect())


def _as_they_are(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield from batches


def main() -> int:
    """Run the job in a folder of its own."""
    settings = SparkSettings(app_name="class-archive", shuffle_partitions=2)
    with tempfile.TemporaryDirectory() as folder:
        spark = build_session(settings, app_name="class-archive")
        touch_classes(spark, folder)
        spark.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
