"""Which features of hot entities tiles can serve on the way to slices, and how long these tiles are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from featurelib.point_in_time.features import EVENT_TS, KNOWN_TS, Feature, SourceTask
from featurelib.point_in_time.hot import Stream
from featurelib.point_in_time.inputs import row_bytes
from featurelib.point_in_time.placement import Instants, Parts
from featurelib.point_in_time.reach import longest_of
from featurelib.point_in_time.reductions import Reduction, Rest
from featurelib.point_in_time.tile_specs import kept_of, reaches_of, state_of, tile_task, tiling_of

_FEW: Final = frozenset(("first", "last", "top", "bottom"))
"""What tiles keep of single events in numbers that do not grow with the events."""
_MOST: Final = 100
_HOPS: Final = 8
"""Tiles in a slice: the events of one of them are read singly where a window begins."""


@dataclass(frozen=True)
class Reducible:
    """A source whose events can become tiles for slices.

    Attributes:
        task: all its features.
        source: the columns of its events, conditions included.
        keys: of the entity.
        served: the features that tiles answer.
        rest: the others.
    """

    task: SourceTask
    source: pa.Schema
    keys: tuple[str, ...]
    served: tuple[Feature, ...]
    rest: tuple[Feature, ...]

    @classmethod
    def of(cls, task: SourceTask, source: pa.Schema, keys: tuple[str, ...]) -> Reducible | None:
        """Return what can be reduced of a source; None for nothing, and where tiles are read anyway."""
        served = tuple(feature for feature in task.features if _is_served(feature, source))
        if task.tiling is not None or not served:
            return None
        rest = tuple(feature for feature in task.features if feature not in served)
        return cls(task, source, keys, served, rest)

    def streams(self, rows: int) -> tuple[Stream, ...]:
        """Return what goes to slices, tiles apart, for so many events."""
        streams = [Stream(self._parts(hop=1), rows * row_bytes(self.source))]
        if self.rest:
            columns = pa.schema([self.source.field(name) for name in self._rest_columns])
            streams.append(Stream(self._rest_instants, rows * row_bytes(columns)))
        return tuple(streams)

    def reduction(self, *, length: int, tag: int) -> Reduction:
        """Return how events are reduced for slices of that length; ``tag`` and the next one are free."""
        hop = max(1, length // _HOPS)
        tiles = tile_task(self.served, self.source, keys=self.keys, order=self.task.order, hop=hop)
        # Each slice puts its own range of moments in the place of this one.
        tiling = tiling_of(tiles, self.served, self.source, tag=tag, between=(0, 0))
        rest = None
        if self.rest:
            task = SourceTask(tag + 1, self.task.order, self.rest)
            rest = Rest(task, self._rest_columns, self._rest_instants)
        served = SourceTask(self.task.tag, self.task.order, self.served)
        return Reduction(tiles, tiling, served, self._parts(hop), rest)

    @property
    def _instants(self) -> tuple[str, ...]:
        return tuple(name for name in (EVENT_TS, KNOWN_TS) if name in self.source.names)

    def _parts(self, hop: int) -> Instants:
        reaches = tuple(dict.fromkeys(delay + window for delay, window in reaches_of(self.served)))
        delay = max(feature.delay for feature in self.served)
        return Instants(self._instants, longest_of(self.served), Parts(hop, delay, reaches))

    @property
    def _rest_instants(self) -> Instants:
        return Instants(self._instants, longest_of(self.rest))

    @property
    def _rest_columns(self) -> tuple[str, ...]:
        used = (column for feature in self.rest for column in feature.columns)
        return tuple(dict.fromkeys([*self.keys, *self._instants, *self.task.order, *used]))


def _is_served(feature: Feature, source: pa.Schema) -> bool:
    if state_of(feature, source) is not None:
        return True
    kept = kept_of(feature)
    return kept is not None and kept.end in _FEW and kept.k <= _MOST
