"""Models of slices beside a model: which slices, how each is tuned, and when it is good enough."""

from __future__ import annotations

from math import inf
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from featurelib.estimator_specs import EstimatorSpec
from featurelib.spec_types import Name, Spec, unsaid
from featurelib.tuning_specs import SearchRange

SLICE_PARAMETERS: Final[dict[str, tuple[float, float]]] = {
    "trees": (1, inf),
    "max_depth": (0, inf),
    "learning_rate": (0, inf),
    "subsample": (0, 1),
    "column_sample": (0, 1),
    "min_child_weight": (0, inf),
    "reg_lambda": (0, inf),
    "gamma": (0, inf),
    "max_bin": (2, inf),
}
"""What a slice's learner takes, with the least and the greatest value that xgboost does."""
WHOLE: Final = frozenset({"trees", "max_depth", "max_bin"})
"""Those of them that are whole numbers."""
_ABOVE = frozenset({"subsample", "column_sample"})
_OF_CLUSTERS = {
    "workers": "a slice is trained by one thread of one worker: take workers away",
    "early_stopping_rounds": "the trees of a slice are not counted on its validation rows, which choose its"
    " trial: take early_stopping_rounds away and fix trees, as {trees: 60}, or search them in the space",
}


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
        confidence: how sure that gain must be above 0, by the days of the validation rows and for the best of
            so many trials; its probabilities must then be no worse than the parent's either (log loss). None
            takes the figures as they are.
        max_rows: of a slice with more rows (of train, validation and test together) about so many are taken,
            the same share of each part and those with the lowest hashes; its model is fitted, chosen,
            measured and explained by these.
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
    confidence: Annotated[float, Field(ge=0.5, lt=1)] | None = 0.95
    max_rows: Annotated[int, Field(ge=1)] | None = unsaid(default=None)
    task_mib: Annotated[int, Field(ge=1)] = 512
    keep_contributions: bool = False

    @model_validator(mode="after")
    def _single_machine(self) -> Self:
        if self.learner.kind != "xgboost":
            raise ValueError(f"the learner of segments must be of kind xgboost, got {self.learner.kind}")
        given = {*self.learner.parameters, *self.learner.space, *self.learner.refit}
        if refused := [why for name, why in sorted(_OF_CLUSTERS.items()) if name in given]:
            raise ValueError(f"the learner of segments: {'; '.join(refused)}")
        for name, value in self.learner.values():
            if (wrong := _wrong(name, value)) is not None:
                raise ValueError(f"the learner of segments: {name} {value!r} {wrong}")
        if self.max_rows is not None and self.max_rows < self.min_rows:
            raise ValueError(
                f"max_rows {self.max_rows} is less than min_rows {self.min_rows}: no slice has both"
            )
        if len(set(self.by)) != len(self.by):
            raise ValueError(f"by names a column twice: {', '.join(self.by)}")
        return self


def _wrong(name: str, value: object) -> str | None:
    """Return what is wrong with a value, None where xgboost takes it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "is no number: give one"
    low, high = SLICE_PARAMETERS[name]
    if not low <= value <= high or (name in _ABOVE and value == low):
        above = f"above {low:g}" if name in _ABOVE else f"{low:g} or more"
        return f"cannot be: give {above}" + (f", up to {high:g}" if high < inf else "")
    if name in WHOLE and value != int(value):
        return "cannot be: give a whole number"
    return None
