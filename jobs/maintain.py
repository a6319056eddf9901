"""Compact and vacuum the tables."""

from featurelib.cli import job

if __name__ == "__main__":
    job("maintain")
