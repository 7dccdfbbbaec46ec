"""Kernels that read the usual JSON line of a log: flat, ASCII, no escapes, no spaces, known keys.

Such lines hold their numbers and texts at places that a few comparisons find; nothing is looked at twice. What is taken
has the values that orjson gives it, to the last bit.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from detector.formats.fields import SECONDS_BELOW
from detector.formats.line_cells import (
    ABSENT,
    COUNT,
    DURATION,
    LINE,
    LINE_BYTES,
    NAME,
    SKIP,
    SPAN_BITS,
    SPAN_MASK,
    TEXT,
    TIME,
)  # fmt: skip
from detector.formats.line_marks import MARKS_MAX, ROOM, commas
from detector.formats.line_values import (
    BRACE,
    BRACKET,
    COMMA,
    END_BRACE,
    END_BRACKET,
    HEADS,
    LOWER,
    NINE,
    QUOTE,
    ZERO,
    ZERO_BITS,
    A,
    Z,
    byte,
    differs,
    load,
    micros,
    real,
    spelled_end,
    text_end,
    whole,
)  # fmt: skip
from detector.formats.zeek import SPAN_MAX
from detector.state.compiled import inlined, kernel
from detector.state.keys import GOLDEN
from detector.state.wide import first as first_bit

MICRO: Final = 1e6
COUNT_MAX: Final = np.uint64(2**63 - 1)
_KEY_WORDS: Final = 4  # of eight bytes: a key with its quotes and colon

Field = tuple[str, int, int, int]
"""Key, kind, cell, and the greatest number or size."""


_MASK, _SIZE, _KIND, _CELL, _LIMIT, _BIT = (_KEY_WORDS + at for at in (0, 4, 5, 6, 7, 8))
_FACTS: Final = _BIT + 1
_ROW: Final = 8 * _FACTS  # bytes
_SHAPES: Final = 64  # that are kept: which keys lines had, in their order
_SHAPE_SHIFT: Final = np.uint64(64 - 6)
_VALUES, _MISSING, _FIRST = range(3)  # of a shape: how many values, bits of the cells it lacks, and its keys' facts


class Given(NamedTuple):
    """`Keys` as a kernel takes them: the facts by address, as counting who holds an array costs more than its use."""

    facts: int
    fields: int
    needed: int
    cells: int
    ends: NDArray[np.int64]
    shapes: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Keys:
    """What a line may hold, in the order in which it mostly comes.

    Args:
        facts: a row a key: its words, their masks, and what is at `_SIZE` and behind.
        needed: bits without which a line is not usual.
    """

    facts: NDArray[np.uint64]
    needed: int

    def given(self) -> Given:
        """For a reader with lines of its own, who has to keep these keys. The kernels write ``ends`` and ``shapes``:
        where the values of a line end, and which keys the lines before had."""
        ends, shapes = np.empty(ROOM, dtype=np.int64), np.zeros((_SHAPES, _FIRST + MARKS_MAX), dtype=np.int64)
        cells = int(np.bitwise_or.reduce(self.facts[:, _BIT]))
        return Given(self.facts.ctypes.data, len(self.facts), self.needed, cells, ends, shapes)


def keys(fields: Sequence[Field], needed: Iterable[int]) -> Keys:
    """The tables that the kernels look at."""
    facts = np.zeros((len(fields), _FACTS), dtype=np.uint64)
    for fact, (name, kind, cell, limit) in zip(facts, fields, strict=True):
        text = f'"{name}":'.encode()
        size = 8 * _KEY_WORDS
        fact[:_MASK] = np.frombuffer(text.ljust(size, b"\0"), "<u8")
        fact[_MASK:_SIZE] = np.frombuffer((b"\xff" * len(text)).ljust(size, b"\0"), "<u8")
        fact[_SIZE:] = len(text), kind, cell, limit, 0 if cell == LINE else 1 << cell
    return Keys(facts, sum(1 << cell for cell in needed))


# --- values ---

_TRUE: Final = np.uint64(int.from_bytes(b"true", "little"))
_FALSE: Final = np.uint64(int.from_bytes(b"false", "little"))


@kernel
def _past_text(at: Any, stop: Any) -> Any:
    """Behind the text from the quote at ``at`` on; -1 when none is there, or no plain one."""
    end = text_end(at + 1, stop) if byte(at) == QUOTE else -1
    return -1 if end < 0 else end + 1


@kernel
def _past_number(at: Any) -> Any:
    number, end = real(at)
    return -1 if np.isnan(number) else end


@kernel
def _past_list(at: Any, stop: Any) -> Any:
    """Behind the texts and numbers in brackets from ``at`` on; -1 when anything else stands between."""
    if byte(at + 1) == END_BRACKET:
        return at + 2
    while at < stop and (byte(at) == BRACKET or byte(at) == COMMA):
        at = _past_text(at + 1, stop) if byte(at + 1) == QUOTE else _past_number(at + 1)
        if at < 0:
            return -1
    return at + 1 if byte(at) == END_BRACKET else -1


@kernel
def _skip_other(at: Any, stop: Any) -> Any:
    if byte(at) == BRACKET:
        return _past_list(at, stop)
    if load(at) & HEADS[4] == _TRUE:
        return at + 4
    if load(at) & HEADS[5] == _FALSE:
        return at + 5
    return _past_number(at)


@kernel
def _quotes(at: Any, end: Any) -> Any:
    """How many there are."""
    found = 0
    for place in range(at, end):
        found += byte(place) == QUOTE
    return found


@inlined
def _skip(at: Any, end: Any) -> Any:
    """How many quotes a value has that nobody reads: a text by its quotes, a number, truth, or a list; -1 when it is
    none of these."""
    begin = byte(at)
    if begin == QUOTE:
        return 2 if byte(end - 1) == QUOTE and end - at > 1 else -1
    if ZERO <= begin <= NINE and whole(at, end, COUNT_MAX)[1]:
        return 0
    return _quotes(at, end) if _skip_other(at, end) == end else -1


@inlined
def _span(at: Any, end: Any, longest: Any) -> Any:
    """(start << SPAN_BITS + size of the text within quotes, whether it is one by its quotes)."""
    size = end - at - 2
    good = byte(at) == QUOTE and byte(end - 1) == QUOTE and 0 <= size <= longest
    return at + 1 << SPAN_BITS | size & SPAN_MASK, good


@inlined
def _name(at: Any, end: Any, longest: Any) -> Any:
    """A text that begins with a letter: none of Zeek's ways to say nothing."""
    span, good = _span(at, end, longest)
    return span, good and A <= byte(at + 1) | LOWER <= Z


