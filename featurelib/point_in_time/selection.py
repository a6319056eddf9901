"""The j-th of the events that a probe sees, in any order of events: ranked lists, medians and quantiles.

The events are kept twice, sorted by where their runs start and by where they end. Those a place sees are a
prefix of the first sequence without a prefix of the second. Both are split by the bits of the events' ranks,
from the highest down, as in a wavelet matrix (Claude, Navarro, Ordonez, 2015): at each bit, the number of
seen events with a zero is a difference of two counts, which says where the j-th goes on. All questions are
answered at once, in one pass for each bit.

Runs inside Spark's Python workers: it imports numpy only.
"""

from __future__ import annotations

import numpy as np

from featurelib.point_in_time.kernels import Ints, Visible, WindowRuns


def select(runs: WindowRuns, entity: Ints, order: Ints, *, places: Ints, ranks: Ints) -> Ints:
    """Return, for each question, the event that stands at a rank among those whose runs cover a place.

    Args:
        runs: of every event; those of one entity cover places that no other entity's do.
        entity: of every event, rising.
        order: the events in the order that ranks them, entity by entity.
        places: of each question.
        ranks: of each question, from 0; less than the number of events that cover the place.
    """
    first = np.searchsorted(entity, entity)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    local = rank - first
    by_start, by_end = (
        local[np.argsort(runs.start, kind="stable")],
        local[np.argsort(runs.end, kind="stable")],
    )
    started, ended = _up_to(runs.start, runs.size)[places], _up_to(runs.end, runs.size)[places]
    wanted, found = ranks.copy(), np.zeros(len(ranks), dtype=np.int64)
    for bit in range(int(local.max(initial=0)).bit_length() - 1, -1, -1):
        by_start, started_zeros, zeros = _split(by_start, bit)
        by_end, ended_zeros, _ = _split(by_end, bit)
        low_started, low_ended = started_zeros[started], ended_zeros[ended]
        low = low_started - low_ended
        is_high = wanted >= low
        wanted -= np.where(is_high, low, 0)
        found += is_high.astype(np.int64) << bit
        started = np.where(is_high, zeros + started - low_started, low_started)
        ended = np.where(is_high, zeros + ended - low_ended, low_ended)
    chosen: Ints = order[_first_seen(runs, first)[places] + found]
    return chosen


def ends_among_newest(visible: Visible, rows: int) -> Ints:
    """Return where the run of each event ends when only the ``rows`` newest visible events count.

    An event leaves once that many later ones are visible: at the ``rows``-th smallest of their starts. The
    number of visible later events only grows, so what is left is still one run.
    """
    start, entity = visible.start, visible.events.entity
    index = np.arange(len(start))
    behind = np.searchsorted(entity, entity, side="right")
    end = visible.probes.end_of(entity)
    leaving = index + rows < behind
    if (start[1:] >= start[:-1]).all():
        end[leaving] = start[index[leaving] + rows]
        return np.maximum(start, end)
    later = WindowRuns(np.searchsorted(entity, entity), index, len(start))
    order = np.lexsort((start, entity))
    asked = index[leaving]
    last = select(later, entity, order, places=asked, ranks=np.full(len(asked), rows - 1))
    end[leaving] = start[last]
    return np.maximum(start, end)


def _up_to(bounds: Ints, size: int) -> Ints:
    """Return how many bounds lie at or before each place."""
    return np.cumsum(np.bincount(bounds, minlength=size + 1))


def _split(sequence: Ints, bit: int) -> tuple[Ints, Ints, int]:
    """Return the sequence with its zeros first, the zeros before each position, and their number."""
    is_one = ((sequence >> bit) & 1).astype(bool)
    zeros = np.zeros(len(sequence) + 1, dtype=np.int64)
    np.cumsum(~is_one, out=zeros[1:])
    return np.concatenate([sequence[~is_one], sequence[is_one]]), zeros, int(zeros[-1])


def _first_seen(runs: WindowRuns, first: Ints) -> Ints:
    """Return, for each place that is covered, the first event of the entity whose runs cover it."""
    seen = np.zeros(runs.size + 1, dtype=np.int64)
    np.maximum.at(seen, runs.start, first)
    return np.maximum.accumulate(seen)
