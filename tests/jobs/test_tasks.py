"""Models that are no classifier of Spark's go the whole way: a number, and a learner of the pipeline's own folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from featurelib.errors import ModelGateError
from featurelib.pipeline.card import card_of
from featurelib.pipeline.context import Context
from featurelib.pipeline.explain_rows import Request, explain_rows
from featurelib.pipeline.order import PIPELINE
from featurelib.pipeline.report import write_report
from featurelib.pipeline.reproduce import find_run, reproduce
from featurelib.pipeline.steps import run_step
from featurelib.registry.tracker import Tracker
from featurelib.reports.model_card import missing_fields
from featurelib.tables import rows_of
from tests.chaos import stand

LEARNER = '''
import json

class Mean:
    """What it saw on average of a label, for every row."""

    def fit(self, features, label, *, parameters, seed):
        self.value = float(label.mean())

    def predict(self, features):
        return features.iloc[:, 0] * 0 + self.value

    def save(self, folder):
        (folder / "mean.json").write_text(json.dumps(self.value))

    @classmethod
    def load(cls, folder):
        loaded = cls()
        loaded.value = json.loads((folder / "mean.json").read_text())
        return loaded
'''
LINE = "{kind: logistic_regression, parameters: {max_iter: 2}}"
OWN = "{mine: {kind: function, function: 'plain:Mean'}}"


@pytest.fixture
def stands(spark, empty_database: Path, tmp_path: Path) -> Callable[[dict[str, str]], Context]:
    """Return a factory of stands whose files have some texts in the place of others; all on one root."""
    shutil.copy(empty_database, tmp_path / "mlflow.db")

    def make(swapped: dict[str, str]) -> Context:
        stand.land(tmp_path)
        (tmp_path / "conf" / "stand" / "plain.py").write_text(LEARNER)
        for path in (tmp_path / "conf" / "stand").glob("*.yaml"):
            text = path.read_text()
            for old, new in swapped.items():
                text = text.replace(old, new)
            path.write_text(text)
        return stand.context_of(spark, tmp_path)

    return make


def test_a_number_is_predicted_and_trained_again(stands) -> None:
    """Label, gate, predictions and a training from its run; there is no probability, and no log-odds to explain."""
    context = stands(
        {
            "value: tip > 0": "value: tip",
            "lift_learner: {kind: logistic_regression": "task: regression\n    lift_learner: {kind: linear_regression",
            f"{{line: {LINE}}}": "{line: {kind: linear_regression, parameters: {reg_param: 0.1}}}",
            "tuning: {trials: 1, seed: 7}": "tuning: {trials: 1, seed: 7, metric: rmse}",
            "gate: {minimum: 0.0}": "gate: {metric: r2, minimum: -1000}",
        }
    )
    for step in PIPELINE:
        result = run_step(context, step)
        if step == "train":
            assert "test R2" in result.summary
    page = write_report(context, [result]).read_text()
    assert "Predicted and actual, by tenths" in page
    assert "ROC AUC" not in page
    assert set(missing_fields(card_of(context.project, "tips"))) <= {"intended_use", "out_of_scope", "owner"}
    predictions = rows_of(context.store, context.names.predictions)
    assert {row["probability"] for row in predictions} == {None}
    assert len({row["prediction"] for row in predictions} - {0.0, 1.0}) > 1
    registered = Tracker(context.project.settings.tracking).champion("tips")
    found = reproduce(context, find_run(context.project, registered.run_id))
    assert found.is_equal
    assert found.probability < 1e-9
    with pytest.raises(ModelGateError, match="predicts a number"):
        explain_rows(context, Request(registered, {"visit_id": predictions[0]["visit_id"]}, "exact"))


@pytest.mark.parametrize(("user", "item"), [("shop", "party"), ("visit_id", "shop")])
def test_a_taste_is_predicted_and_trained_again(stands, user: str, item: str) -> None:
    """Users and items go from files to predictions and out of a registered model; visits to come are all unknown."""
    taste = f"{{kind: als, user: {user}, item: {item}, space: {{factors: {{integer: [1, 2]}}}}}}"
    context = stands(
        {
            "value: tip > 0": "value: tip",
            "lift_learner: {kind: logistic_regression": "task: regression\n    lift_learner: {kind: linear_regression",
            f"{{line: {LINE}}}": f"{{taste: {taste}}}",
            "tuning: {trials: 1, seed: 7}": "tuning: {trials: 2, seed: 7, metric: rmse}",
            "gate: {minimum: 0.0}": "gate: {metric: r2, minimum: -1000}\n    review: "
            "{explain: [permutation], intended_use: tips, out_of_scope: bills, owner: waiters}",
        }
    )
    results = {step: run_step(context, step) for step in PIPELINE}
    tracker = Tracker(context.project.settings.tracking)
    registered = tracker.champion("tips")
    recorded = tracker.result(registered)
    assert recorded["feature_types"].keys() == {user, item}
    assert [trial["state"] for trial in recorded["trials"]] == ["done", "done"]
    assert recorded["trivial"]["rmse"] > 0
    card = card_of(context.project, "tips")
    assert {one["feature"] for one in card.explanation["permutation"]} == {user, item}
    assert "ROC AUC" not in write_report(context, [results["train"]]).read_text()
    page = Path(results["train"].facts["card"].removeprefix("model card ")).read_text()
    assert "RMSE added where a feature" in page

    predictions = {
        row["visit_id"]: row["prediction"] for row in rows_of(context.store, context.names.predictions)
    }
    labels = {
        row["visit_id"]: (row["tipped"], row["_split"])
        for row in rows_of(context.store, context.names.training)
    }
    assert predictions.keys() >= {visit for visit, (_, split) in labels.items() if split == "test"}
    learnt = [label for label, split in labels.values() if split != "test"]
    unknown = {
        predictions[visit] for visit in predictions if visit not in labels or labels[visit][1] == "test"
    }
    assert (unknown == {sum(learnt) / len(learnt)}) == (user == "visit_id")
    found = reproduce(context, find_run(context.project, registered.run_id))
    assert found.is_equal
    assert found.probability == 0.0
    assert not any(found.differences.values())


def test_a_learner_of_the_folder_is_champion_and_challenged(stands) -> None:
    """It is registered without code, predicts by that of the folder, and the next model is compared with it."""
    models = {
        f"{{line: {LINE}}}": OWN,
        "gate: {minimum: 0.0}": "gate: {minimum: 0.0, worse_than_champion: 1}",
    }
    context = stands(models)
    for step in PIPELINE[:-1]:
        run_step(context, step)
    first = Tracker(context.project.settings.tracking).champion("tips")
    predictions = rows_of(context.store, context.names.predictions)
    assert {round(row["probability"], 6) for row in predictions} == {0.4}
    again = stands({**models, "seed: 7": "seed: 8"})
    run_step(again, "train")
    tracker = Tracker(context.project.settings.tracking)
    second = tracker.version("tips", first.version + 1)
    compared = tracker.result(second)["review"]["champion"]
    assert (compared["version"], compared["difference"]) == (first.version, 0.0)
    folder = Path(context.project.settings.root) / "conf" / "stand" / "plain.py"
    folder.write_text(folder.read_text().replace("self.value = float", "self.value = 2 * float"))
    with pytest.raises(ModelGateError, match="another text of plain:Mean"):
        reproduce(again, second)
    assert json.loads(second.tags["delta_versions"])
