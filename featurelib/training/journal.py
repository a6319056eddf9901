"""Every finished trial is on disk before the next is learnt from, so that a killed search goes on.

A journal is a file of JSON lines: first what the search is, then a line for each trial that ended. A line
counts when it is whole; what a dying process left of one is cut off before the next is written.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from featurelib.errors import FeaturelibError
from featurelib.tables.faults import fault_point
from featurelib.training.tuning import Trial


@dataclass(frozen=True)
class Journal:
    """Where the trials of one search are kept.

    Attributes:
        path: the file; its folder is made when the first trial ends.
        search: what the search is made from, as a hash of spec, spaces and data. A journal of another one
            is not read, and is written anew.
    """

    path: Path
    search: str

    def read(self) -> Kept:
        """Return the trials of this search that have ended; none if there is no such journal."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return Kept()
        trials: dict[int, Trial] = {}
        ended: dict[int, float] = {}
        whole = 0
        for line in content.splitlines(keepends=True):
            record = _record(line)
            if record is None or (not whole and record != {"search": self.search}):
                break
            if whole:
                try:
                    trial = Trial.from_dict(record["trial"])
                    ended[trial.number] = float(record["elapsed"])
                except (KeyError, TypeError, ValueError):
                    break
                trials[trial.number] = trial
            whole += len(line)
        return Kept(trials, ended, whole)

    def open(self, *, whole: int) -> OpenJournal:
        """Open the journal for further trials, behind its first ``whole`` bytes; what follows is cut off.

        Raises:
            FeaturelibError: the folder cannot be written to.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise _unwritable(self.path, error) from error
        opened = OpenJournal(self.path, descriptor)
        os.ftruncate(descriptor, whole)
        os.lseek(descriptor, whole, os.SEEK_SET)
        if whole == 0:
            opened.write({"search": self.search})
            _sync_folder(self.path.parent)
        return opened

    def discard(self) -> None:
        """Remove the journal, with those of older specs of the same model beside it."""
        for path in self.path.parent.glob("*.jsonl"):
            path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Kept:
    """What a journal holds: trials, seconds into the search when each ended, bytes in whole lines."""

    trials: dict[int, Trial] = field(default_factory=dict)
    ended: dict[int, float] = field(default_factory=dict)
    whole: int = 0


@dataclass(frozen=True)
class OpenJournal:
    """A journal that is written to, one line at a time."""

    path: Path
    descriptor: int

    def add(self, trial: Trial, *, elapsed: float) -> None:
        """Keep a trial that ended ``elapsed`` seconds into the search; it is on disk when this returns."""
        fault_point("journal.before")
        self.write({"trial": trial.to_dict(), "elapsed": elapsed})
        fault_point("journal.after")

    def write(self, record: dict[str, Any]) -> None:
        """Write one line, all of it.

        Raises:
            FeaturelibError: the disk does not take it.
        """
        line = json.dumps(record, sort_keys=True, allow_nan=False).encode() + b"\n"
        try:
            while line:
                line = line[os.write(self.descriptor, line) :]
            os.fsync(self.descriptor)
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def close(self) -> None:
        """Give the file back."""
        os.close(self.descriptor)


def _record(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unwritable(path: Path, error: OSError) -> FeaturelibError:
    return FeaturelibError(
        f"the trials that end cannot be kept in {path}: {error.strerror}",
        "a folder that can be written to, on a disk that is not full",
        "make room and run again: the trials kept so far are not repeated",
    )
