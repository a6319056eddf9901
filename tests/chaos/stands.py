"""Deaths of the whole pipeline on Spark: drivers that share one JVM are killed, and the next one goes on.

A driver is a process forked with all imports done, attached to the JVM of this process, as a notebook's is. So a death
costs seconds less than with a JVM of its own. What a dead driver's JVM would have ended with is ended here: its jobs
are cancelled, and the next driver starts when nothing of it is under way.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from pyspark.sql import SparkSession

from featurelib.pipeline.contents import IDENTITIES
from featurelib.pipeline.order import PIPELINE
from featurelib.tables import InjectedFault, Store, published, rows_of
from featurelib.tables.faults import VARIABLE
from tests.chaos import stand
from tests.chaos.kills import Death
from tests.chaos.processes import Child, preload

_QUIET_SECONDS = 300
_MOST_RERUNS = 3

Contents = Mapping[str, list[str]]


def contents(store: Store) -> dict[str, list[str]]:
    """The sorted rows of every published table without the columns in which equal runs differ; no Spark, no hash."""
    return {
        table: sorted(
            json.dumps({k: v for k, v in row.items() if k not in IDENTITIES}, sort_keys=True, default=str)
            for row in rows_of(store, table)
        )
        for table in published(store)
    }


class Stands:
    """An undisturbed run, step by step, and the stores that are disturbed."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        gateway = spark.sparkContext._gateway.gateway_parameters
        os.environ["PYSPARK_GATEWAY_PORT"], os.environ["PYSPARK_GATEWAY_SECRET"] = (
            str(gateway.port),
            gateway.auth_token,
        )
        preload("tests.chaos.stand", "tests.storage.child", "mlflow", "mlflow.models", "pyspark.ml", "polars")
        self.spark, self.folder = spark, folder
        self.landed, self.points, self.seconds = (
            folder / "landed",
            list[tuple[str, str]](),
            dict[str, float](),
        )
        self.groups: dict[str, dict[str, list[str]]] = {}
        self._numbers = iter(range(10**9))
        stand.land(self.landed)
        self._quiet = self._threads()
        self._run_undisturbed()

    def _run_undisturbed(self) -> None:
        """Learn what is reached and published by each step, and how long it takes in a driver of its own."""
        root = self.store()
        for step in PIPELINE:
            reached = self.folder / f"points-{step}"
            known = contents(Store(str(root)))
            shutil.copytree(root, self.folder / f"before-{step}")
            child = self.child(root, fault=f"list:{reached}", steps=(step,))
            began = time.monotonic()
            assert child.exit_code() == 0, child.said.read_text()
            self.seconds[step] = time.monotonic() - began
            now = contents(Store(str(root)))
            self.groups[step] = {table: rows for table, rows in now.items() if table not in known}
            self.points += [(step, name) for name in dict.fromkeys(reached.read_text().split())]
        self.wanted: Contents = contents(Store(str(root)))
        self.whole = root

    def store(self, name: str = "landed") -> Path:
        """A fresh copy of what has landed, or of the store before a step."""
        return Path(shutil.copytree(self.folder / name, self.folder / f"root-{next(self._numbers)}"))

    def child(self, root: Path, *, fault: str = "", steps: tuple[str, ...] = PIPELINE) -> Child:
        return Child(self.folder / "said", stand.attached, str(root), steps, fault=fault)

    def killed(self, root: Path, point: str) -> Death:
        """Kill the driver at a point; the store is left as it is."""
        child = self.child(root, fault=f"kill:{point}")
        fired = child.exit_code() == -signal.SIGKILL and child.fired(point)
        self.quiesce()
        return Death(point, "kill", fired, equal=True, faults=self.torn(root))

    def killed_after(self, root: Path, seconds: float) -> Death:
        """Kill the driver at a moment; it may have ended before."""
        fired = self.child(root).kill_after(seconds)
        self.quiesce()
        return Death(f"{seconds:.3f} s", "kill", fired, equal=True, faults=self.torn(root))

    def raised(self, root: Path, point: str) -> Death:
        """Raise at a point, in this process."""
        os.environ[VARIABLE], fired = f"raise:{point}", False
        try:
            stand.run_all(self.spark, root)
        except InjectedFault:
            fired = True
        finally:
            del os.environ[VARIABLE]
        return Death(point, "raise", fired, equal=True, faults=self.torn(root))

    def without_workers(self, step: str, point: str) -> Death:
        """Kill all Python workers while the driver stands at a point; run the step again should it fail of that."""
        root = self.store(f"before-{step}")
        child = self.child(root, fault=f"stop:{point}", steps=(step,))
        child.await_stop()
        workers = python_workers(self._jvm_pid())
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        child.signal(signal.SIGCONT)
        faults = [] if child.exit_code() == 0 else self._rerun(root, (step,))
        upto = PIPELINE[: PIPELINE.index(step) + 1]
        wanted = {table: rows for name in upto for table, rows in self.groups[name].items()}
        return Death(point, "worker", bool(workers), contents(Store(str(root))) == wanted, faults)

    def finished(self, root: Path) -> Death:
        """Let a driver go to the end, and compare."""
        faults = self._rerun(root, PIPELINE)
        return Death(
            "the end", "end", fired=True, equal=contents(Store(str(root))) == self.wanted, faults=faults
        )

    def _rerun(self, root: Path, steps: tuple[str, ...]) -> list[str]:
        said = []
        for _ in range(_MOST_RERUNS):
            child = self.child(root, steps=steps)
            if child.exit_code() == 0:
                return self.torn(root)
            said.append(child.said.read_text()[-1500:])
        return said

    def torn(self, root: Path) -> list[str]:
        """The tables of a step that are published without the others of it, or hold other rows."""
        now = contents(Store(str(root)))
        found = []
        for step, group in self.groups.items():
            there = {table: now[table] for table in group if table in now}
            if there and there != group:
                odd = [table for table in group if there.get(table) != group[table]]
                found.append(f"{step}: {', '.join(odd)}")
        return found

    # --- the JVM ------------------------------------------------------------------------------------------

    def quiesce(self) -> None:
        """Return when nothing that a dead driver began is under way in the JVM."""
        until = time.monotonic() + _QUIET_SECONDS
        while self._threads() - self._quiet:
            self.spark.sparkContext.cancelAllJobs()
            assert time.monotonic() < until, f"the JVM is still at work: {self._threads() - self._quiet}"
            time.sleep(0.02)

    def _threads(self) -> set[str]:
        """The JVM's threads that serve a driver, or were made by one."""
        threads = str(self.spark._jvm.java.lang.Thread.getAllStackTraces().keySet().toString())
        return set(re.findall(r"Thread\[#\d+,Thread-\d+,|Thread\[Thread-\d+,", threads))

    def _jvm_pid(self) -> int:
        return int(self.spark._jvm.java.lang.ProcessHandle.current().pid())


def python_workers(jvm: int) -> list[int]:
    """The Python workers of a JVM: what its daemon has forked."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    daemons = {pid for pid, parent in parents.items() if parent == jvm}
    return [pid for pid, parent in parents.items() if parent in daemons]


def in_order(points: list[tuple[str, str]]) -> Iterator[str]:
    """The points of a run with those of the recovery that a death behind a write leads to."""
    for _, point in points:
        yield point
        if point.startswith("write.") and point.endswith(".after"):
            table = point.removeprefix("write.").removesuffix(".after")
            yield f"restore.{table}.before"
            yield f"restore.{table}.after"


def moments(seconds: Mapping[str, float], dice: random.Random) -> Iterator[float]:
    """Moments within a step of an undisturbed run; now and then one that lets the step end."""
    while True:
        yield dice.uniform(0, 1.1) * seconds[dice.choice(list(seconds))]
