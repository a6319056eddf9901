"""Decimals: exact sums and means, of 128-bit whole numbers in 32-bit limbs, and the nearest doubles.

Runs inside Spark's Python workers: it imports pyarrow and numpy only.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from featurelib.point_in_time.exact_sums import running_total
from featurelib.point_in_time.kernels import Bools, WindowRuns

_LIMB = np.int64(0xFFFFFFFF)
_BITS = np.int64(32)


def decimal_sum(runs: WindowRuns, values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Return the sum each place sees, null where it sees none.

    Args:
        runs: of the events.
        values: decimals (128 bits) without nulls.
        kind: the sum's decimal type, of the same scale.

    Raises:
        OverflowError: a sum has more digits than the type.
    """
    low, high = halves(values)
    parts = (low & _LIMB, (low >> _BITS) & _LIMB, high & _LIMB, high >> _BITS)
    totals = [running_total(part, runs.start, runs.end, runs.size) for part in parts]
    for limb in range(3):
        totals[limb + 1] += totals[limb] >> _BITS
        totals[limb] &= _LIMB
    size = np.abs(sum(total.astype(np.float64) * 2.0 ** (32 * place) for place, total in enumerate(totals)))
    if (size >= 10.0**kind.precision).any():
        message = f"a sum of decimals exceeds {kind}; cast the input to double or take a shorter window"
        raise OverflowError(message)
    words = np.stack([totals[0] | totals[1] << _BITS, totals[2] | totals[3] << _BITS], axis=1)
    return _decimals(words, kind, mask=runs.count == 0)


def decimal_mean(runs: WindowRuns, values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Return the mean each place sees, rounded half up to ``kind``, null where it sees none."""
    total = decimal_sum(runs, values, pa.decimal128(38, values.type.scale))
    count = pa.array(np.maximum(runs.count, 1)).cast(pa.decimal256(19, 0))
    exact = pc.divide(total.cast(pa.decimal256(38, values.type.scale)), count)
    return pc.round(exact, ndigits=kind.scale, round_mode="half_towards_infinity").cast(kind)


def as_doubles(values: pa.Array) -> pa.Array:
    """Return the double nearest to each decimal (128 bits), as Spark's cast gives it; null stays null.

    Arrow's own cast multiplies by a power of ten that no double holds, and may miss by one place.
    """
    scale = values.type.scale
    low, high = halves(values)
    # Whole numbers of up to 53 bits and powers of ten up to 22 are doubles: their quotient is rounded once.
    if 0 <= scale <= 22 and ((high == low >> np.int64(63)) & (low >= -(1 << 53)) & (low <= 1 << 53)).all():
        return pa.array(low / 10.0**scale, mask=values.is_null().to_numpy(zero_copy_only=False))
    return values.cast(pa.string()).cast(pa.float64())


def halves(values: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return the low and the high 64 bits of each decimal (128 bits)."""
    both = np.frombuffer(values.buffers()[1], dtype="<i8").reshape(-1, 2)
    chosen = both[values.offset : values.offset + len(values)]
    return chosen[:, 0], chosen[:, 1]


def _decimals(words: np.ndarray, kind: pa.DataType, *, mask: Bools) -> pa.Array:
    validity = pa.array(~mask).buffers()[1]
    return pa.Array.from_buffers(kind, len(words), [validity, pa.py_buffer(np.ascontiguousarray(words))])
