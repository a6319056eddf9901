"""An estimator of the configuration, with one set of parameters, becomes a ``pyspark.ml`` estimator."""

# ruff: noqa: PLC0415 - xgboost is optional

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark.ml.classification import GBTClassifier, LogisticRegression, RandomForestClassifier

from featurelib.errors import PreconditionError
from featurelib.specs import EstimatorSpec
from featurelib.training.preparation import VECTOR, Form
from featurelib.training.tuning import Parameter

if TYPE_CHECKING:
    from pyspark.ml import Estimator, Model

LABEL = "_label"
"""The label column of prepared rows, a double."""

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
        "max_depth": "max_depth",
        "learning_rate": "learning_rate",
        "subsample": "subsample",
        "column_sample": "colsample_bytree",
        "min_child_weight": "min_child_weight",
        "reg_lambda": "reg_lambda",
        "workers": "num_workers",
    },
}
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
    }
)


@dataclass(frozen=True)
class Surroundings:
    """What an estimator must know of the run: the seed, the bins of the widest category, the free cores.

    Attributes:
        seed: of everything random in the fit.
        max_bins: bins a tree learner needs.
        cores: task slots this one fit may hold at the same time.
    """

    seed: int
    max_bins: int
    cores: int


def form_of(spec: EstimatorSpec) -> Form:
    """Return which vector the estimator learns from."""
    return "linear" if spec.kind == "logistic_regression" else "tree"


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
    columns: dict[str, Any] = {"featuresCol": VECTOR[form_of(spec)], "labelCol": LABEL}
    if spec.kind == "xgboost":
        return _xgboost(spec, given, surroundings=surroundings)
    if spec.kind == "logistic_regression":
        # The vector is scaled already; scaling twice would hide what reg_param weighs.
        linear: Estimator[Any] = LogisticRegression(**{**columns, "standardization": False, **given})
        return linear
    learner = RandomForestClassifier if spec.kind == "random_forest" else GBTClassifier
    trees = {"maxBins": surroundings.max_bins, "seed": surroundings.seed, "maxMemoryInMB": _TREE_MEMORY}
    return learner(**{**columns, **trees, **given})


def _typed(kind: str, name: str, value: Parameter) -> Any:  # noqa: ANN401 - goes into pyspark's untyped parameters
    if _PARAMETERS[kind][name] == "featureSubsetStrategy":
        return str(float(value))  # Spark reads a share from text
    return float(value) if name in _FRACTIONS else int(value)


def _xgboost(spec: EstimatorSpec, given: Mapping[str, Any], *, surroundings: Surroundings) -> Estimator[Any]:
    if (package := missing_package(spec)) is not None:
        raise PreconditionError(
            f"estimator of kind xgboost, and the package {package} is not installed",
            "xgboost-cpu of the version in requirements.lock",
            "install featurelib[xgboost], or take the estimator out of the model",
        )
    from xgboost.spark import SparkXGBClassifier

    for logger in ("XGBoost-PySpark", "SparkXGBClassifier"):
        logging.getLogger(logger).setLevel(logging.WARNING)
    workers = max(1, min(int(given.get("num_workers", 1)), surroundings.cores))
    return SparkXGBClassifier(
        features_col=VECTOR["tree"],
        label_col=LABEL,
        random_state=surroundings.seed,
        verbose=False,
        verbosity=0,
        **{**given, "num_workers": workers},
    )


def feature_weights(model: Model, *, places: int) -> list[float]:
    """Return one weight a place of the vector: coefficients, or gains of the splits."""
    if hasattr(model, "coefficients"):
        return [float(weight) for weight in model.coefficients.toArray()]
    if hasattr(model, "featureImportances"):
        return [float(weight) for weight in model.featureImportances.toArray()]
    gains: Mapping[str, float] = model.get_booster().get_score(importance_type="total_gain")  # type: ignore[attr-defined]
    return [float(gains.get(f"f{place}", 0.0)) for place in range(places)]
