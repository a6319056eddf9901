"""One slice's rows become one tuned, measured and explained model, in one thread of one process.

Runs inside Spark's Python workers, and needs no Spark. The same rows give the same bytes: they are put into
one order, one thread adds them up, and everything random has a seed.
"""

# ruff: noqa: PLC0415 - xgboost is optional, and imported where a model is fitted or asked

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from featurelib.errors import ModelGateError
from featurelib.registry.segment_files import SegmentBooster
from featurelib.segment_specs import WHOLE
from featurelib.specs import Segments, Tuning
from featurelib.training.search import TrialSearch
from featurelib.training.segment_gains import gain_error, least_gain
from featurelib.training.segment_metrics import binary_metrics, gain_over, mean_contributions
from featurelib.training.tuning import Measured, Metric, Parameter, Trial, best_trial
from featurelib.training.xgboost_names import OF_TREES

if TYPE_CHECKING:
    from xgboost import Booster

Floats = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float32]
State = Literal["own", "parent", "failed"]

SPLITS = ("train", "validate", "test")
_LOADED = 1_024
_TREES = 60
_BINS = 64
"""Of each feature: finding a split costs a pass over all bins, more than over the rows of a small slice."""


@dataclass(frozen=True)
class SliceRows:
    """A slice's rows, in one order.

    Attributes:
        features: one row an example, the parent's tree vector.
        label: 0 or 1.
        split: the place in ``SPLITS``.
        parent: the parent's probability; of validation rows that of a parent fitted on training rows alone,
            of training rows none (NaN).
        day: of ``as_of_ts``, as a number.
    """

    features: Matrix
    label: Floats
    split: npt.NDArray[np.int8]
    parent: Floats
    day: npt.NDArray[np.int32]

    def of(self, *splits: int) -> npt.NDArray[np.bool_]:
        """Return which rows belong to these parts."""
        return np.isin(self.split, splits)


def in_one_order(rows: SliceRows, row_hash: npt.NDArray[np.int64]) -> SliceRows:
    """Return the rows by their hash; of equal hashes by everything else, so that no order is left to luck."""
    order = np.argsort(row_hash, kind="stable")
    if len(np.unique(row_hash)) != len(row_hash):
        order = np.lexsort((*rows.features.T, rows.day, rows.parent, rows.label, rows.split, row_hash))
    return SliceRows(
        rows.features[order], rows.label[order], rows.split[order], rows.parent[order], rows.day[order]
    )


@dataclass(frozen=True)
class FitSettings:
    """What all slices of a model have in common.

    Attributes:
        segments: the learner, its trials and what they must gain.
        metric: of the choice on validation rows.
        seed: of everything random.
        places: the feature behind each place of the vector.
    """

    segments: Segments
    metric: Metric
    seed: int
    places: tuple[str, ...]


