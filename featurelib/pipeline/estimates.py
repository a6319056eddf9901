"""How long a step will take, learned from the runs that are recorded."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

from featurelib.pipeline.context import Surroundings
from featurelib.pipeline.records import EXPECTED, newest_runs

_ALIKE = 2.0
_FOR_ERRORS = 5


@dataclass(frozen=True)
class Past:
    """A run of a step that ended well: how much there was to do, what it took, what had been expected."""

    size: float
    seconds: float
    expected: float | None = None


@dataclass(frozen=True)
class Error:
    """How far the estimates of a step were off: the median share of the true seconds, of so many runs."""

    share: float
    runs: int


def past_runs(context: Surroundings) -> dict[str, list[Past]]:
    """Return the recorded runs of this pipeline that ended well, by step, the newest first."""
    found: dict[str, list[Past]] = {}
    for row in newest_runs(context):
        expected = (
            json.loads(row["facts"] or "{}").get(EXPECTED) if row["state"] in {"done", "idle"} else None
        )
        if expected and expected["pipeline"] == context.project.name and expected["size"] is not None:
            past = Past(expected["size"], row["seconds"], expected["seconds"])
            found.setdefault(row["step"], []).append(past)
    return found


def estimate(runs: Sequence[Past], size: float | None) -> float | None:
    """Return the seconds that a step will take; None where no earlier run says it.

    Seconds are ``fixed + size * rate``: the rate is the median slope between runs of different size, each
    weighing as much as they differ (Theil 1950, Sen 1968, weighted as by Jaeckel 1972), the fixed part the
    median of what is left, so that a few odd runs move neither. Sizes within a factor of two say nothing of
    the rate; with such runs alone a smaller size takes as long as they did, a larger one in proportion.
    """
    if size is None:
        return None
    idle, busy = ([run for run in runs if (run.size == 0) is is_idle] for is_idle in (True, False))
    if not size:
        return median(run.seconds for run in idle) if idle else 0.0
    if not busy:
        return None
    rate = _rate(busy)
    if rate is None:
        typical = median(run.size for run in busy)
        return median(run.seconds for run in busy) * max(1.0, size / typical)
    fixed = median(run.seconds - rate * run.size for run in busy)
    return max(0.0, fixed) + rate * size


def error(runs: Iterable[Past]) -> Error | None:
    """Return how far the estimates of the newest runs with something to do were off; None without any."""
    shares = [
        abs(run.expected - run.seconds) / run.seconds
        for run in runs
        if run.expected is not None and run.size and run.seconds > 0
    ][:_FOR_ERRORS]
    return Error(median(shares), len(shares)) if shares else None


def errors(runs: Mapping[str, Sequence[Past]]) -> dict[str, Error]:
    """Return the error of each step that has one."""
    return {step: found for step, past in runs.items() if (found := error(past)) is not None}


def _rate(runs: Sequence[Past]) -> float | None:
    """Return seconds a unit of size, None where all sizes are alike."""
    slopes = sorted(
        ((one.seconds - other.seconds) / (one.size - other.size), abs(one.size - other.size))
        for one, other in combinations(runs, 2)
        if max(one.size, other.size) >= _ALIKE * min(one.size, other.size)
    )
    if not slopes:
        return None
    half, seen = sum(weight for _, weight in slopes) / 2, 0.0
    for slope, weight in slopes:
        seen += weight
        if seen >= half:
            return max(0.0, slope)
    return max(0.0, slopes[-1][0])
