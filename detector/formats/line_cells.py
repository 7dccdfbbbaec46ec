"""What usual lines hold: a table of cells, filled by a kernel, and texts that are handled once a distinct value.

A line is taken whole or not at all: whatever is unusual in any way is left to the general path. `json_lines` and
`tab_lines` say what is usual.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from detector.formats.line_values import HEADS, PADDING, ZERO_BITS, byte, load
from detector.records import FLOW
from detector.state.compiled import kernel

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

_TOGETHER: Final = 512  # lines that are joined at once: their bytes stay in the cache until they are read
_TEXTS: Final = 1 << 16  # distinct texts that are remembered from block to block: 3 MB
_PRIME: Final = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio (Knuth, 6.4)
_32: Final = np.uint64(32)
_PROBES: Final = 64  # texts made to collide must not make anybody slow

Meaning = Callable[[str], str | None]
Kernel = Callable[[int, NDArray[np.int64], int, int, NDArray[np.int64], NDArray[np.float64]], int]
"""(address of the lines, where each ends from there, number of the first, rows that are there already, cells
[cells, row], durations [row]) -> rows that are there now. A text is its address << SPAN_BITS + its size."""


# --- texts ---


@kernel
def _number(at: Any, size: Any, table: Any, rows: Any) -> Any:
    """The number of a text; -1 when there is no room for it."""
    number = np.int64(rows[0, 0])
    key = ZERO_BITS
    for place in range(TEXT_WORDS):
        rows[number, place] = ZERO_BITS
    for place in range((size + 7) // 8):
        word = load(at + 8 * place) & HEADS[min(size - 8 * place, 8)]
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
    differ = ZERO_BITS
    for place in range(TEXT_WORDS):
        differ |= rows[left, place] ^ rows[right, place]
    return differ == ZERO_BITS


@kernel
def _number_texts(texts: Any, table: Any, rows: Any) -> Any:
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
        texts[row] = 0 if text == ABSENT else _number(text >> SPAN_BITS, text & SPAN_MASK, table, rows)
        room &= texts[row] >= 0
    return room


@kernel
def _copy_texts(texts: Any, begin: Any, out: Any) -> Any:
    """Write texts one after the other, and where each ends in its place; bytes up to ``begin`` are there."""
    for row in range(len(texts)):
        text = texts[row]
        for place in range(text & SPAN_MASK):
            out[begin + place] = byte((text >> SPAN_BITS) + place)
        begin += text & SPAN_MASK
        texts[row] = begin
    return begin


class Meanings:
    """Distinct texts and what each of them means, worked out when it first comes. Number 0 is no text."""

    def __init__(self, *meanings: Meaning) -> None:
        self._meanings = meanings
        self._forget()

    def _forget(self) -> None:
        self._table = np.zeros(2 * _TEXTS, dtype=np.int32)
        self._rows = np.zeros((_TEXTS, TEXT_WORDS), dtype=np.uint64)
        self._rows[0, 0] = 1
        self._known = {meaning: pl.Series([None], dtype=pl.String) for meaning in self._meanings}

    def make_room(self) -> None:
        """Start again when half of the room is taken. Lines that find no room take the general path."""
        if self._rows[0, 0] > _TEXTS // 2:
            self._forget()

    def number(self, texts: NDArray[np.int64]) -> bool:
        """Put the number of each text in its place, -1 where it found no room; whether all did."""
        return bool(_number_texts(texts, self._table, self._rows))

    def learn(self) -> None:
        """Work out what came since the last time."""
        rows = self._rows[len(self._known[self._meanings[0]]) : int(self._rows[0, 0])]
        if len(rows):
            new = [row.tobytes().rstrip(b"\0").decode("ascii") for row in rows]
            self._known = {
                meaning: pl.concat([known, pl.Series(list(map(meaning, new)), dtype=pl.String)], rechunk=True)
                for meaning, known in self._known.items()
            }

    def column(self, meaning: Meaning, numbers: NDArray[np.int64]) -> pl.Series:
        """The texts of these numbers as ``meaning`` understands them."""
        return self._known[meaning][pl.Series(numbers.astype(np.uint32))]


# --- lines ---


@dataclass(frozen=True, slots=True)
class Cells:
    """Values of the lines that are usual.

    Args:
        table: by cell and row; texts as their numbers, names as where they end in ``names``.
        durations: seconds by row, NaN when not told.
        names: the texts that are not numbered.
        found: by row, whether all texts found room.
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
    texts: Sequence[tuple[Meanings, Sequence[int]]]
    name: int | None = None

    def read(self, lines: Sequence[bytes], kernel: Kernel) -> Cells:
        """The usual ones among the lines."""
        for meanings, _ in self.texts:
            meanings.make_room()
        table = np.empty((self.cells, len(lines)), dtype=np.int64)
        durations = np.empty(len(lines), dtype=np.float64)
        names = np.empty(0 if self.name is None else NAME_BYTES * len(lines), dtype=np.uint8)
        rows = written = 0
        room = True
        for first in range(0, len(lines), _TOGETHER):
            some = lines[first : first + _TOGETHER]
            text = np.frombuffer(b"\n".join([*some, PADDING]), dtype=np.uint8)
            ends = np.cumsum(np.fromiter(map(len, some), dtype=np.int64, count=len(some)) + 1) - 1
            before = rows
            rows = kernel(text.ctypes.data, ends, first, rows, table, durations)
            for meanings, cells in self.texts:
                for cell in cells:
                    room &= meanings.number(table[cell, before:rows])
            if self.name is not None:
                written = _copy_texts(table[self.name, before:rows], written, names)
        for meanings, _ in self.texts:
            meanings.learn()
        return self._cells(table[:, :rows], durations[:rows], names, room)

    def _cells(
        self, table: NDArray[np.int64], durations: NDArray[np.float64], names: NDArray[np.uint8], room: bool
    ) -> Cells:
        found = np.ones(table.shape[1], dtype=np.bool_)
        if not room:
            texts = [cell for _, cells in self.texts for cell in cells]
            found = np.asarray(table[texts].min(axis=0) >= 0)
            table[texts] = np.maximum(table[texts], 0)
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
        return pl.Series(name, [values], dtype=dtype).new_from_index(0, rows)
    return pl.Series(name, values, dtype=dtype)
