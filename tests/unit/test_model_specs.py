from __future__ import annotations

import pytest
from pydantic import ValidationError

from featurelib.config import spec_hash
from featurelib.estimator_specs import ESTIMATOR_PARAMETERS, EstimatorSpec
from featurelib.model_specs import Gate, LiftStep, ModelSpec, Tuning
from featurelib.preparation_specs import ClassWeights, Imputation, Outliers, PreparationSpec, Sampling
from featurelib.segment_specs import Segments
from featurelib.tuning_specs import Folds

LINEAR = EstimatorSpec(kind="logistic_regression")
TREE = EstimatorSpec(kind="decision_tree")
BOOSTED = EstimatorSpec(kind="xgboost")
ALS = {"kind": "als", "user": "customer", "item": "shop"}
TASTE = EstimatorSpec(**ALS)
FOLDED = Tuning(folds=Folds(kind="expanding"))


def stopping(kind):
    """A learner that stops early."""
    return EstimatorSpec(kind=kind, parameters={"early_stopping_rounds": 3})


RATED = {
    "task": "regression",
    "estimators": {"taste": TASTE},
    "lift_learner": TREE,
    "tuning": Tuning(metric="rmse"),
    "gate": Gate(minimum=0.0, metric="r2"),
}
"""What makes a model one of ratings."""


def model_of(**changes):
    """A model of one learner, with these changes."""
    given = {
        "features": ("a",),
        "baseline": LiftStep(name="b", features=("a",)),
        "estimators": {"linear": LINEAR},
        "gate": Gate(minimum=0.5),
    }
    return ModelSpec(**{**given, **changes})


def test_what_is_not_asked_for_leaves_a_models_identity():
    """A model without the options of tasks, preparation and functions says, and hashes to, what it did before them."""
    said = model_of().model_dump()

    assert not {"task", "preparation", "known_label_ok"} & said.keys()
    assert said["estimators"]["linear"].keys() == {"kind", "parameters", "space", "refit"}
    assert spec_hash(model_of()) != spec_hash(model_of(preparation=PreparationSpec()))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"task": "regression"}, "logistic_regression is for task binary"),
        ({"warm_start": "champion"}, "linear is of kind logistic_regression, and only xgboost can begin"),
        (
            {"warm_start": "champion", "estimators": {"x": stopping("xgboost")}, "lift_learner": TREE},
            "x has early_stopping_rounds, which would count the champion's trees too",
        ),
        (
            {"warm_start": "champion", "estimators": {"x": BOOSTED}, "lift_learner": LINEAR},
            "lift_learner logistic_regression reads another",
        ),
        (
            {"warm_start": "champion", "estimators": {"x": BOOSTED}, "tuning": FOLDED},
            "folds have preparations of their own",
        ),
        (
            {
                "warm_start": "champion",
                "estimators": {"x": BOOSTED},
                "preparation": PreparationSpec(scale="robust"),
            },
            "warm_start keeps the champion's preparation",
        ),
        (
            {"estimators": {"line": EstimatorSpec(kind="linear_regression")}},
            "linear_regression is for task regression",
        ),
        (
            {"estimators": {"tree": TREE}, "task": "regression"},
            "tuning.metric roc_auc is none of task regression",
        ),
        (
            {"tuning": Tuning(metric="r2")},
            "tuning.metric r2 is none of task binary: log_loss, pr_auc, roc_auc",
        ),
        (
            {
                "estimators": {
                    "linear": LINEAR,
                    "mean": EstimatorSpec(kind="average", members=("linear", "tre")),
                }
            },
            "member 'tre', which is no learner of the model",
        ),
        (
            {
                "estimators": {"net": EstimatorSpec(kind="multilayer_perceptron")},
                "preparation": PreparationSpec(sampling=Sampling(negatives=0.5)),
            },
            "net: multilayer_perceptron takes no weights",
        ),
        (
            {"estimators": {"linear": LINEAR, "few": EstimatorSpec(kind="pruned", members=("linear",))}},
            "few: pruned takes trees of an xgboost learner",
        ),
        (
            {
                "estimators": {
                    "linear": LINEAR,
                    "bayes": EstimatorSpec(kind="naive_bayes"),
                    "taught": EstimatorSpec(kind="distilled", members=("linear", "bayes")),
                }
            },
            "taught: bayes cannot be taught numbers",
        ),
        (
            {"lift_learner": EstimatorSpec(kind="function", function="m:C")},
            "lift_learner: function cannot be fitted on parts",
        ),
        ({"estimators": {"taste": TASTE}}, "taste: als predicts a number.* make the task regression"),
        (
            {**RATED, "lift_learner": TASTE},
            "lift_learner: als cannot be fitted on parts",
        ),
        (
            {
                **RATED,
                "estimators": {
                    "tree": TREE,
                    "taste": TASTE,
                    "taught": EstimatorSpec(kind="distilled", members=("tree", "taste")),
                },
            },
            "taught: taste cannot be taught numbers",
        ),
        (
            {**RATED, "warm_start": "champion"},
            "taste is of kind als, and only xgboost can begin",
        ),
        (
            {**RATED, "tuning": Tuning(metric="rmse", rungs=(0.5,), rungs_of="iterations")},
            "rungs of iterations need trees or max_iter, and taste gives neither",
        ),
    ],
)
def test_learners_that_do_not_fit_the_model_are_refused(changes, told):
    """A learner of the other task, a metric of it, an unknown member, weights a learner cannot take."""
    with pytest.raises(ValidationError, match=told):
        model_of(**changes)


