"""Pages of models that predict numbers, and of models made smaller: figures and curves as they were recorded."""

from __future__ import annotations

import re
from typing import Any

from featurelib.reports.model_card import ModelCard, render_model_card
from featurelib.reports.number_charts import beyond, number_curves
from featurelib.reports.run_report import RunReport, render_run_report
from tests.unit.test_reports import read, report, text_of

SHAPES: dict[str, Any] = {
    "calibration": [[1.0, 2.0, 30], [4.0, 3.5, 30], [9.0, 8.0, 40]],
    "residuals": [[-9.0, -4.0, 1], [-4.0, 0.0, 40], [0.0, 4.0, 57], [4.0, 7.0, 2]],
    "quantiles": {"0.05": -3.25, "0.95": 3.5},
}
FIGURES = {"rows": 100, "mse": 4.0, "rmse": 2.125, "mae": 1.5, "r2": 0.625, "mape": 0.25, "bias": -0.375}
SMALLER = {
    "estimator": "few", "made_of": "many", "metric": "rmse", "value": 2.25, "value_before": 2.0,
    "seconds": 0.5, "seconds_before": 3.0,
}  # fmt: skip
OF_NUMBERS: dict[str, Any] = {
    "evaluation": None,
    "by_hour": [],
    "positive": "tip",
    "metric": "rmse",
    "numbers": {**FIGURES, **SHAPES},
    "lift": [
        {"name": "place", "features": 1, "roc_auc": None, "pr_auc": None, "r2": 0.125, "rmse": 3.0},
        {"name": "all", "features": 5, "roc_auc": None, "pr_auc": None, "r2": 0.625, "rmse": 2.125},
    ],
    "trivial": {"name": "mean", "features": [], "roc_auc": None, "pr_auc": None, "r2": -0.004, "rmse": 3.5},
    "by_estimator": {
        "few": {"roc_auc": None, "pr_auc": None, "r2": 0.5, "rmse": 2.25},
        "many": {"roc_auc": None, "pr_auc": None, "r2": 0.625, "rmse": 2.125},
    },
    "smaller": [SMALLER],
}


def test_a_number_has_its_figures_and_curves() -> None:
    """R2, RMSE, MAE, MAPE and bias stand where those of classes do, with both curves; no ROC AUC is named."""
    page = render_run_report(report(**OF_NUMBERS))
    text = text_of(page)
    assert "ROC AUC" not in text
    for said in ("R2, test 0.625", "RMSE 2.125", "MAE 1.500", "MAPE 25.0%", "mean error \N{MINUS SIGN}0.375"):
        assert said in text, said
    assert "Predicted and actual, by tenths" in text
    assert "mean actual tip" in text
    assert "5.0% are at most \N{MINUS SIGN}3.250" in text
    assert "3.0% of the errors lie outside" in text
    assert page.count("<polyline") >= 3


def test_every_tenth_is_a_dot_and_every_step_of_the_errors_is_drawn() -> None:
    """Three parts are three dots with their rows; the steps between the outer ones are one line up and down."""
    calibration, errors = number_curves(SHAPES, what="tip")
    assert re.findall(r"<title>([^<]*)</title>", calibration) == [
        "1.000, 2.000, 30 rows", "4.000, 3.500, 30 rows", "9.000, 8.000, 40 rows",
    ]  # fmt: skip
    (path,) = re.findall(r'class="line accent" points="([^"]*)"', errors)
    assert len(path.split()) == 6
    assert beyond(SHAPES["residuals"]) == 0.03


def test_errors_that_are_all_the_same_are_one_step() -> None:
    """A constant error, and a model without rows, draw without a division by nothing."""
    shapes = {"calibration": [[1.0, 2.0, 5]], "residuals": [[-1.0, -1.0, 5]], "quantiles": {}}
    assert len(number_curves(shapes, what="tip")) == 2
    assert number_curves({"calibration": [], "residuals": []}, what="tip") == []
    assert beyond([]) == 0.0


