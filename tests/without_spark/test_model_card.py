"""The card and the checklist of a version, from what is recorded of it: a shop's project, MLflow, no JVM."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from featurelib.cli import run
from featurelib.config import load_project
from featurelib.errors import ConfigError
from featurelib.pipeline.audit_leaks import Audit
from featurelib.pipeline.card import card_of, write_card
from featurelib.pipeline.context import store_of
from featurelib.pipeline.definitions import features_hash, short_definitions
from featurelib.pipeline.leak_audits import last_audit, note_audit
from featurelib.registry.tracker import Tracker
from featurelib.reports.model_card import MANDATORY, missing_fields, render_model_card
from featurelib.specs import Project
from tests.unit.shop_project import mutated, write_project
from tests.without_spark.registered import register

REVIEW = {
    "intended_use": "rank <orders> for a call",
    "out_of_scope": "refusing customers",
    "owner": "returns team",
    "limitations": "Nothing is known of gifts.",
    "fairness": {"groups": ["weekday"]},
}
GROUP = {
    "rows": 50, "positives": 10, "threshold": 0.4, "selection_rate": 0.2, "true_positive_rate": 0.5,
    "false_positive_rate": 0.1, "false_negative_rate": 0.5, "accuracy": 0.8, "mean_predicted": 0.2,
    "observed": 0.2, "calibration_gap": 0.0, "roc_auc": 0.7,
}  # fmt: skip
RESULT: dict[str, Any] = {
    "label": "returned",
    "estimator": "forest",
    "kind": "random_forest",
    "parameters": {"trees": 7},
    "best_trial": 0,
    "feature_types": {"amount": "int"},
    "trials": [],
    "evaluation": {
        "rows": 100, "positives": 20, "roc_auc": 0.75, "pr_auc": 0.5, "log_loss": 0.4, "brier": 0.1,
        "threshold": 0.4, "accuracy": 0.8, "precision": 0.5, "recall": 0.5, "f1": 0.5, "roc": [],
        "precision_recall": [], "calibration": [[0.1, 0.12, 50], [0.3, 0.28, 50]],
        "calibration_error": 0.02, "worst_calibration_error": 0.021,
    },
    "baseline": {"name": "amount", "roc_auc": 0.6, "pr_auc": 0.4},
    "importance": [["amount", 1.0]],
    "slices": [
        {"column": "channel", "value": "web", "rows": 600, "positives": 10, "roc_auc": 0.55, "precision": 0.5,
         "recall": 0.4, "calibration_error": 0.03, "intervals": {"roc_auc": [0.5, 0.6]}},
        {"column": "channel", "value": "fax", "rows": 5, "positives": 1, "roc_auc": 0.0, "precision": 0.0,
         "recall": 0.0, "calibration_error": 0.3, "intervals": {}},
    ],
    "review": {
        "periods": {part: {"rows": 100, "positives": 20, "from": "2024-01-01 00:00", "to": "2024-01-31 00:00"}
                    for part in ("train", "validate", "test")},
        "intervals": {"roc_auc": [0.74, 0.76]},
        "stability": {"worst_week": {"period": "2024-01-08", "rows": 20, "roc_auc": 0.7},
                      "week": [{"period": "2024-01-01", "roc_auc": 0.8}, {"period": "2024-01-08", "roc_auc": 0.7}]},
        "decision": {"threshold": 0.4, "by": "f1", "group": None, "thresholds": {}, "equal": None},
        "fairness": {"weekday": {
            "groups": {"small": GROUP, "large": {**GROUP, "selection_rate": 0.1}}, "not_compared": [], "min_rows": 20,
            "demographic_parity_difference": 0.1, "disparate_impact": 0.5, "equal_opportunity_difference": 0.0,
            "equalized_odds_difference": 0.0, "equalized_odds_ratio": 1.0, "calibration_difference": 0.0,
            "four_fifths": False}},
        "explanation": {"rows": 40, "permutation": [{"feature": "amount", "loss": 0.1, "spread": 0.01}],
                        "partial_dependence": [{"feature": "amount", "values": [1, 2], "scores": [0.1, 0.4]}]},
        "champion": None,
        "figures": {"calibration_error": 0.02, "disparate_impact": 0.5},
    },
}  # fmt: skip


@pytest.fixture
def project(tmp_path: Path, empty_database: Path) -> Project:
    """The shop, whose model says what it is for and compares weekdays."""
    changed = mutated("shop/models.yaml", "    gate:\n", f"    review: {json.dumps(REVIEW)}\n    gate:\n")
    project = load_project(write_project(tmp_path, changed), env="local", environ={})
    database = Path(project.settings.tracking.tracking_uri.removeprefix("sqlite:///"))
    database.parent.mkdir(parents=True)
    shutil.copy(empty_database, database)
    return project


@pytest.fixture
def trained(project: Project, tmp_path: Path) -> int:
    """A version as a training of today records it, challenger."""
    tracker = Tracker(project.settings.tracking)
    tags: dict[str, object] = {
        "features_hash": features_hash(project),
        "definitions": json.dumps(short_definitions(project)),
        "delta_versions": json.dumps({"training.shop": 3}),
        "code_version": json.dumps({"version": "1.0", "commit": "abc"}),
        "packages": json.dumps({"pyspark": "4.2.0"}),
        "python": "3.11.9",
    }
    version = register(tracker, tmp_path, "returns", tags=tags, more=RESULT).version
    tracker.set_aliases("returns", {"challenger": version})
    return version


def states(project: Project) -> dict[str, str]:
    """The state of each item of the challenger's checklist."""
    return {item["item"]: item["state"] for item in card_of(project, "returns").checklist}


