"""Measure drift, and quality where labels are known."""

from __future__ import annotations

from featurelib.cli import job

if __name__ == "__main__":
    job("monitor")
