"""Models of slices, without Spark: packing, one slice's fit, its explanation, and rows scored by slice."""

from __future__ import annotations

import itertools
import json
import math
import random
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from featurelib.config import spec_hash
from featurelib.errors import ModelGateError
from featurelib.registry.files import model_sha256
from featurelib.registry.segment_files import (
    SegmentBooster,
    SegmentModels,
    read_segments,
    segment_names,
    write_segments,
)
from featurelib.segment_specs import SLICE_PARAMETERS
from featurelib.specs import EstimatorSpec, Gate, LiftStep, ModelSpec, SearchRange, Segments
from featurelib.training.segment_blobs import opened, packed_by_slice
from featurelib.training.segment_fit import (
    FitSettings,
    SliceOutcome,
    SliceRows,
    explained,
    fitted_slice,
    in_one_order,
    loaded,
    probabilities,
)
from featurelib.training.segment_gains import gain_error, least_gain
from featurelib.training.segment_packs import SliceSize, estimated_cost, packed
from featurelib.training.xgboost_names import OF_TREES

LEARNER = EstimatorSpec(
    kind="xgboost",
    parameters={"trees": 8, "learning_rate": 0.3},
    space={"max_depth": SearchRange(integer=(1, 3))},
)
SEGMENTS = Segments(by=("carrier",), min_rows=10, learner=LEARNER, trials=2)
PLACES = ("hour", "wind", "wind", "rain")
SETTINGS = FitSettings(SEGMENTS, "roc_auc", 7, PLACES)


def rows_of(count=600, *, seed=3, parent=0.5):
    """A slice whose label follows its first and third place; the parent says the same of every row."""
    draw = np.random.default_rng(seed)
    features = draw.normal(size=(count, 4)).astype(np.float32)
    label = (features[:, 0] - features[:, 2] + draw.normal(size=count) > 0.3).astype(float)
    split = np.arange(count) % 5
    split = np.where(split < 3, 0, split - 2).astype(np.int8)
    day = (np.arange(count) % 10).astype(np.int32)
    return SliceRows(features, label, split, np.where(split == 0, np.nan, parent), day)


def table_of(rows, name="a"):
    """The rows as they come out of Spark."""
    count = len(rows.label)
    return pa.table(
        {
            "segment": [name] * count,
            "row_hash": pa.array(np.arange(count), pa.int64()),
            "label": rows.label,
            "parent": pa.array(rows.parent, from_pandas=True),
            "day": rows.day,
            "vector": pa.array(rows.features.tolist(), pa.list_(pa.float32())),
            "split": pa.array(rows.split, pa.int8()),
        }
    )


@pytest.fixture(scope="module")
def own():
    """A slice that is better than its parent."""
    outcome, content = fitted_slice('["a"]', rows_of(), SETTINGS)
    return outcome, SegmentBooster.of(content)


# --- packing --------------------------------------------------------------------------------------------


def test_each_slice_is_in_one_task_and_the_longest_begins():
    """Whatever the costs: nothing is lost or doubled, the first task holds the longest slice, tasks fall in cost."""
    draw = random.Random(1)
    for slots in (1, 2, 7, 64):
        costs = {f"s{number:03d}": 1000 / (number + 1) * draw.uniform(0.5, 2) for number in range(150)}
        tasks = packed(costs, slots=slots, rows=dict.fromkeys(costs, 1), most_rows=1000)
        totals = [sum(costs[name] for name in task) for task in tasks]
        assert sorted(itertools.chain(*tasks)) == sorted(costs)
        assert max(costs, key=lambda name: costs[name]) in tasks[0]
        assert totals == sorted(totals, reverse=True)
        assert len(tasks) > min(slots, 20)


