"""What a killed run left behind is undone before the next one starts: back to what was published."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from deltalake import CommitProperties, DeltaTable

from featurelib.errors import PublishError
from featurelib.tables import log
from featurelib.tables.faults import fault_point
from featurelib.tables.lease import Lease
from featurelib.tables.log import Commit, Stamp
from featurelib.tables.store import MANIFESTS, OPS, Store

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Standing:
    """A table at the start of a run: its newest and published versions, and the commits since.

    When no manifest names it, ``published`` is the version at which it was withdrawn, else 0: both are empty.
    ``commits`` are newest first and reach back to the published version itself, which tells whose it is, or
    to the beginning.
    """

    table: str
    published: int
    newest: int
    commits: tuple[Commit, ...]

    @property
    def owner(self) -> str | None:
        """The pipeline that made the newest commit that carries a stamp."""
        return next((commit.stamp.pipeline for commit in self.commits if commit.stamp), None)

    @property
    def token(self) -> int:
        """The greatest lease token among the commits."""
        return max((commit.stamp.token for commit in self.commits if commit.stamp), default=0)

    @property
    def leftovers(self) -> tuple[Commit, ...]:
        """Commits whose rows were never published; none behind a RESTORE to the published version."""
        unpublished: list[Commit] = []
        for commit in self.commits:
            if commit.version <= self.published or commit.restored_to == self.published:
                break
            if commit.is_change:
                unpublished.append(commit)
        return tuple(unpublished)


def standing(store: Store, table: str, mapping: Mapping[str, int]) -> Standing | None:
    """Return how a table stands against the manifest, None when the folder holds no table.

    Raises:
        PublishError: the log ends before the published version.
    """
    path = store.path(table)
    newest = log.newest_version(path)
    published = mapping[table] if table in mapping else _withdrawn_at(path)
    if newest is None and table not in mapping:
        return None
    if newest is None or newest < published:
        end = "its folder holds no table" if newest is None else f"its log ends at version {newest}"
        raise PublishError(
            f"table {table!r} is published at version {published}, but {end}",
            "a log that reaches the published version",
            f"bring back {path} from a backup",
        )
    commits = log.commits_after(path, published - 1)
    if not any(commit.stamp for commit in commits):
        commits = log.commits_after(
            path, -1
        )  # an unstamped VACUUM was published: the owner stands further back
    return Standing(table, published, newest, tuple(commits))


def _withdrawn_at(path: str) -> int:
    """Return the version at which a table was withdrawn last, the first one if it never was."""
    commits = log.commits_after(path, -1)
    withdrawn = (one.version for one in commits if one.stamp and one.stamp.step.endswith(" withdraw"))
    return next(withdrawn, commits[-1].version if commits else 0)


def require_manifests(store: Store) -> None:
    """Return quietly if ``ops.manifests`` is there, or no run has left a table yet.

    Raises:
        PublishError: it is gone: without it every published row would be taken for a leftover.
    """
    if log.newest_version(store.path(MANIFESTS)) is not None:
        return
    names = [name for name in store.tables() if not name.startswith(f"{OPS}.")]
    stands = {name: standing(store, name, {}) for name in names}
    orphans = [name for name, table in stands.items() if table is not None and table.owner is not None]
    if orphans:
        raise PublishError(
            f"table {MANIFESTS!r} is gone, and runs have written {', '.join(orphans)}",
            "the manifests that say which versions are published",
            f"bring back {store.path(MANIFESTS)} from a backup; to begin anew, move the tables elsewhere",
        )


def restore_leftovers(
    store: Store, stamp: Stamp, mapping: Mapping[str, int], *, lease: Lease, lost: Collection[str] = ()
) -> dict[str, Standing]:
    """Put every table of the stamp's pipeline back to its published version; return how each stood.

    Tables of other pipelines are left alone: their own next run sees to them. So are those that are ``lost``,
    which the run is there to mend.

    Raises:
        LeaseHeld: a newer run has taken the lease over; what it writes is no leftover.
        PublishError: a table was changed by a program that is no run of this library.
    """
    names = [name for name in store.tables() if not name.startswith(f"{OPS}.")]
    found = {name: standing(store, name, mapping) for name in sorted({*names, *mapping} - set(lost))}
    stands = {name: table for name, table in found.items() if table is not None}
    for table in stands.values():
        if table.leftovers and table.owner in {stamp.pipeline, None}:
            _refuse_foreign(store, table)
            restore(store, table, stamp, lease=lease)
        elif table.owner is None:
            _refuse_foreign(store, table)
    return stands


def restore(store: Store, table: Standing, stamp: Stamp, *, lease: Lease) -> None:
    """Make the published version, files and columns, the newest one again.

    Transaction ids stay as they are. One commit of ``deltalake``, which takes milliseconds where Spark's
    RESTORE takes seconds.
    """
    _LOGGER.warning(
        "table %s: versions %d to %d were never published; restoring version %d",
        table.table,
        table.published + 1,
        table.newest,
        table.published,
    )
    fault_point(f"restore.{table.table}.before")
    with store.commit_lock(table.table):
        lease.check()
        restore_version(store, table.table, table.published, stamp)
    fault_point(f"restore.{table.table}.after")


def restore_version(store: Store, table: str, version: int, stamp: Stamp) -> None:
    """Commit the files and columns of a version once more; the caller holds the table's lock."""
    DeltaTable(store.path(table)).restore(
        version, commit_properties=CommitProperties(custom_metadata={"userMetadata": stamp.to_json()})
    )


def _refuse_foreign(store: Store, table: Standing) -> None:
    foreign = [commit for commit in table.leftovers if commit.stamp is None]
    if not foreign and table.owner is not None:
        return
    path = store.path(table.table)
    if table.owner is None:
        raise PublishError(
            f"table {table.table!r} (version {table.newest}, by {table.commits[0].operation}) belongs "
            "to no run",
            "only tables that runs created below the store's root",
            f"move {path} elsewhere",
        )
    raise PublishError(
        f"table {table.table!r} version {foreign[0].version} ({foreign[0].operation}) was not written "
        "by a run",
        f"no change after the published version {table.published} but by runs",
        f"run RESTORE TABLE delta.`{path}` TO VERSION AS OF {table.published}, which drops it, and try again",
    )
