"""Late data and predictions: kept as they were made, or made again with the old ones kept beside."""

from __future__ import annotations

from pathlib import Path

from featurelib.pipeline.context import Context
from featurelib.pipeline.plan import plan
from featurelib.pipeline.steps import run_step
from featurelib.tables import rows_of
from tests.jobs.cafe import cafe_context
from tests.jobs.cafe_project import MODELS, PIPELINE, land

TOUCHED = {"A3e", "A4m", "A4e", "A5m"}


def scored(cafe: Context, late_data: str) -> Context:
    """The cafe with a model of one trial and a policy on late data."""
    changed = {
        "cafe/models.yaml": MODELS.replace("gate:", "tuning: {trials: 1}\n    gate:"),
        "cafe/pipeline.yaml": f"{PIPELINE}predictions: {{late_data: {late_data}}}\n",
    }
    return cafe_context(cafe.spark, Path(cafe.project.settings.root), changed=changed)


def by_visit(context: Context, table: str) -> dict[str, str]:
    """The run of each prediction; a visit that is there twice fails."""
    rows = rows_of(context.store, table)
    found = {row["visit_id"]: row["_run_id"] for row in rows}
    assert len(found) == len(rows)
    return found


def test_touched_predictions_are_kept_or_made_again(cafe: Context) -> None:
    """A sale that lands late touches four visits: kept until asked, then replaced alone, and what they were stays."""
    keeping, rescoring = scored(cafe, "keep"), scored(cafe, "rescore")
    names = cafe.names
    run_step(keeping, "train")
    first = run_step(keeping, "score").run_id
    land(
        Path(cafe.project.settings.root),
        "sales",
        "2024-01-06",
        "x,A,cat,100,2024-01-03T10:00:00Z,2024-01-03T09:00:00Z,",
    )
    run_step(keeping, "ingest")
    (ahead,) = plan(rescoring, steps=("build_features", "score")).steps[1].items
    assert (ahead.table, ahead.why, ahead.at_most) == (names.predictions, "late or corrected data", True)
    run_step(keeping, "build_features")

    assert run_step(keeping, "score").is_idle
    (pending,) = plan(rescoring, steps=("score",)).steps[0].items
    assert (pending.rows, pending.first.day, pending.end.day) == (4, 3, 6)  # type: ignore[union-attr]
    again = run_step(rescoring, "score")

    assert again.summary.startswith("4 predicted again for late or corrected data by tips version 1")
    runs = by_visit(rescoring, names.predictions)
    assert {visit for visit, run in runs.items() if run == again.run_id} == TOUCHED
    assert {run for visit, run in runs.items() if visit not in TOUCHED} == {first}
    assert len(runs) == 20
    assert by_visit(rescoring, names.superseded) == dict.fromkeys(TOUCHED, first)
    assert plan(rescoring, steps=("score",)).busy == []
    assert run_step(rescoring, "score").is_idle
