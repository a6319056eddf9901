"""A tree becomes specs piece by piece, so that one wrong piece does not hide the faults of the others."""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from featurelib.config_layers import Place, is_secret_key
from featurelib.config_tree import KeyPath, Node, Problem, dotted, find, leaves, plain
from featurelib.errors import nearest
from featurelib.specs import (
    Derived,
    Entity,
    FeatureView,
    Label,
    LandedTable,
    ModelSpec,
    Name,
    Predictions,
    QualityGate,
    QualityRule,
    RunSettings,
    Source,
    Spine,
    Split,
)

if typing.TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = ["Draft", "drafted"]

T = TypeVar("T")

# Which file a missing part belongs into.
_HOME = {
    "name": "pipeline.yaml",
    "spine": "pipeline.yaml",
    "label": "pipeline.yaml",
    "split": "pipeline.yaml",
    "tables": "sources.yaml",
    "entities": "sources.yaml",
    "sources": "sources.yaml",
    "views": "features.yaml",
    "models": "models.yaml",
}
_OPTIONAL = ("rules", "gates", "derived", "score_from", "predictions")
_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "date_type": "a date, as 2013-01-31",
    "date_parsing": "a date, as 2013-01-31",
    "date_from_datetime_parsing": "a date, as 2013-01-31",
    "date_from_datetime_inexact": "a date, as 2013-01-31",
}


@dataclass
class Draft:
    """The specs that could be built so far, the tree they came from, and what is wrong with the others."""

    tree: Node
    place: Place
    problems: list[Problem]
    name: str | None = None
    settings: RunSettings | None = None
    spine: Spine | None = None
    label: Label | None = None
    split: Split | None = None
    score_from: date | None = None
    predictions: Predictions | None = None
    tables: dict[str, LandedTable] = field(default_factory=dict)
    entities: dict[str, Entity] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)
    rules: dict[str, tuple[QualityRule, ...]] = field(default_factory=dict)
    gates: dict[str, QualityGate] = field(default_factory=dict)
    views: dict[str, FeatureView] = field(default_factory=dict)
    derived: dict[str, Derived] = field(default_factory=dict)
    models: dict[str, ModelSpec] = field(default_factory=dict)

    def given(self, section: str) -> list[str]:
        """Return the names a section gives, those of unusable items included."""
        node = self.at((section,))
        return list(node.value) if node is not None and isinstance(node.value, dict) else []

    def at(self, path: Sequence[str | int]) -> Node | None:
        """Return the node at a path, if there is one."""
        node, followed = find(self.tree, path)
        return node if followed == len(path) else None

    def refuse(self, path: KeyPath, given: str, expected: str = "", action: str = "") -> None:
        """Note a problem at the value of ``path``, or at the nearest thing above that was given."""
        node, followed = find(self.tree, path)
        origin = node.origin if followed == len(path) else node.key_origin or node.origin
        self.problems.append(Problem(origin, dotted(path), given, expected, action))

    def refuse_key(self, path: KeyPath, given: str, expected: str = "", action: str = "") -> None:
        """Note a problem at the key of ``path``."""
        node, _ = find(self.tree, path)
        self.problems.append(Problem(node.key_origin or node.origin, dotted(path), given, expected, action))


def drafted(tree: Node, place: Place, problems: list[Problem]) -> Draft:
    """Return the specs of a resolved tree; what cannot be built is left out and noted in ``problems``."""
    draft = Draft(tree, place, problems)
    _check_top(draft)
    draft.name = _one(draft, "name", Name)
    draft.spine = _one(draft, "spine", Spine)
    draft.label = _one(draft, "label", Label)
    draft.split = _one(draft, "split", Split)
    draft.score_from = _one(draft, "score_from", date)
    draft.predictions = _one(draft, "predictions", Predictions)
    draft.settings = _settings(draft)
    draft.tables = _items(draft, "tables", LandedTable)
    draft.entities = _items(draft, "entities", Entity)
    draft.sources = _items(draft, "sources", Source)
    draft.gates = _items(draft, "gates", QualityGate)
    draft.models = _items(draft, "models", ModelSpec)
    draft.rules = _items(draft, "rules", tuple[QualityRule, ...])
    draft.views = _views(draft)
    draft.derived = _items(draft, "derived", Derived)
    return draft


