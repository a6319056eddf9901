"""Latest values: the newest row of each of several views, for every row of the spine.

python -m benchmarks.latest --spine 2000000 --events 5000000 --views 3 --keys 100000
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import reduce
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from benchmarks import single
from benchmarks.data import Size, generate
from benchmarks.measure import HEADER, Contender, compete, said
from benchmarks.session import frame, scan, session, sink
from featurelib.point_in_time import Limits, explain, features_as_of
from featurelib.specs import FeatureView, Latest

INPUTS = ("x", "n")


def views(count: int) -> list[FeatureView]:
    """One view a source."""
    return [
        FeatureView(name=f"v{n}", entity_key=("k",), source=f"v{n}", latest=Latest(inputs=INPUTS))
        for n in range(count)
    ]


def ours(spark: SparkSession, folder: Path, count: int, read: Callable, limits: Limits) -> DataFrame:
    """Our engine, by either scan."""
    sources = {f"v{n}": read(spark, folder / f"v{n}") for n in range(count)}
    ties = dict.fromkeys(sources, INPUTS)
    spine = read(spark, folder / "spine")
    return features_as_of(spine, views(count), sources, tie_breakers=ties, limits=limits)


def union_window(spark: SparkSession, folder: Path, count: int) -> DataFrame:
    """Plain Spark's best: one union, one shuffle, one window, a struct a view."""
    sides = [frame(spark, folder / "spine").selectExpr("k", "as_of_ts as at", "-1 as view")]
    for n in range(count):
        row = F.struct(*[F.col(name).alias(f"v{n}__{name}_latest") for name in INPUTS]).alias(f"v{n}")
        side = frame(spark, folder / f"v{n}").select(
            "k", F.col("event_ts").alias("at"), F.lit(n).alias("view"), row
        )
        sides.append(side)
    union = reduce(lambda left, right: left.unionByName(right, allowMissingColumns=True), sides)
    # At one instant the spine's row comes before the events: they are not yet visible to it.
    order = Window.partitionBy("k").orderBy("at", "view")
    running = order.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    newest = [F.last(f"v{n}", ignorenulls=True).over(running).alias(f"v{n}") for n in range(count)]
    found = union.select("k", "at", "view", *newest).where("view = -1")
    return found.select("k", F.col("at").alias("as_of_ts"), *[f"v{n}.*" for n in range(count)])


def chained(spark: SparkSession, folder: Path, count: int) -> DataFrame:
    """One union and window for each view, one after another."""
    spine = frame(spark, folder / "spine")
    for n in range(count):
        row = F.struct(*[F.col(name).alias(f"v{n}__{name}_latest") for name in INPUTS]).alias("row")
        events = frame(spark, folder / f"v{n}").select(
            "k", F.col("event_ts").alias("as_of_ts"), row, F.lit(1).alias("turn")
        )
        union = spine.withColumn("turn", F.lit(0)).unionByName(events, allowMissingColumns=True)
        running = Window.partitionBy("k").orderBy("as_of_ts", "turn")
        newest = F.last("row", ignorenulls=True).over(
            running.rowsBetween(Window.unboundedPreceding, Window.currentRow)
        )
        found = union.withColumn("row", newest).where("turn = 0").drop("turn")
        spine = found.select("*", "row.*").drop("row")
    return spine


def feast(spark: SparkSession, folder: Path, count: int) -> DataFrame:
    """The method of Feast's Spark template, as SQL: join all earlier rows, keep the newest, join back."""
    frame(spark, folder / "spine").withColumn("row_id", F.expr("uuid()")).createOrReplaceTempView("entity_df")
    for n in range(count):
        frame(spark, folder / f"v{n}").createOrReplaceTempView(f"v{n}")
    cleaned = [
        f"""c{n} AS (SELECT * FROM (
              SELECT e.row_id, s.x AS v{n}__x_latest, s.n AS v{n}__n_latest,
                     ROW_NUMBER() OVER (PARTITION BY e.row_id ORDER BY s.event_ts DESC) AS place
              FROM entity_df e JOIN v{n} s ON s.k = e.k AND s.event_ts < e.as_of_ts) WHERE place = 1)"""
        for n in range(count)
    ]
    joins = " ".join(f"LEFT JOIN c{n} USING (row_id)" for n in range(count))
    columns = ", ".join(f"v{n}__{name}_latest" for n in range(count) for name in INPUTS)
    return spark.sql(f"WITH {', '.join(cleaned)} SELECT k, as_of_ts, {columns} FROM entity_df {joins}")


