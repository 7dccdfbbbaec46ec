"""Kernels that read numbers and texts out of bytes, eight at a time.

Words of eight bytes are read as in D. Lemire, "Number parsing at a gigabyte per second" (2021), and H. Warren,
"Hacker's Delight" (2012), chapter 6. An address is an integer that nobody checks: behind the bytes of which some are
read `records.Lines.ROOM` more have to be there.
"""

import math
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from detector.state.compiled import inlined, kernel
from detector.state.wide import leading

_u64 = np.uint64

# --- eight bytes at a time ---


def _load(_: Any, address: Any) -> Any:
    """The eight bytes from ``address`` on, little end first; they need not begin at a multiple of eight."""

    def build(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], context.get_value_type(types.uint64).as_pointer())
        return builder.load(pointer, align=1)

    return types.uint64(types.int64), build


def _store(_: Any, address: Any, word: Any) -> Any:
    """Write eight bytes, as `_load` reads them."""

    def build(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], context.get_value_type(types.uint64).as_pointer())
        builder.store(arguments[1], pointer, align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.uint64), build


load: Any = intrinsic(_load)
store: Any = intrinsic(_store)

WIDE: Final = 32
"""Bytes that are looked at in one step where order does not matter: a register of AVX2, two of SSE2 or NEON."""
_VECTOR: Final = ir.VectorType(ir.IntType(8), WIDE)
_BITS: Final = ir.IntType(WIDE)


def _wide(builder: Any, address: Any) -> Any:
    return builder.load(builder.inttoptr(address, _VECTOR.as_pointer()), align=1)


def _all(value: int) -> Any:
    return ir.Constant(_VECTOR, [value] * WIDE)


