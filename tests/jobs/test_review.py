"""What a run does with a review: it is recorded, gates on it, calls by it, and can be had again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from featurelib.errors import ModelGateError
from featurelib.pipeline.context import Context, StepResult
from featurelib.pipeline.explain_rows import checked_request, explain_rows, explained_text
from featurelib.pipeline.reproduce import find_run, reproduce, reproduction_text
from featurelib.pipeline.steps import run_step
from featurelib.registry.tracker import Tracker
from featurelib.tables import read
from tests.jobs.cafe import cafe_context
from tests.jobs.cafe_project import MODELS, PIPELINE

SPLIT = (
    ('train: ["2024-01-01", "2024-01-04"]', 'train: ["2024-01-01", "2024-01-03"]'),
    ('validate: ["2024-01-04", "2024-01-05"]', 'validate: ["2024-01-03", "2024-01-04"]'),
    ('test: ["2024-01-05", "2024-01-06"]', 'test: ["2024-01-04", "2024-01-06"]'),
)
LINEAR = """\
    costs: {false_positive: 1, false_negative: 9}
    mitigation: {group: shop, thresholds: selection_rate}
    review:
      out_of_scope: firing waiters
      owner: ann
      intended_use: plan tables
      fairness: {groups: [shop], min_rows: 1}
      explain: [contributions]
      explain_rows: 10
    tuning: {trials: 1, seed: %d}
"""


def reviewed(cafe: Context, *, seed: int = 7, gate: str = "{minimum: 0.0}") -> Context:
    """The cafe with two test days, a linear model, costs and a review."""
    pipeline = PIPELINE
    for old, new in SPLIT:
        pipeline = pipeline.replace(old, new)
    models = MODELS.replace("{kind: random_forest, parameters: {trees: 2, max_depth: 2}}",
                            "{kind: logistic_regression, parameters: {reg_param: 0.01}}")  # fmt: skip
    models = models.replace("    gate: {minimum: 0.0}\n", f"{LINEAR % seed}    gate: {gate}\n")
    return cafe_context(
        cafe.spark,
        Path(cafe.project.settings.root),
        changed={"cafe/models.yaml": models, "cafe/pipeline.yaml": pipeline},
    )


@pytest.fixture(scope="module")
def trained(
    spark: SparkSession, cafe_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Context, StepResult]:
    """A copy of the cafe whose model was trained once and is champion, and what that step said."""
    root = shutil.copytree(cafe_root, tmp_path_factory.mktemp("review") / "root")
    context = reviewed(cafe_context(spark, root))
    run_step(context, "build_training_set")
    return context, run_step(context, "train", comment="first look at tips")


def test_a_review_from_training_to_scoring_and_back(trained: tuple[Context, StepResult]) -> None:
    """Card and comment are recorded, scoring calls by the thresholds, a row is explained, the run had again."""
    context, result = trained
    tracker = Tracker(context.project.settings.tracking)
    champion = tracker.champion("tips")
    recorded = tracker.result(champion)

    # The comment, the card.
    assert champion.comment == "first look at tips"
    card = Path(str(result.facts["card"]).removeprefix("model card "))
    assert "plan tables" in card.read_text(encoding="utf-8")
    assert json.loads(card.with_suffix(".json").read_text(encoding="utf-8"))["sha256"] == champion.sha256
    assert champion.metrics["megabytes"] > 0
    assert recorded["review"]["decision"]["by"] == "cost"

    # Scoring calls each shop by its threshold.
    run_step(context, "score")
    decision = recorded["review"]["decision"]
    predictions = read(context.spark, context.store, context.names.predictions).join(
        read(context.spark, context.store, context.names.features).select("visit_id", "shop"), on="visit_id"
    )
    rows = predictions.select("shop", "probability", "prediction").collect()
    assert {row["shop"] for row in rows} == {"A", "B"}
    for row in rows:
        bound = decision["thresholds"].get(row["shop"], decision["threshold"])
        assert row["prediction"] == float(row["probability"] >= bound)

    # A row is explained: its parts sum to its log-odds.
    request = checked_request(
        context.project, "tips", {"visit_id": "A5m"}, version=None, method="contributions"
    )
    (explained,) = explain_rows(context, request)
    parts = explained.sums
    assert parts is not None
    assert parts.base + sum(parts.contributions.values()) == pytest.approx(parts.margin, abs=1e-9)
    stored = predictions.where(F.col("visit_id") == "A5m").collect()[0]["probability"]
    assert explained.probability == pytest.approx(stored, abs=1e-12)
    assert "visit_id A5m" in explained_text([explained])

    # The run can be had again, by either name of it, and moves nothing.
    for name in (champion.run_id, champion.tags["outbox_id"]):
        assert find_run(context.project, name).version == 1
    before = [one.version for one in tracker.versions("tips")]
    again = reproduce(context, champion)
    assert again.is_equal, reproduction_text(again)
    assert "tips version 1, trained again: " in reproduction_text(again)
    assert [one.version for one in tracker.versions("tips")] == before
    with pytest.raises(ModelGateError, match="no model came from run 'nothing'"):
        find_run(context.project, "nothing")


def test_a_second_training_is_held_against_the_champion_on_the_same_rows(
    trained: tuple[Context, StepResult],
) -> None:
    """The gate's reason is of the same rows; a model no better than chance is held back where it must be."""
    second = reviewed(trained[0], seed=8, gate="{minimum: 0.0, significant: true, drift: 100}")
    result = run_step(second, "train", comment="the same with another seed")

    tracker = Tracker(second.project.settings.tracking)
    assert tracker.aliases("tips") == {"champion": 1, "challenger": 2}
    assert "challenger, not promoted" in result.summary
    reasons = " ".join(result.facts["gate"]["reasons"])
    assert "on the same rows" in reasons
    assert "drift" in reasons
    newest = tracker.version("tips", 2)
    assert newest.metrics["champion_version"] == 1
    assert newest.metrics["drift"] >= 0
    changed = find_run(second.project, newest.run_id)
    assert changed.version == 2
