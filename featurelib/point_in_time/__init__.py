"""The point-in-time engine: features as a pure function of the events known strictly before a moment.

Frames and snapshots in, frames out: nothing here runs a Spark action, reads a store or asks the clock. The
public names are fetched at their first use, because executors import the kernels of this package and must not
import Spark's driver side or the specs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from featurelib.point_in_time.engine import explain, explained_features_as_of, features_as_of
    from featurelib.point_in_time.explanation import Explanation
    from featurelib.point_in_time.plans import Limits
    from featurelib.point_in_time.slicing import Hot
    from featurelib.point_in_time.snapshots import SnapshotFile, SnapshotScan, TileTable

__all__ = [
    "Explanation",
    "Hot",
    "Limits",
    "SnapshotFile",
    "SnapshotScan",
    "TileTable",
    "explain",
    "explained_features_as_of",
    "features_as_of",
]

_HOMES = {
    "Explanation": "explanation",
    "Hot": "slicing",
    "Limits": "plans",
    "SnapshotFile": "snapshots",
    "SnapshotScan": "snapshots",
    "TileTable": "snapshots",
    "explain": "engine",
    "explained_features_as_of": "engine",
    "features_as_of": "engine",
}


def __getattr__(name: str) -> object:
    """Fetch a public name at its first use."""
    if name in _HOMES:
        return getattr(import_module(f"featurelib.point_in_time.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'featurelib.point_in_time' has no attribute {name!r}")
