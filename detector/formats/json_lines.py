"""Kernels that read the usual JSON line of conn.log: flat, ASCII, no escapes, no spaces, known keys.

Such lines hold their numbers and texts at places that a few comparisons find, eight bytes at a time; nothing is
looked at twice. Whatever is unusual in any way is not read here: a line is taken whole or not at all, and what is
taken has the values that orjson gives it, to the last bit. Words of eight bytes are read as in D. Lemire, "Number
parsing at a gigabyte per second" (2021), and H. Warren, "Hacker's Delight" (2012), chapter 6.
"""

import math
from typing import Any, Final

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from detector.formats.fields import SECONDS_BELOW
from detector.formats.zeek import PORT_MAX, SPAN_MAX
from detector.state.compiled import kernel

_u64 = np.uint64
PADDING: Final = bytes(64)
"""Behind the last line: no key and no text runs over its end, and zero bytes end either."""

# --- what a line may hold ---

TS, OBS, ORIG_H, ORIG_P, RESP_H, RESP_P, PROTO, SERVICE, STATE = range(9)
ORIG_BYTES, RESP_BYTES, ORIG_PKTS, RESP_PKTS, EXPORTER, PATH, _IP_PROTO = range(9, 16)
UID, LINE, _SPAN = range(16, 19)
CELLS: Final = 18
"""Rows of the table of cells, which are also the bits of what a line has. The duration is kept apart."""

_COUNT, _TIME, _DURATION, _TEXT, _NAME, _SKIP = range(6)
TEXT_WORDS: Final = 5  # of eight bytes; the longest IPv6 address has 39 characters
_TEXT_BYTES: Final = 8 * TEXT_WORDS
UID_BYTES: Final = 64  # Zeek's have 17 or 18
SPAN_BITS: Final = 8  # a text is shorter than 256 bytes
_SPAN_MASK: Final = (1 << SPAN_BITS) - 1
_INT64_DIGITS: Final = 18  # digits that surely fit
_KEYS_READ: Final[tuple[tuple[str, int, int, int], ...]] = (
    ("_path", _TEXT, PATH, _TEXT_BYTES),
    ("_system_name", _TEXT, EXPORTER, _TEXT_BYTES),
    ("_write_ts", _TIME, OBS, 0),
    ("ts", _TIME, TS, 0),
    ("uid", _NAME, UID, UID_BYTES),
    ("id.orig_h", _TEXT, ORIG_H, _TEXT_BYTES),
    ("id.orig_p", _COUNT, ORIG_P, PORT_MAX),
    ("id.resp_h", _TEXT, RESP_H, _TEXT_BYTES),
    ("id.resp_p", _COUNT, RESP_P, PORT_MAX),
    ("proto", _TEXT, PROTO, _TEXT_BYTES),
    ("service", _TEXT, SERVICE, _TEXT_BYTES),
    ("duration", _DURATION, _SPAN, 0),
    ("orig_bytes", _COUNT, ORIG_BYTES, 10**_INT64_DIGITS),
    ("resp_bytes", _COUNT, RESP_BYTES, 10**_INT64_DIGITS),
    ("conn_state", _TEXT, STATE, _TEXT_BYTES),
    ("local_orig", _SKIP, LINE, 0),
    ("local_resp", _SKIP, LINE, 0),
    ("missed_bytes", _SKIP, LINE, 0),
    ("history", _SKIP, LINE, 0),
    ("orig_pkts", _COUNT, ORIG_PKTS, 10**_INT64_DIGITS),
    ("orig_ip_bytes", _SKIP, LINE, 0),
    ("resp_pkts", _COUNT, RESP_PKTS, 10**_INT64_DIGITS),
    ("resp_ip_bytes", _SKIP, LINE, 0),
    ("tunnel_parents", _SKIP, LINE, 0),
    ("ip_proto", _COUNT, _IP_PROTO, 255),
    ("vlan", _SKIP, LINE, 0),
    ("inner_vlan", _SKIP, LINE, 0),
    ("orig_l2_addr", _SKIP, LINE, 0),
    ("resp_l2_addr", _SKIP, LINE, 0),
    ("community_id", _SKIP, LINE, 0),
    ("speculative_service", _SKIP, LINE, 0),
    ("failed_service", _SKIP, LINE, 0),
    ("@system", _TEXT, EXPORTER, _TEXT_BYTES),
    ("_node_name", _TEXT, EXPORTER, _TEXT_BYTES),
    ("id_orig_h", _TEXT, ORIG_H, _TEXT_BYTES),
    ("id_orig_p", _COUNT, ORIG_P, PORT_MAX),
    ("id_resp_h", _TEXT, RESP_H, _TEXT_BYTES),
    ("id_resp_p", _COUNT, RESP_P, PORT_MAX),
)
"""Key, kind, cell, and the greatest number: in Zeek's order, with what its own scripts and Corelight add."""

