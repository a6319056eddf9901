"""The bound: one machine's engines in memory, Polars and DuckDB, each in a process of its own.

DuckDB is no dependency of the project: ``pip install duckdb`` where it shall take part.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import Contender, Result

DAYS = (1, 7, 30, 90)


def contender(engine: str, work: str, folder: Path, cores: int, spine: int) -> Contender:
    """Return an engine that does its work in a process of its own and measures itself."""
    environment = {**os.environ, "POLARS_MAX_THREADS": str(cores)}
    command = [sys.executable, "-m", "benchmarks.single", engine, work, str(folder), str(cores)]

    def run() -> Result:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{engine} failed: {done.stderr[-2000:]}")
        found = json.loads(done.stdout.splitlines()[-1])
        return Result(engine, spine, found["check"], [found["seconds"]], [found["cpu"]], python=found["peak"])

    return Contender(f"{engine} alone, in memory", run)


def polars_latest(folder: Path, _: int) -> object:
    import polars as pl

    spine = pl.read_parquet(folder / "spine" / "*.parquet").sort("as_of_ts")
    for path in sorted(folder.glob("v*")):
        names = {name: f"{path.name}__{name}_latest" for name in ("x", "n")}
        events = pl.read_parquet(path / "*.parquet").sort("event_ts").rename(names)
        spine = spine.join_asof(
            events,
            left_on="as_of_ts",
            right_on="event_ts",
            by="k",
            allow_exact_matches=False,
            check_sortedness=False,
        ).drop("event_ts", strict=False)
    return spine


def duckdb_latest(folder: Path, cores: int) -> object:
    sources = sorted(path.name for path in folder.glob("v*"))
    joins = " ".join(
        f"ASOF LEFT JOIN '{folder}/{name}/*.parquet' {name} "
        f"ON {name}.k = s.k AND {name}.event_ts < s.as_of_ts"
        for name in sources
    )
    columns = ", ".join(
        f"{name}.{column} AS {name}__{column}_latest" for name in sources for column in ("x", "n")
    )
    return _duckdb(f"SELECT s.k, s.as_of_ts, {columns} FROM '{folder}/spine/*.parquet' s {joins}", cores)


def polars_windows(folder: Path, _: int) -> object:
    import polars as pl

    spine = pl.read_parquet(folder / "spine" / "*.parquet").with_row_index("row").sort("k", "as_of_ts")
    events = pl.read_parquet(folder / "v0" / "*.parquet", columns=["k", "event_ts", "x"])
    both = pl.concat(
        [spine.select("k", pl.col("as_of_ts").alias("at"), "row"), events.rename({"event_ts": "at"})],
        how="diagonal",
    ).sort("k", "at")
    for days in DAYS:
        seen = both.rolling("at", period=f"{days}d", offset=f"-{days}d", closed="left", group_by="k").agg(
            pl.col("row").last().alias("none"),
            pl.col("x").count().alias("count"),
            pl.col("x").sum().alias("sum"),
            pl.col("x").min().alias("min"),
            pl.col("x").max().alias("max"),
            pl.col("x").mean().alias("mean"),
        )
        chosen = both["row"].is_not_null()
        named = (
            seen.filter(chosen)
            .select("count", "sum", "min", "max", "mean")
            .rename(lambda name, d=days: f"{name}_{d}d")
        )
        spine = spine.hstack(named)
    return spine


def duckdb_windows(folder: Path, cores: int) -> object:
    ends = "INTERVAL 1 MICROSECOND PRECEDING"
    frames = {days: f"RANGE BETWEEN INTERVAL {days} DAYS PRECEDING AND {ends}" for days in DAYS}
    windows = ", ".join(f"w{days} AS (PARTITION BY k ORDER BY ts {frames[days]})" for days in DAYS)
    columns = ", ".join(
        f"{op}(x) OVER w{days} AS {op}_{days}d"
        for days in DAYS
        for op in ("count", "sum", "min", "max", "avg")
    )
    union = (
        f"SELECT k, as_of_ts AS ts, NULL::DOUBLE AS x, true AS asked FROM '{folder}/spine/*.parquet' "
        f"UNION ALL SELECT k, event_ts AS ts, x, false FROM '{folder}/v0/*.parquet'"
    )
    return _duckdb(
        f"SELECT * FROM (SELECT k, ts, asked, {columns} FROM ({union}) WINDOW {windows}) WHERE asked", cores
    )


def _duckdb(query: str, cores: int) -> object:
    import duckdb

    connection = duckdb.connect(config={"threads": cores})
    return (
        connection.execute(f"CREATE TEMP TABLE answer AS {query}")
        and connection.execute("FROM answer").to_arrow_table()
    )


def checked(answer: object, work: str) -> str:
    """Rows and sums of whole-number features, as the Spark contenders give them."""
    import polars as pl

    frame = answer if isinstance(answer, pl.DataFrame) else pl.from_arrow(answer)
    names = [
        name
        for name in frame.columns
        if name.endswith("__n_latest" if work == "latest" else ("count_1d", "count_90d"))
    ]
    return " ".join(map(str, (frame.height, *(frame[name].cast(pl.Int64).sum() for name in names))))


def main() -> None:
    """Run one engine on one work and print seconds, peak memory and check as JSON."""
    engine, work, folder, cores = sys.argv[1:5]
    run: Callable[[Path, int], object] = globals()[f"{engine.lower()}_{work}"]
    began, worked = time.perf_counter(), time.process_time()
    answer = run(Path(folder), int(cores))
    seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    peak = next(
        int(row.split()[1]) * 1024
        for row in Path("/proc/self/status").read_text().splitlines()
        if "VmHWM" in row
    )
    print(json.dumps({"seconds": seconds, "cpu": cpu, "peak": peak, "check": checked(answer, work)}))


if __name__ == "__main__":
    main()
