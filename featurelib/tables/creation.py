"""A table begins as an empty version 0 that carries every property, whatever lies in its folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deltalake import CommitProperties, DeltaTable

from featurelib.errors import FrameError
from featurelib.tables import log, schemas
from featurelib.tables.log import Stamp
from featurelib.tables.store import Store

if TYPE_CHECKING:
    from pyspark.sql.types import StructType


def create_empty(
    store: Store,
    table: str,
    schema: StructType,
    *,
    stamp: Stamp,
    partition_by: tuple[str, ...] = (),
    description: str = "",
) -> None:
    """Commit version 0 of a table unless it is there; the caller holds the table's lock.

    Written without Spark, which takes a hundred times as long and refuses a folder with stray files, as a
    killed run leaves them. Spark's schema JSON is the Delta protocol's, so both write the same table.
    """
    path = store.path(table)
    if log.newest_version(path) is not None:
        return
    DeltaTable.create(
        path,
        schema=log.delta_schema(schema),
        partition_by=list(partition_by),
        description=description or None,
        configuration=dict(store.properties),
        commit_properties=CommitProperties(custom_metadata={"userMetadata": stamp.to_json()}),
    )


def check_shape(store: Store, table: str, schema: StructType, partition_by: tuple[str, ...]) -> None:
    """Return quietly if the table has these columns and partitions.

    Raises:
        FrameError: it differs.
    """
    path = store.path(table)
    odd = schemas.differences(schema, log.table_schema(path))
    partitions = log.partition_columns(path)
    if partitions != partition_by:
        odd.append(f"partitions are {list(partition_by)}, not {list(partitions)}")
    if odd:
        raise FrameError(
            f"table {table!r} exists and differs from what was asked: {'; '.join(odd)}",
            "the columns and partitions it was created with",
            "call widen on the run to add columns; for any other change write a table of another name",
        )
