"""A configuration file is a tree whose every key and value knows the line it stands on.

The YAML taken here is the part with one reading: mappings with text keys, lists, texts, whole and decimal
numbers, true, false and null. Anchors, aliases, tags, merge keys and duplicate keys are refused, and dates
or ``yes`` and ``off`` stay the texts they are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from featurelib.errors import ConfigError

if TYPE_CHECKING:
    from yaml.events import Event

__all__ = [
    "KeyPath",
    "Node",
    "Problem",
    "Scalar",
    "dotted",
    "find",
    "leaves",
    "merged",
    "parse_file",
    "parse_scalar",
    "parse_text",
    "parse_value",
    "plain",
    "put",
]

Scalar = str | int | float | bool | None
KeyPath = tuple[str | int, ...]

MAX_DEPTH = 30
MAX_BYTES = 1_000_000
# libyaml when PyYAML was built with it: ten times faster, the same events.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_DECIMAL = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]{1,3})?")
_WORDS: dict[str, Scalar] = {"true": True, "false": False, "null": None, "~": None, "": None}


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it was given: a scalar, a mapping of nodes or a list of nodes.

    Attributes:
        value: the scalar, the mapping or the list.
        origin: ``conf/base.yaml:5``, ``environment FEATURELIB__ROOT`` or ``-c``.
        key_origin: where the key stands that names the value; equal to ``origin`` for list items.
    """

    value: Scalar | dict[str, Node] | list[Node]
    origin: str
    key_origin: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a configuration: where, which key, what was found and what to do."""

    origin: str
    path: str
    given: str
    expected: str = ""
    action: str = ""

    def __str__(self) -> str:
        head = ": ".join(part for part in (self.origin, self.path) if part)
        return f"{head}\n  {ConfigError(self.given, self.expected, self.action)}"


def parse_file(path: Path, shown: str, problems: list[Problem]) -> Node:
    """Return the tree of a YAML file; faults are added to ``problems`` and their values left out.

    The value of the tree is None when the file cannot be read at all.

    Args:
        path: the file.
        shown: its name in messages, as ``conf/base.yaml``.
        problems: collects what is wrong.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            problems.append(Problem(shown, "", "a file of more than 1 MB", "a configuration file"))
            return Node(None, shown)
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        problems.append(Problem(shown, "", f"byte {error.start} is no UTF-8", "a text file in UTF-8"))
    except OSError as error:
        problems.append(Problem(shown, "", f"cannot be read: {error.strerror}", "a readable file"))
    else:
        return parse_text(text, shown, problems)
    return Node(None, shown)


def parse_text(text: str, shown: str, problems: list[Problem]) -> Node:
    """Return the tree of YAML text whose top is a mapping; None inside when it cannot be read."""
    root = _parsed(text, _Builder(shown, problems), problems)
    if root is None or isinstance(root.value, dict):
        return root or Node(None, shown)
    if root.value is None:
        return Node({}, shown)
    problems.append(Problem(root.origin, "", "the file is no mapping", "lines of key: value"))
    return Node(None, shown)


def parse_value(text: str, origin: str, problems: list[Problem]) -> Node | None:
    """Return the value that a command line or the environment gives as YAML, or None if it is none."""
    return _parsed(text, _Builder(origin, problems, lines=False), problems)


