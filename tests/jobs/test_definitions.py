"""A changed definition builds its own columns again; ranges of days are filled on their own."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from featurelib.cli import run
from featurelib.errors import ConfigError
from featurelib.pipeline.days import DayRange
from featurelib.pipeline.steps import run_step
from featurelib.tables import InjectedFault, content_hash
from tests.jobs.cafe import cafe_context, changed, edit, features, from_scratch, touched
from tests.jobs.cafe_project import FEATURES, PIPELINE

if TYPE_CHECKING:
    from featurelib.pipeline.context import Context


def redefined(cafe: Context, name: str, old: str, new: str) -> Context:
    """The same cafe after an edit of a file of its project."""
    text = {"features": FEATURES, "pipeline": PIPELINE}[name]
    assert text.count(old) == 1
    root = Path(cafe.project.settings.root)
    return cafe_context(cafe.spark, root, changed={f"cafe/{name}.yaml": text.replace(old, new)})


def test_a_changed_view_computes_its_own_columns(cafe: Context) -> None:
    """Of four views one changed: its source alone is read, and every other column is equal to the bit."""
    before = features(cafe)
    edited = redefined(cafe, "features", "max_age: 12h", "max_age: 20h")

    result = run_step(edited, "build_features")

    assert result.summary == (
        "1 feature of 1 view for 20 rows of 5 days (definition changed: shop_weather), no shuffle"
    )
    assert "sales:" not in result.facts["plan"]
    assert result.facts["views"] == ["shop_weather"]
    new = ["shop_weather__temp_latest", "is_warm", "_features_hash"]
    after = features(edited)
    assert content_hash(before, exclude=new) == content_hash(after, exclude=new)
    assert before.where("is_warm IS NULL").count() == 10
    assert after.where("is_warm IS NULL").count() == 0
    assert content_hash(after) == from_scratch(edited)


def test_views_come_and_go(cafe: Context) -> None:
    """A view that is new is computed, the column of one that went is dropped, and so in the training set."""
    edited = redefined(
        cafe,
        "features",
        """  customer_sales:
    entity: customer
    source: sales
    aggregations:
      - {input: amount, ops: [last], windows: [lifetime]}
""",
        """  shop_heat:
    entity: shop
    source: weather
    aggregations:
      - {input: temp, ops: [max], windows: [3d]}
""",
    )

    result = run_step(edited, "build_features")
    run_step(edited, "build_training_set")

    assert result.facts["views"] == ["shop_heat"]
    for table in ("features.cafe", "training.cafe"):
        columns = edited.spark.read.format("delta").load(edited.store.path(table)).columns
        assert "customer_sales__amount_last_lifetime" not in columns
        assert "shop_heat__temp_max_3d" in columns
    assert content_hash(features(edited)) == from_scratch(edited)


def test_a_view_that_only_goes_reads_no_source(cafe: Context) -> None:
    """Without it nothing is to be computed: the rows are written without its columns."""
    begins = FEATURES.index("  shop_settled:")
    view = FEATURES[begins : FEATURES.index("  customer_sales:")]

    result = run_step(redefined(cafe, "features", view, ""), "build_features")

    assert (result.facts["views"], result.facts["plan"]) == ([], "")
    assert [name for name in features(cafe).columns if name.startswith("shop_settled")] == []


def test_a_changed_derived_feature_reads_no_source(cafe: Context) -> None:
    """What is made of other features is computed from the rows; no view is."""
    edited = redefined(cafe, "features", "> 15", "> 99")

    result = run_step(edited, "build_features")

    assert (result.facts["views"], result.facts["plan"]) == ([], "")
    assert features(edited).where("is_warm").count() == 0
    assert content_hash(features(edited)) == from_scratch(edited)


def test_a_changed_spine_builds_everything(cafe: Context) -> None:
    """Another moment or another column of the spine changes what every feature is asked for."""
    edited = redefined(cafe, "pipeline", "as_of_ts: visited_ts", "as_of_ts: visited_ts - INTERVAL 2 HOURS")

    result = run_step(edited, "build_features")

    assert "20 rows of 5 days (definition changed)" in result.summary
    assert content_hash(features(edited)) == from_scratch(edited)


def test_a_changed_view_and_late_data_at_once(cafe: Context) -> None:
    """The view's columns come from the new data already; the touched rows get all the others too."""
    edit(cafe, "sales", changed("amount", "77.0", "sale_id = 's4B'"))
    edited = redefined(cafe, "features", "max_age: 12h", "max_age: 3h")

    run_step(edited, "build_features")

    assert touched(edited).keys() == {"A4e", "A5e", "B4e", "B5m", "B5e"}
    assert content_hash(features(edited)) == from_scratch(edited)