FIELDS: Final = len(_KEYS_READ)
_KINDS: Final = np.array([kind for _, kind, _, _ in _KEYS_READ])
_CELLS: Final = np.array([cell for _, _, cell, _ in _KEYS_READ])
_LIMITS: Final = np.array([limit for *_, limit in _KEYS_READ], dtype=_u64)
_BITS: Final = np.array([0 if cell == LINE else 1 << cell for _, _, cell, _ in _KEYS_READ])
_NEEDED: Final = sum(1 << cell for cell in (TS, UID, ORIG_H, ORIG_P, RESP_H, RESP_P, PROTO))
_ABSENT: Final = -1  # what a cell holds when its key is not there

_KEY_BYTES: Final = 24
_TEXTS: Final = [f'"{name}":'.encode() for name, *_ in _KEYS_READ]
_SIZES: Final = np.array([len(text) for text in _TEXTS])
_KEYS: Final = np.array([np.frombuffer(text.ljust(_KEY_BYTES, b"\0"), "<u8") for text in _TEXTS])
_MASKS: Final = np.array([np.frombuffer((b"\xff" * len(text)).ljust(_KEY_BYTES, b"\0"), "<u8") for text in _TEXTS])

_LINE_BYTES: Final = 1 << 16  # of a usual line; they have some 400


# --- eight bytes at a time ---


def _load(_: Any, address: Any) -> Any:
    """The eight bytes from ``address`` on, little end first; they need not begin at a multiple of eight."""

    def load(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], context.get_value_type(types.uint64).as_pointer())
        return builder.load(pointer, align=1)

    return types.uint64(types.int64), load


_word: Any = intrinsic(_load)


@kernel
def _byte(at: Any) -> Any:
    return np.int64(_word(at) & _BYTE)


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
_0, _1, _7, _8, _16, _32, _56 = (_u64(shift) for shift in (0, 1, 7, 8, 16, 32, 56))
_TENS: Final = np.array([10**digits for digits in range(9)], dtype=_u64)
_HEADS: Final = np.array([(1 << 8 * size) - 1 for size in range(9)], dtype=_u64)

_QUOTE, _COMMA, _DOT, _ZERO, _BRACKET, _END_BRACKET, _BRACE, _END_BRACE = b'",.0[]{}'
_MINUS, _PLUS, _E, _LOWER, _A, _Z = b"-+e az"
_TRUE: Final = _u64(int.from_bytes(b"true", "little"))
_FALSE: Final = _u64(int.from_bytes(b"false", "little"))


@kernel
def _first(marks: Any) -> Any:
    """Which byte has the lowest mark; there is one."""
    return np.int64((((marks & (~marks + _1)) >> _7) * _PLACES) >> _56)


@kernel
def _text_end(at: Any) -> Any:
    """Where the quote stands that ends a plain text; -1 when an escape, a control or no ASCII stands before."""
    while True:
        word = _word(at)
        quote, backslash = word ^ _QUOTES, word ^ _BACKSLASHES
        # A byte that is 0 borrows: exact up to and with the first, and no more is asked for.
        found = ((quote - _ONES) & ~quote) | ((backslash - _ONES) & ~backslash) | ((word - _SPACES) & ~word) | word
        marks = found & _HIGHS
        if marks != _0:
            break
        at += 8
    end = at + _first(marks)
    return end if _byte(end) == _QUOTE else -1


@kernel
def _digits(at: Any, number: Any) -> Any:
    """(number with all digits from ``at`` on appended, where they end); wraps above 64 bits."""
    while True:
        word = _word(at) ^ _ZEROS
        marks = ((word + _ABOVE_NINE) | word) & _HIGHS
        size = _first(marks) if marks != _0 else 8
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
_DIGITS: Final = 19  # that fit 64 bits
_NINE: Final = _u64(0x1FF)
_SHIFT_9, _SHIFT_63 = _u64(9), _u64(63)


def _reciprocals() -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """5**-n as ``factor * 2**-shift`` with 64 bits, cut off; the second array is what `_rounded` makes of the shift."""
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
def _rounded(number: Any, power: Any) -> Any:
    """The double next to number * 10**power (W. Clinger 1990; M. Eisel and D. Lemire), or NaN where this is not sure.

    The factor is cut off, so the true product lies less than one above ``upper``: bits 9 and higher are right unless
    the nine below are all set, and it is no tie unless they are all clear.
    """
    if number <= _EXACT and -_EXACT_TENS <= power <= _EXACT_TENS:
        value = np.float64(number)
        return value * _POWERS[power] if power > 0 else value / _POWERS[-power]
    if number == _0 or not -_SMALLEST <= power <= 0:
        return np.nan
    exponent = _EXPONENTS[-power]
    while number >> _SHIFT_63 == _0:
        number <<= _1
        exponent -= 1
    upper = _high(number, _FACTORS[-power])
    if upper & _NINE == _0 or upper & _NINE == _NINE:
        return np.nan
    top = upper >> _SHIFT_63
    mantissa = upper >> (top + _SHIFT_9)
    shift: Any = np.int32(exponent + np.int64(top))
    return math.ldexp(np.float64((mantissa + (mantissa & _1)) >> _1), shift)


