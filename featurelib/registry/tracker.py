"""Runs, model versions and aliases in MLflow; models are saved and loaded in Spark's own format."""

# ruff: noqa: PLC0415 - importing mlflow takes seconds, so only what needs it does

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featurelib.errors import PreconditionError
from featurelib.registry.client import experiment_id, opened
from featurelib.registry.files import NATIVE, check_model_files, model_files
from featurelib.registry.flavor import EXAMPLE, signature_types, write_mlflow_model
from featurelib.registry.outbox import RESULT, Outbox, Submission, discard, read_outbox
from featurelib.registry.segment_files import SegmentModels, read_segments, slice_row
from featurelib.registry.vectors import hold_vectors
from featurelib.registry.versions import (
    CHAMPION,
    SHA256,
    RegisteredModel,
    Thresholds,
    aliased,
    aliases_of,
    described,
    numbered,
    versions_of,
)
from featurelib.specs import TrackingSettings
from featurelib.tables import fault_point

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion
    from pyspark.ml import PipelineModel

_MODEL = "model"
_SLICES = "segments.json"
_OUTBOX_ID = "outbox_id"
_METRICS = ("roc_auc", "pr_auc", "log_loss", "brier", "accuracy", "precision", "recall", "f1", "threshold")
_METRICS_OF_NUMBERS = ("rmse", "mse", "mae", "r2", "mape")


def import_mlflow() -> None:
    """Import what the tracker needs, for callers that have seconds to spare before they need it."""
    for module in ("mlflow", "mlflow.models"):
        import_module(module)


@dataclass(frozen=True)
class LoadedModel:
    """A model that was checked and loaded: it takes raw feature columns and adds its prediction.

    Where it has ``segments``, their models predict their rows in its place.
    """

    name: str
    version: int
    sha256: str
    features_hash: str
    feature_types: dict[str, str]
    pipeline: PipelineModel = field(repr=False)
    segments: SegmentModels | None = field(default=None, repr=False)
    thresholds: Thresholds | None = None


