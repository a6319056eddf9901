"""What MLflow knows of a model: its versions, and the aliases that name some of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from featurelib.errors import ModelGateError, nearest

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"
CHALLENGER = "challenger"
PREVIOUS_CHAMPION = "previous_champion"

SHA256 = "model_sha256"
"""The tag of a version that holds the hash of its files."""

DECISION = "decision"
"""The tag of a version that says at which scores its rows are called positive; absent means at 0.5."""


@dataclass(frozen=True)
class Thresholds:
    """At and above which probability a row is called positive.

    Attributes:
        threshold: of all rows, and of groups without one of their own.
        group: the column whose values have thresholds of their own, None for none.
        own: these thresholds by value; null is the value ``null``.
    """

    threshold: float
    group: str | None = None
    own: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, tags: Mapping[str, str]) -> Thresholds | None:
        """Return what a version's tags say, None where it calls at 0.5."""
        if DECISION not in tags:
            return None
        said = json.loads(tags[DECISION])
        return cls(said["threshold"], said.get("group"), said.get("thresholds", {}))


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
        registered_at: when it was registered, by MLflow's clock.
        comment: the comment of the run that trained it.
    """

    name: str
    version: int
    run_id: str
    sha256: str
    tags: dict[str, str]
    metrics: dict[str, float]
    registered_at: datetime
    comment: str = ""


def aliases_of(client: MlflowClient, name: str) -> dict[str, int]:
    """Return the version under each alias of a model; none where it is not registered."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - importing it takes seconds

    try:
        found = client.get_registered_model(name).aliases
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return {}
        raise
    return {alias: int(version) for alias, version in found.items()}


def versions_of(client: MlflowClient, name: str) -> dict[int, ModelVersion]:
    """Return the versions of a model by number, in order; none where it is not registered."""
    found = client.search_model_versions(f"name='{name}'")
    return {int(version.version): version for version in sorted(found, key=lambda one: int(one.version))}


def aliased(client: MlflowClient, name: str, alias: str) -> ModelVersion:
    """Return the version under an alias.

    Raises:
        ModelGateError: the model or the alias is unknown; the error lists what there is.
    """
    aliases = aliases_of(client, name)
    if alias in aliases:
        return client.get_model_version(name, str(aliases[alias]))
    versions = _known_versions(client, name)
    known = ", ".join(f"{known} (version {version})" for known, version in sorted(aliases.items())) or "none"
    raise ModelGateError(
        f"model {name!r} has no alias {alias!r}.{nearest(alias, aliases)} Its aliases: {known}; "
        f"its versions: {', '.join(map(str, versions)) or 'none'}",
        "an alias that was set",
        f"train a model that passes the gate, or promote a version: featurelib promote --model {name}",
    )


def numbered(client: MlflowClient, name: str, version: int) -> ModelVersion:
    """Return a version by its number.

    Raises:
        ModelGateError: the model or the version is unknown; the error lists what there is.
    """
    found = _known_versions(client, name)
    if version in found:
        return found[version]
    raise ModelGateError(
        f"model {name!r} has no version {version}",
        f"one of {', '.join(map(str, found))}" if found else "a registered model",
        f"give a version that exists: featurelib models --model {name}",
    )


def described(client: MlflowClient, version: ModelVersion) -> RegisteredModel:
    """Return a version with the metrics of the run that it came from."""
    tags = {str(name): str(value) for name, value in version.tags.items()}
    return RegisteredModel(
        name=version.name,
        version=int(version.version),
        run_id=str(version.run_id),
        sha256=tags.get(SHA256, ""),
        tags=tags,
        metrics=dict(client.get_run(str(version.run_id)).data.metrics),
        registered_at=datetime.fromtimestamp(0, tz=UTC) + timedelta(milliseconds=version.creation_timestamp),
        comment=version.description or "",
    )


def _known_versions(client: MlflowClient, name: str) -> dict[int, ModelVersion]:
    found = versions_of(client, name)
    if not found:
        names = [model.name for model in client.search_registered_models()]
        if name not in names:
            raise ModelGateError(
                f"model {name!r} is not registered.{nearest(name, names)}",
                f"one of {', '.join(names)}" if names else "a model that was trained",
                "train it first: featurelib train",
            )
    return found
