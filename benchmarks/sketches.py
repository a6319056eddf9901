"""Approximate operations beside sketches: how long a question takes, how much a day keeps, how wrong it is.

``python -m benchmarks.sketches``, after ``pip install datasketches``. One entity, so many events a day, and
questions of one day about the 30 days before. Apache DataSketches keeps a sketch a day, of which 30 are
merged for a question. Ours answers from all events exactly, and from the samples that tiles keep.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable, Mapping

import datasketches
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from featurelib.point_in_time.buckets import features_of
from featurelib.point_in_time.features import Feature, KeyTask, SourceTask
from featurelib.point_in_time.tile_specs import tile_task, tiling_of
from featurelib.point_in_time.tiled import read_whole
from featurelib.point_in_time.tiles import tiles_of
from featurelib.timeline import Window

_DAY = 86_400_000_000
_SPAN, _QUESTIONS, _ROUNDS = 30, 1_000, 5
_INSTANT = pa.timestamp("us", tz="UTC")
_OPS: Mapping[str, tuple[float, ...]] = {
    "count_distinct": (),
    "approx_count_distinct": (),
    "quantile": (0.9,),
    "approx_quantile": (0.9,),
}


def main() -> None:
    """Print a line an answer: microseconds a question (medians of five), bytes a day, the largest error."""
    print("| events a day | answer | microseconds a question | bytes a day | largest error |")
    print("|---|---|---|---|---|")
    for a_day in (200, 20_000):
        values = np.random.default_rng(0).integers(0, 10 * a_day, (_SPAN + 1, a_day))
        lines = [_hll(values), _kll(values)]
        lines += [_ours(values, op, from_tiles=op.startswith("approx")) for op in _OPS]
        for line in lines:
            print(f"| {a_day:,} | {line} |", flush=True)


def _hll(values: np.ndarray) -> str:
    days = []
    for day in values[:-1].tolist():
        sketch = datasketches.hll_sketch(12)
        for value in day:
            sketch.update(value)
        days.append(sketch)

    def merged() -> float:
        union = datasketches.hll_union(12)
        for sketch in days:
            union.update(sketch)
        return float(union.get_result().get_estimate())

    error = abs(merged() / len(np.unique(values[:-1])) - 1)
    size = sum(len(sketch.serialize_compact()) for sketch in days) / _SPAN
    return f"HyperLogLog, 2^12 registers | {_micros(merged, 100):.1f} | {size:,.0f} | {error:.1%}"


def _kll(values: np.ndarray) -> str:
    days = []
    for day in values[:-1].astype(np.float64):
        sketch = datasketches.kll_doubles_sketch(200)
        sketch.update(day)
        days.append(sketch)

    def merged() -> float:
        union = datasketches.kll_doubles_sketch(200)
        for sketch in days:
            union.merge(sketch)
        return float(union.get_quantile(0.9))

    error = abs((values[:-1] <= merged()).mean() - 0.9)
    size = sum(len(sketch.serialize()) for sketch in days) / _SPAN
    return f"KLL, k = 200, quantile 0.9 | {_micros(merged, 100):.1f} | {size:,.0f} | rank {error:.1%}"


def _ours(values: np.ndarray, op: str, *, from_tiles: bool) -> str:
    source, spine = _events(values), _questions()
    kind = pa.float64() if "quantile" in op else pa.int64()
    feature = Feature("f", "x", op, (Window(_SPAN * _DAY),), kind, parameter=_OPS[op])
    asked: dict[int, pa.Table] = {1: source}
    task = SourceTask(1, (), (feature,))
    size = ""
    if from_tiles:
        wanted = tile_task([feature], source.schema, keys=["k"], order=[], hop=_DAY)
        tiles = tiles_of(source, wanted)
        between = (_SPAN * _DAY, (_SPAN + 1) * _DAY)
        tiling = tiling_of(wanted, [feature], source.schema, tag=2, between=between)
        task = SourceTask(1, (), (feature,), tiling)
        asked = {1: read_whole(source, tiling), 2: tiles}
        size = f"{_bytes(tiles) / (_SPAN + 1):,.0f}"
    keyed = KeyTask(("k",), (task,))
    micros = _micros(lambda: features_of(spine, asked, keyed), 1) / _QUESTIONS
    found = features_of(spine, asked, keyed)["f"].to_numpy(zero_copy_only=False)
    place = "from tiles" if from_tiles else "from events"
    return f"{op}, {place} | {micros:.1f} | {size} | {_error(op, found, spine, source)}"


def _error(op: str, found: np.ndarray, spine: pa.Table, source: pa.Table) -> str:
    """Return the largest error of some of the answers, by brute force."""
    event, value = source["event_ts"].cast(pa.int64()).to_numpy(), source["x"].to_numpy()
    errors = []
    for row in range(0, _QUESTIONS, 50):
        moment = spine["as_of_ts"][row].value
        seen = value[(event < moment) & (event >= moment - _SPAN * _DAY)]
        if "quantile" in op:
            errors.append(abs((seen <= found[row]).mean() - 0.9))
        else:
            errors.append(abs(found[row] / len(np.unique(seen)) - 1))
    return f"{'rank ' if 'quantile' in op else ''}{max(errors):.1%}"


def _events(values: np.ndarray) -> pa.Table:
    days, a_day = values.shape
    instants = (np.arange(days)[:, None] * _DAY + np.arange(a_day) * (_DAY // a_day)).ravel()
    return pa.table(
        {
            "k": np.zeros(values.size, np.int64),
            "event_ts": pa.array(instants).cast(_INSTANT),
            "x": values.ravel().astype(np.float64),
        }
    )


def _questions() -> pa.Table:
    moments = np.random.default_rng(1).integers(_SPAN * _DAY, (_SPAN + 1) * _DAY, _QUESTIONS)
    return pa.table({"k": np.zeros(_QUESTIONS, np.int64), "as_of_ts": pa.array(moments).cast(_INSTANT)})


def _bytes(table: pa.Table) -> int:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.tell()


def _micros(ask: Callable[[], object], times: int) -> float:
    """Median microseconds of a question."""
    return float(np.median(list(_rounds(ask, times))))


def _rounds(ask: Callable[[], object], times: int) -> Iterable[float]:
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        for _ in range(times):
            ask()
        yield (time.perf_counter() - began) / times * 1e6


if __name__ == "__main__":
    main()
