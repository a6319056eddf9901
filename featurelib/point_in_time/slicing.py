"""Which entities of a key get buckets of their own: those the caller named, else those found in a sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from featurelib.errors import FrameError
from featurelib.point_in_time.features import AS_OF
from featurelib.point_in_time.hot import (
    Found,
    Sampled,
    Sliced,
    Stream,
    cut_evenly,
    found_in,
    is_worth_reducing,
)
from featurelib.point_in_time.inputs import Scan
from featurelib.point_in_time.placement import HotEntity, Instants, even_cuts
from featurelib.point_in_time.samples import sample_of

ASKED: Final = Instants((AS_OF,), 0)
"""A row of the spine is wanted at its moment."""
_SAMPLE_ROWS: Final = 1_000_000
"""Rows read of all inputs together where the hot entities of a key are looked for."""


@dataclass(frozen=True)
class Hot:
    """Entities of one key with a large share of all rows, whose moments are cut into time slices.

    Attributes:
        key: the columns of an entity key.
        entities: the entities, each a value for every column.
        slices: number of slices, a bucket each: of as many sampled rows of the spine where it is a
            snapshot that tasks read, else of one length.
    """

    key: tuple[str, ...]
    entities: tuple[tuple[Any, ...], ...]
    slices: int = 8


class Weighed(NamedTuple):
    """An input of a shuffle, what says when its rows are wanted, its bytes in memory, None where unknown.

    ``reduced`` says the same of what goes to slices where tiles stand for most of its events.
    """

    scan: Scan
    instants: Instants
    memory: int | None
    reduced: tuple[Stream, ...] = ()


def named(hot: Hot, spine: Scan | None, sources: Sequence[Weighed], between: tuple[int, int] | None) -> Found:
    """Return the slices of entities that the caller named.

    Args:
        hot: the entities.
        spine: to be sampled for their moments, None for slices of one length.
        sources: the events.
        between: ``[first, last)`` of the spine's moments, None where unknown.

    Raises:
        FrameError: the spine's moments are not known.
    """
    rows = None if spine is None else sample_of(spine, (*hot.key, AS_OF), rows=_SAMPLE_ROWS)
    if rows is not None:
        sampled = Sampled(rows, ASKED, rows.num_rows)
        sliced = cut_evenly(hot.entities, sampled, hot.key, slices=hot.slices)
    elif between is not None:
        cuts, length = even_cuts(*between, hot.slices), (between[1] - between[0]) // hot.slices
        sliced = tuple(
            Sliced(HotEntity(entity, cuts), length=length if cuts else None) for entity in hot.entities
        )
    else:
        raise FrameError(
            f"hot entities of key {', '.join(hot.key)} cannot be cut into time slices",
            "the first and last moment of the spine",
            "give between=(first, last)",
        )
    reduced = (
        at
        for at, source in enumerate(sources)
        if any(is_worth_reducing(source.instants.reach, source.reduced, one.length) for one in sliced)
    )
    return Found(sliced, frozenset(reduced))


def found(
    keys: tuple[str, ...], spine: Weighed, sources: Sequence[Weighed], *, buckets: int, least: int
) -> Found:
    """Return the hot entities of a key; none where all inputs together are too small for one.

    Args:
        keys: the columns of the key.
        spine: the rows that ask, with room for all features.
        sources: the events.
        buckets: number of buckets that keys are hashed to.
        least: bytes below which an entity is never hot.
    """
    memory = sum(one.memory or 0 for one in (spine, *sources))
    if memory <= least:
        return Found()
    rows = _SAMPLE_ROWS // (1 + len(sources))
    asked = _sampled(spine, keys, rows)
    samples = [_sampled(source, keys, rows) for source in sources]
    known = [at for at, sample in enumerate(samples) if sample is not None]
    if asked is None and not known:
        return Found()
    events = [sample for sample in samples if sample is not None]
    hot = found_in(asked, events, keys, bucket=math.ceil(memory / buckets), least=least)
    return Found(hot.entities, frozenset(known[at] for at in hot.reduced))


def _sampled(one: Weighed, keys: tuple[str, ...], rows: int) -> Sampled | None:
    if one.memory is None:
        return None
    sample = sample_of(one.scan, (*keys, *one.instants.seen), rows=rows)
    return None if sample is None else Sampled(sample, one.instants, one.memory, one.reduced)
