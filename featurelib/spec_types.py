"""What every spec is made of: the frozen base, and texts that are checked when they are read."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from featurelib import timeline
from featurelib.column_types import PLAIN_TYPES, decimal_digits
from featurelib.errors import ConfigError, nearest

_NAME = re.compile(r"[a-z_][a-z0-9_]*")


def _checked_type(text: str) -> str:
    digits = decimal_digits(text)
    if digits is not None:
        return f"decimal({digits[0]},{digits[1]})"
    if text not in PLAIN_TYPES:
        known = (
            f"one of {', '.join(PLAIN_TYPES)}, or decimal(p,s): p digits up to 38, s of them behind the point"
        )
        raise ValueError(f"unknown type {text!r}.{nearest(text, PLAIN_TYPES)}; expected {known}")
    return text


def _checked_name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} is no name: lower-case letters, digits and _, not starting with a digit")
    return text


def _checked_duration(text: str) -> str:
    try:
        timeline.duration_micros(text)
    except ConfigError as error:
        raise ValueError(f"{error.given}; expected {error.expected}") from None
    return text


def _checked_window(text: str) -> str:
    try:
        timeline.Window.parse(text)
    except ConfigError as error:
        raise ValueError(f"{error.given}; expected {error.expected}") from None
    return text


ColumnType = Annotated[str, AfterValidator(_checked_type)]
"""``string``, ``boolean``, ``int``, ``long``, ``double``, ``date``, ``timestamp_utc`` or ``decimal(p,s)``."""
Name = Annotated[str, AfterValidator(_checked_name)]
Duration = Annotated[str, AfterValidator(_checked_duration)]
WindowText = Annotated[str, AfterValidator(_checked_window)]
Expression = Annotated[str, Field(min_length=1)]
"""SQL text in the allow-listed language of :mod:`featurelib.expressions`."""


class Spec(BaseModel):
    """A frozen, comparable, hashable description; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def unsaid(default: object) -> Any:  # noqa: ANN401 - a field of any type
    """Return a field that its default leaves out of a dump, so that it changes no hash of older specs."""
    return Field(default=default, exclude_if=lambda value: value == default)
