"""A distributed engine for point-in-time feature and training pipelines on Spark and Delta.

Importing the package starts nothing and loads nothing: names are fetched when they are first used, so that
executors never import what only the driver needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from featurelib.config import load_project
    from featurelib.errors import FeaturelibError

__version__ = "0.1.0"

__all__ = ["FeaturelibError", "__version__", "load_project"]

_HOMES = {"load_project": "featurelib.config", "FeaturelibError": "featurelib.errors"}


def __getattr__(name: str) -> object:
    """Fetch a public name, or a module, at its first use."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name == "point_in_time":
        return import_module("featurelib.point_in_time")
    raise AttributeError(f"module 'featurelib' has no attribute {name!r}")
