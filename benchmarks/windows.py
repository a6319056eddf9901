"""Windows: sum, count, min, max and mean over 1, 7, 30 and 90 days, some entities hot.

python -m benchmarks.windows --spine 2000000 --events 5000000 --keys 100000
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from benchmarks import single
from benchmarks.data import Size, generate
from benchmarks.latest import chosen, parser
from benchmarks.measure import HEADER, Contender, compete, said
from benchmarks.session import frame, scan, session, sink
from featurelib.point_in_time import explain, features_as_of
from featurelib.specs import Aggregation, FeatureView

OPS = ("count", "sum", "min", "max", "mean")
VIEW = FeatureView(
    name="v0",
    entity_key=("k",),
    source="v0",
    aggregations=(Aggregation(input="x", ops=OPS, windows=tuple(f"{days}d" for days in single.DAYS)),),
)
HOT = 0.3


def ours(spark: SparkSession, folder: Path, read: Callable) -> DataFrame:
    """Our engine, by either scan."""
    return features_as_of(read(spark, folder / "spine"), [VIEW], {"v0": read(spark, folder / "v0")})


def range_between(spark: SparkSession, folder: Path, days: tuple[int, ...] = single.DAYS) -> DataFrame:
    """Spark's own windows: one union, one sort, a sliding frame for each length."""
    spine = frame(spark, folder / "spine").select(
        "k", F.col("as_of_ts").alias("at"), F.lit(None).cast("double").alias("x")
    )
    events = frame(spark, folder / "v0").select("k", F.col("event_ts").alias("at"), "x")
    union = spine.withColumn("asked", F.lit("yes")).unionByName(events.withColumn("asked", F.lit("no")))
    micros = F.unix_micros("at")
    columns = []
    for day in days:
        span = Window.partitionBy("k").orderBy(micros).rangeBetween(-day * 86_400_000_000, -1)
        ops = {"count": F.count, "sum": F.sum, "min": F.min, "max": F.max, "mean": F.avg}
        columns += [op("x").over(span).alias(f"v0__x_{name}_{day}d") for name, op in ops.items()]
    return (
        union.select("k", F.col("at").alias("as_of_ts"), "asked", *columns)
        .where("asked = 'yes'")
        .drop("asked")
    )


def checksum(rows: DataFrame) -> str:
    """Rows, and the sums of two counts: equal for all contenders."""
    found = rows.agg(F.count("*"), *[F.sum(f"v0__x_count_{days}d") for days in (1, 90)]).first()
    return " ".join(map(str, found))


def contenders(spark: SparkSession, folder: Path) -> Mapping[str, Callable[[], DataFrame]]:
    """All Spark contenders by name."""
    return {
        "ours, read by tasks": lambda: ours(spark, folder, scan),
        "ours, scanned by Spark": lambda: ours(spark, folder, frame),
        "Spark, rangeBetween windows": lambda: range_between(spark, folder),
    }


def main() -> None:
    """Measure what was asked for and print a table."""
    asked = parser(__doc__ or "", "ours; Polars; DuckDB").parse_args()
    size = Size(asked.spine, asked.events, asked.keys, hot=HOT, seed=asked.seed)
    folder = generate(Path(asked.data), size)
    print(
        f"{said('benchmarks.windows')}\nseed {size.seed}, {asked.cores} cores, {folder}\n\n{HEADER}",
        flush=True,
    )
    spark = session(asked.cores, memory=asked.memory, partitions=asked.partitions)
    take = sink(asked.out)
    entered = [
        Contender(name, lambda make=make: take(make()), lambda make=make: checksum(make()))
        for name, make in contenders(spark, folder).items()
    ]
    entered += [
        single.contender(engine, "windows", folder, asked.cores, size.spine)
        for engine in ("Polars", "DuckDB")
    ]
    compete(chosen(entered, asked.contenders, asked.once), times=asked.times, spine=size.spine, spark=spark)
    print(f"\n{explain(scan(spark, folder / 'spine'), [VIEW], {'v0': scan(spark, folder / 'v0')})}")


if __name__ == "__main__":
    main()
