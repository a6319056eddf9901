"""Every window is read the other way round: an event is visible to one run of its entity's probes.

A probe is a spine row: an entity and the moment asked about. With the probes of all entities sorted by
(entity, moment), an event that happened at ``e`` and was known at ``v`` is in the window ``w`` of exactly the
probes with ``max(e, v) < t <= e + w``: one contiguous run ``[start, end)``. So a count or a sum is a
difference array and one cumulative sum, a minimum is a range update on a sparse table, and the last event is
a running maximum. Known-at costs nothing extra, and no window is ever re-read for the next row.

Runs inside Spark's Python workers: it imports numpy and polars only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from featurelib.point_in_time import exact_sums
from featurelib.point_in_time.exact_sums import Double2
from featurelib.point_in_time.ordering import Line

Array = npt.NDArray[np.generic]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Scalar = TypeVar("Scalar", bound=np.generic)

_LATEST = np.iinfo(np.int64).max
_EARLIEST = np.iinfo(np.int64).min


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
    def line(self) -> Line:
        """The line that probes and events are put on."""
        return Line(self.moment, int(self.entity.max(initial=0)) + 1)

    @cached_property
    def places(self) -> Ints:
        """The place of each probe on the line, ascending."""
        return self.line.exact(self.entity, self.moment)

    def first_after(self, entity: Ints, instant: Ints) -> Ints:
        """Return the place of the entity's first probe later than each instant, or where its run ends."""
        return np.searchsorted(self.places, self.line.at_or_before(entity, instant), side="right")

    @cached_property
    def _ends(self) -> Ints:
        return np.searchsorted(self.entity, np.arange(int(self.entity[-1]) + 1), side="right")

    def end_of(self, entity: Ints) -> Ints:
        """Return the place just behind the last probe of each entity."""
        return self._ends[np.minimum(entity, len(self._ends) - 1)]


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
    """Events, and the probes that see each of them.

    Attributes:
        probes: the probes of all entities.
        events: some events, in total order.
        seen_after: microseconds since 1970 of the last moment that does not see each event yet.
        delay: microseconds by which windows end before the moment asked about.
    """

    probes: Probes
    events: Events
    seen_after: Ints
    delay: int = 0

    @classmethod
    def of(cls, probes: Probes, events: Events, *, delay: int = 0, is_inclusive: bool = False) -> Visible:
        """Return what the probes see: strictly later than both instants, or from them on if inclusive."""
        seen_after = np.maximum(later(events.event, delay), events.known)
        if is_inclusive:
            seen_after = np.maximum(seen_after, _EARLIEST + 1) - 1
        return cls(probes, events, seen_after, delay)

    @cached_property
    def start(self) -> Ints:
        """Place of the first probe that sees each event."""
        return self.probes.first_after(self.events.entity, self.seen_after)

    def only(self, chosen: Bools) -> Visible:
        """Return the same for the chosen events."""
        if chosen.all():
            return self
        return Visible(self.probes, self.events.only(chosen), self.seen_after[chosen], self.delay)

    def end(self, micros: int | None) -> Ints:
        """Place just behind the last probe whose window still holds each event; None is a lifetime."""
        if micros is None:
            return self.probes.end_of(self.events.entity)
        leaves = later(later(self.events.event, self.delay), micros)
        return np.maximum(self.start, self.probes.first_after(self.events.entity, leaves))

    @cached_property
    def newest(self) -> Ints:
        """Index of the newest visible event of each probe in the events' order, or -1."""
        if len(self.events) == 0:
            return np.full(len(self.probes), -1, dtype=np.int64)
        seen = self.probes.line.at_or_before(self.events.entity, self.seen_after)
        if (seen[1:] >= seen[:-1]).all():  # events are seen in their order: one search a probe
            newest = np.searchsorted(seen, self.probes.places) - 1
        else:
            newest = np.full(len(self.probes), -1, dtype=np.int64)
            is_seen = self.start < self.probes.end_of(self.events.entity)
            np.maximum.at(newest, self.start[is_seen], np.flatnonzero(is_seen))
            newest = np.maximum.accumulate(newest)
        foreign = self.events.entity[newest] != self.probes.entity
        return np.where(foreign, -1, newest)

    def newest_within(self, micros: int | None) -> Ints:
        """As ``newest``, and -1 where that event lies before the window."""
        if micros is None or len(self.events) == 0:
            return self.newest
        leaves = later(later(self.events.event[self.newest], self.delay), micros)
        old = leaves < self.probes.moment
        return np.where(old, -1, self.newest)


@dataclass(frozen=True)
class WindowRuns:
    """Runs ``[start, end)`` of places, one an event, and what follows from them for each of ``size`` places.

    A place is a probe, and the run of an event the probes that hold it within one window.
    """

    start: Ints
    end: Ints
    size: int

    @cached_property
    def count(self) -> Ints:
        """Number of events each probe sees."""
        change = np.bincount(self.start, minlength=self.size + 1)
        change -= np.bincount(self.end, minlength=self.size + 1)
        return np.cumsum(change[: self.size])

    def total(self, values: Ints) -> Ints:
        """Sum of integers, modulo 2**64."""
        return exact_sums.running_total(values, self.start, self.end, self.size)

    @cached_property
    def _float_sums(self) -> dict[int, tuple[Floats, Double2]]:
        return {}

    def float_sum(self, values: Floats) -> Double2:
        """Sum of doubles, exact but for one rounding; infinities that left the window leave no trace.

        Sum and mean ask for the same: of one array it is computed once, and the array kept with it.
        """
        if id(values) not in self._float_sums:
            self._float_sums[id(values)] = values, self._summed(values)
        return self._float_sums[id(values)][1]

    def _summed(self, values: Floats) -> Double2:
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

    def extreme(self, values: npt.NDArray[Scalar], *, smallest: bool) -> npt.NDArray[Scalar]:
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
        return self if chosen.all() else WindowRuns(self.start[chosen], self.end[chosen], self.size)


def later(instant: Ints, micros: int) -> Ints:
    """Return the instants moved by microseconds, or the last instant there is."""
    micros = min(micros, int(_LATEST))
    return np.where(instant > _LATEST - micros, _LATEST, instant + micros) if micros else instant


def tile_of(event: Ints, known: Ints, hop: int) -> tuple[Ints, Ints]:
    """Return the start of the tile that each event is in, and the instant by which all of it is known."""
    start = event // hop * hop
    return start, later(np.maximum(event, known) // hop * hop, hop)


def _bound(dtype: np.dtype[np.generic], *, largest: bool) -> np.generic:
    if dtype.kind == "f":
        return dtype.type(np.inf if largest else -np.inf)
    limits = np.iinfo(dtype.name)
    return dtype.type(limits.max if largest else limits.min)
