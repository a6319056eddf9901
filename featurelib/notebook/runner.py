"""The cells of a notebook run in order, in one namespace, and an error says where it stands.

The cells find ``spark``, ``display``, ``displayHTML`` and ``dbutils``; the value of a cell's last expression
is shown.
"""

from __future__ import annotations

import ast
import contextlib
import linecache
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featurelib.errors import ConfigError, FeaturelibError, nearest
from featurelib.notebook import page
from featurelib.notebook.dbutils import NotebookExit, Utilities
from featurelib.notebook.outputs import Output, Recorder, shown
from featurelib.notebook.source import Cell, bound, parse_notebook, parse_run, split_statements

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class NotebookError(FeaturelibError):
    """A cell failed; ``notebook``, ``cell`` and ``line`` say where, ``__cause__`` why."""

    def __init__(self, given: str, expected: str = "", action: str = "") -> None:
        super().__init__(given, expected, action)
        self.notebook = ""
        self.cell = 0
        self.line = 0


@dataclass(frozen=True)
class CellResult:
    """A cell that ran, what it showed and how long it took."""

    cell: Cell
    outputs: tuple[Output, ...]
    seconds: float


@dataclass(frozen=True)
class NotebookResult:
    """A notebook that ran; ``exit_value`` is what it gave to ``dbutils.notebook.exit``."""

    path: str
    parameters: Mapping[str, str]
    cells: tuple[CellResult, ...]
    exit_value: str | None = None

    @property
    def text(self) -> str:
        """Everything the cells printed."""
        return "".join(output.text for cell in self.cells for output in cell.outputs if output.kind == "text")

    @property
    def tables(self) -> list[Output]:
        """Every table the cells showed, in order."""
        return [output for cell in self.cells for output in cell.outputs if output.kind == "table"]


def run_notebook(
    path: str | Path,
    *,
    spark: SparkSession | None,
    parameters: Mapping[str, str] | None = None,
    html: str | Path | None = None,
) -> NotebookResult:
    """Run every cell of a notebook in order and return what they showed.

    Args:
        path: the notebook's file.
        spark: the session the cells find as ``spark``; None for notebooks that use none.
        parameters: values of widgets, in place of the defaults the notebook gives them.
        html: where to write the executed notebook as one HTML page, also when a cell fails.

    Raises:
        ConfigError: the file is missing or no notebook, or a parameter has no widget.
        NotebookError: a cell failed; the message names notebook, cell and line.
    """
    run = _Run(spark, dict(parameters or {}))
    failure: NotebookError | None = None
    try:
        run.notebook(Path(path))
    except NotebookExit as leaving:
        run.exit_value = leaving.value
    except NotebookError as error:
        failure = error
    result = NotebookResult(str(path), run.widgets.getAll(), tuple(run.cells), run.exit_value)
    if html is not None:
        Path(html).write_text(page.to_html(result), encoding="utf-8")
    if failure is not None:
        raise failure
    if run.exit_value is None:
        _check_all_used(result, parameters or {})
    return result


def _check_all_used(result: NotebookResult, parameters: Mapping[str, str]) -> None:
    for name in parameters:
        if name not in result.parameters:
            known = ", ".join(result.parameters) or "none"
            raise ConfigError(
                f"{result.path} has no widget {name!r}",
                f"one of its widgets: {known}.{nearest(name, result.parameters)}",
                "rename or leave out the parameter",
            )


class _Run:
    """One run: the namespace its cells share and what they have shown so far."""

    def __init__(self, spark: SparkSession | None, parameters: Mapping[str, str]) -> None:
        self.spark = spark
        self.dbutils = Utilities(parameters)
        self.widgets = self.dbutils.widgets
        self.cells: list[CellResult] = []
        self.exit_value: str | None = None
        self.recorder = Recorder(self.dbutils.secrets.redacted)
        self.open: list[Path] = []
        self.names: dict[str, Any] = {
            "__name__": "__main__",
            "spark": spark,
            "display": self.display,
            "displayHTML": self.display_html,
            "dbutils": self.dbutils,
        }

    def notebook(self, path: Path) -> None:
        """Run the cells of one file; ``%run`` comes back here."""
        if not path.is_file():
            raise ConfigError(f"notebook {path}", "an existing file", "check the path")
        if path.resolve() in self.open:
            raise ConfigError(f"{path} runs itself", "notebooks that include each other once", "drop a %run")
        self.open.append(path.resolve())
        text = path.read_text(encoding="utf-8")
        linecache.cache[str(path)] = (len(text), None, text.splitlines(keepends=True), str(path))
        for cell in parse_notebook(text, name=str(path)):
            self.cell(path, cell)
        self.open.pop()

    def cell(self, path: Path, cell: Cell) -> None:
        """Run one cell and record it, also when it fails or leaves the notebook."""
        started = time.perf_counter()
        position = len(self.cells)
        try:
            with contextlib.redirect_stdout(self.recorder):
                self._execute(path, cell)
        except NotebookError:
            raise
        except Exception as error:
            failure = _located(path, cell, error)
            self.recorder.outputs.append(Output("error", str(failure)))
            raise failure from error
        finally:
            taken = time.perf_counter() - started
            self.cells.insert(position, CellResult(cell, self.recorder.taken(), taken))

    def _execute(self, path: Path, cell: Cell) -> None:
        if cell.kind == "python":
            self._python(path, cell)
        elif cell.kind == "sql":
            self._sql(cell.source)
        elif cell.kind == "run":
            self._include(path, cell.source)

    def _python(self, path: Path, cell: Cell) -> None:
        tree = ast.parse("\n" * (cell.line - 1) + cell.source, filename=str(path))
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, str(path), "exec"), self.names)  # noqa: S102 - running the notebook is the purpose
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), str(path), "eval"), self.names)  # noqa: S307 - as above
            if value is not None:
                self.display(value)

    def _sql(self, source: str) -> None:
        if self.spark is None:
            raise ConfigError("a %sql cell without a session", "a SparkSession", "pass spark to run_notebook")
        frame = None
        for statement in split_statements(source):
            frame = self.spark.sql(bound(statement, self.widgets.getAll()))
        if frame is not None:
            self.names["_sqldf"] = frame
            self.display(frame)

    def _include(self, path: Path, source: str) -> None:
        name, given = parse_run(source)
        self.widgets.given.update(given)
        target = path.parent / name
        self.notebook(target if target.suffix == ".py" else target.with_name(f"{target.name}.py"))

    def display(self, value: Any) -> None:  # noqa: ANN401 - a notebook displays anything
        """Show a frame as a table (its first rows), a figure as an image, anything else in its own words."""
        self.recorder.outputs.append(shown(value))

    def display_html(self, html: str) -> None:
        """Show HTML of the notebook's own making."""
        self.recorder.outputs.append(Output("html", html))


def _located(path: Path, cell: Cell, error: Exception) -> NotebookError:
    """Make an error that names the notebook, the cell and the line of the file that failed."""
    line = cell.line
    if isinstance(error, SyntaxError) and error.filename == str(path):
        line = error.lineno or line
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename == str(path):
            line = frame.lineno or line
    title = f" ({cell.title})" if cell.title else ""
    failure = NotebookError(
        f"{path}, cell {cell.number}{title}, line {line}: {type(error).__name__}: {error}",
        "",
        f"see {path}:{line}" if not isinstance(error, FeaturelibError) else "",
    )
    failure.notebook, failure.cell, failure.line = str(path), cell.number, line
    return failure
