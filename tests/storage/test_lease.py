"""One run of a pipeline at a time, and every run with a greater token than all before it."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from featurelib.errors import ConfigError, FeaturelibError, LeaseHeld
from featurelib.tables import Holder, acquire
from featurelib.tables import lease as leases
from featurelib.tables.faults import VARIABLE, InjectedFault
from featurelib.tables.locks import exclusive
from featurelib.tables.processes import Process, started, this_process
from tests.storage.conftest import PROJECT

CHILD = """
import sys, time
from pathlib import Path
from featurelib.errors import LeaseHeld
from featurelib.tables.lease import acquire
folder, run_id, ttl = sys.argv[1:]
try:
    lease = acquire(Path(folder), pipeline="pipe", run_id=run_id, ttl_seconds=float(ttl))
    lease.start_heartbeat()
    print("held", lease.token, flush=True)
    sys.stdin.readline()
    lease.check()
    lease.release()
except LeaseHeld as held:
    print(held, flush=True)
    sys.exit(held.exit_code)
"""


def child(folder: Path, run_id: str, ttl: float = 60.0, *, fault: str = "") -> subprocess.Popen[str]:
    """Start a process that takes the lease and keeps it until a line comes on its stdin."""
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), run_id, str(ttl)],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT), VARIABLE: fault},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_tokens_grow_and_outlive_their_runs(tmp_path: Path) -> None:
    """Each acquisition has the next token, also after a release."""
    tokens = []
    for run_id in ("a", "b", "c"):
        lease = acquire(tmp_path, pipeline="pipe", run_id=run_id)
        tokens.append(lease.token)
        lease.release()
    assert tokens == [1, 2, 3]


def test_a_held_lease_says_by_whom_and_until_when(tmp_path: Path) -> None:
    """The error names run, process, since, until and what to do, exits with 75 and survives pickling."""
    acquire(tmp_path, pipeline="pipe", run_id="first", ttl_seconds=60, clock=lambda: 1_000_000.0)
    with pytest.raises(LeaseHeld) as caught:
        acquire(tmp_path, pipeline="pipe", run_id="second", clock=lambda: 1_000_059.0)
    text = str(pickle.loads(pickle.dumps(caught.value)))
    assert caught.value.exit_code == 75
    assert f"run by first (pid {os.getpid()} on " in text
    assert "since 1970-01-12T13:46:40Z" in text
    assert "until 1970-01-12T13:47:40Z" in text
    assert "to do: wait for it to end" in text


def test_an_expired_lease_is_taken_over_and_its_holder_fenced(tmp_path: Path) -> None:
    """After expiry another run may start; the old one fails its next check and cannot renew."""
    old = acquire(tmp_path, pipeline="pipe", run_id="old", ttl_seconds=60, clock=lambda: 0.0)
    new = acquire(tmp_path, pipeline="pipe", run_id="new", clock=lambda: 60.0)
    assert new.token == old.token + 1
    for act in (old.check, old.renew):
        with pytest.raises(LeaseHeld, match="run old lost the lease"):
            act()
    old.release()
    new.check()


def test_who_is_stopped_with_a_lock_is_named(tmp_path: Path) -> None:
    """A process that stands still while it holds a lock keeps others out: they are told its pid after their wait."""
    holder = child(tmp_path, "stopped", fault="stop:lease.drafted")
    while Path(f"/proc/{holder.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        time.sleep(0.01)
    try:
        with (
            pytest.raises(LeaseHeld, match=rf"another process \(pid {holder.pid} on .* for 0.1 seconds"),
            exclusive(tmp_path / "pipe.lock", what="the lease of pipe", timeout_seconds=0.1),
        ):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with exclusive(tmp_path / "pipe.lock", what="the lease of pipe", timeout_seconds=5):
        pass


def test_a_heart_beats_on_behind_a_lock_that_was_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody stopped with the lock does not end the heartbeat of who has the lease: it is renewed when he is gone."""
    monkeypatch.setattr(leases, "_LOCK_SECONDS", 0.05)
    lease = acquire(tmp_path, pipeline="pipe", run_id="a", ttl_seconds=0.3)
    before = (tmp_path / "pipe.json").read_text()
    with exclusive(tmp_path / "pipe.lock", what="a test"):
        lease.start_heartbeat()
        time.sleep(0.5)  # some beats, none of which got the lock
        assert (tmp_path / "pipe.json").read_text() == before
    until = time.monotonic() + 30
    while (tmp_path / "pipe.json").read_text() == before:
        assert time.monotonic() < until, "the heart stands still"
        time.sleep(0.01)
    lease.release()


