"""What there is of each model: versions, aliases, figures, and the last thing that was decided about each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from featurelib.pipeline.context import store_of
from featurelib.pipeline.models import checked_model, judged
from featurelib.registry.audit import ORDER, Entry, History, read_history
from featurelib.registry.gate import Verdict
from featurelib.registry.tracker import Tracker
from featurelib.registry.versions import CHAMPION, RegisteredModel
from featurelib.reports.text_tables import text_table
from featurelib.specs import Project


@dataclass(frozen=True)
class ListedVersion:
    """A version of a model as it stands.

    Attributes:
        model: the registered model.
        version: its number.
        aliases: those it has in MLflow now.
        metric: the metric of the model's gate.
        value: what the version reached on the test rows, None if that was not measured.
        baseline: what the baseline reached.
        registered_at: when it was registered.
        gate: what today's gate says of it beside today's champion: ``passes``, ``holds back`` or
            ``awaits approval``.
        approved_by: the reviewer who approved it, None if nobody did.
        last: what was decided about it last, None if nothing was.
        comment: of the run that trained it.
        run_id: that run, as MLflow and ``train --from-run`` name it.
    """

    model: str
    version: int
    aliases: tuple[str, ...]
    metric: str
    value: float | None
    baseline: float | None
    registered_at: datetime
    gate: str
    approved_by: str | None
    last: Entry | None
    comment: str
    run_id: str


@dataclass(frozen=True)
class ModelList:
    """The versions of some models, and what was decided about them.

    Attributes:
        versions: newest first within a model.
        moves: what has happened, oldest first.
        outside: sentences about aliases that are not where they were recorded.
    """

    versions: tuple[ListedVersion, ...]
    moves: tuple[Entry, ...]
    outside: tuple[str, ...]


def list_models(project: Project, model: str | None = None) -> ModelList:
    """Read what there is of one model or all; nothing is written and nobody is kept waiting.

    Raises:
        ConfigError: the project has no such model.
        PreconditionError: MLflow cannot be used.
    """
    names = list(project.models) if model is None else [checked_model(project, model)]
    tracker, store = Tracker(project.settings.tracking), store_of(project)
    versions: list[ListedVersion] = []
    moves: list[Entry] = []
    outside: list[str] = []
    for name in names:
        history, aliases = read_history(store, name), tracker.aliases(name)
        registered = tracker.versions(name)
        champion = next((one for one in registered if one.version == aliases.get(CHAMPION)), None)
        demands = project.models[name].gate
        versions += [
            _listed(one, aliases, history, demands.metric, judged(one, champion, history, demands))
            for one in reversed(registered)
        ]
        moves += history.done
        outside += _moved_outside(name, aliases, history)
    return ModelList(tuple(versions), tuple(moves), tuple(outside))


def as_json(found: ModelList) -> str:
    """Return versions and moves as JSON, instants in ISO format."""
    return json.dumps(
        {
            "versions": [_plain(vars(version)) for version in found.versions],
            "moves": [_plain(vars(entry)) for entry in found.moves],
            "outside": found.outside,
        },
        indent=1,
    )


def versions_text(found: ModelList) -> str:
    """Return the versions as a table for people, and below it what was moved without these commands."""
    rows = [_row(version) for version in found.versions]
    headers = ("model", "version", "aliases", "metric", "value", "baseline", "gate", "decided", "at", "note")
    return "\n".join([text_table(headers, rows) if rows else "no model is registered yet", *found.outside])


def moves_text(found: ModelList) -> str:
    """Return the moves as a table for people, oldest first."""
    rows = [
        (
            *(entry.model, entry.move, entry.action, entry.alias or "", entry.from_version, entry.to_version),
            *(entry.decided_by, entry.decided_at.replace(microsecond=0), entry.note),
        )
        for entry in found.moves
    ]
    headers = ("model", "move", "action", "alias", "from", "to", "by", "at", "note")
    return text_table(headers, rows) if rows else "nothing was decided yet"


def _listed(
    registered: RegisteredModel, aliases: dict[str, int], history: History, metric: str, verdict: Verdict
) -> ListedVersion:
    approval = history.approval(registered.version, registered.sha256)
    return ListedVersion(
        model=registered.name,
        version=registered.version,
        aliases=tuple(alias for alias, version in sorted(aliases.items()) if version == registered.version),
        metric=metric,
        value=registered.metrics.get(metric),
        baseline=registered.metrics.get(f"baseline_{metric}"),
        registered_at=registered.registered_at,
        gate="passes" if verdict.passed else "awaits approval" if verdict.awaits_approval else "holds back",
        approved_by=None if approval is None else approval.decided_by,
        last=history.last(registered.version),
        comment=registered.comment,
        run_id=registered.run_id,
    )


def _row(version: ListedVersion) -> tuple[Any, ...]:
    last = version.last
    decided = f"{last.action} by {last.decided_by}" if last else ""
    at = (last.decided_at if last else version.registered_at).replace(microsecond=0)
    return (
        *(version.model, version.version, ", ".join(version.aliases), version.metric),
        *(version.value, version.baseline, version.gate, decided, at, last.note if last else version.comment),
    )


def _moved_outside(model: str, aliases: dict[str, int], history: History) -> Iterator[str]:
    for alias in ORDER:
        recorded, now = history.aliases.get(alias), aliases.get(alias)
        if recorded != now:
            was, is_now = ("no version" if one is None else f"version {one}" for one in (recorded, now))
            yield f"{alias} of {model} is at {is_now}; these commands left it at {was}"


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: _value(value) for name, value in values.items()}


def _value(value: Any) -> Any:  # noqa: ANN401 - whatever a row holds
    if isinstance(value, Entry):
        return _plain(vars(value))
    return value.isoformat() if isinstance(value, datetime) else value
