"""Notebooks in Databricks source form, run anywhere: parsed, executed and shown by a few hundred lines."""

from __future__ import annotations

from featurelib.notebook.outputs import Output
from featurelib.notebook.page import to_html
from featurelib.notebook.runner import CellResult, NotebookError, NotebookResult, run_notebook
from featurelib.notebook.source import Cell, parse_notebook

__all__ = [
    "Cell",
    "CellResult",
    "NotebookError",
    "NotebookResult",
    "Output",
    "parse_notebook",
    "run_notebook",
    "to_html",
]
