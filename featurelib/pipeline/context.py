"""What every step of a run is given: the project, the session, the store and the moment."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from featurelib.pipeline.progress import Progress
from featurelib.safety import refuse_unsafe_writers
from featurelib.specs import Project
from featurelib.tables import Store, turn

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def store_of(project: Project) -> Store:
    """Return the tables of a project's environment.

    Raises:
        ConfigError: they are on S3, and a setting makes commits there unsafe.
    """
    settings = project.settings
    refuse_unsafe_writers(settings, os.environ)
    return Store(
        settings.root,
        compression=settings.storage.compression,
        retention=settings.storage.retention,
        lease_folder=str(settings.work_folder / "leases") if settings.work else None,
    )


class Surroundings:
    """What a run and a look at its tables have in common; without a session it is a :class:`Place`."""

    project: Project
    as_of: datetime

    @cached_property
    def store(self) -> Store:
        """The tables of the environment."""
        return store_of(self.project)

    @cached_property
    def names(self) -> TableNames:
        """The names of the pipeline's tables."""
        return TableNames(self.project.name)

    def turn(
        self, who: str, *, wait_seconds: float = 0.0, gives_way: bool = False
    ) -> AbstractContextManager[None]:
        """Hold the pipeline's turn, see :func:`featurelib.tables.turn`."""
        return turn(
            self.store,
            pipeline=self.project.name,
            run_id=self.new_run_id(who),
            wait_seconds=wait_seconds,
            gives_way=gives_way,
        )

    def new_run_id(self, step: str) -> str:
        """Return an identity for one run of a step, as ``ingest-20131231-3f9a01c2``."""
        return f"{step}-{self.as_of:%Y%m%d}-{uuid.uuid4().hex[:8]}"


@dataclass(frozen=True)
class Place(Surroundings):
    """Where and when to look, without a session.

    Attributes:
        project: the validated specs.
        as_of: the moment asked about; nothing at or after it is read.
    """

    project: Project
    as_of: datetime


@dataclass(frozen=True)
class Context(Surroundings):
    """A run's surroundings.

    Attributes:
        project: the validated specs.
        spark: the session.
        as_of: the moment asked about; nothing at or after it is read.
        progress: where the user is told what happens.
    """

    project: Project
    spark: SparkSession
    as_of: datetime
    progress: Progress


@dataclass(frozen=True)
class TableNames:
    """The tables of a pipeline, by layer."""

    pipeline: str
    files: str = "bronze.files"

    @staticmethod
    def bronze(table: str) -> str:
        """Rows as received."""
        return f"bronze.{table}"

    @staticmethod
    def silver(table: str) -> str:
        """Typed, validated rows."""
        return f"silver.{table}"

    @staticmethod
    def quarantine(table: str) -> str:
        """Rows that are not good, with every reason."""
        return f"silver.{table}_quarantine"

    @property
    def features(self) -> str:
        """Spine rows with their features."""
        return f"features.{self.pipeline}"

    @property
    def feature_versions(self) -> str:
        """The version of every input that a day of the features has seen."""
        return f"features.{self.pipeline}_versions"

    @property
    def feature_definitions(self) -> str:
        """Hashes of what the features mean."""
        return f"features.{self.pipeline}_definitions"

    @property
    def touched(self) -> str:
        """Feature rows that were built again because data came late or was corrected."""
        return f"features.{self.pipeline}_touched"

    @property
    def training(self) -> str:
        """Spine rows with features, label and split."""
        return f"training.{self.pipeline}"

    @property
    def training_content(self) -> str:
        """One row: what the training set holds, and what it was made from."""
        return f"training.{self.pipeline}_content"

    @property
    def training_reference(self) -> str:
        """How the numeric features were distributed in the training rows."""
        return f"training.{self.pipeline}_reference"

    @property
    def predictions(self) -> str:
        """One row a prediction."""
        return f"predictions.{self.pipeline}"

    @property
    def superseded(self) -> str:
        """Predictions that were replaced because data came late or was corrected."""
        return f"predictions.{self.pipeline}_superseded"

    @property
    def rescored(self) -> str:
        """The runs of the feature step whose touched rows were predicted again."""
        return f"predictions.{self.pipeline}_rescored"

    @staticmethod
    def segments(model: str) -> str:
        """What became of each slice of a model's versions, with the boosters."""
        return f"models.{model}_segments"

    @staticmethod
    def contributions(model: str) -> str:
        """What made the log-odds of each test row that a slice's model predicts."""
        return f"models.{model}_contributions"


@dataclass(frozen=True)
class StepResult:
    """What a step did.

    Attributes:
        step: its name.
        summary: one line for people.
        run_id: the run that wrote, None when nothing was to do.
        facts: plain values for records and the report.
        versions: table to version, as written.
    """

    step: str
    summary: str
    run_id: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def is_idle(self) -> bool:
        """True when there was nothing to do."""
        return self.run_id is None
