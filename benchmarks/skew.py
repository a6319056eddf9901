"""Skew: one key with 30% of all rows against keys that are all alike, with the same windows.

python -m benchmarks.skew --spine 4000000 --events 10000000 --keys 100000
python -m benchmarks.skew --lifetimes   # whose windows reach back to the first event

Asked: at most 1.5x the time of keys that are alike, and no task longer than twice the median task.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from benchmarks.data import SINCE, YEAR, Size, generate
from benchmarks.latest import chosen, parser
from benchmarks.measure import HEADER, Contender, compete, said
from benchmarks.session import discard, frame, scan, session
from benchmarks.tasks import HEADER as TASKS_HEADER
from benchmarks.tasks import last_stage, line, reduce_tasks
from benchmarks.windows import OPS, VIEW, checksum
from featurelib.point_in_time import Hot, Limits, explain, features_as_of
from featurelib.specs import Aggregation, FeatureView
from featurelib.timeline import from_micros

SHARE = 0.3
BETWEEN = (from_micros(SINCE), from_micros(SINCE + YEAR))


LIFETIMES = FeatureView(
    name="v0",
    entity_key=("k",),
    source="v0",
    aggregations=(Aggregation(input="x", ops=OPS, windows=("lifetime", "90d", "1d")),),
)


def main() -> None:
    """Measure what was asked for and print two tables."""
    arguments = parser(__doc__ or "", "alike; 30%")
    arguments.set_defaults(spine=4_000_000, events=10_000_000)
    arguments.add_argument("--lifetimes", action="store_true", help="lifetimes in place of windows of days")
    arguments.add_argument("--bucket-mib", type=int, default=256, help="what a bucket shall take in memory")
    asked = arguments.parse_args()
    limits = Limits(bucket_bytes=asked.bucket_mib << 20)
    view = LIFETIMES if asked.lifetimes else VIEW
    alike = generate(Path(asked.data), Size(asked.spine, asked.events, asked.keys, seed=asked.seed))
    skewed = generate(
        Path(asked.data), Size(asked.spine, asked.events, asked.keys, hot=SHARE, hot_keys=1, seed=asked.seed)
    )
    print(
        f"{said('benchmarks.skew')}\nseed {asked.seed}, {asked.cores} cores, {skewed}\n\n{HEADER}", flush=True
    )
    spark = session(asked.cores, memory=asked.memory, partitions=asked.partitions)
    named = replace(limits, hot=(Hot(("k",), ((0,),), slices=4),))
    kinds = {
        "alike, read by tasks": (alike, scan, limits),
        "30% one key, found in a sample": (skewed, scan, limits),
        "30% one key, not looked for": (skewed, scan, replace(limits, find_hot=False)),
        "alike, scanned by Spark": (alike, frame, limits),
        "30% one key, scanned by Spark, named": (skewed, frame, named),
    }
    tasks: dict[str, list[list[float]]] = {name: [] for name in kinds}

    def features(name: str):
        folder, read, limits = kinds[name]
        sources = {"v0": read(spark, folder / "v0")}
        return features_as_of(read(spark, folder / "spine"), [view], sources, between=BETWEEN, limits=limits)

    def run(name: str) -> None:
        before = last_stage(spark)
        discard(features(name))
        tasks[name].append(reduce_tasks(spark, after=before))

    entered = [
        Contender(name, lambda name=name: run(name), lambda name=name: checksum(features(name)))
        for name in kinds
    ]
    compete(chosen(entered, asked.contenders, asked.once), times=asked.times, spine=asked.spine, spark=spark)
    print(f"\nTasks after the shuffle:\n\n{TASKS_HEADER}")
    for name, runs in tasks.items():
        if runs:
            print(line(name, runs))
    inputs = [scan(spark, skewed / name) for name in ("spine", "v0")]
    print(f"\n{explain(inputs[0], [view], {'v0': inputs[1]}, limits=limits)}")


if __name__ == "__main__":
    main()
