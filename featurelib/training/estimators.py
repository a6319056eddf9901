"""An estimator of the configuration, with one set of parameters, becomes a ``pyspark.ml`` estimator."""

# ruff: noqa: PLC0415 - xgboost is optional

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark.ml import classification, regression

from featurelib.errors import ConfigError, PreconditionError
from featurelib.model_specs import Task
from featurelib.specs import EstimatorSpec
from featurelib.training.preparation import VECTOR, Form
from featurelib.training.tuning import Parameter
from featurelib.training.xgboost_names import OF_TREES

if TYPE_CHECKING:
    from pyspark.ml import Estimator, Model

LABEL = "_label"
"""The label column of prepared rows, a double."""
WEIGHT = "_weight"
"""The column of what a row weighs, where rows weigh differently."""
WATCHED = "_watched"
"""The column that is true in validation rows, by which a learner knows when to stop."""
_PARAMETERS: dict[str, dict[str, str]] = {
    "logistic_regression": {
        "reg_param": "regParam",
        "elastic_net": "elasticNetParam",
        "max_iter": "maxIter",
    },
    "random_forest": {
        "trees": "numTrees",
        "max_depth": "maxDepth",
        "min_rows_per_leaf": "minInstancesPerNode",
        "subsample": "subsamplingRate",
        "column_sample": "featureSubsetStrategy",
    },
    "gradient_boosted_trees": {
        "trees": "maxIter",
        "max_depth": "maxDepth",
        "learning_rate": "stepSize",
        "subsample": "subsamplingRate",
        "min_rows_per_leaf": "minInstancesPerNode",
        "column_sample": "featureSubsetStrategy",
    },
    "xgboost": {
        "trees": "n_estimators",
        **OF_TREES,
        "workers": "num_workers",
        "early_stopping_rounds": "early_stopping_rounds",
    },
    "decision_tree": {"max_depth": "maxDepth", "min_rows_per_leaf": "minInstancesPerNode"},
    "naive_bayes": {"smoothing": "smoothing", "model_type": "modelType"},
    "multilayer_perceptron": {"hidden": "layers", "max_iter": "maxIter", "learning_rate": "stepSize"},
    "factorization_machine": {
        "factors": "factorSize",
        "reg_param": "regParam",
        "max_iter": "maxIter",
        "learning_rate": "stepSize",
    },
    "linear_regression": {
        "reg_param": "regParam",
        "elastic_net": "elasticNetParam",
        "max_iter": "maxIter",
    },
    "generalized_linear_regression": {
        "family": "family",
        "link": "link",
        "reg_param": "regParam",
        "max_iter": "maxIter",
    },
}
_LEARNERS: dict[Task, dict[str, Any]] = {
    "binary": {
        "logistic_regression": classification.LogisticRegression,
        "random_forest": classification.RandomForestClassifier,
        "gradient_boosted_trees": classification.GBTClassifier,
        "decision_tree": classification.DecisionTreeClassifier,
        "naive_bayes": classification.NaiveBayes,
        "multilayer_perceptron": classification.MultilayerPerceptronClassifier,
        "factorization_machine": classification.FMClassifier,
    },
    "regression": {
        "linear_regression": regression.LinearRegression,
        "generalized_linear_regression": regression.GeneralizedLinearRegression,
        "random_forest": regression.RandomForestRegressor,
        "gradient_boosted_trees": regression.GBTRegressor,
        "decision_tree": regression.DecisionTreeRegressor,
        "factorization_machine": regression.FMRegressor,
    },
}
_TREES = frozenset({"random_forest", "gradient_boosted_trees", "decision_tree"})
_TEXTS = frozenset({"model_type", "family", "link"})
_TREE_MEMORY = 512
_FRACTIONS = frozenset(
    {
        "reg_param",
        "elastic_net",
        "learning_rate",
        "subsample",
        "column_sample",
        "min_child_weight",
        "reg_lambda",
        "gamma",
        "smoothing",
    }
)


@dataclass(frozen=True)
class Surroundings:
    """What an estimator must know of the run: the seed, the bins of the widest category, the free cores.

    Attributes:
        seed: of everything random in the fit.
        max_bins: bins a tree learner needs.
        cores: task slots this one fit may hold at the same time.
        task: what is predicted.
        places: how many places the vector has.
        weighted: whether the rows have ``WEIGHT``.
        watched: whether the rows have ``WATCHED``: a learner that can then stops early.
        suffix: of the columns it writes; "" for ``probability``, ``prediction`` and ``rawPrediction``.
    """

    seed: int
    max_bins: int
    cores: int
    task: Task = "binary"
    places: int = 0
    weighted: bool = False
    watched: bool = False
    suffix: str = ""

    def columns(self, *, snake: bool) -> dict[str, str]:
        """Return the names of the columns a learner writes, by its parameters."""
        wanted = ("prediction", "probability", "rawPrediction") if self.task == "binary" else ("prediction",)
        if not self.suffix:
            return {}
        return {
            f"{'raw_prediction' if name == 'rawPrediction' else name}_col" if snake else f"{name}Col": (
                f"{name}{self.suffix}"
            )
            for name in wanted
        }


def reads_vector(spec: EstimatorSpec) -> bool:
    """Return whether the estimator learns from a vector of the features, as all but ALS do."""
    return spec.kind != "als"


def form_of(spec: EstimatorSpec) -> Form:
    """Return which vector the estimator learns from."""
    return "tree" if spec.kind in {*_TREES, "xgboost"} else "linear"


