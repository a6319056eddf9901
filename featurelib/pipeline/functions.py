"""A pipeline's own Python functions and learners, ``module:name`` in the pipeline's folder."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Callable
from functools import partial
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING, Never

from pyspark import cloudpickle

from featurelib.errors import ConfigError
from featurelib.registry.tracker import LoadedModel, Tracker
from featurelib.registry.versions import RegisteredModel
from featurelib.specs import Project
from featurelib.training.function_model import LearnerCode, bind_functions

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


class _FromText(SourceFileLoader):
    """Reads the text itself: cached bytecode is told apart by its second and its size alone."""

    def path_stats(self, path: object) -> Never:
        """Say that there are none, by which importlib knows not to look for bytecode."""
        raise OSError(path)


def pipeline_function(folder: str, reference: str) -> Callable[[DataFrame], DataFrame]:
    """Return the function ``module:function`` of a pipeline's folder.

    The module is sent to executors by value, because they do not have the folder.

    Raises:
        ConfigError: the module or the function does not exist.
    """
    found, path = _named(folder, reference, what="transform")
    if not callable(found):
        raise ConfigError(
            f"transform {reference!r}", f"a function in {path}", "define it, or correct the name"
        )
    return found


def learner_code(folder: str, reference: str) -> LearnerCode:
    """Return the class ``module:class`` of a pipeline's folder, with the hash of its module.

    Raises:
        ConfigError: the module or the class does not exist, or the class lacks one of its four methods.
    """
    found, path = _named(folder, reference, what="function")
    lacking = [
        name for name in ("fit", "predict", "save", "load") if not callable(getattr(found, name, None))
    ]
    if not isinstance(found, type) or lacking:
        raise ConfigError(
            f"function {reference!r} lacks {', '.join(lacking) or 'a class'}",
            f"a class in {path} with fit, predict, save and load",
            "write it as docs/training.md shows",
        )
    return LearnerCode(found, module_sha256(folder, reference))


def loaded_model(project: Project, registered: RegisteredModel) -> LoadedModel:
    """Return a version loaded and checked, with the learners of the pipeline's folder that it predicts by.

    Raises:
        ConfigError: the folder has no such learner any more.
        ModelGateError: files are not those registered, or a learner's module is not the one of its training.
    """
    loaded = Tracker(project.settings.tracking).load_version(registered)
    bind_functions(loaded.pipeline, partial(learner_code, project.folder))
    return loaded


def module_sha256(folder: str, reference: str) -> str:
    """Return the SHA-256 of the text of ``module:name``; nothing of it is run.

    Raises:
        ConfigError: the module does not exist.
    """
    path = Path(folder) / f"{reference.partition(':')[0]}.py"
    if not path.is_file():
        raise ConfigError(f"function {reference!r}", f"a file {path}", "create it, or correct the module")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _named(folder: str, reference: str, *, what: str) -> tuple[object, Path]:
    module_name, _, function_name = reference.partition(":")
    path = Path(folder) / f"{module_name}.py"
    if not path.is_file():
        raise ConfigError(
            f"{what} {reference!r}", f"a file {path}", f"create it, or correct the {what}'s module"
        )
    # A module whose text has changed is another one: what runs is what its hash says.
    text = hashlib.sha256(str(path.resolve()).encode() + path.read_bytes()).hexdigest()[:8]
    unique = f"featurelib_pipeline_{text}_{module_name}"
    if unique not in sys.modules:
        spec = importlib.util.spec_from_file_location(unique, path, loader=_FromText(unique, str(path)))
        if spec is None or spec.loader is None:
            raise ConfigError(f"{what} {reference!r}", f"Python in {path}", f"correct the {what}'s module")
        module = importlib.util.module_from_spec(spec)
        sys.modules[unique] = module
        spec.loader.exec_module(module)
        cloudpickle.register_pickle_by_value(module)  # type: ignore[no-untyped-call]
    found = getattr(sys.modules[unique], function_name, None)
    if found is None:
        raise ConfigError(
            f"{what} {reference!r}", f"{function_name!r} defined in {path}", "define it, or correct the name"
        )
    return found, path
