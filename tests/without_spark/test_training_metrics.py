"""Metrics, intervals, costs and fairness from counts: scikit-learn, fairlearn and slow sums are the oracles."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from featurelib.specs import Costs, Fairness
from featurelib.training.fairness import fairness
from featurelib.training.intervals import compared, intervals, stability, worst
from featurelib.training.metrics import (
    CALL_NONE,
    Blocks,
    Tally,
    best_threshold,
    cheapest_threshold,
    evaluation_of,
    precision_at,
)
from featurelib.training.mitigation import group_thresholds, reweighing

sklearn_metrics = pytest.importorskip("sklearn.metrics")


def tally_of(score, label, day=None) -> Tally:
    """Count rows by score with a dictionary, and by day where one is given."""
    score, label = np.asarray(score, float), np.asarray(label, float)
    eps = np.finfo(float).eps
    clipped = np.clip(score, eps, 1 - eps)
    loss = -np.log(np.where(label == 1, clipped, np.clip(1 - score, eps, 1 - eps)))
    frame = pd.DataFrame(
        {"score": score, "rows": 1.0, "positives": label, "losses": loss, "squares": (score - label) ** 2}
    )
    names = ["rows", "positives", "losses", "squares"]
    whole = frame.groupby("score")[names].sum().sort_index(ascending=False)
    blocks = None
    if day is not None:
        frame["day"] = np.asarray(day)
        parts = (
            frame.groupby(["score", "day"])[names].sum().reset_index().sort_values("score", ascending=False)
        )
        days = sorted(set(frame["day"]))
        place = {value: at for at, value in enumerate(whole.index)}
        blocks = Blocks(
            tuple(days),
            np.array([days.index(one) for one in parts["day"]]),
            np.array([place[one] for one in parts["score"]]),
            parts["score"].to_numpy(),
            *(parts[name].to_numpy() for name in names),
        )
    return Tally(whole.index.to_numpy(), *(whole[name].to_numpy() for name in names), blocks=blocks)


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Two thousand rows of forty days; a day shifts all its labels, so rows of a day are alike."""
    draw = np.random.default_rng(11)
    day = np.repeat(np.arange(40), 50)
    score = np.round(draw.beta(2, 4, 2000), 3)
    shift = draw.normal(0, 0.25, 40)[day]
    label = (draw.random(2000) < np.clip(score + shift, 0, 1)).astype(int)
    days = [f"2013-{11 + (d >= 30)}-{1 + d % 30:02d}" for d in day]
    return pd.DataFrame(
        {"score": score, "label": label, "day": days, "group": draw.choice(["a", "b", "c"], 2000)}
    )


def test_calibration_errors_are_those_of_slow_sums(rows: pd.DataFrame) -> None:
    """Sorted rows cut into fifteen parts, each part's mean score less its share of positives, in a loop."""
    draw = np.random.default_rng(3)
    score = draw.permutation(np.linspace(0.01, 0.99, 300))
    label = (draw.random(300) < score**2).astype(int)
    order = np.argsort(-score)
    gaps = [
        abs(
            sum(score[i] for i in order[20 * k : 20 * k + 20])
            - sum(label[i] for i in order[20 * k : 20 * k + 20])
        )
        / 20
        for k in range(15)
    ]

    found = evaluation_of(tally_of(score, label), threshold=0.5)

    assert found.calibration_error == pytest.approx(sum(gaps) / 15, abs=1e-12)
    assert found.worst_calibration_error == pytest.approx(max(gaps), abs=1e-12)


def test_the_cheapest_threshold_is_that_of_trying_all() -> None:
    """No other score, nor calling nothing, costs less; of equally cheap ones it is the highest."""
    draw = np.random.default_rng(7)
    score, label = np.round(draw.random(200), 2), draw.integers(0, 2, 200)
    for costs in (
        Costs(false_positive=1, false_negative=5, true_positive=-2),
        Costs(false_positive=50, false_negative=1),
        Costs(false_positive=1, false_negative=1, true_negative=-0.5),
    ):

        def paid(threshold: float, costs: Costs = costs) -> float:
            total = 0.0
            for s, y in zip(score, label, strict=True):
                called = s >= threshold
                total += (
                    (costs.true_positive if called else costs.false_negative)
                    if y
                    else (costs.false_positive if called else costs.true_negative)
                )
            return total

        best = max((-paid(t), t) for t in [*np.unique(score), CALL_NONE])
        found = cheapest_threshold(tally_of(score, label), costs)
        assert paid(found) == pytest.approx(-best[0])
        assert found == best[1]


