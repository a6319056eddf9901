"""Feature views: what is computed of a source, and what each column is called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from featurelib import timeline
from featurelib.operations import (
    BY_ORDER,
    IN_RATIOS,
    OF_K,
    OF_QUANTILES,
    WITHOUT_INPUT,
    AggregationOp,
)
from featurelib.spec_types import Duration, Expression, Name, Spec, WindowText

__all__ = ["Aggregation", "FeatureDefinition", "FeatureView", "Latest", "feature_name"]

ByValue = str | int | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDefinition:
    """One feature column, spelt out.

    Attributes:
        name: the column.
        input: source column, None for operations about rows.
        op: the operation, as written.
        window: as written; None for ``latest``.
        parameter: what the operation takes: ``(k,)``, ``(quantile,)`` or the edges of a histogram.
        ratio_to: the window whose value this window's is divided by.
        where: expression that is true for the events that count.
        by: column that splits the events.
        by_value: text of the one value of ``by`` that counts; None with ``by`` means a map of all.
    """

    name: str
    input: str | None
    op: str
    window: str | None = None
    parameter: tuple[float, ...] = ()
    ratio_to: str | None = None
    where: str | None = None
    by: str | None = None
    by_value: str | None = None

    @property
    def is_map(self) -> bool:
        """Whether the feature is a map from the values of ``by``."""
        return self.by is not None and self.by_value is None

    @property
    def windows(self) -> tuple[timeline.Window, ...]:
        """The windows the feature looks through; none for ``latest``."""
        return tuple(timeline.Window.parse(text) for text in (self.window, self.ratio_to) if text is not None)

    @property
    def needs_order(self) -> bool:
        """Whether the answer depends on the order of events equal in both instants."""
        return self.op in BY_ORDER or any(window.rows is not None for window in self.windows)


class Aggregation(Spec):
    """Operations over the windows of one input column.

    Attributes:
        name: stands in the features' names in place of the input; required with ``where``.
        input: column of the source; absent only for operations about rows (``count``, ``time_since_...``).
        ops: the operations.
        windows: durations, ``lifetime``, or ``last 10`` for the ten newest visible events.
        where: the events that count, an expression over the source's columns; null counts as false. The
            newest events of ``last 10`` are the newest of these.
        by: column that splits the events of each window.
        values: values of ``by``, a feature each; absent, one feature that is a map of all values.
        k: length of ``first_k``, ``last_k``, ``top_k`` and ``bottom_k``.
        quantiles: of ``quantile`` and ``approx_quantile``, each from 0 to 1.
        edges: of ``histogram``, rising: n edges part the numbers into n + 1 bins.
        ratio_to: a window: each feature is its window's value divided by this one's.
    """

    name: Name | None = None
    input: Name | None = None
    ops: Annotated[tuple[AggregationOp, ...], Field(min_length=1)]
    windows: Annotated[tuple[WindowText, ...], Field(min_length=1)]
    where: Expression | None = None
    by: Name | None = None
    values: tuple[ByValue, ...] = ()
    k: Annotated[int, Field(ge=1)] | None = None
    quantiles: tuple[Annotated[float, Field(ge=0, le=1)], ...] = ()
    edges: tuple[Annotated[float, Field(allow_inf_nan=False)], ...] = ()
    ratio_to: WindowText | None = None
    description: str = ""

    @model_validator(mode="after")
    def _input_where_needed(self) -> Self:
        if self.input is None and not set(self.ops) <= WITHOUT_INPUT:
            raise ValueError(f"ops {list(self.ops)} need an input; only count counts rows without one")
        if self.where is not None and self.name is None:
            raise ValueError("'where' needs a name, which stands in the features' names for the input")
        for what, items in (("op", self.ops), ("window", self.windows), ("value", self.values)):
            twice = sorted({str(item) for item in items if items.count(item) > 1})
            if twice:
                raise ValueError(f"{what} given twice: {', '.join(twice)}")
        return self

    @model_validator(mode="after")
    def _parameters_where_used(self) -> Self:
        for field, value, takers in (
            ("k", self.k, OF_K),
            ("quantiles", self.quantiles, OF_QUANTILES),
            ("edges", self.edges, {"histogram"}),
        ):
            asking = sorted(takers & set(self.ops))
            if asking and not value:
                raise ValueError(f"{asking[0]!r} needs {field}")
            if value and not asking:
                raise ValueError(f"{field!r} is used by {', '.join(sorted(takers))} only")
        if any(low >= high for low, high in pairwise(self.edges)):
            raise ValueError(f"'edges' must rise, got {list(self.edges)}")
        return self

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.values and self.by is None:
            raise ValueError("'values' needs by, the column they are values of")
        is_map = self.by is not None and not self.values
        if self.ratio_to is None:
            return self
        odd = [op for op in self.ops if op not in IN_RATIOS]
        if odd or is_map:
            raise ValueError(f"{(odd or self.ops)[0]!r} has no ratio; count, sum and mean have one, maps not")
        if self.ratio_to in self.windows:
            raise ValueError(f"window {self.ratio_to!r} divided by itself")
        return self

    def definitions(self, view: str) -> Iterator[FeatureDefinition]:
        """Yield the aggregation's features in column order."""
        over = "" if self.ratio_to is None else f"_over_{_in_name(self.ratio_to)}"
        values: list[str | None] = [
            str(value).lower() if isinstance(value, bool) else str(value) for value in self.values
        ]
        for op, parameter in self._calls():
            for window in self.windows:
                name = feature_name(
                    view, self.name or self.input or "", _op_name(op, parameter), f"{_in_name(window)}{over}"
                )
                for by_value in values or [None]:
                    yield FeatureDefinition(
                        name=name if self.by is None else _by_name(name, self.by, by_value),
                        input=self.input,
                        op=op,
                        window=window,
                        parameter=parameter,
                        ratio_to=self.ratio_to,
                        where=self.where,
                        by=self.by,
                        by_value=by_value,
                    )

    def _calls(self) -> Iterator[tuple[str, tuple[float, ...]]]:
        for op in self.ops:
            if op in OF_QUANTILES:
                yield from ((op, (quantile,)) for quantile in self.quantiles)
            elif op == "histogram":
                yield op, self.edges
            else:
                yield op, (self.k,) if op in OF_K and self.k is not None else ()