@dataclass(frozen=True)
class SliceOutcome:
    """What became of a slice.

    Attributes:
        segment: its name, the values of its columns as a JSON list.
        state: ``own`` where its model predicts, ``parent`` where the parent does, ``failed`` where the parent
            does as the fit failed.
        reason: why it has no model of its own; also of how many of its rows all this is, if not of all.
        rows: of train, validate and test.
        positives: those of them with label 1.
        value: the metric of the best trial on the validation rows; ``parent_value`` is the parent's.
        gain_error: the standard error of the gain on these, by their days; None where it was not asked for,
            or could not be told.
        test: metrics on the test rows of the slice's own model; ``parent_test`` are the parent's.
        parameters: the model was fitted with.
        trials: every trial, as plain values.
        contributions: mean absolute SHAP value of each feature on the test rows, in log-odds, greatest first.
        additivity: the largest distance of a test row's SHAP values, added up, from its log-odds, as a share
            of the sum of their absolute values where that is above 1: rounding follows it.
        sha256: of the booster's bytes.
        cpu_seconds: of the whole slice.
    """

    segment: str
    state: State
    reason: str = ""
    rows: tuple[int, int, int] = (0, 0, 0)
    positives: tuple[int, int, int] = (0, 0, 0)
    value: float | None = None
    parent_value: float | None = None
    gain_error: float | None = None
    test: Mapping[str, float | None] = field(default_factory=dict)
    parent_test: Mapping[str, float | None] = field(default_factory=dict)
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    trials: Sequence[Mapping[str, Any]] = ()
    contributions: Mapping[str, float] = field(default_factory=dict)
    additivity: float | None = None
    sha256: str = ""
    cpu_seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome as plain JSON values."""
        return {**asdict(self), "rows": list(self.rows), "positives": list(self.positives)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SliceOutcome:
        """Return the outcome that ``to_dict`` gave."""
        lists = {name: tuple(values[name]) for name in ("rows", "positives", "trials")}
        return cls(**{**values, **lists})

    def to_json(self) -> str:
        """Return the outcome as it travels."""
        return json.dumps(self.to_dict())


def fitted_slice(segment: str, rows: SliceRows, settings: FitSettings) -> tuple[SliceOutcome, bytes]:
    """Tune a slice's model, hold it against the parent, fit it again, measure and explain it.

    Trials are fitted on train rows and compared on validation rows, where the best must be better than the
    parent, by more than chance gives where a confidence is asked for; it is fitted again on both, and only
    then are the test rows looked at. Whatever a fit raises is the outcome of this slice, and of no other.

    Returns:
        The outcome, and the bytes of the booster; none unless the state is ``own``.
    """
    began = time.process_time()
    try:
        outcome, content = _fitted(segment, rows, settings)
    except Exception as error:  # noqa: BLE001 - a failed slice fails alone, with its reason
        lines = str(error).strip().splitlines() or [""]
        reason = f"{type(error).__name__}: {lines[0]}"[:500]
        outcome, content = SliceOutcome(segment, "failed", reason, *_counts(rows)), b""
    return replace(outcome, cpu_seconds=time.process_time() - began), content


def _fitted(segment: str, rows: SliceRows, settings: FitSettings) -> tuple[SliceOutcome, bytes]:
    learner, validate, test = settings.segments.learner, rows.of(1), rows.of(2)
    trials, scores = _trials(rows, settings)
    best = best_trial(trials)
    assert best is not None  # a search without a finished trial raises
    tried = sum(trial.value is not None for trial in trials)
    reason, error = _not_better(rows, scores[best.number], settings, tried=tried)
    found = SliceOutcome(
        segment,
        "parent",
        reason or "",
        *_counts(rows),
        value=best.value,
        parent_value=binary_metrics(rows.parent[validate], rows.label[validate])[settings.metric],
        gain_error=error,
        parent_test=binary_metrics(rows.parent[test], rows.label[test]),
        trials=tuple(_told(trial) for trial in trials),
    )
    if reason is not None:
        return found, b""
    parameters = {**best.parameters, **learner.refit}
    booster = _boosted(rows, rows.of(0, 1), parameters, seed=settings.seed)
    content = bytes(booster.save_raw("ubj"))
    kept = SegmentBooster.of(content)
    contributions, additivity = _explained(loaded(kept), rows.features[test], settings.places)
    return (
        replace(
            found,
            state="own",
            parameters=parameters,
            test=binary_metrics(probabilities(loaded(kept), rows.features[test]), rows.label[test]),
            contributions=contributions,
            additivity=additivity,
            sha256=kept.sha256,
        ),
        content,
    )


def _not_better(
    rows: SliceRows, scores: Floats, settings: FitSettings, *, tried: int
) -> tuple[str | None, float | None]:
    """Return why the slice keeps its parent, None where its own model is better, and the gain's error."""
    validate, metric, segments = rows.of(1), settings.metric, settings.segments
    label, theirs, days = rows.label[validate], rows.parent[validate], rows.day[validate]
    ours, parents = binary_metrics(scores, label), binary_metrics(theirs, label)
    value, parent = ours[metric], parents[metric]
    if value is None or parent is None:
        return None, None
    gain, said = (
        gain_over(metric, value, parent),
        f"validation {metric} {value:.4f}, the parent's {parent:.4f}",
    )
    if gain <= 0:
        return said, None
    if gain < segments.min_gain:
        return f"{said}, less than min_gain {segments.min_gain:g}", None
    if segments.confidence is None:
        return None, None
    sure = f"{segments.confidence:.4g} of confidence"
    error = gain_error(metric, scores, theirs, label, days, seed=settings.seed)
    if error is None:
        return f"{said}: {len(np.unique(days)):,} validation days are too few for {sure}", None
    least = least_gain(gain, error, confidence=segments.confidence, tried=tried)
    if least <= 0:
        return f"{said}: with {sure} and the best of {tried:,} trials the gain is at least {least:.4f}", error
    if metric != "log_loss" and (ours["log_loss"] or 0.0) > (parents["log_loss"] or 0.0):
        losses = f"{ours['log_loss']:.4f}, the parent's {parents['log_loss']:.4f}"
        return f"{said}: its order is better, and its probabilities are not (log_loss {losses})", error
    return None, error