def test_without_costs_the_threshold_is_that_of_the_greatest_f1(rows: pd.DataFrame) -> None:
    """Costs change the threshold; without them it is scikit-learn's best F1."""
    tally = tally_of(rows["score"], rows["label"])

    best = max(sklearn_metrics.f1_score(rows["label"], rows["score"] >= t) for t in rows["score"].unique())

    assert sklearn_metrics.f1_score(rows["label"], rows["score"] >= best_threshold(tally)) == pytest.approx(
        best
    )
    assert best_threshold(tally, Costs(false_positive=100, false_negative=1)) > best_threshold(tally)


def test_a_call_that_is_always_best_is_no_cost() -> None:
    """Costs under which being wrong is no worse than being right are refused by name."""
    with pytest.raises(ValueError, match=r"false_negative 1\.0 must cost more than true_positive 1\.0"):
        Costs(false_positive=1, false_negative=1, true_positive=1)


def test_precision_at_a_share_shares_ties() -> None:
    """Of four rows of one score, of which two are positive, taking one takes half a positive."""
    assert precision_at(tally_of([0.5] * 4, [1, 0, 1, 0]), 0.25) == 0.5
    assert precision_at(tally_of([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0]), 0.5) == 0.5
    assert precision_at(tally_of([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0]), 0.01) == 1.0


def test_intervals_are_those_of_drawing_days_row_by_row(rows: pd.DataFrame) -> None:
    """Every draw, rebuilt as a list of rows and measured by scikit-learn, gives the same quantiles."""
    tally = tally_of(rows["score"], rows["label"], rows["day"])
    days = sorted(set(rows["day"]))
    times = np.random.default_rng(5).multinomial(40, [1 / 40] * 40, size=200)
    by_day = [rows[rows["day"] == one] for one in days]
    drawn: dict[str, list[float]] = {
        name: [] for name in ("roc_auc", "pr_auc", "brier", "f1", "precision", "log_loss")
    }
    for draw in times:
        sample = pd.concat([part for part, count in zip(by_day, draw, strict=True) for _ in range(count)])
        y, s = sample["label"], sample["score"]
        drawn["roc_auc"].append(sklearn_metrics.roc_auc_score(y, s))
        drawn["pr_auc"].append(sklearn_metrics.average_precision_score(y, s))
        drawn["brier"].append(sklearn_metrics.brier_score_loss(y, s))
        drawn["log_loss"].append(sklearn_metrics.log_loss(y, s))
        drawn["f1"].append(sklearn_metrics.f1_score(y, s >= 0.4))
        drawn["precision"].append(sklearn_metrics.precision_score(y, s >= 0.4))

    found = intervals(tally, threshold=0.4, seed=5)

    for name, values in drawn.items():
        assert found[name] == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])), abs=1e-9), name
    assert found["calibration_error"][0] < found["calibration_error"][1]


def test_days_alike_make_intervals_wider_than_rows_would(rows: pd.DataFrame) -> None:
    """Were every row a block of its own, the interval of the Brier score would promise more than is known."""
    by_day = intervals(tally_of(rows["score"], rows["label"], rows["day"]), threshold=0.4, seed=1)["brier"]
    each = [f"{number:05d}" for number in range(len(rows))]
    by_row = intervals(tally_of(rows["score"], rows["label"], each), threshold=0.4, seed=1)["brier"]

    assert by_day[1] - by_day[0] > 1.5 * (by_row[1] - by_row[0])


def test_one_block_has_no_interval() -> None:
    """A single day says nothing about other days."""
    assert intervals(tally_of([0.1, 0.9], [0, 1], ["a", "a"]), threshold=0.5, seed=1) == {}


def test_a_better_model_is_told_from_noise(rows: pd.DataFrame) -> None:
    """Against itself the difference is nothing; against its score with noise it is beyond chance."""
    draw = np.random.default_rng(2)
    ours = tally_of(rows["score"], rows["label"], rows["day"])
    noisy = np.clip(rows["score"] + draw.normal(0, 0.2, len(rows)), 0, 1)
    theirs = tally_of(noisy, rows["label"], rows["day"])

    same = compared(ours, ours, metric="roc_auc", version=3, seed=1)
    better = compared(ours, theirs, metric="roc_auc", version=3, seed=1)

    assert (same.difference, same.interval, same.p_value) == (0.0, (0.0, 0.0), 1.0)
    expected = sklearn_metrics.roc_auc_score(rows["label"], rows["score"]) - sklearn_metrics.roc_auc_score(
        rows["label"], noisy
    )
    assert better.difference == pytest.approx(expected, abs=1e-12)
    assert better.interval is not None
    assert better.interval[0] > 0
    assert better.p_value == pytest.approx(2 / 501)


def test_stability_is_the_metric_of_the_rows_of_a_period(rows: pd.DataFrame) -> None:
    """A month's ROC AUC is scikit-learn's of that month's rows, and the worst week is the lowest."""
    found = stability(tally_of(rows["score"], rows["label"], rows["day"]), threshold=0.4)

    month = rows[rows["day"].str.startswith("2013-12")]
    december = found["month"][1]
    assert [one["period"] for one in found["month"]] == ["2013-11", "2013-12"]
    assert december["rows"] == len(month)
    assert december["roc_auc"] == pytest.approx(sklearn_metrics.roc_auc_score(month["label"], month["score"]))
    assert sum(one["rows"] for one in found["week"]) == 2000
    assert worst(found["week"])["roc_auc"] == min(one["roc_auc"] for one in found["week"])


