"""The stages of ``pyspark.ml`` that lead from raw columns to vectors, fitted on training rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pyspark.ml.feature import (
    PCA,
    Imputer,
    OneHotEncoder,
    SQLTransformer,
    StandardScaler,
    StringIndexer,
    VectorAssembler,
)

from featurelib.preparation_specs import PreparationSpec
from featurelib.training import columns
from featurelib.training.clusters import cluster_names, fit_clusters
from featurelib.training.encodings import Counts, ordinal_sql, target_sql, target_sql_in_training
from featurelib.training.gaps import missing_sql
from featurelib.training.look import Floats
from featurelib.training.number_sql import imputation_of, number_sql, product_sql, scaling_sql

if TYPE_CHECKING:
    from pyspark.ml import Transformer
    from pyspark.sql import DataFrame

Form = Literal["tree", "linear"]
VECTOR: dict[Form, str] = {"tree": "_tree_vector", "linear": "_linear_vector"}
"""The vector column of each form."""
COMPONENTS = "_components"

_MEDIAN_ERROR = 0.01


@dataclass(frozen=True)
class Inputs:
    """What the stages are made of, all of it decided before the first is fitted.

    Attributes:
        numbers: numeric features.
        categories: those that trees read as categories and linear models one-hot.
        ordinal: those that become their alphabetical place.
        target: those that become the mean label of their training rows.
        indicated: numbers with an indicator of missing values.
        products: products to add, each with its factors.
        clusters: the numbers that rows are put into clusters by.
        components: the numbers whose principal components stand for them.
        bounds: lowest and highest value of numbers whose outliers are moved.
        counts: values of ordinal and target categories.
        spec: the options.
        as_of: the column of the row's instant.
        is_train: SQL that is true in training rows.
        seed: of the first centres of clusters.
    """

    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    ordinal: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    indicated: tuple[str, ...] = ()
    products: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    clusters: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    counts: Counts | None = None
    spec: PreparationSpec = field(default_factory=PreparationSpec)
    as_of: str = ""
    is_train: str = "true"
    seed: int = 7

    @property
    def dense(self) -> tuple[str, ...]:
        """What has one number a row, in the vectors' order; components and indicators come after them."""
        replaced = () if self.spec.pca is None or self.spec.pca.keep else self.components
        named = (*self.numbers, *self.ordinal, *self.target, *self.products, *self.cluster_names)
        return tuple(name for name in named if name not in replaced)

    @property
    def cluster_names(self) -> tuple[str, ...]:
        """A name for the distance to each cluster's centre."""
        return cluster_names(self.spec.clusters.k if self.spec.clusters else 0)

    @property
    def component_names(self) -> tuple[str, ...]:
        """A name for each principal component."""
        return tuple(f"component_{place + 1}" for place in range(self.spec.pca.k if self.spec.pca else 0))


@dataclass(frozen=True)
class Common:
    """The stages both forms begin with, and the number of values of each category.

    ``in_training`` stands for the first of ``stages`` while a model is trained: it encodes training rows
    by earlier ones.
    """

    stages: tuple[Transformer, ...]
    sizes: dict[str, int]
    in_training: Transformer


def fit_common(rows: DataFrame, sample: DataFrame, inputs: Inputs) -> Common:
    """Fit the common stages; categories are counted in all rows, all else comes from the sample."""
    typing = SQLTransformer(statement=_typing(inputs, in_training=False))
    stages: list[Transformer] = [typing]
    sizes: dict[str, int] = {}
    typed = typing.transform(sample)
    for strategy in ("median", "mean", "mode"):
        filled = [
            columns.number(name)
            for name in inputs.numbers
            if imputation_of(name, inputs.spec.impute).strategy == strategy
        ]
        if filled:
            imputer = Imputer(
                inputCols=filled, outputCols=filled, strategy=strategy, relativeError=_MEDIAN_ERROR
            )
            stages.append(imputer.fit(typed))
    if inputs.categories:
        indexer = StringIndexer(
            inputCols=[columns.text(name) for name in inputs.categories],
            outputCols=[columns.index(name) for name in inputs.categories],
            handleInvalid="keep",
            stringOrderType="frequencyDesc",
        ).fit(typing.transform(rows))
        stages.append(indexer)
        sizes = {
            name: len(labels) for name, labels in zip(inputs.categories, indexer.labelsArray, strict=True)
        }
    if inputs.products:
        added = [product_sql(name, factors) for name, factors in inputs.products.items()]
        stages.append(SQLTransformer(statement=_selecting(added)))
    if inputs.spec.clusters is not None:
        prepared, k = transformed(sample, stages), inputs.spec.clusters.k
        stages.append(fit_clusters(prepared, inputs.clusters, k=k, seed=inputs.seed))
    if inputs.spec.pca is not None:
        stages += _fit_components(transformed(sample, stages), inputs, k=inputs.spec.pca.k)
    in_training = SQLTransformer(statement=_typing(inputs, in_training=True))
    return Common(tuple(stages), sizes, in_training)


