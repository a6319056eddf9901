"""The catalogue says of every feature what it is, from the specs alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from featurelib import cli
from featurelib.config import ConfigErrors, load_project
from featurelib.reports.catalog import catalog, rendered
from tests.unit.shop_project import mutated
from tests.without_spark.test_derived import changed
from tests.without_spark.test_without_spark import project_in

FLIGHTS = Path(__file__).parents[2] / "conf" / "flights"


def test_every_feature_is_described(tmp_path: Path) -> None:
    """Type, unit and words follow from view, source and operation."""
    units = mutated(
        "shop/sources.yaml",
        "    tie_breaker: [order_id]",
        "    tie_breaker: [order_id]\n    units: {amount: EUR}",
    )
    found = {entry.name: entry for entry in catalog(project_in(tmp_path, {**changed(), **units}))}
    told = {name: (entry.type, entry.unit, entry.definition) for name, entry in found.items()}
    assert told["spending__amount_sum_30d"] == (
        "double", "EUR", "sum of amount over the 30 days before as_of_ts, by customer",
    )  # fmt: skip
    assert told["spending__amount_mean_1d"][2] == "mean of amount over the 1 day before as_of_ts, by customer"
    assert told["spending__big_last_lifetime"] == (
        "int", "", "last big over all time before as_of_ts, by customer",
    )  # fmt: skip
    assert told["spending__count_7d"] == (
        "long", "events", "number of events over the 7 days before as_of_ts, by customer",
    )  # fmt: skip
    assert told["facts__joined_year_latest"] == (
        "int", "", "joined_year of the newest row before as_of_ts, not older than 400 days, by customer",
    )  # fmt: skip
    assert told["spending_trend"] == ("double", "", "Today against the month.")
    assert "spending · by customer · source orders" in rendered(list(found.values()))


def test_a_unit_of_an_unknown_column_is_refused(tmp_path: Path) -> None:
    """A misspelt column under units is an error at its line."""
    units = mutated(
        "shop/sources.yaml",
        "    tie_breaker: [order_id]",
        "    tie_breaker: [order_id]\n    units: {amout: EUR}",
    )
    with pytest.raises(ConfigErrors, match=r"no column 'amout'\. Did you mean 'amount'"):
        project_in(tmp_path, units)


def test_the_flights_are_described_whole() -> None:
    """Every feature of the demo has a type, an owner and a definition."""
    entries = catalog(load_project(FLIGHTS, env="local", environ={}))
    assert len(entries) == 48
    assert [entry.name for entry in entries if not (entry.type and entry.owner and entry.definition)] == []


def test_the_command_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    """--json gives one object a feature, --view those of a view."""
    assert cli.run(["catalog", "--json", "--view", "plane_arrivals"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == [
        "plane_arrivals__arr_delay_last_24h",
        "plane_arrivals__arr_delay_mean_24h",
    ]
    assert rows[0]["unit"] == "minutes"
