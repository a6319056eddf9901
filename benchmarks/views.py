"""Views: 1, 2, 4 and 8 views over one source and one key, which share its scan and its shuffle.

python -m benchmarks.views --spine 2000000 --events 5000000 --keys 100000

Each has windows of its own. Asked: a further view costs at most what the first one did.
"""

from __future__ import annotations

from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from benchmarks.data import Size, generate
from benchmarks.latest import parser
from benchmarks.measure import HEADER, Contender, compete, said
from benchmarks.session import discard, scan, session
from benchmarks.width import OPS, per_unit
from featurelib.point_in_time import features_as_of
from featurelib.specs import Aggregation, FeatureView


def views(count: int) -> list[FeatureView]:
    """Five operations over two windows each."""
    return [
        FeatureView(
            name=f"view{number}",
            entity_key=("k",),
            source="v0",
            aggregations=(
                Aggregation(input="x", ops=OPS, windows=(f"{2 * number + 1}d", f"{30 + number}d")),
            ),
        )
        for number in range(count)
    ]


def main() -> None:
    """Measure what was asked for and print two tables."""
    arguments = parser(__doc__ or "", "")
    asked = arguments.parse_args()
    folder = generate(Path(asked.data), Size(asked.spine, asked.events, asked.keys, seed=asked.seed))
    print(
        f"{said('benchmarks.views')}\nseed {asked.seed}, {asked.cores} cores, {folder}\n\n{HEADER}",
        flush=True,
    )
    spark = session(asked.cores, memory=asked.memory, partitions=asked.partitions)

    def features(count: int) -> DataFrame:
        return features_as_of(scan(spark, folder / "spine"), views(count), {"v0": scan(spark, folder / "v0")})

    def check(count: int) -> str:
        found = (
            features(count).agg(F.count("*"), F.sum("view0__x_count_1d"), F.sum("view0__x_count_30d")).first()
        )
        return " ".join(map(str, found))

    counts = [1, 2, 4, 8]
    entered = [
        Contender(f"{count} views", lambda n=count: discard(features(n)), lambda n=count: check(n))
        for count in counts
    ]
    results = compete(entered, times=asked.times, spine=asked.spine, spark=spark)
    print(f"\n{per_unit(results, counts, 'view')}")


if __name__ == "__main__":
    main()
