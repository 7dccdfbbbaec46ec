"""Kernels that read numbers and texts out of bytes, eight at a time.

Words of eight bytes are read as in D. Lemire, "Number parsing at a gigabyte per second" (2021), and H. Warren,
"Hacker's Delight" (2012), chapter 6. An address is an integer that nobody checks: behind the bytes of which some are
read `PADDING` has to stand.
"""

import math
from typing import Any, Final

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from detector.state.compiled import kernel

PADDING: Final = bytes(64)
"""Behind the last line: no key and no text runs over its end, and zero bytes end either."""

_u64 = np.uint64

# --- eight bytes at a time ---


def _load(_: Any, address: Any) -> Any:
    """The eight bytes from ``address`` on, little end first; they need not begin at a multiple of eight."""

    def build(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], context.get_value_type(types.uint64).as_pointer())
        return builder.load(pointer, align=1)

    return types.uint64(types.int64), build


load: Any = intrinsic(_load)


@kernel
def byte(at: Any) -> Any:
    """The byte there."""
    return np.int64(load(at) & _BYTE)


_ONES: Final = _u64(0x0101010101010101)
_HIGHS: Final = _u64(0x8080808080808080)
_QUOTES: Final = _u64(0x2222222222222222)
_BACKSLASHES: Final = _u64(0x5C5C5C5C5C5C5C5C)
_SPACES: Final = _u64(0x2020202020202020)
_ZEROS: Final = _u64(0x3030303030303030)
_ABOVE_NINE: Final = _u64(0x7676767676767676)  # what makes a byte above 9 reach its highest bit
_PLACES: Final = _u64(0x0001020304050607)  # shifted by i bytes, i stands on top
_PAIRS: Final = _u64(0x0F0F0F0F0F0F0F0F)
_QUADS: Final = _u64(0x00FF00FF00FF00FF)
_OCTETS: Final = _u64(0x0000FFFF0000FFFF)
_BY_10, _BY_100, _BY_10000 = _u64(2561), _u64(6553601), _u64(42949672960001)
_BYTE, _LOW = _u64(0xFF), _u64(0xFFFFFFFF)
ZERO_BITS, _1, _7, _8, _16, _32, _56 = (_u64(shift) for shift in (0, 1, 7, 8, 16, 32, 56))
_TENS: Final = np.array([10**digits for digits in range(9)], dtype=_u64)
HEADS: Final = np.array([(1 << 8 * size) - 1 for size in range(9)], dtype=_u64)

QUOTE, COMMA, _DOT, _ZERO, BRACKET, END_BRACKET, BRACE, END_BRACE = b'",.0[]{}'
MINUS, _PLUS, _E, LOWER, A, Z, TAB, LINE_FEED = b"-+e az\t\n"


@kernel
def first_mark(marks: Any) -> Any:
    """Which byte has the lowest mark; there is one."""
    return np.int64((((marks & (~marks + _1)) >> _7) * _PLACES) >> _56)


@kernel
def text_end(at: Any) -> Any:
    """Where the quote stands that ends a plain text; -1 when an escape, a control or no ASCII stands before."""
    while True:
        word = load(at)
        quote = word ^ _QUOTES
        marks = (((quote - _ONES) & ~quote) | _unusual(word)) & _HIGHS
        if marks != ZERO_BITS:
            end = at + first_mark(marks)
            return end if byte(end) == QUOTE else -1
        at += 8


@kernel
def cell_end(at: Any) -> Any:
    """Where the control stands that ends a plain cell, a tab or a line feed; -1 for another, an escape, no ASCII."""
    while True:
        marks = _unusual(load(at)) & _HIGHS
        if marks != ZERO_BITS:
            end = at + first_mark(marks)
            return end if byte(end) == TAB or byte(end) == LINE_FEED else -1
        at += 8


@kernel
def _unusual(word: Any) -> Any:
    """The highest bit of each byte that is a backslash, a control or no ASCII.

    A byte that is 0 borrows: exact up to and with the first, and no more is asked for.
    """
    backslash = word ^ _BACKSLASHES
    return ((backslash - _ONES) & ~backslash) | ((word - _SPACES) & ~word) | word


@kernel
def digits(at: Any, number: Any) -> Any:
    """(number with all digits from ``at`` on appended, where they end); wraps above 64 bits."""
    while True:
        word = load(at) ^ _ZEROS
        marks = ((word + _ABOVE_NINE) | word) & _HIGHS
        size = first_mark(marks) if marks != ZERO_BITS else 8
        if size == 0:
            return number, at
        word <<= _u64(8 * (8 - size))
        word = ((word & _PAIRS) * _BY_10) >> _8
        word = ((word & _QUADS) * _BY_100) >> _16
        number = number * _TENS[size] + (((word & _OCTETS) * _BY_10000) >> _32)
        at += size
        if size < 8:
            return number, at


