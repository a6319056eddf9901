"""A plan says what the next run will build and why, and changes nothing."""

from __future__ import annotations

import json
import re
import shutil
from datetime import date
from pathlib import Path

import pytest

from featurelib.cli import run
from featurelib.errors import ConfigError, FeaturelibError, InputError
from featurelib.pipeline.context import Place
from featurelib.pipeline.days import DayRange
from featurelib.pipeline.order import PIPELINE as STEPS
from featurelib.pipeline.plan import Plan, plan
from featurelib.pipeline.plan_text import rendered
from tests.jobs.cafe_project import BASE, DAYS, FEATURES, MODELS, PIPELINE, SOURCES
from tests.without_spark.cafe_store import (
    build,
    day_of,
    land,
    load,
    make_training_set,
    place_in,
    predict,
    record,
)


def told(found: Plan) -> dict[str, list[tuple[object, ...]]]:
    """Table, first and last day of January, reason and rows of each item, by step; monitoring left out."""

    def number(day: date | None, less: int = 0) -> int | None:
        return None if day is None else day.day - less

    return {
        step.step: [
            (item.table, number(item.first), number(item.end, 1), item.why, item.rows) for item in step.items
        ]
        for step in found.busy
        if step.step != "monitor"
    }


def planned(place: Place, **options: object) -> dict[str, list[tuple[object, ...]]]:
    """What a plan of every step says."""
    return told(plan(place, steps=STEPS, **options))  # type: ignore[arg-type]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the cafe lives."""
    return tmp_path / "root"


@pytest.fixture(scope="module")
def four_days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a cafe of which days 1 to 4 are loaded, built, in a training set and predicted."""
    root = tmp_path_factory.mktemp("cafe") / "root"
    land(root, DAYS[:4])
    place = place_in(root)
    load(place)
    build(place, range(1, 5))
    make_training_set(place)
    predict(place, range(1, 5))
    return root


@pytest.fixture
def cafe(root: Path, four_days: Path) -> Place:
    """A copy of that cafe, to be changed."""
    shutil.copytree(four_days, root)
    return place_in(root)


def test_before_the_first_run_everything_is_new(root: Path) -> None:
    """Rows are counted in a landed file; the label's days are those of the split, 1 to 5."""
    land(root)
    assert planned(place_in(root)) == {
        "ingest": [
            ("silver.visits", 1, 5, "new data", 20),
            ("silver.sales", 1, 5, "new data", 10),
            ("silver.weather", 1, 5, "new data", 10),
        ],
        "build_features": [("features.cafe", 1, 5, "new data", 20)],
        "build_training_set": [("training.cafe", 1, 5, "missing", 20)],
        "train": [("model tips", None, None, "missing", 20)],
        "score": [("predictions.cafe", 1, 5, "new data", 20)],
    }


def test_days_that_are_not_over_are_not_planned(root: Path) -> None:
    """As of noon of day 3 the files of days 1 and 2 are taken, as ingest does."""
    land(root)
    found = planned(place_in(root, as_of="2024-01-03T12:00:00"))
    assert {item[1:3] for item in found["ingest"]} == {(1, 2)}
    assert found["score"] == [("predictions.cafe", 1, 2, "new data", 8)]


def test_planning_changes_nothing(root: Path, cafe: Place) -> None:
    """Every file below the root is the same before and after, and there is no new one."""
    land(root)

    def files() -> dict[Path, tuple[int, int]]:
        paths = (path for path in root.rglob("*") if path.is_file())
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in paths}

    before = files()
    assert planned(cafe)
    assert files() == before


def test_a_new_day_is_one_day(root: Path, cafe: Place) -> None:
    """Day 5 is loaded, built and predicted; days 1 to 4 stay; the training set takes day 5 too."""
    land(root, DAYS[4:])
    found = planned(cafe)
    assert found["ingest"][0] == ("silver.visits", 5, 5, "new data", 4)
    assert found["build_features"] == [("features.cafe", 5, 5, "new data", 4)]
    assert found["build_training_set"] == [("training.cafe", 1, 5, "new data", 20)]
    assert found["train"] == [("model tips", None, None, "upstream rebuilt", 20)]
    assert found["score"] == [("predictions.cafe", 5, 5, "new data", 4)]


def test_a_day_that_is_loaded_and_not_built_is_missing(root: Path, cafe: Place) -> None:
    """The versions of silver have moved on, yet no file of day 5 can touch the days before it."""
    land(root, DAYS[4:])
    load(cafe)
    found = planned(cafe)
    assert "ingest" not in found
    assert found["build_features"] == [("features.cafe", 5, 5, "missing", 4)]
    assert found["score"] == [("predictions.cafe", 5, 5, "missing", 4)]


