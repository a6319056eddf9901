"""The models of slices lie among their parent's files: one Parquet file of boosters in xgboost's format."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import parquet as pq

from featurelib.errors import ModelGateError

if TYPE_CHECKING:
    from featurelib.registry.tracker import LoadedModel

SEGMENTS = "segments"
"""Name of the folder inside the model's own, so that the hash of the model covers it."""

_DESCRIPTION = "segments.json"
_BOOSTERS = "boosters.parquet"
_SCHEMA = pa.schema([("segment", pa.string()), ("sha256", pa.string()), ("booster", pa.binary())])
_FIRST_BYTE = b"{"  # of UBJSON and of JSON; a pickle begins otherwise


@dataclass(frozen=True)
class SegmentBooster:
    """A slice's model: equal where its bytes are, which are in xgboost's UBJSON."""

    sha256: str
    content: bytes = field(compare=False, repr=False)

    @classmethod
    def of(cls, content: bytes) -> SegmentBooster:
        """Return the booster of these bytes."""
        return cls(hashlib.sha256(content).hexdigest(), content)


@dataclass(frozen=True)
class SegmentModels:
    """The slices that have a model of their own.

    Attributes:
        by: columns whose values name a slice, and the Spark type of each.
        places: the feature behind each place of the vector that boosters read.
        boosters: by slice, named as :func:`featurelib.training.segment_scores.segment_of` names it.
    """

    by: dict[str, str]
    places: tuple[str, ...]
    boosters: dict[str, SegmentBooster] = field(repr=False)


def segments_of(model: LoadedModel) -> SegmentModels:
    """Return the slices' models of a loaded model.

    Raises:
        ModelGateError: it was trained without segments.
    """
    if model.segments is None:
        raise ModelGateError(
            f"model {model.name} version {model.version} has no models of slices",
            "a version that was trained with segments",
            "give the model segments in models.yaml, and train it",
        )
    return model.segments


def write_segments(native: Path, segments: SegmentModels) -> None:
    """Write the models of slices into the folder of their parent, rows in the order of the slices' names."""
    folder = native / SEGMENTS
    folder.mkdir()
    described = {"by": segments.by, "places": list(segments.places)}
    (folder / _DESCRIPTION).write_text(json.dumps(described, indent=1), encoding="utf-8")
    rows = [
        {"segment": name, "sha256": booster.sha256, "booster": booster.content}
        for name, booster in sorted(segments.boosters.items())
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), folder / _BOOSTERS, compression="zstd")


def read_segments(native: Path, *, what: str) -> SegmentModels | None:
    """Return the models of slices in a model's folder, everything about them checked; None if it has none.

    Nothing is handed to xgboost here: the bytes are known to be of its own format and as described.

    Raises:
        ModelGateError: another file lies there, a file is not what it should be, or a booster is not of the
            hash it is listed with.
    """
    folder = native / SEGMENTS
    if not folder.exists():
        return None
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.suffix != ".crc"}
    if found != {_DESCRIPTION, _BOOSTERS}:
        raise _refused(what, f"its folder {SEGMENTS} holds {', '.join(sorted(found)) or 'nothing'}")
    by, places = _described(folder / _DESCRIPTION, what=what)
    try:
        # The schema that Arrow may keep in the file could name types of others: only Parquet's own is read.
        table = pq.ParquetFile(folder / _BOOSTERS, arrow_extensions_enabled=False).read(use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise _refused(what, f"{_BOOSTERS} cannot be read: {error}") from error
    if not table.schema.equals(_SCHEMA):
        raise _refused(what, f"{_BOOSTERS} has the columns {table.schema.names}")
    rows = table.to_pylist()
    boosters = {row["segment"]: _checked(row, what=what) for row in rows}
    if len(boosters) != len(rows):
        raise _refused(what, f"{_BOOSTERS} holds a slice twice")
    return SegmentModels(by=by, places=places, boosters=boosters)


def _described(path: Path, *, what: str) -> tuple[dict[str, str], tuple[str, ...]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise _refused(what, f"{_DESCRIPTION} cannot be read: {error}") from error
    by = found.get("by") if isinstance(found, dict) else None
    places = found.get("places") if isinstance(found, dict) else None
    if not (isinstance(by, dict) and by and _texts(list(by.values())) and isinstance(places, list)):
        raise _refused(what, f"{_DESCRIPTION} does not name the columns of slices and the places of features")
    return dict(by), tuple(map(str, places))


def _texts(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _checked(row: Mapping[str, object], *, what: str) -> SegmentBooster:
    segment, sha256, content = row["segment"], row["sha256"], row["booster"]
    if not isinstance(segment, str) or not isinstance(content, bytes) or content[:1] != _FIRST_BYTE:
        raise _refused(what, f"the booster of slice {segment!r} is not in xgboost's own format")
    booster = SegmentBooster.of(content)
    if booster.sha256 != sha256:
        raise _refused(what, f"the booster of slice {segment!r} has sha256 {booster.sha256}, not {sha256}")
    return booster


def _refused(what: str, found: str) -> ModelGateError:
    return ModelGateError(
        f"{what}: {found}",
        f"{_DESCRIPTION} and {_BOOSTERS}, as training writes them",
        "do not load the model; train it again with this library",
    )


def slice_row(outcome: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a table for people says of what became of a slice, as plain values."""
    test, parent, rows = outcome["test"], outcome["parent_test"], outcome["rows"]
    effects = outcome["contributions"]
    return {
        "segment": segment_names([outcome["segment"]])[0],
        "state": outcome["state"],
        "train_rows": rows[0] + rows[1],
        "test_rows": rows[2],
        "roc_auc": test.get("roc_auc"),
        "parent_roc_auc": parent.get("roc_auc"),
        "log_loss": test.get("log_loss"),
        "parent_log_loss": parent.get("log_loss"),
        "first_feature": min(effects, key=lambda name: (-effects[name], name), default=None),
        "reason": outcome["reason"],
    }


def segment_names(segments: Sequence[str]) -> list[str]:
    """Return slices' names as people read them: the values, null as ``null``."""
    return [
        ", ".join("null" if value is None else str(value) for value in json.loads(name)) for name in segments
    ]
