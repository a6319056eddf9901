"""Notebooks run cell by cell on a session; those of the repository are thin. ``test_flights`` runs one whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from featurelib.notebook import NotebookError, run_notebook

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PROJECT = Path(__file__).parents[2]


def test_sql_cells_run_on_the_session(spark: SparkSession, tmp_path: Path) -> None:
    """A SQL cell takes widgets as parameters, shows its last result and leaves it as ``_sqldf``."""
    notebook = tmp_path / "sql.py"
    notebook.write_text(
        "# Databricks notebook source\ndbutils.widgets.text('origin', 'EWR')\n"
        "# COMMAND ----------\n# MAGIC %sql\n# MAGIC SELECT 0;\n# MAGIC SELECT :origin AS origin, NULL AS late;\n"
        "# COMMAND ----------\nprint(_sqldf.columns)\n"
    )
    result = run_notebook(notebook, spark=spark)
    assert [table.rows for table in result.tables] == [(("EWR", None),)]
    assert result.text == "['origin', 'late']\n"


def test_spark_error_names_its_cell(spark: SparkSession, tmp_path: Path) -> None:
    """A query that Spark refuses is found by its cell."""
    notebook = tmp_path / "sql.py"
    notebook.write_text("# Databricks notebook source\n# MAGIC %sql\n# MAGIC SELECT missing\n")
    with pytest.raises(NotebookError, match=r"sql.py, cell 1, line 2: AnalysisException"):
        run_notebook(notebook, spark=spark)


@pytest.mark.parametrize("path", sorted((PROJECT / "notebooks").glob("*.py")), ids=lambda path: path.name)
def test_notebooks_are_thin(path: Path) -> None:
    """A notebook imports, calls and shows; it defines neither functions nor classes."""
    import ast

    from featurelib.notebook import parse_notebook

    cells = [cell for cell in parse_notebook(path.read_text(), name=path.name) if cell.kind == "python"]
    defined = [
        node
        for cell in cells
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Lambda))
    ]
    assert defined == []
