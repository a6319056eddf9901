"""What one piece of a configuration says of another must hold: each check points at what does not."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePosixPath

from featurelib.column_types import KEY_TYPES, NUMERIC_TYPES, ORDERED_TYPES, family
from featurelib.config_draft import Draft
from featurelib.config_model_checks import FeatureType, check_model
from featurelib.config_tree import KeyPath
from featurelib.derived import columns_of_derived
from featurelib.errors import nearest
from featurelib.expressions import language
from featurelib.expressions.language import ExpressionError, Select
from featurelib.operations import GIVES_INPUT, GIVES_LIST, GIVES_LONG, OF_NUMBERS, OF_ORDERED
from featurelib.specs import (
    ColumnType,
    FeatureDefinition,
    FeatureView,
    LandedTable,
    Source,
)

__all__ = ["check_all", "source_types"]

Types = Mapping[str, ColumnType | None]

_NEEDS = {
    **dict.fromkeys(OF_NUMBERS, (NUMERIC_TYPES, "a number")),
    **dict.fromkeys(OF_ORDERED, (ORDERED_TYPES, "a number, text, date or instant")),
    "by": (KEY_TYPES, "a text, whole number, boolean or date"),
}


def check_all(draft: Draft) -> None:
    """Note in ``draft.problems`` everything that does not fit together."""
    for name, table in draft.tables.items():
        _check_table(draft, name, table)
    sources = {name: _check_source(draft, name, source) for name, source in draft.sources.items()}
    _check_spine(draft)
    _check_label(draft)
    _check_quality(draft)
    for name, view in draft.views.items():
        _check_view(draft, name, view, sources.get(view.source))
    features = _check_derived(draft, _check_feature_names(draft, sources))
    for name, model in draft.models.items():
        check_model(draft, name, model, features)
    _check_dates(draft)


def source_types(source: Source, table: LandedTable) -> dict[str, ColumnType | None]:
    """Return the columns a source offers to views, with their types; None where only a run can tell.

    Raises:
        ExpressionError: the source's ``sql`` is refused.
    """
    scope: dict[str, ColumnType | None] = {**table.silver_types, **source.transform_adds}
    if source.sql is None:
        return {**scope, **source.column_types}
    select = language.check_select(source.sql, source.table, scope)
    return {name: source.column_types.get(name, scope.get(text)) for name, text in select.columns.items()}


# --- tables ---------------------------------------------------------------------------------------------


_FOLDER = re.compile(r"[A-Za-z0-9_.=-]+(/[A-Za-z0-9_.=-]+)*")


def _check_table(draft: Draft, name: str, table: LandedTable) -> None:
    path: KeyPath = ("tables", name)
    if not _FOLDER.fullmatch(table.landing) or ".." in PurePosixPath(table.landing).parts:
        draft.refuse(
            (*path, "landing"),
            f"landing is {table.landing!r}",
            "a folder below the landing root, without ..: letters, digits and _ . = -, joined by /",
        )
    _check_transform(draft, path, table.transform, table.transform_adds)
    known = [*table.columns, *table.transform_adds]
    for column, text in table.derived.items():
        _check_derived_column(draft, (*path, "derived", column), text, known, table.derived)
        known.append(column)


def _check_derived_column(
    draft: Draft, path: KeyPath, text: str, known: Sequence[str], derived: Mapping[str, str]
) -> None:
    """A derived column uses columns and earlier derived ones; a circle is named whole."""
    later = [used for used in _used(text) if used in derived and used not in known]
    if not later:
        _check_expression(draft, path, text, known)
        return
    column = str(path[-1])
    circle = next((way for used in later if (way := _way(used, column, derived, ()))), None)
    if circle is not None:
        draft.refuse(
            path, f"cyclic definition: {' -> '.join((column, *circle))}", "columns derived one after another"
        )
    else:
        draft.refuse(
            path,
            f"uses {later[0]!r}, which is derived after it",
            "columns of the table and columns derived before",
            f"move {later[0]!r} above {column!r}",
        )


def _used(text: str) -> tuple[str, ...]:
    try:
        return language.columns_of(text)
    except ExpressionError:
        return ()


def _way(
    start: str, goal: str, derived: Mapping[str, str], passed: tuple[str, ...]
) -> tuple[str, ...] | None:
    """Return the columns from ``start`` to ``goal`` along which each definition uses the next."""
    if start == goal:
        return (*passed, goal)
    if start in passed or start not in derived:
        return None
    ways = (_way(used, goal, derived, (*passed, start)) for used in _used(derived[start]))
    return next((way for way in ways if way), None)


def _check_transform(draft: Draft, path: KeyPath, transform: str | None, adds: Collection[str]) -> None:
    """The function is there, in the pipeline's own folder; the file is read, not run."""
    where = (*path, "transform")
    if transform is None:
        if adds:
            draft.refuse_key(
                (*path, "transform_adds"), "transform_adds without transform", "transform: module:function"
            )
        return
    module, _, function = transform.partition(":")
    if not (module.isidentifier() and function.isidentifier()):
        draft.refuse(where, f"transform {transform!r}", "module:function of the pipeline's folder")
        return
    file = draft.place.folder / f"{module}.py"
    if not file.is_file():
        close = nearest(module, (other.stem for other in draft.place.folder.glob("*.py")))
        draft.refuse(
            where, f"no file {draft.place.shown(draft.place.folder)}/{module}.py.{close}", "a Python file"
        )
        return
    try:
        defined = [
            node.name for node in ast.parse(file.read_bytes()).body if isinstance(node, ast.FunctionDef)
        ]
    except (SyntaxError, ValueError) as error:
        draft.refuse(where, f"{draft.place.shown(file)} is no valid Python: {error}", "a Python file")
        return
    if function not in defined:
        given = f"no function {function!r} in {draft.place.shown(file)}.{nearest(function, defined)}"
        draft.refuse(where, given, "a function DataFrame -> DataFrame")