def test_free_slots_end_together():
    """Given to free slots in order, Zipf-like slices end within 1.05 of the even share plus nothing, on 2 to 8 slots."""
    costs = {f"s{number:03d}": 1 / (number + 10) for number in range(300)}
    for slots in (2, 4, 8):
        tasks = packed(costs, slots=slots, rows=dict.fromkeys(costs, 1), most_rows=1000)
        busy = [0.0] * slots
        for task in tasks:
            busy[busy.index(min(busy))] += sum(costs[name] for name in task)
        assert max(busy) <= 1.05 * sum(costs.values()) / slots


def test_a_task_holds_no_more_rows_than_allowed():
    """Slices that are cheap together are not put together where their rows would not fit."""
    tasks = packed({"a": 9.0, "b": 1.0, "c": 1.0}, slots=1, rows={"a": 5, "b": 6, "c": 6}, most_rows=10)
    assert tasks == [["a"], ["b"], ["c"]]


def test_cost_grows_with_rows_features_trees_and_trials():
    """Each of them makes a slice dearer; more test rows do, as they are explained."""
    base = estimated_cost(SliceSize(1000, 100, 100), SEGMENTS, places=10)
    assert estimated_cost(SliceSize(9000, 100, 100), SEGMENTS, places=10) > base
    assert estimated_cost(SliceSize(1000, 100, 900), SEGMENTS, places=10) > base
    assert estimated_cost(SliceSize(1000, 100, 100), SEGMENTS, places=20) > base
    more = SEGMENTS.model_copy(update={"trials": 4})
    assert estimated_cost(SliceSize(1000, 100, 100), more, places=10) > base


# --- one slice ------------------------------------------------------------------------------------------


def test_metrics_are_those_of_scikit_learn(own):
    """ROC AUC, PR AUC, log loss and Brier score of the test rows equal scikit-learn's within 1e-9."""
    from sklearn import metrics

    outcome, booster = own
    rows = rows_of()
    test = rows.split == 2
    scores, label = probabilities(loaded(booster), rows.features[test]), rows.label[test]
    assert outcome.state == "own"
    assert outcome.rows == (360, 120, 120)
    assert outcome.test == pytest.approx(
        {
            "roc_auc": metrics.roc_auc_score(label, scores),
            "pr_auc": metrics.average_precision_score(label, scores),
            "log_loss": metrics.log_loss(label, scores),
            "brier": metrics.brier_score_loss(label, scores),
        },
        abs=1e-9,
    )
    assert outcome.parent_test["roc_auc"] == 0.5


def test_the_best_trial_is_fitted_again_on_train_and_validation_rows(own):
    """The booster's trees are those that xgboost itself grows of these rows with the best trial's parameters."""
    import xgboost

    outcome, booster = own
    rows = rows_of()
    best = max(outcome.trials, key=lambda trial: (trial["value"], -trial["number"]))
    assert outcome.parameters == best["parameters"]
    assert outcome.value == best["value"]
    part = rows.split < 2
    again = xgboost.train(
        {
            "objective": "binary:logistic",
            "max_depth": best["parameters"]["max_depth"],
            "learning_rate": 0.3,
            "max_bin": 64,
        },
        xgboost.DMatrix(rows.features[part], rows.label[part]),
        8,
    )
    dump = loaded(booster).get_dump(with_stats=True)
    assert dump == again.get_dump(with_stats=True)


def test_contributions_are_shapley_values_and_add_up(own):
    """Brute force over all subsets of features gives each row's SHAP values; with the beginning they are its margin."""
    outcome, booster = own
    rows = rows_of()
    features = rows.features[rows.split == 2]
    found, margins = explained(loaded(booster), features)
    assert np.abs(found.sum(axis=1) - margins).max() <= 1e-6
    assert outcome.additivity <= 1e-6
    trees = [json.loads(tree) for tree in loaded(booster).get_dump(dump_format="json", with_stats=True)]
    for row, values in zip(features[:5], found[:5], strict=True):
        assert values[:-1] == pytest.approx(shapley(trees, row), abs=1e-5)
    one_effect = {
        "hour": np.abs(found[:, 0]).mean(),
        "wind": np.abs(found[:, 1] + found[:, 2]).mean(),
        "rain": np.abs(found[:, 3]).mean(),
    }
    assert outcome.contributions == pytest.approx(one_effect, abs=1e-6)
    assert list(outcome.contributions) == sorted(one_effect, key=lambda name: -one_effect[name])


