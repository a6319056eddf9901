"""All tables of a pipeline go back to what a run had published, and forward again; no session."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from featurelib.cli import run
from featurelib.errors import ConfigError, LeaseHeld, NoNewData, PublishError
from featurelib.pipeline.contents import IDENTITIES
from featurelib.pipeline.context import Place
from featurelib.pipeline.ledger import loaded_days
from featurelib.pipeline.pins import pins
from featurelib.pipeline.restore import restore_table
from featurelib.pipeline.rollback import publishes_text, roll_back_tables, rollback_text
from featurelib.registry.audit import Decision
from featurelib.tables import begin_run, every_manifest, published, rows_of
from tests.jobs.cafe_project import DAYS
from tests.without_spark.cafe_store import build, land, load, make_training_set, place_in, predict
from tests.without_spark.registered import register

WHY = Decision("eva", "bad prices on day 5")
VISITS = date(2024, 1, 5)


def everything(place: Place) -> dict[str, list[Any]]:
    """All rows of all published tables but what says which run or version they are from."""
    found = {}
    for table in published(place.store):
        rows = [{k: v for k, v in row.items() if k not in IDENTITIES} for row in rows_of(place.store, table)]
        found[table] = sorted(map(repr, rows))
    return found


@pytest.fixture
def cafe(tmp_path: Path) -> Place:
    """Four days loaded and built, then a training set, then a fifth day and predictions."""
    root = tmp_path / "root"
    place = place_in(root)
    land(root, DAYS[:4])
    load(place)
    build(place, range(1, 5))
    make_training_set(place)
    return place


def fifth_day(place: Place) -> None:
    """Load and build day 5, and predict it."""
    load(place)
    build(place, [5])
    predict(place, [5])


def test_tables_go_back_and_a_rerun_makes_the_same_again(cafe: Place) -> None:
    """After a rollback the tables are those of then, and after the same steps those of before it."""
    before, to = everything(cafe), every_manifest(cafe.store)[-1].run_id
    land(Path(cafe.project.settings.root), DAYS[4:])
    fifth_day(cafe)
    after, token = everything(cafe), every_manifest(cafe.store)[-1].token

    done = roll_back_tables(cafe, to, WHY)

    assert everything(cafe) == before
    assert VISITS not in loaded_days(cafe, ["visits"])["visits"]
    assert cafe.names.predictions not in published(cafe.store)
    assert {(move.table, move.to is None) for move in done.moves} == {
        ("bronze.files", False),
        ("features.cafe", False),
        ("features.cafe_versions", False),
        ("predictions.cafe", True),
        *((f"silver.{name}", False) for name in ("sales", "visits", "weather")),
    }
    fifth_day(cafe)
    assert everything(cafe) == after
    assert every_manifest(cafe.store)[-1].token > token


def test_who_and_why_stand_in_the_same_commit(cafe: Place) -> None:
    """The new manifest says where it went back to, who asked and why; none of the old ones is gone."""
    earlier = every_manifest(cafe.store)
    roll_back_tables(cafe, earlier[0].run_id, WHY)
    *kept, newest = every_manifest(cafe.store)
    assert kept == earlier
    assert newest.note == {
        "step": "rollback",
        "to": earlier[0].run_id,
        "by": "eva",
        "note": "bad prices on day 5",
    }
    listed = publishes_text(cafe, rows=2).splitlines()
    assert listed[1].startswith(newest.run_id)
    assert listed[1].endswith(f"to {earlier[0].run_id}, by eva, note bad prices on day 5")
    assert "-training.cafe" in listed[1]
    assert len(listed) == 3


def test_a_look_ahead_changes_nothing(cafe: Place) -> None:
    """With dry_run the same moves are listed, no lease is taken and nothing is published."""
    to, before = every_manifest(cafe.store)[0].run_id, published(cafe.store)
    nobody: Any = None
    with begin_run(nobody, cafe.store, pipeline="cafe", run_id="busy"):
        ahead = roll_back_tables(cafe, to, WHY, dry_run=True)
        with pytest.raises(LeaseHeld):
            roll_back_tables(cafe, to, WHY)
    assert published(cafe.store) == before
    assert ahead.moves == roll_back_tables(cafe, to, WHY).moves
    assert "features.cafe              1        not published" in rollback_text(ahead)


def test_going_back_twice_finds_nothing_to_do_and_forward_undoes_it(cafe: Place) -> None:
    """Tables whose files are those of then do not move again; what was withdrawn can be brought back."""
    first, last = every_manifest(cafe.store)[0].run_id, every_manifest(cafe.store)[-1].run_id
    before = everything(cafe)
    roll_back_tables(cafe, first, WHY)
    with pytest.raises(NoNewData):
        roll_back_tables(cafe, first, WHY)
    assert everything(cafe).keys() < before.keys()
    roll_back_tables(cafe, last, WHY)
    assert everything(cafe) == before


def test_a_version_that_is_gone_is_refused_by_name(cafe: Place) -> None:
    """Where a file of a version is gone, nothing moves, and the error names table and version."""
    to = every_manifest(cafe.store)[0].run_id
    land(Path(cafe.project.settings.root), DAYS[4:])
    fifth_day(cafe)
    before = published(cafe.store)
    for file in Path(cafe.store.path("silver.sales")).glob("*.parquet"):
        file.unlink()
    with pytest.raises(PublishError, match=r"silver.sales version 1 cannot be read any more"):
        roll_back_tables(cafe, to, WHY)
    assert published(cafe.store) == before


def test_an_unknown_run_is_named_with_the_nearest(cafe: Place) -> None:
    """A mistyped run gets the one that was meant."""
    to = every_manifest(cafe.store)[0].run_id
    with pytest.raises(ConfigError, match=f"Did you mean '{to}'"):
        roll_back_tables(cafe, to[:-1], WHY)


def test_tables_of_other_pipelines_stay(cafe: Place) -> None:
    """A table that another pipeline writes in the same store is left and named."""
    nobody: Any = None
    to = every_manifest(cafe.store)[-1].run_id
    with begin_run(nobody, cafe.store, pipeline="other", run_id="theirs") as theirs:
        theirs.create("features.other", struct_of(cafe))
        theirs.publish()
    land(Path(cafe.project.settings.root), DAYS[4:])
    load(cafe)
    assert roll_back_tables(cafe, to, WHY).left == (("features.other", "other"),)
    assert "features.other" in published(cafe.store)


def struct_of(place: Place) -> Any:
    """Any schema."""
    from tests.without_spark.cafe_store import FEATURES

    return FEATURES


def test_the_command_says_what_is_missing(
    cafe: Place, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """One command: a run after --to moves tables, a number with --model a model; anything else is refused."""
    folder = next(Path(cafe.project.settings.root).glob("project-*")) / "conf" / "cafe"
    given = ["rollback", "--pipeline", str(folder), "-c", f"root={cafe.project.settings.root}"]
    given += ["--by", "eva", "--note", "why"]
    to = every_manifest(cafe.store)[0].run_id
    assert run(given) == 2
    assert run([*given, "--model", "tips", "--to", "ingest-1"]) == 2
    assert run([*given, "--to", to, "--dry-run"]) == 0
    assert f"would put tables back to what {to} published" in capsys.readouterr().out
    assert run([*given, "--to", to]) == 0
    assert run([*given, "--to", to]) == 5


def test_a_champion_trained_later_is_named(cafe: Place, empty_database: Path) -> None:
    """Models stay; one trained on a training set that is rolled back is pointed at, with the command."""
    from featurelib.registry.tracker import Tracker

    root = Path(cafe.project.settings.root)
    shutil.copy(empty_database, root / "mlflow.db")
    tracker = Tracker(cafe.project.settings.tracking)
    register(tracker, root, "tips", tags={"delta_versions": '{"training.cafe": 1}'})
    tracker.set_aliases("tips", {"champion": 1})
    land(root, DAYS[4:])
    loaded = [load(cafe), every_manifest(cafe.store)[-1].run_id][1]
    fifth_day(cafe)

    assert not any("champion" in said for said in roll_back_tables(cafe, loaded, WHY).remarks)
    first = every_manifest(cafe.store)[0].run_id
    assert "trained on training.cafe version 1" in roll_back_tables(cafe, first, WHY).remarks[-1]


def test_pins_of_training_sets_models_and_predictions(cafe: Place, empty_database: Path) -> None:
    """A champion pins what its training set was made from, an unused version nothing; so does the set itself."""
    from featurelib.registry.tracker import Tracker

    root = Path(cafe.project.settings.root)
    shutil.copy(empty_database, root / "mlflow.db")
    tracker = Tracker(cafe.project.settings.tracking)
    for version in (1, 1, 2):
        register(tracker, root, "tips", tags={"delta_versions": f'{{"training.cafe": {version}}}'})
    tracker.set_aliases("tips", {"champion": 2})
    land(root, DAYS[4:])
    load(cafe)
    build(cafe, [5])
    make_training_set(cafe)

    held: dict[str, set[tuple[str, int]]] = {}
    for pin in pins(cafe):
        held.setdefault(pin.held_by, set()).add((pin.table, pin.version))

    silver = {f"silver.{name}" for name in ("sales", "visits", "weather")}
    assert held == expected(silver)
    to = every_manifest(cafe.store)[3].run_id
    roll_back_tables(cafe, to, WHY)
    again = {(pin.table, pin.version) for pin in pins(cafe) if pin.held_by == "training set"}
    assert again == held["model tips version 2"]


def expected(silver: set[str]) -> dict[str, set[tuple[str, int]]]:
    """What the champion, trained on the first training set, and the second training set were made from."""
    return {
        "model tips version 2": {("training.cafe", 1), ("features.cafe", 1), *((name, 1) for name in silver)},
        "training set": {("training.cafe", 2), ("features.cafe", 2), *((name, 2) for name in silver)},
    }


def lose(place: Place, table: str) -> None:
    """Take a table's folder away."""
    shutil.rmtree(place.store.path(table))


