"""Text files by UTC date, in order of writing, for records that may be finished days after they began."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np

from .draw import Ints
from .rhythm import DAY, date


class DatedLog:
    """One log over many days. Holds only what is not due yet.

    Args:
        path_of: the file for a UTC date such as ``2026-03-02``.
    """

    def __init__(self, path_of: Callable[[str], Path]) -> None:
        self._path_of = path_of
        self._due: list[Ints] = []
        self._lines: list[str] = []
        self.written = 0

    @property
    def held(self) -> int:
        """Lines waiting for their time."""
        return len(self._lines)

    def add(self, due: Ints, lines: list[str]) -> None:
        """Takes lines, each with the moment (µs) at which the sensor writes it. Lines end with a newline."""
        self._due.append(due)
        self._lines += lines

    def write_until(self, moment: int) -> None:
        """Writes what is due before ``moment``, oldest first; equal moments in the order they were added."""
        if not self._lines:
            return
        due = np.concatenate(self._due)
        order = np.argsort(due, kind="stable")
        lines = [self._lines[i] for i in order.tolist()]
        due = due[order]
        split = int(np.searchsorted(due, moment))
        self._write(due[:split], lines[:split])
        self._due, self._lines = [due[split:]], lines[split:]

    def _write(self, due: Ints, lines: list[str]) -> None:
        days = due // DAY
        edges = np.flatnonzero(np.diff(days, prepend=-1, append=-1)).tolist()
        for first, last in pairwise(edges):
            path = self._path_of(date(int(due[first])))
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8", newline="\n") as file:
                file.write("".join(lines[first:last]))
        self.written += len(lines)
