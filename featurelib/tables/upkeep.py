"""What a run does to whole tables: merge their files, take rows out, go back, or give them up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from delta.tables import DeltaTable as SparkDeltaTable
from deltalake import CommitProperties, DeltaTable

from featurelib.tables.commits import Commits, stamped_session
from featurelib.tables.layouts import Layout
from featurelib.tables.log import Stamp
from featurelib.tables.recovery import restore_version
from featurelib.tables.store import Store

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from featurelib.tables.lease import Lease

WITHDRAWN = "featurelib.withdrawn"


class Upkeep:
    """The part of a run that changes whole tables; each change is a commit of the run, published with it."""

    _spark: SparkSession
    _store: Store
    _commits: Commits
    _lease: Lease
    _withdrawn: set[str]

    @property
    def run_id(self) -> str:
        """The identity of the run."""
        return self._lease.run_id

    def _writable(self, table: str) -> None:
        """Refuse a table that no run may write."""
        raise NotImplementedError

    def optimize(self, table: str, *, layout: Layout | None = None) -> int:
        """Merge small files (OPTIMIZE) as a step of this run; return the version, new or not."""
        self._writable(table)
        how = layout or Layout()

        def compact(stamp: Stamp) -> None:
            with stamped_session(self._spark, stamp, how.conf) as session:
                how.optimize(SparkDeltaTable.forPath(session, self._store.path(table)))

        return self._commits.commit(table, "optimize", compact, may_skip=True)

    def remove(self, rows: DataFrame, table: str, *, on: tuple[str, ...]) -> int:
        """Delete the rows that equal one of ``rows`` in some columns; return the version, new or not.

        Only files that hold such a row are written anew. A null equals nothing.
        """
        self._writable(table)
        equal = " AND ".join(f"has.`{column}` = gone.`{column}`" for column in on)
        conf = {"spark.sql.parquet.compression.codec": self._store.compression}

        def delete(stamp: Stamp) -> None:
            with stamped_session(self._spark, stamp, conf) as session:
                target = SparkDeltaTable.forPath(session, self._store.path(table)).alias("has")
                target.merge(rows.alias("gone"), equal).whenMatchedDelete().execute()

        return self._commits.commit(table, "remove", delete, may_skip=True)

    def set_properties(self, table: str, properties: Mapping[str, str], *, step: str = "properties") -> int:
        """Set properties of a table, Delta's or others; return the version."""
        self._writable(table)

        def alter(stamp: Stamp) -> None:
            DeltaTable(self._store.path(table)).alter.set_table_properties(
                dict(properties), raise_if_not_exists=False, commit_properties=marked(stamp)
            )

        return self._commits.commit(table, step, alter)

    def restore(self, table: str, version: int) -> int:
        """Make the files and columns of an earlier version the newest ones; return the new version.

        Transaction ids stay as they are; those of later runs are greater anyway.
        """
        self._writable(table)

        def go_back(stamp: Stamp) -> None:
            restore_version(self._store, table, version, stamp)

        return self._commits.commit(table, f"restore {version}", go_back)

    def withdraw(self, table: str, properties: Mapping[str, str] | None = None) -> int:
        """Empty a table and leave it out of the manifest: readers find it as if it was never published.

        Its versions go on from where they are, so that none ever means two things.
        """
        self._writable(table)

        def empty(stamp: Stamp) -> None:
            DeltaTable(self._store.path(table)).delete(commit_properties=marked(stamp))

        self._commits.commit(table, "empty", empty, may_skip=True)
        version = self.set_properties(table, {WITHDRAWN: self.run_id, **(properties or {})}, step="withdraw")
        self._withdrawn.add(table)
        return version

    def forget(self, table: str) -> None:
        """Leave a table whose folder is lost out of the manifest; its next version will be a new number."""
        self._withdrawn.add(table)


def marked(stamp: Stamp) -> CommitProperties:
    """Return what stamps a commit of ``deltalake``."""
    return CommitProperties(custom_metadata={"userMetadata": stamp.to_json()})
