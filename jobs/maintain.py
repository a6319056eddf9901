"""Compact and vacuum the tables."""

from __future__ import annotations

from featurelib.cli import job

if __name__ == "__main__":
    job("maintain")
