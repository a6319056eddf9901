"""What tables take on disk and for whom, as text for people."""

from __future__ import annotations

from collections.abc import Sequence

from featurelib.pipeline.maintain import Stored
from featurelib.reports.formats import size
from featurelib.reports.text_tables import text_table
from featurelib.tables import Keeping, Pin


def storage_text(found: Stored, *, pins: bool) -> str:
    """Return a line a table; with ``pins``, each pinned version and who holds it instead."""
    gone = [
        f"{_fate(found, pin)}: {pin.table} version {pin.version}, held by {pin.held_by}" for pin in found.gone
    ]
    if pins:
        rows = [
            (table.table, f"{version}", ", ".join(_shortened(holders)))
            for table in found.tables
            for version, holders in _by_version(table).items()
        ]
        return "\n".join([text_table(("table", "version", "held by"), rows), *gone])
    lines = [
        (
            table.table,
            f"{table.current.files}",
            size(table.current.bytes),
            size(table.history.bytes),
            size(table.pinned.bytes),
            size(sum(table.unneeded.values())),
            f"{len(_by_version(table))}",
        )
        for table in found.tables
    ]
    sums = (
        "together",
        f"{sum(table.current.files for table in found.tables)}",
        size(sum(table.current.bytes for table in found.tables)),
        size(sum(table.history.bytes for table in found.tables)),
        size(sum(table.pinned.bytes for table in found.tables)),
        size(sum(sum(table.unneeded.values()) for table in found.tables)),
        "",
    )
    header = ("table", "files", "published", "history", "pins alone", "unneeded", "pinned versions")
    return "\n".join([text_table(header, [*lines, sums]), *gone])


def _fate(found: Stored, pin: Pin) -> str:
    request = found.erased.get(f"{pin.table} version {pin.version}")
    return "cannot be read any more" if request is None else f"erased on request {request}"


def _by_version(table: Keeping) -> dict[int, list[Pin]]:
    found: dict[int, list[Pin]] = {}
    for pin in table.pins:
        found.setdefault(pin.version, []).append(pin)
    return found


def _shortened(pins: Sequence[Pin]) -> list[str]:
    """Return the holders, the first three by name."""
    names = [pin.held_by for pin in pins]
    return names if len(names) <= 3 else [*names[:3], f"{len(names) - 3} more"]
