"""What ends a search: its trials, its space, its limits, no progress; and what prunes one of its trials."""

from __future__ import annotations

import math
import time

import pytest

from featurelib.errors import BudgetExceeded, ConfigError, ModelGateError
from featurelib.specs import CostSettings, EstimatorSpec, SearchRange, Tuning
from featurelib.training.grid_points import grid_values
from featurelib.training.journal import Journal
from featurelib.training.search import Limit, TimeLeft, TrialSearch, limit_of
from featurelib.training.tuning import Measured, best_trial
from tests.without_spark.searches import ESTIMATORS, quality


class Clock:
    """Seconds that pass when a trial says so."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def search(tuning, objective=None, *, estimators=ESTIMATORS, limit=None, journal=None, seconds=0.0, run=None):
    """Search with a clock on which each trial takes ``seconds``, and the run has ``run``; return what was found."""
    clock = Clock()

    def timed(trial):
        clock.now += seconds
        return objective(trial) if objective else Measured(quality(trial), 0.5)

    left = None if run is None else TimeLeft(lambda: 1000.0 + run - clock.now, "featurelib run")
    tuner = TrialSearch(tuning, limit=limit, left=left, journal=journal, clock=clock)
    return tuner.search(estimators, timed, on_trial=lambda _: None)


def test_the_number_of_trials_ends_a_search():
    """Without limits a search tries what it was asked to."""
    found = search(Tuning(trials=5))

    assert (len(found.trials), found.stopped_by) == (5, "trials")


def test_seconds_end_a_search_between_trials():
    """Of trials of 10 s three end within 35 s: no fourth begins, and none is lost."""
    found = search(Tuning(trials=9, parallelism=1), limit=Limit(35.0, "max_seconds"), seconds=10.0)

    assert (len(found.trials), found.stopped_by) == (4, "max_seconds")
    found = search(Tuning(trials=9, parallelism=1), limit=Limit(30.0, "max_seconds"), seconds=10.0)
    assert (len(found.trials), found.stopped_by) == (3, "max_seconds")


def test_money_is_seconds_at_the_price_of_an_hour():
    """0.10 at 0.40 an hour are 900 s; the narrower of money and seconds counts, and says so."""
    cost = CostSettings(per_hour=0.40)

    assert limit_of(Tuning(budget=0.10), cost) == Limit(pytest.approx(900.0), "budget")
    assert limit_of(Tuning(budget=0.10, max_seconds=60), cost) == Limit(60.0, "max_seconds")
    assert limit_of(Tuning(), cost) is None
    with pytest.raises(ConfigError, match="do not say what an hour costs"):
        limit_of(Tuning(budget=0.10), None)


def test_a_limit_below_one_trial_is_an_error_that_keeps_the_trial(tmp_path):
    """No trial ended in time: the error says how long one takes, and a greater limit goes on from it."""
    journal = Journal(tmp_path / "one.jsonl", "this search")
    tuning = Tuning(trials=3, parallelism=1)
    for _ in range(2):  # the second time nothing is tried, and the answer is the same
        with pytest.raises(BudgetExceeded, match=r"max_seconds allows 5 s.*not one trial ended"):
            search(tuning, limit=Limit(5.0, "max_seconds"), journal=journal, seconds=8.0)

    found = search(tuning, limit=Limit(30.0, "max_seconds"), journal=journal, seconds=8.0)

    assert (len(found.trials), found.resumed) == (3, 1)


def test_seconds_of_a_killed_run_count(tmp_path):
    """A search that went on thrice may not take its limit thrice."""
    journal = Journal(tmp_path / "one.jsonl", "this search")
    first = search(
        Tuning(trials=9, parallelism=1), limit=Limit(20.0, "budget"), journal=journal, seconds=10.0
    )

    again = search(
        Tuning(trials=9, parallelism=1), limit=Limit(20.0, "budget"), journal=journal, seconds=10.0
    )

    assert len(first.trials) == len(again.trials) == again.resumed == 2


def test_a_run_without_time_breaks_a_search_off_and_the_next_goes_on(tmp_path):
    """35 s of a run hold three trials of 10 s and a begun fourth: exit code 6, and no trial is tried again."""
    journal = Journal(tmp_path / "one.jsonl", "this search")
    tuning = Tuning(trials=9, parallelism=1)
    with pytest.raises(BudgetExceeded, match=r"leaves 0 s.*4 of 9 ended and are kept") as stopped:
        search(tuning, journal=journal, seconds=10.0, run=35.0)
    assert stopped.value.exit_code == 6
    assert "go on with featurelib run" in str(stopped.value)
    with pytest.raises(BudgetExceeded, match="6 of 9 ended"):
        search(tuning, journal=journal, seconds=10.0, run=20.0)

    found = search(tuning, journal=journal, seconds=10.0, run=1000.0)

    assert (len(found.trials), found.resumed, found.stopped_by) == (9, 6, "trials")
    alone = search(tuning, seconds=10.0)
    assert [(trial.parameters, trial.value) for trial in found.trials] == [
        (trial.parameters, trial.value) for trial in alone.trials
    ]


def test_the_lesser_of_both_limits_counts():
    """The search's own 20 s end it with its best although the run has 25; a run of 15 s breaks it off although it has 30."""
    tuning = Tuning(trials=9, parallelism=1)

    found = search(tuning, limit=Limit(20.0, "max_seconds"), seconds=10.0, run=25.0)
    assert (len(found.trials), found.stopped_by) == (2, "max_seconds")
    with pytest.raises(BudgetExceeded, match="the run's budget leaves"):
        search(tuning, limit=Limit(30.0, "max_seconds"), seconds=10.0, run=15.0)


