"""ALS beside ridge regressions solved by numpy: what it learns, whom it does not know, and that it comes out equal."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from pyspark.ml import PipelineModel
from pyspark.ml.recommendation import ALSModel
from pyspark.sql import functions as F

from featurelib.errors import FrameError, PreconditionError
from featurelib.model_specs import Gate, LiftStep, ModelSpec, Tuning
from featurelib.registry.files import check_classes
from featurelib.registry.vectors import hold_vectors
from featurelib.review_specs import Review
from featurelib.specs import EstimatorSpec
from featurelib.training import als
from featurelib.training.als import check_als, fit_als
from featurelib.training.explain import nearness
from featurelib.training.fit import TrainingOptions, train_model

SCHEMA = "key string, as_of_ts string, customer string, shop long, party double, rating double, _split string"
TASTE = EstimatorSpec(kind="als", user="customer", item="shop")
FAR = 9_007_199_254_740_993
"""A number beyond what a double, and far beyond what an int of ALS can hold."""


def ratings(users=30, items=10, seed=3):
    """A table of two hidden tastes, about two thirds of it given; shops have numbers that no int holds."""
    draw = np.random.default_rng(seed)
    truth = draw.normal(1, 0.5, (users, 2)) @ draw.normal(1, 0.5, (items, 2)).T
    rows = []
    for user in range(users):
        for item in range(items):
            if draw.random() < 0.67:
                number = len(rows)
                split = ("train", "train", "train", "validate", "test")[number % 5]
                rows.append(
                    (
                        f"k{number}", f"2024-01-{1 + number % 28:02d}", f"u{user}", FAR + item,
                        float(draw.integers(1, 5)), float(truth[user, item] + draw.normal(0, 0.05)), split,
                    )
                )  # fmt: skip
    return rows


@pytest.fixture(scope="module")
def training(spark):
    """The ratings as a frame, spread over partitions."""
    return (
        spark.createDataFrame(ratings(), SCHEMA)
        .withColumn("as_of_ts", F.to_timestamp("as_of_ts"))
        .repartition(3)
    )


@pytest.fixture(scope="module")
def rated(training):
    """The rows as a fit gets them."""
    return training.select(
        "customer", "shop", F.col("rating").alias("_label"), F.xxhash64("key").alias("_row_hash")
    )


def model_of(estimators=None, **changes):
    """A model of ratings whose only feature is the size of the party."""
    given = {
        "features": ("party",),
        "baseline": LiftStep(name="party", features=("party",)),
        "lift_learner": EstimatorSpec(kind="decision_tree", parameters={"max_depth": 2}),
        "estimators": estimators or {"taste": TASTE},
        "task": "regression",
        "tuning": Tuning(trials=1, metric="rmse"),
        "gate": Gate(minimum=0.0, metric="r2"),
    }
    return ModelSpec(**{**given, **changes})


def predicted(model, spark, pairs, schema="customer string, shop long"):
    """What the model says of pairs, in their order."""
    rows = spark.createDataFrame([(place, *pair) for place, pair in enumerate(pairs)], f"place int, {schema}")
    found = model.transform(rows.repartition(3)).orderBy("place").select("place", "prediction").collect()
    assert [row["place"] for row in found] == list(range(len(pairs)))
    return [row["prediction"] for row in found]


def vectors(model):
    """The vectors of users and of items by their text."""
    _, indexer, fitted, _ = model.stages
    assert isinstance(fitted, ALSModel)
    return [
        {labels[row["id"]]: np.array(row["features"], dtype=np.float64) for row in factors.collect()}
        for labels, factors in zip(indexer.labelsArray, (fitted.userFactors, fitted.itemFactors), strict=True)
    ]


def ridge(others, given, reg_param):
    """The vector that solves the ridge regression of the numbers on the others' vectors, penalised once a row."""
    matrix = np.array([others[name] for name, _ in given])
    values = np.array([value for _, value in given])
    penalty = reg_param * len(given) * np.eye(matrix.shape[1])
    return np.linalg.solve(matrix.T @ matrix + penalty, matrix.T @ values)


