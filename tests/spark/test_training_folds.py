"""Folds of the training rows, their own preparations, and a search on them that dies and goes on."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median, stdev

import pytest
from pyspark.sql import functions as F

from featurelib.errors import FrameError, ModelGateError
from featurelib.specs import EstimatorSpec, Folds, Gate, LiftStep, ModelSpec, SearchRange, Tuning
from featurelib.tables.faults import VARIABLE, InjectedFault
from featurelib.training.fit import TrainingOptions, train_model
from featurelib.training.folds import fold_frames, folded
from featurelib.training.journal import Journal
from featurelib.training.learners import Bench
from featurelib.training.search import TrialSearch
from featurelib.training.trials import cut_for_trials, fewer_iterations, trial_objective
from featurelib.training.tuning import Measured, Trial

SCHEMA = "key string, as_of_ts string, place string, signal double, late int, _split string"
FEATURES = ("place", "signal")


def rows_of(count=400):
    """Rows of forty days whose label follows ``signal``; every tenth is positive whatever it says."""
    draw = random.Random(3)
    rows = []
    for number in range(count):
        signal = draw.gauss(0, 1)
        late = int(signal + draw.gauss(0, 0.7) > 0.8)
        split = ("train", "train", "train", "validate", "test")[number % 5]
        day = number % 40
        at = f"2013-{1 + day // 28:02d}-{1 + day % 28:02d} 06:00:00"
        rows.append((f"k{number}", at, "abc"[number % 3], None if number % 7 == 0 else signal, late, split))
    return rows


@pytest.fixture
def training(spark):
    """The rows as a frame, spread over partitions."""
    frame = spark.createDataFrame(rows_of(), SCHEMA)
    return frame.withColumn("as_of_ts", F.to_timestamp("as_of_ts")).repartition(3)


def cut(frame, folds, hashed=None):
    """The keys of each fold's two parts."""
    hashed = F.xxhash64("key") if hashed is None else hashed
    found = []
    for rows in fold_frames(frame, folds, label="late", hashed=hashed):
        parts = {"train": set(), "validate": set(), None: set()}
        for row in rows.select("key", "_split").collect():
            parts[row["_split"]].add(row["key"])
        found.append(parts)
    return found


def test_expanding_folds_learn_from_what_was_before(training):
    """Each fold learns from all rows before its part less the embargo; parts follow each other in equal numbers."""
    at = {row[0]: row[1] for row in rows_of() if row[-1] == "train"}
    folds = cut(training, Folds(kind="expanding", count=3, embargo="2d"))

    assert len(folds) == 3
    for fold in folds:
        begins = min(at[key] for key in fold["validate"])
        last = max(at[key] for key in fold["train"])
        assert datetime.fromisoformat(begins) - datetime.fromisoformat(last) > timedelta(days=2)
        assert all(at[key] < begins for key in fold["train"])
        assert len(fold["validate"]) == pytest.approx(len(at) / 4, abs=10)
    learnt = [len(fold["train"]) for fold in folds]
    assert learnt == sorted(learnt)
    assert all(one["train"] < two["train"] for one, two in pairwise(folds))
    measured = [key for fold in folds for key in fold["validate"]]
    assert len(measured) == len(set(measured))
    assert max(at[key] for key in folds[2]["validate"]) == max(at.values())


def test_stratified_folds_hold_each_label_evenly(training):
    """Every row is measured in one fold; each fold has its share of either label; files do not matter."""
    late = {row[0]: row[4] for row in rows_of() if row[-1] == "train"}
    folds = cut(training, Folds(kind="stratified", count=4))

    assert sorted(key for fold in folds for key in fold["validate"]) == sorted(late)
    assert all(fold["train"] | fold["validate"] == set(late) for fold in folds)
    for label in (0, 1):
        whole = sum(value == label for value in late.values())
        for fold in folds:
            assert sum(late[key] == label for key in fold["validate"]) == pytest.approx(whole / 4, abs=2)
    assert folds == cut(training.repartition(5), Folds(kind="stratified", count=4))


def test_group_folds_keep_a_group_together(spark):
    """No place is learnt from and measured in one fold; rows without a group are a group."""
    rows = [
        (f"k{n}", "2013-01-01", None if n % 9 == 0 else f"g{n % 8}", 0.0, n % 2, "train") for n in range(90)
    ]
    place = {row[0]: row[2] for row in rows}
    folds = cut(spark.createDataFrame(rows, SCHEMA), Folds(kind="group", group="place", count=2))

    for fold in folds:
        assert not {place[key] for key in fold["train"]} & {place[key] for key in fold["validate"]}
    assert sorted(key for fold in folds for key in fold["validate"]) == sorted(place)


def test_folds_that_cannot_be_made_are_refused(training):
    """A column that is not there is named with the one that was meant; two instants make no four parts."""
    with pytest.raises(FrameError, match=r"no column 'plaec'.*Did you mean 'place'"):
        cut(training, Folds(kind="group", group="plaec"))
    two = training.withColumn("as_of_ts", F.date_trunc("year", "as_of_ts"))
    with pytest.raises(ModelGateError, match="too few instants for 3 expanding folds"):
        cut(two, Folds(kind="expanding"))