@kernel
def _real(at: Any) -> Any:
    """(the number from ``at`` on, where it ends): not negative, as JSON wants it; -1 when it is none of these."""
    number, end = _digits(at, _0)
    if end == at or (_byte(at) == _ZERO and end > at + 1):
        return np.nan, -1
    point, power = end, 0
    if _byte(end) == _DOT:
        number, end = _digits(point + 1, number)
        power = point + 1 - end
        if power == 0:
            return np.nan, -1
    lead = at
    while _byte(lead) == _ZERO or _byte(lead) == _DOT:
        lead += 1
    if end - lead > (_DIGITS + 1 if lead < point < end else _DIGITS):
        return np.nan, -1
    if _byte(end) | _LOWER == _E:
        sign = _byte(end + 1)
        begin = end + 2 if sign in (_MINUS, _PLUS) else end + 1
        exponent, end = _digits(begin, _0)
        if not 1 <= end - begin <= 3:
            return np.nan, -1
        shift: Any = np.int64(exponent)
        power += -shift if sign == _MINUS else shift
    return _rounded(number, power), end


# --- values ---

_PRIME: Final = _u64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio (Knuth, 6.4)
_MICRO: Final = 1e6
_PROBES: Final = 64  # texts made to collide must not make anybody slow


@kernel
def _integer(at: Any, limit: Any) -> Any:
    """(a whole number from ``at`` on, where it ends); -1 when it is none, or above the limit."""
    number, end = _digits(at, _0)
    size = end - at
    good = 0 < size <= _INT64_DIGITS and (size == 1 or _byte(at) != _ZERO) and number <= limit
    return np.int64(number), end if good else -1


@kernel
def _past_text(at: Any) -> Any:
    """Behind the text from the quote at ``at`` on; -1 when none is there, or no plain one."""
    end = _text_end(at + 1) if _byte(at) == _QUOTE else -1
    return -1 if end < 0 else end + 1


@kernel
def _past_list(at: Any) -> Any:
    """Behind the texts in brackets from ``at`` on; -1 when anything else stands between."""
    if _byte(at + 1) == _END_BRACKET:
        return at + 2
    while _byte(at) == _BRACKET or _byte(at) == _COMMA:
        at = _past_text(at + 1)
        if at < 0:
            return -1
    return at + 1 if _byte(at) == _END_BRACKET else -1


@kernel
def _skip(at: Any) -> Any:
    """Behind a value that nobody reads: text, number, truth, or texts in brackets; -1 for anything else."""
    if _byte(at) == _QUOTE:
        return _past_text(at)
    if _byte(at) == _BRACKET:
        return _past_list(at)
    if _word(at) & _HEADS[4] == _TRUE:
        return at + 4
    if _word(at) & _HEADS[5] == _FALSE:
        return at + 5
    number, end = _real(at)
    return -1 if np.isnan(number) else end


@kernel
def _text(at: Any, longest: Any) -> Any:
    """(start << SPAN_BITS + size of the text from the quote at ``at`` on, behind its end); -1 when it is unusual."""
    if _byte(at) != _QUOTE:
        return 0, -1
    end = _text_end(at + 1)
    size = end - at - 1
    return (at + 1) << SPAN_BITS | size & _SPAN_MASK, end + 1 if 0 <= size <= longest else -1


@kernel
def _cell(at: Any, kind: Any, limit: Any) -> Any:
    """(the value at ``at`` as an integer, where it ends); -1 when it is unusual."""
    if kind == _SKIP:
        return 0, _skip(at)
    if kind == _COUNT:
        return _integer(at, limit)
    if kind == _TEXT:
        return _text(at, np.int64(limit))
    if kind == _NAME:  # a letter first: none of Zeek's ways to say nothing
        return _text(at, np.int64(limit)) if _A <= _byte(at + 1) | _LOWER <= _Z else (0, -1)
    seconds, end = _real(at)
    return np.int64(np.rint(seconds * _MICRO)) if seconds < SECONDS_BELOW else 0, end if seconds < SECONDS_BELOW else -1


# --- lines ---


@kernel
def _is(at: Any, field: Any) -> Any:
    differ = (_word(at) ^ _KEYS[field, 0]) & _MASKS[field, 0]
    differ |= (_word(at + 8) ^ _KEYS[field, 1]) & _MASKS[field, 1]
    return differ | ((_word(at + 16) ^ _KEYS[field, 2]) & _MASKS[field, 2]) == _0


