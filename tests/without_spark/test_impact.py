"""What depends on a column is told by the specs: features, models and tables, each by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from featurelib.cli import run
from featurelib.errors import ConfigError
from featurelib.pipeline.impact import Impact, asked_columns, impact
from featurelib.specs import EstimatorSpec, Project
from tests.jobs.cafe_project import SOURCES, write_cafe
from tests.without_spark.cafe_store import place_in

SETTLED = ("shop_settled__amount_max_1d", "shop_settled__amount_last2_1d")
SUMS = tuple(f"shop_sales__amount_{op}_{window}" for op in ("sum", "mean") for window in ("6h", "2d"))
COUNTS = ("shop_sales__count_2d_by_customer",)
LAST = ("customer_sales__amount_last_lifetime",)
WARM = ("shop_weather__temp_latest", "is_warm")
EVERYTHING = {*SETTLED, *SUMS, *COUNTS, *LAST, *WARM}
MADE = ("bronze.sales", "silver.sales", "features.cafe", "training.cafe", "predictions.cafe")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The cafe; its model takes party and the sums of a shop's sales."""
    return place_in(tmp_path_factory.mktemp("cafe") / "root").project


@pytest.mark.parametrize(
    ("column", "features", "models"),
    [
        pytest.param("amount", {*SETTLED, *SUMS, *LAST}, ("tips",), id="an input, and no count"),
        pytest.param("shop", {*SETTLED, *SUMS, *COUNTS}, ("tips",), id="the key of two views"),
        pytest.param("customer", {*COUNTS, *LAST}, (), id="a key and a by, which no model takes"),
        pytest.param("booked_ts", EVERYTHING - {*WARM}, ("tips",), id="an instant: all events"),
        pytest.param("sale_id", {SETTLED[1], *LAST}, (), id="a tie breaker: what goes by order"),
        pytest.param("note", set(), (), id="a column that nothing reads"),
    ],
)
def test_a_column_of_a_source(
    project: Project, column: str, features: set[str], models: tuple[str, ...]
) -> None:
    """Each feature that could have another value is named, and no other; a model with any of them too."""
    found = impact(project, "sales", [column])

    assert (set(found.features), found.models, found.label) == (features, models, ())
    assert found.tables == MADE[: 2 + (2 if features else 0) + (1 if models else 0)]


def test_a_column_of_the_spine(project: Project) -> None:
    """The moment asked about is everything's; a key of entities is their views'; the label is the models'."""

    def told(column: str) -> tuple[set[str], tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        found = impact(project, "visits", [column])
        return set(found.features), found.spine, found.label, found.models

    whole = ("visit_id", "shop", "customer", "party")
    assert told("visited_ts") == (EVERYTHING, whole, (), ("tips",))
    assert told("customer") == ({*LAST}, ("customer",), (), ())
    assert told("party") == (set(), ("party",), (), ("tips",))
    assert told("tip") == (set(), (), ("tipped",), ("tips",))


def test_users_and_items_are_read(project: Project) -> None:
    """A model that knows customers by ALS depends on their column, which is none of its features."""
    taste = EstimatorSpec(kind="als", user="customer", item="shop")
    rated = project.models["tips"].model_copy(update={"estimators": {"taste": taste}})

    found = impact(project.model_copy(update={"models": {"tips": rated}}), "visits", ["customer"])
    assert found.models == ("tips",)


def test_a_derived_feature_follows(project: Project) -> None:
    """``is_warm`` is made of the temperature."""
    assert set(impact(project, "weather", ["temp"]).features) == {*WARM}


DERIVED = """\
    derived: {dear: "amount > 5"}
    derived_types: {dear: boolean}
    transform: more:of_sales
    transform_adds: {net: double, vat: double}
"""
READS = "    transform_reads: {net: [amount], vat: [note]}\n"


@pytest.mark.parametrize(
    ("added", "column", "silver"),
    [
        (DERIVED, "note", ("net", "vat")),
        (DERIVED + READS, "note", ("vat",)),
        (DERIVED + READS, "amount", ("dear", "net")),
        (DERIVED + READS, "shop", ()),
    ],
)
def test_computed_columns_of_a_table(
    tmp_path: Path, added: str, column: str, silver: tuple[str, ...]
) -> None:
    """A transform may read anything, unless it says what; expressions say it themselves."""
    sources = SOURCES.replace("  weather:\n    landing", f"{added}  weather:\n    landing")
    folder = write_cafe(
        tmp_path / "root", {"cafe/sources.yaml": sources, "cafe/more.py": "def of_sales(rows): ..."}
    )
    from featurelib.config import load_project

    project = load_project(folder, env="local", overrides=[f"root={tmp_path}"], environ={})
    assert impact(project, "sales", [column]).silver == silver


def test_the_command_prints_names_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line a name for people, one object for machines; no session is started."""
    folder = str(write_cafe(tmp_path / "root"))
    asked = ["impact", "--table", "silver.weather", "--column", "temp", "--pipeline", folder]

    assert run(asked) == 0
    assert capsys.readouterr().out == (
        "temp of weather\n"
        "  features          shop_weather__temp_latest\n"
        "                    is_warm\n"
        "  tables            bronze.weather\n"
        "                    silver.weather\n"
        "                    features.cafe\n"
        "                    training.cafe\n"
    )
    assert run([*asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["features"] == [*WARM]


@pytest.mark.parametrize(
    ("table", "column", "message"),
    [
        ("silver.seles", "amount", r"table 'silver.seles'. Did you mean 'silver.sales'\?"),
        ("features.cafe", "amount", r"(?s)table 'features.cafe'.*a landed table: silver.visits"),
        ("sales", "amuont", r"column 'amuont' of sales. Did you mean 'amount'\?"),
    ],
)
def test_what_there_is_not_is_refused(project: Project, table: str, column: str, message: str) -> None:
    """A misspelt table or column is told with the nearest one."""
    with pytest.raises(ConfigError, match=message):
        asked_columns(project, table, [column])


def test_long_lists_are_cut_short_in_errors() -> None:
    """Six names and the number of the others."""
    names = tuple("abcdefgh")
    found = Impact("t", ("c",), (), (), (), (), (), names, (), ("silver.t",))
    assert found.said == "features a, b, c, d, e, f, and 2 more; tables silver.t"
