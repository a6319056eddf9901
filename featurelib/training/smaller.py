"""Models made smaller after they were tuned: fewer trees of one, or a small learner taught by a large one."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pyspark.ml import PipelineModel
from pyspark.ml.feature import SQLTransformer
from pyspark.sql import functions as F

from featurelib.specs import EstimatorSpec
from featurelib.training.ensembles import from_log_odds, log_odds_of
from featurelib.training.estimators import LABEL
from featurelib.training.learners import Bench, fit_learner
from featurelib.training.measures import PREDICTION
from featurelib.training.tuning import SMALLER_IS_BETTER, Metric
from featurelib.training.workshop import Workshop

if TYPE_CHECKING:
    from pyspark.ml import Model
    from pyspark.sql import DataFrame

_TOLERANCE = 0.001
_HALVINGS = 6
_TIMED = 3
_TEACHER = "_teacher"
_STUDENT = "_student"


@dataclass(frozen=True)
class Comparison:
    """A smaller model beside the one it was made of, both on the validation rows.

    Attributes:
        estimator: the smaller one's name.
        made_of: the larger one's name.
        metric: name of the values.
        value: the smaller one's.
        value_before: the larger one's.
        seconds: of scoring the validation rows, the fastest of three times.
        seconds_before: of the larger one.
    """

    estimator: str
    made_of: str
    metric: Metric
    value: float
    value_before: float
    seconds: float
    seconds_before: float


@dataclass(frozen=True)
class Pair:
    """The smaller model, the larger one it was made of, and what was found on the way."""

    small: Model
    large: Model
    trees: int | None = None


def fit_pruned(
    workshop: Workshop,
    spec: EstimatorSpec,
    parameters: Mapping[str, Any],
    rows: DataFrame,
    *,
    bench: Bench,
    metric: Metric | None,
) -> Pair:
    """Fit the xgboost member and keep its first trees.

    With a metric, that is while trials run, the number of trees is halved as long as the metric on the
    validation rows is worse by at most ``tolerance``; without, it is the one found then.
    """
    (member,) = spec.members
    whole = fit_learner(workshop, member, bench.parameters_of(member), rows, bench=bench).model
    total = int(whole.get_booster().num_boosted_rounds())  # type: ignore[attr-defined]
    if metric is None:
        trees = min(int(parameters["trees"]), total)
        return Pair(_first_trees(whole, trees), whole, trees)
    validation = workshop.of("validate")

    def loss(model: Model) -> float:
        tallies = workshop.measures.tallies(model.transform(validation))
        value = workshop.measures.measured([tallies], metric).value
        return value if metric in SMALLER_IS_BETTER else -value

    allowed = loss(whole) + float(parameters.get("tolerance", _TOLERANCE))
    small, trees = whole, total
    for halvings in range(1, _HALVINGS + 1):
        fewer = max(1, total >> halvings)
        if fewer == trees:
            break
        tried = _first_trees(whole, fewer)
        if loss(tried) > allowed:
            break
        small, trees = tried, fewer
    return Pair(small, whole, trees)


def _first_trees(model: Model, trees: int) -> Model:
    """Return the same model with its first trees only."""
    booster = model.get_booster()[:trees]  # type: ignore[attr-defined]
    booster.set_attr(best_iteration=None, best_score=None)
    kept = copy.copy(model._xgb_sklearn_model)  # type: ignore[attr-defined]
    kept._Booster = booster
    kept.n_estimators = trees
    pruned = model.copy()
    pruned._xgb_sklearn_model = kept  # type: ignore[attr-defined]
    return pruned


def fit_distilled(workshop: Workshop, spec: EstimatorSpec, rows: DataFrame, *, bench: Bench) -> Pair:
    """Fit the teacher, and the student on what the teacher says of the same rows.

    Of classes the student learns the teacher's log-odds, which tell more than 0 and 1 do; of numbers the
    teacher's number.
    """
    teacher, student = spec.members
    taught_by = fit_learner(
        workshop, teacher, bench.parameters_of(teacher), rows, bench=bench, suffix=_TEACHER
    )
    binary = workshop.model.task == "binary"
    said = taught_by.model.transform(rows)
    if binary:
        for stage in log_odds_of(rows.sparkSession, f"probability{_TEACHER}", column="_said"):
            said = stage.transform(said)
    taught = rows.columns
    said = said.withColumn(LABEL, F.col("_said" if binary else f"{PREDICTION}{_TEACHER}")).select(*taught)
    numbers = replace(workshop, model=workshop.model.model_copy(update={"task": "regression"}))
    own = bench.usable[student]
    as_number = own.model_copy(update={"kind": _REGRESSORS.get(own.kind, own.kind)})
    learner = numbers.estimator(
        as_number, bench.parameters_of(student), at_once=bench.at_once, suffix=_STUDENT if binary else ""
    )
    small = learner.fit(said)
    large = PipelineModel(stages=[taught_by.model, _renamed(_TEACHER, binary=binary)])
    if not binary:
        return Pair(small, large)
    return Pair(
        PipelineModel(stages=[small, *from_log_odds(rows.sparkSession, f"{PREDICTION}{_STUDENT}")]), large
    )


_REGRESSORS = {"logistic_regression": "linear_regression"}


def _renamed(suffix: str, *, binary: bool) -> SQLTransformer:
    wanted = ["prediction", *(["probability"] if binary else [])]
    columns = ", ".join(f"`{name}{suffix}` AS {name}" for name in wanted)
    return SQLTransformer(statement=f"SELECT *, {columns} FROM __THIS__")  # noqa: S608 - our own columns


def scoring_seconds(workshop: Workshop, model: Model) -> float:
    """Return the seconds the model takes for the validation rows, the fastest of three times."""
    rows, column = workshop.of("validate"), "probability" if workshop.model.task == "binary" else PREDICTION
    taken = []
    for _ in range(_TIMED):
        started = time.monotonic()
        model.transform(rows).select(column).write.format("noop").mode("overwrite").save()
        taken.append(time.monotonic() - started)
    return min(taken)
