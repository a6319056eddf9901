"""The part of ``dbutils`` that a portable notebook needs, over local files and the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from featurelib.errors import ConfigError, nearest


class NotebookExit(BaseException):
    """``dbutils.notebook.exit``: not an Exception, so that a cell's own ``except`` does not catch it."""

    def __init__(self, value: str) -> None:
        super().__init__(value)
        self.value = value


class Widgets:
    """``dbutils.widgets``: a default the notebook gives, or the parameter in its place."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self.given = dict(given)
        self.values: dict[str, str] = {}

    def text(self, name: str, defaultValue: str = "", label: str | None = None) -> None:  # noqa: ARG002, N803
        """Take the parameter of that name, or the default."""
        self.values[name] = self.given.get(name, defaultValue)

    def dropdown(
        self,
        name: str,
        defaultValue: str,  # noqa: N803 - Databricks' name
        choices: Sequence[str],
        label: str | None = None,
    ) -> None:
        """Take the parameter or the default; it must be one of the choices."""
        self.text(name, defaultValue, label)
        if self.values[name] not in choices:
            raise ConfigError(
                f"parameter {name}={self.values[name]!r}",
                f"one of {', '.join(choices)}",
                "choose one of them",
            )

    combobox = text

    def get(self, name: str) -> str:
        """Return a widget's value."""
        if name not in self.values:
            raise ConfigError(
                f"widget {name!r} is not defined",
                f"one of {', '.join(self.values) or 'none yet'}.{nearest(name, self.values)}",
                "define it with dbutils.widgets.text first",
            )
        return self.values[name]

    def getAll(self) -> dict[str, str]:  # noqa: N802 - Databricks' name
        """Return every widget's value."""
        return dict(self.values)


class Files:
    """``dbutils.fs`` over local paths: what a notebook needs to look around, nothing that deletes."""

    def ls(self, path: str) -> list[FileInfo]:
        """List a folder, by name."""
        entries = sorted(Path(path.removeprefix("file:")).iterdir())
        return [
            FileInfo(str(one), one.name + "/" * one.is_dir(), 0 if one.is_dir() else one.stat().st_size)
            for one in entries
        ]

    def head(self, path: str, max_bytes: int = 65536) -> str:
        """Return the beginning of a file as text."""
        with Path(path.removeprefix("file:")).open("rb") as opened:
            return opened.read(max_bytes).decode(errors="replace")


@dataclass(frozen=True)
class FileInfo:
    """A file or folder as ``ls`` lists it."""

    path: str
    name: str
    size: int


class Secrets:
    """``dbutils.secrets`` from environment variables ``SCOPE_KEY``; values never appear in outputs."""

    def __init__(self) -> None:
        self.read: set[str] = set()

    def get(self, scope: str, key: str) -> str:
        """Return the value of environment variable ``SCOPE_KEY``."""
        variable = re.sub(r"\W", "_", f"{scope}_{key}").upper()
        if variable not in os.environ:
            raise ConfigError(f"secret {scope}/{key}", f"environment variable {variable}", "set it")
        self.read.add(os.environ[variable])
        return os.environ[variable]

    def redacted(self, text: str) -> str:
        """Return a text with every secret read so far blotted out."""
        for secret in filter(None, self.read):
            text = text.replace(secret, "[REDACTED]")
        return text


class Notebooks:
    """``dbutils.notebook``: leave with a value."""

    def exit(self, value: object) -> NoReturn:
        """Leave the notebook; the value becomes the result's ``exit_value``."""
        raise NotebookExit(str(value))


class Library:
    """``dbutils.library``: the environment is locked, so there is nothing to restart."""

    def restartPython(self) -> None:  # noqa: N802 - Databricks' name
        """Do nothing."""
        return


class Utilities:
    """``dbutils``, as the cells find it."""

    def __init__(self, parameters: Mapping[str, str]) -> None:
        self.widgets = Widgets(parameters)
        self.secrets = Secrets()
        self.fs = Files()
        self.notebook = Notebooks()
        self.library = Library()
