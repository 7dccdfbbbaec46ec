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
    NAME,
    SKIP,
    SPAN_BITS,
    SPAN_MASK,
    TIME,
)  # fmt: skip
from detector.formats.line_values import LINE_FEED, LOWER, MINUS, TAB, A, Z, byte, cell_end, integer, load, real
from detector.formats.zeek import SPAN_MAX
from detector.state.compiled import kernel

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


@kernel
def _cell(at: Any, kind: Any, limit: Any) -> Any:
    """(the value at ``at`` as an integer, where it ends); -1 when it is unusual."""
    if kind == COUNT:
        return integer(at, np.uint64(limit))
    if kind == TIME:
        return micros(at)
    end = cell_end(at)
    if kind == SKIP:
        return 0, end
    if kind == NAME and not A <= byte(at) | LOWER <= Z:  # a letter first: none of Zeek's ways to say nothing
        return 0, -1
    size = end - at
    return at << SPAN_BITS | size & SPAN_MASK, end if 0 <= size <= limit else -1


@kernel
def _row(at: Any, row: Any, cells: Any, durations: Any, columns: Any) -> Any:
    """Where the row from ``at`` on ends, if it is a usual one: then its values are in ``row``; else -1."""
    seen, last = 0, columns.columns - 1
    for column in range(last + 1):
        fact = columns.facts + column * _BYTES
        kind: Any = np.int64(load(fact + 8 * _KIND))
        if byte(at) == MINUS and byte(at + 1) in (TAB, LINE_FEED):  # not set
            at += 1
        elif kind == DURATION:
            durations[row], at = real(at)
            if not durations[row] <= SPAN_MAX:
                return -1
        else:
            cell: Any = np.int64(load(fact + 8 * _CELL))
            cells[cell, row], at = _cell(at, kind, np.int64(load(fact + 8 * _LIMIT)))
            seen |= 1 << cell
        if at < 0 or byte(at) != (TAB if column < last else LINE_FEED):
            return -1
        at += 1
    return at - 1 if seen & columns.needed == columns.needed else -1


@kernel
def read_rows(text: Any, ends: Any, first: Any, row: Any, cells: Any, durations: Any, columns: Any) -> Any:
    """Read the usual ones of some rows; see `line_cells.Kernel`."""
    begin = 0
    for line in range(len(ends)):
        for cell in range(len(cells)):
            cells[cell, row] = ABSENT
        durations[row] = np.nan
        end = _row(text + begin, row, cells, durations, columns) - text
        if end == ends[line] and end - begin <= LINE_BYTES:
            cells[LINE, row] = first + line
            row += 1
        begin = ends[line] + 1
    return row