def _parsed(text: str, builder: _Builder, problems: list[Problem]) -> Node | None:
    try:
        return builder.document(yaml.parse(text, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        origin = builder.origin(error.problem_mark or error.context_mark)
        problems.append(Problem(origin, "", f"no valid YAML: {error.problem}", "YAML", "mend the line"))
    except yaml.YAMLError as error:
        problem = f"no valid YAML: {str(error).splitlines()[0]}"
        problems.append(Problem(builder.origin(None), "", problem, "printable text"))
    return None


def parse_scalar(text: str) -> Scalar:
    """Return the value of plain YAML text: number, true, false, null or the text itself."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text


class _Builder:
    """Builds nodes from the parser's events, noting every fault with its line."""

    def __init__(self, shown: str, problems: list[Problem], *, lines: bool = True) -> None:
        self._shown = shown
        self._problems = problems
        self._lines = lines

    def document(self, events: Iterator[Event]) -> Node:
        """Return the tree of the first document; a second one is a fault."""
        root = Node(None, self.origin(None))
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._fault(event, "", "a second document (---)", "one document a file")
            elif isinstance(event, yaml.NodeEvent):
                node = self._node(event, events, ())
                root = node if documents == 1 else root
        return root

    def _node(self, event: Event, events: Iterator[Event], path: KeyPath, key_origin: str = "") -> Node:
        origin = self.origin(event.start_mark)
        self._check_plain(event, path)
        if len(path) > MAX_DEPTH:
            problem = f"more than {MAX_DEPTH} levels of nesting"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)  # type: ignore[arg-type]
        if isinstance(event, yaml.MappingStartEvent):
            return Node(self._mapping(events, path), origin, key_origin)
        if isinstance(event, yaml.SequenceStartEvent):
            return Node(self._sequence(events, path), origin, key_origin)
        if isinstance(event, yaml.ScalarEvent):
            quoted = event.style in {"'", '"', "|", ">"}
            return Node(event.value if quoted else parse_scalar(event.value), origin, key_origin or origin)
        return Node(None, origin, key_origin)

    def _mapping(self, events: Iterator[Event], path: KeyPath) -> dict[str, Node]:
        found: dict[str, Node] = {}
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self._node(event, events, path)
            name = self._key(event, key, path)
            value = self._node(next(events), events, (*path, name), key.origin)
            if name in found:
                first = found[name].key_origin
                self._fault(
                    event, dotted((*path, name)), f"key {name!r} is given twice", f"once; first at {first}"
                )
            elif name:
                found[name] = value
        return found

    def _key(self, event: Event, key: Node, path: KeyPath) -> str:
        if isinstance(key.value, str) and key.value != "<<":
            return key.value
        given = "a merge key <<" if key.value == "<<" else f"key {_written(event)}"
        self._fault(
            event, dotted(path), f"{given} is no text", "a text key", "put it in quotes or write it out"
        )
        return ""

    def _sequence(self, events: Iterator[Event], path: KeyPath) -> list[Node]:
        items: list[Node] = []
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            items.append(self._node(event, events, (*path, len(items))))
        return items

    def _check_plain(self, event: Event, path: KeyPath) -> None:
        if isinstance(event, yaml.AliasEvent):
            given, expected = f"alias *{event.anchor}", "the value itself"
        elif (anchor := getattr(event, "anchor", None)) is not None:
            given, expected = f"anchor &{anchor}", "a value without &"
        elif (tag := getattr(event, "tag", None)) is not None:
            given, expected = f"tag {tag}", "a value without a tag"
        else:
            return
        self._fault(event, dotted(path), given, expected, "write the value out, or use ${key}")

    def _fault(self, event: Event, path: str, given: str, expected: str, action: str = "") -> None:
        self._problems.append(Problem(self.origin(event.start_mark), path, given, expected, action))

    def origin(self, mark: Any) -> str:  # noqa: ANN401 - the two parsers' marks share no type
        """Return the file and line of a mark."""
        return f"{self._shown}:{mark.line + 1}" if self._lines and mark is not None else self._shown


def _written(event: Event) -> str:
    return str(event.value) if isinstance(event, yaml.ScalarEvent) else "that is itself a mapping or list"


# --- what is done with trees ----------------------------------------------------------------------------


def dotted(path: Sequence[str | int]) -> str:
    """Return the path as it is written with ``-c``: ``sources.departures.tie_breaker.0``."""
    return ".".join(str(part) for part in path)


def merged(below: Node, above: Node) -> Node:
    """Return both trees as one; mappings are united, of anything else the upper layer's value stays."""
    if not (isinstance(below.value, dict) and isinstance(above.value, dict)):
        return above
    united = dict(below.value)
    for key, node in above.value.items():
        united[key] = merged(united[key], node) if key in united else node
    return Node(united, above.origin, above.key_origin)


def put(root: Node, path: Sequence[str], node: Node) -> Node:
    """Return the tree with a value laid over it at a path; list items are named by their index.

    Raises:
        ConfigError: the path names an item that a list does not have.
    """
    if not path:
        return merged(root, node)
    first, *rest = path
    if isinstance(root.value, list):
        if not first.isdecimal() or int(first) >= len(root.value):
            raise ConfigError(f"item {first!r} of a list of {len(root.value)}", "an index from 0")
        items = list(root.value)
        items[int(first)] = put(items[int(first)], rest, node)
        return Node(items, root.origin, root.key_origin)
    below = root.value if isinstance(root.value, dict) else {}
    empty = Node({}, node.origin, node.origin)
    changed = {**below, first: put(below.get(first, empty), rest, node)}
    origin = root if isinstance(root.value, dict) else node
    return Node(changed, origin.origin, origin.key_origin)


def find(root: Node, path: Sequence[str | int]) -> tuple[Node, int]:
    """Return the deepest node on the path and how many of its parts were followed."""
    node = root
    for followed, part in enumerate(path):
        below: Node | None = None
        if isinstance(node.value, dict):
            below = node.value.get(str(part))
        elif isinstance(node.value, list) and str(part).isdecimal() and int(part) < len(node.value):
            below = node.value[int(part)]
        if below is None:
            return node, followed
        node = below
    return node, len(path)


def leaves(node: Node, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Node]]:
    """Yield every scalar, empty mapping and empty list with its path, in order."""
    if isinstance(node.value, dict) and node.value:
        for key, below in node.value.items():
            yield from leaves(below, (*path, key))
    elif isinstance(node.value, list) and node.value:
        for index, below in enumerate(node.value):
            yield from leaves(below, (*path, index))
    else:
        yield path, node


def plain(node: Node) -> Any:  # noqa: ANN401 - whatever JSON can say
    """Return the tree as plain dicts, lists and scalars."""
    if isinstance(node.value, dict):
        return {key: plain(below) for key, below in node.value.items()}
    if isinstance(node.value, list):
        return [plain(below) for below in node.value]
    return node.value
