"""Samples that follow from the events themselves: what approximate operations are computed from.

Every value, or event, has a fixed hash, as good as drawn by chance. A sample is all of those seen whose hash
is below a threshold that depends on the seen ones alone, so it is the same whoever collects it, in whatever
order and pieces: by all plans, from events and from tiles. What is kept of a tile holds the sample of every
set that holds the tile.

* Distinct values: with more than :data:`SAMPLE` of them, their number follows from the :data:`SAMPLE`-th
  smallest hash (k minimum values: Bar-Yossef et al., 2002; the estimator is that of Beyer et al., 2007). Of a
  tile one more than that are kept, those with the smallest hashes.
* Events: level ``l`` is all with a hash below ``2**(64 - l)``. A sample is the highest level that still has
  :data:`SAMPLE` events (Gibbons and Tirthapura, 2001), level 0 where there are fewer. A set's level is never
  lower than that of a part of it, so it is enough to keep of a tile its own level. Events alike in both
  instants and their value have one hash: they are drawn together, and none is lost.

Runs inside Spark's Python workers: it imports pyarrow and numpy only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from featurelib.point_in_time.decimals import halves
from featurelib.point_in_time.kernels import Bools, Floats, Ints

SAMPLE: Final = 4096
"""Up to so many values or events, approximate operations are exact."""
LEVELS: Final = 64
Hashes: TypeAlias = npt.NDArray[np.uint64]

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_FIRST: Final = np.uint64(0xBF58476D1CE4E5B9)
_SECOND: Final = np.uint64(0x94D049BB133111EB)


def value_hashes(values: pa.Array) -> Hashes:
    """Return a hash for each value, none of them null or NaN: the same on every machine and for ever.

    Whole numbers, truth values, instants and dates are hashed as 64-bit integers, floats as doubles (-0.0 as
    0.0), decimals by their digits at the column's scale, texts (UTF-8) and bytes by their length and then
    eight bytes after eight.
    """
    kind = values.type
    if pa.types.is_decimal(kind):
        low, high = halves(values)
        return _mixed(_mixed(low.view(np.uint64)) ^ high.view(np.uint64))
    if pa.types.is_floating(kind):
        return _mixed(_bits(values.cast(pa.float64()).to_numpy()))
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        return _mixed(values.cast(pa.int64(), safe=False).to_numpy().view(np.uint64))
    if pa.types.is_temporal(kind):
        width = pa.int32() if pa.types.is_date32(kind) else pa.int64()
        return _mixed(values.cast(width).cast(pa.int64()).to_numpy().view(np.uint64))
    return _of_bytes(values.cast(pa.large_binary()))


def event_hashes(event: Ints, known: Ints, values: Floats) -> Hashes:
    """Return a hash for each event by its two instants and its value."""
    of_event = _mixed(event.view(np.uint64))
    return _mixed(_mixed(of_event ^ known.view(np.uint64)) ^ _bits(values))


def is_at(hashes: Hashes, level: int) -> Bools:
    """Whether each hash is at a level from 0 to 64; of those at one, half are at the next."""
    return (hashes >> np.uint64(LEVELS - level)) == 0 if level else np.ones(len(hashes), dtype=bool)


def levels(hashes: Hashes, counted: Callable[[Bools], Ints]) -> Ints:
    """Return the highest level at which there are still :data:`SAMPLE` events, for each place; else 0.

    Args:
        hashes: of the events.
        counted: how many of the chosen events each place sees.
    """
    level = np.zeros_like(counted(is_at(hashes, 0)))
    for number in range(1, LEVELS + 1):
        is_full = counted(is_at(hashes, number)) >= SAMPLE
        if not is_full.any():
            break
        level[is_full] = number
    return level


def distinct_estimate(smallest: Hashes) -> Ints:
    """Return how many distinct values there are, by the :data:`SAMPLE`-th smallest of their hashes."""
    share = (smallest.astype(np.float64) + 1.0) / 2.0**LEVELS
    return np.rint(np.minimum((SAMPLE - 1) / share, 2.0**62)).astype(np.int64)


def _of_bytes(values: pa.Array) -> Hashes:
    _, offsets, content = values.buffers()
    bounds = np.frombuffer(offsets, "<i8")[values.offset : values.offset + len(values) + 1]
    characters = np.frombuffer(content or b"", np.uint8)
    lengths = np.diff(bounds)
    hashes = _mixed(lengths.view(np.uint64))
    for begin in range(0, int(lengths.max(initial=0)), 8):
        longer = np.flatnonzero(lengths > begin)
        at = (bounds[longer] + begin)[:, None] + np.arange(8)
        inside = at < bounds[longer + 1][:, None]
        word = np.where(inside, characters[np.where(inside, at, 0)], np.uint8(0)).view("<u8")[:, 0]
        hashes[longer] = _mixed(hashes[longer] ^ word)
    return hashes


def _bits(values: npt.NDArray[np.floating]) -> Hashes:
    return (values.astype(np.float64) + 0.0).view(np.uint64)


def _mixed(bits: Hashes) -> Hashes:
    """Return the finaliser of splitmix64 (Steele, Lea, Flood, 2014) of each number."""
    bits = bits + _GOLDEN
    bits = (bits ^ (bits >> np.uint64(30))) * _FIRST
    bits = (bits ^ (bits >> np.uint64(27))) * _SECOND
    return bits ^ (bits >> np.uint64(31))
