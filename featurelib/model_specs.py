"""What is trained: a model's features and learners, how these are tuned, and when one is good enough."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from featurelib.errors import nearest
from featurelib.preparation_specs import PreparationSpec
from featurelib.spec_types import Name, Spec

EstimatorKind = Literal[
    "logistic_regression",
    "random_forest",
    "gradient_boosted_trees",
    "xgboost",
    "decision_tree",
    "naive_bayes",
    "multilayer_perceptron",
    "factorization_machine",
    "linear_regression",
    "generalized_linear_regression",
    "function",
    "average",
    "stacking",
    "distilled",
    "pruned",
]
Task = Literal["binary", "regression"]
TASK_METRICS: dict[Task, frozenset[str]] = {
    "binary": frozenset({"roc_auc", "pr_auc", "log_loss"}),
    "regression": frozenset({"rmse", "mae", "r2"}),
}
"""What a search can be steered by."""
ENSEMBLES: dict[str, tuple[int, int]] = {
    "average": (2, 20),
    "stacking": (2, 20),
    "distilled": (2, 2),
    "pruned": (1, 1),
}
"""Learners made of others, and of how many; they are fitted when those are tuned."""
STUDENTS = frozenset(
    {"logistic_regression", "linear_regression", "decision_tree", "random_forest"}
    | {"gradient_boosted_trees", "xgboost", "factorization_machine"}
)
_ONLY: dict[Task, frozenset[str]] = {
    "binary": frozenset({"logistic_regression", "naive_bayes", "multilayer_perceptron"}),
    "regression": frozenset({"linear_regression", "generalized_linear_regression"}),
}
_UNWEIGHTED = frozenset({"multilayer_perceptron", "factorization_machine", "function", *ENSEMBLES})
_FUNCTION = re.compile(r"[A-Za-z_]\w*:[A-Za-z_]\w*")
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
        | {"reg_lambda", "workers", "early_stopping_rounds", "gamma"}
    ),
    "decision_tree": frozenset({"max_depth", "min_rows_per_leaf"}),
    "naive_bayes": frozenset({"smoothing", "model_type"}),
    "multilayer_perceptron": frozenset({"hidden", "max_iter", "learning_rate"}),
    "factorization_machine": frozenset({"factors", "reg_param", "max_iter", "learning_rate"}),
    "linear_regression": frozenset({"reg_param", "elastic_net", "max_iter"}),
    "generalized_linear_regression": frozenset({"family", "link", "reg_param", "max_iter"}),
    "function": frozenset(),
    "average": frozenset(),
    "stacking": frozenset({"folds", "reg_param"}),
    "distilled": frozenset(),
    "pruned": frozenset({"tolerance"}),
}
"""The hyperparameters each learner takes, fixed or tuned; a ``function`` takes whatever it reads."""


def _is_absent(value: object) -> bool:
    """Whether a field stands at its default and so adds nothing to what a spec says, nor to its hash."""
    return value in (None, (), "binary")


class EstimatorSpec(Spec):
    """A learner, its fixed parameters and the space of those to tune.

    ``refit`` overrides parameters when the best trial is fitted again on all rows: trials can then be small
    (15 trees), and the model that is kept large (60 trees).

    Attributes:
        function: of kind ``function``: ``module:class`` of the pipeline's folder, a learner on one machine.
        members: of kinds made of others: ``average`` and ``stacking`` put these estimators of the model
            together, ``distilled`` teaches the second by the first, ``pruned`` takes trees of its one away.
    """

    kind: EstimatorKind
    parameters: dict[str, float | int | str | bool] = Field(default_factory=dict)
    space: dict[str, SearchRange] = Field(default_factory=dict)
    refit: dict[str, float | int | str | bool] = Field(default_factory=dict)
    function: str | None = Field(default=None, exclude_if=_is_absent)
    members: tuple[Name, ...] = Field(default=(), exclude_if=_is_absent)

    @model_validator(mode="after")
    def _of_its_kind(self) -> Self:
        if (self.kind == "function") != (self.function is not None):
            raise ValueError(
                f"kind {self.kind}, function {self.function}: kind function, and only it, names one"
            )
        if self.function is not None and not _FUNCTION.fullmatch(self.function):
            raise ValueError(f"{self.function!r} is not module:class of the pipeline's folder")
        least, most = ENSEMBLES.get(self.kind, (0, 0))
        if not least <= len(set(self.members)) == len(self.members) <= most:
            wanted = f"{least} or more" if most > least else least or "no"
            raise ValueError(f"{self.kind} takes {wanted} members, all different, got {list(self.members)}")
        if self.members and self.space:
            raise ValueError(f"{self.kind} takes no space: its members are tuned")
        if "early_stopping_rounds" in {*self.parameters, *self.space} and "trees" in self.refit:
            raise ValueError("refit has trees, which early stopping finds: leave one of them out")
        return self

    @model_validator(mode="after")
    def _fixed_or_tuned(self) -> Self:
        both = sorted(self.parameters.keys() & self.space.keys())
        if both:
            raise ValueError(f"both fixed and tuned: {', '.join(both)}")
        known = ESTIMATOR_PARAMETERS[self.kind]
        for name in (*self.parameters, *self.space, *self.refit):
            if name not in known and self.kind != "function":
                raise ValueError(
                    f"{self.kind} has no parameter {name!r}.{nearest(name, known)}"
                    f" It takes {', '.join(sorted(known))}"
                )
        return self


class Tuning(Spec):
    """How the search runs: trials in all, how many at a time, and on what share of the training rows."""

    trials: Annotated[int, Field(ge=1)] = 12
    parallelism: Annotated[int, Field(ge=1)] = 2
    metric: Literal["roc_auc", "pr_auc", "log_loss", "rmse", "mae", "r2"] = "roc_auc"
    seed: int = 7
    sample: Annotated[float, Field(gt=0, le=1)] = 1.0


class Gate(Spec):
    """What a challenger must reach on the untouched test rows, and who must agree, to become champion.

    With ``approval: required`` a version that reaches everything else stays challenger until a reviewer
    approves it.
    """

    mode: Literal["disabled", "dry_run", "enabled"] = "enabled"
    metric: Literal["roc_auc", "pr_auc", "r2"] = "roc_auc"
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
        task: ``binary``, a label of 0 and 1, or ``regression``, a number.
        preparation: what is fitted between raw features and learner; None for the usual.
        known_label_ok: features that may tell the label as good as by themselves; any other such feature is
            refused, since it was most likely written after the label was known.
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
    task: Task = Field(default="binary", exclude_if=_is_absent)
    preparation: PreparationSpec | None = Field(default=None, exclude_if=_is_absent)
    known_label_ok: tuple[Name, ...] = Field(default=(), exclude_if=_is_absent)

    @model_validator(mode="after")
    def _learners_fit_the_task(self) -> Self:
        other: Task = "regression" if self.task == "binary" else "binary"
        for name, spec in {**self.estimators, "lift_learner": self.lift_learner}.items():
            if spec.kind in _ONLY[other]:
                raise ValueError(f"{name}: {spec.kind} is for task {other}, and the model's is {self.task}")
            if self.preparation is not None and self.preparation.is_weighted and spec.kind in _UNWEIGHTED:
                raise ValueError(
                    f"{name}: {spec.kind} takes no weights, and class_weights or sampling need them"
                )
        if self.lift_learner.kind in {"function", "multilayer_perceptron", *ENSEMBLES}:
            raise ValueError(
                f"lift_learner: {self.lift_learner.kind} cannot be fitted on parts of the features; take a "
                "linear or a tree learner"
            )
        if self.task == "regression" and self.preparation is not None and self.preparation.is_weighted:
            raise ValueError(
                "class_weights and sampling are of classes: take them out, or make the task binary"
            )
        return self

    @model_validator(mode="after")
    def _metrics_fit_the_task(self) -> Self:
        for what, metric in (("tuning", self.tuning.metric), ("gate", self.gate.metric)):
            if metric not in TASK_METRICS[self.task]:
                known = ", ".join(sorted(TASK_METRICS[self.task]))
                raise ValueError(f"{what}.metric {metric} is none of task {self.task}: {known}")
        return self

    @model_validator(mode="after")
    def _members_are_estimators(self) -> Self:
        plain = [name for name, spec in self.estimators.items() if spec.kind not in ENSEMBLES]
        if not plain:
            raise ValueError("only ensembles: they put other estimators together")
        for name, spec in self.estimators.items():
            for member in spec.members:
                if member not in plain:
                    raise ValueError(
                        f"{name} has the member {member!r}, which is no learner of the model."
                        f"{nearest(member, plain)} It can have {', '.join(plain)}"
                    )
            if spec.kind == "pruned" and self.estimators[spec.members[0]].kind != "xgboost":
                raise ValueError(
                    f"{name}: pruned takes trees of an xgboost learner away, not of {spec.members[0]}"
                )
            if spec.kind == "distilled" and self.estimators[spec.members[1]].kind not in STUDENTS:
                known = ", ".join(sorted(STUDENTS))
                raise ValueError(
                    f"{name}: {spec.members[1]} cannot be taught numbers; a student is one of {known}"
                )
        return self
