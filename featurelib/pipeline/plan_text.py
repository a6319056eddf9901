"""A plan as people and machines read it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from featurelib.pipeline.plan import Plan, StepPlan, money
from featurelib.pipeline.planned import ONE_DAY, Item
from featurelib.reports.formats import seconds, size, words
from featurelib.reports.text_tables import text_table
from featurelib.specs import CostSettings
from featurelib.timeline import format_instant

_UNKNOWN = "?"


def rendered(plan: Plan) -> str:
    """Return the plan as a table for people, with what it takes together and how far to trust that."""
    if not plan.builds:
        return "nothing to build"
    headers = ["step", "table", "days", "why", "rows", "bytes", "time"]
    headers += ["cost"] if plan.cost else []
    rows = [_row(plan, step, item) for step in plan.busy for item in step.items]
    idle = [step.step for step in plan.steps if not step.items]
    lines = [text_table(headers, rows), "", f"together    {_together(plan)}"]
    if idle:
        lines.append(f"no change   {', '.join(map(words, idle))}")
    if plan.unknown:
        lines.append(f"not known   the time of {', '.join(map(words, plan.unknown))}: no earlier run says it")
    if plan.errors:
        off = [
            f"{words(step)} {found.share:.0%} ({found.runs} run{'s' * (found.runs != 1)})"
            for step, found in plan.errors.items()
        ]
        lines.append(f"estimates   were off by {', '.join(off)}")
    return "\n".join(lines)


def as_json_text(plan: Plan, as_of: datetime) -> str:
    """Return the plan as one JSON object; unknown figures are null, days ``[from, to)``."""
    items = [_object(plan, step, item) for step in plan.busy for item in step.items]
    found: dict[str, Any] = {
        "pipeline": plan.pipeline,
        "as_of": format_instant(as_of),
        "items": items,
        "steps": {
            step.step: {
                "items": len(step.items),
                "seconds": _rounded(step.seconds),
                "money": _rounded(money(step.seconds, plan.cost)),
            }
            for step in plan.steps
        },
        "seconds": _rounded(plan.seconds),
        "money": _rounded(money(plan.seconds, plan.cost)),
        "currency": plan.cost.currency if plan.cost else None,
        "unknown": plan.unknown,
        "errors": {
            step: {"median": _rounded(error.share), "runs": error.runs} for step, error in plan.errors.items()
        },
    }
    return json.dumps(found, indent=1)


def price(value: float | None, cost: CostSettings) -> str:
    """Return an amount of money for people, to four digits after the point where it is below one."""
    if value is None:
        return _UNKNOWN
    return f"{value:.2f} {cost.currency}" if value >= 1 else f"{value:.4f} {cost.currency}"


def _together(plan: Plan) -> str:
    """Return what is known of time and money: at least that, where a step has no earlier run."""
    if len(plan.unknown) == len(plan.busy):
        return "not known"
    said = ("at least " if plan.unknown else "about ") + seconds(plan.seconds)
    if plan.cost is None:
        return said
    rate = f"{plan.cost.per_hour:g} {plan.cost.currency} an hour"
    return f"{said}, {price(money(plan.seconds, plan.cost), plan.cost)} ({rate})"


def _row(plan: Plan, step: StepPlan, item: Item) -> list[str]:
    takes = step.seconds_of(item)
    rows = _UNKNOWN if item.rows is None else f"{item.rows:,}"
    row = [
        words(step.step),
        item.table,
        _days(item),
        item.why,
        f"at most {rows}" if item.at_most and item.rows is not None else rows,
        _UNKNOWN if item.bytes is None else size(item.bytes),
        _UNKNOWN if takes is None else seconds(takes),
    ]
    return [*row, price(money(takes, plan.cost), plan.cost)] if plan.cost else row


def _days(item: Item) -> str:
    if item.first is None or item.end is None:
        return "all"
    last = item.end - ONE_DAY
    return str(item.first) if item.first == last else f"{item.first} to {last}"


def _object(plan: Plan, step: StepPlan, item: Item) -> dict[str, Any]:
    takes = step.seconds_of(item)
    return {
        "step": step.step,
        "table": item.table,
        "from": None if item.first is None else item.first.isoformat(),
        "to": None if item.end is None else item.end.isoformat(),
        "why": item.why,
        "rows": item.rows,
        "at_most": item.at_most,
        "bytes": item.bytes,
        "seconds": _rounded(takes),
        "money": _rounded(money(takes, plan.cost)),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
