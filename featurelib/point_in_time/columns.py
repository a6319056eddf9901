"""One input column of the events that count: its values as numbers, as codes of equal values, and in order.

Runs inside Spark's Python workers: it imports pyarrow and numpy only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from featurelib.point_in_time.decimals import as_doubles
from featurelib.point_in_time.kernels import Array, Bools, Events, Ints
from featurelib.point_in_time.moments import LARGEST
from featurelib.point_in_time.sampling import Hashes, value_hashes


@dataclass(frozen=True)
class Column:
    """Values of events, none of them null or NaN, in the events' total order.

    Attributes:
        events: the events.
        values: one an event.
    """

    events: Events
    values: pa.Array

    @cached_property
    def is_number(self) -> bool:
        """Whether numpy holds the values as numbers: numbers, instants and dates, but not decimals."""
        kind = self.values.type
        return bool(
            pa.types.is_integer(kind)
            or pa.types.is_floating(kind)
            or pa.types.is_timestamp(kind)
            or pa.types.is_date32(kind)
        )

    @cached_property
    def numbers(self) -> Array:
        """The values as numpy numbers: instants and dates as integers, decimals as doubles, -0.0 as 0.0."""
        kind = self.values.type
        if pa.types.is_timestamp(kind):
            return _plain(self.values.cast(pa.int64()))
        if pa.types.is_date32(kind):
            return _plain(self.values.cast(pa.int32()))
        if pa.types.is_decimal(kind):
            return _plain(as_doubles(self.values))
        numbers = _plain(self.values)
        return np.add(numbers, numbers.dtype.type(0)) if numbers.dtype.kind == "f" else numbers

    @cached_property
    def codes(self) -> Ints:
        """The place of each value among the distinct values, sorted; -0.0 is 0.0."""
        return self._encoded[0]

    @property
    def distinct(self) -> pa.Array:
        """The distinct values, sorted; texts by their bytes."""
        return self._encoded[1]

    @cached_property
    def hashes(self) -> Hashes:
        """A hash for each distinct value, in their order."""
        return value_hashes(self.distinct)

    @cached_property
    def comparable(self) -> pa.Array:
        """The values, those that compare as equal written alike: -0.0 as 0.0."""
        kind = self.values.type
        return pa.array(self.numbers, kind) if pa.types.is_floating(kind) else self.values

    @cached_property
    def _encoded(self) -> tuple[Ints, pa.Array]:
        encoded = self.comparable.dictionary_encode()
        order = pc.sort_indices(encoded.dictionary).to_numpy()
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order))
        return place[encoded.indices.to_numpy()], encoded.dictionary.take(pa.array(order))

    @cached_property
    def by_value(self) -> Ints:
        """The events ordered by entity and value; equal values in total order."""
        return np.lexsort((self.numbers if self.is_number else self.codes, self.events.entity))

    @cached_property
    def medians(self) -> Array:
        """A middle one of the values below 1e64 of each event's entity, as a number; 0 without any."""
        fits = np.abs(self.numbers.astype(np.float64)) < LARGEST
        if fits.all():
            return self.numbers[self.by_value[self._middle]]
        entity = self.events.entity
        before = np.concatenate([[0], np.cumsum(fits)])
        start = np.searchsorted(entity, entity)
        fitting = before[np.searchsorted(entity, entity, side="right")] - before[start]
        order = np.lexsort((self.numbers, ~fits, entity))
        middle: Array = self.numbers[order[start + np.maximum(fitting - 1, 0) // 2]]
        middle[fitting == 0] = 0
        return middle

    @cached_property
    def middle_instants(self) -> Ints:
        """The instant of a middle event of each event's entity."""
        return self.events.event[self._middle]

    @cached_property
    def _middle(self) -> Ints:
        entity = self.events.entity
        return (np.searchsorted(entity, entity) + np.searchsorted(entity, entity, side="right") - 1) // 2


def _plain(values: pa.Array) -> Array:
    plain: Array = values.to_numpy(zero_copy_only=False)
    return plain


def present(values: pa.ChunkedArray) -> Bools:
    """True where there is a value; NaN is none."""
    valid = is_valid(values)
    if pa.types.is_floating(values.type):
        valid &= ~np.isnan(values.fill_null(0.0).to_numpy())
    return valid


def is_valid(values: pa.ChunkedArray) -> Bools:
    """True where a value is not null."""
    valid: Bools = np.array(pc.is_valid(values).to_numpy(zero_copy_only=False), dtype=bool)
    return valid
