"""A real MLflow on sqlite, and versions of models in it whose files are a few bytes; no Spark."""

from __future__ import annotations

import json
from pathlib import Path

from featurelib.registry.files import model_sha256
from featurelib.registry.outbox import read_outbox
from featurelib.registry.tracker import Tracker
from featurelib.registry.versions import RegisteredModel
from featurelib.specs import TrackingSettings

CLASS = "pyspark.ml.pipeline.PipelineModel"


def tracker_in(folder: Path) -> Tracker:
    """A registry of its own below a folder."""
    return Tracker(
        TrackingSettings(
            tracking_uri=f"sqlite:///{folder / 'mlflow.db'}",
            artifact_root=str(folder / "artifacts"),
            experiment="tests",
        )
    )


def register(
    tracker: Tracker,
    folder: Path,
    model: str,
    *,
    roc_auc: float = 0.75,
    tags: dict[str, object] | None = None,
    example: list[dict[str, object]] | None = None,
    more: dict[str, object] | None = None,
) -> RegisteredModel:
    """Register the next version of a model: metadata that names an allowed class, and its figures.

    ``more`` is recorded with them, or in their place.
    """
    number = len(tracker.versions(model)) + 1
    outbox = folder / "outbox" / f"{model}-{number}"
    (outbox / "sparkml" / "metadata").mkdir(parents=True)
    (outbox / "sparkml" / "metadata" / "part-00000").write_text(json.dumps({"class": CLASS, "uid": number}))
    result = {
        "estimator": "forest",
        "kind": "random_forest",
        "parameters": {},
        "evaluation": {"roc_auc": roc_auc},
        "baseline": {"roc_auc": 0.6},
        "trials": [],
        **(more or {}),
    }
    submission = {
        "outbox_id": outbox.name,
        "name": model,
        "feature_types": {"amount": "int"},
        "tags": tags or {},
        "example": example or [],
        "requirements": [],
        "comment": f"training number {number}",
        "sha256": model_sha256(outbox / "sparkml"),
    }
    (outbox / "submission.json").write_text(json.dumps(submission))
    (outbox / "result.json").write_text(json.dumps(result))
    return tracker.register(read_outbox(outbox))
