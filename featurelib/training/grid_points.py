"""A grid proposes every combination of values once, the estimators in turn."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from itertools import chain, product, zip_longest

from featurelib.errors import ConfigError
from featurelib.specs import EstimatorSpec, SearchRange, Tuning
from featurelib.training.tuning import Parameter, Point, Trial

_MOST_POINTS = 100_000


class GridPoints:
    """All points of all spaces, in an order drawn by the seed: a search that ends early saw no corner only.

    Neither library has a grid whose parameters depend on the estimator, so both backends share this one.

    Raises:
        ConfigError: the grid has more points than anyone can try.
    """

    def __init__(self, estimators: Mapping[str, EstimatorSpec], tuning: Tuning) -> None:
        drawn = random.Random(tuning.seed)  # noqa: S311 - an order, no secret
        size = sum(math.prod(map(_count, spec.space.values())) for spec in estimators.values())
        if size > _MOST_POINTS:
            raise ConfigError(
                f"a grid of {size} points",
                f"at most {_MOST_POINTS}",
                "give ranges fewer steps, or take the algorithm random, which needs no list of them",
            )
        each = []
        for name, spec in estimators.items():
            points = [
                Point(name, dict(zip(spec.space, values, strict=True)))
                for values in product(*map(grid_values, spec.space.values()))
            ]
            drawn.shuffle(points)
            each.append(points)
        self._points = [point for point in chain.from_iterable(zip_longest(*each)) if point is not None]

    def propose(self, number: int) -> Point | None:
        """Return the point of that number, None behind the last."""
        return self._points[number] if number < len(self._points) else None

    def learn(self, trial: Trial) -> None:
        """Learn nothing."""


def grid_values(searched: SearchRange) -> list[Parameter]:
    """Return the values a grid takes: those of a choice, ``steps`` of a range, all of a range of integers.

    The steps of integers are rounded, each value once.
    """
    if searched.choice is not None:
        return list({(type(value), value): value for value in searched.choice}.values())
    if searched.integer is not None:
        low, high = searched.integer
        if searched.steps is None:
            return list(range(low, high + 1))
        return list(dict.fromkeys(round(value) for value in _evenly(low, high, searched.steps)))
    steps = searched.steps or 2
    if searched.log_uniform is not None:
        first, last = searched.log_uniform
        middle = [math.exp(value) for value in _evenly(math.log(first), math.log(last), steps)[1:-1]]
        return [first, *middle, last]
    return list(_evenly(*(searched.uniform or (0.0, 1.0)), steps))


def _count(searched: SearchRange) -> int:
    if searched.integer is not None and searched.steps is None:
        return searched.integer[1] - searched.integer[0] + 1
    return len(grid_values(searched))


def _evenly(low: float, high: float, steps: int) -> list[float]:
    return [low + (high - low) * step / (steps - 1) for step in range(steps)]
