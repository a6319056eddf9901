"""Seconds, CPU seconds, shuffle bytes and peak memory of contenders on the same data and cores.

On a machine that others use too, the CPU seconds of all processes of a contender compare better than its
seconds: waiting for a core costs none.
"""

from __future__ import annotations

import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Result:
    """One contender: the seconds of each run, and the largest of everything else."""

    name: str
    spine: int
    checked: str = ""
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    shuffled: int | None = None
    jvm: int = 0
    python: int = 0

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Contender:
    """Something to measure.

    Attributes:
        name: in the report.
        run: does the work once and returns what it measured itself, or None to be measured from outside.
        check: does the work once, unmeasured, and returns what is equal for all contenders.
        once: measured once only, and not checked.
    """

    name: str
    run: Callable[[], Result | None]
    check: Callable[[], str] | None = None
    once: bool = False


class Memory(threading.Thread):
    """Samples the memory of this process and its children, the JVM apart from the Python workers."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.jvm = self.python = 0
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(0.05):
            for pid in _tree(os.getpid()):
                name, resident = _process(pid)
                if name == "java":
                    self.jvm = max(self.jvm, resident)
                elif name.startswith("python"):
                    self.python = max(self.python, resident)

    def stop(self) -> Memory:
        self._stopped.set()
        self.join()
        return self


def _tree(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parent = int(stat.rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found, pending = [], [root]
    while pending:
        pid = pending.pop()
        found.append(pid)
        pending += children.get(pid, [])
    return found


def cpu_seconds() -> float:
    """CPU seconds of this process and its children so far, those that have ended included."""
    ticks = 0
    for pid in _tree(os.getpid()):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(int(fields[at]) for at in (11, 12, 13, 14))
    return ticks / os.sysconf("SC_CLK_TCK")


def _process(pid: int) -> tuple[str, int]:
    try:
        name = Path(f"/proc/{pid}/comm").read_text().strip()
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except (OSError, IndexError):
        return "", 0
    return name, resident


def compete(contenders: Sequence[Contender], *, times: int, spine: int, spark: object | None) -> list[Result]:
    """Measure the contenders in rounds, so that a slow minute of the machine strikes all of them.

    Before the first round each does its work once: that fills caches, compiles, and gives the check. One that
    takes very long may run in the first round only, unchecked.
    """
    results = [
        Result(one.name, spine, one.check() if one.check and not one.once else "") for one in contenders
    ]
    for number in range(times):
        for contender, result in zip(contenders, results, strict=True):
            if number == 0 or not contender.once:
                _run(contender, result, spark)
    for result in results:
        print(line(result), flush=True)
    return results


def _run(contender: Contender, result: Result, spark: object | None) -> None:
    memory, before = Memory(), shuffle_bytes(spark)
    memory.start()
    began, worked = time.perf_counter(), cpu_seconds()
    own = contender.run()
    seconds, cpu = time.perf_counter() - began, cpu_seconds() - worked
    memory.stop()
    if own is not None:
        result.seconds += own.seconds
        result.cpu += own.cpu
        result.python, result.checked = max(result.python, own.python), own.checked
        return
    result.seconds.append(seconds)
    result.cpu.append(cpu)
    result.jvm, result.python = max(result.jvm, memory.jvm), max(result.python, memory.python)
    after = shuffle_bytes(spark)
    result.shuffled = None if before is None or after is None else after - before


def shuffle_bytes(spark: object | None) -> int | None:
    """Bytes written to shuffles so far, as Spark's status store counts them."""
    if spark is None:
        return None
    time.sleep(0.3)  # the listener is behind by a moment
    executors = spark.sparkContext._jsc.sc().statusStore().executorList(False)
    return sum(executors.apply(i).totalShuffleWrite() for i in range(executors.size()))


HEADER = (
    "| contender | median s | all runs | median CPU s | all runs | spine rows/CPU s "
    "| shuffle MB | JVM MB | largest Python MB | check |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


def line(result: Result) -> str:
    """One row of the report."""
    cpu = statistics.median(result.cpu)
    cells = (
        result.name,
        f"{result.median:.1f}",
        " ".join(f"{second:.1f}" for second in result.seconds),
        f"{cpu:.1f}",
        " ".join(f"{second:.1f}" for second in result.cpu),
        f"{result.spine / cpu:,.0f}",
        "" if result.shuffled is None else f"{result.shuffled / 1e6:,.0f}",
        f"{result.jvm / 1e6:,.0f}" if result.jvm else "",
        f"{result.python / 1e6:,.0f}",
        result.checked,
    )
    return f"| {' | '.join(cells)} |"


def said(command: str) -> str:
    """The command that makes the same figures."""
    return f"python -m {command} {' '.join(sys.argv[1:])}".strip()
