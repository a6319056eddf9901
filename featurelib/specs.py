"""A pipeline is a value: frozen specs that say what is read, computed, trained and predicted.

The specs hold no behaviour beyond derived names and checks that need nothing but the spec itself; a spec
that could be built is a spec that can be run. They are written in YAML under ``conf/`` (see
:mod:`featurelib.config`) or built in Python. ``None`` means absent, always.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from featurelib.derived_specs import Derived
from featurelib.errors import nearest
from featurelib.estimator_specs import ESTIMATOR_PARAMETERS, EstimatorSpec
from featurelib.feature_specs import Aggregation, FeatureDefinition, FeatureView, Latest, feature_name
from featurelib.model_specs import Gate, LiftStep, ModelSpec, select_names
from featurelib.operations import AggregationOp
from featurelib.review_specs import Costs, Fairness, FairnessDemands, Mitigation, Ranking, Review
from featurelib.segment_specs import Segments
from featurelib.settings_specs import (
    CostSettings,
    EngineSettings,
    RunSettings,
    SparkSettings,
    StorageSettings,
    TrackingSettings,
)
from featurelib.spec_types import ColumnType, Duration, Expression, Name, Spec
from featurelib.table_specs import Encryption, LandedTable, QualityGate, QualityRule
from featurelib.tuning_specs import Folds, SearchRange, Tuning

__all__ = [
    "ESTIMATOR_PARAMETERS",
    "SPLIT",
    "Aggregation",
    "AggregationOp",
    "ColumnType",
    "CostSettings",
    "Costs",
    "Derived",
    "Encryption",
    "EngineSettings",
    "Entity",
    "EstimatorSpec",
    "Fairness",
    "FairnessDemands",
    "FeatureDefinition",
    "FeatureView",
    "Folds",
    "Gate",
    "Label",
    "LandedTable",
    "Latest",
    "LiftStep",
    "Mitigation",
    "ModelSpec",
    "Name",
    "Predictions",
    "Project",
    "QualityGate",
    "QualityRule",
    "Ranking",
    "Review",
    "RunSettings",
    "SearchRange",
    "Segments",
    "Source",
    "SparkSettings",
    "Spec",
    "Spine",
    "Split",
    "StorageSettings",
    "TrackingSettings",
    "Tuning",
    "feature_name",
    "select_names",
]

# --- what is computed -----------------------------------------------------------------------------------


class Entity(Spec):
    """What a row is about, and the columns that identify it."""

    keys: Annotated[tuple[Name, ...], Field(min_length=1)]
    description: str = ""


class Source(Spec):
    """A table of events or of slowly changing facts, with the two instants of each.

    Attributes:
        table: name of a landed table; its silver rows are read.
        event_ts: expression of when it happened.
        known_ts: expression of when it could be known; absent means at ``event_ts``.
        columns: further columns, each an expression over the table's columns.
        column_types: the type of each of ``columns``.
        where: rows to keep, an expression.
        sql: instead of ``columns`` and ``where``: one ``SELECT ... FROM <table> [WHERE ...]``.
        transform: ``module:function`` of the pipeline's own folder, applied before everything else.
        tie_breaker: columns that order events equal in both instants.
        units: what columns are measured in, for the catalogue.
        tiles: whether the feature step keeps a day's events of an entity added up, so that a new day need not
            read whole windows; absent, it does where views read more of it than ``engine.broadcast_mib``.
            If true, that includes samples of events for ``approx_quantile``.
    """

    table: Name
    event_ts: Expression
    known_ts: Expression | None = None
    columns: dict[Name, Expression] = Field(default_factory=dict)
    column_types: dict[Name, ColumnType] = Field(default_factory=dict)
    where: Expression | None = None
    sql: str | None = None
    transform: str | None = None
    transform_adds: dict[Name, ColumnType] = Field(default_factory=dict)
    tie_breaker: tuple[Name, ...] = ()
    units: dict[Name, str] = Field(default_factory=dict)
    tiles: bool | None = None
    description: str = ""

    @model_validator(mode="after")
    def _one_preparation(self) -> Self:
        if self.sql is not None and (self.columns or self.where is not None):
            raise ValueError("sql stands alone: move columns and where into the SELECT")
        if self.sql is None and set(self.columns) != set(self.column_types):
            odd = sorted(set(self.columns) ^ set(self.column_types))
            raise ValueError(f"columns and column_types must name the same columns; only one has {odd}")
        return self


class Spine(Spec):
    """One row a prediction: entity keys, the moment asked about, and columns known in advance.

    Attributes:
        table: landed table whose silver rows are the things to predict.
        key: columns that identify a row.
        as_of_ts: expression of the moment asked about.
        columns: columns known at that moment (calendar, route), each an expression; the entity keys of
            every view must be among them.
        column_types: the type of each of ``columns``.
        where: rows to keep, an expression.
        report_by: whole number over ``columns`` by which the report shows observed and predicted shares.
    """

    table: Name
    key: Annotated[tuple[Name, ...], Field(min_length=1)]
    as_of_ts: Expression
    columns: dict[Name, Expression]
    column_types: dict[Name, ColumnType]
    where: Expression | None = None
    report_by: Expression | None = None

    @model_validator(mode="after")
    def _typed(self) -> Self:
        if set(self.columns) != set(self.column_types):
            odd = sorted(set(self.columns) ^ set(self.column_types))
            raise ValueError(f"columns and column_types must name the same columns; only one has {odd}")
        for column in self.key:
            if column not in self.columns:
                raise ValueError(f"key {column!r} is not among columns.{nearest(column, self.columns)}")
        return self


class Label(Spec):
    """What is predicted: an expression over the spine's table, and when its value is known."""

    name: Name
    value: Expression
    known_ts: Expression
    description: str = ""


SPLIT: Final = "_split"
"""Column of a training set: the part of the split that a row belongs to."""


class Split(Spec):
    """Days (by ``as_of_ts``, half open) to train, validate and test on, with an embargo between them.

    Rows whose ``as_of_ts`` lies less than ``embargo`` before the next part begins belong to none.
    """

    train: tuple[date, date]
    validate_: Annotated[tuple[date, date], Field(alias="validate")]
    test: tuple[date, date]
    embargo: Duration | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        bounds = [*self.train, *self.validate_, *self.test]
        if bounds != sorted(bounds) or any(a == b for a, b in (self.train, self.validate_, self.test)):
            raise ValueError("train, validate and test must follow each other, each with start before end")
        return self


class Predictions(Spec):
    """What becomes of predictions: with late or corrected data they are kept as made, or made again."""

    late_data: Literal["keep", "rescore"] = "keep"


class Project(Spec):
    """Everything a run needs to know: the settings and the pipeline's definition."""

    name: Name
    env: Name
    folder: str
    settings: RunSettings
    tables: dict[Name, LandedTable]
    rules: dict[Name, tuple[QualityRule, ...]] = Field(default_factory=dict)
    gates: dict[Name, QualityGate] = Field(default_factory=dict)
    entities: dict[Name, Entity]
    sources: dict[Name, Source]
    views: tuple[FeatureView, ...]
    derived: dict[Name, Derived] = Field(default_factory=dict)
    spine: Spine
    label: Label
    split: Split
    models: dict[Name, ModelSpec]
    score_from: date | None = None
    predictions: Predictions = Predictions()
