"""How the rows of a table lie in files: how large these are, and which rows stand together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from featurelib.tables.files import DataFile

if TYPE_CHECKING:
    from delta.tables import DeltaTable

_MIB = 1 << 20
_MIN = "spark.databricks.delta.optimize.minFileSize"
_MAX = "spark.databricks.delta.optimize.maxFileSize"


@dataclass(frozen=True)
class Layout:
    """What OPTIMIZE makes of a table.

    Attributes:
        file_mib: the size that files shall have.
        small_files: so many files smaller than a quarter of that, in one partition, are worth merging.
        cluster_by: columns whose neighbouring values shall stand together (Z-order); none for as they came.
        where: predicate over partitions, None for all.
    """

    file_mib: int = 128
    small_files: int = 8
    cluster_by: tuple[str, ...] = ()
    where: str | None = None

    @property
    def conf(self) -> dict[str, str]:
        """Settings of the session that runs OPTIMIZE."""
        return {_MIN: str(self.file_mib * _MIB), _MAX: str(self.file_mib * _MIB)}

    def optimize(self, table: DeltaTable) -> None:
        """Run OPTIMIZE.

        Delta sorts every file of the partitions anew for a Z-order, whether it was sorted or not, so
        ``where`` should name those alone that have new files.
        """
        builder = table.optimize()
        if self.where is not None:
            builder = builder.where(self.where)
        if self.cluster_by:
            builder.executeZOrderBy(*self.cluster_by)
        else:
            builder.executeCompaction()

    def crowded(self, files: Iterable[DataFile]) -> list[Mapping[str, Any]]:
        """Return the partitions that have many files smaller than a file should be."""
        small: dict[str, int] = {}
        partitions: dict[str, Mapping[str, Any]] = {}
        for file in files:
            if file.size_bytes < self.file_mib * _MIB // 4:
                name = repr(sorted(file.partition.items()))
                partitions[name] = file.partition
                small[name] = small.get(name, 0) + 1
        return [partitions[name] for name, count in small.items() if count >= self.small_files]


def in_partitions(partitions: Iterable[Mapping[str, Any]]) -> str | None:
    """Return the predicate that holds in some partitions alone, None where the table has none."""
    terms = [
        " AND ".join(_equal(name, value) for name, value in sorted(partition.items()))
        for partition in partitions
    ]
    return None if not terms or "" in terms else " OR ".join(f"({term})" for term in terms)


def _equal(name: str, value: object) -> str:
    if value is None:
        return f"`{name}` IS NULL"
    text = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"`{name}` = '{text}'"
