from __future__ import annotations

import random
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from pyspark.ml import PipelineModel
from pyspark.ml.functions import vector_to_array
from pyspark.sql import functions as F

from featurelib.errors import ModelGateError, PreconditionError
from featurelib.pipeline.functions import learner_code
from featurelib.preparation_specs import PreparationSpec, Sampling
from featurelib.registry.files import check_classes
from featurelib.specs import EstimatorSpec, Gate, LiftStep, ModelSpec, Tuning
from featurelib.training.ensembles import fit_ensemble
from featurelib.training.fit import TrainingOptions, train_model
from featurelib.training.function_model import bind_functions
from featurelib.training.learners import Bench, fit_learner
from featurelib.training.regression import error_tallies, regression_of
from featurelib.training.regression_shapes import shapes
from featurelib.training.transfer import learn_on
from featurelib.training.workshop import prepared

SCHEMA = "key string, as_of_ts string, place string, signal double, noise double, late double, delay double, _split string"
PLAIN = '''
import json
import numpy as np
from sklearn.linear_model import LogisticRegression

class Plain:
    """scikit-learn's logistic regression, kept as numbers."""

    def fit(self, features, label, *, parameters, seed):
        found = LogisticRegression(C=parameters["c"], random_state=seed).fit(features, label)
        self.weights, self.bias = found.coef_[0].tolist(), float(found.intercept_[0])

    def predict(self, features):
        return 1 / (1 + np.exp(-(features.to_numpy() @ np.array(self.weights) + self.bias)))

    def save(self, folder):
        (folder / "weights.json").write_text(json.dumps([self.weights, self.bias]))

    @classmethod
    def load(cls, folder):
        loaded = cls()
        loaded.weights, loaded.bias = json.loads((folder / "weights.json").read_text())
        return loaded

class Pickled(Plain):
    def save(self, folder):
        import pickle
        (folder / "model.bin").write_bytes(pickle.dumps(self.weights))
'''


def rows_of(count=300):
    """Rows whose delay follows ``signal`` and, a little, ``place``; late is a delay above 0.5."""
    draw = random.Random(5)
    rows = []
    for number in range(count):
        signal, place = draw.gauss(0, 1), draw.choice("ab")
        delay = signal + (place == "a") * 0.7 + draw.gauss(0, 0.5)
        split = ("train", "train", "train", "validate", "test")[number % 5]
        day = f"2013-01-{1 + number % 28:02d}"
        rows.append((f"k{number}", day, place, signal, draw.random(), float(delay > 0.5), delay, split))
    return rows


@pytest.fixture(scope="module")
def training(spark):
    """The rows as a frame, spread over partitions."""
    return (
        spark.createDataFrame(rows_of(), SCHEMA)
        .withColumn("as_of_ts", F.to_timestamp("as_of_ts"))
        .repartition(3)
    )


@pytest.fixture(scope="module")
def code(tmp_path_factory):
    """The classes of a pipeline's folder."""
    folder = tmp_path_factory.mktemp("pipeline")
    (folder / "plain.py").write_text(PLAIN)
    return partial(learner_code, str(folder))


def model_of(estimators, *, task="binary", preparation=None, **tuning):
    """A model over the three features with these estimators, each tried once."""
    learners = [spec for spec in estimators.values() if not spec.members]
    metric = "roc_auc" if task == "binary" else "rmse"
    return ModelSpec(
        features=("place", "signal", "noise"),
        categorical=("place",),
        baseline=LiftStep(name="place only", features=("place",)),
        lift_learner=EstimatorSpec(kind="decision_tree", parameters={"max_depth": 2}),
        estimators=estimators,
        tuning=Tuning(**{"trials": len(learners), "parallelism": 2, "metric": metric, **tuning}),
        gate=Gate(minimum=0.6, metric="roc_auc" if task == "binary" else "r2"),
        task=task,
        preparation=preparation,
    )


