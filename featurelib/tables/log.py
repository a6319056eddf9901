"""What a table's Delta log says, read without a JVM: versions, who made each, and the schema."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deltalake import DeltaTable, Schema
from deltalake.exceptions import TableNotFoundError
from pyspark.sql.types import StructType

from featurelib.tables.damage import log_explained

_STAMP_KEYS = frozenset({"run_id", "pipeline", "token"})


@dataclass(frozen=True)
class Stamp:
    """What a run writes into the user metadata of each of its commits: who, and which step of it."""

    run_id: str
    pipeline: str
    token: int
    plan_hash: str = ""
    step: str = ""

    def to_json(self) -> str:
        """Return the stamp as the small JSON object kept in the commit."""
        return json.dumps(self.__dict__, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | None) -> Stamp | None:
        """Return the stamp in a commit's user metadata, None when the commit carries none of ours."""
        try:
            found = json.loads(text or "null")
        except ValueError:
            return None
        if not isinstance(found, dict) or not found.keys() >= _STAMP_KEYS:
            return None
        return cls(**{name: found[name] for name in cls.__dataclass_fields__ if name in found})

    def same_run(self, other: Stamp | None) -> bool:
        """Return whether the other stamp was written under the same run and lease token."""
        return other is not None and (self.run_id, self.token) == (other.run_id, other.token)


@dataclass(frozen=True)
class Commit:
    """One version of a table: what made it, our stamp if it is ours, and where a RESTORE went back to.

    ``seconds`` is when, since 1970 by the writer's clock; infinite where the log does not say.
    """

    version: int
    operation: str
    stamp: Stamp | None
    restored_to: int | None
    seconds: float = math.inf

    @property
    def is_change(self) -> bool:
        """Whether readers could see a difference; VACUUM notes its start and end as commits of no change."""
        return not self.operation.startswith("VACUUM")


def open_log(path: str, version: int | None = None) -> DeltaTable | None:
    """Return the table at a path, None when no commit is there.

    Raises:
        FeaturelibError: the log is damaged, does not hold the version, or needs a newer protocol.
    """
    try:
        with log_explained(path):
            return DeltaTable(path, version=version)
    except TableNotFoundError:
        return None


def newest_version(path: str) -> int | None:
    """Return the newest committed version, None when there is no table."""
    log = open_log(path)
    return None if log is None else log.version()


def commits_after(path: str, version: int) -> list[Commit]:
    """Return the commits newer than ``version``, newest first; ``-1`` asks for all that the log keeps."""
    log = open_log(path)
    if log is None or log.version() <= version:
        return []
    with log_explained(path):
        return [_commit(entry) for entry in log.history(log.version() - version)]


def table_schema(path: str) -> StructType:
    """Return the newest schema of an existing table as Spark knows it."""
    return spark_schema(DeltaTable(path))


def spark_schema(log: DeltaTable) -> StructType:
    """Return the schema of a loaded table as Spark knows it."""
    return StructType.fromJson(json.loads(log.schema().to_json()))


def partition_columns(path: str) -> tuple[str, ...]:
    """Return the columns an existing table is partitioned by."""
    return tuple(DeltaTable(path).metadata().partition_columns)


def properties(path: str) -> dict[str, str]:
    """Return the newest properties of a table, none where there is none."""
    log = open_log(path)
    return {} if log is None else dict(log.metadata().configuration)


def delta_schema(schema: StructType) -> Schema:
    """Return a Spark schema as the Delta protocol writes it: the same JSON."""
    return Schema.from_json(schema.json())


def _commit(entry: Mapping[str, Any]) -> Commit:
    operation = str(entry.get("operation", ""))
    target = (entry.get("operationParameters") or {}).get("version")
    return Commit(
        version=int(entry["version"]),
        operation=operation,
        stamp=Stamp.from_json(entry.get("userMetadata")),
        restored_to=int(target) if operation == "RESTORE" and target is not None else None,
        seconds=math.inf if entry.get("timestamp") is None else int(entry["timestamp"]) / 1000,
    )
