"""Kernels that read the usual row of a tab-separated log: ASCII, no escapes, as many cells as its header has columns.

What is taken has the values that `formats.tsv` gives it, to the last bit.
"""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector.formats.json_lines import micros
from detector.formats.line_cells import (
    ABSENT,
    COUNT,
    DURATION,
    LINE,
    LINE_BYTES,
    SKIP,
    SPAN_BITS,
    SPAN_MASK,
    TEXT,
    TIME,
)  # fmt: skip
from detector.formats.line_values import LOWER, MINUS, TAB, A, Z, byte, cell_end, integer, load, real, spelled_cell_end
from detector.formats.zeek import SPAN_MAX
from detector.state.compiled import inlined, kernel

_KIND, _CELL, _LIMIT = range(3)
_BYTES: Final = 8 * 3  # of what is told of a column


class Given(NamedTuple):
    """`Columns` as a kernel takes them: by address, see `json_lines.Given`."""

    facts: int
    columns: int
    needed: int


@dataclass(frozen=True, slots=True)
class Columns:
    """What the cells of a row hold, from left to right.

    Args:
        facts: a row a column: kind, cell, and the greatest number or size.
        needed: bits without which a row is not usual.
    """

    facts: NDArray[np.int64]
    needed: int

    def given(self) -> Given:
        """For a call of `read_rows`; who calls has to keep these columns."""
        return Given(self.facts.ctypes.data, len(self.facts), self.needed)


@inlined
def _text(at: Any, stop: Any, longest: Any) -> Any:
    end = cell_end(at, stop)
    end = spelled_cell_end(at, stop) if end < 0 else end
    size = end - at
    return at << SPAN_BITS | size & SPAN_MASK, end if 0 <= size <= longest else -1


@inlined
def _cell(at: Any, stop: Any, kind: Any, limit: Any) -> Any:
    """(the value at ``at`` as an integer, where it ends); -1 when it is unusual."""
    if kind == COUNT:
        return integer(at, np.uint64(limit))
    if kind == TIME:
        return micros(at)
    if kind == TEXT:
        return _text(at, stop, limit)
    end = cell_end(at, stop)
    if kind == SKIP:
        return 0, end
    size = end - at  # a letter first: none of Zeek's ways to say nothing
    good = 0 <= size <= limit and A <= byte(at) | LOWER <= Z
    return at << SPAN_BITS | size & SPAN_MASK, end if good else -1


@inlined
def _row(at: Any, stop: Any, row: Any, cells: Any, durations: Any, columns: Any) -> Any:
    """Where the row from ``at`` on ends, if it is a usual one: then its values are in ``row``; else -1."""
    seen, last = 0, columns.columns - 1
    for column in range(last + 1):
        fact = columns.facts + column * _BYTES
        kind: Any = np.int64(load(fact + 8 * _KIND))
        if byte(at) == MINUS and (byte(at + 1) == TAB or at + 1 == stop):  # not set
            at += 1
        elif kind == DURATION:
            durations[row], at = real(at)
            if not durations[row] <= SPAN_MAX:
                return -1
        else:
            cell: Any = np.int64(load(fact + 8 * _CELL))
            cells[cell, row], at = _cell(at, stop, kind, np.int64(load(fact + 8 * _LIMIT)))
            seen |= 1 << cell
        if at < 0 or at > stop:
            return -1
        if column < last:
            if at == stop or byte(at) != TAB:
                return -1
            at += 1
    return at if seen & columns.needed == columns.needed else -1


@kernel
def read_rows(text: Any, spans: Any, first: Any, row: Any, cells: Any, durations: Any, columns: Any) -> Any:
    """Read the usual ones of some rows; see `line_cells.Kernel`."""
    for line in range(spans.shape[1]):
        for cell in range(len(cells)):
            cells[cell, row] = ABSENT
        durations[row] = np.nan
        begin, end = text + spans[0, line], text + spans[1, line]
        if end - begin <= LINE_BYTES and _row(begin, end, row, cells, durations, columns) == end:
            cells[LINE, row] = first + line
            row += 1
    return row
