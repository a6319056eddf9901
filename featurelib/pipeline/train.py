"""A training set at one version becomes a registered model, and champion when it passes its gate."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

import featurelib
from featurelib.config import spec_hash
from featurelib.errors import FeaturelibError, ModelGateError
from featurelib.lineage.records import code_version, package_versions
from featurelib.monitoring.drift import bin_counts, stability_index
from featurelib.pipeline.build_training_set import training_content
from featurelib.pipeline.card import file_card
from featurelib.pipeline.context import Context, StepResult, Surroundings
from featurelib.pipeline.definitions import check_features, features_hash, short_definitions
from featurelib.pipeline.functions import learner_code, loaded_model, module_sha256
from featurelib.pipeline.models import champion_of, judged
from featurelib.pipeline.records import last_facts
from featurelib.pipeline.reference import reference
from featurelib.pipeline.segments import keep_segments
from featurelib.registry.aliases import hold
from featurelib.registry.audit import Decision
from featurelib.registry.gate import Verdict
from featurelib.registry.outbox import Outbox, Submission, read_outbox, write_outbox
from featurelib.registry.tracker import Tracker
from featurelib.registry.versions import CHAMPION, DECISION, RegisteredModel
from featurelib.scoring.batch import check_features as check_frame
from featurelib.specs import SPLIT, ModelSpec
from featurelib.tables import published, read
from featurelib.tables.locks import exclusive
from featurelib.training.fit import TrainingOptions, train_model
from featurelib.training.journal import Journal
from featurelib.training.review import Champion
from featurelib.training.search import TimeLeft
from featurelib.training.tuning import Trial
from featurelib.training.warm import WarmStart, warm_start

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from featurelib.pipeline.budget import Budget

_EXAMPLE_ROWS = 5
_MOST_DRIFTED = 10
_NOT_TRAINED = {"gate": True, "description": True, "review": True, "known_label_ok": True}
_NOT_TRIED = {  # neither what is tried nor what it measures follows from these
    **_NOT_TRAINED,
    "baseline": True,
    "lift": True,
    "lift_learner": True,
    "segments": True,
    "estimators": {"__all__": {"refit"}},
    "tuning": {"max_seconds", "budget", "no_progress"},
}
_BEFORE_THE_END_OF_A_SEARCH = frozenset({"prepare", "tune"})
_JUDGED_BY = "gate_hash"
_REQUIRED = ("pyspark", "xgboost-cpu", "numpy")


def train(context: Context, *, comment: str = "", budget: Budget | None = None) -> StepResult:
    """Train every model of the project on the published training set; idle where that was done before.

    A model that is trained beside a champion whose features still mean the same is compared with it on the
    same test rows. A model is identified by what it is made from (its spec without the gate and the review,
    and the content of the training set), so a rerun after a crash finds what was registered, or what waits
    in the outbox, and goes on from there; and a changed gate judges what is registered once more, without
    training it again.

    Args:
        context: the run's surroundings.
        comment: why it was trained, as a commit message says it; empty for the settings' ``run_comment``, and
            failing that for what started it.
        budget: of the run; a search that it leaves no time for is broken off, and a rerun goes on with it.

    Raises:
        BudgetExceeded: the budget leaves no time for another trial; those that ended are kept.
        LeaseHeld: another process trains the model.
    """
    if context.names.training not in published(context.store):
        raise FeaturelibError(
            "no training set was built yet", "a training set", "run build_training_set first"
        )
    results = []
    for name, model in context.project.models.items():
        lock = context.store.leases / "models" / f"{name}.training.lock"
        with exclusive(lock, what=f"the training of model {name}", timeout_seconds=0):
            results.append(_train_one(context, name, model, comment, _left(context, name, budget)))
    busy = [result for result in results if not result.is_idle]
    facts: dict[str, Any] = {key: value for result in busy for key, value in result.facts.items()}
    summary = "; ".join(result.summary for result in results)
    return StepResult("train", summary, busy[0].run_id if busy else None, facts=facts)


def _left(context: Context, name: str, budget: Budget | None) -> TimeLeft | None:
    """Return what a run's budget leaves for a search: less what followed the search the last time."""
    if budget is None:
        return None
    last = last_facts(context).get("train", {}).get("facts", {}).get("training") or {}
    took = last.get("seconds", {}) if last.get("name") == name else {}
    after = sum(seconds for step, seconds in took.items() if step not in _BEFORE_THE_END_OF_A_SEARCH)
    return TimeLeft(lambda: budget.left - after, budget.again)


