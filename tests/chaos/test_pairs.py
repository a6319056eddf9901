"""Operations on one table whose run has lost its lease in the middle: refused, nothing of theirs seen, well when run again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from featurelib.tables import Store
from tests.chaos.pairs import CUTS, OPERATIONS, disturbed, prepare

NAMES = list(OPERATIONS)
PAIRS = [(first, NAMES[(2 * place + 1) % len(NAMES)]) for place, first in enumerate(NAMES)]
PAIRS += [("sweep", "optimize")]  # once published the VACUUM's own version, and no run could follow
"""Each operation as the first and as the second; benchmarks.chaos has all 81, at both cuts."""


@pytest.fixture(scope="module")
def begun(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store with the table's first rows."""
    root = tmp_path_factory.mktemp("pairs") / "store"
    prepare(spark, Store(str(root)))
    return root


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_a_run_that_wakes_up_after_another(
    spark: SparkSession, begun: Path, tmp_path: Path, first: str, second: str
) -> None:
    """The first has written and sleeps past its lease; the second's rows stand as if alone, the first then adds its own."""
    store = Store(str(shutil.copytree(begun, tmp_path / "store")))
    assert list(disturbed(spark, store, first, second, CUTS[1])) == []
