"""Delta tables that change together or not at all: leases, stamped commits, manifests, recovery."""

from __future__ import annotations

from featurelib.tables.arrow_rows import read_arrow
from featurelib.tables.changes import FileChanges, changed_files, is_readable
from featurelib.tables.content import content_hash
from featurelib.tables.faults import InjectedFault, fault_point
from featurelib.tables.files import DataFile, read_rows
from featurelib.tables.keeping import Keeping, Pin, Share, keeping, owner
from featurelib.tables.layouts import Layout, in_partitions
from featurelib.tables.lease import Holder, Lease, acquire
from featurelib.tables.log import Commit, Stamp
from featurelib.tables.maintain import Compaction, compact, sweep
from featurelib.tables.manifests import Manifest
from featurelib.tables.ops import append_ops, compact_ops, diaries, rewrite_ops
from featurelib.tables.purge import Erased, erased_by, erasure_mark, purge
from featurelib.tables.runs import ALL, Run, begin_run
from featurelib.tables.small import rows_of
from featurelib.tables.snapshots import Snapshot, snapshot
from featurelib.tables.store import (
    Store,
    current_version,
    every_manifest,
    published,
    published_version,
    read,
    table_properties,
)
from featurelib.tables.turns import turn

__all__ = [
    "ALL",
    "Commit",
    "Compaction",
    "DataFile",
    "Erased",
    "FileChanges",
    "Holder",
    "InjectedFault",
    "Keeping",
    "Layout",
    "Lease",
    "Manifest",
    "Pin",
    "Run",
    "Share",
    "Snapshot",
    "Stamp",
    "Store",
    "acquire",
    "append_ops",
    "begin_run",
    "changed_files",
    "compact",
    "compact_ops",
    "content_hash",
    "current_version",
    "diaries",
    "erased_by",
    "erasure_mark",
    "every_manifest",
    "fault_point",
    "in_partitions",
    "is_readable",
    "keeping",
    "owner",
    "published",
    "published_version",
    "purge",
    "read",
    "read_arrow",
    "read_rows",
    "rewrite_ops",
    "rows_of",
    "snapshot",
    "sweep",
    "table_properties",
    "turn",
]
