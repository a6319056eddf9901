"""Aliases move with who, why, from and to written down; each test has a real MLflow on sqlite and a real table."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from featurelib.errors import AliasMoved, ConfigError, ModelGateError, PreconditionError
from featurelib.registry import client
from featurelib.registry.aliases import hold
from featurelib.registry.audit import MOVES, Decision, read_history
from featurelib.registry.tracker import Tracker
from featurelib.tables import Store, rows_of
from featurelib.tables.faults import VARIABLE, InjectedFault
from tests.without_spark.registered import register

ANN = Decision("ann", "better on late flights")
BOB = Decision("bob", "alarms since noon")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(str(tmp_path / "store"))


@pytest.fixture
def move(tracker: Tracker, store: Store, tmp_path: Path) -> Callable[..., None]:
    """Return what takes hold of model ``m``, of which three versions are registered, and moves one."""
    for _ in range(3):
        register(tracker, tmp_path, "m")

    def decide(action: str, version: int, decision: Decision = ANN) -> None:
        with hold(tracker, store, pipeline="shop", model="m", clock=lambda: 1_700_000_000.5) as aliases:
            getattr(aliases, action)(tracker.version("m", version), decision)

    return decide


def moves(store: Store) -> list[tuple[object, ...]]:
    """The moves that have happened, as read from the table: action, alias, from, to, who."""
    rows = [row for row in rows_of(store, MOVES) if row["state"] == "done"]
    return [
        (row["action"], row["alias"], row["from_version"], row["to_version"], row["decided_by"])
        for row in sorted(rows, key=lambda row: (row["move"], row["alias"] or ""))
    ]


def test_a_promotion_is_written_down(tracker: Tracker, store: Store, move: Callable[..., None]) -> None:
    """Each alias that a decision moves is a row: from, to, who, why, when and the hash of the files."""
    move("challenge", 1)
    move("promote", 1)
    move("promote", 2, BOB)

    assert tracker.aliases("m") == {"champion": 2, "previous_champion": 1}
    assert moves(store) == [
        ("challenge", "challenger", None, 1, "ann"),
        ("promote", "challenger", 1, None, "ann"),
        ("promote", "champion", None, 1, "ann"),
        ("promote", "champion", 1, 2, "bob"),
        ("promote", "previous_champion", None, 1, "bob"),
    ]
    last = [row for row in rows_of(store, MOVES) if row["move"] == 3 and row["state"] == "done"]
    assert {row["note"] for row in last} == {"alarms since noon"}
    assert {row["decided_at"].isoformat() for row in last} == {"2023-11-14T22:13:20.500000+00:00"}
    assert {row["model_sha256"] for row in last} == {tracker.version("m", 2).sha256}


def test_rollbacks_go_further_back_each_time(
    tracker: Tracker, move: Callable[..., None], store: Store
) -> None:
    """Of champions 1, 2, 3 the second rollback ends at 1; version 3, given up, does not come back by itself."""
    for version in (1, 2, 3):
        move("promote", version)

    move("roll_back", 2, BOB)
    assert tracker.aliases("m") == {"champion": 2, "previous_champion": 1}
    with hold(tracker, store, pipeline="shop", model="m") as aliases:
        assert (aliases.champion, aliases.former_champion) == (2, 1)
    move("roll_back", 1, BOB)
    assert tracker.aliases("m") == {"champion": 1}
    with hold(tracker, store, pipeline="shop", model="m") as aliases:
        assert (aliases.champion, aliases.former_champion) == (1, None)
        assert aliases.history.ever_champions == {1, 2, 3}
    move("roll_back", 3, BOB)
    assert tracker.aliases("m") == {"champion": 3, "previous_champion": 1}


def test_a_move_to_where_the_aliases_are_writes_nothing(store: Store, move: Callable[..., None]) -> None:
    """Promoting the champion again leaves the audit as it was."""
    move("promote", 1)
    before = moves(store)
    move("promote", 1, BOB)
    assert moves(store) == before


def test_an_alias_that_somebody_moved_meanwhile_stays_there(
    tracker: Tracker, store: Store, move: Callable[..., None]
) -> None:
    """Decided on champion 1, which is 2 by now: refused with exit code 4, and the attempt is noted as undone."""
    move("promote", 1)
    with hold(tracker, store, pipeline="shop", model="m") as aliases:
        tracker.set_aliases("m", {"champion": 2})  # as by hand, in MLflow's own pages
        with pytest.raises(
            AliasMoved, match=r"(?s)'champion'.* is now at version 2.*version 1, as it was"
        ) as raised:
            aliases.promote(tracker.version("m", 3), ANN)

    assert raised.value.exit_code == 4
    assert tracker.aliases("m") == {"champion": 2}
    assert {row["state"] for row in rows_of(store, MOVES) if row["to_version"] == 3} == {"begun", "undone"}


def test_what_was_moved_by_hand_is_written_down_as_found(
    tracker: Tracker, store: Store, move: Callable[..., None]
) -> None:
    """The next to take hold notes it, and a rollback goes back to it like to any champion."""
    move("promote", 1)
    tracker.set_aliases("m", {"champion": 2})

    move("promote", 3)

    assert ("found", "champion", 1, 2, "unknown") in moves(store)
    assert tracker.aliases("m") == {"champion": 3, "previous_champion": 2}


def test_a_registry_older_than_the_audit_keeps_its_champions(
    tracker: Tracker, store: Store, move: Callable[..., None]
) -> None:
    """Aliases set before there was an audit are its first rows, the previous champion before the champion."""
    tracker.set_aliases("m", {"champion": 2, "previous_champion": 1, "challenger": 3})
    with hold(tracker, store, pipeline="shop", model="m") as aliases:
        assert aliases.history.champions == (1, 2)
        assert aliases.former_champion == 1
    assert [(alias, to) for _, alias, _, to, _ in moves(store)] == [
        ("challenger", 3), ("champion", 2), ("previous_champion", 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("point", "after", "ends"),
    [
        ("models.begun", {"champion": 1}, "undone"),
        ("models.moved", {"champion": 2, "previous_champion": 1}, "done"),
    ],
)
def test_a_move_cut_short_is_ended_by_the_next(  # noqa: PLR0917 - fixtures and parameters
    tracker: Tracker,
    store: Store,
    move: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    point: str,
    after: dict[str, int],
    ends: str,
) -> None:
    """Dead before champion moved, it never happened; dead after, its other aliases follow and who and why stand."""
    move("promote", 1)
    monkeypatch.setenv(VARIABLE, f"raise:{point}")
    with pytest.raises(InjectedFault):
        move("promote", 2, BOB)
    monkeypatch.delenv(VARIABLE)

    with hold(tracker, store, pipeline="shop", model="m"):
        assert tracker.aliases("m") == after

    states = {row["state"] for row in rows_of(store, MOVES) if row["decided_by"] == "bob"}
    assert states == {"begun", ends}
    assert not any(action == "found" for action, *_ in moves(store))


def test_a_registry_that_goes_away_in_between(
    tracker: Tracker, store: Store, move: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Locked after the move was written down: one clear error, and the next command notes it as undone."""
    monkeypatch.setattr(client, "_LOCK_SECONDS", 0.2)
    version = tracker.version("m", 1)
    with (
        hold(tracker, store, pipeline="shop", model="m") as aliases,
        closing(sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)) as other,
    ):
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(PreconditionError, match="cannot be used: database is locked"):
            aliases.promote(version, ANN)

    with hold(tracker, store, pipeline="shop", model="m"):
        assert tracker.aliases("m") == {}
    assert {row["state"] for row in rows_of(store, MOVES)} == {"begun", "undone"}


