"""What depends on a column of a landed table: features, models and tables, by the specs alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from featurelib.derived import derived_columns, feature_names
from featurelib.errors import ConfigError, nearest
from featurelib.expressions.language import check_select, columns_of
from featurelib.pipeline.context import TableNames
from featurelib.specs import FeatureDefinition, FeatureView, Project, Source, select_names

_LAYERS = ("bronze", "silver")
_IN_ERRORS = 6


@dataclass(frozen=True)
class Impact:
    """What can no longer be computed, or means something else, when columns of a table go or change.

    Attributes:
        table: the landed table.
        columns: those that were asked about.
        silver: columns of its silver rows that are computed from them.
        rules: quality rules that look at any of these.
        sources: sources that read any of them.
        spine: columns of the spine.
        label: the label's column, if it depends on them.
        features: features, derived ones included, in the order of the feature table.
        models: models that take any of the features, or learn the label.
        tables: published tables that hold any of this.
    """

    table: str
    columns: tuple[str, ...]
    silver: tuple[str, ...]
    rules: tuple[str, ...]
    sources: tuple[str, ...]
    spine: tuple[str, ...]
    label: tuple[str, ...]
    features: tuple[str, ...]
    models: tuple[str, ...]
    tables: tuple[str, ...]

    def parts(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield what there is of each kind, by its word."""
        for word in ("rules", "sources", "spine", "label", "features", "models", "tables"):
            if found := getattr(self, word):
                yield word, found

    @property
    def said(self) -> str:
        """The impact in a line, long lists cut short."""
        return "; ".join(f"{word} {_short(names)}" for word, names in self.parts())


def impact(project: Project, table: str, columns: Collection[str]) -> Impact:
    """Return what depends on columns of a landed table.

    What a Python function reads only its declaration says: without ``transform_reads``, and behind the
    ``transform`` of a source, everything counts as dependent.

    Args:
        project: the validated specs.
        table: name of a landed table.
        columns: its columns, landed or derived.
    """
    silver = _of_table(project, table, columns)
    spine, whole = _of_spine(project, table, silver)
    found = {feature for view in project.views for feature in _of_view(project, view, table, silver)}
    found |= {
        name for view in project.views if whole or set(view.entity_key) & spine for name in view.feature_names
    }
    for name, column in derived_columns(project.derived).items():
        if set(columns_of(column.expression)) & (found | spine):
            found.add(name)
    label = {project.label.name} if _is_label_of(project, table, silver) else set()
    names = [*project.spine.columns, *feature_names(project)]
    models = [
        name
        for name, model in project.models.items()
        if label or set(select_names(model.features, names)) & (found | spine)
    ]
    return Impact(
        table,
        tuple(columns),
        silver=tuple(sorted(silver - set(columns))),
        rules=tuple(
            rule.name for rule in project.rules.get(table, ()) if set(columns_of(rule.check)) & silver
        ),
        sources=tuple(
            name
            for name, source in project.sources.items()
            if source.table == table and _reads(project, source, silver)
        ),
        spine=tuple(name for name in project.spine.columns if name in spine),
        label=tuple(label),
        features=tuple(name for name in feature_names(project) if name in found),
        models=tuple(models),
        tables=_tables(project, table, has_features=bool(found or spine), has_models=bool(models)),
    )


def asked_columns(project: Project, table: str, columns: Collection[str]) -> tuple[str, tuple[str, ...]]:
    """Return table and columns as they are declared, of ``silver.flights`` and ``dep_delay``.

    Raises:
        ConfigError: there is no such landed table, or no such column.
    """
    layer, dot, name = table.rpartition(".")
    if (dot and layer not in _LAYERS) or name not in project.tables:
        known = [f"silver.{known}" for known in project.tables]
        raise ConfigError(
            f"table {table!r}.{nearest(table, known)}",
            f"a landed table: {', '.join(known)}",
            "features and what follows have no columns of their own to lose: ask about what they are made of",
        )
    known = list(project.tables[name].silver_types)
    for column in columns:
        if column not in known:
            raise ConfigError(
                f"column {column!r} of {table}.{nearest(column, known)}",
                f"one of {', '.join(known)}",
                "correct --column",
            )
    return name, tuple(columns)


def rendered(found: Impact) -> str:
    """Return the impact for people, a line a name."""
    parts = [("computed columns", found.silver), *found.parts()]
    lines = [f"{', '.join(found.columns)} of {found.table}"]
    for word, names in parts:
        lines += [f"  {word if not at else '':<18}{name}" for at, name in enumerate(names)]
    return "\n".join(lines)


# --- what reads what ------------------------------------------------------------------------------------


def features_of_view(project: Project, view: FeatureView, table: str, columns: Collection[str]) -> list[str]:
    """Return the features of a view that depend on columns of a landed table by the view's source."""
    return list(_of_view(project, view, table, _of_table(project, table, columns)))


def _of_table(project: Project, table: str, columns: Collection[str]) -> set[str]:
    """Return the columns of a table's silver rows that are these, or computed from them."""
    landed, found = project.tables[table], set(columns)
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
        if whole or _feature_uses(feature, source, columns):
            yield feature.name


def _feature_uses(feature: FeatureDefinition, source: Source, columns: set[str]) -> bool:
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


def _reads(project: Project, source: Source, silver: set[str]) -> bool:
    """Return whether a source itself names a column; which of its columns views take is theirs to say."""
    columns, whole = _offered(project, source, silver)
    computed = source.columns.keys() if source.sql is None else columns
    return whole or bool(columns & (computed | set(source.tie_breaker)))


def _used(*texts: str | None) -> set[str]:
    return {column for text in texts if text is not None for column in columns_of(text)}


def _tables(project: Project, table: str, *, has_features: bool, has_models: bool) -> tuple[str, ...]:
    names = TableNames(project.name)
    found = [names.bronze(table), names.silver(table)]
    found += [names.features] if has_features else []
    found += [names.training] if has_features or has_models else []
    found += [names.predictions] if has_models else []
    return tuple(found)


def _short(names: Iterable[str]) -> str:
    found = list(names)
    more = len(found) - _IN_ERRORS
    return ", ".join(found if more <= 1 else [*found[:_IN_ERRORS], f"and {more} more"])