def test_a_killed_change_of_columns_is_mended(cafe: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that has lost a column when its run died has it again: for readers at once, then for all."""
    before = content_hash(features(cafe))
    begins = FEATURES.index("  shop_settled:")
    edited = redefined(cafe, "features", FEATURES[begins : FEATURES.index("  customer_sales:")], "")
    monkeypatch.setenv("FEATURELIB_FAULT", "raise:write.features.cafe.after")
    with pytest.raises(InjectedFault):
        run_step(edited, "build_features")
    monkeypatch.delenv("FEATURELIB_FAULT")
    assert content_hash(features(cafe)) == before

    assert run_step(cafe, "build_training_set").is_idle
    assert run_step(cafe, "build_features").is_idle
    run_step(edited, "build_features")

    assert content_hash(features(edited)) == from_scratch(edited)


# --- ranges ---------------------------------------------------------------------------------------------


def test_a_range_is_filled_and_then_the_rest(cafe: Context) -> None:
    """Days 2 and 3 alone, then what is missing: the table is the one built in one go."""
    part = replace(cafe, project=cafe.project.model_copy(update={"name": "part"}))
    days = DayRange(date(2024, 1, 2), date(2024, 1, 4))

    first = run_step(part, "build_features", days=days)

    assert "8 rows of 2 days (new)" in first.summary
    assert {row["_day"].day for row in features(part).collect()} == {2, 3}
    assert run_step(part, "build_features", days=days).is_idle
    assert "12 rows of 3 days (new)" in run_step(part, "build_features").summary
    assert content_hash(features(part)) == content_hash(features(cafe))


def test_late_data_waits_outside_the_range(cafe: Context) -> None:
    """A correction that touches days 2 to 5 is seen by the days of the range, and later by the others."""
    edit(cafe, "sales", changed("amount", "77.0", "sale_id = 's2B'"))

    run_step(cafe, "build_features", days=DayRange(date(2024, 1, 1), date(2024, 1, 4)))

    assert touched(cafe).keys() == {"A2e", "B2e", "A3e", "B3m", "B3e"}
    run_step(cafe, "build_features")
    assert touched(cafe).keys() == {"A2e", "B2e", "A3e", "B3m", "B3e", "A4e", "B4m", "B4e", "A5e", "B5e"}
    assert content_hash(features(cafe)) == from_scratch(cafe)


def test_a_range_is_built_again_on_demand(cafe: Context) -> None:
    """``rebuild`` computes the days whatever is known of them, and ends with the same rows."""
    before = content_hash(features(cafe))

    result = run_step(cafe, "build_features", days=DayRange(date(2024, 1, 4)), rebuild=True)

    assert "8 rows of 2 days (asked for)" in result.summary
    assert content_hash(features(cafe)) == before
    assert "20 rows of 5 days (asked for)" in run_step(cafe, "build_features", rebuild=True).summary
    assert content_hash(features(cafe)) == before


def test_ranges_that_make_no_sense_are_refused(cafe: Context) -> None:
    """No day, no loaded day, or a part of a table whose columns mean something else: each says what to do."""
    with pytest.raises(ConfigError, match="from 2024-01-03 to 2024-01-03"):
        DayRange(date(2024, 1, 3), date(2024, 1, 3))
    with pytest.raises(ConfigError, match=r"none of them is loaded.*\n.*2024-01-01 to 2024-01-05"):
        run_step(cafe, "build_features", days=DayRange(date(2025, 1, 1)))
    edited = redefined(cafe, "features", "max_age: 12h", "max_age: 3h")
    with pytest.raises(ConfigError, match="without --from and --to"):
        run_step(edited, "build_features", days=DayRange(date(2024, 1, 2)))


def test_the_command_takes_a_range(cafe: Context) -> None:
    """``build-features --from --to --rebuild`` ends with 0; where nothing is missing with 5."""
    root = Path(cafe.project.settings.root)
    where = ["--pipeline", str(cafe.project.folder), "-c", f"root={root}", "--as-of", "2024-01-10"]
    days = ["--from", "2024-01-02", "--to", "2024-01-04"]

    assert run(["build-features", *where, *days]) == 5
    assert run(["build-features", *where, *days, "--rebuild"]) == 0
