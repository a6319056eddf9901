"""What a part of the library loads, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

CONF = Path(__file__).parents[2] / "conf"

IMPORTS = """
import sys
from featurelib.config import load_project
load_project(sys.argv[1], environ={})
print(sorted({name.partition('.')[0] for name in sys.modules} & {'pyspark', 'pandas', 'mlflow', 'delta', 'polars'}))
"""


def test_loading_needs_no_engine() -> None:
    """A whole load imports neither Spark nor pandas, MLflow, Delta or Polars, and is done in a moment."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, str(CONF / "flights")],
        capture_output=True,
        text=True,
        check=True,
        cwd=CONF.parent,
    )
    assert done.stdout.strip() == "[]"
    assert time.monotonic() - started < 30  # generous: the figure is the benchmark's business


def test_mlflow_is_imported_ahead() -> None:
    """What a run begins beside its first steps really imports MLflow, so that training need not wait for it."""
    ahead = """
import sys
from featurelib.registry.tracker import import_mlflow
print('mlflow' in sys.modules)
import_mlflow()
print('mlflow.models' in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", ahead], capture_output=True, text=True, check=True, cwd=CONF.parent
    )
    assert done.stdout.split() == ["False", "True"]
