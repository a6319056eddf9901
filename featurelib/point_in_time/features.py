"""What is computed, as plain values that executors need no specs for.

Runs inside Spark's Python workers: it imports pyarrow only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import pyarrow as pa

from featurelib.timeline import Window

if TYPE_CHECKING:
    from featurelib.point_in_time.tiled import Tiling

AS_OF: Final = "as_of_ts"
EVENT_TS: Final = "event_ts"
KNOWN_TS: Final = "known_ts"


class Feature(NamedTuple):
    """A column to compute.

    Attributes:
        name: the column.
        input: source column, None for operations about rows.
        op: the operation.
        windows: the window, and a second one whose value the first one's is divided by.
        type: the column's type.
        parameter: what the operation takes: ``(k,)``, ``(quantile,)`` or the edges of a histogram.
        where: boolean column, true for the events that count.
        by: column that splits the events.
        by_value: text of the one value of ``by`` that counts; None with ``by`` means a map of all.
        delay: microseconds by which windows end before the moment.
        is_inclusive: whether an event at the very moment is visible.
    """

    name: str
    input: str | None
    op: str
    windows: tuple[Window, ...]
    type: pa.DataType
    parameter: tuple[float, ...] = ()
    where: str | None = None
    by: str | None = None
    by_value: str | None = None
    delay: int = 0
    is_inclusive: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of events that it needs."""
        return tuple(column for column in (self.input, self.where, self.by) if column)


@dataclass(frozen=True)
class SourceTask:
    """The features of one source in one pass over one entity key.

    Attributes:
        tag: number of the source among the inputs of the shuffle.
        order: columns that order events equal in both instants.
        features: what to compute, in output order.
        tiling: how tiles stand for most of its events; None without tiles.
    """

    tag: int
    order: tuple[str, ...]
    features: tuple[Feature, ...]
    tiling: Tiling | None = None


@dataclass(frozen=True)
class KeyTask:
    """One shuffle: an entity key and the sources whose views share it."""

    keys: tuple[str, ...]
    sources: tuple[SourceTask, ...]
