"""A model that goes on from its champion, in a pipeline: what it came from is recorded, and it is trained again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from featurelib.errors import FrameError
from featurelib.pipeline.card import card_of
from featurelib.pipeline.reproduce import reproduce
from featurelib.pipeline.steps import run_step
from featurelib.registry.tracker import Tracker
from tests.jobs.cafe import cafe_context
from tests.jobs.cafe_project import MODELS, PIPELINE

if TYPE_CHECKING:
    from featurelib.pipeline.context import Context

WARM = (
    MODELS.replace(
        "{kind: random_forest, parameters: {trees: 2, max_depth: 2}}",
        "{kind: xgboost, parameters: {trees: 2, max_depth: 2, min_child_weight: 0}}",
    )
    .replace("    gate:", "    lift_learner: {kind: decision_tree}\n    tuning: {trials: 1}\n    gate:")
    .replace(
        "    gate: {minimum: 0.0}",
        "    warm_start: champion\n    gate: {minimum: 0.0, worse_than_champion: 1}",
    )
)
EARLY = (
    PIPELINE.replace('train: ["2024-01-01", "2024-01-04"]', 'train: ["2024-01-01", "2024-01-03"]')
    .replace('validate: ["2024-01-04", "2024-01-05"]', 'validate: ["2024-01-03", "2024-01-04"]')
    .replace('test: ["2024-01-05", "2024-01-06"]', 'test: ["2024-01-04", "2024-01-05"]')
)


def trained(cafe: Context, pipeline: str, models: str = WARM) -> Context:
    """The cafe with this split, its training set built and its model trained."""
    changed = {"cafe/models.yaml": models, "cafe/pipeline.yaml": pipeline}
    context = cafe_context(cafe.spark, Path(cafe.project.settings.root), changed=changed)
    run_step(context, "build_training_set")
    run_step(context, "train")
    return context


def test_a_model_goes_on_from_its_champion(cafe: Context) -> None:
    """The first begins anew; on later days the next has its trees and two more, says so, and comes out equal again."""
    trained(cafe, EARLY)
    tracker = Tracker(cafe.project.settings.tracking)
    first = tracker.champion("tips")
    assert "continued_from" not in tracker.result(first)

    context = trained(cafe, PIPELINE)
    second = tracker.champion("tips")

    assert (first.version, second.version) == (1, 2)
    assert tracker.result(second)["continued_from"] == {"version": 1, "sha256": first.sha256, "trees": 2}
    assert second.tags["continued_from"] == "1"
    booster = tracker.load_version(second).pipeline.stages[-1].get_booster()
    before = tracker.load_version(first).pipeline.stages[-1].get_booster()
    assert booster.get_dump()[:2] == before.get_dump()
    assert len(booster.get_dump()) == 4
    assert card_of(context.project, "tips").continued_from["version"] == 1
    assert run_step(context, "train").is_idle
    assert reproduce(context, second).is_equal

    other = WARM.replace("tuning: {trials: 1}", "tuning: {trials: 1, seed: 8}")
    with pytest.raises(FrameError, match="has learnt from rows up to 2024-01-04 20:00"):
        trained(cafe, PIPELINE, other)