def test_users_solve_their_ridge_regressions(rated):
    """Given the vectors of items, each user's is the one numpy finds, to single precision, however few its rows."""
    model = fit_als(rated, TASTE, {"factors": 3, "reg_param": 0.1, "max_iter": 4}, seed=7)
    users, items = vectors(model)

    by_user = {}
    for row in rated.collect():
        by_user.setdefault(row["customer"], []).append((str(row["shop"]), row["_label"]))
    assert users.keys() == by_user.keys()
    assert items.keys() == {str(FAR + item) for item in range(10)}
    for name, given in by_user.items():
        assert users[name] == pytest.approx(ridge(items, given, 0.1), abs=1e-4)


def no_checkpoints(spark):
    """Take the folder for checkpoints away again, which pyspark cannot."""
    getattr(spark.sparkContext._jsc.sc(), "checkpointDir_$eq")(spark._jvm.scala.Option.empty())


@pytest.fixture
def checkpoints(spark, tmp_path):
    """A folder for checkpoints, of this test alone."""
    spark.sparkContext.setCheckpointDir(str(tmp_path / "checkpoints"))
    yield
    no_checkpoints(spark)


def test_more_turns_than_a_stack_holds_are_refused(training):
    """41 turns need more than the 8 MiB that sessions of ours have: told before anything is fitted; Spark would die."""
    for field in ("parameters", "refit"):
        spec = TASTE.model_copy(update={field: {"max_iter": 41}})
        with pytest.raises(PreconditionError, match=r"als of up to 41 turns .* a stack of 8 MiB\n.*: 9 MiB"):
            train_model(training, model_of({"taste": spec}), name="m", label="rating")


@pytest.mark.usefixtures("checkpoints")
def test_checkpoints_cut_the_way_back(rated, training):
    """With a folder for them no number of turns is refused, and the fit writes there and comes out the same."""
    check_als(training, model_of({"taste": TASTE.model_copy(update={"parameters": {"max_iter": 500}})}),
              name="m", label="rating")  # fmt: skip
    folder = Path(rated.sparkSession.sparkContext.getCheckpointDir().removeprefix("file:"))
    cut = vectors(fit_als(rated, TASTE, {"factors": 1, "max_iter": 12}, seed=7))
    assert [*folder.rglob("part-*")]
    no_checkpoints(rated.sparkSession)
    whole = vectors(fit_als(rated, TASTE, {"factors": 1, "max_iter": 12}, seed=7))
    assert [{name: tuple(one) for name, one in side.items()} for side in cut] == [
        {name: tuple(one) for name, one in side.items()} for side in whole
    ]


def test_it_comes_where_numpy_comes(spark, rated):
    """Ridge regressions in turns from another beginning end at the same predictions, those never given too."""
    reg_param, turns = 0.05, 300
    rows = [(row["customer"], str(row["shop"]), row["_label"]) for row in rated.collect()]
    draw = np.random.default_rng(11)
    users = {name: draw.random(2) for name, _, _ in rows}
    items = {name: draw.random(2) for _, name, _ in rows}
    for _ in range(turns):
        items = {
            name: ridge(users, [(u, value) for u, i, value in rows if i == name], reg_param) for name in items
        }
        users = {
            name: ridge(items, [(i, value) for u, i, value in rows if u == name], reg_param) for name in users
        }
    model = fit_als(rated, TASTE, {"factors": 2, "reg_param": reg_param, "max_iter": 40}, seed=7)
    pairs = [(user, int(item)) for user in sorted(users) for item in sorted(items)]

    expected = [users[user] @ items[str(item)] for user, item in pairs]
    assert len(pairs) > len(rows)
    assert predicted(model, spark, pairs) == pytest.approx(expected, abs=5e-3)


