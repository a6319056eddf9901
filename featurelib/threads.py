"""Works that do not need each other run beside each other, in threads of the driver."""

# ruff: noqa: PLC0415 - threads without Spark need no pyspark

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Result = TypeVar("Result")


def run_beside(
    works: Sequence[Callable[[], Result]], *, spark: SparkSession | None, at_once: int
) -> list[Result]:
    """Run each work, at most ``at_once`` at a time, and return their results in the order given.

    The first error stops works not yet begun and is raised once those under way have ended. Threads inherit
    the local properties of the caller; under a FAIR scheduler each has a pool of its own, so that a long fit
    does not hold back a short one.
    """
    count = min(at_once, len(works))
    if count <= 1:
        return [work() for work in works]
    queue = _Queue(works)
    threads = [
        _thread(partial(_drain, queue, spark), f"beside-{number}", spark=spark) for number in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if queue.errors:
        raise queue.errors[0]
    return [queue.results[place] for place in range(len(works))]


def begin(work: Callable[[], Result]) -> Callable[[], Result]:
    """Begin a work in a thread; what is returned waits for it and gives its result, or raises its error."""
    threads = ThreadPoolExecutor(max_workers=1)
    begun = threads.submit(work)
    threads.shutdown(wait=False)
    return begun.result


class _Queue(Generic[Result]):
    """Works not yet begun, and what became of the others."""

    def __init__(self, works: Sequence[Callable[[], Result]]) -> None:
        self._waiting = list(enumerate(works))[::-1]
        self._lock = threading.Lock()
        self.results: dict[int, Result] = {}
        self.errors: list[BaseException] = []

    def take(self) -> tuple[int, Callable[[], Result]] | None:
        with self._lock:
            return None if self.errors or not self._waiting else self._waiting.pop()


def _drain(queue: _Queue[Result], spark: SparkSession | None, pool: str) -> None:
    _join_pool(spark, pool)
    while (taken := queue.take()) is not None:
        place, work = taken
        try:
            queue.results[place] = work()
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            queue.errors.append(error)


def _thread(target: Callable[[str], None], pool: str, *, spark: SparkSession | None) -> threading.Thread:
    if spark is None:
        return threading.Thread(target=target, args=(pool,))
    from pyspark import InheritableThread

    return InheritableThread(target=target, args=(pool,), session=spark)


def _join_pool(spark: SparkSession | None, pool: str) -> None:
    if spark is not None and spark.conf.get("spark.scheduler.mode", "FIFO") == "FAIR":
        spark.sparkContext.setLocalProperty("spark.scheduler.pool", pool)
