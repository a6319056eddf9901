"""What is trained: a model's features and learners, how these are tuned, and when one is good enough."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from featurelib.errors import nearest
from featurelib.estimator_specs import ENSEMBLES, EstimatorSpec
from featurelib.preparation_specs import PreparationSpec
from featurelib.review_specs import Costs, FairnessDemands, Mitigation, Review
from featurelib.segment_specs import Segments
from featurelib.spec_types import Name, Spec, unsaid
from featurelib.tuning_specs import Tuning, check_search

Task = Literal["binary", "regression"]
TASK_METRICS: dict[Task, frozenset[str]] = {
    "binary": frozenset({"roc_auc", "pr_auc", "log_loss"}),
    "regression": frozenset({"rmse", "mae", "r2"}),
}
"""What a search can be steered by."""
STUDENTS = frozenset(
    {"logistic_regression", "linear_regression", "decision_tree", "random_forest"}
    | {"gradient_boosted_trees", "xgboost", "factorization_machine"}
)
_ONLY: dict[Task, frozenset[str]] = {
    "binary": frozenset({"logistic_regression", "naive_bayes", "multilayer_perceptron"}),
    "regression": frozenset({"linear_regression", "generalized_linear_regression"}),
}
_OF_TREES = frozenset({"random_forest", "gradient_boosted_trees", "decision_tree", "xgboost"})
_UNWEIGHTED = frozenset({"multilayer_perceptron", "factorization_machine", "function", *ENSEMBLES})


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
        warm_start: ``champion``: the training goes on from the champion of its moment, with its preparation
            and its trees, and adds trees; without a champion it begins anew. For xgboost alone.
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
    warm_start: Literal["champion"] | None = unsaid(default=None)
    costs: Costs | None = unsaid(default=None)
    mitigation: Mitigation | None = unsaid(default=None)
    review: Review = unsaid(default=Review())

    @property
    def is_weighted(self) -> bool:
        """Whether rows weigh differently in a fit."""
        reweighed = self.mitigation is not None and self.mitigation.reweigh
        return reweighed or (self.preparation is not None and self.preparation.is_weighted)

    @property
    def identities(self) -> tuple[str, ...]:
        """The columns by which learners of kind ``als`` know users and items, each once."""
        return tuple(dict.fromkeys(name for spec in self.estimators.values() for name in spec.identities))

    @model_validator(mode="after")
    def _learners_fit_the_task(self) -> Self:
        other: Task = "regression" if self.task == "binary" else "binary"
        for name, spec in {**self.estimators, "lift_learner": self.lift_learner}.items():
            if spec.kind == "als" and self.task == "binary":
                raise ValueError(
                    f"{name}: als predicts a number, such as a rating or an amount, and no probability: make "
                    "the task regression with that number as label, or take the estimator out"
                )
            if spec.kind in _ONLY[other]:
                raise ValueError(f"{name}: {spec.kind} is for task {other}, and the model's is {self.task}")
            if self.is_weighted and spec.kind in _UNWEIGHTED:
                raise ValueError(
                    f"{name}: {spec.kind} takes no weights, and class_weights, sampling or reweigh need them"
                )
        if self.lift_learner.kind in {"function", "multilayer_perceptron", "als", *ENSEMBLES}:
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
            "review.ranking": self.review.ranking,
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
    def _can_go_on(self) -> Self:
        """What begins with fitted trees keeps their vector, and can only add trees."""
        if self.warm_start is None:
            return self
        for name, spec in self.estimators.items():
            if spec.kind != "xgboost":
                raise ValueError(
                    f"warm_start: {name} is of kind {spec.kind}, and only xgboost can begin with a fitted "
                    "model: take the estimator out, or warm_start"
                )
            if "early_stopping_rounds" in {*spec.parameters, *spec.space}:
                raise ValueError(
                    f"warm_start: {name} has early_stopping_rounds, which would count the champion's trees "
                    "too: fix trees, the number that is added, or search it"
                )
        if self.lift_learner.kind not in _OF_TREES:
            raise ValueError(
                f"warm_start keeps the champion's vector for trees, and lift_learner "
                f"{self.lift_learner.kind} reads another: take one of {', '.join(sorted(_OF_TREES))}"
            )
        if self.tuning.folds is not None:
            raise ValueError("warm_start: folds have preparations of their own, and the champion's is kept")
        fitted = self.preparation and self.preparation.model_dump(exclude={"class_weights", "sampling"})
        if fitted and fitted != PreparationSpec().model_dump(exclude={"class_weights", "sampling"}):
            raise ValueError(
                "warm_start keeps the champion's preparation: take all but class_weights and sampling out"
            )
        return self

    @model_validator(mode="after")
    def _searchable(self) -> Self:
        learners = {
            name: (spec.space, spec.parameters) for name, spec in self.estimators.items() if not spec.members
        }
        check_search(self.tuning, learners)
        return self
