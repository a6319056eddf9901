"""The catalogue: every feature with type, unit, owner and its definition in words, derived from the specs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pyspark.sql import types as T

from featurelib.config_checks import source_types
from featurelib.derived import columns_of_derived
from featurelib.point_in_time.tasks import feature_fields
from featurelib.quality.typing import spark_type, type_name
from featurelib.reports.text_tables import text_table
from featurelib.specs import FeatureDefinition, FeatureView, Project
from featurelib.timeline import LIFETIME, Window

_PHRASES: Final = {
    "mean": "mean of {}",
    "sum": "sum of {}",
    "min": "smallest {}",
    "max": "largest {}",
    "stddev": "standard deviation of {}",
    "last": "last {}",
}
_KEEPS_UNIT: Final = frozenset(
    ["sum", "mean", "min", "max", "stddev", "first", "last", "latest", "median", "quantile"]
)
_UNITS_OF_TIME: Final = {
    "us": "microsecond",
    "ms": "millisecond",
    "s": "second",
    "m": "minute",
    "h": "hour",
    "d": "day",
    "w": "week",
}


@dataclass(frozen=True)
class Entry:
    """A feature as the catalogue shows it.

    Attributes:
        name: its column.
        type: a column type, or Spark's name of it; empty where only a run can tell.
        unit: what it is measured in, empty for nothing.
        owner: who answers for it.
        view: the view it belongs to, empty for a derived feature.
        keys: the entity's key columns.
        source: the source its events are from, empty for a derived feature.
        definition: what it is, in words.
        about: what its view says of itself.
    """

    name: str
    type: str
    unit: str
    owner: str
    view: str
    keys: tuple[str, ...]
    source: str
    definition: str
    about: str


def catalog(project: Project) -> list[Entry]:
    """Return every feature of a project in column order; no data is read."""
    entries = [entry for view in project.views for entry in _of_view(project, view)]
    return [*entries, *_derived(project)]


def rendered(entries: Sequence[Entry]) -> str:
    """Return the catalogue as text, a block a view."""
    blocks = []
    for view in dict.fromkeys(entry.view for entry in entries):
        members = [entry for entry in entries if entry.view == view]
        first = members[0]
        told = [f"by {', '.join(first.keys)}", f"source {first.source}", first.owner] if view else []
        head = " · ".join(part for part in (view or "derived", *told) if part)
        rows = [(entry.name, entry.type, entry.unit, entry.definition) for entry in members]
        about = [first.about] if first.about and view else []
        blocks.append("\n".join([head, *about, text_table(("feature", "type", "unit", "definition"), rows)]))
    return "\n\n".join(blocks)


def _of_view(project: Project, view: FeatureView) -> Iterator[Entry]:
    source = project.sources[view.source]
    types = _types(project, view)
    for feature in view.features():
        yield Entry(
            feature.name,
            types.get(feature.name, ""),
            _unit(feature, source.units.get(feature.input or "", "")),
            view.owner,
            view.name,
            view.entity_key,
            view.source,
            _in_words(view, feature),
            view.description,
        )


def _types(project: Project, view: FeatureView) -> dict[str, str]:
    """Return the type of each feature, empty when the type of an input is not declared."""
    source = project.sources[view.source]
    offered = source_types(source, project.tables[source.table])
    fields = [T.StructField(name, spark_type(kind)) for name, kind in offered.items() if kind is not None]
    schema = T.StructType(fields)
    if not set(view.inputs) <= set(schema.names):
        return {}
    found = feature_fields(view, schema)
    return {field.name: type_name(field.dataType) for field in found}


def _unit(feature: FeatureDefinition, unit: str) -> str:
    if feature.ratio_to is not None:
        return ""
    if feature.op == "variance":
        return f"{unit}²" if unit else ""
    if feature.op in {"count", "histogram"}:
        return "events"
    if feature.op.startswith("time_since"):
        return "seconds"
    return unit if feature.op in _KEEPS_UNIT else ""


def _in_words(view: FeatureView, feature: FeatureDefinition) -> str:
    """Say a feature in words, as ``mean of dep_delay over the 6 hours before as_of_ts, by origin``."""
    by = f"by {', '.join(view.entity_key)}"
    moment = "as_of_ts" if view.delay is None else f"{_length(view.delay)} before as_of_ts"
    if feature.op == "latest":
        max_age = view.latest.max_age if view.latest else None
        limit = f", not older than {_length(max_age)}" if max_age else ""
        return f"{feature.input} of the newest row before {moment}{limit}, {by}"
    what = _what(feature)
    where = f" where {feature.where}" if feature.where else ""
    split = "" if feature.by is None else f" for each {feature.by}"
    if feature.by_value is not None:
        split = f" with {feature.by} {feature.by_value}"
    ratio = "" if feature.ratio_to is None else f", divided by the same {_span(feature.ratio_to, moment)}"
    return f"{what}{where}{split} {_span(feature.window or LIFETIME, moment)}{ratio}, {by}"


def _what(feature: FeatureDefinition) -> str:
    if feature.op == "count":
        return "number of events" if feature.input is None else f"number of events with {feature.input}"
    numbers = " ".join(f"{number:g}" for number in feature.parameter)
    words = feature.op.replace("_k", "").replace("_", " ")
    default = f"{words}{f' {numbers}' if numbers else ''}{' of {}' if feature.input else ''}"
    return _PHRASES.get(feature.op, default).format(feature.input)


def _span(window: str, moment: str) -> str:
    parsed = Window.parse(window)
    if parsed.rows is not None:
        return f"over the {window} events before {moment}"
    return f"over {'all time' if parsed.micros is None else f'the {_length(window)}'} before {moment}"


def _length(duration: str) -> str:
    count = duration.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = _UNITS_OF_TIME.get(duration.removeprefix(count))
    if not count.isdigit() or unit is None:
        return duration
    return f"{count} {unit}s" if count != "1" else f"1 {unit}"


def _derived(project: Project) -> Iterator[Entry]:
    for name, feature in project.derived.items():
        for column, made in columns_of_derived(name, feature).items():
            definition = feature.description or made.expression
            yield Entry(
                column, made.type, feature.unit, feature.owner, "", (), "", definition, feature.description
            )


def as_rows(entries: Sequence[Entry]) -> list[Mapping[str, object]]:
    """Return the entries as plain mappings, ready for JSON."""
    return [{**vars(entry), "keys": list(entry.keys)} for entry in entries]
