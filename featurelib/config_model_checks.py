"""What a model says of features, groups and slices must be there, and of a type it can learn from."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from featurelib.column_types import KEY_TYPES
from featurelib.config_draft import Draft
from featurelib.config_tree import KeyPath
from featurelib.errors import nearest
from featurelib.specs import ModelSpec, Segments, select_names

__all__ = ["FeatureType", "check_model"]

FeatureType = str
"""A column type, ``list`` or ``map``."""


def check_model(
    draft: Draft, name: str, model: ModelSpec, features: Mapping[str, FeatureType | None]
) -> None:
    """Note what a model asks for and the features, with their types, do not give."""
    if len(draft.views) < len(draft.given("views")) or draft.spine is None:
        return  # what is missing there would be reported here once more
    path: KeyPath = ("models", name)
    chosen = select_names(model.features, features)
    _check_patterns(draft, (*path, "features"), model.features, features)
    _check_patterns(draft, (*path, "baseline", "features"), model.baseline.features, chosen)
    for index, step in enumerate(model.lift):
        _check_patterns(draft, (*path, "lift", index, "features"), step.features, chosen)
    _check_segments(draft, (*path, "segments"), model.segments, features)
    for index, column in enumerate(model.categorical):
        if column not in chosen:
            given = f"{column!r} is none of the model's features.{nearest(column, chosen)}"
            draft.refuse((*path, "categorical", index), given, "features only")
    _check_identities(draft, path, model, features)
    _check_groups(draft, path, model, features)
    _check_budget(draft, path, model)
    for column in chosen:
        kind = features[column]
        if kind == "string" and column not in model.categorical:
            draft.refuse(
                (*path, "features"),
                f"feature {column!r} is a string",
                "numbers",
                f"add {column} to categorical",
            )
        elif kind in {"date", "timestamp_utc", "list", "map"}:
            draft.refuse(
                (*path, "features"),
                f"feature {column!r} is a {kind}",
                "numbers and categories",
                f"add '!{column}'",
            )


def _check_budget(draft: Draft, path: KeyPath, model: ModelSpec) -> None:
    if model.tuning.budget is not None and draft.settings is not None and draft.settings.cost is None:
        draft.refuse(
            (*path, "tuning", "budget"),
            f"a budget of {model.tuning.budget:g}, and the settings do not say what an hour costs",
            "cost.per_hour",
            "write cost: {per_hour: 0.40, currency: EUR} into conf/base.yaml, or give max_seconds",
        )


def _check_segments(
    draft: Draft, path: KeyPath, segments: Segments | None, features: Mapping[str, FeatureType | None]
) -> None:
    """The columns of slices are spine columns or features whose values are equal or unequal for sure."""
    for index, column in enumerate(segments.by if segments is not None else ()):
        if column not in features:
            given = f"{column!r} is no spine column or feature.{nearest(column, features)}"
            draft.refuse((*path, "by", index), given, "a spine column or a feature")
        elif features[column] not in {*KEY_TYPES, None}:
            given = f"{column!r} is a {features[column]}"
            draft.refuse((*path, "by", index), given, "a text, whole number, boolean or date")


def _check_identities(
    draft: Draft, path: KeyPath, model: ModelSpec, features: Mapping[str, FeatureType | None]
) -> None:
    """Users and items are columns of the training set that are texts or whole numbers."""
    for name, spec in model.estimators.items():
        for what, column in (("user", spec.user), ("item", spec.item)):
            place: KeyPath = (*path, "estimators", name, what)
            if column is None:
                continue
            if column not in features:
                given = f"{column!r} is no spine column or feature.{nearest(column, features)}"
                draft.refuse(place, given, "a spine column or a feature", "add it to spine.columns")
            elif features[column] not in {"string", "int", "long", None}:
                given = f"{column!r} is a {features[column]}"
                draft.refuse(place, given, "a text or a whole number", "name the column of an identity")


def _check_groups(draft: Draft, path: KeyPath, model: ModelSpec, columns: Collection[str]) -> None:
    """Groups are columns of the training set, and a demand on fairness has groups to be measured on."""
    fairness = model.review.fairness
    named: list[tuple[KeyPath, str]] = [
        ((*path, "review", "fairness", "groups", index), column)
        for index, column in enumerate(fairness.groups if fairness else ())
    ]
    if model.mitigation is not None:
        named.append(((*path, "mitigation", "group"), model.mitigation.group))
    ranking = model.review.ranking
    if ranking is not None and ranking.by != "day":
        named.append(((*path, "review", "ranking", "by"), ranking.by))
    for place, column in named:
        if column not in columns:
            given = f"{column!r} is no spine column or feature.{nearest(column, columns)}"
            draft.refuse(place, given, "a column of the training set")
    if model.gate.fairness is not None and fairness is None:
        draft.refuse(
            (*path, "gate", "fairness"),
            "a demand on fairness, and no groups",
            "groups to compare",
            "add review: {fairness: {groups: [...]}} to the model",
        )


def _check_patterns(draft: Draft, path: KeyPath, patterns: Sequence[str], names: Collection[str]) -> None:
    for index, pattern in enumerate(patterns):
        bare = pattern.removeprefix("!")
        if not select_names((bare,), names):
            close = nearest(
                bare, [*names, *(f"{name.partition('__')[0]}__*" for name in names if "__" in name)]
            )
            given = f"{bare!r} matches no spine column or feature.{close}"
            draft.refuse((*path, index), given, "a name or a pattern such as origin_*")
    if patterns and not select_names(patterns, names):
        draft.refuse(path, "no feature is left", "at least one pattern without !")
