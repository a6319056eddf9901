"""One value becomes one cell: its data key's id, a nonce that follows from the value, AES-256-GCM over it.

The nonce is synthetic, as in SIV (Rogaway and Shrimpton, "A Provable-Security Treatment of the Key-Wrap
Problem", 2006): a keyed hash of where the value stands and of the value. The same value at the same place
gives the same bytes, so that what is run again is equal to the bit, and a nonce cannot meet two messages but
by a collision of 96 bits. Encryption is AES-GCM as in NIST SP 800-38D, from the package ``cryptography``.
"""

from __future__ import annotations

import hmac
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from featurelib.errors import FeaturelibError

VERSION: Final = b"\x01"
ID_BYTES: Final = 16
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
_HEAD: Final = len(VERSION) + ID_BYTES + NONCE_BYTES


class CellRefused(FeaturelibError):  # noqa: N818 - what became of it
    """A cell is not what was written at its place: it was changed or moved, or its data key is unknown."""


class DataKey:
    """A key of 32 random bytes, and the two keys derived from it: one encrypts, one makes nonces.

    Args:
        key_id: 16 bytes that every cell of the key begins with.
        secret: the 32 bytes.
    """

    def __init__(self, key_id: bytes, secret: bytes) -> None:
        self.key_id = key_id
        self._cipher = AESGCM(hmac.digest(secret, b"featurelib cell encryption", "sha256"))
        self._nonces = hmac.digest(secret, b"featurelib cell nonce", "sha256")

    def seal(self, value: bytes, about: bytes) -> bytes:
        """Return the cell of a value; ``about`` says where it stands, and must be said again to open it."""
        nonce = hmac.digest(self._nonces, about + value, "sha256")[:NONCE_BYTES]
        return VERSION + self.key_id + nonce + self._cipher.encrypt(nonce, value, about)

    def open(self, cell: bytes, about: bytes) -> bytes:
        """Return the value of a cell.

        Raises:
            CellRefused: the cell was changed, or comes from another place.
        """
        try:
            return self._cipher.decrypt(cell[_HEAD - NONCE_BYTES : _HEAD], cell[_HEAD:], about)
        except InvalidTag:
            raise CellRefused(
                f"a cell of {len(cell)} bytes under data key {self.key_id.hex()} fails its check",
                "the bytes that were written at this table, column and row",
                "find out who changed the table's files; restore it, or load it again from the landed files",
            ) from None


def about_of(*parts: str) -> bytes:
    """Return parts as bytes that no other parts give: each with its length before it."""
    encoded = [part.encode() for part in parts]
    return b"".join(len(part).to_bytes(4, "big") + part for part in encoded)


def key_id_of(cell: bytes) -> bytes:
    """Return the id of the data key that a cell begins with.

    Raises:
        CellRefused: it is no cell.
    """
    if len(cell) < _HEAD + TAG_BYTES or cell[:1] != VERSION:
        raise CellRefused(
            f"{len(cell)} bytes that are no encrypted cell",
            f"a cell of version {VERSION[0]}",
            "read the table with the release that wrote it, or restore it",
        )
    return cell[1 : 1 + ID_BYTES]