def test_fairness_is_fairlearns(rows: pd.DataFrame) -> None:
    """Rates by group, differences and ratios are those of fairlearn's MetricFrame within 1e-9."""
    metrics = pytest.importorskip("fairlearn.metrics")
    called = (rows["score"] >= 0.4).astype(int)
    tallies = {
        ("group", value): tally_of(part["score"], part["label"]) for value, part in rows.groupby("group")
    }

    found = fairness(tallies, Fairness(groups=("group",)), threshold=0.4, thresholds={})["group"]

    frame = metrics.MetricFrame(
        metrics={
            "selection_rate": metrics.selection_rate,
            "true_positive_rate": metrics.true_positive_rate,
            "false_positive_rate": metrics.false_positive_rate,
            "false_negative_rate": metrics.false_negative_rate,
            "accuracy": sklearn_metrics.accuracy_score,
        },
        y_true=rows["label"], y_pred=called, sensitive_features=rows["group"],
    )  # fmt: skip
    for value in "abc":
        for name in frame.by_group.columns:
            assert found["groups"][value][name] == pytest.approx(frame.by_group.loc[value, name], abs=1e-9)
    same = {"y_true": rows["label"], "y_pred": called, "sensitive_features": rows["group"]}
    for ours, theirs in {
        "demographic_parity_difference": metrics.demographic_parity_difference,
        "disparate_impact": metrics.demographic_parity_ratio,
        "equalized_odds_difference": metrics.equalized_odds_difference,
        "equalized_odds_ratio": metrics.equalized_odds_ratio,
        "equal_opportunity_difference": metrics.equal_opportunity_difference,
    }.items():
        assert found[ours] == pytest.approx(theirs(**same), abs=1e-9), ours
    assert found["four_fifths"] == (found["disparate_impact"] >= 0.8)


def test_a_small_group_is_counted_and_not_compared() -> None:
    """Three rows make a rate of 0 or 1 by luck: they are shown, and left out of the differences."""
    tallies = {
        ("g", "a"): tally_of([0.9, 0.1] * 20, [1, 0] * 20),
        ("g", "b"): tally_of([0.9, 0.1, 0.1] * 20, [1, 0, 0] * 20),
        ("g", "tiny"): tally_of([0.9] * 3, [0] * 3),
    }

    found = fairness(tallies, Fairness(groups=("g",)), threshold=0.5, thresholds={})["g"]

    assert found["not_compared"] == ["tiny"]
    assert found["groups"]["tiny"]["selection_rate"] == 1.0
    assert found["demographic_parity_difference"] == pytest.approx(1 / 2 - 1 / 3)


def test_weights_make_group_and_label_independent() -> None:
    """Under the weights every group has the same share of positives, and every margin its size."""
    counts = {("a", 1.0): 40, ("a", 0.0): 10, ("b", 1.0): 20, ("b", 0.0): 30}

    weights = reweighing(counts)

    assert weights["a", 1.0] == pytest.approx(50 * 60 / (100 * 40))
    weighted = {key: weights[key] * rows for key, rows in counts.items()}
    assert weighted["a", 1.0] / 50 == pytest.approx(weighted["b", 1.0] / 50) == pytest.approx(0.6)
    assert sum(weighted.values()) == pytest.approx(100)


def test_group_thresholds_bring_rates_together() -> None:
    """One group scores lower throughout: with one threshold it is hardly called, with two equally often."""
    draw = np.random.default_rng(1)
    high, low = draw.random(500), draw.random(500) * 0.6
    label = draw.integers(0, 2, 500)
    groups = {"high": tally_of(high, label), "low": tally_of(low, label)}
    whole = tally_of(np.concatenate([high, low]), np.concatenate([label, label]))

    found = group_thresholds(whole, groups, threshold=0.5, rate="selection_rate")

    target = (np.concatenate([high, low]) >= 0.5).mean()
    assert (high >= found["high"]).mean() == pytest.approx(target, abs=1 / 500)
    assert (low >= found["low"]).mean() == pytest.approx(target, abs=1 / 500)
    before = fairness(
        {("g", k): v for k, v in groups.items()}, Fairness(groups=("g",)), threshold=0.5, thresholds={}
    )
    after = fairness(
        {("g", k): v for k, v in groups.items()},
        Fairness(groups=("g",)),
        threshold=0.5,
        thresholds={"g": found},
    )
    assert before["g"]["demographic_parity_difference"] > 0.25
    assert after["g"]["demographic_parity_difference"] < 0.01
