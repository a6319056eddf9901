"""Generated inputs, written as Parquet once and found again: sizes and seed are in the folder's name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet as pq

SINCE = 1_600_000_000_000_000
YEAR = 365 * 86_400 * 1_000_000
FILES = 4
PIECE = 10_000_000
INSTANT = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Size:
    """How much: rows of spine, views and events, entities, share of rows of the hot ones, seed."""

    spine: int
    events: int
    keys: int
    views: int = 1
    hot: float = 0.0
    hot_keys: int = 12
    seed: int = 7

    @property
    def folder(self) -> str:
        rows = f"s{self.spine}-e{self.events}-v{self.views}"
        return f"{rows}-k{self.keys}-h{self.hot}x{self.hot_keys}-r{self.seed}"


def generate(root: Path, size: Size) -> Path:
    """Return the folder with ``spine`` and ``v0``, ``v1``, ...; made unless it is there."""
    folder = root / size.folder
    if (folder / "_DONE").exists():
        return folder
    dice = np.random.default_rng(size.seed)
    for piece, rows in enumerate(_pieces(size.spine)):
        _write(folder / "spine", piece, {"k": _keys(dice, size, rows), "as_of_ts": _instants(dice, rows)})
    for view in range(size.views):
        for piece, rows in enumerate(_pieces(size.events)):
            columns = {
                "k": _keys(dice, size, rows),
                "event_ts": _instants(dice, rows),
                "x": np.round(dice.normal(50, 20, rows), 2),
                "n": dice.integers(0, 1000, rows),
            }
            _write(folder / f"v{view}", piece, columns)
    (folder / "_DONE").touch()
    return folder


def _pieces(rows: int) -> list[int]:
    """How many rows are made at a time, so that a large input does not have to fit into memory."""
    return [min(PIECE, rows - start) for start in range(0, rows, PIECE)]


def _keys(dice: np.random.Generator, size: Size, rows: int) -> np.ndarray:
    cold = dice.integers(0, size.keys, rows)
    if size.hot == 0.0:
        return cold
    return np.where(dice.random(rows) < size.hot, dice.integers(0, size.hot_keys, rows), cold)


def _instants(dice: np.random.Generator, rows: int) -> pa.Array:
    return pa.array(SINCE + dice.integers(0, YEAR, rows), INSTANT)


def _write(folder: Path, piece: int, columns: dict[str, object]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    share = -(-table.num_rows // FILES)
    for number in range(FILES):
        part = table.slice(number * share, share)
        path = folder / f"part-{piece * FILES + number:03}.parquet"
        pq.write_table(part, path, compression="zstd", row_group_size=1_000_000)
