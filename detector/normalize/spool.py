"""Rows of many files in order of observation time, in bounded memory.

Logs of one time lie in many files, and a file need not be sorted. Rows are collected; once they are many they become a
sorted file, and such files are merged: memory holds `SPILL_ROWS`, and then a block of each file, not the history.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import polars as pl

from detector.normalize.hours import Hours
from detector.normalize.merge import SCHEMAS, Merge, Run, Source, slices, write_run
from detector.records import Decoded

SPILL_ROWS: Final = 500_000  # rows held before they are written, about 250 MB


class Spool:
    """Collects, then hands out in order.

    Args:
        folder: where files go, made if missing; the caller removes it.
        spill_rows: rows held in memory at most while collecting.
        name: what the names of its files begin with.
    """

    def __init__(self, folder: Path, spill_rows: int = SPILL_ROWS, name: str = "part") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.rows = 0
        self.hours = Hours()
        self._folder, self._name = folder, name
        self._spill_rows = spill_rows
        self._held: list[Decoded] = []
        self._held_rows = 0
        self._spilled = 0
        self._runs: list[Run] = []

    def add(self, decoded: Decoded) -> None:
        """Take the frames of a block; rejects and counts are the caller's."""
        rows = decoded.flows.height + decoded.operations.height
        if not rows:
            return
        self.hours.note(pl.concat([decoded.flows["obs_ts"], decoded.operations["obs_ts"]]))
        self._held.append(Decoded(decoded.flows, decoded.operations))
        self._held_rows += rows
        self.rows += rows
        if self._held_rows > self._spill_rows:
            self._spill()

    def span(self) -> tuple[int, int]:
        """See `Hours.span`."""
        return self.hours.span()

    def runs(self) -> Sequence[Run]:
        """All rows as sorted files; empties the spool."""
        if self._held_rows:
            self._spill()
        runs, self._runs = self._runs, []
        return runs

    def batches(self, batch_rows: int) -> Iterator[Decoded]:
        """All rows in order of observation time, ``batch_rows`` at a time; empties the spool."""
        if self._runs:
            yield from Merge(self._folder, [Source(None, self.runs)]).batches(batch_rows)
        else:
            yield from slices(self._take("flows"), self._take("operations"), batch_rows)
            self._held, self._held_rows = [], 0

    def _spill(self) -> None:
        for kind in SCHEMAS:
            rows = self._take(kind)
            if rows.height:
                name = f"{self._name}-{self._spilled:06d}.{kind}"
                self._runs.append(write_run(self._folder, name, iter([rows])))
        self._spilled += 1
        self._held, self._held_rows = [], 0

    def _take(self, kind: str) -> pl.DataFrame:
        """What is held of a kind, sorted."""
        parts: list[pl.DataFrame] = [getattr(part, kind) for part in self._held]
        return pl.concat([pl.DataFrame(schema=SCHEMAS[kind]), *parts]).sort("obs_ts", maintain_order=True)
