"""Which columns, features and labels depend on columns of a landed table, by the specs alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from featurelib.derived import derived_columns
from featurelib.expressions.language import check_select, columns_of
from featurelib.specs import FeatureDefinition, FeatureView, LandedTable, Project, Source


class Made(NamedTuple):
    """What is made of columns of a landed table.

    Attributes:
        silver: columns of its silver rows: these, and those computed from them.
        spine: columns of the spine.
        features: features, derived ones included.
        label: the label's column, if it depends on them.
    """

    silver: set[str]
    spine: set[str]
    features: set[str]
    label: set[str]


def made_of(project: Project, table: str, columns: Collection[str]) -> Made:
    """Return what is made of columns of a landed table.

    What a Python function reads only its declaration says: without ``transform_reads``, and behind the
    ``transform`` of a source, everything counts as dependent.
    """
    silver = computed_of(project.tables[table], columns)
    spine, whole = _of_spine(project, table, silver)
    found = {feature for view in project.views for feature in _of_view(project, view, table, silver)}
    found |= {
        name for view in project.views if whole or set(view.entity_key) & spine for name in view.feature_names
    }
    for name, column in derived_columns(project.derived).items():
        if set(columns_of(column.expression)) & (found | spine):
            found.add(name)
    label = {project.label.name} if _is_label_of(project, table, silver) else set()
    return Made(silver, spine, found, label)


def features_of_view(project: Project, view: FeatureView, table: str, columns: Collection[str]) -> list[str]:
    """Return the features of a view that depend on columns of a landed table by the view's source."""
    return list(_of_view(project, view, table, computed_of(project.tables[table], columns)))


def computed_of(landed: LandedTable, columns: Collection[str]) -> set[str]:
    """Return the columns of a table's silver rows that are these, or computed from them."""
    found = set(columns)
    for name in landed.transform_adds:
        if found & set(landed.transform_reads.get(name, tuple(landed.columns))):
            found.add(name)
    for name, text in landed.derived.items():
        if set(columns_of(text)) & found:
            found.add(name)
    return found


def _of_spine(project: Project, table: str, silver: set[str]) -> tuple[set[str], bool]:
    """Return the spine's columns that depend on a table's, and whether its rows or moments do."""
    spine = project.spine
    if spine.table != table:
        return set(), False
    found = {name for name, text in spine.columns.items() if set(columns_of(text)) & silver}
    whole = bool(_used(spine.as_of_ts, spine.where) & silver or set(spine.key) & found)
    return (set(spine.columns) if whole else found), whole


def _is_label_of(project: Project, table: str, silver: set[str]) -> bool:
    used = _used(project.label.value, project.label.known_ts)
    return project.spine.table == table and bool(used & silver)


def _of_view(project: Project, view: FeatureView, table: str, silver: set[str]) -> Iterator[str]:
    """Yield the features of a view that depend on a table's columns by its source."""
    source = project.sources[view.source]
    if source.table != table:
        return
    columns, whole = _offered(project, source, silver)
    whole = whole or bool(set(view.entity_key) & columns)
    for feature in view.features():
        if whole or _uses(feature, source, columns):
            yield feature.name


def _uses(feature: FeatureDefinition, source: Source, columns: set[str]) -> bool:
    used = {column for column in (feature.input, feature.by) if column is not None} | _used(feature.where)
    if feature.needs_order:
        used |= set(source.tie_breaker)
    return bool(used & columns)


def _offered(project: Project, source: Source, silver: set[str]) -> tuple[set[str], bool]:
    """Return the columns of a source that depend on a table's, and whether all its events do."""
    scope, whole = set(silver), False
    if source.transform is not None:
        scope, whole = scope | source.transform_adds.keys(), True
    known = [*project.tables[source.table].silver_types, *source.transform_adds]
    where, texts = source.where, dict(source.columns)
    if source.sql is not None:
        chosen = check_select(source.sql, source.table, known)
        where, texts = chosen.where, dict(chosen.columns)
    whole = whole or bool(_used(where) & scope)
    made = {name for name, text in texts.items() if set(columns_of(text)) & scope}
    columns = made if source.sql is not None else scope | made
    return columns, whole or bool(_used(source.event_ts, source.known_ts) & columns)


def reads(project: Project, source: Source, silver: set[str]) -> bool:
    """Return whether a source itself names a column; which of its columns views take is theirs to say."""
    columns, whole = _offered(project, source, silver)
    computed = source.columns.keys() if source.sql is None else columns
    return whole or bool(columns & (computed | set(source.tie_breaker)))


def _used(*texts: str | None) -> set[str]:
    return {column for text in texts if text is not None for column in columns_of(text)}
