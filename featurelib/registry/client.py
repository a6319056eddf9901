"""MLflow opened quietly: whatever goes wrong inside becomes one clear error, within seconds."""

# ruff: noqa: PLC0415 - importing mlflow takes seconds, so only what needs it does

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from featurelib.errors import PreconditionError
from featurelib.specs import TrackingSettings
from featurelib.tables import fault_point

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SQLITE = "sqlite:///"
_LOCK_SECONDS = 5.0


@contextlib.contextmanager
def opened(settings: TrackingSettings) -> Iterator[MlflowClient]:
    """Give a client of the tracking server and registry, with the experiment made.

    Raises:
        PreconditionError: MLflow cannot be used, now or by what is done inside.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    for noisy in ("mlflow", "alembic"):  # after the import, which sets levels of its own
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
        with _first_use(settings.tracking_uri):
            uri = settings.tracking_uri
            client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            experiment_id(client, settings)
        yield client
    except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise PreconditionError(
            f"MLflow at {settings.tracking_uri} cannot be used: {reason}",
            "a reachable tracking server, or an SQLite file that no other program holds locked",
            "end the program that holds it, or start the server, then try again",
        ) from error


def experiment_id(client: MlflowClient, settings: TrackingSettings) -> str:
    """Return the experiment of the settings, making it first."""
    found = client.get_experiment_by_name(settings.experiment)
    if found is not None:
        return str(found.experiment_id)
    root = settings.artifact_root
    location = root if "://" in root else Path(root).resolve().as_uri()
    return str(client.create_experiment(settings.experiment, artifact_location=location))


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
        if not database.exists():
            _make(database)
        with contextlib.closing(
            sqlite3.connect(database, timeout=_LOCK_SECONDS, isolation_level=None)
        ) as probe:
            probe.execute("BEGIN IMMEDIATE")
            probe.execute("ROLLBACK")
        yield


def _make(database: Path) -> None:
    """Make MLflow's tables in a draft and give it its name when they are whole.

    MLflow makes them by migrations of seconds, and one that was killed half-way can never be gone on with. It
    remembers in each process which files it has made, so that every draft has a name of its own.
    """
    from mlflow import MlflowClient

    for stale in database.parent.glob(f".{database.name}.*draft*"):
        stale.unlink(missing_ok=True)
    draft = database.with_name(f".{database.name}.{uuid.uuid4().hex[:8]}.draft")
    uri = f"{_SQLITE}{draft}"
    MlflowClient(tracking_uri=uri, registry_uri=uri).search_experiments(max_results=1)
    fault_point("tracking.drafted")
    draft.replace(database)
