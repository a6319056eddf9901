"""A range of days is filled in chunks, each published on its own, and a daily run goes first between them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from typing import Any

from featurelib.errors import ConfigError, FeaturelibError
from featurelib.pipeline.budget import Budget
from featurelib.pipeline.context import Context, StepResult, Surroundings
from featurelib.pipeline.days import ALL_DAYS, DayRange
from featurelib.pipeline.ledger import loaded_days
from featurelib.pipeline.plan import Plan, plan
from featurelib.pipeline.records import EXPECTED, newest_runs
from featurelib.pipeline.steps import run_step
from featurelib.reports.formats import words
from featurelib.timeline import duration_micros, format_instant

CHUNK = "30d"
WAIT_SECONDS = 600.0
_DAY = 86_400_000_000


@dataclass(frozen=True)
class Piece:
    """A step of a backfill: of one chunk, or of all days where it knows no range."""

    step: str
    days: DayRange = ALL_DAYS

    def __str__(self) -> str:
        return words(self.step) if self.days.is_all else f"{words(self.step)} {self.days}"


def pieces_of(context: Surroundings, days: DayRange, *, chunk: str = CHUNK) -> list[Piece]:
    """Return what a backfill of some days consists of, in order.

    Features chunk by chunk, oldest first; then what is made of all of them, training set and models; then the
    predictions chunk by chunk.

    Args:
        context: where and when.
        days: days of the spine; those that are not loaded are left out.
        chunk: whole days, as ``30d``; counted from the first day of the range, or that is loaded.

    Raises:
        ConfigError: a chunk that is no number of whole days, or a range without a loaded day.
        FeaturelibError: nothing was ingested yet.
    """
    length = _chunk_days(chunk)
    spine = context.project.spine.table
    loaded = loaded_days(context, [spine])[spine]
    if not loaded:
        raise FeaturelibError("nothing was ingested yet", "loaded days", "run the ingest step first")
    chunks = _chunks(days.of(loaded), days.first, length)
    features, scores = ([Piece(step, part) for part in chunks] for step in ("build_features", "score"))
    return [*features, Piece("build_training_set"), Piece("train"), *scores]


def refuse_older(context: Surroundings) -> None:
    """Refuse a moment before that of a run which is done: its labels and models would replace newer ones.

    Raises:
        ConfigError: so it is.
    """
    done = [row["as_of"] for row in newest_runs(context) if row["state"] == "done" and _is_of(context, row)]
    newest = max(done, default=context.as_of)
    if newest > context.as_of:
        raise ConfigError(
            f"a backfill as of {format_instant(context.as_of)}, "
            f"and a run as of {format_instant(newest)} is done",
            "the moment of the newest run, or a later one: labels known since would be lost",
            f"give --as-of {format_instant(newest)}",
        )


def plan_of(context: Surroundings, piece: Piece) -> Plan:
    """Return what is left to do of a piece."""
    return plan(context, steps=(piece.step,), days=piece.days, scored=piece.days)


def backfill(
    context: Context, pieces: list[Piece], *, wait: float = WAIT_SECONDS, budget: Budget | None = None
) -> list[StepResult]:
    """Do what is left of the pieces, one after another; each is published when it is done.

    Between two pieces nothing is held: a run that waits gets its turn, and what it publishes the next piece
    reads. A rerun after a stop or a kill skips what is done.

    Args:
        context: the run's surroundings.
        pieces: see :func:`pieces_of`.
        wait: seconds to wait, before each piece, for other runs to end.
        budget: what the whole may take; None for no limit.

    Raises:
        BudgetExceeded: a piece does not fit into what is left of the budget; those before it are done.
        LeaseHeld: another run was at work for longer than ``wait``.
    """
    results, names = [], [str(piece) for piece in pieces]
    for place, piece in enumerate(pieces):
        if not piece.days.is_all and not plan_of(context, piece).busy:
            continue
        guard = None if budget is None else partial(budget.check, done=names[:place], left=names[place:])
        own: dict[str, Any] = {"budget": budget} if piece.step == "train" else {}
        run = partial(run_step, context, piece.step, label=str(piece), guard=guard, **own)
        with context.turn("backfill", wait_seconds=wait, gives_way=True):
            results.append(run() if piece.days.is_all else run(days=piece.days))
    return results


def _is_of(context: Surroundings, row: Mapping[str, Any]) -> bool:
    expected = json.loads(row["facts"] or "{}").get(EXPECTED)
    return expected is None or expected["pipeline"] == context.project.name


def _chunk_days(text: str) -> int:
    try:
        micros = duration_micros(text)
    except ConfigError:
        micros = 0
    days, rest = divmod(micros, _DAY)
    if rest or days < 1:
        raise ConfigError(f"--chunk {text!r}", "a number of whole days, at least one", "write --chunk 30d")
    return days


def _chunks(loaded: Iterable[date], first: date | None, length: int) -> list[DayRange]:
    """Return ranges of so many days that hold loaded days, in order."""
    days = sorted(loaded)
    start = first or days[0]
    numbers = sorted({(day - start).days // length for day in days})
    starts = [start + timedelta(days=number * length) for number in numbers]
    return [DayRange(begin, min(begin + timedelta(days=length), _after(days))) for begin in starts]


def _after(days: list[date]) -> date:
    return days[-1] + timedelta(days=1)