def learner(kind, **parameters):
    """An estimator of fixed parameters."""
    return EstimatorSpec(kind=kind, parameters=parameters)


CLASSIFIERS = {
    "linear": learner("logistic_regression", reg_param=0.001),
    "bayes": learner("naive_bayes"),
    "layers": learner("multilayer_perceptron", hidden="6,3", max_iter=25),
    "machines": learner("factorization_machine", factors=2, max_iter=40, learning_rate=0.1),
    "tree": learner("decision_tree", max_depth=3),
    "boosted": learner("xgboost", trees=200, max_depth=2, learning_rate=0.3, early_stopping_rounds=5),
    "plain": EstimatorSpec(kind="function", function="plain:Plain", parameters={"c": 10.0}),
    "mean": EstimatorSpec(kind="average", members=("linear", "tree", "plain")),
    "fewer": EstimatorSpec(kind="pruned", members=("boosted",), parameters={"tolerance": 0.05}),
    "taught": EstimatorSpec(kind="distilled", members=("boosted", "tree")),
    "stack": EstimatorSpec(kind="stacking", members=("linear", "boosted"), parameters={"folds": 3}),
}
REGRESSORS = {
    "linear": learner("linear_regression", reg_param=0.0),
    "general": learner("generalized_linear_regression", family="gaussian"),
    "machines": learner("factorization_machine", factors=2, max_iter=40, learning_rate=0.1),
    "boosted": learner("xgboost", trees=200, max_depth=2, learning_rate=0.3, early_stopping_rounds=5),
    "mean": EstimatorSpec(kind="average", members=("linear", "boosted")),
    "taught": EstimatorSpec(kind="distilled", members=("boosted", "linear")),
    "stack": EstimatorSpec(kind="stacking", members=("linear", "boosted")),
}


@pytest.fixture(scope="module")
def classified(training, code):
    """One training of every kind for classes."""
    options = TrainingOptions(key=("key",), code=code)
    return train_model(training, model_of(CLASSIFIERS), name="m", label="late", options=options)


@pytest.fixture(scope="module")
def numbered(training):
    """One training of every kind for numbers."""
    options = TrainingOptions(key=("key",), slices=("place",))
    return train_model(
        training, model_of(REGRESSORS, task="regression"), name="m", label="delay", options=options
    )


@pytest.fixture(scope="module")
def workshop(training):
    """The rows prepared for classes."""
    shop = prepared(
        training, model_of(CLASSIFIERS), features=("place", "signal", "noise"), label="late", key=("key",)
    )
    yield shop
    shop.rows.unpersist()


def test_every_kind_of_classes_learns(classified):
    """Each learner, function and ensemble is tried once and tells late from not on the validation rows."""
    found = {trial.estimator: trial for trial in classified.trials}

    assert list(found) == list(CLASSIFIERS)
    assert [trial.reason for trial in found.values()] == [""] * len(found)
    assert min(trial.value for trial in found.values()) > 0.75
    assert classified.evaluation.roc_auc > 0.85


def test_an_early_stop_is_kept_for_the_refit(classified, numbered):
    """The trees found best on the validation rows are the parameter the model is fitted again with."""
    for result in (classified, numbered):
        (trial,) = [trial for trial in result.trials if trial.estimator == "boosted"]
        assert 1 <= trial.fitted["trees"] < 150
        boosted = [entry for entry in result.by_estimator if entry.estimator == "boosted"]
        assert [entry.parameters["trees"] for entry in boosted] == [trial.fitted["trees"]] * len(boosted)


