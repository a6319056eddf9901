"""A market stand: one landed table of three days, one view, a model of one trial. All six steps run in seconds."""

from __future__ import annotations

import gzip
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from pyspark.sql import SparkSession

from featurelib.config import load_project
from featurelib.pipeline.context import Context
from featurelib.pipeline.order import PIPELINE
from featurelib.pipeline.progress import Progress
from featurelib.pipeline.steps import run_step

AS_OF = datetime(2024, 1, 10, tzinfo=UTC)
DAYS = ("2024-01-01", "2024-01-02", "2024-01-03")
_FILES = {
    "base.yaml": """\
root: var/${env}
landing: ${root}/landing
spark: {shuffle_partitions: 2}
tracking: {tracking_uri: "sqlite:///${root}/mlflow.db", artifact_root: "${root}/artifacts"}
""",
    "env/local.yaml": "spark: {master: 'local[2]'}\n",
    "stand/pipeline.yaml": """\
name: stand
spine:
  table: visits
  key: [visit_id]
  as_of_ts: visited_ts
  columns: {visit_id: visit_id, shop: shop, party: party}
  column_types: {visit_id: string, shop: string, party: int}
label: {name: tipped, value: tip > 0, known_ts: paid_ts}
split:
  train: ["2024-01-01", "2024-01-02"]
  validate: ["2024-01-02", "2024-01-03"]
  test: ["2024-01-03", "2024-01-04"]
""",
    "stand/sources.yaml": """\
tables:
  visits:
    landing: visits
    columns: {visit_id: string, shop: string, party: int, visited_ts: timestamp_utc, tip: double, paid_ts: timestamp_utc}
entities:
  shop: {keys: [shop]}
sources:
  visits: {table: visits, event_ts: visited_ts, known_ts: paid_ts, tie_breaker: [visit_id]}
""",
    "stand/features.yaml": """\
views:
  visits:
    entity: shop
    source: visits
    aggregations:
      - {input: tip, ops: [sum, count], windows: [1d]}
""",
    "stand/models.yaml": """\
models:
  tips:
    features: [party, "visits__*"]
    baseline: {name: party, features: [party]}
    estimators: {line: {kind: logistic_regression, parameters: {max_iter: 2}}}
    lift_learner: {kind: logistic_regression, parameters: {max_iter: 2}}
    tuning: {trials: 1, seed: 7}
    gate: {minimum: 0.0}
""",
    "stand/quality.yaml": "gates: {visits: {max_quarantined: 0.2}}\n",
}
_HEADER = "visit_id,shop,party,visited_ts,tip,paid_ts"


def land(root: Path) -> None:
    """Write the project and its landed files; one row a day is bad, and goes to the quarantine."""
    for name, text in _FILES.items():
        path = root / "conf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for day in DAYS:
        rows = [
            f"{day}{shop}{hour},{shop},{2 + hour % 3},{day}T{hour}:00:00Z,{hour % 2},{day}T{hour}:30:00Z"
            for shop in "AB"
            for hour in range(10, 15)
        ]
        path = root / "landing" / "visits" / f"{day}.csv.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            gzip.compress("\n".join([_HEADER, *rows, f"{day}X,A,many,{day}T09:00:00Z,0,", ""]).encode())
        )


def context_of(spark: SparkSession, root: Path) -> Context:
    """The context of a run as of a week later."""
    project = load_project(root / "conf" / "stand", env="local", overrides=[f"root={root}"], environ={})
    return Context(project, spark, AS_OF, Progress(quiet=True))


def run_all(spark: SparkSession, root: Path, steps: tuple[str, ...] = PIPELINE) -> None:
    """Run the steps; each does only what is left to do, and says on stderr when it ends."""
    context = context_of(spark, root)
    for name in steps:
        run_step(context, name)
        sys.stderr.write(f"step done: {name}\n")
        sys.stderr.flush()


def attached(root: str, steps: tuple[str, ...] = PIPELINE) -> None:
    """Run the steps in a driver that attaches to the JVM which the environment names."""
    from tests.storage.child import attached_session

    run_all(attached_session(), Path(root), steps)


def attached_late(root: str, steps: tuple[str, ...]) -> None:
    """The same, by a driver that stops itself (SIGSTOP) once it is attached."""
    from tests.storage.child import attached_session

    session = attached_session()
    os.kill(os.getpid(), signal.SIGSTOP)
    run_all(session, Path(root), steps)