def test_deep_models_add_up_as_far_as_float32_goes():
    """A hundred and twenty trees of depth 6 with log-odds above 4: SHAP values sum to them within 1e-6 of what is summed."""
    learner = EstimatorSpec(kind="xgboost", parameters={"trees": 120, "max_depth": 6, "learning_rate": 0.3})
    segments = Segments(by=("carrier",), min_rows=10, learner=learner, trials=1)
    rows = rows_of(2_000)
    outcome, content = fitted_slice('["AA"]', rows, FitSettings(segments, "roc_auc", 7, PLACES))
    found, margins = explained(loaded(SegmentBooster.of(content)), rows.features[rows.split == 2])
    assert np.abs(margins).max() > 4
    gaps = [abs(math.fsum(values) - margin) for values, margin in zip(found, margins, strict=True)]
    summed = [max(1.0, math.fsum(map(abs, values))) for values in found]
    assert all(gap <= 1e-6 * scale for gap, scale in zip(gaps, summed, strict=True))
    assert 0 < outcome.additivity <= 1e-6


def shapley(trees, row):
    """Shapley values of a row by their definition: unknown features take each branch by its share of rows."""

    def value(node, known):
        if "leaf" in node:
            return node["leaf"]
        yes, no = (
            next(child for child in node["children"] if child["nodeid"] == node[way]) for way in ("yes", "no")
        )
        place = int(node["split"][1:])
        if place in known:
            return value(yes if row[place] < np.float32(node["split_condition"]) else no, known)
        return (value(yes, known) * yes["cover"] + value(no, known) * no["cover"]) / node["cover"]

    def of(known):
        return sum(value(tree, known) for tree in trees)

    values = []
    for place in range(4):
        others = [other for other in range(4) if other != place]
        subsets = [set(chosen) for size in range(4) for chosen in itertools.combinations(others, size)]
        weights = {0: 1 / 4, 1: 1 / 12, 2: 1 / 12, 3: 1 / 4}
        values.append(sum(weights[len(known)] * (of(known | {place}) - of(known)) for known in subsets))
    return values


def test_the_order_of_rows_and_chunks_does_not_count(own):
    """Rows shuffled and cut into several blobs give the same bytes, also where hashes are equal."""
    _, booster = own
    table = table_of(rows_of())
    shuffled = table.take(pa.array(np.random.default_rng(0).permutation(table.num_rows)))
    parts = [shuffled.slice(0, 100), shuffled.slice(100, 350), shuffled.slice(450)]
    written = [packed_by_slice(part, {"a": 4}) for part in parts]
    assert [batch.column("pack").to_pylist() for batch in written] == [[4]] * 3
    outcome, content = fitted_slice(
        "a", opened(batch.column("blob")[0].as_py() for batch in written), SETTINGS
    )
    assert content == booster.content
    assert outcome.state == "own"
    rows = rows_of(50)
    mixed = np.random.default_rng(1).permutation(50)
    other = SliceRows(
        rows.features[mixed], rows.label[mixed], rows.split[mixed], rows.parent[mixed], rows.day[mixed]
    )
    same = np.zeros(50, np.int64)
    assert (in_one_order(rows, same).features == in_one_order(other, same).features).all()


