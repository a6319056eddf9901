"""Raw feature columns become vectors by stages fitted on training rows only, so that scoring repeats them.

Only stages that come with ``pyspark.ml`` are used, so a saved model needs no code of this library:

    SQLTransformer      numbers to double, categories to text, an indicator where values were missing
    Imputer             missing numbers become the training median (every number: nulls may first come later)
    StringIndexer       categories to indices by falling frequency; null and unseen ones share a last index
    VectorAssembler     ... for trees, which read the categories from the vector's metadata
    OneHotEncoder, VectorAssembler, StandardScaler
                        ... for linear models
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Literal

from pyspark.ml.feature import (
    Imputer,
    OneHotEncoder,
    SQLTransformer,
    StandardScaler,
    StringIndexer,
    VectorAssembler,
)
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.storagelevel import StorageLevel

from featurelib.errors import ConfigError, FrameError, nearest

if TYPE_CHECKING:
    from pyspark.ml import Transformer
    from pyspark.sql import Column, DataFrame

Form = Literal["tree", "linear"]
VECTOR: dict[Form, str] = {"tree": "_tree_vector", "linear": "_linear_vector"}
"""The vector column of each form."""

_MEDIAN_ERROR = 0.01
_MIN_BINS = 32
_WORD = 62
_SAMPLE_VALUES = 3_000
_SAMPLE_STEPS = 1_000_000
ROW_HASH = "_row_hash"
"""A hash of each row's identity: it orders rows and decides which belong to a sample."""


@dataclass(frozen=True)
class Preparation:
    """Fitted stages, and which feature each place of their vectors came from.

    Attributes:
        features: the raw columns the stages read, in order.
        categorical: those of them that are categories.
        dropped: features asked for that had no value in any training row, and are left out.
        common: stages both forms begin with.
        forms: the further stages of each form; the last gives the column ``VECTOR[form]``.
        places: for each form, the feature behind each place of the vector.
        max_bins: bins a tree learner needs so that every category has its own.
    """

    features: tuple[str, ...]
    categorical: tuple[str, ...]
    dropped: tuple[str, ...]
    common: tuple[Transformer, ...]
    forms: dict[Form, tuple[Transformer, ...]]
    places: dict[Form, tuple[str, ...]]
    max_bins: int

    def stages(self, form: Form) -> list[Transformer]:
        """Return the stages that lead from raw columns to ``VECTOR[form]``."""
        return [*self.common, *self.forms[form]]

    def places_of(self, features: Sequence[str], *, form: Form) -> list[int]:
        """Return the places of the vector that come from these features, rising."""
        wanted = frozenset(features)
        return [place for place, feature in enumerate(self.places[form]) if feature in wanted]

    def transform(self, rows: DataFrame) -> DataFrame:
        """Add the vector column of every form; the rows and their grain stay."""
        for stage in self.common:
            rows = stage.transform(rows)
        for stages in self.forms.values():
            for stage in stages:
                rows = stage.transform(rows)
        return rows