@dataclass(frozen=True)
class _Search:
    """What a search is given: where its trials are kept, its time, and the champion it goes on from."""

    journal: Journal
    left: TimeLeft | None
    goes_on_from: RegisteredModel | None


def _train_one(
    context: Context, name: str, model: ModelSpec, comment: str, left: TimeLeft | None
) -> StepResult:
    outbox_id = submission_id(context, name, model)
    tracker = Tracker(context.project.settings.tracking)
    registered = tracker.submitted(name, outbox_id)
    champion = _gone_on_from(context, name, model)
    journal = search_journal(context, name, model, goes_on_from=champion)
    if registered is not None:
        journal.discard()
    if registered is not None and registered.tags.get(_JUDGED_BY) == spec_hash(model.gate):
        return StepResult(name, f"{name} version {registered.version} is trained on this very training set")
    waits = _waiting(
        context, outbox_id
    )  # also when it is registered: a run that died then did not clear it away
    if registered is None or waits is not None:
        registered = tracker.register(
            waits
            or _trained(context, name, model, _Search(journal, left, champion), outbox_id, comment=comment)
        )
        journal.discard()
    # Before it is judged, which marks the version as done: a rerun after a crash comes by here again.
    slices = keep_segments(context, tracker, registered, model)
    verdict, alias = _judged(context, tracker, registered, model)
    card = file_card(context.project, registered, reports=outbox_root(context).parent / "reports")
    context.progress.step(f"{name}: {card}")
    metric, shown = ("r2", "R2") if model.task == "regression" else ("roc_auc", "ROC AUC")
    figures = [registered.metrics.get(name) for name in (metric, f"baseline_{metric}")]
    reached, before = ("none" if value is None else f"{value:.3f}" for value in figures)
    summary = (
        f"{name} version {registered.version}: test {shown} {reached} "
        f"(baseline {before}), {_standing(verdict, alias)}{slices}"
    )
    facts = {
        "training": tracker.result(registered),
        "gate": verdict.to_dict(),
        "model": {
            "name": name,
            "version": registered.version,
            "sha256": registered.sha256,
            "alias": alias,
        },
        "card": card,
    }
    return StepResult(name, summary, outbox_id, facts=facts)


def submission_id(context: Surroundings, name: str, model: ModelSpec) -> str:
    """Return the identity of a model by what it is made from.

    That is its spec, the content of the training set and the text of the modules its functions are in.
    What judges a model and what describes it make no other one.
    """
    return f"{name}-{_made_from(context, model, but=_NOT_TRAINED)[:16]}"


def search_journal(
    context: Surroundings, name: str, model: ModelSpec, *, goes_on_from: RegisteredModel | None = None
) -> Journal:
    """Return where the trials of a model's search are kept until it is registered.

    What the search is made from names it: learners, spaces, tuning and the content of the training set. Its
    limits do not, nor does what happens to the best trial, so that a search goes on with a greater limit.
    """
    search = _made_from(context, model, but=_NOT_TRIED)
    if goes_on_from is not None:  # other trees, other outcomes
        search = hashlib.sha256(f"{search} {goes_on_from.sha256}".encode()).hexdigest()
    return Journal(context.project.settings.work_folder / "searches" / name / f"{search[:16]}.jsonl", search)


