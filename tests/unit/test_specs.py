"""Specs are values: derived names, checks that need nothing else, no change after they are built."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from featurelib.estimator_specs import ENSEMBLES
from featurelib.specs import (
    ESTIMATOR_PARAMETERS,
    Aggregation,
    EstimatorSpec,
    FeatureView,
    LandedTable,
    Latest,
    SearchRange,
    Source,
    feature_name,
    select_names,
)


def view(**fields: object) -> FeatureView:
    """A view of one entity, with the fields given."""
    return FeatureView.model_validate({"name": "v", "entity_key": ("k",), "source": "s", **fields})


def test_feature_names_are_derived() -> None:
    """The name says view, input, operation and window; a count of rows has no input, latest no window."""
    assert feature_name("origin_delays", "dep_delay", "mean", "6h") == "origin_delays__dep_delay_mean_6h"
    delays = view(
        aggregations=(
            Aggregation(input="x", ops=("mean", "max"), windows=("1h", "lifetime")),
            Aggregation(ops=("count",), windows=("1d",)),
        ),
        latest=Latest(inputs=("y",)),
    )
    assert delays.feature_names == (
        "v__x_mean_1h",
        "v__x_mean_lifetime",
        "v__x_max_1h",
        "v__x_max_lifetime",
        "v__count_1d",
        "v__y_latest",
    )
    assert delays.inputs == ("x", "y")


@pytest.mark.parametrize(
    ("aggregation", "names"),
    [
        ({"ops": ("sum",), "windows": ("last 10",)}, ("v__x_sum_last10",)),
        ({"ops": ("last_k", "top_k"), "k": 3}, ("v__x_last3_1d", "v__x_top3_1d")),
        (
            {"ops": ("quantile",), "quantiles": (0.05, 0.5, 0.999)},
            ("v__x_p5_1d", "v__x_p50_1d", "v__x_p99_9_1d"),
        ),
        (
            {"ops": ("approx_quantile", "median"), "quantiles": (0.5,)},
            ("v__x_approx_p50_1d", "v__x_median_1d"),
        ),
        ({"ops": ("histogram",), "edges": (0, 1.5)}, ("v__x_histogram_1d",)),
        ({"ops": ("mean",), "ratio_to": "30d"}, ("v__x_mean_1d_over_30d",)),
        ({"ops": ("mean",), "ratio_to": "last 5"}, ("v__x_mean_1d_over_last5",)),
        ({"ops": ("mean",), "name": "late", "where": "x > 15"}, ("v__late_mean_1d",)),
        ({"ops": ("mean",), "by": "b"}, ("v__x_mean_1d_by_b",)),
        (
            {"ops": ("mean",), "by": "b", "values": ("Visa Gold", 7, True, "")},
            (
                "v__x_mean_1d_by_b_visa_gold",
                "v__x_mean_1d_by_b_7",
                "v__x_mean_1d_by_b_true",
                "v__x_mean_1d_by_b_blank",
            ),
        ),
    ],
)
def test_names_say_what_is_peculiar(aggregation: dict[str, object], names: tuple[str, ...]) -> None:
    """Parameters, the second window and the value a feature is for are part of its name."""
    assert view(aggregations=({"input": "x", "windows": ("1d",), **aggregation},)).feature_names == names


def test_values_that_would_share_a_name_are_refused() -> None:
    """Two values of ``by`` that look alike as a name are told from each other by the author."""
    alike = {"ops": ("count",), "windows": ("1d",), "by": "grade", "values": ("A+", "A-")}
    with pytest.raises(ValidationError, match="feature defined twice: v__count_1d_by_grade_a"):
        view(aggregations=(alike,))


def test_feature_defined_twice_is_refused() -> None:
    """Two aggregations may not give one column."""
    twice = (Aggregation(input="x", ops=("mean",), windows=("1h",)),) * 2
    with pytest.raises(ValidationError, match="feature defined twice: v__x_mean_1h"):
        view(aggregations=twice)


def test_specs_do_not_change() -> None:
    """A spec once built stays as it is."""
    spec = Aggregation(input="x", ops=("mean",), windows=("1h",))
    with pytest.raises(ValidationError, match="frozen"):
        spec.input = "y"


def test_unknown_fields_are_refused() -> None:
    """A misspelt field is an error, not a comment."""
    with pytest.raises(ValidationError, match="Extra inputs"):
        Latest.model_validate({"inputs": ("x",), "maxage": "1d"})


def test_silver_columns_are_in_order() -> None:
    """Typed, then added, then derived columns."""
    table = LandedTable(
        landing="t",
        columns={"b": "int", "a": "int"},
        transform="m:f",
        transform_adds={"z": "date"},
        derived={"c": "a + b"},
        derived_types={"c": "int"},
    )
    assert list(table.silver_types) == ["b", "a", "z", "c"]


def test_column_is_defined_once() -> None:
    """A derived column may not take the name of a landed one."""
    with pytest.raises(ValidationError, match="column defined twice: a"):
        LandedTable(landing="t", columns={"a": "int"}, derived={"a": "a + 1"}, derived_types={"a": "int"})


def test_sql_stands_alone() -> None:
    """A source is prepared in one way."""
    with pytest.raises(ValidationError, match="sql stands alone"):
        Source(table="t", event_ts="e", sql="SELECT e FROM t", where="e > 1")


@pytest.mark.parametrize(
    ("patterns", "chosen"),
    [
        (["*"], ("a", "b_1", "b_2")),
        (["b_*"], ("b_1", "b_2")),
        (["b_2", "a"], ("a", "b_2")),
        (["*", "!b_*"], ("a",)),
        (["!b_*", "*"], ("a",)),
        (["!a"], ()),
        (["b"], ()),
    ],
)
def test_select_names(patterns: list[str], chosen: tuple[str, ...]) -> None:
    """Patterns choose, ``!`` takes away wherever it stands, and the order is that of the names."""
    assert select_names(patterns, ["a", "b_1", "b_2"]) == chosen


@pytest.mark.parametrize("kind", sorted(ESTIMATOR_PARAMETERS.keys() - {"function", "als", *ENSEMBLES}))
def test_each_learner_takes_its_own_parameters(kind: str) -> None:
    """Each learner's parameters pass, fixed or tuned, and another's is refused with what is right."""
    for name in sorted(ESTIMATOR_PARAMETERS[kind]):
        EstimatorSpec(kind=kind, parameters={name: 1})
        EstimatorSpec(kind=kind, space={name: SearchRange(uniform=(0.1, 0.9))})
    with pytest.raises(ValidationError, match=f"{kind} has no parameter 'depth'"):
        EstimatorSpec(kind=kind, parameters={"depth": 1})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "exactly one"),
        ({"uniform": (0, 1), "choice": (1,)}, "exactly one"),
        ({"uniform": (1, 1)}, "low must be less than high"),
        ({"log_uniform": (0.0, 1.0)}, "needs low above 0"),
        ({"choice": ()}, "at least one value"),
    ],
)
def test_search_range_has_one_form(fields: dict[str, object], message: str) -> None:
    """A hyperparameter's space is given in one way, low before high."""
    with pytest.raises(ValidationError, match=message):
        SearchRange.model_validate(fields)
