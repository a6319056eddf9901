"""Events after the moment a run asks about: no feature can see them, and people should know of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from pyspark.sql import functions as F

from featurelib.point_in_time import SnapshotScan
from featurelib.point_in_time.features import EVENT_TS
from featurelib.point_in_time.inputs import Scan
from featurelib.point_in_time.scans import batches_of
from featurelib.timeline import format_instant, to_micros


def future_events(sources: Mapping[str, SnapshotScan], as_of: datetime) -> dict[str, int]:
    """Return how many events of each source happen at or after a moment; sources without any are left out.

    Only files and row groups whose statistics allow for such an event are read, in this process; a source
    that Spark has to scan is counted by Spark.
    """
    counts = {name: _after(source, as_of) for name, source in sources.items()}
    return {name: count for name, count in counts.items() if count}


def in_words(counts: Mapping[str, int], as_of: datetime) -> str:
    """Return the counts as the end of a sentence, empty for none."""
    if not counts:
        return ""
    listed = ", ".join(f"{count:,} of {name}" for name, count in counts.items())
    return f"; events at or after {format_instant(as_of)}: {listed}"


def _after(source: SnapshotScan, as_of: datetime) -> int:
    scan = Scan(source, (EVENT_TS,), (to_micros(as_of), None))
    if not scan.by_tasks:
        return source.frame.where(F.col(EVENT_TS) >= F.lit(as_of)).count()
    return sum(batch.num_rows for batch in batches_of(scan.parts, scan.reading))
