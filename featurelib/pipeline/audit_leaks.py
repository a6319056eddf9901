"""The leak audit: what a training set would be had it seen the future, and whether the label is in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from featurelib.derived import derived_columns, feature_names
from featurelib.errors import FeaturelibError
from featurelib.expressions.frames import with_expressions
from featurelib.expressions.language import check_select, columns_of
from featurelib.expressions.on_polars import polars_expression
from featurelib.pipeline.silver import SilverRows, types_of
from featurelib.pipeline.without_spark import features_without_spark, with_derived
from featurelib.point_in_time.features import AS_OF
from featurelib.reports.text_tables import text_table
from featurelib.specs import Project, Source
from featurelib.tables import Store, published_version, read_arrow, snapshot

_LISTED = 15
_FEWEST = 30
"""Rows of each class that an AUC is worth computing on."""


@dataclass(frozen=True)
class Change:
    """A feature that would be different had events been visible by event time alone.

    Attributes:
        feature: its name.
        rows: how many of the audited rows.
        auc: of the feature alone, as it is; None where it cannot be computed.
        leaked_auc: had it leaked.
    """

    feature: str
    rows: int
    auc: float | None
    leaked_auc: float | None


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        rows: rows audited.
        of_rows: rows of the training set.
        features: features compared.
        changed_rows: rows with at least one different feature.
        changes: features that would differ, those with most rows first.
        best: the feature that predicts best alone, and its AUC.
        limit: the AUC above which one feature alone is too good.
        stale_rows: rows whose published features are not what their definition gives on today's tables.
        leaks: the ways in which the future or the label is in the features, in words; empty is good.
    """

    rows: int
    of_rows: int
    features: int
    changed_rows: int
    changes: Sequence[Change]
    best: tuple[str, float] | None
    limit: float
    stale_rows: int
    leaks: Sequence[str]


def audit_leaks(project: Project, store: Store, silver: SilverRows, *, rows: int, limit: float) -> Audit:
    """Audit the published training set: compute its features with known-at and without, look for the label.

    A label of more than two values is audited as its upper half against its lower one.

    Args:
        project: the validated specs.
        store: where the published tables are.
        silver: gives the rows of landed tables.
        rows: at most so many rows of the training set, chosen by a hash of their key.
        limit: the AUC above which one feature alone is too good to be true.

    Raises:
        FeaturelibError: no training set was published.
        ConfigError: an expression needs Spark; the message says what.
    """
    training = _training(project, store)
    sample = _sample(training, project.spine.key, rows)
    asked = sample.select(*project.spine.columns, AS_OF)
    honest = _features(project, asked, silver)
    leaky = _features(_without_known_at(project), asked, silver)
    label = as_classes(sample[project.label.name].cast(pl.Float64).to_numpy())
    names = feature_names(project)
    different = {name: _differs(honest[name], leaky[name]) for name in names}
    published = {name: _differs(honest[name], sample[name]) for name in names if name in sample.columns}
    changes = [
        Change(name, int(mask.sum()), auc(honest[name], label), auc(leaky[name], label))
        for name, mask in different.items()
        if mask.any()
    ]
    alone = _alone(sample.with_columns(honest.select(names)), [*project.spine.columns, *names], label)
    foreseen = {
        name: int((odd & different[name] & ~_differs(leaky[name], sample[name])).sum())
        for name, odd in published.items()
    }
    return Audit(
        rows=sample.height,
        of_rows=training.height,
        features=len(names),
        changed_rows=int(np.logical_or.reduce(list(different.values())).sum()),
        changes=sorted(changes, key=lambda change: -change.rows),
        best=max(alone.items(), key=lambda pair: pair[1], default=None),
        limit=limit,
        stale_rows=int(np.logical_or.reduce([np.zeros(sample.height, bool), *published.values()]).sum()),
        leaks=(*_foreseen(foreseen), *_leaks(project, silver, alone, limit)),
    )


def _training(project: Project, store: Store) -> pl.DataFrame:
    table = f"training.{project.name}"
    version = published_version(store, table)
    training = pl.DataFrame(pl.from_arrow(read_arrow(snapshot(store, table, version))))
    if training.height == 0:
        raise FeaturelibError(
            f"{table} version {version} is empty", "training rows", "run build_training_set"
        )
    return training


def _sample(training: pl.DataFrame, key: Sequence[str], rows: int) -> pl.DataFrame:
    if training.height <= rows:
        return training
    order = training.select(key).hash_rows(seed=7).arg_sort().head(rows)
    return training[order.sort()]


def _features(project: Project, spine: pl.DataFrame, silver: SilverRows) -> pl.DataFrame:
    features = features_without_spark(project, project.views, spine, silver)
    return with_derived(features, project, list(derived_columns(project.derived)))


def _without_known_at(project: Project) -> Project:
    """Return the project with every event known when it happened."""
    sources = {name: source.model_copy(update={"known_ts": None}) for name, source in project.sources.items()}
    return project.model_copy(update={"sources": sources})


def _differs(here: pl.Series, there: pl.Series) -> npt.NDArray[np.bool_]:
    different: npt.NDArray[np.bool_] = here.ne_missing(there).to_numpy()
    return different


def _foreseen(rows: Mapping[str, int]) -> Iterator[str]:
    """Name the features whose published values can only be had of events not known at their rows' moments."""
    for name, count in rows.items():
        if count:
            yield f"{name} holds, in {count:,} rows of the training set, what was not known at their moments"


# --- one feature alone ----------------------------------------------------------------------------------


