"""A model is trained again from what its run recorded, and held against what came out then."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError
from pyspark.ml import PipelineModel
from pyspark.sql import functions as F

import featurelib
from featurelib.errors import ModelGateError, nearest
from featurelib.lineage.records import code_version, package_versions
from featurelib.pipeline.context import Context
from featurelib.pipeline.functions import loaded_model
from featurelib.pipeline.train import training_options, warm_from
from featurelib.registry.tracker import Tracker
from featurelib.registry.versions import RegisteredModel
from featurelib.specs import SPLIT, ModelSpec, Project
from featurelib.tables import is_readable, read
from featurelib.training.evaluation import SCORE, with_score
from featurelib.training.fit import train_model

CLOSE = 1e-6
"""Up to here figures and probabilities count as equal: sums of doubles come in another order each time."""

_OUTBOX_ID = "outbox_id"


@dataclass(frozen=True)
class Reproduction:
    """What training again gave beside what was recorded.

    Attributes:
        model: the registered model.
        version: the version that came from the run.
        differences: of each figure, how far the new one is from the recorded; None where one has none.
        choices: what was chosen otherwise, in words: estimator, parameters, features.
        probability: the greatest difference of a test row's probability by the recorded files and by the new
            model.
        surroundings: what is not as it was then, in words: code, packages.
    """

    model: str
    version: int
    differences: Mapping[str, float | None]
    choices: tuple[str, ...]
    probability: float
    surroundings: tuple[str, ...]

    @property
    def is_equal(self) -> bool:
        """Whether the same was chosen, and every figure and probability agrees to a millionth."""
        far = [value for value in self.differences.values() if value is None or not value <= CLOSE]
        return not self.choices and not far and self.probability <= CLOSE


def find_run(project: Project, run: str) -> RegisteredModel:
    """Return the version that came from a run, by MLflow's id of the run or by the step's own.

    Raises:
        ModelGateError: no version of the project's models came from it.
    """
    tracker = Tracker(project.settings.tracking)
    known: dict[str, RegisteredModel] = {}
    for name in project.models:
        for version in tracker.versions(name):
            known |= {version.run_id: version, version.tags.get(_OUTBOX_ID, ""): version}
    if run in known:
        return known[run]
    raise ModelGateError(
        f"no model came from run {run!r}.{nearest(run, known)}",
        f"one of {len(known) // 2} runs" if known else "a model that was trained",
        "see run_id of each version with: featurelib models --json",
    )


def reproduce(context: Context, registered: RegisteredModel) -> Reproduction:
    """Train a version again: its recorded spec on the recorded version of the training set.

    Nothing is written, registered or promoted.

    Raises:
        ModelGateError: the spec was not recorded, or the training set of that version cannot be read.
    """
    what = f"version {registered.version} of model {registered.name!r}"
    tracker = Tracker(context.project.settings.tracking)
    recorded = tracker.result(registered)
    model = _spec(recorded, what)
    table, version = _training(context, registered, what)
    training = read(context.spark, context.store, table, version=version)
    loaded = loaded_model(context.project, registered)
    options = training_options(context, registered.name, training.columns, trials=model.tuning.trials)
    if (before := recorded.get("continued_from")) is not None:
        first = tracker.version(registered.name, int(before["version"]))
        options = replace(options, warm=warm_from(context, first))
    with context.progress.stage(f"train {registered.name} from {table} version {version}") as stage:
        result = train_model(
            training, model, name=registered.name, label=str(recorded["label"]), options=options
        )
        figure = model.gate.metric
        stage.summary = f"test {figure} {result.evaluation.to_dict()[figure]:.6f}"
    again = json.loads(json.dumps(result.to_dict()))
    return Reproduction(
        model=registered.name,
        version=registered.version,
        differences=_differences(recorded, again),
        choices=tuple(_choices(recorded, again)),
        probability=_farthest(training.where(F.col(SPLIT) == "test"), loaded.pipeline, result.model),
        surroundings=tuple(_surroundings(registered)),
    )


def reproduction_text(found: Reproduction) -> str:
    """Return what came out, for people."""
    exact = found.is_equal and found.probability == 0 and not any(found.differences.values())
    verdict = "identical" if exact else f"equal to {CLOSE:g}" if found.is_equal else "NOT equal"
    lines = [f"{found.model} version {found.version}, trained again: {verdict}"]
    lines += [f"  chosen otherwise: {choice}" for choice in found.choices]
    for name, value in found.differences.items():
        if value is None or value > CLOSE or name == "roc_auc":
            lines.append(f"  {name}: {'only one has it' if value is None else f'differs by {value:.3g}'}")
    lines.append(f"  probabilities of the test rows: differ by {found.probability:.3g} at most")
    lines += [f"  not as it was then: {one}" for one in found.surroundings]
    return "\n".join(lines)


def _spec(recorded: Mapping[str, Any], what: str) -> ModelSpec:
    if "spec" not in recorded:
        raise ModelGateError(
            f"{what} was registered before specs were recorded",
            "a version with its spec",
            "train a new version; it can then be trained again from its run",
        )
    try:
        return ModelSpec.model_validate(recorded["spec"])
    except ValidationError as error:
        raise ModelGateError(
            f"the recorded spec of {what} is not one of this library: {error}",
            "a spec that this version of the library can read",
            "use the version of the library it was trained with; its code_version tag names it",
        ) from None


def _training(context: Context, registered: RegisteredModel, what: str) -> tuple[str, int]:
    versions = json.loads(registered.tags.get("delta_versions", "{}"))
    table = context.names.training
    if table not in versions:
        raise ModelGateError(
            f"{what} names no version of {table}", "the training set it was trained on", "train a new one"
        )
    if not is_readable(context.store, table, versions[table]):
        raise ModelGateError(
            f"{what} was trained on {table} version {versions[table]}, which can no longer be read",
            "a version within the retention of its table",
            "keep training sets longer (storage.tables), or train a new version on today's",
        )
    return table, int(versions[table])


def _differences(recorded: Mapping[str, Any], again: Mapping[str, Any]) -> dict[str, float | None]:
    then, now = recorded["evaluation"], again["evaluation"]
    names = [name for name, value in then.items() if isinstance(value, int | float) or value is None]
    found = {name: _distance(then[name], now.get(name)) for name in names}
    trials = zip(recorded["trials"], again["trials"], strict=False)
    far = [_distance(one["value"], other["value"]) for one, other in trials]
    found["trials"] = None if None in far else max((value for value in far if value is not None), default=0.0)
    return found


def _distance(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return 0.0 if one is other else None
    return abs(one - other)


def _choices(recorded: Mapping[str, Any], again: Mapping[str, Any]) -> Iterator[str]:
    for name in ("estimator", "best_trial", "parameters", "features", "dropped", "rows"):
        if recorded.get(name) != again.get(name):
            yield f"{name} {again.get(name)}, was {recorded.get(name)}"
    if len(recorded["trials"]) != len(again["trials"]):
        yield f"{len(again['trials'])} trials, were {len(recorded['trials'])}"


def _farthest(test: Any, recorded: PipelineModel, again: PipelineModel) -> float:  # noqa: ANN401 - a frame
    """Return the greatest difference of what two models make of a row, in one pass: its score or number."""

    def predicted(pipeline: PipelineModel, rows: Any, name: str) -> Any:  # noqa: ANN401 - frames
        made = pipeline.transform(rows)
        scored = (
            with_score(made) if "probability" in made.columns else made.withColumn(SCORE, F.col("prediction"))
        )
        return scored.select(*rows.columns, F.col(SCORE).alias(name))

    both = predicted(again, predicted(recorded, test, "_recorded"), "_again")
    row = both.agg(F.max(F.abs(F.col("_again") - F.col("_recorded")))).head()
    return float("nan") if row is None or row[0] is None else float(row[0])


def _surroundings(registered: RegisteredModel) -> Iterator[str]:
    for name, now in (
        ("code_version", code_version(featurelib.__version__)),
        ("packages", package_versions()),
    ):
        then = json.loads(registered.tags.get(name, "{}"))
        for part in sorted(then.keys() | now.keys()):
            if then.get(part) != now.get(part):
                yield f"{part} {now.get(part, 'absent')}, was {then.get(part, 'absent')}"
