"""Fill days in chunks, each published on its own, then what follows from them."""

from __future__ import annotations

from featurelib.cli import job

if __name__ == "__main__":
    job("backfill")
