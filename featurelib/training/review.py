"""Everything that is measured of a fitted model before somebody relies on it, from one call."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark.ml import PipelineModel
from pyspark.sql import functions as F

from featurelib.registry.segment_files import SegmentModels
from featurelib.specs import SPLIT, Fairness, ModelSpec
from featurelib.training import evaluation
from featurelib.training.estimators import LABEL
from featurelib.training.evaluation import ALL_ROWS, Tally, tallies, with_score
from featurelib.training.explanation import explanation
from featurelib.training.fairness import fairness
from featurelib.training.finals import Final
from featurelib.training.intervals import compared, intervals, stability, worst
from featurelib.training.learners import Bench, fit_learner, forms_of
from featurelib.training.measures import PREDICTION
from featurelib.training.metrics import CALL_NONE, confusion, precision_at
from featurelib.training.mitigation import group_thresholds
from featurelib.training.preparation import ROW_HASH
from featurelib.training.rank_metrics import DAY, group_of, rank_metrics
from featurelib.training.regression_shapes import shapes
from featurelib.training.segments import with_slice_scores
from featurelib.training.stages import Form
from featurelib.training.workshop import AS_OF, Workshop

if TYPE_CHECKING:
    from pyspark.ml import Model
    from pyspark.sql import DataFrame

_TIMED_ROWS = 10_000
_PARITY = ("demographic_parity_difference", "equalized_odds_difference", "calibration_difference")


@dataclass(frozen=True)
class Champion:
    """The champion that a new model is compared with on the same test rows."""

    version: int
    pipeline: PipelineModel
    segments: SegmentModels | None = None


@dataclass(frozen=True)
class Reviewed:
    """What a review looks at.

    Attributes:
        workshop: the prepared rows.
        training: the raw rows they were made of.
        final: the model's last stage, and its counts on the test rows.
        bench: what learners are taken from.
        pipeline: the whole model.
        label: the label column of ``training``.
        key: columns that identify a row.
        features: the raw columns that the pipeline reads.
        importance: features, the most important first.
        champion: what to compare with, None for nothing.
        segments: models of slices that predict beside it.
    """

    workshop: Workshop
    training: DataFrame
    final: Final
    bench: Bench
    pipeline: PipelineModel
    label: str
    key: tuple[str, ...]
    features: tuple[str, ...]
    importance: Sequence[tuple[str, float]]
    champion: Champion | None
    segments: SegmentModels | None = None

    def fitted(self, workshop: Workshop, parameters: Mapping[str, Any], rows: DataFrame) -> Model:
        """Return the model's own learner, fitted on other rows."""
        return fit_learner(workshop, self.final.trial.estimator, parameters, rows, bench=self.bench).model

    @property
    def forms(self) -> tuple[Form, ...]:
        """The vectors that the model learns from; none of ALS alone."""
        return forms_of(self.final.trial.estimator, self.bench.usable)

    @property
    def model(self) -> ModelSpec:
        """The model's spec."""
        return self.workshop.model

    @property
    def seed(self) -> int:
        """The seed of everything drawn here."""
        return self.model.tuning.seed

    @property
    def threshold(self) -> float:
        """At and above it a score is called positive."""
        return self.final.threshold

    @property
    def whole(self) -> Tally:
        """The counts of all test rows."""
        counts: Tally = self.final.tallies[ALL_ROWS, ALL_ROWS]
        return counts


def grouped_by(model: ModelSpec) -> tuple[str, ...]:
    """Return the columns by whose values a review needs counts."""
    found = () if model.review.fairness is None else model.review.fairness.groups
    return found if model.mitigation is None else (*found, model.mitigation.group)


def kept_for(model: ModelSpec) -> tuple[str, ...]:
    """Return the columns that a review looks at, and that need no counts of their own."""
    ranking = model.review.ranking
    return () if ranking is None or ranking.by == DAY else (ranking.by,)


def review(found: Reviewed) -> dict[str, Any]:
    """Return everything the model's spec asks to be measured, as plain JSON values.

    Intervals and stability cost arithmetic only; each other section is absent where it is not asked for.
    Nothing here changes the model, and what reaches the driver is bounded whatever the number of rows.

    Returns:
        ``periods``, ``intervals``, ``stability``, ``decision`` (thresholds and what they come from),
        ``cost``, ``ranking``, ``ranked``, ``learning_curve``, ``fairness``, ``mitigation``, ``explanation``,
        ``champion``, ``seconds_per_1000_rows``, and ``figures``: the numbers a gate may ask about, by name.
        Of a regression ``periods``, ``decision``, ``shapes`` (:func:`~.regression_shapes.shapes`) and
        ``explanation``.
    """
    if found.model.task == "regression":
        return _of_numbers(found)
    own, chosen_by = _own_thresholds(found)
    sections: dict[str, Any] = {
        "periods": _periods(found.workshop),
        "intervals": intervals(found.whole, threshold=found.threshold, seed=found.seed),
        "stability": _stability(found),
        "decision": _decision(found, own, chosen_by),
        "cost": _cost(found),
        "ranking": [
            {"share": share, "precision": precision_at(found.whole, share)}
            for share in found.model.review.precision_at
        ],
        "ranked": _ranked(found),
        "learning_curve": _learning_curve(found),
        "fairness": _fairness(found, found.final.tallies, own),
        "mitigation": _mitigation(found, own),
        "explanation": explanation(found),
        "champion": _compared(found),
        "seconds_per_1000_rows": _speed(found),
    }
    return {**sections, "figures": _figures(found, sections)}


