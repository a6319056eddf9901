"""A run writes tables under one lease and makes all of it visible in one step, or nothing."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from deltalake import DeltaTable
from pyspark.errors import AnalysisException

from featurelib.errors import ConfigError, FrameError, PublishError
from featurelib.tables import lease as leases
from featurelib.tables import log, manifests, schemas
from featurelib.tables.commits import Commits, stamped_session, transaction, txn_options
from featurelib.tables.creation import check_shape, create_empty
from featurelib.tables.damage import room_explained
from featurelib.tables.faults import fault_point
from featurelib.tables.log import Stamp
from featurelib.tables.recovery import require_manifests, restore_leftovers
from featurelib.tables.small import Rows, arrow_rows, commit_rows
from featurelib.tables.store import MANIFESTS, OPS, Store, published
from featurelib.tables.store import read as read_version
from featurelib.tables.upkeep import Upkeep, marked

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

    from featurelib.tables.lease import Lease

_LOGGER = logging.getLogger(__name__)

ALL = "all"
"""Given as ``replace``: the frame takes the place of every row of the table."""


class Run(Upkeep):
    """One run of a pipeline that holds its lease; made by :func:`begin_run`.

    Different tables may be written from different threads.
    """

    def __init__(self, spark: SparkSession, store: Store, lease: Lease, commits: Commits) -> None:
        self._spark = spark
        self._store = store
        self._lease = lease
        self._commits = commits
        self._base = published(store)
        self._withdrawn: set[str] = set()
        self._is_published = False

    @property
    def pipeline(self) -> str:
        """The pipeline that runs."""
        return self._lease.pipeline

    @property
    def token(self) -> int:
        """The lease token, greater than that of every earlier run of the pipeline."""
        return self._lease.token

    @property
    def versions(self) -> dict[str, int]:
        """The version of each table this run has written, and of each it created that nobody published."""
        return dict(self._commits.versions)

    @property
    def base(self) -> dict[str, int]:
        """The published versions when the run began: what it reads, unless it has written itself."""
        return dict(self._base)

    def create(
        self, table: str, schema: StructType, *, partition_by: tuple[str, ...] = (), description: str = ""
    ) -> None:
        """Make sure that the table exists: version 0 is empty and carries every property.

        A folder left half made, without a first commit, is taken over.

        Raises:
            FrameError: the table exists with another schema or other partitions.
            PublishError: the table was published, and its folder is gone.
        """
        self._make(table, schema, partition_by=partition_by, description=description)
        check_shape(self._store, table, schema, partition_by)
        if table not in self._base:
            self._commits.versions.setdefault(table, self._commits.newest(table))

    def _make(
        self, table: str, schema: StructType, *, partition_by: tuple[str, ...], description: str
    ) -> None:
        """Commit version 0 of a table that is not there."""
        self._writable(table)
        with self._store.commit_lock(table):
            self._lease.check()
            if table in self._base and log.newest_version(self._store.path(table)) is None:
                raise PublishError(
                    f"table {table!r} is published at version {self._base[table]}, but its folder holds none",
                    "the published table",
                    f"bring back {self._store.path(table)} from a backup",
                )
            fault_point(f"create.{table}.before")
            stamp = self._commits.stamped("create")
            create_empty(
                self._store, table, schema, stamp=stamp, partition_by=partition_by, description=description
            )
            if table not in self._base:
                self._pass_published(table, stamp)
            fault_point(f"create.{table}.after")

    def _pass_published(self, table: str, stamp: Stamp) -> None:
        """Bring a table whose folder was lost beyond every version that was published of the old one.

        Else a number that a model or a record names would come to mean other rows.
        """
        every = manifests.every(self._store.path(MANIFESTS))
        newest = max((manifest.tables.get(table, -1) for manifest in every), default=-1)
        path = self._store.path(table)
        while (log.newest_version(path) or 0) <= newest:
            DeltaTable(path).alter.set_table_properties(
                {"featurelib.after": str(newest)}, raise_if_not_exists=False, commit_properties=marked(stamp)
            )

    def write(self, frame: DataFrame, table: str, *, replace: str, file_rows: int | None = None) -> int:
        """Replace the rows that match a predicate over partitions, or :data:`ALL`; return the version.

        Args:
            frame: the rows.
            table: its name.
            replace: the predicate.
            file_rows: the most rows of one file, None for any number.

        Raises:
            FrameError: the columns differ from the table's, or a row lies outside the predicate.
            LeaseHeld: a newer run of the pipeline has taken over; nothing was written.
        """
        if replace == ALL:
            return self._write(frame, table, "overwrite", {"partitionOverwriteMode": "static"}, file_rows)
        try:
            return self._write(frame, table, "overwrite", {"replaceWhere": replace}, file_rows)
        except AnalysisException as error:
            if error.getCondition() != "DELTA_REPLACE_WHERE_MISMATCH":
                raise
            raise FrameError(
                f"a row of the frame for table {table!r} lies outside its predicate: {error}",
                f"only rows for which {replace} is true (null is not)",
                "filter the frame, or widen the predicate to all partitions the frame holds",
            ) from error

    def append(self, frame: DataFrame, table: str, *, file_rows: int | None = None) -> int:
        """Add the rows to the table, at most ``file_rows`` a file; return the version.

        Raises:
            FrameError: the columns differ from the table's.
            LeaseHeld: a newer run of the pipeline has taken over; nothing was written.
        """
        return self._write(frame, table, "append", {}, file_rows)

    def append_rows(self, rows: Rows, table: str) -> int:
        """Add a handful of rows to a table without partitions, written in this process; return the version.

        Raises:
            FrameError: a row holds a column that the table lacks.
            LeaseHeld: a newer run of the pipeline has taken over; nothing was written.
        """
        return self._write_rows(rows, table, "append")

    def replace_rows(self, rows: Rows, table: str) -> int:
        """Put a handful of rows in the place of all, as :meth:`append_rows` adds them."""
        return self._write_rows(rows, table, "overwrite")

    def rewrite(
        self,
        frame: DataFrame,
        table: str,
        *,
        partition_by: tuple[str, ...] = (),
        description: str = "",
        file_rows: int | None = None,
    ) -> int:
        """Put the frame in the place of all rows, and its columns in the place of the table's.

        The table is made if it is not there. A file has at most ``file_rows`` rows. Return the version.

        Raises:
            LeaseHeld: a newer run of the pipeline has taken over; nothing was written.
            PublishError: the table was published, and its folder is gone.
        """
        self._make(table, frame.schema, partition_by=partition_by, description=description)

        def save(stamp: Stamp) -> None:
            options = {"overwriteSchema": "true", "partitionOverwriteMode": "static", **_at_most(file_rows)}
            writer = frame.write.format("delta").mode("overwrite").options(**options)
            writer = writer.options(**txn_options(stamp, table)).partitionBy(*partition_by)
            writer.option("compression", self._store.compression).save(self._store.path(table))

        return self._commits.commit(table, "rewrite", save)

    def widen(self, table: str, schema: StructType) -> int:
        """Add the columns of ``schema`` that the table lacks, null in every row so far; return the version.

        Raises:
            FrameError: a column of the table is missing from ``schema`` or has another type there.
        """
        self._writable(table)
        new = schemas.added(schema, table, self._commits.schema(table))
        if not new:
            return self._commits.newest(table)
        columns = ", ".join(f"`{field.name}` {field.dataType.simpleString()}" for field in new)
        statement = f"ALTER TABLE delta.`{self._store.path(table)}` ADD COLUMNS ({columns})"

        def alter(stamp: Stamp) -> None:
            with stamped_session(self._spark, stamp) as session:
                session.sql(statement)

        return self._commits.commit(table, "widen", alter)

    def read(self, table: str) -> DataFrame:
        """Return the table as this run has written it, otherwise as published when the run began."""
        version = self._commits.versions.get(table, self._base.get(table))
        return read_version(self._spark, self._store, table, version=version)

    def publish(self, *, note: Mapping[str, Any] | None = None, published_at: datetime | None = None) -> None:
        """Verify every version written, then make all of them visible with one row in ``ops.manifests``.

        A run id that has a manifest already publishes nothing more.

        Args:
            note: anything small worth keeping with the manifest, as JSON.
            published_at: the moment noted; by default the lease's clock.

        Raises:
            PublishError: a table was changed by someone else since the run began, or a commit is gone.
            LeaseHeld: a newer run of the pipeline has taken over.
        """
        with self._store.commit_lock(MANIFESTS):
            self._lease.check()
            self._refuse_published()
            earlier = manifests.of_run(self._store.path(MANIFESTS), self.run_id)
            if earlier is None:
                for table in sorted(self._commits.versions):
                    self._commits.verify(table)
                moment = published_at or datetime.fromtimestamp(self._lease.clock(), UTC)
                fault_point("publish.verified")
                self._append_manifest(note or {}, moment)
            else:
                _LOGGER.warning("run %s has published manifest %d already", self.run_id, earlier.sequence)
                self._commits.versions = {
                    name: earlier.tables[name] for name in self._commits.versions if name in earlier.tables
                }
            self._is_published = True

    def _append_manifest(self, note: Mapping[str, Any], moment: datetime) -> None:
        path = self._store.path(MANIFESTS)
        newest = manifests.latest(path)
        tables = {**({} if newest is None else newest.tables), **self._commits.versions}
        manifest = manifests.Manifest(
            sequence=1 if newest is None else newest.sequence + 1,
            run_id=self.run_id,
            pipeline=self.pipeline,
            token=self.token,
            published_at=moment,
            tables={name: found for name, found in tables.items() if name not in self._withdrawn},
            note=note,
        )
        fault_point("publish.before")
        manifests.append(path, manifest, stamp=self._commits.stamped("publish"))
        fault_point("publish.after")

    def _write(
        self,
        frame: DataFrame,
        table: str,
        mode: str,
        options: Mapping[str, str],
        file_rows: int | None,
    ) -> int:
        self._writable(table)
        path = self._store.path(table)
        rows = schemas.fitted(frame, table, self._commits.schema(table))

        def save(stamp: Stamp) -> None:
            writer = rows.write.format("delta").mode(mode).options(**options, **txn_options(stamp, table))
            writer = writer.options(**_at_most(file_rows))
            writer.option("compression", self._store.compression).save(path)

        return self._commits.commit(table, f"{mode} {options.get('replaceWhere', '')}".strip(), save)

    def _write_rows(self, rows: Rows, table: str, mode: Literal["append", "overwrite"]) -> int:
        self._writable(table)
        batch = arrow_rows(table, rows, self._commits.schema(table))

        def save(stamp: Stamp) -> None:
            commit_rows(
                self._store.path(table), batch, mode=mode, stamp=stamp, transaction=transaction(stamp, table)
            )

        return self._commits.commit(table, mode, save)

    def _refuse_published(self) -> None:
        if self._is_published:
            raise PublishError(
                f"run {self.run_id} has published already", "one publish, at the end", "begin another run"
            )

    def _writable(self, table: str) -> None:
        self._refuse_published()
        self._store.path(table)
        if table.startswith(f"{OPS}."):
            raise ConfigError(
                f"table {table!r} in a run", "a table outside the layer ops", "write it with append_ops"
            )


def _at_most(file_rows: int | None) -> dict[str, str]:
    return {} if file_rows is None else {"maxRecordsPerFile": str(file_rows)}


@contextmanager
def begin_run(  # noqa: PLR0913 - two of them are for a test's clock and for a mended store
    spark: SparkSession,
    store: Store,
    *,
    pipeline: str,
    run_id: str,
    plan_hash: str = "",
    ttl_seconds: float = leases.DEFAULT_TTL_SECONDS,
    lost: Collection[str] = (),
) -> Iterator[Run]:
    """Take the pipeline's lease, undo what a killed run left, give the run; release the lease at the end.

    Args:
        spark: the session; None for a run that writes rows of this process only.
        store: where the tables live.
        pipeline: whose lease to take.
        run_id: names the run; it publishes once.
        plan_hash: identity of what is computed, kept in every commit.
        ttl_seconds: how long the lease lasts without being renewed.
        lost: published tables whose folders are not what the manifest says, which this run will mend.

    Raises:
        LeaseHeld: another run of the pipeline is at work.
        PublishError: a table was changed by something that is no run, or the manifests are gone.
        PreconditionError: the disk is full.
    """
    with (
        room_explained(store.root),
        _leased(store, pipeline=pipeline, run_id=run_id, ttl_seconds=ttl_seconds) as lease,
    ):
        fault_point("begin.leased")
        stamp = Stamp(run_id, pipeline, lease.token, plan_hash, "restore")
        with store.commit_lock(MANIFESTS):
            require_manifests(store)
            create_empty(store, MANIFESTS, manifests.SCHEMA, stamp=stamp)
        stands = restore_leftovers(store, stamp, published(store), lease=lease, lost=lost)
        fault_point("begin.restored")
        own = (table.token for table in stands.values() if table.owner == pipeline)
        lease.raise_token(max(own, default=0))
        stamp = Stamp(run_id, pipeline, lease.token, plan_hash)
        mended = [name for name in lost if log.newest_version(store.path(name)) is not None]
        tables = {**dict.fromkeys(mended), **stands}
        yield Run(spark, store, lease, Commits(store, lease, stamp, tables=tables))


@contextmanager
def _leased(store: Store, *, pipeline: str, run_id: str, ttl_seconds: float) -> Iterator[Lease]:
    lease = leases.acquire(store.leases, pipeline=pipeline, run_id=run_id, ttl_seconds=ttl_seconds)
    lease.start_heartbeat()
    try:
        yield lease
    finally:
        lease.release()