def stops_early(spec: EstimatorSpec, parameters: Mapping[str, Parameter]) -> bool:
    """Return whether the learner looks at validation rows to know when to stop."""
    return spec.kind == "xgboost" and "early_stopping_rounds" in parameters


def missing_package(spec: EstimatorSpec) -> str | None:
    """Return the package the estimator needs and this environment lacks, or None."""
    if spec.kind == "xgboost" and importlib.util.find_spec("xgboost") is None:
        return "xgboost"
    return None


def build_estimator(
    spec: EstimatorSpec, parameters: Mapping[str, Parameter], *, surroundings: Surroundings
) -> Estimator[Any]:
    """Return an unfitted estimator over the vector of its form and the column ``LABEL``.

    The number of xgboost workers is cut to the cores it may hold: its barrier stage starts only when all of
    its tasks can, and would otherwise wait for ever beside another fit.

    Raises:
        PreconditionError: xgboost is asked for and is not installed.
    """
    known = _PARAMETERS[spec.kind]
    given: dict[str, Any] = {
        known[name]: _typed(spec.kind, name, value) for name, value in parameters.items()
    }
    if spec.kind == "xgboost":
        return _xgboost(spec, given, surroundings=surroundings)
    columns: dict[str, Any] = {"featuresCol": VECTOR[form_of(spec)], "labelCol": LABEL}
    columns |= surroundings.columns(snake=False)
    if surroundings.weighted:
        columns["weightCol"] = WEIGHT
    learner = _LEARNERS[surroundings.task][spec.kind]
    built: Estimator[Any] = learner(**{**columns, **_fixed(spec.kind, surroundings), **given})
    if spec.kind == "multilayer_perceptron":
        hidden = given.get("layers", [16])
        built = built.copy().setLayers([surroundings.places, *hidden, 2])  # type: ignore[attr-defined]
    return built


def _fixed(kind: str, surroundings: Surroundings) -> dict[str, Any]:
    """Return what a learner is told beside its hyperparameters."""
    if kind in _TREES:
        return {"maxBins": surroundings.max_bins, "seed": surroundings.seed, "maxMemoryInMB": _TREE_MEMORY}
    if kind in {"logistic_regression", "linear_regression"}:
        # The vector is scaled already; scaling twice would hide what reg_param weighs.
        return {"standardization": False}
    if kind in {"multilayer_perceptron", "factorization_machine"}:
        return {"seed": surroundings.seed}
    return {"modelType": "gaussian"} if kind == "naive_bayes" else {}


def _typed(kind: str, name: str, value: Parameter) -> Any:  # noqa: ANN401 - goes into pyspark's untyped parameters
    if _PARAMETERS[kind][name] == "featureSubsetStrategy":
        return str(float(value))  # Spark reads a share from text
    if name == "hidden":
        return _sizes(value)
    if name in _TEXTS:
        return str(value)
    return float(value) if name in _FRACTIONS else int(value)


def _sizes(value: Parameter) -> list[int]:
    """Return the sizes of hidden layers: ``16``, or ``"16,8"`` for two."""
    parts = str(value).split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise ConfigError(
            f"multilayer_perceptron: hidden is {value!r}", "a size, or sizes as '16,8'", "correct hidden"
        )
    return [int(part) for part in parts]


def _xgboost(spec: EstimatorSpec, given: Mapping[str, Any], *, surroundings: Surroundings) -> Estimator[Any]:
    if (package := missing_package(spec)) is not None:
        raise PreconditionError(
            f"estimator of kind xgboost, and the package {package} is not installed",
            "xgboost-cpu of the version in requirements.lock",
            "install featurelib[xgboost], or take the estimator out of the model",
        )
    from xgboost.spark import SparkXGBClassifier, SparkXGBRegressor

    learner = SparkXGBRegressor if surroundings.task == "regression" else SparkXGBClassifier
    for logger in ("XGBoost-PySpark", learner.__name__):
        logging.getLogger(logger).setLevel(logging.WARNING)
    workers = max(1, min(int(given.get("num_workers", 1)), surroundings.cores))
    columns: dict[str, Any] = surroundings.columns(snake=True)
    if surroundings.weighted:
        columns["weight_col"] = WEIGHT
    if surroundings.watched:
        columns["validation_indicator_col"] = WATCHED
    else:
        given = {name: value for name, value in given.items() if name != "early_stopping_rounds"}
    return learner(
        features_col=VECTOR["tree"],
        label_col=LABEL,
        random_state=surroundings.seed,
        verbose=False,
        verbosity=0,
        **{**given, **columns, "num_workers": workers},
    )


def trees_found(model: Model) -> int | None:
    """Return how many trees an early stop found best; None where nothing stopped early."""
    booster = model.get_booster() if hasattr(model, "get_booster") else None
    found = None if booster is None else booster.attr("best_iteration")
    return None if found is None else int(found) + 1


def feature_weights(model: Model, *, places: int) -> list[float] | None:
    """Return one weight a place of the vector: coefficients, or gains of the splits; None without such."""
    if hasattr(model, "featureImportances"):
        return [float(weight) for weight in model.featureImportances.toArray()]
    for linear in ("coefficients", "linear"):
        if hasattr(model, linear):
            return [float(weight) for weight in getattr(model, linear).toArray()]
    if not hasattr(model, "get_booster"):
        return None
    gains: Mapping[str, float] = model.get_booster().get_score(importance_type="total_gain")
    return [float(gains.get(f"f{place}", 0.0)) for place in range(places)]
