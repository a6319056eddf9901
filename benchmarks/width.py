"""Width: 50, 100, 250 and 500 features of one source, in one pass.

python -m benchmarks.width --spine 1000000 --events 2000000 --keys 50000

Five operations on two columns, over five windows and more: every further window is sought anew, which is the
dearest way to grow. Asked: at most linear from 50 on.
"""

from __future__ import annotations

from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from benchmarks.data import Size, generate
from benchmarks.latest import parser
from benchmarks.measure import HEADER, Contender, Result, compete, said
from benchmarks.session import discard, scan, session
from featurelib.point_in_time import features_as_of
from featurelib.specs import Aggregation, FeatureView

OPS = ("count", "sum", "min", "max", "mean")
INPUTS = ("x", "n")


def view(features: int) -> FeatureView:
    """A view with so many features."""
    windows = tuple(f"{days}d" for days in range(1, 1 + features // (len(OPS) * len(INPUTS))))
    wanted = tuple(Aggregation(input=name, ops=OPS, windows=windows) for name in INPUTS)
    return FeatureView(name="v0", entity_key=("k",), source="v0", aggregations=wanted)


def per_unit(results: list[Result], units: list[int], unit: str) -> str:
    """Return what each unit costs at each size, against the smallest."""
    base = min(results[0].cpu) / units[0]
    lines = [f"| {unit}s | CPU s a {unit} | x of the first |", "|---|---|---|"]
    for result, count in zip(results, units, strict=True):
        cost = min(result.cpu) / count
        lines.append(f"| {count} | {cost:.3f} | {cost / base:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure what was asked for and print a table."""
    arguments = parser(__doc__ or "", "")
    arguments.set_defaults(spine=1_000_000, events=2_000_000, keys=50_000)
    arguments.add_argument("--features", type=int, nargs="+", default=[50, 100, 250, 500])
    asked = arguments.parse_args()
    folder = generate(Path(asked.data), Size(asked.spine, asked.events, asked.keys, seed=asked.seed))
    print(
        f"{said('benchmarks.width')}\nseed {asked.seed}, {asked.cores} cores, {folder}\n\n{HEADER}",
        flush=True,
    )
    spark = session(asked.cores, memory=asked.memory, partitions=asked.partitions)

    def features(count: int) -> DataFrame:
        return features_as_of(
            scan(spark, folder / "spine"), [view(count)], {"v0": scan(spark, folder / "v0")}
        )

    def check(count: int) -> str:
        found = features(count).agg(F.count("*"), F.sum("v0__n_count_1d"), F.sum("v0__n_sum_5d")).first()
        return " ".join(map(str, found))

    entered = [
        Contender(f"{count} features", lambda n=count: discard(features(n)), lambda n=count: check(n))
        for count in asked.features
    ]
    results = compete(entered, times=asked.times, spine=asked.spine, spark=spark)
    print(f"\n{per_unit(results, asked.features, 'feature')}")


if __name__ == "__main__":
    main()
