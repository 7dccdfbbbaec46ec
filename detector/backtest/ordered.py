"""The rows of a plan in order of observation time, decoded when they are needed.

Row groups with statistics are decoded shortly before their time comes. Of logs nobody knows when their rows were
observed, so all of them are decoded before the first row is handed out.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from detector.backtest.parts import Part, Plan
from detector.backtest.pieces import Job, Piece, load
from detector.backtest.workers import Start
from detector.normalize.hours import Hours
from detector.normalize.merge import Merge, Run, Source
from detector.reading import Progress
from detector.sources.files import SkippedFile


class Ordered:
    """Where the rows of a plan come from.

    Args:
        job: how parts are decoded.
        start: begins one.
        ahead: how many are begun before they are needed.
        count: called once with each piece, so that its records are accounted for.
        progress: called with the stage ``read``.

    Attributes:
        merge: hands out the rows.
        hours: when they were observed, as far as they were asked for.
        files: how many there are.
    """

    def __init__(
        self, plan: Plan, job: Job, start: Start, ahead: int, count: Callable[[Piece], None], progress: Progress
    ) -> None:
        self._parts = sorted(plan.parts, key=lambda part: (part.lower is not None, part.lower or 0, part.number))
        self._job, self._start, self._ahead, self._count, self._progress = job, start, ahead, count, progress
        self._begun: dict[int, Callable[[], Piece]] = {}
        self._next = 0  # place of the first part that was not begun
        self._known: dict[int, Piece] = {}  # by place
        self._size, self._read = sum(part.size for part in plan.parts), 0
        self.hours = Hours()
        self.files = len(plan.files)
        sources = [Source(part.lower, partial(self._runs, place)) for place, part in enumerate(self._parts)]
        self.merge = Merge(job.folder, sources)

    def all(self) -> None:
        """Decode all parts now."""
        for place in range(len(self._parts)):
            self._piece(place)

    def go_on(self, state: dict[str, Any]) -> None:
        """Go on where the merge of another run was; what was asked for by then is accounted for."""
        for place in range(state["asked"]):
            piece = load(self._job.folder, self._parts[place])
            if piece is not None:
                self._took(place, piece)
        self._next = state["asked"]
        self.merge.load_state(state)

    @property
    def rows(self) -> int:
        """Rows in all, as far as that is known: of row groups their footers tell."""
        return self.hours.rows + sum(_rows(part) for place, part in enumerate(self._parts) if place not in self._known)

    def skipped(self) -> list[SkippedFile]:
        """Files that are no logs, in the order of the files; of each the first reason."""
        places = sorted(self._known, key=lambda place: self._parts[place].number)
        found = [one for place in places for one in self._known[place].skipped]
        return list({one.path: one for one in reversed(found)}.values())[::-1]

    def _runs(self, place: int) -> list[Run]:
        piece = self._piece(place)
        return piece.runs

    def _piece(self, place: int) -> Piece:
        """Wait for the piece of a part; some behind it are begun."""
        if place in self._known:
            return self._known[place]
        while self._next < min(place + self._ahead, len(self._parts)):
            self._begin(self._next)
            self._next += 1
        piece = self._begun.pop(place)()
        self._took(place, piece)
        self._count(piece)
        return piece

    def _begin(self, place: int) -> None:
        part = self._parts[place]
        known = load(self._job.folder, part)
        self._begun[place] = self._start(part, self._job, self._tick) if known is None else lambda: known

    def _took(self, place: int, piece: Piece) -> None:
        self._known[place] = piece
        self._read += self._parts[place].size
        self.hours.add(piece.hours)
        self._tick(0, 0)

    def _tick(self, size: int, rows: int) -> None:
        self._progress("read", min(self._read + size, self._size), self._size, self.hours.rows + rows)


def _rows(part: Part) -> int:
    return 0 if part.rows is None else part.rows[1] - part.rows[0]