def _check_top(draft: Draft) -> None:
    known = [*_HOME, *_OPTIONAL, *RunSettings.model_fields]
    for key in plain(draft.tree):
        if key not in known:
            given = f"unknown key {key!r}.{nearest(key, known)}"
            draft.refuse_key((key,), given, f"one of {', '.join(sorted(known))}")
    for key, home in _HOME.items():
        if draft.at((key,)) is None:
            draft.problems.append(
                Problem(f"{draft.place.shown(draft.place.folder)}/{home}", key, "missing", f"key {key!r}")
            )


def _one(draft: Draft, key: str, kind: type[T]) -> T | None:
    node = draft.at((key,))
    return None if node is None or node.value is None else _built(draft, kind, plain(node), (key,))


def _settings(draft: Draft) -> RunSettings | None:
    given = {key: node for key in RunSettings.model_fields if (node := draft.at((key,))) is not None}
    return _built(draft, RunSettings, {key: plain(node) for key, node in given.items()}, ())


def _items(draft: Draft, section: str, kind: type[T]) -> dict[str, T]:
    """Build every item of a section that maps names to specs."""
    _check_mapping(draft, section)
    found = {name: _item(draft, kind, (section, name)) for name in draft.given(section)}
    return {name: item for name, item in found.items() if item is not None}


def _check_mapping(draft: Draft, section: str) -> None:
    node = draft.at((section,))
    if node is not None and not isinstance(node.value, dict):
        draft.refuse((section,), f"{section} is {_shown(node)}", "a mapping of names")


def _item(draft: Draft, kind: type[T], path: KeyPath) -> T | None:
    if not re.fullmatch("[a-z_][a-z0-9_]*", str(path[-1])):
        draft.refuse_key(path, f"{path[-1]!r} is no name", "lower-case letters, digits and _, no digit first")
        return None
    node = draft.at(path)
    return None if node is None else _built(draft, kind, plain(node), path)


def _views(draft: Draft) -> dict[str, FeatureView]:
    """Build the views; the file's ``entity: NAME`` becomes the view's ``entity_key``."""
    views: dict[str, FeatureView] = {}
    _check_mapping(draft, "views")
    for name in draft.given("views"):
        path = ("views", name)
        fields = plain(draft.at(path) or Node(None, ""))
        if not isinstance(fields, dict):
            draft.refuse(path, f"{name} is no mapping", "a mapping with entity, source and aggregations")
            continue
        key = _entity_key(draft, path, fields.pop("entity", None))
        for taken in {"name", "entity_key"} & fields.keys():
            draft.refuse_key(
                (*path, taken), f"unknown key {taken!r}", "entity: NAME; the view's key is its name"
            )
            del fields[taken]
        view = _built(draft, FeatureView, {**fields, "name": name, "entity_key": key or ["unknown"]}, path)
        if view is not None and key is not None:
            views[name] = view
    return views


def _entity_key(draft: Draft, path: KeyPath, entity: str | float | None) -> list[str] | None:
    known = draft.given("entities")
    if not isinstance(entity, str):
        draft.refuse(
            (*path, "entity"), "no entity" if entity is None else f"entity is {entity!r}", "entity: NAME"
        )
    elif entity not in known:
        given = f"unknown entity {entity!r}.{nearest(entity, known)}"
        draft.refuse((*path, "entity"), given, f"one of {', '.join(known) or 'entities (none is declared)'}")
    elif entity in draft.entities:
        return list(draft.entities[entity].keys)
    return None


# --- pydantic's errors, placed and put into words -------------------------------------------------------


def _built(draft: Draft, kind: type[T], value: object, path: KeyPath) -> T | None:
    """Return the spec, or None after noting each fault at the line of its value."""
    try:
        spec: T = _adapter(kind).validate_json(json.dumps(value), strict=True)  # type: ignore[arg-type] # a class hashes
    except ValidationError as error:
        found: dict[tuple[str, str], Problem] = {}
        for details in error.errors(include_url=False):
            problem = _problem(draft, kind, path, details)
            twin = found.get((problem.origin, problem.path))
            found[problem.origin, problem.path] = problem if twin is None else _joined(twin, problem)
        draft.problems.extend(found.values())
        return None
    return spec


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:  # noqa: ANN401 - also Annotated types
    return TypeAdapter(kind)


