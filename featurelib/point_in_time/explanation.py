"""What will run, and why, as a value that prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from featurelib.point_in_time.hot import Sliced
from featurelib.point_in_time.inputs import Scan
from featurelib.point_in_time.plans import KeyPlan, Plan, SourcePlan, size

_SHOWN: Final = 5


@dataclass(frozen=True)
class SourceExplanation:
    """One input: who scans it, how many rows and bytes in memory that is, None where unknown."""

    name: str
    scanned: str
    files: int | None
    rows: int | None
    memory: int | None


@dataclass(frozen=True)
class HotExplanation:
    """An entity with buckets of its own.

    Attributes:
        entity: the columns of the key with their values.
        slices: its time slices, a bucket each.
        share: of the memory of all rows of the shuffle, as the sample has it; None where it was named.
        copies: to how many slices one of its events goes on average, by the sample.
        sampled: rows of keys that were read to find it, None where the caller named it.
    """

    entity: Mapping[str, Any]
    slices: int
    share: float | None
    copies: float | None
    sampled: int | None


@dataclass(frozen=True)
class KeyExplanation:
    """One entity key: how its views are computed and why so, and its hot entities, the largest first.

    ``reduced`` tells of each source whose events become tiles for slices how long the tiles are.
    """

    keys: tuple[str, ...]
    views: tuple[str, ...]
    shuffled: bool
    why: str
    sources: tuple[SourceExplanation, ...]
    hot: tuple[HotExplanation, ...]
    reduced: Mapping[str, timedelta]


@dataclass(frozen=True)
class Explanation:
    """The physical plan of :func:`featurelib.point_in_time.features_as_of`; ``print`` shows it.

    Attributes:
        spine: the spine.
        keys: the entity keys in the order in which they are computed.
        shuffles: how often the spine is shuffled.
        buckets: of every shuffle.
        buckets_why: what their number follows from.
        bucket_memory: bytes of the inputs of an even bucket, None where unknown.
    """

    spine: SourceExplanation
    keys: tuple[KeyExplanation, ...]
    shuffles: int
    buckets: int
    buckets_why: str
    bucket_memory: int | None

    @classmethod
    def of(cls, plan: Plan) -> Explanation:
        """Return the explanation of a plan."""
        spine = _source("spine", plan.spine, plan.spine_rows, None)
        return cls(
            spine,
            tuple(map(_key, plan.keys)),
            plan.shuffles,
            plan.buckets,
            plan.buckets_why,
            plan.bucket_memory,
        )

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield _line(self.spine)
        for key in self.keys:
            how = "one shuffle" if key.shuffled else "no shuffle"
            yield f"key {', '.join(key.keys)}: {how} ({key.why}); views {', '.join(key.views)}"
            for source in key.sources:
                yield f"  {_line(source)}"
            yield from map(_hot_line, key.hot[:_SHOWN])
            if len(key.hot) > _SHOWN:
                slices = sum(hot.slices for hot in key.hot[_SHOWN:])
                yield f"  and {len(key.hot) - _SHOWN} more hot entities with {slices} buckets of their own"
            for name, length in key.reduced.items():
                yield f"  of {name} their slices get tiles of {length}, and events where a window begins"
        yield f"{self.shuffles} shuffle{'s' * (self.shuffles != 1)} of the spine, no join, no sort"
        if self.shuffles:
            memory = (
                "size unknown" if self.bucket_memory is None else f"about {size(self.bucket_memory)} each"
            )
            yield f"{self.buckets} buckets ({self.buckets_why}), {memory}"


def _key(key: KeyPlan) -> KeyExplanation:
    views = tuple(view.name for view in key.views)
    sources = tuple(map(_of_key, key.sources))
    hot = tuple(_hot(key.keys, one) for one in key.hot)
    names = {source.tag: source.name for source in key.sources}
    reduced = {names[one.served.tag]: timedelta(microseconds=one.tiling.hop) for one in key.reductions}
    return KeyExplanation(key.keys, views, key.shuffled, key.why, sources, hot, reduced)


def _hot(keys: tuple[str, ...], one: Sliced) -> HotExplanation:
    entity = dict(zip(keys, one.hot.entity, strict=True))
    return HotExplanation(entity, one.hot.slices, one.share, one.copies, one.sampled)


def _hot_line(hot: HotExplanation) -> str:
    entity = ", ".join(f"{key} = {value!r}" for key, value in hot.entity.items())
    slices = "a bucket of its own" if hot.slices == 1 else f"{hot.slices} time slices, a bucket each"
    if hot.sampled is None:
        return f"  hot entity {entity}, as given: {slices}"
    found = f"about {hot.share:.0%} of all bytes in a sample of {hot.sampled:,} rows"
    copies = "" if hot.slices == 1 else f"; an event goes to {hot.copies:.1f} of them"
    return f"  hot entity {entity}, {found}: {slices}{copies}"


def _of_key(source: SourcePlan) -> SourceExplanation:
    return _source(source.name, source.scan, source.rows, source.memory)


def _source(name: str, scan: Scan, rows: int | None, memory: int | None) -> SourceExplanation:
    files = scan.files
    return SourceExplanation(name, scan.scanner, None if files is None else len(files), rows, memory)


def _line(source: SourceExplanation) -> str:
    facts = [
        None if source.files is None else f"{source.files:,} files",
        None if source.rows is None else f"{source.rows:,} rows",
        None if source.memory is None else f"about {size(source.memory)} in memory",
    ]
    known = ", ".join(fact for fact in facts if fact is not None)
    return f"{source.name}: {source.scanned}" + (f"; {known}" if known else "")
