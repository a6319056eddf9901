"""The whole demo on a real cluster of one master and two workers, one of which dies in the middle.

Takes as long as three demos, so it is asked for: FEATURELIB_CLUSTER=1 ./spark-submit.sh test tests/cluster
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.cluster.standalone import Cluster, standalone_cluster

PROJECT = Path(__file__).resolve().parents[2]
HOURS = 3600.0
WANTED = "FEATURELIB_CLUSTER"

pytestmark = pytest.mark.skipif(
    not os.environ.get(WANTED), reason=f"takes as long as three demos; asked for by {WANTED}=1"
)


def command(*words: str, root: Path) -> list[str]:
    """A command of the library over the stores of one root."""
    return [sys.executable, "-m", "featurelib.cli", *words, "-c", f"root={root}"]


def on(cluster: Cluster) -> list[str]:
    """What sends a command's session to the cluster: two slots in all, so that two workers give one each."""
    settings = {
        "spark.master": cluster.address,
        "spark.driver_memory": "2g",
        "spark.conf.spark.cores.max": "2",
        "spark.conf.spark.executor.memory": "2g",
        "spark.conf.spark.driver.host": "127.0.0.1",
        "spark.conf.spark.driver.bindAddress": "127.0.0.1",
        "spark.conf.spark.ui.enabled": "false",
    }
    return [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]


def run(words: Sequence[str], *, cluster: Cluster | None = None, at: dict[str, int] | None = None) -> str:
    """Run a command to its end, and kill a worker when it prints a line that begins so."""
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    if cluster is not None:
        environment |= {"SPARK_HOME": str(cluster.spark_home)}
    due = dict(at or {})
    said: list[str] = []
    child = subprocess.Popen(
        words, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    timer = threading.Timer(HOURS, child.kill)
    timer.start()
    try:
        assert child.stdout is not None
        for line in child.stdout:
            said.append(line)
            for beginning in [word for word in due if line.lstrip().startswith(word)]:
                assert cluster is not None
                cluster.kill_worker(due.pop(beginning))
    finally:
        timer.cancel()
        child.wait()
    text = "".join(said)
    assert child.returncode == 0, text[-8000:]
    assert not due, f"never said {', '.join(due)}:\n{text[-8000:]}"
    return text


def contents(text: str) -> dict[str, str]:
    """Rows and content of every table that a run makes of the data alone."""
    rows = (line.split() for line in text.splitlines())
    return {
        row[0]: f"{row[2]} {row[3]}"
        for row in rows
        if len(row) == 4 and row[0].split(".")[0] in {"bronze", "silver", "features", "training"}
    }


def test_the_demo_on_a_cluster_that_loses_a_worker_makes_the_tables_it_makes_alone(tmp_path: Path) -> None:
    """Two workers, one killed with its executor while the model is tuned: no row differs from a local run.

    The model itself is compared by its quality: how a forest is grown depends on how rows lie in partitions.
    """
    alone = tmp_path / "alone"
    said_alone = run(command("demo", root=alone))
    shared = tmp_path / "shared"
    with standalone_cluster(tmp_path / "cluster", workers=2, cores=2, memory="4g") as cluster:
        said = run([*command("demo", root=shared), *on(cluster)], cluster=cluster, at={"trial 2 of": 1})
        assert cluster.executors_of(1), "no executor ran where the worker was killed"
    assert auc(said) == pytest.approx(auc(said_alone), abs=0.01)
    found = contents(run(command("tables", root=shared)))
    assert found
    assert found == contents(run(command("tables", root=alone)))


def auc(text: str) -> float:
    """The test ROC AUC that a demo prints."""
    return float(text.partition("test ROC AUC ")[2].split()[0])
