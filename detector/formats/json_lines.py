"""Kernels that read the usual JSON line of a log: flat, ASCII, no escapes, no spaces, known keys.

Such lines hold their numbers and texts at places that a few comparisons find; nothing is looked at twice. What is taken
has the values that orjson gives it, to the last bit.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
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
    ZERO_BITS,
    A,
    Z,
    byte,
    integer,
    load,
    real,
    text_end,
)  # fmt: skip
from detector.formats.zeek import SPAN_MAX
from detector.state.compiled import kernel

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
def _past_text(at: Any) -> Any:
    """Behind the text from the quote at ``at`` on; -1 when none is there, or no plain one."""
    end = text_end(at + 1) if byte(at) == QUOTE else -1
    return -1 if end < 0 else end + 1


@kernel
def _past_number(at: Any) -> Any:
    number, end = real(at)
    return -1 if np.isnan(number) else end


@kernel
def _past_list(at: Any) -> Any:
    """Behind the texts and numbers in brackets from ``at`` on; -1 when anything else stands between."""
    if byte(at + 1) == END_BRACKET:
        return at + 2
    while byte(at) == BRACKET or byte(at) == COMMA:
        at = _past_text(at + 1) if byte(at + 1) == QUOTE else _past_number(at + 1)
        if at < 0:
            return -1
    return at + 1 if byte(at) == END_BRACKET else -1


@kernel
def _skip(at: Any) -> Any:
    """Behind a value that nobody reads: text, number, truth, or a list; -1 for anything else."""
    if byte(at) == QUOTE:
        return _past_text(at)
    if byte(at) == BRACKET:
        return _past_list(at)
    if load(at) & HEADS[4] == _TRUE:
        return at + 4
    if load(at) & HEADS[5] == _FALSE:
        return at + 5
    return _past_number(at)


@kernel
def _text(at: Any, longest: Any) -> Any:
    """(start << SPAN_BITS + size of the text from the quote at ``at`` on, behind its end); -1 when it is unusual."""
    if byte(at) != QUOTE:
        return 0, -1
    end = text_end(at + 1)
    size = end - at - 1
    return (at + 1) << SPAN_BITS | size & SPAN_MASK, end + 1 if 0 <= size <= longest else -1


@kernel
def micros(at: Any) -> Any:
    """(seconds at ``at`` as µs, where they end); -1 when they are unusual."""
    seconds, end = real(at)
    return np.int64(np.rint(seconds * MICRO)) if seconds < SECONDS_BELOW else 0, end if seconds < SECONDS_BELOW else -1


@kernel
def _cell(at: Any, kind: Any, limit: Any) -> Any:
    """(the value at ``at`` as an integer, where it ends); -1 when it is unusual."""
    if kind == SKIP:
        return 0, _skip(at)
    if kind == COUNT:
        return integer(at, limit)
    if kind == TEXT:
        return _text(at, np.int64(limit))
    if kind == NAME:  # a letter first: none of Zeek's ways to say nothing
        return _text(at, np.int64(limit)) if A <= byte(at + 1) | LOWER <= Z else (0, -1)
    return micros(at)


# --- lines ---


@kernel
def _is(at: Any, fact: Any) -> Any:
    differ = ZERO_BITS
    for place in range(_KEY_WORDS):
        differ |= (load(at + 8 * place) ^ load(fact + 8 * place)) & load(fact + 8 * (_MASK + place))
    return differ == ZERO_BITS


@kernel
def _search(at: Any, last: Any, facts: Any, fields: Any) -> Any:
    """The field whose key stands at ``at``, or -1, looked for behind ``last``."""
    for step in range(1, fields + 1):
        field = (last + step) % fields
        if _is(at, facts + field * _ROW):
            return field
    return -1


@kernel
def _line(at: Any, row: Any, cells: Any, durations: Any, keys: Any) -> Any:
    """Where the line from ``at`` on ends, if it is a usual one: then its values are in ``row``; else -1."""
    if byte(at) != BRACE:
        return -1
    seen, field = np.int64(0), len(keys.follow) - 1
    while byte(at) != END_BRACE:
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
            cells[np.int64(load(fact + 8 * _CELL)), row], at = _cell(at, kind, load(fact + 8 * _LIMIT))
        if at < 0 or (byte(at) != COMMA and byte(at) != END_BRACE):
            return -1
    return at + 1 if seen & keys.needed == keys.needed else -1


@kernel
def read_lines(text: Any, ends: Any, first: Any, row: Any, cells: Any, durations: Any, keys: Any) -> Any:
    """Read the usual ones of some lines; see `line_cells.Kernel`."""
    begin = 0
    for line in range(len(ends)):
        for cell in range(len(cells)):
            cells[cell, row] = ABSENT
        durations[row] = np.nan
        end = _line(text + begin, row, cells, durations, keys) - text
        if end == ends[line] and end - begin <= LINE_BYTES:
            cells[LINE, row] = first + line
            row += 1
        begin = ends[line] + 1
    return row