def test_slices_that_are_not_better_keep_the_parent():
    """A parent that knows the labels, or a gain below min_gain, leaves no model, and the reason names both values."""
    rows = rows_of()
    knowing = replace(rows, parent=np.where(rows.split == 0, np.nan, rows.label))
    outcome, content = fitted_slice("a", knowing, SETTINGS)
    assert (outcome.state, content) == ("parent", b"")
    assert outcome.reason == f"validation roc_auc {outcome.value:.4f}, the parent's 1.0000"
    assert (outcome.parent_value, outcome.parent_test["roc_auc"]) == (1.0, 1.0)
    demanding = FitSettings(SEGMENTS.model_copy(update={"min_gain": 0.49}), "roc_auc", 7, PLACES)
    outcome, content = fitted_slice("a", rows, demanding)
    assert (outcome.state, content) == ("parent", b"")
    assert outcome.reason.endswith("the parent's 0.5000, less than min_gain 0.49")


def twelve_days(won):
    """A slice whose twelve validation days are alike but for how many rows the parent has in the right order.

    Its own model knows every label (the first place is the label); on days that are ``won`` the parent knows
    nothing, on all others everything.
    """
    day = np.repeat(np.arange(12), 20).astype(np.int32)
    label = np.tile([0.0, 1.0], 120)
    features = np.column_stack([label, np.zeros((240, 3))]).astype(np.float32)
    part = [np.zeros(240), np.ones(240), np.full(240, 2)]
    knowing = np.where(label > 0, 0.6, 0.4)
    parent = np.where(np.isin(day, won), 0.5, knowing)
    return SliceRows(
        np.tile(features, (3, 1)),
        np.tile(label, 3),
        np.concatenate(part).astype(np.int8),
        np.concatenate([np.full(240, np.nan), parent, parent]),
        np.tile(day, 3),
    )


def test_a_gain_of_few_days_may_be_chance():
    """The same model is taken where it is better on all days, and not where one or two of twelve make the gain."""
    always, sometimes = twelve_days(range(12)), twelve_days([4, 9])
    outcome, _ = fitted_slice("a", always, SETTINGS)
    assert (outcome.state, outcome.value, outcome.parent_value) == ("own", 1.0, 0.5)
    assert outcome.gain_error == 0.0
    outcome, content = fitted_slice("a", sometimes, SETTINGS)
    assert (outcome.state, content, outcome.value) == ("parent", b"", 1.0)
    assert outcome.parent_value < 1.0
    assert "with 0.95 of confidence and the best of 2 trials the gain is at least -0.0" in outcome.reason
    plain = FitSettings(SEGMENTS.model_copy(update={"confidence": None}), "roc_auc", 7, PLACES)
    outcome, _ = fitted_slice("a", sometimes, plain)
    assert (outcome.state, outcome.gain_error) == ("own", None)


def test_one_day_says_nothing_of_others():
    """However great the gain, rows of a single validation day leave the parent, and the reason counts them."""
    outcome, _ = fitted_slice("a", replace(rows_of(), day=np.zeros(600, np.int32)), SETTINGS)
    assert outcome.state == "parent"
    assert outcome.reason.endswith("1 validation days are too few for 0.95 of confidence")


def test_better_order_with_worse_probabilities_keeps_the_parent():
    """A model that sorts its slice better but is too sure would spoil the order of the whole: log loss says so."""
    deep = {"trees": 200, "learning_rate": 1.0, "max_depth": 6, "min_child_weight": 0, "reg_lambda": 0}
    sure = SEGMENTS.model_copy(update={"learner": EstimatorSpec(kind="xgboost", parameters=deep)})
    outcome, _ = fitted_slice("a", rows_of(1500), FitSettings(sure, "roc_auc", 7, PLACES))
    assert outcome.value > outcome.parent_value
    assert outcome.state == "parent"
    assert "its order is better, and its probabilities are not (log_loss " in outcome.reason


