"""Cells, data keys and the table that keeps them, without a session."""

from __future__ import annotations

import pickle
import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurelib.encryption import CellRefused, Keyring, Wrapped, new_key, opened_array, sealed_array
from featurelib.encryption.columns import arrow_type
from featurelib.encryption.keys import master_key
from featurelib.errors import ConfigError
from featurelib.pipeline.context import Place
from featurelib.pipeline.data_keys import _canonical, keyring, ready_keyring, rewrap, shred
from featurelib.pipeline.evolution import silver_changes
from featurelib.pipeline.schemas import struct
from featurelib.pipeline.subjects import Subject
from featurelib.specs import Encryption, LandedTable
from featurelib.tables import Stamp, begin_run, rows_of
from tests.jobs.cafe_project import SOURCES
from tests.without_spark.cafe_store import place_in

STAMP = Stamp("ingest-1", "cafe", 1)
ANN = Subject("customer", {"customer": "ann"})


def cafe(folder: Path, key: str = "5e" * 32, previous: str = "") -> Place:
    """The cafe whose notes are encrypted, with a key in a file below its folder, and perhaps the key before it."""
    besides = ', previous_keys: ["${secret:file/secrets/old.key}"]' if previous else ""
    said = (
        '    encryption: {columns: [note], key: "${secret:file/secrets/cafe.key}", subject: customer'
        + besides
        + "}\n  weather:\n"
    )
    place = place_in(folder, changed={"cafe/sources.yaml": SOURCES.replace("  weather:\n", said, 1)})
    secret = Path(place.project.folder).parents[1] / "secrets"
    secret.mkdir()
    (secret / "cafe.key").write_text(key)
    (secret / "old.key").write_text(previous)
    return place


def ready(place: Place, *subjects: str) -> Keyring:
    """The data keys of sales after these subjects have theirs."""
    return ready_keyring(place.project, place.store, "sales", subjects, stamp=STAMP)


def sealed(
    ring: Keyring, values: pa.Array, kind: str, subjects: list[str | None], where: str = "silver.sales.note"
) -> pa.Array:
    """The cells of values of the first rows of one file."""
    return sealed_array(
        values, kind, rows(len(values)), subjects=pa.array(subjects, pa.string()), ring=ring, where=where
    )


def opened(ring: Keyring, cells: pa.Array, kind: str, where: str = "silver.sales.note") -> list[Any]:
    """What the cells of these rows hold."""
    return opened_array(cells, kind, rows(len(cells)), ring=ring, where=where).to_pylist()


def rows(count: int, first: int = 1) -> tuple[pa.Array, pa.Array]:
    """The identity of some rows of one landed file."""
    return pa.array(["sales/2024-01-03.csv.gz"] * count), pa.array(range(first, first + count), pa.int64())


def texts_below(folder: Path) -> str:
    """All that the files of a table say, data and log, whatever compresses it."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    tables = [repr(pq.read_table(path).to_pylist()) for path in files if path.suffix == ".parquet"]
    return "".join([*tables, *(path.read_bytes().decode("latin-1") for path in files)])


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("string", ["", "x", "dél\x00\n'\"", None]),
        ("boolean", [True, False, None]),
        ("int", [-(2**31), 0, 7, None]),
        ("long", [-(2**63), 2**63 - 1, None]),
        ("double", [0.1, -0.0, 5e-324, 1.7976931348623157e308, float("inf"), None]),
        ("date", [date(1, 1, 1), date(1969, 12, 31), date(9999, 12, 31), None]),
        (
            "timestamp_utc",
            [datetime(1583, 1, 1, tzinfo=UTC), datetime(2024, 2, 29, 1, 2, 3, 999999, UTC), None],
        ),
        ("decimal(38,10)", [Decimal("-1234567890123456789012345678.0123456789"), Decimal("0E-10"), None]),
    ],
)
def test_values_come_back_with_their_type_and_bits(tmp_path: Path, kind: str, values: list[Any]) -> None:
    """Each type's extremes, and null stays null; what is at rest holds no text of the value."""
    ring = ready(cafe(tmp_path), "ann")
    array = pa.array(values, arrow_type(kind))
    cells = sealed(ring, array, kind, ["ann"] * len(values))
    assert cells.null_count == 1
    back = opened_array(cells, kind, rows(len(values)), ring=ring, where="silver.sales.note")
    assert back.type == array.type
    assert list(map(repr, back.to_pylist())) == list(map(repr, array.to_pylist()))
    long_texts = [text for value in values if value is not None and len(text := str(value)) > 5]
    assert not [text for text in long_texts for cell in cells.to_pylist() if cell and text.encode() in cell]


def test_cells_of_a_narrower_type_are_read_as_a_wider_one(tmp_path: Path) -> None:
    """A column whose type is widened keeps its cells: they hold the value's text."""
    ring = ready(cafe(tmp_path), "ann")
    cells = sealed(ring, pa.array([-7, None], pa.int32()), "int", ["ann", "ann"])
    assert opened(ring, cells, "long") == [-7, None]
    assert opened(ring, cells, "double") == [-7.0, None]
    assert opened(ring, cells, "decimal(12,2)") == [Decimal("-7.00"), None]


