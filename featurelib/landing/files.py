"""Which files have landed, by table and day."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path

from pyarrow import fs

from featurelib.addresses import located
from featurelib.errors import ConfigError, InputError

_NAME = re.compile(r"(\d{4}-\d{2}-\d{2})\.csv(\.gz|\.zst|\.bz2)?")


@dataclass(frozen=True, order=True)
class LandedFile:
    """A file of the landing folder.

    Attributes:
        day: the day it stands for, from its name.
        name: its path below the landing root, as rows remember it.
        uri: where tasks read it.
        bytes: its size.
    """

    day: date
    name: str
    uri: str
    bytes: int


def landed_files(root: str, folder: str) -> list[LandedFile]:
    """Return the files of one table in order of day.

    Args:
        root: the landing root, a local path or a URI that every worker can reach.
        folder: the table's folder below it.

    Raises:
        ConfigError: the folder does not exist.
        InputError: a file is not named by its day, two files stand for one day, or a link leads elsewhere.
    """
    files, base = located(root)
    place = f"{base}/{folder}"
    found = files.get_file_info(place)
    if found.type != fs.FileType.Directory:
        raise ConfigError(
            f"no landing folder {root}/{folder}",
            f"a folder with files named YYYY-MM-DD.csv.gz below {root}",
            "create it, or set landing in conf/ or with -c landing=FOLDER",
        )
    prefix = root.rstrip("/")
    landed = []
    for info in files.get_file_info(fs.FileSelector(place)):
        if info.base_name.startswith((".", "_")):
            continue
        name = f"{folder}/{info.base_name}"
        if isinstance(files, fs.LocalFileSystem):
            _refuse_elsewhere(Path(place), Path(info.path), name)
        landed.append(LandedFile(_day(name, info.base_name), name, f"{prefix}/{name}", info.size))
    _refuse_same_day(sorted(landed))
    return sorted(landed)


def _day(name: str, base_name: str) -> date:
    match = _NAME.fullmatch(base_name)
    try:
        return date.fromisoformat(match[1] if match else "")
    except ValueError:
        raise InputError(
            f"landed file {name!r}",
            "a name such as 2013-01-31.csv.gz",
            "rename it or take it out of the folder",
        ) from None


def _refuse_elsewhere(folder: Path, path: Path, name: str) -> None:
    """Refuse a link by which a file from anywhere would be loaded."""
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(
            f"landed file {name!r} is a link to {path.resolve()}",
            f"a file that lies in {folder}",
            "copy the file there in place of the link",
        )


def _refuse_same_day(landed: Sequence[LandedFile]) -> None:
    for first, second in pairwise(landed):
        if first.day == second.day:
            raise InputError(
                f"{first.name!r} and {second.name!r} both stand for {first.day}",
                "one file a table and day",
                "take one of them out of the folder",
            )