def _of_numbers(found: Reviewed) -> dict[str, Any]:
    """Return what is measured of a regression: no call is made, so nothing that follows from calls."""
    predicted = found.final.model.transform(found.workshop.of("test"))
    return {
        "periods": _periods(found.workshop),
        "intervals": {},
        "decision": {"by": "number", "thresholds": {}},
        "shapes": shapes(predicted, label=LABEL, prediction=PREDICTION, order=ROW_HASH),
        "explanation": explanation(found),
        "figures": {},
    }


# --- what follows from the counts -----------------------------------------------------------------------


def _periods(workshop: Workshop) -> dict[str, Any]:
    """Return rows, positives and the first and last moment of each part of the split."""
    moment = F.date_format(F.col(AS_OF).cast("timestamp_ntz"), "yyyy-MM-dd HH:mm")
    rows = workshop.rows.groupBy(SPLIT).agg(
        F.count(F.lit(1)).alias("rows"),
        F.sum(LABEL).cast("long").alias("positives"),
        F.min(moment).alias("from"),
        F.max(moment).alias("to"),
    )
    found = {row[SPLIT]: row.asDict() for row in rows.collect()}
    return {
        part: {name: found[part][name] for name in ("rows", "positives", "from", "to")}
        for part in ("train", "validate", "test")
    }


def _stability(found: Reviewed) -> dict[str, Any]:
    periods = stability(found.whole, threshold=found.threshold)
    return {**periods, "worst_week": worst(periods.get("week", ()))}


def _decision(found: Reviewed, own: Mapping[str, float], chosen_by: str | None) -> dict[str, Any]:
    mitigation = found.model.mitigation
    return {
        "threshold": found.threshold,
        "by": "f1" if found.model.costs is None else "cost",
        "group": mitigation.group if mitigation is not None and own else None,
        "thresholds": dict(own),
        "equal": chosen_by,
    }


def _cost(found: Reviewed) -> dict[str, Any] | None:
    costs = found.model.costs
    if costs is None:
        return None
    calls = confusion(found.whole, found.threshold)
    never, always = confusion(found.whole, CALL_NONE), confusion(found.whole, 0.0)
    return {
        "costs": costs.model_dump(),
        "per_row": calls.cost(costs) / calls.rows,
        "per_row_calling_none": never.cost(costs) / calls.rows,
        "per_row_calling_all": always.cost(costs) / calls.rows,
    }


def _fairness(
    found: Reviewed, counted: Mapping[tuple[str, str], Tally], own: Mapping[str, float]
) -> dict[str, Any] | None:
    spec, mitigation = found.model.review.fairness, found.model.mitigation
    if spec is None:
        return None
    thresholds = {} if mitigation is None else {mitigation.group: own}
    return fairness(counted, spec, threshold=found.threshold, thresholds=thresholds)


# --- what needs further passes --------------------------------------------------------------------------


def _own_thresholds(found: Reviewed) -> tuple[dict[str, float], str | None]:
    """Return the thresholds of groups, taken on validation rows from the trial's model as all choices are."""
    mitigation = found.model.mitigation
    if mitigation is None or mitigation.thresholds is None:
        return {}, None
    workshop, trial = found.workshop, found.final.trial
    fitted = found.fitted(workshop, trial.fitted, workshop.sampled())
    scored = with_score(fitted.transform(workshop.of("validate")))
    counted = tallies(scored, label=LABEL, slices=[mitigation.group])
    groups = {value: tally for (column, value), tally in counted.items() if column == mitigation.group}
    declared = found.model.review.fairness or Fairness(groups=(mitigation.group,))
    own = group_thresholds(
        counted[ALL_ROWS, ALL_ROWS],
        groups,
        threshold=found.threshold,
        rate=mitigation.thresholds,
        min_rows=declared.min_rows,
    )
    return own, mitigation.thresholds


