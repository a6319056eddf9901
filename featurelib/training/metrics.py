"""Metrics of a binary score, by arithmetic on rows counted by score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from featurelib.specs import Costs

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]

CALL_NONE = float(np.nextafter(1.0, 2.0))
"""The threshold that no probability reaches."""

_CURVE_POINTS = 200
_CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Evaluation:
    """How well a score tells positives from negatives.

    Attributes:
        rows: rows measured.
        positives: those with label 1.
        roc_auc: chance that a positive scores above a negative, ties counting half; None if one is missing.
        pr_auc: average precision (the step-wise area, as scikit-learn has it); None without positives.
        log_loss: mean negative log likelihood, in nats.
        brier: mean squared error of the probability.
        threshold: a score at or above it is called positive.
        accuracy: share called rightly; precision, recall and f1 are of the positives, 0 where undefined.
        roc: points [false positive rate, true positive rate], rising.
        precision_recall: points [recall, precision], by rising recall.
        calibration: [mean predicted, observed share, rows] of 15 bins with about equally many rows.
        calibration_error: mean over those bins, by rows, of how far predicted is from observed (expected
            calibration error with bins of equal mass).
        worst_calibration_error: the greatest of these distances.
        roc_auc_error: how far ``roc_auc`` may be from that of the exact scores; 0 where every score was told
            apart.
    """

    rows: int
    positives: int
    roc_auc: float | None
    pr_auc: float | None
    log_loss: float
    brier: float
    threshold: float
    accuracy: float
    precision: float
    recall: float
    f1: float
    roc: list[list[float]]
    precision_recall: list[list[float]]
    calibration: list[list[float]]
    calibration_error: float = 0.0
    worst_calibration_error: float = 0.0
    roc_auc_error: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the evaluation as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Blocks:
    """Rows counted by score and block, as by day: what a bootstrap draws from.

    Attributes:
        names: the blocks, in order.
        block: of each entry, the place of its block in ``names``.
        at: of each entry, the place of its score among all scores of the tally, falling.
        score: of each entry.
        rows: likewise, and ``positives``, ``losses`` and ``squares``, as in :class:`Tally`.
    """

    names: tuple[str, ...]
    block: Places
    at: Places
    score: Floats
    rows: Floats
    positives: Floats
    losses: Floats
    squares: Floats

    def by_score(self, times: Floats, values: Floats) -> Floats:
        """Return sums by falling score, every block taken as many times as ``times`` says."""
        weights = values * times[self.block]
        return sums(self.at, weights)

    def by_block(self, values: Floats) -> Floats:
        """Return sums by block."""
        return sums(self.block, values, size=len(self.names))

    def of(self, chosen: npt.NDArray[np.bool_]) -> Tally:
        """Return the tally of the chosen blocks alone."""
        times = chosen.astype(np.float64)
        rows = self.by_score(times, self.rows)
        there = rows > 0
        summed = [self.by_score(times, values)[there] for values in (self.positives, self.losses)]
        scores = self.by_score(times, self.rows * self.score)[there] / rows[there]
        squares = self.by_score(times, self.squares)[there]
        return Tally(scores, rows[there], summed[0], summed[1], squares)


@dataclass(frozen=True)
class Tally:
    """Rows counted by score, scores falling and each once: enough for every metric here.

    Attributes:
        score: a score, or the mean of scores that were not told apart.
        rows: rows with it.
        positives: those of them with label 1.
        losses: their negative log likelihoods, summed.
        squares: their squared errors, summed.
        is_exact: every score was told apart from every other.
        blocks: the same rows by block, None where no block was asked for.
    """

    score: Floats
    rows: Floats
    positives: Floats
    losses: Floats
    squares: Floats
    is_exact: bool = True
    blocks: Blocks | None = None

    @property
    def log_loss(self) -> float:
        """Mean negative log likelihood, in nats."""
        return float(self.losses.sum() / self.rows.sum())

    @property
    def brier(self) -> float:
        """Mean squared error of the probability."""
        return float(self.squares.sum() / self.rows.sum())


@dataclass(frozen=True)
class Confusion:
    """Rows by label and by what they are called at a threshold."""

    true_positives: float
    false_positives: float
    true_negatives: float
    false_negatives: float

    @property
    def rows(self) -> float:
        """All rows."""
        return self.true_positives + self.false_positives + self.true_negatives + self.false_negatives

    def cost(self, costs: Costs) -> float:
        """Return what these calls cost in all."""
        return (
            self.true_positives * costs.true_positive
            + self.false_positives * costs.false_positive
            + self.true_negatives * costs.true_negative
            + self.false_negatives * costs.false_negative
        )


def sums(places: Places, values: Floats, *, size: int = 0) -> Floats:
    """Return the sum of the values at each place, at least ``size`` of them."""
    return np.bincount(places, weights=values, minlength=size).astype(np.float64)


def together(tallies: Sequence[Tally]) -> Tally:
    """Return the tally of all rows of several, without their blocks."""
    if len(tallies) == 1:
        return tallies[0]
    falling, at = np.unique(-np.concatenate([tally.score for tally in tallies]), return_inverse=True)

    def summed(name: str) -> Floats:
        return sums(at, np.concatenate([getattr(tally, name) for tally in tallies]))

    return Tally(
        score=-falling,
        rows=summed("rows"),
        positives=summed("positives"),
        losses=summed("losses"),
        squares=summed("squares"),
        is_exact=all(tally.is_exact for tally in tallies),
    )


def confusion(tally: Tally, threshold: float) -> Confusion:
    """Return the rows of a tally by label and call at a threshold."""
    called = tally.score >= threshold
    hits, calls = float(tally.positives[called].sum()), float(tally.rows[called].sum())
    rows, positives = float(tally.rows.sum()), float(tally.positives.sum())
    return Confusion(hits, calls - hits, rows - positives - (calls - hits), positives - hits)


def evaluation_of(tally: Tally, *, threshold: float) -> Evaluation:
    """Return every metric of a tally at a threshold."""
    found = confusion(tally, threshold)
    positives = found.true_positives + found.false_negatives
    calls = found.true_positives + found.false_positives
    bins = calibration_bins(tally.rows)
    errors = calibration_errors(*_by_bin(tally, bins))
    return Evaluation(
        rows=int(found.rows),
        positives=int(positives),
        roc_auc=roc_auc(tally.rows, tally.positives),
        pr_auc=pr_auc(tally.rows, tally.positives),
        log_loss=tally.log_loss,
        brier=tally.brier,
        threshold=threshold,
        accuracy=(found.true_positives + found.true_negatives) / found.rows,
        precision=found.true_positives / calls if calls else 0.0,
        recall=found.true_positives / positives if positives else 0.0,
        f1=2 * found.true_positives / (calls + positives) if calls + positives else 0.0,
        roc=_roc(tally),
        precision_recall=_precision_recall(tally),
        calibration=_calibration(tally, bins),
        calibration_error=float(errors[0]),
        worst_calibration_error=float(errors[1]),
        roc_auc_error=0.0 if tally.is_exact else _tied_share(tally) / 2,
    )


def roc_auc(rows: Floats, positives: Floats) -> float | None:
    """Return the area under the ROC curve of counts by falling score; None unless both labels occur."""
    negatives = rows - positives
    n_positive, n_negative = positives.sum(), negatives.sum()
    if n_positive == 0 or n_negative == 0:
        return None
    negatives_below = n_negative - np.cumsum(negatives)
    return float(np.sum(positives * (negatives_below + negatives / 2)) / (n_positive * n_negative))


def pr_auc(rows: Floats, positives: Floats) -> float | None:
    """Return the average precision of counts by falling score; None without positives."""
    n_positive = positives.sum()
    if n_positive == 0:
        return None
    precision = np.cumsum(positives) / np.maximum(np.cumsum(rows), 1)
    return float(np.sum(precision * positives) / n_positive)


def metric_of(tally: Tally, metric: str) -> float:
    """Return the metric a search is steered by; NaN where it is undefined."""
    if metric == "log_loss":
        return tally.log_loss
    value = (roc_auc if metric == "roc_auc" else pr_auc)(tally.rows, tally.positives)
    return float("nan") if value is None else value


def best_threshold(tally: Tally, costs: Costs | None = None) -> float:
    """Return the threshold that costs least or, where no costs are declared, gives the greatest F1."""
    return best_f1_threshold(tally) if costs is None else cheapest_threshold(tally, costs)


def best_f1_threshold(tally: Tally) -> float:
    """Return the highest of the scores at which calling positive gives the greatest F1."""
    hits, calls = np.cumsum(tally.positives), np.cumsum(tally.rows)
    f1 = 2 * hits / np.maximum(calls + tally.positives.sum(), 1)
    return float(tally.score[int(np.argmax(f1))])


def cheapest_threshold(tally: Tally, costs: Costs) -> float:
    """Return the highest threshold of least cost: one of the scores, or ``CALL_NONE``."""
    hits = np.concatenate([[0.0], np.cumsum(tally.positives)])
    alarms = np.concatenate([[0.0], np.cumsum(tally.rows - tally.positives)])
    paid = (
        hits * costs.true_positive
        + alarms * costs.false_positive
        + (alarms[-1] - alarms) * costs.true_negative
        + (hits[-1] - hits) * costs.false_negative
    )
    cheapest = int(np.argmin(paid))
    return CALL_NONE if cheapest == 0 else float(tally.score[cheapest - 1])


def precision_at(tally: Tally, share: float) -> float:
    """Return the share of positives among the highest scoring ``share`` of the rows, at least one row.

    Where rows of one score are cut, they count as if any of them were taken equally likely.
    """
    wanted = max(1.0, float(np.floor(share * tally.rows.sum())))
    taken = np.clip(wanted - (np.cumsum(tally.rows) - tally.rows), 0, tally.rows)
    return float((tally.positives * taken / np.maximum(tally.rows, 1)).sum() / wanted)


def calibration_bins(rows: Floats) -> Places:
    """Return the bin of each score: fifteen with about equally many rows, the highest scores in bin 0."""
    below = np.cumsum(rows) - rows
    bins: Places = (below * _CALIBRATION_BINS / rows.sum()).astype(np.intp)
    return bins


def calibration_errors(rows: Floats, scores: Floats, positives: Floats) -> tuple[Floats, Floats]:
    """Return the mean, by rows, and the greatest distance of predicted from observed share over bins.

    The last axis is that of the bins; bins without rows count for nothing.
    """
    gaps = np.abs(scores - positives)
    return gaps.sum(-1) / rows.sum(-1), (gaps / np.maximum(rows, 1e-300)).max(-1)


def _by_bin(tally: Tally, bins: Places) -> list[Floats]:
    values = (tally.rows, tally.score * tally.rows, tally.positives)
    return [sums(bins, each, size=_CALIBRATION_BINS) for each in values]


def _tied_share(tally: Tally) -> float:
    """Return the share of pairs of a positive and a negative that were not told apart."""
    negatives = tally.rows - tally.positives
    pairs = tally.positives.sum() * negatives.sum()
    return float((tally.positives * negatives).sum() / pairs) if pairs else 0.0


def _places(length: int) -> Places:
    return np.unique(np.linspace(0, length - 1, min(length, _CURVE_POINTS)).round().astype(np.intp))


def _roc(tally: Tally) -> list[list[float]]:
    positives = np.concatenate([[0.0], np.cumsum(tally.positives)])
    negatives = np.concatenate([[0.0], np.cumsum(tally.rows - tally.positives)])
    points = np.column_stack([negatives / max(negatives[-1], 1.0), positives / max(positives[-1], 1.0)])
    return _rounded(points[_places(len(points))])


def _precision_recall(tally: Tally) -> list[list[float]]:
    hits, calls = np.cumsum(tally.positives), np.cumsum(tally.rows)
    points = np.column_stack([hits / max(hits[-1], 1.0), hits / calls])
    return _rounded(points[_places(len(points))])


def _calibration(tally: Tally, bins: Places) -> list[list[float]]:
    rows, scores, positives = _by_bin(tally, bins)
    used = np.flatnonzero(rows)[::-1]
    return _rounded(np.column_stack([scores[used] / rows[used], positives[used] / rows[used], rows[used]]))


def _rounded(points: Floats) -> list[list[float]]:
    rounded: list[list[float]] = np.round(points, 6).tolist()
    return rounded
