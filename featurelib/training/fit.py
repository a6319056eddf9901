"""One training frame and one model spec become one fitted, tuned and measured model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyspark.ml import PipelineModel

from featurelib.errors import FrameError, PreconditionError, nearest
from featurelib.specs import SPLIT, CostSettings, EstimatorSpec, LiftStep, ModelSpec
from featurelib.training import estimators, evaluation
from featurelib.training.features import candidate_columns, resolve_features
from featurelib.training.finals import blocks_of, estimator_metrics, refitted, slice_metrics
from featurelib.training.folds import folded
from featurelib.training.journal import Journal
from featurelib.training.lift import lift_table
from featurelib.training.preparation import (
    checked_types,
    importance_by_feature,
)
from featurelib.training.result import TrainingResult
from featurelib.training.search import TrialSearch, limit_of
from featurelib.training.trials import trial_objective
from featurelib.training.tuning import OnTrial, Tuner
from featurelib.training.workshop import AS_OF, prepared

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def _ignore(_: object) -> None:
    """Take a report and do nothing."""


@dataclass(frozen=True)
class TrainingOptions:
    """What a caller may choose beside the model's spec.

    Attributes:
        key: columns that identify a row; they order the rows, decide which are sampled and are never
            features. Without them ``as_of_ts`` and all features do.
        slices: columns by whose values the test metrics are also given.
        on_trial: called after each trial, one at a time, from the thread that ran it.
        on_step: called with the name of each step as it begins.
        tuner: another search than that of the model's ``tuning``.
        journal: where trials that ended are kept, so that a search which was killed goes on.
        cost: what an hour costs, for ``tuning.budget``.
    """

    key: tuple[str, ...] = ()
    slices: tuple[str, ...] = ()
    on_trial: OnTrial = _ignore
    on_step: Callable[[str], None] = _ignore
    tuner: Tuner | None = None
    journal: Journal | None = None
    cost: CostSettings | None = None


@dataclass
class _Watch:
    """Seconds of each step, on the wall clock."""

    on_step: Callable[[str], None]
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        self.on_step(name)
        started = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - started


def train_model(
    training: DataFrame,
    model: ModelSpec,
    *,
    name: str,
    label: str,
    options: TrainingOptions | None = None,
) -> TrainingResult:
    """Prepare, tune, fit again and measure; nothing is written.

    Everything is chosen without the test rows: stages are fitted on training rows, trials are fitted on a
    sample of these and compared on the validation rows, where the threshold is taken as well. The best
    trial, and the best MLlib and xgboost trials beside it, are fitted again on train and validation rows
    together (with ``refit`` parameters) and only then measured on the test rows.

    With ``tuning.folds`` trials are compared on folds of the training rows instead, each prepared by its own
    training rows; the threshold is taken there too.

    The frame is read four or five times, and as often for each fold: hand in a table's frame, not a plan
    that computes long.

    Args:
        training: one row an example: features, label (0 or 1), ``as_of_ts`` and ``_split``, which is
            ``train``, ``validate`` or ``test``; rows with another value or none are left out.
        model: features, estimators, tuning, baseline and lift steps.
        name: the model's name.
        label: the label column.
        options: row key, slices and callbacks.

    Raises:
        ConfigError: patterns or categorical names are wrong.
        FrameError: a column is missing, of a wrong type, or the label is not 0 or 1.
        ModelGateError: a split or fold has not both labels, or every trial failed.
        BudgetExceeded: no trial ended within the limits of ``tuning``.
        PreconditionError: no estimator of the model can run here.
    """
    options = options or TrainingOptions()
    watch = _Watch(options.on_step)
    usable, skipped = _usable_estimators(model)
    tuner = options.tuner or TrialSearch(
        model.tuning,
        spark=training.sparkSession,
        limit=limit_of(model.tuning, options.cost),
        journal=options.journal,
    )
    features, steps = _resolved(training, model, name=name, label=label, options=options)
    with watch.step("prepare"):
        workshop, counts = prepared(
            training, model, features=features, label=label, key=options.key, slices=options.slices
        )
    try:
        with watch.step("tune"):
            with (
                folded(training, model, features=features, label=label, key=options.key) as folds,
                trial_objective(workshop, folds, usable) as objective,
            ):
                searched = tuner.search(usable, objective, on_trial=options.on_trial)
            trials = searched.trials
        with watch.step("refit"):
            finals = refitted(workshop, trials, usable, slices=options.slices)
        with watch.step("lift"):
            lift = lift_table(workshop, steps)
        with watch.step("evaluate"):
            best, blocks = finals[0], blocks_of(finals[0])
            interval = evaluation.roc_auc_interval(blocks, seed=model.tuning.seed)
            form = estimators.form_of(usable[best.trial.estimator])
            weights = estimators.feature_weights(best.model, places=len(workshop.preparation.places[form]))
            importance = importance_by_feature(workshop.preparation, weights, form=form)
    finally:
        workshop.rows.unpersist()
    types = {column.name: column.dataType.simpleString() for column in training.schema.fields}
    return TrainingResult(
        name=name,
        label=label,
        model=PipelineModel(stages=[*workshop.preparation.stages(form), best.model]),
        features=workshop.preparation.features,
        feature_types={feature: types[feature] for feature in workshop.preparation.features},
        dropped=workshop.preparation.dropped,
        skipped=skipped,
        rows=counts,
        trials=trials,
        stopped_by=searched.stopped_by,
        best=best.trial,
        parameters=best.parameters,
        evaluation=best.test,
        roc_auc_interval=interval,
        baseline=lift[0],
        lift=tuple(lift[1:]),
        by_estimator=tuple(estimator_metrics(final) for final in finals),
        importance=tuple(importance),
        slices=slice_metrics(best),
        seconds=watch.seconds,
    )


def _usable_estimators(model: ModelSpec) -> tuple[dict[str, EstimatorSpec], dict[str, str]]:
    """Return the estimators that can run here, and of each other one why not."""
    skipped = {}
    for name, spec in model.estimators.items():
        if (package := estimators.missing_package(spec)) is not None:
            skipped[name] = f"the package {package} is not installed"
    usable = {name: spec for name, spec in model.estimators.items() if name not in skipped}
    if not usable:
        raise PreconditionError(
            f"no estimator can run: {skipped}",
            "at least one estimator whose package is installed",
            "install featurelib[xgboost], or add an MLlib estimator to the model",
        )
    return usable, skipped


def _resolved(
    training: DataFrame, model: ModelSpec, *, name: str, label: str, options: TrainingOptions
) -> tuple[tuple[str, ...], list[tuple[LiftStep, tuple[str, ...]]]]:
    """Return the model's features, and those of the baseline and of each lift step."""
    for column in (label, AS_OF, SPLIT, *options.key, *options.slices):
        if column not in training.columns:
            raise FrameError(
                f"the training frame has no column {column!r}.{nearest(column, training.columns)}",
                f"columns {label}, {AS_OF} and {SPLIT}, the key and the slices",
                "build the training set with the label and its splits",
            )
    available = candidate_columns(training.columns, reserved=(label, AS_OF, *options.key))
    features = resolve_features(model.features, available, what=f"model {name}")
    checked_types(training, features=features, categorical=model.categorical)
    steps = [
        (step, resolve_features(step.features, features, what=f"model {name}, features {step.name!r}"))
        for step in (model.baseline, *model.lift)
    ]
    return features, steps