# --- sources --------------------------------------------------------------------------------------------


def _check_source(draft: Draft, name: str, source: Source) -> Types | None:
    """Return the source's columns and types, or None if they cannot be known."""
    path: KeyPath = ("sources", name)
    _check_transform(draft, path, source.transform, source.transform_adds)
    table = _table(draft, (*path, "table"), source.table)
    if table is None:
        return None
    for column in sorted(source.transform_adds.keys() & table.silver_types.keys()):
        draft.refuse_key(
            (*path, "transform_adds", column), f"{column!r} is a column of {source.table}", "a new name"
        )
    scope: Types = {**table.silver_types, **source.transform_adds}
    if source.sql is not None:
        offered = _check_sql(draft, path, source, scope)
        if offered is None:
            return None
        scope = offered
    else:
        offered = {**scope, **source.column_types}
        _check_columns(draft, path, source, scope)
    for instant in ("event_ts", "known_ts"):
        _check_instant(draft, (*path, instant), getattr(source, instant), scope)
    for index, column in enumerate(source.tie_breaker):
        _check_column(draft, (*path, "tie_breaker", index), column, offered, f"source {name}")
    for column in source.units:
        _check_column(draft, (*path, "units", column), column, offered, f"source {name}")
    return offered


def _check_columns(draft: Draft, path: KeyPath, source: Source, scope: Types) -> None:
    for column, text in source.columns.items():
        where = (*path, "columns", column)
        if column in scope:
            draft.refuse_key(where, f"{column!r} is already a column of {source.table}", "a name of its own")
        _check_expression(draft, where, text, scope)
    if source.where is not None:
        _check_expression(draft, (*path, "where"), source.where, scope)


def _check_sql(draft: Draft, path: KeyPath, source: Source, scope: Types) -> Types | None:
    try:
        select: Select = language.check_select(source.sql or "", source.table, scope)
    except ExpressionError as error:
        draft.refuse((*path, "sql"), error.given, error.expected, error.action)
        return None
    for column in source.column_types:
        if column not in select.columns:
            given = f"{column!r} is no column of the SELECT.{nearest(column, select.columns)}"
            draft.refuse_key((*path, "column_types", column), given, f"one of {', '.join(select.columns)}")
    return {name: source.column_types.get(name, scope.get(text)) for name, text in select.columns.items()}


# --- spine, label, dates, quality -----------------------------------------------------------------------


def _check_spine(draft: Draft) -> None:
    spine = draft.spine
    table = None if spine is None else _table(draft, ("spine", "table"), spine.table)
    if spine is None or table is None:
        return
    scope = table.silver_types
    _check_instant(draft, ("spine", "as_of_ts"), spine.as_of_ts, scope)
    for column, text in spine.columns.items():
        _check_expression(draft, ("spine", "columns", column), text, scope)
    if spine.where is not None:
        _check_expression(draft, ("spine", "where"), spine.where, scope)
    if "as_of_ts" in spine.columns:
        draft.refuse_key(("spine", "columns", "as_of_ts"), "'as_of_ts' is the moment itself", "another name")


