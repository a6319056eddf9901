"""A lease lets one run of a pipeline write at a time, and numbers the runs with a token that only grows.

The token fences: a run whose token is no longer the newest must not commit, however it lost the lease
(stopped past its expiry, cut off, taken for dead). It therefore outlives the run that held it.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from featurelib.errors import ConfigError, FeaturelibError, LeaseHeld
from featurelib.tables.faults import fault_point
from featurelib.tables.locks import exclusive
from featurelib.tables.processes import Process, java_relatives, this_process

DEFAULT_TTL_SECONDS = 120.0
_JVM_EXIT_SECONDS = 20.0
_LOCK_SECONDS = DEFAULT_TTL_SECONDS  # a file is read and written under it: who needs longer is stopped
_LOGGER = logging.getLogger(__name__)
_PIPELINE = re.compile(r"[a-z_][a-z0-9_]*")

Clock = Callable[[], float]


@dataclass(frozen=True)
class Holder:
    """What the lease file says: who held the lease last, and until when.

    ``jvms`` are the Java processes that commit on the holder's behalf; a commit under way there can
    outlive a killed driver for a moment.
    """

    token: int
    run_id: str
    host: str
    process: Process
    jvms: tuple[Process, ...]
    since: float
    expires: float
    released: bool = False

    @property
    def driver_is_dead(self) -> bool:
        """Whether the holder ran on this machine and its driver is gone."""
        return self.host == socket.gethostname() and not self.process.alive

    @property
    def is_gone(self) -> bool:
        """Whether nothing of the holder is left that could still commit."""
        return self.driver_is_dead and not any(jvm.alive for jvm in self.jvms)

    def free_at(self, now: float) -> bool:
        """Return whether another run may take the lease."""
        return self.released or now >= self.expires or self.is_gone

    def to_json(self) -> str:
        """Return the text of the lease file."""
        return json.dumps(asdict(self), indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Holder:
        """Return the holder that a lease file names."""
        found = json.loads(text)
        process, jvms = Process(**found.pop("process")), found.pop("jvms")
        return cls(process=process, jvms=tuple(Process(**jvm) for jvm in jvms), **found)


class Lease:
    """A lease this process holds; made by :func:`acquire`."""

    def __init__(self, path: Path, holder: Holder, *, ttl_seconds: float, clock: Clock) -> None:
        self._path = path
        self._holder = holder
        self._ttl = ttl_seconds
        self._clock = clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"lease {path.stem}", daemon=True)

    @property
    def pipeline(self) -> str:
        """The pipeline the lease is for."""
        return self._path.stem

    @property
    def run_id(self) -> str:
        """The run that holds the lease."""
        return self._holder.run_id

    @property
    def token(self) -> int:
        """The number of this acquisition, greater than every earlier one of the pipeline."""
        return self._holder.token

    @property
    def clock(self) -> Clock:
        """The clock the lease is kept by."""
        return self._clock

    def check(self) -> None:
        """Return quietly while the lease is ours.

        Raises:
            LeaseHeld: another run took the lease over; nothing may be committed any more.
        """
        found = _read(self._path)
        if found is not None and (found.token, found.run_id) == (self.token, self.run_id):
            return
        owner = "the lease file is gone" if found is None else f"run {found.run_id} has token {found.token}"
        raise LeaseHeld(
            f"run {self.run_id} lost the lease of pipeline {self.pipeline!r} (token {self.token}): {owner}",
            "the lease to stay with a run until it ends",
            "let the newer run finish; this one was stopped or cut off for longer than the lease lasts",
        )

    def renew(self) -> None:
        """Move the expiry on.

        Raises:
            LeaseHeld: the lease is no longer ours.
        """
        with _locked(self._path):
            self.check()
            self._write(replace(self._holder, jvms=java_relatives(), expires=self._clock() + self._ttl))

    def raise_token(self, above: int) -> None:
        """Make the token greater than ``above``: one found in a table after the lease file was lost."""
        if self.token > above:
            return
        with _locked(self._path):
            self.check()
            self._write(replace(self._holder, token=above + 1))

    def release(self) -> None:
        """Give the lease back; the token stays in the file. Quiet when it is no longer ours."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        with _locked(self._path):
            found = _read(self._path)
            if found is None or (found.token, found.run_id) != (self.token, self.run_id):
                return
            try:
                self._write(replace(self._holder, released=True))
            except OSError as error:  # a full disk: what the run ended with must be told, not this
                _LOGGER.warning("lease %s stays until this process ends or it expires: %s", self._path, error)

    def start_heartbeat(self) -> None:
        """Renew the lease three times a ttl until it is released or lost."""
        self._thread.start()

    def _beat(self) -> None:
        while not self._stop.wait(self._ttl / 3):
            try:
                self.renew()
            except LeaseHeld:
                if self._is_lost():  # else somebody stopped holds the lock: the next beat may get it
                    return
            except OSError:
                continue  # a full or absent disk: the next beat may do; check() decides before a commit

    def _is_lost(self) -> bool:
        try:
            self.check()
        except LeaseHeld:
            return True
        return False

    def _write(self, holder: Holder) -> None:
        _write(self._path, holder)
        self._holder = holder


