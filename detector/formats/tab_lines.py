"""Kernels that read the usual row of a tab-separated log: ASCII, no escapes, as many cells as its header has columns.

What is taken has the values that `formats.tsv` gives it, to the last bit.
"""

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
    SKIP,
    SPAN_BITS,
    SPAN_MASK,
    TEXT,
    TIME,
)  # fmt: skip
from detector.formats.line_marks import ROOM, tabs
from detector.formats.line_values import (
    LOWER,
    MINUS,
    A,
    Z,
    byte,
    cell_end,
    load,
    micros,
    real,
    spelled_cell_end,
    whole,
)  # fmt: skip
from detector.formats.zeek import SPAN_MAX
from detector.state.compiled import inlined, kernel

_KIND, _CELL, _LIMIT = range(3)
_BYTES: Final = 8 * 3  # of what is told of a column


class Given(NamedTuple):
    """`Columns` as a kernel takes them: by address, see `json_lines.Given`."""

    facts: int
    columns: int
    needed: int
    ends: NDArray[np.int64]


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
        """For calls of `read_rows`, one at a time, as the kernel writes ``ends``: where the cells of a row end. Who
        calls has to keep these columns."""
        return Given(self.facts.ctypes.data, len(self.facts), self.needed, np.empty(ROOM, dtype=np.int64))


@inlined
def _span(at: Any, end: Any, longest: Any) -> Any:
    size = end - at
    return at << SPAN_BITS | size & SPAN_MASK, 0 <= size <= longest


@inlined
def _cell(at: Any, end: Any, kind: Any, limit: Any) -> Any:
    """(the value from ``at`` to ``end`` as an integer, whether it is a usual one)."""
    if kind == COUNT:
        return whole(at, end, np.uint64(limit))
    if kind == TIME:
        return micros(at, end, SECONDS_BELOW)
    if kind == SKIP:
        return 0, True
    span, good = _span(at, end, limit)
    if kind == TEXT:
        return span, good
    return span, good and A <= byte(at) | LOWER <= Z  # a letter first: none of Zeek's ways to say nothing


@kernel
def _odd(at: Any, end: Any, kind: Any) -> Any:
    """Whether a cell of a row with escapes, controls or anything but ASCII is usual. Texts that are read may have all
    but controls."""
    return (spelled_cell_end(at, end) if kind == TEXT else cell_end(at, end)) == end


@inlined
def _row(at: Any, stop: Any, row: Any, cells: Any, durations: Any, columns: Any) -> Any:
    """Whether the row from ``at`` to ``stop`` is a usual one: then its values are in ``row``."""
    count, odd = tabs(at, stop, columns.ends)
    if count != columns.columns - 1:
        return False
    columns.ends[count] = stop
    seen = 0
    for column in range(columns.columns):
        fact, end = columns.facts + column * _BYTES, columns.ends[column]
        kind: Any = np.int64(load(fact + 8 * _KIND))
        if byte(at) == MINUS and at + 1 == end:  # not set
            good = True
        elif kind == DURATION:
            durations[row], past = real(at)
            good = past == end and durations[row] <= SPAN_MAX
        else:
            cell: Any = np.int64(load(fact + 8 * _CELL))
            cells[cell, row], good = _cell(at, end, kind, np.int64(load(fact + 8 * _LIMIT)))
            seen |= 1 << cell
        if not good or (odd and not _odd(at, end, kind)):
            return False
        at = end + 1
    return seen & columns.needed == columns.needed


@kernel
def read_rows(text: Any, spans: Any, first: Any, row: Any, cells: Any, durations: Any, columns: Any) -> Any:
    """Read the usual ones of some rows; see `line_cells.Kernel`."""
    for line in range(spans.shape[1]):
        for cell in range(len(cells)):
            cells[cell, row] = ABSENT
        durations[row] = np.nan
        begin, end = text + spans[0, line], text + spans[1, line]
        if end - begin <= LINE_BYTES and _row(begin, end, row, cells, durations, columns):
            cells[LINE, row] = first + line
            row += 1
    return row
