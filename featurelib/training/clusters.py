"""Numbers of training rows fall into clusters, and a row's distance to the centre of each is a feature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyspark.ml.clustering import KMeans
from pyspark.ml.feature import SQLTransformer, StandardScaler, VectorAssembler

from featurelib.errors import FrameError
from featurelib.training.columns import double, number, quoted

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_GIVEN, _SCALED = "_clustered", "_clustered_scaled"


def cluster_names(count: int) -> tuple[str, ...]:
    """Return a name for the distance to each centre."""
    return tuple(f"cluster_{place + 1}" for place in range(count))


def fit_clusters(typed: DataFrame, features: Sequence[str], *, k: int, seed: int) -> SQLTransformer:
    """Return the stage that adds the distance to each of ``k`` centres, in standard deviations.

    The centres are those of Spark's k-means (k-means||: Bahmani and others, "Scalable k-means++", 2012) over
    numbers scaled to a mean of 0 and a deviation of 1; they stand in the stage as literals.

    Args:
        typed: training rows with their prepared numbers, in one order.
        features: the numbers.
        k: how many centres.
        seed: of the first centres.

    Raises:
        FrameError: the rows have fewer than ``k`` different values.
    """
    given = VectorAssembler(inputCols=[number(name) for name in features], outputCol=_GIVEN)
    rows = given.transform(typed)
    scaler = StandardScaler(inputCol=_GIVEN, outputCol=_SCALED, withMean=True, withStd=True).fit(rows)
    found = KMeans(k=k, seed=seed, featuresCol=_SCALED).fit(scaler.transform(rows))
    centres = sorted(tuple(float(value) for value in centre) for centre in found.clusterCenters())
    if len(centres) < k:
        raise FrameError(
            f"preparation.clusters: {k} clusters of rows that have {len(centres)} different values",
            f"k of at most {len(centres)}",
            "lower k, or name features that vary more",
        )
    means, deviations = scaler.mean.toArray().tolist(), scaler.std.toArray().tolist()
    added = [
        _distance(name, features, [*zip(centre, means, deviations, strict=True)])
        for name, centre in zip(cluster_names(k), centres, strict=True)
    ]
    return SQLTransformer(statement=f"SELECT *, {', '.join(added)} FROM __THIS__")  # noqa: S608 - literals


def _distance(name: str, features: Sequence[str], places: Sequence[tuple[float, float, float]]) -> str:
    squares = [
        f"pow(({quoted(number(feature))} - {double(mean)}) / {double(deviation or 1.0)} - {double(at)}, 2)"
        for feature, (at, mean, deviation) in zip(features, places, strict=True)
    ]
    return f"sqrt({' + '.join(squares)}) AS {quoted(number(name))}"
