"""Which training sets were audited for leaks, and what was found: the table ``ops.leak_audits``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from featurelib.pipeline.schemas import struct
from featurelib.specs import Project
from featurelib.tables import Stamp, Store, append_ops, rows_of

if TYPE_CHECKING:
    from featurelib.pipeline.audit_leaks import Audit

AUDITS = "ops.leak_audits"
_SCHEMA = struct(
    number="int",
    training="string", version="long", rows="long", features="long", best="string", best_auc="double",
    leaks="string",
)  # fmt: skip


def note_audit(project: Project, store: Store, audit: Audit, *, version: int) -> None:
    """Write down what an audit of a version of the training set found; empty ``leaks`` are good."""
    training = f"training.{project.name}"
    name, area = audit.best or (None, None)
    number = 1 + max((row["number"] for row in _noted(store)), default=0)
    row = {
        "number": number,
        "training": training,
        "version": version,
        "rows": audit.rows,
        "features": audit.features,
        "best": name,
        "best_auc": area,
        "leaks": "; ".join(audit.leaks),
    }
    stamp = Stamp(f"audit-leaks-{number}", project.name, 0)
    append_ops(store, AUDITS, [row], schema=_SCHEMA, stamp=stamp)


def last_audit(store: Store, training: str, version: int) -> dict[str, Any] | None:
    """Return the newest audit of a version of a training set, None where it was not audited."""
    rows = [row for row in _noted(store) if (row["training"], row["version"]) == (training, version)]
    return max(rows, key=lambda row: int(row["number"]), default=None)


def _noted(store: Store) -> list[dict[str, Any]]:
    return list(rows_of(store, AUDITS)) if AUDITS in store.tables() else []
