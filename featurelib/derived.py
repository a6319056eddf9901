"""Derived features: every form of them is, in the end, an expression over the engine's output."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from featurelib.specs import ColumnType, Derived, Project

__all__ = ["DerivedColumn", "columns_of_derived", "derived_columns", "feature_names"]


class DerivedColumn(NamedTuple):
    """A column: an expression over spine columns, features and the columns before it, and its type."""

    expression: str
    type: ColumnType


def derived_columns(derived: Mapping[str, Derived]) -> dict[str, DerivedColumn]:
    """Return the columns of derived features by name, in the order in which they are computed."""
    return {
        column: found
        for name, feature in derived.items()
        for column, found in columns_of_derived(name, feature).items()
    }


def columns_of_derived(name: str, feature: Derived) -> dict[str, DerivedColumn]:
    """Return the columns of one derived feature: several for ``one_hot``, otherwise one."""
    if feature.expression is not None and feature.type is not None:
        return {name: DerivedColumn(feature.expression, feature.type)}
    if feature.buckets is not None:
        return {name: DerivedColumn(_buckets(feature.buckets, feature.edges), "int")}
    if feature.ordinal is not None:
        ranks = " ".join(f"WHEN {_literal(value)} THEN {rank}" for rank, value in enumerate(feature.values))
        return {name: DerivedColumn(f"CASE {feature.ordinal} {ranks} END", "int")}
    return {
        f"{name}__{_word(value)}": DerivedColumn(
            f"CASE WHEN {feature.one_hot} = {_literal(value)} THEN 1 ELSE 0 END", "int"
        )
        for value in feature.values
    }


def feature_names(project: Project) -> tuple[str, ...]:
    """Return every feature of a project: those of its views, then the derived ones."""
    windowed = (name for view in project.views for name in view.feature_names)
    return (*windowed, *derived_columns(project.derived))


def _buckets(column: str, edges: tuple[float, ...]) -> str:
    """Count the edges at or below the value; NaN has no bucket."""
    steps = " ".join(f"WHEN {column} < {edge!r}D THEN {number}" for number, edge in enumerate(edges))
    return f"CASE WHEN {column} IS NULL OR isnan({column}) THEN NULL {steps} ELSE {len(edges)} END"


def _literal(value: str | int) -> str:
    return str(value) if isinstance(value, int) else f"'{value}'"


def _word(value: str | int) -> str:
    return re.sub(r"[^a-z0-9]+", "_", str(value).lower()).strip("_")
