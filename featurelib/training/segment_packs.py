"""Slices become tasks: by what each is estimated to cost, the longest first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from featurelib.specs import EstimatorSpec, SearchRange, Segments

_ROWS_A_LEAF = 200
"""Finding a tree's splits costs, whatever the rows, about what so many rows a leaf do (measured)."""
_PARTS = 2
"""A task is at most this part of what a core's share of the remaining work is."""


@dataclass(frozen=True)
class SliceSize:
    """How many rows of a slice there are to fit on, to choose on, and to measure and explain."""

    train: int
    validate: int
    test: int
    positives: tuple[int, int, int] = (0, 0, 0)

    @property
    def fitted(self) -> int:
        """Rows of the model that is kept."""
        return self.train + self.validate

    @property
    def rows(self) -> int:
        """All rows."""
        return self.fitted + self.test

    def at_most(self, rows: int | None) -> SliceSize:
        """Return about what is left of a slice when so many of its rows are taken, whatever their part."""
        if rows is None or rows >= self.rows:
            return self
        parts = (self.train, self.validate, self.test)
        train, validate, test = (round(part * rows / self.rows) for part in parts)
        return SliceSize(train, validate, test, self.positives)


def estimated_cost(size: SliceSize, segments: Segments, *, places: int) -> float:
    """Return the work of a slice, in no unit: rows x features x trees x trials, and its explanations.

    Exact TreeSHAP costs rows x trees x leaves x depth squared, whatever the number of features.
    """
    trees, depth = _expected(segments.learner, "trees", 60), _expected(segments.learner, "max_depth", 6)
    leaves: float = 2.0**depth
    fits = segments.trials * (size.train + _ROWS_A_LEAF * leaves) + size.fitted + _ROWS_A_LEAF * leaves
    return trees * (places * fits + size.test * leaves * depth**2)


def packed(
    costs: Mapping[str, float], *, slots: int, rows: Mapping[str, int], most_rows: int
) -> list[list[str]]:
    """Return slices in tasks, the task that costs most first; each slice is in exactly one.

    Longest processing time first, with Spark as the scheduler: a free slot takes the next task. As in guided
    self-scheduling (Polychronopoulos and Kuck, 1987) a task holds so many slices that it is half of a slot's
    share of what is left: early tasks are few and large, the last ones small, so that all slots end together
    however wrong the estimates are. Ties go by name.

    Args:
        costs: of each slice.
        slots: tasks that run at a time.
        rows: of each slice.
        most_rows: what the slices of a task may have together, unless a slice alone has more.
    """
    waiting = sorted(costs, key=lambda name: (-costs[name], name))
    left = sum(costs.values())
    tasks: list[list[str]] = []
    place = 0
    while place < len(waiting):
        share, first = left / (_PARTS * slots), waiting[place]
        task, cost, held = [first], costs[first], rows[first]
        for name in waiting[place + 1 :]:
            if cost + costs[name] > share or held + rows[name] > most_rows:
                break
            task.append(name)
            cost += costs[name]
            held += rows[name]
        place += len(task)
        left -= cost
        tasks.append(task)
    return sorted(tasks, key=lambda task: -sum(costs[name] for name in task))


def _expected(learner: EstimatorSpec, name: str, default: float) -> float:
    if name in learner.space:
        return _middle(learner.space[name], default)
    value = learner.refit.get(name, learner.parameters.get(name, default))
    return float(value) if isinstance(value, int | float) else default


def _middle(space: SearchRange, default: float) -> float:
    if space.choice is not None:
        numbers = [float(one) for one in space.choice if isinstance(one, int | float)]
        return sum(numbers) / len(numbers) if numbers else default
    bounds = space.integer or space.uniform or space.log_uniform
    return default if bounds is None else (bounds[0] + bounds[1]) / 2
