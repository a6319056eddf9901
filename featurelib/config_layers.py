"""The layers of a configuration become one tree, with its references resolved.

Later layers win: ``base.yaml``, ``env/ENV.yaml``, the pipeline folder's files, ``FEATURELIB__A__B`` of the
environment, ``-c a.b=value``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from featurelib.config_tree import (
    KeyPath,
    Node,
    Problem,
    Scalar,
    dotted,
    find,
    leaves,
    merged,
    parse_file,
    parse_value,
    put,
)
from featurelib.errors import ConfigError, nearest
from featurelib.references import SECRET, WRITTEN

__all__ = [
    "HIDDEN_ADDRESS",
    "HIDDEN_NAME",
    "Place",
    "is_secret_key",
    "read_layers",
    "refuse_secrets",
    "resolved",
]

FILES = ("pipeline.yaml", "sources.yaml", "features.yaml", "models.yaml", "quality.yaml")
PREFIX = "FEATURELIB__"
MAX_TEXT = 10_000
_REFERENCE = re.compile(r"\$\{([^{}]*)\}")
_VARIABLE = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
HIDDEN_NAME = (
    r"passw(or)?d|passphrase|secret|token|credential|(api|access|private|account|shared|sas)[._-]?key"
)
"""What is a secret by its name."""
HIDDEN_ADDRESS = r"://[^/\s:@]+:[^/\s@]+@"
"""An address with a password in it."""
_SECRET_KEY = re.compile(HIDDEN_NAME)
_NO_SECRET_KEY = re.compile(r"(file|path|provider|enabled|class|uri|url|name|ttl|type|algorithm)$")
_SECRET_VALUE = re.compile(
    HIDDEN_ADDRESS + r"|AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{20}|dapi[0-9a-f]{32}|xox[abp]-|-----BEGIN"
)
# Mappings whose keys are names of columns, whatever they sound like.
_COLUMN_MAPS = frozenset({"columns", "column_types", "derived", "derived_types", "transform_adds"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pipeline's configuration lies: its folder, the folder above it, and the environment's name."""

    folder: Path
    env: str

    @property
    def conf(self) -> Path:
        """The folder that holds ``base.yaml`` and ``env/``."""
        return self.folder.resolve().parent

    @property
    def project(self) -> Path:
        """The project folder: relative paths start here, and messages name files from here."""
        return self.conf.parent

    def shown(self, path: Path) -> str:
        """Return the file's name in messages."""
        return path.resolve().relative_to(self.project).as_posix()


def is_secret_key(path: Sequence[str | int]) -> bool:
    """Whether the value at this path is a secret by its name, so that it is never printed."""
    if not path or (len(path) > 1 and path[-2] in _COLUMN_MAPS):
        return False
    last = str(path[-1]).lower()
    by_name = _SECRET_KEY.search(last) is not None and _NO_SECRET_KEY.search(last) is None
    return by_name or (path[0] == "secrets" and len(path) > 1) or _is_encryption_key(path)


def _is_encryption_key(path: Sequence[str | int]) -> bool:
    """Whether a key of ``tables.NAME.encryption`` stands here."""
    return path[0] == "tables" and tuple(path[2:4]) in {
        ("encryption", "key"),
        ("encryption", "previous_keys"),
    }


def read_layers(
    place: Place, overrides: Sequence[str], environ: Mapping[str, str], problems: list[Problem]
) -> Node | None:
    """Return the tree of all layers, references unresolved; None if a file cannot be read."""
    roots = [
        parse_file(path, place.shown(path), problems)
        for path in (place.conf / "base.yaml", place.conf / "env" / f"{place.env}.yaml")
    ]
    pipeline = [parse_file(path, place.shown(path), problems) for path in _pipeline_files(place, problems)]
    if any(root.value is None for root in (*roots, *pipeline)):
        return None
    tree = Node({}, place.shown(place.folder))
    for root in (*roots, _one_layer(pipeline, tree, problems)):
        tree = merged(tree, root)
    for path, node in (*_from_environment(environ, problems), *_from_overrides(overrides, problems)):
        try:
            tree = put(tree, path, node)
        except ConfigError as error:
            problems.append(Problem(node.origin, dotted(path), error.given, error.expected))
    refuse_secrets(tree, problems)
    return tree


