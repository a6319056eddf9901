"""A store is a folder of Delta tables that readers see only through its newest manifest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from pyarrow import fs

from featurelib import timeline
from featurelib.addresses import located
from featurelib.errors import ConfigError, FeaturelibError, PreconditionError, nearest
from featurelib.tables import log, manifests
from featurelib.tables.locks import exclusive

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

OPS = "ops"
MANIFESTS = "ops.manifests"

_TABLE = re.compile(r"[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*")
_DAY = timeline.duration_micros("1d")
_SECOND = timeline.duration_micros("1s")


@dataclass(frozen=True)
class Store:
    """Where tables live and how they are written.

    Attributes:
        root: absolute folder, or a URI that both Spark and ``deltalake`` can reach.
        compression: codec of the Parquet files.
        retention: how long every version stays readable, a duration of :mod:`featurelib.timeline`.
        lease_folder: folder shared by all writers, for leases and locks; needed when ``root`` is a URI,
            otherwise ``root/leases``.
    """

    root: str
    compression: str = "zstd"
    retention: str = "400d"
    lease_folder: str | None = None

    def __post_init__(self) -> None:
        timeline.duration_micros(self.retention)
        if not self._is_uri and not Path(self.root).is_absolute():
            raise ConfigError(
                f"store root {self.root!r}",
                "an absolute folder or a URI, as /data/featurelib or s3://bucket/featurelib",
                "give the whole path",
            )
        if not self._is_uri and set(self.root) & set("%`"):
            raise ConfigError(
                f"store root {self.root!r}", "a folder without % and ` in its path", "choose another folder"
            )

    @property
    def _is_uri(self) -> bool:
        return bool(re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", self.root))

    @property
    def local_root(self) -> Path | None:
        """The root as a local folder, None when it is on another file system."""
        if not self._is_uri:
            return Path(self.root)
        parts = urlsplit(self.root)
        return Path(unquote(parts.path)) if parts.scheme == "file" else None

    @property
    def leases(self) -> Path:
        """The folder of leases and locks.

        Raises:
            PreconditionError: the root is a URI and no ``lease_folder`` was given.
        """
        if self.lease_folder is not None:
            return Path(self.lease_folder)
        if self.local_root is None:
            raise PreconditionError(
                f"store root {self.root!r} is not a local folder, and there is no lease folder",
                "a folder that every writer of this store shares, for leases and locks",
                "give the store lease_folder=, a path on a shared file system",
            )
        return self.local_root / "leases"

    def path(self, table: str) -> str:
        """Return the folder of a table: ``silver.flights`` is ``ROOT/tables/silver/flights``.

        Raises:
            ConfigError: the name is not two lower-case words joined by one dot.
        """
        if not _TABLE.fullmatch(table):
            raise ConfigError(
                f"table name {table!r}",
                "layer.name in lower-case letters, digits and _, as silver.flights",
                "rename the table",
            )
        base = self.root.rstrip("/") if self.local_root is None else str(self.local_root)
        return f"{base}/tables/{table.replace('.', '/')}"

    def tables(self) -> list[str]:
        """Return the names of all folders that can be tables, sorted, published or not."""
        base = f"{self.local_root or self.root.rstrip('/')}/tables"
        filesystem, folder = located(base)
        found = filesystem.get_file_info(fs.FileSelector(folder, allow_not_found=True, recursive=False))
        layers = [info.path for info in found if info.type == fs.FileType.Directory]
        names = [
            f"{layer.rsplit('/', 1)[-1]}.{info.base_name}"
            for layer in layers
            for info in filesystem.get_file_info(fs.FileSelector(layer))
            if info.type == fs.FileType.Directory
        ]
        return sorted(name for name in names if _TABLE.fullmatch(name))

    @property
    def properties(self) -> dict[str, str]:
        """Delta properties of every table: both retentions, so that what is kept can also be read.

        Old entries of the log are not removed by writers, who know of time only, but by
        :func:`featurelib.tables.sweep`, which knows what is pinned.
        """
        micros = timeline.duration_micros(self.retention)
        days, rest = divmod(micros, _DAY)
        interval = f"interval {micros // _SECOND} seconds" if rest else f"interval {days} days"
        return {
            "delta.deletedFileRetentionDuration": interval,
            "delta.logRetentionDuration": interval,
            "delta.enableExpiredLogCleanup": "false",
            "delta.dataSkippingNumIndexedCols": "32",
            "delta.checkpointInterval": "10",
        }

    @contextmanager
    def commit_lock(self, table: str) -> Iterator[None]:
        """Hold the table's lock between processes while one commit is made.

        Two drivers that commit to one table of a local file system can both succeed and lose one
        commit: Delta's own lock lives in the JVM. One lock a table lets different tables be written
        at the same time.
        """
        self.path(table)
        with exclusive(self.leases / "commit" / f"{table}.lock", what=f"a commit to {table}"):
            yield


def current_version(store: Store, table: str) -> int | None:
    """Return the newest committed version of a table, published or not; None when there is no table."""
    return log.newest_version(store.path(table))


def table_properties(store: Store, table: str) -> dict[str, str]:
    """Return the newest Delta properties of a table; none where there is no table."""
    return log.properties(store.path(table))


def published(store: Store) -> dict[str, int]:
    """Return the published version of every table, by the newest manifest; empty before the first."""
    newest = manifests.latest(store.path(MANIFESTS))
    return {} if newest is None else dict(newest.tables)


def every_manifest(store: Store) -> list[manifests.Manifest]:
    """Return every publish, the oldest first."""
    return manifests.every(store.path(MANIFESTS))


def published_version(store: Store, table: str) -> int:
    """Return the version readers of a table see: by the manifest, for ``ops`` tables the newest.

    Raises:
        FeaturelibError: the table was never published, or its folder is not what the manifest says.
    """
    newest = current_version(store, table)
    if table.startswith(f"{OPS}.") and newest is not None:
        return newest
    mapping = published(store)
    if table not in mapping:
        raise FeaturelibError(
            f"table {table!r} was never published in {store.root}.{nearest(table, mapping)}",
            f"one of {', '.join(sorted(mapping))}" if mapping else "a store with a finished run",
            "run the pipeline that writes it",
        )
    if newest is None or newest < mapping[table]:
        raise FeaturelibError(
            f"table {table!r} is published at version {mapping[table]}, but "
            + ("its folder holds no table" if newest is None else f"its log ends at version {newest}"),
            "a log that reaches the published version",
            f"bring back {store.path(table)} from a backup",
        )
    return mapping[table]


def read(spark: SparkSession, store: Store, table: str, *, version: int | None = None) -> DataFrame:
    """Return a table at a version, by default the published one: the same rows however often it is run.

    Raises:
        FeaturelibError: no version was asked for, and the table was never published.
    """
    pinned = published_version(store, table) if version is None else version
    return spark.read.format("delta").option("versionAsOf", pinned).load(store.path(table))