@inlined
def _cell(at: Any, end: Any, kind: Any, limit: Any) -> Any:
    """(the value from ``at`` to ``end`` as an integer, whether it is a usual one)."""
    if kind == COUNT:
        return whole(at, end, limit)
    if kind == TEXT:
        return _span(at, end, np.int64(limit))
    if kind == NAME:
        return _name(at, end, np.int64(limit))
    return micros(at, end, SECONDS_BELOW)


@kernel
def _odd(at: Any, end: Any, kind: Any) -> Any:
    """Whether a value in a line with escapes or anything but ASCII is usual. Texts that are read may have them."""
    if byte(at) != QUOTE:
        return True
    stop = spelled_end(at + 1, end) if kind == TEXT else text_end(at + 1, end)
    return stop == end - 1


def spelling(raw: bytes) -> str | None:
    """The text that stands between quotes, None if JSON has no such text."""
    if raw.isascii() and b"\\" not in raw:
        return raw.decode()
    try:
        text: str = orjson.loads(b'"%b"' % raw)
    except orjson.JSONDecodeError:
        return None
    return text


# --- lines ---


@inlined
def _is(at: Any, fact: Any) -> Any:
    """Whether the key stands there: its quotes, its colon, and no more."""
    return not differs(at, fact, fact + 8 * _MASK)


@kernel
def _search(at: Any, last: Any, facts: Any, fields: Any) -> Any:
    """The field whose key stands at ``at``, or -1, looked for behind ``last``."""
    for step in range(1, fields + 1):
        field = (last + step) % fields
        if _is(at, facts + field * _ROW):
            return field
    return -1


