"""Processes that are made to die or to stop, forked from one that has imported all they need: each costs milliseconds."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

from featurelib.errors import FeaturelibError
from featurelib.tables.faults import VARIABLE

_FORKS = multiprocessing.get_context("forkserver")
_WAIT_SECONDS = 600


def preload(*modules: str) -> None:
    """Have these modules imported once, before the first child is forked."""
    late = ("pandas", "pyarrow.compute", "pyarrow.pandas_compat")  # what others import at their first use
    _FORKS.set_forkserver_preload(["featurelib.tables", __name__, *late, *modules])


class Child:
    """A process of its own that does some work, and what it said on stderr.

    Its exit code is what a job's would be: 0, the exit code of the error that ended it, or minus the signal.
    """

    def __init__(self, said: Path, work: Callable[..., object], *given: object, fault: str = "") -> None:
        self.said = said
        self._process: BaseProcess = _FORKS.Process(
            target=_worked, args=(str(said), fault, dict(os.environ), work, given)
        )
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    @property
    def is_stopped(self) -> bool:
        """Whether it stands still after SIGSTOP."""
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def await_stop(self) -> None:
        """Return when the process has stopped itself."""
        until = time.monotonic() + _WAIT_SECONDS
        while not self.is_stopped:
            assert self._process.is_alive(), self.said.read_text()
            assert time.monotonic() < until, "the process did not stop"
            time.sleep(0.005)

    def stops(self) -> bool:
        """Wait until it has stopped itself or has ended; return whether it stands still."""
        until = time.monotonic() + _WAIT_SECONDS
        with suppress(FileNotFoundError):  # it ended at this very moment
            while self.is_alive:
                if self.is_stopped:
                    return True
                assert time.monotonic() < until, "the process neither stopped nor ended"
                time.sleep(0.005)
        return False

    def wait(self, seconds: float) -> None:
        """Wait that long, or until it ends."""
        self._process.join(seconds)

    def kill_after(self, seconds: float) -> bool:
        """Kill it if it still runs that much later; return whether it died of that."""
        self._process.join(seconds)
        if self._process.is_alive():
            with suppress(ProcessLookupError):  # it ended at this very moment
                self.signal(signal.SIGKILL)
        return self.exit_code() == -signal.SIGKILL

    def exit_code(self) -> int:
        """Wait for its end."""
        self._process.join(_WAIT_SECONDS)
        code = self._process.exitcode
        assert code is not None, f"process {self.pid} did not end: {self.said.read_text()}"
        return code

    def fired(self, point: str) -> bool:
        """Whether it reached the point at which it was to fail."""
        return f"fault fired: {point}\n" in self.said.read_text()


def _worked(
    said: str, fault: str, environment: dict[str, str], work: Callable[..., object], given: tuple[object, ...]
) -> None:
    """Do the work in the child; errors of the library become their exit codes."""
    descriptor = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 2)
    os.environ.update(environment)
    os.environ[VARIABLE] = fault
    try:
        work(*given)
    except FeaturelibError as error:
        sys.stderr.write(f"{error}\n")
        sys.stderr.flush()
        os._exit(error.exit_code)
