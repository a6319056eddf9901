"""Which days of the feature table are to be computed, and why, by what is recorded of it and by the logs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date, timedelta

from featurelib.pipeline.build_features import check_range
from featurelib.pipeline.builds import Stale, input_tables
from featurelib.pipeline.changes import newest_moment, without_later
from featurelib.pipeline.context import Surroundings
from featurelib.pipeline.days import ALL_DAYS, DayRange, runs_of
from featurelib.pipeline.definitions import SPINE, changed_views, definitions
from featurelib.pipeline.planned import (
    ASKED,
    CHANGED,
    LATE,
    MISSING,
    NEW,
    ONE_DAY,
    REBUILT,
    Item,
    Outlook,
    intervals,
    rows_on,
)
from featurelib.pipeline.scans import may_hold
from featurelib.pipeline.silver import snapshot_file, types_of
from featurelib.point_in_time.reach import longest_of_views
from featurelib.specs import FeatureView, Source
from featurelib.tables import DataFile, changed_files
from featurelib.timeline import from_micros

_CORRECTED = "late or corrected data"
_MARGIN = ONE_DAY
"""A row's moment may lie in the UTC day before or after the day that its file is named by."""


def feature_items(
    context: Surroundings, ahead: Outlook, *, days: DayRange = ALL_DAYS, rebuild: bool = False
) -> list[Item]:
    """Return the days of the feature table that are to be computed; size is in rows with all views.

    Late or corrected data counts as all rows of the days for which the logs cannot rule out that they see it.

    Raises:
        ConfigError: no day of the range is loaded or about to be, or a definition has changed and the range
            is not all days.
    """
    project, table = context.project, context.names.features
    before, now = ahead.built, definitions(project)
    has_table = table in ahead.known
    check_range(before, now, days, has_table=has_table)
    wanted = days.of(ahead.spine)
    new = ahead.loaded.get(project.spine.table, {})
    absent = {day: NEW if day in new else MISSING for day in wanted if day not in before.days}
    if not has_table:
        return _computed(context, ahead, {day: NEW if day in new else MISSING for day in wanted})
    if before.definitions.get(SPINE) != now[SPINE] or (rebuild and days.is_all):
        why = ASKED if before.definitions == now else f"{CHANGED}: {SPINE}"
        why = why if before.definitions else "nothing says what it was built from"
        return _computed(context, ahead, dict.fromkeys(wanted, why))
    has_changed = before.definitions != now and before.days
    items = [_columns(context, ahead, now)] if has_changed else []
    present = [day for day in wanted if day in before.days]
    if rebuild:
        items += _computed(context, ahead, dict.fromkeys(present, ASKED))
    else:
        items += _computed(context, ahead, _touched(context, ahead, present), at_most=True)
    return items + _computed(context, ahead, absent)


def _computed(
    context: Surroundings, ahead: Outlook, reasons: Mapping[date, str], *, at_most: bool = False
) -> list[Item]:
    """Return the days as intervals of the feature table, and note them as what is ahead."""
    items, table = [], context.names.features
    for first, end, why in intervals(reasons):
        rows = rows_on(ahead, (day for day in reasons if first <= day < end))
        items.append(Item(table, first, end, why, rows, ahead.bytes_of(context, table, rows), rows, at_most))
    ahead.features.update(reasons)
    return items


def _columns(context: Surroundings, ahead: Outlook, now: Mapping[str, str]) -> Item:
    """Return the rewrite of all rows for the views whose definition has changed."""
    views, names = context.project.views, changed_views(ahead.built.definitions, now)
    why = f"{CHANGED}: {', '.join(view.name for view in views if view.name in names) or 'no view'}"
    rows, days = rows_on(ahead, ahead.built.days), ahead.built.days.keys()
    ahead.features.update(dict.fromkeys(days, why))
    size = None if rows is None else rows * max(len(names), 1) / max(len(views), 1)
    table = context.names.features
    return Item(table, min(days), max(days) + ONE_DAY, why, rows, ahead.bytes_of(context, table, rows), size)


# --- what late and corrected data can touch -------------------------------------------------------------


