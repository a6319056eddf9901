"""A landed file is taken whole, or refused with the reason; nothing is read halfway."""

from __future__ import annotations

import gzip
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from featurelib.errors import ConfigError, InputError
from featurelib.landing.csv_files import inspect, received
from featurelib.landing.files import landed_files

COLUMNS = ["origin", "delay"]
GOOD = b"origin,delay\nJFK,5\nLGA,NA\n"


def land(root: Path, name: str, content: bytes) -> str:
    """Write a file of the table ``flights`` and return its path."""
    path = root / "flights" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return str(path)


def rows_of(path: str) -> list[dict[str, object]]:
    """The rows of one file, as bronze gets them."""
    listed = pa.record_batch(
        [["flights/x.csv"], pa.array([date(2013, 1, 1)], pa.date32()), [path]], names=["name", "day", "uri"]
    )
    return [row for batch in received([listed], COLUMNS) for row in batch.to_pylist()]


@pytest.mark.parametrize("name", ["2013-01-01.csv", "2013-01-01.csv.gz"])
def test_a_good_file_is_counted_and_hashed(tmp_path: Path, name: str) -> None:
    """Plain or compressed, a whole file has its rows and no fault."""
    look = inspect(land(tmp_path, name, GOOD), COLUMNS)

    assert (look.rows, look.fault) == (2, None)
    assert len(look.sha256) == 64


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "is empty: not even a header line"),
        (b"origin,delay,delay\nJFK,5,6\n", "has columns twice: delay"),
        (b"JFK,5\nLGA,7\n", "has none of the declared columns: JFK, 5"),
        (b"delay,origin\n5,JFK\n", "in another order: delay, origin"),
        (b"origin,delay\nJFK,5\nM\xfcnchen,7\n", "is not UTF-8: byte 0xfc in line 3"),
        (b"origin,delay\nJFK,5\nM\xc3", "is not UTF-8: it ends within a character"),
    ],
)
def test_a_file_that_cannot_be_taken_says_why(tmp_path: Path, content: bytes, fault: str) -> None:
    """Header and encoding are checked to the last byte, and the message names what is wrong."""
    look = inspect(land(tmp_path, "2013-01-01.csv.gz", content), COLUMNS)

    assert look.fault is not None
    assert fault in look.fault


@pytest.mark.parametrize(
    ("header", "missing", "new"),
    [
        ("origin,delay", (), ()),
        ("origin", ("delay",), ()),
        ("gate,origin,delay", (), ("gate",)),
        ("origin,dely", ("delay",), ("dely",)),
        ("origin, delay", ("delay",), (" delay",)),
        ('"origin","delay","gate, or none"', (), ("gate, or none",)),
    ],
)
def test_columns_that_came_and_went_are_named(
    tmp_path: Path, header: str, missing: tuple[str, ...], new: tuple[str, ...]
) -> None:
    """Whether a file with other columns may be loaded is not for the reader to say; it says which."""
    row = ",".join("1" for _ in header.replace("gate, or", "gate or").split(","))
    look = inspect(land(tmp_path, "2013-01-01.csv.gz", f"{header}\n{row}\n".encode()), COLUMNS)

    assert (look.rows, look.fault, look.missing, look.new) == (1, None, missing, new)


def test_a_column_that_a_file_lacks_is_null_and_a_new_one_is_left_out(tmp_path: Path) -> None:
    """Columns are found by their names, wherever in the file they stand; null is not the empty text."""
    found = rows_of(land(tmp_path, "2013-01-01.csv", b"gate,origin\nB1,JFK\n,\n"))

    assert [(row["origin"], row["delay"]) for row in found] == [("JFK", None), ("", None)]
    assert "gate" not in found[0]


@pytest.mark.parametrize("cut", [10, 20, -1, -9])
def test_a_truncated_gzip_is_found_wherever_it_ends(tmp_path: Path, cut: int) -> None:
    """A gzip cut in its header, its data or its checksum is damaged, never a shorter day."""
    path = Path(land(tmp_path, "2013-01-01.csv.gz", GOOD * 50))
    path.write_bytes(path.read_bytes()[:cut])

    look = inspect(str(path), COLUMNS)

    assert look.fault is not None
    assert "cut short or damaged" in look.fault


