"""A pipeline's own Python functions, ``module:function`` in the pipeline's folder."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark import cloudpickle

from featurelib.errors import ConfigError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def pipeline_function(folder: str, reference: str) -> Callable[[DataFrame], DataFrame]:
    """Return the function ``module:function`` of a pipeline's folder.

    The module is sent to executors by value, because they do not have the folder.

    Raises:
        ConfigError: the module or the function does not exist.
    """
    module_name, _, function_name = reference.partition(":")
    path = Path(folder) / f"{module_name}.py"
    unique = (
        f"featurelib_pipeline_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}_{module_name}"
    )
    if unique not in sys.modules:
        spec = importlib.util.spec_from_file_location(unique, path)
        if spec is None or spec.loader is None or not path.is_file():
            raise ConfigError(
                f"transform {reference!r}", f"a file {path}", "create it, or correct the transform's module"
            )
        module = importlib.util.module_from_spec(spec)
        sys.modules[unique] = module
        spec.loader.exec_module(module)
        cloudpickle.register_pickle_by_value(module)  # type: ignore[no-untyped-call]
    function = getattr(sys.modules[unique], function_name, None)
    if not callable(function):
        raise ConfigError(
            f"transform {reference!r}",
            f"a function {function_name!r} in {path}",
            "define it, or correct the name",
        )
    return function  # type: ignore[no-any-return]