def test_the_error_of_a_gain_is_that_of_days():
    """For means by day it is their deviation over the root of their number; for ROC AUC, scikit-learn's over drawn days."""
    from sklearn.metrics import roc_auc_score

    draw = np.random.default_rng(11)
    day = np.repeat(np.arange(25), 40).astype(np.int32)
    label = (draw.random(1000) < 0.4).astype(float)
    parent = np.clip(0.4 + 0.2 * (label - 0.4) + draw.normal(size=1000) * 0.1, 0.05, 0.95)
    ours = np.clip(parent + draw.normal(size=25)[day] * 0.05 + (label - 0.5) * 0.05, 0.05, 0.95)
    gain = np.log(np.where(label > 0, ours, 1 - ours)) - np.log(np.where(label > 0, parent, 1 - parent))
    by_day = gain.reshape(25, 40).mean(axis=1)
    found = gain_error("log_loss", ours, parent, label, day, seed=1)
    assert found == pytest.approx(by_day.std(ddof=1) / 5, rel=0.15)
    gains = []
    for _ in range(400):
        rows = np.concatenate([np.flatnonzero(day == one) for one in draw.integers(0, 25, 25)])
        gains.append(roc_auc_score(label[rows], ours[rows]) - roc_auc_score(label[rows], parent[rows]))
    found = gain_error("roc_auc", ours, parent, label, day, seed=1)
    assert found == pytest.approx(np.std(gains) * np.sqrt(25 / 24), rel=0.15)
    assert found == gain_error("roc_auc", ours, parent, label, day, seed=1)


def test_the_best_of_many_is_trusted_less():
    """One-sided normal bounds: 1.645 errors for one trial at 0.95, 2.394 for the best of six."""
    assert least_gain(0.1, 0.02, confidence=0.95, tried=1) == pytest.approx(0.1 - 1.6449 * 0.02, abs=1e-5)
    assert least_gain(0.1, 0.02, confidence=0.95, tried=6) == pytest.approx(0.1 - 2.3940 * 0.02, abs=1e-5)


def test_log_loss_is_better_where_it_is_smaller():
    """The metric's direction is known: a worse parent by log loss is beaten, a perfect one is not."""
    settings = FitSettings(SEGMENTS, "log_loss", 7, PLACES)
    assert fitted_slice("a", rows_of(parent=0.01), settings)[0].state == "own"
    rows = rows_of()
    knowing = replace(rows, parent=np.where(rows.split == 0, np.nan, rows.label))
    assert fitted_slice("a", knowing, settings)[0].state == "parent"


def test_a_fit_that_raises_fails_alone_with_its_reason():
    """A label that xgboost refuses is this slice's outcome, not an error of the run; so is a slice without classes."""
    rows = rows_of()
    broken = replace(rows, label=np.where(rows.split == 0, 7.0, rows.label))
    outcome, content = fitted_slice("a", broken, SETTINGS)
    assert (outcome.state, content) == ("failed", b"")
    assert outcome.reason.startswith("ModelGateError: all 2 trials failed; the first because XGBoostError: ")
    lonely, content = fitted_slice("a", rows_of(1), SETTINGS)
    assert (lonely.state, content, lonely.rows) == ("failed", b"", (1, 0, 0))
    assert lonely.reason.endswith("the first because roc_auc is nan")


def test_outcomes_travel(own):
    """What is written as JSON is read back equal."""
    assert SliceOutcome.from_dict(json.loads(own[0].to_json())) == own[0]


def test_of_a_large_slice_a_sample_is_taken():
    """A tenth of its rows by hash, whatever the chunks, and part of a fifth; other slices keep all rows."""
    count = 20_000
    table = table_of(rows_of(count), "large")
    hashes = np.random.default_rng(4).integers(-(2**63), 2**63, count)
    table = table.set_column(1, "row_hash", pa.array(hashes))
    small = table.slice(0, 50).set_column(0, "segment", pa.array(["small"] * 50))
    table = pa.concat_tables([table, small])

    def taken(share, parts):
        blobs = [packed_by_slice(part, {"large": 0, "small": 0}, {"large": share}) for part in parts]
        rows = [
            (name, row["row_hash"])
            for blob in blobs
            for name, content in zip(blob["segment"].to_pylist(), blob["blob"].to_pylist(), strict=True)
            for row in pa.ipc.open_stream(content).read_all().select(["row_hash"]).to_pylist()
        ]
        return {row for row in rows if row[0] == "large"}, sum(name == "small" for name, _ in rows)

    whole, others = taken(0.1, [table])
    assert others == 50
    assert len(whole) == pytest.approx(count / 10, rel=0.1)
    assert taken(0.1, [table.slice(0, 7_000), table.slice(7_000)])[0] == whole
    assert whole < taken(0.2, [table])[0]
    assert taken(1.0, [table])[0] == {("large", one) for one in hashes.tolist()}


