"""The card of a model version, filled from what was recorded of it; Spark is not needed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from featurelib.errors import ConfigError
from featurelib.pipeline.checklist import checklist, open_items
from featurelib.pipeline.context import store_of
from featurelib.pipeline.models import checked_model, judged
from featurelib.registry.audit import History, read_history
from featurelib.registry.tracker import Tracker
from featurelib.registry.versions import CHALLENGER, CHAMPION, RegisteredModel
from featurelib.reports.model_card import ModelCard, check_card, missing_fields, render_model_card
from featurelib.specs import ModelSpec, Project
from featurelib.timeline import format_instant

PAGE, VALUES = "model_card.html", "model_card.json"


def card_of(project: Project, name: str, version: int | None = None) -> ModelCard:
    """Return the card of a version as it stands, by default the champion's, failing that the challenger's.

    Raises:
        ConfigError: the project has no such model.
        ModelGateError: the model has no such version.
        PreconditionError: MLflow cannot be used.
    """
    checked_model(project, name)
    tracker, store = Tracker(project.settings.tracking), store_of(project)
    registered, aliases = _chosen(tracker, name, version), tracker.aliases(name)
    model, history = project.models[name], read_history(store, name)
    result = tracker.result(registered)
    champion = tracker.version(name, aliases[CHAMPION]) if CHAMPION in aliases else None
    verdict = judged(registered, champion, history, model.gate)
    checks = checklist(registered, result, model, store)
    review: Mapping[str, Any] = result.get("review", {})
    tags = registered.tags
    return ModelCard(
        name=name,
        version=registered.version,
        aliases=[alias for alias, number in sorted(aliases.items()) if number == registered.version],
        sha256=registered.sha256,
        run_id=registered.run_id,
        registered_at=format_instant(registered.registered_at.replace(microsecond=0)),
        comment=registered.comment,
        intended_use=model.review.intended_use or model.description,
        out_of_scope=model.review.out_of_scope,
        owner=model.review.owner,
        limitations=_limitations(model, result, list(open_items(checks))),
        label=str(result.get("label", "")),
        label_description=project.label.description,
        tables=json.loads(tags.get("delta_versions", "{}")),
        periods=review.get("periods", {}),
        features=result.get("feature_types", {}),
        features_hash=tags.get("features_hash", ""),
        estimator=str(result.get("estimator", "")),
        parameters=result.get("parameters", {}),
        baseline=result.get("baseline", {}),
        evaluation=result.get("evaluation", {}) if review else {},
        intervals=review.get("intervals", {}),
        decision=review.get("decision", {}),
        verdict=verdict.to_dict(),
        checklist=[check.to_dict() for check in checks],
        code=json.loads(tags.get("code_version", "{}")),
        python=tags.get("python", ""),
        packages=json.loads(tags.get("packages", "{}")),
        approvals=_approvals(history, registered),
        importance=result.get("importance", ()),
        slices=result.get("slices", ()),
        stability=review.get("stability", {}),
        ranking=review.get("ranking", ()),
        learning_curve=review.get("learning_curve", ()),
        cost=review.get("cost"),
        fairness=review.get("fairness"),
        mitigation=review.get("mitigation"),
        explanation=review.get("explanation"),
        champion=review.get("champion"),
        task=str(result.get("task", "binary")),
        trivial=result.get("trivial"),
        smaller=result.get("smaller", ()),
        shapes=review.get("shapes", {}),
        ranked=review.get("ranked"),
        continued_from=result.get("continued_from"),
        figures={**review.get("figures", {}), "megabytes": registered.metrics.get("megabytes", 0.0)},
    )


def write_card(card: ModelCard, folder: Path) -> tuple[Path, Path]:
    """Write the card as a page and as JSON, and return both paths.

    Raises:
        ConfigError: a mandatory field is empty; nothing is written.
    """
    check_card(card)
    page = render_model_card(card)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PAGE).write_text(page, encoding="utf-8")
    (folder / VALUES).write_text(json.dumps(card.to_dict(), indent=1, default=str), encoding="utf-8")
    return folder / PAGE, folder / VALUES


def file_card(project: Project, registered: RegisteredModel, *, reports: Path) -> str:
    """Write a version's card below the run reports and log it to MLflow; return a sentence about it.

    A card that lacks something is not written: the training goes on, and the sentence says what to give.
    """
    card = card_of(project, registered.name, registered.version)
    if missing_fields(card):
        return f"no model card, it would lack {', '.join(missing_fields(card))}"
    folder = reports / "models" / f"{registered.name}-{registered.version}"
    try:
        written = write_card(card, folder)
    except OSError as error:
        return f"no model card: {error}"
    for path in written:
        Tracker(project.settings.tracking).log_artifact(registered, path)
    return f"model card {written[0]}"


def _chosen(tracker: Tracker, name: str, version: int | None) -> RegisteredModel:
    if version is not None:
        return tracker.version(name, version)
    aliases = tracker.aliases(name)
    for alias in (CHAMPION, CHALLENGER):
        if alias in aliases:
            return tracker.version(name, aliases[alias])
    raise ConfigError(
        f"model {name!r} has neither champion nor challenger",
        "a version",
        f"give --version; see them with: featurelib models --model {name}",
    )


def _limitations(model: ModelSpec, result: Mapping[str, Any], unmet: list[str]) -> list[str]:
    """Return what the spec says, and what follows from the run."""
    found = [model.review.limitations] if model.review.limitations else []
    if result.get("dropped"):
        found.append(f"Features without any value in training: {', '.join(result['dropped'])}.")
    if result.get("skipped"):
        found.append(f"Estimators that could not run: {', '.join(sorted(result['skipped']))}.")
    found += [f"{one[0].upper()}{one[1:]}." for one in unmet]
    found.append("Measured on the days of the test rows; later days may differ, see monitoring.")
    return found


def _approvals(history: History, registered: RegisteredModel) -> list[dict[str, str]]:
    entry = history.approval(registered.version, registered.sha256)
    if entry is None:
        return []
    at = format_instant(entry.decided_at.replace(microsecond=0))
    return [{"by": entry.decided_by, "note": entry.note, "at": at}]