def test_of_several_starts_one_runs(tmp_path: Path) -> None:
    """Of four processes that start together one holds the lease, the others exit with 75."""
    children = [child(tmp_path, f"run{number}") for number in range(4)]
    first_lines = [process.stdout.readline() for process in children if process.stdout]
    assert sorted(line.split()[0] for line in first_lines) == ["held", "pipeline", "pipeline", "pipeline"]
    for process in children:
        process.communicate("go on\n")
    assert sorted(process.returncode for process in children) == [0, 75, 75, 75]


def test_a_killed_holder_is_succeeded_at_once_and_a_stopped_one_fenced(tmp_path: Path) -> None:
    """SIGKILL frees the lease long before it expires; SIGSTOP past the expiry costs the holder its run."""
    killed = child(tmp_path, "killed")
    assert killed.stdout is not None
    assert killed.stdout.readline() == "held 1\n"
    killed.send_signal(signal.SIGKILL)
    while started(killed.pid):
        time.sleep(0.01)
    acquire(tmp_path, pipeline="pipe", run_id="next").release()
    killed.communicate()

    stopped = child(tmp_path, "stopped", ttl=2.0)
    assert stopped.stdout is not None
    assert stopped.stdout.readline() == "held 3\n"
    stopped.send_signal(signal.SIGSTOP)
    with pytest.raises(LeaseHeld, match="run by stopped"):
        acquire(tmp_path, pipeline="pipe", run_id="early")
    time.sleep(2.2)
    assert acquire(tmp_path, pipeline="pipe", run_id="late").token == 4
    stopped.send_signal(signal.SIGCONT)
    said, _ = stopped.communicate("go on\n")
    assert stopped.returncode == 75
    assert "run stopped lost the lease" in said


def test_a_dead_driver_whose_jvm_lives_still_holds(tmp_path: Path) -> None:
    """A JVM may finish a commit after its Python driver was killed: the lease is free when both are gone."""
    here = this_process()
    dead = Process(here.pid, "another boot/1")
    lease = acquire(tmp_path, pipeline="pipe", run_id="a")
    holder = Holder.from_json((tmp_path / "pipe.json").read_text())
    lease.release()
    assert not holder.free_at(holder.since)
    assert not replace(holder, process=dead, jvms=(here,)).free_at(holder.since)
    assert replace(holder, process=dead, jvms=(dead,)).free_at(holder.since)
    assert not replace(holder, process=dead, jvms=(), host="elsewhere").free_at(holder.since)


def test_an_unreadable_lease_is_no_free_lease(tmp_path: Path) -> None:
    """A damaged file stops the run with what to do, instead of starting tokens anew."""
    (tmp_path / "pipe.json").write_text("{")
    with pytest.raises(FeaturelibError, match="cannot be read"):
        acquire(tmp_path, pipeline="pipe", run_id="a")
    with pytest.raises(ConfigError, match="pipeline name"):
        acquire(tmp_path, pipeline="../pipe", run_id="a")


def test_a_lease_whose_taking_failed_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error behind the lease's write leaves it released: this process lives on, and can take it at once."""
    monkeypatch.setenv(VARIABLE, "raise:lease.written")
    with pytest.raises(InjectedFault):
        acquire(tmp_path, pipeline="cafe", run_id="first")
    monkeypatch.delenv(VARIABLE)

    lease = acquire(tmp_path, pipeline="cafe", run_id="second")

    assert lease.token == 2
    lease.release()
