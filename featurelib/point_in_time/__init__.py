"""The point-in-time engine: features as a pure function of the events known strictly before a moment.

Frames in, frames out: nothing here runs a Spark action, reads a store or asks the clock. The entry is
fetched at its first use, because executors import the kernels of this package and must not import Spark's
driver side or the specs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from featurelib.point_in_time.engine import features_as_of

__all__ = ["features_as_of"]


def __getattr__(name: str) -> object:
    """Fetch ``features_as_of`` at its first use."""
    if name == "features_as_of":
        return import_module("featurelib.point_in_time.engine").features_as_of
    raise AttributeError(f"module 'featurelib.point_in_time' has no attribute {name!r}")