def model_of(**tuning):
    """A model of a linear learner and a forest."""
    return ModelSpec(
        features=FEATURES,
        categorical=("place",),
        baseline=LiftStep(name="place", features=("place",)),
        lift_learner=EstimatorSpec(kind="logistic_regression", parameters={"max_iter": 3}),
        estimators={
            "linear": EstimatorSpec(
                kind="logistic_regression",
                parameters={"max_iter": 4},
                space={"reg_param": SearchRange(log_uniform=(1e-4, 1.0))},
            )
        },
        tuning=Tuning(**tuning),
        gate=Gate(minimum=0.5),
    )


def test_a_fold_is_prepared_by_its_own_training_rows(spark, training):
    """Each fold's median is that of the rows it learns from, whatever stands in those it is measured on."""
    model = model_of(folds=Folds(kind="expanding", count=2))
    signal = {row[0]: row[3] for row in rows_of()}
    parts = cut(training, Folds(kind="expanding", count=2))
    with folded(training, model, features=FEATURES, label="late", key=("key",)) as folds:
        for fold, part in zip(folds, parts, strict=True):
            imputer = next(s for s in fold.preparation.common if type(s).__name__ == "ImputerModel")
            learnt = imputer.surrogateDF.collect()[0][0]
            values = sorted(signal[key] for key in part["train"] if signal[key] is not None)
            assert abs(values.index(learnt) - len(values) / 2) <= 0.01 * len(values) + 2
            assert learnt != median(value for value in signal.values() if value is not None)
            assert fold.rows.where("_split = 'train'").count() == len(part["train"])
        rows = folds[0].rows
    assert not rows.is_cached


def test_a_trial_on_folds_is_their_mean(training):
    """The value is the mean over the folds, their spread is recorded, and iterations can be a share."""
    model = model_of(folds=Folds(kind="stratified", count=2), rungs=(0.5,), rungs_of="iterations")
    trial = Trial(0, "linear", "logistic_regression", {"max_iter": 4, "reg_param": 0.01}, "roc_auc")
    with folded(training, model, features=FEATURES, label="late", key=("key",)) as folds:
        with cut_for_trials(folds) as places:
            measured = trial_objective(places, model.tuning, Bench(model.estimators))(trial)
            cut = [place.of("validate") for place in places]
        assert not any(rows.is_cached for rows in cut)
        alone = [trial_objective([fold], model.tuning, Bench(model.estimators))(trial) for fold in folds]

    assert measured.folds == pytest.approx([one.value for one in alone])
    assert measured.value == pytest.approx(sum(measured.folds) / 2)
    assert replace(trial, folds=measured.folds).to_dict()["spread"] == pytest.approx(stdev(measured.folds))
    assert fewer_iterations({"trees": 15, "max_depth": 5}, 0.1) == {"trees": 2, "max_depth": 5}


def test_a_training_that_dies_while_it_searches_goes_on(training, tmp_path, monkeypatch):
    """With folds, rungs and two trials at a time: what was kept is not fitted again, and the end is the same."""
    model = model_of(trials=4, rungs=(0.5,), folds=Folds(kind="expanding", count=2))
    undisturbed = train_model(training, model, name="m", label="late", options=TrainingOptions(key=("key",)))
    fitted = []
    options = TrainingOptions(
        key=("key",), on_trial=fitted.append, journal=Journal(tmp_path / "m" / "one.jsonl", "this search")
    )
    monkeypatch.setenv(VARIABLE, "raise:journal.after@2")
    with pytest.raises(InjectedFault):
        train_model(training, model, name="m", label="late", options=options)
    monkeypatch.delenv(VARIABLE)
    kept = set(options.journal.read().trials)
    assert len(kept) >= 2
    fitted.clear()

    again = train_model(training, model, name="m", label="late", options=options)

    assert {trial.number for trial in fitted} == set(range(4)) - kept

    def told(result):
        return [(t.parameters, t.state, t.value, t.rungs, t.folds, t.threshold) for t in result.trials]

    assert told(again) == told(undisturbed)
    assert again.parameters == undisturbed.parameters
    assert again.evaluation == undisturbed.evaluation
    assert again.stopped_by == "trials"
    assert all(len(trial.folds) == 2 for trial in again.trials if trial.state == "done")
    assert Counter(trial.state for trial in again.trials)["failed"] == 0


def test_trials_run_in_pools_of_their_own(spark, training):
    """Two trials at a time are in two fair pools, so that a long fit does not hold back a short one."""
    seen = []

    def objective(trial):
        pool = spark.sparkContext.getLocalProperty("spark.scheduler.pool")
        seen.append(pool)
        return Measured(float(training.count()), 0.5)

    tuner = TrialSearch(Tuning(trials=6, parallelism=2), spark=spark)
    tuner.search(model_of().estimators, objective, on_trial=lambda _: None)

    assert spark.sparkContext.getConf().get("spark.scheduler.mode") == "FAIR"
    assert set(seen) == {"beside-0", "beside-1"}
