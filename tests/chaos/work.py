"""What processes do that are made to stop, to wait or to race; a module without pytest, so that they start at once."""

from __future__ import annotations

import time
from pathlib import Path

from featurelib.tables import Store, append_ops, begin_run
from tests.chaos import till


def start(root: str, gate: str) -> None:
    """Wait for the gate, then run while all others have started too."""
    while not Path(gate).exists():
        time.sleep(0.01)
    with begin_run(till.NO_SPARK, Store(root), pipeline="till", run_id=f"start-{time.monotonic_ns()}"):
        while not Path(f"{gate}.end").exists():
            time.sleep(0.01)


def sleepy(root: str, day: str) -> None:
    """A run whose rows are recognised; it is stopped on its way."""
    with begin_run(till.NO_SPARK, Store(root), pipeline="till", run_id=f"stale-{day}") as run:
        for table in (till.SALES, till.GOOD):
            run.append_rows([{"day": day, "sale": "stale"}], table)
        run.append_rows([{"day": day, "rows": 1}], till.FILES)
        run.publish(published_at=till.MOMENT)


def writer(root: str, name: str, commits: int) -> None:
    """Commit one row after another; note each when its commit was acknowledged."""
    for number in range(commits):
        version = append_ops(
            Store(root),
            till.DIARY,
            [{"run_id": name, "step": str(number)}],
            schema=till.DIARY_COLUMNS,
            stamp=till.Stamp(name, "till", 0),
        )
        with Path(root, f"acknowledged-{name}").open("a") as file:
            file.write(f"{version}\n")


def command(gate: str, *arguments: str) -> None:
    """Wait for the gate, then do what the console command does with these arguments, its exit included."""
    from featurelib.cli import main

    while not Path(gate).exists():
        time.sleep(0.01)
    main(list(arguments))


def overlapping(root: str) -> None:
    """The step ingest of the cafe, by a driver without Spark: it is to be refused before it needs it."""
    from featurelib.pipeline.context import Context
    from featurelib.pipeline.ingest import ingest
    from featurelib.pipeline.progress import Progress
    from tests.without_spark.cafe_store import place_in

    place = place_in(Path(root))
    ingest(Context(place.project, till.NO_SPARK, place.as_of, Progress(quiet=True)))


def other(root: str, days: tuple[str, ...]) -> None:
    """A run of the pipeline that holds the lease in any case, and loads what is left of the days."""
    with begin_run(till.NO_SPARK, Store(root), pipeline="till", run_id=f"other-{time.monotonic_ns()}"):
        pass
    till.pipeline(root, days)


def open_mlflow(root: str) -> None:
    """Open the registry of a project for the first time, or again."""
    from featurelib.registry.tracker import Tracker
    from featurelib.specs import TrackingSettings

    settings = TrackingSettings(tracking_uri=f"sqlite:///{root}/mlflow.db", artifact_root=f"{root}/artifacts")
    assert Tracker(settings).aliases("tips") == {}