def test_every_kind_of_numbers_learns(numbered):
    """Each regressor comes near the delay; the result holds what a number is measured by, and its baselines."""
    found = {trial.estimator: trial for trial in numbered.trials}

    assert [trial.reason for trial in found.values()] == [""] * len(REGRESSORS)
    assert max(trial.value for trial in found.values()) < 0.9
    assert numbered.evaluation.r2 > 0.6
    assert numbered.trivial.r2 <= 0 < numbered.evaluation.r2
    assert min(numbered.trivial.rmse, numbered.baseline.rmse) > numbered.evaluation.rmse
    assert {entry.value for entry in numbered.slices} == {"a", "b"}
    assert numbered.to_dict()["evaluation"]["mape"] > 0
    assert numbered.roc_auc_interval is None
    shape = numbered.review["shapes"]
    assert sum(rows for *_, rows in shape["calibration"]) == numbered.evaluation.rows
    assert sum(rows for *_, rows in shape["residuals"]) == numbered.evaluation.rows


def test_the_trivial_baseline_of_classes_is_their_prior(classified):
    """The share of late in training for every row: no order at all, and the entropy of the test rows under it."""
    rows = rows_of()
    prior = np.mean([row[5] for row in rows if row[7] == "train"])
    tested = np.array([row[5] for row in rows if row[7] == "test"])

    assert classified.trivial.roc_auc == 0.5
    assert classified.trivial.pr_auc == pytest.approx(tested.mean())
    assert classified.trivial.log_loss == pytest.approx(
        -(tested * np.log(prior) + (1 - tested) * np.log(1 - prior)).mean(), abs=1e-9
    )


def test_metrics_of_numbers_are_those_of_scikit_learn(spark):
    """To 1e-9, also where labels lie far from 0; a label of 0 counts for no relative error."""
    from sklearn import metrics

    draw = np.random.default_rng(2)
    truth = draw.normal(1e6, 3, 200)
    guess = truth + draw.normal(0, 2, 200)
    frame = spark.createDataFrame(
        [(float(a), float(b)) for a, b in zip(truth, guess, strict=True)], "y double, p double"
    )
    found = regression_of(error_tallies(frame.repartition(3), label="y", prediction="p")["", ""])
    zero = spark.createDataFrame([(0.0, 1.0), (2.0, 1.0)], "y double, p double")

    assert found.mse == pytest.approx(metrics.mean_squared_error(truth, guess), rel=1e-9)
    assert found.rmse == pytest.approx(metrics.root_mean_squared_error(truth, guess), rel=1e-9)
    assert found.mae == pytest.approx(metrics.mean_absolute_error(truth, guess), rel=1e-9)
    assert found.r2 == pytest.approx(metrics.r2_score(truth, guess), abs=1e-9)
    assert found.mape == pytest.approx(metrics.mean_absolute_percentage_error(truth, guess), rel=1e-9)
    assert regression_of(error_tallies(zero, label="y", prediction="p")["", ""]).mape == 0.5


def test_shapes_of_errors_are_those_of_numpy(spark):
    """Tenths by rising prediction, equal steps of the error and its quantiles: each count and mean as numpy has it."""
    draw = np.random.default_rng(8)
    guess = draw.normal(5, 3, 2_000).round(2)
    truth = guess + draw.normal(0.5, 1, 2_000)
    rows = [(float(a), float(b), place) for place, (a, b) in enumerate(zip(truth, guess, strict=True))]
    frame = spark.createDataFrame(rows, "y double, p double, h long").repartition(3)
    found = shapes(frame, label="y", prediction="p", order="h")

    tenths = np.searchsorted(np.quantile(guess, np.arange(1, 10) / 10), guess)
    assert found["calibration"] == [
        [
            pytest.approx(guess[tenths == one].mean()),
            pytest.approx(truth[tenths == one].mean()),
            (tenths == one).sum(),
        ]
        for one in range(10)
    ]
    error = guess - truth
    low, high = np.quantile(error, [0.01, 0.99])
    steps = np.linspace(low, high, 21)
    expected = [(error <= low).sum(), *np.histogram(error, steps)[0], (error > high).sum()]
    assert [count for _, _, count in found["residuals"]] == expected
    assert [start for start, _, _ in found["residuals"]] == pytest.approx([error.min(), *steps])
    assert found["residuals"][-1][1] == error.max()
    assert found["quantiles"]["0.5"] == pytest.approx(np.median(error))
    same = spark.createDataFrame([(1.0, 2.0, 1), (4.0, 5.0, 2)], "y double, p double, h long")
    assert shapes(same, label="y", prediction="p", order="h")["residuals"] == [[1.0, 1.0, 2]]
    assert shapes(same.where("y > 9"), label="y", prediction="p", order="h")["calibration"] == []