@dataclass(frozen=True)
class Tracker:
    """The registry's door: made of settings only, opened anew by each call."""

    settings: TrackingSettings

    def register(self, outbox: Outbox) -> RegisteredModel:
        """Log the run with one child run a trial, and register the model as a new version.

        A submission that is registered already is found again by its ``outbox_id``. The outbox folder is
        removed at the end, and only then.

        Raises:
            PreconditionError: MLflow cannot be reached; the outbox keeps the model, and the error names the
                command that registers it later.
        """
        with _kept_in(outbox):
            submission = outbox.submission
            registered = self.submitted(submission.name, submission.outbox_id) or self._registered(outbox)
        fault_point("register.done")
        discard(outbox)
        return registered

    def champion(self, name: str) -> RegisteredModel:
        """Return the champion, with the metrics it was recorded with."""
        return self.aliased(name, CHAMPION)

    def aliased(self, name: str, alias: str) -> RegisteredModel:
        """Return the version under an alias.

        Raises:
            ModelGateError: the model or the alias is unknown; the error lists what there is.
        """
        with opened(self.settings) as client:
            return described(client, aliased(client, name, alias))

    def has_alias(self, name: str, alias: str) -> bool:
        """Return whether the model is registered and has the alias."""
        return alias in self.aliases(name)

    def aliases(self, name: str) -> dict[str, int]:
        """Return the version under each alias; none where the model is not registered."""
        with opened(self.settings) as client:
            return aliases_of(client, name)

    def set_aliases(self, name: str, versions: Mapping[str, int | None]) -> None:
        """Move aliases one after another, in the order given; None takes one away.

        Nobody is asked and nothing is noted: :mod:`featurelib.registry.aliases` does that.
        """
        with opened(self.settings) as client:
            for alias, version in versions.items():
                if version is None:
                    client.delete_registered_model_alias(name, alias)
                else:
                    client.set_registered_model_alias(name, alias, str(version))

    def version(self, name: str, version: int) -> RegisteredModel:
        """Return a version by its number.

        Raises:
            ModelGateError: the model or the version is unknown; the error lists what there is.
        """
        with opened(self.settings) as client:
            return described(client, numbered(client, name, version))

    def versions(self, name: str) -> list[RegisteredModel]:
        """Return all versions, oldest first; none where the model is not registered."""
        with opened(self.settings) as client:
            return [described(client, version) for version in versions_of(client, name).values()]

    def load(self, name: str, *, alias: str = CHAMPION) -> LoadedModel:
        """Load the version under an alias, after checking its files and classes.

        Raises:
            ModelGateError: the alias is unknown, or the files are not those registered.
        """
        return self.load_version(self.aliased(name, alias))

    def load_version(self, registered: RegisteredModel) -> LoadedModel:
        """Load a version, after checking its files and classes.

        Raises:
            ModelGateError: the files are not those registered, or something in them is not allowed.
        """
        from pyspark.ml import PipelineModel

        with self._checked(registered) as folder:
            pipeline = PipelineModel.load((folder / NATIVE).as_uri())
            hold_vectors(pipeline)
            types = signature_types(folder)
            segments = read_segments(folder / NATIVE, what=f"model {registered.name}")
        return LoadedModel(
            name=registered.name,
            version=registered.version,
            sha256=registered.sha256,
            features_hash=registered.tags.get("features_hash", ""),
            feature_types=types,
            pipeline=pipeline,
            segments=segments,
            thresholds=Thresholds.of(registered.tags),
        )

    def check(self, registered: RegisteredModel) -> None:
        """Fetch a version's files and check them and their classes as loading does; Spark is not needed.

        Raises:
            ModelGateError: the files are not those registered, or something in them is not allowed.
        """
        with self._checked(registered):
            pass

    def result(self, registered: RegisteredModel) -> dict[str, Any]:
        """Return what the training found, as it was submitted: trials, evaluation, lift and the rest."""
        with (
            opened(self.settings) as client,
            tempfile.TemporaryDirectory(prefix="featurelib-result-") as scratch,
        ):
            path = client.download_artifacts(registered.run_id, RESULT, scratch)
            found: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        return found

    def submitted(self, name: str, outbox_id: str) -> RegisteredModel | None:
        """Return the version that was registered from an outbox of this id, if there is one."""
        with opened(self.settings) as client:
            for version in client.search_model_versions(f"name='{name}'"):
                if version.tags.get(_OUTBOX_ID) == outbox_id:
                    return described(client, version)
        return None

    def tag(self, registered: RegisteredModel, name: str, value: str) -> None:
        """Note something on a version, as the verdict of its gate."""
        with opened(self.settings) as client:
            client.set_model_version_tag(registered.name, str(registered.version), name, value)

    def drop_example(self, registered: RegisteredModel) -> None:
        """Empty the example rows of a version, if it has some; its hash does not cover them."""
        with (
            opened(self.settings) as client,
            tempfile.TemporaryDirectory(prefix="featurelib-example-") as scratch,
        ):
            if EXAMPLE not in {
                Path(file.path).name for file in client.list_artifacts(registered.run_id, _MODEL)
            }:
                return
            path = Path(client.download_artifacts(registered.run_id, f"{_MODEL}/{EXAMPLE}", scratch))
            columns = json.loads(path.read_text(encoding="utf-8"))["columns"]
            path.write_text(json.dumps({"columns": columns, "data": []}), encoding="utf-8")
            client.log_artifact(registered.run_id, str(path), _MODEL)

    def log_artifact(self, registered: RegisteredModel, path: Path) -> None:
        """Add a file, as a report, to the run that a version came from."""
        with opened(self.settings) as client:
            client.log_artifact(registered.run_id, str(path))

    @contextlib.contextmanager
    def _checked(self, registered: RegisteredModel) -> Iterator[Path]:
        """Give the folder of a version's files, which are as registered and name allowed classes only."""
        what = f"model {registered.name} version {registered.version}"
        with (
            opened(self.settings) as client,
            tempfile.TemporaryDirectory(prefix="featurelib-model-") as scratch,
        ):
            folder = Path(client.download_artifacts(registered.run_id, _MODEL, scratch))
            check_model_files(folder / NATIVE, sha256=registered.sha256, what=what)
            yield folder

    def _registered(self, outbox: Outbox) -> RegisteredModel:
        submission = outbox.submission
        with opened(self.settings) as client:
            experiment = experiment_id(client, self.settings)
            run = client.create_run(experiment, run_name=submission.outbox_id, tags=_run_tags(submission))
            run_id = run.info.run_id
            try:
                fault_point("register.begun")
                _log_result(client, run_id, outbox)
                for trial in submission.result.get("trials", []):
                    _log_trial(client, experiment, parent=run_id, trial=trial)
                with tempfile.TemporaryDirectory(prefix="featurelib-model-") as scratch:
                    folder = write_mlflow_model(outbox, Path(scratch) / _MODEL, run_id=run_id)
                    client.log_artifacts(run_id, str(folder), _MODEL)
                client.log_artifact(run_id, str(outbox.folder / RESULT))
                _log_slices(client, run_id, submission.result)
                fault_point("register.logged")
                version = _new_version(client, outbox, run_id=run_id)
                fault_point("register.version")
            except BaseException:
                with contextlib.suppress(Exception):
                    client.set_terminated(run_id, status="FAILED")
                raise
            client.set_terminated(run_id, status="FINISHED")
            return described(client, version)