@inlined
def _shape(at: Any, ends: Any, values: Any) -> Any:
    """Where the shape of a line is kept, if it has come before: by the first bytes of its keys."""
    mixed = ZERO_BITS
    for value in range(values):
        mixed += mixed + load(at + 1)
        at = ends[value]
    return np.int64((mixed * GOLDEN) >> _SHAPE_SHIFT)


@inlined
def _fits(at: Any, ends: Any, values: Any, shape: Any) -> Any:
    """Whether the keys of a line are those of a shape."""
    if shape[_VALUES] != values:
        return False
    other = False
    for value in range(values):
        other |= differs(at + 1, shape[_FIRST + value], shape[_FIRST + value] + 8 * _MASK)
        at = ends[value]
    return not other


@kernel
def _learn(at: Any, stop: Any, values: Any, shape: Any, keys: Any) -> Any:
    """Look for each key, and keep what shape the line has. How many values it has without the marks within lists, which
    are taken away; -1 when it is not usual."""
    seen, field, kept, value, ends = np.int64(0), -1, 0, 0, keys.ends
    shape[_VALUES] = 0
    while value < values:
        field = _search(at + 1, field, keys.facts, keys.fields)
        fact = keys.facts + field * _ROW
        bit: Any = np.int64(load(fact + 8 * _BIT)) if field >= 0 else seen
        if field < 0 or seen & bit:
            return -1
        seen |= bit
        shape[_FIRST + kept] = fact
        at += 1 + np.int64(load(fact + 8 * _SIZE))
        past = _past_list(at, stop) if byte(at) == BRACKET else at
        while value < values - 1 and ends[value] < past:
            value += 1
        at = ends[kept] = ends[value]
        kept += 1
        value += 1
    if seen & keys.needed != keys.needed:
        return -1
    shape[_VALUES], shape[_MISSING] = kept, keys.cells & ~seen
    return kept


@inlined
def _line(at: Any, stop: Any, row: Any, cells: Any, durations: Any, keys: Any) -> Any:
    """Whether the line from ``at`` to ``stop`` is a usual one: then its values are in ``row``.

    What stands outside of quotes is compared byte by byte, and there are no quotes but those around keys and texts.
    """
    if byte(at) != BRACE or byte(stop - 1) != END_BRACE:
        return False
    marks, quotes, odd = commas(at, stop - 1, keys.ends)
    if marks < 0:
        return False
    keys.ends[marks] = stop - 1
    values = marks + 1
    shape = keys.shapes[_shape(at, keys.ends, values)]
    if not _fits(at, keys.ends, values, shape):
        values = _learn(at, stop, values, shape, keys)
        if values < 0:
            return False
    for value in range(values):
        fact, end = shape[_FIRST + value], keys.ends[value]
        at += 1 + np.int64(load(fact + 8 * _SIZE))
        kind: Any = np.int64(load(fact + 8 * _KIND))
        if kind == DURATION:
            durations[row], past = real(at)
            good = past == end and durations[row] <= SPAN_MAX
        elif kind == SKIP:
            passed = _skip(at, end)
            good = passed >= 0
            quotes -= passed
        else:
            cells[np.int64(load(fact + 8 * _CELL)), row], good = _cell(at, end, kind, load(fact + 8 * _LIMIT))
            quotes -= 0 if kind in (COUNT, TIME) else 2
        if not good or (odd and not _odd(at, end, kind)):
            return False
        quotes -= 2
        at = end
    missing = shape[_MISSING]
    while missing:
        cells[first_bit(np.uint64(missing)), row] = ABSENT
        missing &= missing - 1
    return odd or quotes == 0


@kernel
def read_lines(text: Any, spans: Any, first: Any, row: Any, cells: Any, durations: Any, keys: Any) -> Any:
    """Read the usual ones of some lines; see `line_cells.Kernel`."""
    for line in range(spans.shape[1]):
        durations[row] = np.nan
        begin, end = text + spans[0, line], text + spans[1, line]
        if 1 < end - begin <= LINE_BYTES and _line(begin, end, row, cells, durations, keys):
            cells[LINE, row] = first + line
            row += 1
    return row
