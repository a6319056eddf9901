"""A lock between processes of one machine or one shared file system, which the kernel frees on death."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from featurelib.errors import LeaseHeld

_POLL_SECONDS = 0.02


@contextmanager
def exclusive(path: Path, *, what: str, timeout_seconds: float = 900.0) -> Iterator[None]:
    """Hold the lock file exclusively, waiting for others; the file says who holds it.

    Nobody can take it from a process that is stopped, for it would go on where it stood.

    Raises:
        LeaseHeld: the lock was not free within the timeout.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + timeout_seconds
    with path.open("ab", buffering=0) as file:
        while not _try_lock(file.fileno()):
            if time.monotonic() >= deadline:
                holder = path.read_text(encoding="utf-8", errors="replace") or "unnamed"
                raise LeaseHeld(
                    f"another process ({holder}) holds the lock for {what}, and did for "
                    f"{timeout_seconds:g} seconds",
                    "one process at a time",
                    f"let it end; if it is stopped or hangs, end it (it holds {path}); run again",
                )
            time.sleep(_POLL_SECONDS)
        _sign(file)
        yield


def _sign(file: FileIO) -> None:
    with suppress(OSError):  # a full disk: the lock holds without a name
        file.truncate(0)
        file.write(f"pid {os.getpid()} on {socket.gethostname()}".encode())


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
