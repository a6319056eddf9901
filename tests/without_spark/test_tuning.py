from __future__ import annotations

import threading
import time

import pytest

from featurelib.errors import ModelGateError
from featurelib.specs import EstimatorSpec, SearchRange, Tuning
from featurelib.threads import run_beside
from featurelib.training.search import TrialSearch
from featurelib.training.tuning import Measured, best_trial
from tests.without_spark import searches

ESTIMATORS = {
    "linear": EstimatorSpec(
        kind="logistic_regression",
        parameters={"max_iter": 5},
        space={"reg_param": SearchRange(log_uniform=(0.001, 1.0))},
    ),
    "forest": EstimatorSpec(
        kind="random_forest",
        space={"trees": SearchRange(integer=(2, 9)), "max_depth": SearchRange(choice=(3, 5))},
    ),
}


def _distance(trial):
    return Measured(-abs(trial.parameters.get("trees", 20) - 6) / 10, 0.5)


BACKENDS = [
    {"backend": "hyperopt", "algorithm": "tpe"},
    {"backend": "hyperopt", "algorithm": "anneal"},
    {"backend": "hyperopt", "algorithm": "random"},
    {"backend": "optuna", "algorithm": "tpe"},
    {"backend": "optuna", "algorithm": "random"},
]


def _search(trials=12, parallelism=1, objective=_distance, seed=7, **more):
    seen = []
    tuner = TrialSearch(Tuning(trials=trials, parallelism=parallelism, seed=seed, **more))
    return tuner.search(ESTIMATORS, objective, on_trial=seen.append).trials, seen


@pytest.mark.parametrize("proposed_by", BACKENDS)
def test_proposals_depend_on_the_seed_alone(proposed_by):
    """Two searches with one seed propose the same; another seed proposes something else."""
    first, _ = _search(**proposed_by)
    again, _ = _search(**proposed_by)
    other, _ = _search(seed=8, **proposed_by)

    assert [t.parameters for t in first] == [t.parameters for t in again]
    assert [t.parameters for t in first] != [t.parameters for t in other]


@pytest.mark.parametrize("parallelism", [2, 3])
@pytest.mark.parametrize("proposed_by", [BACKENDS[0], BACKENDS[1], BACKENDS[3]])
def test_proposals_do_not_depend_on_which_trial_ends_first(parallelism, proposed_by):
    """However long each of the trials at work takes, the same points are proposed."""

    def slow(turn):
        def objective(trial):
            time.sleep(0.004 * ((trial.number * turn) % 5))
            return _distance(trial)

        return objective

    searches = [
        _search(parallelism=parallelism, objective=slow(turn), **proposed_by)[0] for turn in (1, 2, 3)
    ]

    proposed = [[trial.parameters for trial in trials] for trials in searches]
    assert proposed[0] == proposed[1] == proposed[2]


def test_a_broken_report_ends_the_search():
    """An error outside a trial is raised, and no thread is left waiting for its turn."""

    def report(trial):
        raise KeyError(trial.number)

    tuner = TrialSearch(Tuning(trials=6, parallelism=2))
    with pytest.raises(KeyError):
        tuner.search(ESTIMATORS, _distance, on_trial=report)


@pytest.mark.parametrize("proposed_by", [BACKENDS[0], BACKENDS[1], BACKENDS[3]])
def test_what_worked_is_followed(proposed_by):
    """Of two learners the better one gets most of the later trials."""
    tuner = TrialSearch(Tuning(trials=24, parallelism=1, **proposed_by))
    found = tuner.search(searches.ESTIMATORS, lambda t: Measured(searches.quality(t), 0.5), on_trial=print)

    later = [trial.estimator for trial in found.trials[12:]]
    assert later.count("forest") > later.count("linear")


@pytest.mark.parametrize("proposed_by", BACKENDS)
def test_each_estimator_is_tried_in_turn_first(proposed_by):
    """The first trials go round the estimators, so that none is left untried."""
    trials, _ = _search(trials=2, **proposed_by)

    assert [trial.estimator for trial in trials] == ["linear", "forest"]


@pytest.mark.parametrize("proposed_by", BACKENDS)
def test_parameters_are_values_within_their_space(proposed_by):
    """Choices come as their values, integers as int, fixed parameters beside them."""
    trials, _ = _search(**proposed_by)
    for trial in trials:
        if trial.estimator == "forest":
            assert trial.parameters["max_depth"] in (3, 5)
            assert type(trial.parameters["trees"]) is int
            assert 2 <= trial.parameters["trees"] <= 9
        else:
            assert trial.parameters["max_iter"] == 5
            assert 0.001 <= trial.parameters["reg_param"] <= 1.0


def test_a_failing_trial_is_recorded_and_the_search_goes_on():
    """What one fit raises is that trial's outcome, with its reason; the others are measured."""

    def objective(trial):
        if trial.estimator == "linear":
            raise ValueError("singular matrix")
        return _distance(trial)

    trials, seen = _search(objective=objective)

    assert len(trials) == len(seen) == 12
    failed = [trial for trial in trials if trial.state == "failed"]
    assert failed
    assert {"ValueError: singular matrix"} == {trial.reason for trial in failed}
    assert best_trial(trials).estimator == "forest"


def test_all_trials_failing_is_an_error():
    """Nothing to choose from is an error that tells the first reason."""

    def objective(trial):
        raise ValueError("no rows")

    with pytest.raises(ModelGateError, match=r"all 3 trials failed.*no rows"):
        _search(trials=3, objective=objective)


def test_an_undefined_metric_is_a_failure():
    """A NaN cannot be compared, so its trial has failed."""
    trials, _ = _search(trials=2, objective=lambda t: Measured(float("nan") if t.number else 0.7, 0.5))

    assert [trial.state for trial in trials] == ["done", "failed"]


def test_parallel_trials_overlap_and_all_come_back_in_order():
    """Two trials run at a time, and the trials returned are in the order of proposal."""
    meeting = threading.Barrier(2, timeout=10)

    def objective(trial):
        meeting.wait()
        return _distance(trial)

    trials, _ = _search(trials=6, parallelism=2, objective=objective)

    assert list(range(6)) == [trial.number for trial in trials]
    assert {"done"} == {trial.state for trial in trials}


def test_the_earlier_of_equal_trials_is_best():
    """A tie goes to the earlier trial, so the choice is repeatable."""
    trials, _ = _search(trials=4, objective=lambda _: Measured(0.5, 0.5))

    assert best_trial(trials).number == 0


def test_works_beside_each_other_keep_their_order_and_raise_their_error():
    """Results stand in the order of the works, and an error reaches the caller."""
    assert run_beside([lambda n=n: n * n for n in range(4)], spark=None, at_once=2) == [0, 1, 4, 9]

    def fail():
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        run_beside([fail, lambda: 1], spark=None, at_once=2)


@pytest.mark.parametrize("proposed_by", BACKENDS)
def test_a_point_is_not_tried_twice_while_others_are_left(proposed_by):
    """A small space is walked through instead of measuring one point again and again."""
    small = {"forest": EstimatorSpec(kind="random_forest", space={"trees": SearchRange(integer=(1, 8))})}
    tuner = TrialSearch(Tuning(trials=6, parallelism=1, **proposed_by))

    trials = tuner.search(small, _distance, on_trial=lambda _: None).trials

    assert len({trial.parameters["trees"] for trial in trials}) == 6
