"""The rows of a training, checked and prepared once for every fit on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
_SAMPLED = "_sampled"
_SPLITS = ("train", "validate", "test")


@dataclass(frozen=True)
class Workshop:
    """The prepared rows and all that a fit on them needs."""

    rows: DataFrame
    preparation: Preparation
    model: ModelSpec
    cores: int

    def of(self, *splits: str) -> DataFrame:
        """Return the rows of these parts of the split."""
        return self.rows.where(F.col(SPLIT).isin(*splits))

    def sampled(self) -> DataFrame:
        """Return the training rows that trials are fitted on."""
        return self.of("train") if self.model.tuning.sample == 1 else self.of("train").where(_SAMPLED)

    def estimator(self, spec: EstimatorSpec, parameters: Mapping[str, Any], *, at_once: int) -> Any:  # noqa: ANN401 - an untyped pyspark estimator
        """Return an unfitted estimator; ``at_once`` is how many are fitted beside each other."""
        surroundings = Surroundings(
            seed=self.model.tuning.seed,
            max_bins=self.preparation.max_bins,
            cores=max(1, self.cores // at_once),
        )
        return estimators.build_estimator(spec, parameters, surroundings=surroundings)


def prepared(  # noqa: PLR0913 - what to take of the frame, part by part
    training: DataFrame,
    model: ModelSpec,
    *,
    features: tuple[str, ...],
    label: str,
    key: Sequence[str] = (),
    slices: Sequence[str] = (),
    splits: Sequence[str] = _SPLITS,
) -> tuple[Workshop, dict[str, int]]:
    """Return the vectors of all rows of these splits, persisted once for all fits, and how many each has.

    Rows are placed and ordered by their hash, so that a fit depends on the rows and not on how files or
    partitions held them.
    """
    rows = training.where(F.col(SPLIT).isin(*splits)).select(
        *dict.fromkeys([SPLIT, AS_OF, *slices, *features]),
        F.col(f"`{label}`").cast("double").alias(LABEL),
        row_hash(key or (AS_OF, *features), seed=model.tuning.seed).alias(ROW_HASH),
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
        counts = _checked_splits(prepared, label=label, splits=splits)
    except BaseException:
        prepared.unpersist()
        raise
    return Workshop(rows=prepared, preparation=preparation, model=model, cores=cores), counts


def row_hash(identity: Sequence[str], *, seed: int) -> Column:
    """Return the hash that orders rows and decides which are sampled, of the columns that tell them apart."""
    return F.xxhash64(*(f"`{column}`" for column in identity), F.lit(seed))


def _checked_splits(prepared: DataFrame, *, label: str, splits: Sequence[str]) -> dict[str, int]:
    """Return the rows of each split, after checking that its labels are 0 and 1 and that both occur."""
    positive, negative = F.count_if(F.col(LABEL) == 1), F.count_if(F.col(LABEL) == 0)
    found = {
        row[SPLIT]: row
        for row in prepared.groupBy(SPLIT)
        .agg(F.count(F.lit(1)).alias("rows"), positive.alias("positive"), negative.alias("negative"))
        .collect()
    }
    for split in splits:
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
                f"rows of both labels in {', '.join(splits)}",
                "load more days, or move the dates of the split",
            )
    return {split: int(found[split]["rows"]) for split in splits}
