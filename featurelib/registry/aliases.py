"""Aliases move one decision at a time: written down first, then moved if they are still where they were."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

from featurelib.errors import AliasMoved
from featurelib.registry.audit import (
    ORDER,
    Action,
    Decision,
    Entry,
    History,
    after_move,
    append_entries,
    read_history,
)
from featurelib.registry.tracker import Tracker
from featurelib.registry.versions import CHALLENGER, CHAMPION, PREVIOUS_CHAMPION, RegisteredModel
from featurelib.tables import Store, fault_point
from featurelib.tables.locks import exclusive

Clock = Callable[[], float]

_OUTSIDE = Decision("unknown", "found moved, not by these commands")


class Aliases:
    """The aliases of one model, while no other process of the store can move them; made by :func:`hold`.

    Attributes:
        model: the registered model.
        held: the version under each alias, as read when they were taken hold of.
        history: what was decided before.
    """

    def __init__(self, tracker: Tracker, store: Store, *, pipeline: str, model: str, clock: Clock) -> None:
        self.model = model
        self._tracker = tracker
        self._store = store
        self._pipeline = pipeline
        self._clock = clock
        self.history = read_history(store, model)
        self._settle()
        self.held = tracker.aliases(model)
        self._note_what_moved_outside()

    @property
    def champion(self) -> int | None:
        """The version that predicts, None if there is none."""
        return self.held.get(CHAMPION)

    @property
    def former_champion(self) -> int | None:
        """The champion before, that a rollback goes to if it is not told where to."""
        standing = [version for version in self.history.champions if version != self.champion]
        return standing[-1] if standing else None

    def challenge(self, registered: RegisteredModel, decision: Decision) -> None:
        """Make a version the challenger.

        Raises:
            AliasMoved: somebody moved an alias meanwhile; nothing was moved.
        """
        self._move("challenge", registered, {CHALLENGER: registered.version}, decision)

    def promote(self, registered: RegisteredModel, decision: Decision) -> None:
        """Make a version champion, and the champion so far the previous one.

        Raises:
            AliasMoved: somebody moved an alias meanwhile; nothing was moved.
        """
        self._move("promote", registered, self._with_champion("promote", registered.version), decision)

    def roll_back(self, registered: RegisteredModel, decision: Decision) -> None:
        """Make an earlier champion champion again; the previous one is then the one before that.

        Raises:
            AliasMoved: somebody moved an alias meanwhile; nothing was moved.
        """
        self._move("rollback", registered, self._with_champion("rollback", registered.version), decision)

    def approve(self, registered: RegisteredModel, decision: Decision) -> None:
        """Write down that a version, with the very files it has, was approved; no alias moves."""
        self._append([replace(self._entry("approve", registered, decision), state="done")])

    def _with_champion(self, action: Action, version: int) -> dict[str, int | None]:
        standing = after_move(self.history.champions, action, version)
        return {
            CHAMPION: version,
            PREVIOUS_CHAMPION: standing[-2] if len(standing) > 1 else None,
            CHALLENGER: None if self.held.get(CHALLENGER) == version else self.held.get(CHALLENGER),
        }

    def _move(
        self,
        action: Action,
        registered: RegisteredModel,
        wanted: Mapping[str, int | None],
        decision: Decision,
    ) -> None:
        """Move aliases to where they are wanted; those that are there already are left out."""
        entry = self._entry(action, registered, decision)
        begun = [
            replace(entry, alias=alias, from_version=self.held.get(alias), to_version=wanted[alias])
            for alias in ORDER
            if alias in wanted and wanted[alias] != self.held.get(alias)
        ]
        if not begun:
            return
        self._append(begun)
        fault_point("models.begun")
        self._check_unmoved(begun)
        self._set(begun)
        self.held = self._tracker.aliases(self.model)
        for moved in begun:
            if self.held.get(str(moved.alias)) != moved.to_version:
                raise _moved(self.model, str(moved.alias), moved.to_version, self.held.get(str(moved.alias)))
        self._append([replace(moved, state="done") for moved in begun])

    def _check_unmoved(self, begun: list[Entry]) -> None:
        """Look once more before moving: MLflow itself cannot move an alias only if it is still somewhere."""
        now = self._tracker.aliases(self.model)
        for alias in ORDER:
            if now.get(alias) != self.held.get(alias):
                self._append([replace(entry, state="undone") for entry in begun])
                raise _moved(self.model, alias, self.held.get(alias), now.get(alias))

    def _set(self, begun: list[Entry]) -> None:
        """Move the first alias, which is what decides, and then the others."""
        first, *others = [(str(entry.alias), entry.to_version) for entry in begun]
        self._tracker.set_aliases(self.model, dict([first]))
        fault_point("models.moved")
        self._tracker.set_aliases(self.model, dict(others))
        fault_point("models.all_moved")

    def _settle(self) -> None:
        """Bring a move that has no end to one: to its own where its first alias has moved, else to none."""
        begun = self.history.unfinished
        if not begun:
            return
        first = begun[0]
        now = self._tracker.aliases(self.model)
        has_moved = now.get(str(first.alias)) == first.to_version
        if has_moved:
            wanted = {str(entry.alias): entry.to_version for entry in begun}
            self._tracker.set_aliases(
                self.model, {alias: to for alias, to in wanted.items() if now.get(alias) != to}
            )
        self._append([replace(entry, state="done" if has_moved else "undone") for entry in begun])

    def _note_what_moved_outside(self) -> None:
        recorded = self.history.aliases
        moved = [alias for alias in ORDER if recorded.get(alias) != self.held.get(alias)]
        if not moved:
            return
        at = self._now()
        number = self.history.next_move
        self._append(
            [
                Entry(
                    model=self.model,
                    move=number,
                    action="found",
                    state="done",
                    alias=alias,
                    from_version=recorded.get(alias),
                    to_version=self.held.get(alias),
                    model_sha256=self._sha256(self.held.get(alias)),
                    decided_by=_OUTSIDE.by,
                    note=_OUTSIDE.note,
                    decided_at=at,
                )
                for alias in moved
            ]
        )

    def _sha256(self, version: int | None) -> str:
        return "" if version is None else self._tracker.version(self.model, version).sha256

    def _entry(self, action: Action, registered: RegisteredModel, decision: Decision) -> Entry:
        return Entry(
            model=self.model,
            move=self.history.next_move,
            action=action,
            state="begun",
            alias=None,
            from_version=None,
            to_version=registered.version,
            model_sha256=registered.sha256,
            decided_by=decision.by.strip(),
            note=decision.note.strip(),
            decided_at=self._now(),
        )

    def _append(self, entries: list[Entry]) -> None:
        append_entries(self._store, entries, pipeline=self._pipeline)
        self.history = History((*self.history.entries, *entries))

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), tz=UTC)


@contextmanager
def hold(
    tracker: Tracker, store: Store, *, pipeline: str, model: str, clock: Clock = time.time
) -> Iterator[Aliases]:
    """Take hold of the aliases of a model: processes of one store move them one after another.

    First a move that a dead process left half done is brought to an end, and aliases that were moved without
    these commands are written down as found. Whoever moves aliases in MLflow itself is not kept from it; that
    is seen at the next look.

    Raises:
        LeaseHeld: another process has held them for a quarter of an hour.
        PreconditionError: MLflow cannot be used.
    """
    with exclusive(store.leases / "models" / f"{model}.lock", what=f"the aliases of model {model}"):
        yield Aliases(tracker, store, pipeline=pipeline, model=model, clock=clock)


def _moved(model: str, alias: str, expected: int | None, found: int | None) -> AliasMoved:
    was, now = ("no version" if one is None else f"version {one}" for one in (expected, found))
    return AliasMoved(
        f"alias {alias!r} of model {model!r} is now at {now}",
        f"{was}, as it was when this was decided: somebody moved it meanwhile",
        f"look who moved it and why: featurelib models --model {model} --moves",
    )