def acquire(
    folder: Path,
    *,
    pipeline: str,
    run_id: str,
    ttl_seconds: float = DEFAULT_TTL_SECONDS,
    clock: Clock = time.time,
) -> Lease:
    """Take the lease of a pipeline, or say who has it.

    A holder that died on this machine is succeeded at once (after its JVM has ended too); one on another
    machine, or one that is only stopped, when the lease expires.

    Raises:
        ConfigError: the pipeline's name is not a lower-case word.
        LeaseHeld: another run holds the lease.
    """
    if not _PIPELINE.fullmatch(pipeline):
        raise ConfigError(f"pipeline name {pipeline!r}", "lower-case letters, digits and _", "rename it")
    path = folder / f"{pipeline}.json"
    _await_jvms(path, clock)
    with _locked(path):
        last = _read(path)
        now = clock()
        if last is not None and not last.free_at(now):
            raise _from_the_future(path, last, now) if last.since > now else _held(pipeline, last)
        holder = Holder(
            token=1 if last is None else last.token + 1,
            run_id=run_id,
            host=socket.gethostname(),
            process=this_process(),
            jvms=java_relatives(),
            since=now,
            expires=now + ttl_seconds,
        )
        try:
            _write(path, holder)
        except BaseException:  # this process may live on, and nobody would know whose lease it is
            if _read(path) == holder:
                _write(path, replace(holder, released=True))
            raise
    return Lease(path, holder, ttl_seconds=ttl_seconds, clock=clock)


def _await_jvms(path: Path, clock: Clock) -> None:
    """Wait a little while a killed driver's JVM is still ending; it could finish a commit."""
    deadline = time.monotonic() + _JVM_EXIT_SECONDS
    last = _read(path)
    while last is not None and last.driver_is_dead and not last.free_at(clock()):
        if time.monotonic() >= deadline:
            return
        time.sleep(0.1)


def _held(pipeline: str, holder: Holder) -> LeaseHeld:
    return LeaseHeld(
        f"pipeline {pipeline!r} is run by {holder.run_id} (pid {holder.process.pid} on {holder.host}, "
        f"token {holder.token}) since {_instant(holder.since)}, its lease lasts until "
        f"{_instant(holder.expires)} and is renewed while it works",
        "no other run of the pipeline",
        "wait for it to end and run again; if it hangs, end that process and run again at once",
    )


def _from_the_future(path: Path, holder: Holder, now: float) -> LeaseHeld:
    return LeaseHeld(
        f"the lease of pipeline {path.stem!r} began in the future, at {_instant(holder.since)}: here it is "
        f"{_instant(now)}. It is held by {holder.run_id} (pid {holder.process.pid} on {holder.host})",
        "clocks that agree and only go forward",
        f"set the clocks right; if that run is not alive, delete {path} and run again: its token stands in "
        "the tables",
    )


def _instant(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _locked(path: Path) -> AbstractContextManager[None]:
    """Hold the lock of a lease file.

    Raises:
        LeaseHeld: a process that is stopped or hangs has it.
    """
    lock = path.with_suffix(".lock")
    return exclusive(lock, what=f"the lease of {path.stem}", timeout_seconds=_LOCK_SECONDS)


def _read(path: Path) -> Holder | None:
    try:
        return Holder.from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise FeaturelibError(
            f"lease file {path} cannot be read: {error}",
            "the JSON this library wrote",
            "make sure that no run of the pipeline is alive, delete the file, run again",
        ) from error


def _write(path: Path, holder: Holder) -> None:
    """Replace the file in one step, on disk before it is seen."""
    draft = path.with_suffix(".draft")
    with draft.open("w", encoding="utf-8") as file:
        file.write(holder.to_json())
        file.flush()
        os.fsync(file.fileno())
    fault_point("lease.drafted")
    draft.replace(path)
    fault_point("lease.written")