def test_the_mean_stands_before_the_baseline() -> None:
    """What knows nothing is the first row of the table, and differences are still to the baseline."""
    text = text_of(render_run_report(report(**OF_NUMBERS)))
    assert "mean 0 \N{MINUS SIGN}0.004 \N{MINUS SIGN}0.129" in text
    assert "place 1 0.125 baseline" in text
    assert "all 5 0.625 +0.500" in text


def test_the_class_prior_stands_there_too() -> None:
    """Of classes it is a coin's toss, beside the same baseline."""
    prior = {"name": "class prior", "features": [], "roc_auc": 0.5, "pr_auc": 0.214}
    text = text_of(render_run_report(report(trivial=prior)))
    assert "class prior 0 0.500 \N{MINUS SIGN}0.112" in text
    assert "0.214" in text


def test_models_made_smaller_say_what_it_costs_and_gains() -> None:
    """Metric and seconds of both, and the difference, in a section of their own; without any there is none."""
    page = render_run_report(report(smaller=[SMALLER]))
    assert "smaller" in read(page).ids
    assert "few many rmse 2.250 2.000 +0.250 0.5 s 3.0 s" in text_of(page)
    assert "smaller" not in read(render_run_report(report())).ids


def card(**changes: Any) -> ModelCard:
    """The card of a model that predicts a tip."""
    part = {"rows": 100, "positives": 400, "from": "2024-01-01 00:00", "to": "2024-01-31 00:00"}
    given: dict[str, Any] = {
        "name": "tips", "version": 1, "aliases": [], "sha256": "ab", "run_id": "r", "registered_at": "now",
        "comment": "why", "intended_use": "knowing", "out_of_scope": "judging", "owner": "us",
        "limitations": ["few rows"], "label": "tip", "label_description": "", "tables": {"training.t": 1},
        "periods": dict.fromkeys(("train", "validate", "test"), part), "features": {"a": "double"},
        "features_hash": "cd", "estimator": "linear_regression", "parameters": {},
        "baseline": {"name": "place", "r2": 0.125, "roc_auc": None}, "evaluation": FIGURES, "intervals": {},
        "decision": {"by": "number"}, "verdict": {"mode": "enabled", "passed": True, "reasons": []},
        "checklist": [{"item": "words", "state": "met", "said": "given"}], "code": {"version": "1"},
        "python": "3.11", "packages": {"pyspark": "4"}, "task": "regression", "shapes": SHAPES,
        "slices": [
            {"column": "place", "value": name, "rows": 50, "roc_auc": None, "r2": value, "rmse": 2.0, "mae": 1.0}
            for name, value in (("x", 0.75), ("y", 0.5))
        ],
        "trivial": {"rmse": 3.5, "r2": 0.0}, "smaller": [SMALLER],
    }  # fmt: skip
    return ModelCard(**{**given, **changes})


def test_a_card_of_numbers_has_figures_curves_and_no_threshold() -> None:
    """Nothing of it is of classes; slices are in order of R2, and the mean and the smaller model stand on it."""
    page = render_model_card(card())
    text = text_of(page)
    assert "ROC AUC" not in text
    assert "called positive" not in text
    assert "R2, test 0.625" in text
    assert "over the baseline +0.500" in text
    assert "gives RMSE 3.500" in text
    assert text.index("place y") < text.index("place x")
    assert "few many rmse 2.250 2.000 +0.250" in text
    assert "Predicted and actual, by tenths" in text
    assert "Predicted and actual" not in text_of(render_model_card(card(shapes={})))


def test_a_report_of_numbers_survives_json() -> None:
    """What is written beside the page makes the same page."""
    first = report(**OF_NUMBERS)
    assert RunReport.from_dict(first.to_dict()) == first


def test_a_card_says_how_the_first_rows_of_groups_are() -> None:
    """Each k is a row; groups without a positive are counted; without a ranking there is no such table."""
    at = [{"k": 10, "precision": 0.25, "recall": 0.5, "ndcg": 0.625}]
    ranked = {"by": "day", "groups": 61, "without_positives": 2, "at": at}
    text = text_of(render_model_card(card(ranked=ranked)))
    assert "The first rows of each day The mean over 61 groups; 2 of them have no positive row" in text
    assert "10 0.250 0.500 0.625" in text
    assert "The first rows" not in text_of(render_model_card(card()))
