"""A lock between processes of one machine or one shared file system, which the kernel frees on death."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from featurelib.errors import LeaseHeld

_POLL_SECONDS = 0.02


@contextmanager
def exclusive(path: Path, *, what: str, timeout_seconds: float = 900.0) -> Iterator[None]:
    """Hold the lock file exclusively, waiting for others.

    Raises:
        LeaseHeld: the lock was not free within the timeout.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + timeout_seconds
    with path.open("a") as file:
        while not _try_lock(file.fileno()):
            if time.monotonic() >= deadline:
                raise LeaseHeld(
                    f"another process holds the lock for {what}, and did for {timeout_seconds:g} seconds",
                    "one process at a time",
                    f"find the process (fuser {path}); if it is stopped or hangs, end it; run again",
                )
            time.sleep(_POLL_SECONDS)
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