def register_from_outbox(folder: Path, *, tracker: Tracker) -> RegisteredModel:
    """Register a model that a run left in its outbox; Spark is not needed.

    Raises:
        ModelGateError: the folder holds no submission, or its files were changed.
        PreconditionError: MLflow still cannot be used.
    """
    return tracker.register(read_outbox(folder))


@contextlib.contextmanager
def _kept_in(outbox: Outbox) -> Iterator[None]:
    try:
        yield
    except PreconditionError as error:
        raise PreconditionError(
            f"{error.given}\n  the trained model is kept in {outbox.folder}",
            error.expected,
            f"{error.action}, with: featurelib register --from-outbox {outbox.folder}",
        ) from error


def _run_tags(submission: Submission) -> dict[str, str]:
    tags = {name: _text(value)[:8000] for name, value in submission.tags.items()}
    return {**tags, _OUTBOX_ID: submission.outbox_id, "mlflow.note.content": submission.comment}


def _log_result(client: MlflowClient, run_id: str, outbox: Outbox) -> None:
    result = outbox.submission.result
    parameters = {
        "estimator": result.get("estimator"),
        "kind": result.get("kind"),
        **result.get("parameters", {}),
    }
    metrics = {name: result["evaluation"].get(name) for name in (*_METRICS, *_METRICS_OF_NUMBERS)}
    for metric in ("roc_auc", "pr_auc", "rmse", "r2"):
        metrics[f"baseline_{metric}"] = result.get("baseline", {}).get(metric)
    shown = "rmse" if result.get("task") == "regression" else "roc_auc"
    for entry in result.get("by_estimator", []):
        metrics[f"test_{metric_name(entry['estimator'])}_{shown}"] = entry[shown]
    metrics |= result.get("review", {}).get("figures", {})
    metrics["megabytes"] = sum(path.stat().st_size for path in model_files(outbox.native)) / 1e6
    metrics |= {f"seconds_{step}": seconds for step, seconds in result.get("seconds", {}).items()}
    _log_batch(client, run_id, parameters=parameters, metrics=metrics)


def metric_name(text: str) -> str:
    """Return the text with everything MLflow forbids in a metric's name made ``_``."""
    return "".join(letter if letter.isalnum() or letter in "_-. /" else "_" for letter in text)


def _log_trial(client: MlflowClient, experiment: str, *, parent: str, trial: Mapping[str, Any]) -> None:
    tags = {
        "mlflow.parentRunId": parent,
        "estimator": str(trial["estimator"]),
        "state": str(trial["state"]),
        **({"reason": str(trial["reason"])} if trial["reason"] else {}),
    }
    run = client.create_run(
        experiment, run_name=f"trial-{trial['number']:02d}-{trial['estimator']}", tags=tags
    )
    parameters = {"estimator": trial["estimator"], **trial["parameters"]}
    metrics = {f"validation_{trial['metric']}": trial["value"], "seconds": trial["seconds"]}
    metrics["spread"] = trial.get("spread")
    _log_batch(client, run.info.run_id, parameters=parameters, metrics=metrics)
    status = {"done": "FINISHED", "pruned": "KILLED"}.get(trial["state"], "FAILED")
    client.set_terminated(run.info.run_id, status=status)


def _log_slices(client: MlflowClient, run_id: str, result: Mapping[str, Any]) -> None:
    """Log the slices as one table: a child run for each would be hundreds of requests."""
    slices = result.get("segments", {}).get("slices", [])
    if slices:
        shown = [slice_row(one) for one in slices]
        client.log_table(run_id, {name: [row[name] for row in shown] for name in shown[0]}, _SLICES)


def _log_batch(
    client: MlflowClient, run_id: str, *, parameters: Mapping[str, Any], metrics: Mapping[str, float | None]
) -> None:
    from mlflow.entities import Metric, Param

    moment = client.get_run(run_id).info.start_time
    client.log_batch(
        run_id,
        metrics=[
            Metric(name, float(value), moment, 0) for name, value in metrics.items() if value is not None
        ],
        params=[Param(name, _text(value)) for name, value in parameters.items()],
    )


def _new_version(client: MlflowClient, outbox: Outbox, *, run_id: str) -> ModelVersion:
    from mlflow.exceptions import MlflowException

    submission = outbox.submission
    with contextlib.suppress(MlflowException):  # it exists already, or the next call says what is wrong
        client.create_registered_model(submission.name)
    artifacts = client.get_run(run_id).info.artifact_uri
    return client.create_model_version(
        submission.name,
        source=f"{artifacts}/{_MODEL}",
        run_id=run_id,
        tags={
            **{name: _text(value) for name, value in submission.tags.items()},
            _OUTBOX_ID: submission.outbox_id,
            SHA256: outbox.sha256,
            "features": _text(list(submission.feature_types)),
        },
        description=submission.comment or None,
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
