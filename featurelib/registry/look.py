"""What the registry holds, asked without changing it: where there is no registry yet, none is made."""

# ruff: noqa: PLC0415 - importing mlflow takes seconds, so only what needs it does

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import urllib.error
import urllib.request
from pathlib import Path

from featurelib.errors import PreconditionError
from featurelib.specs import TrackingSettings

_SQLITE = "sqlite:///"
_SECONDS = 5.0


def submitted_ids(settings: TrackingSettings, name: str) -> set[str]:
    """Return the outbox ids of all registered versions of a model; none where there is no registry yet.

    Raises:
        PreconditionError: MLflow cannot be reached.
    """
    uri = settings.tracking_uri
    if not is_there(settings):
        return set()
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    for noisy in ("mlflow", "alembic"):  # after the import, which sets levels of its own
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
        versions = MlflowClient(tracking_uri=uri, registry_uri=uri).search_model_versions(f"name='{name}'")
        return {version.tags.get("outbox_id", "") for version in versions}
    except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise _unreachable(uri, error) from error


def is_there(settings: TrackingSettings) -> bool:
    """Return whether there is a registry, within seconds: MLflow would try for minutes, or make one.

    Raises:
        PreconditionError: it cannot be reached.
    """
    uri = settings.tracking_uri
    try:
        return _answers(uri)
    except (OSError, sqlite3.Error) as error:
        raise _unreachable(uri, error) from error


def _answers(uri: str) -> bool:
    if uri.startswith(_SQLITE):
        path = Path(uri.removeprefix(_SQLITE))
        if not path.exists():
            return False
        place = f"{path.resolve().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(place, uri=True, timeout=_SECONDS)) as database:
            query = "SELECT 1 FROM sqlite_master WHERE name = 'model_versions'"
            return database.execute(query).fetchone() is not None
    if uri.startswith(("http://", "https://")):
        with contextlib.suppress(urllib.error.HTTPError):  # an answer, whatever it says
            urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=_SECONDS).close()  # noqa: S310
    return True


def _unreachable(uri: str, error: Exception) -> PreconditionError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return PreconditionError(
        f"MLflow at {uri} cannot be asked: {reason}",
        "a reachable tracking server, or an SQLite file that no other program holds locked",
        "end the program that holds it, or start the server, then try again",
    )
