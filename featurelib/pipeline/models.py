"""What people decide about models: promote, roll back, approve; each is checked first and written down."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from featurelib.errors import AliasMoved, ConfigError, ModelGateError, NoNewData, nearest
from featurelib.pipeline.checklist import checklist, open_items
from featurelib.pipeline.context import store_of
from featurelib.pipeline.definitions import check_features
from featurelib.registry.aliases import Aliases, hold
from featurelib.registry.audit import Decision, History
from featurelib.registry.gate import Verdict, gate
from featurelib.registry.tracker import Tracker
from featurelib.registry.versions import CHALLENGER, RegisteredModel
from featurelib.specs import Gate, ModelSpec, Project
from featurelib.tables import Store, erased_by, is_readable


@dataclass(frozen=True)
class Outcome:
    """What came of a decision.

    Attributes:
        model: the registered model.
        version: the version decided about.
        champion: the champion now, None if there is none.
        was_champion: the champion before.
        remarks: sentences for people: the gate's reasons, the state of the data it was trained on.
    """

    model: str
    version: int
    champion: int | None
    was_champion: int | None
    remarks: tuple[str, ...] = ()


def promote(
    project: Project,
    model: str,
    version: int,
    decision: Decision,
    *,
    despite_gate: bool = False,
    if_champion: int | None = None,
) -> Outcome:
    """Make a version champion, if its features, its files and today's gate allow it; Spark is not needed.

    Args:
        project: the validated specs; their gate and their definition of features count.
        model: one of its models.
        version: any version of it.
        decision: who and why.
        despite_gate: promote a version that its figures hold back; the audit says so. A required approval
            stays required.
        if_champion: promote only if this version is champion still, 0 for none.

    Raises:
        ModelGateError: the version is not fit, or the gate holds it back.
        AliasMoved: somebody moved an alias meanwhile.
        NoNewData: it is champion already.
    """
    with _held(project, model) as desk:
        registered = desk.tracker.version(model, version)
        desk.check_champion(if_champion)
        if desk.aliases.champion == version:
            raise NoNewData(f"version {version} of model {model!r} is champion already")
        desk.check_fit(registered)
        verdict = desk.judged(registered)
        if not verdict.promotes:
            decision = _despite(decision, registered, verdict, allowed=despite_gate)
        was = desk.aliases.champion
        desk.aliases.promote(registered, decision)
        return Outcome(model, version, version, was, (*verdict.reasons, *desk.data_versions(registered)))


def roll_back(
    project: Project,
    model: str,
    decision: Decision,
    *,
    to: int | None = None,
    if_champion: int | None = None,
) -> Outcome:
    """Make an earlier champion champion again, if its features and files are what they were.

    No gate is asked, and no approval: it has been champion, and there may be no time.

    Args:
        project: the validated specs.
        model: one of its models.
        decision: who and why.
        to: a version that has been champion; None for the champion before.
        if_champion: roll back only if this version is champion still, 0 for none.

    Raises:
        ModelGateError: there is no such champion, or it is no longer fit.
        AliasMoved: somebody moved an alias meanwhile.
        NoNewData: it is champion now.
    """
    with _held(project, model) as desk:
        desk.check_champion(if_champion)
        was = desk.aliases.champion
        registered = desk.tracker.version(model, desk.earlier_champion(to))
        if registered.version == was:
            raise NoNewData(f"version {was} of model {model!r} is champion now")
        desk.check_fit(registered)
        desk.check_recorded_files(registered)
        desk.aliases.roll_back(registered, decision)
        return Outcome(
            model, registered.version, registered.version, was, tuple(desk.data_versions(registered))
        )


def approve(project: Project, model: str, version: int, decision: Decision) -> Outcome:
    """Write down that a reviewer approves a version; promote it if only that was missing.

    It is promoted where the gate requires an approval, the version is the challenger and today's gate passes.
    What the reviewer's checklist leaves open is among the remarks, and holds nothing back.

    Raises:
        ModelGateError: the version is not fit to be approved.
        AliasMoved: somebody moved an alias meanwhile; the approval is written down.
    """
    with _held(project, model) as desk:
        registered = desk.tracker.version(model, version)
        desk.check_fit(registered)
        was = desk.aliases.champion
        desk.aliases.approve(registered, decision)
        verdict = desk.judged(registered)
        waits = desk.spec.gate.approval == "required" and desk.aliases.held.get(CHALLENGER) == version
        if waits and verdict.promotes:
            desk.aliases.promote(registered, decision)
        checks = checklist(registered, desk.tracker.result(registered), desk.spec, desk.store)
        return Outcome(model, version, desk.aliases.champion, was, (*verdict.reasons, *open_items(checks)))


def judged(
    registered: RegisteredModel, champion: RegisteredModel | None, history: History, demands: Gate
) -> Verdict:
    """Hold a version's figures and approval against a gate, and against the champion if that is another."""
    metrics = registered.metrics
    baseline = {
        name.removeprefix("baseline_"): metrics[name] for name in metrics if name.startswith("baseline_")
    }
    approval = history.approval(registered.version, registered.sha256)
    is_other = champion is not None and champion.version != registered.version
    compared = champion is not None and metrics.get("champion_version") == champion.version
    figures = {name: metrics[name] for name in metrics if compared or not name.startswith("champion_")}
    return gate(
        {"evaluation": metrics, "baseline": baseline, "figures": figures},
        champion.metrics if champion is not None and is_other else None,
        demands,
        approved_by=None if approval is None else approval.decided_by,
    )