@pytest.mark.parametrize("parallelism", [1, 3])
def test_a_search_without_progress_ends(parallelism):
    """The best is trial 1; four trials later the search ends, having begun no more than two rounds beside it."""
    found = search(
        Tuning(trials=30, parallelism=parallelism, no_progress=4),
        lambda trial: Measured(0.8 if trial.number == 1 else 0.7, 0.5),
    )

    assert found.stopped_by == "no_progress"
    assert len(found.trials) == 6 + 2 * (parallelism - 1)


@pytest.mark.parametrize("backend", ["hyperopt", "optuna"])
def test_a_grid_tries_every_combination_once(backend):
    """Two by three points of one learner and two of another are tried, each once, and the search ends."""
    estimators = {
        "forest": EstimatorSpec(
            kind="random_forest",
            space={"trees": SearchRange(integer=(2, 3)), "max_depth": SearchRange(choice=(3, 5, 7))},
        ),
        "linear": EstimatorSpec(
            kind="logistic_regression", space={"reg_param": SearchRange(log_uniform=(0.01, 1.0), steps=2)}
        ),
    }
    found = search(
        Tuning(trials=50, algorithm="grid", backend=backend),
        lambda _: Measured(0.5, 0.5),
        estimators=estimators,
    )

    tried = [(trial.estimator, *sorted(trial.parameters.items())) for trial in found.trials]
    forests = [("forest", ("max_depth", depth), ("trees", trees)) for depth in (3, 5, 7) for trees in (2, 3)]
    assert sorted(tried) == sorted(
        [*forests, ("linear", ("reg_param", 0.01)), ("linear", ("reg_param", 1.0))]
    )
    assert found.stopped_by == "space"
    assert [name for name, *_ in tried[:3]] == ["forest", "linear", "forest"]


def test_steps_of_a_range():
    """Both ends, and even steps between: by the logarithm for a logarithmic range, whole for integers."""
    assert grid_values(SearchRange(uniform=(0, 1), steps=3)) == [0.0, 0.5, 1.0]
    assert grid_values(SearchRange(log_uniform=(0.01, 1.0), steps=3)) == [0.01, pytest.approx(0.1), 1.0]
    assert grid_values(SearchRange(integer=(1, 4), steps=7)) == [1, 2, 3, 4]
    assert grid_values(SearchRange(integer=(10, 20), steps=3)) == [10, 15, 20]


