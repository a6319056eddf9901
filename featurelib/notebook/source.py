"""A notebook's source is a list of cells: the Databricks form, where comments carry the structure.

A file starts with ``# Databricks notebook source``; ``# COMMAND ----------`` stands between cells. A cell
whose lines start with ``# MAGIC`` is Markdown (``%md``), SQL (``%sql``), another notebook (``%run``) or, for
``%pip`` and ``%restart_python``, nothing to do here; ``# DBTITLE 1,Text`` titles it. Every other cell is
Python.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from featurelib.errors import ConfigError

CellKind = Literal["python", "markdown", "sql", "run", "skip"]

HEADER = "# Databricks notebook source"
_COMMAND = re.compile(r"# COMMAND -{10}\s*")
_TITLE = re.compile(r"# DBTITLE \d+,(.*)")
_MAGIC = re.compile(r"# MAGIC ?")
_RUN = re.compile(r"%run\s+(\S+)((?:\s+\$\w+=(?:\"[^\"]*\"|'[^']*'|\S+))*)\s*")
_RUN_PARAMETER = re.compile(r"\$(\w+)=(?:\"([^\"]*)\"|'([^']*)'|(\S+))")
_QUOTED = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|`[^`]*`|--[^\n]*|/\*.*?\*/"
_STATEMENT = re.compile(rf"(?:{_QUOTED}|[^;])+", re.DOTALL)
_PARAMETER = re.compile(rf"{_QUOTED}|(?<![:\w]):(?P<name>[A-Za-z_]\w*)", re.DOTALL)
_KINDS: Mapping[str, CellKind] = {
    "md": "markdown",
    "md-sandbox": "markdown",
    "python": "python",
    "sql": "sql",
    "run": "run",
    "pip": "skip",
    "restart_python": "skip",
}


@dataclass(frozen=True)
class Cell:
    """A cell as written: ``source`` without magic prefixes, ``line`` where it starts in the file."""

    number: int
    kind: CellKind
    source: str
    line: int
    title: str = ""


def parse_notebook(text: str, *, name: str = "notebook") -> list[Cell]:
    """Return the cells of a notebook in Databricks source form, empty ones left out.

    Raises:
        ConfigError: the text does not start with the header, or a cell uses a magic that cannot run here.
    """
    lines = text.splitlines()
    if not lines or lines[0].strip() != HEADER:
        raise ConfigError(
            f"{name} is no notebook", f"{HEADER!r} as its first line", "export it as source from Databricks"
        )
    cells: list[Cell] = []
    start = 1
    for number in range(1, len(lines) + 1):
        if number == len(lines) or _COMMAND.fullmatch(lines[number]):
            if any(line.strip() for line in lines[start:number]):
                cells.append(_cell(lines[start:number], len(cells) + 1, start + 1, name))
            start = number + 1
    return cells


def _cell(lines: Sequence[str], number: int, line: int, name: str) -> Cell:
    """Make a cell of its lines; ``source`` keeps one line for each, so positions stay true."""
    title = next((match[1].strip() for text in lines if (match := _TITLE.fullmatch(text))), "")
    bare = ["" if _TITLE.fullmatch(text) else text for text in lines]
    first = next((text for text in bare if text.strip()), "")
    if not _MAGIC.match(first):
        kept = ["" if _MAGIC.match(text) else text for text in bare]
        return Cell(number, "python", "\n".join(kept), line, title)
    magic, _, rest = _MAGIC.sub("", first, count=1).strip().partition(" ")
    if not magic.startswith("%") or magic[1:] not in _KINDS:
        raise ConfigError(
            f"{name}, cell {number}, line {line}: magic {magic!r}",
            f"one of {', '.join(f'%{known}' for known in _KINDS)}",
            "write the cell in Python",
        )
    source = [_MAGIC.sub("", text, count=1) for text in bare]
    if magic != "%run":
        source[bare.index(first)] = rest
    return Cell(number, _KINDS[magic[1:]], "\n".join(source), line, title)


def split_statements(source: str) -> list[str]:
    """Return the SQL statements between semicolons, minding quotes and comments."""
    bare = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
    return [text for text in _STATEMENT.findall(source) if bare.sub("", text).strip()]


def bound(statement: str, values: Mapping[str, str]) -> str:
    """Return a statement with each ``:name`` outside quotes and comments replaced by its value as a literal.

    Spark's own binding does not work under Delta 4.4 on Spark 4.2: Delta's parser leaves parameters unbound.
    """

    def literal(match: re.Match[str]) -> str:
        if match["name"] not in values:
            return match[0]
        text = values[match["name"]].replace("\\", "\\\\").replace("'", "\\'")
        return f"'{text}'"

    return _PARAMETER.sub(literal, statement)


def parse_run(source: str) -> tuple[str, dict[str, str]]:
    """Return the path and the parameters of a ``%run`` cell.

    Raises:
        ConfigError: the cell is not of that form.
    """
    match = _RUN.fullmatch(source.strip())
    if match is None:
        raise ConfigError(f"{source.strip()!r}", '%run ./notebook $name="value"', "write it in that form")
    given = {name: next(filter(None, values), "") for name, *values in _RUN_PARAMETER.findall(match[2])}
    return match[1].strip("\"'"), given
