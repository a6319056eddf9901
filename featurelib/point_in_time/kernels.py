"""Every window is read the other way round: an event is visible to one run of its entity's probes.

A probe is a spine row: an entity and the moment asked about. With the probes of all entities sorted by
(entity, moment), an event that happened at ``e`` and was known at ``v`` is in the window ``w`` of exactly the
probes with ``max(e, v) < t <= e + w``: one contiguous run ``[start, end)``. So a count or a sum is a
difference array and one cumulative sum, a minimum is a range update on a sparse table, and the last event is
a running maximum. Known-at costs nothing extra, and no window is ever re-read for the next row.

Runs inside Spark's Python workers: it imports numpy only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from featurelib.point_in_time import exact_sums
from featurelib.point_in_time.exact_sums import Double2

Array = npt.NDArray[np.generic]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_LATEST = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Probes:
    """Spine rows sorted by entity and moment.

    Attributes:
        entity: dense number of the entity of each probe.
        moment: microseconds since 1970 of each probe.
    """

    entity: Ints
    moment: Ints

    def __len__(self) -> int:
        return len(self.entity)

    @cached_property
    def moments(self) -> Ints:
        """The distinct moments, sorted."""
        return np.unique(self.moment)

    @cached_property
    def _places(self) -> Ints:
        return self.entity * self._stride + np.searchsorted(self.moments, self.moment)

    @property
    def _stride(self) -> int:
        return len(self.moments) + 1

    def first_after(self, entity: Ints, instant: Ints) -> Ints:
        """Return the place of the entity's first probe later than each instant, or where its run ends."""
        later = np.searchsorted(self.moments, instant, side="right")
        return np.searchsorted(self._places, entity * self._stride + later)

    def end_of(self, entity: Ints) -> Ints:
        """Return the place just behind the last probe of each entity."""
        return np.searchsorted(self._places, (entity + 1) * self._stride)


@dataclass(frozen=True)
class Events:
    """Events of one source, sorted by (entity, event instant, known instant, tie breakers).

    Attributes:
        entity: number of the entity, as in the probes.
        event: microseconds since 1970 at which each happened.
        known: microseconds since 1970 at which each could be known.
    """

    entity: Ints
    event: Ints
    known: Ints

    def __len__(self) -> int:
        return len(self.entity)

    def only(self, chosen: Bools) -> Events:
        """Return the chosen events, in the same order."""
        return self if chosen.all() else Events(self.entity[chosen], self.event[chosen], self.known[chosen])


@dataclass(frozen=True)
class Visible:
    """Events that have an input value, and the probes that see each of them."""

    probes: Probes
    events: Events

    @cached_property
    def start(self) -> Ints:
        """Place of the first probe that sees each event."""
        seen_from = np.maximum(self.events.event, self.events.known)
        return self.probes.first_after(self.events.entity, seen_from)

    def end(self, window: int | None) -> Ints:
        """Place just behind the last probe whose window still holds each event."""
        if window is None:
            return self.probes.end_of(self.events.entity)
        leaves = np.where(self.events.event > _LATEST - window, _LATEST, self.events.event + window)
        return np.maximum(self.start, self.probes.first_after(self.events.entity, leaves))

    @cached_property
    def newest(self) -> Ints:
        """Index of the newest visible event of each probe in the events' order, or -1."""
        newest = np.full(len(self.probes), -1, dtype=np.int64)
        seen = self.start < self.probes.end_of(self.events.entity)
        np.maximum.at(newest, self.start[seen], np.flatnonzero(seen))
        newest = np.maximum.accumulate(newest)
        present = newest >= 0
        foreign = np.zeros(len(newest), dtype=bool)
        foreign[present] = self.events.entity[newest[present]] != self.probes.entity[present]
        newest[foreign] = -1
        return newest

    def newest_within(self, window: int | None) -> Ints:
        """As ``newest``, and -1 where that event lies before the window."""
        if window is None or len(self.events) == 0:
            return self.newest
        old = self.events.event[self.newest] < self.probes.moment - window
        return np.where(old, -1, self.newest)


