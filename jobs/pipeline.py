"""Run every step; each does what is left to do."""

from __future__ import annotations

from featurelib.cli import job

if __name__ == "__main__":
    job("pipeline")
