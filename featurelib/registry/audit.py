"""Who decided what about a model, when and why: the table ``ops.model_moves``, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cached_property
from typing import Literal

from pyspark.sql import types as T

from featurelib.errors import ConfigError
from featurelib.registry.versions import CHALLENGER, CHAMPION, PREVIOUS_CHAMPION
from featurelib.tables import Stamp, Store, append_ops, rows_of

MOVES = "ops.model_moves"

ORDER = (CHAMPION, PREVIOUS_CHAMPION, CHALLENGER)
"""The aliases in the order a move sets them: once the first stands, the move has happened."""

Action = Literal["challenge", "promote", "rollback", "approve", "found"]
State = Literal["begun", "done", "undone"]

_SCHEMA = T.StructType(
    [
        T.StructField("model", T.StringType()),
        T.StructField("move", T.IntegerType()),
        T.StructField("action", T.StringType()),
        T.StructField("state", T.StringType()),
        T.StructField("alias", T.StringType()),
        T.StructField("from_version", T.IntegerType()),
        T.StructField("to_version", T.IntegerType()),
        T.StructField("model_sha256", T.StringType()),
        T.StructField("decided_by", T.StringType()),
        T.StructField("note", T.StringType()),
        T.StructField("decided_at", T.TimestampType()),
    ]
)


@dataclass(frozen=True)
class Decision:
    """Who decides, and why; both are texts for those who read the audit later.

    Raises:
        ConfigError: one of them is empty.
    """

    by: str
    note: str

    def __post_init__(self) -> None:
        for name, action in (("by", "say who decides"), ("note", "say why, as in a commit message")):
            if not getattr(self, name).strip():
                raise ConfigError(
                    f"--{name} {getattr(self, name)!r}", "a text that is not empty", f"{action}: --{name} ..."
                )


@dataclass(frozen=True)
class Entry:
    """A row of the audit: one alias of a move in one state of it, or an approval.

    Attributes:
        model: the registered model.
        move: the number of the decision, counted from 1 for each model.
        action: ``challenge``, ``promote``, ``rollback``; ``approve``, which moves nothing; ``found`` for an
            alias that somebody moved without these commands.
        state: ``begun`` before MLflow is asked, then ``done``, or ``undone`` if no alias was moved.
        alias: what moves; None for an approval.
        from_version: where the alias was, None for nowhere.
        to_version: where it goes, None if it is taken away; the version approved.
        model_sha256: the hash of the files of the version decided about.
        decided_by: who decided.
        note: why.
        decided_at: when, by the clock of the machine that moved it.
    """

    model: str
    move: int
    action: Action
    state: State
    alias: str | None
    from_version: int | None
    to_version: int | None
    model_sha256: str
    decided_by: str
    note: str
    decided_at: datetime


@dataclass(frozen=True)
class History:
    """The entries of one model in their order, and what they say together."""

    entries: tuple[Entry, ...]

    @cached_property
    def done(self) -> tuple[Entry, ...]:
        """The entries of what has happened."""
        return tuple(entry for entry in self.entries if entry.state == "done")

    @property
    def next_move(self) -> int:
        """The number of the next decision."""
        return 1 + max((entry.move for entry in self.entries), default=0)

    @property
    def unfinished(self) -> tuple[Entry, ...]:
        """The entries of a move that was begun and has no end: its process died, or MLflow went away."""
        ended = {entry.move for entry in self.entries if entry.state != "begun"}
        return tuple(entry for entry in self.entries if entry.move not in ended)

    @property
    def aliases(self) -> dict[str, int]:
        """Where each alias is, by what was recorded."""
        last = {entry.alias: entry.to_version for entry in self.done if entry.alias is not None}
        return {alias: version for alias, version in last.items() if version is not None}

    @property
    def ever_champions(self) -> frozenset[int]:
        """The versions that have been champion."""
        return frozenset(
            entry.to_version
            for entry in self.done
            if entry.to_version is not None and _names_a_champion(entry)
        )

    @property
    def champions(self) -> tuple[int, ...]:
        """The champions that stand, oldest first, each once.

        A promotion adds its version at the end. A rollback takes away what came after its version, so that
        the next one goes further back instead of returning to the version that was given up.
        """
        standing: tuple[int, ...] = ()
        for entry in self.done:
            if entry.to_version is None or not _names_a_champion(entry):
                continue
            if entry.alias == CHAMPION:
                standing = after_move(standing, entry.action, entry.to_version)
            elif len(standing) < 2 and entry.to_version not in standing:
                standing = (entry.to_version, *standing)
        return standing

    def approval(self, version: int, sha256: str) -> Entry | None:
        """Return the newest approval of a version with these very files."""
        found = [
            entry
            for entry in self.done
            if (entry.action, entry.to_version, entry.model_sha256) == ("approve", version, sha256)
        ]
        return found[-1] if found else None

    def champion_sha256(self, version: int) -> str | None:
        """Return the hash of a version's files when it last became champion, None if that is not known."""
        found = [entry for entry in self.done if entry.to_version == version and _names_a_champion(entry)]
        return (found[-1].model_sha256 or None) if found else None

    def last(self, version: int) -> Entry | None:
        """Return the newest entry that gave a version an alias, or approved it."""
        found = [entry for entry in self.done if entry.to_version == version]
        return found[-1] if found else None


def after_move(champions: Sequence[int], action: Action, version: int) -> tuple[int, ...]:
    """Return the standing champions after a version was promoted, rolled back to or found."""
    if action == "rollback" and version in champions:
        return tuple(champions[: champions.index(version) + 1])
    return (*(one for one in champions if one != version), version)


def read_history(store: Store, model: str) -> History:
    """Return what was decided about a model; nothing where nothing was."""
    if MOVES not in store.tables():
        return History(())
    entries = [Entry(**row) for row in rows_of(store, MOVES) if row["model"] == model]
    return History(tuple(sorted(entries, key=_place)))


def append_entries(store: Store, entries: Iterable[Entry], *, pipeline: str) -> None:
    """Add entries of one move in one commit."""
    rows = [asdict(entry) for entry in entries]
    stamp = Stamp(f"models-{rows[0]['model']}-{rows[0]['move']}", pipeline, 0)
    append_ops(store, MOVES, rows, schema=_SCHEMA, stamp=stamp)


def _names_a_champion(entry: Entry) -> bool:
    """Return whether an entry makes a version champion, or says that it was: found as the previous one."""
    return entry.alias == CHAMPION or (entry.alias == PREVIOUS_CHAMPION and entry.action == "found")


def _place(entry: Entry) -> tuple[int, bool, int]:
    return entry.move, entry.state != "begun", ORDER.index(entry.alias) if entry.alias in ORDER else -1
