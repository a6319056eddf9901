"""The user sees one line a stage: a live one on a terminal, a plain one elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

from rich.console import Console
from rich.status import Status


@dataclass
class Progress:
    """Prints stages as they go.

    Attributes:
        out: where to print; a live line is drawn only when it is a terminal.
        quiet: True prints nothing but what :meth:`line` is given.
    """

    out: TextIO = field(default_factory=lambda: sys.stdout)
    quiet: bool = False
    _status: Status | None = None

    @property
    def console(self) -> Console:
        """A console on ``out`` that neither wraps nor highlights."""
        return Console(file=self.out, highlight=False, soft_wrap=True)

    @contextmanager
    def stage(self, name: str) -> Iterator[Stage]:
        """Show that a stage runs; when it ends well, print its name, its summary and its seconds."""
        stage = Stage(name)
        started = time.monotonic()
        if self.out.isatty() and not self.quiet:
            with self.console.status(f"{name} ...") as self._status:
                yield stage
            self._status = None
        else:
            yield stage
        stage.seconds = time.monotonic() - started
        if not self.quiet:
            self.line(f"{name:<19} {stage.summary}  ({seconds(stage.seconds)})")

    def step(self, text: str) -> None:
        """Say how far a long stage is: replaces the live line; elsewhere a line of its own."""
        if self.quiet:
            return
        if self._status is not None:
            self._status.update(text)
        else:
            self.line(f"  {text}")

    def line(self, text: str = "") -> None:
        """Print a line."""
        self.console.print(text, markup=False)
        self.out.flush()


@dataclass
class Stage:
    """A running stage; set ``summary`` before it ends."""

    name: str
    summary: str = ""
    seconds: float = 0.0


def seconds(value: float) -> str:
    """Return seconds for people: ``0.4 s``, ``12 s``, ``3 min 5 s``."""
    if value < 10:
        return f"{value:.1f} s"
    whole = round(value)
    return f"{whole} s" if whole < 120 else f"{whole // 60} min {whole % 60} s"