def _pipeline_files(place: Place, problems: list[Problem]) -> list[Path]:
    found = sorted(path for path in place.folder.iterdir() if path.suffix in {".yaml", ".yml", ".json"})
    for path in found:
        if path.name not in FILES:
            given = f"{path.name} is no file of a pipeline.{nearest(path.name, FILES)}"
            problems.append(Problem(place.shown(path), "", given, f"one of {', '.join(FILES)}"))
    return [place.folder / name for name in FILES if (place.folder / name) in found]


def _one_layer(roots: Sequence[Node], below: Node, problems: list[Problem]) -> Node:
    united: dict[str, Node] = {}
    for root in roots:
        for key, node in root.value.items() if isinstance(root.value, dict) else ():
            if key in united:
                first = united[key].key_origin
                problems.append(
                    Problem(node.key_origin, key, f"key {key!r} is given twice", f"once; first at {first}")
                )
            else:
                united[key] = node
    return Node(united, below.origin)


def _from_environment(
    environ: Mapping[str, str], problems: list[Problem]
) -> Iterator[tuple[list[str], Node]]:
    for name in sorted(environ):
        if not name.upper().startswith(PREFIX):
            continue
        origin = f"environment {name}"
        path = name[len(PREFIX) :].lower().split("__")
        if not all(path):
            problems.append(Problem(origin, "", "an empty part between __", f"{PREFIX}SPARK__DRIVER_MEMORY"))
            continue
        node = _given(path, environ[name], origin, problems)
        if node is not None and isinstance(node.value, dict | list):
            problems.append(
                Problem(origin, dotted(path), "a list or mapping", "one value", "use -c for lists")
            )
        elif node is not None:
            yield path, node


def _from_overrides(overrides: Sequence[str], problems: list[Problem]) -> Iterator[tuple[list[str], Node]]:
    for text in overrides:
        key, equals, value = text.partition("=")
        path = key.strip().split(".")
        if path[:2] == ["spark", "conf"] and len(path) > 2:
            path = ["spark", "conf", ".".join(path[2:])]
        if not equals or not all(path):
            shown = key if is_secret_key(path) else text
            problems.append(Problem("-c", "", f"{shown!r} is no key=value", "as -c spark.driver_memory=8g"))
            continue
        node = _given(path, value, "-c", problems)
        if node is not None:
            yield path, node


def _given(path: Sequence[str], text: str, origin: str, problems: list[Problem]) -> Node | None:
    """Return the node of a value given as text; Spark's own settings are text whatever they look like."""
    if path[:2] == ["spark", "conf"]:
        return Node(text, origin, origin)
    node = parse_value(text, origin, problems)
    return None if node is None else Node(node.value, origin, origin)


def refuse_secrets(tree: Node, problems: list[Problem]) -> None:
    """Note every secret that is written out, whatever its key, without repeating it."""
    for path, node in leaves(tree):
        literal = isinstance(node.value, str) and not SECRET.fullmatch(node.value) and node.value != ""
        number = isinstance(node.value, int | float) and not isinstance(node.value, bool)
        if is_secret_key(path) and (literal or number):
            given = "a secret written out (not shown)"
        elif isinstance(node.value, str) and _SECRET_VALUE.search(node.value):
            given = "a value that holds a password, key or token (not shown)"
        else:
            continue
        expected = f"a reference, {WRITTEN}"
        problems.append(Problem(node.origin, dotted(path), given, expected, "give it by reference"))


# --- references -----------------------------------------------------------------------------------------


def resolved(tree: Node, place: Place, environ: Mapping[str, str], problems: list[Problem]) -> Node:
    """Return the tree with ``${...}`` replaced; secrets stay references, faults are added to ``problems``."""
    return _Resolver(tree, place, environ, problems).tree(tree, ())


