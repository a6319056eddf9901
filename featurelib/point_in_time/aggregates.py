"""What each operation makes of the events that a window of each probe holds, as an Arrow column.

A window without events gives 0 for counts, zeros for histograms and null for everything else.

Runs inside Spark's Python workers: it imports pyarrow, numpy and polars only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from featurelib.point_in_time import decimals, moments, sampling, segments
from featurelib.point_in_time.columns import Column
from featurelib.point_in_time.kernels import Array, Bools, Events, Floats, Ints, Probes, Visible, WindowRuns
from featurelib.point_in_time.segments import Segments
from featurelib.point_in_time.selection import select


@dataclass(frozen=True)
class Held:
    """The events that one window of each probe holds.

    Attributes:
        visible: the events that count, in total order, and who sees them.
        column: their values; None for operations about rows.
        micros: length of the window, None for no bound.
        ends: where the runs end, for a window bounded by a number of events.
    """

    visible: Visible
    column: Column | None
    micros: int | None = None
    ends: Ints | None = None

    @cached_property
    def runs(self) -> WindowRuns:
        """The probes that hold each event."""
        ends = self.visible.end(self.micros) if self.ends is None else self.ends
        return WindowRuns(self.visible.start, ends, len(self.visible.probes))

    @cached_property
    def newest(self) -> Ints:
        """Index of the newest event that each probe holds, or -1."""
        if self.ends is None:
            return self.visible.newest_within(self.micros)
        newest = self.visible.newest
        left = self.ends[newest] <= np.arange(len(newest)) if len(self.ends) else newest < 0
        return np.where(left, -1, newest)

    @property
    def oldest(self) -> Ints:
        """Index of the oldest event that each probe holds, or -1."""
        index = np.arange(len(self.visible.events))
        return np.where(self.runs.count == 0, -1, self.runs.extreme(index, smallest=True))

    @property
    def values(self) -> Column:
        """The input's values.

        Raises:
            RuntimeError: the operation was planned without an input.
        """
        if self.column is None:
            raise RuntimeError("an operation over values was planned without an input column")
        return self.column

    @cached_property
    def segments(self) -> Segments:
        """The runs of equal values of an entity, put together."""
        return segments.segments_of(self.visible.events.entity * self._codes + self.values.codes, self.runs)

    def only(self, chosen: Bools) -> Held:
        """Return the same for the chosen events; they must have values."""
        visible = self.visible.only(chosen)
        column = Column(visible.events, self.values.values.filter(pa.array(chosen)))
        return Held(visible, column, self.micros, None if self.ends is None else self.ends[chosen])

    @property
    def _codes(self) -> int:
        return max(len(self.values.distinct), 1)

    @property
    def segment_codes(self) -> Ints:
        """The value of each segment, as its place among the distinct ones."""
        return self.segments.group % self._codes


def aggregate(held: Held, op: str, parameter: tuple[float, ...], kind: pa.DataType) -> pa.Array:
    """Return one operation over one window, a value for each probe, as ``kind``."""
    if op in _OVER_RUNS:
        return _OVER_RUNS[op](held.runs, held.column, kind)
    if op in _OPERATIONS:
        return _OPERATIONS[op](held, kind)
    if op == "quantile":
        return _doubles(_quantile(held, parameter[0]), kind, mask=held.runs.count == 0)
    if op == "approx_quantile":
        return _doubles(_approx_quantile(held, parameter[0]), kind, mask=held.runs.count == 0)
    if op == "histogram":
        return _histogram(held, parameter, kind)
    return _listed(held, op, int(parameter[0]), kind)


def over_map(held: Held, by: Column, op: str, parameter: tuple[float, ...], kind: pa.DataType) -> pa.Array:
    """Return a map from the values of ``by`` to the operation over their events, sorted by key.

    A key stands in the map when an event of it counts; without events the map is empty.
    """
    values = by.distinct
    groups = max(len(values), 1)
    group = held.visible.events.entity * groups + by.codes
    expansion = segments.expanded(group, held.runs)
    if not len(expansion.place):
        return pa.array([[]] * held.runs.size, kind)
    if op in _OVER_RUNS:
        items = _OVER_RUNS[op](expansion.runs, held.column, kind.item_type)
    else:
        items = aggregate(_split(held, group, expansion), op, parameter, kind.item_type)
    code = expansion.group % groups
    order = np.lexsort((code, expansion.place))
    offsets = np.searchsorted(expansion.place[order], np.arange(held.runs.size + 1))
    return pa.MapArray.from_arrays(
        pa.array(offsets, pa.int32()),
        values.take(pa.array(code[order])),
        items.take(pa.array(order)),
        type=kind,
    )


def _split(held: Held, group: Ints, expansion: segments.Expansion) -> Held:
    """Return what is held with each group in the place of an entity, and a probe for each group one sees."""
    visible = held.visible
    order = np.argsort(group, kind="stable")
    events = Events(group[order], visible.events.event[order], visible.events.known[order])
    probes = Probes(expansion.group, visible.probes.moment[expansion.place])
    column = None if held.column is None else Column(events, held.column.values.take(pa.array(order)))
    split = Visible(probes, events, visible.seen_after[order], visible.delay)
    return Held(split, column, ends=expansion.runs.end[order])


def ratio(held: Held, other: Held, op: str) -> pa.Array:
    """Return ``op`` over one window by ``op`` over the other, as doubles; null where that is 0 or null."""
    if held.column is not None and pa.types.is_decimal(held.column.values.type):
        doubles = Column(held.column.events, decimals.as_doubles(held.column.values))
        held, other = replace(held, column=doubles), replace(other, column=doubles)
    kind = pa.int64() if op == "count" or (op == "sum" and _is_whole(held.values)) else pa.float64()
    return divided(*(aggregate(one, op, (), kind) for one in (held, other)))


def divided(above: pa.Array, below: pa.Array) -> pa.Array:
    """Return one by the other as doubles; null where the divisor is 0 or null."""
    parts = [part.cast(pa.float64(), safe=False) for part in (above, below)]
    return pc.divide(parts[0], pc.if_else(pc.equal(parts[1], 0.0), pa.scalar(None, pa.float64()), parts[1]))


def of_numbers(runs: WindowRuns, numbers: Array, op: str, kind: pa.DataType) -> pa.Array:
    """Return ``sum``, ``mean``, ``min`` or ``max`` of numbers, one a run; null where a probe sees none."""
    none = runs.count == 0
    if op == "mean":
        return _doubles(moments.mean(runs, numbers), kind, mask=none)
    if op in {"min", "max"}:
        return _as_type(runs.extreme(numbers, smallest=op == "min"), kind, mask=none)
    total: Array = (
        runs.float_sum(numbers.astype(np.float64, copy=False)).high
        if numbers.dtype.kind == "f"
        else moments.integer_sum(runs, numbers)
    )
    return _doubles(total, kind, mask=none)


# --- operations over runs alone -------------------------------------------------------------------------


def _count(runs: WindowRuns, _: Column | None, kind: pa.DataType) -> pa.Array:
    return pa.array(runs.count, kind)


def _sum(runs: WindowRuns, column: Column | None, kind: pa.DataType) -> pa.Array:
    values = _given(column)
    if pa.types.is_decimal(kind):
        return decimals.decimal_sum(runs, values.values, kind)
    return of_numbers(runs, values.numbers, "sum", kind)


def _mean(runs: WindowRuns, column: Column | None, kind: pa.DataType) -> pa.Array:
    values = _given(column)
    if pa.types.is_decimal(kind):
        return decimals.decimal_mean(runs, values.values, kind)
    return of_numbers(runs, values.numbers, "mean", kind)


def _extreme(runs: WindowRuns, column: Column | None, kind: pa.DataType, *, smallest: bool) -> pa.Array:
    values = _given(column)
    if values.is_number:
        return of_numbers(runs, values.numbers, "min" if smallest else "max", kind)
    codes = runs.extreme(values.codes, smallest=smallest)
    return _taken(values.distinct, codes, kind, none=runs.count == 0)


def _variance(runs: WindowRuns, column: Column | None, kind: pa.DataType) -> pa.Array:
    return _doubles(moments.variance(runs, _given(column).numbers), kind, mask=runs.count < 2)


def _stddev(runs: WindowRuns, column: Column | None, kind: pa.DataType) -> pa.Array:
    return _doubles(np.sqrt(moments.variance(runs, _given(column).numbers)), kind, mask=runs.count < 2)


# --- operations that need the events themselves ---------------------------------------------------------


def _newest(held: Held, kind: pa.DataType) -> pa.Array:
    return _taken(held.values.values, held.newest, kind, none=held.newest < 0)


def _oldest(held: Held, kind: pa.DataType) -> pa.Array:
    oldest = held.oldest
    return _taken(held.values.values, oldest, kind, none=oldest < 0)


def _since(held: Held, event: Ints, kind: pa.DataType) -> pa.Array:
    """Seconds from an event to the moment asked about."""
    none = event < 0
    instants = held.visible.events.event[np.where(none, 0, event)] if len(held.visible.events) else event
    micros = held.visible.probes.moment.view(np.uint64) - instants.view(
        np.uint64
    )  # wraps to the true distance
    return _doubles(micros.astype(np.float64) / 1e6, kind, mask=none)


def _moment(held: Held, kind: pa.DataType, of: Callable[..., tuple[Floats, Bools]]) -> pa.Array:
    result, present = of(held.runs, held.values.numbers, held.values.medians)
    return _doubles(result, kind, mask=~present)


def _trend(held: Held, kind: pa.DataType) -> pa.Array:
    column = held.values
    slope, present = moments.trend(held.runs, column.numbers, column.events.event, column.middle_instants)
    return _doubles(slope, kind, mask=~present)


def _count_distinct(held: Held, kind: pa.DataType) -> pa.Array:
    return pa.array(held.segments.runs.count, kind)


def _approx_count_distinct(held: Held, kind: pa.DataType) -> pa.Array:
    found = held.segments.runs.count
    crowded = np.flatnonzero(found > sampling.SAMPLE)
    if len(crowded) == 0:
        return pa.array(found, kind)
    group, runs, _ = held.segments
    entity = group // held._codes
    some = np.isin(entity, held.visible.probes.entity[crowded])
    code = held.segment_codes[some]
    hashes = held.values.hashes[code]
    order = np.lexsort((hashes, entity[some]))
    rank = np.full(len(crowded), sampling.SAMPLE - 1)
    last = select(runs.only(some), entity[some], order, places=crowded, ranks=rank)
    estimates = found.copy()
    estimates[crowded] = sampling.distinct_estimate(hashes[last])
    return pa.array(estimates, kind)


def _entropy(held: Held, kind: pa.DataType) -> pa.Array:
    return _doubles(segments.entropy(held.segments, held.runs.count), kind, mask=held.runs.count == 0)


def _mode(held: Held, kind: pa.DataType) -> pa.Array:
    distinct = held.values.distinct
    code = segments.mode(held.segments, held.segment_codes, max(len(distinct), 1))
    return _taken(distinct, code, kind, none=held.runs.count == 0)


def _approx_quantile(held: Held, quantile: float) -> Floats:
    """Return the quantile of a sample of the events that each probe sees, of all where they are few."""
    crowded = held.runs.count > sampling.SAMPLE
    result = _quantile(held, quantile, among=~crowded)
    if not crowded.any():
        return result
    events, probes = held.visible.events, held.visible.probes
    some = held.only(np.isin(events.entity, probes.entity[crowded]))
    events = some.visible.events
    hashes = sampling.event_hashes(events.event, events.known, some.values.numbers.astype(np.float64))
    level = sampling.levels(hashes, lambda chosen: some.runs.only(chosen).count)
    for number in np.unique(level[crowded]).tolist():
        sample = some.only(sampling.is_at(hashes, number))
        result += _quantile(sample, quantile, among=crowded & (level == number))
    return result


def _quantile(held: Held, quantile: float, among: Bools | None = None) -> Floats:
    """Return the quantile, between two neighbouring values in proportion, as Spark's percentile does.

    Probes that are not ``among`` those asked get 0.
    """
    seen = np.flatnonzero(held.runs.count > 0 if among is None else among & (held.runs.count > 0))
    position = (held.runs.count[seen] - 1) * quantile
    lower, upper = np.floor(position), np.ceil(position)
    numbers = held.values.numbers.astype(np.float64)
    low, high = (
        numbers[
            select(
                held.runs,
                held.visible.events.entity,
                held.values.by_value,
                places=seen,
                ranks=rank.astype(np.int64),
            )
        ]
        for rank in (lower, upper)
    )
    between = low != high
    result = np.zeros(held.runs.size)
    result[seen] = low
    part = (upper - position)[between], (position - lower)[between]
    with np.errstate(invalid="ignore"):  # from -inf to inf there is nothing in between: NaN
        result[seen[between]] = part[0] * low[between] + part[1] * high[between]
    return result


def _histogram(held: Held, edges: tuple[float, ...], kind: pa.DataType) -> pa.Array:
    """Return how many values lie below the first edge, in each ``[edge, next)``, and from the last on."""
    bins = np.searchsorted(np.array(edges), held.values.numbers.astype(np.float64), side="right")
    counts = np.stack([held.runs.only(bins == number).count for number in range(len(edges) + 1)], axis=1)
    offsets = np.arange(held.runs.size + 1) * (len(edges) + 1)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(counts.ravel()), type=kind)


def _listed(held: Held, op: str, k: int, kind: pa.DataType) -> pa.Array:
    """Return the k first or last events by time or value, the wanted end first."""
    count = held.runs.count
    lengths = np.minimum(count, k)
    places = np.repeat(np.arange(held.runs.size), lengths)
    ranks = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    if op in {"last_k", "top_k"}:
        ranks = count[places] - 1 - ranks
    column, entity = held.values, held.visible.events.entity
    is_by_value = op in {"top_k", "bottom_k"}
    order = column.by_value if is_by_value else np.arange(len(entity))
    chosen = select(held.runs, entity, order, places=places, ranks=ranks)
    return pa.ListArray.from_arrays(
        pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32()),
        (column.comparable if is_by_value else column.values).take(pa.array(chosen)).cast(kind.value_type),
        type=kind,
        mask=pa.array(count == 0),
    )


# --- numpy to Arrow -------------------------------------------------------------------------------------


def _is_whole(column: Column) -> bool:
    return bool(pa.types.is_integer(column.values.type))


def _given(column: Column | None) -> Column:
    if column is None:
        raise RuntimeError("an operation over values was planned without an input column")
    return column


def _doubles(values: Array, kind: pa.DataType, *, mask: Bools) -> pa.Array:
    return pa.array(values, mask=mask).cast(kind)


def _as_type(values: Array, kind: pa.DataType, *, mask: Bools) -> pa.Array:
    if pa.types.is_timestamp(kind) or pa.types.is_date32(kind):
        width = pa.int64() if pa.types.is_timestamp(kind) else pa.int32()
        return pa.array(values, width, mask=mask).cast(kind)
    return _doubles(values, kind, mask=mask)


def _taken(values: pa.Array, index: Ints, kind: pa.DataType, *, none: Bools) -> pa.Array:
    return values.take(pa.array(index, mask=none)).cast(kind)


_OVER_RUNS: Final[Mapping[str, Callable[[WindowRuns, Column | None, pa.DataType], pa.Array]]] = (
    MappingProxyType(
        {
            "count": _count,
            "sum": _sum,
            "mean": _mean,
            "min": lambda runs, column, kind: _extreme(runs, column, kind, smallest=True),
            "max": lambda runs, column, kind: _extreme(runs, column, kind, smallest=False),
            "variance": _variance,
            "stddev": _stddev,
        }
    )
)
_OPERATIONS: Final[Mapping[str, Callable[[Held, pa.DataType], pa.Array]]] = MappingProxyType(
    {
        "first": _oldest,
        "last": _newest,
        "latest": _newest,
        "time_since_first": lambda held, kind: _since(held, held.oldest, kind),
        "time_since_last": lambda held, kind: _since(held, held.newest, kind),
        "skewness": lambda held, kind: _moment(held, kind, moments.skewness),
        "kurtosis": lambda held, kind: _moment(held, kind, moments.kurtosis),
        "trend": _trend,
        "count_distinct": _count_distinct,
        "approx_count_distinct": _approx_count_distinct,
        "entropy": _entropy,
        "mode": _mode,
    }
)
