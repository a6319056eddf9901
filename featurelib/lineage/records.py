"""A lineage record names the exact inputs of an output; its id is the hash of what it says."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("pyspark", "delta-spark", "mlflow", "polars", "numpy", "pyarrow", "xgboost-cpu")


@dataclass(frozen=True)
class LineageRecord:
    """Everything that is needed to make an output again.

    Attributes:
        output: the table written.
        inputs: table to version, as read.
        features_hash: identity of the features' definition.
        config_hash: identity of the whole project.
        model: name, version and sha256 of the model, empty where none was used.
        code: version of the library, its git commit and whether the checkout had changes.
        packages: versions of what computes.
    """

    output: str
    inputs: Mapping[str, int]
    features_hash: str
    config_hash: str
    model: Mapping[str, str]
    code: Mapping[str, str]
    packages: Mapping[str, str]

    def to_json(self) -> str:
        """Return the record as canonical JSON."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @property
    def lineage_id(self) -> str:
        """The first 32 hex digits of the SHA-256 of the record."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:32]


def package_versions() -> dict[str, str]:
    """Return the installed versions of the packages whose change can change a result."""
    return {name: found for name in PACKAGES if (found := _version(name)) is not None}


def code_version(library_version: str) -> dict[str, str]:
    """Return the library's version and, in a git checkout, its commit and whether it was changed since."""
    folder = Path(__file__).resolve().parents[2]
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return {"version": library_version}
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"version": library_version, "commit": commit, "changed": "yes" if changed else "no"}


def as_row(record: LineageRecord, *, run_id: str) -> dict[str, Any]:
    """Return the record as a row of ``ops.lineage``."""
    return {
        "lineage_id": record.lineage_id,
        "run_id": run_id,
        "output": record.output,
        "record": record.to_json(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
