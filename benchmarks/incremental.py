"""The features of one more day beside those of a whole year, through the feature step of a pipeline.

    python -m benchmarks.incremental --events 50000 --asked 50000 --keys 1000

Silver tables of a year are made, a file a day; the feature step builds 365 days, over ``--windows``; then
five days come one at a time (events and questions), each built by the step. Then ``--late`` events of one day
of the year land, five times: the step finds the rows that see them. One day is built again, asked for. At the
end the table is compared, to the bit, with one that is built in one go. ``--tiles false`` shows the same
without tiles.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from benchmarks.session import session
from featurelib.config import load_project
from featurelib.pipeline.build_features import build_features
from featurelib.pipeline.context import Context, StepResult
from featurelib.pipeline.days import DayRange
from featurelib.pipeline.ledger import write_ledger
from featurelib.pipeline.progress import Progress
from featurelib.tables import begin_run, content_hash, read

FIRST = date(2024, 1, 1)
DAYS, MORE = 365, 5
LATE = (180, 150, 210, 90, 270)
FILES = {
    "base.yaml": """\
root: var/${env}
landing: ${root}/landing
spark: {shuffle_partitions: 8}
tracking: {tracking_uri: "sqlite:///${root}/mlflow.db", artifact_root: "${root}/artifacts"}
""",
    "env/local.yaml": "{}\n",
    "year/pipeline.yaml": """\
name: year
spine:
  table: asked
  key: [ask_id]
  as_of_ts: asked_ts
  columns: {ask_id: ask_id, user_id: user_id}
  column_types: {ask_id: long, user_id: long}
label: {name: bought, value: bought > 0, known_ts: asked_ts}
split:
  train: ["2024-01-01", "2024-10-01"]
  validate: ["2024-10-01", "2024-11-01"]
  test: ["2024-11-01", "2025-01-01"]
""",
    "year/sources.yaml": """\
tables:
  asked:
    landing: asked
    columns: {ask_id: long, user_id: long, asked_ts: timestamp_utc, bought: int}
  events:
    landing: events
    columns: {user_id: long, event_ts: timestamp_utc, known_ts: timestamp_utc, amount: double, pages: int}
entities:
  user: {keys: [user_id]}
sources:
  events: {table: events, event_ts: event_ts, known_ts: known_ts, tie_breaker: [amount, pages], tiles: TILES}
""",
    "year/features.yaml": """\
views:
  spent:
    entity: user
    source: events
    aggregations:
      - {input: amount, ops: [count, sum, mean, max, stddev], windows: [WINDOWS]}
      - {input: pages, ops: [sum, min, last], windows: [WINDOWS]}
      - {name: dear, ops: [count], windows: [MIDDLE], where: amount > 60}
      - {name: since, ops: [time_since_last], windows: [LONGEST]}
""",
    "year/models.yaml": """\
models:
  none:
    features: ["spent__*"]
    baseline: {name: count, features: [spent__amount_count_SHORTEST]}
    estimators:
      trees: {kind: random_forest, parameters: {trees: 2, max_depth: 2}}
    gate: {minimum: 0.0}
""",
    "year/quality.yaml": "rules: {}\n",
}


def context(spark: SparkSession, root: Path, tiles: str, windows: Sequence[str]) -> Context:
    """The pipeline's context; every silver day lies before its moment."""
    shortest, middle, longest = windows
    places = {
        "TILES": tiles,
        "WINDOWS": ", ".join(windows),
        "SHORTEST": shortest,
        "MIDDLE": middle,
        "LONGEST": longest,
    }
    for name, text in FILES.items():
        path = root / "project" / "conf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        for place, value in places.items():
            text = text.replace(place, value)  # noqa: PLW2901 - place by place
        path.write_text(text, encoding="utf-8")
    project = load_project(
        root / "project" / "conf" / "year", env="local", overrides=[f"root={root}"], environ={}
    )
    return Context(project, spark, datetime(2026, 1, 1, tzinfo=UTC), Progress(quiet=True))


