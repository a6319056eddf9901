"""Deaths of the whole pipeline on Spark: drivers that share one JVM are killed, and the next one goes on.

A driver is a process forked with all imports done, attached to the JVM of this process, as a notebook's is; it runs one
step on a store that stands before it. So a death costs neither a JVM nor the steps before. What a dead driver's JVM
would have ended with is ended here: its jobs are cancelled, and the next driver starts when nothing of it is under way.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path

from pyspark.sql import SparkSession

from featurelib.pipeline.contents import IDENTITIES
from featurelib.pipeline.order import PIPELINE
from featurelib.tables import InjectedFault, Store, published, rows_of
from featurelib.tables.faults import VARIABLE
from featurelib.tables.processes import started
from tests.chaos import stand
from tests.chaos.kills import Death
from tests.chaos.processes import Child, preload

_QUIET_SECONDS = 300
_MOST_RERUNS = 3
_LATE = (
    *("mlflow", "mlflow.models", "mlflow.store.tracking.sqlalchemy_store", "mlflow.store.db.utils"),
    *("alembic.command", "sqlalchemy.dialects.sqlite", "pygments.lexers", "hyperopt", "pyspark.ml", "polars"),
)
"""What steps import at their first use: seconds of a driver's life that no death should wait for."""
_SERVES = re.compile(r"Thread-\d+")
_IDLE = "java.util.concurrent.ThreadPoolExecutor.getTask"
_FIRED = re.compile(r"^fault fired: (\S+)$", re.MULTILINE)
_REGISTRY = {
    "versions": "SELECT name, version FROM model_versions ORDER BY 1, 2",
    "aliases": "SELECT name, alias, version FROM registered_model_aliases ORDER BY 1, 2",
}

REGISTRY = "registry"
Contents = Mapping[str, list[str]]


def contents(root: Path) -> dict[str, list[str]]:
    """The sorted rows of every published table without the columns in which equal runs differ; no Spark, no hash.

    Under the name ``registry`` stand the versions of models, their aliases and what waits to be registered.
    """
    store = Store(str(root))
    found = {
        table: sorted(
            json.dumps({k: v for k, v in row.items() if k not in IDENTITIES}, sort_keys=True, default=str)
            for row in rows_of(store, table)
        )
        for table in published(store)
    }
    return {**found, REGISTRY: registry(root)}


def registry(root: Path) -> list[str]:
    """What MLflow's database holds of models, read by its SQL."""
    database = root / "mlflow.db"
    if not database.exists():
        return []
    with closing(sqlite3.connect(database, timeout=60)) as opened:
        rows = [(what, *row) for what, query in _REGISTRY.items() for row in opened.execute(query)]
    return [json.dumps(row) for row in rows] + [path.name for path in root.glob("outbox/[!.]*")]


