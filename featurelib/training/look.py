"""A look at the training rows on the driver: enough of them for statistics of single features and pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pyspark.sql import functions as F

from featurelib.training.columns import quoted

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

Floats = npt.NDArray[np.float64]
Texts = npt.NDArray[np.object_]
LOOK_ROWS = 20_000
"""How many rows are looked at; where there are fewer, all of them."""
ROW_HASH = "_row_hash"
"""A hash of each row's identity: it orders rows and decides which belong to a sample."""
_SAMPLE_STEPS = 1_000_000


def is_sampled(share: float) -> Column:
    """Return whether a row belongs to the sample of that share, by its ``ROW_HASH``."""
    return F.pmod(F.col(ROW_HASH), F.lit(_SAMPLE_STEPS)) < round(share * _SAMPLE_STEPS)


@dataclass(frozen=True)
class Look:
    """Rows as arrays of one length, ordered by their hash.

    Attributes:
        numbers: values by numeric feature, NaN where missing.
        categories: texts by category, None where missing.
        label: labels; None where rows have none.
        instants: microseconds since 1970 of each row's ``as_of_ts``; None where rows have none.
        is_complete: whether these are all rows there are.
    """

    numbers: dict[str, Floats]
    categories: dict[str, Texts]
    label: Floats | None
    instants: npt.NDArray[np.int64] | None
    is_complete: bool

    @property
    def names(self) -> list[str]:
        """Every feature looked at."""
        return [*self.numbers, *self.categories]

    def without(self, dropped: Sequence[str]) -> Look:
        """Return the look at the other features."""
        gone = frozenset(dropped)
        return Look(
            {name: values for name, values in self.numbers.items() if name not in gone},
            {name: values for name, values in self.categories.items() if name not in gone},
            self.label,
            self.instants,
            self.is_complete,
        )


def look_at(
    rows: DataFrame,
    *,
    numbers: Sequence[str],
    categories: Sequence[str],
    total: int,
    label: str = "",
    as_of: str = "",
) -> Look:
    """Collect up to about ``LOOK_ROWS`` rows, chosen by their hash, so the same whatever files held them.

    Args:
        rows: with ``ROW_HASH`` and the features.
        numbers: read as doubles; columns of this name.
        categories: read as texts.
        total: how many rows there are.
        label: the label column, "" for none.
        as_of: the column of the row's instant, "" for none.
    """
    share = min(1.0, LOOK_ROWS / max(total, 1))
    # Places, not names: a feature may be called like a column of ours.
    columns = [F.col(quoted(name)).cast("double").alias(f"n{place}") for place, name in enumerate(numbers)]
    columns += [
        F.col(quoted(name)).cast("string").alias(f"c{place}") for place, name in enumerate(categories)
    ]
    columns += [F.col(quoted(label)).cast("double").alias("label")] if label else []
    columns += [F.unix_micros(F.col(quoted(as_of)).cast("timestamp")).alias("instant")] if as_of else []
    found = (
        rows.where(is_sampled(share))
        .select(F.col(ROW_HASH).alias("hash"), *columns)
        .toPandas()
        .sort_values(["hash", *(f"n{place}" for place in range(len(numbers)))], kind="stable")
    )
    return Look(
        numbers={name: found[f"n{place}"].to_numpy(dtype=np.float64) for place, name in enumerate(numbers)},
        categories={
            name: np.array(
                [value if isinstance(value, str) else None for value in found[f"c{place}"]], dtype=object
            )
            for place, name in enumerate(categories)
        },
        label=found["label"].to_numpy(dtype=np.float64) if label else None,
        instants=found["instant"].to_numpy(dtype=np.int64) if as_of else None,
        is_complete=share == 1.0,
    )
