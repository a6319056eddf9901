"""What is decided of a preparation before its first stage is fitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from featurelib.errors import ConfigError, nearest
from featurelib.preparation_specs import Encoding, PreparationSpec
from featurelib.training import columns
from featurelib.training.clusters import cluster_names
from featurelib.training.encodings import Counts, count_values, edges_of
from featurelib.training.features import resolve_features
from featurelib.training.gaps import Gaps
from featurelib.training.look import Look
from featurelib.training.number_sql import outlier_bounds, products
from featurelib.training.stages import Inputs

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class Plan:
    """What a preparation is asked for beyond its features.

    Attributes:
        spec: the options.
        label: the label column, a double; "" where there is none, and then nothing that needs it is done.
        as_of: the column of each row's instant; "" where there is none.
        is_train: SQL that is true in training rows, when rows of all parts are prepared for a training.
        binary: whether the label is 0 or 1.
        known_label_ok: features that may tell the label by themselves.
        validation: validation rows, for the measure of stability alone.
        seed: of the forest that ranks features.
    """

    spec: PreparationSpec = field(default_factory=PreparationSpec)
    label: str = ""
    as_of: str = ""
    is_train: str = "true"
    binary: bool = True
    known_label_ok: tuple[str, ...] = ()
    validation: DataFrame | None = None
    seed: int = 7


def check_names(plan: Plan, *, numbers: Sequence[str], categories: Sequence[str]) -> None:
    """Check that options for single features name features; a misspelt one would do nothing.

    Raises:
        ConfigError: one does not.
    """
    encode, impute = plan.spec.encode.features, plan.spec.impute.features
    for what, names, known in (
        ("preparation.encode.features", encode, categories),
        ("known_label_ok", plan.known_label_ok, [*numbers, *categories]),
    ):
        for name in names:
            if name not in known:
                raise ConfigError(
                    f"{what}: {name!r} is none of the features it could be.{nearest(name, known)}",
                    f"one of {', '.join(known) or 'none'}",
                    "correct the name, or take it out",
                )
    for pattern in impute:
        resolve_features([pattern], numbers, what="preparation.impute.features")


def inputs_of(rows: DataFrame, look: Look, gaps: Gaps, *, plan: Plan, reasons: Mapping[str, str]) -> Inputs:
    """Return what the stages are made of, from the features that are left.

    Raises:
        ConfigError: an option names what is no numeric feature.
        FrameError: an encoded category has too many values.
    """
    spec, numbers, categories = plan.spec, list(look.numbers), list(look.categories)
    encodings = {name: _encoding(name, spec) for name in categories}
    encoded = [name for name, encoding in encodings.items() if encoding != "one_hot"]
    if "target" in encodings.values() and not plan.label:
        raise ConfigError(
            "target encoding of rows without a label", "labelled training rows", "encode one_hot"
        )
    bounded: Sequence[str] = ()
    if spec.outliers is not None:
        bounded = resolve_features(spec.outliers.features, numbers, what="preparation.outliers")
    bounds = {name: outlier_bounds(look.numbers[name], spec.outliers) for name in bounded if spec.outliers}
    return Inputs(
        numbers=tuple(numbers),
        categories=tuple(name for name in categories if name not in encoded),
        ordinal=tuple(name for name in encoded if encodings[name] == "ordinal"),
        target=tuple(name for name in encoded if encodings[name] == "target"),
        indicated=tuple(gaps.indicated(numbers)) if spec.impute.indicator else (),
        products=products(spec, numbers, dropped=list(reasons)),
        clusters=_clustered(spec, numbers),
        components=_components(spec, numbers),
        bounds={name: found for name, found in bounds.items() if found is not None},
        counts=_counts(rows, look, encoded, plan=plan) if encoded else None,
        spec=spec,
        as_of=plan.as_of,
        is_train=plan.is_train,
        seed=plan.seed,
    )


def _encoding(name: str, spec: PreparationSpec) -> Encoding:
    return spec.encode.features.get(name, spec.encode.default)


def _clustered(spec: PreparationSpec, numbers: Sequence[str]) -> tuple[str, ...]:
    if spec.clusters is None:
        return ()
    if taken := [name for name in cluster_names(spec.clusters.k) if name in numbers]:
        raise ConfigError(
            f"preparation.clusters adds {taken[0]}, and a feature has that name",
            "features of other names",
            "rename the feature, or take clusters out",
        )
    return resolve_features(spec.clusters.features, numbers, what="preparation.clusters")


def _components(spec: PreparationSpec, numbers: Sequence[str]) -> tuple[str, ...]:
    if spec.pca is None:
        return ()
    chosen = resolve_features(spec.pca.features, numbers, what="preparation.pca")
    if spec.pca.k > len(chosen):
        raise ConfigError(
            f"preparation.pca: {spec.pca.k} components of {len(chosen)} numeric features",
            f"k of at most {len(chosen)}",
            "lower k, or name more features",
        )
    return chosen


def _counts(rows: DataFrame, look: Look, encoded: Sequence[str], *, plan: Plan) -> Counts:
    instants = [] if look.instants is None else look.instants.tolist()
    edges = edges_of(instants, plan.spec.encode.target.folds)
    return count_values(rows, categories=encoded, label=plan.label, as_of=plan.as_of, edges=edges)


def constants(rows: DataFrame, look: Look, gaps: Gaps) -> dict[str, str]:
    """Return the features with one value in every training row; what looks like it is checked in all."""
    suspects: dict[str, object] = {}
    for name in look.names:
        values = look.numbers[name] if name in look.numbers else look.categories[name]
        if not gaps.missing[name] and len(values) and (values == values[0]).all():
            suspects[name] = values[0]
    if suspects and not look.is_complete:
        seen = [F.min(columns.quoted(name)) == F.max(columns.quoted(name)) for name in suspects]
        (found,) = rows.agg(F.array(*seen).alias("same")).collect()
        suspects = {
            name: value for (name, value), same in zip(suspects.items(), found["same"], strict=True) if same
        }
    return {name: f"its value is {value} in every training row" for name, value in suspects.items()}
