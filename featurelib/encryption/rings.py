"""The data keys of one table, as tasks are sent them: wrapped, so that no plan or file of Spark's has a key.

A task unwraps those it needs with the key of the environment, which it looks up by its reference where it
runs.
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from featurelib.encryption.cells import ID_BYTES, CellRefused, DataKey, about_of, key_id_of
from featurelib.encryption.keys import KEY_BYTES, MasterKey, master_key
from featurelib.errors import ConfigError

Purpose = Literal["index", "rows", "subject"]
"""What a data key is for: to hash subjects, rows of nobody, or the rows of one subject."""
TABLE: Final = "ops.data_keys"
"""Where data keys are kept, for messages."""


class Wrapped(NamedTuple):
    """A data key as it is kept.

    Attributes:
        key_id: its name in cells, in hex.
        purpose: what it is for.
        subject: a keyed hash of whose it is, in hex; empty for a key of nobody.
        wrapped: the key, wrapped, in hex; None after it was shredded.
        master: fingerprint of the key that wrapped it.
    """

    key_id: str
    purpose: str
    subject: str
    wrapped: str | None
    master: str


class NewKey(NamedTuple):
    """Whom a new data key is for."""

    purpose: Purpose
    subject: str = ""


def new_key(table: str, wanted: NewKey, master: MasterKey) -> Wrapped:
    """Return a new random data key of a table, wrapped."""
    key_id = secrets.token_bytes(ID_BYTES).hex()
    about = _about(table, key_id, *wanted)
    wrapped = master.wrap(secrets.token_bytes(KEY_BYTES), about).hex()
    return Wrapped(key_id, wanted.purpose, wanted.subject, wrapped, master.fingerprint)


@dataclass(frozen=True)
class Keyring:
    """The data keys of a landed table, and by which references the keys that wrapped them are found.

    Attributes:
        table: name of the landed table.
        references: of the key in force, then of those before it.
        base: folder where relative paths of references start.
        keys: all data keys of the table.
    """

    table: str
    references: tuple[str, ...]
    base: str
    keys: tuple[Wrapped, ...]
    _memory: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_memory": {}}  # what was unwrapped stays in this process

    # --- the key of the environment ---------------------------------------------------------------------

    @property
    def master(self) -> MasterKey:
        """The key in force.

        Raises:
            ConfigError: it cannot be had.
        """
        return self._masters()[0]

    def check(self) -> None:
        """Refuse at once what would fail in tasks: a key that is not there, or not the one that wrapped.

        Raises:
            ConfigError: so it is; the message names the reference.
        """
        fingerprints = {master.fingerprint for master in self._masters()}
        for key in self.keys:
            if key.wrapped is not None and key.master not in fingerprints:
                raise self._not_ours(key)

    def rewrapped(self) -> tuple[Wrapped, ...] | None:
        """Return the keys, all wrapped by the key in force; None where they are already."""
        master = self.master
        if all(key.wrapped is None or key.master == master.fingerprint for key in self.keys):
            return None
        return tuple(
            key
            if key.wrapped is None or key.master == master.fingerprint
            else key._replace(
                wrapped=master.wrap(self._secret(key), self._about(key)).hex(), master=master.fingerprint
            )
            for key in self.keys
        )

    def _masters(self) -> list[MasterKey]:
        if "masters" not in self._memory:
            base = Path(self.base)
            self._memory["masters"] = [master_key(one, os.environ, base=base) for one in self.references]
        found: list[MasterKey] = self._memory["masters"]
        return found

    def _not_ours(self, key: Wrapped) -> ConfigError:
        given = " and ".join(f"{one.reference} ({one.fingerprint})" for one in self._masters())
        return ConfigError(
            f"data keys of {self.table} were wrapped by a key with fingerprint {key.master}; given: {given}",
            "the key that wrapped them",
            f"let tables.{self.table}.encryption.key refer to it, or list it in previous_keys",
        )

    def _about(self, key: Wrapped) -> bytes:
        return _about(self.table, key.key_id, key.purpose, key.subject)

    def _secret(self, key: Wrapped) -> bytes:
        for master in self._masters():
            if master.fingerprint == key.master:
                return master.unwrap(bytes.fromhex(key.wrapped or ""), self._about(key))
        raise self._not_ours(key)

    # --- data keys --------------------------------------------------------------------------------------

    def missing(self, subjects: Iterable[str]) -> Iterator[NewKey]:
        """Yield what data keys rows of these subjects need that are not there yet.

        Before the index key is there, nothing else can be told: it is asked for alone.
        """
        if self._of_purpose("index") is None:
            yield NewKey("index")
            return
        if self._of_purpose("rows") is None:
            yield NewKey("rows")
        held = self._by_subject()
        for subject in dict.fromkeys(subjects):
            hashed = self.hashed(subject)
            if hashed not in held:
                yield NewKey("subject", hashed)

    def hashed(self, subject: str) -> str:
        """Return what a subject is called beside its data key: a keyed hash of this table's."""
        index = self._of_purpose("index")
        if index is None:
            raise CellRefused(f"{TABLE} has no index key of {self.table}", "one", "restore the table")
        if "index" not in self._memory:
            self._memory["index"] = self._secret(index)
        return hmac.digest(self._memory["index"], subject.encode(), "sha256").hex()

    def sealing_key(self, subject: str | None) -> DataKey:
        """Return the data key of a subject's rows, or of rows of nobody.

        Raises:
            CellRefused: it was not made.
        """
        memory: dict[str | None, DataKey] = self._memory.setdefault("sealing", {})
        if subject not in memory:
            key = self._of_purpose("rows")
            if subject is not None:
                key = self._by_subject().get(self.hashed(subject))
            if key is None:
                raise CellRefused(f"{TABLE} lacks a data key of {self.table}", "one a subject", "run again")
            memory[subject] = DataKey(bytes.fromhex(key.key_id), self._secret(key))
        return memory[subject]

    def opening_key(self, cell: bytes) -> DataKey | None:
        """Return the data key of a cell, None where it was shredded.

        Raises:
            CellRefused: nobody knows it.
        """
        key_id = key_id_of(cell)
        memory: dict[bytes, DataKey | None] = self._memory.setdefault("opening", {})
        if key_id not in memory:
            by_id: Mapping[str, Wrapped] = self._remembered("by id", lambda: {k.key_id: k for k in self.keys})
            key = by_id.get(key_id.hex())
            if key is None:
                raise CellRefused(
                    f"a cell of {self.table} under data key {key_id.hex()}, which {TABLE} does not have",
                    "the data key of every cell, or a note that it was shredded",
                    f"bring {TABLE} back from a backup",
                )
            memory[key_id] = None if key.wrapped is None else DataKey(key_id, self._secret(key))
        return memory[key_id]

    def _of_purpose(self, purpose: Purpose) -> Wrapped | None:
        return next((key for key in self.keys if key.purpose == purpose and key.wrapped is not None), None)

    def _by_subject(self) -> Mapping[str, Wrapped]:
        return self._remembered(  # type: ignore[no-any-return]
            "by subject",
            lambda: {
                key.subject: key
                for key in reversed(self.keys)
                if key.purpose == "subject" and key.wrapped is not None
            },
        )

    def _remembered(self, name: str, make: Any) -> Any:  # noqa: ANN401 - a cache of unlike things
        if name not in self._memory:
            self._memory[name] = make()
        return self._memory[name]


def _about(table: str, key_id: str, purpose: str, subject: str) -> bytes:
    return about_of("featurelib data key", table, key_id, purpose, subject)
