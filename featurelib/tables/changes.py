"""Which files hold what was changed between two versions of a table, by its log alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pyarrow import fs

from featurelib.addresses import located
from featurelib.errors import FeaturelibError
from featurelib.tables import log
from featurelib.tables.files import DataFile
from featurelib.tables.snapshots import Snapshot, snapshot
from featurelib.tables.store import Store

_MERGES_FILES = "OPTIMIZE"


@dataclass(frozen=True)
class FileChanges:
    """Files between two versions: the rows of ``added`` less those of ``removed`` are what has changed.

    Most rows of a rewritten file stand in both. Files that were only merged (OPTIMIZE) are in neither.

    Attributes:
        is_plain: whether the files alone say it. They do not where deletion vectors take rows out of files
            that stay: then compare the versions whole.
    """

    added: tuple[DataFile, ...]
    removed: tuple[DataFile, ...]
    is_plain: bool = True


def changed_files(store: Store, table: str, *, since: int, until: int) -> FileChanges | None:
    """Return what has changed from one version to another; None when it can no longer be read.

    It can not when the log or a file of a version in between is gone, as after a vacuum.
    """
    try:
        parts = _stretches(store, table, since, until)
    except FeaturelibError:
        return None
    added: dict[str, DataFile] = {}
    removed: dict[str, DataFile] = {}
    for before, after in parts:
        old, new = _by_path(before), _by_path(after)
        added |= {path: file for path, file in new.items() if path not in old}
        removed |= {path: file for path, file in old.items() if path not in new}
    for path in added.keys() & removed.keys():
        del added[path], removed[path]
    if not _are_there([*added, *removed]):
        return None
    is_plain = all(version.is_plain for part in parts for version in part)
    return FileChanges(tuple(added.values()), tuple(removed.values()), is_plain)


def is_readable(store: Store, table: str, version: int) -> bool:
    """Return whether the log still holds a version, and all its files are there."""
    try:
        found = snapshot(store, table, version)
    except FeaturelibError:
        return False
    return _are_there(_by_path(found))


def _stretches(store: Store, table: str, since: int, until: int) -> list[tuple[Snapshot, Snapshot]]:
    """Return the versions before and after each stretch of commits in which no files were merged."""
    commits = log.commits_after(store.path(table), since)
    merges = {commit.version for commit in commits if commit.operation == _MERGES_FILES}
    ends = [version - 1 for version in sorted(merges) if version <= until] + [until]
    starts = [since, *(end + 1 for end in ends[:-1])]
    return [
        (snapshot(store, table, start), snapshot(store, table, end))
        for start, end in zip(starts, ends, strict=True)
        if start < end
    ]


def _by_path(version: Snapshot) -> dict[str, DataFile]:
    return {file.path: file for file in version.files}


def _are_there(paths: Iterable[str]) -> bool:
    for path in paths:
        filesystem, inner = located(path)
        if filesystem.get_file_info(inner).type != fs.FileType.File:
            return False
    return True
