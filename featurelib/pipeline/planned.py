"""What is left to do of each step, and why, as the step would find it: tables are looked at, not changed.

Each function answers for one step. What the steps before it are going to change it finds in :class:`Outlook`,
and adds what its own will.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import groupby
from typing import Any

from featurelib.landing.csv_files import inspect
from featurelib.landing.files import LandedFile
from featurelib.pipeline.build_training_set import bounds_of, made_of, training_content
from featurelib.pipeline.builds import Built, built
from featurelib.pipeline.context import Surroundings
from featurelib.pipeline.days import ALL_DAYS, DayRange, runs_of
from featurelib.pipeline.evolution import silver_changes
from featurelib.pipeline.ingest import not_loaded
from featurelib.pipeline.ledger import ledger_rows
from featurelib.pipeline.rescore import late_predictions
from featurelib.pipeline.train import submission_id
from featurelib.registry.look import submitted_ids
from featurelib.tables import published, read_arrow, snapshot

NEW, MISSING, LATE = "new data", "missing", "late data"
CHANGED_COLUMNS = "changed columns"
RESCORED = "late or corrected data"
REBUILT, CHANGED, ASKED = "upstream rebuilt", "changed definition", "asked for"
ONE_DAY = timedelta(days=1)
_WEEK = timedelta(days=7)


@dataclass(frozen=True)
class Item:
    """An interval of a table that is to be built.

    Attributes:
        table: its name; ``model NAME`` for a model.
        first: the first day, None where days do not matter.
        end: the day at which to stop, itself left out.
        why: the reason, in words.
        rows: rows to build, None if unknown.
        at_most: whether there may be fewer, which only computing them can tell.
        bytes: what they take, by what the table's rows take so far; of landed files, what these take.
        size: how much there is to do, in the step's own unit; None if unknown.
    """

    table: str
    first: date | None
    end: date | None
    why: str
    rows: int | None
    bytes: int | None = None
    size: float | None = None
    at_most: bool = False


@dataclass
class Outlook:
    """What stands before the first step, looked up once, and what the steps so far are going to change.

    Attributes:
        known: the published version of every table.
        ledger: the landed files that were loaded.
        built: what the feature table was built from.
        loaded: rows to be loaded of each landed table, by day; None where no file tells how many.
        spine: rows of each day of the spine, loaded and to be loaded.
        features: the days of the feature table that are to be computed, with the reason.
        is_training_new: whether the training set is to be made.
        training_rows: the rows it will have, about.
    """

    known: Mapping[str, int]
    ledger: Sequence[Mapping[str, Any]]
    built: Built
    loaded: dict[str, dict[date, int | None]] = field(default_factory=dict)
    spine: dict[date, int | None] = field(default_factory=dict)
    features: dict[date, str] = field(default_factory=dict)
    is_training_new: bool = False
    training_rows: int | None = None
    _bytes_a_row: dict[str, float | None] = field(default_factory=dict)

    def bytes_of(self, context: Surroundings, table: str, rows: int | None) -> int | None:
        """Return what so many rows of a published table take, by those it has; None if unknown."""
        if rows is None or table not in self.known:
            return None
        if table not in self._bytes_a_row:
            found = snapshot(context.store, table, self.known[table])
            self._bytes_a_row[table] = found.size_bytes / found.num_records if found.num_records else None
        rate = self._bytes_a_row[table]
        return None if rate is None else round(rows * rate)


def outlook(context: Surroundings) -> Outlook:
    """Return what stands before the first step, and no change."""
    ledger, days = ledger_rows(context), Counter[date]()
    for row in ledger:
        if row["table"] == context.project.spine.table:
            days[row["day"]] += row["rows"]
    return Outlook(published(context.store), ledger, built(context), spine=dict(days))


def total(numbers: Iterable[float | None]) -> int | None:
    """Return the sum, None where one is unknown."""
    found = list(numbers)
    return None if None in found else round(sum(number for number in found if number is not None))


def rows_on(ahead: Outlook, days: Iterable[date]) -> int | None:
    """Return the spine's rows of some days, None where that is unknown."""
    return total(ahead.spine.get(day, 0) for day in days)


