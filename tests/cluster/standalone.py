"""A real Spark cluster on this machine: a master and workers as processes of their own, on the loopback address."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyspark

_MASTER = "org.apache.spark.deploy.master.Master"
_WORKER = "org.apache.spark.deploy.worker.Worker"
_ADDRESS = "127.0.0.1"
_STARTED = re.compile(r"Starting Spark master at (spark://\S+)")
_REGISTERED = "Successfully registered with master"
_PATIENCE = 60.0


@dataclass
class Cluster:
    """A running cluster.

    Attributes:
        address: of the master, as ``spark://127.0.0.1:41234``.
        workers: those that have been started, dead ones too.
        folder: Spark's home for the cluster, its logs and its workers' folders.
    """

    address: str
    folder: Path
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def spark_home(self) -> Path:
        """The Spark that the cluster runs, which drivers may use as well."""
        return self.folder / "spark"

    def kill_worker(self, which: int) -> None:
        """End a worker and its executors at once, as a machine that loses its power."""
        worker = self.workers[which]
        assert worker.poll() is None, f"worker {which} ended before it was to be killed"
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()

    def executors_of(self, which: int) -> list[Path]:
        """Return the folders of the executors that a worker has started."""
        return sorted((self.folder / f"worker-{which}").glob("app-*/*"))


@contextmanager
def standalone_cluster(folder: Path, *, workers: int, cores: int, memory: str) -> Iterator[Cluster]:
    """Start a master and workers, and end them all.

    Args:
        folder: an empty folder for all that the cluster writes.
        workers: how many.
        cores: task slots of each.
        memory: what each may give to executors, as ``2g``.
    """
    home = folder / "spark"
    home.mkdir(parents=True)
    for entry in Path(pyspark.__file__).parent.iterdir():
        (home / entry.name).symlink_to(entry)
    started: list[subprocess.Popen[bytes]] = []
    try:
        command = ["--host", _ADDRESS, "--port", "0", "--webui-port", "0"]
        started.append(_start(home, _MASTER, command, folder / "master.log"))
        address = _said(folder / "master.log", _STARTED, started[0])
        cluster = Cluster(address, folder)
        for number in range(workers):
            log = folder / f"worker-{number}.log"
            command = ["--host", _ADDRESS, "--webui-port", "0", "--cores", str(cores), "--memory", memory]
            command += ["--work-dir", str(folder / f"worker-{number}"), address]
            started.append(_start(home, _WORKER, command, log))
            cluster.workers.append(started[-1])
            _said(log, re.compile(f"({_REGISTERED})"), started[-1])
        yield cluster
    finally:
        for process in reversed(started):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _start(home: Path, role: str, options: list[str], log: Path) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "SPARK_HOME": str(home),
        "SPARK_LOCAL_IP": _ADDRESS,
        "SPARK_DAEMON_MEMORY": "512m",
        "SPARK_LOCAL_DIRS": str(log.parent),
    }
    with log.open("wb") as out:
        return subprocess.Popen(
            [str(home / "bin" / "spark-class"), role, *options],
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _said(log: Path, wanted: re.Pattern[str], process: subprocess.Popen[bytes]) -> str:
    """Wait until the log holds what is wanted, and return its first group."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        if found := wanted.search(log.read_text(encoding="utf-8", errors="replace")):
            return found.group(1)
        time.sleep(0.2)
    raise AssertionError(f"{log} never said {wanted.pattern!r}:\n{log.read_text(errors='replace')[-3000:]}")