def _mitigation(found: Reviewed, own: Mapping[str, float]) -> dict[str, Any] | None:
    """Return the figures of the groups before and after what was done about them."""
    mitigation = found.model.mitigation
    if mitigation is None:
        return None
    before = found.final.tallies
    if mitigation.reweigh:
        workshop = found.workshop.unweighted()
        fitted = found.fitted(workshop, found.final.parameters, workshop.fitting("train", "validate"))
        scored = with_score(fitted.transform(workshop.of("test")))
        before = tallies(scored, label=LABEL, slices=[mitigation.group])
    declared = found.model.review.fairness or Fairness(groups=(mitigation.group,))
    fair = declared.model_copy(update={"groups": (mitigation.group,)})
    sides = {}
    for side, counted, thresholds in (("before", before, {}), ("after", found.final.tallies, own)):
        measured = fairness(
            counted, fair, threshold=found.threshold, thresholds={mitigation.group: thresholds}
        )[mitigation.group]
        whole = evaluation.evaluation_of(counted[ALL_ROWS, ALL_ROWS], threshold=found.threshold)
        sides[side] = {**measured, "roc_auc": whole.roc_auc}
    return {**mitigation.model_dump(), **sides}


def _ranked(found: Reviewed) -> dict[str, Any] | None:
    spec = found.model.review.ranking
    if spec is None:
        return None
    scored = with_score(found.final.model.transform(found.workshop.of("test")))
    scored = scored.withColumn("_group", group_of(spec.by, as_of=AS_OF))
    if found.segments is not None:
        scored = with_slice_scores(scored, found.segments)
    measured = rank_metrics(
        scored, label=LABEL, score=evaluation.SCORE, group=F.col("_group"), at=sorted(spec.at)
    )
    return {"by": spec.by, **measured}


def _learning_curve(found: Reviewed) -> list[dict[str, Any]]:
    """Return the ROC AUC on validation rows of the lift learner, fitted on shares of the sampled rows."""
    workshop, spec = found.workshop.unweighted(), found.model.lift_learner
    curve = []
    for share in sorted(found.model.review.learning_curve):
        rows = workshop.sampled(share)
        fitted = workshop.estimator(spec, spec.parameters, at_once=1).fit(rows)
        scored = with_score(fitted.transform(workshop.of("validate")))
        tally = tallies(scored, label=LABEL)[ALL_ROWS, ALL_ROWS]
        area = evaluation.roc_auc(tally.rows, tally.positives)
        curve.append({"share": share, "rows": rows.count(), "roc_auc": area})
    return curve


def _compared(found: Reviewed) -> dict[str, Any] | None:
    """Return the comparison with the champion on the same test rows, None where there is none to compare."""
    if found.champion is None:
        return None
    test = found.training.where(F.col(SPLIT) == "test")
    scored = with_score(found.champion.pipeline.transform(test))
    if found.champion.segments is not None:
        scored = with_slice_scores(scored, found.champion.segments)
    counted = tallies(scored, label=found.label, block=F.to_date(F.col(AS_OF)))
    return compared(
        found.whole,
        counted[ALL_ROWS, ALL_ROWS],
        metric=found.model.gate.metric,
        version=found.champion.version,
        seed=found.seed,
    ).to_dict()


def _speed(found: Reviewed) -> float | None:
    """Return seconds to score a thousand raw rows, by the second of two runs over at most ten thousand."""
    if found.model.gate.seconds_per_1000_rows is None:
        return None
    rows = found.training.where(F.col(SPLIT) == "test").limit(_TIMED_ROWS).cache()
    try:
        count = rows.count()
        scored = with_score(found.pipeline.transform(rows)).agg(F.sum(evaluation.SCORE))
        scored.collect()
        started = time.monotonic()
        scored.collect()
        return (time.monotonic() - started) * 1000 / max(count, 1)
    finally:
        rows.unpersist()


def _figures(found: Reviewed, sections: Mapping[str, Any]) -> dict[str, float]:
    """Return what a gate may ask about, the worst over all columns of groups."""
    figures: dict[str, float | None] = {
        "calibration_error": found.final.test.calibration_error,
        "seconds_per_1000_rows": sections["seconds_per_1000_rows"],
    }
    columns = list((sections["fairness"] or {}).values())
    for name in _PARITY:
        figures[name] = max((one[name] for one in columns if one[name] is not None), default=None)
    impacts = [one["disparate_impact"] for one in columns if one["disparate_impact"] is not None]
    figures["disparate_impact"] = min(impacts, default=None)
    champion = sections["champion"]
    if champion is not None:
        interval = champion["interval"] or (None, None)
        name = f"champion_{champion['metric']}"
        figures |= {
            "champion_version": float(champion["version"]),
            name: champion["champion"],
            f"{name}_difference": champion["difference"],
            f"{name}_difference_low": interval[0],
            f"{name}_difference_high": interval[1],
            f"{name}_p_value": champion["p_value"],
        }
    return {name: float(value) for name, value in figures.items() if value is not None}
