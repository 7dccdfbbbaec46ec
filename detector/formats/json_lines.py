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
)  # fmt: skip
from detector.formats.line_values import (
    BRACE,
    BRACKET,
    COMMA,
    END_BRACE,
    END_BRACKET,
    HEADS,
    LOWER,
    QUOTE,
    ZERO,
    ZERO_BITS,
    A,
    Z,
    byte,
    differs,
    digits,
    integer,
    load,
    real,
    spelled_end,
    text_end,
)  # fmt: skip
from detector.formats.zeek import SPAN_MAX
from detector.state.compiled import inlined, kernel

MICRO: Final = 1e6
_KEY_WORDS: Final = 4  # of eight bytes: a key with its quotes and colon

Field = tuple[str, int, int, int]
"""Key, kind, cell, and the greatest number or size."""


_MASK, _SIZE, _KIND, _CELL, _LIMIT, _BIT = (_KEY_WORDS + at for at in (0, 4, 5, 6, 7, 8))
_FACTS: Final = _BIT + 1
_ROW: Final = 8 * _FACTS  # bytes


class Given(NamedTuple):
    """`Keys` as a kernel takes them: the facts by address, as counting who holds an array costs more than its use."""

    facts: int
    follow: NDArray[np.int64]
    needed: int


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
        """For a reader with lines of its own, who has to keep these keys. ``follow`` tells which key came last behind
        each: the kernels write it, and only speed hangs on it."""
        fields = len(self.facts)
        return Given(self.facts.ctypes.data, (np.arange(fields) + 1) % fields, self.needed)


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


@inlined
def _skip(at: Any, stop: Any) -> Any:
    """Behind a value that nobody reads: text, number, truth, or a list; -1 for anything else."""
    if byte(at) == QUOTE:
        end = text_end(at + 1, stop)
        return -1 if end < 0 else end + 1
    end = digits(at, ZERO_BITS)[1]
    if (byte(end) == COMMA or byte(end) == END_BRACE) and end - at > 0 and (byte(at) != ZERO or end == at + 1):
        return end
    return _skip_other(at, stop)


@inlined
def _span(at: Any, end: Any, longest: Any) -> Any:
    """(start << SPAN_BITS + size of the text that begins at ``at`` and ends at ``end``, behind its quote)."""
    size = end - at
    return at << SPAN_BITS | size & SPAN_MASK, end + 1 if 0 <= size <= longest else -1


@inlined
def _text(at: Any, stop: Any, longest: Any) -> Any:
    """The text from the quote at ``at`` on, see `_span`; -1 when there is none."""
    end = text_end(at + 1, stop) if byte(at) == QUOTE else -1
    if end < 0 and byte(at) == QUOTE:
        end = spelled_end(at + 1, stop)
    return _span(at + 1, end, longest)


@inlined
def _name(at: Any, stop: Any, longest: Any) -> Any:
    """A plain text that begins with a letter: none of Zeek's ways to say nothing."""
    named = byte(at) == QUOTE and A <= byte(at + 1) | LOWER <= Z
    return _span(at + 1, text_end(at + 1, stop) if named else -1, longest)


@inlined
def micros(at: Any) -> Any:
    """(seconds at ``at`` as µs, where they end); -1 when they are unusual."""
    seconds, end = real(at)
    return np.int64(np.rint(seconds * MICRO)) if seconds < SECONDS_BELOW else 0, end if seconds < SECONDS_BELOW else -1


@inlined
def _cell(at: Any, stop: Any, kind: Any, limit: Any) -> Any:
    """(the value at ``at`` as an integer, where it ends); -1 when it is unusual."""
    if kind == COUNT:
        return integer(at, limit)
    if kind == TEXT:
        return _text(at, stop, np.int64(limit))
    if kind == NAME:
        return _name(at, stop, np.int64(limit))
    if kind == SKIP:
        return 0, _skip(at, stop)
    return micros(at)


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
def _line(at: Any, stop: Any, row: Any, cells: Any, durations: Any, keys: Any) -> Any:
    """Where the line from ``at`` on ends, if it is a usual one: then its values are in ``row``; else -1."""
    if byte(at) != BRACE:
        return -1
    seen, field = np.int64(0), len(keys.follow) - 1
    while at < stop and byte(at) != END_BRACE:
        before, field = field, keys.follow[field]
        if not _is(at + 1, keys.facts + field * _ROW):
            field = _search(at + 1, before, keys.facts, len(keys.follow))
            if field < 0:
                return -1
            keys.follow[before] = field
        fact = keys.facts + field * _ROW
        bit: Any = np.int64(load(fact + 8 * _BIT))
        if seen & bit:
            return -1
        seen |= bit
        at += 1 + np.int64(load(fact + 8 * _SIZE))
        kind: Any = np.int64(load(fact + 8 * _KIND))
        if kind == DURATION:
            durations[row], at = real(at)
            if not durations[row] <= SPAN_MAX:
                return -1
        else:
            cells[np.int64(load(fact + 8 * _CELL)), row], at = _cell(at, stop, kind, load(fact + 8 * _LIMIT))
        if at < 0 or (byte(at) != COMMA and byte(at) != END_BRACE):
            return -1
    return at + 1 if seen & keys.needed == keys.needed else -1


@kernel
def read_lines(text: Any, spans: Any, first: Any, row: Any, cells: Any, durations: Any, keys: Any) -> Any:
    """Read the usual ones of some lines; see `line_cells.Kernel`."""
    for line in range(spans.shape[1]):
        for cell in range(len(cells)):
            cells[cell, row] = ABSENT
        durations[row] = np.nan
        begin, end = text + spans[0, line], text + spans[1, line]
        if end - begin <= LINE_BYTES and _line(begin, end, row, cells, durations, keys) == end:
            cells[LINE, row] = first + line
            row += 1
    return row
