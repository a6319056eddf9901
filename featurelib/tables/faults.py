"""A named point in the code at which a test can end or stop the process, to prove that a rerun mends it.

Nothing happens unless the environment variable ``FEATURELIB_FAULT`` names the point: ``publish.before`` (or
``kill:publish.before``) sends SIGKILL to this process, ``stop:publish.before`` stops it until SIGCONT,
``raise:publish.before`` raises :class:`InjectedFault`; ``@3`` behind the name waits for the third time that
the point is reached, and ``stop:*`` stops at every point. ``list:FILE`` adds the name of every point reached
to the file, a line each.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from pathlib import Path

VARIABLE = "FEATURELIB_FAULT"

_reached: Counter[str] = Counter()
_SIGNALS = {"": signal.SIGKILL, "kill": signal.SIGKILL, "stop": signal.SIGSTOP}


class InjectedFault(BaseException):
    """Raised on request of a test; no ``except Exception`` can swallow it."""


def fault_point(name: str) -> None:
    """End or stop the process here if a test asked for it; otherwise do nothing.

    Says ``fault fired: NAME`` on stderr first, so that a test can assert that its fault was reached.

    Raises:
        InjectedFault: the variable asks for ``raise:`` at this point.
    """
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        _reached.clear()  # of threads that outlived the last fault
        return
    kind, _, rest = wanted.rpartition(":")
    if kind == "list":
        with Path(rest).open("a", encoding="utf-8") as reached:
            reached.write(f"{name}\n")
        return
    if rest != "*" and not _is_time(wanted, rest, name):
        return
    sys.stderr.write(f"fault fired: {name}\n")
    sys.stderr.flush()
    if kind == "raise":
        _reached.pop(wanted, None)
        raise InjectedFault(name)
    os.kill(os.getpid(), _SIGNALS[kind])


def _is_time(wanted: str, rest: str, name: str) -> bool:
    """Whether the point is the one that is wanted, for the wanted time."""
    point, _, nth = rest.partition("@")
    if point != name:
        return False
    _reached[wanted] += 1
    return _reached[wanted] == int(nth or 1)
