"""A review of small trainings: explanations against brute force, mitigation, the champion on the same rows."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from pyspark.ml import PipelineModel
from pyspark.ml.classification import GBTClassifier
from pyspark.ml.functions import vector_to_array
from pyspark.sql import functions as F

from featurelib.errors import ModelGateError
from featurelib.specs import Costs, EstimatorSpec, Fairness, Mitigation, Ranking, Review
from featurelib.training import explain
from featurelib.training.fit import TrainingOptions, train_model
from featurelib.training.preparation import VECTOR
from featurelib.training.review import Champion
from tests.spark.test_training_fit import FOREST, LINEAR, frame_of, model_of, rows_of

OPTIONS = TrainingOptions(key=("key",))
BOOSTED = EstimatorSpec(kind="xgboost", parameters={"workers": 1, "max_depth": 3, "trees": 6})
EVERYTHING = Review(
    fairness=Fairness(groups=("place",), min_rows=5),
    explain=("contributions", "permutation", "partial_dependence"),
    explain_rows=60,
    explain_features=2,
    learning_curve=(0.3, 1.0),
    precision_at=(0.1,),
    ranking=Ranking(by="place", at=(5, 2)),
)


@pytest.fixture(scope="module")
def linear(spark):
    """A linear model with costs, groups, explanations and a learning curve; and the rows it was given."""
    training = frame_of(spark, rows_of()).cache()
    model = model_of(
        {"linear": LINEAR},
        costs=Costs(false_positive=1, false_negative=4),
        mitigation=Mitigation(group="place", reweigh=True, thresholds="selection_rate"),
        review=EVERYTHING,
    )
    result = train_model(training, model, name="m", label="late", options=OPTIONS)
    return result, training


def scored_test_rows(result, training):
    """Test rows with their group, label and score."""
    test = training.where("_split = 'test'")
    return (
        result.model.transform(test)
        .select("key", "place", "late", "as_of_ts", vector_to_array("probability")[1].alias("p"))
        .toPandas()
    )


def test_a_review_is_json_and_has_every_section(linear):
    """What was asked for is there, and goes through JSON."""
    result, _ = linear
    review = json.loads(json.dumps(result.to_dict()))["review"]

    assert review["decision"]["by"] == "cost"
    assert [one["share"] for one in review["learning_curve"]] == [0.3, 1.0]
    assert review["learning_curve"][0]["rows"] < review["learning_curve"][1]["rows"]
    assert review["stability"]["month"][0]["rows"] == 84
    assert set(review["intervals"]) >= {"roc_auc", "brier", "f1", "calibration_error"}
    assert review["champion"] is None
    assert review["periods"]["test"]["rows"] == 84
    assert review["periods"]["test"]["from"] == "2013-01-01 00:00"
    assert review["ranking"][0]["precision"] >= 0.5
    assert {entry["value"] for entry in result.to_dict()["slices"]} == {"a", "b", "c"}
    assert all(entry.intervals["brier"][0] <= entry.intervals["brier"][1] for entry in result.slices)


def test_groups_are_ranked_by_the_scores_of_the_test_rows(linear):
    """NDCG by place is scikit-learn's of the model's own scores, smallest k first."""
    from sklearn.metrics import ndcg_score

    result, training = linear
    rows, ranked = scored_test_rows(result, training), result.review["ranked"]
    places = [part for _, part in rows.groupby(rows["place"].fillna("null"))]
    assert (ranked["by"], ranked["groups"]) == ("place", len(places))
    for one, k in zip(ranked["at"], (2, 5), strict=True):
        found = [ndcg_score([part["late"]], [part["p"]], k=k) for part in places if part["late"].any()]
        assert one["ndcg"] == pytest.approx(np.mean(found), abs=1e-9)


def test_the_cost_is_that_of_the_test_rows(linear):
    """Cost per row, counted row by row at the threshold, is what the review says; so is calling none or all."""
    result, training = linear
    rows, cost = scored_test_rows(result, training), result.review["cost"]

    def paid(called):
        return float((called & (rows["late"] == 0)).sum() + 4 * (~called & (rows["late"] == 1)).sum()) / len(
            rows
        )

    assert cost["per_row"] == pytest.approx(paid(rows["p"] >= result.evaluation.threshold))
    assert cost["per_row_calling_none"] == pytest.approx(paid(rows["p"] > 2))
    assert cost["per_row_calling_all"] == pytest.approx(paid(rows["p"] > -1))
    assert cost["per_row"] < min(cost["per_row_calling_none"], cost["per_row_calling_all"])


def test_group_thresholds_are_those_that_the_figures_are_of(linear):
    """Called by the threshold of its group, each group has the selection rate that the review says."""
    result, training = linear
    rows, review = scored_test_rows(result, training), result.review
    own = review["decision"]["thresholds"]

    assert review["decision"]["group"] == "place"
    assert set(own) == {"a", "b", "c"}
    for place, part in rows.groupby("place"):
        found = review["fairness"]["place"]["groups"][place]
        assert found["selection_rate"] == pytest.approx((part["p"] >= own[place]).mean())
        assert found["rows"] == len(part)
    assert review["mitigation"]["after"]["groups"] == review["fairness"]["place"]["groups"]


def test_weights_reach_the_fit(spark, linear):
    """Without weights the same search gives another model; its test figures are those recorded as before."""
    weighed, training = linear
    model = model_of({"linear": LINEAR}, costs=Costs(false_positive=1, false_negative=4))
    plain = train_model(training, model, name="m", label="late", options=OPTIONS)

    assert plain.review["mitigation"] is None
    assert plain.parameters == weighed.parameters
    assert weighed.review["mitigation"]["before"]["roc_auc"] == pytest.approx(
        plain.evaluation.roc_auc, abs=1e-9
    )
    assert weighed.review["mitigation"]["after"]["roc_auc"] == weighed.evaluation.roc_auc
    rows = scored_test_rows(plain, training)
    for place, part in rows.groupby("place"):
        before = weighed.review["mitigation"]["before"]["groups"][place]
        assert before["selection_rate"] == pytest.approx((part["p"] >= weighed.evaluation.threshold).mean())
    assert weighed.evaluation.brier != pytest.approx(plain.evaluation.brier, abs=1e-6)


def test_linear_contributions_are_shapley_values(spark, linear):
    """Summed over all subsets of places, others at their means, the marginal gains are the contributions."""
    result, training = linear
    background = explain.Background(
        **{k: tuple(v) for k, v in result.review["explanation"]["background"].items()}
    )
    last = result.model.stages[-1]
    row = training.where("_split = 'test'").orderBy("key").limit(1)
    vector = np.array(result.model.transform(row).select(vector_to_array(last.getFeaturesCol())).head()[0])
    weights, means = last.coefficients.toArray(), np.array(background.means)

    def value(known):
        return last.intercept + sum(
            weights[i] * (vector[i] if i in known else means[i]) for i in range(len(vector))
        )

    (found,) = explain.contributions(result.model, row, background)

    places = range(len(vector))
    expected = dict.fromkeys(background.places, 0.0)
    for place in places:
        others = [one for one in places if one != place]
        for size in range(len(others) + 1):
            share = math.factorial(size) * math.factorial(len(others) - size) / math.factorial(len(vector))
            for known in itertools.combinations(others, size):
                expected[background.places[place]] += share * (value({*known, place}) - value(set(known)))
    assert found.contributions == pytest.approx(expected, abs=1e-9)
    assert found.error < 1e-9
    assert found.base == pytest.approx(value(set()))
    assert result.review["explanation"]["largest_error"] < 1e-9
    assert result.review["explanation"]["contributions"][0]["feature"] == "signal"


def test_permutation_and_partial_dependence_tell_signal_from_noise(linear):
    """Dealing the signal anew costs area, and a greater signal means a greater score."""
    result, _ = linear
    found = result.review["explanation"]

    by_name = {one["feature"]: one for one in found["permutation"]}
    assert by_name["signal"]["loss"] > 0.05
    assert by_name["signal"]["spread"] < by_name["signal"]["loss"]
    (curve,) = [one for one in found["partial_dependence"] if one["feature"] == "signal"]
    assert curve["values"] == sorted(curve["values"])
    assert curve["scores"] == sorted(curve["scores"])
    assert curve["scores"][-1] > curve["scores"][0] + 0.2


def test_boosted_contributions_sum_to_the_margin(spark):
    """TreeSHAP of xgboost, summed by feature, is the log-odds of each row to a millionth, with null features too."""
    pytest.importorskip("xgboost")
    training = frame_of(spark, rows_of())
    model = model_of(
        {"boosted": BOOSTED}, trials=1, review=Review(explain=("contributions",), explain_rows=40)
    )
    result = train_model(training, model, name="m", label="late", options=OPTIONS)
    test = training.where("_split = 'test'").orderBy("key").limit(20)
    places = tuple(result.review["explanation"]["background"]["places"])

    found = explain.contributions(result.model, test, explain.Background(places))

    odds = [math.log(row["p"] / (1 - row["p"])) for row in
            result.model.transform(test).orderBy("key").select(vector_to_array("probability")[1].alias("p")).collect()]  # fmt: skip
    assert [one.base + sum(one.contributions.values()) for one in found] == pytest.approx(odds, abs=1e-5)
    assert max(one.error for one in found) < 1e-6
    assert result.review["explanation"]["largest_error"] < 1e-6
    assert set(found[0].contributions) == {"place", "signal", "noise", "gappy"}


def test_lime_is_seeded_and_finds_the_signal(linear):
    """The local surrogate of an extreme row gives its signal the greatest weight, the same each time."""
    result, training = linear
    features = list(result.features)
    score = explain.scoring(result.model, training)
    background = explain.sampled_rows(
        training, label="late", features=features, key=("key",), rows=60, seed=1
    )
    row = training.orderBy(F.desc("signal")).limit(1).select(*features).toArrow()

    first, again = (explain.local_surrogate(row, background, score=score, seed=3) for _ in range(2))

    assert first == again
    assert next(iter(first)) == "signal"
    assert first["signal"] > 0.1


@pytest.fixture(scope="module")
def forest(linear):
    """A forest trained beside the linear champion on the same rows."""
    champion, training = linear
    model = model_of({"forest": FOREST}, trials=1, review=Review(explain=("contributions",), explain_rows=40))
    options = TrainingOptions(key=("key",), champion=Champion(4, champion.model))
    return train_model(training, model, name="m", label="late", options=options)


def test_the_champion_is_measured_on_the_same_rows(linear, forest):
    """The difference is that of scikit-learn's areas of both models on the same rows."""
    metrics = pytest.importorskip("sklearn.metrics")
    champion, training = linear
    found = forest.review["champion"]
    old, new = scored_test_rows(champion, training), scored_test_rows(forest, training)
    areas = [metrics.roc_auc_score(rows["late"], rows["p"]) for rows in (old, new)]
    assert found["version"] == 4
    assert found["champion"] == pytest.approx(areas[0], abs=1e-9)
    assert found["model"] == pytest.approx(areas[1], abs=1e-9)
    assert found["interval"][0] <= found["difference"] <= found["interval"][1]
    assert forest.review["figures"]["champion_roc_auc_difference"] == found["difference"]


