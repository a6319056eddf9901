"""Compute features where something is new."""

from __future__ import annotations

from featurelib.cli import job

if __name__ == "__main__":
    job("build_features")
