"""What is trained: a model's features and learners, how these are tuned, and when one is good enough."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from featurelib.errors import nearest
from featurelib.review_specs import Costs, FairnessDemands, Mitigation, Review
from featurelib.spec_types import Name, Spec, unsaid

EstimatorKind = Literal["logistic_regression", "random_forest", "gradient_boosted_trees", "xgboost"]
Range = Annotated[tuple[float, float], Field(min_length=2, max_length=2)]


class SearchRange(Spec):
    """One hyperparameter's space: exactly one of the forms is given.

    ``uniform`` and ``log_uniform`` take ``[low, high]``; ``integer`` takes ``[low, high]``, both included;
    ``choice`` takes the values.
    """

    uniform: Range | None = None
    log_uniform: Range | None = None
    integer: tuple[int, int] | None = None
    choice: tuple[float | int | str | bool, ...] | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        given = [name for name, value in self if value is not None]
        if len(given) != 1:
            raise ValueError(
                f"give exactly one of uniform, log_uniform, integer, choice; got {given or 'none'}"
            )
        bounds = self.uniform or self.log_uniform or self.integer
        if bounds is not None and bounds[0] >= bounds[1]:
            raise ValueError(f"low must be less than high, got {list(bounds)}")
        if self.log_uniform is not None and self.log_uniform[0] <= 0:
            raise ValueError(f"log_uniform needs low above 0, got {self.log_uniform[0]}")
        if self.choice is not None and not self.choice:
            raise ValueError("choice needs at least one value")
        return self


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


class Tuning(Spec):
    """How the search runs: trials in all, how many at a time, and on what share of the training rows."""

    trials: Annotated[int, Field(ge=1)] = 12
    parallelism: Annotated[int, Field(ge=1)] = 2
    metric: Literal["roc_auc", "pr_auc", "log_loss"] = "roc_auc"
    seed: int = 7
    sample: Annotated[float, Field(gt=0, le=1)] = 1.0


class Gate(Spec):
    """What a challenger must reach on the untouched test rows, and who must agree, to become champion.

    With ``approval: required`` a version that reaches everything else stays challenger until a reviewer
    approves it. A demand that is not given is not asked.

    Attributes:
        significant: to be better than the champion counts only if the 95% interval of the difference on the
            same test rows lies above ``-worse_than_champion``.
        fairness: bounds on differences between the groups that the review compares.
        calibration_error: the greatest expected calibration error.
        drift: the greatest population stability index of a feature between training and test rows.
        seconds_per_1000_rows: the longest time to score, measured on the test rows at training.
        megabytes: the greatest size of the model's files.
    """

    mode: Literal["disabled", "dry_run", "enabled"] = "enabled"
    metric: Literal["roc_auc", "pr_auc"] = "roc_auc"
    minimum: float
    lift_over_baseline: float = 0.0
    worse_than_champion: Annotated[float, Field(ge=0)] = 0.0
    approval: Literal["none", "required"] = "none"
    significant: bool = unsaid(default=False)
    fairness: FairnessDemands | None = unsaid(default=None)
    calibration_error: Annotated[float, Field(gt=0)] | None = unsaid(default=None)
    drift: Annotated[float, Field(gt=0)] | None = unsaid(default=None)
    seconds_per_1000_rows: Annotated[float, Field(gt=0)] | None = unsaid(default=None)
    megabytes: Annotated[float, Field(gt=0)] | None = unsaid(default=None)


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
        costs: what calls cost; the threshold is then the cheapest on validation rows, and scoring calls by
            it. Without them it is that of the greatest F1, and scoring calls at 0.5.
        mitigation: what is done about differences between groups.
        review: what else is measured and said.
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
    costs: Costs | None = unsaid(default=None)
    mitigation: Mitigation | None = unsaid(default=None)
    review: Review = unsaid(default=Review())
