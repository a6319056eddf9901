"""Nothing that is written in a configuration runs as code, or reaches a file outside the project."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from featurelib.config import load_project
from featurelib.errors import ConfigError
from featurelib.tables import Store
from tests.unit.shop_project import BASE, changed_project, mutated, write_project

RUNS = (
    "os.system",
    "subprocess.Popen",
    "os.exec",
    "os.posix_spawn",
    "exec",
    "pickle.find_class",
    "socket.connect",
)

# What is written, and in the place of what: each time it must be refused.
IN_EXPRESSIONS = (
    "reflect('java.lang.System', 'exit', 0)",
    "java_method('java.lang.Runtime', 'getRuntime')",
    "try_reflect('java.lang.System', 'getenv', 'HOME')",
    "`reflect`('java.lang.System', 'exit', 0)",
    "REFLECT('java.lang.System', 'exit', 0) IS NULL",
    "/*+ */ reflect('a', 'b')",
    "reflect/**/('a', 'b')",
    "amount > (SELECT count(*) FROM csv.`/etc/passwd`)",
    "EXISTS (SELECT * FROM delta.`/other/table`)",
    "amount IN (SELECT 1)",
    "amount > 0; DROP TABLE orders",
    "amount > 0 UNION SELECT 1",
    "input_file_name() = 'x'",
    "input_file_block_start() > 0",
    "read_files('/etc') IS NULL",
    "from_json('{}', 'a int') IS NULL",
    "raise_error('x')",
    "assert_true(false)",
    "java_method('java.nio.file.Files', 'delete', 'x')",
    "aes_decrypt('a', 'b') IS NULL",
    "current_user() = 'root'",
    "current_database() = 'x'",
    "my_udf(amount) > 1",
    "spark_catalog.default.f(amount)",
    "ai_query('x', 'y') = 'z'",
    "python('import os')",
    "transform(array(1), x -> reflect('a', 'b'))",
    "'a' || '\\' || reflect(1) || '\\''",
    "amount > 0 -- AND false",
    "${secret:env/HOME}",
    "$(touch marker)",
    "{{ config.__class__ }}",
    "__import__('os').system('touch marker')",
    "amount > 1\x00",
    "sys.exec > 0",
)
IN_YAML = (
    "!!python/object/apply:os.system ['touch marker']",
    "!!python/name:os.system",
    "!!python/module:os",
    "!!python/object/new:type {args: ['x', !!python/tuple [], {}]}",
    "!!binary aGk=",
    "!include /etc/passwd",
    "!env HOME",
    "*undefined",
    "&a [*a, *a]",
    "!<tag:yaml.org,2002:python/object/apply:os.system> ['touch marker']",
)
FOLDERS = (
    "../orders",
    "/etc",
    "orders/../../etc",
    "..",
    "./../orders",
    "orders/..",
    "file:///etc",
    "s3a://bucket/orders",
    "~/orders",
    "orders\\..\\..",
    "%2e%2e/orders",
    "",
)
TRANSFORMS = (
    "os:system",
    "../prepare:with_day",
    "/tmp/prepare:with_day",
    "prepare.py:with_day",
    "prepare:__import__('os')",
    "prepare:with_day.__globals__",
    "prepare",
    "subprocess:run",
    "..prepare:with_day",
)
TABLES = (
    "silver.orders`; DROP TABLE x",
    "silver.`orders`",
    "../silver.orders",
    "silver/../../orders",
    "silver.orders@v1",
    "delta.`/etc`",
    "silver.ORDERS",
    "silver.orders.more",
    "silver",
    "",
    "silver.or\nders",
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The valid project."""
    return write_project(tmp_path_factory.mktemp("shop"))


_watched: list[list[tuple[str, Any]]] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _watched and (event in RUNS or event == "open"):
        _watched[-1].append((event, arguments[0] if arguments else None))


sys.addaudithook(_hook)


@contextmanager
def nothing_runs(*roots: Path) -> Iterator[None]:
    """Python's own audit sees neither a program, nor code from a file, nor a file outside the roots."""
    seen: list[tuple[str, Any]] = []
    _watched.append(seen)
    try:
        yield
    finally:
        _watched.pop()
    allowed = (*map(str, roots), sys.prefix, sys.base_prefix, str(Path(__file__).parents[2]))
    opened = [what for event, what in seen if event == "open" and isinstance(what, str | os.PathLike)]
    assert [path for path in map(os.path.realpath, opened) if not path.startswith(allowed)] == []
    ran = [event for event, what in seen if event in RUNS and not _is_import(event, what)]
    assert ran == []