class _Resolver:
    """Resolves each value once; a value that refers to itself is a fault, named with its whole circle."""

    def __init__(self, tree: Node, place: Place, environ: Mapping[str, str], problems: list[Problem]) -> None:
        self._tree = tree
        self._place = place
        self._environ = environ
        self._problems = problems
        self._done: dict[KeyPath, Scalar] = {}
        self._open: list[KeyPath] = []

    def tree(self, node: Node, path: KeyPath) -> Node:
        value = node.value
        if isinstance(value, dict):
            return Node(
                {key: self.tree(below, (*path, key)) for key, below in value.items()},
                node.origin,
                node.key_origin,
            )
        if isinstance(value, list):
            items = [self.tree(below, (*path, index)) for index, below in enumerate(value)]
            return Node(items, node.origin, node.key_origin)
        return Node(self._scalar(node, value, path), node.origin, node.key_origin)

    def _scalar(self, node: Node, value: Scalar, path: KeyPath) -> Scalar:
        if not isinstance(value, str) or "${" not in value or SECRET.fullmatch(value):
            return value
        if path not in self._done:
            self._open.append(path)
            self._done[path] = self._text(node, value, path)
            self._open.pop()
        return self._done[path]

    def _text(self, node: Node, text: str, path: KeyPath) -> Scalar:
        try:
            return self._filled(text)
        except ConfigError as error:
            self._problems.append(
                Problem(node.origin, dotted(path), error.given, error.expected, error.action)
            )
            return text

    def _filled(self, text: str) -> Scalar:
        whole = _REFERENCE.fullmatch(text)
        if whole is not None:
            return self._target(whole[1])
        filled = _REFERENCE.sub(lambda match: self._part(match[1]), text)
        if "${" in _REFERENCE.sub("", text):
            raise ConfigError(f"{text!r}: a ${{ without its }}", "references as ${root} or ${env:NAME}")
        if len(filled) > MAX_TEXT:
            raise ConfigError(f"a text of {len(filled)} characters", f"at most {MAX_TEXT}")
        return filled

    def _part(self, reference: str) -> str:
        value = self._target(reference)
        if reference.startswith("secret:") or (isinstance(value, str) and SECRET.fullmatch(value)):
            raise ConfigError(
                f"the secret ${{{reference}}} within a longer text",
                "a secret alone in its value",
                "put the whole value into the secret",
            )
        if isinstance(value, bool):
            return "true" if value else "false"
        return "" if value is None else str(value)

    def _target(self, reference: str) -> Scalar:
        if reference.startswith("secret:"):
            raise ConfigError(f"${{{reference}}}", f"{WRITTEN}, alone in its value")
        if reference.startswith("env:"):
            return self._variable(reference)
        if reference == "env":
            return self._place.env
        return self._key("name" if reference == "pipeline" else reference)

    def _variable(self, reference: str) -> str:
        match = _VARIABLE.fullmatch(reference)
        if match is None:
            raise ConfigError(f"${{{reference}}}", "${env:NAME} or ${env:NAME:-default}")
        name, default = match[1], match[2]
        value = self._environ.get(name) or default
        if value is None:
            raise ConfigError(
                f"${{env:{name}}}: the environment variable {name} is not set",
                "its value in the environment",
                f"export {name}=..., or write ${{env:{name}:-default}}",
            )
        return value

    def _key(self, reference: str) -> Scalar:
        path: KeyPath = tuple(reference.split("."))
        target, followed = find(self._tree, path)
        if followed < len(path):
            known = [dotted(leaf) for leaf, _ in leaves(self._tree)] + ["env", "pipeline"]
            raise ConfigError(
                f"unknown reference ${{{reference}}}.{nearest(reference, known)}",
                "a key of the configuration, ${env}, ${pipeline}, ${env:NAME} or ${secret:env/NAME}",
            )
        if isinstance(target.value, dict | list):
            raise ConfigError(f"${{{reference}}} is a mapping or list", "a reference to one value")
        if path in self._open:
            circle = [*self._open[self._open.index(path) :], path]
            raise ConfigError(
                f"refers to itself: {' -> '.join(dotted(step) for step in circle)}", "no circle of references"
            )
        return self._scalar(target, target.value, path)
