"""Damaged, foreign and missing files, full disks and rivals: each is an error that says what to do, and nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from deltalake import DeltaTable

from featurelib.errors import FeaturelibError, LeaseHeld, PreconditionError, PublishError
from featurelib.tables import InjectedFault, Store, begin_run, published, rows_of, snapshot
from featurelib.tables.faults import VARIABLE
from tests.chaos import till, work
from tests.chaos.processes import Child, preload


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with the first day."""
    store = Store(str(tmp_path / "store"))
    till.pipeline(store.root, till.DAYS[:1])
    return store


def log_file(store: Store, version: int, table: str = till.GOOD) -> Path:
    """A commit of a table."""
    return Path(store.path(table), "_delta_log", f"{version:020}.json")


def a_data_file(store: Store, table: str = till.GOOD) -> Path:
    """One Parquet file of a table."""
    return next(Path(store.path(table)).glob("*.parquet"))


def with_protocol(store: Store, **protocol: object) -> None:
    """Give the table another protocol in its first commit."""
    path = log_file(store, 0)
    actions = [json.loads(line) for line in path.read_text().splitlines()]
    changed = [{"protocol": protocol} if "protocol" in action else action for action in actions]
    path.write_text("\n".join(map(json.dumps, changed)))


FUTURE = ["fromTheFuture"]
DAMAGES: dict[str, tuple[Callable[[Store], object], str]] = {
    "half a commit behind the last": (
        lambda store: log_file(store, 2).write_text('{"commitInfo":{"timest'),
        r"log of the table in .*silver/sales is damaged(.|\n)*its last file may go if no manifest names",
    ),
    "half a published commit": (
        lambda store: os.truncate(log_file(store, 1), 100),
        r"log of the table in .*silver/sales is damaged",
    ),
    "no first commit": (
        lambda store: log_file(store, 0).unlink(),
        r"silver/sales is damaged(.|\n)*from a backup",
    ),
    "no published commit": (
        lambda store: log_file(store, 1).unlink(),
        r"silver.sales' is published at version 1, but its log ends at version 0",
    ),
    "half a manifest commit": (
        lambda store: os.truncate(log_file(store, 1, "ops.manifests"), 50),
        r"ops/manifests is damaged",
    ),
    "half a manifest": (
        lambda store: [os.truncate(path, 50) for path in Path(store.path("ops.manifests")).glob("*.parquet")],
        r"data file .*ops/manifests/.* cannot be read",
    ),
    "half a data file": (lambda store: os.truncate(a_data_file(store), 50), r"data file .* cannot be read"),
    "no data file": (lambda store: a_data_file(store).unlink(), r"data file .*is missing(.|\n)*built again"),
    "a newer protocol": (
        lambda store: with_protocol(store, minReaderVersion=99, minWriterVersion=99),
        r"needs what this version cannot do: .*99(.|\n)*newer featurelib",
    ),
    "a newer feature for readers": (
        lambda store: with_protocol(
            store, minReaderVersion=3, minWriterVersion=7, readerFeatures=FUTURE, writerFeatures=FUTURE
        ),
        r"needs what this version cannot do: .*fromTheFuture",
    ),
    "a newer feature for writers": (
        lambda store: with_protocol(store, minReaderVersion=1, minWriterVersion=7, writerFeatures=FUTURE),
        r"needs what this version cannot do: .*fromTheFuture",
    ),
    "no manifests": (
        lambda store: shutil.rmtree(store.path("ops.manifests")),
        r"'ops.manifests' is gone, and runs have written bronze.files",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_stops_the_run_and_a_backup_mends_it(store: Store, tmp_path: Path, name: str) -> None:
    """The run ends with an error of ours that names the file's folder; with the folder back, the next run is whole."""
    hurt, said = DAMAGES[name]
    backup = shutil.copytree(store.root, tmp_path / "backup")
    hurt(store)
    with pytest.raises(FeaturelibError, match=said) as caught:
        till.pipeline(store.root)
    assert caught.value.expected
    assert caught.value.action

    shutil.rmtree(Path(store.root, "tables"))
    shutil.copytree(backup / "tables", Path(store.root, "tables"))
    till.pipeline(store.root)
    assert till.faults_of(store) == []
    assert sorted(row["day"] for row in rows_of(store, till.FILES)) == list(till.DAYS)


def test_files_that_no_log_names_are_passed_over(store: Store) -> None:
    """A half-written Parquet file, a foreign one, an empty file where the next commit would be, a stray folder."""
    folder = Path(store.path(till.GOOD))
    (folder / "part-0.parquet").write_bytes(a_data_file(store).read_bytes()[:100])
    (folder / "foreign.csv").write_text("day,sale")
    (folder.parent / "notes.txt").write_text("mine")
    (folder.parent / "stray").mkdir()
    (folder / "_delta_log" / ".00000000000000000002.json.tmp").write_text("{")
    till.pipeline(store.root)
    assert till.faults_of(store) == []
    assert sorted(row["day"] for row in rows_of(store, till.FILES)) == list(till.DAYS)


def test_commits_of_a_clock_that_goes_backwards(store: Store) -> None:
    """The order of a table is that of its versions: commits whose moments fall make no difference."""
    for path in Path(store.path(till.GOOD), "_delta_log").glob("*.json"):
        actions = [json.loads(line) for line in path.read_text().splitlines()]
        for action in actions:
            if "commitInfo" in action:
                action["commitInfo"]["timestamp"] = 10**13 - int(path.stem) * 10**9
        path.write_text("\n".join(map(json.dumps, actions)))
    till.pipeline(store.root)
    assert till.versions_in_log(store, till.GOOD) == [2, 1, 0]
    assert till.faults_of(store) == []


def test_a_version_that_is_gone(store: Store) -> None:
    """A pinned version that the log does not hold is named, with how long versions are kept."""
    with pytest.raises(FeaturelibError, match=r"silver.sales' version 7(.|\n)*kept for 400d"):
        snapshot(store, till.GOOD, 7)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 600 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no file system may be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(path: Path, *, but: int) -> None:
    """Take all room of a disk but some bytes."""
    free = os.statvfs(path.parent)
    path.write_bytes(b"x" * max(0, free.f_bavail * free.f_frsize - but))


@pytest.mark.parametrize("room", [0, 8_192, 20_480, 32_768])
def test_a_disk_that_fills(small_disk: Path, tmp_path: Path, room: int) -> None:
    """Wherever the room ends, the run says so and publishes nothing torn; with room again, the next run is whole."""
    preload("tests.chaos.work")
    store = Store(str(small_disk / "store"))
    till.pipeline(store.root, till.DAYS[:1])
    fill(small_disk / "ballast", but=room)
    full = Child(tmp_path / "said", till.pipeline, store.root, till.DAYS)
    assert full.exit_code() == PreconditionError.exit_code, full.said.read_text()
    assert "no room is left to write below" in full.said.read_text()
    assert "make room and run again" in full.said.read_text()
    assert till.faults_of(store) == []

    (small_disk / "ballast").unlink()
    till.pipeline(store.root)
    assert till.faults_of(store) == []
    assert sorted(row["day"] for row in rows_of(store, till.FILES)) == list(till.DAYS)


def test_what_another_pipeline_left_is_not_published(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rival that writes to a table with unpublished rows of a dead run is refused, until these are undone."""
    monkeypatch.setenv(VARIABLE, f"raise:write.{till.GOOD}.after")
    with pytest.raises(InjectedFault):
        till.load(store, till.DAYS[:2], "dead")
    monkeypatch.delenv(VARIABLE)

    def rival() -> None:
        with begin_run(till.NO_SPARK, store, pipeline="rival", run_id="rival") as run:
            run.append_rows([{"day": "d7", "sale": "s", "amount": 1.0}], till.GOOD)
            run.publish()

    with pytest.raises(PublishError, match=r"versions 2 to 2, which pipeline 'till' has not published"):
        rival()
    assert till.faults_of(store) == []
    till.pipeline(store.root)
    rival()
    assert len(rows_of(store, till.GOOD)) == 4 * len(till.DAYS) + 1


def test_two_pipelines_that_write_one_table_at_once(store: Store) -> None:
    """Neither publishes the other's rows: the one that publishes second is told so, and succeeds when run again."""
    row = {"day": "d7", "sale": "s", "amount": 1.0}
    with begin_run(till.NO_SPARK, store, pipeline="left", run_id="left") as left:
        with begin_run(till.NO_SPARK, store, pipeline="right", run_id="right") as right:
            right.append_rows([{**row, "sale": "right"}], till.GOOD)
            left.append_rows([{**row, "sale": "left"}], till.GOOD)
            with pytest.raises(PublishError, match="is not its own"):
                right.publish()
        with pytest.raises(PublishError, match="is not its own"):
            left.publish()
    assert till.faults_of(store) == []
    for name in ("left", "right"):
        with begin_run(till.NO_SPARK, store, pipeline=name, run_id=f"{name} again") as run:
            run.append_rows([{**row, "sale": name}], till.GOOD)
            run.publish()
    assert sorted(row["sale"] for row in rows_of(store, till.GOOD) if row["day"] == "d7") == ["left", "right"]


def test_a_day_that_was_loaded_meanwhile_is_not_loaded_twice(tmp_path: Path) -> None:
    """A load that looked at the ledger before another one published, and has its lease after it, ends with 75."""
    from featurelib.pipeline.ledger import ledger_rows
    from tests.without_spark.cafe_store import land, load, place_in

    preload("tests.chaos.work")
    root = tmp_path / "root"
    land(root, ("2024-01-01",))
    late = Child(tmp_path / "said", work.overlapping, str(root), fault="stop:ingest.inspected")
    late.await_stop()
    place = place_in(root)
    load(place)
    before = published(place.store)

    late.signal(signal.SIGCONT)

    assert late.exit_code() == LeaseHeld.exit_code, late.said.read_text()
    assert "another run has loaded 3 files since this one looked" in late.said.read_text()
    assert published(place.store) == before
    assert len(ledger_rows(place)) == 3


def test_a_model_is_trained_by_one_process_at_a_time(tmp_path: Path) -> None:
    """While another process trains a model, a second training ends with 75 before it touches the outbox."""
    from featurelib.pipeline.context import Context
    from featurelib.pipeline.progress import Progress
    from featurelib.pipeline.train import train
    from featurelib.tables.locks import exclusive
    from tests.without_spark.cafe_store import place_in

    place = place_in(tmp_path / "root")
    with begin_run(till.NO_SPARK, place.store, pipeline="cafe", run_id="training-set") as run:
        run.create(place.names.training, till.DIARY_COLUMNS)
        run.publish()
    context = Context(place.project, till.NO_SPARK, place.as_of, Progress(quiet=True))
    lock = place.store.leases / "models" / "tips.training.lock"
    refused = pytest.raises(
        LeaseHeld, match=r"another process \(pid \d+ on .+\) holds the lock for the training of model tips"
    )
    with exclusive(lock, what="the training"), refused:
        train(context)
    assert not (tmp_path / "root" / "outbox").exists()


def vacuumed(store: Store) -> None:
    """A table whose newest commits are those of a VACUUM, which carry no stamp."""
    end = {"timestamp": 1, "operation": "VACUUM END", "operationParameters": {"status": "COMPLETED"}}
    log_file(store, 2).write_text(json.dumps({"commitInfo": end}))
    assert DeltaTable(store.path(till.GOOD)).history(1)[0]["operation"].startswith("VACUUM")


def test_an_optimize_that_finds_nothing_publishes_nothing(store: Store) -> None:
    """Behind a VACUUM the newest version is no run's: published, it would be taken for a foreign table."""
    vacuumed(store)
    with begin_run(till.NO_SPARK, store, pipeline="till", run_id="compact") as run:
        newest = run._commits.commit(till.GOOD, "optimize", lambda _: None, may_skip=True)
        run.publish()
    assert newest == DeltaTable(store.path(till.GOOD)).version()
    assert published(store)[till.GOOD] == 1
    till.pipeline(store.root)
    assert till.faults_of(store) == []


def test_a_store_that_published_a_vacuum_is_not_foreign(store: Store) -> None:
    """The owner of a table is looked for behind its published version too."""
    vacuumed(store)
    with begin_run(till.NO_SPARK, store, pipeline="till", run_id="once") as run:
        run._commits.versions[till.GOOD] = DeltaTable(store.path(till.GOOD)).version()
        run._commits.verify = lambda _: None
        run.publish()
    till.pipeline(store.root)
    assert till.faults_of(store) == []
