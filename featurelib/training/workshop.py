"""The rows of a training, checked and prepared once for every fit on them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F
from pyspark.storagelevel import StorageLevel

from featurelib.errors import FrameError, ModelGateError
from featurelib.preparation_specs import ClassWeights, PreparationSpec
from featurelib.specs import SPLIT, EstimatorSpec, ModelSpec
from featurelib.training import estimators
from featurelib.training.estimators import LABEL, WATCHED, WEIGHT, Surroundings
from featurelib.training.measures import Measures, measures_of
from featurelib.training.mitigation import reweighing
from featurelib.training.preparation import (
    ROW_HASH,
    VECTOR,
    Plan,
    Preparation,
    fit_preparation,
    is_sampled,
)

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, Row

AS_OF = "as_of_ts"
_SAMPLED = "_sampled"
_STEPS = 1_000_000
_ROWS_A_PARTITION = 200_000
_SPLITS = ("train", "validate", "test")


@dataclass(frozen=True)
class Workshop:
    """The prepared rows and all that a fit on them needs.

    Attributes:
        rows: of all parts of the split.
        preparation: what made their vectors.
        model: the model's spec.
        cores: task slots there are.
        counts: rows of each part.
        label_mean: of the training rows.
        weights: what a row of label 0 and of label 1 weighs in a fit; None where all weigh alike.
        weight: of a row in a fit beside that, None where groups weigh alike.
        alone: rows of single parts that are cached by themselves.
    """

    rows: DataFrame
    preparation: Preparation
    model: ModelSpec
    cores: int
    counts: dict[str, int]
    label_mean: float
    weights: tuple[float, float] | None = None
    weight: Column | None = None
    alone: Mapping[str, DataFrame] = field(default_factory=dict)

    @property
    def measures(self) -> Measures:
        """How the model's task is measured."""
        return measures_of(self.model.task, self.model.costs)

    @property
    def is_weighted(self) -> bool:
        """Whether rows weigh differently in a fit."""
        return self.weights is not None or self.weight is not None

    def of(self, *splits: str) -> DataFrame:
        """Return the rows of these parts of the split, all of them, as they are measured."""
        if len(splits) == 1 and splits[0] in self.alone:
            return self.alone[splits[0]]
        return self.rows.where(F.col(SPLIT).isin(*splits))

    def fitting(self, *splits: str) -> DataFrame:
        """Return the rows of these parts that a model is fitted on, with what they weigh."""
        return self._weighed(self.of(*splits))

    def sample(self) -> DataFrame:
        """Return the training rows that trials are fitted on."""
        return self.of("train") if self.model.tuning.sample == 1 else self.of("train").where(_SAMPLED)

    def sampled(self, share: float = 1.0) -> DataFrame:
        """Return the training rows that trials are fitted on, with what they weigh.

        Of a share, the less is part of the more.
        """
        rows = self.sample()
        return self._weighed(rows if share == 1 else rows.where(is_sampled(self.model.tuning.sample * share)))

    def cut(self, rows: DataFrame, split: str) -> DataFrame:
        """Return the rows of a split as trials read them: in partitions for a trial's share of the cores.

        Each task less is work saved: a tree is grown in dozens of jobs, and what a task does with a few
        thousand rows takes less than its scheduling.
        """
        tuning = self.model.tuning
        count = math.ceil(self.counts[split] * (tuning.sample if split == "train" else 1))
        partitions = partitions_for(count, cores=max(1, self.cores // tuning.parallelism))
        if partitions == partitions_for(sum(self.counts.values()), cores=self.cores):
            return rows
        # Not coalesced: xgboost's barrier stages refuse rows that were.
        return rows.repartition(partitions, ROW_HASH).sortWithinPartitions(ROW_HASH)

    def watched(self, fitted: DataFrame) -> DataFrame:
        """Return the rows of a fit and the validation rows, these marked by ``WATCHED``."""
        watched = self.fitting("validate").withColumn(WATCHED, F.lit(1) == 1)
        return fitted.withColumn(WATCHED, F.lit(1) == 0).unionByName(watched).sortWithinPartitions(ROW_HASH)

    def _weighed(self, rows: DataFrame) -> DataFrame:
        spec = self.model.preparation
        if spec is not None and spec.sampling is not None:
            # Another hash than that of the tuning sample: both together keep the product of their shares.
            chance = F.pmod(F.xxhash64(ROW_HASH, F.lit("negatives")), F.lit(_STEPS))
            rows = rows.where((F.col(LABEL) != 0) | (chance < round(spec.sampling.negatives * _STEPS)))
        if not self.is_weighted:
            return rows
        negative, positive = self.weights or (1.0, 1.0)
        weight = F.when(F.col(LABEL) == 0, negative).otherwise(positive)
        return rows.withColumn(WEIGHT, weight if self.weight is None else weight * self.weight)

    def estimator(
        self,
        spec: EstimatorSpec,
        parameters: Mapping[str, Any],
        *,
        at_once: int,
        watched: bool = False,
        suffix: str = "",
    ) -> Any:  # noqa: ANN401 - an untyped pyspark estimator
        """Return an unfitted estimator; ``at_once`` is how many are fitted beside each other."""
        form = estimators.form_of(spec)
        surroundings = Surroundings(
            seed=self.model.tuning.seed,
            max_bins=self.preparation.max_bins,
            cores=max(1, self.cores // at_once),
            task=self.model.task,
            places=len(self.preparation.places[form]),
            weighted=self.is_weighted,
            watched=watched,
            suffix=suffix,
        )
        return estimators.build_estimator(spec, parameters, surroundings=surroundings)

    def unweighted(self) -> Workshop:
        """Return the workshop in which all groups weigh the same."""
        return replace(self, weight=None)


def prepared(  # noqa: PLR0913 - what to take of the frame, part by part
    training: DataFrame,
    model: ModelSpec,
    *,
    features: tuple[str, ...],
    label: str,
    key: Sequence[str] = (),
    slices: Sequence[str] = (),
    splits: Sequence[str] = _SPLITS,
    kept: Preparation | None = None,
) -> Workshop:
    """Return the vectors of all rows of these splits, persisted once for all fits.

    Rows are placed and ordered by their hash, so that a fit depends on the rows and not on how files or
    partitions held them. A preparation that is ``kept`` makes the vectors; what these training rows would
    have given is fitted all the same, for the checks of the features.
    """
    if model.mitigation is not None:
        slices = (*slices, model.mitigation.group)
    rows = training.where(F.col(SPLIT).isin(*splits)).select(
        *dict.fromkeys([SPLIT, AS_OF, *slices, *model.identities, *features]),
        F.col(f"`{label}`").cast("double").alias(LABEL),
        row_hash(key or (AS_OF, *model.identities, *features), seed=model.tuning.seed).alias(ROW_HASH),
    )
    learners = [*(spec for spec in model.estimators.values() if not spec.members), model.lift_learner]
    learners += [model.segments.learner] if model.segments is not None else []
    forms = tuple(dict.fromkeys(map(estimators.form_of, filter(estimators.reads_vector, learners))))
    binary = model.task == "binary"
    counts, means = _checked_splits(rows, label=label, binary=binary, splits=splits)
    plan = Plan(
        spec=model.preparation or PreparationSpec(),
        label=LABEL,
        as_of=AS_OF,
        is_train=f"{SPLIT} = 'train'",
        binary=binary,
        known_label_ok=model.known_label_ok,
        validation=rows.where(F.col(SPLIT) == "validate"),
        seed=model.tuning.seed,
    )
    train_rows = rows.where(F.col(SPLIT) == "train")
    preparation = fit_preparation(
        train_rows, features=features, categorical=model.categorical, forms=forms, plan=plan
    )
    preparation = kept or preparation
    cores = training.sparkSession.sparkContext.defaultParallelism
    prepared = (
        preparation.transform(rows, in_training=True)
        .select(
            *dict.fromkeys([SPLIT, AS_OF, *slices, *model.identities]),
            LABEL,
            ROW_HASH,
            is_sampled(model.tuning.sample).alias(_SAMPLED),
            *(VECTOR[form] for form in forms),
        )
        .repartition(partitions_for(sum(counts.values()), cores=cores), ROW_HASH)
        .sortWithinPartitions(ROW_HASH)
        .persist(StorageLevel.MEMORY_AND_DISK)
    )
    try:
        prepared.count()  # so that no trial's seconds hold the preparation
    except BaseException:
        prepared.unpersist()
        raise
    workshop = Workshop(
        rows=prepared,
        preparation=preparation,
        model=model,
        cores=cores,
        counts=counts,
        label_mean=means["train"],
        weights=weights_of(plan.spec, positive=means["train"]),
    )
    return _reweighed(workshop)


def partitions_for(rows: int, *, cores: int) -> int:
    """Return into how many partitions vectors are cut: as many on every core, and each small enough to cache.

    A task holds what it caches of a partition in memory as a whole before it goes to disk.
    """
    return cores * max(1, math.ceil(rows / (_ROWS_A_PARTITION * cores)))


def row_hash(identity: Sequence[str], *, seed: int) -> Column:
    """Return the hash that orders rows and decides which are sampled, of the columns that tell them apart."""
    return F.xxhash64(*(f"`{column}`" for column in identity), F.lit(seed))


def _reweighed(workshop: Workshop) -> Workshop:
    """Return the workshop with the weights that the model's mitigation asks for, as it is without."""
    mitigation = workshop.model.mitigation
    if mitigation is None or not mitigation.reweigh:
        return workshop
    group = F.coalesce(F.col(f"`{mitigation.group}`").cast("string"), F.lit("null"))
    counted = workshop.of("train").groupBy(group.alias("group"), F.col(LABEL).alias("label")).count()
    weights = reweighing({(row["group"], row["label"]): row["count"] for row in counted.collect()})
    by_label = [
        F.try_element_at(
            F.create_map(
                *(
                    F.lit(part)
                    for (value, of), weighs in sorted(weights.items())
                    if of == label
                    for part in (value, weighs)
                )
            ),
            group,
        )
        for label in (0.0, 1.0)
    ]
    # A group or a label that no training row has weighs as the average row does.
    weight = F.coalesce(F.when(F.col(LABEL) > 0, by_label[1]).otherwise(by_label[0]), F.lit(1.0))
    return replace(workshop, weight=weight)


def weights_of(spec: PreparationSpec, *, positive: float) -> tuple[float, float] | None:
    """Return what a row of label 0 and of label 1 weighs, ``positive`` being the share of label 1."""
    if not spec.is_weighted:
        return None
    negatives, positives = 1.0, 1.0
    if isinstance(spec.class_weights, ClassWeights):
        negatives, positives = spec.class_weights.negative, spec.class_weights.positive
    elif spec.class_weights == "balanced":
        negatives, positives = 0.5 / (1 - positive), 0.5 / positive
    if spec.sampling is not None:
        negatives /= spec.sampling.negatives
    return negatives, positives


def _checked_splits(
    rows: DataFrame, *, label: str, binary: bool, splits: Sequence[str]
) -> tuple[dict[str, int], dict[str, float]]:
    """Return rows and mean label of each split, after checking its labels.

    Those of classes are 0 and 1, and both occur; those of numbers are finite, and in training they vary.
    """
    value = F.col(LABEL)
    is_fit = (
        value.isin(0.0, 1.0)
        if binary
        else value.isNotNull() & (F.abs(value) < float("inf")) & ~F.isnan(value)
    )
    found = {
        row[SPLIT]: row
        for row in rows.groupBy(SPLIT)
        .agg(
            F.count(F.lit(1)).alias("rows"),
            F.count_if(is_fit).alias("fit"),
            F.count_if(value == 1).alias("positive"),
            F.count_if(value == 0).alias("negative"),
            F.avg(F.when(is_fit, value)).alias("mean"),
            F.min(F.when(is_fit, value)).alias("least"),
            F.max(F.when(is_fit, value)).alias("most"),
        )
        .collect()
    }
    for split in splits:
        row = found.get(split)
        if row is not None and row["fit"] != row["rows"]:
            raise FrameError(
                f"{row['rows'] - row['fit']} {split} rows have a label {label!r} "
                f"{'other than 0 and 1' if binary else 'that is missing or not finite'}",
                f"{'0 or 1' if binary else 'a finite number'} in every row",
                "leave rows without a mature label out of the training set",
            )
        if binary:
            _check_classes(split, row, splits)
        elif row is None or (row["least"] == row["most"] and split == "train"):
            raise ModelGateError(
                f"split {split!r} has {'no rows' if row is None else 'one label only'}",
                f"rows in {', '.join(splits)}, and labels that differ",
                "load more days, or move the dates of the split",
            )
    return (
        {split: int(found[split]["rows"]) for split in splits},
        {split: float(found[split]["mean"]) for split in splits},
    )


def _check_classes(split: str, row: Row | None, splits: Sequence[str]) -> None:
    if row is None or not row["positive"] or not row["negative"]:
        counted = "no rows" if row is None else f"{row['positive']} positives, {row['negative']} negatives"
        raise ModelGateError(
            f"split {split!r} has {counted}",
            f"rows of both labels in {', '.join(splits)}",
            "load more days, or move the dates of the split",
        )
