"""Equal values of one entity, put together: stretches of probes that see a value equally often.

Events fall into groups (an entity and a value). Within a group their runs are merged into segments of a
constant positive count, at most two an event. What asks for distinct values is then a question about
segments: how many cover a probe, the greatest count among them, a sum over their counts.

Runs inside Spark's Python workers: it imports numpy only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from featurelib.point_in_time.kernels import Floats, Ints, WindowRuns


class Segments(NamedTuple):
    """Runs of places that see one group ``counts`` times, sorted by group and place."""

    group: Ints
    runs: WindowRuns
    counts: Ints


def segments_of(group: Ints, runs: WindowRuns) -> Segments:
    """Return the segments of the groups, ``group`` being a number from 0 for each event."""
    seen = runs.start < runs.end
    group, start, end = group[seen], runs.start[seen], runs.end[seen]
    stride = runs.size + 1
    bounds = np.concatenate([group * stride + start, group * stride + end])
    change = np.ones(len(bounds), dtype=np.int64)
    change[len(start) :] = -1
    order = np.argsort(bounds, kind="stable")
    bounds = bounds[order]
    is_last = np.append(bounds[1:] != bounds[:-1], True)[: len(bounds)]
    bounds, count = bounds[is_last], np.cumsum(change[order])[is_last]
    covered = np.flatnonzero(count > 0)  # never the last bound of a group, where the count is 0 again
    return Segments(
        bounds[covered] // stride,
        WindowRuns(bounds[covered] % stride, bounds[covered + 1] % stride, runs.size),
        count[covered],
    )


def entropy(segments: Segments, seen: Ints) -> Floats:
    """Return the Shannon entropy of the values each place sees, in nats; arbitrary where it sees none.

    ``seen`` is the number of events at each place: ``ln n - sum(c ln c) / n`` over the counts ``c``.
    """
    counts = segments.counts.astype(np.float64)
    total = np.maximum(seen, 1).astype(np.float64)
    spread = np.log(total) - segments.runs.float_sum(counts * np.log(counts)).high / total
    return np.where(segments.runs.count == 1, 0.0, np.maximum(spread, 0.0))


def mode(segments: Segments, code: Ints, codes: int) -> Ints:
    """Return the code each place sees most often, the smallest of several; arbitrary where it sees none.

    ``code`` is the value of each segment, a number from 0 to ``codes`` (excluded).
    """
    strength = segments.counts * codes + (codes - 1 - code)
    return codes - 1 - segments.runs.extreme(strength, smallest=False) % codes


class Expansion(NamedTuple):
    """A place for each pair of a probe and a group it sees, sorted by group and probe."""

    place: Ints
    group: Ints
    runs: WindowRuns


def expanded(group: Ints, runs: WindowRuns) -> Expansion:
    """Return a place of its own for each group that a place sees, with every event's run over these.

    A run lies in one stretch of its group's places, for all places that see an event see its group.
    """
    segments = segments_of(group, runs)
    lengths = segments.runs.end - segments.runs.start
    inside = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    place = np.repeat(segments.runs.start, lengths) + inside
    of_group = np.repeat(segments.group, lengths)
    stride = runs.size + 1
    keys = of_group * stride + place
    start = np.searchsorted(keys, group * stride + runs.start)
    end = np.searchsorted(keys, group * stride + np.maximum(runs.start, runs.end))
    return Expansion(place, of_group, WindowRuns(start, end, len(place)))
