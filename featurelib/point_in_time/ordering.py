"""Sorting rows by entity and instant as one integer, which is several times faster than by two columns.

Runs inside Spark's Python workers: it imports numpy and polars only.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import polars as pl

Ints = npt.NDArray[np.int64]


class Line:
    """Entities one after another on one line: the place of ``(entity, instant)`` is one 64-bit integer.

    Instants are counted from the first on; where entities times span exceed 64 bits, by their rank.

    Args:
        instants: microseconds since 1970 of the places there are; others are put between their neighbours.
        entities: number of entities, which are numbered from 0.
    """

    def __init__(self, instants: Ints, entities: int) -> None:
        first, last = (int(instants.min()), int(instants.max())) if len(instants) else (0, 0)
        self._ranked: Ints | None = None
        self._first, self._last = first, last
        self._stride = last - first + 3
        if self._stride * (entities + 1) >= 2**63 or first <= -(2**63):
            self._ranked = np.unique(instants)
            self._stride = len(self._ranked) + 2

    def exact(self, entity: Ints, instant: Ints) -> Ints:
        """Return the places of instants that are among those of the line."""
        if self._ranked is not None:
            return entity * self._stride + np.searchsorted(self._ranked, instant) + 1
        return entity * self._stride + (instant - (self._first - 1))

    def at_or_before(self, entity: Ints, instant: Ints) -> Ints:
        """Return the greatest place of the entity's that is not later than the instant, its start if none."""
        if self._ranked is not None:
            return entity * self._stride + np.searchsorted(self._ranked, instant, side="right")
        return entity * self._stride + (np.clip(instant, self._first - 1, self._last) - (self._first - 1))

    def end_of(self, entity: Ints) -> Ints:
        """Return a place behind every instant of the entity."""
        return (entity + 1) * self._stride


def in_order(entity: Ints, instant: Ints, ties: Callable[[Ints], pl.DataFrame] | None = None) -> Ints:
    """Return the rows sorted by entity, then instant, then what tells rows of one instant apart.

    Args:
        entity: number of each row's entity.
        instant: microseconds since 1970 of each row.
        ties: gives the columns that order rows of one instant, nulls first, for the rows asked for; rows
            equal in these too, and all rows of one instant if it is None, come in any order.
    """
    line = Line(instant, int(entity.max(initial=0)) + 1)
    places = line.exact(entity, instant)
    order = np.argsort(places)
    in_line = places[order]
    same = in_line[1:] == in_line[:-1]
    if ties is None or not same.any():
        return order
    tied = np.flatnonzero(np.append(same, [False]) | np.insert(same, 0, [False]))
    rows = order[tied]
    told = ties(rows)
    resolved = told.with_columns(pl.Series("__place", in_line[tied]), pl.Series("__row", rows))
    order[tied] = resolved.sort(["__place", *told.columns], nulls_last=False)["__row"].to_numpy()
    return order