class Stands:
    """An undisturbed run, step by step, and the stores that are disturbed.

    Attributes:
        points: the named points that each step reaches, in order.
        seconds: how long each step takes a driver that is attached.
        behind: what is published behind each step.
    """

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        gateway = spark.sparkContext._gateway.gateway_parameters
        os.environ["PYSPARK_GATEWAY_PORT"], os.environ["PYSPARK_GATEWAY_SECRET"] = (
            str(gateway.port),
            gateway.auth_token,
        )
        preload("tests.chaos.stand", "tests.storage.child", *_LATE)
        self.spark, self.folder = spark, folder
        self.points: dict[str, list[str]] = {}
        self.seconds: dict[str, float] = {}
        self.behind: dict[str, Contents] = {}
        self._numbers = iter(range(10**9))
        stand.land(folder / f"before-{PIPELINE[0]}")
        self._quiet = {str(thread.getName()) for thread in spark._jvm.java.lang.Thread.getAllStackTraces()}
        self._run_undisturbed()

    def _run_undisturbed(self) -> None:
        """Learn what is reached and published by each step, and how long it takes once the JVM knows it."""
        for step, following in zip(PIPELINE, [*PIPELINE[1:], None], strict=True):
            reached = self.folder / f"points-{step}"
            root = self.store(step)
            child = self.child(root, step, fault=f"list:{reached}")
            assert child.exit_code() == 0, child.said.read_text()
            self.points[step] = list(dict.fromkeys(reached.read_text().split()))
            self.behind[step] = contents(root)
            if following is None:
                self.whole = root
            else:
                shutil.copytree(root, self.folder / f"before-{following}")
        for step in PIPELINE:
            child = self.waiting(self.store(step), step)
            began = time.monotonic()
            child.signal(signal.SIGCONT)
            assert child.exit_code() == 0, child.said.read_text()
            self.seconds[step] = time.monotonic() - began
        self.quiesce()

    # --- stores and drivers -------------------------------------------------------------------------------

    def store(self, step: str) -> Path:
        """A fresh copy of the store as it stands before a step."""
        return Path(
            shutil.copytree(self.folder / f"before-{step}", self.folder / f"root-{next(self._numbers)}")
        )

    def child(self, root: Path, step: str, *, fault: str = "") -> Child:
        return Child(self.folder / "said", stand.attached, str(root), (step,), fault=fault)

    def waiting(self, root: Path, step: str, *, fault: str = "") -> Child:
        """A driver that is attached, and stands still before the step."""
        child = Child(self.folder / "said", stand.attached_late, str(root), (step,), fault=fault)
        child.await_stop()
        return child

    # --- deaths -------------------------------------------------------------------------------------------

    def struck(self, root: Path, step: str, point: str, kind: str) -> Death:
        """End a driver at a point, by SIGKILL or by an exception; the store is left as it is."""
        fired = self._killed(root, step, point) if kind == "kill" else self._raised(root, step, point)
        return Death(f"{step}: {point}", kind, fired, equal=None, faults=self.torn(root, step))

    def _killed(self, root: Path, step: str, point: str) -> bool:
        child = self.child(root, step, fault=f"kill:{point}")
        fired = child.exit_code() == -signal.SIGKILL and child.fired(point)
        self.quiesce()
        return fired

    def _raised(self, root: Path, step: str, point: str) -> bool:
        """Raise in this process."""
        os.environ[VARIABLE] = f"raise:{point}"
        try:
            stand.run_all(self.spark, root, (step,))
        except InjectedFault:
            return True
        finally:
            del os.environ[VARIABLE]
        return False

    def killed_after(self, root: Path, step: str, seconds: float) -> Death:
        """Kill the driver so long after a step began; it may have ended before. Says behind which point."""
        reached = self.folder / "reached"
        reached.unlink(missing_ok=True)
        child = self.waiting(root, step, fault=f"list:{reached}")
        child.signal(signal.SIGCONT)
        fired = child.kill_after(seconds)
        self.quiesce()
        last = reached.read_text().split()[-1] if reached.exists() else "its begin"
        return Death(f"{step}: {last}", "kill", fired, equal=None, faults=self.torn(root, step))

    def without_workers(self, step: str) -> Iterator[Death]:
        """Kill all Python workers whenever the driver stands at a point; run the step again should it fail of that."""
        root = self.store(step)
        child = self.child(root, step, fault="stop:*")
        struck = []
        while child.stops():
            self._work_in_python()
            struck.append((_FIRED.findall(child.said.read_text())[-1], self.kill_workers()))
            child.signal(signal.SIGCONT)
        code = child.exit_code()
        end = self.finished(root, step, faults=[] if code in {0, 1} else [child.said.read_text()[-1500:]])
        seen = {point for point, _ in struck}
        for point, killed in struck:
            yield Death(f"{step}: {point}", "worker", killed > 0, end.equal, end.faults)
        for point in self.points[step]:
            if point not in seen:
                yield Death(f"{step}: {point}", "worker", fired=False, equal=end.equal)

    def without_workers_at_work(self, step: str, number: int) -> Death:
        """Kill the first Python workers that the step is given, as soon as they are forked; run it again should it fail.

        It counts as fired if tasks failed of it. More than three of one task fail the step.
        """
        root, failed, killed = self.store(step), self._failed_tasks(), 0
        self._work_in_python()
        daemons = children(self._jvm_pid())
        self.kill_workers()
        child = self.child(root, step)
        while child.is_alive:
            for worker in [pid for daemon in daemons for pid in children(daemon)]:
                killed += killed < number and _kill(worker)
            child.wait(0.002 if killed < number else 60)
        code = child.exit_code()
        end = self.finished(root, step, faults=[] if code in {0, 1} else [child.said.read_text()[-1500:]])
        where = f"{step}: {killed} at work" if killed else f"{step}: none at work"
        return Death(where, "worker", self._failed_tasks() > failed, end.equal, end.faults)

    # --- what is left -------------------------------------------------------------------------------------

    def finished(self, root: Path, step: str, faults: list[str] | None = None) -> Death:
        """Let a driver go to the end of the step, and compare what is published behind it."""
        said = []
        for _ in range(_MOST_RERUNS):
            child = self.child(root, step)
            if child.exit_code() == 0:
                break
            said.append(child.said.read_text()[-1500:])
        else:
            said += ["the step did not come to its end"]
        equal = contents(root) == self.behind[step]
        return Death(f"{step}: its end", "end", True, equal, [*(faults or []), *said])

    def torn(self, root: Path, step: str) -> list[str]:
        """What is published that belongs neither before nor behind the step."""
        place = PIPELINE.index(step)
        before = self.behind[PIPELINE[place - 1]] if place else {}
        return [f"{step}: {odd}" for odd in torn(contents(root), before, self.behind[step])]

    # --- the JVM ------------------------------------------------------------------------------------------

    def quiesce(self) -> None:
        """Return when nothing that a dead driver began is under way in the JVM."""
        until = time.monotonic() + _QUIET_SECONDS
        while busy := self._at_work():
            self.spark.sparkContext.cancelAllJobs()
            assert time.monotonic() < until, f"the JVM is still at work: {busy}"
            time.sleep(0.02)

    def _at_work(self) -> list[str]:
        """What the JVM's threads do that serve another driver, or were made by one and have not ended their work."""
        java = self.spark._jvm.java.lang
        found = []
        for thread in java.Thread.getAllStackTraces():
            if not _SERVES.fullmatch(name := str(thread.getName())) or name in self._quiet:
                continue
            told = java.management.ManagementFactory.getThreadMXBean().getThreadInfo(thread.getId(), 8)
            if (
                told is not None and _IDLE not in told.toString()
            ):  # a thread of a pool waits a minute for more
                found.append(str(told.toString()))
        return found

    def _work_in_python(self) -> None:
        """Have the JVM keep Python workers, which the next task in Python is given."""
        rows = self.spark.range(1, numPartitions=1)
        rows.mapInArrow(lambda batches: batches, rows.schema).collect()

    def _failed_tasks(self) -> int:
        executors = self.spark.sparkContext._jsc.sc().statusStore().executorList(False)
        return sum(int(executors.apply(place).failedTasks()) for place in range(executors.size()))

    def kill_workers(self) -> int:
        """Kill the Python workers of the JVM, which its daemon has forked; return how many there were."""
        return sum(_kill(pid) for daemon in children(self._jvm_pid()) for pid in children(daemon))

    def _jvm_pid(self) -> int:
        return int(self.spark._jvm.java.lang.ProcessHandle.current().pid())


