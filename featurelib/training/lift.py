"""The lift table: what one fixed learner makes of each set of features."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from pyspark.ml.feature import VectorSlicer
from pyspark.sql import functions as F

from featurelib.specs import LiftStep
from featurelib.threads import run_beside
from featurelib.training import estimators
from featurelib.training.estimators import LABEL, WEIGHT
from featurelib.training.measures import whole
from featurelib.training.preparation import VECTOR
from featurelib.training.result import LiftMetrics
from featurelib.training.workshop import Workshop

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def lift_table(workshop: Workshop, steps: Sequence[tuple[LiftStep, tuple[str, ...]]]) -> list[LiftMetrics]:
    """Fit the lift learner on sampled training rows with each step's features; measure it on test rows."""
    workshop, spec = workshop.unweighted(), workshop.model.lift_learner
    form = estimators.form_of(spec)
    at_once = min(workshop.model.tuning.parallelism, len(steps))

    def measure(step: LiftStep, features: tuple[str, ...]) -> LiftMetrics:
        places = workshop.preparation.places_of(features, form=form)
        if not places:
            return LiftMetrics(step.name, features)
        slicer = VectorSlicer(inputCol=VECTOR[form], outputCol="_sliced", indices=places)

        def narrowed(rows: DataFrame) -> DataFrame:
            kept = [name for name in (LABEL, WEIGHT) if name in rows.columns]
            return slicer.transform(rows).select(*kept, F.col("_sliced").alias(VECTOR[form]))

        fitted = workshop.estimator(spec, spec.parameters, at_once=at_once).fit(narrowed(workshop.sampled()))
        tallies = workshop.measures.tallies(fitted.transform(narrowed(workshop.of("test"))))
        return LiftMetrics(step.name, features, **vars(workshop.measures.figures(whole(tallies))))

    works = [partial(measure, step, features) for step, features in steps]
    return run_beside(works, spark=workshop.rows.sparkSession, at_once=at_once)


def trivial_metrics(workshop: Workshop) -> LiftMetrics:
    """Measure on the test rows what knows nothing: the mean label of the training rows for every row."""
    tallies = workshop.measures.constant(workshop.of("test"), workshop.label_mean)
    name = "class prior" if workshop.model.task == "binary" else "mean"
    return LiftMetrics(name, (), **vars(workshop.measures.figures(whole(tallies))))