def test_users_and_items_are_named_once():
    """Two tastes of one user and two items: three columns, in the order of the estimators; others name none."""
    other = EstimatorSpec(kind="als", user="customer", item="dish")

    assert model_of(**{**RATED, "estimators": {"taste": TASTE, "other": other}}).identities == (
        "customer",
        "shop",
        "dish",
    )
    assert model_of().identities == ()


def test_als_takes_its_own_parameters():
    """Each may be fixed, tuned or overridden at the refit; the ends of its ranges are values it takes."""
    spaces = {
        "factors": {"integer": (1, 100)},
        "reg_param": {"uniform": (0, 1)},
        "max_iter": {"choice": (5, 10)},
        "non_negative": {"choice": (True, False)},
    }
    values = {"factors": 10, "reg_param": 0, "max_iter": 5, "non_negative": True}

    assert spaces.keys() == values.keys() == ESTIMATOR_PARAMETERS["als"]
    assert EstimatorSpec(**ALS, space=spaces).space.keys() == spaces.keys()
    assert EstimatorSpec(**ALS, parameters=values, refit={"max_iter": 20}).parameters == values


def test_models_of_slices_are_no_als():
    """The learner of segments is xgboost, whatever predicts beside it."""
    with pytest.raises(ValidationError, match="learner of segments must be of kind xgboost, got als"):
        Segments(by=("shop",), learner=TASTE)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"kind": "xgboost", "space": {"factors": {"integer": (2, 4)}}},
            "xgboost has no parameter 'factors'",
        ),
        ({"kind": "function"}, "kind function, and only it, names one"),
        ({"kind": "function", "function": "../m:C"}, "not module:class"),
        ({"kind": "average", "members": ("a",)}, "average takes 2 or more members"),
        ({"kind": "als"}, "kind als names neither user nor item: kind als, and only it, names both"),
        ({"kind": "als", "user": "a"}, "kind als names user: kind als, and only it, names both"),
        ({"kind": "xgboost", "user": "a", "item": "b"}, "kind xgboost names user and item"),
        ({"kind": "als", "user": "a", "item": "a"}, "user and item are both a, and must be two columns"),
        ({"kind": "als", "user": "A b", "item": "c"}, "'A b' is no name"),
        (
            {"kind": "als", "user": "a", "item": "b", "space": {"rank": {"integer": (2, 4)}}},
            "als has no parameter 'rank'.* It takes factors, max_iter, non_negative, reg_param",
        ),
        ({**ALS, "refit": {"max_iter": 0}}, "als: max_iter is 0, and can be a whole number of 1 or more"),
        ({**ALS, "space": {"factors": {"integer": (0, 8)}}}, "als: factors is 0, and can be a whole number"),
        ({**ALS, "parameters": {"reg_param": -0.1}}, "als: reg_param is -0.1, and can be 0 or more"),
        ({**ALS, "parameters": {"factors": 2.5}}, "als: factors is 2.5, and can be a whole number"),
        (
            {**ALS, "parameters": {"non_negative": "no"}},
            "als: non_negative is 'no', and can be true or false",
        ),
        ({"kind": "xgboost", "members": ("a", "b")}, "xgboost takes no members"),
        ({"kind": "pruned", "members": ("a", "b")}, "pruned takes 1 members"),
        (
            {"kind": "stacking", "members": ("a", "b"), "parameters": {"depth": 1}},
            "stacking has no parameter 'depth'",
        ),
        (
            {"kind": "xgboost", "parameters": {"early_stopping_rounds": 5}, "refit": {"trees": 9}},
            "early stopping finds",
        ),
    ],
)
def test_estimators_that_cannot_be_are_refused(given, told):
    """A space no estimator accepts, a function without a name, an ensemble of one."""
    with pytest.raises(ValidationError, match=told):
        EstimatorSpec(**given)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Imputation(strategy="constant"), "only it, needs a value"),
        (lambda: Imputation(strategy="mean", value=1.0), "only it, needs a value"),
        (lambda: Outliers(method="cap"), "cap takes 2 bounds"),
        (lambda: Outliers(method="iqr", bounds=(1, 2)), "iqr takes 1 bounds"),
        (lambda: Outliers(method="winsorize", bounds=(0.5, 1.5)), "shares from 0 to 1"),
        (lambda: PreparationSpec(class_weights=ClassWeights(negative=0, positive=1)), "greater than 0"),
    ],
)
def test_options_that_contradict_themselves_are_refused(make, told):
    """A constant without its value, bounds of the wrong number or order, a weight of nothing."""
    with pytest.raises(ValidationError, match=told):
        make()