def test_a_grid_beyond_reach_is_refused():
    """A million values are not listed: the error says how many there are."""
    endless = {"one": EstimatorSpec(kind="xgboost", space={"trees": SearchRange(integer=(1, 1_000_000))})}
    with pytest.raises(ConfigError, match="a grid of 1000000 points"):
        search(Tuning(algorithm="grid"), estimators=endless)


def by_share(trial):
    """What a share of the rows can show of the quality."""
    return Measured(quality(trial) - (1 - trial.share) / 5, 0.5)


@pytest.mark.parametrize("backend", ["hyperopt", "optuna"])
def test_a_trial_below_the_median_of_its_rung_is_pruned(backend):
    """By hand: at a rung, whoever is worse than the median of those who were there before goes no further."""
    found = search(Tuning(trials=20, parallelism=1, rungs=(0.1, 0.5), backend=backend), by_share)

    reached = {0.1: [], 0.5: []}
    for trial in found.trials:
        expected = [0.1, 0.5, 1.0]
        for share in (0.1, 0.5):
            before = sorted(reached[share])
            value = quality(trial) - (1 - share) / 5
            reached[share].append(value)
            half = len(before) // 2
            if len(before) >= 3 and value < (
                before[half] if len(before) % 2 else (before[half - 1] + before[half]) / 2
            ):
                expected = expected[: expected.index(share) + 1]
                break
        assert [share for share, _ in trial.rungs] == [share for share in expected if share < 1]
        assert (trial.state == "done") == (expected[-1] == 1.0)
        assert trial.share == expected[-1]
    states = {trial.state for trial in found.trials}
    assert states == {"done", "pruned"}
    pruned = next(trial for trial in found.trials if trial.state == "pruned")
    assert pruned.value is None
    assert "of the rows, worse than" in pruned.reason
    assert best_trial(found.trials).state == "done"


def test_pruning_does_not_depend_on_which_trial_ends_first():
    """With three at a time the medians are those of the same trials, however long each takes."""

    def slow(turn):
        def objective(trial):
            time.sleep(0.003 * ((trial.number * turn) % 5))
            return by_share(trial)

        return objective

    tuning = Tuning(trials=15, parallelism=3, rungs=(0.2,))
    found = [search(tuning, slow(turn)).trials for turn in (1, 2, 3)]

    seen = [[(trial.parameters, trial.state, trial.rungs) for trial in trials] for trials in found]
    assert seen[0] == seen[1] == seen[2]
    assert any(trial.state == "pruned" for trial in found[0])


def test_a_trial_that_is_undefined_at_a_rung_has_failed():
    """NaN cannot be compared with a median: the trial fails there, with its reason."""
    found = search(
        Tuning(trials=2, parallelism=1, rungs=(0.5,)),
        lambda trial: Measured(math.nan if trial.number else 0.7, 0.5),
    )

    assert [trial.state for trial in found.trials] == ["done", "failed"]
    assert "roc_auc is nan" in found.trials[1].reason


@pytest.mark.parametrize(
    ("backend", "algorithm"),
    [("hyperopt", "tpe"), ("hyperopt", "anneal"), ("hyperopt", "random"), ("optuna", "tpe")],
)
def test_a_space_that_no_learner_accepts_ends_with_the_first_reason(backend, algorithm):
    """Every trial fails, long after the random ones: the search comes to its end and says why."""

    def refuse(trial):
        raise ValueError("max_depth must be at most 30")

    with pytest.raises(ModelGateError, match=r"all 14 trials failed; .*max_depth must be at most 30"):
        search(Tuning(trials=14, backend=backend, algorithm=algorithm), refuse)