def rows(spark: SparkSession, table: str, count: int, first: int, days: int, keys: int) -> DataFrame:
    """Rows of some days; events are known up to three hours late."""
    start = int(datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC).timestamp()) + first * 86_400
    made = spark.range(0, count * days, 1, 8).select(
        "id",
        F.expr(f"id div {count}").cast("int").alias("day"),
        F.xxhash64("id", F.lit(f"{table}{first}")).alias("h"),
    )

    def part(number: int, below: int) -> F.Column:
        return F.pmod(F.xxhash64("h", F.lit(number)), F.lit(below))

    moment = F.lit(start * 1_000_000) + F.col("day") * 86_400_000_000 + part(1, 86_400_000_000)
    by_day = F.date_add(F.lit(FIRST + timedelta(days=first)), F.col("day"))
    own = {
        "asked": [
            (F.col("id") + first * 10_000_000_000).alias("ask_id"),
            part(2, keys).alias("user_id"),
            F.timestamp_micros(moment).alias("asked_ts"),
            part(3, 2).cast("int").alias("bought"),
        ],
        "events": [
            part(2, keys).alias("user_id"),
            F.timestamp_micros(moment).alias("event_ts"),
            F.timestamp_micros(moment + part(4, 10_800_000_000)).alias("known_ts"),
            (part(5, 10_000) / 100.0).alias("amount"),
            part(6, 50).cast("int").alias("pages"),
        ],
    }
    return made.select(
        *own[table],
        by_day.alias("_day"),
        F.date_format(by_day, "yyyy-MM").alias("_month"),
        F.col("day").alias("at"),
    ).repartitionById(days, "at")


def land(
    context: Context, counts: dict[str, int], first: int, days: int, keys: int, *, file: str = "{day}.csv"
) -> None:
    """Publish silver rows of some days, a file a day, as the ingest step would have."""
    with begin_run(
        context.spark, context.store, pipeline="year", run_id=f"land-{uuid.uuid4().hex[:8]}"
    ) as run:
        for table, count in counts.items():
            frame = rows(context.spark, table, count, first, days, keys).drop("at")
            name = context.names.silver(table)
            run.create(name, frame.schema, partition_by=("_month",))
            run.append(frame, name)
        looks = {
            table: [
                {
                    "name": file.format(day=day),
                    "day": day,
                    "bytes": 1,
                    "sha256": f"{table} {file.format(day=day)}",
                    "rows": count,
                }
                for day in (FIRST + timedelta(days=first + number) for number in range(days))
            ]
            for table, count in counts.items()
        }
        write_ledger(context, run, looks)
        run.publish()


def timed(context: Context) -> tuple[float, StepResult]:
    """Seconds of the feature step, and what it did."""
    began = time.perf_counter()
    result = build_features(context)
    return time.perf_counter() - began, result


def main() -> None:
    """Build a year, then five days one by one; print seconds and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=50_000, help="a day")
    parser.add_argument("--asked", type=int, default=50_000, help="spine rows a day")
    parser.add_argument("--late", type=int, default=100, help="events of a day that land half a year later")
    parser.add_argument("--keys", type=int, default=1_000)
    parser.add_argument("--windows", nargs=3, default=["7d", "30d", "90d"], help="from the shortest on")
    parser.add_argument("--tiles", default="true", choices=["true", "false"])
    parser.add_argument("--memory", default="4g")
    parser.add_argument("--root", type=Path, default=None)
    given = parser.parse_args()
    root = given.root or Path(tempfile.mkdtemp(prefix="featurelib-incremental-"))
    spark = session(2, memory=given.memory, partitions=8)
    year = context(spark, root, given.tiles, given.windows)
    counts = {"asked": given.asked, "events": given.events}
    land(year, counts, 0, DAYS, given.keys)
    full, result = timed(year)
    print(f"{DAYS} days: {full:.1f} s; {result.summary}", flush=True)
    days = []
    for number in range(MORE):
        land(year, counts, DAYS + number, 1, given.keys)
        seconds, result = timed(year)
        days.append(seconds)
        print(f"day {DAYS + number + 1}: {seconds:.1f} s; {result.summary}", flush=True)
    print(result.facts["plan"])
    median = statistics.median(days)
    print(f"one more day, median of {MORE}: {median:.1f} s, 1/{full / median:.0f} of the year")
    days = []
    for number in LATE:
        land(year, {"events": given.late}, number, 1, given.keys, file="{day}-late.csv")
        seconds, result = timed(year)
        days.append(seconds)
        print(f"{given.late} late events of day {number}: {seconds:.1f} s; {result.summary}", flush=True)
    median = statistics.median(days)
    print(f"one late day, median of {len(LATE)}: {median:.1f} s, 1/{full / median:.0f} of the year")
    began = time.perf_counter()
    one = DayRange(FIRST + timedelta(days=LATE[0]), FIRST + timedelta(days=LATE[0] + 1))
    result = build_features(year, days=one, rebuild=True)
    seconds = time.perf_counter() - began
    print(f"day {LATE[0]} again: {seconds:.1f} s, 1/{full / seconds:.0f} of the year; {result.summary}")
    whole = replace(year, project=year.project.model_copy(update={"name": "again"}))
    again, _ = timed(whole)
    same = content_hash(read(spark, year.store, year.names.features)) == content_hash(
        read(spark, year.store, whole.names.features)
    )
    print(f"in one go: {again:.1f} s; the tables are {'equal to the bit' if same else 'DIFFERENT'}")
    spark.stop()
    if given.root is None:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
