"""What was erased on whose request, told without telling whom: the table ``ops.erasures``."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from featurelib.pipeline.schemas import struct
from featurelib.pipeline.subjects import Subject
from featurelib.specs import Project
from featurelib.tables import Stamp, Store, append_ops, current_version, purge, rewrite_ops, rows_of

ERASURES = "ops.erasures"
_SCHEMA = struct(
    request="string",
    state="string",
    entity="string",
    subject="string",
    salt="string",
    decided_by="string",
    run_id="string",
    at="timestamp",
    facts="string",
)
_TEXTS = {
    "ops.runs": ("summary", "facts"),
    "ops.model_moves": ("note",),
    "ops.monitoring": ("name",),
}
_SHORT = 3
_INSTEAD = "[erased]"


@dataclass(frozen=True)
class Erasure:
    """An erasure that was asked for: ``state`` is ``begun`` until a row says ``done``."""

    request: str
    state: str
    decided_by: str
    at: datetime
    facts: Mapping[str, Any]


def erasures(store: Store, subject: Subject | None = None) -> list[Erasure]:
    """Return the erasures of a subject, or all, the oldest first; each once, in its newest state."""
    if current_version(store, ERASURES) is None:
        return []
    rows = sorted(rows_of(store, ERASURES), key=lambda row: (row["at"], row["state"] == "done"))
    if subject is not None:
        hashes = {salt: hashed(subject, salt) for salt in {row["salt"] for row in rows}}
        rows = [row for row in rows if row["subject"] == hashes[row["salt"]]]
    newest = {(row["request"], row["subject"]): row for row in rows}
    return [
        Erasure(row["request"], row["state"], row["decided_by"], row["at"], json.loads(row["facts"]))
        for row in newest.values()
    ]


@dataclass(frozen=True)
class Asked:
    """Who asked for an erasure: the request's name, who decided, when, and the run that does it."""

    request: str
    by: str
    at: datetime
    stamp: Stamp


def erased_lines(store: Store, project: Project, key: Mapping[str, str]) -> list[str]:
    """Return a sentence for each erasure of an entity, none where its key is not one to be erased by."""
    entity = next((name for name, one in project.entities.items() if set(one.keys) == set(key)), None)
    if entity is None:
        return []
    return [
        f"erased on request {one.request} at {one.at:%Y-%m-%dT%H:%M:%SZ} by {one.decided_by}: "
        "what was known of it before is gone"
        + ("" if one.state == "done" else " in part: the erasure was begun, run it again")
        for one in erasures(store, Subject(entity, key))
    ]


def note(store: Store, subject: Subject, asked: Asked, *, state: str, facts: Mapping[str, Any]) -> None:
    """Add a row about an erasure."""
    salt = _salt(store)
    row = {
        "request": asked.request,
        "state": state,
        "entity": subject.entity,
        "subject": hashed(subject, salt),
        "salt": salt,
        "decided_by": asked.by,
        "run_id": asked.stamp.run_id,
        "at": asked.at,
        "facts": json.dumps(facts, default=str),
    }
    append_ops(store, ERASURES, [row], schema=_SCHEMA, stamp=asked.stamp)


def hashed(subject: Subject, salt: str) -> str:
    """Return what a subject is known by after it is gone: scrypt, so that guessing takes long."""
    text = json.dumps([subject.entity, dict(sorted(subject.key.items()))])
    return hashlib.scrypt(text.encode(), salt=bytes.fromhex(salt), n=1 << 14, r=8, p=1, dklen=32).hex()


def _salt(store: Store) -> str:
    """Return the salt of the store's erasures, a new one before the first."""
    rows = [] if current_version(store, ERASURES) is None else rows_of(store, ERASURES)
    return str(rows[0]["salt"]) if rows else secrets.token_hex(16)


# --- texts that may name a subject ----------------------------------------------------------------------


def without_subject(text: str | None, subject: Subject) -> str | None:
    """Return a text, or the JSON it is, with the subject's values replaced.

    A value of one or two characters, or a number, is taken for the subject only as ``column=value``,
    ``column value`` or within quotes: elsewhere it is most likely something else.
    """
    if text is None:
        return None
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = text
    if isinstance(parsed, dict | list):
        return json.dumps(_walked(parsed, subject))
    return _redacted(text, subject)


def redact_ops(store: Store, subject: Subject, *, stamp: Stamp) -> dict[str, int]:
    """Replace the subject in free texts of the diary and purge their history; return rows by table."""
    changed = {}
    for table, columns in _TEXTS.items():
        if current_version(store, table) is None:
            continue
        rows = rows_of(store, table)
        clean = [{**row, **{name: without_subject(row[name], subject) for name in columns}} for row in rows]
        pairs = zip(rows, clean, strict=True)
        differing = sum(_parsed(row, columns) != _parsed(new, columns) for row, new in pairs)
        if differing:
            rewrite_ops(store, table, clean, stamp=stamp)
            purge(store, table)
            changed[table] = differing
    return changed


def _parsed(row: Mapping[str, Any], columns: tuple[str, ...]) -> list[Any]:
    """Return texts as what they mean, so that JSON written another way counts as equal."""

    def meaning(text: str | None) -> Any:  # noqa: ANN401 - plain JSON
        try:
            return json.loads(text or "null")
        except ValueError:
            return text

    return [meaning(row[name]) for name in columns]


def _walked(value: Any, subject: Subject) -> Any:  # noqa: ANN401 - plain JSON
    if isinstance(value, str):
        return _redacted(value, subject)
    if isinstance(value, list):
        return [_walked(item, subject) for item in value]
    if isinstance(value, dict):
        return {_redacted(name, subject): _walked(item, subject) for name, item in value.items()}
    return value


def _redacted(text: str, subject: Subject) -> str:
    for column, value in subject.key.items():
        word = rf"(?<!\w){re.escape(value)}(?!\w)"
        if len(value) < _SHORT or re.fullmatch(r"[-+.\d]+", value):
            word = rf"(?:(?<=\b{re.escape(column)}[= ])|(?<=['\"])){re.escape(value)}(?!\w)"
        text = re.sub(word, _INSTEAD, text)
    return text
