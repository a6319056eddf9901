"""What runs themselves cost beside their work, and how far their plan was off, step by step.

    python -m benchmarks.overhead --root FOLDER --days 2013-12-01 2013-12-02 2013-12-09 2013-12-30 2013-12-31

The flights of 2013 land in FOLDER; then the whole pipeline runs as of each day, in a process of its own as
nightly runs are. Each prints the plan made before it beside the seconds its steps took, and the seconds in
leases, recovery, making and checking tables, commits without the write itself, verification and manifests,
the diary and planning. Threads count each for itself, so that overhead is an upper bound.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from functools import wraps
from pathlib import Path

PARTS: Counter[str] = Counter()
_WITHIN = threading.local()


def counted(part: str, function):
    """The function, its seconds counted, but where it is called by one that is counted already."""

    @wraps(function)
    def timed(*args, **options):
        if getattr(_WITHIN, "counts", False):
            return function(*args, **options)
        _WITHIN.counts, began = True, time.perf_counter()
        try:
            return function(*args, **options)
        finally:
            _WITHIN.counts = False
            PARTS[part] += time.perf_counter() - began

    return timed


def counted_commit(commit):
    """A commit without the change that it makes: that is the work."""

    @wraps(commit)
    def timed(self, table, step, change, **options):
        spent = []

        def work(stamp):
            _WITHIN.counts, began = False, time.perf_counter()
            try:
                return change(stamp)
            finally:
                _WITHIN.counts = True
                spent.append(time.perf_counter() - began)

        _WITHIN.counts, began = True, time.perf_counter()
        try:
            return commit(self, table, step, work, **options)
        finally:
            _WITHIN.counts = False
            PARTS["commits"] += time.perf_counter() - began - sum(spent)

    return timed


def count_parts() -> None:
    """From here on the seconds of runs, verification and publishing are counted."""
    from featurelib.lineage import records as _  # noqa: F401 - before its users
    from featurelib.pipeline import records, score, steps
    from featurelib.tables import lease, runs
    from featurelib.tables.commits import Commits
    from featurelib.tables.lease import Lease
    from featurelib.tables.runs import Run

    lease.acquire = counted("lease", lease.acquire)
    Lease.release = counted("lease", Lease.release)
    runs.restore_leftovers = counted("recovery", runs.restore_leftovers)
    Run.create = counted("making tables", Run.create)
    Run.publish = counted("verify and publish", Run.publish)
    Commits.commit = counted_commit(Commits.commit)
    for module in (records, score):
        module.append_ops = counted("diary", module.append_ops)
    steps._planned = counted("planning", steps._planned)
    steps._announced = counted("planning", steps._announced)


def one(root: Path, day: date, overrides: list[str]) -> None:
    """Plan and run the pipeline as of a day, and print both."""
    from featurelib.config import load_project
    from featurelib.pipeline.context import Context, Place
    from featurelib.pipeline.order import PIPELINE
    from featurelib.pipeline.plan import plan
    from featurelib.pipeline.progress import Progress
    from featurelib.pipeline.steps import run_pipeline
    from featurelib.session import build_session

    project = load_project("conf/flights", env="local", overrides=[f"root={root}", *overrides])
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
    began = time.perf_counter()
    before = {step.step: step for step in plan(Place(project, moment), steps=PIPELINE).steps}
    planned = time.perf_counter() - began
    began = time.perf_counter()
    spark = build_session(project.settings.spark, app_name="overhead")
    opened = time.perf_counter() - began
    count_parts()
    began = time.perf_counter()
    results = run_pipeline(Context(project, spark, moment, Progress(quiet=True)))
    whole = time.perf_counter() - began
    print(f"\nas of {day}: {whole:.1f} s, session {opened:.1f} s, plan {planned:.1f} s", flush=True)
    print("| step | size | planned s | took s | off |\n|---|---|---|---|---|")
    for result in results:
        step = before[result.step]
        said = "" if step.seconds is None else f"{step.seconds:.1f}"
        off = "" if step.seconds is None else f"{abs(step.seconds - result.seconds) / result.seconds:.0%}"
        print(f"| {result.step} | {step.size:,.0f} | {said} | {result.seconds:.1f} | {off} |")
    total = sum(PARTS.values())
    shares = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in PARTS.most_common())
    print(f"\nruns, verification, publishing: {total:.2f} s, {total / whole:.1%} ({shares})", flush=True)


def main() -> None:
    """Land the flights, then a process for each day."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--days", type=date.fromisoformat, nargs="+", required=True)
    parser.add_argument("-c", dest="overrides", action="append", default=[], help="a setting, as key=value")
    given = parser.parse_args()
    if len(given.days) == 1:
        one(given.root, given.days[0], given.overrides)
        return
    from featurelib.pipeline.flights import land_flights

    land_flights(str(given.root / "landing"), until=max(given.days) + timedelta(days=1))
    for day in given.days:
        command = [sys.executable, "-m", "benchmarks.overhead", "--root", str(given.root)]
        options = [word for override in given.overrides for word in ("-c", override)]
        subprocess.run([*command, "--days", str(day), *options], check=True)


if __name__ == "__main__":
    main()
