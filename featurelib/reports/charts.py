"""Charts are pure functions from numbers to inline SVG.

Elements are built as a tree, so the markup is well formed and every text escaped. Colours and fonts come from
the page's style sheet through classes: a chart follows light, dark and print without a second drawing. All
charts are drawn on a field 360 units wide, which a phone and a third of a desktop page show at about 1:1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree as ET

from markupsafe import Markup

from featurelib.reports import formats

WIDTH, HEIGHT = 360, 290
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 54, 44
_LANE, _LANE_LEFT = 46, 2
_MOST_POINTS = 240
_BARS_SHARE = 0.3
_ROUND_STEPS = (1, 2, 5, 10)

Tone = Literal["accent", "second", "quiet"]


@dataclass(frozen=True)
class Axis:
    """A labelled range; ``percent`` writes its ticks as percentages."""

    label: str
    low: float
    high: float
    percent: bool = False

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Positions and texts of the ticks: about five, at round values inside the range."""
        return [(tick, _tick_text(tick, self)) for tick in _round_ticks(self.low, self.high)]

    def place(self, number: float) -> float:
        """Return where a number lies in the range, from 0 to 1."""
        span = self.high - self.low
        return 0.5 if span <= 0 else min(1.0, max(0.0, (number - self.low) / span))


@dataclass(frozen=True)
class Series:
    """Points ``(x, y)`` or ``(x, y, weight)`` under one name; the weight is a dot's area."""

    name: str
    points: Sequence[Sequence[float]]
    style: Literal["line", "dashed", "dots"] = "line"
    tone: Tone = "accent"


@dataclass(frozen=True)
class Frame:
    """What stands around the marks of a chart."""

    title: str
    x: Axis
    y: Axis


def line_chart(series: Sequence[Series], *, frame: Frame, bars: Sequence[tuple[float, float]] = ()) -> Markup:
    """Draw series of lines and dots over two axes, with faint bars of relative height behind them.

    Points that are not finite are left out. Bars are ``(x, height)``, scaled to the lower third.
    """
    svg = _canvas(frame.title, HEIGHT)
    end = _legend(svg, series)
    if bars:
        _rect(svg, "behind", x=end, y=29, width=12, height=11)
        _text(svg, "rows", "legend", x=end + 17, y=39)
    _axes(svg, frame)
    _bars(svg, frame.x, bars)
    for one in series:
        points = _thinned([point for point in one.points if all(map(math.isfinite, point))])
        if one.style == "dots":
            _dots(svg, frame, points, one)
        elif points:
            kind = "line dashed" if one.style == "dashed" else "line"
            path = " ".join(f"{_x(frame.x, p[0])},{_y(frame.y, p[1])}" for p in points)
            ET.SubElement(svg, "polyline", {"class": f"{kind} {one.tone}", "points": path})
    return _markup(svg)


def strip_chart(
    groups: Mapping[str, Sequence[float]], *, title: str, label: str, best: Literal["max", "min"] = "max"
) -> Markup:
    """Draw one lane a group with a dot a value on a shared axis; the best value of each is named.

    Args:
        groups: values by group; groups without a finite value are left out.
        title: the chart's title.
        label: what the values are.
        best: whether the greatest or the least value is the best.
    """
    lanes = {name: [v for v in values if math.isfinite(v)] for name, values in groups.items()}
    lanes = {name: values for name, values in lanes.items() if values}
    if not lanes:
        return Markup()
    bottom = _TOP + _LANE * len(lanes)
    svg = _canvas(title, bottom + _BOTTOM)
    everything = [value for values in lanes.values() for value in values]
    pad = (max(everything) - min(everything)) * 0.08 or 0.01
    axis = Axis(label, min(everything) - pad, max(everything) + pad)
    _text(svg, "dot: one trial; ring and number: the best of its kind", "legend", x=_LANE_LEFT, y=40)
    _ticks_below(svg, axis, bottom=bottom, left=_LANE_LEFT)
    for row, (name, values) in enumerate(lanes.items()):
        foremost = max(values) if best == "max" else min(values)
        _lane(svg, axis, (name, values, foremost), top=_TOP + row * _LANE)
    return _markup(svg)


def bullet(value: float, *, axis: Axis, marker: float | None = None) -> Markup:
    """Draw a small bar from the axis' low end to a value, with a tick at ``marker`` where one is given."""
    svg = ET.Element(
        "svg",
        {"xmlns": "http://www.w3.org/2000/svg", "viewBox": "0 0 160 14", "class": "bullet", "role": "img"},
    )
    ET.SubElement(svg, "title").text = f"{axis.label} {formats.metric(value)}"
    _rect(svg, "track", x=0, y=2, width=160, height=10)
    _rect(svg, "fill", x=0, y=2, width=160 * axis.place(value), height=10)
    if marker is not None:
        _rect(svg, "marker", x=160 * axis.place(marker) - 1, y=0, width=2, height=14)
    return _markup(svg)


def _canvas(title: str, height: int) -> ET.Element:
    svg = ET.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {WIDTH} {height}",
            "class": "chart",
            "role": "img",
            "aria-label": title,
        },
    )
    _text(svg, title, "title", x=0, y=16)
    return svg


def _legend(svg: ET.Element, series: Sequence[Series]) -> float:
    """Name the series in one line above the field; return where the line ends."""
    at = 0.0
    for one in series:
        if not one.name:
            continue
        if one.style == "dots":
            ET.SubElement(svg, "circle", _attributes(f"dot {one.tone}", cx=at + 8, cy=35, r=4))
        else:
            kind = "line dashed" if one.style == "dashed" else "line"
            _line(svg, f"{kind} {one.tone}", at, 35, at + 16, 35)
        _text(svg, one.name, "legend", x=at + 21, y=39)
        at += 21 + 6.1 * len(one.name) + 14
    return at


