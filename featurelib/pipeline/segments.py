"""What became of a model's slices is kept in one table, with the boosters."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from pyspark.sql import functions as F

from featurelib.pipeline.context import Context, TableNames
from featurelib.pipeline.functions import loaded_model
from featurelib.pipeline.schemas import struct
from featurelib.pipeline.segment_list import METRICS, SPLITS, kept_slices
from featurelib.registry.segment_files import SegmentModels, segments_of
from featurelib.registry.tracker import LoadedModel, Tracker
from featurelib.registry.versions import RegisteredModel
from featurelib.scoring.contributions import segment_contributions
from featurelib.specs import SPLIT, ModelSpec
from featurelib.tables import Run, begin_run, read

_TEXTS = ("segment", "state", "reason", "metric", "parameters", "trials", "contributions", "sha256")
_NUMBERS = ("value", "parent_value", *METRICS, *(f"parent_{name}" for name in METRICS), "additivity")
_COUNTS = tuple(f"{split}_{what}" for split in SPLITS for what in ("rows", "positives"))
_SCHEMA = struct(
    **dict.fromkeys(_TEXTS, "string"),
    **dict.fromkeys(_COUNTS, "long"),
    **dict.fromkeys((*_NUMBERS, "cpu_seconds"), "double"),
    booster="binary",
    _model_version="long",
    _model_sha256="string",
    _run_id="string",
)


def keep_segments(context: Context, tracker: Tracker, registered: RegisteredModel, model: ModelSpec) -> str:
    """Write what became of a version's slices, once, and return it in a few words; none without segments.

    Grain of ``models.<name>_segments``: one row a version and slice, with the booster's bytes where the slice
    has a model. Where asked for, ``models.<name>_contributions`` gets the SHAP values of each test row that
    such a model predicts. Both appear together, or neither.

    Raises:
        LeaseHeld: another run of the pipeline is at work; a rerun writes what is missing.
    """
    if model.segments is None:
        return ""
    outcomes = tracker.result(registered)["segments"]["slices"]
    if registered.sha256 not in {row["_model_sha256"] for row in kept_slices(context, registered.name)}:
        loaded = loaded_model(context.project, registered)
        run_id, rows = context.new_run_id("segments"), [_row(one, segments_of(loaded)) for one in outcomes]
        stamps = {
            "metric": model.tuning.metric,
            "_model_version": registered.version,
            "_model_sha256": registered.sha256,
            "_run_id": run_id,
        }
        with begin_run(context.spark, context.store, pipeline=context.project.name, run_id=run_id) as run:
            table = TableNames.segments(registered.name)
            run.create(table, _SCHEMA, description="What became of each slice of each version of the model.")
            run.append_rows([{**row, **stamps} for row in rows], table)
            if model.segments.keep_contributions:
                _keep_contributions(context, run, registered, loaded)
            run.publish(published_at=context.as_of)
    counted = Counter(one["state"] for one in outcomes)
    said = f"; {counted['own']:,} of {len(outcomes):,} slices have models of their own"
    return said + (f", {counted['failed']:,} failed" if counted["failed"] else "")


def _row(outcome: Mapping[str, Any], models: SegmentModels) -> dict[str, Any]:
    booster = models.boosters.get(outcome["segment"])
    plain = ("segment", "state", "reason", "value", "parent_value", "additivity", "cpu_seconds", "sha256")
    return {
        **{name: outcome[name] for name in plain},
        **{f"{split}_rows": count for split, count in zip(SPLITS, outcome["rows"], strict=True)},
        **{f"{split}_positives": count for split, count in zip(SPLITS, outcome["positives"], strict=True)},
        **{name: outcome["test"].get(name) for name in METRICS},
        **{f"parent_{name}": outcome["parent_test"].get(name) for name in METRICS},
        **{name: json.dumps(outcome[name]) for name in ("parameters", "trials", "contributions")},
        "booster": booster.content if booster is not None else None,
    }


def _keep_contributions(context: Context, run: Run, registered: RegisteredModel, loaded: LoadedModel) -> None:
    """Explain the test rows of the training set that the version was trained on."""
    version = json.loads(registered.tags["delta_versions"])[context.names.training]
    training = read(context.spark, context.store, context.names.training, version=version)
    keys = [*dict.fromkeys([*context.project.spine.key, "as_of_ts"])]
    found = segment_contributions(training.where(F.col(SPLIT) == "test"), loaded, keys=keys)
    stamps = {"_model_version": F.lit(registered.version).cast("long"), "_run_id": F.lit(run.run_id)}
    table = TableNames.contributions(registered.name)
    rows = found.withColumns(stamps)
    run.create(table, rows.schema, description="SHAP values of test rows that models of slices predict.")
    run.append(rows, table)