def test_cells_are_equal_at_one_place_and_nowhere_else(tmp_path: Path) -> None:
    """A rerun gives the same bytes; another row, column, table or subject gives others for the same value."""
    place = cafe(tmp_path)
    ring = ready(place, "ann", "bob")
    values = pa.array(["same", "same"])
    first = sealed(ring, values, "string", ["ann", "bob"]).to_pylist()
    again = sealed(keyring(place.project, place.store, "sales"), values, "string", ["ann", "bob"]).to_pylist()
    assert first == again
    others = [
        *sealed(ring, values, "string", ["ann", "bob"], where="bronze.sales.note").to_pylist(),
        *sealed(ring, values, "string", ["ann", "bob"], where="silver.sales.other").to_pylist(),
        *sealed(ring, values, "string", [None, "ann"]).to_pylist(),
    ]
    assert len({*first, *others}) == len(first) + len(others)


def test_a_cell_that_was_changed_or_moved_is_refused(tmp_path: Path) -> None:
    """Any flipped bit, any other row, column or table, and bytes that are no cell; never garbage."""
    ring = ready(cafe(tmp_path), "ann")
    (cell,) = sealed(ring, pa.array(["secret words"]), "string", ["ann"]).to_pylist()
    for at in range(len(cell)):
        broken = bytes([*cell[:at], cell[at] ^ 1, *cell[at + 1 :]])
        with pytest.raises(CellRefused):
            opened(ring, pa.array([broken]), "string")
    for bad in (b"", b"secret words", cell[:-1], cell + b"\x00"):
        with pytest.raises(CellRefused):
            opened(ring, pa.array([bad], pa.binary()), "string")
    with pytest.raises(CellRefused, match="fails its check"):
        opened(ring, pa.array([cell]), "string", where="silver.sales.other")
    with pytest.raises(CellRefused, match="fails its check"):
        opened_array(pa.array([cell]), "string", rows(1, first=2), ring=ring, where="silver.sales.note")


def test_what_travels_to_tasks_holds_no_key(tmp_path: Path) -> None:
    """A ring that has been used is pickled without the key and without data keys, and works where it arrives."""
    place = cafe(tmp_path)
    ring = ready(place, "ann")
    cells = sealed(ring, pa.array(["words"]), "string", ["ann"])
    sent = pickle.dumps(ring)
    assert bytes.fromhex("5e" * 32) not in sent
    assert b"5e" * 32 not in sent
    assert b"words" not in sent
    for key in ring.keys:
        assert ring._secret(key) not in sent
    assert opened(pickle.loads(sent), cells, "string") == ["words"]


