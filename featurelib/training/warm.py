"""A training goes on from a trained xgboost model: its preparation is kept, and trees are added."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pyspark.ml.feature import StringIndexerModel
from pyspark.sql import functions as F

from featurelib.errors import FrameError, ModelGateError
from featurelib.specs import SPLIT
from featurelib.training import columns
from featurelib.training.preparation import Preparation, bins_for
from featurelib.training.stages import COMPONENTS, VECTOR
from featurelib.training.workshop import AS_OF

if TYPE_CHECKING:
    from pyspark.ml import PipelineModel
    from pyspark.sql import DataFrame

MINUTE = "yyyy-MM-dd HH:mm"
_PREFIXES = tuple(named("") for named in (columns.index, columns.number, columns.missing))


@dataclass(frozen=True)
class WarmStart:
    """What a training begins with.

    Attributes:
        version: of the model that it goes on from.
        sha256: of that one's files.
        learnt_until: the last moment of the rows that one has learnt from, as ``2013-10-31 23:59``.
        preparation: that one's, so that a place of the vector goes on meaning what its trees took it for.
        booster: its trees.
    """

    version: int
    sha256: str
    learnt_until: str
    preparation: Preparation
    booster: Any = field(repr=False)

    def told(self) -> dict[str, Any]:
        """Return what is recorded of it, as plain JSON values."""
        trees = int(self.booster.num_boosted_rounds())
        return {"version": self.version, "sha256": self.sha256, "trees": trees}


def warm_start(
    pipeline: PipelineModel, *, features: Sequence[str], version: int, sha256: str, learnt_until: str
) -> WarmStart:
    """Return what a training begins with that goes on from this model.

    Args:
        pipeline: a model of this library, as it was trained or loaded.
        features: the raw columns it reads.
        version: its version.
        sha256: of its files.
        learnt_until: the last moment of its train and validation rows.

    Raises:
        ModelGateError: its learner is not xgboost, or its vector holds principal components.
    """
    learner = pipeline.stages[-1]
    if not hasattr(learner, "get_booster"):
        raise ModelGateError(
            f"version {version}, whose learner is {type(learner).__name__}, cannot be gone on from",
            "an xgboost model: Spark's own learners give no way to begin with a fitted one",
            "take warm_start out of the model, or promote a version whose learner is xgboost",
        )
    stages = tuple(pipeline.stages[:-1])
    (assembler,) = (stage for stage in stages if _output(stage) == VECTOR["tree"])
    given = list(assembler.getInputCols())  # type: ignore[attr-defined]
    places = tuple(_bare(name) for name in given)
    parts = {name: _factors(name, features) for name in dict.fromkeys(places) if name not in features}
    if COMPONENTS in given or not all(parts.values()):
        raise ModelGateError(
            f"version {version} learnt from principal components or clusters, and cannot be gone on from",
            "a model of features and products",
            "take warm_start out of the model",
        )
    preparation = Preparation(
        features=tuple(features),
        categorical=tuple(_bare(name) for name in given if name.startswith(columns.index(""))),
        reasons={},
        common=stages,
        forms={"tree": ()},
        places={"tree": places},
        max_bins=bins_for(len(labels) for stage in stages for labels in _labels(stage)),
        parts=parts,
    )
    return WarmStart(version, sha256, learnt_until, preparation, learner.get_booster())


def checked_warm(warm: WarmStart, training: DataFrame, features: Sequence[str]) -> WarmStart:
    """Return the start with the features it leaves out; nothing it is measured on may have been learnt.

    Raises:
        FrameError: validation or test rows are no later than the rows the earlier model has learnt from.
        ModelGateError: the earlier model reads what is no feature of this one.
    """
    unknown = [name for name in warm.preparation.features if name not in features]
    if unknown:
        raise ModelGateError(
            f"version {warm.version}, which is gone on from, reads {', '.join(unknown)}",
            "only features of the model",
            "add them to features, or take warm_start out of the model",
        )
    measured = training.where(F.col(SPLIT).isin("validate", "test"))
    moment = F.date_format(F.min(F.col(AS_OF)).cast("timestamp_ntz"), MINUTE)
    row = measured.agg(moment.alias("first")).first()
    first = None if row is None else row["first"]
    if first is not None and first <= warm.learnt_until:
        raise FrameError(
            f"validation and test rows begin at {first}, and version {warm.version}, which is gone on from, "
            f"has learnt from rows up to {warm.learnt_until}",
            "rows that it has not seen: on others every figure would flatter",
            "move the dates of the split behind that moment, or take warm_start out of the model",
        )
    reason = f"version {warm.version}, which is gone on from, does not know it"
    new = {name: reason for name in features if name not in warm.preparation.features}
    return replace(warm, preparation=replace(warm.preparation, reasons=new))


def _factors(name: str, features: Sequence[str]) -> tuple[str, ...]:
    """Return the features that a product is made of; none of what is no product."""
    return tuple(part for part in re.split(r"[*^]", name) if part in features)


def _output(stage: Any) -> str | None:  # noqa: ANN401 - stages of every kind
    if not stage.hasParam("outputCol") or not stage.isDefined("outputCol"):
        return None
    return str(stage.getOrDefault("outputCol"))


def _labels(stage: Any) -> Sequence[Sequence[str]]:  # noqa: ANN401 - likewise
    return stage.labelsArray if isinstance(stage, StringIndexerModel) else ()


def _bare(column: str) -> str:
    """Return the feature behind a column that goes into the vector."""
    for prefix in _PREFIXES:
        if column.startswith(prefix):
            return column.removeprefix(prefix)
    return column