# --- scoring --------------------------------------------------------------------------------------------


def test_rows_are_scored_by_their_slice_in_any_batch(own):
    """Each row gets its own slice's probability, rows without a model keep the parent's; cutting changes nothing."""
    from featurelib.training.segment_scores import _rescoring, grouped

    _, first = own
    second = SegmentBooster.of(fitted_slice("b", rows_of(seed=9), SETTINGS)[1])
    boosters = {"a": first, "b": second}
    features = rows_of(90, seed=5).features
    names = [("a", None, "b")[number % 3] for number in range(90)]
    batch = pa.record_batch(
        {
            "_segment": pa.array(names, pa.string()),
            "vector": pa.array(
                [row.tolist() if name else None for row, name in zip(features, names, strict=True)],
                pa.list_(pa.float32()),
            ),
            "score": pa.array(np.full(90, 0.25)),
        }
    )

    def scores(batch):
        groups = grouped(batch.column("_segment"), batch.column("vector"), boosters)
        return _rescoring("score")(batch, groups).column("score").to_pylist()

    expected = [
        0.25 if name is None else float(probabilities(loaded(boosters[name]), features[place : place + 1])[0])
        for place, name in enumerate(names)
    ]
    assert scores(batch) == expected
    assert scores(batch.slice(0, 31)) + scores(batch.slice(31)) == expected


def test_rows_of_another_width_are_refused(own):
    """A vector that is not the one of training is an error that says so, not a wrong score."""
    with pytest.raises(ModelGateError, match="rows of 3 places for a slice's model of 4"):
        probabilities(loaded(own[1]), np.zeros((2, 3), np.float32))


# --- files ----------------------------------------------------------------------------------------------


@pytest.fixture
def native(tmp_path, own):
    """The folder of a model with one slice."""
    write_segments(tmp_path, SegmentModels({"carrier": "string"}, PLACES, {'["a"]': own[1]}))
    return tmp_path


def test_registered_slices_come_back(native, own):
    """Names, places and the very bytes; a model without slices has none."""
    found = read_segments(native, what="m")
    assert (found.by, found.places) == ({"carrier": "string"}, PLACES)
    assert found.boosters['["a"]'].content == own[1].content
    assert read_segments(native / "segments", what="m") is None


def test_the_models_hash_covers_its_slices(native, tmp_path_factory, own):
    """A slice more, or other bytes, is another hash."""
    other = tmp_path_factory.mktemp("other")
    write_segments(other, SegmentModels({"carrier": "string"}, PLACES, {'["a"]': own[1], '["b"]': own[1]}))
    assert model_sha256(native) != model_sha256(other)


def test_what_is_no_booster_is_refused(native, tmp_path_factory):
    """A file more, bytes of another hash, and bytes that are no UBJSON (a pickle, say) are refused before xgboost."""
    (native / "segments" / "extra.ubj").write_bytes(b"{}")
    with pytest.raises(ModelGateError, match=r"holds boosters.parquet, extra.ubj, segments.json"):
        read_segments(native, what="m")
    for booster, said in (
        (SegmentBooster("0" * 64, b"{L"), "has sha256"),
        (SegmentBooster.of(b"\x80\x05."), "not in xgboost's own format"),
    ):
        folder = tmp_path_factory.mktemp("bad")
        write_segments(folder, SegmentModels({"carrier": "string"}, PLACES, {"s": booster}))
        with pytest.raises(ModelGateError, match=said):
            read_segments(folder, what="m")