def _made_from(context: Surroundings, model: ModelSpec, *, but: Mapping[str, Any]) -> str:
    content = training_content(context)
    identity = None if content is None else (content.rows, content.content)
    written = [
        module_sha256(context.project.folder, spec.function)
        for spec in model.estimators.values()
        if spec.function is not None
    ]
    parts = [spec_hash(model, exclude=but), str(identity), *written]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def _waiting(context: Context, outbox_id: str) -> Outbox | None:
    """Return what an earlier run trained and could not register."""
    folder = outbox_root(context) / outbox_id
    return read_outbox(folder) if folder.exists() else None


def outbox_root(context: Context) -> Path:
    """Return the folder where trained models wait until they are registered."""
    return context.project.settings.work_folder / "outbox"


def _trained(
    context: Context, name: str, model: ModelSpec, search: _Search, outbox_id: str, *, comment: str
) -> Outbox:
    project, version = context.project, published(context.store)[context.names.training]
    training = read(context.spark, context.store, context.names.training, version=version)
    options = training_options(
        context,
        name,
        training.columns,
        trials=model.tuning.trials,
        champion=_champion(context, name, training) if model.task == "binary" else None,
        journal=search.journal,
    )
    options = replace(options, left=search.left, warm=_warm(context, search.goes_on_from))
    result = train_model(training, model, name=name, label=project.label.name, options=options)
    record = {**result.to_dict(), "spec": model.model_dump(mode="json")}
    if model.gate.drift is not None:
        numbers = [feature for feature in result.features if feature not in model.identities]
        record["review"] |= _drift(context, training, numbers)
        record["review"]["figures"] |= {"drift": record["review"]["drift"]["greatest"]}
    packages = package_versions()
    submission = Submission(
        outbox_id=outbox_id,
        name=name,
        feature_types=result.feature_types,
        result=record,
        tags={
            "features_hash": features_hash(project),
            "definitions": json.dumps(short_definitions(project)),
            "config_hash": spec_hash(model),
            "code_version": json.dumps(code_version(featurelib.__version__)),
            "packages": json.dumps(packages),
            "python": platform.python_version(),
            "delta_versions": json.dumps({context.names.training: version}),
            **({"continued_from": str(options.warm.version)} if options.warm is not None else {}),
            **_calls_by(model, record["review"].get("decision")),
        },
        example=tuple(
            row.asDict() for row in training.select(*result.features).limit(_EXAMPLE_ROWS).collect()
        ),
        requirements=tuple(f"{package}=={packages[package]}" for package in _REQUIRED if package in packages),
        comment=comment.strip()
        or project.settings.run_comment
        or f"{project.name} as of {context.as_of:%Y-%m-%d}",
    )
    segments = result.segments.models if result.segments is not None else None
    return write_outbox(outbox_root(context), model=result.model, submission=submission, segments=segments)


def training_options(
    context: Context,
    name: str,
    columns: Sequence[str],
    *,
    trials: int,
    champion: Champion | None = None,
    journal: Journal | None = None,
) -> TrainingOptions:
    """Return the options a model of the project is trained with; its progress is shown."""
    return TrainingOptions(
        key=context.project.spine.key,
        slices=tuple(column for column in ("origin", "carrier") if column in columns),
        on_trial=lambda trial: context.progress.step(_line(trial, trials)),
        on_step=lambda step: context.progress.step(f"{name}: {step}"),
        code=partial(learner_code, context.project.folder),
        journal=journal,
        cost=context.project.settings.cost,
        champion=champion,
    )


def _gone_on_from(context: Surroundings, name: str, model: ModelSpec) -> RegisteredModel | None:
    """Return the champion that a training goes on from, None where it begins anew."""
    if model.warm_start is None:
        return None
    tracker = Tracker(context.project.settings.tracking)
    version = tracker.aliases(name).get(CHAMPION)
    return None if version is None else tracker.version(name, version)


def _warm(context: Context, champion: RegisteredModel | None) -> WarmStart | None:
    if champion is None:
        return None
    check_features(context.project, champion)
    return warm_from(context, champion)