def intervals(reasons: Mapping[date, str]) -> list[tuple[date, date, str]]:
    """Return half-open intervals of consecutive days with one reason, in order."""
    days = sorted(reasons)
    parts = [(list(part), why) for why, part in groupby(days, key=lambda day: reasons[day])]
    return [(first, last + ONE_DAY, why) for part, why in parts for first, last in runs_of(part)]


# --- ingest ---------------------------------------------------------------------------------------------


def ingest_items(context: Surroundings, ahead: Outlook) -> list[Item]:
    """Return the landed files that are not loaded, by table and run of days; size is in bytes.

    Raises:
        InputError: a file has changed since it was loaded, or has a name that is no day.
        ConfigError: there is no landing folder, or a column has another type in silver than declared.
    """
    items = []
    for name, table in context.project.tables.items():
        loaded = [row for row in ahead.ledger if row["table"] == name]
        files = not_loaded(context, table, {row["name"]: row["bytes"] for row in loaded})
        rate = _rows_a_byte(loaded, files, list(table.columns))
        rows = {file.day: None if rate is None else round(file.bytes * rate) for file in files}
        ahead.loaded[name] = rows
        items += _reshaping(context, name, has_files=bool(files))
        newest = max((row["day"] for row in loaded), default=date.min)
        reasons = {day: LATE if day < newest else NEW for day in rows}
        for first, end, why in intervals(reasons):
            size = sum(file.bytes for file in files if first <= file.day < end)
            number = total(found for day, found in rows.items() if first <= day < end)
            items.append(Item(context.names.silver(name), first, end, why, number, size, size))
    for day, found in ahead.loaded.get(context.project.spine.table, {}).items():
        ahead.spine[day] = total([ahead.spine.get(day, 0), found])
    return items


def _reshaping(context: Surroundings, name: str, *, has_files: bool) -> list[Item]:
    """Return the silver table if its columns change: all its rows are written again where a type widens.

    Raises:
        ConfigError: a column has another type than declared, and is not to be widened.
    """
    changes = silver_changes(context, name)
    if not changes:
        return []
    table = context.names.silver(name)
    rows = snapshot(context.store, table, published(context.store)[table]).num_records
    widens = any(became != "added" for became in changes.values())
    why = f"{CHANGED_COLUMNS}: {', '.join(f'{column} {became}' for column, became in changes.items())}"
    return [Item(table, None, None, why, rows if widens else 0, None, 0 if has_files else 1)]


