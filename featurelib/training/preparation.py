"""Raw feature columns become vectors by stages fitted on training rows only, so that scoring repeats them.

Only stages that come with ``pyspark.ml`` are used, so a saved model needs no code of this library:

    SQLTransformer      numbers to double within their bounds, categories to text or to their encoding, an
                        indicator where values were missing
    Imputer             missing numbers become the training median (every number: nulls may first come later)
    StringIndexer       categories to indices by falling frequency; null and unseen ones share a last index
    SQLTransformer, PCA products, distances to clusters and components, where the model asks for them
    VectorAssembler     ... for trees, which read the categories from the vector's metadata
    OneHotEncoder, VectorAssembler, StandardScaler
                        ... for linear models
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pyspark.ml.regression import RandomForestRegressor
from pyspark.sql import types as T
from pyspark.storagelevel import StorageLevel

from featurelib.errors import ConfigError, FrameError, nearest
from featurelib.preparation_specs import PreparationSpec
from featurelib.training import columns
from featurelib.training.gaps import Gaps, gaps_of
from featurelib.training.look import LOOK_ROWS, ROW_HASH, Floats, Look, is_sampled, look_at
from featurelib.training.plans import Plan, check_names, constants, inputs_of
from featurelib.training.selection import dropped_by, refuse_known_label
from featurelib.training.stages import VECTOR, Form, Inputs, fit_common, fit_forms, transformed

if TYPE_CHECKING:
    from pyspark.ml import Transformer
    from pyspark.sql import DataFrame

__all__ = [
    "ROW_HASH",
    "VECTOR",
    "Form",
    "Plan",
    "Preparation",
    "checked_types",
    "fit_preparation",
    "importance_by_feature",
    "is_sampled",
]

_MIN_BINS = 32
_NO_VALUE = "no training row has a value"


@dataclass(frozen=True)
class Preparation:
    """Fitted stages, and which feature each place of their vectors came from.

    Attributes:
        features: the raw columns the stages read, in order.
        categorical: those of them that are categories.
        reasons: features asked for that are left out, each with why.
        common: stages both forms begin with.
        forms: the further stages of each form; the last gives the column ``VECTOR[form]``.
        places: for each form, the feature behind each place of the vector; products and components have
            names of their own.
        max_bins: bins a tree learner needs so that every category has its own.
        parts: products, clusters and components, each with the features it was made of.
        in_training: stands for the first stage while a model is trained; see :class:`Common`.
    """

    features: tuple[str, ...]
    categorical: tuple[str, ...]
    reasons: dict[str, str]
    common: tuple[Transformer, ...]
    forms: dict[Form, tuple[Transformer, ...]]
    places: dict[Form, tuple[str, ...]]
    max_bins: int
    parts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    in_training: Transformer | None = None

    @property
    def dropped(self) -> tuple[str, ...]:
        """The features that are left out."""
        return tuple(self.reasons)

    def stages(self, *forms: Form) -> list[Transformer]:
        """Return the stages that lead from raw columns to ``VECTOR[form]`` of these forms."""
        return [*self.common, *(stage for form in dict.fromkeys(forms) for stage in self.forms[form])]

    def places_of(self, features: Sequence[str], *, form: Form) -> list[int]:
        """Return the places of the vector that come from these features alone, rising."""
        wanted = frozenset(features)
        return [
            place
            for place, feature in enumerate(self.places[form])
            if wanted.issuperset(self.parts.get(feature, (feature,)))
        ]

    def transform(self, rows: DataFrame, *, in_training: bool = False) -> DataFrame:
        """Add the vector column of every form; the rows and their grain stay.

        Args:
            rows: with the raw features; in training with the instant and what ``Plan.is_train`` reads too.
            in_training: encode training rows by earlier ones, as a model must learn from them.
        """
        first = self.in_training if in_training and self.in_training is not None else self.common[0]
        return transformed(rows, [first, *self.stages(*self.forms)[1:]])


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
    types = {column.name: column.dataType for column in frame.schema.fields}
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


def bins_for(sizes: Iterable[int]) -> int:
    """Return the bins a tree learner needs for categories of so many values, and one for unknown ones."""
    return max([_MIN_BINS, *(size + 1 for size in sizes)])


def fit_preparation(
    rows: DataFrame,
    *,
    features: Sequence[str],
    categorical: Sequence[str],
    forms: Sequence[Form],
    plan: Plan | None = None,
) -> Preparation:
    """Fit the stages on training rows, in a few passes; medians and scales come from a sample of them.

    A missing indicator is added for each distinct pattern of missing values: columns that are missing in
    the same rows share one. NaN counts as missing. A feature without any value, and one with a single
    value in every row, is left out. Bounds, ranges, selection and the search for features that know the
    label look at 20,000 rows, or at all where there are fewer.

    Args:
        rows: training rows only, with ``ROW_HASH``; one row an example.
        features: raw columns, in the order the vectors shall have.
        categorical: those encoded as categories.
        forms: which vectors are needed.
        plan: options, label and time; None for numbers and categories as they are.

    Raises:
        ConfigError: see :func:`checked_types`; or an option names what is no numeric feature.
        FrameError: a feature has a type that cannot be learnt from, or no feature is left.
        ModelGateError: a feature tells the label by itself.
    """
    plan = plan or Plan()
    categories, numbers = checked_types(rows, features=features, categorical=categorical)
    check_names(plan, numbers=numbers, categories=categories)
    gaps = gaps_of(rows, numbers=numbers, categories=categories)
    reasons = dict.fromkeys(gaps.never_given(features), _NO_VALUE)
    _check_left(features, reasons)
    look = _look(rows, gaps, plan=plan, numbers=numbers, categories=categories).without(list(reasons))
    reasons |= constants(rows, look, gaps)
    _check_left(features, reasons)
    look = look.without(list(reasons))
    if look.label is not None:
        refuse_known_label(look, binary=plan.binary, allowed=plan.known_label_ok)
    reasons |= dropped_by(look, plan.spec.select, later=_validation_look(plan, look))
    _check_left(features, reasons)
    left = [name for name in features if name not in reasons]
    if plan.spec.select.top is not None and plan.label:
        reasons |= _unimportant(rows, left, categorical=categorical, plan=plan, top=plan.spec.select.top)
        left = [name for name in left if name not in reasons]
    look = look.without(list(reasons))
    inputs = inputs_of(rows, look, gaps, plan=plan, reasons=reasons)
    return _fitted(rows, gaps, inputs, features=left, reasons=reasons, forms=forms)


def _fitted(
    rows: DataFrame,
    gaps: Gaps,
    inputs: Inputs,
    *,
    features: Sequence[str],
    reasons: dict[str, str],
    forms: Sequence[Form],
) -> Preparation:
    with _ordered(rows.where(is_sampled(gaps.sample_share(inputs.numbers)))) as sample:
        common = fit_common(rows, sample, inputs)
        scales = _scales(rows, gaps, inputs, common.stages) if "linear" in forms else {}
        typed = transformed(sample, common.stages)
        fitted, places = fit_forms(typed, forms, inputs=inputs, sizes=common.sizes, scales=scales)
    return Preparation(
        features=tuple(features),
        categorical=tuple(name for name in features if name not in inputs.numbers),
        reasons=dict(sorted(reasons.items())),
        common=common.stages,
        forms=fitted,
        places=places,
        max_bins=bins_for(common.sizes.values()),
        parts={
            **{name: tuple(dict.fromkeys(factors)) for name, factors in inputs.products.items()},
            **dict.fromkeys(inputs.cluster_names, inputs.clusters),
            **dict.fromkeys(inputs.component_names, inputs.components),
        },
        in_training=common.in_training if inputs.target else None,
    )


def _look(
    rows: DataFrame, gaps: Gaps, *, plan: Plan, numbers: Sequence[str], categories: Sequence[str]
) -> Look:
    return look_at(
        rows, numbers=numbers, categories=categories, total=gaps.rows, label=plan.label, as_of=plan.as_of
    )


def _validation_look(plan: Plan, look: Look) -> Look | None:
    unstable = plan.spec.select.unstable
    if unstable is None or unstable.between == "train" or plan.validation is None:
        return None
    total = plan.validation.count()
    return look_at(plan.validation, numbers=list(look.numbers), categories=list(look.categories), total=total)


def _unimportant(
    rows: DataFrame, features: Sequence[str], *, categorical: Sequence[str], plan: Plan, top: int
) -> dict[str, str]:
    """Return all but the features that matter most to a small forest on the rows looked at."""
    first = replace(
        plan,
        spec=PreparationSpec(impute=plan.spec.impute, outliers=plan.spec.outliers),
        known_label_ok=tuple(features),
    )
    kept = [name for name in categorical if name in features]
    preparation = fit_preparation(rows, features=features, categorical=kept, forms=("tree",), plan=first)
    share = min(1.0, LOOK_ROWS / max(rows.count(), 1))
    with _ordered(preparation.transform(rows, in_training=True).where(is_sampled(share))) as seen:
        forest = RandomForestRegressor(
            featuresCol=VECTOR["tree"], labelCol=plan.label, numTrees=20, maxDepth=5,
            maxBins=preparation.max_bins, seed=plan.seed,
        ).fit(seen)  # fmt: skip
    weights = [0.0] * len(preparation.places["tree"])
    for number, share_of_all in enumerate(forest.featureImportances.toArray()):
        weights[number] = float(share_of_all)
    totals = dict.fromkeys(features, 0.0)
    for place, weight in zip(preparation.places["tree"], weights, strict=True):
        for part in preparation.parts.get(place, (place,)):
            totals[part] += weight
    ranked = sorted(totals, key=lambda name: (-totals[name], name))
    return {
        name: f"importance {totals[name]:.4f}, not among the first {top}"
        for name in features
        if name in ranked[top:]
    }


def _scales(rows: DataFrame, gaps: Gaps, inputs: Inputs, stages: Sequence[Transformer]) -> dict[str, Floats]:
    """Return the prepared numbers of the rows looked at, where their range or quartiles are needed."""
    if inputs.spec.scale not in {"min_max", "robust"} or not inputs.dense:
        return {}
    named = {columns.number(name): name for name in inputs.dense}
    found = look_at(transformed(rows, stages), numbers=list(named), categories=(), total=gaps.rows)
    return {named[column]: values for column, values in found.numbers.items()}


def _check_left(features: Sequence[str], reasons: Mapping[str, str]) -> None:
    if len(reasons) < len(features):
        return
    if set(reasons.values()) == {_NO_VALUE}:
        raise FrameError(
            f"none of {len(features)} features has a value in any training row",
            "features with values in the time the model is trained on",
            "check the split's dates against the days that are loaded",
        )
    raise FrameError(
        f"no feature is left: {'; '.join(f'{name}: {reasons[name]}' for name in features)}",
        "at least one feature that varies and that preparation.select keeps",
        "add features, loosen the rules, or train on more days",
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


def importance_by_feature(
    preparation: Preparation, weights: Sequence[float], *, form: Form
) -> list[tuple[str, float]]:
    """Return each feature's share of the absolute weights of its places, greatest first, ties by name.

    Products and components count under names of their own.
    """
    totals = dict.fromkeys([*preparation.features, *preparation.parts], 0.0)
    for feature, weight in zip(preparation.places[form], weights, strict=True):
        totals[feature] += abs(weight) if math.isfinite(weight) else 0.0
    total = sum(totals.values()) or 1.0
    return sorted(
        ((name, value / total) for name, value in totals.items()), key=lambda pair: (-pair[1], pair[0])
    )