def audit(leaks: tuple[str, ...]) -> Audit:
    """What an audit of twenty rows found."""
    return Audit(20, 20, 4, 0, (), ("spending", 0.6), 0.9, 0, leaks)


def test_a_card_says_everything_and_lacks_nothing(project: Project, trained: int, tmp_path: Path) -> None:
    """Every mandatory field is filled from spec, record and registry; JSON says the same as the page."""
    card = card_of(project, "returns")
    page, values = write_card(card, tmp_path / "card")

    assert missing_fields(card) == []
    text, read = page.read_text(encoding="utf-8"), json.loads(values.read_text(encoding="utf-8"))
    assert set(read) >= set(MANDATORY)
    assert (read["version"], read["aliases"]) == (trained, ["challenger"])
    for said in ("rank &lt;orders&gt; for a call", "refusing customers", "returns team", "training.shop",
                 "Nothing is known of gifts.", "0.740 to 0.760", card.sha256, "below four fifths", "channel web",
                 "Nobody has approved this version", "Partial dependence"):  # fmt: skip
        assert said in text, said
    assert "<orders>" not in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_no_mandatory_field_may_be_empty(project: Project, trained: int) -> None:
    """A card without one of them is refused by its name, and the error says who gives it."""
    card = card_of(project, "returns")
    for field in MANDATORY:
        empty = replace(card, **{field: type(getattr(card, field))()})

        with pytest.raises(ConfigError, match=rf"lacks {field}\b") as refused:
            render_model_card(empty)

        asked = field in {"intended_use", "out_of_scope", "owner"}
        assert ("review section of models.yaml" in str(refused.value)) is asked
        assert ("train the model again" in str(refused.value)) is not asked


def test_the_checklist_tells_what_is_met_from_what_is_not(project: Project, trained: int) -> None:
    """Each item stands as the record says; a leak audit counts once it is noted, by what it found."""
    found = states(project)
    assert found == {
        "leak audit": "not measured", "narrow interval": "met", "calibration": "met", "slices": "not met",
        "stability": "met", "fairness": "not met", "champion": "met", "explanation": "met",
        "drift": "not measured", "words": "met",
    }  # fmt: skip

    store = store_of(project)
    note_audit(project, store, audit(()), version=2)
    assert states(project)["leak audit"] == "not measured"
    note_audit(project, store, audit(("spending knows the label",)), version=3)
    assert states(project)["leak audit"] == "not met"
    note_audit(project, store, audit(()), version=3)
    assert states(project)["leak audit"] == "met"
    assert last_audit(store, "training.shop", 3) is not None


def test_an_approval_shows_what_the_checklist_leaves_open(
    project: Project, trained: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The reviewer is told what is not met, the approval stands, and the card written later names both."""
    place = ["--pipeline", project.folder, "--env", "local"]

    assert (
        run(["approve", "--model", "returns", "--version", "1", "--by", "rita", "--note", "seen", *place])
        == 0
    )
    said = capsys.readouterr().out
    assert "checklist, fairness: not met, selection rates below four fifths of another's by weekday" in said
    assert "checklist, slices: not met, lowest of 1 ROC AUC 0.550, channel web" in said
    assert "checklist, calibration" not in said

    out = tmp_path / "again"
    assert run(["card", "--model", "returns", "--version", "1", "--out", str(out), *place]) == 0
    assert "Approved by <b>rita</b>" in (out / "model_card.html").read_text(encoding="utf-8")


def test_a_version_from_before_reviews_has_no_card(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command ends with 2, names what is missing and writes nothing."""
    register(Tracker(project.settings.tracking), tmp_path, "returns")
    out = tmp_path / "none"

    code = run(
        [
            "card",
            "--model",
            "returns",
            "--version",
            "1",
            "--out",
            str(out),
            "--pipeline",
            project.folder,
            "--env",
            "local",
        ]
    )

    assert code == 2
    said = capsys.readouterr().err
    assert "evaluation" in said
    assert "train the model again" in said
    assert not out.exists()