def checked_types(
    frame: DataFrame, *, features: Sequence[str], categorical: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Return the categorical and the numeric ones of the features.

    Raises:
        ConfigError: a categorical name is no feature, or a text feature is not declared categorical.
        FrameError: a feature is an instant, a date or of a nested type.
    """
    for name in categorical:
        if name not in features:
            raise ConfigError(
                f"categorical {name!r} is not among the model's features.{nearest(name, features)}",
                "the name of a feature",
                "add it to features, or take it out of categorical",
            )
    numbers = [name for name in features if name not in categorical]
    types = {field.name: field.dataType for field in frame.schema.fields}
    for name in features:
        _check_type(name, types[name], is_category=name in categorical)
    return [name for name in features if name in categorical], numbers


def _check_type(name: str, kind: T.DataType, *, is_category: bool) -> None:
    if isinstance(kind, T.StringType):
        if not is_category:
            raise ConfigError(
                f"feature {name!r} is text, and is not declared categorical",
                "a number, or text that is listed under categorical",
                f"add {name!r} to categorical, or take it away with '!{name}'",
            )
    elif not isinstance(kind, T.NumericType | T.BooleanType):
        raise FrameError(
            f"feature {name!r} is of type {kind.simpleString()}",
            "a number, a boolean or text: an instant by itself says nothing that holds later, and a list or "
            "map has no fixed number of values",
            f"derive a number from it (as time since, or by with values), or take it away with '!{name}'",
        )


def fit_preparation(
    rows: DataFrame, *, features: Sequence[str], categorical: Sequence[str], forms: Sequence[Form]
) -> Preparation:
    """Fit the stages on training rows, in a few passes; medians and scales come from a sample of them.

    A missing indicator is added for each distinct pattern of missing values: columns that are missing in
    the same rows share one. NaN counts as missing. A feature without any value is left out.

    Args:
        rows: training rows only, with ``ROW_HASH``; one row an example.
        features: raw columns, in the order the vectors shall have.
        categorical: those encoded as categories.
        forms: which vectors are needed.

    Raises:
        ConfigError: see :func:`checked_types`.
        FrameError: a feature has a type that cannot be learnt from, or no feature has a value.
    """
    categories, numbers = checked_types(rows, features=features, categorical=categorical)
    gaps = _gaps(rows, numbers=numbers, categories=categories)
    dropped = gaps.never_given(features)
    if len(dropped) == len(features):
        raise FrameError(
            f"none of {len(features)} features has a value in any training row",
            "features with values in the time the model is trained on",
            "check the split's dates against the days that are loaded",
        )
    categories = [name for name in categories if name not in dropped]
    numbers = [name for name in numbers if name not in dropped]
    indicated = gaps.indicated(numbers)
    with _ordered(rows.where(is_sampled(gaps.sample_share(numbers)))) as sample:
        common, sizes = _fit_common(rows, sample, numbers=numbers, categories=categories, indicated=indicated)
        typed = sample
        for stage in common:
            typed = stage.transform(typed)
        dense = (*numbers, *indicated)
        fitted, places = _fit_forms(typed, forms, dense=dense, numbers=len(numbers), sizes=sizes)
    return Preparation(
        features=tuple(name for name in features if name not in dropped),
        categorical=tuple(categories),
        dropped=dropped,
        common=common,
        forms=fitted,
        places=places,
        max_bins=max([_MIN_BINS, *(size + 1 for size in sizes.values())]),
    )


@contextmanager
def _ordered(sample: DataFrame) -> Iterator[DataFrame]:
    """Give a small sample in one order, that of its hash, kept while several stages are fitted.

    Approximate medians and sums of doubles depend on the order of rows: it must not be that of the files.
    """
    kept = sample.repartition(1).sortWithinPartitions(ROW_HASH).persist(StorageLevel.MEMORY_AND_DISK)
    try:
        yield kept
    finally:
        kept.unpersist()


def _fit_forms(
    typed: DataFrame, forms: Sequence[Form], *, dense: Sequence[str], numbers: int, sizes: Mapping[str, int]
) -> tuple[dict[Form, tuple[Transformer, ...]], dict[Form, tuple[str, ...]]]:
    """Return, by form, the stages that make its vector, and the feature behind each of its places.

    Args:
        typed: the sample after the common stages.
        forms: which vectors are needed.
        dense: the columns beside categories: first the numbers, then missing indicators.
        numbers: how many of ``dense`` are numbers.
        sizes: categories in order, and the number of values of each.
    """
    columns = [*map(_number, dense[:numbers]), *map(_missing, dense[numbers:])]
    fitted: dict[Form, tuple[Transformer, ...]] = {}
    places: dict[Form, tuple[str, ...]] = {}
    if "tree" in forms:
        inputs = [*map(_index, sizes), *columns]
        fitted["tree"] = (VectorAssembler(inputCols=inputs, outputCol=VECTOR["tree"], handleInvalid="error"),)
        places["tree"] = (*sizes, *dense)
    if "linear" in forms:
        fitted["linear"] = _fit_linear(typed, categories=list(sizes), dense_columns=columns)
        places["linear"] = (*(name for name, size in sizes.items() for _ in range(size)), *dense)
    return fitted, places


@dataclass(frozen=True)
class _Gaps:
    """Which values are missing: rows in all, and for each feature its missing rows and their patterns."""

    rows: int
    missing: dict[str, int]
    patterns: dict[str, tuple[int, ...]]

    def never_given(self, features: Sequence[str]) -> tuple[str, ...]:
        return tuple(name for name in features if self.missing[name] == self.rows)

    def indicated(self, numbers: Sequence[str]) -> list[str]:
        """Return the first feature of each distinct pattern of missing values."""
        firsts: dict[tuple[int, ...], str] = {}
        for name in numbers:
            if self.missing[name]:
                firsts.setdefault(self.patterns[name], name)
        return list(firsts.values())

    def sample_share(self, numbers: Sequence[str]) -> float:
        """Return the share of rows that is enough for medians and scales: all where values are rare."""
        fewest = min((self.rows - self.missing[name] for name in numbers), default=0)
        return min(1.0, _SAMPLE_VALUES / max(fewest, 1))


def _gaps(rows: DataFrame, *, numbers: Sequence[str], categories: Sequence[str]) -> _Gaps:
    """Count rows by their missing flags, packed into longs.

    That is one cheap grouping however many columns there are; an aggregate for each column would be too
    wide for Spark's code generation.
    """
    names = [*numbers, *categories]
    flags = [
        *(_is_missing(name) for name in numbers),
        *(F.col(_quoted(name)).isNull() for name in categories),
    ]
    words = [
        reduce(
            add,
            [F.when(flag, F.lit(1 << bit)).otherwise(F.lit(0)).cast("long") for bit, flag in enumerate(part)],
        )
        for part in (flags[start : start + _WORD] for start in range(0, len(flags), _WORD))
    ]
    counted = rows.select(F.array(*words).alias("words")).groupBy("words").count().orderBy("words").collect()
    missing = dict.fromkeys(names, 0)
    patterns: dict[str, list[int]] = {name: [] for name in names}
    for number, row in enumerate(counted):
        for place, name in enumerate(names):
            if row["words"][place // _WORD] >> (place % _WORD) & 1:
                missing[name] += row["count"]
                patterns[name].append(number)
    total = sum(row["count"] for row in counted)
    return _Gaps(total, missing, {name: tuple(found) for name, found in patterns.items()})


def is_sampled(share: float) -> Column:
    """Return whether a row belongs to the sample of that share, by its ``ROW_HASH``."""
    return F.pmod(F.col(ROW_HASH), F.lit(_SAMPLE_STEPS)) < round(share * _SAMPLE_STEPS)


def _fit_common(
    rows: DataFrame,
    sample: DataFrame,
    *,
    numbers: Sequence[str],
    categories: Sequence[str],
    indicated: Sequence[str],
) -> tuple[tuple[Transformer, ...], dict[str, int]]:
    """Return the common stages, and the number of values of each category; medians come from the sample."""
    selected = [
        "*",
        *(f"CAST({_quoted(name)} AS DOUBLE) AS {_quoted(_number(name))}" for name in numbers),
        *(f"CAST({_quoted(name)} AS STRING) AS {_quoted(_text(name))}" for name in categories),
        *(_missing_sql(name) for name in indicated),
    ]
    statement = f"SELECT {', '.join(selected)} FROM __THIS__"  # noqa: S608 - columns, quoted
    typing = SQLTransformer(statement=statement)
    stages: list[Transformer] = [typing]
    sizes: dict[str, int] = {}
    if numbers:
        columns = [_number(name) for name in numbers]
        imputer = Imputer(
            inputCols=columns, outputCols=columns, strategy="median", relativeError=_MEDIAN_ERROR
        )
        stages.append(imputer.fit(typing.transform(sample)))
    if categories:
        indexer = StringIndexer(
            inputCols=[_text(name) for name in categories],
            outputCols=[_index(name) for name in categories],
            handleInvalid="keep",
            stringOrderType="frequencyDesc",
        ).fit(typing.transform(rows))
        stages.append(indexer)
        sizes = {name: len(labels) for name, labels in zip(categories, indexer.labelsArray, strict=True)}
    return tuple(stages), sizes


def _fit_linear(
    typed: DataFrame, *, categories: Sequence[str], dense_columns: Sequence[str]
) -> tuple[Transformer, ...]:
    stages: list[Transformer] = []
    if categories:
        # dropLast leaves the index of null and unseen values all zeros; every known value has its place.
        encoder = OneHotEncoder(
            inputCols=[_index(name) for name in categories],
            outputCols=[_hot(name) for name in categories],
            handleInvalid="error",
            dropLast=True,
        )
        stages.append(encoder.fit(typed))
        typed = stages[-1].transform(typed)
    assembler = VectorAssembler(
        inputCols=[*(_hot(name) for name in categories), *dense_columns],
        outputCol="_unscaled_vector",
        handleInvalid="error",
    )
    stages.append(assembler)
    # Without centring, sparse vectors stay sparse; the intercept takes up the rest.
    scaler = StandardScaler(
        inputCol="_unscaled_vector", outputCol=VECTOR["linear"], withMean=False, withStd=True
    )
    stages.append(scaler.fit(assembler.transform(typed)))
    return tuple(stages)


def importance_by_feature(
    preparation: Preparation, weights: Sequence[float], *, form: Form
) -> list[tuple[str, float]]:
    """Return each feature's share of the absolute weights of its places, greatest first, ties by name."""
    totals = dict.fromkeys(preparation.features, 0.0)
    for feature, weight in zip(preparation.places[form], weights, strict=True):
        totals[feature] += abs(weight) if math.isfinite(weight) else 0.0
    total = sum(totals.values()) or 1.0
    return sorted(
        ((name, value / total) for name, value in totals.items()), key=lambda pair: (-pair[1], pair[0])
    )


def _is_missing(name: str) -> Column:
    number = F.col(_quoted(name)).cast("double")
    return number.isNull() | F.isnan(number)


def _missing_sql(name: str) -> str:
    number = f"CAST({_quoted(name)} AS DOUBLE)"
    return f"CAST({number} IS NULL OR isnan({number}) AS DOUBLE) AS {_quoted(_missing(name))}"


def _quoted(name: str) -> str:
    return f"`{name.replace('`', '``')}`"


def _number(name: str) -> str:
    return f"_number_{name}"


def _text(name: str) -> str:
    return f"_text_{name}"


def _index(name: str) -> str:
    return f"_index_{name}"


def _hot(name: str) -> str:
    return f"_hot_{name}"


def _missing(name: str) -> str:
    return f"_missing_{name}"