def _rows_a_byte(
    loaded: Sequence[Mapping[str, Any]], files: Sequence[LandedFile], columns: Sequence[str]
) -> float | None:
    """Return the rows of a landed byte: by the files loaded before, else by the one of middle size."""
    size = sum(row["bytes"] for row in loaded)
    if size:
        return float(sum(row["rows"] for row in loaded) / size)
    if not files:
        return None
    middle = sorted(files, key=lambda file: file.bytes)[len(files) // 2]
    look = inspect(middle.uri, columns)
    return None if look.fault or not look.bytes else look.rows / look.bytes


# --- training set and models ----------------------------------------------------------------------------


def training_items(context: Surroundings, ahead: Outlook) -> list[Item]:
    """Return the training set if it is to be made again; size is in rows."""
    known, names = ahead.known, context.names
    first, last = (moment.date() for moment in bounds_of(context.project.split))
    days = [day for day in _feature_days(ahead) if first <= day < last]
    before = training_content(context)
    ahead.training_rows = rows_on(ahead, days) if before is None else before.rows
    if not days and names.features not in known:
        return []
    new = {why for day, why in ahead.features.items() if first <= day < last}
    why = None
    if before is None:
        why = MISSING
    elif new:
        why = NEW if new == {NEW} else REBUILT
    elif before.made_from != made_of(context, known)[0]:
        why = f"{REBUILT}, or {CHANGED}"
    elif before.pending:
        why = f"{before.pending:,} labels were not known yet"
    if why is None:
        return []
    rows = rows_on(ahead, days)
    ahead.is_training_new, ahead.training_rows = True, rows
    size = ahead.bytes_of(context, names.training, rows) or ahead.bytes_of(context, names.features, rows)
    return [Item(names.training, first, last, why, rows, size, rows)]


def train_items(context: Surroundings, ahead: Outlook) -> list[Item]:
    """Return the models to be trained; size is in rows times trials.

    Raises:
        PreconditionError: the registry cannot be asked.
    """
    items = []
    has_training = context.names.training in ahead.known
    if not (has_training or ahead.is_training_new):
        return []
    if ahead.training_rows is None and (content := training_content(context)) is not None:
        ahead.training_rows = content.rows  # the step is planned alone, as it is when it begins
    for name, model in context.project.models.items():
        why: str | None = REBUILT if has_training else MISSING
        if not ahead.is_training_new:
            ids = submitted_ids(context.project.settings.tracking, name)
            is_trained = submission_id(context, name, model) in ids
            why = None if is_trained else f"{CHANGED}, or {REBUILT}" if ids else MISSING
        if why is not None:
            rows = ahead.training_rows
            size = None if rows is None else rows * model.tuning.trials
            items.append(Item(f"model {name}", None, None, why, rows, None, size))
    return items


# --- predictions ----------------------------------------------------------------------------------------


def score_items(context: Surroundings, ahead: Outlook, *, days: DayRange = ALL_DAYS) -> list[Item]:
    """Return the days that have features, or will have, and no prediction; size is in rows."""
    since, names = context.project.score_from or date.min, context.names
    scored = _days_of(context, names.predictions, ahead.known)
    wanted = [day for day in _feature_days(ahead) if day >= since and day not in scored and days.holds(day)]
    reasons = {day: NEW if ahead.features.get(day) == NEW else MISSING for day in wanted}
    items = []
    for first, end, why in intervals(reasons):
        rows = rows_on(ahead, (day for day in wanted if first <= day < end))
        items.append(
            Item(
                names.predictions,
                first,
                end,
                why,
                rows,
                ahead.bytes_of(context, names.predictions, rows),
                rows,
            )
        )
    return [*items, *_rescored(context, ahead, scored)]


def _rescored(context: Surroundings, ahead: Outlook, scored: Collection[date]) -> list[Item]:
    """Return the predicted days whose rows are to be predicted again, or may have to be."""
    if context.project.predictions.late_data == "keep":
        return []
    pending = late_predictions(context, ahead.known).days
    reached = {day for day in ahead.features.keys() & scored if ahead.features[day] not in {NEW, MISSING}}
    table, items = context.names.predictions, []
    for first, end, why in intervals(dict.fromkeys(pending.keys() | reached, RESCORED)):
        days = [day for day in pending.keys() | reached if first <= day < end]
        rows = total(ahead.spine.get(day, 0) if day in reached else pending[day] for day in days)
        size = ahead.bytes_of(context, table, rows)
        items.append(Item(table, first, end, why, rows, size, rows, at_most=True))
    return items


def monitor_items(context: Surroundings, ahead: Outlook) -> list[Item]:
    """Return the week that every run looks at; size is in rows."""
    end = context.as_of.date()
    days = [day for day in _feature_days(ahead) if end - _WEEK <= day < end]
    rows = rows_on(ahead, days)
    return [Item("ops.monitoring", end - _WEEK, end, "every run", rows, None, rows)] if days else []


def _feature_days(ahead: Outlook) -> list[date]:
    """Return the days that the feature table has and will have, in order."""
    return sorted(ahead.built.days.keys() | ahead.features.keys())


def _days_of(context: Surroundings, table: str, known: Mapping[str, int]) -> set[date]:
    """Return the days of a published table's rows; files whose bounds are one day are not opened."""
    if table not in known:
        return set()
    found = snapshot(context.store, table, known[table])
    bounds = {file.path: (file.minimum.get("_day"), file.maximum.get("_day")) for file in found.files}
    days = {first for first, last in bounds.values() if first is not None and first == last}
    wide = frozenset(path for path, (first, last) in bounds.items() if first is None or first != last)
    if wide:
        column = read_arrow(found, columns=frozenset({"_day"}), paths=wide).column("_day")
        days |= {day for day in column.unique().to_pylist() if day is not None}
    return days
