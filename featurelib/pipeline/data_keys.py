"""The table ``ops.data_keys``: data keys are made once, wrapped, found again, and shredded for good.

It is no part of a publish: a key exists before the first row under it, and stays when a run dies. Whoever
changes it holds one lock, reads what is there and adds what is missing, so that two runs make no key twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from featurelib.config import secret_base
from featurelib.encryption import Keyring, Wrapped, new_key
from featurelib.encryption.rings import TABLE
from featurelib.pipeline.schemas import struct
from featurelib.pipeline.subjects import Subject
from featurelib.specs import Encryption, LandedTable, Project
from featurelib.tables import Stamp, Store, append_ops, current_version, purge, rewrite_ops, rows_of

_SCHEMA = struct(
    key_id="string",
    table="string",
    purpose="string",
    subject="string",
    wrapped="string",
    master="string",
    run_id="string",
    request="string",
)
Gather = Callable[[], Iterable[str]]
"""Gives the subjects of the rows that are to be encrypted."""


def keyring(project: Project, store: Store, table: str) -> Keyring:
    """Return the data keys of a landed table that is encrypted, as they are now; the key is not looked up."""
    return _ring(project, table, [row for row in _rows(store) if row["table"] == table])


def ready_keyring(
    project: Project, store: Store, table: str, subjects: Iterable[str], *, stamp: Stamp
) -> Keyring:
    """Return the data keys that rows of these subjects need, those made that were missing.

    Data keys under a key of ``previous_keys`` are wrapped again by the key in force, and their earlier
    wrappings are purged from the table's history.

    Raises:
        ConfigError: the key cannot be had, or is not the one that wrapped the data keys.
    """
    wanted = list(subjects)
    with _changing(store):
        ring = _rewrapped(project, store, table, stamp)
        while missing := list(ring.missing(wanted)):
            made = [new_key(table, one, ring.master) for one in missing]
            rows = [{**one._asdict(), "table": table, "run_id": stamp.run_id} for one in made]
            append_ops(store, TABLE, rows, schema=_SCHEMA, stamp=stamp)
            ring = keyring(project, store, table)
    return ring


def rewrap(project: Project, store: Store, *, stamp: Stamp) -> None:
    """Wrap the data keys of every table that has ``previous_keys`` by its key in force, as its loads do.

    Raises:
        ConfigError: a key cannot be had, or none of those given wrapped the data keys.
    """
    changed = [
        name for name, table in project.tables.items() if table.encryption and table.encryption.previous_keys
    ]
    if changed:
        with _changing(store):
            for name in changed:
                _rewrapped(project, store, name, stamp)


def shred(project: Project, store: Store, subject: Subject, *, request: str, stamp: Stamp) -> int:
    """Destroy the data keys of a subject, in the table and its history; return how many there were.

    What stays says that there was a key, and on which request it went, so that a cell under it is known to be
    shredded. Run again it purges again: the first run may have died before.

    Raises:
        ConfigError: the key cannot be had that finds the subject's data keys.
    """
    with _changing(store):
        known = list(_keys_of(project, store, subject))
        if not known:
            return 0
        gone = {key.key_id for key in known if key.wrapped is not None}
        rows = [
            {**row, "wrapped": None, "request": request} if row["key_id"] in gone else row
            for row in _rows(store)
        ]
        rewrite_ops(store, TABLE, rows, stamp=stamp)
        purge(store, TABLE)
    return len(gone)


def count_keys(project: Project, store: Store, subject: Subject) -> int:
    """Return how many data keys a subject has."""
    return sum(key.wrapped is not None for key in _keys_of(project, store, subject))


def _keys_of(project: Project, store: Store, subject: Subject) -> Iterator[Wrapped]:
    """Yield the data keys of a subject in all tables, those that were shredded among them."""
    for name, table in project.tables.items():
        if table.encryption is None or table.encryption.subject is None:
            continue
        if tuple(subject.key) != (table.encryption.subject,):
            continue
        ring = keyring(project, store, name)
        if ring.keys:
            hashed = ring.hashed(_canonical(table, table.encryption, subject))
            yield from (key for key in ring.keys if key.subject == hashed)


def _canonical(table: LandedTable, encryption: Encryption, subject: Subject) -> str:
    """Return a subject's value as Spark writes the typed column as text."""
    text = subject.key[encryption.subject or ""].strip()
    if table.columns[encryption.subject or ""] == "string":
        return text
    try:
        return str(int(text))
    except ValueError:
        return text


def _ring(project: Project, table: str, rows: Sequence[dict[str, Any]]) -> Keyring:
    encryption = project.tables[table].encryption
    references = () if encryption is None else (encryption.key, *encryption.previous_keys)
    keys = tuple(
        Wrapped(row["key_id"], row["purpose"], row["subject"], row["wrapped"], row["master"])
        for row in sorted(rows, key=lambda row: str(row["key_id"]))
    )
    return Keyring(table, references, str(secret_base(project)), keys)


def _rewrapped(project: Project, store: Store, table: str, stamp: Stamp) -> Keyring:
    ring = keyring(project, store, table)
    ring.check()
    if len(ring.references) == 1 or not ring.keys:
        return ring
    if (changed := ring.rewrapped()) is not None:
        by_id = {key.key_id: key._asdict() for key in changed}
        rows = [{**row, **by_id.get(row["key_id"], {})} for row in _rows(store)]
        rewrite_ops(store, TABLE, rows, stamp=stamp)
    purge(store, TABLE)  # each time: a load that died here has left what the previous key wrapped
    return keyring(project, store, table)


def _rows(store: Store) -> list[dict[str, Any]]:
    return [] if current_version(store, TABLE) is None else rows_of(store, TABLE)


def _changing(store: Store) -> Any:  # noqa: ANN401 - a context manager
    """Hold the right to change the table between processes; single commits take another lock within."""
    return store.commit_lock(f"{TABLE}_change")
