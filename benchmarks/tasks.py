"""How long the tasks of the stages took that came after a shuffle, as Spark's status store counts them."""

from __future__ import annotations

import statistics
import time

_MOST = 100_000


def reduce_tasks(spark: object, *, after: int) -> list[float]:
    """Return the seconds of each task that read a shuffle, of stages with a greater number than ``after``."""
    time.sleep(0.3)  # the listener is behind by a moment
    store = spark.sparkContext._jsc.sc().statusStore()
    seconds = []
    for stage in range(after + 1, last_stage(spark) + 1):
        try:
            tasks = store.taskList(stage, 0, _MOST)
        except Exception as error:  # a stage that was skipped is not in the store
            if "NoSuchElementException" in str(error):
                continue
            raise
        for number in range(tasks.size()):
            metrics = tasks.apply(number).taskMetrics()
            if metrics.isDefined() and metrics.get().shuffleReadMetrics().recordsRead():
                seconds.append(metrics.get().executorRunTime() / 1000)
    return seconds


def last_stage(spark: object) -> int:
    """Return the greatest number of a stage so far, -1 before the first."""
    jvm = spark.sparkContext._jvm
    store = spark.sparkContext._jsc.sc().statusStore()
    none, quantiles = jvm.java.util.ArrayList(), spark.sparkContext._gateway.new_array(jvm.double, 0)
    stages = store.stageList(none, False, False, quantiles, none)
    return max((stages.apply(number).stageId() for number in range(stages.size())), default=-1)


HEADER = "| contender | tasks | median s | slowest s | slowest / median |\n|---|---|---|---|---|"


def line(name: str, runs: list[list[float]]) -> str:
    """One row of the report: of each run the median and the slowest task, of these the median run."""
    typical = statistics.median(statistics.median(seconds) for seconds in runs)
    slowest = statistics.median(max(seconds) for seconds in runs)
    ratio = statistics.median(max(seconds) / statistics.median(seconds) for seconds in runs)
    return f"| {name} | {len(runs[0])} | {typical:.2f} | {slowest:.2f} | {ratio:.2f} |"