@dataclass(frozen=True)
class WindowRuns:
    """The runs of probes that hold each event within one window, and what follows from them."""

    start: Ints
    end: Ints
    size: int

    @classmethod
    def of(cls, visible: Visible, window: int | None) -> WindowRuns:
        """Return the runs of a window's events; ``window`` None is a lifetime."""
        return cls(visible.start, visible.end(window), len(visible.probes))

    @cached_property
    def count(self) -> Ints:
        """Number of events each probe sees."""
        change = np.bincount(self.start, minlength=self.size + 1)
        change -= np.bincount(self.end, minlength=self.size + 1)
        return np.cumsum(change[: self.size])

    def total(self, values: Ints) -> Ints:
        """Sum of integers, modulo 2**64."""
        return exact_sums.running_total(values, self.start, self.end, self.size)

    def float_sum(self, values: Floats) -> Double2:
        """Sum of doubles, exact but for one rounding; infinities that left the window leave no trace."""
        finite = np.isfinite(values)
        if finite.all():
            return exact_sums.range_sums(values, self.start, self.end, self.size)
        sums = exact_sums.range_sums(values[finite], self.start[finite], self.end[finite], self.size)
        positive = self.only(values == np.inf).count > 0
        negative = self.only(values == -np.inf).count > 0
        high = np.where(positive, np.inf, np.where(negative, -np.inf, sums.high))
        return Double2(
            np.where(positive & negative, np.nan, high), np.where(positive | negative, 0.0, sums.low)
        )

    def extreme(self, values: Array, *, smallest: bool) -> Array:
        """Least or greatest value each probe sees; arbitrary where it sees none.

        Each run is covered by two blocks of the greatest power of two that fits, as in a sparse table,
        and the blocks are halved downwards level by level, all probes at once.
        """
        choose: np.ufunc = np.minimum if smallest else np.maximum
        nothing = _bound(values.dtype, largest=smallest)
        length = self.end - self.start
        level = np.frexp(length.astype(np.float64))[1] - 1  # floor(log2), and -1 for an empty run
        best = np.full(self.size, nothing, dtype=values.dtype)
        for step in range(int(level.max(initial=-1)), -1, -1):
            chosen = np.flatnonzero(level == step)
            width = 1 << step
            choose.at(best, self.start[chosen], values[chosen])
            choose.at(best, self.end[chosen] - width, values[chosen])
            if step:
                half = width >> 1
                lower = best.copy()
                choose(lower[half:], best[:-half], out=lower[half:])
                best = lower
        return best

    def only(self, chosen: Bools) -> WindowRuns:
        """Return the runs of the chosen events."""
        return WindowRuns(self.start[chosen], self.end[chosen], self.size)


def integer_sum(runs: WindowRuns, values: Array) -> Ints:
    """Sum of integers; arbitrary where the count is 0.

    Raises:
        OverflowError: a sum does not fit a 64-bit integer.
    """
    whole = values.astype(np.int64)
    largest = float(np.abs(whole.astype(np.float64)).max(initial=0.0)) * float(runs.count.max(initial=0))
    if largest >= 2.0**62 and (np.abs(runs.float_sum(whole.astype(np.float64)).high) >= 2.0**63).any():
        message = "a sum of integers exceeds 64 bits; make the input a double or a shorter window"
        raise OverflowError(message)
    return runs.total(whole)


def mean(runs: WindowRuns, values: Array) -> Floats:
    """Arithmetic mean: the exact sum, rounded, by the count; arbitrary where the count is 0."""
    return runs.float_sum(values.astype(np.float64)).high / np.maximum(runs.count, 1)


def stddev(runs: WindowRuns, values: Array) -> Floats:
    """Sample standard deviation, by exact sums and squares; arbitrary where the count is below 2."""
    doubles = values.astype(np.float64)
    finite = np.isfinite(doubles)
    kept = runs if finite.all() else runs.only(finite)
    high, low = exact_sums.squares(doubles[finite])
    both = WindowRuns(
        np.concatenate([kept.start, kept.start]), np.concatenate([kept.end, kept.end]), runs.size
    )
    squares = both.float_sum(np.concatenate([high, low]))
    total = kept.float_sum(doubles[finite])
    rows = runs.count.astype(np.float64)
    number = Double2(rows, np.zeros_like(rows))
    spread = exact_sums.minus(exact_sums.times(number, squares), exact_sums.times(total, total)).high
    result: Floats = np.sqrt(np.maximum(spread, 0.0) / np.maximum(rows * (rows - 1.0), 1.0))
    if not finite.all():
        result[runs.only(~finite).count > 0] = np.nan
    return result


def _bound(dtype: np.dtype[np.generic], *, largest: bool) -> np.generic:
    if dtype.kind == "f":
        return dtype.type(np.inf if largest else -np.inf)
    limits = np.iinfo(dtype.name)
    return dtype.type(limits.max if largest else limits.min)
