"""A trained model is on disk, whole and hashed, before MLflow is asked for anything."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featurelib.errors import ModelGateError
from featurelib.registry.files import NATIVE, check_model_files, model_sha256
from featurelib.registry.segment_files import SegmentModels, write_segments
from featurelib.tables import fault_point

if TYPE_CHECKING:
    from pyspark.ml import PipelineModel

_SUBMISSION = "submission.json"
RESULT = "result.json"


@dataclass(frozen=True)
class Submission:
    """What is recorded of a trained model beside its files, as plain values.

    Attributes:
        outbox_id: names the submission, as the run's id does; registering it twice gives one version.
        name: the registered model's name.
        feature_types: the Spark type of each raw feature column, in order; it becomes the signature.
        result: what ``TrainingResult.to_dict`` gives.
        tags: of the model version: code version, features hash, Delta versions, config hash and so on;
            what is no text becomes JSON.
        example: a few rows of raw features, as the model takes them.
        requirements: exact pip requirements the model needs to be loaded.
        comment: the run's comment, by its author.
    """

    outbox_id: str
    name: str
    feature_types: dict[str, str]
    result: dict[str, Any]
    tags: dict[str, Any] = field(default_factory=dict)
    example: tuple[dict[str, Any], ...] = ()
    requirements: tuple[str, ...] = ()
    comment: str = ""


@dataclass(frozen=True)
class Outbox:
    """A submission on disk: its folder, its record and the hash of its model files."""

    folder: Path
    submission: Submission
    sha256: str

    @property
    def native(self) -> Path:
        """The model in Spark's own format."""
        return self.folder / NATIVE


def write_outbox(
    root: Path, *, model: PipelineModel, submission: Submission, segments: SegmentModels | None = None
) -> Outbox:
    """Save the model and its record under ``root``; the folder appears whole or not at all.

    Models of slices are saved among the model's own files, under its hash.
    On a cluster ``root`` must be a path that driver and executors share, as executors write the model.
    """
    folder = root.resolve() / submission.outbox_id
    partial = _partial(folder)
    for stale in (partial, folder):
        if stale.exists():
            shutil.rmtree(stale)
    partial.mkdir(parents=True)
    model.write().save((partial / NATIVE).as_uri())
    if segments is not None:
        write_segments(partial / NATIVE, segments)
    fault_point("outbox.saved")
    sha256 = model_sha256(partial / NATIVE)
    record = {**asdict(submission), "sha256": sha256}
    (partial / RESULT).write_text(_json(record.pop("result")), encoding="utf-8")
    (partial / _SUBMISSION).write_text(_json(record), encoding="utf-8")
    fault_point("outbox.recorded")
    partial.rename(folder)
    fault_point("outbox.whole")
    return Outbox(folder=folder, submission=submission, sha256=sha256)


def read_outbox(folder: Path) -> Outbox:
    """Read a submission back, after checking its model files against their hash.

    Raises:
        ModelGateError: the folder holds no submission, or its model files are not those written.
    """
    folder = folder.resolve()
    try:
        record = json.loads((folder / _SUBMISSION).read_text(encoding="utf-8"))
        result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ModelGateError(
            f"{folder} holds no submission: {error}",
            f"a folder with {_SUBMISSION}, {RESULT} and {NATIVE}/, as a training leaves it",
            "give the folder that the failed run named",
        ) from error
    sha256 = record.pop("sha256")
    record["example"] = tuple(record["example"])
    record["requirements"] = tuple(record["requirements"])
    check_model_files(folder / NATIVE, sha256=sha256, what=f"submission {folder.name}")
    return Outbox(folder=folder, submission=Submission(result=result, **record), sha256=sha256)


def discard(outbox: Outbox) -> None:
    """Remove a submission that is registered; while its files go it is no submission any more."""
    going = _partial(outbox.folder)
    if going.exists():
        shutil.rmtree(going)
    outbox.folder.rename(going)
    fault_point("outbox.going")
    shutil.rmtree(going)


def waiting(root: Path) -> Sequence[Path]:
    """Return the folders under ``root`` whose models wait to be registered, oldest name first."""
    return sorted(
        path.parent for path in root.glob(f"*/{_SUBMISSION}") if not path.parent.name.startswith(".")
    )


def _partial(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.partial")


def _json(value: object) -> str:
    return json.dumps(value, indent=1, sort_keys=True, default=str)