def auc(values: pl.Series, label: npt.NDArray[np.float64]) -> float | None:
    """Return how well one column alone tells the classes apart, from 0.5 to 1, in either direction.

    It is the greater of two: that of the values among the rows that have one, and that of having one at all.
    None for what is no number, and for fewer than 30 rows of a class.
    """
    if not (values.dtype.is_numeric() or values.dtype == pl.Boolean):
        return None
    numbers = values.cast(pl.Float64).fill_null(np.nan).to_numpy()
    present = ~np.isnan(numbers)
    found = [_area(numbers[present], label[present]), _area(present.astype(np.float64), label)]
    return max((area for area in found if area is not None), default=None)


def as_classes(label: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return a label of 0 and 1 as it is, and of any other 1 for what lies above the median."""
    if np.isin(label, (0.0, 1.0)).all():
        return label
    return (label > np.median(label)).astype(np.float64)


def _area(scores: npt.NDArray[np.float64], label: npt.NDArray[np.float64]) -> float | None:
    """Return the area under the ROC curve by mid ranks, folded above one half."""
    positives, negatives = int((label == 1).sum()), int((label == 0).sum())
    if min(positives, negatives) < _FEWEST:
        return None
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2
    ranks = float(middle[place][label == 1].sum())
    area = (ranks - positives * (positives + 1) / 2) / (positives * negatives)
    return max(area, 1 - area)


def _alone(frame: pl.DataFrame, columns: Sequence[str], label: npt.NDArray[np.float64]) -> dict[str, float]:
    found = {name: auc(frame[name], label) for name in columns}
    return {name: area for name, area in found.items() if area is not None}


# --- the label among the features -----------------------------------------------------------------------


def _leaks(project: Project, silver: SilverRows, alone: Mapping[str, float], limit: float) -> Iterator[str]:
    for name, area in alone.items():
        if area > limit:
            yield f"{name} alone has an AUC of {area:.3f}, above {limit:g}"
    for name, text in project.spine.columns.items():
        used = sorted(set(columns_of(project.label.value)) & set(columns_of(text)))
        if used:
            yield f"spine column {name} is made of {', '.join(used)}, which the label is made of"
    early = _rows_where(project, silver, f"({project.label.known_ts}) < ({project.spine.as_of_ts})")
    if early:
        yield f"the label of {early:,} rows was known before the moment they are asked about"
    for name, source in project.sources.items():
        if source.table == project.spine.table:
            yield from _known_too_early(project, silver, name, source)


def _known_too_early(project: Project, silver: SilverRows, name: str, source: Source) -> Iterator[str]:
    """A source of the spine's own table must not know the label's columns before the label."""
    used = sorted(set(columns_of(project.label.value)) & _inputs(project, name, source))
    known = source.event_ts if source.known_ts is None else source.known_ts
    ahead = _rows_where(project, silver, f"({known}) < ({project.label.known_ts})") if used else 0
    if ahead:
        made = f"source {name} carries {', '.join(used)}, which the label is made of"
        yield f"{made}, and says of {ahead:,} rows that they were known before the label"


def _inputs(project: Project, name: str, source: Source) -> set[str]:
    """Return the columns of the source's table that views take of it, as they are or in expressions."""
    made = dict(source.columns)
    if source.sql is not None:
        made = check_select(source.sql, source.table, list(types_of(project, source.table))).columns
    taken = {column for view in project.views if view.source == name for column in view.inputs}
    return {used for column in taken for used in columns_of(made.get(column, column))}


def _rows_where(project: Project, silver: SilverRows, condition: str) -> int:
    table = project.spine.table
    rows = silver(table, frozenset(columns_of(condition)))
    flags = with_expressions(rows, {"__found": polars_expression(condition, types_of(project, table))})
    return int(flags["__found"].sum())


# --- for people -----------------------------------------------------------------------------------------


def rendered(audit: Audit) -> str:
    """Return the audit as text."""
    had = "had events been visible by event time alone,"
    changed = f"{audit.changed_rows:,}"
    share = audit.changed_rows / max(audit.rows, 1)
    whole = audit.rows == audit.of_rows
    size = f"all {audit.rows:,} rows" if whole else f"{audit.rows:,} of {audit.of_rows:,} rows, chosen by key"
    lines = [
        f"training set: {size}, {audit.features} features",
        "",
        f"{had} {len(audit.changes)} features in {changed} rows ({share:.1%}) would be different",
    ]
    listed = [
        (
            change.feature,
            f"{change.rows:,}",
            f"{change.rows / audit.rows:.1%}",
            _shown(change.auc),
            _shown(change.leaked_auc),
        )
        for change in audit.changes[:_LISTED]
    ]
    if listed:
        lines.append(text_table(("feature", "rows", "share", "AUC alone", "had it leaked"), listed))
    if len(audit.changes) > _LISTED:
        lines.append(f"{len(audit.changes) - _LISTED} more features")
    lines.append("")
    if audit.stale_rows:
        stale = f"{audit.stale_rows:,} rows hold other features than their definition gives on today's tables"
        lines.append(f"{stale}: run build_features and build_training_set")
    if audit.best is not None:
        lines.append(f"best alone: {audit.best[0]}, AUC {audit.best[1]:.3f} (limit {audit.limit:g})")
    if audit.leaks:
        lines += [f"leak: {leak}" for leak in audit.leaks]
    else:
        lines.append("no leak: no feature too good alone, none made of the label, none known too early")
    return "\n".join(lines)


def _shown(area: float | None) -> str:
    return "-" if area is None else f"{area:.3f}"
