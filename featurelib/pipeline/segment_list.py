"""What became of each slice of a model, read from its table for people; no session is needed."""

from __future__ import annotations

import json
from typing import Any

from featurelib.errors import FeaturelibError
from featurelib.pipeline.context import Surroundings, TableNames
from featurelib.registry.segment_files import slice_row
from featurelib.reports.text_tables import text_table
from featurelib.tables import published, read_arrow, snapshot

METRICS = ("roc_auc", "pr_auc", "log_loss", "brier")
SPLITS = ("train", "validate", "test")
_READ = frozenset(
    {"segment", "state", "reason", "contributions", "_model_version", "_model_sha256"}
    | {f"{split}_rows" for split in SPLITS}
    | {f"{whose}{name}" for whose in ("", "parent_") for name in METRICS}
)


def slices_text(context: Surroundings, model: str, version: int | None = None) -> str:
    """Return the slices of a version as a table for people, the newest version's if none is given.

    Raises:
        FeaturelibError: no version of the model, or not this one, was trained with segments.
    """
    rows = kept_slices(context, model)
    versions = sorted({row["_model_version"] for row in rows})
    if not versions or (version is not None and version not in versions):
        raise FeaturelibError(
            f"model {model!r}{f' version {version}' if version else ''} has no slices",
            f"one of the versions {', '.join(map(str, versions))}" if versions else "a model with segments",
            "give the model segments in models.yaml, and train it",
        )
    chosen = versions[-1] if version is None else version
    shown = [slice_row(_outcome(row)) for row in rows if row["_model_version"] == chosen]
    shown.sort(key=lambda row: (-row["train_rows"], row["segment"]))
    return text_table(tuple(shown[0]), [tuple(row.values()) for row in shown])


def kept_slices(context: Surroundings, model: str) -> list[dict[str, Any]]:
    """Return the rows of the table of slices, without boosters and trials; none before the first."""
    table, tables = TableNames.segments(model), published(context.store)
    if table not in tables:
        return []
    found = read_arrow(snapshot(context.store, table, tables[table]), columns=_READ)
    return [dict(row) for row in found.to_pylist()]


def _outcome(row: dict[str, Any]) -> dict[str, Any]:
    """Return as much of an outcome as a row for people needs."""
    return {
        **{name: row[name] for name in ("segment", "state", "reason")},
        "rows": [row[f"{split}_rows"] for split in SPLITS],
        "test": {name: row[name] for name in METRICS},
        "parent_test": {name: row[f"parent_{name}"] for name in METRICS},
        "contributions": json.loads(row["contributions"]),
    }