def _joined(first: Problem, second: Problem) -> Problem:
    """Return one problem for two of the same value, as the members of a union give them."""
    if second.expected in first.expected or not second.expected:
        return first
    expected = f"{first.expected} or {second.expected}" if first.expected else second.expected
    return Problem(first.origin, first.path, first.given, expected, first.action)


def _problem(draft: Draft, kind: Any, path: KeyPath, details: ErrorDetails) -> Problem:  # noqa: ANN401
    where = (*path, *details["loc"])
    node, followed = find(draft.tree, where)
    name = dotted(where[:followed])
    match details["type"]:
        case "missing":
            key = str(details["loc"][-1])
            return Problem(
                node.key_origin or node.origin, dotted((*where[:followed], key)), "missing", f"key {key!r}"
            )
        case "extra_forbidden":
            known = _fields(kind, details["loc"][:-1])
            given = f"unknown key {where[-1]!r}.{nearest(str(where[-1]), known)}"
            return Problem(node.key_origin or node.origin, name, given, f"one of {', '.join(known)}")
        case "value_error":
            return _value_problem(node, where[:followed], details)
        case "literal_error":
            expected = str(details.get("ctx", {}).get("expected", ""))
            close = nearest(str(node.value), re.findall(r"'([^']*)'", expected))
            return Problem(
                node.origin, name, f"{_shown_at(where[:followed], node)}.{close}", f"one of {expected}"
            )
    expected = _EXPECTED.get(details["type"]) or details["msg"].removeprefix("Input should be ")
    given = _shown_at(where[:followed], node)
    return Problem(node.origin, name, given, expected, _remedy(expected, node))


def _value_problem(node: Node, path: KeyPath, details: ErrorDetails) -> Problem:
    """Place a check of the spec itself at the value or key that its message quotes, if there is one."""
    message = details["msg"].removeprefix("Value error, ")
    given, _, expected = message.partition("; expected ")
    quoted = set(re.findall(r"'([^']*)'", message.partition(" Did you mean")[0]))
    for below, leaf in leaves(node, path):
        if leaf.value in quoted:
            return Problem(leaf.origin, dotted(below), given, expected)
        if below and below[-1] in quoted:
            return Problem(leaf.key_origin or leaf.origin, dotted(below), given, expected)
    return Problem(node.key_origin or node.origin, dotted(path), given, expected)


def _remedy(expected: str, node: Node) -> str:
    text = node.value
    if expected == "text" and isinstance(text, bool | int | float):
        return f'put it in quotes: "{json.dumps(text)}"'
    if expected == "true or false" and isinstance(text, str):
        return "write true or false, without quotes"
    if expected in {"a whole number", "a number"} and isinstance(text, str):
        return "write a number, without quotes"
    return ""


def _shown_at(path: KeyPath, node: Node) -> str:
    return "a value (not shown)" if is_secret_key(path) else _shown(node)


def _shown(node: Node) -> str:
    if isinstance(node.value, dict):
        return "a mapping"
    if isinstance(node.value, list):
        return "a list" + (f" of {len(node.value)}" if node.value else " without items")
    text = json.dumps(node.value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _fields(kind: Any, loc: Sequence[str | int]) -> list[str]:  # noqa: ANN401 - walks type annotations
    """Return the field names of the model that a location of ``kind`` holds."""
    kind = _bare(kind)
    if not loc:
        known = kind.model_fields.items() if _is_model(kind) else ()
        names = [info.alias or name for name, info in known]
        return [
            "entity" if name == "entity_key" else name
            for name in names
            if (kind, name) != (FeatureView, "name")
        ]
    if _is_model(kind):
        by_name = {info.alias or name: info.annotation for name, info in kind.model_fields.items()}
        return _fields(by_name.get(str(loc[0])), loc[1:])
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is dict:
        return _fields(arguments[1], loc[1:])
    return _fields(arguments[0], loc[1:]) if arguments else []


def _bare(kind: Any) -> Any:  # noqa: ANN401
    """Return the annotation without Annotated and without ``| None``."""
    if hasattr(kind, "__metadata__"):
        return _bare(kind.__origin__)
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        return _bare(next(part for part in typing.get_args(kind) if part is not type(None)))
    return kind


def _is_model(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
