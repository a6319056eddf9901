"""Derived features: checked at load, computed after aggregation, part of the definition, inputs of models."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from pydantic import ValidationError

from featurelib.config import ConfigErrors
from featurelib.derived import derived_columns, feature_names
from featurelib.pipeline.definitions import features_hash
from featurelib.pipeline.without_spark import needed_derived, needed_views, with_derived
from featurelib.specs import Derived
from tests.unit.shop_project import FEATURES, MODELS
from tests.without_spark.test_without_spark import project_in

DERIVED = """\
derived:
  spending_trend:
    expression: try_divide(spending__amount_mean_1d, spending__amount_mean_30d)
    type: double
    description: Today against the month.
  trend_squared: {expression: spending_trend * spending_trend, type: double}
  spending_band: {buckets: spending__amount_sum_30d, edges: [0, 50, 100.5]}
  day_rank: {ordinal: weekday, values: [2, 3, 1]}
  is_of: {one_hot: customer, values: [ann, "Bob Jr."]}
"""


def changed(derived: str = DERIVED, models: str = MODELS) -> dict[str, str]:
    """The shop's files with derived features."""
    return {"shop/features.yaml": FEATURES + derived, "shop/models.yaml": models}


def test_every_form_is_an_expression_with_a_name(tmp_path: Path) -> None:
    """Columns come in the order of the file; one_hot gives one for each value."""
    project = project_in(tmp_path, changed())
    assert feature_names(project)[-6:] == (
        "spending_trend", "trend_squared", "spending_band", "day_rank", "is_of__ann", "is_of__bob_jr",
    )  # fmt: skip
    assert derived_columns(project.derived)["day_rank"] == (
        "CASE weekday WHEN 2 THEN 0 WHEN 3 THEN 1 WHEN 1 THEN 2 END",
        "int",
    )


def test_derived_features_are_computed_after_the_others(tmp_path: Path) -> None:
    """Ratios of null or zero are null; a value on an edge lies above it; an unknown category has no rank."""
    project = project_in(tmp_path, changed())
    features = pl.DataFrame(
        {
            "customer": ["ann", "Bob Jr.", None],
            "weekday": pl.Series([3, 7, None], dtype=pl.Int32),
            "spending__amount_mean_1d": [30.0, 5.0, None],
            "spending__amount_mean_30d": [60.0, 0.0, 1.0],
            "spending__amount_sum_30d": [50.0, -1.0, None],
        }
    )
    names = list(derived_columns(project.derived))
    found = with_derived(features, project, names).select(names).to_dict(as_series=False)
    assert found == {
        "spending_trend": [0.5, None, None],
        "trend_squared": [0.25, None, None],
        "spending_band": [2, 0, None],
        "day_rank": [1, None, None],
        "is_of__ann": [1, 0, 0],
        "is_of__bob_jr": [0, 1, 0],
    }


def test_what_a_derived_feature_is_made_of_is_found(tmp_path: Path) -> None:
    """A derived feature needs those before it, and the views behind them."""
    project = project_in(tmp_path, changed())
    assert needed_derived(project, ["trend_squared"]) == ["spending_trend", "trend_squared"]
    assert [view.name for view in needed_views(project, ["trend_squared"])] == ["spending"]


def test_the_definition_is_part_of_the_features_hash(tmp_path: Path) -> None:
    """Another expression is another definition; without derived features the hash is what it was."""
    without = features_hash(project_in(tmp_path / "a"))
    one = features_hash(project_in(tmp_path / "b", changed()))
    other = features_hash(project_in(tmp_path / "c", changed(DERIVED.replace("[0, 50", "[0, 51"))))
    assert len({without, one, other}) == 3


def test_words_for_people_change_no_definition(tmp_path: Path) -> None:
    """An owner, a unit or a description rebuilds nothing."""
    said = DERIVED.replace(
        "edges: [0, 50, 100.5]", "edges: [0, 50, 100.5], owner: sales, description: how much"
    )
    assert said != DERIVED
    one, other = project_in(tmp_path / "a", changed()), project_in(tmp_path / "b", changed(said))
    assert one.derived != other.derived
    assert features_hash(one) == features_hash(other)


def test_models_take_derived_features(tmp_path: Path) -> None:
    """A model names them like any other feature."""
    models = MODELS.replace('"spending__*"', '"spending_*", day_rank')
    assert "day_rank" in project_in(tmp_path, changed(models=models)).models["returns"].features


MISTAKES = [
    ("amount_mean_1d,", "amount_men_1d,", "unknown column 'spending__amount_men_1d'"),
    ("spending_trend * spending_trend", "spending_tren * 2", "Did you mean 'spending_trend'?"),
    ("buckets: spending__amount_sum_30d", "buckets: customer", "buckets of 'customer', which is a string"),
    ("ordinal: weekday", "ordinal: weekdy", "Did you mean 'weekday'?"),
    ("edges: [0, 50, 100.5]", "edges: [0, 50, 50]", "edges must rise"),
    (", edges: [0, 50, 100.5]", "", "buckets needs edges"),
    ("day_rank: {", "weekday: {", "'weekday' is a column already"),
    ("  trend_squared: {", "  returned: {", "'returned' is a column already"),
    ("values: [ann, ", 'values: ["o\'hara", ', 'value "o\'hara"'),
    ("type: double\n    description", "unit: share\n    description", "expression needs type"),
]


@pytest.mark.parametrize(("old", "new", "message"), MISTAKES)
def test_a_mistake_fails_at_load(tmp_path: Path, old: str, new: str, message: str) -> None:
    """Unknown features, wrong types and forms are errors of the configuration, with file and line."""
    assert DERIVED.count(old) == 1
    with pytest.raises(ConfigErrors) as caught:
        project_in(tmp_path, changed(DERIVED.replace(old, new)))
    assert message in str(caught.value)
    assert "shop/features.yaml:" in str(caught.value)


def test_one_form_is_given() -> None:
    """Two forms at once are refused."""
    with pytest.raises(ValidationError, match="exactly one of expression, buckets, ordinal, one_hot"):
        Derived(buckets="x", ordinal="y", edges=(1.0,), values=("a",))
