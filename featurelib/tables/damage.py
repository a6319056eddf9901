"""Damage, a protocol that is too new, a full disk: errors of this library, with what to do next."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
from deltalake.exceptions import DeltaError, TableNotFoundError

from featurelib.errors import FeaturelibError, PreconditionError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_TEXTS = ("No space left on device", "Disk quota exceeded", "File too large")


@contextmanager
def log_explained(path: str) -> Iterator[None]:
    """Explain what a table's Delta log cannot be read or continued for; that there is none is not explained.

    Raises:
        FeaturelibError: a file of the log is damaged or missing, or the table needs a newer protocol.
    """
    try:
        yield
    except TableNotFoundError:
        raise
    except DeltaError as error:
        reason = (str(error).splitlines() or [""])[0]
        if any(text in reason for text in _FULL_TEXTS):
            raise
        if "nsupported" in reason:
            raise FeaturelibError(
                f"the table in {path} needs what this version cannot do: {reason}",
                "a Delta protocol and features that the installed packages know",
                "use a newer featurelib, or let the program that raised it write a table of its own",
            ) from error
        raise FeaturelibError(
            f"the log of the table in {path} is damaged: {reason}",
            f"every file of {path}/_delta_log whole, and none missing",
            "bring the log back from a backup; its last file may go if no manifest names that version",
        ) from error


@contextmanager
def file_explained(path: str) -> Iterator[None]:
    """Explain why a data file cannot be read.

    Raises:
        FeaturelibError: it is missing or damaged.
    """
    try:
        yield
    except (OSError, pa.ArrowInvalid) as error:
        what = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {error}"
        raise FeaturelibError(
            f"data file {path} {what}",
            "the file as it was written: the table's log names it",
            "bring it back from a backup; what is computed from other tables can also be built again",
        ) from error


@contextmanager
def room_explained(root: str) -> Iterator[None]:
    """Explain that there was no room to write, whoever wrote: Python, Delta's kernel or the JVM.

    Raises:
        PreconditionError: so it was.
    """
    try:
        yield
    except FeaturelibError:
        raise
    except Exception as error:
        is_full = isinstance(error, OSError) and error.errno in _FULL
        if not is_full and not any(text in str(error) for text in _FULL_TEXTS):
            raise
        raise PreconditionError(
            f"no room is left to write below {root}",
            "space on the disk, and within the quota",
            "make room and run again: what is published is whole, and the next run clears the rest away",
        ) from error