def _trials(rows: SliceRows, settings: FitSettings) -> tuple[tuple[Trial, ...], dict[int, Floats]]:
    """Return the trials, and the scores that each gave the validation rows."""
    scores: dict[int, Floats] = {}
    segments, train, validate = settings.segments, rows.of(0), rows.of(1)
    given, label = _matrix(rows.features[train], rows.label[train]), rows.label[validate]

    def objective(trial: Trial) -> Measured:
        booster = _trained(given, trial.parameters, seed=settings.seed)
        scores[trial.number] = probabilities(booster, rows.features[validate])
        value = binary_metrics(scores[trial.number], label)[settings.metric]
        return Measured(float("nan") if value is None else value, 0.5)

    tuning = Tuning(
        trials=segments.trials if segments.learner.space else 1,
        parallelism=1,
        metric=settings.metric,
        seed=settings.seed,
    )
    learners = {str(segments.learner.kind): segments.learner}
    found = TrialSearch(tuning).search(learners, objective, on_trial=lambda _: None)
    return found.trials, scores


def _boosted(
    rows: SliceRows, part: npt.NDArray[np.bool_], parameters: Mapping[str, Parameter], *, seed: int
) -> Booster:
    return _trained(_matrix(rows.features[part], rows.label[part]), parameters, seed=seed)


def _matrix(features: Matrix, label: Floats | None = None) -> Any:  # noqa: ANN401 - xgboost has no types
    from xgboost import DMatrix

    return DMatrix(features, label=label, nthread=1)


def _trained(given: Any, parameters: Mapping[str, Parameter], *, seed: int) -> Booster:  # noqa: ANN401 - the same
    from xgboost import train

    named = {
        OF_TREES[name]: int(value) if name in WHOLE else float(value)
        for name, value in parameters.items()
        if name != "trees"
    }
    fixed = {
        "objective": "binary:logistic",
        "tree_method": "hist",
        "max_bin": _BINS,
        "nthread": 1,
        "seed": seed,
        "verbosity": 0,
    }
    return train({**fixed, **named}, given, int(parameters.get("trees", _TREES)))


def _explained(
    booster: Booster, features: Matrix, places: tuple[str, ...]
) -> tuple[dict[str, float], float | None]:
    if not len(features):
        return {}, None
    contributions, margins = explained(booster, features)
    summed = np.abs(contributions).sum(axis=1, dtype=np.float64)
    gaps = np.abs(contributions.sum(axis=1, dtype=np.float64) - margins) / np.maximum(1.0, summed)
    return mean_contributions(contributions[:, :-1], places), float(gaps.max())


@lru_cache(maxsize=_LOADED)
def loaded(booster: SegmentBooster) -> Booster:
    """Return the model of these bytes, once a process: it is found again by its hash."""
    from xgboost import Booster

    found = Booster({"nthread": 1})
    found.load_model(bytearray(booster.content))
    return found


def probabilities(booster: Booster, features: Matrix) -> Floats:
    """Return the probability of label 1 of each row; that of a row depends on that row alone.

    Raises:
        ModelGateError: the rows have more or fewer places than the model was trained on.
    """
    if not len(features):
        return np.empty(0)
    if features.shape[1] != booster.num_features():
        raise ModelGateError(
            f"rows of {features.shape[1]} places for a slice's model of {booster.num_features()}",
            "the vector of the parent that it was trained with",
            "score with the model as it was registered",
        )
    found: Floats = booster.inplace_predict(features, validate_features=False).astype(np.float64)
    return found


def explained(booster: Booster, features: Matrix) -> tuple[Matrix, Floats]:
    """Return exact SHAP values of rows, the last column being what all rows begin with, and their log-odds.

    They are path-dependent TreeSHAP (Lundberg and others, 2020), in log-odds and in float32 as xgboost adds
    them up.
    """
    given = _matrix(features)
    margins = booster.predict(given, output_margin=True).astype(np.float64)
    return booster.predict(given, pred_contribs=True), margins


def _counts(rows: SliceRows) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    parts = [rows.of(place) for place in range(len(SPLITS))]
    counted = [int(part.sum()) for part in parts]
    positive = [int(rows.label[part].sum()) for part in parts]
    return (counted[0], counted[1], counted[2]), (positive[0], positive[1], positive[2])


def _told(trial: Trial) -> dict[str, Any]:
    kept = ("number", "value", "seconds", "state", "reason")
    return {**{name: getattr(trial, name) for name in kept}, "parameters": dict(trial.parameters)}
