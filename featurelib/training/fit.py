"""One training frame and one model spec become one fitted, tuned and measured model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from pyspark.ml import PipelineModel

from featurelib.errors import FrameError, PreconditionError, nearest
from featurelib.specs import SPLIT, CostSettings, EstimatorSpec, LiftStep, ModelSpec, Tuning
from featurelib.training import estimators
from featurelib.training.als import check_als
from featurelib.training.features import candidate_columns, resolve_features
from featurelib.training.finals import Final, estimator_metrics, refitted, slice_metrics
from featurelib.training.folds import folded
from featurelib.training.function_model import Resolve
from featurelib.training.journal import Journal
from featurelib.training.learners import Bench, fit_learner, forms_of, identities_of
from featurelib.training.lift import lift_table, trivial_metrics
from featurelib.training.preparation import checked_types, importance_by_feature
from featurelib.training.result import TrainingResult
from featurelib.training.review import Champion, Reviewed, grouped_by, kept_for, review
from featurelib.training.search import TimeLeft, TrialSearch, limit_of
from featurelib.training.segments import (
    SegmentsResult,
    Slicing,
    checked_segments,
    measured_with_slices,
    trained_segments,
)
from featurelib.training.smaller import Comparison
from featurelib.training.trials import cut_for_trials, ensemble_trials, trial_objective, with_best_parameters
from featurelib.training.tuning import OnTrial, Searched, Tuner
from featurelib.training.warm import WarmStart, checked_warm
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
        tuner: another search than that of the model's ``tuning``.
        code: gives the classes behind estimators of kind ``function``.
        journal: where trials that ended are kept, so that a search which was killed goes on.
        cost: what an hour costs, for ``tuning.budget``.
        champion: the champion to compare with on the same test rows.
        left: what the run has left for the search; None for no limit but that of ``tuning``.
        warm: the model that this one goes on from, None for none.
    """

    key: tuple[str, ...] = ()
    slices: tuple[str, ...] = ()
    on_trial: OnTrial = _ignore
    on_step: Callable[[str], None] = _ignore
    tuner: Tuner | None = None
    code: Resolve | None = None
    journal: Journal | None = None
    cost: CostSettings | None = None
    champion: Champion | None = None
    left: TimeLeft | None = None
    warm: WarmStart | None = None


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

    With ``tuning.folds`` trials are compared on folds of the training rows instead, each prepared by its own
    training rows; the threshold is taken there too.

    The frame is read four or five times, and as often for each fold: hand in a table's frame, not a plan
    that computes long.

    Args:
        training: one row an example: features, label (0 or 1, or a number), ``as_of_ts`` and ``_split``,
            which is ``train``, ``validate`` or ``test``; rows with another value or none are left out.
        model: features, estimators, tuning, baseline and lift steps.
        name: the model's name.
        label: the label column.
        options: row key, slices and callbacks.

    Raises:
        ConfigError: patterns or categorical names are wrong.
        FrameError: a column is missing, of a wrong type, or the label is not 0 or 1 (or no finite number).
        ModelGateError: a split or fold has not both labels, a feature tells the label by itself, or every
            trial failed.
        BudgetExceeded: no trial ended within the limits of ``tuning``, or the run has no time left.
        PreconditionError: no estimator of the model can run here.
    """
    options = options or TrainingOptions()
    options = replace(options, slices=tuple(dict.fromkeys((*options.slices, *grouped_by(model)))))
    watch = _Watch(options.on_step)
    usable, skipped = _usable_estimators(model, options.code)
    tuner = options.tuner or TrialSearch(
        model.tuning,
        spark=training.sparkSession,
        limit=limit_of(model.tuning, options.cost),
        left=options.left,
        journal=options.journal,
    )
    features, steps = _resolved(training, model, name=name, label=label, options=options)
    slicing = checked_segments(training, model)
    warm = None if options.warm is None else checked_warm(options.warm, training, features)
    by = (*(slicing.by if slicing is not None else ()), *kept_for(model))
    with watch.step("prepare"):
        workshop = prepared(
            training, model, features=features, label=label, key=options.key, slices=(*options.slices, *by),
            kept=None if warm is None else warm.preparation,
        )  # fmt: skip
    try:
        with watch.step("tune"):
            bench = Bench(
                usable,
                at_once=model.tuning.parallelism,
                code=options.code,
                booster=None if warm is None else warm.booster,
            )
            with (
                folded(training, model, features=features, label=label, key=options.key) as folds,
                cut_for_trials([*folds] or [workshop]) as places,
            ):
                searched, smaller = _tuned(places, model.tuning, bench, tuner, options.on_trial)
            trials, bench = searched.trials, with_best_parameters(bench, searched.trials)
        with watch.step("refit"):
            finals = refitted(workshop, trials, bench, slices=options.slices)
        parent, segments = finals[0], None
        if slicing is not None:
            with watch.step("segments"):
                segments, finals[0] = _with_segments(workshop, parent, slicing, bench, slices=options.slices)
        with watch.step("lift"):
            lift, trivial = lift_table(workshop, steps), trivial_metrics(workshop)
        with watch.step("evaluate"):
            best = finals[0]
            importance = _importance(workshop, best, usable)
            pipeline, read = _assembled(workshop, best, usable, is_parent=slicing is not None)
        with watch.step("review"):
            reviewed = review(
                Reviewed(
                    workshop=workshop,
                    training=training,
                    final=best,
                    bench=bench,
                    pipeline=pipeline,
                    label=label,
                    key=options.key,
                    features=read,
                    importance=importance,
                    champion=options.champion,
                    segments=segments.models if segments is not None else None,
                )
            )
    finally:
        workshop.rows.unpersist()
    types = {column.name: column.dataType.simpleString() for column in training.schema.fields}
    return TrainingResult(
        name=name,
        label=label,
        model=pipeline,
        features=read,
        feature_types={feature: types[feature] for feature in read},
        dropped=workshop.preparation.dropped,
        skipped=skipped,
        rows=workshop.counts,
        trials=trials,
        stopped_by=searched.stopped_by,
        best=best.trial,
        parameters=best.parameters,
        evaluation=best.test,
        roc_auc_interval=reviewed["intervals"].get("roc_auc"),
        baseline=lift[0],
        lift=tuple(lift[1:]),
        by_estimator=tuple(estimator_metrics(final) for final in (parent, *finals[1:])),
        importance=importance,
        slices=slice_metrics(best, seed=model.tuning.seed),
        seconds=watch.seconds,
        task=model.task,
        trivial=trivial,
        smaller=tuple(asdict(comparison) for comparison in smaller),
        dropped_because=workshop.preparation.reasons,
        segments=segments,
        review=reviewed,
        continued_from=None if warm is None else warm.told(),
    )


def _usable_estimators(
    model: ModelSpec, code: Resolve | None
) -> tuple[dict[str, EstimatorSpec], dict[str, str]]:
    """Return the estimators that can run here, and of each other one why not."""
    skipped = {}
    for name, spec in model.estimators.items():
        if (package := estimators.missing_package(spec)) is not None:
            skipped[name] = f"the package {package} is not installed"
    for name, spec in model.estimators.items():
        if lacking := [member for member in spec.members if member in skipped]:
            skipped[name] = f"its member {lacking[0]} cannot run: {skipped[lacking[0]]}"
    usable = {name: spec for name, spec in model.estimators.items() if name not in skipped}
    if not usable:
        raise PreconditionError(
            f"no estimator can run: {skipped}",
            "at least one estimator whose package is installed",
            "install featurelib[xgboost], or add an MLlib estimator to the model",
        )
    for spec in usable.values():
        if spec.function is not None and code is not None:
            code(spec.function)  # a learner that does not exist is told before hours of training
    return usable, skipped


def _resolved(
    training: DataFrame, model: ModelSpec, *, name: str, label: str, options: TrainingOptions
) -> tuple[tuple[str, ...], list[tuple[LiftStep, tuple[str, ...]]]]:
    """Return the model's features, and those of the baseline and of each lift step."""
    for column in (label, AS_OF, SPLIT, *options.key, *options.slices, *kept_for(model)):
        if column not in training.columns:
            raise FrameError(
                f"the training frame has no column {column!r}.{nearest(column, training.columns)}",
                f"columns {label}, {AS_OF} and {SPLIT}, the key, the slices and groups of the review",
                "build the training set with the label and its splits",
            )
    check_als(training, model, name=name, label=label)
    available = candidate_columns(training.columns, reserved=(label, AS_OF, *options.key))
    features = resolve_features(model.features, available, what=f"model {name}")
    checked_types(training, features=features, categorical=model.categorical)
    steps = [
        (step, resolve_features(step.features, features, what=f"model {name}, features {step.name!r}"))
        for step in (model.baseline, *model.lift)
    ]
    return features, steps