def test_trees_of_mllib_are_explained_row_by_row(linear, forest, tmp_path):
    """A forest's contributions sum to its probability, a boosted ensemble's to its log-odds, within 1e-9.

    The split of a category is among them; for the whole model permutation importance stands in.
    """
    _, training = linear
    rows = training.where("_split = 'test'").orderBy("key").limit(15)
    places = tuple(forest.review["explanation"]["background"]["places"])
    background = explain.Background(places)
    prepared = PipelineModel(stages=list(forest.model.stages[:-1]))
    vectors = prepared.transform(training.where("_split = 'train'"))
    boosted = GBTClassifier(featuresCol=VECTOR["tree"], labelCol="late", maxIter=4, maxDepth=4, seed=1).fit(
        vectors
    )
    stages = [*forest.model.stages[:-1], boosted]

    one = explain.contributions(forest.model, rows, background, scratch=tmp_path / "forest")
    other = explain.contributions(
        PipelineModel(stages=stages), rows, background, scratch=tmp_path / "boosted"
    )

    assert "contributions" not in forest.review["explanation"]
    assert forest.review["explanation"]["permutation"][0]["feature"] == "signal"
    assert {row.unit for row in one} == {"probability"}
    assert max(row.error for row in (*one, *other)) < 1e-9
    scored = (
        PipelineModel(stages=stages)
        .transform(rows)
        .select(vector_to_array("probability")[1].alias("p"))
        .collect()
    )
    assert [row.margin for row in other] == pytest.approx(
        [math.log(row["p"] / (1 - row["p"])) for row in scored]
    )
    assert any(row.contributions["place"] for row in other)
    assert not any(tmp_path.iterdir())


def test_what_has_no_contributions_says_what_has(linear, forest):
    """Without a folder for its trees a forest is refused, with what to do."""
    _, training = linear
    with pytest.raises(ModelGateError, match="RandomForest"):
        explain.contributions(forest.model, training.limit(1), explain.Background(("signal",)))
