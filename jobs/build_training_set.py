"""Join mature labels to features and split them by time."""

from __future__ import annotations

from featurelib.cli import job

if __name__ == "__main__":
    job("build_training_set")
