"""A saved model is a folder of files that can be named by one hash and checked before anything loads them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

from featurelib.errors import ModelGateError
from featurelib.registry.segment_files import read_segments

NATIVE = "sparkml"
"""Name of the folder with the model in Spark's own format, as MLflow's Spark flavour calls it."""

_ALLOWED = re.compile(
    r"org\.apache\.spark\.ml(\.\w+)+(\$\w+)?|pyspark\.ml(\.\w+)+|xgboost\.spark(\.\w+)+"
    # Holds data only: its code is the pipeline's, bound to it after a comparison of hashes.
    r"|featurelib\.training\.function_model\.FunctionModel"
)
_PICKLE_SUFFIXES = frozenset({".pkl", ".pickle", ".cloudpickle", ".joblib", ".dill"})
_PICKLE_KEYS = frozenset({"serialized_callbacks", "init_booster", "coll_cfg"})


def model_files(folder: Path) -> list[Path]:
    """Return the files that make the model, by relative path; markers and checksums of Hadoop are none."""
    return sorted(
        (path for path in folder.rglob("*") if path.is_file() and not _is_marker(path)),
        key=lambda path: path.relative_to(folder).as_posix(),
    )


def model_sha256(folder: Path) -> str:
    """Return the SHA-256 over every file's relative path and bytes, each with its length before it."""
    total = hashlib.sha256()
    for path in model_files(folder):
        for part in (path.relative_to(folder).as_posix().encode(), path.read_bytes()):
            total.update(len(part).to_bytes(8, "big"))
            total.update(part)
    return total.hexdigest()


def check_model_files(folder: Path, *, sha256: str, what: str) -> None:
    """Check that a model's files are those that were registered, and name only classes we allow.

    Spark's readers import whatever class the metadata names, and xgboost's unpickles callbacks: both would
    run code of whoever wrote the files.

    Raises:
        ModelGateError: a file was changed, added or removed; a class is not allowed; a pickle is inside.
    """
    found = model_sha256(folder)
    if found != sha256:
        raise ModelGateError(
            f"{what}: its files have sha256 {found}",
            f"{sha256}, as registered",
            "do not use the model: find out who changed its files, then roll back or train again",
        )
    check_classes(folder, what=what)


def check_classes(folder: Path, *, what: str) -> None:
    """Check that the metadata names allowed classes only, and that no file is a pickle.

    Raises:
        ModelGateError: something else is found.
    """
    check_no_pickle(folder, what=what)
    described = 0
    for path, metadata in _metadata(folder, what=what):
        described += 1
        name = metadata.get("class")
        if not isinstance(name, str) or not _ALLOWED.fullmatch(name):
            raise _refused(what, f"{path.relative_to(folder)} names the class {name!r}")
        if pickled := sorted(_PICKLE_KEYS & metadata.keys()):
            raise _refused(what, f"{path.relative_to(folder)} holds {', '.join(pickled)}")
    if not described:
        raise _refused(what, "no metadata of Spark ML is found")
    read_segments(folder, what=what)


def check_no_pickle(folder: Path, *, what: str) -> None:
    """Check that no file is a pickle, nor a link to somewhere else.

    Raises:
        ModelGateError: one is.
    """
    for path in folder.rglob("*"):
        if path.is_symlink() or path.suffix.lower() in _PICKLE_SUFFIXES or _starts_as_pickle(path):
            raise _refused(what, f"file {path.relative_to(folder)} is a pickle or a link")


def _metadata(folder: Path, *, what: str) -> Iterator[tuple[Path, dict[str, object]]]:
    for path in model_files(folder):
        if path.parent.name != "metadata":
            continue
        lines = path.read_text(encoding="utf-8").splitlines()
        for line in filter(str.strip, lines):
            try:
                parsed = json.loads(line)
            except json.JSONDecodeError:
                parsed = None
            if not isinstance(parsed, dict):
                raise _refused(what, f"{path.relative_to(folder)} is not JSON")
            yield path, parsed


def _is_marker(path: Path) -> bool:
    return path.name == "_SUCCESS" or path.suffix == ".crc"


def _starts_as_pickle(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(2)
    return len(head) == 2 and head[0] == 0x80 and 2 <= head[1] <= 5  # pickle's PROTO opcode


def _refused(what: str, found: str) -> ModelGateError:
    return ModelGateError(
        f"{what}: {found}",
        "Spark ML's own format, with classes of org.apache.spark.ml, pyspark.ml and xgboost.spark only",
        "do not load the model; train it again with this library",
    )