def _scores(model, rows, column="probability"):
    scored = model.transform(rows).orderBy("_row_hash").select(vector_to_array(F.col(column))[1].alias("p"))
    return np.array([row["p"] for row in scored.collect()])


def test_an_average_is_the_mean_of_its_members_and_is_saved_natively(workshop, tmp_path):
    """To 1e-12, by Spark's own stages: what is loaded predicts the same, and no class of ours is named."""
    usable = {name: CLASSIFIERS[name] for name in ("linear", "tree")}
    spec = EstimatorSpec(kind="average", members=("linear", "tree"))
    rows, held = workshop.of("train"), workshop.of("test")
    together = fit_ensemble(workshop, spec, {}, rows, bench=Bench(usable))
    alone = [
        fit_learner(workshop, name, usable[name].parameters, rows, bench=Bench(usable)).model
        for name in usable
    ]
    together.save(f"{tmp_path}/average")
    check_classes(tmp_path / "average", what="the average")
    expected = np.mean([_scores(model, held) for model in alone], axis=0)

    assert _scores(together, held) == pytest.approx(expected, abs=1e-12)
    assert _scores(PipelineModel.load(f"{tmp_path}/average"), held) == pytest.approx(expected, abs=1e-12)


def test_a_stack_learns_from_rows_its_members_did_not_see(workshop):
    """A member that knows its own training rows by heart gets little weight: its weight comes from later rows."""
    usable = {
        "linear": CLASSIFIERS["linear"],
        "heart": learner("xgboost", trees=40, max_depth=8, learning_rate=0.5),
    }
    spec = EstimatorSpec(kind="stacking", members=("linear", "heart"))
    stack = fit_ensemble(workshop, spec, {"folds": 4}, workshop.of("train"), bench=Bench(usable)).stages[-1]
    linear, heart = stack.coefficients.toArray()

    assert linear > 3 * abs(heart)


def test_what_is_made_smaller_is_compared_with_what_it_was(classified):
    """Fewer trees within the tolerance, and a tree taught by many: loss of quality and seconds stand in the result."""
    fewer, taught = classified.to_dict()["smaller"]
    trials = {trial.estimator: trial for trial in classified.trials}

    assert (fewer["made_of"], taught["made_of"]) == ("boosted", "boosted")
    assert trials["fewer"].fitted["trees"] < trials["boosted"].fitted["trees"]
    assert fewer["value"] >= fewer["value_before"] - 0.05
    assert fewer["value"] == trials["fewer"].value
    assert taught["value"] > 0.75
    assert min(one[key] for one in (fewer, taught) for key in ("seconds", "seconds_before")) > 0


def test_a_model_learns_on_from_another_slice(spark, training, workshop):
    """Where the rule is turned round, added trees learn it; the old ones stay, and the new model is no pickle."""
    bench = Bench({"boosted": CLASSIFIERS["boosted"]})
    first = fit_learner(
        workshop, "boosted", {"trees": 5, "max_depth": 2}, workshop.of("train"), bench=bench
    ).model
    pipeline = PipelineModel(stages=[*workshop.preparation.stages("tree"), first])
    turned = training.withColumn("late", 1 - F.col("late"))
    found = learn_on(
        pipeline, turned, label="late", parameters={"trees": 30, "max_depth": 3, "learning_rate": 0.5}
    )

    assert found.trees == (5, 35)
    assert found.before.roc_auc < 0.2
    assert found.after.roc_auc > 0.8
    assert not found.model.stages[-1].isSet(found.model.stages[-1].xgb_model)
    with pytest.raises(ModelGateError, match="VectorAssembler cannot learn on"):
        learn_on(PipelineModel(stages=pipeline.stages[:-1]), turned, label="late")


