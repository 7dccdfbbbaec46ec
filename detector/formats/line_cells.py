"""What usual lines hold: a table of cells, filled by a kernel, and texts that are handled once a distinct value.

A line is taken whole or not at all: whatever is unusual in any way is left to the general path. `json_lines` and
`tab_lines` say what is usual.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from detector.formats.line_values import HEADS, ZERO_BITS, load, store
from detector.records import FLOW, Lines
from detector.state.compiled import inlined, kernel
from detector.state.texts import absent, views

# --- what a kernel fills ---

COUNT, TIME, DURATION, TEXT, NAME, SKIP = range(6)
"""Kinds of values: a whole number, seconds as µs, seconds as they are, a text that comes again, a text that does not,
and what nobody reads."""
LINE: Final = 0
"""The first row of every table of cells: the number of the line. The other rows are also the bits of what it has."""
ABSENT: Final = -1  # what a cell holds when its key is not there
TEXT_WORDS: Final = 5  # of eight bytes; the longest IPv6 address has 39 characters
TEXT_BYTES: Final = 8 * TEXT_WORDS
NAME_BYTES: Final = 64  # Zeek's uids have 17 or 18
LINE_BYTES: Final = 1 << 16  # of a usual line; they have some 400
SPAN_BITS: Final = 8  # a text is shorter than 256 bytes
SPAN_MASK: Final = (1 << SPAN_BITS) - 1

_TOGETHER: Final = 1024  # lines that are read at once: their texts stay in the cache until they are numbered
_TEXTS: Final = 1 << 16  # distinct texts that are remembered from block to block: 3 MB
_PRIMES: Final = tuple(np.uint64(odd) for odd in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9,
                                                0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5))  # fmt: skip
"""2**64 / golden ratio (Knuth, 6.4), and the primes of xxHash (Y. Collet): what mixes the words of a text."""
_32: Final = np.uint64(32)
_SHARED_ROWS: Final = 1 << 14  # of a column that is made once: blocks have less
_PROBES: Final = 64  # texts made to collide must not make anybody slow

Meaning = Callable[[str], str | None]
Spelling = Callable[[bytes], str | None]
"""The text that bytes of a line spell; None for none."""
Kernel = Callable[[int, NDArray[np.int64], int, int, NDArray[np.int64], NDArray[np.float64]], int]
"""(address of the buffer, `Lines.spans` of some lines, number of the first, rows that are there already, cells
[cells, row], durations [row]) -> rows that are there now. A text is its address << SPAN_BITS + its size."""


# --- texts ---


@inlined
def _word(at: Any, size: Any, place: Any) -> Any:
    """The eight bytes of a text from ``place`` on, zero behind its end."""
    return load(at + place) & HEADS[min(max(size - place, 0), 8)]


@inlined
def _number(at: Any, size: Any, table: Any, rows: Any) -> Any:
    """The number of a text; -1 when there is no room for it."""
    a = _word(at, size, 0)
    b = c = d = e = ZERO_BITS
    if size > 8:  # most are shorter: names of states, protocols and services
        b = _word(at, size, 8)
    if size > 16:  # most addresses are not
        c, d, e = _word(at, size, 16), _word(at, size, 24), _word(at, size, 32)
    key = (a * _PRIMES[0]) ^ (b * _PRIMES[1]) ^ (c * _PRIMES[2]) ^ (d * _PRIMES[3]) ^ (e * _PRIMES[4])
    key = (key ^ (key >> _32)) * _PRIMES[0]
    slot = np.int64(key >> _32) & (len(table) - 1)
    for _ in range(_PROBES):
        found = np.int64(table[slot])
        if found == 0:
            number = np.int64(rows[0, 0])
            if number + 1 == len(rows):
                return -1
            rows[number, 0], rows[number, 1], rows[number, 2], rows[number, 3], rows[number, 4] = a, b, c, d, e
            table[slot] = number
            rows[0, 0] = np.uint64(number + 1)
            return number
        row = rows[found]
        if ((row[0] ^ a) | (row[1] ^ b) | (row[2] ^ c) | (row[3] ^ d) | (row[4] ^ e)) == ZERO_BITS:
            return found
        slot = (slot + 1) & (len(table) - 1)
    return -1


@kernel
def _number_texts(cells: Any, which: Any, begin: Any, end: Any, table: Any, rows: Any) -> Any:
    """Put numbers from 1 on in the place of texts, 0 for those that are absent, -1 where there is no room for more.

    Args:
        cells: by cell and row.
        which: cells that hold texts; their rows ``begin`` to before ``end`` are numbered.
        table: open addressing, row numbers of ``rows``; its size is a power of two.
        rows: the distinct texts [number, TEXT_WORDS], padded with zero bytes; row 0 begins with how many are taken.

    Returns:
        whether all found room.
    """
    room: Any = True
    for cell in which:
        for row in range(begin, end):
            text = cells[cell, row]
            number = np.int64(0)
            if text != ABSENT:
                number = _number(text >> SPAN_BITS, text & SPAN_MASK, table, rows)
            cells[cell, row] = number
            room &= number >= 0
    return room


@kernel
def _copy_texts(texts: Any, begin: Any, out: Any) -> Any:
    """Write texts one after the other to the address ``out``, and where each ends in its place; bytes up to ``begin``
    are there. Up to seven bytes behind a text are overwritten."""
    for row in range(len(texts)):
        text = texts[row]
        for place in range(0, text & SPAN_MASK, 8):
            store(out + begin + place, load((text >> SPAN_BITS) + place))
        begin += text & SPAN_MASK
        texts[row] = begin
    return begin


@kernel
def _spread(known: Any, bits: Any, offset: Any, numbers: Any, out: Any, valid: Any) -> Any:
    """out <- the view of each number's text, valid <- bits of the rows that have one. How many have none."""
    none = 0
    for row in range(len(numbers)):
        number = numbers[row]
        out[row, 0], out[row, 1] = known[number, 0], known[number, 1]
        there = 0 if absent(bits, offset + number) else 1
        valid[row >> 3] |= np.uint8(there) << np.uint8(row & 7)
        none += 1 - there
    return none