def test_a_damaged_gzip_is_found(tmp_path: Path) -> None:
    """A flipped bit fails the checksum."""
    path = Path(land(tmp_path, "2013-01-01.csv.gz", GOOD * 50))
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) - 6] ^= 1
    path.write_bytes(bytes(damaged))

    assert "cut short or damaged" in str(inspect(str(path), COLUMNS).fault)


def test_a_header_alone_is_a_day_without_rows(tmp_path: Path) -> None:
    """An empty day is no fault of the file; whether it may be is the gate's to say."""
    look = inspect(land(tmp_path, "2013-01-01.csv", b"origin,delay\n"), COLUMNS)

    assert (look.rows, look.fault) == (0, None)


def test_rows_arrive_as_text_with_their_place(tmp_path: Path) -> None:
    """Values are untouched; file, day and number in the file identify the row."""
    first = rows_of(land(tmp_path, "2013-01-01.csv", GOOD))[0]

    assert {
        "origin": "JFK",
        "delay": "5",
        "_file": "flights/x.csv",
        "_day": date(2013, 1, 1),
        "_row": 1,
        "_malformed": None,
    } == first


def test_a_row_with_other_fields_is_kept_as_text(tmp_path: Path) -> None:
    """Too few or too many fields lose neither the row nor its number, nor those of its neighbours."""
    rows = rows_of(land(tmp_path, "2013-01-01.csv", b"origin,delay\nJFK,1\nJFK\nJFK,3\nJFK,4,x\nJFK,5\n"))

    places = {row["_row"]: row["_malformed"] or row["delay"] for row in rows}
    assert places == {1: "1", 2: "JFK", 3: "3", 4: "JFK,4,x", 5: "5"}


def test_files_are_listed_by_day(tmp_path: Path) -> None:
    """Hidden and unfinished files are passed over."""
    for name in ("2013-01-02.csv.gz", "2013-01-01.csv.gz", ".2013-01-03.csv.gz.part"):
        land(tmp_path, name, GOOD)

    assert [date(2013, 1, 1), date(2013, 1, 2)] == [
        file.day for file in landed_files(str(tmp_path), "flights")
    ]


def test_a_day_that_landed_twice_is_refused(tmp_path: Path) -> None:
    """Two files for one day: neither is guessed to be the right one."""
    land(tmp_path, "2013-01-01.csv", GOOD)
    land(tmp_path, "2013-01-01.csv.gz", GOOD)

    with pytest.raises(InputError, match="both stand for 2013-01-01"):
        landed_files(str(tmp_path), "flights")


@pytest.mark.parametrize("name", ["january.csv", "2013-02-30.csv.gz", "2013-01-01.csv.gz.copy"])
def test_a_file_not_named_by_its_day_is_refused(tmp_path: Path, name: str) -> None:
    """A file whose day is unknown is never loaded as some day."""
    land(tmp_path, name, GOOD)

    with pytest.raises(InputError, match=r"2013-01-31\.csv\.gz"):
        landed_files(str(tmp_path), "flights")


def test_a_link_to_a_file_elsewhere_is_refused(tmp_path: Path) -> None:
    """Who may drop files into the landing folder may not have any file of the machine loaded."""
    (tmp_path / "landing" / "orders").mkdir(parents=True)
    (tmp_path / "elsewhere.csv").write_text("a\n1\n")
    (tmp_path / "landing" / "orders" / "2013-01-01.csv").symlink_to(tmp_path / "elsewhere.csv")

    with pytest.raises(InputError, match=r"2013-01-01\.csv' is a link to .*elsewhere\.csv"):
        landed_files(str(tmp_path / "landing"), "orders")


def test_a_missing_landing_folder_is_named(tmp_path: Path) -> None:
    """The message says which folder, and how to set another."""
    with pytest.raises(ConfigError, match=r"no landing folder .*/flights"):
        landed_files(str(tmp_path), "flights")