def _with_segments(
    workshop: Workshop, parent: Final, slicing: Slicing, bench: Bench, *, slices: tuple[str, ...]
) -> tuple[SegmentsResult, Final]:
    """Return the models of slices, and their parent measured anew: as the whole predicts with them."""
    name, alone = parent.trial.estimator, replace(bench, at_once=1)
    fair = fit_learner(workshop, name, parent.parameters, workshop.fitting("train"), bench=alone).model
    segments = trained_segments(workshop, slicing, fair=fair, final=parent.model)
    return segments, measured_with_slices(workshop, parent, segments.models, slices=slices)


def _tuned(
    places: Sequence[Workshop], tuning: Tuning, bench: Bench, tuner: Tuner, on_trial: OnTrial
) -> tuple[Searched, tuple[Comparison, ...]]:
    """Search the learners' parameters, then try the ensembles of the best of each."""
    learners = {name: spec for name, spec in bench.usable.items() if not spec.members}
    searched = tuner.search(learners, trial_objective(places, tuning, bench), on_trial=on_trial)
    tuned = with_best_parameters(bench, searched.trials)
    ensembles, smaller = ensemble_trials(places, tuning, tuned, trials=searched.trials, on_trial=on_trial)
    return replace(searched, trials=(*searched.trials, *ensembles)), smaller


def _assembled(
    workshop: Workshop, best: Final, usable: Mapping[str, EstimatorSpec], *, is_parent: bool
) -> tuple[PipelineModel, tuple[str, ...]]:
    """Return the model from raw columns to predictions, and the columns it reads."""
    forms = forms_of(best.trial.estimator, usable)
    if is_parent:  # models of slices read the trees' vector, whatever their parent reads
        forms = tuple(dict.fromkeys([*forms, "tree"]))
    stages = workshop.preparation.stages(*forms) if forms else []
    read = [*(workshop.preparation.features if forms else ()), *identities_of(best.trial.estimator, usable)]
    return PipelineModel(stages=[*stages, best.model]), tuple(dict.fromkeys(read))


def _importance(
    workshop: Workshop, best: Final, usable: Mapping[str, EstimatorSpec]
) -> tuple[tuple[str, float], ...]:
    """Return each feature's share of the model's weights; nothing where the learner has no such weights."""
    forms = forms_of(best.trial.estimator, usable)
    if not forms:
        return ()
    form = forms[0]
    weights = estimators.feature_weights(best.model, places=len(workshop.preparation.places[form]))
    if weights is None:
        return ()
    return tuple(importance_by_feature(workshop.preparation, weights, form=form))