# --- floats as a correct parser reads them ---

_EXACT: Final = _u64(1 << 53)
_EXACT_TENS: Final = 22  # 10**22 is the greatest power of ten that is a double
_POWERS: Final = np.array([10.0**power for power in range(_EXACT_TENS + 1)])
_SMALLEST: Final = 40  # digits behind the point, less the exponent
_DIGITS: Final = 19  # that fit 64 bits without a sign
_NINE: Final = _u64(0x1FF)
_SHIFT_9, _SHIFT_63 = _u64(9), _u64(63)


def _reciprocals() -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """5**-n as ``factor * 2**-shift`` with 64 bits, cut off; the second array is what `rounded` makes of the shift."""
    shifts = [63 if n == 0 else 63 + (5**n).bit_length() for n in range(_SMALLEST + 1)]
    factors = [(1 << shift) // 5**n for n, shift in enumerate(shifts)]
    return np.array(factors, dtype=_u64), np.array([74 - shift - n for n, shift in enumerate(shifts)])


_FACTORS, _EXPONENTS = _reciprocals()


@kernel
def _high(a: Any, b: Any) -> Any:
    """The upper half of the 128-bit product (Warren, 8-2)."""
    a0, a1, b0, b1 = a & _LOW, a >> _32, b & _LOW, b >> _32
    middle = a1 * b0 + ((a0 * b0) >> _32)
    return a1 * b1 + (middle >> _32) + ((a0 * b1 + (middle & _LOW)) >> _32)


@kernel
def rounded(number: Any, power: Any) -> Any:
    """The double next to number * 10**power (W. Clinger 1990; M. Eisel and D. Lemire), or NaN where this is not sure.

    The factor is cut off, so the true product lies less than one above ``upper``: bits 9 and higher are right unless
    the nine below are all set, and it is no tie unless they are all clear.
    """
    if number <= _EXACT and -_EXACT_TENS <= power <= _EXACT_TENS:
        value = np.float64(number)
        return value * _POWERS[power] if power > 0 else value / _POWERS[-power]
    if number == ZERO_BITS or not -_SMALLEST <= power <= 0:
        return np.nan
    exponent = _EXPONENTS[-power]
    while number >> _SHIFT_63 == ZERO_BITS:
        number <<= _1
        exponent -= 1
    upper = _high(number, _FACTORS[-power])
    if upper & _NINE == ZERO_BITS or upper & _NINE == _NINE:
        return np.nan
    top = upper >> _SHIFT_63
    mantissa = upper >> (top + _SHIFT_9)
    shift: Any = np.int32(exponent + np.int64(top))
    return math.ldexp(np.float64((mantissa + (mantissa & _1)) >> _1), shift)


@kernel
def real(at: Any) -> Any:
    """(the number from ``at`` on, where it ends): not negative, as JSON wants it; -1 when it is none of these."""
    number, end = digits(at, ZERO_BITS)
    if end == at or (byte(at) == _ZERO and end > at + 1):
        return np.nan, -1
    point, power = end, 0
    if byte(end) == _DOT:
        number, end = digits(point + 1, number)
        power = point + 1 - end
        if power == 0:
            return np.nan, -1
    lead = at
    while byte(lead) == _ZERO or byte(lead) == _DOT:
        lead += 1
    if end - lead > (_DIGITS + 1 if lead < point < end else _DIGITS):
        return np.nan, -1
    if byte(end) | LOWER == _E:
        sign = byte(end + 1)
        begin = end + 2 if sign in (MINUS, _PLUS) else end + 1
        exponent, end = digits(begin, ZERO_BITS)
        if not 1 <= end - begin <= 3:
            return np.nan, -1
        shift: Any = np.int64(exponent)
        power += -shift if sign == MINUS else shift
    return rounded(number, power), end


@kernel
def integer(at: Any, limit: Any) -> Any:
    """(a whole number from ``at`` on, where it ends); -1 when it is none, or above the limit, at most 2**63 - 1."""
    number, end = digits(at, ZERO_BITS)
    size = end - at
    good = 0 < size <= _DIGITS and (size == 1 or byte(at) != _ZERO) and number <= limit
    return np.int64(number), end if good else -1
