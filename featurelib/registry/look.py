"""What the registry holds, asked without changing it: where there is no registry yet, none is made."""

# ruff: noqa: PLC0415 - importing mlflow takes seconds, so only what needs it does

from __future__ import annotations

import logging
import os
import sqlite3
from pathlib import Path

from featurelib.errors import PreconditionError
from featurelib.specs import TrackingSettings

_SQLITE = "sqlite:///"


def submitted_ids(settings: TrackingSettings, name: str) -> set[str]:
    """Return the outbox ids of all registered versions of a model; none where there is no registry yet.

    Raises:
        PreconditionError: MLflow cannot be reached.
    """
    uri = settings.tracking_uri
    if uri.startswith(_SQLITE) and not Path(uri.removeprefix(_SQLITE)).exists():
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
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise PreconditionError(
            f"MLflow at {uri} cannot be asked: {reason}",
            "a reachable tracking server, or an SQLite file that no other program holds locked",
            "end the program that holds it, or start the server, then try again",
        ) from error
