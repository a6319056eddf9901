"""Landed files without some rows, texts without a subject, and what is told of an erasure; no session."""

from __future__ import annotations

import bz2
import gzip
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from featurelib.errors import ConfigError, InputError
from featurelib.landing.csv_files import inspect
from featurelib.landing.files import landed_files
from featurelib.landing.rewriting import draft_of, drafts, take_draft, write_draft
from featurelib.pipeline.erasures import Asked, erased_lines, erasures, note, redact_ops, without_subject
from featurelib.pipeline.subjects import Subject, landed_rows, subject_of
from featurelib.tables import Stamp, rows_of
from tests.without_spark.cafe_store import land, place_in, record
from tests.without_spark.registered import register

COLUMNS = ["a", "b"]
EVE = Subject("customer", {"customer": "eve-17"})
ASKED = Asked("R-1", "ann", datetime(2024, 2, 3, tzinfo=UTC), Stamp("erase-1", "cafe", 1))


@pytest.mark.parametrize(
    ("content", "rows", "left"),
    [
        pytest.param("a,b\n1,x\n2,y\n3,z\n", {2}, "a,b\n1,x\n3,z\n", id="a line"),
        pytest.param("a,b\r\n1,x\r\n\r\n2,y\r\n", {2}, "a,b\r\n1,x\r\n\r\n", id="an empty line is no row"),
        pytest.param('a,b\n1,"x\ny"\n2,"p"\n', {1}, 'a,b\n2,"p"\n', id="a row over two lines"),
        pytest.param(
            "a,b\n1,x\n2,y,z\n3,w", {2, 3}, "a,b\n1,x\n", id="a malformed row, and one without an end"
        ),
    ],
)
def test_a_landed_file_loses_rows_and_no_other_byte(
    tmp_path: Path, content: str, rows: set[int], left: str
) -> None:
    """The draft holds every other byte as it was, and is seen by no load until it takes the file's place."""
    folder = tmp_path / "visits"
    folder.mkdir()
    for name, pack, unpack in (
        ("2024-01-01.csv.gz", gzip.compress, gzip.decompress),
        ("2024-01-02.csv", bytes, bytes),
        ("2024-01-03.csv.bz2", bz2.compress, bz2.decompress),
    ):
        path = folder / name
        path.write_bytes(pack(content.encode()))
        look = write_draft(str(path), COLUMNS, rows)
        assert unpack(path.read_bytes()) == content.encode()
        assert drafts(str(tmp_path), "visits") == [str(path)]
        assert path.name in {Path(file.uri).name for file in landed_files(str(tmp_path), "visits")}
        take_draft(str(path))
        assert unpack(path.read_bytes()).decode() == left
        assert inspect(str(path), COLUMNS) == look
        assert drafts(str(tmp_path), "visits") == []


def test_a_file_whose_rows_are_not_its_lines_is_refused(tmp_path: Path) -> None:
    """A quote in the middle of a value misleads the split of lines: reading again finds it, nothing is written."""
    path = tmp_path / "2024-01-01.csv"
    path.write_text('a,b\n1,x"\n2,y\n3,z"\n')
    with pytest.raises(InputError, match="cannot be told apart"):
        write_draft(str(path), COLUMNS, {2})
    assert not Path(draft_of(str(path))).exists()


def test_rows_of_files_that_were_not_loaded_are_found_by_their_texts(tmp_path: Path) -> None:
    """Loaded files are known by their rows in bronze; a file that waits is read through."""
    root = tmp_path / "root"
    place = place_in(root)
    land(root, ["2024-01-01", "2024-01-02"])
    known = pa.table({"_file": ["visits/2024-01-01.csv.gz"], "_row": [3]})
    loaded = {"visits/2024-01-01.csv.gz": {}}
    bob = Subject("customer", {"customer": "bob"})
    found = landed_rows(place, place.project.tables["visits"], bob, known, loaded)
    assert {file.name: rows for file, rows in found.items()} == {
        "visits/2024-01-01.csv.gz": {3},
        "visits/2024-01-02.csv.gz": {2, 4},
    }


