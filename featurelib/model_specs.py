"""What is trained: a model's features and learners, how these are tuned, and when one is good enough."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from featurelib.errors import nearest
from featurelib.preparation_specs import PreparationSpec
from featurelib.review_specs import Costs, FairnessDemands, Mitigation, Review
from featurelib.spec_types import Name, Spec, unsaid
from featurelib.tuning_specs import SearchRange, Tuning, check_search

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


ESTIMATOR_PARAMETERS: dict[EstimatorKind, frozenset[str]] = {
    "logistic_regression": frozenset({"reg_param", "elastic_net", "max_iter"}),
    "random_forest": frozenset({"trees", "max_depth", "min_rows_per_leaf", "subsample", "column_sample"}),
    "gradient_boosted_trees": frozenset(
        {"trees", "max_depth", "learning_rate", "subsample", "min_rows_per_leaf", "column_sample"}
    ),
    "xgboost": frozenset(
        {"trees", "max_depth", "learning_rate", "subsample", "column_sample", "min_child_weight"}
        | {"reg_lambda", "workers", "early_stopping_rounds", "gamma", "max_bin"}
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
    function: str | None = unsaid(default=None)
    members: tuple[Name, ...] = unsaid(default=())

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
    metric: Literal["roc_auc", "pr_auc", "r2"] = "roc_auc"
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


class Segments(Spec):
    """One model a slice beside the model itself, their parent: which slices, how tuned, when good enough.

    A slice is the rows with one combination of values in ``by``; null is a value like any other. The metric
    and the seed are those of the model's tuning.

    Attributes:
        by: spine columns or features of text, whole numbers, booleans or dates.
        min_rows: a slice with fewer train and validation rows keeps the parent.
        learner: a single-machine xgboost; the parent's tree vector is what it learns from.
        trials: tried for each slice, chosen on its validation rows; 1 where ``space`` is empty.
        min_gain: by how much a slice's model must be better than the parent on the slice's validation rows;
            at 0 it must be better at all.
        task_mib: a slice whose rows take more in memory keeps the parent.
        keep_contributions: keep the SHAP values of every test row in a table.
    """

    by: Annotated[tuple[Name, ...], Field(min_length=1)]
    min_rows: Annotated[int, Field(ge=1)] = 500
    learner: EstimatorSpec = EstimatorSpec(
        kind="xgboost",
        parameters={"trees": 60},
        space={
            "max_depth": SearchRange(integer=(2, 6)),
            "learning_rate": SearchRange(log_uniform=(0.03, 0.3)),
            "min_child_weight": SearchRange(log_uniform=(1, 30)),
        },
    )
    trials: Annotated[int, Field(ge=1)] = 8
    min_gain: Annotated[float, Field(ge=0)] = 0.0
    task_mib: Annotated[int, Field(ge=1)] = 512
    keep_contributions: bool = False

    @model_validator(mode="after")
    def _single_machine(self) -> Self:
        if self.learner.kind != "xgboost":
            raise ValueError(f"the learner of segments must be of kind xgboost, got {self.learner.kind}")
        learner = self.learner
        if "workers" in {*learner.parameters, *learner.space, *learner.refit}:
            raise ValueError("a slice is trained by one thread of one worker: take workers away")
        if len(set(self.by)) != len(self.by):
            raise ValueError(f"by names a column twice: {', '.join(self.by)}")
        return self


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
        segments: models of slices beside this one; absent means none.
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
    segments: Segments | None = unsaid(default=None)
    task: Task = unsaid(default="binary")
    preparation: PreparationSpec | None = unsaid(default=None)
    known_label_ok: tuple[Name, ...] = unsaid(default=())
    costs: Costs | None = unsaid(default=None)
    mitigation: Mitigation | None = unsaid(default=None)
    review: Review = unsaid(default=Review())

    @property
    def is_weighted(self) -> bool:
        """Whether rows weigh differently in a fit."""
        reweighed = self.mitigation is not None and self.mitigation.reweigh
        return reweighed or (self.preparation is not None and self.preparation.is_weighted)

    @model_validator(mode="after")
    def _learners_fit_the_task(self) -> Self:
        other: Task = "regression" if self.task == "binary" else "binary"
        for name, spec in {**self.estimators, "lift_learner": self.lift_learner}.items():
            if spec.kind in _ONLY[other]:
                raise ValueError(f"{name}: {spec.kind} is for task {other}, and the model's is {self.task}")
            if self.is_weighted and spec.kind in _UNWEIGHTED:
                raise ValueError(
                    f"{name}: {spec.kind} takes no weights, and class_weights, sampling or reweigh need them"
                )
        if self.lift_learner.kind in {"function", "multilayer_perceptron", *ENSEMBLES}:
            raise ValueError(
                f"lift_learner: {self.lift_learner.kind} cannot be fitted on parts of the features; take a "
                "linear or a tree learner"
            )
        return self

    @model_validator(mode="after")
    def _of_classes_alone(self) -> Self:
        """Whatever calls rows positive has no meaning for numbers."""
        of_classes = {
            "segments": self.segments,
            "costs": self.costs,
            "mitigation": self.mitigation,
            "review.fairness": self.review.fairness,
            "class_weights and sampling": self.preparation is not None and self.preparation.is_weighted,
        }
        grouped = self.mitigation is not None and self.mitigation.thresholds is not None
        if self.segments is not None and grouped:
            raise ValueError(
                "mitigation.thresholds are of the model alone, and segments predict beside it: give up either"
            )
        for what, given in of_classes.items():
            if self.task == "regression" and given:
                raise ValueError(f"{what}: of classes; take it out, or make the task binary")
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

    @model_validator(mode="after")
    def _searchable(self) -> Self:
        learners = {
            name: (spec.space, spec.parameters) for name, spec in self.estimators.items() if not spec.members
        }
        check_search(self.tuning, learners)
        return self