def test_a_function_is_scored_by_its_own_code_only(workshop, code, tmp_path):
    """scikit-learn's own probabilities to 1e-9; loaded it runs nothing until bound, and other code is refused."""
    from sklearn.linear_model import LogisticRegression

    bench = Bench({"plain": CLASSIFIERS["plain"]}, code=code)
    model = fit_learner(workshop, "plain", {"c": 10.0}, workshop.of("train"), bench=bench).model
    PipelineModel(stages=[model]).save(f"{tmp_path}/function")
    check_classes(tmp_path / "function", what="the function")
    loaded = PipelineModel.load(f"{tmp_path}/function")
    held = workshop.of("test")

    def matrix(rows):
        found = rows.orderBy("_row_hash").select(vector_to_array("_linear_vector"), "_label").collect()
        return np.array([row[0] for row in found]), np.array([row[1] for row in found])

    oracle = LogisticRegression(C=10.0, random_state=7).fit(*matrix(workshop.of("train")))
    expected = oracle.predict_proba(matrix(held)[0])[:, 1]
    assert _scores(model, held) == pytest.approx(expected, abs=1e-9)
    with pytest.raises(PreconditionError, match="no code is bound"):
        loaded.transform(held)
    bind_functions(loaded, code)
    assert _scores(loaded, held) == pytest.approx(expected, abs=1e-9)
    (Path(tmp_path) / "plain.py").write_text(f"{PLAIN}\n# changed")
    with pytest.raises(ModelGateError, match="another text of plain:Plain"):
        bind_functions(loaded, partial(learner_code, str(tmp_path)))


def test_a_function_that_pickles_is_refused(workshop, code):
    """Whoever loads a pickle runs what its writer wanted: none gets into a model."""
    pickled = EstimatorSpec(kind="function", function="plain:Pickled", parameters={"c": 1.0})
    with pytest.raises(ModelGateError, match=r"model\.bin is a pickle"):
        fit_learner(
            workshop,
            "pickled",
            {"c": 1.0},
            workshop.of("train"),
            bench=Bench({"pickled": pickled}, code=code),
        )


def test_sampled_negatives_keep_probabilities_what_they_are(training):
    """A third of the negatives, each counting for three: rows go, their weight and the mean probability stay."""
    preparation = PreparationSpec(sampling=Sampling(negatives=0.34))
    model = model_of({"linear": learner("logistic_regression", reg_param=0.0)}, preparation=preparation)
    shop = prepared(training, model, features=("place", "signal", "noise"), label="late", key=("key",))
    fitted, whole = shop.fitting("train"), shop.of("train")
    counted = {
        row["_label"]: row
        for row in fitted.groupBy("_label")
        .agg(F.count("*").alias("rows"), F.sum("_weight").alias("weight"))
        .collect()
    }
    negatives = whole.where("_label = 0").count()
    model = fit_learner(shop, "linear", {"reg_param": 0.0}, fitted, bench=Bench(shop.model.estimators)).model

    assert counted[1.0]["rows"] == counted[1.0]["weight"] == whole.count() - negatives
    assert counted[0.0]["rows"] < 0.5 * negatives
    assert counted[0.0]["weight"] == pytest.approx(negatives, rel=0.25)
    assert _scores(model, whole).mean() == pytest.approx(shop.label_mean, abs=0.05)
    shop.rows.unpersist()


def test_a_feature_that_knows_the_label_stops_a_training(training):
    """It is named before anything is fitted, with how to allow it; allowed, the training goes through."""
    leaky = training.withColumn("arrived", F.col("delay") * 2)
    model = model_of({"linear": CLASSIFIERS["linear"]}).model_copy(
        update={"features": ("place", "noise", "arrived")}
    )
    with pytest.raises(ModelGateError, match=r"arrived \(ROC AUC 1\.0000\)"):
        train_model(leaky, model, name="m", label="late")
