from __future__ import annotations

import json

import pytest

from featurelib.config import spec_hash
from featurelib.errors import ModelGateError
from featurelib.registry.files import check_classes, check_model_files, model_sha256
from featurelib.registry.gate import gate
from featurelib.specs import EstimatorSpec, FairnessDemands, Gate, LiftStep, ModelSpec, Review


@pytest.mark.parametrize(
    ("value", "baseline", "champion", "mode", "passed", "promotes"),
    [
        (0.75, 0.60, None, "enabled", True, True),
        (0.72, 0.60, None, "enabled", True, True),
        (0.71, 0.60, None, "enabled", False, False),
        (0.75, 0.71, None, "enabled", False, False),
        (0.75, 0.60, 0.755, "enabled", True, True),
        (0.75, 0.60, 0.76, "enabled", False, False),
        (0.71, 0.60, None, "dry_run", False, True),
        (0.10, 0.60, 0.99, "disabled", True, True),
        (None, 0.60, None, "enabled", False, False),
    ],
)
def test_verdicts(value, baseline, champion, mode, passed, promotes):
    """Minimum, lift and champion each hold a model back when the gate is enabled; bounds are met."""
    rules = Gate(mode=mode, minimum=0.72, lift_over_baseline=0.05, worse_than_champion=0.005)
    result = {"evaluation": {"roc_auc": value}, "baseline": {"roc_auc": baseline}}

    verdict = gate(result, None if champion is None else {"roc_auc": champion}, rules)

    assert (passed, promotes) == (verdict.passed, verdict.promotes)
    assert verdict.reasons


@pytest.mark.parametrize(
    ("value", "approved_by", "mode", "promotes", "awaits", "said"),
    [
        (0.75, None, "enabled", False, True, "nobody has approved it yet"),
        (0.75, "ann", "enabled", True, False, "approved by ann"),
        (0.71, "ann", "enabled", False, False, "approved by ann"),
        (0.71, None, "enabled", False, False, "nobody has approved it yet"),
        (0.75, None, "dry_run", True, True, "nobody has approved it yet"),
        (0.75, None, "disabled", True, False, "the gate is disabled"),
    ],
)
def test_a_required_approval_is_one_more_demand(value, approved_by, mode, promotes, awaits, said):
    """It holds back what else would pass, makes nothing pass that is not good enough, and is said either way."""
    rules = Gate(mode=mode, minimum=0.72, approval="required")
    result = {"evaluation": {"roc_auc": value}, "baseline": {}}

    verdict = gate(result, None, rules, approved_by=approved_by)

    assert (verdict.promotes, verdict.awaits_approval) == (promotes, awaits)
    assert said in verdict.reasons
    assert "approv" not in " ".join(gate(result, None, Gate(mode=mode, minimum=0.72)).reasons)


GATE_HASH = "8c9206f68ef44670b36a57de0f2f92e79f6f6a89b8354c0197a667541845694b"
MODEL_HASH = "e071abb6c336e3c40db6f68eb0d2f339a8d18c9a135c08803d886f3f0964e7bc"
COMPARED = {
    "champion_roc_auc": 0.74,
    "champion_roc_auc_difference": 0.01,
    "champion_roc_auc_difference_low": -0.002,
    "champion_roc_auc_difference_high": 0.02,
    "champion_roc_auc_p_value": 0.08,
}


@pytest.mark.parametrize(
    ("rules", "figures", "passed", "said"),
    [
        # Recorded 0.80 on rows of its own time, the champion reaches 0.74 on these: that is what counts.
        ({}, COMPARED, True, "0.7400 on the same rows"),
        ({}, {}, False, "is below 0.8000, the champion's 0.8000"),
        ({"significant": True}, COMPARED, False, "within chance"),
        ({"significant": True, "worse_than_champion": 0.005}, COMPARED, True, "beyond chance"),
        ({"significant": True}, {**COMPARED, "champion_roc_auc_difference_low": 0.001}, True, "p 0.080"),
        ({"significant": True}, {}, False, "was not compared with this champion"),
    ],
)
def test_the_champion_on_the_same_rows(rules, figures, passed, said):
    """A comparison on the same rows replaces the recorded figure; significance asks for more than luck."""
    result = {"evaluation": {"roc_auc": 0.75}, "baseline": {}, "figures": figures}

    verdict = gate(result, {"roc_auc": 0.80}, Gate(minimum=0.5, **rules))

    assert verdict.passed is passed
    assert said in " ".join(verdict.reasons)