def _check_label(draft: Draft) -> None:
    table = None if draft.spine is None else draft.tables.get(draft.spine.table)
    if draft.label is None or draft.spine is None or table is None:
        return
    _check_expression(draft, ("label", "value"), draft.label.value, table.silver_types)
    _check_instant(draft, ("label", "known_ts"), draft.label.known_ts, table.silver_types)
    if draft.label.name in {*draft.spine.columns, "as_of_ts"}:
        draft.refuse(("label", "name"), f"{draft.label.name!r} is a column of the spine", "a name of its own")


def _check_dates(draft: Draft) -> None:
    if draft.score_from is not None and draft.split is not None and draft.score_from < draft.split.train[1]:
        draft.refuse(
            ("score_from",),
            f"score_from {draft.score_from} lies within the training days",
            f"{draft.split.train[1]} or later",
        )


def _check_quality(draft: Draft) -> None:
    for section in ("rules", "gates"):
        for name in draft.given(section):
            _table(draft, (section, name), name, key=True)
    for name, rules in draft.rules.items():
        seen: set[str] = set()
        for index, rule in enumerate(rules):
            path: KeyPath = ("rules", name, index)
            if rule.name in seen:
                draft.refuse((*path, "name"), f"rule {rule.name!r} is given twice", "each name once a table")
            seen.add(rule.name)
            if name in draft.tables:
                _check_expression(draft, (*path, "check"), rule.check, draft.tables[name].silver_types)


# --- views ----------------------------------------------------------------------------------------------


def _check_view(draft: Draft, name: str, view: FeatureView, offered: Types | None) -> None:
    known = draft.given("sources")
    if view.source not in known:
        given = f"unknown source {view.source!r}.{nearest(view.source, known)}"
        draft.refuse(
            ("views", name, "source"), given, f"one of {', '.join(known) or 'sources (none is declared)'}"
        )
    if offered is not None:
        for path, op, column in _inputs(name, view):
            _check_input(draft, path, op, column, offered, view.source)
        for index, aggregation in enumerate(view.aggregations):
            if aggregation.where is not None:
                where = ("views", name, "aggregations", index, "where")
                _check_expression(draft, where, aggregation.where, offered)
    _check_keys(draft, name, view, offered)


def _inputs(name: str, view: FeatureView) -> list[tuple[KeyPath, str, str]]:
    """Return where each input stands, the operation on it, and its column."""
    found: list[tuple[KeyPath, str, str]] = []
    for index, aggregation in enumerate(view.aggregations):
        if aggregation.input is not None:
            where: KeyPath = ("views", name, "aggregations", index, "input")
            found += [(where, op, aggregation.input) for op in aggregation.ops]
        if aggregation.by is not None:
            found.append((("views", name, "aggregations", index, "by"), "by", aggregation.by))
    if view.latest is not None:
        for index, column in enumerate(view.latest.inputs):
            found.append((("views", name, "latest", "inputs", index), "latest", column))
    return found


def _check_input(draft: Draft, path: KeyPath, op: str, column: str, offered: Types, source: str) -> None:
    allowed, words = _NEEDS.get(op, (None, ""))
    kind = offered.get(column)
    if column not in offered:
        _check_column(draft, path, column, offered, f"source {source}")
    elif allowed is not None and kind is not None and family(kind) not in allowed:
        draft.refuse(path, f"{op} of {column!r}, which is a {kind}", words)


def _check_keys(draft: Draft, name: str, view: FeatureView, offered: Types | None) -> None:
    """Entity keys stand in source and spine, with one type."""
    path: KeyPath = ("views", name, "entity")
    for key in view.entity_key:
        if offered is not None and key not in offered:
            draft.refuse(
                path,
                f"source {view.source} has no column {key!r}.{nearest(key, offered)}",
                "the entity's keys",
            )
        if draft.spine is None:
            continue
        if key not in draft.spine.columns:
            given = f"the spine has no column {key!r}.{nearest(key, draft.spine.columns)}"
            draft.refuse(path, given, "the entity's keys", "add it under spine.columns")
            continue
        kinds = (None if offered is None else offered.get(key), draft.spine.column_types[key])
        if kinds[0] is not None and kinds[0] != kinds[1]:
            given = f"key {key!r} is a {kinds[0]} in source {view.source} and a {kinds[1]} in the spine"
            draft.refuse(path, given, "one type")
        elif kinds[1] == "double":
            draft.refuse(
                path, f"key {key!r} is a double", "values that are equal or not: a text, a whole number"
            )


