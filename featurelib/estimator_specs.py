"""A learner of a model: its kind, its fixed hyperparameters, and the space of those that are tuned."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import inf, nan
from typing import Literal, Self

from pydantic import Field, model_validator

from featurelib.errors import nearest
from featurelib.spec_types import Name, Spec, unsaid
from featurelib.tuning_specs import SearchRange

EstimatorKind = Literal[
    "logistic_regression",
    "random_forest",
    "gradient_boosted_trees",
    "xgboost",
    "decision_tree",
    "naive_bayes",
    "multilayer_perceptron",
    "factorization_machine",
    "als",
    "linear_regression",
    "generalized_linear_regression",
    "function",
    "average",
    "stacking",
    "distilled",
    "pruned",
]
ENSEMBLES: dict[str, tuple[int, int]] = {
    "average": (2, 20),
    "stacking": (2, 20),
    "distilled": (2, 2),
    "pruned": (1, 1),
}
"""Learners made of others, and of how many; they are fitted when those are tuned."""
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
    "als": frozenset({"factors", "reg_param", "max_iter", "non_negative"}),
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
        user: of kind ``als``: the column of the training set that says who gave the number.
        item: of kind ``als``: the column that says to what.
    """

    kind: EstimatorKind
    parameters: dict[str, float | int | str | bool] = Field(default_factory=dict)
    space: dict[str, SearchRange] = Field(default_factory=dict)
    refit: dict[str, float | int | str | bool] = Field(default_factory=dict)
    function: str | None = unsaid(default=None)
    members: tuple[Name, ...] = unsaid(default=())
    user: Name | None = unsaid(default=None)
    item: Name | None = unsaid(default=None)

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

    @property
    def identities(self) -> tuple[str, ...]:
        """The columns of users and items that kind ``als`` reads; none of other kinds."""
        return tuple(name for name in (self.user, self.item) if name is not None)

    @model_validator(mode="after")
    def _als(self) -> Self:
        named = [name for name in ("user", "item") if getattr(self, name) is not None]
        if named != (["user", "item"] if self.kind == "als" else []):
            raise ValueError(
                f"kind {self.kind} names {' and '.join(named) or 'neither user nor item'}: kind als, and "
                "only it, names both, columns of the training set, as {kind: als, user: customer, item: shop}"
            )
        if self.kind != "als":
            return self
        if self.user == self.item:
            raise ValueError(f"als: user and item are both {self.user}, and must be two columns")
        for name, value in self.values():
            if (wanted := _wanted_of_als(name, value)) is not None:
                raise ValueError(f"als: {name} is {value!r}, and can be {wanted}")
        return self

    def values(self) -> Iterator[tuple[str, float | int | str | bool]]:
        """Give every value that a fit could get: fixed ones, those of choices, and the ends of ranges."""
        yield from self.parameters.items()
        yield from self.refit.items()
        for name, space in self.space.items():
            for value in space.choice or space.integer or space.uniform or space.log_uniform or ():
                yield name, value


def _wanted_of_als(name: str, value: object) -> str | None:
    """Return what ALS takes instead of a value, None where it takes this one."""
    if name == "non_negative":
        return None if isinstance(value, bool) else "true or false"
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else nan
    if name == "reg_param":
        return None if 0 <= number < inf else "0 or more"
    return None if number >= 1 and number.is_integer() else "a whole number of 1 or more"
