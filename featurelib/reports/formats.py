"""Numbers as people write them: 336,776, 0.752, 4.2 s; what is missing is a dash."""

from __future__ import annotations

import math

ABSENT = "\N{EN DASH}"
_MINUTE, _HOUR = 60, 3600


def count(number: float | None) -> str:
    """Return a whole number with thousands separated, as ``336,776``."""
    return ABSENT if _absent(number) else f"{number:,.0f}"


def metric(number: float | None) -> str:
    """Return a metric with three decimals, as ``0.752``."""
    return ABSENT if _absent(number) else _minus(f"{number:.3f}")


def difference(number: float | None) -> str:
    """Return a difference of metrics with its sign, as ``+0.145``."""
    return ABSENT if _absent(number) else _minus(f"{number:+.3f}")


def share(number: float | None) -> str:
    """Return a share as a percentage that never rounds something to nothing, as ``12.3%`` or ``<0.01%``."""
    if number is None or math.isnan(number):
        return ABSENT
    if number in {0, 1}:
        return f"{number:.0%}"
    if abs(number) < 0.0001:
        return "<0.01%"
    return _minus(f"{number:.2%}" if abs(number) < 0.01 else f"{number:.1%}")


def seconds(number: float | None) -> str:
    """Return a duration, as ``0.05 s``, ``4.2 s``, ``1 min 15 s`` or ``2 h 5 min``."""
    if number is None or math.isnan(number):
        return ABSENT
    if number < 0.1:
        return f"{number:.2f} s"
    if round(number, 1) < _MINUTE:
        return f"{number:.1f} s"
    whole = round(number)
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    minutes = round(number / _MINUTE)
    return f"{minutes // 60} h {minutes % 60} min"


def size(number: float | None) -> str:
    """Return bytes in the largest unit that leaves at least one, as ``512 B`` or ``23.4 KiB``."""
    if number is None or math.isnan(number):
        return ABSENT
    for unit, scale in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if number >= scale:
            return f"{number / scale:.1f} {unit}"
    return f"{number:.0f} B"


def parameter(value: object) -> str:
    """Return a setting's value: floats with three significant digits, everything else as it is."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def words(name: str) -> str:
    """Return an identifier as words, as ``gradient boosted trees``."""
    return name.replace("_", " ")


def _absent(number: float | None) -> bool:
    return number is None or math.isnan(number)


def _minus(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")  # as wide as a plus, so that columns line up
