"""Kernels that find where the values of a line end before any of them is read.

As in G. Langdale and D. Lemire, "Parsing gigabytes of JSON per second" (2019), bytes are compared 64 at a time. No
value has to be read before it is known where the next one is, so a processor reads several at once.
"""

from typing import Any, Final

import numpy as np

from detector.formats.line_values import BACKSLASH, BLANK, COMMA, QUOTE, TAB
from detector.state.compiled import inlined
from detector.state.wide import STEP, below, equal, first, many, rest

MARKS_MAX: Final = 64
"""Values of a usual line; Zeek's have some 20, goflow2's some 30."""
_AT_ONCE: Final = 6  # marks that are written without asking whether there are so many: seldom there are more
ROOM: Final = MARKS_MAX + STEP + _AT_ONCE
"""What the kernels write into has this many items."""
_NONE, _ALL = np.uint64(0), np.uint64(2**64 - 1)


@inlined
def _write(place: Any, marks: Any, count: Any, ends: Any) -> Any:
    """Write where the marks are; how many are written now. There is room for `STEP` more."""
    total = count + many(marks)
    for slot in range(count, count + _AT_ONCE):
        ends[slot] = place + first(marks)
        marks = rest(marks)
    for slot in range(count + _AT_ONCE, total):
        ends[slot] = place + first(marks)
        marks = rest(marks)
    return total


@inlined
def commas(at: Any, end: Any, ends: Any) -> Any:
    """Where commas with a quote behind them are: between values, in a list of texts, or where a text ends with a comma.

    Returns:
        how many there are, -1 when they are too many; how many quotes; and whether there are escapes, controls or
        anything but ASCII.
    """
    count = quotes = 0
    odd = _NONE
    for place in range(at, end, STEP):
        if count > MARKS_MAX:
            return -1, 0, False
        there = _ALL >> np.uint64(STEP - min(end - place, STEP))
        odd |= (equal(place, BACKSLASH) | below(place, BLANK)) & there
        quotes += many(equal(place, QUOTE) & there)
        count = _write(place, equal(place, COMMA) & equal(place + 1, QUOTE) & there, count, ends)
    return count if count < MARKS_MAX else -1, quotes, odd != _NONE


@inlined
def tabs(at: Any, end: Any, ends: Any) -> Any:
    """Where the tabs are from ``at`` on.

    Returns:
        how many there are, -1 when the line is unusual; and whether there are escapes or anything but ASCII.
    """
    count, odd = 0, _NONE
    for place in range(at, end, STEP):
        if count > MARKS_MAX:
            return -1, False
        there = _ALL >> np.uint64(STEP - min(end - place, STEP))
        marks = equal(place, TAB) & there
        odd |= (equal(place, BACKSLASH) | (below(place, BLANK) & ~marks)) & there
        count = _write(place, marks, count, ends)
    return count if count < MARKS_MAX else -1, odd != _NONE
