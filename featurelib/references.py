"""Secrets are written as references, and fetched where they are used."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from featurelib.errors import ConfigError

SECRET: Final = re.compile(r"\$\{secret:(?:env/([A-Za-z_][A-Za-z0-9_]*)|file/([^{}$\s]+))\}")
"""``${secret:env/NAME}`` or ``${secret:file/PATH}``; the groups are the name and the path."""
WRITTEN: Final = "${secret:env/NAME} or ${secret:file/PATH}"
"""How a reference is written, for messages."""


def secret_behind(reference: str, environ: Mapping[str, str], *, base: Path | None = None) -> str:
    """Return the secret behind a reference; call it where the secret is used, and keep no copy.

    Args:
        reference: as it stands in the configuration.
        environ: where variables are looked up.
        base: where relative paths start; None where only whole paths are taken.

    Raises:
        ConfigError: the text is no reference, or nothing can be read behind it; no message holds the secret.
    """
    match = SECRET.fullmatch(reference)
    if match is None:
        raise ConfigError("a text that is no secret reference (not shown)", WRITTEN, "give it by reference")
    if match[1] is not None:
        return _of_environment(reference, match[1], environ)
    path = Path(match[2]) if base is None else base / match[2]
    if not path.is_absolute():
        raise ConfigError(f"the secret {reference}: a relative path", "a path from /", "give the whole path")
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigError(
            f"the secret {reference}: {path} cannot be read: {why}",
            "a file of text that the process that uses it can read",
            "put the file there, also where Spark's workers run",
        ) from None
    if not text:
        raise ConfigError(f"the secret {reference}: {path} is empty", "a file that holds it", "write it")
    return text


def _of_environment(reference: str, name: str, environ: Mapping[str, str]) -> str:
    value = environ.get(name)
    if not value:
        raise ConfigError(
            f"the secret {reference}: the environment variable {name} is not set",
            "its value in the environment of the process that uses it",
            f"export {name}=...",
        )
    return value
