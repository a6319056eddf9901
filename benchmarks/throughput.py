"""Throughput: two views of 10M rows each on a spine of 10M, written as Parquet.

python -m benchmarks.throughput --spine 10000000 --events 10000000 --keys 500000

One view of windows (seven days and thirty), one of latest values. Asked: 100,000 rows of the spine a second
and core.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from benchmarks.data import Size, generate
from benchmarks.latest import chosen, parser
from benchmarks.measure import HEADER, Contender, compete, said
from benchmarks.session import frame, scan, session
from featurelib.point_in_time import explain, features_as_of
from featurelib.specs import Aggregation, FeatureView, Latest

VIEWS = [
    FeatureView(
        name="v0",
        entity_key=("k",),
        source="v0",
        aggregations=(Aggregation(input="x", ops=("count", "sum", "mean"), windows=("7d", "30d")),),
    ),
    FeatureView(name="v1", entity_key=("k",), source="v1", latest=Latest(inputs=("x", "n"))),
]


def main() -> None:
    """Measure what was asked for and print a table."""
    arguments = parser(__doc__ or "", "read by tasks; scanned by Spark")
    arguments.set_defaults(spine=10_000_000, events=10_000_000, keys=500_000, views=2)
    asked = arguments.parse_args()
    folder = generate(Path(asked.data), Size(asked.spine, asked.events, asked.keys, 2, seed=asked.seed))
    out = Path(asked.data) / "throughput-out"
    print(
        f"{said('benchmarks.throughput')}\nseed {asked.seed}, {asked.cores} cores, {folder}\n\n{HEADER}",
        flush=True,
    )
    spark = session(asked.cores, memory=asked.memory, partitions=asked.partitions)

    def features(read) -> DataFrame:
        sources = {name: read(spark, folder / name) for name in ("v0", "v1")}
        ties = {"v1": ("x", "n")}
        return features_as_of(read(spark, folder / "spine"), VIEWS, sources, tie_breakers=ties)

    def run(read) -> None:
        features(read).write.mode("overwrite").parquet(f"file://{out}")

    def check(read) -> str:
        run(read)
        written = frame(spark, out)
        found = written.agg(F.count("*"), F.sum("v0__x_count_30d"), F.sum("v1__n_latest")).first()
        return " ".join(map(str, found))

    entered = [
        Contender(name, lambda read=read: run(read), lambda read=read: check(read))
        for name, read in {"read by tasks": scan, "scanned by Spark": frame}.items()
    ]
    compete(chosen(entered, asked.contenders, asked.once), times=asked.times, spine=asked.spine, spark=spark)
    size = sum(path.stat().st_size for path in out.glob("*.parquet"))
    print(f"\n{size / 1e6:,.0f} MB of Parquet")
    sources = {name: scan(spark, folder / name) for name in ("v0", "v1")}
    print(explain(scan(spark, folder / "spine"), VIEWS, sources))
    shutil.rmtree(out)


if __name__ == "__main__":
    main()
