"""How a pipeline runs in an environment: session, tracking, storage, engine. None of it changes an answer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from featurelib.spec_types import Duration, Spec, unsaid


class SparkSettings(Spec):
    """How the session is built; ``conf`` takes any further Spark setting, but sessions are in UTC."""

    master: str | None = None
    app_name: str = "featurelib"
    driver_memory: str = "4g"
    shuffle_partitions: Annotated[int, Field(ge=1)] = 8
    conf: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _in_utc(self) -> Self:
        zone = self.conf.get("spark.sql.session.timeZone", "UTC")
        if zone != "UTC":
            raise ValueError(
                f"spark.sql.session.timeZone is {zone!r}: expressions read clock times in UTC everywhere"
            )
        return self


class TrackingSettings(Spec):
    """Where MLflow keeps runs, artifacts and the registry."""

    tracking_uri: str
    artifact_root: str
    experiment: str = "featurelib"


_FEATURES_MIB = 32


class TableSettings(Spec):
    """How a table, or all tables of a layer, are kept; what is absent is as for all tables.

    Attributes:
        file_mib: the size that files shall have.
        small_files: so many files smaller than a quarter of that, in one partition, are merged.
        cluster_by: columns whose neighbouring values shall stand together, for those who read few of them;
            ``as_of_ts`` for the feature table and none for others if None.
        retention: how long a version stays readable after another has taken its place.
    """

    file_mib: Annotated[int, Field(ge=1)] | None = None
    small_files: Annotated[int, Field(ge=2)] | None = None
    cluster_by: tuple[str, ...] | None = None
    retention: Duration | None = None


class StorageSettings(Spec):
    """How tables are written and kept.

    Attributes:
        compression: codec of Parquet files.
        retention: how long a version stays readable after another has taken its place.
        file_mib: the size that files shall have; those of the layer ``features`` at most 32 unless it says so
            itself, as late data has them written again.
        small_files: so many files smaller than a quarter of that, in one partition, are merged.
        tables: what is otherwise for a layer (``silver``) or a table (``silver.flights``).
    """

    compression: Literal["zstd", "snappy", "gzip", "uncompressed"] = "zstd"
    retention: Duration = "400d"
    file_mib: Annotated[int, Field(ge=1)] = 128
    small_files: Annotated[int, Field(ge=2)] = 8
    tables: dict[Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?$")], TableSettings] = (
        Field(default_factory=dict)
    )

    def of(self, table: str) -> TableSettings:
        """Return what holds for a table: its own settings, then its layer's, then those of all tables."""
        layer = table.partition(".")[0]
        chosen = [self.tables.get(name, TableSettings()) for name in (table, layer)]
        given = [{k: v for k, v in one if v is not None} for one in chosen]
        everywhere = {
            "file_mib": min(self.file_mib, _FEATURES_MIB) if layer == "features" else self.file_mib,
            "small_files": self.small_files,
            "retention": self.retention,
        }
        return TableSettings(**{**everywhere, **given[1], **given[0]})


class EngineSettings(Spec):
    """What bounds the plans of the feature step, in MiB of rows in memory.

    Attributes:
        bucket_mib: what the rows of one bucket of a shuffle shall take; a worker needs about five times that.
        broadcast_mib: a source up to this size is small: tasks read it whole, and keep no tiles of it.
    """

    bucket_mib: Annotated[int, Field(ge=1)] = 256
    broadcast_mib: Annotated[int, Field(ge=0)] = 64


class CostSettings(Spec):
    """What an hour of the machines that run the pipeline costs.

    Attributes:
        per_hour: price of an hour from the start of a command to its end, all machines together.
        currency: what it is counted in, as ``EUR``.
    """

    per_hour: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    currency: str = "EUR"


class RunSettings(Spec):
    """Settings of the environment, not of the pipeline's meaning.

    Attributes:
        root: where tables live: a folder, or a URI as ``s3a://bucket/folder``. Relative paths start at the
            project folder.
        work: folder of all other state: leases and locks, models not registered yet, reports. By default
            ``root``; given where that is a URI, and then shared by all drivers, with locks that hold between
            machines (NFS 4, EFS, Lustre).
        landing: folder where raw files arrive.
        run_comment: the comment of trainings that are given none, as those a scheduler starts.
    """

    root: str
    work: str | None = None
    landing: str
    spark: SparkSettings = SparkSettings()
    tracking: TrackingSettings
    run_comment: str = unsaid(default="")
    storage: StorageSettings = StorageSettings()
    engine: EngineSettings = EngineSettings()
    cost: CostSettings | None = None
    secrets: dict[str, str] = Field(default_factory=dict, repr=False)

    @model_validator(mode="after")
    def _work_is_a_folder(self) -> Self:
        if _is_remote(self.work or self.root):
            given = f"work {self.work!r}" if self.work else f"root {self.root!r} and no work"
            raise ValueError(
                f"{given}: leases, locks and reports need a folder; "
                "set work to one on a file system that all drivers share"
            )
        return self

    @property
    def work_folder(self) -> Path:
        """The folder of all state but tables."""
        return Path((self.work or self.root).removeprefix("file://"))


def _is_remote(place: str) -> bool:
    return bool(re.match(r"(?!file:)[A-Za-z][A-Za-z0-9+.-]+:/", place))
