"""The key of the environment: it encrypts nothing but data keys."""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from featurelib.encryption.cells import NONCE_BYTES
from featurelib.errors import ConfigError
from featurelib.references import secret_behind

KEY_BYTES: Final = 32
_MAKE_ONE: Final = 'make one with: python -c "import secrets; print(secrets.token_hex(32))"'


class MasterKey:
    """A key that wraps data keys, known outside by its reference and a fingerprint.

    Args:
        reference: where it comes from, as the configuration has it.
        secret: its 32 bytes.
    """

    def __init__(self, reference: str, secret: bytes) -> None:
        self.reference = reference
        self.fingerprint = hmac.digest(secret, b"featurelib key fingerprint", "sha256")[:8].hex()
        self._cipher = AESGCM(hmac.digest(secret, b"featurelib key wrapping", "sha256"))

    def wrap(self, secret: bytes, about: bytes) -> bytes:
        """Return a data key as it is kept, with a random nonce; ``about`` says whose it is."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret, about)

    def unwrap(self, wrapped: bytes, about: bytes) -> bytes:
        """Return the data key.

        Raises:
            ConfigError: another key wrapped it, or it was changed.
        """
        try:
            return self._cipher.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], about)
        except InvalidTag:
            raise ConfigError(
                f"a data key that {self.reference} does not unwrap",
                "data keys as this key wrapped them",
                "give the right key, or bring the table of data keys back from a backup",
            ) from None


def master_key(reference: str, environ: Mapping[str, str], *, base: Path) -> MasterKey:
    """Return the key behind a reference: 32 bytes, written as base64 or hex.

    Raises:
        ConfigError: there is none, or it has another length; the message holds the reference alone.
    """
    text = secret_behind(reference, environ, base=base)
    secret = _decoded(text)
    if secret is None or len(secret) != KEY_BYTES:
        found = "is neither base64 nor hex" if secret is None else f"has {len(secret)} bytes"
        raise ConfigError(f"the key {reference} {found}", "32 bytes as base64 or as 64 hex digits", _MAKE_ONE)
    return MasterKey(reference, secret)


def _decoded(text: str) -> bytes | None:
    try:
        return bytes.fromhex(text)
    except ValueError:
        pass
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        return None
