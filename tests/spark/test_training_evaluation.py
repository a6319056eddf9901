from __future__ import annotations

import numpy as np
import pytest
from pyspark.sql import functions as F

from featurelib.training import evaluation
from featurelib.training.intervals import intervals

sklearn_metrics = pytest.importorskip("sklearn.metrics")


@pytest.fixture(scope="module")
def scored(spark):
    """600 rows whose scores have many ties and some extremes, in six blocks."""
    random = np.random.default_rng(3)
    score = np.round(random.beta(2, 5, 600), 2)
    score[:6] = [0.0, 1.0, 0.0, 1.0, 0.5, 0.5]
    label = (random.random(600) < score).astype(int)
    rows = [
        (float(s), int(y), "ab"[i % 2] if i % 7 else None, i % 6)
        for i, (s, y) in enumerate(zip(score, label, strict=True))
    ]
    frame = spark.createDataFrame(rows, "_score double, y int, side string, day int").repartition(3)
    return frame.cache(), score, label


def test_metrics_agree_with_scikit_learn(scored):
    """Ranking, probability and threshold metrics are those of scikit-learn."""
    frame, score, label = scored
    tally = evaluation.tallies(frame, label="y")["", ""]

    found = evaluation.evaluation_of(tally, threshold=0.4)

    called = score >= 0.4
    expected = {
        "rows": 600,
        "positives": label.sum(),
        "roc_auc": sklearn_metrics.roc_auc_score(label, score),
        "pr_auc": sklearn_metrics.average_precision_score(label, score),
        "log_loss": sklearn_metrics.log_loss(label, np.clip(score, 1e-15, 1 - 1e-15)),
        "brier": sklearn_metrics.brier_score_loss(label, score),
        "threshold": 0.4,
        "accuracy": sklearn_metrics.accuracy_score(label, called),
        "precision": sklearn_metrics.precision_score(label, called),
        "recall": sklearn_metrics.recall_score(label, called),
        "f1": sklearn_metrics.f1_score(label, called),
    }
    for name, value in expected.items():
        assert value == pytest.approx(getattr(found, name), abs=1e-9), name


def test_curves_and_calibration_are_bounded_and_add_up(scored):
    """Curves run from corner to corner within 200 points; calibration bins hold every row once."""
    frame, _, _ = scored

    found = evaluation.evaluation_of(evaluation.tallies(frame, label="y")["", ""], threshold=0.4)

    assert [found.roc[0], found.roc[-1]] == [[0.0, 0.0], [1.0, 1.0]]
    assert found.precision_recall[-1][0] == 1.0
    assert max(len(found.roc), len(found.precision_recall)) <= 200
    assert sum(rows for *_, rows in found.calibration) == 600
    assert 10 <= len(found.calibration) <= 20
    assert found.calibration == sorted(found.calibration)
    assert set(found.to_dict()) == {
        *(
            "rows",
            "positives",
            "roc_auc",
            "pr_auc",
            "log_loss",
            "brier",
            "threshold",
            "accuracy",
            "precision",
        ),
        *("recall", "f1", "roc", "precision_recall", "calibration"),
        *("calibration_error", "worst_calibration_error", "roc_auc_error"),
    }


def test_best_threshold_has_the_greatest_f1(scored):
    """No other score used as threshold gives a greater F1."""
    frame, score, label = scored

    threshold = evaluation.best_f1_threshold(evaluation.tallies(frame, label="y")["", ""])

    best = max(sklearn_metrics.f1_score(label, score >= t) for t in np.unique(score))
    assert best == pytest.approx(sklearn_metrics.f1_score(label, score >= threshold - 1e-12))


def test_slices_and_blocks_partition_the_rows(scored):
    """Each slice is measured apart, null as a value of its own; every tally keeps its rows by block."""
    frame, _, _ = scored

    found = evaluation.tallies(frame, label="y", slices=["side"], block=F.col("day"))

    sides = {value: tally.rows.sum() for (column, value), tally in found.items() if column == "side"}
    assert {"a", "b", "null"} == set(sides)
    assert sum(sides.values()) == 600
    whole = found["", ""]
    assert whole.blocks.names == tuple("012345")
    assert list(whole.blocks.by_block(whole.blocks.rows)) == [100] * 6
    assert list(whole.blocks.by_score(np.ones(6), whole.blocks.rows)) == list(whole.rows)
    assert list(found["side", "a"].score) == sorted(set(found["side", "a"].score), reverse=True)
    low, high = intervals(whole, threshold=0.4, seed=1)["roc_auc"]
    assert low < evaluation.roc_auc(whole.rows, whole.positives) < high


def test_scores_as_they_are_give_scikit_learns_area(spark):
    """Scores a hundred-millionth apart, with extremes and ties, are told apart: 1e-9 of scikit-learn."""
    random = np.random.default_rng(9)
    score = 0.5 + random.integers(-300, 300, 2000) * 1e-8
    score[:4] = [0.0, 1.0, 1.0, 0.0]
    label = (random.random(2000) < 0.5 + (score - 0.5) * 1e5).astype(int)
    frame = spark.createDataFrame(
        list(zip(map(float, score), map(int, label), strict=True)), "_score double, y int"
    )

    found = evaluation.evaluation_of(
        evaluation.tallies(frame.repartition(3), label="y")["", ""], threshold=0.5
    )

    assert found.roc_auc == pytest.approx(sklearn_metrics.roc_auc_score(label, score), abs=1e-9)
    assert found.pr_auc == pytest.approx(sklearn_metrics.average_precision_score(label, score), abs=1e-9)
    assert found.log_loss == pytest.approx(sklearn_metrics.log_loss(label, score), abs=1e-9)
    assert found.brier == pytest.approx(sklearn_metrics.brier_score_loss(label, score), abs=1e-9)
    assert found.roc_auc_error == 0.0


def test_too_many_scores_are_rounded_and_the_error_is_bounded(spark):
    """Past the limit the area is that of rounded scores: off, but by no more than it says."""
    random = np.random.default_rng(9)
    score = 0.5 + random.integers(-300, 300, 2000) * 1e-7
    label = (random.random(2000) < 0.5 + (score - 0.5) * 1e4).astype(int)
    rows = [(float(s), int(y), i % 5) for i, (s, y) in enumerate(zip(score, label, strict=True))]
    frame = spark.createDataFrame(rows, "_score double, y int, day int").repartition(3)

    tally = evaluation.tallies(frame, label="y", slices=["day"], block=F.col("day"), most=100)["", ""]
    found = evaluation.evaluation_of(tally, threshold=0.5)

    off = abs(found.roc_auc - sklearn_metrics.roc_auc_score(label, score))
    assert 1e-9 < off <= found.roc_auc_error < 0.2
    assert found.brier == pytest.approx(sklearn_metrics.brier_score_loss(label, score), abs=1e-9)
    assert found.rows == 2000
    assert tally.blocks.names == tuple("01234")
    whole = evaluation.tallies(frame, label="y", slices=["day"], block=F.col("day"), most=1)
    assert list(whole) == [("", "")]
    assert whole["", ""].rows.sum() == 2000


def test_one_label_alone_has_no_area(spark):
    """Areas that do not exist are None, not a number."""
    frame = spark.createDataFrame([(0.2, 0), (0.9, 0)], "_score double, y int")

    found = evaluation.evaluation_of(evaluation.tallies(frame, label="y")["", ""], threshold=0.5)

    assert found.roc_auc is None
    assert found.pr_auc is None
    assert found.precision == 0.0
