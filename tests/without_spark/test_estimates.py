"""Seconds of a step are estimated from earlier runs, and a few odd ones do not matter."""

from __future__ import annotations

import pytest

from featurelib.pipeline.estimates import Error, Past, error, estimate


def test_nothing_is_guessed() -> None:
    """Without an earlier run, or of an unknown size, there is no estimate."""
    assert estimate([], 100) is None
    assert estimate([Past(100, 5.0)], None) is None


def test_one_run_is_a_bound() -> None:
    """After one run a smaller size takes as long, a larger one in proportion."""
    assert estimate([Past(100, 5.0)], 10) == 5.0
    assert estimate([Past(100, 5.0)], 100) == 5.0
    assert estimate([Past(100, 5.0)], 300) == 15.0


def test_fixed_part_and_rate_are_told_apart() -> None:
    """Two sizes give both: 4 s fixed and a second for 100."""
    runs = [Past(1000, 14.0), Past(100, 5.0)]
    assert estimate(runs, 500) == pytest.approx(9.0)
    assert estimate(runs, 2000) == pytest.approx(24.0)


def test_sizes_that_are_alike_say_nothing_of_the_rate() -> None:
    """Noise between nightly runs of one size is not taken for a rate, falling or rising."""
    runs = [Past(776, 4.9), Past(780, 5.5), Past(770, 5.1)]
    assert estimate(runs, 778) == pytest.approx(5.1, rel=0.01)
    assert estimate(runs, 100) == pytest.approx(5.1)


def test_an_odd_run_moves_little() -> None:
    """A run that once took ten times as long does not raise the estimate of the next."""
    runs = [Past(1000, 14.0), *(Past(100, 5.0) for _ in range(4)), Past(100, 50.0)]
    assert estimate(runs, 100) == pytest.approx(5.0)
    assert estimate(runs, 1000) == pytest.approx(14.0)


def test_a_rate_is_never_negative() -> None:
    """Where the larger run was the faster, more work still takes no less time."""
    runs = [Past(1000, 5.0), Past(100, 9.0)]
    assert estimate(runs, 5000) >= estimate(runs, 100) > 0


def test_idle_runs_are_learned_apart() -> None:
    """What a step takes that finds nothing to do says nothing of the time it takes to do something."""
    runs = [Past(0, 0.2), Past(100, 20.0), Past(0, 0.4), Past(0, 0.3)]
    assert estimate(runs, 0) == 0.3
    assert estimate(runs, 100) == 20.0
    assert estimate([], 0) == 0.0


def test_error_is_the_median_of_the_last_runs() -> None:
    """Of the five newest runs that had an estimate and something to do, by the share of the true seconds."""
    runs = [
        Past(0, 1.0, 9.0),
        Past(5, 10.0, 11.0),
        Past(5, 10.0, 7.0),
        Past(5, 10.0),
        Past(5, 10.0, 12.0),
        Past(5, 10.0, 10.0),
        Past(5, 10.0, 18.0),
        Past(5, 1.0, 900.0),
    ]
    assert error(runs) == Error(pytest.approx(0.2), 5)
    assert error([Past(5, 10.0)]) is None
