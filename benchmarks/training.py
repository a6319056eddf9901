"""Training from Delta tables of 500,000 and 5 million rows by 50 features: memory, and seconds a row.

python -m benchmarks.training --rows 500000 5000000

Each size is trained by a process of its own, ``--times`` times in turn; the memory is that of all its
processes together, Java's included (``--most-memory``: the run fails where it takes more).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

from benchmarks.measure import _process, _tree, said

FEATURES = 50
_DAYS = 200


def main() -> None:
    """Train on each size, print a table and the cost of a row against that of the smallest size."""
    asked = parser().parse_args()
    if asked.child:
        print(json.dumps(train(asked.rows[0], asked)))
        return
    print(f"{said('benchmarks.training')}\nseed {asked.seed}, {asked.cores} cores, Java {asked.memory}\n")
    for rows in asked.rows:
        made(rows, asked)
    found: dict[int, list[dict[str, float]]] = {rows: [] for rows in asked.rows}
    for _ in range(asked.times):
        for rows in asked.rows:
            found[rows].append(child(rows, asked))
            print(f"    {rows:,} rows: {found[rows][-1]}", flush=True)
    print("\n| rows | median s | CPU s | us a row | x | peak of all processes, MiB | test ROC AUC |")
    print("|---|---|---|---|---|---|---|")
    first = None
    for rows, runs in found.items():
        seconds = statistics.median(run["seconds"] for run in runs)
        cpu = statistics.median(run["cpu"] for run in runs)
        cost = seconds / rows * 1e6
        first = first or cost
        peak = max(run["peak"] for run in runs) / 2**20
        cells = (f"{rows:,}", f"{seconds:.1f}", f"{cpu:.1f}", f"{cost:.1f}", f"{cost / first:.2f}")
        print(f"| {' | '.join(cells)} | {peak:,.0f} | {runs[0]['auc']:.4f} |")
        if asked.most_memory is not None and peak > asked.most_memory:
            raise SystemExit(f"{peak:,.0f} MiB, more than {asked.most_memory:,}")


def child(rows: int, asked: argparse.Namespace) -> dict[str, float]:
    """Train in a process of its own, and sample what it and all below it hold."""
    command = [sys.executable, "-m", "benchmarks.training", "--child", "--rows", str(rows)]
    for name in ("seed", "cores", "memory", "data"):
        command += [f"--{name}", str(getattr(asked, name))]
    log = Path(asked.data) / f"training-{rows}.log"
    with log.open("w", encoding="utf-8") as said_aside:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said_aside, text=True)
    peak = 0

    def watch() -> None:
        nonlocal peak
        while process.poll() is None:
            peak = max(peak, sum(_process(pid)[1] for pid in _tree(process.pid)))
            time.sleep(0.1)

    watching = threading.Thread(target=watch)
    watching.start()
    text = process.communicate()[0]
    watching.join()
    if process.returncode != 0:
        raise SystemExit(f"{rows:,} rows: ended with {process.returncode} at {peak >> 20:,} MiB; see {log}")
    return {**json.loads(text.splitlines()[-1]), "peak": peak}


def place(rows: int, asked: argparse.Namespace) -> Path:
    """Where the table of a size is kept."""
    return Path(asked.data) / f"training-{rows}-{FEATURES}-{asked.seed}"


def made(rows: int, asked: argparse.Namespace) -> None:
    """Write the Delta table of a size, in a process of its own, unless it is there."""
    if (place(rows, asked) / "_delta_log").exists():
        return
    code = f"from benchmarks.training import *; write({rows}, parser().parse_args({sys.argv[1:]!r}))"
    subprocess.run([sys.executable, "-c", code], check=True, stderr=subprocess.DEVNULL)


def write(rows: int, asked: argparse.Namespace) -> None:
    """Write rows whose label follows five of the features; one feature in five has gaps."""
    from pyspark.sql import functions as F

    from benchmarks.session import session

    spark = session(asked.cores, memory=asked.memory, partitions=8)
    day = F.floor(F.col("id") * _DAYS / rows).cast("int")
    values = [F.randn(asked.seed + n).alias(f"f{n:02d}") for n in range(FEATURES)]
    drawn = spark.range(rows, numPartitions=8).select("id", day.alias("day"), *values)
    margin = sum(F.col(f"f{n:02d}") * (0.8 - 0.1 * n) for n in range(5)) + F.col("f05") * F.col("f06")
    gaps = [
        F.when(F.pmod(F.xxhash64("id", F.lit(n)), F.lit(4)) == 0, None).otherwise(F.col(f"f{n:02d}"))
        if n % 5 == 4
        else F.col(f"f{n:02d}")
        for n in range(FEATURES)
    ]
    drawn.select(
        "id",
        F.timestamp_seconds(F.lit(1_600_000_000) + F.col("day") * 86_400).alias("as_of_ts"),
        *(gap.alias(f"f{n:02d}") for n, gap in enumerate(gaps)),
        (F.rand(asked.seed + FEATURES) < 1 / (1 + F.exp(-margin))).cast("int").alias("late"),
        F.when(F.col("day") < 140, "train")
        .when(F.col("day") < 170, "validate")
        .otherwise("test")
        .alias("_split"),
    ).write.format("delta").save(str(place(rows, asked)))


def train(rows: int, asked: argparse.Namespace) -> dict[str, float]:
    """Train a linear model and boosted trees on all rows, and say what it took without Java's start."""
    from benchmarks.measure import cpu_seconds
    from benchmarks.session import session
    from featurelib.specs import EstimatorSpec, Gate, LiftStep, ModelSpec, Tuning
    from featurelib.training.fit import TrainingOptions, train_model

    spark = session(asked.cores, memory=asked.memory, partitions=8)
    table = spark.read.format("delta").load(str(place(rows, asked)))
    trees = {"trees": 10, "max_depth": 5, "learning_rate": 0.3, "column_sample": 0.33}
    linear = EstimatorSpec(kind="logistic_regression", parameters={"max_iter": 10})
    model = ModelSpec(
        features=("f*",),
        baseline=LiftStep(name="one", features=("f00",)),
        lift_learner=linear,
        estimators={
            "linear": linear,
            "trees": EstimatorSpec(kind="gradient_boosted_trees", parameters=trees),
        },
        tuning=Tuning(trials=2, parallelism=2),
        gate=Gate(minimum=0.5),
    )
    table.count()  # Spark and Delta warm up
    began, worked = time.perf_counter(), cpu_seconds()
    result = train_model(table, model, name="m", label="late", options=TrainingOptions(key=("id",)))
    seconds, cpu = time.perf_counter() - began, cpu_seconds() - worked
    auc = result.evaluation.roc_auc
    spark.stop()
    return {"seconds": seconds, "cpu": cpu, "auc": auc}


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[500_000, 5_000_000])
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--most-memory", type=int, help="MiB that all processes together may not exceed")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--memory", default="4g", help="of the JVM")
    parser.add_argument("--data", default="/tmp/featurelib-benchmarks", help="where tables are kept")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
