"""Models of slices in a pipeline: their table, their listing, and predictions that say who predicted."""

from __future__ import annotations

from pathlib import Path

from featurelib.pipeline.context import Context
from featurelib.pipeline.models import roll_back
from featurelib.pipeline.segment_list import slices_text
from featurelib.pipeline.steps import run_step
from featurelib.registry.audit import Decision
from featurelib.registry.segment_files import SegmentBooster
from featurelib.registry.tracker import Tracker
from featurelib.tables import rows_of
from tests.jobs.cafe import cafe_context
from tests.jobs.cafe_project import MODELS, land_day

# Bob tips and ann does not; a parent of depth 0 cannot know.
DULL = (
    MODELS.replace("[party, ", "[party, customer, ")
    .replace("    baseline", "    categorical: [customer]\n    baseline")
    .replace("max_depth: 2", "max_depth: 0")
)
SEGMENTS = (
    "segments: {by: [shop], min_rows: 5, trials: 1, confidence: null, keep_contributions: true,"
    " learner: {kind: xgboost, parameters: {trees: 3, min_child_weight: 0}}}"
)


def with_models(cafe: Context, line: str) -> Context:
    """The cafe with a dull parent and a line more in its model."""
    models = DULL.replace("    gate:", f"    tuning: {{trials: 1}}\n    {line}\n    gate:")
    return cafe_context(cafe.spark, Path(cafe.project.settings.root), changed={"cafe/models.yaml": models})


def segments_of(context: Context) -> dict[str, str | None]:
    """Which slice's model predicted each visit."""
    return {row["visit_id"]: row.get("_segment") for row in rows_of(context.store, context.names.predictions)}


def another_day(context: Context, day: str) -> None:
    """Land a day and predict it."""
    land_day(Path(context.project.settings.root), day)
    for step in ("ingest", "build_features", "score"):
        run_step(context, step)


def test_slices_are_kept_listed_and_asked(cafe: Context) -> None:
    """A row a slice with its booster, found again by a rerun; predictions name the slice, whoever is champion next."""
    alone = with_models(cafe, "description: alone")
    run_step(alone, "train")
    run_step(alone, "score")
    assert set(segments_of(cafe).values()) == {None}

    sliced = with_models(cafe, SEGMENTS)
    assert run_step(sliced, "train").summary.endswith("champion; 2 of 2 slices have models of their own")
    assert run_step(sliced, "train").is_idle
    rows = rows_of(cafe.store, cafe.names.segments("tips"))
    assert sorted(row["segment"] for row in rows) == ['["A"]', '["B"]']
    for row in rows:
        assert (row["state"], row["reason"], row["parent_value"], row["value"]) == ("own", "", 0.5, 1.0)
        assert (row["train_rows"], row["validate_rows"], row["test_rows"]) == (6, 2, 2)
        assert SegmentBooster.of(row["booster"]).sha256 == row["sha256"]
    champion = Tracker(cafe.project.settings.tracking).champion("tips")
    explained = rows_of(cafe.store, cafe.names.contributions("tips"))
    assert sorted(row["visit_id"] for row in explained) == ["A5e", "A5m", "B5e", "B5m"]
    assert {row["_model_version"] for row in explained} == {champion.version}
    listed = [line.split()[:7] for line in slices_text(sliced, "tips").splitlines()]
    assert listed == [
        ["segment", "state", "train_rows", "test_rows", "roc_auc", "parent_roc_auc", "log_loss"],
        ["A", "own", "8", "2", "1", "0.5", listed[1][6]],
        ["B", "own", "8", "2", "1", "0.5", listed[2][6]],
    ]

    another_day(sliced, "2024-01-06")
    roll_back(cafe.project, "tips", Decision("rita", "the parent alone again"))
    another_day(alone, "2024-01-07")
    found = segments_of(cafe)
    assert {visit: name for visit, name in found.items() if name is not None} == {
        "A6m": '["A"]',
        "A6e": '["A"]',
        "B6m": '["B"]',
        "B6e": '["B"]',
    }
    assert {"A7m", "A7e", "B7m", "B7e"} <= found.keys()
