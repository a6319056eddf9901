"""What the score of single rows of the feature table depends on, by a registered model."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from pyspark.ml.functions import vector_to_array
from pyspark.sql import functions as F

from featurelib.errors import ConfigError, FeaturelibError, ModelGateError, nearest
from featurelib.pipeline.context import Context
from featurelib.pipeline.functions import loaded_model
from featurelib.pipeline.models import checked_model
from featurelib.pipeline.train import outbox_root
from featurelib.registry.tracker import LoadedModel, Tracker
from featurelib.registry.versions import RegisteredModel
from featurelib.reports.text_tables import shown, text_table
from featurelib.scoring.batch import check_features
from featurelib.specs import Project
from featurelib.tables import published, read
from featurelib.training import explain

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Method = Literal["contributions", "lime"]

_METHODS = ("contributions", "lime")
_MOST_ROWS = 20
_BACKGROUND_ROWS = 1_000
_SEED = 7
_SHOWN = 15


@dataclass(frozen=True)
class Request:
    """Which rows are to be explained, by which version and how."""

    registered: RegisteredModel
    key: Mapping[str, str]
    method: Method


@dataclass(frozen=True)
class ExplainedRow:
    """A row of the feature table with what its score depends on.

    Attributes:
        row: key, ``as_of_ts`` and raw features.
        probability: of label 1.
        contributions: by feature: of the log-odds (of a forest, of the probability), or LIME's weights.
        sums: what they are part of, with base and margin; None for LIME, whose weights sum to nothing in
            particular.
    """

    row: Mapping[str, Any]
    probability: float
    contributions: Mapping[str, float]
    sums: explain.Explained | None = None


def checked_request(
    project: Project, model: str, key: Mapping[str, str], *, version: int | None, method: str
) -> Request:
    """Return the request, checked before any session starts.

    Raises:
        ConfigError: the model, a key column or the method is unknown.
        ModelGateError: the version is.
    """
    checked_model(project, model)
    for column in key:
        if column not in project.spine.key:
            raise ConfigError(
                f"--key {column}.{nearest(column, project.spine.key)}",
                f"a column of the key: {', '.join(project.spine.key)}",
                "give --key COLUMN=VALUE",
            )
    if method not in _METHODS:
        raise ConfigError(f"--method {method}", f"one of {', '.join(_METHODS)}", "choose one")
    tracker = Tracker(project.settings.tracking)
    registered = tracker.champion(model) if version is None else tracker.version(model, version)
    return Request(registered, key, cast("Method", method))


def explain_rows(context: Context, request: Request) -> list[ExplainedRow]:
    """Return the rows of the feature table with this key, each taken apart; at most twenty.

    Raises:
        FeaturelibError: there is no such row.
        ModelGateError: the model's files or features are not fit, or it has no exact contributions.
    """
    names, registered = context.names, request.registered
    if names.features not in published(context.store):
        raise FeaturelibError("no features were built yet", "a feature table", "run build_features first")
    loaded = loaded_model(context.project, registered)
    features = read(context.spark, context.store, names.features)
    check_features(features, loaded.feature_types, what=f"{registered.name} version {registered.version}")
    identity = [*context.project.spine.key, "as_of_ts"]
    for column, value in request.key.items():
        features = features.where(F.col(f"`{column}`").cast("string") == value)
    columns = list(dict.fromkeys([*identity, *loaded.feature_types]))
    rows = (
        features.select(*(F.col(f"`{name}`") for name in columns))
        .orderBy(*identity)
        .limit(_MOST_ROWS)
        .toArrow()
    )
    if not len(rows):
        given = ", ".join(f"{column}={value}" for column, value in request.key.items())
        raise FeaturelibError(
            f"no row of {names.features} has {given}",
            "a key that has features",
            "look for it with: featurelib why",
        )
    local = context.spark.createDataFrame(rows)
    predicted = loaded.pipeline.transform(local)
    if "probability" not in predicted.columns:
        raise ModelGateError(
            f"{registered.name} version {registered.version} predicts a number",
            "a model of classes, whose log-odds can be taken apart",
            "see which features matter in its report",
        )
    scored = predicted.select(vector_to_array(F.col("probability"))[1].alias("p")).collect()
    probabilities = [row["p"] for row in scored]
    pairs = list(zip(rows.to_pylist(), probabilities, strict=True))
    if request.method == "lime":
        weights = _surrogates(context, loaded, rows)
        return [ExplainedRow(row, p, found) for (row, p), found in zip(pairs, weights, strict=True)]
    apart = _contributions(
        context, loaded, local, Tracker(context.project.settings.tracking).result(registered)
    )
    return [
        ExplainedRow(row, p, found.contributions, found) for (row, p), found in zip(pairs, apart, strict=True)
    ]


def explained_text(rows: Sequence[ExplainedRow]) -> str:
    """Return the rows for people: the features that count most, what they hold and what they add."""
    blocks = []
    for one in rows:
        ranked = sorted(one.contributions.items(), key=lambda pair: (-abs(pair[1]), pair[0]))
        rest = sum(value for _, value in ranked[_SHOWN:])
        lines: list[tuple[str, object, object]] = [
            (name, shown(one.row.get(name)), round(value, 6)) for name, value in ranked[:_SHOWN]
        ]
        if one.sums is not None:
            if ranked[_SHOWN:]:
                lines.append((f"{len(ranked) - _SHOWN} other features", "", round(rest, 6)))
            lines = [("(nothing known)", "", round(one.sums.base, 6)), *lines]
            lines.append((f"sum, the {one.sums.unit}", "", round(one.sums.margin, 6)))
        key = ", ".join(f"{name} {shown(one.row[name])}" for name in one.row if name not in one.contributions)
        blocks.append(
            f"{key}: probability {one.probability:.6f}\n{text_table(('feature', 'value', 'adds'), lines)}"
        )
    return "\n\n".join(blocks)


def _contributions(
    context: Context, loaded: LoadedModel, rows: DataFrame, result: Mapping[str, Any]
) -> list[explain.Explained]:
    recorded = ((result.get("review") or {}).get("explanation") or {}).get("background")
    if recorded is None or (hasattr(loaded.pipeline.stages[-1], "coefficients") and not recorded["means"]):
        raise ModelGateError(
            f"{loaded.name} version {loaded.version} did not record what contributions start from",
            "a version trained with review: {explain: [contributions]}",
            "take --method lime, or train a version with it",
        )
    background = explain.Background(tuple(recorded["places"]), tuple(recorded["means"]))
    outbox_root(context).mkdir(parents=True, exist_ok=True)
    scratch = outbox_root(context) / f".explain-{uuid.uuid4().hex[:12]}"
    return explain.contributions(loaded.pipeline, rows, background, scratch=scratch)


def _surrogates(
    context: Context,
    loaded: LoadedModel,
    rows: Any,  # noqa: ANN401 - a table of pyarrow
) -> list[dict[str, float]]:
    features = read(context.spark, context.store, context.names.features)
    names = list(loaded.feature_types)
    order = F.xxhash64(*(F.col(f"`{name}`") for name in context.project.spine.key))
    others = features.orderBy(order).limit(_BACKGROUND_ROWS).select(*(F.col(f"`{name}`") for name in names))
    background, score = others.toArrow(), explain.scoring(loaded.pipeline, features)
    return [
        explain.local_surrogate(rows.select(names)[at : at + 1], background, score=score, seed=_SEED)
        for at in range(len(rows))
    ]
