"""What the feature table was built from: the version of every input for each day, and the definitions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date

from featurelib.pipeline.context import Context, Surroundings
from featurelib.pipeline.schemas import struct
from featurelib.specs import Project
from featurelib.tables import Run, published, rows_of

_VERSIONS = struct(_day="date", table="string", _version="long")
_DEFINITIONS = struct(part="string", hash="string")


@dataclass(frozen=True)
class Built:
    """The published record.

    Attributes:
        days: of each built day of the spine, the version of every silver table that it has seen.
        definitions: what the columns mean, see :func:`featurelib.pipeline.definitions.definitions`.
    """

    days: Mapping[date, Mapping[str, int]] = field(default_factory=dict)
    definitions: Mapping[str, str] = field(default_factory=dict)

    def stale(self, days: Iterable[date], versions: Mapping[str, int]) -> list[Stale]:
        """Return those of the days that were built, and from other versions than these."""
        groups: dict[tuple[tuple[str, int], ...], list[date]] = {}
        for day in days:
            seen = {name: version for name, version in self.days.get(day, {}).items() if name in versions}
            if any(versions[name] != version for name, version in seen.items()):
                groups.setdefault(tuple(sorted(seen.items())), []).append(day)
        return [Stale(tuple(days), dict(seen)) for seen, days in groups.items()]


@dataclass(frozen=True)
class Stale:
    """Days that were built from the same versions, of which some are not the newest."""

    days: tuple[date, ...]
    seen: Mapping[str, int]


def input_tables(context: Surroundings) -> list[str]:
    """Return the silver tables that the spine and the sources of views are read from."""
    project: Project = context.project
    used = {project.spine.table, *(project.sources[view.source].table for view in project.views)}
    return sorted(context.names.silver(table) for table in used)


def built(context: Surroundings) -> Built:
    """Return what the published feature table was built from; empty where nothing says it."""
    known = published(context.store)
    names = context.names
    if not {names.features, names.feature_versions, names.feature_definitions} <= known.keys():
        return Built()
    days: dict[date, dict[str, int]] = {}
    for row in rows_of(context.store, names.feature_versions):
        days.setdefault(row["_day"], {})[row["table"]] = row["_version"]
    parts = {row["part"]: row["hash"] for row in rows_of(context.store, names.feature_definitions)}
    return Built(days, parts)


def write_built(
    context: Context, run: Run, before: Built, days: Collection[date], definitions: Mapping[str, str]
) -> None:
    """Record that these days have seen every input as the run read it; other days stay as they were."""
    versions = {name: run.base[name] for name in input_tables(context)}
    seen = {**before.days, **dict.fromkeys(days, versions)}
    rows = [
        {"_day": day, "table": name, "_version": version}
        for day, tables in sorted(seen.items())
        for name, version in sorted(tables.items())
    ]
    names = context.names
    run.create(
        names.feature_versions, _VERSIONS, description="The version of every input that a day has seen."
    )
    run.replace_rows(rows, names.feature_versions)
    if definitions != before.definitions:
        run.create(names.feature_definitions, _DEFINITIONS, description="What the features mean, by hash.")
        parts = [{"part": part, "hash": found} for part, found in definitions.items()]
        run.replace_rows(parts, names.feature_definitions)
