"""Folders and files by their paths or URIs, as Arrow opens them, local or in an object store."""

from __future__ import annotations

from pyarrow import fs

__all__ = ["located"]


def located(address: str) -> tuple[fs.FileSystem, str]:
    """Return the file system of an absolute path or URI, and the path there.

    Hadoop's ``s3a`` and ``s3n`` are the ``s3`` of everybody else.
    """
    scheme, separator, rest = address.partition("://")
    known = "s3" if separator and scheme in {"s3a", "s3n"} else scheme
    filesystem, path = fs.FileSystem.from_uri(f"{known}{separator}{rest}")
    return filesystem, path
