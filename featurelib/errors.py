"""Every failure has one place in this tree, and every place has one exit code.

    FeaturelibError                 1
    ├── ConfigError                 2   a file, key, value or argument is wrong
    │   └── PreconditionError       2   Java, packages, JARs or disk are not as needed
    ├── InputError                  3   landed files cannot be taken as they are
    ├── QualityGateError            3   rows were read, and too few of them are good
    ├── ModelGateError              4   a model, alias or feature set is not fit for use
    │   └── AliasMoved              4   somebody else moved an alias since it was read
    ├── NoNewData                   5   there is nothing to do
    ├── BudgetExceeded              6   going on would cost more than allowed
    ├── LeaseHeld                  75   another run is working on this pipeline
    ├── PublishError                1   tables could not be published together
    └── FrameError                  1   a frame given to a library call lacks what it needs

A message says what was given, what was expected and what to do next. The parts stay on the error as
attributes, and every error survives pickling, because Spark sends errors between processes.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class FeaturelibError(Exception):
    """Base of all errors raised on purpose by this library.

    Args:
        given: what was found, as the user wrote it.
        expected: what would have been right.
        action: what to do next, as an imperative sentence.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, given: str, expected: str = "", action: str = "") -> None:
        self.given = given
        self.expected = expected
        self.action = action
        super().__init__(given, expected, action)

    def __str__(self) -> str:
        parts = [self.given]
        if self.expected:
            parts.append(f"expected: {self.expected}")
        if self.action:
            parts.append(f"to do: {self.action}")
        return "\n  ".join(parts)


class ConfigError(FeaturelibError):
    """A configuration file, key, value or command-line argument is wrong."""

    exit_code = 2


class PreconditionError(ConfigError):
    """Java, a package, a JAR, the disk or a server is not as the program needs it."""


class InputError(FeaturelibError):
    """A landed file cannot be taken as it is; nothing was written."""

    exit_code = 3


class QualityGateError(FeaturelibError):
    """The share of good rows is below the declared gate; nothing was published."""

    exit_code = 3


class ModelGateError(FeaturelibError):
    """A model, an alias or a feature set is not fit for the use asked of it."""

    exit_code = 4


class AliasMoved(ModelGateError):  # noqa: N818 - named as operators say it
    """An alias of a model is no longer where it was when the decision to move it was taken."""


class NoNewData(FeaturelibError):  # noqa: N818 - a state the scheduler asks about, not a fault
    """There is nothing to do."""

    exit_code = 5


class BudgetExceeded(FeaturelibError):  # noqa: N818 - named as operators say it
    """Going on would cost more than the run was allowed."""

    exit_code = 6


class LeaseHeld(FeaturelibError):  # noqa: N818 - named as operators say it
    """Another run holds the lease of this pipeline."""

    exit_code = 75


class PublishError(FeaturelibError):
    """Tables could not be verified or published together."""


class FrameError(FeaturelibError):
    """A frame handed to a library call lacks a column, or has one of the wrong type."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the closest known name, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""
