"""Which versions hold the files of a table: the published one, those young enough, those pinned, or none."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import unquote

from pyarrow import fs

from featurelib import timeline
from featurelib.addresses import located
from featurelib.errors import FeaturelibError
from featurelib.tables import log
from featurelib.tables.snapshots import snapshot
from featurelib.tables.store import Store

LOG = "_delta_log"
_CHANGES = "_change_data"
_SECOND = timeline.duration_micros("1s")


@dataclass(frozen=True)
class Pin:
    """A version of a table that must stay readable, and what needs it, as ``model late_arrival 3``."""

    table: str
    version: int
    held_by: str


@dataclass(frozen=True)
class Share:
    """Data files and their bytes."""

    files: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Keeping:
    """Who needs the data files below a table's folder; each file counts once, for the first that needs it.

    Attributes:
        table: its name.
        current: needed by the published version.
        history: by other versions younger than the retention.
        pinned: by pinned versions alone.
        unneeded: by none, relative to the table's folder, with their bytes.
        log_from: the oldest version that the log must still tell.
        oldest_seconds: when that version was committed, since 1970.
        pins: the pinned versions that can be read.
        gone: those that cannot, because a file or the log is gone.
    """

    table: str
    current: Share
    history: Share
    pinned: Share
    unneeded: Mapping[str, int]
    log_from: int
    oldest_seconds: float
    pins: tuple[Pin, ...]
    gone: tuple[Pin, ...]


def keeping(
    store: Store, table: str, *, published: int | None, pins: Iterable[Pin], retention: str, now: float
) -> Keeping:
    """Tell who needs what of an existing table; nothing is changed.

    A version is young until ``retention`` after another took its place.

    Args:
        store: where the table lives.
        table: its name.
        published: its published version, None if it is not published.
        pins: of any table; those of others are passed over.
        retention: a duration.
        now: seconds since 1970.
    """
    commits = log.commits_after(store.path(table), -1)
    newest = commits[0].version
    cutoff, young = now - timeline.duration_micros(retention) / _SECOND, newest
    for newer, older in pairwise(commits):
        if newer.seconds < cutoff:
            break
        young = older.version
    held = [pin for pin in pins if pin.table == table]
    present = data_files(store, table)
    by_pin = {version: files_of(store, table, version) for version in {pin.version for pin in held}}
    is_there = {version: files is not None and files <= present.keys() for version, files in by_pin.items()}
    current = (files_of(store, table, published) if published is not None else None) or set()
    history = _since(store, table, young, newest) - current
    pinned = {file for files in by_pin.values() for file in files or ()} - history - current
    needed = current | history | pinned
    told = (version for version, files in by_pin.items() if files is not None)
    base = commits[-1].version if published is None else published  # recovery looks for an empty version
    log_from = min([young, base, *told])
    return Keeping(
        table=table,
        current=_share(current, present),
        history=_share(history, present),
        pinned=_share(pinned, present),
        unneeded={file: size for file, size in present.items() if file not in needed},
        log_from=log_from,
        oldest_seconds=next((one.seconds for one in commits if one.version == log_from), now),
        pins=tuple(pin for pin in held if is_there[pin.version]),
        gone=tuple(pin for pin in held if not is_there[pin.version]),
    )


def owner(store: Store, table: str) -> str | None:
    """Return the pipeline that made the newest stamped commit of a table, None if there is none."""
    commits = log.commits_after(store.path(table), -1)
    return next((commit.stamp.pipeline for commit in commits if commit.stamp), None)


def folder_of(store: Store, table: str) -> tuple[fs.FileSystem, str]:
    """Return the file system of a table, and its folder there."""
    return located(store.path(table))


def data_files(store: Store, table: str) -> dict[str, int]:
    """Return the Parquet files below a table's folder, named relative to it, with their bytes."""
    filesystem, folder = folder_of(store, table)
    found = filesystem.get_file_info(fs.FileSelector(folder, recursive=True))
    sizes = {info.path.removeprefix(f"{folder}/"): info.size for info in found if info.is_file}
    return {name: size for name, size in sizes.items() if _is_data(name)}


def files_of(store: Store, table: str, version: int) -> set[str] | None:
    """Return the files of a version, None where the log no longer tells."""
    try:
        found = snapshot(store, table, version)
    except FeaturelibError:
        return None
    return {file.path.removeprefix(f"{store.path(table)}/") for file in found.files}


def _since(store: Store, table: str, first: int, newest: int) -> set[str]:
    """Return the files of all versions from the first on.

    Raises:
        FeaturelibError: the log does not tell.
    """
    filesystem, folder = folder_of(store, table)
    files = {file.path.removeprefix(f"{store.path(table)}/") for file in snapshot(store, table, first).files}
    for version in range(first + 1, newest + 1):
        place = f"{folder}/{LOG}/{version:020}.json"
        try:
            with filesystem.open_input_file(place) as source:
                lines = source.read().decode().splitlines()
        except FileNotFoundError:
            raise FeaturelibError(
                f"the log of table {table!r} lacks version {version} of {first} to {newest}",
                "a log without holes",
                f"bring back {place} from a backup; until then nothing of the table is removed",
            ) from None
        actions = map(json.loads, filter(None, lines))
        files |= {unquote(action["add"]["path"]) for action in actions if "add" in action}
    return files


def _is_data(name: str) -> bool:
    first, _, _ = name.partition("/")
    return (
        first not in {LOG, _CHANGES}
        and name.endswith(".parquet")
        and not name.rsplit("/", 1)[-1].startswith((".", "_"))
    )


def _share(files: set[str], present: Mapping[str, int]) -> Share:
    return Share(len(files), sum(present.get(file, 0) for file in files))