def test_whom_it_does_not_know_gets_the_mean(spark, rated):
    """A user or an item that is new or null gets the training rows' mean label, and every row stays; known ones do not."""
    nobody = spark.createDataFrame(
        [(None, FAR, 100.0, 1), ("u0", None, 50.0, 2)],
        "customer string, shop long, _label double, _row_hash long",
    )
    model = fit_als(rated.unionByName(nobody), TASTE, {"factors": 2, "reg_param": 0.1}, seed=7)
    labels = [row["_label"] for row in rated.collect()] + [100.0, 50.0]
    cold = [("new", FAR), ("u0", -1), ("new", -1), (None, FAR), ("u0", None), (None, None), ("new", FAR)]
    *unknown, known = predicted(model, spark, [*cold, ("u0", FAR)])

    assert unknown == pytest.approx([np.mean(labels)] * len(cold), abs=1e-12)
    assert 0 < known < np.mean(labels)
    assert predicted(model, spark, cold[:1]) == unknown[:1]


@pytest.mark.parametrize("blocks", [1, 3])
def test_the_same_rows_give_the_same_model(rated, monkeypatch, blocks):
    """To the bit, whatever partitions and order they come in; so do rows that are cut into several blocks."""
    monkeypatch.setattr(als, "_ROWS_A_BLOCK", -(-rated.count() // blocks))
    parameters = {"factors": 3, "reg_param": 0.01, "max_iter": 10}
    cuts = [rated.coalesce(1), rated.repartition(7), rated.orderBy(F.desc("_label"))]
    found = [vectors(fit_als(rows, TASTE, parameters, seed=7)) for rows in cuts]

    for other in found[1:]:
        for one, another in zip(found[0], other, strict=True):
            assert {name: tuple(vector) for name, vector in one.items()} == {
                name: tuple(vector) for name, vector in another.items()
            }
    again = vectors(fit_als(rated, TASTE, parameters, seed=8))
    assert not np.array_equal(again[0]["u0"], found[0][0]["u0"])


def test_a_saved_model_is_sparks_own_and_predicts_the_same(spark, rated, tmp_path):
    """No class of ours is in its files; what was loaded says the same to the bit, of all pairs, once they are gone."""
    model = fit_als(rated, TASTE, {"factors": 2, "non_negative": True}, seed=7)
    PipelineModel(stages=[model]).save(f"{tmp_path}/taste")
    check_classes(tmp_path / "taste", what="the model")
    pairs = [(f"u{user}", FAR + item) for user in range(31) for item in range(11)]
    loaded = PipelineModel.load(f"{tmp_path}/taste")
    assert predicted(loaded, spark, pairs) == predicted(model, spark, pairs)
    hold_vectors(loaded)
    shutil.rmtree(tmp_path / "taste")

    assert min(vector.min() for side in vectors(model) for vector in side.values()) >= 0
    assert predicted(loaded, spark, pairs) == predicted(model, spark, pairs)


def test_columns_may_have_names_of_sparks_own(spark):
    """A user called id and an item called features, as Spark calls columns of its vectors."""
    rows = spark.createDataFrame(
        [("a", 1, 1.0, 1), ("a", 2, 3.0, 2), ("b", 1, 1.5, 3)],
        "id string, features int, _label double, _row_hash long",
    )
    spec = EstimatorSpec(kind="als", user="id", item="features")
    model = fit_als(rows, spec, {"factors": 1, "reg_param": 0.001}, seed=7)

    found = predicted(model, spark, [("a", 2), ("b", 9)], "id string, features int")
    assert found == pytest.approx([3.0, 5.5 / 3], abs=0.05)


ESTIMATORS = {
    "taste": EstimatorSpec(
        kind="als",
        user="customer",
        item="shop",
        parameters={"max_iter": 6},
        space={"factors": {"integer": (1, 3)}, "reg_param": {"log_uniform": (0.001, 0.1)}},
    ),
    "tree": EstimatorSpec(kind="decision_tree", parameters={"max_depth": 2}),
    "mean": EstimatorSpec(kind="average", members=("taste", "tree")),
    "stack": EstimatorSpec(kind="stacking", members=("taste", "tree"), parameters={"folds": 2}),
    "taught": EstimatorSpec(kind="distilled", members=("taste", "tree")),
}


@pytest.fixture(scope="module", params=["hyperopt", "optuna"])
def trained(request, training):
    """A training in which ALS is tuned, and put together with a tree."""
    tuning = Tuning(trials=5, parallelism=2, metric="rmse", backend=request.param)
    options = TrainingOptions(key=("key",), slices=("shop",))
    return train_model(
        training, model_of(ESTIMATORS, tuning=tuning), name="m", label="rating", options=options
    )


def test_it_is_tuned_and_put_together_like_any_learner(trained, training):
    """Its trials differ, every ensemble of it ends, and it beats the mean, the baseline and the tree."""
    trials = {}
    for trial in trained.trials:
        trials.setdefault(trial.estimator, []).append(trial)
    assert {trial.reason for trial in trained.trials} == {""}
    assert trials.keys() == ESTIMATORS.keys()
    assert len({trial.parameters["reg_param"] for trial in trials["taste"]}) > 1

    values = {name: min(trial.value for trial in tried) for name, tried in trials.items()}
    assert 2 * values["taste"] < values["tree"]
    assert trained.best.kind in {"als", "stacking"}
    assert max(trained.trivial.r2, trained.baseline.r2) < 0.1
    assert trained.evaluation.r2 > 0.5
    assert sum(entry.rows for entry in trained.slices) == trained.evaluation.rows
    assert {"customer", "shop"} <= set(trained.features) <= {"customer", "shop", "party"}
    assert trained.importance == ()
    scored = trained.model.transform(training.select(*trained.features))
    assert scored.where("prediction IS NULL OR isnan(prediction)").isEmpty()
    assert scored.count() == training.count()


def test_alone_it_reads_users_and_items_only(spark, training):
    """The features that its baseline has are no input of the model; folds and rungs are for it too."""
    tuning = Tuning(
        trials=4,
        parallelism=1,
        metric="rmse",
        folds={"kind": "expanding", "count": 2},
        rungs=(0.5,),
        rungs_of="iterations",
    )
    explain = Review(explain=("contributions", "partial_dependence"))
    model = model_of({"taste": ESTIMATORS["taste"]}, tuning=tuning, review=explain)
    found = train_model(training, model, name="m", label="rating", options=TrainingOptions(key=("key",)))

    assert found.feature_types == {"customer": "string", "shop": "bigint"}
    assert len(found.best.folds) == 2
    explained = found.review["explanation"]
    assert {one["feature"] for one in explained["permutation"]} == {"customer", "shop"}
    assert min(one["loss"] for one in explained["permutation"]) > 0
    shops = next(one for one in explained["partial_dependence"] if one["feature"] == "shop")
    asked = {row["shop"] for row in training.where("_split = 'test'").collect()}
    assert set(shops["values"]) == asked
    assert len(set(shops["scores"])) == len(asked) > 5
    known, cold = predicted(found.model, spark, [("u1", FAR + 1), ("u1", -5)])
    rows = [row["rating"] for row in training.where("_split != 'test'").collect()]
    assert cold == pytest.approx(np.mean(rows), abs=1e-12) != known


@pytest.mark.parametrize(
    ("user", "told"),
    [
        ("custommer", "'custommer' stands for a user or an item, and is no column. Did you mean 'customer'"),
        ("party", "'party' stands for a user or an item, and is of type double"),
        ("rating", "'rating' stands for a user or an item, and is the label"),
    ],
)
def test_what_is_no_identity_is_refused_before_anything_is_fitted(training, user, told):
    """A column that is not there, a number with a fraction, the label."""
    spec = EstimatorSpec(kind="als", user=user, item="shop")
    with pytest.raises(FrameError, match=told):
        train_model(training, model_of({"taste": spec}), name="m", label="rating")


def test_nearness_is_the_error_of_scikit_learn():
    """Numbers are worth the less the farther they lie, by the root of the mean squared error; no rows are worth none."""
    from sklearn.metrics import root_mean_squared_error

    draw = np.random.default_rng(1)
    label, guess = draw.normal(size=50), draw.normal(size=50)

    assert nearness(guess, label) == pytest.approx(-root_mean_squared_error(label, guess), rel=1e-12)
    assert nearness(label[:0], label[:0]) is None


def test_nobody_to_learn_from_is_told(rated):
    """Rows without a user cannot teach one."""
    nobody = rated.withColumn("customer", F.lit(None).cast("string"))
    with pytest.raises(FrameError, match="none of the rows has both customer and shop"):
        fit_als(nobody, TASTE, {}, seed=7)
