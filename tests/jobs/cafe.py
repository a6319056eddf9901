"""Helpers of the tests on the small cafe: contexts, edits of silver tables, and builds from scratch."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from featurelib.config import load_project
from featurelib.pipeline.build_features import build_features
from featurelib.pipeline.context import Context
from featurelib.pipeline.progress import Progress
from featurelib.tables import ALL, begin_run, content_hash, published, read, rows_of, snapshot
from tests.jobs.cafe_project import write_cafe

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def cafe_context(
    spark: SparkSession, root: Path, as_of: str = "2024-01-10", changed: Mapping[str, str] | None = None
) -> Context:
    """The context of the project in a root folder, with some of its files replaced."""
    folder = write_cafe(root / f"project-{uuid.uuid4().hex[:6]}", changed)
    project = load_project(folder, env="local", overrides=[f"root={root}"], environ={})
    return Context(project, spark, datetime.fromisoformat(as_of).replace(tzinfo=UTC), Progress(quiet=True))


def features(context: Context) -> DataFrame:
    """The published feature table."""
    return read(context.spark, context.store, context.names.features)


def from_scratch(context: Context) -> tuple[int, str]:
    """Rows and content of a feature table that is built of the same silver tables in one go."""
    again = replace(
        context, project=context.project.model_copy(update={"name": f"again_{uuid.uuid4().hex[:6]}"})
    )
    result = build_features(again)
    assert "(new)" in result.summary
    return content_hash(features(again))


def files_of(context: Context, table: str) -> set[str]:
    """The files of a published table."""
    return {file.path for file in snapshot(context.store, table, published(context.store)[table]).files}


def touched(context: Context) -> dict[str, list[str]]:
    """The touched rows by visit, with their reasons."""
    rows = rows_of(context.store, context.names.touched)
    return {row["_key"].split('"')[3]: row["reasons"] for row in rows}


def edit(context: Context, table: str, change: Callable[[DataFrame], DataFrame]) -> None:
    """Replace a silver table by what is made of it, published as a run of the pipeline."""
    run_id = f"edit-{uuid.uuid4().hex[:8]}"
    with begin_run(context.spark, context.store, pipeline=context.project.name, run_id=run_id) as run:
        name = context.names.silver(table)
        run.write(change(run.read(name)), name, replace=ALL)
        run.publish()


def changed(column: str, value: str, where: str) -> Callable[[DataFrame], DataFrame]:
    """Return an edit that gives a column another value in some rows."""
    return lambda rows: rows.withColumn(column, F.expr(f"CASE WHEN {where} THEN {value} ELSE {column} END"))
