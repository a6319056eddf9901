"""Runs, model versions and aliases in MLflow; models are saved and loaded in Spark's own format."""

# ruff: noqa: PLC0415 - importing mlflow takes seconds, so only what needs it does

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featurelib.errors import ModelGateError, PreconditionError, nearest
from featurelib.registry.files import NATIVE, check_model_files
from featurelib.registry.flavor import signature_types, write_mlflow_model
from featurelib.registry.outbox import Outbox, Submission, read_outbox
from featurelib.specs import TrackingSettings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion
    from pyspark.ml import PipelineModel

CHAMPION = "champion"
CHALLENGER = "challenger"
PREVIOUS_CHAMPION = "previous_champion"

_MODEL = "model"
_SHA256 = "model_sha256"
_OUTBOX_ID = "outbox_id"
_SQLITE = "sqlite:///"
_LOCK_SECONDS = 5.0
_METRICS = ("roc_auc", "pr_auc", "log_loss", "brier", "accuracy", "precision", "recall", "f1", "threshold")


def import_mlflow() -> None:
    """Import what the tracker needs, for callers that have seconds to spare before they need it."""


@dataclass(frozen=True)
class RegisteredModel:
    """A version of a model in the registry.

    Attributes:
        name: the registered model.
        version: its version, counted from 1.
        run_id: the MLflow run it came from.
        sha256: the hash of its model files, as registered.
        tags: of the version, all texts.
        metrics: of the run: test metrics, and those of the baseline as ``baseline_roc_auc``.
    """

    name: str
    version: int
    run_id: str
    sha256: str
    tags: dict[str, str]
    metrics: dict[str, float]