def test_keys_are_made_once_by_runs_that_race(tmp_path: Path) -> None:
    """Eight loads of the same forty subjects at once: one index key, one for nobody's rows, one a subject."""
    place = cafe(tmp_path)
    subjects = [f"customer {number}" for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        rings = list(pool.map(lambda _: ready(place, *subjects), range(8)))
    kept = rows_of(place.store, "ops.data_keys")
    assert len(kept) == 42
    assert len({key["subject"] for key in kept if key["purpose"] == "subject"}) == 40
    assert not [row for row in kept if any("customer" in str(value) for value in row.values())]
    values = pa.array(["x"])
    assert len({sealed(ring, values, "string", ["customer 7"])[0].as_py() for ring in rings}) == 1


def test_a_shredded_key_gives_null_and_its_subject_gets_another(tmp_path: Path) -> None:
    """Old cells read null for good, new ones of the same subject are read, and one key is gone for good."""
    place = cafe(tmp_path)
    ring = ready(place, "ann", "bob")
    old = sealed(ring, pa.array(["a", "b"]), "string", ["ann", "bob"])
    wrapped = {key.key_id: key.wrapped for key in ring.keys}
    assert shred(place.project, place.store, ANN, request="R-1", stamp=STAMP) == 1
    assert opened(keyring(place.project, place.store, "sales"), old, "string") == [None, "b"]
    again = ready(place, "ann")
    new = sealed(again, pa.array(["c"]), "string", ["ann"])
    assert opened(again, new, "string") == ["c"]
    assert opened(again, old, "string") == [None, "b"]
    assert shred(place.project, place.store, ANN, request="R-2", stamp=STAMP) == 1
    gone = {row["key_id"] for row in rows_of(place.store, "ops.data_keys") if row["wrapped"] is None}
    said = texts_below(Path(place.store.path("ops.data_keys")))
    assert len(gone) == 2
    assert all(key in said for key in gone)
    assert not [key for key in gone & wrapped.keys() if str(wrapped[key]) in said]


def test_a_key_that_nobody_knows_is_no_erasure(tmp_path: Path) -> None:
    """A lost table of data keys is an error that says so, never null."""
    ring = ready(cafe(tmp_path), "ann")
    cells = sealed(ring, pa.array(["a"]), "string", ["ann"])
    empty = Keyring(ring.table, ring.references, ring.base, ())
    with pytest.raises(CellRefused, match=r"which ops\.data_keys does not have"):
        opened(empty, cells, "string")


def test_a_new_key_takes_over_and_the_old_one_opens_nothing_that_is_left(tmp_path: Path) -> None:
    """Cells stay, no file of the table of data keys holds an old wrapping, and the new key alone reads."""
    old, new = "5e" * 32, "c4" * 32
    before = cafe(tmp_path, old)
    ring = ready(before, "ann")
    cells = sealed(ring, pa.array(["a"]), "string", ["ann"])
    with pytest.raises(ConfigError, match="wrapped by a key with fingerprint"):
        keyring(cafe(tmp_path, new).project, before.store, "sales").check()
    both = cafe(tmp_path, new, previous=old)
    assert opened(keyring(both.project, both.store, "sales"), cells, "string") == ["a"]
    rewrap(both.project, both.store, stamp=STAMP)
    alone = keyring(cafe(tmp_path, new).project, both.store, "sales")
    alone.check()
    assert opened(alone, cells, "string") == ["a"]
    assert sealed(alone, pa.array(["a"]), "string", ["ann"]).equals(cells)
    said = texts_below(Path(both.store.path("ops.data_keys")))
    assert str(alone.keys[0].wrapped) in said, "the scan would find what is there"
    assert not [key for key in ring.keys if str(key.wrapped) in said]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ("5e" * 31, "has 31 bytes"),
        ("not base64!", "is neither base64 nor hex"),
        ("QUJD", "has 3 bytes"),
    ],
)
def test_a_key_of_another_length_is_refused(tmp_path: Path, text: str, why: str) -> None:
    """The message names the reference and never the text; base64 and hex of 32 bytes are the same key."""
    (tmp_path / "k").write_text(text)
    with pytest.raises(ConfigError, match=why) as caught:
        master_key("${secret:file/k}", {}, base=tmp_path)
    assert "${secret:file/k}" in str(caught.value)
    assert not text or text not in str(caught.value)
    ways = {"A": "5e" * 32, "B": "Xl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl4="}
    prints = {master_key(f"${{secret:env/{name}}}", ways, base=tmp_path).fingerprint for name in ways}
    assert len(prints) == 1


def test_a_wrapped_key_put_in_another_subjects_place_is_refused(tmp_path: Path) -> None:
    """Whoever can write the table of data keys cannot make rows of one subject those of another."""
    place = cafe(tmp_path)
    ring = ready(place, "ann", "bob")
    ann, bob = (next(key for key in ring.keys if key.subject == ring.hashed(who)) for who in ("ann", "bob"))
    swapped = Keyring(
        ring.table, ring.references, ring.base, (*ring.keys[:0], bob._replace(wrapped=ann.wrapped))
    )
    cells = sealed(ring, pa.array(["b"]), "string", ["bob"])
    with pytest.raises(ConfigError, match="does not unwrap"):
        opened(swapped, cells, "string")


def test_a_whole_number_is_one_subject_however_it_is_written() -> None:
    """An erasure finds the data key of ``7`` by ``007``, as loads make one key for both; texts stay as they are."""
    encryption = Encryption(columns=("note",), key="${secret:env/K}", subject="guest")
    for kind, found in (("int", "7"), ("string", "007")):
        table = LandedTable(landing="x", columns={"guest": kind, "note": "string"}, encryption=encryption)
        assert _canonical(table, encryption, Subject("guest", {"guest": " 007 "})) == found


@pytest.mark.parametrize(("held", "said"), [("string", "is encrypted"), ("binary", "is not encrypted")])
def test_a_table_is_encrypted_from_its_first_load_on_or_never(tmp_path: Path, held: str, said: str) -> None:
    """Declared for a table in clear, or taken away from one of cells, it stops before anything is written."""
    place = cafe(tmp_path) if held == "string" else place_in(tmp_path)
    assert silver_changes(place, "sales") == {}
    with begin_run(None, place.store, pipeline="cafe", run_id="load-1") as run:  # type: ignore[arg-type]
        run.create("silver.sales", struct(note=held))
        run.publish()
    with pytest.raises(ConfigError, match=f"note of sales {said}, and silver.sales holds it as {held}"):
        silver_changes(place, "sales")


def test_new_keys_are_random(tmp_path: Path) -> None:
    """Two keys for one subject share neither id nor bytes."""
    (tmp_path / "k").write_text(secrets.token_hex(32))
    master = master_key("${secret:file/k}", {}, base=tmp_path)
    ring = Keyring("sales", ("${secret:file/k}",), str(tmp_path), ())
    assert [one.purpose for one in ring.missing(["ann"])] == ["index"]
    wanted = next(ring.missing([]))
    first, second = (new_key("sales", wanted, master) for _ in range(2))
    assert isinstance(first, Wrapped)
    assert first.key_id != second.key_id
    assert first.wrapped != second.wrapped
