"""Views become tasks: plain values that executors can compute without specs or Spark."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pyspark.sql import types as T
from pyspark.sql.pandas.types import to_arrow_schema

from featurelib.point_in_time.features import Feature, SourceTask
from featurelib.point_in_time.outputs import output_type
from featurelib.specs import FeatureView
from featurelib.timeline import Window, duration_micros

CONDITION: Final = "__where_"
"""How the names of columns begin that a view's ``where`` becomes."""


def features_to_compute(views: Sequence[FeatureView], schema: T.StructType) -> tuple[Feature, ...]:
    """Return what kernels compute for views over a source of schema ``schema``, in column order."""
    conditions = condition_columns(views)
    return tuple(feature for view in views for feature in _features(view, schema, conditions))


def source_task(
    tag: int, views: Sequence[FeatureView], schema: T.StructType, order: tuple[str, ...]
) -> SourceTask:
    """Return the features of the views of one source, in column order.

    Args:
        tag: number of the source among the inputs.
        views: views of that source and of one entity key.
        schema: the source's columns.
        order: see :func:`order_of`.
    """
    return SourceTask(tag, order, features_to_compute(views, schema))


def feature_fields(view: FeatureView, schema: T.StructType) -> list[T.StructField]:
    """Return the columns of a view over a source of schema ``schema``, in order."""
    return [T.StructField(feature.name, output_type(schema, feature)) for feature in view.features()]


def condition_columns(views: Sequence[FeatureView]) -> dict[str, str]:
    """Return the boolean column that each ``where`` becomes: one name for one text, in whatever views."""
    texts = dict.fromkeys(text for view in views for text in view.conditions)
    return {text: CONDITION + hashlib.sha256(text.encode()).hexdigest()[:16] for text in texts}


def order_of(
    views: Sequence[FeatureView], schema: T.StructType, declared: Sequence[str] | None
) -> tuple[str, ...]:
    """Return the columns that order equal instants, where an operation depends on the order at all."""
    if not any(feature.needs_order for view in views for feature in view.features()):
        return ()
    sortable = [field.name for field in schema if not isinstance(field.dataType, T.MapType)]
    return tuple(declared or sorted(sortable))


def _features(view: FeatureView, schema: T.StructType, conditions: Mapping[str, str]) -> Iterator[Feature]:
    """Yield what the kernels compute for a view."""
    for definition in view.features():
        field = T.StructField(definition.name, output_type(schema, definition))
        is_median = definition.op == "median"
        yield Feature(
            definition.name,
            definition.input,
            "quantile" if is_median else definition.op,
            definition.windows or (_max_age(view),),
            to_arrow_schema(T.StructType([field]), timezone="UTC").field(0).type,
            parameter=(0.5,) if is_median else definition.parameter,
            where=None if definition.where is None else conditions[definition.where],
            by=definition.by,
            by_value=definition.by_value,
            delay=view.delay_micros,
            is_inclusive=view.boundary == "inclusive",
        )


def _max_age(view: FeatureView) -> Window:
    """Return the window of the view's latest row; ``max_age`` counts from the moment, windows end earlier."""
    max_age = view.latest.max_age if view.latest else None
    return Window() if max_age is None else Window(duration_micros(max_age) - view.delay_micros)
