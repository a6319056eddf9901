"""A budget lets a step begin only where an earlier run says that it fits into what is left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from featurelib.cli import run
from featurelib.errors import BudgetExceeded, ConfigError
from featurelib.pipeline.budget import Budget, budget_of
from featurelib.pipeline.plan import Plan, StepPlan
from featurelib.pipeline.planned import Item
from featurelib.specs import CostSettings
from tests.jobs.cafe_project import BASE
from tests.without_spark.cafe_store import land, place_in, record

AGAIN = "./spark-submit.sh jobs/pipeline.py --as-of 2024-01-10"
EUR = CostSettings(per_hour=36.0, currency="EUR")


def clock(*readings: float) -> Callable[[], float]:
    """A clock that shows these seconds, one a look."""
    times = iter(readings)
    return lambda: next(times)


def step(name: str, seconds: float | None, *, busy: bool = True) -> StepPlan:
    """A step with one thing to do, or none."""
    return StepPlan(name, (Item("t", None, None, "missing", 1, None, 1.0),) if busy else (), seconds)


def test_a_step_that_fits_may_begin() -> None:
    """Of 60 s 50 are gone: 10 s fit to the second, 11 do not; nothing to do is not free either."""
    Budget(60, None, AGAIN, clock(0, 50)).check(step("score", 10.0), done=[], left=["score"])
    with pytest.raises(BudgetExceeded) as stopped:
        Budget(60, None, AGAIN, clock(0, 50)).check(
            step("score", 11.0), done=["ingest"], left=["score", "monitor"]
        )
    assert str(stopped.value) == (
        "score takes about 11.0 s, and 10.0 s of 1 min 0 s are left\n"
        "  done: ingest\n"
        "  left: score, monitor\n"
        "  expected: a step that fits into what is left\n"
        f"  to do: go on with {AGAIN}"
    )
    with pytest.raises(BudgetExceeded, match=r"and 0\.00 s of 1 min 0 s are left"):
        Budget(60, None, AGAIN, clock(0, 61)).check(step("score", 0.0, busy=False), done=[], left=["score"])


def test_what_no_run_has_shown_is_not_begun() -> None:
    """A limit that is only hoped for is none; the message says how to learn."""
    with pytest.raises(BudgetExceeded, match="no earlier run says how long build features takes") as stopped:
        Budget(1e9, None, AGAIN).check(step("build_features", None), done=[], left=["build_features"])
    assert stopped.value.exit_code == 6
    assert stopped.value.action == f"run once without a budget: {AGAIN}"


def test_a_budget_below_the_smallest_step_is_refused_by_name() -> None:
    """Of two steps the smaller is named, with the time and money of both."""
    plan = Plan("cafe", (step("ingest", 20.0), step("score", 9.0), step("train", 0.2, busy=False)), {}, EUR)
    with pytest.raises(BudgetExceeded) as refused:
        Budget(5, EUR, AGAIN).refuse_hopeless(plan)
    assert refused.value.given == (
        "a budget of 5.0 s (0.0500 EUR) is below the smallest step that is to be done, score, "
        "which takes about 9.0 s (0.0900 EUR)"
    )
    assert refused.value.expected == "at least that; all that is to be done takes about 29.2 s (0.2920 EUR)"


def test_a_first_step_that_does_not_fit_is_refused_at_once() -> None:
    """Ten seconds would do for the second step, but the first must come before it."""
    plan = Plan("cafe", (step("ingest", 20.0), step("score", 9.0)), {})
    with pytest.raises(BudgetExceeded, match=r"ingest takes about 20\.0 s"):
        Budget(10, None, AGAIN).refuse_hopeless(plan)
    Budget(25, None, AGAIN).refuse_hopeless(plan)
    Budget(0.1, None, AGAIN).refuse_hopeless(Plan("cafe", (step("ingest", None, busy=False),), {}))


def test_the_narrower_of_money_and_seconds_holds() -> None:
    """At 36 an hour a cent a second: 0.50 is 50 s."""
    both = budget_of(0.5, 60, cost=EUR, again=AGAIN)
    assert both is not None
    assert both.seconds == pytest.approx(50)
    assert budget_of(0.5, 40, cost=EUR, again=AGAIN).seconds == 40  # type: ignore[union-attr]
    assert budget_of(None, None, cost=EUR, again=AGAIN) is None


@pytest.mark.parametrize("amount", [0, -1.0, float("nan"), float("inf")])
def test_amounts_that_are_none_are_refused(amount: float) -> None:
    """Zero, less, infinite, or not a number."""
    with pytest.raises(ConfigError, match="--budget"):
        budget_of(amount, None, cost=EUR, again=AGAIN)
    with pytest.raises(ConfigError, match="--max-seconds"):
        budget_of(None, amount, cost=None, again=AGAIN)


def test_money_needs_a_price() -> None:
    """Without the price of an hour an amount says nothing."""
    with pytest.raises(ConfigError, match="do not say what an hour costs"):
        budget_of(5.0, None, cost=None, again=AGAIN)


def test_the_command_refuses_before_spark_is_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 6 and the step's name; a session that began would fail the test."""
    from featurelib import session

    monkeypatch.delattr(session, "build_session")
    root = tmp_path / "root"
    land(root)
    place = place_in(root, changed={"base.yaml": BASE + "cost: {per_hour: 36.0}\n"})
    record(place, "ingest", size=10, seconds=30.0)
    common = ["--as-of", "2024-01-10", "--pipeline", place.project.folder, "-c", f"root={root}"]
    for options in (["pipeline", "--budget", "0.2"], ["run", "--max-seconds", "20"]):
        assert run([options[0], *common, *options[1:]]) == 6
        said = capsys.readouterr().err
        assert said.startswith("over budget: a budget of 20.0 s (0.2000 EUR) is below the smallest step")
        assert (
            f"./spark-submit.sh jobs/pipeline.py --as-of 2024-01-10 --env local --pipeline {place.project.folder}"
            in said
        )
    assert run(["pipeline", *common, "--max-seconds", "-3"]) == 2
