"""Feature tests in YAML: those of the flights pass, a wrong one says what differs and where."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from featurelib import cli
from featurelib.config import ConfigErrors, load_project
from featurelib.errors import ConfigError
from featurelib.pipeline.feature_tests import differences, load_tests, run_tests
from featurelib.specs import Project
from tests.unit.shop_project import MODELS, SOURCES
from tests.without_spark.test_without_spark import project_in

FLIGHTS = Path(__file__).parents[2] / "conf" / "flights"
SPENDING = """\
spending_is_known_when_settled:
  rows:
    orders:
      - {order_id: a, customer: ann, amount: 60, ordered_ts: "2024-05-01T00:00:00Z", settled_ts: "2024-05-02T00:00:00Z"}
  features:
    - {customer: ann, as_of_ts: "2024-05-02", spending__amount_sum_30d: null, spending__count_7d: 0}
    - {customer: ann, as_of_ts: "2024-05-03", spending__amount_sum_30d: 60, spending__count_7d: 1}
"""


def shop(folder: Path, text: str) -> Project:
    """The shop project with one file of feature tests."""
    project = project_in(folder)
    tests = Path(project.folder) / "tests"
    tests.mkdir()
    (tests / "spending.yaml").write_text(text, encoding="utf-8")
    return project


def test_the_tests_of_the_flights_pass() -> None:
    """Every feature test that ships with the flights holds, on the engine's kernels."""
    report, failed = run_tests(load_project(FLIGHTS, env="local", environ={}))
    assert failed == 0, report


def test_a_passing_test_is_counted(tmp_path: Path) -> None:
    """The report says how many tests and questions there were."""
    report, failed = run_tests(shop(tmp_path, SPENDING))
    assert (report.rpartition(",")[0], failed) == ("1 tests passed, 2 questions", 0)


KINDS = """\
views:
  kinds:
    entity: customer
    source: orders
    aggregations:
      - {input: amount, ops: [sum, last_k, median], k: 2, windows: [lifetime], by: dear}
      - {input: ordered_ts, ops: [max], windows: [lifetime]}
      - {input: day, ops: [last], windows: [lifetime]}
"""
TYPED = """\
every_type_can_be_said:
  rows:
    orders:
      - {order_id: a, customer: ann, amount: 60, dear: true, day: "2024-05-01", ordered_ts: "2024-05-01T10:00:00Z", settled_ts: "2024-05-02"}
      - {order_id: b, customer: ann, amount: 5, dear: false, day: "2024-05-02", ordered_ts: "2024-05-02T10:00:00Z", settled_ts: "2024-05-02T11:00:00Z"}
  features:
    - customer: ann
      as_of_ts: "2024-05-03"
      kinds__amount_sum_lifetime_by_dear: {"true": 60, "false": 5}
      kinds__amount_last2_lifetime_by_dear: {"true": [60], "false": [5]}
      kinds__amount_median_lifetime_by_dear: {"true": 60, "false": 5}
      kinds__ordered_ts_max_lifetime: "2024-05-02T10:00:00Z"
      kinds__day_last_lifetime: "2024-05-02"
"""


@pytest.mark.parametrize(
    ("said", "instead", "differs"),
    [
        ("", "", 0),
        ('"false": [5]', '"false": [5, 5]', 1),
        ('{"true": 60, "false": 5}', '{"true": 60}', 2),
        ('T10:00:00Z"\n      kinds__day', 'T10:00:01Z"\n      kinds__day', 1),
        ('lifetime: "2024-05-02"', 'lifetime: "2024-05-01"', 1),
    ],
)
def test_maps_dates_and_instants_are_compared(tmp_path: Path, said: str, instead: str, differs: int) -> None:
    """Maps are mappings, instants and dates are texts; each is told from another value."""
    models = MODELS.replace('"spending__*", "facts__*"', '"!*__*"')
    changed = {"shop/features.yaml": KINDS, "shop/models.yaml": models}
    project = project_in(tmp_path, changed)
    (Path(project.folder) / "tests").mkdir()
    (Path(project.folder) / "tests" / "kinds.yaml").write_text(
        TYPED.replace(said, instead) if said else TYPED
    )
    (test,) = load_tests(project)
    assert len(list(differences(project, test))) == differs


def test_a_difference_is_shown_at_its_line(tmp_path: Path) -> None:
    """A failing test names file, line, question, feature, what was expected and what came."""
    project = shop(tmp_path, SPENDING.replace("sum_30d: 60", "sum_30d: 61"))
    report, failed = run_tests(project)
    assert failed == 1
    assert report.splitlines()[:2] == [
        f"FAILED spending_is_known_when_settled, {project.folder}/tests/spending.yaml:7: customer ann, as_of_ts 2024-05-03T00:00:00Z",
        "  spending__amount_sum_30d: expected 61, got 60",
    ]


def test_the_command_ends_with_1_when_a_test_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A failing feature test fails the build that runs it; a passing one does not."""
    project = shop(tmp_path, SPENDING)
    assert cli.run(["test-features", "--pipeline", project.folder]) == 0
    (Path(project.folder) / "tests" / "spending.yaml").write_text(SPENDING.replace("7d: 0", "7d: 1"))
    assert cli.run(["test-features", "--pipeline", project.folder]) == 1
    assert "1 of 1 tests failed" in capsys.readouterr().out


MISTAKES = [
    ("amount: 60", "amout: 60", "table orders has no column 'amout'. Did you mean 'amount'"),
    ("amount: 60", "amount: much", "'much'\n  expected: a value of type double"),
    ("orders:", "order:", "unknown table 'order'. Did you mean 'orders'"),
    ("sum_30d: 60", "sum_31d: 60", "unknown name 'spending__amount_sum_31d'. Did you mean"),
    ('as_of_ts: "2024-05-03", ', "", "a question without as_of_ts"),
    ("  rows:", "  row:", "unknown key 'row'. Did you mean 'rows'"),
]


@pytest.mark.parametrize(("old", "new", "message"), MISTAKES)
def test_a_mistake_in_a_test_is_placed(tmp_path: Path, old: str, new: str, message: str) -> None:
    """A name that does not exist or a value of another type is an error at its line, not a passed test."""
    with pytest.raises(ConfigErrors) as caught:
        load_tests(shop(tmp_path, SPENDING.replace(old, new)))
    assert message in str(caught.value)
    assert "tests/spending.yaml:" in str(caught.value)


def test_no_tests_is_an_error(tmp_path: Path) -> None:
    """A folder without tests does not pass silently."""
    with pytest.raises(ConfigError, match="no tests in"):
        load_tests(project_in(tmp_path))


@pytest.mark.parametrize(
    ("given", "is_taken"),
    [("12.5", True), ('"12.50"', True), ("12.505", False), ("12345", False), ("true", False)],
)
def test_decimals_are_given_as_numbers_or_texts(tmp_path: Path, given: str, is_taken: bool) -> None:
    """``decimal(6,2)`` takes what it holds exactly, and nothing else."""
    sources = SOURCES.replace("      items: int", "      price: decimal(6,2)\n      items: int")
    project = project_in(tmp_path, {"shop/sources.yaml": sources})
    (Path(project.folder) / "tests").mkdir()
    text = SPENDING.replace("amount: 60", f"amount: 60, price: {given}")
    (Path(project.folder) / "tests" / "spending.yaml").write_text(text, encoding="utf-8")
    if is_taken:
        assert load_tests(project)[0].rows["orders"][0]["price"] == Decimal("12.5")
    else:
        with pytest.raises(ConfigErrors, match=r"a value of type decimal\(6,2\)"):
            load_tests(project)