def test_late_data_is_told_from_new_data(root: Path) -> None:
    """Weather of day 2 comes after day 5: seen for 12 hours, so days 1 to 4 at most, a day's margin each side."""
    land(root, [day for day in DAYS if day != DAYS[1]])
    land(root, [DAYS[1]], without="weather")
    place = place_in(root)
    load(place)
    build(place, range(1, 6))
    land(root, [DAYS[1]])
    before = plan(place, steps=STEPS)
    assert told(before)["ingest"] == [("silver.weather", 2, 2, "late data", 2)]
    assert told(before)["build_features"] == [("features.cafe", 1, 4, "late data: weather", 16)]
    load(place)
    after = plan(place, steps=STEPS)
    assert told(after)["build_features"] == [("features.cafe", 1, 4, "late data: weather", 16)]
    (item,) = next(step.items for step in after.steps if step.step == "build_features")
    assert item.at_most


def test_a_changed_definition_names_the_view(root: Path, cafe: Place) -> None:
    """One view computes its columns for all rows: a quarter of the work of all four."""
    changed = {"cafe/features.yaml": FEATURES.replace("max_age: 12h", "max_age: 18h")}
    place = place_in(root, changed=changed)
    found = plan(place, steps=STEPS)
    why = "changed definition: shop_weather"
    assert told(found)["build_features"] == [("features.cafe", 1, 4, why, 16)]
    assert next(step.size for step in found.steps if step.step == "build_features") == 4
    assert told(found)["build_training_set"] == [("training.cafe", 1, 5, "upstream rebuilt", 16)]
    with pytest.raises(ConfigError, match="whose definition has changed"):
        plan(place, steps=STEPS, days=DayRange(day_of(1), day_of(2)))


def test_a_changed_spine_is_everything(root: Path, cafe: Place) -> None:
    """All days are computed again, with all views."""
    changed = {
        "cafe/pipeline.yaml": PIPELINE.replace(
            "as_of_ts: visited_ts", "as_of_ts: visited_ts - INTERVAL 1 HOUR"
        )
    }
    found = planned(place_in(root, changed=changed))
    assert found["build_features"] == [("features.cafe", 1, 4, "changed definition: spine", 16)]


def test_a_range_narrows_the_features(root: Path, cafe: Place) -> None:
    """Of days 5 and 6 only day 6 is asked for: it is built and predicted, and day 5 waits."""
    land(root, DAYS[4:])
    from tests.jobs.cafe_project import land_day

    land_day(root, "2024-01-06")
    found = planned(cafe, days=DayRange(day_of(6), day_of(7)))
    assert found["ingest"][0] == ("silver.visits", 5, 6, "new data", 8)
    assert found["build_features"] == [("features.cafe", 6, 6, "new data", 4)]
    assert found["score"] == [("predictions.cafe", 6, 6, "new data", 4)]
    with pytest.raises(ConfigError, match="none of them is loaded"):
        plan(cafe, steps=STEPS, days=DayRange(day_of(20)))


def test_a_rebuild_is_asked_for(cafe: Place) -> None:
    """Days of a range are computed from scratch although nothing has changed."""
    found = planned(cafe, days=DayRange(day_of(2), day_of(4)), rebuild=True)
    assert found["build_features"] == [("features.cafe", 2, 3, "asked for", 8)]


def test_labels_that_were_not_known_make_the_training_set_again(cafe: Place) -> None:
    """Nothing else has changed, so the pending labels are the reason."""
    make_training_set(cafe, pending=3)
    (item,) = planned(cafe)["build_training_set"]
    assert item[3] == "3 labels were not known yet"


def test_training_planned_alone_knows_its_size(root: Path, cafe: Place) -> None:
    """A step looks at its own plan when it begins: without the size there nothing would ever be learned of it."""
    (step,) = plan(cafe, steps=("train",)).steps
    assert step.size == 20 * cafe.project.models["tips"].tuning.trials


def test_a_changed_model_is_trained(root: Path, cafe: Place) -> None:
    """Without a registry no model is registered: it is missing, and nothing upstream is touched."""
    found = planned(place_in(root, changed={"cafe/models.yaml": MODELS.replace("trees: 2", "trees: 3")}))
    assert found == {"train": [("model tips", None, None, "missing", 20)]}


def test_a_changed_file_is_refused_as_ingest_refuses_it(root: Path, cafe: Place) -> None:
    """A plan that left it out would promise what the run cannot do."""
    path = root / "landing" / "sales" / f"{DAYS[0]}.csv.gz"
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(InputError, match="when it was loaded"):
        plan(cafe, steps=STEPS)