@pytest.mark.parametrize(
    ("text", "value", "left"),
    [
        ("rows of eve-17, not of eve-170", "eve-17", "rows of [erased], not of eve-170"),
        (
            '{"reasons": {"eve-17 is odd": 2}, "n": 17}',
            "eve-17",
            '{"reasons": {"[erased] is odd": 2}, "n": 17}',
        ),
        ("14 UA flights, carrier=UA, carrier UA", "UA", "14 UA flights, carrier=[erased], carrier [erased]"),
        ("17 rows, carrier 17: '17'", "17", "17 rows, carrier [erased]: '[erased]'"),
    ],
)
def test_a_subject_is_taken_out_of_texts(text: str, value: str, left: str) -> None:
    """Long values go wherever they are a word; short ones and numbers only where they name the key."""
    assert without_subject(text, Subject("carrier", {"carrier": value})) == left


def test_the_diary_forgets_and_remembers_that_it_did(tmp_path: Path) -> None:
    """Free texts lose the subject in every byte of the table; a hash tells who asks that it was erased, and when."""
    root = tmp_path / "root"
    place = place_in(root)
    record(place, "score", size=1, seconds=1)
    from featurelib.pipeline import records
    from featurelib.tables import append_ops

    row = {"run_id": "r", "step": "ingest", "state": "done", "summary": "eve-17 is odd", "facts": "{}"}
    append_ops(place.store, "ops.runs", [row], schema=records._SCHEMA, stamp=ASKED.stamp)

    assert redact_ops(place.store, EVE, stamp=ASKED.stamp) == {"ops.runs": 1}

    assert "[erased] is odd" in {row["summary"] for row in rows_of(place.store, "ops.runs")}
    assert len(rows_of(place.store, "ops.runs")) == 2
    files = [path for path in Path(place.store.path("ops.runs")).rglob("*") if path.is_file()]
    assert not any(b"eve-17" in path.read_bytes() for path in files)
    assert redact_ops(place.store, EVE, stamp=ASKED.stamp) == {}

    note(place.store, EVE, ASKED, state="begun", facts={})
    (line,) = erased_lines(place.store, place.project, EVE.key)
    assert line.startswith("erased on request R-1 at 2024-02-03T00:00:00Z by ann")
    assert line.endswith("run it again")
    note(place.store, EVE, ASKED, state="done", facts={"rows": 3})
    assert [(one.state, one.facts) for one in erasures(place.store, EVE)] == [("done", {"rows": 3})]
    assert erased_lines(place.store, place.project, {"customer": "eve-18"}) == []
    assert erased_lines(place.store, place.project, {"nobody": "eve-17"}) == []
    told = rows_of(place.store, "ops.erasures")
    assert len({row["subject"] for row in told}) == 1
    assert "eve" not in json.dumps(told, default=str)


def test_a_subject_is_the_whole_key_of_an_entity(tmp_path: Path) -> None:
    """A column that is no entity's key is refused with those that are."""
    project = place_in(tmp_path / "root").project
    assert subject_of(project, {"customer": " ann "}) == Subject("customer", {"customer": "ann"})
    with pytest.raises(ConfigError, match="'visit_id=7'"):
        subject_of(project, {"visit_id": "7"})
    with pytest.raises(ConfigError, match="customer="):
        subject_of(project, {"customer": " "})


def test_example_rows_of_models_are_emptied(tmp_path: Path, empty_database: Path) -> None:
    """A version keeps its files and their hash, and its example names columns without rows."""
    from featurelib.registry.tracker import Tracker

    root = tmp_path / "root"
    place = place_in(root)
    shutil.copy(empty_database, root / "mlflow.db")
    tracker = Tracker(place.project.settings.tracking)
    registered = register(tracker, root, "tips", example=[{"amount": 17}])
    (path,) = root.rglob("input_example.json")
    assert json.loads(path.read_text()) == {"columns": ["amount"], "data": [[17]]}

    tracker.drop_example(registered)

    (path,) = root.rglob("input_example.json")
    assert json.loads(path.read_text()) == {"columns": ["amount"], "data": []}
    tracker.check(registered)
    tracker.drop_example(register(tracker, root, "tips"))
