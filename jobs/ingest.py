"""Load landed days that are not loaded yet."""

from __future__ import annotations

from featurelib.cli import job

if __name__ == "__main__":
    job("ingest")