class Latest(Spec):
    """The newest visible row of a slowly changing source, whole: its columns come from one row.

    A row older than ``max_age`` (``event_ts < as_of_ts - max_age``) counts as absent.
    """

    inputs: Annotated[tuple[Name, ...], Field(min_length=1)]
    max_age: Duration | None = None
    description: str = ""


class FeatureView(Spec):
    """Features of one entity from one source: aggregations over windows, or the latest facts.

    Attributes:
        name: prefix of every feature of the view.
        entity_key: columns, present in spine and source under the same names and types.
        source: name of the source.
        aggregations: what to compute over windows.
        latest: what to take from the newest row.
        delay: windows end this much before the moment asked about: events are visible from
            ``event_ts + delay`` on, and a window ``w`` reaches back to ``as_of_ts - delay - w``.
        boundary: whether an event that happened (``delay`` ago) or was known at the very moment asked about
            is visible; ``exclusive`` says no.
    """

    name: Name
    entity_key: Annotated[tuple[Name, ...], Field(min_length=1)]
    source: Name
    aggregations: tuple[Aggregation, ...] = ()
    latest: Latest | None = None
    delay: Duration | None = None
    boundary: Literal["exclusive", "inclusive"] = "exclusive"
    owner: str = ""
    description: str = ""

    @model_validator(mode="after")
    def _has_distinct_features(self) -> Self:
        names = self.feature_names
        if not names:
            raise ValueError(f"view {self.name!r} computes nothing: give aggregations or latest")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"feature defined twice: {', '.join(twice)}")
        max_age = None if self.latest is None else self.latest.max_age
        if max_age is not None and timeline.duration_micros(max_age) <= self.delay_micros:
            raise ValueError(f"max_age {max_age!r} is not longer than the delay; no row could be seen")
        return self

    def features(self) -> Iterator[FeatureDefinition]:
        """Yield the view's features in column order; ``latest`` has no window."""
        for aggregation in self.aggregations:
            yield from aggregation.definitions(self.name)
        if self.latest is not None:
            for column in self.latest.inputs:
                name = feature_name(self.name, column, "latest")
                yield FeatureDefinition(name=name, input=column, op="latest")

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The view's feature columns, in order."""
        return tuple(feature.name for feature in self.features())

    @property
    def inputs(self) -> tuple[str, ...]:
        """The source columns the view aggregates, splits by or takes, each once, in order of first use."""
        return _each_once(column for feature in self.features() for column in (feature.input, feature.by))

    @property
    def conditions(self) -> tuple[str, ...]:
        """The ``where`` expressions of the view, each once, in order of first use."""
        return _each_once(feature.where for feature in self.features())

    @property
    def delay_micros(self) -> int:
        """The delay in microseconds, 0 for none."""
        return 0 if self.delay is None else timeline.duration_micros(self.delay)


def feature_name(view: str, name: str, op: str, window: str | None = None) -> str:
    """Return the derived column name, as ``origin_delays__dep_delay_mean_6h``."""
    parts = [part for part in (name, op, window) if part]
    return f"{view}__{'_'.join(parts)}"


def _op_name(op: str, parameter: tuple[float, ...]) -> str:
    """Return the operation as names spell it: ``last3``, ``p90``, ``approx_p99_9``."""
    if op in OF_K:
        return f"{op.removesuffix('_k')}{parameter[0]:g}"
    if op in OF_QUANTILES:
        percent = f"{round(parameter[0] * 100, 10):g}".replace(".", "_").replace("-", "_")
        return f"{op.removesuffix('quantile')}p{percent}"
    return op


def _in_name(window: str) -> str:
    return window.replace(" ", "")


def _by_name(name: str, by: str, value: str | None) -> str:
    if value is None:
        return f"{name}_by_{by}"
    plain = re.sub(r"[^a-z0-9]+", "_", value.lower()).strip("_") or "blank"
    return f"{name}_by_{by}_{plain}"


def _each_once(texts: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in texts if text is not None))