@kernel
def _search(at: Any, last: Any) -> Any:
    """The field whose key stands at ``at``, or -1, looked for behind ``last`` in Zeek's order."""
    for step in range(1, FIELDS + 1):
        field = (last + step) % FIELDS
        if _is(at, field):
            return field
    return -1


@kernel
def _line(at: Any, row: Any, cells: Any, durations: Any, follow: Any) -> Any:
    """Where the line from ``at`` on ends, if it is a usual one: then its values are in ``row``; else -1."""
    if _byte(at) != _BRACE:
        return -1
    seen, field = 0, FIELDS - 1
    while _byte(at) != _END_BRACE:
        before, field = field, follow[field]
        if not _is(at + 1, field):
            field = _search(at + 1, before)
            if field < 0:
                return -1
            follow[before] = field
        if seen & _BITS[field]:
            return -1
        seen |= _BITS[field]
        at += 1 + _SIZES[field]
        if _KINDS[field] == _DURATION:
            durations[row], at = _real(at)
            if not durations[row] <= SPAN_MAX:
                return -1
        else:
            cells[_CELLS[field], row], at = _cell(at, _KINDS[field], _LIMITS[field])
        if at < 0 or (_byte(at) != _COMMA and _byte(at) != _END_BRACE):
            return -1
    return at + 1 if seen & _NEEDED == _NEEDED else -1


@kernel
def read_lines(text: Any, ends: Any, first: Any, row: Any, cells: Any, durations: Any, follow: Any) -> Any:
    """Read the usual ones of some lines, each followed by a line feed, the last by `PADDING` as well.

    Args:
        text: address of the lines.
        ends: where each line ends, from there.
        first: number of the first line.
        row: rows that are there already.
        cells: table [CELLS, row]; a text is its address << SPAN_BITS + its size.
        durations: seconds by row, NaN when not told.
        follow: the field that last came behind each; only speed hangs on it.

    Returns:
        rows that are there now.
    """
    begin = 0
    for line in range(len(ends)):
        for cell in range(CELLS):
            cells[cell, row] = _ABSENT
        durations[row] = np.nan
        end = _line(text + begin, row, cells, durations, follow) - text
        if end == ends[line] and end - begin <= _LINE_BYTES:
            if cells[OBS, row] < 0:
                late = 0.0 if np.isnan(durations[row]) else np.rint(durations[row] * _MICRO)
                cells[OBS, row] = cells[TS, row] + np.int64(late)
            cells[LINE, row] = first + line
            row += 1
        begin = ends[line] + 1
    return row


# --- texts ---


@kernel
def _number(at: Any, size: Any, table: Any, rows: Any) -> Any:
    """The number of a text; -1 when there is no room for it."""
    number = np.int64(rows[0, 0])
    key = _0
    for place in range(TEXT_WORDS):
        word = _word(at + 8 * place) & _HEADS[min(max(size - 8 * place, 0), 8)]
        rows[number, place] = word
        key = (key ^ word) * _PRIME
        key ^= key >> _32
    slot = np.int64(key) & (len(table) - 1)
    for _ in range(_PROBES):
        found = np.int64(table[slot])
        if found == 0:
            if number + 1 == len(rows):
                return -1
            table[slot] = number
            rows[0, 0] = np.uint64(number + 1)
            return number
        if _equal(rows, found, number):
            return found
        slot = (slot + 1) & (len(table) - 1)
    return -1


@kernel
def _equal(rows: Any, left: Any, right: Any) -> Any:
    differ = _0
    for place in range(TEXT_WORDS):
        differ |= rows[left, place] ^ rows[right, place]
    return differ == _0


@kernel
def number_texts(texts: Any, table: Any, rows: Any) -> Any:
    """Put numbers from 1 on in the place of texts, 0 for those that are absent, -1 where there is no room for more.

    Args:
        texts: cells of one column.
        table: open addressing, row numbers of ``rows``; its size is a power of two.
        rows: the distinct texts [number, TEXT_WORDS], padded with zero bytes; row 0 begins with how many are taken.

    Returns:
        whether all found room.
    """
    room = True
    for row in range(len(texts)):
        text = texts[row]
        texts[row] = 0 if text == _ABSENT else _number(text >> SPAN_BITS, text & _SPAN_MASK, table, rows)
        room &= texts[row] >= 0
    return room


@kernel
def copy_texts(texts: Any, begin: Any, out: Any) -> Any:
    """Write texts one after the other, and where each ends in its place; bytes up to ``begin`` are there."""
    for row in range(len(texts)):
        text = texts[row]
        for byte in range(text & _SPAN_MASK):
            out[begin + byte] = _byte((text >> SPAN_BITS) + byte)
        begin += text & _SPAN_MASK
        texts[row] = begin
    return begin