def _is_import(event: str, what: object) -> bool:
    """Whether a module of Python or its packages is being loaded."""
    file = getattr(what, "co_filename", "")
    return event == "exec" and (file.startswith((sys.prefix, sys.base_prefix, "<")) or "featurelib" in file)


def refused(shop: Path, changed: dict[str, str], overrides: Sequence[str] = ()) -> ConfigError:
    """The error of a project with one file changed, while nothing runs."""
    with changed_project(shop, changed), nothing_runs(shop.parents[1]), pytest.raises(ConfigError) as caught:
        load_project(shop, env="local", environ={"HOME": "/root"}, overrides=overrides)
    assert not list(shop.parents[1].rglob("marker"))
    return caught.value


def quoted(text: str) -> str:
    """The text as a YAML string."""
    return (
        '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\x00", "\\0").replace("\n", "\\n") + '"'
    )


@pytest.mark.parametrize("text", IN_EXPRESSIONS)
@pytest.mark.parametrize("place", ["rule", "where"])
def test_expressions_call_nothing_outside_the_language(shop: Path, text: str, place: str) -> None:
    """Java, Python, files, other tables, other users: refused before any engine sees the text."""
    if place == "rule":
        changed = mutated("shop/quality.yaml", "check: amount >= 0", f"check: {quoted(text)}")
    else:
        changed = mutated("shop/sources.yaml", "where: amount IS NOT NULL", f"where: {quoted(text)}")
    refused(shop, changed)


@pytest.mark.parametrize("text", IN_YAML)
def test_yaml_makes_no_objects(shop: Path, text: str) -> None:
    """Tags and references of YAML are refused, in files and on the command line."""
    refused(shop, mutated("shop/pipeline.yaml", "name: shop", f"name: {text}"))
    refused(shop, {}, [f"name={text}"])


def test_yaml_does_not_grow(shop: Path) -> None:
    """A bomb of references, and a file of levels without end, end at once with an error."""
    bomb = "\n".join(
        ["a: &a [x, x]", *(f"{b}: &{b} [*{a}, *{a}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True))]
    )
    refused(shop, {"base.yaml": f"{BASE}{bomb}\n"})
    refused(shop, {"base.yaml": BASE + "deep: " + "[" * 5000 + "]" * 5000 + "\n"})


@pytest.mark.parametrize("text", FOLDERS)
def test_landing_folders_stay_below_the_landing_root(shop: Path, text: str) -> None:
    """Neither up, nor absolute, nor by another scheme."""
    refused(shop, mutated("shop/sources.yaml", "landing: orders", f"landing: {quoted(text)}"))


@pytest.mark.parametrize("text", TRANSFORMS)
def test_transforms_are_functions_of_the_pipelines_own_folder(shop: Path, text: str) -> None:
    """No module of Python, no other folder, no expression; and none is loaded to find out."""
    refused(shop, mutated("shop/sources.yaml", "transform: prepare:with_day", f"transform: {quoted(text)}"))


@pytest.mark.parametrize(
    "text", ["sh`op", "../shop", "shop; DROP TABLE x", "shop/..", "Shop", "shop\n", "s p", "${env:PATH}"]
)
def test_a_pipelines_name_is_a_word(shop: Path, text: str) -> None:
    """It becomes part of table names and paths."""
    refused(shop, mutated("shop/pipeline.yaml", "name: shop", f"name: {quoted(text)}"))


@pytest.mark.parametrize("text", TABLES)
def test_table_names_cannot_leave_the_store(tmp_path: Path, text: str) -> None:
    """A table is ``layer.name``, whoever asks for its folder."""
    with nothing_runs(tmp_path), pytest.raises(ConfigError):
        Store(str(tmp_path)).path(text)


@pytest.mark.parametrize("env", ["../local", "/etc/passwd", "local/../prod", "local.yaml", ""])
def test_an_environment_is_a_file_of_the_project(shop: Path, env: str) -> None:
    """Its name is no path."""
    with nothing_runs(shop.parents[1]), pytest.raises(ConfigError):
        load_project(shop, env=env, environ={})


def test_there_are_at_least_sixty() -> None:
    """So many were asked for; each is tried in one place at least."""
    assert len({*IN_EXPRESSIONS, *IN_YAML, *FOLDERS, *TRANSFORMS, *TABLES}) >= 60


def test_the_watch_sees_what_it_must(tmp_path: Path) -> None:
    """A file elsewhere, and a program, are noticed: the tests above can fail."""
    with pytest.raises(AssertionError), nothing_runs(tmp_path):
        Path("/etc/hostname").open().close()
    with pytest.raises(AssertionError), nothing_runs(tmp_path):
        os.system("true")
