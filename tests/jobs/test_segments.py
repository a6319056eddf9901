"""Models of slices in a pipeline: their table, their listing, and predictions that say who predicted."""

from __future__ import annotations

import json
from pathlib import Path

from featurelib.pipeline.context import Context
from featurelib.pipeline.segment_list import slices_text
from featurelib.pipeline.steps import run_step
from featurelib.registry.segment_files import SegmentBooster
from featurelib.registry.tracker import Tracker
from featurelib.tables import rows_of
from tests.jobs.cafe import cafe_context
from tests.jobs.cafe_project import MODELS

SEGMENTS = (
    "segments: {by: [shop], min_rows: 5, trials: 1, keep_contributions: true,"
    " learner: {kind: xgboost, parameters: {trees: 3, min_child_weight: 0}}}"
)


def with_models(cafe: Context, text: str) -> Context:
    """The cafe with a line more in its model."""
    models = MODELS.replace("    gate:", f"    {text}\n    gate:")
    return cafe_context(cafe.spark, Path(cafe.project.settings.root), changed={"cafe/models.yaml": models})


def test_slices_are_kept_listed_and_asked(cafe: Context) -> None:
    """One row a slice with its booster, found again by a rerun; predictions name the slice, or null after it is gone."""
    before = with_models(cafe, "tuning: {trials: 1, seed: 3}")
    run_step(before, "train")
    run_step(before, "score")
    first = rows_of(cafe.store, cafe.names.predictions)

    sliced = with_models(cafe, SEGMENTS)
    trained = run_step(sliced, "train")
    assert "slices have models of their own" in trained.summary
    assert run_step(sliced, "train").is_idle
    rows = rows_of(cafe.store, cafe.names.segments("tips"))
    assert {row["segment"] for row in rows} == {'["A"]', '["B"]'}
    own = [row["segment"] for row in rows if row["state"] == "own"]
    for row in rows:
        assert (row["train_rows"], row["validate_rows"], row["test_rows"]) == (6, 2, 2)
        assert (row["booster"] is not None) == (row["state"] == "own") == (row["reason"] == "")
        if row["booster"] is not None:
            assert SegmentBooster.of(row["booster"]).sha256 == row["sha256"]
    registered = Tracker(cafe.project.settings.tracking).champion("tips")
    explained = rows_of(cafe.store, cafe.names.contributions("tips"))
    assert len(explained) == 2 * len(own)
    assert {row["_model_version"] for row in explained} <= {registered.version}

    listed = slices_text(sliced, "tips").splitlines()
    assert listed[0].split()[:4] == ["segment", "state", "train_rows", "test_rows"]
    assert sorted(line.split()[0] for line in listed[1:]) == ["A", "B"]
    assert len(first) == len(rows_of(cafe.store, cafe.names.predictions))
    print(json.dumps([row["reason"] for row in rows]))
