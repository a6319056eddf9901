"""Processes that commit to one table at once: what was acknowledged, and what its log and its rows say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from featurelib.tables import Store, log, rows_of
from tests.chaos import till, work
from tests.chaos.processes import Child, preload


@dataclass(frozen=True)
class Written:
    """What writers were told, what is there, and what of it is wrong.

    Attributes:
        exits: the exit code of each writer.
        acknowledged: versions that were given to a writer.
        in_log: versions of the log, without the one that made the table.
        rows: writer and number of each row.
        faults: in words.
    """

    exits: list[int]
    acknowledged: list[int]
    in_log: list[int]
    rows: list[tuple[str, str]]
    faults: list[str]


def written(folder: Path, *, writers: int, commits: int) -> Written:
    """Let so many processes commit so many rows each, one a commit."""
    preload("tests.chaos.work")
    store = Store(str(folder / "store"))
    children = [
        Child(folder / f"said{number}", work.writer, store.root, f"writer{number}", commits)
        for number in range(writers)
    ]
    exits = [child.exit_code() for child in children]
    notes = sorted(Path(store.root).glob("acknowledged-*"))
    acknowledged = sorted(int(line) for path in notes for line in path.read_text().split())
    versions = sorted(commit.version for commit in log.commits_after(store.path(till.DIARY), -1))
    rows = sorted((row["run_id"], row["step"]) for row in rows_of(store, till.DIARY))
    wanted = sorted((f"writer{n}", str(commit)) for n in range(writers) for commit in range(commits))
    checks = {
        f"exit codes {exits}": exits == [0] * writers,
        "versions given twice, or left out": acknowledged == list(range(1, writers * commits + 1)),
        "the log is not what was acknowledged": versions == [0, *acknowledged],
        "rows are lost or double": rows == wanted,
    }
    return Written(
        exits, acknowledged, versions[1:], rows, [said for said, holds in checks.items() if not holds]
    )
