"""Models of slices beside a model: which slices, how each is tuned, and when it is good enough."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from featurelib.estimator_specs import EstimatorSpec
from featurelib.spec_types import Name, Spec
from featurelib.tuning_specs import SearchRange


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