@pytest.mark.parametrize(
    ("rules", "figures", "passed", "said"),
    [
        ({"calibration_error": 0.02}, {"calibration_error": 0.02}, True, "keeps to"),
        ({"calibration_error": 0.02}, {"calibration_error": 0.021}, False, "calibration error 0.0210 misses"),
        (
            {"fairness": FairnessDemands(disparate_impact=0.8)},
            {"disparate_impact": 0.8},
            True,
            "least allowed",
        ),
        (
            {"fairness": FairnessDemands(disparate_impact=0.8)},
            {"disparate_impact": 0.79},
            False,
            "misses the least",
        ),
        (
            {"fairness": FairnessDemands(equalized_odds_difference=0.1)},
            {"equalized_odds_difference": 0.2},
            False,
            "most",
        ),
        ({"drift": 0.25}, {"drift": 0.3}, False, "drift 0.3000 misses"),
        ({"seconds_per_1000_rows": 1.0}, {"seconds_per_1000_rows": 0.5}, True, "seconds per 1000 rows"),
        ({"megabytes": 10}, {"megabytes": 11}, False, "megabytes 11.0000"),
        ({"megabytes": 10}, {}, False, "megabytes was not measured at its training, the next one will"),
    ],
)
def test_further_demands(rules, figures, passed, said):
    """Each figure is held against its bound, bounds are met, and what was not measured holds back."""
    result = {"evaluation": {"roc_auc": 0.75}, "baseline": {}, "figures": figures}

    verdict = gate(result, None, Gate(minimum=0.5, **rules))

    assert verdict.passed is passed
    assert said in " ".join(verdict.reasons)


def test_demands_not_made_change_no_hash():
    """A gate and a model that ask for nothing new are the same as before these could be asked for."""
    assert spec_hash(Gate(minimum=0.7)) == GATE_HASH
    model = ModelSpec(
        features=("*",),
        baseline=LiftStep(name="b", features=("a",)),
        estimators={"m": EstimatorSpec(kind="random_forest")},
        gate=Gate(minimum=0.7),
    )
    assert spec_hash(model) == MODEL_HASH
    assert spec_hash(model.model_copy(update={"review": Review(owner="ann")})) != MODEL_HASH


def _model(folder, classes, **more):
    (folder / "metadata").mkdir(parents=True)
    (folder / "metadata" / "part-00000").write_text(json.dumps({"class": classes, **more}))
    return folder


@pytest.mark.parametrize(
    "name",
    [
        "pyspark.ml.pipeline.PipelineModel",
        "org.apache.spark.ml.feature.ImputerModel",
        "xgboost.spark.estimator.SparkXGBClassifierModel",
    ],
)
def test_allowed_classes_pass(tmp_path, name):
    """Classes of Spark ML and xgboost may be loaded."""
    check_classes(_model(tmp_path / "m", name), what="m")


@pytest.mark.parametrize("name", ["os.system", "pyspark.mlx.Evil", "evil.pyspark.ml.X", "pyspark.ml.", None])
def test_other_classes_are_refused(tmp_path, name):
    """A class that only looks allowed is refused before Spark's reader would import it."""
    with pytest.raises(ModelGateError, match="names the class"):
        check_classes(_model(tmp_path / "m", name), what="m")


def test_pickles_are_refused(tmp_path):
    """A pickle by content, by name, or inside xgboost's metadata is refused."""
    import pickle

    hidden = _model(tmp_path / "a", "pyspark.ml.pipeline.PipelineModel")
    (hidden / "data").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ModelGateError, match="is a pickle"):
        check_classes(hidden, what="m")
    callbacks = _model(
        tmp_path / "b", "xgboost.spark.estimator.SparkXGBClassifierModel", serialized_callbacks="gAR9"
    )
    with pytest.raises(ModelGateError, match="serialized_callbacks"):
        check_classes(callbacks, what="m")


def test_the_hash_covers_names_and_bytes_but_no_markers(tmp_path):
    """Moving a byte or a file changes the hash; Hadoop's markers and checksums do not."""
    model = _model(tmp_path / "m", "pyspark.ml.pipeline.PipelineModel")
    (model / "part").write_text("ab")
    before = model_sha256(model)
    (model / "_SUCCESS").write_text("")
    (model / ".part.crc").write_text("x")
    assert before == model_sha256(model)
    check_model_files(model, sha256=before, what="m")
    (model / "part").rename(model / "other")
    with pytest.raises(ModelGateError, match="as registered"):
        check_model_files(model, sha256=before, what="m")