def champion_of(tracker: Tracker, aliases: Aliases) -> RegisteredModel | None:
    """Return the champion of the aliases that are held, None if there is none."""
    return None if aliases.champion is None else tracker.version(aliases.model, aliases.champion)


@dataclass(frozen=True)
class _Desk:
    """Everything a decision about one model needs."""

    project: Project
    spec: ModelSpec
    tracker: Tracker
    store: Store
    aliases: Aliases

    def judged(self, registered: RegisteredModel) -> Verdict:
        champion = champion_of(self.tracker, self.aliases)
        return judged(registered, champion, self.aliases.history, self.spec.gate)

    def check_champion(self, expected: int | None) -> None:
        champion = self.aliases.champion
        if expected is not None and (champion or 0) != expected:
            raise AliasMoved(
                f"the champion of model {self.aliases.model!r} is {_version(champion)}",
                f"{_version(expected)}, as --if-champion says",
                f"look who moved it and why: featurelib models --model {self.aliases.model} --moves",
            )

    def check_fit(self, registered: RegisteredModel) -> None:
        """Check that scoring would take the version: its features mean the same, its files are its own."""
        check_features(self.project, registered)
        self.tracker.check(registered)

    def check_recorded_files(self, registered: RegisteredModel) -> None:
        """Check that the version's hash is that of the files which were champion."""
        recorded = self.aliases.history.champion_sha256(registered.version)
        if recorded not in {None, registered.sha256}:
            raise ModelGateError(
                f"version {registered.version} of model {registered.name!r} has sha256 {registered.sha256}",
                f"{recorded}, which it had when it was champion",
                "do not use it: find out who changed it; roll back to another with --to",
            )

    def earlier_champion(self, wanted: int | None) -> int:
        """Return the version to roll back to, which has been champion."""
        ever = self.aliases.history.ever_champions
        version = self.aliases.former_champion if wanted is None else wanted
        if version is None or version not in ever:
            others = ", ".join(str(one) for one in sorted(ever - {self.aliases.champion}))
            asked = "has no champion before this one" if wanted is None else f"never had champion {wanted}"
            raise ModelGateError(
                f"model {self.aliases.model!r} {asked}",
                f"an earlier champion: one of {others}" if others else "an earlier champion",
                "give one with --to" if others else "promote a version with: featurelib promote",
            )
        return version

    def data_versions(self, registered: RegisteredModel) -> Iterator[str]:
        """Say which tables the version was trained on, and whether they can still be read as they were."""
        for table, version in json.loads(registered.tags.get("delta_versions", "{}")).items():
            there = is_readable(self.store, table, version)
            erased = erased_by(self.store, table, version)
            gone = "no longer readable" if erased is None else f"erased on request {erased.request}"
            state = "still readable" if there else f"{gone}: it can score, not be trained again"
            yield f"trained on {table} version {version}, {state}"


def checked_model(project: Project, name: str) -> str:
    """Return the name of a model of the project.

    Raises:
        ConfigError: there is no such model; the message names the one that was meant.
    """
    if name not in project.models:
        raise ConfigError(
            f"unknown model {name!r}.{nearest(name, project.models)}",
            f"one of {', '.join(project.models)}",
            "give --model",
        )
    return name


@contextmanager
def _held(project: Project, model: str) -> Iterator[_Desk]:
    checked_model(project, model)
    tracker, store = Tracker(project.settings.tracking), store_of(project)
    with hold(tracker, store, pipeline=project.name, model=model) as aliases:
        yield _Desk(project, project.models[model], tracker, store, aliases)


def _despite(decision: Decision, registered: RegisteredModel, verdict: Verdict, *, allowed: bool) -> Decision:
    """Return the decision with what the gate says against it, or refuse it."""
    what = f"version {registered.version} of model {registered.name!r}"
    reasons = "; ".join(verdict.reasons)
    if not verdict.approved:
        raise ModelGateError(
            f"{what} is not approved: {reasons}",
            "the approval of a reviewer",
            f"featurelib approve --model {registered.name} --version {registered.version} --by .. --note ..",
        )
    if not allowed:
        raise ModelGateError(
            f"the gate holds back {what}: {reasons}",
            "every demand met",
            "train a better one, or say --despite-gate and why",
        )
    return replace(decision, note=f"{decision.note.strip()} (despite the gate: {reasons})")


def _version(version: int | None) -> str:
    return f"version {version}" if version else "no version"
