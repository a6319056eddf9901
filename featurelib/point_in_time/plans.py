"""The physical plan: who scans each input, which keys are shuffled, and into how many buckets.

Statistics choose the plan, never the answer. What is known comes from the files of snapshots, and of large
ones from a sample of their keys; a frame's size is not known without running it, so frames are shuffled, and
into as many buckets as Spark is set to.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from pyspark.sql import DataFrame
from pyspark.sql import types as T

from featurelib.point_in_time.features import AS_OF, EVENT_TS, KNOWN_TS, KeyTask, SourceTask
from featurelib.point_in_time.hot import Sliced
from featurelib.point_in_time.inputs import Input, Scan, frame_of, row_bytes, source_scan
from featurelib.point_in_time.placement import Instants, Placement
from featurelib.point_in_time.reach import longest_of, reach_of
from featurelib.point_in_time.reduction_plans import Reducible
from featurelib.point_in_time.reductions import Reduction
from featurelib.point_in_time.slicing import ASKED, Hot, Weighed, found, named
from featurelib.point_in_time.snapshots import SLICE_BYTES, SnapshotScan
from featurelib.point_in_time.tasks import condition_columns, feature_fields, features_to_compute, order_of
from featurelib.point_in_time.tile_plans import TiledScans, tiled_scans
from featurelib.point_in_time.tiles import KNOWN_BY, START
from featurelib.specs import FeatureView

_PACKED: Final = 4
"""How many times larger rows are in memory than in Parquet, where their number is not known."""
_MARGIN: Final = 8
"""How many times ``bucket_bytes`` a bucket may hold before it is refused: keys are never quite even."""
_REPEATED: Final = 4
"""How often the rows of a key may be gone through for ten features, rather than shuffle the spine by it."""
_READING: Final = 10
"""Reading and sorting an event costs about as much as so many features of it; its shuffle none the more."""
_SLOW: Final = 8
"""An entity with less than this part of ``bucket_bytes`` keeps no worker busy for long."""


@dataclass(frozen=True)
class Limits:
    """What bounds a plan.

    Attributes:
        buckets: number of buckets of every shuffle; None lets the plan choose.
        bucket_bytes: what one bucket's inputs may take in memory; a worker needs about five times that.
        broadcast_bytes: a source up to this size in memory is small: tasks read it whole where that
            saves a shuffle of the spine. 0 shuffles everything.
        hot: entities that are cut into time slices, each once; the answer is the same with and without.
        find_hot: whether snapshots that are read by tasks are sampled for hot entities of the keys that
            ``hot`` does not name, where a shuffle is large enough to have any. Frames are not: that would run
            them.
    """

    buckets: int | None = None
    bucket_bytes: int = 256 << 20
    broadcast_bytes: int = 64 << 20
    hot: tuple[Hot, ...] = ()
    find_hot: bool = True


@dataclass(frozen=True)
class SourcePlan:
    """How one source is read for one entity key.

    Attributes:
        name: of the source.
        tag: its number among the inputs of the key.
        scan: what is read of it.
        instants: what says when its events are seen.
        rows: their number, None where unknown.
        memory: their bytes in memory, None where unknown.
    """

    name: str
    tag: int
    scan: Scan
    instants: Instants
    rows: int | None
    memory: int | None


@dataclass(frozen=True)
class KeyPlan:
    """One entity key: its views, sources, task and buckets, whether the spine is shuffled by it, and why.

    ``hot`` says more of the hot entities of the placement, ``reductions`` what becomes tiles for them.
    """

    views: tuple[FeatureView, ...]
    sources: tuple[SourcePlan, ...]
    task: KeyTask
    placement: Placement
    shuffled: bool
    why: str
    hot: tuple[Sliced, ...] = ()
    reductions: tuple[Reduction, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns of the key."""
        return self.task.keys

    @property
    def memory(self) -> int | None:
        """Bytes of the sources in memory, None where unknown."""
        return _total(source.memory for source in self.sources)


@dataclass(frozen=True)
class Plan:
    """The whole plan; keys that need no shuffle come first.

    Attributes:
        spine: the scan of the spine.
        spine_rows: its rows, None where unknown.
        keys: one for each entity key.
        schema: of the result: the spine's columns, then the features in the order of the views.
        buckets: of every shuffle.
        buckets_why: what their number follows from.
        parallelism: tasks to aim at where inputs are small.
        bucket_bytes: what the rows of a bucket, or of a piece of the spine, shall take in memory.
    """

    spine: Scan
    spine_rows: int | None
    keys: tuple[KeyPlan, ...]
    schema: T.StructType
    buckets: int
    buckets_why: str
    parallelism: int
    bucket_bytes: int

    @property
    def most_bytes(self) -> int:
        """What the rows of a bucket may take in memory before it is refused."""
        return _MARGIN * self.bucket_bytes

    @property
    def spine_memory(self) -> int | None:
        """Bytes of the spine with all features, None where unknown."""
        return None if self.spine_rows is None else _carried(self.spine, self.spine_rows, self.keys)

    @property
    def shuffles(self) -> int:
        """Number of shuffles of the spine."""
        return sum(key.shuffled for key in self.keys)

    @property
    def bucket_memory(self) -> int | None:
        """Bytes of the inputs of an even bucket of the largest shuffle, None where unknown."""
        return _bucket_memory(self.spine, self.spine_rows, self.keys, self.buckets)


