"""Tables of plain text for a terminal: aligned columns, values as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from featurelib.timeline import format_instant


def shown(value: object) -> str:
    """Return a value as text: instants in UTC, doubles to six digits, null as ``null``."""
    if value is None:
        return "null"
    if isinstance(value, datetime):
        return format_instant(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return "[" + ", ".join(shown(item) for item in value) + "]"
    return str(value)


def text_table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return rows under their headers, numbers to the right; two blanks between columns."""
    texts = [[cell if isinstance(cell, str) else shown(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headers, *texts, strict=True)]
    numeric = [
        any(isinstance(row[at], int | float) for row in rows)
        and all(isinstance(row[at], int | float | None) for row in rows)
        for at in range(len(headers))
    ]
    lines = [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in [list(headers), *texts]
    ]
    return "\n".join(lines)


def frame_text(columns: Sequence[str], rows: Sequence[Sequence[object]], *, width: int) -> str:
    """Return a frame as a table, turned on its side where it is wider than the terminal."""
    straight = text_table(columns, rows)
    if max(map(len, straight.splitlines())) <= width:
        return straight
    turned = [[name, *(shown(row[at]) for row in rows)] for at, name in enumerate(columns)]
    return text_table(turned[0], turned[1:])
