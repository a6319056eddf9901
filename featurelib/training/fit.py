"""One training frame and one model spec become one fitted, tuned and measured model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pyspark.ml import PipelineModel

from featurelib.errors import FrameError, PreconditionError, nearest
from featurelib.specs import SPLIT, EstimatorSpec, LiftStep, ModelSpec
from featurelib.training import estimators, evaluation
from featurelib.training.estimators import LABEL
from featurelib.training.features import candidate_columns, resolve_features
from featurelib.training.finals import estimator_metrics, refitted, slice_metrics
from featurelib.training.lift import lift_table
from featurelib.training.preparation import (
    checked_types,
    importance_by_feature,
)
from featurelib.training.result import TrainingResult
from featurelib.training.review import Champion, Reviewed, grouped_by, review, reweighed
from featurelib.training.tuning import HyperoptTuner, Measured, OnTrial, Trial, Tuner
from featurelib.training.workshop import AS_OF, Workshop, prepared

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
        tuner: another search than Hyperopt's.
        champion: the champion to compare with on the same test rows.
    """

    key: tuple[str, ...] = ()
    slices: tuple[str, ...] = ()
    on_trial: OnTrial = _ignore
    on_step: Callable[[str], None] = _ignore
    tuner: Tuner | None = None
    champion: Champion | None = None


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
    together (with ``refit`` parameters) and only then measured on the test rows. What the model's ``review``
    asks for comes last, of the best alone.

    The frame is read four or five times: hand in a table's frame, not a plan that computes long.

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
        ModelGateError: a split has not both labels, or every trial failed.
        PreconditionError: no estimator of the model can run here.
    """
    options = options or TrainingOptions()
    options = replace(options, slices=tuple(dict.fromkeys((*options.slices, *grouped_by(model)))))
    watch = _Watch(options.on_step)
    usable, skipped = _usable_estimators(model)
    features, steps = _resolved(training, model, name=name, label=label, options=options)
    with watch.step("prepare"):
        workshop, counts = prepared(
            training, model, features=features, label=label, key=options.key, slices=options.slices
        )
    try:
        workshop = reweighed(workshop)
        with watch.step("tune"):
            trials = _tuned(workshop, usable, options=options)
        with watch.step("refit"):
            finals = refitted(workshop, trials, usable, slices=options.slices)
        with watch.step("lift"):
            lift = lift_table(workshop, steps)
        with watch.step("evaluate"):
            best = finals[0]
            form = estimators.form_of(usable[best.trial.estimator])
            weights = estimators.feature_weights(best.model, places=len(workshop.preparation.places[form]))
            importance = importance_by_feature(workshop.preparation, weights, form=form)
            pipeline = PipelineModel(stages=[*workshop.preparation.stages(form), best.model])
        with watch.step("review"):
            reviewed = review(
                Reviewed(
                    workshop=workshop,
                    training=training,
                    final=best,
                    estimator=usable[best.trial.estimator],
                    pipeline=pipeline,
                    label=label,
                    key=options.key,
                    importance=importance,
                    champion=options.champion,
                )
            )
    finally:
        workshop.rows.unpersist()
    types = {column.name: column.dataType.simpleString() for column in training.schema.fields}
    return TrainingResult(
        name=name,
        label=label,
        model=pipeline,
        features=workshop.preparation.features,
        feature_types={feature: types[feature] for feature in workshop.preparation.features},
        dropped=workshop.preparation.dropped,
        skipped=skipped,
        rows=counts,
        trials=trials,
        best=best.trial,
        parameters=best.parameters,
        evaluation=best.test,
        roc_auc_interval=reviewed["intervals"].get("roc_auc"),
        baseline=lift[0],
        lift=tuple(lift[1:]),
        by_estimator=tuple(estimator_metrics(final) for final in finals),
        importance=tuple(importance),
        slices=slice_metrics(best, seed=model.tuning.seed),
        seconds=watch.seconds,
        review=reviewed,
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


def _tuned(
    workshop: Workshop, usable: Mapping[str, EstimatorSpec], *, options: TrainingOptions
) -> tuple[Trial, ...]:
    tuning = workshop.model.tuning
    train_rows, validation_rows = workshop.sampled(), workshop.of("validate")

    def objective(trial: Trial) -> Measured:
        estimator = workshop.estimator(usable[trial.estimator], trial.parameters, at_once=tuning.parallelism)
        fitted = estimator.fit(train_rows)
        scored = evaluation.with_score(fitted.transform(validation_rows))
        tally = evaluation.tallies(scored, label=LABEL)[evaluation.ALL_ROWS, evaluation.ALL_ROWS]
        return Measured(
            evaluation.metric_of(tally, tuning.metric), evaluation.best_threshold(tally, workshop.model.costs)
        )

    tuner = options.tuner or HyperoptTuner(tuning, spark=workshop.rows.sparkSession)
    return tuner.search(usable, objective, on_trial=options.on_trial)