def plan_of(
    spine: Input,
    views: Sequence[FeatureView],
    sources: Mapping[str, Input],
    *,
    tie_breakers: Mapping[str, Sequence[str]],
    between: tuple[int, int] | None,
    limits: Limits,
) -> Plan:
    """Return the plan for checked inputs; runs no action, and may read a sample of files.

    Args:
        spine: rows that ask.
        views: what to compute.
        sources: by name.
        tie_breakers: by source, as given by the caller.
        between: ``[first, last)`` of the spine's moments in microseconds since 1970, None if unknown.
        limits: what bounds the plan.
    """
    if between is None and isinstance(spine, SnapshotScan):
        between = spine.bounds(AS_OF)
    groups: dict[tuple[str, ...], list[FeatureView]] = {}
    for view in views:
        groups.setdefault(view.entity_key, []).append(view)
    keys = [
        _key_plan(key, members, sources, tie_breakers=tie_breakers, between=between, limits=limits)
        for key, members in groups.items()
    ]
    scan = Scan(spine, tuple(frame_of(spine).columns))
    rows = spine.num_records if isinstance(spine, SnapshotScan) else None
    parallelism = _parallelism(frame_of(spine))
    if rows is not None:
        pieces = _pieces(_carried(scan, rows, keys), parallelism, limits)
        keys = [_shuffled_where_cheaper(key, rows, pieces) for key in keys]
    ordered = sorted(keys, key=lambda key: key.shuffled)
    buckets, why = _buckets(scan, rows, ordered, parallelism=parallelism, limits=limits)
    features = [
        field for view in views for field in feature_fields(view, frame_of(sources[view.source]).schema)
    ]
    schema = T.StructType([*frame_of(spine).schema.fields, *features])
    asked = Weighed(scan, ASKED, None if rows is None else _carried(scan, rows, keys))
    placed = tuple(_placed(key, asked, buckets, between=between, limits=limits) for key in ordered)
    return Plan(scan, rows, placed, schema, buckets, why, parallelism, limits.bucket_bytes)