class _Known:
    """The texts that numbers mean, as Polars keeps them (see `state.texts`)."""

    def __init__(self, texts: pl.Series) -> None:
        self.texts = texts
        (self._views, _, self._bits, self._offset), self._array = views(texts)

    def column(self, numbers: NDArray[np.int64]) -> pl.Series:
        out, valid = np.empty((len(numbers), 2), dtype=np.uint64), np.zeros(len(numbers) // 8 + 1, dtype=np.uint8)
        none = _spread(self._views, self._bits, self._offset, numbers, out, valid)
        buffers = [pa.py_buffer(valid) if none else None, pa.py_buffer(out), *self._array.buffers()[2:]]
        return pl.Series(pa.Array.from_buffers(pa.string_view(), len(numbers), buffers, none))


class Meanings:
    """Distinct texts and what each of them means, worked out when it first comes. Number 0 is no text.

    Args:
        spelling: of the texts.
        meanings: all there are.
    """

    def __init__(self, spelling: Spelling, *meanings: Meaning) -> None:
        self._spelling = spelling
        self._meanings = meanings
        self._forget()

    def _forget(self) -> None:
        self._table = np.zeros(2 * _TEXTS, dtype=np.int32)
        self._rows = np.zeros((_TEXTS, TEXT_WORDS), dtype=np.uint64)
        self._rows[0, 0] = 1
        self._learnt = 1
        self._known = {meaning: _Known(pl.Series([None], dtype=pl.String)) for meaning in self._meanings}
        self._misspelt = np.empty(0, dtype=np.int64)

    def make_room(self) -> None:
        """Start again when half of the room is taken. Lines that find no room take the general path."""
        if self._rows[0, 0] > _TEXTS // 2:
            self._forget()

    def number(self, cells: NDArray[np.int64], which: NDArray[np.int64], begin: int, end: int) -> bool:
        """Put the number of each text in its place, -1 where it found no room; whether all did."""
        return bool(_number_texts(cells, which, begin, end, self._table, self._rows))

    def learn(self) -> None:
        """Work out what came since the last time."""
        rows = self._rows[self._learnt : int(self._rows[0, 0])]
        if not len(rows):
            return
        new = [self._spelling(row.tobytes().rstrip(b"\0")) for row in rows]
        bad = np.flatnonzero([text is None for text in new]) + self._learnt
        self._misspelt = np.append(self._misspelt, bad)
        self._learnt += len(new)
        self._known = {
            meaning: _Known(
                pl.concat(
                    [
                        known.texts,
                        pl.Series([None if text is None else meaning(text) for text in new], dtype=pl.String),
                    ],
                    rechunk=True,
                )
            )
            for meaning, known in self._known.items()
        }

    def found(self, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of them are numbers of texts, or of none that was there."""
        return np.asarray((numbers >= 0) & ~np.isin(numbers, self._misspelt))

    @property
    def sound(self) -> bool:
        """Whether all texts were spelt as they should be."""
        return not len(self._misspelt)

    def column(self, meaning: Meaning, numbers: NDArray[np.int64]) -> pl.Series:
        """The texts of these numbers as ``meaning`` understands them."""
        return self._known[meaning].column(numbers)


# --- lines ---


@dataclass(frozen=True, slots=True)
class Cells:
    """Values of the lines that are usual.

    Args:
        table: by cell and row; texts as their numbers, names as where they end in ``names``.
        durations: seconds by row, NaN when not told.
        names: the texts that are not numbered.
        found: by row, whether all texts found room and are spelt as they should be.
    """

    table: NDArray[np.int64]
    durations: NDArray[np.float64]
    names: NDArray[np.uint8]
    found: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads lines into cells.

    Args:
        cells: how many there are.
        texts: which of them hold texts that are numbered, and by whom.
        name: the one that holds a text that is not.
    """

    cells: int
    texts: Sequence[tuple[Meanings, NDArray[np.int64]]]
    name: int | None = None

    def read(self, lines: Lines, kernel: Kernel) -> Cells:
        """The usual ones among the lines."""
        for meanings, _ in self.texts:
            meanings.make_room()
        buffer = np.frombuffer(lines.buffer, dtype=np.uint8)
        table = np.empty((self.cells, len(lines)), dtype=np.int64)
        durations = np.empty(len(lines), dtype=np.float64)
        names = np.empty(0 if self.name is None else NAME_BYTES * len(lines) + 8, dtype=np.uint8)
        rows = written = 0
        room = True
        for first in range(0, len(lines), _TOGETHER):
            before = rows
            rows = kernel(buffer.ctypes.data, lines.spans[:, first : first + _TOGETHER], first, rows, table, durations)
            for meanings, cells in self.texts:
                room &= meanings.number(table, cells, before, rows)
            if self.name is not None:
                written = _copy_texts(table[self.name, before:rows], written, names.ctypes.data)
        for meanings, _ in self.texts:
            meanings.learn()
        return self._cells(table[:, :rows], durations[:rows], names, room)

    def _cells(
        self, table: NDArray[np.int64], durations: NDArray[np.float64], names: NDArray[np.uint8], room: bool
    ) -> Cells:
        found = np.ones(table.shape[1], dtype=np.bool_)
        if not (room and all(meanings.sound for meanings, _ in self.texts)):
            for meanings, cells in self.texts:
                for cell in cells.tolist():
                    found &= meanings.found(table[cell])
                    np.maximum(table[cell], 0, out=table[cell])
        return Cells(table, durations, names, found)


@dataclass(slots=True)
class Taken:
    """What was read of some lines.

    Args:
        flows: rows of `records.FLOW`, in the order of the lines.
        lines: the line of each row, ascending.
        rest: the lines that the general path has to read, ascending.
        told: by row, which of the two rules told its log.
        rules: of `formats.detect`.
    """

    flows: pl.DataFrame
    lines: NDArray[np.int64]
    rest: NDArray[np.int64]
    told: NDArray[np.bool_]
    rules: tuple[str, str]

    def branches(self) -> Counter[str]:
        """By which rule of `formats.detect` the log of these rows is told."""
        found = Counter({self.rules[1]: int(np.count_nonzero(self.told))})
        found[self.rules[0]] += len(self.told) - found[self.rules[1]]
        return +found

    def before(self, line: int) -> "Taken":
        """Only what was read before this line."""
        rows = int(np.searchsorted(self.lines, line))
        return Taken(self.flows[:rows], self.lines[:rows], self.rest, self.told[:rows], self.rules)


def take(
    flows: pl.DataFrame, cells: Cells, usable: NDArray[np.bool_], count: int, told: NDArray[np.bool_],
    rules: tuple[str, str],
) -> Taken:  # fmt: skip
    """The usable rows, of ``count`` lines."""
    lines = cells.table[LINE]
    if not usable.all():
        flows, lines, told = flows.filter(usable), lines[usable], told[usable]
    rest = np.ones(count, dtype=np.bool_)
    rest[lines] = False
    return Taken(flows, lines, np.flatnonzero(rest), told, rules)


# --- frames ---


def frame(given: dict[str, Any], rows: int) -> pl.DataFrame:
    """Rows of `records.FLOW`; a scalar stands for all rows, what is not given is null."""
    return pl.DataFrame([_series(name, dtype, given.get(name), rows) for name, dtype in FLOW.items()])


def names(cells: Cells, cell: int) -> pa.Array:
    """Texts that are not numbered."""
    ends = cells.table[cell]
    bounds = np.append(0, ends)
    return pa.LargeStringArray.from_buffers(len(ends), pa.py_buffer(bounds), pa.py_buffer(cells.names))


def counts(numbers: NDArray[np.int64]) -> pa.Array:
    """Whole numbers, null where absent."""
    return pa.array(numbers, mask=numbers < 0)


def _series(name: str, dtype: pl.DataType, values: Any, rows: int) -> pl.Series:
    if values is None or isinstance(values, bool | int | str):
        return _constant(name, values, max(rows, _SHARED_ROWS)).head(rows)
    return pl.Series(name, values, dtype=dtype)


@lru_cache(maxsize=64)
def _constant(name: str, value: bool | int | str | None, rows: int) -> pl.Series:
    """A column of `records.FLOW` that has the same in all rows, made once for all blocks."""
    return pl.Series(name, [value], dtype=FLOW[name]).new_from_index(0, rows)
