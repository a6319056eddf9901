"""Sums of floats over ranges, exact and therefore independent of order, batches and partitions.

Every double is a whole number times a power of two. It is cut on a fixed grid into limbs of 32 bits, the
limbs are summed as integers, and only the finished sum is rounded to a double, once. A value that left a
window leaves no trace, however large it was. The idea is that of the long accumulator (Kulisch, "Computer
Arithmetic and Validity", 2013), applied to difference arrays.

Runs inside Spark's Python workers: it imports numpy only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_LIMB_BITS = 32
_FEW = 1 << 22  # so many whole numbers below 2**31 add up to less than 2**53
_SHORT_RANGE = 4
_LIMB_MASK = np.uint64(0xFFFFFFFF)
_SPLITTER = 134217729.0  # 2**27 + 1, Dekker's constant for doubles


class Double2(NamedTuple):
    """A sum of two doubles, ``high + low``, about 106 bits wide."""

    high: Floats
    low: Floats


def range_sums(values: Floats, starts: Ints, ends: Ints, size: int) -> Double2:
    """Return, for each of ``size`` places, the sum of the values whose ``[start, end)`` covers it.

    Values must be finite. The sum is exact and rounded once to 106 bits, so ``high`` is the double
    nearest to it.
    """
    if _are_small_whole_numbers(values):
        return _split(running_total(values.astype(np.int64), starts, ends, size))
    return _rounded(_limb_sums(values, starts, ends, size), size)


def parts(values: Floats, place: Ints, size: int) -> tuple[Ints, Floats]:
    """Return doubles that add up to exactly the sum of the values of each place, and the place of each.

    Values must be finite. A place whose sum is 0 has none. The doubles of a place have one sign.
    """
    if len(values) == 0:
        return np.zeros(0, np.int64), np.zeros(0)
    if _are_small_whole_numbers(values) and len(values) < _FEW:
        total = running_total(values.astype(np.int64), place, place + 1, size)
        places = np.flatnonzero(total)
        return places, total[places].astype(np.float64)
    negative, digits = _canonical(_limb_sums(values, place, place + 1, size), size)
    owners, found = [], []
    for position, digit in digits.items():
        places = np.flatnonzero(digit)
        sign = np.where(negative[places], -1.0, 1.0)
        owners.append(places)
        found.append(sign * np.ldexp(digit[places].astype(np.float64), _LIMB_BITS * position))
    return np.concatenate(owners), np.concatenate(found)


def squares(values: Floats) -> tuple[Floats, Floats]:
    """Return ``(high, low)`` with ``high + low`` exactly the square of each value (Dekker, 1971)."""
    high = values * values
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = values * _SPLITTER
        head = scaled - (scaled - values)
        tail = values - head
        low = ((head * head - high) + 2.0 * head * tail) + tail * tail
    return high, np.where(np.isfinite(low), low, 0.0)


def running_total(values: Ints, starts: Ints, ends: Ints, size: int) -> Ints:
    """Return, for each place, the sum of the integers whose ``[start, end)`` covers it."""
    change = np.zeros(size + 1, dtype=np.int64)
    np.add.at(change, starts, values)
    np.subtract.at(change, ends, values)
    return np.cumsum(change[:size])


def times(left: Double2, right: Double2) -> Double2:
    """Return the product to about 104 bits."""
    high, low = _product(left.high, right.high)
    return _renormalised(high, low + (left.high * right.low + left.low * right.high))


def minus(left: Double2, right: Double2) -> Double2:
    """Return the difference to about 104 bits."""
    high, low = _two_sum(left.high, -right.high)
    return _renormalised(high, low + (left.low - right.low))


def _are_small_whole_numbers(values: Floats) -> bool:
    if len(values) == 0:
        return True
    return bool(np.abs(values).max() < 2.0**31 and (values == np.rint(values)).all())


def _split(totals: Ints) -> Double2:
    high = totals.astype(np.float64)
    return Double2(high, (totals - high.astype(np.int64)).astype(np.float64))


def _limb_sums(values: Floats, starts: Ints, ends: Ints, size: int) -> dict[int, Ints]:
    """Return the exact sum at each place as limbs: sum of ``limbs[k] * 2**(32 * k)``."""
    mantissa, exponent = np.frexp(values)
    whole = np.ldexp(np.abs(mantissa), 53).astype(np.uint64)
    position, shift = np.divmod(exponent.astype(np.int64) - 53, _LIMB_BITS)
    shift = shift.astype(np.uint64)
    sign = np.where(values < 0, np.int64(-1), np.int64(1))
    parts = (
        (whole << shift) & _LIMB_MASK,
        (whole >> (np.uint64(_LIMB_BITS) - shift)) & _LIMB_MASK,
        (whole >> (np.uint64(2 * _LIMB_BITS - 1) - shift)) >> np.uint64(1),
    )
    at_place = {int(place): position == place for place in _distinct(position)}
    limbs: dict[int, Ints] = {}
    for offset, part in enumerate(parts):
        signed = part.astype(np.int64) * sign
        for place, chosen in at_place.items():
            there = signed if len(at_place) == 1 else signed * chosen
            if there.any():
                total = running_total(there, starts, ends, size)
                key = place + offset
                limbs[key] = limbs[key] + total if key in limbs else total
    return limbs


def _distinct(position: Ints) -> Ints:
    """Return the distinct positions; their range where it is short, which needs no search."""
    first, last = int(position.min()), int(position.max())
    return np.arange(first, last + 1) if last - first < _SHORT_RANGE else np.unique(position)


def _rounded(limbs: dict[int, Ints], size: int) -> Double2:
    """Round limb sums to 106 bits."""
    negative, digits = _canonical(limbs, size)
    high, low, rest = np.zeros(size), np.zeros(size), np.zeros(size)
    for place, digit in reversed(digits.items()):
        high, error = _two_sum(high, np.ldexp(digit.astype(np.float64), _LIMB_BITS * place))
        low, lost = _two_sum(low, error)
        rest += lost
        high, low = _two_sum(high, low)
    sign = np.where(negative, -1.0, 1.0)
    high, low = _past_ties(high, low, rest)
    return Double2(sign * high, sign * low)


def _canonical(limbs: dict[int, Ints], size: int) -> tuple[npt.NDArray[np.bool_], dict[int, Ints]]:
    """Return the one form that equal sums have: which are negative, and digits below 2**32, rising."""
    if not limbs:
        return np.zeros(size, dtype=bool), {}
    lowest = min(limbs)
    digits = [limbs.get(place, np.zeros(size, np.int64)) for place in range(lowest, max(limbs) + 1)]
    top = _carried(digits)
    negative = top < 0
    digits = [np.where(negative, -digit, digit) for digit in digits]
    top = np.where(negative, -top, top) + _carried(digits)
    return negative, dict(enumerate([*digits, top], start=lowest))


def _past_ties(high: Floats, low: Floats, rest: Floats) -> tuple[Floats, Floats]:
    """Where ``low`` is half a unit of ``high``, let the sign of what lies below it decide the rounding."""
    up = (rest > 0) & (low > 0) & (2.0 * low == np.spacing(high))
    down = (rest < 0) & (low < 0) & (-2.0 * low == np.spacing(np.nextafter(high, 0.0)))
    rounded = np.where(up, np.nextafter(high, np.inf), np.where(down, np.nextafter(high, 0.0), high))
    return rounded, low + (high - rounded)


def _carried(digits: list[Ints]) -> Ints:
    """Bring every digit into ``[0, 2**32)`` in place and return what is carried out at the top."""
    carry = np.zeros_like(digits[0])
    for index, digit in enumerate(digits):
        total = digit + carry
        carry = total >> _LIMB_BITS
        digits[index] = total & np.int64(_LIMB_MASK)
    return carry


def _two_sum(left: Floats, right: Floats) -> tuple[Floats, Floats]:
    total = left + right
    shadow = total - left
    return total, (left - (total - shadow)) + (right - shadow)


def _product(left: Floats, right: Floats) -> tuple[Floats, Floats]:
    product = left * right
    left_scaled, right_scaled = left * _SPLITTER, right * _SPLITTER
    left_head = left_scaled - (left_scaled - left)
    right_head = right_scaled - (right_scaled - right)
    left_tail, right_tail = left - left_head, right - right_head
    error = (left_head * right_head - product) + left_head * right_tail
    return product, (error + left_tail * right_head) + left_tail * right_tail


def _renormalised(high: Floats, low: Floats) -> Double2:
    total = high + low
    return Double2(total, low - (total - high))
