"""Tests of feature definitions: rows of tables in, feature rows out, in YAML, without Spark."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Context, Decimal, Inexact, InvalidOperation
from pathlib import Path
from typing import Any

import polars as pl

from featurelib.column_types import decimal_digits
from featurelib.config import ConfigErrors
from featurelib.config_tree import Node, Problem, parse_file
from featurelib.derived import feature_names
from featurelib.errors import ConfigError, nearest
from featurelib.expressions.frames import polars_type
from featurelib.pipeline.silver import SilverRows, Span, types_of
from featurelib.pipeline.without_spark import features_without_spark, needed_views, with_derived
from featurelib.point_in_time.features import AS_OF
from featurelib.reports.text_tables import shown
from featurelib.specs import Project
from featurelib.timeline import parse_instant

_TOLERANCE = 1e-9
_PARTS = ("description", "rows", "features")


@dataclass(frozen=True)
class FeatureTest:
    """Rows of landed tables, typed as in silver, and questions with the features they must have.

    Attributes:
        name: what the test is called.
        origin: file and line.
        rows: by table; a column that a row does not give is null.
        spine: the questions; a spine column that none gives is null.
        expected: of each question, the features that are compared.
        origins: file and line of each question.
    """

    name: str
    origin: str
    rows: Mapping[str, Sequence[Mapping[str, Any]]]
    spine: Sequence[Mapping[str, Any]]
    expected: Sequence[Mapping[str, Any]]
    origins: Sequence[str]


@dataclass(frozen=True)
class Difference:
    """A feature that is not what a test says."""

    test: str
    origin: str
    question: str
    feature: str
    expected: Any
    got: Any

    def __str__(self) -> str:
        return f"  {self.feature}: expected {shown(self.expected)}, got {shown(self.got)}"


# --- running --------------------------------------------------------------------------------------------


def run_tests(project: Project) -> tuple[str, int]:
    """Run every test of a pipeline; return what to print and how many tests failed.

    Raises:
        ConfigErrors: a test cannot be read.
    """
    tests = load_tests(project)
    started = time.perf_counter()
    lines: list[str] = []
    failed = 0
    for test in tests:
        found = list(differences(project, test))
        failed += bool(found)
        for origin, question in dict.fromkeys((odd.origin, odd.question) for odd in found):
            lines.append(f"FAILED {test.name}, {origin}: {question}")
            lines += [str(odd) for odd in found if odd.origin == origin]
    took = f"{(time.perf_counter() - started) * 1000:.0f} ms"
    questions = sum(len(test.spine) for test in tests)
    told = f"{failed} of {len(tests)} tests failed" if failed else f"{len(tests)} tests passed"
    return "\n".join([*lines, f"{told}, {questions} questions, {took}"]), failed


def differences(project: Project, test: FeatureTest) -> Iterator[Difference]:
    """Yield every feature that differs; doubles are equal to a billionth of their value.

    Raises:
        ConfigError: a source needs Spark; the message says why.
    """
    named = {feature for expected in test.expected for feature in expected}
    views = needed_views(project, named)
    schema = {name: polars_type(kind) for name, kind in _spine_types(project).items()}
    spine = pl.DataFrame([{name: row.get(name) for name in schema} for row in test.spine], schema=schema)
    found = features_without_spark(project, views, spine, _given_rows(project, test))
    found = with_derived(found, project, named)
    for number, (row, expected) in enumerate(zip(found.iter_rows(named=True), test.expected, strict=True)):
        question = ", ".join(f"{name} {shown(value)}" for name, value in test.spine[number].items())
        for feature, value in expected.items():
            if not _same(value, row[feature]):
                yield Difference(test.name, test.origins[number], question, feature, value, row[feature])


def _given_rows(project: Project, test: FeatureTest) -> SilverRows:
    def rows(table: str, columns: frozenset[str] | None, span: Span | None = None, /) -> pl.DataFrame:  # noqa: ARG001 - all of a test's few rows
        schema = {
            name: polars_type(kind)
            for name, kind in types_of(project, table).items()
            if columns is None or name in columns
        }
        given = [{name: row.get(name) for name in schema} for row in test.rows.get(table, ())]
        return pl.DataFrame(given, schema=schema)

    return rows


def _same(expected: object, got: object) -> bool:
    """Whether YAML says the value: instants and dates are texts there, maps are mappings."""
    if isinstance(expected, dict) and isinstance(got, list):
        pairs = {pair["key"]: pair["value"] for pair in got}
        return expected.keys() == pairs.keys() and all(_same(expected[key], pairs[key]) for key in pairs)
    if isinstance(expected, list) and isinstance(got, list):
        return len(expected) == len(got) and all(map(_same, expected, got))
    if isinstance(expected, str) and isinstance(got, date):
        return _moment(expected) == (got if isinstance(got, datetime) else _moment(got.isoformat()))
    numbers = isinstance(expected, int | float) and isinstance(got, int | float | Decimal)
    if not numbers or isinstance(expected, bool):
        return expected == got
    wanted, found = float(expected), float(got)  # type: ignore[arg-type] # numbers, as just seen
    if math.isnan(wanted):
        return math.isnan(found)
    return math.isclose(wanted, found, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)


def _moment(text: str) -> datetime | None:
    try:
        return parse_instant(text)
    except ConfigError:
        return None


# --- reading --------------------------------------------------------------------------------------------


def load_tests(project: Project) -> list[FeatureTest]:
    """Return the tests of a pipeline: every file ``tests/*.yaml`` of its folder, in the order of names.

    Raises:
        ConfigErrors: a file is no list of tests, or names what the project does not have.
        ConfigError: there are no tests.
    """
    folder = Path(project.folder) / "tests"
    problems: list[Problem] = []
    tests: list[FeatureTest] = []
    for path in sorted(folder.glob("*.yaml")):
        tree = parse_file(path, f"{project.folder}/tests/{path.name}", problems)
        for name, node in _mapping(tree, problems).items():
            tests.append(_test(project, name, node, problems))
    if problems:
        raise ConfigErrors(problems)
    if not tests:
        raise ConfigError(
            f"no tests in {folder}", "files NAME.yaml of tests", "see docs/looking-at-features.md"
        )
    return tests


def _test(project: Project, name: str, node: Node, problems: list[Problem]) -> FeatureTest:
    parts = _mapping(node, problems)
    for part, inner in parts.items():
        if part not in _PARTS:
            _refuse(
                problems,
                inner,
                f"unknown key {part!r}.{nearest(part, _PARTS)}",
                f"one of {', '.join(_PARTS)}",
            )
    rows: dict[str, list[dict[str, Any]]] = {}
    for table, given in _mapping(parts.get("rows", Node({}, node.origin)), problems).items():
        if table not in project.tables:
            _refuse(problems, given, f"unknown table {table!r}.{nearest(table, project.tables)}", "a table")
            continue
        types = types_of(project, table)
        rows[table] = [_row(row, types, f"table {table}", problems) for row in _list(given, problems)]
    asked = _list(parts.get("features", Node([], node.origin)), problems)
    if not asked:
        _refuse(problems, node, f"test {name} asks nothing", "features: a list of questions")
    spine, features = _spine_types(project), feature_names(project)
    answers = [_answer(row, spine, features, problems) for row in asked]
    return FeatureTest(
        name,
        node.key_origin or node.origin,
        rows,
        [question for question, _ in answers],
        [expected for _, expected in answers],
        [row.origin for row in asked],
    )


def _answer(
    node: Node, spine: Mapping[str, str], features: Sequence[str], problems: list[Problem]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split a question from the features it must have."""
    given = _mapping(node, problems)
    question = {name: _typed(value, spine[name], problems) for name, value in given.items() if name in spine}
    expected = {name: _plain(value) for name, value in given.items() if name in features}
    for name in given.keys() - question.keys() - expected.keys():
        known = [*spine, *features]
        _refuse(
            problems,
            given[name],
            f"unknown name {name!r}.{nearest(name, known)}",
            "a spine column or feature",
        )
    if AS_OF not in question:
        _refuse(problems, node, f"a question without {AS_OF}", f"{AS_OF}: a UTC instant")
    return question, expected


def _row(node: Node, types: Mapping[str, str], what: str, problems: list[Problem]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, value in _mapping(node, problems).items():
        if name not in types:
            _refuse(
                problems, value, f"{what} has no column {name!r}.{nearest(name, types)}", "a silver column"
            )
        else:
            row[name] = _typed(value, types[name], problems)
    return row


def _spine_types(project: Project) -> dict[str, str]:
    return {**project.spine.column_types, AS_OF: "timestamp_utc"}


def _typed(node: Node, kind: str, problems: list[Problem]) -> Any:  # noqa: ANN401 - a value of any column type
    """Return a scalar as a value of a column type."""
    value = node.value
    if value is None:
        return None
    try:
        if kind == "timestamp_utc":
            return parse_instant(str(value))
        if kind == "date":
            return date.fromisoformat(str(value))
        digits = decimal_digits(kind)
        if digits is not None and not isinstance(value, bool | dict | list):
            return _decimal(str(value), *digits)
        if kind == "double" and not isinstance(value, bool | dict | list):
            return float(value)
    except (ConfigError, ValueError):
        pass
    fits = {"int": int, "long": int, "string": str, "boolean": bool}.get(kind)
    if fits is None or not isinstance(value, fits) or (fits is int and isinstance(value, bool)):
        _refuse(problems, node, f"{value!r}", f"a value of type {kind}")
    return value


def _decimal(text: str, digits: int, behind: int) -> Decimal:
    """Return a decimal of at most so many digits, so many of them behind the point.

    Raises:
        ValueError: the text is none.
    """
    exactly = Context(digits, traps=[InvalidOperation, Inexact])
    try:
        return Decimal(text).quantize(Decimal(1).scaleb(-behind), context=exactly)
    except ArithmeticError:
        raise ValueError(text) from None


def _plain(node: Node) -> Any:  # noqa: ANN401 - a feature's value, lists and maps included
    if isinstance(node.value, list):
        return [_plain(item) for item in node.value]
    if isinstance(node.value, dict):
        return {name: _plain(item) for name, item in node.value.items()}
    return math.nan if node.value == "NaN" else node.value


def _mapping(node: Node, problems: list[Problem]) -> dict[str, Node]:
    if isinstance(node.value, dict):
        return node.value
    if node.value is not None:
        _refuse(problems, node, "no mapping", "lines of name: value")
    return {}


def _list(node: Node, problems: list[Problem]) -> list[Node]:
    if isinstance(node.value, list):
        return node.value
    _refuse(problems, node, "no list", "a list of rows")
    return []


def _refuse(problems: list[Problem], node: Node, given: str, expected: str) -> None:
    problems.append(Problem(node.origin, "", given, expected))
