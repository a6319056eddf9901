"""Precision, recall and NDCG at k by group, beside scikit-learn and beside an order counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from pyspark.sql import functions as F

from featurelib.training.rank_metrics import group_of, rank_metrics

SCHEMA = "day string, score double, label double"
AT = (1, 3, 10, 50)


def measured(spark, rows, at):
    """What Spark finds of rows that are cut into several partitions."""
    frame = spark.createDataFrame(rows, SCHEMA).repartition(3)
    return rank_metrics(frame, label="label", score="score", group=F.col("day"), at=at)


def test_ndcg_is_that_of_scikit_learn(spark):
    """To 1e-9 the mean over groups of ndcg_score, with many equal scores and with groups smaller than k."""
    from sklearn.metrics import ndcg_score

    draw = np.random.default_rng(3)
    groups = {}
    for number, size in enumerate((40, 25, 12, 60, 7)):
        score = draw.normal(size=size).round(1 if number % 2 else 6)
        label = (draw.random(size) < 0.3).astype(float)
        label[0] = 1.0
        groups[f"2024-01-0{number + 1}"] = score, label
    rows = [
        (day, float(a), float(b))
        for day, (score, label) in groups.items()
        for a, b in zip(score, label, strict=True)
    ]
    found = measured(spark, rows, AT)
    assert (found["groups"], found["without_positives"]) == (5, 0)
    for one in found["at"]:
        expected = np.mean([ndcg_score([label], [score], k=one["k"]) for score, label in groups.values()])
        assert one["ndcg"] == pytest.approx(expected, abs=1e-9)


def test_precision_and_recall_are_counted_by_hand(spark):
    """Two groups, one smaller than k; of two equal scores at the edge half of each is looked at; a day of none counts."""
    rows = [
        ("a", 0.9, 1.0), ("a", 0.8, 0.0), ("a", 0.8, 1.0), ("a", 0.1, 1.0),
        ("b", 0.5, 0.0), ("b", 0.4, 1.0),
        ("c", 0.5, 0.0), ("c", 0.3, 0.0),
    ]  # fmt: skip
    found = measured(spark, rows, (2, 3))
    assert (found["groups"], found["without_positives"]) == (3, 1)
    two, three = found["at"]
    assert two["precision"] == pytest.approx((1.5 / 2 + 1 / 2 + 0) / 3)
    assert two["recall"] == pytest.approx((1.5 / 3 + 1) / 2)
    assert three["precision"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert three["recall"] == pytest.approx((2 / 3 + 1) / 2)


def test_no_positives_at_all_is_no_number(spark):
    """Recall and NDCG are absent, precision is 0."""
    found = measured(spark, [("a", 0.5, 0.0)], (1,))
    assert found["at"] == [{"k": 1, "precision": 0.0, "recall": None, "ndcg": None}]


def test_groups_are_days_or_values(spark):
    """A day is that of as_of_ts in UTC, whatever column is called so; null is a group like any other."""
    rows = spark.createDataFrame([("2024-01-02 23:30:00", 7, None)], "at string, day int, place string")
    rows = rows.withColumn("as_of_ts", F.to_timestamp("at"))
    found = rows.select(group_of("day", as_of="as_of_ts"), group_of("place", as_of="as_of_ts")).first()
    assert tuple(found) == ("2024-01-02", "null")
