"""Work of several runs takes turns: one piece of work at a time, and who has waited goes before who works on.

A lease is held for one run, that is one step. A whole pipeline, and each chunk of a backfill, holds the turn
from its first step to its last, so that neither slips in between the steps of the other.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from featurelib.errors import LeaseHeld
from featurelib.tables import lease as leases
from featurelib.tables.store import Store

_POLL_SECONDS = 0.25
_WAITING = "waiting"
_STILL_THERE_SECONDS = 10.0
Sleep = Callable[[float], None]


@contextmanager
def turn(
    store: Store,
    *,
    pipeline: str,
    run_id: str,
    wait_seconds: float = 0.0,
    gives_way: bool = False,
    sleep: Sleep = time.sleep,
) -> Iterator[None]:
    """Hold the turn of a pipeline; where somebody else has it, wait for it so long.

    Args:
        store: where the leases are.
        pipeline: whose turn.
        run_id: what others are told of who works.
        wait_seconds: how long to wait; 0 for not at all.
        gives_way: whether those who wait already go first, as a backfill lets a daily run.
        sleep: how to wait.

    Raises:
        LeaseHeld: it was not free within the time.
    """
    folder = store.leases / "turns"
    deadline = time.monotonic() + wait_seconds
    kind = "giving_way" if gives_way else _WAITING
    with _marked(folder / f"{pipeline}.{uuid.uuid4().hex}.{kind}") as still_waiting:
        while True:
            still_waiting()
            held = _held_for_others(folder, pipeline, still_waiting.own) if gives_way else None
            try:
                if held is None:
                    lease = leases.acquire(folder, pipeline=pipeline, run_id=run_id)
                    break
            except LeaseHeld as error:
                held = error
            if time.monotonic() >= deadline:
                raise held
            sleep(_POLL_SECONDS)
    lease.start_heartbeat()
    try:
        yield
    finally:
        lease.release()


class _Mark:
    """A file that says that somebody waits; renewed at each look, and soon old when its maker is gone."""

    def __init__(self, path: Path) -> None:
        self.own = path

    def __call__(self) -> None:
        self.own.parent.mkdir(parents=True, exist_ok=True)
        self.own.touch()


@contextmanager
def _marked(path: Path) -> Iterator[_Mark]:
    mark = _Mark(path)
    try:
        yield mark
    finally:
        mark.own.unlink(missing_ok=True)


def _held_for_others(folder: Path, pipeline: str, own: Path) -> LeaseHeld | None:
    """Return what to say where somebody else waits, None where nobody does."""
    now = own.stat().st_mtime
    for other in folder.glob(f"{pipeline}.*.{_WAITING}"):
        with suppress(FileNotFoundError):
            if now - other.stat().st_mtime < _STILL_THERE_SECONDS:
                return LeaseHeld(
                    f"another run of pipeline {pipeline!r} waits for its turn",
                    "nobody to wait before a backfill goes on",
                    "run the same command again: what is done is skipped",
                )
    return None