def test_two_who_promote_at_once_follow_each_other(
    tracker: Tracker, store: Store, move: Callable[..., None]
) -> None:
    """The second waits until the first has let go, and then sees what it did."""
    move("promote", 1)
    seen: list[int | None] = []
    second = threading.Thread(target=lambda: _look(tracker, store, seen))
    with hold(tracker, store, pipeline="shop", model="m") as aliases:
        second.start()
        aliases.promote(tracker.version("m", 2), ANN)
        second.join(timeout=0.2)
        assert second.is_alive()
    second.join()
    assert seen == [2]


def test_an_approval_holds_for_its_files_only(
    tracker: Tracker, store: Store, move: Callable[..., None]
) -> None:
    """It is written down, moves nothing, and says nothing of other versions or other bytes."""
    move("approve", 2, BOB)

    history = read_history(store, "m")
    sha256 = tracker.version("m", 2).sha256
    found = history.approval(2, sha256)
    assert found is not None
    assert (found.decided_by, found.note) == ("bob", "alarms since noon")
    assert history.approval(2, "0" * 64) is None
    assert history.approval(3, sha256) is None
    assert tracker.aliases("m") == {}


@pytest.mark.parametrize(("by", "note", "named"), [("", "why", "--by"), ("ann", " \n", "--note")])
def test_nobody_decides_without_name_and_reason(by: str, note: str, named: str) -> None:
    """Blank is empty."""
    with pytest.raises(ConfigError, match=f"{named}.*(?s:.)*not empty"):
        Decision(by, note)


def test_unknown_models_and_versions_are_named(tracker: Tracker, move: Callable[..., None]) -> None:
    """A version that is not there lists those that are, a misspelt model the one that was meant."""
    with pytest.raises(ModelGateError, match=r"no version 9(?s:.)*one of 1, 2, 3"):
        tracker.version("m", 9)
    with pytest.raises(ModelGateError, match=r"'mm' is not registered\. Did you mean 'm'"):
        tracker.version("mm", 1)


def test_changed_files_of_a_version_are_found_without_spark(
    tracker: Tracker, tmp_path: Path, move: Callable[..., None]
) -> None:
    """One blank more in the artifacts, and the version is no longer what was registered."""
    victim = tracker.version("m", 2)
    tracker.check(victim)
    (metadata,) = (tmp_path / "artifacts" / victim.run_id).rglob("sparkml/metadata/part-00000")
    metadata.write_text(metadata.read_text() + " ")
    with pytest.raises(ModelGateError, match=r"model m version 2: its files have sha256"):
        tracker.check(victim)


def _look(tracker: Tracker, store: Store, seen: list[int | None]) -> None:
    with hold(tracker, store, pipeline="shop", model="m") as aliases:
        seen.append(aliases.champion)
