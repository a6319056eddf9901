"""Charts of a predicted number: where predictions lie about the labels, and how the errors spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from featurelib.reports import charts
from featurelib.reports.charts import Axis, Frame, Series

if TYPE_CHECKING:
    from markupsafe import Markup


def number_curves(numbers: Mapping[str, Any], *, what: str) -> list[Markup]:
    """Return the curves of ``calibration`` and of ``residuals``, those that there are rows for.

    Args:
        numbers: both lists, as the review has them.
        what: the label's name.
    """
    drawn = []
    if numbers["calibration"]:
        drawn.append(_calibration(numbers["calibration"], what))
    if numbers["residuals"]:
        drawn.append(_residuals(numbers["residuals"]))
    return drawn


def beyond(residuals: Sequence[Sequence[float]]) -> float:
    """Return the share of rows whose error lies outside what the curve shows."""
    total = sum(rows for _, _, rows in residuals)
    return (total - sum(rows for _, _, rows in _shown(residuals))) / total if total else 0.0


def _calibration(points: Sequence[Sequence[float]], what: str) -> Markup:
    ends = [value for said, seen, *_ in points for value in (said, seen)]
    pad = (max(ends) - min(ends)) * 0.05 or 1.0
    low, high = min(ends) - pad, max(ends) + pad
    frame = Frame(
        "Predicted and actual, by tenths",
        Axis(f"mean predicted {what}", low, high),
        Axis(f"mean actual {what}", low, high),
    )
    perfect = Series("perfect", ((low, low), (high, high)), "dashed", "quiet")
    return charts.line_chart([perfect, Series("model, area: rows", points, "dots")], frame=frame)


def _residuals(residuals: Sequence[Sequence[float]]) -> Markup:
    total, shown = sum(rows for _, _, rows in residuals), _shown(residuals)
    steps = [(shown[0][0], 0.0)]
    for start, end, rows in shown:
        steps += [(start, rows / total), (end, rows / total)]
    steps.append((shown[-1][1], 0.0))
    top = max(share for _, share in steps) * 1.1
    low, high = shown[0][0], shown[-1][1]
    if high <= low:
        low, high = low - 1, high + 1
    frame = Frame("Errors", Axis("predicted less actual", low, high), Axis("rows", 0, top, percent=True))
    none = Series("no error", ((0, 0), (0, top)) if low <= 0 <= high else (), "dashed", "quiet")
    return charts.line_chart([none, Series("test rows", steps)], frame=frame)


def _shown(residuals: Sequence[Sequence[float]]) -> Sequence[Sequence[float]]:
    """Return the equal steps, without what lies beyond them at either end."""
    return residuals[1:-1] if len(residuals) > 3 else residuals
