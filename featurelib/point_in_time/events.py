"""Tables become entities, moments and events: numbers that kernels work on.

Runs inside Spark's Python workers: it imports pyarrow, numpy and polars only.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa

from featurelib.point_in_time.columns import is_valid
from featurelib.point_in_time.features import AS_OF, EVENT_TS, KNOWN_TS
from featurelib.point_in_time.kernels import Events, Ints
from featurelib.point_in_time.ordering import in_order

_ENTITY: Final = "__entity"


def entities_of(spine: pa.Table, keys: Sequence[str]) -> tuple[pl.DataFrame, Ints]:
    """Number the distinct entities that something is asked about; rows that ask nothing get -1.

    A row with a null moment, or a null in its key, asks nothing.
    """
    rows = pl.DataFrame(pl.from_arrow(spine.select(list(keys))))
    asks = pl.Series(is_valid(spine.column(AS_OF)))
    distinct = rows.filter(asks).drop_nulls().unique(maintain_order=True)
    entities = distinct.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias(_ENTITY))
    return entities, np.where(asks.to_numpy(), numbers_of(spine, entities, keys), -1)


def numbers_of(table: pa.Table, entities: pl.DataFrame, keys: Sequence[str]) -> Ints:
    """Return the number of each row's entity, -1 for one that has none."""
    rows = pl.DataFrame(pl.from_arrow(table.select(list(keys))))
    numbered = rows.join(entities, on=list(keys), how="left", maintain_order="left")
    return numbered[_ENTITY].fill_null(-1).to_numpy()


def events_of(
    table: pa.Table, number: Ints, *, apart: Collection[str], order: Sequence[str]
) -> tuple[Events, Ints]:
    """Return events in total order, and the row of the table that each is.

    Events without an instant, and those of no entity, belong to nobody and are left out. Without ``known_ts``
    an event is known as soon as it happened.

    Args:
        table: rows with ``event_ts`` and, where it differs, ``known_ts``.
        number: the entity of each row, -1 for none.
        apart: columns that rows of one entity agree in, which order nothing.
        order: columns that order events equal in both instants.
    """
    dated = [column for column in (EVENT_TS, KNOWN_TS) if column in table.column_names]
    theirs = number >= 0
    for column in dated:
        theirs &= is_valid(table.column(column))
    rows = np.flatnonzero(theirs)
    instants = [ints_of(table.column(column))[rows] for column in dated]
    tied = [column for column in dict.fromkeys([*dated[1:], *order]) if column not in {*apart, EVENT_TS}]

    def ties(chosen: Ints) -> pl.DataFrame:
        return pl.DataFrame(pl.from_arrow(table.select(tied).take(pa.array(rows[chosen]))))

    in_line = in_order(number[rows], instants[0], ties if tied else None)
    event = instants[0][in_line]
    known = event if len(dated) == 1 else instants[1][in_line]
    return Events(number[rows][in_line], event, known), rows[in_line]


def ints_of(column: pa.ChunkedArray) -> Ints:
    """Return instants as microseconds since 1970, 0 where there is none."""
    whole = column.cast(pa.int64()).fill_null(0).to_numpy()
    return np.asarray(whole, dtype=np.int64)