def transformed(rows: DataFrame, stages: Sequence[Transformer]) -> DataFrame:
    """Return the rows after all stages."""
    for stage in stages:
        rows = stage.transform(rows)
    return rows


def fit_forms(
    typed: DataFrame,
    forms: Sequence[Form],
    *,
    inputs: Inputs,
    sizes: Mapping[str, int],
    scales: Mapping[str, Floats],
) -> tuple[dict[Form, tuple[Transformer, ...]], dict[Form, tuple[str, ...]]]:
    """Return, by form, the stages that make its vector, and the feature behind each of its places.

    Args:
        typed: the sample after the common stages.
        forms: which vectors are needed.
        inputs: what the vectors are made of.
        sizes: categories in order, and the number of values of each.
        scales: prepared values of each number, where linear models see them by range or quartiles.
    """
    after = [*([COMPONENTS] if inputs.component_names else []), *map(columns.missing, inputs.indicated)]
    dense_places = (*inputs.dense, *inputs.component_names, *inputs.indicated)
    fitted: dict[Form, tuple[Transformer, ...]] = {}
    places: dict[Form, tuple[str, ...]] = {}
    if "tree" in forms:
        given = [*map(columns.index, sizes), *map(columns.number, inputs.dense), *after]
        fitted["tree"] = (VectorAssembler(inputCols=given, outputCol=VECTOR["tree"], handleInvalid="error"),)
        places["tree"] = (*sizes, *dense_places)
    if "linear" in forms:
        fitted["linear"] = _fit_linear(typed, inputs, after=after, scales=scales)
        places["linear"] = (*(name for name, size in sizes.items() for _ in range(size)), *dense_places)
    return fitted, places


def _typing(inputs: Inputs, *, in_training: bool) -> str:
    spec = inputs.spec
    selected = [
        number_sql(name, bounds=inputs.bounds.get(name), constant=imputation_of(name, spec.impute).value)
        for name in inputs.numbers
    ]
    selected += [
        f"CAST({columns.quoted(name)} AS STRING) AS {columns.quoted(columns.text(name))}"
        for name in inputs.categories
    ]
    if inputs.counts is not None:
        selected += [ordinal_sql(name, inputs.counts) for name in inputs.ordinal]
        for name in inputs.target:
            selected.append(
                target_sql_in_training(
                    name, inputs.counts, spec.encode.target, as_of=inputs.as_of, is_train=inputs.is_train
                )
                if in_training
                else target_sql(name, inputs.counts, spec.encode.target)
            )
    selected += [missing_sql(name) for name in inputs.indicated]
    return _selecting(selected)


def _selecting(added: Sequence[str]) -> str:
    return f"SELECT {', '.join(['*', *added])} FROM __THIS__"  # noqa: S608 - columns, quoted


def _fit_components(typed: DataFrame, inputs: Inputs, *, k: int) -> list[Transformer]:
    assembler = VectorAssembler(
        inputCols=[columns.number(name) for name in inputs.components],
        outputCol="_uncentred_vector",
        handleInvalid="error",
    )
    scaler = StandardScaler(
        inputCol="_uncentred_vector", outputCol="_centred_vector", withMean=True, withStd=True
    ).fit(assembler.transform(typed))
    components = PCA(k=k, inputCol="_centred_vector", outputCol=COMPONENTS)
    return [assembler, scaler, components.fit(transformed(typed, [assembler, scaler]))]


def _fit_linear(
    typed: DataFrame, inputs: Inputs, *, after: Sequence[str], scales: Mapping[str, Floats]
) -> tuple[Transformer, ...]:
    stages: list[Transformer] = []
    categories, scale = inputs.categories, inputs.spec.scale
    if categories:
        # dropLast leaves the index of null and unseen values all zeros; every known value has its place.
        encoder = OneHotEncoder(
            inputCols=[columns.index(name) for name in categories],
            outputCols=[columns.hot(name) for name in categories],
            handleInvalid="error",
            dropLast=True,
        )
        stages.append(encoder.fit(typed))
        typed = stages[-1].transform(typed)
    numbers = [columns.number(name) for name in inputs.dense]
    if scale in {"min_max", "robust"} and numbers:
        # Spark's own scalers would scale one-hot columns too, and blot out what varies little.
        by_range = [
            scaling_sql(name, scales[name], scale="min_max" if scale == "min_max" else "robust")
            for name in inputs.dense
        ]
        stages.append(SQLTransformer(statement=_selecting(by_range)))
        numbers = [columns.scaled(name) for name in inputs.dense]
    assembler = VectorAssembler(
        inputCols=[*(columns.hot(name) for name in categories), *numbers, *after],
        outputCol="_unscaled_vector" if scale == "standard" else VECTOR["linear"],
        handleInvalid="error",
    )
    stages.append(assembler)
    if scale == "standard":
        # Without centring, sparse vectors stay sparse; the intercept takes up the rest.
        scaler = StandardScaler(
            inputCol="_unscaled_vector", outputCol=VECTOR["linear"], withMean=False, withStd=True
        )
        stages.append(scaler.fit(assembler.transform(typed)))
    return tuple(stages)
