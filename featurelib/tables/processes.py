"""Whether a process noted in a file is still the same living process.

A pid alone does not tell: pids are used again, and after a restart of the machine all of them. The
start time within a boot does. Without ``/proc`` (macOS) only the pid is compared, which errs on the side
of "alive".
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_DEAD_STATES = frozenset("ZXx")


@dataclass(frozen=True)
class Process:
    """A process by number and by when it started: boot id and clock ticks, empty when unknown."""

    pid: int
    started: str = ""

    @property
    def alive(self) -> bool:
        """Whether this very process, not a later one of the same number, still runs."""
        if not self.started:
            return _signalable(self.pid)
        return started(self.pid) == self.started


def this_process() -> Process:
    """Return the running process."""
    return Process(os.getpid(), started(os.getpid()))


def java_relatives() -> tuple[Process, ...]:
    """Return the JVMs that are this process's parent or children: they may commit on after its death."""
    own = os.getpid()
    parent = os.getppid()
    found = []
    for folder in _PROC.glob("[0-9]*"):
        pid = int(folder.name)
        fields = _stat(pid)
        if fields and fields[0].startswith("java") and (pid == parent or fields[2] == str(own)):
            found.append(Process(pid, started(pid)))
    return tuple(found)


def started(pid: int) -> str:
    """Return boot id and start ticks of a living process, an empty string when unknown or dead."""
    fields = _stat(pid)
    if not fields or fields[1] in _DEAD_STATES:
        return ""
    boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot}/{fields[20]}"


def _stat(pid: int) -> list[str]:
    """Return command, state, parent pid and further fields of ``/proc/PID/stat``; empty when absent."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    command, _, rest = text.partition("(")[2].rpartition(")")
    return [command, *rest.split()]


def _signalable(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
