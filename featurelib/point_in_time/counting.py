"""The features of one source over the events that count for each: by visibility, condition, input and window.

Runs inside Spark's Python workers: it imports pyarrow, numpy and polars only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from featurelib.operations import GIVES_LONG
from featurelib.point_in_time.aggregates import Held, aggregate, over_map, ratio
from featurelib.point_in_time.columns import Column, present
from featurelib.point_in_time.features import Feature
from featurelib.point_in_time.kernels import Bools, Events, Probes, Visible
from featurelib.point_in_time.selection import ends_among_newest


def source_columns(
    probes: Probes, events: Events, values: pa.Table, features: Sequence[Feature]
) -> dict[str, pa.Array]:
    """Return features of one source in probe order."""
    if len(events) == 0 or len(probes) == 0:
        return {feature.name: _nothing_seen(feature, len(probes)) for feature in features}
    columns: dict[str, pa.Array] = {}
    for (delay, is_inclusive), sighted in _grouped(features, "delay", "is_inclusive"):
        visible = Visible.of(probes, events, delay=delay, is_inclusive=is_inclusive)
        for (where,), counted in _grouped(sighted, "where"):
            counting = _Counting(visible, values) if where is None else _Counting.only(visible, values, where)
            columns.update(counting.features(counted))
    return {feature.name: columns[feature.name] for feature in features}


def _grouped(features: Iterable[Feature], *fields: str) -> list[tuple[tuple[Any, ...], list[Feature]]]:
    """Return the features that agree in some fields, by these."""
    grouped: dict[tuple[Any, ...], list[Feature]] = {}
    for feature in features:
        grouped.setdefault(tuple(getattr(feature, field) for field in fields), []).append(feature)
    return list(grouped.items())


@dataclass(frozen=True)
class _Counting:
    """The events that count for a ``where``, and their columns."""

    visible: Visible
    values: pa.Table

    @classmethod
    def only(cls, visible: Visible, values: pa.Table, where: str) -> _Counting:
        chosen = values.column(where).fill_null(False)  # noqa: FBT003 - a value, no flag
        return cls(visible.only(_bools(chosen)), values.filter(chosen))

    def features(self, features: Sequence[Feature]) -> dict[str, pa.Array]:
        """Return the features in probe order."""
        rows = {window.rows for feature in features for window in feature.windows if window.rows is not None}
        ends = {number: ends_among_newest(self.visible, number) for number in rows}
        columns: dict[str, pa.Array] = {}
        for (column, by, by_value, is_whole), alike in _grouped_inputs(features):
            chosen = np.ones(len(self.visible.events), dtype=bool) if is_whole else self._present(column)
            if by is not None:
                chosen &= self._present(by) if by_value is None else self._equal(by, by_value)
            visible = self.visible.only(chosen)
            values = None if column is None else self._column(column, visible, chosen)
            key = None if by is None or by_value is not None else self._text(by, visible, chosen)
            for (windows,), group in _grouped(alike, "windows"):
                held = [
                    Held(
                        visible,
                        values,
                        window.micros,
                        None if window.rows is None else ends[window.rows][chosen],
                    )
                    for window in windows
                ]
                columns.update({feature.name: _feature(held, key, feature) for feature in group})
        return columns

    def _present(self, column: str | None) -> Bools:
        if column is None:
            return np.ones(len(self.visible.events), dtype=bool)
        return present(self.values.column(column))

    def _equal(self, by: str, value: str) -> Bools:
        return _bools(pc.equal(_texts(self.values.column(by)), value).fill_null(False))  # noqa: FBT003 - a value

    def _column(self, name: str, visible: Visible, chosen: Bools) -> Column:
        values = self.values.column(name)
        return Column(visible.events, (values if chosen.all() else values.filter(chosen)).combine_chunks())

    def _text(self, by: str, visible: Visible, chosen: Bools) -> Column:
        return Column(visible.events, _texts(self.values.column(by)).filter(chosen).combine_chunks())


def _grouped_inputs(
    features: Iterable[Feature],
) -> list[tuple[tuple[str | None, str | None, str | None, bool], list[Feature]]]:
    """Group by what decides which events count; ``latest`` takes rows whole, whatever is null in them."""
    grouped: dict[tuple[str | None, str | None, str | None, bool], list[Feature]] = {}
    for feature in features:
        key = (feature.input, feature.by, feature.by_value, feature.op == "latest")
        grouped.setdefault(key, []).append(feature)
    return list(grouped.items())


def _feature(held: Sequence[Held], key: Column | None, feature: Feature) -> pa.Array:
    if key is not None:
        return over_map(held[0], key, feature.op, feature.parameter, feature.type)
    if len(held) == 1:
        return aggregate(held[0], feature.op, feature.parameter, feature.type)
    return ratio(held[0], held[1], feature.op)


def _nothing_seen(feature: Feature, rows: int) -> pa.Array:
    """Return what a window without events gives: 0 for counts, zeros, an empty map, else null."""
    kind = feature.type
    if pa.types.is_map(kind):
        return pa.array([[]] * rows, kind)
    if feature.op == "histogram":
        return pa.array([[0] * (len(feature.parameter) + 1)] * rows, kind)
    if feature.op in GIVES_LONG and len(feature.windows) == 1:
        return pa.array(np.zeros(rows, np.int64), kind)
    return pa.nulls(rows, kind)


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string())


def _bools(column: pa.ChunkedArray) -> Bools:
    return np.asarray(column.to_numpy(), dtype=bool)