def _check_feature_names(
    draft: Draft, sources: Mapping[str, Types | None]
) -> Mapping[str, FeatureType | None]:
    """Return spine columns and features with their types; a name defined twice is noted."""
    spine = {} if draft.spine is None else draft.spine.column_types
    types: dict[str, FeatureType | None] = dict(spine)
    owner = dict.fromkeys(types, "the spine")
    if draft.label is not None:
        owner[draft.label.name] = "the label"
    for name, view in draft.views.items():
        offered = sources.get(view.source) or {}
        for feature in view.features():
            if feature.name in owner:
                given = f"feature {feature.name!r} is also a column of {owner[feature.name]}"
                draft.refuse_key(("views", name), given, "one owner")
            owner[feature.name] = f"view {name}"
            types[feature.name] = _feature_type(feature, offered)
    return types


def _feature_type(feature: FeatureDefinition, offered: Types) -> FeatureType | None:
    if feature.is_map:
        return "map"
    if feature.op in GIVES_LIST:
        return "list"
    if feature.op in GIVES_INPUT:
        return offered.get(feature.input or "")
    return "long" if feature.op in GIVES_LONG and feature.ratio_to is None else "double"


def _check_derived(
    draft: Draft, features: Mapping[str, FeatureType | None]
) -> Mapping[str, FeatureType | None]:
    """Return the columns with those of derived features, each over the columns before it."""
    types = dict(features)
    if len(draft.views) < len(draft.given("views")) or draft.spine is None:
        return types  # what is missing there would be reported here once more
    label = set() if draft.label is None else {draft.label.name}
    for name, derived in draft.derived.items():
        path: KeyPath = ("derived", name)
        form = next(key for key in ("expression", "buckets", "ordinal", "one_hot") if getattr(derived, key))
        given = getattr(derived, form)
        if form == "expression":
            _check_expression(draft, (*path, form), given, types)
        else:
            _check_column(draft, (*path, form), given, types, "the feature table")
            if form == "buckets" and family(types.get(given) or "int") not in NUMERIC_TYPES:
                draft.refuse((*path, form), f"buckets of {given!r}, which is a {types[given]}", "a number")
        for column, made in columns_of_derived(name, derived).items():
            if column in types or column in label:
                draft.refuse_key(path, f"{column!r} is a column already", "a name of its own")
            types[column] = made.type
    return types


# --- models ---------------------------------------------------------------------------------------------


# --- shared ---------------------------------------------------------------------------------------------


def _table(draft: Draft, path: KeyPath, name: str, *, key: bool = False) -> LandedTable | None:
    """Return the table, or None; an unknown one is noted at the value, or at the key, of ``path``."""
    known = draft.given("tables")
    if name not in known:
        refuse = draft.refuse_key if key else draft.refuse
        given = f"unknown table {name!r}.{nearest(name, known)}"
        refuse(path, given, f"one of {', '.join(known) or 'tables (none is declared)'}")
    return draft.tables.get(name)


def _check_expression(draft: Draft, path: KeyPath, text: str, columns: Collection[str]) -> bool:
    try:
        language.check(text, columns)
    except ExpressionError as error:
        draft.refuse(path, error.given, error.expected, error.action)
        return False
    return True


def _check_instant(draft: Draft, path: KeyPath, text: str | None, scope: Types) -> None:
    """The expression is fine and, where it is a plain column, that column is an instant."""
    if text is None or not _check_expression(draft, path, text, scope):
        return
    kind = scope.get(text.strip())
    if kind is not None and kind != "timestamp_utc":
        draft.refuse(
            path, f"{text.strip()!r} is a {kind}", "an instant (timestamp_utc)", "cast or compute one"
        )


def _check_column(draft: Draft, path: KeyPath, column: str, known: Collection[str], what: str) -> None:
    if column not in known:
        shown = ", ".join(sorted(known)[:40])
        draft.refuse(path, f"{what} has no column {column!r}.{nearest(column, known)}", f"one of {shown}")
