"""The rows of a training, checked and prepared once for every fit on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F
from pyspark.storagelevel import StorageLevel

from featurelib.errors import FrameError, ModelGateError
from featurelib.specs import SPLIT, EstimatorSpec, ModelSpec
from featurelib.training import estimators
from featurelib.training.estimators import LABEL, Surroundings
from featurelib.training.preparation import ROW_HASH, VECTOR, Preparation, fit_preparation, is_sampled

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

AS_OF = "as_of_ts"
WEIGHT = "_weight"
_SAMPLED = "_sampled"
_SPLITS = ("train", "validate", "test")


@dataclass(frozen=True)
class Workshop:
    """The prepared rows and all that a fit on them needs.

    Attributes:
        rows: persisted, one row an example.
        preparation: the fitted stages behind their vectors.
        model: the spec.
        cores: task slots.
        weight: of a row in a fit, None where all weigh the same.
    """

    rows: DataFrame
    preparation: Preparation
    model: ModelSpec
    cores: int
    weight: Column | None = None

    def of(self, *splits: str) -> DataFrame:
        """Return the rows of these parts of the split."""
        chosen = self.rows.where(F.col(SPLIT).isin(*splits))
        return chosen if self.weight is None else chosen.withColumn(WEIGHT, self.weight)

    def sampled(self) -> DataFrame:
        """Return the training rows that trials are fitted on."""
        return self.of("train") if self.model.tuning.sample == 1 else self.of("train").where(_SAMPLED)

    def sampled_share(self, share: float) -> DataFrame:
        """Return a share of the training rows that trials are fitted on; a smaller one is part of it."""
        return self.of("train").where(is_sampled(self.model.tuning.sample * share))

    def estimator(self, spec: EstimatorSpec, parameters: Mapping[str, Any], *, at_once: int) -> Any:  # noqa: ANN401 - an untyped pyspark estimator
        """Return an unfitted estimator; ``at_once`` is how many are fitted beside each other."""
        surroundings = Surroundings(
            seed=self.model.tuning.seed,
            max_bins=self.preparation.max_bins,
            cores=max(1, self.cores // at_once),
        )
        estimator: Any = estimators.build_estimator(spec, parameters, surroundings=surroundings)
        if self.weight is not None:
            estimator.set(estimator.weightCol, WEIGHT)
        return estimator

    def unweighted(self) -> Workshop:
        """Return the workshop in which all rows weigh the same."""
        return replace(self, weight=None)


def prepared(
    training: DataFrame,
    model: ModelSpec,
    *,
    features: tuple[str, ...],
    label: str,
    key: Sequence[str] = (),
    slices: Sequence[str] = (),
) -> tuple[Workshop, dict[str, int]]:
    """Return the vectors of all rows, persisted once for all fits, and the rows of each split.

    Rows are placed and ordered by their hash, so that a fit depends on the rows and not on how files or
    partitions held them.
    """
    identity = [f"`{column}`" for column in (key or (AS_OF, *features))]
    rows = training.where(F.col(SPLIT).isin(*_SPLITS)).select(
        *dict.fromkeys([SPLIT, AS_OF, *slices, *features]),
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
            *dict.fromkeys([SPLIT, AS_OF, *slices]),
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
    return Workshop(rows=prepared, preparation=preparation, model=model, cores=cores), counts


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
