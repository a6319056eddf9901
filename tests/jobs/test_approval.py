"""What training does with aliases: it awaits an approval, judges again when the gate changes, and undoes nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from featurelib.errors import ModelGateError
from featurelib.pipeline.context import Context
from featurelib.pipeline.model_list import list_models
from featurelib.pipeline.models import approve, roll_back
from featurelib.pipeline.steps import run_step
from featurelib.registry.audit import Decision
from featurelib.registry.tracker import Tracker
from tests.jobs.cafe import cafe_context
from tests.jobs.cafe_project import MODELS

RITA = Decision("rita", "read the report")


def with_gate(cafe: Context, gate: str, tuning: str = "{trials: 1, seed: 7}") -> Context:
    """The cafe with another gate, and perhaps another search."""
    text = MODELS.replace("gate: {minimum: 0.0}", f"tuning: {tuning}\n    gate: {gate}")
    assert text != MODELS
    return cafe_context(cafe.spark, Path(cafe.project.settings.root), changed={"cafe/models.yaml": text})


def aliases(context: Context) -> dict[str, int]:
    """Where the model's aliases are."""
    return Tracker(context.project.settings.tracking).aliases("tips")


def test_a_passing_model_awaits_its_approval(cafe: Context) -> None:
    """It stays challenger, nothing is scored; once approved it is champion and scores."""
    context = with_gate(cafe, "{minimum: 0.0, approval: required}")

    result = run_step(context, "train")
    assert result.summary.endswith("challenger, awaits approval")
    assert aliases(context) == {"challenger": 1}
    assert run_step(context, "train").is_idle
    with pytest.raises(ModelGateError, match="no alias 'champion'"):
        run_step(context, "score")

    approve(context.project, "tips", 1, RITA)
    assert aliases(context) == {"champion": 1}
    assert "by tips version 1" in run_step(context, "score").summary


def test_a_changed_gate_judges_again_and_undoes_nobody(cafe: Context) -> None:
    """A lower minimum promotes what it held back, without a training; what was rolled back stays so."""
    held = run_step(with_gate(cafe, "{minimum: 1.5}"), "train")
    assert held.summary.endswith("challenger, not promoted")
    first = with_gate(cafe, "{minimum: 0.0}")
    assert "tips version 1" in run_step(first, "train").summary
    assert aliases(first) == {"champion": 1}

    other = "{trials: 1, seed: 8}"
    second = with_gate(cafe, "{minimum: 0.0, worse_than_champion: 1.0}", other)
    assert "tips version 2" in run_step(second, "train").summary
    roll_back(second.project, "tips", Decision("rita", "alarms"))
    again = run_step(with_gate(cafe, "{minimum: 0.1, worse_than_champion: 1.0}", other), "train")

    assert again.summary.endswith("an earlier champion, not promoted")
    assert aliases(second) == {"champion": 1}
    moved = [
        (move.action, move.from_version, move.to_version, move.decided_by)
        for move in list_models(second.project).moves
        if move.alias == "champion"
    ]
    assert moved == [
        ("promote", None, 1, "train"), ("promote", 1, 2, "train"), ("rollback", 2, 1, "rita"),
    ]  # fmt: skip
