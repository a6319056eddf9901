"""Many processes at once: of a hundred starts one runs, holders that slept too long add no row, no commit is lost."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from featurelib.errors import LeaseHeld
from featurelib.tables import Store, acquire, rows_of
from tests.chaos import stand, till, work
from tests.chaos.processes import Child, preload
from tests.chaos.writers import written

STARTS, HOLDERS, WRITERS, COMMITS = 100, 50, 8, 12


@pytest.fixture(autouse=True)
def forks() -> None:
    """Children are forked with all imports done."""
    preload("tests.chaos.work")


def test_of_a_hundred_starts_one_runs(tmp_path: Path) -> None:
    """A hundred processes begin a run of one pipeline at one moment: one does, ninety-nine exit with 75 and say who works."""
    gate = tmp_path / "gate"
    children = [
        Child(tmp_path / f"said{number}", work.start, str(tmp_path / "store"), str(gate))
        for number in range(STARTS)
    ]
    gate.touch()
    refused = ended_but_one(children)
    Path(f"{gate}.end").touch()
    codes = [child.exit_code() for child in children]

    assert sorted(codes) == [0] + [75] * (STARTS - 1)
    assert all("pipeline 'till' is run by start-" in child.said.read_text() for child in refused)


_JAVA = """#!/bin/sh
echo started >> {told}
while [ ! -e {gate}.end ]; do sleep 0.05; done
exit 1
"""


def test_of_a_hundred_commands_one_starts_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred cron jobs say ``featurelib run`` at one moment: one starts a JVM, 99 exit with 75 and start none.

    The JVM is a script that waits until all others have ended, and then fails: so the one exits with 1.
    """
    preload("tests.chaos.work", "featurelib.cli", "featurelib.pipeline.steps")
    gate, told, java = tmp_path / "gate", tmp_path / "told", tmp_path / "java" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(_JAVA.format(told=told, gate=gate))
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(java.parents[1]))
    stand.land(tmp_path / "root")
    said = ["run", "--as-of", "2024-01-10", "--pipeline", str(tmp_path / "root/conf/stand")]
    said += ["-c", f"root={tmp_path / 'root'}"]
    children = [Child(tmp_path / f"said{number}", work.command, str(gate), *said) for number in range(STARTS)]
    gate.touch()
    refused = ended_but_one(children)
    Path(f"{gate}.end").touch()
    codes = [child.exit_code() for child in children]

    assert sorted(codes) == [1] + [75] * (STARTS - 1), children[codes.index(1)].said.read_text()
    assert all("pipeline 'stand' is run by pipeline-20240110-" in child.said.read_text() for child in refused)
    assert told.read_text() == "started\n"


def ended_but_one(children: list[Child]) -> list[Child]:
    """Wait until one is left, and return the others."""
    ended: list[Child] = []
    while len(ended) < len(children) - 1:
        ended = [child for child in children if not child.is_alive]
        assert len(ended) < len(children), ended[0].said.read_text()
        time.sleep(0.02)
    return ended


SLEEPS = (
    "begin.leased@1",
    "begin.restored@1",
    f"write.{till.SALES}.after@1",
    f"write.{till.FILES}.after@1",
)


def token_of(store: Store) -> int:
    """The token of the lease."""
    return int(json.loads((store.leases / "till.json").read_text())["token"])


def let_expire(store: Store) -> int:
    """Let the lease of a stopped run expire, as if it had slept for long; return its token."""
    path = store.leases / "till.json"
    holder = json.loads(path.read_text())
    path.write_text(json.dumps({**holder, "expires": holder["since"]}))
    return int(holder["token"])


def test_holders_that_slept_past_their_lease_add_no_row(tmp_path: Path) -> None:
    """Fifty runs are stopped at points where they hold the lease, another runs meanwhile, they go on: each ends with 75.

    Not a row of theirs is published, and what the other run published stays.
    """
    store = Store(str(tmp_path / "store"))
    till.pipeline(store.root, till.DAYS[:1])
    for number in range(HOLDERS):
        point = SLEEPS[number % len(SLEEPS)]
        stale = Child(tmp_path / "stale", work.sleepy, store.root, "d9", fault=f"stop:{point}")
        stale.await_stop()
        assert stale.fired(point.partition("@")[0])
        token = let_expire(store)
        other = Child(tmp_path / "other", work.other, store.root, till.DAYS[: 1 + number // 20])
        while token_of(store) == token:  # it may wait for a lock of the sleeper's behind that
            time.sleep(0.005)
        stale.signal(signal.SIGCONT)
        assert stale.exit_code() == LeaseHeld.exit_code, stale.said.read_text()
        assert "lost the lease" in stale.said.read_text()
        assert other.exit_code() == 0, other.said.read_text()
        assert till.faults_of(store) == []
    till.pipeline(store.root)
    assert sorted(row["day"] for row in rows_of(store, till.FILES)) == list(till.DAYS)
    assert till.faults_of(store) == []


def test_every_acknowledged_commit_is_in_the_log(tmp_path: Path) -> None:
    """Eight processes write to one table: versions follow each other, none is given twice, and no row is lost."""
    found = written(tmp_path, writers=WRITERS, commits=COMMITS)
    assert found.faults == []
    assert len(found.acknowledged) == len(found.in_log) == len(found.rows) == WRITERS * COMMITS


def test_a_lease_of_the_future_is_named(tmp_path: Path) -> None:
    """A clock that was put back leaves a lease that began later than now: the error says so instead of "wait"."""
    ahead = 1_000_000.0
    acquire(tmp_path, pipeline="till", run_id="ahead", clock=lambda: ahead)
    with pytest.raises(LeaseHeld, match=r"began in the future") as caught:
        acquire(tmp_path, pipeline="till", run_id="now", clock=lambda: ahead - 86_400)
    assert "set the clocks right" in caught.value.action
    assert "till.json" in caught.value.action
