"""One training frame and one model spec become one fitted, tuned and measured model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from pyspark.ml import PipelineModel
from pyspark.ml.feature import VectorSlicer
from pyspark.sql import functions as F
from pyspark.storagelevel import StorageLevel

from featurelib.errors import FrameError, ModelGateError, PreconditionError, nearest
from featurelib.specs import SPLIT, EstimatorSpec, LiftStep, ModelSpec
from featurelib.threads import run_beside
from featurelib.training import estimators, evaluation
from featurelib.training.estimators import LABEL, Surroundings
from featurelib.training.features import candidate_columns, resolve_features
from featurelib.training.preparation import (
    ROW_HASH,
    VECTOR,
    Preparation,
    checked_types,
    fit_preparation,
    importance_by_feature,
    is_sampled,
)
from featurelib.training.result import EstimatorMetrics, LiftMetrics, SliceMetrics, TrainingResult
from featurelib.training.tuning import HyperoptTuner, Measured, OnTrial, Trial, Tuner, best_trial

if TYPE_CHECKING:
    from pyspark.ml import Model
    from pyspark.sql import DataFrame

AS_OF = "as_of_ts"
_SAMPLED = "_sampled"
_SPLITS = ("train", "validate", "test")
_MLLIB = frozenset({"logistic_regression", "random_forest", "gradient_boosted_trees"})


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
    """

    key: tuple[str, ...] = ()
    slices: tuple[str, ...] = ()
    on_trial: OnTrial = _ignore
    on_step: Callable[[str], None] = _ignore
    tuner: Tuner | None = None


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


