"""Every step leaves a row in ``ops.runs`` and the file ``_RUN.json``, however it ends."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from featurelib.errors import FeaturelibError
from featurelib.pipeline.context import Context, StepResult, Surroundings
from featurelib.pipeline.schemas import struct
from featurelib.tables import (
    Stamp,
    append_ops,
    current_version,
    fault_point,
    published_version,
    read_rows,
    rows_of,
    snapshot,
)

RUNS = "ops.runs"
EXPECTED = "expected"
"""Under this name the facts of a recorded run hold what :class:`Expected` says."""

_NEWEST = 1000
_SCHEMA = struct(
    run_id="string",
    step="string",
    as_of="timestamp",
    state="string",
    exit_code="int",
    seconds="double",
    summary="string",
    facts="string",
    versions="string",
    finished_at="timestamp",
)


@dataclass(frozen=True)
class Expected:
    """What was expected of a step when it began.

    Attributes:
        pipeline: whose step it was.
        size: how much there was to do, in the step's own unit; 0 for nothing, None if unknown.
        rows: rows to build, None if unknown.
        bytes: what these take, None if unknown.
        seconds: the estimate, None without an earlier run.
    """

    pipeline: str
    size: float | None
    rows: int | None
    bytes: int | None
    seconds: float | None


def recorded(
    context: Context, step: str, work: Callable[[], StepResult], *, expected: Expected | None = None
) -> StepResult:
    """Run a step and record how it ended, beside what was expected; an error is recorded and raised again."""
    started = time.monotonic()
    try:
        result = work()
    except BaseException as error:
        code = error.exit_code if isinstance(error, FeaturelibError) else 1
        _write(context, step, StepResult(step, str(error)), "failed", code, time.monotonic() - started)
        raise
    facts = result.facts if expected is None else {**result.facts, EXPECTED: asdict(expected)}
    result = replace(result, step=step, facts=facts, seconds=time.monotonic() - started)
    _write(context, step, result, "idle" if result.is_idle else "done", 0, result.seconds)
    return result


def newest_runs(context: Surroundings) -> list[dict[str, Any]]:
    """Return the newest recorded runs of steps, the newest first; at most about a thousand."""
    if current_version(context.store, RUNS) is None:
        return []
    found = snapshot(context.store, RUNS, published_version(context.store, RUNS))
    files = sorted(found.files, key=lambda file: str(file.maximum.get("finished_at", "")), reverse=True)
    rows = [row for file in files[:_NEWEST] for row in read_rows(file)]
    return sorted(rows, key=lambda row: row["finished_at"], reverse=True)


def last_facts(context: Surroundings) -> dict[str, dict[str, Any]]:
    """Return, by step, the newest run that did something, with what it recorded."""
    if RUNS not in context.store.tables():
        return {}
    done = [row for row in rows_of(context.store, RUNS) if row["state"] == "done"]
    return {
        row["step"]: {**row, "facts": json.loads(row["facts"]), "versions": json.loads(row["versions"])}
        for row in sorted(done, key=lambda row: row["finished_at"])
    }


def _write(context: Context, step: str, result: StepResult, state: str, code: int, seconds: float) -> None:
    finished = datetime.fromtimestamp(time.time(), tz=UTC)  # the diary is the one place that asks the clock
    row = {
        "run_id": result.run_id or context.new_run_id(step.replace(" ", "-")),
        "step": step,
        "as_of": context.as_of,
        "state": state,
        "exit_code": code,
        "seconds": seconds,
        "summary": result.summary,
        "facts": json.dumps(result.facts, default=str),
        "versions": json.dumps(dict(result.versions)),
        "finished_at": finished,
    }
    stamp = Stamp(str(row["run_id"]), context.project.name, 0)
    append_ops(context.store, RUNS, [row], schema=_SCHEMA, stamp=stamp)
    plain = {
        **row,
        "facts": result.facts,
        "as_of": context.as_of.isoformat(),
        "finished_at": finished.isoformat(),
    }
    root = context.project.settings.work_folder
    if root.is_dir():
        draft = root / "._RUN.json.draft"
        draft.write_text(json.dumps(plain, indent=1, default=str), encoding="utf-8")
        fault_point("record.drafted")
        draft.replace(root / "_RUN.json")  # readers find the last one or this one, never a half
        fault_point("record.written")