def test_slices_are_named_for_people():
    """Values without brackets, null as such."""
    assert segment_names(['["UA"]', '["UA",null]']) == ["UA", "UA, null"]


# --- specs ----------------------------------------------------------------------------------------------


def model_of(**more):
    """The smallest model."""
    return ModelSpec(
        features=("a",),
        baseline=LiftStep(name="a", features=("a",)),
        estimators={"x": EstimatorSpec(kind="xgboost")},
        gate=Gate(minimum=0.5),
        **more,
    )


def test_models_without_segments_keep_their_identity():
    """Absent segments are not part of what is hashed, so no model is trained again for them; given ones are."""
    assert "segments" not in model_of().model_dump()
    assert spec_hash(model_of()) != spec_hash(model_of(segments=SEGMENTS))
    assert spec_hash(model_of(segments=SEGMENTS)) != spec_hash(
        model_of(segments=SEGMENTS.model_copy(update={"min_rows": 11}))
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"learner": {"kind": "random_forest"}}, "must be of kind xgboost"),
        ({"learner": {"kind": "xgboost", "parameters": {"workers": 2}}}, "take workers away"),
        (
            {"learner": {"kind": "xgboost", "parameters": {"workers": 2, "early_stopping_rounds": 5}}},
            "take early_stopping_rounds away and fix trees, as {trees: 60}.*take workers away",
        ),
        (
            {"learner": {"kind": "xgboost", "space": {"early_stopping_rounds": {"integer": (2, 9)}}}},
            "take early_stopping_rounds away and fix trees",
        ),
        (
            {"learner": {"kind": "xgboost", "refit": {"early_stopping_rounds": 5}}},
            "early_stopping_rounds away",
        ),
        (
            {"learner": {"kind": "xgboost", "parameters": {"max_depth": "deep"}}},
            "max_depth 'deep' is no number",
        ),
        ({"learner": {"kind": "xgboost", "parameters": {"gamma": True}}}, "gamma True is no number"),
        (
            {"learner": {"kind": "xgboost", "space": {"trees": {"choice": (9, "many")}}}},
            "trees 'many' is no number",
        ),
        ({"learner": {"kind": "xgboost", "parameters": {"trees": 0}}}, "trees 0 .* 1 or more"),
        ({"learner": {"kind": "xgboost", "parameters": {"trees": 2.5}}}, "trees 2.5 .* whole"),
        (
            {"learner": {"kind": "xgboost", "space": {"subsample": {"uniform": (0.5, 2)}}}},
            "subsample 2.0 .* to 1",
        ),
        ({"learner": {"kind": "xgboost", "refit": {"reg_lambda": -1}}}, "reg_lambda -1 .* 0 or more"),
        ({"by": ("a", "a")}, "twice"),
        ({"max_rows": 100, "min_rows": 200}, "max_rows 100 is less than min_rows 200"),
        ({"by": ()}, "at least 1"),
    ],
)
def test_segments_that_cannot_be_are_refused(wrong, said):
    """When they are read, not slice by slice an hour later; each with what is wrong."""
    with pytest.raises(ValidationError, match=said):
        Segments(**{"by": ("a",), **wrong})


def test_what_a_slices_learner_may_say_is_what_its_fit_reads():
    """Each parameter that is let through is one that a fit of a slice takes, at the least and the greatest value."""
    lowest = {"trees": 1, "max_depth": 1, "subsample": 0.01, "column_sample": 0.01, "max_bin": 2}
    given = {name: lowest.get(name, 0.0) for name in SLICE_PARAMETERS}
    assert set(given) == {*OF_TREES, "trees"}
    for parameters in (given, {**given, "subsample": 1, "column_sample": 1, "max_depth": 3}):
        learner = EstimatorSpec(kind="xgboost", parameters=parameters)
        settings = FitSettings(Segments(by=("a",), learner=learner), "roc_auc", 7, PLACES)
        assert fitted_slice("a", rows_of(), settings)[0].state != "failed"
