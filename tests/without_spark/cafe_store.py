"""The cafe's tables as its runs would leave them, written without Spark."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from featurelib.config import load_project
from featurelib.landing.csv_files import inspect
from featurelib.pipeline import records
from featurelib.pipeline.build_training_set import _CONTENT, made_of
from featurelib.pipeline.builds import built, write_built
from featurelib.pipeline.context import Place
from featurelib.pipeline.definitions import definitions
from featurelib.pipeline.ingest import not_loaded
from featurelib.pipeline.ledger import loaded_sizes, write_ledger
from featurelib.pipeline.schemas import struct
from featurelib.tables import Stamp, append_ops, begin_run, published
from tests.jobs.cafe_project import DAYS, land_day, write_cafe

_WHO = {"shop": "string", "customer": "string"}
_VISIT = {"visit_id": "string", **_WHO, "party": "int", "visited_ts": "timestamp", "tip": "double"}
_SALE = {"sale_id": "string", **_WHO, "amount": "double", "sold_ts": "timestamp", "booked_ts": "timestamp"}
SILVER = {
    "visits": struct(**_VISIT, paid_ts="timestamp", _day="date"),
    "sales": struct(**_SALE, note="string", _day="date"),
    "weather": struct(shop="string", temp="double", read_ts="timestamp", _day="date"),
}
HOURS = {
    "visits": {"visited_ts": (10, 20)},
    "sales": {"sold_ts": (9, 12), "booked_ts": (10, 13)},
    "weather": {"read_ts": (6,)},
}
FEATURES = struct(visit_id="string", as_of_ts="timestamp", _day="date")


def place_in(root: Path, as_of: str = "2024-01-10", changed: Mapping[str, str] | None = None) -> Place:
    """The cafe in a root folder at a moment, with some of its files replaced."""
    folder = write_cafe(root / f"project-{uuid.uuid4().hex[:6]}", changed)
    project = load_project(folder, env="local", overrides=[f"root={root}"], environ={})
    return Place(project, datetime.fromisoformat(as_of).replace(tzinfo=UTC))


def land(root: Path, days: Sequence[str] = DAYS, *, without: str = "") -> None:
    """Land some days of every table but one."""
    for day in days:
        land_day(root, day, without=without)


def day_of(number: int) -> date:
    """A day of January."""
    return date(2024, 1, number)


def load(place: Place) -> None:
    """Note everything that has landed in the ledger, and give silver as many instants as the day's events have."""
    with _run(place) as run:
        looks: dict[str, list[dict[str, Any]]] = {}
        for name, table in place.project.tables.items():
            files = not_loaded(place, table, loaded_sizes(place).get(name, {}))
            if not files:
                continue
            looks[name] = [
                {"name": file.name, "day": file.day, **inspect(file.uri, list(table.columns))._asdict()}
                for file in files
            ]
            run.create(place.names.silver(name), SILVER[name])
            rows = [row for file in files for row in _silver(name, file.day)]
            run.append_rows(rows, place.names.silver(name))
        write_ledger(place, run, looks)  # type: ignore[arg-type]
        run.publish(published_at=place.as_of)


def build(place: Place, days: Iterable[int]) -> None:
    """Write feature rows of some days, and record that they have seen every input as it is now."""
    wanted = [day_of(number) for number in days]
    with _run(place) as run:
        before = built(place)
        run.create(place.names.features, FEATURES)
        run.append_rows([_asked(day, hour) for day in wanted for hour in (10, 20)] * 2, place.names.features)
        write_built(place, run, before, wanted, definitions(place.project))  # type: ignore[arg-type]
        run.publish(published_at=place.as_of)


def make_training_set(place: Place, *, rows: int = 20, pending: int = 0) -> None:
    """Record that the training set was made of what is published."""
    with _run(place) as run:
        made_from, _ = made_of(place, published(place.store))
        content = {"rows": rows, "content": "abc", "pending": pending, "_made_from": made_from}
        for table, schema in ((place.names.training_content, _CONTENT), (place.names.training, FEATURES)):
            run.create(table, schema)
        run.replace_rows([content], place.names.training_content)
        run.append_rows([_asked(day_of(1), 10)] * rows, place.names.training)
        run.publish(published_at=place.as_of)


def predict(place: Place, days: Iterable[int]) -> None:
    """Write predictions of some days."""
    with _run(place) as run:
        run.create(place.names.predictions, FEATURES)
        run.append_rows([_asked(day_of(day), 10) for day in days for _ in range(4)], place.names.predictions)
        run.publish(published_at=place.as_of)


def record(
    place: Place,
    step: str,
    *,
    size: float,
    seconds: float,
    expected: float | None = None,
    as_of: str = "2024-01-10",
) -> None:
    """Leave the record of a run of a step; each is a minute newer than the last."""
    global _moment  # noqa: PLW0603 - a clock of the tests' own
    _moment += timedelta(minutes=1)
    says = {"pipeline": "cafe", "size": size, "rows": None, "bytes": None, "seconds": expected}
    row = {
        "run_id": step,
        "step": step,
        "as_of": datetime.fromisoformat(as_of).replace(tzinfo=UTC),
        "state": "done",
        "seconds": seconds,
        "facts": json.dumps({records.EXPECTED: says}),
        "finished_at": _moment,
    }
    append_ops(place.store, records.RUNS, [row], schema=records._SCHEMA, stamp=Stamp(step, "cafe", 0))


_moment = datetime(2024, 2, 1, tzinfo=UTC)


def _run(place: Place) -> Any:
    nobody: Any = None
    return begin_run(nobody, place.store, pipeline=place.project.name, run_id=f"run-{uuid.uuid4().hex[:8]}")


def _silver(table: str, day: date) -> list[dict[str, Any]]:
    number = max(map(len, HOURS[table].values()))
    rows: list[dict[str, Any]] = [{"_day": day} for _ in range(number)]
    for column, hours in HOURS[table].items():
        for row, hour in zip(rows, hours, strict=True):
            row[column] = _at(day, hour)
    return rows


def _asked(day: date, hour: int) -> dict[str, Any]:
    return {"visit_id": f"{day}-{hour}", "as_of_ts": _at(day, hour), "_day": day}


def _at(day: date, hour: int) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)
