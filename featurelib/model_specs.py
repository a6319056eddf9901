"""What is trained: a model's features and learners, how these are tuned, and when one is good enough."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from featurelib.errors import nearest
from featurelib.spec_types import Name, Spec
from featurelib.tuning_specs import SearchRange, Tuning, check_search

EstimatorKind = Literal["logistic_regression", "random_forest", "gradient_boosted_trees", "xgboost"]


ESTIMATOR_PARAMETERS: dict[EstimatorKind, frozenset[str]] = {
    "logistic_regression": frozenset({"reg_param", "elastic_net", "max_iter"}),
    "random_forest": frozenset({"trees", "max_depth", "min_rows_per_leaf", "subsample", "column_sample"}),
    "gradient_boosted_trees": frozenset(
        {"trees", "max_depth", "learning_rate", "subsample", "min_rows_per_leaf", "column_sample"}
    ),
    "xgboost": frozenset(
        {"trees", "max_depth", "learning_rate", "subsample", "column_sample", "min_child_weight"}
        | {"reg_lambda", "workers"}
    ),
}
"""The hyperparameters each learner takes, fixed or tuned."""


class EstimatorSpec(Spec):
    """A learner, its fixed parameters and the space of those to tune.

    ``refit`` overrides parameters when the best trial is fitted again on all rows: trials can then be small
    (15 trees), and the model that is kept large (60 trees).
    """

    kind: EstimatorKind
    parameters: dict[str, float | int | str | bool] = Field(default_factory=dict)
    space: dict[str, SearchRange] = Field(default_factory=dict)
    refit: dict[str, float | int | str | bool] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fixed_or_tuned(self) -> Self:
        both = sorted(self.parameters.keys() & self.space.keys())
        if both:
            raise ValueError(f"both fixed and tuned: {', '.join(both)}")
        known = ESTIMATOR_PARAMETERS[self.kind]
        for name in (*self.parameters, *self.space, *self.refit):
            if name not in known:
                raise ValueError(
                    f"{self.kind} has no parameter {name!r}.{nearest(name, known)}"
                    f" It takes {', '.join(sorted(known))}"
                )
        return self


class Gate(Spec):
    """What a challenger must reach on the untouched test rows, and who must agree, to become champion.

    With ``approval: required`` a version that reaches everything else stays challenger until a reviewer
    approves it.
    """

    mode: Literal["disabled", "dry_run", "enabled"] = "enabled"
    metric: Literal["roc_auc", "pr_auc"] = "roc_auc"
    minimum: float
    lift_over_baseline: float = 0.0
    worse_than_champion: Annotated[float, Field(ge=0)] = 0.0
    approval: Literal["none", "required"] = "none"


class LiftStep(Spec):
    """A row of the lift table: a set of features whose model is fitted and measured beside the others."""

    name: str
    features: Annotated[tuple[str, ...], Field(min_length=1)]


def select_names(patterns: Sequence[str], names: Iterable[str]) -> tuple[str, ...]:
    """Return the names that any pattern matches and no ``!pattern`` takes away, in the order of ``names``."""
    wanted = [pattern for pattern in patterns if not pattern.startswith("!")]
    unwanted = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    return tuple(
        name
        for name in names
        if any(fnmatchcase(name, pattern) for pattern in wanted)
        and not any(fnmatchcase(name, pattern) for pattern in unwanted)
    )


class ModelSpec(Spec):
    """A model: its features, its learners, how they are tuned and when one is good enough.

    Attributes:
        features: names or patterns (``origin_*``) over spine columns and features; ``!`` in front
            takes away.
        categorical: those of the features that are encoded as categories.
        baseline: features of the baseline the gate's lift is measured against; its patterns select among
            the model's features.
        lift: further feature sets for the report's lift table, selected likewise.
        lift_learner: the one fixed learner that baseline and lift steps are fitted with.
    """

    features: Annotated[tuple[str, ...], Field(min_length=1)]
    categorical: tuple[Name, ...] = ()
    baseline: LiftStep
    lift: tuple[LiftStep, ...] = ()
    lift_learner: EstimatorSpec = EstimatorSpec(
        kind="gradient_boosted_trees", parameters={"trees": 20, "max_depth": 5, "learning_rate": 0.2}
    )
    estimators: Annotated[dict[Name, EstimatorSpec], Field(min_length=1)]
    tuning: Tuning = Tuning()
    gate: Gate
    description: str = ""

    @model_validator(mode="after")
    def _searchable(self) -> Self:
        learners = {name: (spec.space, spec.parameters) for name, spec in self.estimators.items()}
        check_search(self.tuning, learners)
        return self