def _axes(svg: ET.Element, frame: Frame) -> None:
    for tick, text in frame.y.ticks:
        y = _y(frame.y, tick)
        _line(svg, "rule", _LEFT, y, WIDTH - _RIGHT, y)
        _text(svg, text, "tick end", x=_LEFT - 7, y=y + 4)
    _ticks_below(svg, frame.x, bottom=HEIGHT - _BOTTOM, left=_LEFT)
    middle = (_TOP + HEIGHT - _BOTTOM) / 2
    name = _text(svg, frame.y.label, "label middle", x=8, y=middle)
    name.set("transform", f"rotate(-90 8 {_number(middle)})")


def _ticks_below(svg: ET.Element, axis: Axis, *, bottom: float, left: float) -> None:
    _line(svg, "axis", left, bottom, WIDTH - _RIGHT, bottom)
    for tick, text in axis.ticks:
        x = left + (WIDTH - _RIGHT - left) * axis.place(tick)
        _line(svg, "axis", x, bottom, x, bottom + 4)
        _text(svg, text, "tick middle", x=x, y=bottom + 17)
    _text(svg, axis.label, "label middle", x=(left + WIDTH - _RIGHT) / 2, y=bottom + 37)


def _bars(svg: ET.Element, axis: Axis, bars: Sequence[tuple[float, float]]) -> None:
    tallest = max((height for _, height in bars), default=0.0)
    if tallest <= 0:
        return
    width = (WIDTH - _LEFT - _RIGHT) / max(axis.high - axis.low, 1.0) * 0.7
    for x, height in bars:
        drawn = (HEIGHT - _TOP - _BOTTOM) * _BARS_SHARE * height / tallest
        left = _x(axis, x) - width / 2
        bar = _rect(svg, "behind", x=left, y=HEIGHT - _BOTTOM - drawn, width=width, height=drawn)
        ET.SubElement(bar, "title").text = formats.count(height)


def _dots(svg: ET.Element, frame: Frame, points: Sequence[Sequence[float]], series: Series) -> None:
    heaviest = max((point[2] for point in points if len(point) > 2), default=0.0)
    for x, y, *weight in points:
        radius = 2.5 + 4.5 * math.sqrt(weight[0] / heaviest) if weight and heaviest > 0 else 4.0
        spot = _attributes(f"dot {series.tone}", cx=_x(frame.x, x), cy=_y(frame.y, y), r=radius)
        dot = ET.SubElement(svg, "circle", spot)
        rows = f", {formats.count(weight[0])} rows" if weight else ""
        ET.SubElement(dot, "title").text = f"{formats.metric(x)}, {formats.metric(y)}{rows}"


def _lane(svg: ET.Element, axis: Axis, lane: tuple[str, Sequence[float], float], *, top: float) -> None:
    name, values, best = lane
    left, middle = _LANE_LEFT, top + 32
    at = left + (WIDTH - _RIGHT - left) * axis.place(best)
    _text(svg, name, "lane", x=left, y=top + 16)
    _text(svg, formats.metric(best), "lane end", x=WIDTH - _RIGHT, y=top + 16)
    _line(svg, "rule", left, middle, WIDTH - _RIGHT, middle)
    for value in values:
        x = left + (WIDTH - _RIGHT - left) * axis.place(value)
        dot = ET.SubElement(svg, "circle", _attributes("dot accent", cx=x, cy=middle, r=4))
        ET.SubElement(dot, "title").text = f"{name} {formats.metric(value)}"
    ET.SubElement(svg, "circle", _attributes("ring", cx=at, cy=middle, r=7))


def _round_ticks(low: float, high: float) -> list[float]:
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [low]
    rough = (high - low) / 5
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * magnitude for factor in _ROUND_STEPS if factor * magnitude >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _tick_text(tick: float, axis: Axis) -> str:
    if axis.percent:
        return f"{tick:.0%}"
    return f"{tick:.10f}".rstrip("0").rstrip(".") if tick % 1 else f"{tick:.0f}"


def _thinned(points: Sequence[Sequence[float]]) -> Sequence[Sequence[float]]:
    """Return at most a few hundred of the points, evenly taken, first and last among them."""
    if len(points) <= _MOST_POINTS:
        return points
    last = len(points) - 1
    return [points[round(number * last / (_MOST_POINTS - 1))] for number in range(_MOST_POINTS)]


def _x(axis: Axis, number: float) -> float:
    return round(_LEFT + (WIDTH - _LEFT - _RIGHT) * axis.place(number), 1)


def _y(axis: Axis, number: float) -> float:
    return round(HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * axis.place(number), 1)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _attributes(classes: str, **numbers: float) -> dict[str, str]:
    return {"class": classes, **{name: _number(value) for name, value in numbers.items()}}


def _text(parent: ET.Element, text: str, classes: str, *, x: float, y: float) -> ET.Element:
    element = ET.SubElement(parent, "text", _attributes(classes, x=x, y=y))
    element.text = text
    return element


def _line(parent: ET.Element, classes: str, *ends: float) -> None:
    ET.SubElement(
        parent, "line", _attributes(classes, **dict(zip(("x1", "y1", "x2", "y2"), ends, strict=True)))
    )


def _rect(parent: ET.Element, classes: str, **numbers: float) -> ET.Element:
    return ET.SubElement(parent, "rect", _attributes(classes, **numbers))


def _markup(svg: ET.Element) -> Markup:
    return Markup(ET.tostring(svg, encoding="unicode"))  # noqa: S704 - built as a tree, so it is escaped


def finite(numbers: Iterable[float | None]) -> list[float]:
    """Return the numbers that are numbers."""
    return [number for number in numbers if number is not None and math.isfinite(number)]