def torn(now: Contents, before: Contents, behind: Contents) -> list[str]:
    """Tables with rows of neither, tables that are gone, some of a step's tables without the others, and aliases of nothing.

    The registry may hold more or less than before and behind: versions come one by one, not with a publish.
    """
    tables = {name for name in {*now, *before, *behind} if name != REGISTRY}
    odd = [
        f"{name} is gone" if name not in now else f"{name} holds other rows"
        for name in sorted(tables)
        if now.get(name) not in (before.get(name), behind.get(name))
    ]
    new = {name for name in tables if before.get(name) != behind.get(name)}
    there = {name for name in new if now.get(name) == behind.get(name)}
    if there and there != new:
        odd.append(f"{', '.join(sorted(there))} without {', '.join(sorted(new - there))}")
    rows = [json.loads(row) for row in now.get(REGISTRY, []) if row.startswith("[")]
    versions = {(row[1], row[2]) for row in rows if row[0] == "versions"}
    aliases = [row[1:] for row in rows if row[0] == "aliases"]
    return odd + [
        f"alias {alias} of {name} names no version"
        for name, alias, version in aliases
        if (name, version) not in versions
    ]


def children(pid: int) -> list[int]:
    """The living child processes of a process: none that has died and was not waited for yet."""
    found: list[str] = []
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # a thread that has ended
            found += listed.read_text().split()
    return [int(child) for child in found if started(int(child))]


def _kill(pid: int) -> int:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return 1
    return 0


def in_order(points: list[str]) -> Iterator[str]:
    """The points of a step with those of the recovery that a death behind a write leads to."""
    for point in points:
        yield point
        if point.startswith("write.") and point.endswith(".after"):
            table = point.removeprefix("write.").removesuffix(".after")
            yield f"restore.{table}.before"
            yield f"restore.{table}.after"