def warm_from(context: Context, registered: RegisteredModel) -> WarmStart:
    """Return what a training begins with that goes on from a registered version.

    Raises:
        ModelGateError: its learner is not xgboost, or it was registered before the moments of its rows were.
    """
    loaded = loaded_model(context.project, registered)
    periods = Tracker(context.project.settings.tracking).result(registered).get("review", {}).get("periods")
    if not periods:
        raise ModelGateError(
            f"version {registered.version} of {registered.name} does not say which rows it has learnt from",
            "a version of today's library, which records them",
            "train once without warm_start",
        )
    return warm_start(
        loaded.pipeline,
        features=list(loaded.feature_types),
        version=registered.version,
        sha256=registered.sha256,
        learnt_until=max(str(periods[part]["to"]) for part in ("train", "validate")),
    )


def _calls_by(model: ModelSpec, decision: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the tag by which scoring calls; none for a model that calls at 0.5, or predicts a number."""
    if decision is None or (model.costs is None and not decision["thresholds"]):
        return {}
    return {DECISION: json.dumps(decision)}


def _champion(context: Context, name: str, training: DataFrame) -> Champion | None:
    """Return the champion to compare with, None where there is none that takes these rows."""
    tracker = Tracker(context.project.settings.tracking)
    version = tracker.aliases(name).get(CHAMPION)
    if version is None:
        return None
    registered = tracker.version(name, version)
    try:
        check_features(context.project, registered)
        loaded = loaded_model(context.project, registered)
        check_frame(training, loaded.feature_types, what=f"model {name} version {version}")
    except ModelGateError as error:
        context.progress.step(f"{name}: the champion is not compared with: {error.given}")
        return None
    return Champion(version, loaded.pipeline, loaded.segments)


def _drift(context: Context, training: DataFrame, features: Sequence[str]) -> dict[str, Any]:
    """Return how far numeric features of the test rows are from the training rows (stability index)."""
    then = {name: binned for name, binned in reference(context).items() if name in features}
    test = training.where(F.col(SPLIT) == "test")
    now = bin_counts(test, {name: binned.edges for name, binned in then.items()})
    found = {name: stability_index(binned.rows, now[name]) for name, binned in then.items()}
    most = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))
    return {"drift": {"greatest": most[0][1] if most else 0.0, "features": most[:_MOST_DRIFTED]}}


def _judged(
    context: Context, tracker: Tracker, registered: RegisteredModel, model: ModelSpec
) -> tuple[Verdict, str]:
    """Hold the version against its gate and the champion, move aliases accordingly, and return its own.

    One that has been champion stays as it is: a rerun must not promote again what people rolled back.
    """
    with hold(tracker, context.store, pipeline=context.project.name, model=registered.name) as aliases:
        verdict = judged(registered, champion_of(tracker, aliases), aliases.history, model.gate)
        if registered.version not in aliases.history.ever_champions:
            decision = Decision("train", f"{registered.comment}: {'; '.join(verdict.reasons)}")
            aliases.challenge(registered, decision)
            if verdict.promotes:
                aliases.promote(registered, decision)
        held = [alias for alias, version in aliases.held.items() if version == registered.version]
    tracker.tag(registered, "verdict", json.dumps(verdict.to_dict()))
    tracker.tag(registered, _JUDGED_BY, spec_hash(model.gate))
    return verdict, next(iter(held), "")


def _standing(verdict: Verdict, alias: str) -> str:
    if alias == CHAMPION:
        return alias
    why = "awaits approval" if verdict.awaits_approval else "not promoted"
    return f"{alias or 'an earlier champion'}, {why}"


def _line(trial: Trial, trials: int) -> str:
    value = trial.state if trial.value is None else f"{trial.value:.4f}"
    parameters = ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in trial.parameters.items()
    )
    said = f"{trial.estimator} {value} ({parameters}; {trial.seconds:.0f} s)"
    return f"trial {trial.number + 1} of {trials}: {said}"
