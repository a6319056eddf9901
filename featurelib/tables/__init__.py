"""Delta tables that change together or not at all: leases, stamped commits, manifests, recovery."""

from __future__ import annotations

from featurelib.tables.arrow_rows import read_arrow
from featurelib.tables.changes import FileChanges, changed_files, is_readable
from featurelib.tables.content import content_hash
from featurelib.tables.faults import InjectedFault, fault_point
from featurelib.tables.files import DataFile, read_rows
from featurelib.tables.lease import Holder, Lease, acquire
from featurelib.tables.log import Commit, Stamp
from featurelib.tables.maintain import Compaction, Vacuuming, compact, vacuum
from featurelib.tables.manifests import Manifest
from featurelib.tables.ops import append_ops
from featurelib.tables.runs import ALL, Run, begin_run
from featurelib.tables.small import rows_of
from featurelib.tables.snapshots import Snapshot, snapshot
from featurelib.tables.store import Store, current_version, published, published_version, read
from featurelib.tables.turns import turn

__all__ = [
    "ALL",
    "Commit",
    "Compaction",
    "DataFile",
    "FileChanges",
    "Holder",
    "InjectedFault",
    "Lease",
    "Manifest",
    "Run",
    "Snapshot",
    "Stamp",
    "Store",
    "Vacuuming",
    "acquire",
    "append_ops",
    "begin_run",
    "changed_files",
    "compact",
    "content_hash",
    "current_version",
    "fault_point",
    "is_readable",
    "published",
    "published_version",
    "read",
    "read_arrow",
    "read_rows",
    "rows_of",
    "snapshot",
    "turn",
    "vacuum",
]
