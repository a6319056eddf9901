"""The steps of the pipeline in the order in which they run."""

from __future__ import annotations

PIPELINE = ("ingest", "build_features", "build_training_set", "train", "score", "monitor")