def _differs(_: Any, left: Any, right: Any, mask: Any) -> Any:
    """Whether any of `WIDE` bytes differs in bits that are set at ``mask``; all three are addresses."""

    def build(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        one, other, which = (_wide(builder, address) for address in arguments)
        found = builder.icmp_unsigned("!=", builder.and_(builder.xor(one, other), which), _all(0))
        return builder.icmp_unsigned("!=", builder.bitcast(found, _BITS), ir.Constant(_BITS, 0))

    return types.boolean(types.int64, types.int64, types.int64), build


differs: Any = intrinsic(_differs)


def _until(marks: bytes) -> Any:
    """How many of the `WIDE` bytes from an address on come before one of ``marks``, a control or no ASCII."""

    def found(_: Any, address: Any) -> Any:
        def build(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
            text = _wide(builder, arguments[0])
            marked = builder.icmp_signed("<", text, _all(BLANK))  # no ASCII is negative
            for mark in marks:
                marked = builder.or_(marked, builder.icmp_unsigned("==", text, _all(mark)))
            bits = builder.bitcast(marked, _BITS)
            return builder.zext(builder.cttz(bits, ir.Constant(ir.IntType(1), 0)), ir.IntType(64))

        return types.int64(types.int64), build

    return intrinsic(found)


BLANK: Final = 0x20
_plain_text: Any = _until(b'"\\')
_plain_cell: Any = _until(b"\\")


@inlined
def byte(at: Any) -> Any:
    """The byte there."""
    return np.int64(load(at) & _BYTE)


_HIGHS: Final = _u64(0x8080808080808080)
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

QUOTE, COMMA, _DOT, ZERO, NINE, BRACKET, END_BRACKET, BRACE, END_BRACE = b'",.09[]{}'
BACKSLASH: Final = ord("\\")
MINUS, _PLUS, _E, LOWER, A, Z, TAB = b"-+e az\t"


@inlined
def first_mark(marks: Any) -> Any:
    """Which byte has the lowest mark; there is one."""
    return np.int64((((marks & (~marks + _1)) >> _7) * _PLACES) >> _56)


@inlined
def text_end(at: Any, stop: Any) -> Any:
    """Where the quote stands that ends a plain text; -1 when an escape, a control or no ASCII stands before."""
    while at < stop:
        size = _plain_text(at)
        if size < WIDE:
            return at + size if byte(at + size) == QUOTE else -1
        at += WIDE
    return -1


@kernel
def spelled_end(at: Any, stop: Any) -> Any:
    """Where the quote stands that ends a text with escapes or anything but ASCII in it; -1 when there is none before
    ``stop``, or a control in between. Whoever reads the text has to look whether it is one."""
    while at < stop and byte(at) != QUOTE:
        if byte(at) < BLANK:
            return -1
        at += 2 if byte(at) == BACKSLASH else 1
    return at if at < stop else -1


@kernel
def spelled_cell_end(at: Any, stop: Any) -> Any:
    """Where a cell with escapes or anything but ASCII in it ends, at a control or at ``stop``."""
    while at < stop and byte(at) >= BLANK:
        at += 1
    return at


@inlined
def cell_end(at: Any, stop: Any) -> Any:
    """Where a plain cell ends, at a control or at ``stop``; -1 for an escape, no ASCII, or an end not near ``stop``."""
    while at < stop:
        size = _plain_cell(at)
        if size < WIDE:
            return at + size if byte(at + size) < BLANK else -1
        at += WIDE
    return at if at == stop else -1


@inlined
def _eight(word: Any) -> Any:
    """The number that eight bytes of 0 to 9 are."""
    word = ((word & _PAIRS) * _BY_10) >> _8
    word = ((word & _QUADS) * _BY_100) >> _16
    return ((word & _OCTETS) * _BY_10000) >> _32


@inlined
def _no_digits(word: Any) -> Any:
    """Marks of the bytes that are above 9."""
    return ((word + _ABOVE_NINE) | word) & _HIGHS


@inlined
def _few(at: Any, size: Any) -> Any:
    """The bytes from ``at`` on, 1 to 8, less the digit zero, behind as many zeros as make them eight."""
    return (load(at) ^ _ZEROS) << _u64(8 * (8 - size))


@inlined
def digits(at: Any, number: Any) -> Any:
    """(number with the digits from ``at`` on appended, where they end); wraps above 64 bits. More than
    `_DIGITS_READ` end before their end, so that nobody can make a number of a whole buffer."""
    for _ in range(_DIGITS_READ // 8):
        word = load(at) ^ _ZEROS
        marks = _no_digits(word)
        size = first_mark(marks) if marks != ZERO_BITS else 8
        if size == 0:
            return number, at
        word <<= _u64(8 * (8 - size))
        number = number * _TENS[size] + _eight(word)
        at += size
        if size < 8:
            break
    return number, at


# --- floats as a correct parser reads them ---

_EXACT: Final = _u64(1 << 53)
_EXACT_TENS: Final = 22  # 10**22 is the greatest power of ten that is a double
_POWERS: Final = np.array([10.0**power for power in range(_EXACT_TENS + 1)])
_SMALLEST: Final = 40  # digits behind the point, less the exponent
_DIGITS_READ: Final = 32  # at once; behind them stands another digit, which nobody expects
_DIGITS: Final = 19  # that fit 64 bits without a sign
_NINE: Final = _u64(0x1FF)
_SHIFT_9, _SHIFT_63 = _u64(9), _u64(63)


def _reciprocals() -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """5**-n as ``factor * 2**-shift`` with 64 bits, cut off; the second array is what `rounded` makes of the shift."""
    shifts = [63 if n == 0 else 63 + (5**n).bit_length() for n in range(_SMALLEST + 1)]
    factors = [(1 << shift) // 5**n for n, shift in enumerate(shifts)]
    return np.array(factors, dtype=_u64), np.array([74 - shift - n for n, shift in enumerate(shifts)])


_FACTORS, _EXPONENTS = _reciprocals()


@inlined
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
    above = leading(number)
    exponent -= np.int64(above)
    upper = _high(number << above, _FACTORS[-power])
    if upper & _NINE == ZERO_BITS or upper & _NINE == _NINE:
        return np.nan
    top = upper >> _SHIFT_63
    mantissa = upper >> (top + _SHIFT_9)
    shift: Any = np.int32(exponent + np.int64(top))
    return math.ldexp(np.float64((mantissa + (mantissa & _1)) >> _1), shift)


@kernel
def _too_many(at: Any, point: Any, end: Any) -> Any:
    """Whether the digits from ``at`` to ``end``, of which those before ``point`` are whole, may not fit 64 bits."""
    while byte(at) == ZERO or byte(at) == _DOT:
        at += 1
    return end - at > (_DIGITS + 1 if at < point < end else _DIGITS)


@inlined
def real(at: Any) -> Any:
    """(the number from ``at`` on, where it ends): not negative, as JSON wants it; -1 when it is none of these."""
    number, end = digits(at, ZERO_BITS)
    if end == at or (byte(at) == ZERO and end > at + 1):
        return np.nan, -1
    point, power = end, 0
    if byte(end) == _DOT:
        number, end = digits(point + 1, number)
        power = point + 1 - end
        if power == 0:
            return np.nan, -1
    if end - at > _DIGITS and _too_many(at, point, end):
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


@inlined
def integer(at: Any, limit: Any) -> Any:
    """(a whole number from ``at`` on, where it ends); -1 when it is none, or above the limit, at most 2**63 - 1."""
    number, end = digits(at, ZERO_BITS)
    size = end - at
    good = 0 < size <= _DIGITS and (size == 1 or byte(at) != ZERO) and number <= limit
    return np.int64(number), end if good else -1


# --- values whose end is known ---

_SECONDS_FROM, _SECONDS_TO = _u64(10**9), _u64(2**31)
_MILLION, _HUNDRED_MILLION = _u64(10**6), _u64(10**8)


@inlined
def whole(at: Any, end: Any, limit: Any) -> Any:
    """(the whole number from ``at`` to ``end``, whether it is one of at most ``limit``)."""
    size = end - at
    if 0 < size <= 8:
        word = _few(at, size)
        number = _eight(word)
        good = _no_digits(word) == ZERO_BITS and number <= limit and (size == 1 or byte(at) != ZERO)
        return np.int64(number), good
    long, stop = integer(at, limit)
    return long, stop == end


@kernel
def _micros(at: Any, end: Any, limit: Any) -> Any:
    seconds, stop = real(at)
    good = stop == end and seconds < limit
    return np.int64(np.rint(seconds * 1e6)) if good else 0, good


@inlined
def micros(at: Any, end: Any, limit: Any) -> Any:
    """(seconds from ``at`` to ``end`` as µs, whether they are less than ``limit``).

    Usual are ten digits and up to six behind the point. The double next to such a number, less than 2**31, is off by
    2**-23 at most, and its product with a million by 2**-3 more: by less than a quarter of a µs in all. So the digits
    are what rounding gives.
    """
    size = end - at
    if 12 <= size <= 17 and byte(at + 10) == _DOT:
        upper, middle, lower = _few(at, 2), load(at + 2) ^ _ZEROS, _few(at + 11, size - 11)
        seconds = _eight(upper) * _HUNDRED_MILLION + _eight(middle)
        marks = _no_digits(upper) | _no_digits(middle) | _no_digits(lower)
        if marks == ZERO_BITS and _SECONDS_FROM <= seconds < _SECONDS_TO:
            return np.int64(seconds * _MILLION + _eight(lower) * _TENS[17 - size]), True
    return _micros(at, end, limit)
