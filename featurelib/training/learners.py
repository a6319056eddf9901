"""One estimator of a model, fitted on rows: Spark's and xgboost's learners, functions and ensembles alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from featurelib.specs import EstimatorSpec
from featurelib.training import estimators
from featurelib.training.als import fit_als
from featurelib.training.function_model import LearnerCode, fit_function
from featurelib.training.stages import Form
from featurelib.training.tuning import Parameter
from featurelib.training.workshop import Workshop

if TYPE_CHECKING:
    from pyspark.ml import Model
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class Bench:
    """What learners are taken from.

    Attributes:
        usable: the model's estimators that can run here.
        at_once: how many are fitted beside each other.
        parameters: of the members of ensembles: those of their best trials.
        booster: trees that xgboost learners begin with.
        code: gives the class behind ``module:class`` of the pipeline's folder.
    """

    usable: Mapping[str, EstimatorSpec]
    at_once: int = 1
    parameters: Mapping[str, Mapping[str, Parameter]] = field(default_factory=dict)
    code: Callable[[str], LearnerCode] | None = None
    booster: Any = None

    def parameters_of(self, name: str) -> dict[str, Parameter]:
        """Return what a member is fitted with: its best trial's parameters, and those of its refit."""
        spec = self.usable[name]
        return {**self.parameters.get(name, spec.parameters), **spec.refit}


@dataclass(frozen=True)
class Fitted:
    """A fitted model, the parameters it found by itself, and the larger model it was made of, if any."""

    model: Model
    found: dict[str, Parameter] = field(default_factory=dict)
    large: Model | None = None


def fit_learner(  # noqa: PLR0913 - what is fitted, on what, with what
    workshop: Workshop,
    name: str,
    parameters: Mapping[str, Any],
    rows: DataFrame,
    *,
    bench: Bench,
    watching: bool = False,
    suffix: str = "",
) -> Fitted:
    """Fit an estimator of the model by its name.

    Args:
        workshop: the prepared rows.
        name: of the estimator.
        parameters: its own, fixed and proposed.
        rows: what it is fitted on, of ``workshop.sampled`` or ``workshop.fitting``.
        bench: where members and functions are found.
        watching: whether a learner that can may look at validation rows to know when to stop.
        suffix: of the columns it writes.
    """
    spec = bench.usable[name]
    if spec.members:
        return _of_members(workshop, spec, parameters, rows, bench=bench, watching=watching)
    if spec.function is not None:
        model = fit_function(
            rows,
            reference=spec.function,
            code=bench.code,
            parameters=parameters,
            request=_request(workshop, suffix),
        )
        return Fitted(model)
    if spec.kind == "als":
        return Fitted(fit_als(rows, spec, parameters, seed=workshop.model.tuning.seed, suffix=suffix))
    watches = watching and estimators.stops_early(spec, parameters)
    learner = workshop.estimator(spec, parameters, at_once=bench.at_once, watched=watches, suffix=suffix)
    if bench.booster is not None:
        return Fitted(continued(learner, bench.booster, rows))
    model = learner.fit(workshop.watched(rows) if watches else rows)
    trees = estimators.trees_found(model) if watches else None
    return Fitted(model, {} if trees is None else {"trees": trees})


def continued(learner: Any, booster: Any, rows: DataFrame) -> Model:  # noqa: ANN401 - xgboost has no types
    """Return an xgboost learner's model of these rows that begins with fitted trees and adds its own."""
    model: Model = learner.copy({learner.xgb_model: booster}).fit(rows)
    model.clear(model.xgb_model)  # type: ignore[attr-defined] # saved as a pickle else, and part of the new booster
    return model


def _of_members(
    workshop: Workshop,
    spec: EstimatorSpec,
    parameters: Mapping[str, Any],
    rows: DataFrame,
    *,
    bench: Bench,
    watching: bool,
) -> Fitted:
    from featurelib.training import ensembles, smaller  # noqa: PLC0415 - both fit learners in their turn

    if spec.kind == "pruned":
        metric = workshop.model.tuning.metric if watching else None
        pair = smaller.fit_pruned(workshop, spec, parameters, rows, bench=bench, metric=metric)
        return Fitted(pair.small, {"trees": pair.trees or 0}, pair.large)
    if spec.kind == "distilled":
        pair = smaller.fit_distilled(workshop, spec, rows, bench=bench)
        return Fitted(pair.small, {}, pair.large)
    return Fitted(ensembles.fit_ensemble(workshop, spec, parameters, rows, bench=bench))


def forms_of(name: str, usable: Mapping[str, EstimatorSpec]) -> tuple[Form, ...]:
    """Return the vectors an estimator, or the members of an ensemble, learn from; ALS alone has none."""
    members = filter(estimators.reads_vector, members_of(name, usable))
    return tuple(dict.fromkeys(estimators.form_of(member) for member in members))


def identities_of(name: str, usable: Mapping[str, EstimatorSpec]) -> tuple[str, ...]:
    """Return the columns of users and items that an estimator, or the members of an ensemble, read."""
    members = members_of(name, usable)
    return tuple(dict.fromkeys(column for member in members for column in member.identities))


def members_of(name: str, usable: Mapping[str, EstimatorSpec]) -> list[EstimatorSpec]:
    """Return the learners that predict in an estimator: itself, or its members."""
    spec = usable[name]
    members = [usable[member] for member in spec.members] or [spec]
    return members[-1:] if spec.kind == "distilled" else members


def _request(workshop: Workshop, suffix: str) -> Any:  # noqa: ANN401
    from featurelib.training.function_model import Request  # noqa: PLC0415

    return Request(
        places=workshop.preparation.places["linear"],
        task=workshop.model.task,
        seed=workshop.model.tuning.seed,
        suffix=suffix,
    )