def test_a_widened_column_rewrites_its_table(root: Path, cafe: Place) -> None:
    """A type that is declared to widen is a reason of its own, and rows are those of the table."""
    wide = SOURCES.replace("party: int,", "party: long,").replace(
        "    landing: visits\n", "    landing: visits\n    widened_from: {party: int}\n"
    )
    found = planned(place_in(root, changed={"cafe/sources.yaml": wide}))
    assert found["ingest"] == [("silver.visits", None, None, "changed columns: party int to long", 8)]


@pytest.mark.parametrize(
    ("kind", "to_do"),
    [
        ("long", r"write widened_from: \{party: int\} into tables.visits"),
        ("boolean", "does not hold every int"),
    ],
)
def test_another_type_is_refused_with_what_depends_on_it(
    root: Path, cafe: Place, kind: str, to_do: str
) -> None:
    """A plan refuses what ingest would, by the tables and the specs alone."""
    retyped = SOURCES.replace("party: int,", f"party: {kind},")
    with pytest.raises(ConfigError, match=f"(?s)party of visits is declared as {kind}.*models tips.*{to_do}"):
        plan(place_in(root, changed={"cafe/sources.yaml": retyped}), steps=STEPS)


def test_estimates_come_from_recorded_runs(root: Path, cafe: Place) -> None:
    """Two runs of other sizes give fixed seconds and a rate; items share the seconds by their size."""
    record(cafe, "build_features", size=4, seconds=6.0)
    record(cafe, "build_features", size=104, seconds=16.0, expected=20.0)
    land(root, DAYS[4:])
    found = plan(cafe, steps=STEPS)
    (features,) = [step for step in found.steps if step.step == "build_features"]
    assert features.seconds == pytest.approx(6.0)
    assert sum(features.seconds_of(item) or 0 for item in features.items) == pytest.approx(6.0)
    assert found.errors["build_features"].share == pytest.approx(0.25)
    assert found.unknown == ["ingest", "build_training_set", "train", "score", "monitor"]


def test_runs_of_another_pipeline_say_nothing(root: Path, cafe: Place) -> None:
    """Pipelines that share a root learn apart."""
    record(cafe, "ingest", size=4, seconds=6.0)
    land(root, DAYS[4:])
    other = place_in(root, changed={"cafe/pipeline.yaml": PIPELINE.replace("name: cafe", "name: bistro")})
    assert plan(other, steps=["ingest"]).unknown == ["ingest"]
    assert plan(cafe, steps=["ingest"]).unknown == []


def test_the_command_prints_a_table_or_json(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without Spark; money where the settings give a price, what is unknown said as such."""
    land(root)
    priced = {"base.yaml": BASE + "cost: {per_hour: 36.0, currency: CHF}\n"}
    place = place_in(root, changed=priced)
    record(place, "ingest", size=1e9, seconds=10.0)
    arguments = ["plan", "--as-of", "2024-01-10", "--pipeline", place.project.folder, "-c", f"root={root}"]
    assert run(arguments) == 0
    text = capsys.readouterr().out
    (line,) = [line for line in text.splitlines() if "features.cafe" in line]
    assert re.split(r" {2,}", line) == [
        "build features",
        "features.cafe",
        "2024-01-01 to 2024-01-05",
        "new data",
        "20",
        "?",
        "?",
        "?",
    ]
    assert "together    at least 10.0 s, 0.1000 CHF (36 CHF an hour)" in text
    unknown = "build features, build training set, train, score, monitor"
    assert f"not known   the time of {unknown}: no earlier run says it" in text
    assert run([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["money"] == 0.1
    assert found["items"][0]["from"] == "2024-01-01"
    assert found["items"][0]["to"] == "2024-01-06"
    assert sum(item["seconds"] for item in found["items"] if item["step"] == "ingest") == pytest.approx(10.0)
    assert found["items"][3]["seconds"] is None


def test_nothing_to_build_is_one_line(root: Path) -> None:
    """Where nothing has landed and nothing is loaded."""
    for table in ("visits", "sales", "weather"):
        (root / "landing" / table).mkdir(parents=True)
    assert rendered(plan(place_in(root), steps=STEPS)) == "nothing to build"


def test_a_published_version_that_is_gone_is_refused(cafe: Place) -> None:
    """The log lost the version that the manifest names: a plan over something else would promise wrongly."""
    versions = Path(cafe.project.settings.root) / "tables" / "features" / "cafe" / "_delta_log"
    max(versions.glob("*.json")).unlink()
    with pytest.raises(
        FeaturelibError, match=r"(?s)'features.cafe' version 1.*a version that the log still holds"
    ):
        plan(cafe, steps=STEPS)