@dataclass(frozen=True)
class LoadedModel:
    """A model that was checked and loaded: it takes raw feature columns and adds its prediction."""

    name: str
    version: int
    sha256: str
    features_hash: str
    feature_types: dict[str, str]
    pipeline: PipelineModel = field(repr=False)


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
        shutil.rmtree(outbox.folder)
        return registered

    def set_challenger(self, name: str, version: int) -> RegisteredModel:
        """Give a version the alias ``challenger``, wherever that was before."""
        with self._client() as client:
            registered = _described(client, _version(client, name, version))
            client.set_registered_model_alias(name, CHALLENGER, str(version))
        return registered

    def promote(self, name: str) -> RegisteredModel:
        """Make the challenger champion; the champion so far becomes ``previous_champion``.

        Raises:
            ModelGateError: there is no challenger.
        """
        with self._client() as client:
            challenger = _aliased(client, name, CHALLENGER)
            champion = _aliases(client, name).get(CHAMPION)
            if champion is not None and champion != str(challenger.version):
                client.set_registered_model_alias(name, PREVIOUS_CHAMPION, champion)
            client.set_registered_model_alias(name, CHAMPION, str(challenger.version))
            client.delete_registered_model_alias(name, CHALLENGER)
            return _described(client, challenger)

    def roll_back(self, name: str) -> RegisteredModel:
        """Make the previous champion champion again; the two change places.

        Raises:
            ModelGateError: there is no previous champion.
        """
        with self._client() as client:
            previous = _aliased(client, name, PREVIOUS_CHAMPION)
            champion = _aliased(client, name, CHAMPION)
            client.set_registered_model_alias(name, CHAMPION, str(previous.version))
            client.set_registered_model_alias(name, PREVIOUS_CHAMPION, str(champion.version))
            return _described(client, previous)

    def champion(self, name: str) -> RegisteredModel:
        """Return the champion, with the metrics it was recorded with."""
        return self.aliased(name, CHAMPION)

    def aliased(self, name: str, alias: str) -> RegisteredModel:
        """Return the version under an alias.

        Raises:
            ModelGateError: the model or the alias is unknown; the error lists what there is.
        """
        with self._client() as client:
            return _described(client, _aliased(client, name, alias))

    def has_alias(self, name: str, alias: str) -> bool:
        """Return whether the model is registered and has the alias."""
        with self._client() as client:
            return alias in _aliases(client, name)

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

        what = f"model {registered.name} version {registered.version}"
        with self._client() as client, tempfile.TemporaryDirectory(prefix="featurelib-model-") as scratch:
            folder = Path(_downloaded(client, registered, into=scratch))
            check_model_files(folder / NATIVE, sha256=registered.sha256, what=what)
            pipeline = PipelineModel.load((folder / NATIVE).as_uri())
            types = signature_types(folder)
        return LoadedModel(
            name=registered.name,
            version=registered.version,
            sha256=registered.sha256,
            features_hash=registered.tags.get("features_hash", ""),
            feature_types=types,
            pipeline=pipeline,
        )

    def submitted(self, name: str, outbox_id: str) -> RegisteredModel | None:
        """Return the version that was registered from an outbox of this id, if there is one."""
        with self._client() as client:
            for version in client.search_model_versions(f"name='{name}'"):
                if version.tags.get(_OUTBOX_ID) == outbox_id:
                    return _described(client, version)
        return None

    def tag(self, registered: RegisteredModel, name: str, value: str) -> None:
        """Note something on a version, as the verdict of its gate."""
        with self._client() as client:
            client.set_model_version_tag(registered.name, str(registered.version), name, value)

    def log_artifact(self, registered: RegisteredModel, path: Path) -> None:
        """Add a file, as a report, to the run that a version came from."""
        with self._client() as client:
            client.log_artifact(registered.run_id, str(path))

    @contextlib.contextmanager
    def _client(self) -> Iterator[MlflowClient]:
        """Open MLflow, quietly; what goes wrong inside becomes one clear error."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        for noisy in ("mlflow", "alembic"):  # after the import, which sets levels of its own
            logging.getLogger(noisy).setLevel(logging.ERROR)
        try:
            with _first_use(self.settings.tracking_uri):
                uri = self.settings.tracking_uri
                client = MlflowClient(tracking_uri=uri, registry_uri=uri)
                _experiment_id(client, self.settings)
            yield client
        except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise PreconditionError(
                f"MLflow at {self.settings.tracking_uri} cannot be used: {reason}",
                "a reachable tracking server, or an SQLite file that no other program holds locked",
                "end the program that holds it, or start the server, then try again",
            ) from error

    def _registered(self, outbox: Outbox) -> RegisteredModel:
        submission = outbox.submission
        with self._client() as client:
            experiment = _experiment_id(client, self.settings)
            run = client.create_run(experiment, run_name=submission.outbox_id, tags=_run_tags(submission))
            run_id = run.info.run_id
            try:
                _log_result(client, run_id, submission)
                for trial in submission.result.get("trials", []):
                    _log_trial(client, experiment, parent=run_id, trial=trial)
                with tempfile.TemporaryDirectory(prefix="featurelib-model-") as scratch:
                    folder = write_mlflow_model(outbox, Path(scratch) / _MODEL, run_id=run_id)
                    client.log_artifacts(run_id, str(folder), _MODEL)
                client.log_artifact(run_id, str(outbox.folder / "result.json"))
                version = _new_version(client, outbox, run_id=run_id)
            except BaseException:
                with contextlib.suppress(Exception):
                    client.set_terminated(run_id, status="FAILED")
                raise
            client.set_terminated(run_id, status="FINISHED")
            return _described(client, version)


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


@contextlib.contextmanager
def _first_use(tracking_uri: str) -> Iterator[None]:
    """Let one process at a time make the tables and the experiment of an SQLite file.

    Two that begin at once would both migrate it, and one would fail; a file that another program holds
    locked is found here within seconds, where MLflow would try again for many minutes.
    """
    if not tracking_uri.startswith(_SQLITE):
        yield
        return
    database = Path(tracking_uri.removeprefix(_SQLITE))
    if not database.is_absolute():
        raise PreconditionError(
            f"tracking_uri {tracking_uri}",
            "an absolute path, as sqlite:////srv/mlflow.db",
            "write it in full",
        )
    database.parent.mkdir(parents=True, exist_ok=True)
    with database.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with contextlib.closing(
            sqlite3.connect(database, timeout=_LOCK_SECONDS, isolation_level=None)
        ) as probe:
            probe.execute("BEGIN IMMEDIATE")
            probe.execute("ROLLBACK")
        yield


def _experiment_id(client: MlflowClient, settings: TrackingSettings) -> str:
    found = client.get_experiment_by_name(settings.experiment)
    if found is not None:
        return str(found.experiment_id)
    root = settings.artifact_root
    location = root if "://" in root else Path(root).resolve().as_uri()
    return str(client.create_experiment(settings.experiment, artifact_location=location))


def _run_tags(submission: Submission) -> dict[str, str]:
    tags = {name: _text(value)[:8000] for name, value in submission.tags.items()}
    return {**tags, _OUTBOX_ID: submission.outbox_id, "mlflow.note.content": submission.comment}


def _log_result(client: MlflowClient, run_id: str, submission: Submission) -> None:
    result = submission.result
    parameters = {
        "estimator": result.get("estimator"),
        "kind": result.get("kind"),
        **result.get("parameters", {}),
    }
    metrics = {name: result["evaluation"].get(name) for name in _METRICS}
    for metric in ("roc_auc", "pr_auc"):
        metrics[f"baseline_{metric}"] = result.get("baseline", {}).get(metric)
    for entry in result.get("by_estimator", []):
        metrics[f"test_{metric_name(entry['estimator'])}_roc_auc"] = entry["roc_auc"]
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
    _log_batch(client, run.info.run_id, parameters=parameters, metrics=metrics)
    client.set_terminated(run.info.run_id, status="FINISHED" if trial["state"] == "done" else "FAILED")


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
            _SHA256: outbox.sha256,
            "features": _text(list(submission.feature_types)),
        },
        description=submission.comment or None,
    )


def _aliases(client: MlflowClient, name: str) -> dict[str, str]:
    from mlflow.exceptions import MlflowException

    try:
        return {alias: str(version) for alias, version in client.get_registered_model(name).aliases.items()}
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return {}
        raise


def _aliased(client: MlflowClient, name: str, alias: str) -> ModelVersion:
    aliases = _aliases(client, name)
    if alias in aliases:
        return client.get_model_version(name, aliases[alias])
    names = [model.name for model in client.search_registered_models()]
    if name not in names:
        raise ModelGateError(
            f"model {name!r} is not registered.{nearest(name, names)}",
            f"one of {', '.join(names)}" if names else "a model that was trained",
            f"train it first: featurelib train {name}",
        )
    versions = sorted(int(version.version) for version in client.search_model_versions(f"name='{name}'"))
    known = ", ".join(f"{known} (version {version})" for known, version in sorted(aliases.items())) or "none"
    raise ModelGateError(
        f"model {name!r} has no alias {alias!r}.{nearest(alias, aliases)} Its aliases: {known}; "
        f"its versions: {', '.join(map(str, versions)) or 'none'}",
        "an alias that was set",
        f"train a model that passes the gate and promote it: featurelib train {name}",
    )


def _version(client: MlflowClient, name: str, version: int) -> ModelVersion:
    found = client.search_model_versions(f"name='{name}'")
    for candidate in found:
        if int(candidate.version) == version:
            return candidate
    known = sorted(int(candidate.version) for candidate in found)
    raise ModelGateError(
        f"model {name!r} has no version {version}",
        f"one of {', '.join(map(str, known))}" if known else "a registered model",
        "give a version that exists",
    )


def _described(client: MlflowClient, version: ModelVersion) -> RegisteredModel:
    tags = {str(name): str(value) for name, value in version.tags.items()}
    return RegisteredModel(
        name=version.name,
        version=int(version.version),
        run_id=str(version.run_id),
        sha256=tags.get(_SHA256, ""),
        tags=tags,
        metrics=dict(client.get_run(str(version.run_id)).data.metrics),
    )


def _downloaded(client: MlflowClient, registered: RegisteredModel, *, into: str) -> str:
    return str(client.download_artifacts(registered.run_id, _MODEL, into))


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
