"""One commit of a run: under the table's lock, stamped, fenced by the lease, found again in the log.

Every commit carries the run's stamp and a transaction id ``pipeline/table/step`` whose version is the
lease token. The step is the number of the write to that table within the run: the ids of a table stay few
(one for each predicate would grow its log for ever), two writes of one run never share one, and whatever a
newer run wrote first fences the same step of an older one.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from deltalake import DeltaTable
from pyspark.sql.types import StructType

from featurelib.errors import FeaturelibError, LeaseHeld, PublishError
from featurelib.tables import log
from featurelib.tables.faults import fault_point
from featurelib.tables.log import Stamp
from featurelib.tables.store import Store

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from featurelib.tables.lease import Lease
    from featurelib.tables.recovery import Standing

_USER_METADATA = "spark.databricks.delta.commitInfo.userMetadata"


class Commits:
    """The commits of one run so far, and the newest version of each table before them.

    A table that was not there when the run began must have been made by it, from its version 0 on.
    """

    def __init__(
        self, store: Store, lease: Lease, stamp: Stamp, *, tables: Mapping[str, Standing | None]
    ) -> None:
        self._store = store
        self._lease = lease
        self._stamp = stamp
        self._start = {name: self.newest(name) for name in tables}
        self._unfinished = {
            name: table
            for name, table in tables.items()
            if table is not None and table.leftovers and table.owner != stamp.pipeline
        }
        self._steps: Counter[str] = Counter()
        self._guard = threading.Lock()
        self.versions: dict[str, int] = {}

    def stamped(self, step: str) -> Stamp:
        """Return the run's stamp for one step."""
        return Stamp(**{**self._stamp.__dict__, "step": step})

    def newest(self, table: str) -> int:
        """Return the newest version of a table.

        Raises:
            FeaturelibError: there is no such table.
        """
        return self._log(table).version()

    def schema(self, table: str) -> StructType:
        """Return the newest columns of a table.

        Raises:
            FeaturelibError: there is no such table.
        """
        return log.spark_schema(self._log(table))

    def _log(self, table: str) -> DeltaTable:
        found = log.open_log(self._store.path(table))
        if found is None:
            raise FeaturelibError(
                f"table {table!r} does not exist", "a table made by create", "call create on the run first"
            )
        return found

    def commit(
        self, table: str, step: str, change: Callable[[Stamp], object], *, may_skip: bool = False
    ) -> int:
        """Let ``change`` make one commit and return its version.

        Args:
            table: the table to change.
            step: what is done, for people.
            change: makes the commit and puts the stamp it is given into it.
            may_skip: whether finding nothing to do is a right outcome.

        Raises:
            LeaseHeld: a newer run has taken over; nothing was committed.
            PublishError: the table holds unpublished rows of another pipeline.
        """
        self._refuse_unfinished(table)
        with self._guard:
            self._steps[table] += 1
            stamp = self.stamped(f"{self._steps[table]} {step}")
        with self._store.commit_lock(table):
            self._lease.check()
            before = self.newest(table)
            fault_point(f"write.{table}.before")
            change(stamp)
            fault_point(f"write.{table}.after")
            commits = log.commits_after(self._store.path(table), before)
        mine = next((commit.version for commit in commits if commit.stamp == stamp), None)
        if mine is None and not may_skip:
            raise LeaseHeld(
                f"the write of run {stamp.run_id} (token {stamp.token}) to table {table!r} was fenced: "
                "a newer run has written this step",
                "the newest token to belong to this run",
                "let the newer run finish; nothing of this one was published",
            )
        if mine is None:
            return before  # and nothing to publish: the newest commit may be a VACUUM's, which is no run's
        self.versions[table] = mine
        return mine

    def _refuse_unfinished(self, table: str) -> None:
        """Publishing the table would publish what another pipeline has left in it, or is still at."""
        if table not in self._unfinished:
            return
        left = self._unfinished[table]
        raise PublishError(
            f"table {table!r} holds versions {left.published + 1} to {left.newest}, which pipeline "
            f"{left.owner!r} has not published",
            "a table that one pipeline writes at a time",
            f"let {left.owner!r} run to its end, which publishes or undoes them, and run again",
        )

    def verify(self, table: str) -> None:
        """Return quietly if all commits since the run began, up to the newest, are this run's.

        Raises:
            PublishError: someone else wrote to the table, or a commit of this run is gone.
        """
        since = log.commits_after(self._store.path(table), self._start.get(table, -1))
        commits = [commit for commit in since if commit.is_change]
        odd = [commit for commit in commits if not self._stamp.same_run(commit.stamp)]
        newest = commits[0].version if commits else self.newest(table)
        if not odd and newest == self.versions[table]:
            return
        culprit = f"version {odd[0].version} ({odd[0].operation})" if odd else f"the log's end, {newest},"
        raise PublishError(
            f"table {table!r}: run {self._stamp.run_id} wrote version {self.versions[table]}, but {culprit} "
            "is not its own",
            "no other writer of the table while a run works",
            "stop the other writer and run again; the run starts from what is published",
        )


def transaction(stamp: Stamp, table: str) -> tuple[str, int]:
    """Return Delta's transaction id and version of one step: at most once, and never after a newer token."""
    number = stamp.step.partition(" ")[0]
    return f"{stamp.pipeline}/{table}/{number}", stamp.token


def txn_options(stamp: Stamp, table: str) -> dict[str, str]:
    """Return the options by which Spark's writer of Delta makes one step, stamped, as that transaction."""
    identity, version = transaction(stamp, table)
    return {"txnAppId": identity, "txnVersion": str(version), "userMetadata": stamp.to_json()}


@contextmanager
def stamped_session(
    spark: SparkSession, stamp: Stamp, conf: Mapping[str, str] | None = None
) -> Iterator[SparkSession]:
    """Give a session with settings of its own, in which every Delta commit carries the stamp.

    OPTIMIZE and ALTER TABLE take user metadata from the session only; set on the caller's session it
    would mark the commits of other threads.
    """
    session = spark.newSession()
    for name, value in {**(conf or {}), _USER_METADATA: stamp.to_json()}.items():
        session.conf.set(name, value)
    yield session