def _placed(
    key: KeyPlan, spine: Weighed, buckets: int, *, between: tuple[int, int] | None, limits: Limits
) -> KeyPlan:
    """Return the key with its buckets, and the slices of its hot entities."""
    given = next((hot for hot in limits.hot if hot.key == key.keys), None)
    if not key.shuffled or (given is None and not limits.find_hot):
        return replace(key, placement=Placement(key.keys, buckets))
    reducible = _reducible(key)
    sources = [
        Weighed(
            source.scan,
            source.instants,
            source.memory,
            reducible[source.tag].streams(source.rows or 1) if source.tag in reducible else (),
        )
        for source in key.sources
    ]
    if given is not None:
        hot = named(given, spine.scan if limits.find_hot else None, sources, between)
    else:
        hot = found(key.keys, spine, sources, buckets=buckets, least=limits.bucket_bytes // _SLOW)
    lengths = [one.length for one in hot.entities if one.length is not None]
    reductions = [
        reducible[key.sources[at].tag].reduction(length=min(lengths), tag=len(key.sources) + 1 + 2 * number)
        for number, at in enumerate(sorted(hot.reduced))
    ]
    until = {} if between is None else {"until": between[1]}
    placement = Placement(key.keys, buckets, tuple(one.hot for one in hot.entities), **until)
    return replace(key, placement=placement, hot=hot.entities, reductions=tuple(reductions))


def _reducible(key: KeyPlan) -> dict[int, Reducible]:
    """Return, by their tags, the sources whose events can become tiles for slices."""
    tasks = {task.tag: task for task in key.task.sources}
    found = {
        source.tag: Reducible.of(tasks[source.tag], source.scan.given, key.keys)
        for source in key.sources
        if source.tag in tasks
    }
    return {tag: one for tag, one in found.items() if one is not None}


def _key_plan(
    keys: tuple[str, ...],
    views: Sequence[FeatureView],
    sources: Mapping[str, Input],
    *,
    tie_breakers: Mapping[str, Sequence[str]],
    between: tuple[int, int] | None,
    limits: Limits,
) -> KeyPlan:
    plans: list[SourcePlan] = []
    tasks: list[SourceTask] = []
    for name in dict.fromkeys(view.source for view in views):
        members = [view for view in views if view.source == name]
        schema = frame_of(sources[name]).schema
        order = order_of(members, schema, tie_breakers.get(name))
        features = features_to_compute(members, schema)
        scan_of = partial(
            source_scan, sources[name], conditions=condition_columns(members), keys=keys, order=order
        )
        whole = scan_of(features=features, bounds=reach_of(features, between))
        tiled = tiled_scans(whole, features, keys=keys, order=order, between=between, tag=len(plans) + 1)
        if tiled is not None:
            plans += _tiled_plans(name, tiled)
            tasks.append(tiled.task)
            features = tuple(feature for feature in features if feature not in tiled.task.features)
            whole = scan_of(features=features, bounds=reach_of(features, between))
        if features:
            tag = len(plans) + 1
            plans.append(_source_plan(name, tag, whole, longest_of(features)))
            tasks.append(SourceTask(tag, order, features))
    shuffled, why = _is_shuffled(plans, limits)
    return KeyPlan(tuple(views), tuple(plans), KeyTask(keys, tuple(tasks)), Placement(keys, 1), shuffled, why)


def _tiled_plans(name: str, tiled: TiledScans) -> list[SourcePlan]:
    tag, reach = tiled.task.tag, longest_of(tiled.task.features)
    instants = Instants((START, KNOWN_BY), reach)
    events = _source_plan(f"{name} (parts of tiles)", tag, tiled.events, reach)
    return [events, replace(_source_plan(f"{name} (tiles)", tag + 1, tiled.tiles, reach), instants=instants)]


def _source_plan(name: str, tag: int, scan: Scan, reach: int | None) -> SourcePlan:
    instants = Instants(tuple(column for column in (EVENT_TS, KNOWN_TS) if column in scan.columns), reach)
    files = scan.files
    if files is None:
        return SourcePlan(name, tag, scan, instants, None, None)
    rows = _total(file.num_records for file in files)
    in_files = sum(file.size_bytes for file in files) * _PACKED
    return SourcePlan(
        name, tag, scan, instants, rows, in_files if rows is None else rows * row_bytes(scan.schema)
    )


def _is_shuffled(sources: Sequence[SourcePlan], limits: Limits) -> tuple[bool, str]:
    """Whether the spine has to be shuffled for sources, and why."""
    by_spark = [source.name for source in sources if not source.scan.by_tasks]
    if by_spark:
        return True, f"{', '.join(by_spark)} scanned by Spark"
    memory = _total(source.memory for source in sources) or 0
    if memory > limits.broadcast_bytes:
        return True, f"sources take {size(memory)}, more than broadcast_bytes {size(limits.broadcast_bytes)}"
    return False, f"sources take {size(memory)}: every task reads them whole"


def _pieces(carried: int, parallelism: int, limits: Limits) -> int:
    """Return into how many pieces the spine falls where it is not shuffled."""
    return max(math.ceil(carried / limits.bucket_bytes), min(parallelism, math.ceil(carried / SLICE_BYTES)))


def _shuffled_where_cheaper(key: KeyPlan, rows: int, pieces: int) -> KeyPlan:
    """Return the key, shuffled if small sources would be gone through more often than that saves."""
    events = _total(source.rows for source in key.sources)
    features = sum(len(source.features) for source in key.task.sources)
    dearer = max(1.0, (_READING + features) / (_READING + 10))
    if key.shuffled or events is None or pieces * events * dearer <= _REPEATED * (rows + events):
        return key
    why = f"{pieces} pieces of the spine would each go through {events:,} events (features: {features})"
    return replace(key, shuffled=True, why=why)


def _buckets(
    spine: Scan, rows: int | None, keys: Sequence[KeyPlan], *, parallelism: int, limits: Limits
) -> tuple[int, str]:
    if limits.buckets is not None:
        return limits.buckets, "as given"
    memory = _bucket_memory(spine, rows, keys, 1)
    if memory is None:
        return parallelism, "spark.sql.shuffle.partitions, as not all sizes are known"
    wanted = math.ceil(memory / limits.bucket_bytes)
    if wanted <= parallelism:
        return parallelism, f"spark.sql.shuffle.partitions; {size(memory)} need no more"
    return wanted, f"{size(memory)} by bucket_bytes {size(limits.bucket_bytes)}"


def _bucket_memory(spine: Scan, rows: int | None, keys: Sequence[KeyPlan], buckets: int) -> int | None:
    """Bytes of an even bucket of the largest shuffle: spine rows with all features, and the sources."""
    if rows is None or any(key.memory is None for key in keys if key.shuffled):
        return None
    carried = _carried(spine, rows, keys)
    largest = max((key.memory or 0 for key in keys if key.shuffled), default=0)
    return math.ceil((carried + largest) / buckets)


def _carried(spine: Scan, rows: int, keys: Sequence[KeyPlan]) -> int:
    """Bytes of the spine with all features."""
    features = sum(len(source.features) for key in keys for source in key.task.sources)
    return rows * (row_bytes(spine.schema) + 8 * features)


def _parallelism(frame: DataFrame) -> int:
    return int(frame.sparkSession.conf.get("spark.sql.shuffle.partitions") or 8)


def size(count: int) -> str:
    """Return bytes for people, as ``1.5 GiB``."""
    for unit, scale in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} B"


def _total(counts: Iterable[int | None]) -> int | None:
    found = list(counts)
    return None if None in found else sum(count for count in found if count is not None)