def test_a_lost_table_is_made_again_and_no_number_means_two_things(cafe: Place) -> None:
    """The next run makes features again; their version is none that was published of the lost ones."""
    before, known = everything(cafe), published(cafe.store)
    features = cafe.names.features
    lose(cafe, features)
    with pytest.raises(PublishError, match="bring back"):
        build(cafe, range(1, 5))

    done = restore_table(cafe, features, WHY)

    assert set(done.tables) == {features, f"{features}_versions", f"{features}_definitions"}
    assert features not in published(cafe.store)
    build(cafe, range(1, 5))
    assert everything(cafe) == before
    assert published(cafe.store)[features] > known[features]
    with pytest.raises(NoNewData, match="is whole"):
        restore_table(cafe, features, WHY)
    with pytest.raises(ConfigError, match=r"Did you mean 'features.cafe'"):
        restore_table(cafe, "features.caffe", WHY)


@pytest.mark.parametrize("what", ["folder", "a file", "the end of the log"])
def test_lost_silver_is_loaded_again_from_landed_files(cafe: Place, what: str) -> None:
    """Whatever is lost of a silver table, all that is loaded comes again, ledger and all."""
    before, table = everything(cafe), "silver.sales"
    place = Path(cafe.store.path(table))
    if what == "folder":
        lose(cafe, table)
    elif what == "a file":
        next(place.glob("*.parquet")).unlink()
    else:
        (place / "_delta_log" / f"{1:020}.json").unlink()

    done = restore_table(cafe, table, WHY)

    assert set(done.tables) == {
        "bronze.files",
        *(f"silver.{name}" for name in ("sales", "visits", "weather")),
    }
    load(cafe)
    assert everything(cafe) == before


def test_a_backup_is_put_back_by_copying(cafe: Place, tmp_path: Path) -> None:
    """A folder whose log reaches the published version is all that a table is."""
    before = everything(cafe)
    shutil.copytree(cafe.store.path("silver.sales"), tmp_path / "backup")
    lose(cafe, "silver.sales")
    shutil.copytree(tmp_path / "backup", cafe.store.path("silver.sales"))
    assert everything(cafe) == before
    land(Path(cafe.project.settings.root), DAYS[4:])
    load(cafe)
