"""Tables are kept healthy: small files are merged, and what nothing can read any more is removed."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from featurelib.errors import ConfigError, nearest
from featurelib.pipeline.context import Context, StepResult, Surroundings
from featurelib.pipeline.data_keys import rewrap
from featurelib.pipeline.pins import UPKEEP, pins
from featurelib.point_in_time.features import AS_OF
from featurelib.reports.formats import size
from featurelib.settings_specs import TableSettings
from featurelib.tables import (
    Keeping,
    Layout,
    Pin,
    Run,
    Stamp,
    begin_run,
    compact_ops,
    diaries,
    erased_by,
    in_partitions,
    keeping,
    owner,
    published,
    snapshot,
    sweep,
    table_properties,
)

_DAY: Final = 86_400
_MARGIN_DAYS: Final = 30
_INTERVAL: Final = re.compile(r"interval (\d+) (days|seconds)")
_RETENTIONS: Final = ("delta.deletedFileRetentionDuration", "delta.logRetentionDuration")
_BY_HAND: Final = {"delta.enableExpiredLogCleanup": "false"}


@dataclass(frozen=True)
class Stored:
    """What the tables of a pipeline take on disk, and for whom.

    Attributes:
        tables: each by its name.
        erased: the request that took away a pinned version, by ``TABLE version N``.
    """

    tables: tuple[Keeping, ...]
    erased: Mapping[str, str] = field(default_factory=dict)

    @property
    def gone(self) -> tuple[Pin, ...]:
        """Pinned versions that can no longer be read."""
        return tuple(pin for table in self.tables for pin in table.gone)


def maintain(context: Context, *, now: float | None = None) -> StepResult:
    """Merge small files by the policy of each table, then remove what no kept version needs.

    Kept are the published version, every version younger than the table's retention, and every version that a
    training set, a model or a prediction pins, however old. Tables of other pipelines are left to theirs; the
    diary (``ops``), to which every run adds a file, is everybody's. Manifests stay as they are. Data keys
    under a key of ``previous_keys`` are wrapped by the key in force.

    Args:
        context: the run's surroundings.
        now: seconds since 1970 by which ages are counted, the clock's if None.

    Raises:
        ConfigError: a table is to be clustered by a column that it lacks, or that is a partition; or a key
            that is to be changed is not there.
        PreconditionError: the registry cannot be reached, so that nobody can say what models need.
    """
    moment = time.time() if now is None else now  # ages of files are a matter of the clock, not of --as-of
    run_id = context.new_run_id("maintain")
    with begin_run(context.spark, context.store, pipeline=context.project.name, run_id=run_id) as run:
        rewrap(context.project, context.store, stamp=Stamp(run_id, context.project.name, run.token))
        before = stored(context, now=moment)
        compacted = [table.table for table in before.tables if _compact(context, run, table.table)]
        lengthened = [table.table for table in before.tables if _lengthen(context, run, table, moment)]
        if run.versions:
            run.publish(note={"step": UPKEEP}, published_at=context.as_of)
        after = stored(context, now=moment)
        for table in after.tables:
            sweep(context.store, table)
        merged = [diary for diary in diaries(context.store) if _compact_diary(context, run, diary)]
    removed = [file for table in after.tables for file in table.unneeded.values()]
    summary = (
        f"{len(compacted)} of {len(after.tables)} tables compacted, {len(removed)} files of "
        f"{size(sum(removed))} removed, {size(sum(table.pinned.bytes for table in after.tables))} "
        "held by pins alone"
    )
    if merged:
        summary += f"; of the diary {', '.join(merged)} merged"
    if after.gone:
        lost = [pin for pin in after.gone if f"{pin.table} version {pin.version}" not in after.erased]
        summary += f"; of pinned versions {len(after.gone) - len(lost)} were erased, {len(lost)} are lost"
    facts = {
        "compacted": compacted,
        "diaries": merged,
        "deleted": len(removed),
        "lengthened": lengthened,
        "storage": [as_row(table) for table in after.tables],
        "gone": [f"{pin.table} version {pin.version} of {pin.held_by}" for pin in after.gone],
    }
    return StepResult("maintain", summary, run_id, facts=facts)


def stored(context: Surroundings, *, now: float | None = None) -> Stored:
    """Tell what the tables of the pipeline take on disk, and for whom; needs no session, changes nothing.

    Raises:
        PreconditionError: the registry cannot be reached.
        FeaturelibError: the log of a table has holes.
    """
    moment = time.time() if now is None else now
    known, held = published(context.store), pins(context)
    found = []
    for table in context.store.tables():
        if not table.startswith("ops.") and owner(context.store, table) == context.project.name:
            retention = _settings(context, table).retention or context.store.retention
            found.append(
                keeping(
                    context.store,
                    table,
                    published=known.get(table),
                    pins=held,
                    retention=retention,
                    now=moment,
                )
            )
    erased = {
        f"{pin.table} version {pin.version}": by.request
        for table in found
        for pin in table.gone
        if (by := erased_by(context.store, pin.table, pin.version)) is not None
    }
    return Stored(tuple(found), erased)


def as_row(table: Keeping) -> dict[str, object]:
    """Return what a table takes as plain values."""
    return {
        "table": table.table,
        "files": table.current.files,
        "bytes": table.current.bytes,
        "history_bytes": table.history.bytes,
        "pinned_bytes": table.pinned.bytes,
        "unneeded_bytes": sum(table.unneeded.values()),
        "pins": len({pin.version for pin in table.pins}),
        "gone": len({pin.version for pin in table.gone}),
    }


def _settings(context: Surroundings, table: str) -> TableSettings:
    return context.project.settings.storage.of(table)


def _compact(context: Context, run: Run, table: str) -> bool:
    """Merge the files of crowded partitions; return whether there were some."""
    if table not in run.base:
        return False
    found, settings = snapshot(context.store, table, run.base[table]), _settings(context, table)
    cluster_by = settings.cluster_by
    if cluster_by is None:
        cluster_by = (AS_OF,) if table == context.names.features else ()
    layout = Layout(settings.file_mib or 128, settings.small_files or 8, cluster_by)
    crowded = layout.crowded(found.files)
    if not crowded:
        return False
    _check_columns(table, layout.cluster_by, found.columns, found.partition_columns)
    context.progress.step(f"compacting {table}")
    where = in_partitions(crowded)
    run.optimize(table, layout=Layout(layout.file_mib, layout.small_files, layout.cluster_by, where))
    return True


def _compact_diary(context: Context, run: Run, table: str) -> bool:
    settings = _settings(context, table)
    return compact_ops(
        context.store,
        table,
        layout=Layout(settings.file_mib or 128, settings.small_files or 8),
        retention=settings.retention or context.store.retention,
        stamp=Stamp(run.run_id, context.project.name, run.token, step="compact"),
    )


def _check_columns(
    table: str, cluster_by: Sequence[str], columns: Collection[str], partitions: Collection[str]
) -> None:
    for column in cluster_by:
        if column not in columns or column in partitions:
            others = [name for name in columns if name not in partitions]
            raise ConfigError(
                f"storage.tables: {table} is to be clustered by {column!r}, "
                + ("by which it is partitioned" if column in partitions else "which it lacks")
                + nearest(column, others),
                f"columns among {', '.join(others)}",
                "change cluster_by of the table or its layer",
            )


def _lengthen(context: Context, run: Run, table: Keeping, now: float) -> bool:
    """Make Delta's own retention of a table cover its oldest pin, and return whether it had to.

    Spark refuses to read a version older than that even if its files are there.
    """
    if table.table not in run.base:
        return False
    has = table_properties(context.store, table.table)
    age = int((now - table.oldest_seconds) // _DAY)
    wanted = dict(_BY_HAND)
    if table.pins and _days(has.get(_RETENTIONS[0], "")) < age + _MARGIN_DAYS:
        wanted |= dict.fromkeys(_RETENTIONS, f"interval {age + 365} days")
    missing = {name: value for name, value in wanted.items() if has.get(name) != value}
    if missing:
        run.set_properties(table.table, missing)
    return bool(missing)


def _days(interval: str) -> float:
    """Return the days of ``interval 400 days`` or ``interval 90 seconds``; 0 for anything else."""
    match = _INTERVAL.fullmatch(interval)
    return 0 if match is None else int(match[1]) / (1 if match[2] == "days" else _DAY)
