"""Growth: the same windows over 1, 10 and 100 million events, and 40% as many rows that ask.

python -m benchmarks.growth --sizes 1000000 10000000 100000000

Every entity has 50 events whatever the size. What should not grow is what a row costs: seconds, bytes of
shuffle, and the memory of each process (``--most-memory``: the run fails where one takes more).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.data import Size, generate
from benchmarks.measure import HEADER, Contender, Result, compete, said
from benchmarks.session import discard, scan, session
from benchmarks.windows import VIEW, checksum
from featurelib.point_in_time import Limits, explain, features_as_of

EVENTS_A_KEY = 50
SPINE_SHARE = 0.4


def main() -> None:
    """Measure each size, print a table and the cost of a row against that of the smallest size."""
    asked = parser().parse_args()
    sizes = [
        Size(int(events * SPINE_SHARE), events, events // EVENTS_A_KEY, seed=asked.seed)
        for events in asked.sizes
    ]
    folders = [generate(Path(asked.data), size) for size in sizes]
    print(f"{said('benchmarks.growth')}\nseed {asked.seed}, {asked.cores} cores\n\n{HEADER}", flush=True)
    spark = session(asked.cores, memory=asked.memory, partitions=asked.partitions)
    limits = Limits(bucket_bytes=asked.bucket_mib << 20, broadcast_bytes=0)  # every size by a shuffle
    results = []
    for size, folder in zip(sizes, folders, strict=True):

        def features(folder: Path = folder):
            sources = {"v0": scan(spark, folder / "v0")}
            return features_as_of(scan(spark, folder / "spine"), [VIEW], sources, limits=limits)

        contender = Contender(
            f"{size.events:,} events",
            lambda features=features: discard(features()),
            lambda features=features: checksum(features()),
        )
        if size.events > asked.once_above:
            contender = Contender(contender.name, contender.run)
        times = asked.times if size.events <= asked.once_above else 1
        results += compete([contender], times=times, spine=size.spine, spark=spark)
        plan = explain(
            scan(spark, folder / "spine"), [VIEW], {"v0": scan(spark, folder / "v0")}, limits=limits
        )
        print(f"    {plan.buckets} buckets of about {(plan.bucket_memory or 0) >> 20} MiB", flush=True)
    print(f"\n{per_row(results)}")
    largest = max(max(result.jvm, result.python) for result in results)
    if asked.most_memory is not None and largest > asked.most_memory << 20:
        raise SystemExit(f"a process took {largest >> 20:,} MiB, more than {asked.most_memory:,}")


def per_row(results: list[Result]) -> str:
    """Return what a row of the spine costs at each size, and its ratio to that at the smallest."""
    lines = [
        "| size | CPU us a row | x | us a row | x | shuffle bytes a row | x |",
        "|---|---|---|---|---|---|---|",
    ]
    first = None
    for result in results:
        costs = [
            min(result.cpu) / result.spine * 1e6,
            result.median / result.spine * 1e6,
            (result.shuffled or 0) / result.spine,
        ]
        first = first or costs
        cells = [
            cell
            for cost, base in zip(costs, first, strict=True)
            for cell in (f"{cost:.2f}", f"{cost / max(base, 1e-9):.2f}")
        ]
        lines.append(f"| {' | '.join([result.name, *cells])} |")
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[1_000_000, 10_000_000, 100_000_000], help="events"
    )
    parser.add_argument("--times", type=int, default=3, help="measured runs of each size, after one more")
    parser.add_argument(
        "--once-above", type=int, default=20_000_000, help="events from which a size is run once only"
    )
    parser.add_argument("--bucket-mib", type=int, default=256, help="Limits.bucket_bytes")
    parser.add_argument("--most-memory", type=int, help="MiB that no process may exceed")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--memory", default="2g", help="of the JVM")
    parser.add_argument("--partitions", type=int, default=8, help="spark.sql.shuffle.partitions")
    parser.add_argument("--data", default="/tmp/featurelib-benchmarks", help="where inputs are kept")
    return parser


if __name__ == "__main__":
    main()