def pandas_on_spark(spark: SparkSession, folder: Path, count: int) -> DataFrame:
    """``merge_asof`` of pandas on Spark."""
    import pyspark.pandas as ps

    ps.set_option("compute.ops_on_diff_frames", True)
    left = ps.DataFrame(frame(spark, folder / "spine")).sort_values("as_of_ts")
    for n in range(count):
        names = {name: f"v{n}__{name}_latest" for name in INPUTS}
        right = ps.DataFrame(frame(spark, folder / f"v{n}")).rename(columns={**names, "event_ts": f"at{n}"})
        left = ps.merge_asof(
            left,
            right.sort_values(f"at{n}"),
            left_on="as_of_ts",
            right_on=f"at{n}",
            by="k",
            allow_exact_matches=False,
        )
    return left.to_spark()


def checksum(rows: DataFrame, count: int) -> str:
    """Rows and the sum of every whole-number feature: equal for all contenders (ties aside)."""
    found = rows.agg(F.count("*"), *[F.sum(f"v{n}__n_latest") for n in range(count)]).first()
    return " ".join(map(str, found))


def contenders(
    spark: SparkSession, folder: Path, count: int, limits: Limits
) -> Mapping[str, Callable[[], DataFrame]]:
    """All Spark contenders by name."""
    return {
        "ours, read by tasks": lambda: ours(spark, folder, count, scan, limits),
        "ours, scanned by Spark": lambda: ours(spark, folder, count, frame, limits),
        "Spark, one union and window": lambda: union_window(spark, folder, count),
        "Spark, a union and window a view": lambda: chained(spark, folder, count),
        "Feast's Spark template as SQL": lambda: feast(spark, folder, count),
        "pandas on Spark": lambda: pandas_on_spark(spark, folder, count),
    }


def main() -> None:
    """Measure what was asked for and print a table."""
    asked = parser(__doc__ or "", "ours; Spark; Polars; DuckDB").parse_args()
    size = Size(asked.spine, asked.events, asked.keys, asked.views, seed=asked.seed)
    folder = generate(Path(asked.data), size)
    print(
        f"{said('benchmarks.latest')}\nseed {size.seed}, {asked.cores} cores, {folder}\n\n{HEADER}",
        flush=True,
    )
    spark = session(asked.cores, memory=asked.memory, partitions=asked.partitions)
    limits = Limits()
    take = sink(asked.out)
    entered = [
        Contender(
            name,
            lambda make=make: take(make()),
            lambda make=make: checksum(make(), asked.views),
        )
        for name, make in contenders(spark, folder, asked.views, limits).items()
    ]
    entered += [
        single.contender(engine, "latest", folder, asked.cores, size.spine) for engine in ("Polars", "DuckDB")
    ]
    compete(chosen(entered, asked.contenders, asked.once), times=asked.times, spine=size.spine, spark=spark)
    sources = {f"v{n}": scan(spark, folder / f"v{n}") for n in range(asked.views)}
    print(f"\n{explain(scan(spark, folder / 'spine'), views(asked.views), sources, limits=limits)}")


def chosen(entered: list[Contender], names: str, once: str) -> list[Contender]:
    """Return the contenders whose names begin with one of those given, separated by semicolons.

    Those of ``once`` run once only, unchecked.
    """
    many, single_run = (
        tuple(name.strip() for name in given.split(";") if name.strip()) for given in (names, once)
    )
    return [
        replace(contender, once=contender.name.startswith(single_run))
        for contender in entered
        if contender.name.startswith((*many, *single_run))
    ]


def parser(what: str, contenders: str) -> argparse.ArgumentParser:
    """The arguments all benchmarks share."""
    parser = argparse.ArgumentParser(description=what, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spine", type=int, default=2_000_000, help="rows that ask")
    parser.add_argument("--events", type=int, default=5_000_000, help="rows of each view")
    parser.add_argument("--views", type=int, default=3)
    parser.add_argument("--keys", type=int, default=100_000, help="entities")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--times", type=int, default=5, help="measured runs of each contender, after one more"
    )
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--memory", default="4g", help="of the JVM")
    parser.add_argument("--partitions", type=int, default=8, help="spark.sql.shuffle.partitions")
    parser.add_argument("--out", choices=["noop", "delta"], default="noop", help="what Spark writes to")
    parser.add_argument("--data", default="/tmp/featurelib-benchmarks", help="where inputs are kept")
    parser.add_argument("--once", default="", help="further contenders, run once only and unchecked")
    parser.add_argument(
        "--contenders",
        default=contenders,
        help=f"beginnings of names, separated by semicolons; default {contenders}",
    )
    return parser


if __name__ == "__main__":
    main()