@dataclass(frozen=True)
class _Workshop:
    """The prepared rows and all that a fit on them needs."""

    rows: DataFrame
    preparation: Preparation
    model: ModelSpec
    cores: int

    def of(self, *splits: str) -> DataFrame:
        return self.rows.where(F.col(SPLIT).isin(*splits))

    def sampled(self) -> DataFrame:
        """Return the training rows that trials are fitted on."""
        return self.of("train") if self.model.tuning.sample == 1 else self.of("train").where(_SAMPLED)

    def estimator(self, spec: EstimatorSpec, parameters: Mapping[str, Any], *, at_once: int) -> Any:  # noqa: ANN401 - an untyped pyspark estimator
        surroundings = Surroundings(
            seed=self.model.tuning.seed,
            max_bins=self.preparation.max_bins,
            cores=max(1, self.cores // at_once),
        )
        return estimators.build_estimator(spec, parameters, surroundings=surroundings)


@dataclass(frozen=True)
class _Final:
    """A best trial, fitted again on train and validation rows and measured on the test rows."""

    trial: Trial
    model: Model
    parameters: dict[str, Any]
    tallies: dict[tuple[str, str], evaluation.Tally]
    seconds: float

    @property
    def test(self) -> evaluation.Evaluation:
        whole = self.tallies[evaluation.ALL_ROWS, evaluation.ALL_ROWS]
        return evaluation.evaluation_of(whole, threshold=self.trial.threshold or 0.5)


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
    watch = _Watch(options.on_step)
    usable, skipped = _usable_estimators(model)
    features, steps = _resolved(training, model, name=name, label=label, options=options)
    with watch.step("prepare"):
        workshop, counts = _prepared(training, model, features=features, label=label, options=options)
    try:
        with watch.step("tune"):
            trials = _tuned(workshop, usable, options=options)
        with watch.step("refit"):
            finals = _refitted(workshop, trials, usable, slices=options.slices)
        with watch.step("lift"):
            lift = _lift_table(workshop, steps)
        with watch.step("evaluate"):
            best, blocks = finals[0], _blocks(finals[0])
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
        best=best.trial,
        parameters=best.parameters,
        evaluation=best.test,
        roc_auc_interval=interval,
        baseline=lift[0],
        lift=tuple(lift[1:]),
        by_estimator=tuple(_estimator_metrics(final) for final in finals),
        importance=tuple(importance),
        slices=_slices(best),
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


def _prepared(
    training: DataFrame,
    model: ModelSpec,
    *,
    features: tuple[str, ...],
    label: str,
    options: TrainingOptions,
) -> tuple[_Workshop, dict[str, int]]:
    """Return the vectors of all rows, persisted once for all fits, and the rows of each split.

    Rows are placed and ordered by their hash, so that a fit depends on the rows and not on how files or
    partitions held them.
    """
    identity = [f"`{column}`" for column in (options.key or (AS_OF, *features))]
    rows = training.where(F.col(SPLIT).isin(*_SPLITS)).select(
        *dict.fromkeys([SPLIT, AS_OF, *options.slices, *features]),
        F.col(f"`{label}`").cast("double").alias(LABEL),
        F.xxhash64(*identity, F.lit(model.tuning.seed)).alias(ROW_HASH),
    )
    learners = [*model.estimators.values(), model.lift_learner]
    forms = tuple(dict.fromkeys(estimators.form_of(spec) for spec in learners))
    train_rows = rows.where(F.col(SPLIT) == "train")
    preparation = fit_preparation(train_rows, features=features, categorical=model.categorical, forms=forms)
    cores = training.sparkSession.sparkContext.defaultParallelism
    prepared = (
        preparation.transform(rows)
        .select(
            *dict.fromkeys([SPLIT, AS_OF, *options.slices]),
            LABEL,
            ROW_HASH,
            is_sampled(model.tuning.sample).alias(_SAMPLED),
            *(VECTOR[form] for form in forms),
        )
        .repartition(cores, ROW_HASH)
        .sortWithinPartitions(ROW_HASH)
        .persist(StorageLevel.MEMORY_AND_DISK)
    )
    try:
        counts = _checked_splits(prepared, label=label)
    except BaseException:
        prepared.unpersist()
        raise
    return _Workshop(rows=prepared, preparation=preparation, model=model, cores=cores), counts


def _checked_splits(prepared: DataFrame, *, label: str) -> dict[str, int]:
    """Return the rows of each split, after checking that its labels are 0 and 1 and that both occur."""
    positive, negative = F.count_if(F.col(LABEL) == 1), F.count_if(F.col(LABEL) == 0)
    found = {
        row[SPLIT]: row
        for row in prepared.groupBy(SPLIT)
        .agg(F.count(F.lit(1)).alias("rows"), positive.alias("positive"), negative.alias("negative"))
        .collect()
    }
    for split in _SPLITS:
        row = found.get(split)
        if row is not None and row["positive"] + row["negative"] != row["rows"]:
            raise FrameError(
                f"{row['rows'] - row['positive'] - row['negative']} {split} rows have a label {label!r} "
                "other than 0 and 1",
                "0 or 1 in every row",
                "leave rows without a mature label out of the training set",
            )
        if row is None or not row["positive"] or not row["negative"]:
            counted = (
                "no rows" if row is None else f"{row['positive']} positives, {row['negative']} negatives"
            )
            raise ModelGateError(
                f"split {split!r} has {counted}",
                "rows of both labels in train, validate and test",
                "load more days, or move the dates of the split",
            )
    return {split: int(found[split]["rows"]) for split in _SPLITS}


def _tuned(
    workshop: _Workshop, usable: Mapping[str, EstimatorSpec], *, options: TrainingOptions
) -> tuple[Trial, ...]:
    tuning = workshop.model.tuning
    train_rows, validation_rows = workshop.sampled(), workshop.of("validate")

    def objective(trial: Trial) -> Measured:
        estimator = workshop.estimator(usable[trial.estimator], trial.parameters, at_once=tuning.parallelism)
        fitted = estimator.fit(train_rows)
        scored = evaluation.with_score(fitted.transform(validation_rows))
        tally = evaluation.tallies(scored, label=LABEL)[evaluation.ALL_ROWS, evaluation.ALL_ROWS]
        return Measured(evaluation.metric_of(tally, tuning.metric), evaluation.best_f1_threshold(tally))

    tuner = options.tuner or HyperoptTuner(tuning, spark=workshop.rows.sparkSession)
    return tuner.search(usable, objective, on_trial=options.on_trial)


def _refitted(
    workshop: _Workshop,
    trials: Sequence[Trial],
    usable: Mapping[str, EstimatorSpec],
    *,
    slices: Sequence[str],
) -> list[_Final]:
    """Fit the best trial, and the best of MLlib and of xgboost, on train and validation rows."""
    candidates = [
        best_trial(trials),
        best_trial(trials, kinds=_MLLIB),
        best_trial(trials, kinds=frozenset({"xgboost"})),
    ]
    chosen = list({trial.number: trial for trial in candidates if trial is not None}.values())
    rows, test_rows = workshop.of("train", "validate"), workshop.of("test")

    def refit(trial: Trial) -> _Final:
        started = time.monotonic()
        spec = usable[trial.estimator]
        parameters = {**trial.parameters, **spec.refit}
        fitted = workshop.estimator(spec, parameters, at_once=len(chosen)).fit(rows)
        scored = evaluation.with_score(fitted.transform(test_rows))
        counted = evaluation.tallies(scored, label=LABEL, slices=slices, block=F.to_date(AS_OF))
        return _Final(trial, fitted, parameters, counted, time.monotonic() - started)

    return run_beside(
        [partial(refit, trial) for trial in chosen],
        spark=workshop.rows.sparkSession,
        at_once=workshop.model.tuning.parallelism,
    )


def _lift_table(workshop: _Workshop, steps: Sequence[tuple[LiftStep, tuple[str, ...]]]) -> list[LiftMetrics]:
    """Fit the lift learner on sampled training rows with each step's features; measure it on test rows."""
    spec = workshop.model.lift_learner
    form = estimators.form_of(spec)
    at_once = min(workshop.model.tuning.parallelism, len(steps))

    def measure(step: LiftStep, features: tuple[str, ...]) -> LiftMetrics:
        places = workshop.preparation.places_of(features, form=form)
        if not places:
            return LiftMetrics(step.name, features, None, None)
        slicer = VectorSlicer(inputCol=VECTOR[form], outputCol="_sliced", indices=places)

        def narrowed(rows: DataFrame) -> DataFrame:
            return slicer.transform(rows).select(LABEL, F.col("_sliced").alias(VECTOR[form]))

        fitted = workshop.estimator(spec, spec.parameters, at_once=at_once).fit(narrowed(workshop.sampled()))
        scored = evaluation.with_score(fitted.transform(narrowed(workshop.of("test"))))
        tally = evaluation.tallies(scored, label=LABEL)[evaluation.ALL_ROWS, evaluation.ALL_ROWS]
        return LiftMetrics(
            step.name,
            features,
            evaluation.roc_auc(tally.rows, tally.positives),
            evaluation.pr_auc(tally.rows, tally.positives),
        )

    works = [partial(measure, step, features) for step, features in steps]
    return run_beside(works, spark=workshop.rows.sparkSession, at_once=at_once)


def _blocks(final: _Final) -> list[evaluation.Tally]:
    return [tally for (column, _), tally in sorted(final.tallies.items()) if column == evaluation.BLOCK]


def _slices(final: _Final) -> tuple[SliceMetrics, ...]:
    threshold = final.test.threshold
    found = []
    for (column, value), tally in sorted(final.tallies.items()):
        if column in {evaluation.ALL_ROWS, evaluation.BLOCK}:
            continue
        measured = evaluation.evaluation_of(tally, threshold=threshold)
        found.append(
            SliceMetrics(
                column=column,
                value=value,
                rows=measured.rows,
                positives=measured.positives,
                roc_auc=measured.roc_auc,
                precision=measured.precision,
                recall=measured.recall,
            )
        )
    return tuple(found)


def _estimator_metrics(final: _Final) -> EstimatorMetrics:
    test = final.test
    return EstimatorMetrics(
        estimator=final.trial.estimator,
        kind=final.trial.kind,
        parameters=final.parameters,
        roc_auc=test.roc_auc,
        pr_auc=test.pr_auc,
        log_loss=test.log_loss,
        seconds=final.seconds,
    )
