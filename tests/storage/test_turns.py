"""Turns: one piece of work at a time, and the patient before the greedy."""

from __future__ import annotations

import threading
import time

import pytest

from featurelib.errors import LeaseHeld
from featurelib.tables import Store, turn


def test_who_comes_second_is_told_who_works(store: Store) -> None:
    """Without waiting it is refused at once, by the name of the run that has the turn; other pipelines work on."""
    with turn(store, pipeline="pipe", run_id="backfill-1"):
        with (
            pytest.raises(LeaseHeld, match="'pipe' is run by backfill-1"),
            turn(store, pipeline="pipe", run_id="b"),
        ):
            pass
        with turn(store, pipeline="other", run_id="c"):
            pass
    with turn(store, pipeline="pipe", run_id="d"):
        pass


def test_who_waits_long_enough_gets_its_turn(store: Store) -> None:
    """The turn is taken at the first look after it was given back."""
    work = turn(store, pipeline="pipe", run_id="a")
    work.__enter__()
    looks: list[float] = []

    def until_the_third(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            work.__exit__(None, None, None)

    with turn(store, pipeline="pipe", run_id="b", wait_seconds=60, sleep=until_the_third):
        assert len(looks) == 3


def test_a_backfill_gives_way_to_who_waits(store: Store) -> None:
    """Between its chunks a run that waits works from its first step to its last, though the backfill is quicker."""
    done: list[str] = []
    waits = threading.Event()

    def daily() -> None:
        with turn(
            store,
            pipeline="pipe",
            run_id="daily",
            wait_seconds=60,
            sleep=lambda s: (waits.set(), time.sleep(s)),
        ):
            done.extend(("first step", "second step"))

    thread = threading.Thread(target=daily)
    for chunk in ("chunk 1", "chunk 2"):
        with turn(store, pipeline="pipe", run_id="backfill", wait_seconds=60, gives_way=True):
            done.append(chunk)
            if chunk == "chunk 1":
                thread.start()
                waits.wait()
    thread.join()

    assert done == ["chunk 1", "first step", "second step", "chunk 2"]


def test_nobody_waits_for_the_dead(store: Store) -> None:
    """A mark that nobody renews holds a backfill up for seconds, not for ever; here it is an hour old."""
    import os

    mark = store.leases / "turns" / "pipe.0.waiting"
    mark.parent.mkdir(parents=True)
    mark.touch()
    with (
        pytest.raises(LeaseHeld, match="waits for its turn"),
        turn(store, pipeline="pipe", run_id="a", gives_way=True),
    ):
        pass
    os.utime(mark, (time.time() - 3600,) * 2)
    with turn(store, pipeline="pipe", run_id="a", gives_way=True):
        pass
