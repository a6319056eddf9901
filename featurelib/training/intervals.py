"""How sure the figures are: whole days are drawn with replacement, and the figures computed again.

Rows of one day share weather and congestion, so drawing single rows would promise too narrow an interval
(the block bootstrap: Künsch, "The jackknife and the bootstrap for general stationary observations", 1989).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np

from featurelib.training.metrics import (
    Blocks,
    Floats,
    Tally,
    calibration_bins,
    calibration_errors,
    evaluation_of,
    metric_of,
    pr_auc,
    roc_auc,
)

Interval = tuple[float, float]

_RESAMPLES = 200
_PAIRED_RESAMPLES = 500
_BOUNDS = (0.025, 0.975)


def intervals(tally: Tally, *, threshold: float, seed: int) -> dict[str, Interval]:
    """Return the 95% interval of every metric of a tally, by name; none with fewer than two blocks.

    A metric that most draws leave undefined has none.
    """
    blocks = tally.blocks
    if blocks is None or len(blocks.names) < 2:
        return {}
    times = _draws(len(blocks.names), _RESAMPLES, seed)
    found = {**_areas(blocks, times), **_of_sums(blocks, times, threshold)}
    return {name: _interval(values) for name, values in found.items() if _defined(values)}


@dataclass(frozen=True)
class Comparison:
    """A model and the champion on the same rows.

    Attributes:
        metric: which metric.
        version: the champion's version.
        model: the metric of the model.
        champion: that of the champion.
        difference: model less champion.
        interval: 95% interval of the difference, when the same days are drawn for both.
        p_value: two-sided, that a difference this far from 0 comes from the days that were seen.
        blocks: days drawn from.
    """

    metric: str
    version: int
    model: float
    champion: float
    difference: float
    interval: Interval | None
    p_value: float | None
    blocks: int

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain JSON values."""
        return asdict(self)


def compared(model: Tally, champion: Tally, *, metric: str, version: int, seed: int) -> Comparison:
    """Compare two scores of the same rows by a paired bootstrap: each draw takes the same days for both.

    Args:
        model: counts of the model's scores, by block.
        champion: those of the champion on the same rows.
        metric: ``roc_auc`` or ``pr_auc``.
        version: the champion's version.
        seed: of the draws.
    """
    ours, theirs = metric_of(model, metric), metric_of(champion, metric)
    names = () if model.blocks is None else model.blocks.names
    draws: Floats = np.empty(0)
    if model.blocks is not None and champion.blocks is not None and len(names) > 1:
        area = roc_auc if metric == "roc_auc" else pr_auc
        times = _draws(len(names), _PAIRED_RESAMPLES, seed)
        draws = _area(model.blocks, times, area) - _area(champion.blocks, times, area)
        draws = draws[~np.isnan(draws)]
    interval, p_value = None, None
    if len(draws):
        interval = _interval(draws)
        p_value = min(1.0, 2 * (1 + min((draws <= 0).sum(), (draws >= 0).sum())) / (1 + len(draws)))
    return Comparison(
        metric, version, ours, theirs, ours - theirs, interval, None if p_value is None else float(p_value),
        len(names),
    )  # fmt: skip


def stability(tally: Tally, *, threshold: float) -> dict[str, list[dict[str, Any]]]:
    """Return the metrics of each week and month of a tally whose blocks are days, in order."""
    blocks = tally.blocks
    if blocks is None:
        return {}
    days = [date.fromisoformat(name) for name in blocks.names if name != "null"]
    if len(days) != len(blocks.names):
        return {}
    weeks = [f"{day - timedelta(days=day.weekday())}" for day in days]
    return {
        "week": _periods(blocks, weeks, threshold),
        "month": _periods(blocks, [f"{day:%Y-%m}" for day in days], threshold),
    }


def worst(periods: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the period with the lowest ROC AUC, None where none has one."""
    return min(
        (period for period in periods if period["roc_auc"] is not None),
        key=lambda period: float(period["roc_auc"]),
        default=None,
    )


def _periods(blocks: Blocks, names: list[str], threshold: float) -> list[dict[str, Any]]:
    found = []
    for name in dict.fromkeys(names):
        chosen = np.array([one == name for one in names])
        measured = evaluation_of(blocks.of(chosen), threshold=threshold)
        found.append(
            {
                "period": name,
                "days": int(chosen.sum()),
                **{
                    key: getattr(measured, key)
                    for key in ("rows", "positives", "roc_auc", "log_loss", "brier", "calibration_error")
                },
            }
        )
    return found


def _draws(blocks: int, count: int, seed: int) -> Floats:
    """Return, one row a draw, how often each block is taken; always the same for a seed."""
    return np.random.default_rng(seed).multinomial(blocks, [1 / blocks] * blocks, size=count).astype(float)


def _areas(blocks: Blocks, times: Floats) -> dict[str, Floats]:
    return {"roc_auc": _area(blocks, times, roc_auc), "pr_auc": _area(blocks, times, pr_auc)}


def _area(blocks: Blocks, times: Floats, area: Any) -> Floats:  # noqa: ANN401 - roc_auc or pr_auc
    found = []
    for drawn in times:
        value = area(blocks.by_score(drawn, blocks.rows), blocks.by_score(drawn, blocks.positives))
        found.append(np.nan if value is None else value)
    return np.array(found)


def _of_sums(blocks: Blocks, times: Floats, threshold: float) -> dict[str, Floats]:
    """Return the draws of every metric that sums by block are enough for."""
    called = (blocks.score >= threshold).astype(float)
    rows, positives = times @ blocks.by_block(blocks.rows), times @ blocks.by_block(blocks.positives)
    calls = times @ blocks.by_block(blocks.rows * called)
    hits = times @ blocks.by_block(blocks.positives * called)
    errors = _calibration_draws(blocks, times)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "log_loss": times @ blocks.by_block(blocks.losses) / rows,
            "brier": times @ blocks.by_block(blocks.squares) / rows,
            "accuracy": (rows - positives - calls + 2 * hits) / rows,
            "precision": np.where(calls > 0, hits / calls, 0.0),
            "recall": np.where(positives > 0, hits / positives, 0.0),
            "f1": np.where(calls + positives > 0, 2 * hits / (calls + positives), 0.0),
            "calibration_error": errors[0],
            "worst_calibration_error": errors[1],
        }


def _calibration_draws(blocks: Blocks, times: Floats) -> tuple[Floats, Floats]:
    """Return both calibration errors of each draw, on the bins of all rows."""
    bins = calibration_bins(blocks.by_score(np.ones(len(blocks.names)), blocks.rows))[blocks.at]
    size = len(blocks.names), int(bins.max()) + 1
    place = blocks.block * size[1] + bins

    def drawn(values: Floats) -> Floats:
        return times @ np.bincount(place, weights=values, minlength=size[0] * size[1]).reshape(size)

    return calibration_errors(drawn(blocks.rows), drawn(blocks.rows * blocks.score), drawn(blocks.positives))


def _defined(values: Floats) -> bool:
    return bool(np.isfinite(values).mean() > 0.5)


def _interval(values: Floats) -> Interval:
    low, high = np.quantile(values[np.isfinite(values)], _BOUNDS)
    return float(low), float(high)
