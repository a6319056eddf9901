"""What the features looked like when the models were trained: a small table that monitoring compares with."""

from __future__ import annotations

from pyspark.sql import functions as F
from pyspark.sql import types as T

from featurelib.derived import feature_names
from featurelib.monitoring.drift import Binned, reference_bins
from featurelib.pipeline.context import Context
from featurelib.pipeline.schemas import struct
from featurelib.specs import SPLIT
from featurelib.tables import Run, rows_of, snapshot

_REFERENCE = struct(column="string", bin="int", upper="double", rows="long")
_SAMPLE_ROWS = 30_000


def write_reference(context: Context, run: Run) -> None:
    """Replace the reference by that of the training rows the run has written.

    Grain: one row a numeric feature and bin, with the bin's upper edge (null for the last bin, and for bin
    -1 of nulls and NaN) and its rows. At most about 30,000 training rows are looked at, chosen by a hash of
    their key, so that the same training set has the same reference.
    """
    training = run.read(context.names.training)
    features = feature_names(context.project)
    numeric = [name for name in features if isinstance(training.schema[name].dataType, T.NumericType)]
    version = run.versions[context.names.training]
    size = snapshot(context.store, context.names.training, version).num_records or 0
    chosen = F.pmod(F.xxhash64(*context.project.spine.key), F.lit(max(1, size // _SAMPLE_ROWS))) == 0
    sample = training.where((F.col(SPLIT) == "train") & chosen).select(*numeric).toArrow()
    rows = [
        {"column": name, "bin": index, "upper": upper, "rows": binned.rows.get(index, 0)}
        for name, binned in reference_bins(sample, numeric).items()
        for index, upper in [(-1, None), *enumerate([*binned.edges, None])]
    ]
    table = context.names.training_reference
    run.create(table, _REFERENCE, description="How the numeric features were distributed in training.")
    run.replace_rows(rows, table)


def reference(context: Context) -> dict[str, Binned]:
    """Return the published reference of every numeric feature."""
    rows = sorted(
        rows_of(context.store, context.names.training_reference), key=lambda row: (row["column"], row["bin"])
    )
    columns = dict.fromkeys(row["column"] for row in rows)
    return {
        name: Binned(
            tuple(row["upper"] for row in rows if row["column"] == name and row["upper"] is not None),
            {row["bin"]: row["rows"] for row in rows if row["column"] == name},
        )
        for name in columns
    }
