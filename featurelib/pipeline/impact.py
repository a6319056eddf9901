"""What depends on a column of a landed table: features, models and tables, by the specs alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from featurelib.dependence import made_of, reads
from featurelib.derived import feature_names
from featurelib.errors import ConfigError, nearest
from featurelib.expressions.language import columns_of
from featurelib.pipeline.context import TableNames
from featurelib.specs import Project, select_names

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

    See :func:`featurelib.dependence.made_of` for what a Python function reads.

    Args:
        project: the validated specs.
        table: name of a landed table.
        columns: its columns, landed or derived.
    """
    silver, spine, found, label = made_of(project, table, columns)
    names = [*project.spine.columns, *feature_names(project)]
    models = [
        name
        for name, model in project.models.items()
        if label or {*select_names(model.features, names), *model.identities} & (found | spine)
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
            if source.table == table and reads(project, source, silver)
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