def _touched(context: Surroundings, ahead: Outlook, present: Sequence[date]) -> dict[date, str]:
    """Return built days whose rows may see changed data: loaded since they were built, or about to be."""
    versions = {name: ahead.known[name] for name in input_tables(context) if name in ahead.known}
    stale = ahead.built.stale(present, versions)
    found = [part for group in stale for part in _changed(context, ahead, group)]
    for name, source, views in _sources(context):
        late = [day for day in ahead.loaded.get(source.table, {}) if present and day < max(present)]
        found += [(_reached(present, day - _MARGIN, _end(day, views)), f"{LATE}: {name}") for day in late]
    reasons: dict[date, dict[str, None]] = {}
    for days, why in found:
        for day in days:
            reasons.setdefault(day, {})[why] = None
    return {day: ", ".join(said) for day, said in reasons.items()}


def _changed(context: Surroundings, ahead: Outlook, group: Stale) -> list[tuple[Collection[date], str]]:
    """Return, for each input that has changed since a group was built, the group's days that may see it."""
    found: list[tuple[Collection[date], str]] = []
    newest = newest_moment(context, ahead.known[context.names.features])

    def new_version(table: str) -> int | None:
        version = ahead.known.get(table)
        return None if group.seen.get(table) in {None, version} else version

    for name, source, views in _sources(context):
        until = new_version(context.names.silver(source.table))
        if until is not None:
            days, why = _by_source(context, group, (source, views), until=until, newest=newest)
            found.append((days, f"{why}: {name}"))
    until = new_version(context.names.silver(context.project.spine.table))
    if until is not None:
        found.append((_by_spine(context, group, until=until), f"{_CORRECTED}: {SPINE}"))
    return found


def _sources(context: Surroundings) -> list[tuple[str, Source, list[FeatureView]]]:
    """Return the sources that views are read from, with these views."""
    views = context.project.views
    names = dict.fromkeys(view.source for view in views)
    return [
        (name, context.project.sources[name], [view for view in views if view.source == name])
        for name in names
    ]


def _end(day: date, views: Sequence[FeatureView]) -> date:
    """Return the last day that can see an event of a day, with the margin."""
    reach = longest_of_views(views)
    if reach is None or reach // 86_400_000_000 >= (date.max - day).days - 3:
        return date.max
    return day + timedelta(microseconds=reach) + 2 * _MARGIN


def _reached(days: Collection[date], first: date, last: date) -> list[date]:
    return [day for day in days if first <= day <= last]


def _by_source(
    context: Surroundings,
    group: Stale,
    read: tuple[Source, Sequence[FeatureView]],
    *,
    until: int,
    newest: int | None,
) -> tuple[Collection[date], str]:
    """Return those of the group's days that may see a changed event of a source, and what has changed."""
    source, views = read
    project, table = context.project, context.names.silver(source.table)
    changes = changed_files(context.store, table, since=group.seen[table], until=until)
    if changes is None:
        return group.days, f"{REBUILT}, its version {group.seen[table]} is gone"
    why = _CORRECTED if changes.removed or not changes.is_plain else LATE
    if not changes.is_plain or source.transform is not None:
        return group.days, why
    if newest is not None:
        changes = without_later(changes, project, source, views, newest)
    days: set[date] = set()
    for file in (*changes.added, *changes.removed):
        first, last = _event_days(file, context, source)
        days.update(_reached(group.days, first, date.max if last == date.max else _end(last, views)))
    return days, why


def _event_days(file: DataFile, context: Surroundings, source: Source) -> tuple[date, date]:
    """Return the first and last day of a file's events with the margin, by its bounds; else all days."""
    stored = types_of(context.project, source.table)
    is_stored = source.sql is None and source.event_ts in stored and source.event_ts not in source.columns
    low, high = snapshot_file(file).bounds(source.event_ts) if is_stored else (None, None)
    return (
        date.min if low is None else from_micros(low).date() - _MARGIN,
        date.max if high is None else from_micros(high).date(),
    )


def _by_spine(context: Surroundings, group: Stale, *, until: int) -> Collection[date]:
    """Return those of the group's days whose own rows may have changed."""
    table = context.names.silver(context.project.spine.table)
    changes = changed_files(context.store, table, since=group.seen[table], until=until)
    if changes is None or not changes.is_plain:
        return group.days
    files = (*changes.added, *changes.removed)
    return [day for day in group.days if any(may_hold(file, runs_of([day])) for file in files)]
