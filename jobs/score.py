"""Predict every day that has no prediction yet."""

from __future__ import annotations

from featurelib.cli import job

if __name__ == "__main__":
    job("score")
