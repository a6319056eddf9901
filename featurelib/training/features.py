"""A model's features are names and patterns, resolved over the columns that are really there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from featurelib.errors import ConfigError, nearest

RESERVED_PREFIX = "_"


def candidate_columns(columns: Iterable[str], *, reserved: Iterable[str]) -> tuple[str, ...]:
    """Return the columns that may be features: neither reserved nor starting with ``_``, in order."""
    kept_out = frozenset(reserved)
    return tuple(name for name in columns if name not in kept_out and not name.startswith(RESERVED_PREFIX))


def resolve_features(patterns: Sequence[str], available: Sequence[str], *, what: str) -> tuple[str, ...]:
    """Return the features that the patterns name, each once, in the order the patterns take them.

    Patterns apply one after another: ``name`` and ``origin_*`` take, in the order of ``available``; ``!name``
    and ``!origin_*`` take away what was taken before. ``*`` alone therefore means all of ``available``.

    Args:
        patterns: names and patterns (``*``, ``?``, ``[abc]``), with ``!`` in front to take away.
        available: the columns to choose from.
        what: who asks, for the error message, as ``model late_arrival``.

    Raises:
        ConfigError: a pattern matches no column (a misspelt ``!`` too, which would let a feature slip in), or
            nothing is left.
    """
    taken: dict[str, None] = {}
    for pattern in patterns:
        takes_away = pattern.startswith("!")
        matched = _matches(pattern.removeprefix("!"), available, what=what)
        if takes_away:
            taken = {name: None for name in taken if name not in matched}
        else:
            taken.update(dict.fromkeys(matched))
    if not taken:
        raise ConfigError(
            f"{what}: the patterns {list(patterns)} leave no feature",
            "at least one feature",
            "begin with a pattern that takes features, as '*', before those with '!'",
        )
    return tuple(taken)


def _matches(pattern: str, available: Sequence[str], *, what: str) -> list[str]:
    matched = [name for name in available if fnmatchcase(name, pattern)]
    if not matched:
        raise ConfigError(
            f"{what}: {pattern!r} matches none of {len(available)} columns.{nearest(pattern, available)}",
            "the name of a feature or a pattern that matches one",
            f"correct the name, or choose among: {', '.join(available)}",
        )
    return matched
