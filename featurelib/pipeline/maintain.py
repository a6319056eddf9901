"""Tables are kept healthy: small files are merged, and files that nothing can read any more are removed."""

from __future__ import annotations

from featurelib.pipeline.context import Context, StepResult
from featurelib.tables import begin_run, published, snapshot, vacuum

FEW_BYTES = 32 * 1024 * 1024
MANY_FILES = 8


def maintain(context: Context) -> StepResult:
    """Compact every table that has many small files in some partition, then vacuum all within retention."""
    versions = published(context.store)
    crowded = [table for table in versions if _is_crowded(context, table, versions[table])]
    run_id = context.new_run_id("maintain")
    if crowded:
        with begin_run(context.spark, context.store, pipeline=context.project.name, run_id=run_id) as run:
            for table in crowded:
                context.progress.step(f"compacting {table}")
                run.optimize(table)
            run.publish(published_at=context.as_of)
    swept = [vacuum(context.spark, context.store, table) for table in versions]
    deleted = sum(table.files_before - table.files_after for table in swept)
    summary = f"{len(crowded)} of {len(versions)} tables compacted, {deleted} files vacuumed"
    return StepResult("maintain", summary, run_id, facts={"compacted": crowded, "deleted": deleted})


def _is_crowded(context: Context, table: str, version: int) -> bool:
    """True where a partition has many files that are smaller than a file should be."""
    small: dict[str, int] = {}
    for file in snapshot(context.store, table, version).files:
        if file.size_bytes < FEW_BYTES:
            partition = repr(sorted(file.partition.items()))
            small[partition] = small.get(partition, 0) + 1
    return any(count >= MANY_FILES for count in small.values())
