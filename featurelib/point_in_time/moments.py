"""Sums, means and moments of what each place sees, from exact sums, so that nothing depends on what has left.

Runs inside Spark's Python workers: it imports numpy only.
"""

from __future__ import annotations

import numpy as np

from featurelib.point_in_time import exact_sums
from featurelib.point_in_time.exact_sums import Double2
from featurelib.point_in_time.kernels import Array, Bools, Floats, Ints, WindowRuns

_MICROS_A_DAY = 86_400e6
_HALF = np.int64(32)
_LOW = np.int64(0xFFFFFFFF)
LARGEST = 1e64  # whose fourth power, times a window's rows to the fourth, is still a double
_SMALLEST_SPREAD = 1e-64


def integer_sum(runs: WindowRuns, values: Array) -> Ints:
    """Sum of integers; arbitrary where the count is 0.

    Raises:
        OverflowError: a sum does not fit a 64-bit integer.
    """
    whole = values.astype(np.int64)
    largest = float(np.abs(whole.astype(np.float64)).max(initial=0.0)) * float(runs.count.max(initial=0))
    if largest >= 2.0**62 and (np.abs(runs.float_sum(whole.astype(np.float64)).high) >= 2.0**63).any():
        message = "a sum of integers exceeds 64 bits; make the input a double or a shorter window"
        raise OverflowError(message)
    return runs.total(whole)


def mean(runs: WindowRuns, values: Array) -> Floats:
    """Arithmetic mean: the exact sum, rounded, by the count; arbitrary where the count is 0."""
    return runs.float_sum(values.astype(np.float64, copy=False)).high / np.maximum(runs.count, 1)


def variance(runs: WindowRuns, values: Array) -> Floats:
    """Sample variance, by exact sums and squares; arbitrary where the count is below 2."""
    doubles = values.astype(np.float64)
    finite = np.isfinite(doubles)
    squares = _sum(runs.only(finite), Double2(*exact_sums.squares(doubles[finite])))
    return variance_of(runs, doubles, squares)


def variance_of(runs: WindowRuns, values: Floats, squares: Double2) -> Floats:
    """Sample variance of values whose squares are summed already; arbitrary where the count is below 2."""
    finite = np.isfinite(values)
    total = runs.only(finite).float_sum(values[finite])
    rows = runs.count.astype(np.float64)
    spread = exact_sums.minus(_scaled(squares, rows), exact_sums.times(total, total)).high
    result: Floats = np.maximum(spread, 0.0) / np.maximum(rows * (rows - 1.0), 1.0)
    return _nan_where_seen(result, runs, ~finite)


def skewness(runs: WindowRuns, values: Array, center: Array) -> tuple[Floats, Bools]:
    """Return ``m3 / m2**1.5`` of the central moments, and where there is one; see :func:`_central`."""
    return _standardised(runs, values, center, power=3)


def kurtosis(runs: WindowRuns, values: Array, center: Array) -> tuple[Floats, Bools]:
    """Return ``m4 / m2**2 - 3`` of the central moments, and where there is one; see :func:`_central`."""
    result, present = _standardised(runs, values, center, power=4)
    return result - 3.0, present


def trend(runs: WindowRuns, values: Array, instants: Ints, center: Ints) -> tuple[Floats, Bools]:
    """Return the slope of the least-squares line of values over time, a day, and where there is one.

    There is none where all instants are equal. Instants are microseconds; ``center`` is one near them. NaN
    where a value is infinite or beyond 1e64.
    """
    doubles = values.astype(np.float64)
    fits = np.abs(doubles) < LARGEST
    kept, x, t = runs.only(fits), _exact(doubles[fits]), _difference(instants[fits], center[fits])
    rows = kept.count.astype(np.float64)
    sum_x, sum_t = _sum(kept, x), _sum(kept, t)
    sum_xt, sum_tt = _sum(kept, exact_sums.times(x, t)), _sum(kept, exact_sums.times(t, t))
    rise = exact_sums.minus(_scaled(sum_xt, rows), exact_sums.times(sum_x, sum_t)).high
    run = exact_sums.minus(_scaled(sum_tt, rows), exact_sums.times(sum_t, sum_t)).high
    slope: Floats = rise / np.where(run > 0.0, run, 1.0) * _MICROS_A_DAY
    present = runs.extreme(instants, smallest=True) < runs.extreme(instants, smallest=False)
    return _nan_where_seen(slope, runs, ~fits), present


def _standardised(runs: WindowRuns, values: Array, center: Array, *, power: int) -> tuple[Floats, Bools]:
    doubles = values.astype(np.float64)
    fits = np.abs(doubles) < LARGEST
    kept = runs.only(fits)
    second, higher = _central(kept, doubles[fits], center.astype(np.float64)[fits], power=power)
    least, most = (kept.extreme(doubles[fits], smallest=smallest) for smallest in (True, False))
    is_spread = (most - least > _SMALLEST_SPREAD) & (second > 0.0)
    result = higher / np.where(is_spread, second, 1.0) ** (power / 2)
    strange = runs.only(~fits).count > 0
    return np.where(strange, np.nan, result), is_spread | strange


def _central(runs: WindowRuns, values: Floats, center: Floats, *, power: int) -> tuple[Floats, Floats]:
    """Return ``n**2`` times the second and ``n**power`` times a higher central moment (3 or 4).

    Powers are taken of the differences from ``center``, a value near those of the entity, to 104 bits: the
    result is good to 12 digits while a window's mean lies within 1e6 (third) or 1e4 (fourth) times its
    standard deviation of the center. A spread below 1e-64 counts as none.
    """
    times, minus = exact_sums.times, exact_sums.minus
    off = minus(_exact(values), _exact(center))
    square = times(off, off)
    n = runs.count.astype(np.float64)
    one, two, three = _sum(runs, off), _sum(runs, square), _sum(runs, times(square, off))
    squared = times(one, one)
    second = minus(_scaled(two, n), squared).high
    if power == 3:
        mixed = minus(_scaled(times(one, two), 3.0 * n), _scaled(times(squared, one), 2.0))
        return second, minus(_scaled(three, n * n), mixed).high
    four = _sum(runs, times(square, square))
    even = minus(_scaled(times(squared, two), 6.0 * n), _scaled(times(squared, squared), 3.0))
    odd = minus(_scaled(four, n * n * n), _scaled(times(one, three), 4.0 * n * n))
    return second, minus(odd, minus(_exact(np.zeros_like(n)), even)).high


def _exact(values: Floats) -> Double2:
    return Double2(values, np.zeros_like(values))


def _scaled(sums: Double2, factor: Floats | float) -> Double2:
    return exact_sums.times(sums, _exact(np.full_like(sums.high, factor)))


def _sum(runs: WindowRuns, values: Double2) -> Double2:
    """Sum both parts of the values, exact but for one rounding."""
    both = WindowRuns(
        np.concatenate([runs.start, runs.start]), np.concatenate([runs.end, runs.end]), runs.size
    )
    return both.float_sum(np.concatenate([values.high, values.low]))


def _difference(instants: Ints, center: Ints) -> Double2:
    """Microseconds between instants, exact however far they lie apart."""
    high = ((instants >> _HALF) - (center >> _HALF)).astype(np.float64) * 2.0**32
    low = ((instants & _LOW) - (center & _LOW)).astype(np.float64)
    return exact_sums.minus(_exact(high), _exact(-low))


def _nan_where_seen(result: Floats, runs: WindowRuns, chosen: Bools) -> Floats:
    if chosen.any():
        result[runs.only(chosen).count > 0] = np.nan
    return result
